"""Fixtures of serving's tests: a stand-in for vLLM that someone else runs, and serving's tables on SQLite and on a real Postgres."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy import Engine, text

from serving.client import Client
from serving.database import connect, metadata, writing
from tests.gateway.store.conftest import postgres_url
from tests.serving.making import make_database
from tests.serving.servers import FAKE

__all__ = ["postgres_url"]


@pytest.fixture(scope="session")
def postgres_tables(postgres_url: str) -> Iterator[Engine]:
    """Serving's tables in a Postgres of our own, shared by the tests of a process."""
    engine = connect(postgres_url)
    metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An empty database, each of the two in turn."""
    if request.param == "sqlite":
        made = make_database(tmp_path)
        yield made
        made.dispose()
        return
    shared: Engine = request.getfixturevalue("postgres_tables")
    with writing(shared) as conn:
        conn.execute(text(f"TRUNCATE {', '.join(metadata.tables)}"))
    yield shared


def _stand_in() -> ModuleType:
    """The stand-in's module, loaded from its file: its package is called vllm, which may be the name of a real one here."""
    spec = importlib.util.spec_from_file_location("fake_vllm_server", FAKE / "vllm" / "entrypoints" / "openai" / "api_server.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def server() -> Iterator[Callable[[], str]]:
    """Start a stand-in server in a thread: `server()` gives its URL. Its base is called `their-base`."""
    running = []
    module = _stand_in()

    def start() -> str:
        made = module.Server("their-base", "/m")
        thread = threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        running.append((made, thread))
        return f"http://127.0.0.1:{made.server_address[1]}"

    yield start
    for made, thread in running:
        made.shutdown()
        thread.join(30)
        made.server_close()


@pytest.fixture
async def client(server: Callable[[], str]) -> AsyncIterator[Client]:
    """Our client of such a stand-in."""
    made = Client(server())
    yield made
    await made.aclose()
