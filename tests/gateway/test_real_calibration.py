"""What only a real vLLM can show of measuring an engine: its counters count what was sent, and `breakeven calibrate` finds a curve."""

from __future__ import annotations

import json

import httpx
import pytest
from sqlalchemy import func, select

import breakeven
from gateway.store import curves
from gateway.store.engine_tables import engine_work
from serving.counters import Counters, read
from serving.database import reading
from tests.engines import RealEngine

pytestmark = pytest.mark.vllm


def counted(engine: RealEngine) -> Counters:
    """Its counters now."""
    found = read(httpx.get(engine.ready().url + "/metrics", timeout=30).text)
    assert found is not None
    return found


def sampled(engine: RealEngine) -> tuple[int, int]:
    """What the controller has seen so far: (prompt, generated) tokens, once it has looked twice."""
    w = engine_work.c
    query = select(func.sum(w.prompt_tokens), func.sum(w.generated_tokens), func.sum(w.milliseconds))

    def looked() -> list[int]:
        with reading(engine.database) as conn:
            return [int(value or 0) for value in conn.execute(query).one()]

    engine.until(lambda: looked()[2] > 0, 60)
    return looked()[0], looked()[1]


def test_counters_count_what_was_sent(real_engine: RealEngine) -> None:
    """Prompt, cached and generated tokens of this vLLM are the sums of what its answers say; the controller sees work that did not come through the gateway."""
    assert "vllm" in httpx.get(real_engine.ready().url + "/metrics", timeout=30).text
    real_engine.complete("local", "settled")  # the last one of another test may still be counted
    real_engine.until(lambda: not counted(real_engine).busy, 30)
    before, seen = counted(real_engine), sampled(real_engine)
    answers = [real_engine.complete("local", f"Number {n} of the orders", max_tokens=5 + n, ignore_eos=True)["usage"] for n in range(4)]
    prompt, made = (sum(answer[name] for answer in answers) for name in ("prompt_tokens", "completion_tokens"))
    assert made == 5 + 6 + 7 + 8
    real_engine.until(lambda: counted(real_engine).generated - before.generated == made, 10)
    after = counted(real_engine)
    assert after.prompt - before.prompt == prompt
    assert after.inference_s is not None
    assert before.inference_s is not None
    assert after.inference_s > before.inference_s
    real_engine.until(lambda: sampled(real_engine)[1] >= seen[1] + made, 60)


def test_a_tiny_base_is_calibrated(real_engine: RealEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Real rates at two batch sizes, undisturbed, kept with the version of vLLM; four at once make more tokens than one."""
    config = str(real_engine.config.source)
    words = ["breakeven", "calibrate", "local", "-c", config, "--batches", "1,4", "--seconds", "1.5", "--prompt-tokens", "200", "--json"]
    monkeypatch.setattr("sys.argv", words)
    real_engine.until(lambda: not counted(real_engine).busy, 30)
    before = counted(real_engine)
    with pytest.raises(SystemExit) as ended:
        breakeven.main()
    out, err = capsys.readouterr()
    assert ended.value.code == 0, err
    found = json.loads(out)
    curve = found["curve"]
    one, four = curve["points"]
    assert not one["disturbed"]
    assert not four["disturbed"]
    assert four["decode_tokens_per_s"] > one["decode_tokens_per_s"] > 0
    assert min(one["prefill_tokens_per_s"], four["prefill_tokens_per_s"]) > 0
    assert curve["vllm_version"]
    assert curve["hardware"]
    assert curve["prompt_tokens"] == 200
    assert found["cost_by_utilisation"][-1]["cost_per_m_nanousd"] is None, "this engine has no price"
    after = counted(real_engine)
    assert after.cached == before.cached, "no prompt was in the prefix cache"
    with reading(real_engine.database) as conn:
        kept = curves.latest(conn, "local")
    assert kept is not None
    assert kept.complete
