"""`breakeven calibrate`: from a replica in the database to a curve in it, with the stand-in for vLLM on a real socket."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from gateway.store import curves
from serving import replica_table
from serving.database import connect, reading, writing
from serving.views import ReplicaView
from tests.commands import Run, runner
from tests.databases import prepare
from tests.patience import patience
from tests.serving.conftest import server

__all__ = ["server"]

ROOT = Path(__file__).parents[3]
CONFIG = """
providers:
  openai: {base_url: "http://127.0.0.1:9/v1", api_key: k, sandbox: true}
engines:
  local: {urls: ["http://127.0.0.1:9"], gpu_hour_usd: 0.02, args: [--dtype, bfloat16]}
  free: {urls: ["http://127.0.0.1:9"]}
prices:
  - {provider: openai, model: dear, input_usd_per_m: 100, output_usd_per_m: 400}
  - {provider: openai, model: gift, input_usd_per_m: 0, output_usd_per_m: 0}
  - {provider: openai, model: cheap, input_usd_per_m: 0.000001, output_usd_per_m: 0.000001}
routes:
  triage: {candidates: [{provider: openai, model: nobody-priced-this}, {provider: openai, model: dear}, {engine: local}, {engine: free}]}
"""
QUICK = ("--batches", "1,2", "--seconds", "0.2")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Engine]:
    """The database of a configuration in a directory of its own."""
    (tmp_path / "breakeven.yaml").write_text(CONFIG.replace(", args: [--dtype, bfloat16]", ""))
    database = connect("sqlite:///breakeven.db", tmp_path)
    prepare(database)
    yield database
    database.dispose()


@pytest.fixture
def url(server: Callable[[], str], store: Engine) -> str:
    """A ready replica of both engines, of known speed."""
    found = server()
    tell(found, speed=[40_000.0, 2000.0, 3000.0])
    with writing(store) as conn:
        for engine in ("local", "free"):
            replica_table.put(conn, ReplicaView(engine, 0, found, "ready", True, 0, "", "their-base", 64), 1.0)
    return found


@pytest.fixture
def run(tmp_path: Path, store: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `breakeven calibrate WORDS`."""
    command = runner(tmp_path, monkeypatch, capsys)
    return lambda *words: command("calibrate", *words)


def tell(url: str, **what: Any) -> None:
    """Set something of the stand-in."""
    for name, value in what.items():
        httpx.post(f"{url}/fake/{name}", json={"status": value})


def test_the_curve_is_measured_kept_and_put_into_money(run: Run, url: str, store: Engine) -> None:
    """One document: the points, the saturation, the cost at each utilisation, and a verdict on every hosted model of the configuration; the same is stored."""
    code, out, err = run("local", *QUICK, "--mix", "3:1", "--hardware", "a toy", "--json")
    assert code == 0
    found = out
    curve = found["curve"]
    assert [point["batch"] for point in curve["points"]] == [1, 2]
    assert all(point["prefill_tokens_per_s"] > 0 and point["decode_tokens_per_s"] > 0 and not point["disturbed"] for point in curve["points"])
    assert (curve["model"], curve["hardware"], curve["vllm_version"], curve["prompt_tokens"]) == ("their-base", "a toy", "0.0.stand-in", 32)
    assert curve["complete"] is True
    assert curve["decode_weight"] == pytest.approx(curve["saturation"]["prefill_tokens_per_s"] / curve["saturation"]["decode_tokens_per_s"])
    assert found["mix"] == {"prompt": 0.75, "cached": 0.0, "source": "given"}
    at_full = found["cost_by_utilisation"][-1]
    assert at_full["utilisation"] == 1.0
    assert found["cost_by_utilisation"][3]["cost_per_m_nanousd"] == pytest.approx(10 * at_full["cost_per_m_nanousd"], rel=1e-6)
    verdicts = {one["model"]: (one["verdict"], one["break_even_utilisation"]) for one in found["hosted"]}
    assert verdicts["nobody-priced-this"] == ("price_unknown", None)
    assert verdicts["gift"] == verdicts["cheap"] == ("never", None)
    assert verdicts["dear"][0] == "from_utilisation"
    assert verdicts["dear"][1] == pytest.approx(at_full["cost_per_m_nanousd"] / (0.75 * 100e9 + 0.25 * 400e9), rel=1e-6)
    assert "batch 1 0/2" in err
    with reading(store) as conn:
        kept = curves.latest(conn, "local")
    assert kept is not None
    assert [point.batch for point in kept.points] == [1, 2]


def test_people_get_tables_and_sentences(run: Run, url: str) -> None:
    """What is said of a priced engine and of one without `gpu_hour_usd`."""
    code, out, _ = run("local", *QUICK)
    assert code == 0
    assert "one generated token costs as much as" in out
    assert "80% of them prompt (assumed: the engine had no traffic)" in out
    assert re.search(r"openai/dear costs 160\.000: local is cheaper from ([\d.e-]+) % utilisation on, at full use it costs \1 % of that", out)
    assert "openai/nobody-priced-this: its price is unknown" in out
    assert "openai/gift costs 0: local is never cheaper" in out
    assert "times as much" in out
    code, out, _ = run("free", *QUICK)
    assert code == 0
    assert "engines.free.gpu_hour_usd is not set" in out


def test_an_engine_in_use_is_left_alone(run: Run, url: str, store: Engine) -> None:
    """Refused with what to do; with --force it is measured all the same."""
    page = "vllm:prompt_tokens_total 1\nvllm:generation_tokens_total 1\nvllm:num_requests_running 3\n"
    tell(url, page=page)
    code, _, err = run("local", *QUICK)
    assert code == 1
    assert "local/0 is in use: it has 3 running and 0 waiting requests" in err
    assert "--force" in err
    with reading(store) as conn:
        assert curves.latest(conn, "local") is None
    code, _, err = run("local", *QUICK, "--force")
    assert code == 0
    assert "disturbed rows are too low" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nobody",), "there is no engine 'nobody'"),
        (("local", "--batches", "1,x"), "--batches"),
        (("local", "--batches", "0"), "--batches"),
        (("local", "--seconds", "0"), "--seconds"),
        (("local", "--prompt-tokens", "64"), "between 1 and 63"),
        (("local", "--mix", "lots"), "write 4:1"),
        (("local", "--mix", "0:0"), "write 4:1"),
    ],
)
def test_flags_that_are_wrong(run: Run, url: str, words: tuple[str, ...], said: str) -> None:
    """Exit code 2, and what to write instead."""
    code, _, err = run(*words)
    assert code == 2
    assert said in err


def test_without_a_ready_replica_there_is_nothing_to_measure(run: Run, store: Engine) -> None:
    """Exit code 1 and where to look."""
    assert run("local")[0] == 1
    code, _, err = run("local", "--replica", "4")
    assert code == 1
    assert "replica 4 of engine 'local' is not ready" in err


def test_ctrl_c_keeps_what_is_measured(url: str, store: Engine, tmp_path: Path) -> None:
    """SIGINT in the second batch size: exit code 130, the first one is shown and kept, and does not count as a whole curve."""
    words = [sys.executable, str(ROOT / "breakeven.py"), "calibrate", "local", "--batches", "1,2", "--seconds", "0.2", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    tell(url, stuck=2)

    with subprocess.Popen(words, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process, patience(process):

        def interrupt() -> None:
            assert process.stderr is not None
            for line in process.stderr:
                if line.startswith("batch 2"):
                    process.send_signal(signal.SIGINT)

        thread = threading.Thread(target=interrupt, daemon=True)
        thread.start()
        assert process.stdout is not None
        out = process.stdout.read()
        assert process.wait() == 130
        thread.join(10)
    curve = json.loads(out)["curve"]
    assert (curve["complete"], [point["batch"] for point in curve["points"]]) == (False, [1])
    with reading(store) as conn:
        assert curves.weights(conn) == {}
        assert curves.latest(conn, "local") is not None
