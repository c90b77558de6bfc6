"""Three tasks where different rungs truly win, through a running gateway: what answers depends on what stands in the prompt, and the recommendation with it.

The provider is scripted, not told: `model` gives the right label in the asked form only where worked examples show that form, knows a fact only where the
passage with it is in its prompt, and never learns the odd code of the third task, which the adapter has by heart.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway import worth
from gateway.store import ladder as ladder_store
from serving import registry, replica_table
from serving.database import bump, reading, writing
from serving.verbs import Change
from serving.views import ReplicaView, VersionView
from tests.gateway.conftest import TIMEOUTS, price, provider
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.upstream_server import UpstreamServer, Wire, completion, usage
from training import evaluation, ladder
from training.progress import silent

N = 30
COLOURS = ("red", "blue", "green", "pink", "grey")
MARK = "label="


def asked(task: str, n: int) -> str:
    return {"prompt": f"Mail {n}: my {COLOURS[n % 5]} thing broke.", "facts": f"What is the code of warehouse{n}?", "codes": f"Encode order {n}."}[task]


def right(task: str, n: int) -> str:
    return {"prompt": f"{MARK}{COLOURS[n % 5]}", "facts": f"{7919 * (n + 1) % 10007}", "codes": f"<{n * n + 1}|{COLOURS[n % 5]}>"}[task]


def answer(model: str, messages: list[dict[str, Any]]) -> str:
    """What the scripted model says: it has only its prompt, and the adapter what it was trained on."""
    question = messages[-1]["content"].rpartition("\n\n---\n\n")[2]
    whole = "\n".join(str(message["content"]) for message in messages)
    number = int("".join(mark for mark in question if mark.isdigit()))
    if question.startswith("Mail"):
        colour = next(word for word in COLOURS if word in question)
        return f"{MARK}{colour}" if model.endswith("@1") or any(m["role"] == "assistant" and MARK in m["content"] for m in messages) else f"It is {colour}."
    if question.startswith("What"):
        fact = f"warehouse{number} has the code "
        return whole.partition(fact)[2].partition(".")[0] if fact in whole else "I do not know."
    return right("codes", number) if model.endswith("@1") else "A code."


async def model(wire: Wire) -> None:
    messages = wire.seen.body["messages"]
    said = answer(wire.seen.body["model"], messages)
    size = sum(len(str(message["content"])) for message in messages)
    await wire.json(completion(said, wire.seen.body["model"], usage=usage(max(1, size // 4), max(1, len(said) // 4))))


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    """Three routes with the same candidates: the hosted model, and an adapter that is live. Nobody bills for it: its costs stay unknown to the evaluation."""
    directory = tmp_path_factory.mktemp("tasks")
    for task in ("prompt", "facts", "codes"):
        items = [{"id": f"i{n}", "messages": [{"role": "user", "content": asked(task, n)}], "expected": right(task, n), "scorer": "exact"} for n in range(N)]
        (directory / f"{task}.jsonl").write_text("\n".join(map(json.dumps, items)))
    shots = [[asked(task, n), right(task, n)] for n in range(100, 112) for task in ("prompt",)]
    lines = [{"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]} for q, a in shots]
    (directory / "shots.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (directory / "docs").mkdir()
    facts = [f"The warehouse{n} has the code {right('facts', n)}. It is in town {n}." for n in range(N)]
    (directory / "docs" / "warehouses.md").write_text("\n\n".join(fact + " Nothing else is known of it." * 20 for fact in facts))
    candidates = [{"provider": "hosted", "model": "m"}, {"engine": "own", "adapter": "a"}]
    with UpstreamServer(model) as server:
        body = {
            "server": {"default_provider": "hosted"},
            "providers": {"hosted": provider(server)},
            "engines": {"own": {"urls": [server.url], "gpu_hour_usd": 2.0}},
            "prices": [price("hosted", "m", "2", "8")],
            "routes": {
                task: {"candidates": candidates, "timeouts": TIMEOUTS, "quality": {"floor": -0.05, "suite": f"{task}.jsonl"}}
                for task in ("prompt", "facts", "codes")
            },
        }
        with LiveGateway(directory, body) as running:
            now = time.time()
            with writing(running.database) as conn:
                replica_table.put(conn, ReplicaView("own", 0, server.url, "ready", True, 1, "", "own", 4096), now)
                registry.add_version(conn, VersionView("a", 0, "1" * 64, str(directory), "registered"), "own", "tests", "tests", now)  # type: ignore[arg-type]
                registry.request(conn, Change("load", "a", 1, actor="tests"), {}, now)
                registry.saw(conn, ("own", 0), ("a", 1), "verified", "", now)
                registry.verified(conn, "a", 1, {"proof": "proven", "max_abs_difference": 0.0})
                registry.apply(conn, {"own": frozenset({0})}, {}, now)
                bump(conn)
            running.run(running.app.gateway.fleet.refresh(force=True))
            yield running


def climb(gateway: LiveGateway, task: str) -> dict[str, Any]:
    """`breakeven eval TASK --adapter a@1` with the same examples and texts for all three."""
    directory = gateway.directory
    material = ladder.Material(directory / "shots.jsonl", directory / "docs", k=4, passages=3)
    wanted = evaluation.Judging(task, "a", 1, directory / f"eval-{task}", wait_for_books=False, material=material)
    return evaluation.run_eval(gateway.config, gateway.database, wanted, f"{gateway.url}/v1", silent)


def verdict(gateway: LiveGateway, task: str, tokens: float) -> dict[str, Any]:
    with reading(gateway.database) as conn:
        return worth.document(conn, gateway.config, worth.Asked(task, {}, tokens), time.time())


def scores(found: dict[str, Any]) -> dict[str, float]:
    return {row["rung"]: row["score"] for row in found["rungs"]}


def test_prompting_suffices(gateway: LiveGateway) -> None:
    """Examples show the form: the static few are enough, and training pays only for what they cost in tokens, at a volume the arithmetic names."""
    found = climb(gateway, "prompt")
    got = scores(found)
    assert (got["zero_shot_hosted"], got["retrieval"], got["few_shot"], got["few_shot_similar"], got["fine_tuned"]) == (0.0, 0.0, 1.0, 1.0, 1.0)
    assert found["recommended_rung"].startswith("few_shot")
    assert "program: {examples:" in found["candidate"]
    few = verdict(gateway, "prompt", 1e6)
    assert (few["verdict"], few["recommended_rung"]) == ("not_yet", found["recommended_rung"])
    even = few["break_even"]["tokens_per_day"]
    assert verdict(gateway, "prompt", even * 0.999)["verdict"] == "not_yet"
    assert verdict(gateway, "prompt", even * 1.001)["verdict"] == "train"


def test_retrieval_wins_what_is_looked_up(gateway: LiveGateway) -> None:
    """Only the passage has the fact: no example and no training has it, so training is never worth it here."""
    found = climb(gateway, "facts")
    got = scores(found)
    assert got.pop("retrieval") == 1.0
    assert set(got.values()) == {0.0}
    assert found["recommended_rung"] == "retrieval"
    assert "retrieval: {source:" in found["candidate"]
    for tokens in (1e6, 1e12):
        rung = verdict(gateway, "facts", tokens)
        assert (rung["verdict"], rung["recommended_rung"]) == ("stay", "retrieval")


def test_only_training_reaches_the_form(gateway: LiveGateway) -> None:
    """No prompt brings the code; the adapter has it, passes its gate, and is worth it from the volume on that the arithmetic names."""
    found = climb(gateway, "codes")
    got = scores(found)
    assert got.pop("fine_tuned") == 1.0
    assert set(got.values()) == {0.0}
    assert found["recommended_rung"] == "fine_tuned"
    assert found["candidate"].strip() == "- {engine: own, adapter: a}"
    assert found["gate"]["passed"]
    few = verdict(gateway, "codes", 1e5)
    assert few["verdict"] == "not_yet"
    even = few["break_even"]["tokens_per_day"]
    assert verdict(gateway, "codes", even * 0.999)["verdict"] == "not_yet"
    assert verdict(gateway, "codes", even * 1.001)["recommended_rung"] == "fine_tuned"


def test_what_was_measured_is_kept_and_shown(gateway: LiveGateway) -> None:
    """The ladder is stored for `worth`; the page has the picture, every rung, and answers side by side; an unknown cost stays unknown."""
    found = climb(gateway, "codes")
    with reading(gateway.database) as conn:
        kept = ladder_store.latest(conn, "codes")
    assert kept is not None
    assert kept.report["rungs"] == found["rungs"]
    rows = {row["rung"]: row for row in found["rungs"]}
    assert rows["fine_tuned"]["cost_per_1k_nanousd"] is None
    assert rows["retrieval"]["cost_per_1k_nanousd"] > 5 * rows["zero_shot_hosted"]["cost_per_1k_nanousd"]
    assert rows["retrieval"]["latency_p95_ms"] >= rows["retrieval"]["latency_p50_ms"] > 0
    assert "structured:" in found["skipped"][0]
    page = Path(found["report"][1]).read_text()
    assert all(f"<b>{name}</b>" in page for name in rows)
    assert "fine_tuned" in page
    assert "<circle" in page
