"""The command `breakeven simulate`, as a person runs it: files good and bad, the ledger, made-up traffic, tables, JSON and the page."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.simulation.closer import pareto, timeline
from gateway.simulation.run import Wanted, lesson
from gateway.simulation.run import run as simulation
from gateway.store import exchanges
from router.simulation.scenarios import on_trace
from router.simulation.trace import Shape, synthetic
from router.types import Exchange, Outcome, Usage
from serving.database import connect, writing
from tests.commands import Run, runner
from tests.databases import prepare


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `breakeven simulate WORDS`."""
    command = runner(tmp_path, monkeypatch, capsys)
    return lambda *words: command("simulate", *words)


def azure(path: Path, count: int = 40, bad: Sequence[str] = ()) -> str:
    lines = ["TIMESTAMP,ContextTokens,GeneratedTokens"]
    lines += [f"2023-11-16 18:{second // 60:02d}:{second % 60:02d}.5000000,{300 + second},{20 + second % 7}" for second in range(count)]
    path.write_text("\n".join([*lines, *bad]) + "\n")
    return str(path)


def test_a_trace(run: Run, tmp_path: Path) -> None:
    """A table for people, a document for programs, a page for those who would rather look; all of the same figures."""
    file = azure(tmp_path / "t.csv", bad=["oops,1,2"])
    code, out, err = run(file, "--policy", "all local", "--tries", "2", "--html", "page.html")
    assert code == 0
    assert "t.csv:42: 'oops' is not a time" in err
    assert "calm" in out
    assert "breakeven" in out
    assert "all local" in out
    page = (tmp_path / "page.html").read_text()
    assert page.count("<svg") == 3  # policies, time, prices of a miss
    assert "price of engine work" in page
    assert "http" not in page.replace("http-equiv", "")
    code, out, _ = run(file, "--policy", "all local", "--tries", "2", "--json")
    document = out
    (scenario,) = document["scenarios"]
    assert (code, document["trace"]["requests"], document["trace"]["left_out"], scenario["requests"]) == (0, 40, 1, 40)
    assert document["problems"][0]["line"] == 42
    assert {row["policy"] for row in scenario["policies"]} == {"breakeven", "all hosted", "all local"}
    hosted = next(row for row in scenario["policies"] if row["policy"] == "all hosted")
    spent = sum((300 + second) * 250 + (20 + second % 7) * 2000 for second in range(40))
    assert float(hosted["hosted_usd"]) == pytest.approx(spent / 1e9, abs=1e-7)
    assert float(scenario["bound_usd"]) <= float(scenario["clairvoyant_usd"])
    assert f"${float(hosted['hosted_usd']):,.4f}" in page


def test_own_prices_and_aims(run: Run, tmp_path: Path) -> None:
    """Prices, aims and the rate can be given; nothing is within an aim of a millisecond."""
    file = azure(tmp_path / "t.csv")
    asked = (file, "--policy", "all local", "--tries", "0", "--json", "--input-usd-per-m", "1", "--output-usd-per-m", "0", "--slo-ttft-ms", "1", "--rate", "2")
    document = run(*asked)[1]
    (scenario,) = document["scenarios"]
    hosted = next(row for row in scenario["policies"] if row["policy"] == "all hosted")
    assert (hosted["hosted_usd"], hosted["slo_attained"], scenario["seconds"], scenario["bound_usd"]) == ("0.01278", 0.0, 19.5, None)


def test_mooncake(run: Run, tmp_path: Path) -> None:
    """Mooncake's JSONL; a line that is wrong is told."""
    lines = [json.dumps({"timestamp": 1000 * number, "input_length": 500, "output_length": 9, "hash_ids": [1]}) for number in range(30)]
    wrong = ["{", "[]", '{"timestamp": true}', '{"timestamp": 1, "input_length": -1}']
    (tmp_path / "m.jsonl").write_text("\n".join([*lines, *wrong, ""]))
    document = run("m.jsonl", "--policy", "all local", "--tries", "0", "--json")[1]
    assert (document["trace"]["requests"], [problem["line"] for problem in document["problems"]]) == (30, [31, 32, 33, 34])


def test_the_ledger(run: Run, tmp_path: Path) -> None:
    """What last week would have cost: the requests a route had, whose usage is known."""
    (tmp_path / "breakeven.yaml").write_text("routes: {r: {candidates: [{provider: openai, model: gpt-4o-mini}]}}\nproviders: {openai: {api_key: k}}\n")
    engine = connect("sqlite:///breakeven.db", tmp_path)
    prepare(engine)
    now = time.time()
    rows = [_exchange(number, now, "r" if number % 3 else "other") for number in range(30)]
    with writing(engine) as conn:
        exchanges.insert(conn, rows)
    engine.dispose()
    document = run("--ledger", "r", "--policy", "all local", "--tries", "0", "--json")[1]
    assert document["trace"] == {"name": "ledger: r", "requests": 20, "left_out": 0}
    assert run("--ledger", "all", "--policy", "all local", "--tries", "0", "--json")[1]["trace"]["requests"] == 30
    code, _, err = run("--ledger", "r", "--until", "2020-01-01")
    assert (code, "widen --since and --until" in err) == (2, True)


def _exchange(number: int, now: float, route: str) -> Exchange:
    return Exchange(
        id=f"req_{number}", time=now + number, route=route, endpoint="/v1/chat/completions", backend="openai/gpt-4o-mini", adapter_version=None, key_id=None,
        tags={}, stream=False, status=200, outcome=Outcome.OK, usage=Usage(100, 0, 10), usage_state="provider", cost_nanousd=1, cost_state="known",
        opportunity_nanousd=None, all_hosted_nanousd=1, ttft_ms=None, total_ms=5.0, overhead_ms=1.0, reason="cost", decision_id=None,
    )  # fmt: skip


def test_bad_input(run: Run, tmp_path: Path) -> None:
    """Each mistake has a sentence that says what to change, and exit code 2."""
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "else.csv").write_text("a,b\n1,2\n")
    file = azure(tmp_path / "t.csv")
    for arguments, said in (
        ((), "say what to simulate"),
        ((file, "--synthetic", "calm"), "one of them"),
        (("none.csv",), "none.csv: No such file"),
        (("empty.csv",), "no request in it can be used"),
        (("else.csv",), "missing: TIMESTAMP"),
        ((file, "--scenario", "rain"), "no scenario is called rain; there are: calm"),
        ((file, "--policy", "luck"), "no policy is called luck"),
        ((file, "--rate", "0"), "--rate must be above 0"),
        ((file, "--rate", "-1"), "--rate must be above 0"),
        ((file, "--seeds", "0"), "--seeds must be above 0"),
        ((file, "--input-usd-per-m", "1"), "--output-usd-per-m"),
        ((file, "--input-usd-per-m", "one", "--output-usd-per-m", "1"), "'one' is not an amount"),
    ):
        code, _, err = run(*arguments)
        assert (code, said in err) == (2, True), (arguments, err)


def test_one_more_gpu() -> None:
    """Two replicas take what one did not: less is paid to the provider, and the GPUs cost twice as much."""
    wanted = Wanted(synthetic("busy", Shape(rate=60.0, seconds=20.0), 1), ("calm",), ("all hosted",), tries=0)
    (one,), (two,) = (simulation(wanted._replace(replicas=count))["scenarios"] for count in (1, 2))
    spent = [next(float(row["hosted_usd"]) for row in found["policies"] if row["policy"] == "breakeven") for found in (one, two)]
    assert spent[1] < spent[0] / 2
    assert float(two["gpu_usd"]) == pytest.approx(2 * float(one["gpu_usd"]))


def test_what_is_done_is_kept() -> None:
    """Ctrl-C in the second scenario leaves the first."""
    trace = synthetic("busy", Shape(rate=5.0, seconds=20.0), 1)
    wanted = Wanted(trace, ("calm", "outage"), ("all hosted",), tries=0)

    def stop(done: int, total: int) -> None:
        assert done <= total
        if done > 2:
            raise KeyboardInterrupt

    document = simulation(wanted, stop)
    assert document["interrupted"]
    assert [scenario["scenario"] for scenario in document["scenarios"]] == ["calm"]


def test_a_look_at_ours_alone() -> None:
    """Through an outage: who was asked, ten seconds at a time; and dearer misses never buy more of them."""
    found = on_trace("outage", synthetic("busy", Shape(rate=30.0, seconds=60.0), 1))
    entries = timeline(found, 1, lesson)
    assert sum(entry["requests"] for entry in entries) == len(found.trace.asks)
    assert [entry["at_s"] for entry in entries] == [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]
    assert all(0.0 <= entry["local_share"] <= 1.0 for entry in entries)
    points = pareto(found, 1, lesson, (0.0, 8.0))
    assert float(points[0]["hosted_usd"]) <= float(points[1]["hosted_usd"])
    assert points[0]["slo_attained"] <= points[1]["slo_attained"] + 0.01
