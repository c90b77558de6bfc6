"""What is known of an engine's speed, as a document."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from gateway import calibration
from gateway.config.models import Config
from gateway.store import exchanges, gpu
from gateway.store.curves import Curve
from router.errors import ConfigError, RequestError
from router.types import Usage
from router.utilisation import Mix, Point
from serving.database import writing
from tests.gateway.live_gateway import config_of
from tests.gateway.store.conftest import attempt, exchange, noon, sqlite, template

__all__ = ["attempt", "exchange", "noon", "sqlite", "template"]
CURVE = Curve("local", 1795442400.0, 0, "base", None, None, None, 512, True, (Point(8, 20_000.0, 4_000.0),))
MIX = (Mix(0.8), "given")


def configured(directory: Path, **engine: Any) -> Config:
    """An engine and gpt-4o-mini."""
    return config_of(
        directory,
        {
            "providers": {"openai": {"api_key": "k"}},
            "engines": {"local": {"urls": ["http://127.0.0.1:9"], **engine}},
            "routes": {"triage": {"candidates": [{"provider": "openai", "model": "gpt-4o-mini"}, {"engine": "local"}]}},
        },
    )


def test_an_engine_of_known_speed_against_a_known_price(tmp_path: Path) -> None:
    """20,000 and 4,000 tokens/s at 2.50 dollars an hour beat gpt-4o-mini (0.24 dollars for this million) from 26 % use on."""
    found = calibration.document(configured(tmp_path, gpu_hour_usd=2.5), "local", CURVE, MIX, 1795442400.0)
    assert found["cost_by_utilisation"][-1] == {"utilisation": 1.0, "cost_per_m_nanousd": 62_500_000, "cost_per_m_usd": "0.0625"}
    (one,) = found["hosted"]
    assert (one["model"], one["cost_per_m_nanousd"], one["verdict"]) == ("gpt-4o-mini", 240_000_000, "from_utilisation")
    assert one["break_even_utilisation"] == one["local_share_at_full_use"] == pytest.approx(0.2604, abs=1e-4)
    assert found["curve"]["saturation"] == {"batch": 8, "prefill_tokens_per_s": 20_000.0, "decode_tokens_per_s": 4_000.0}
    assert found["curve"]["measured_at"] == "2026-11-23T14:00:00.000Z"


def test_without_a_price_or_a_curve_it_is_null(tmp_path: Path) -> None:
    """Unknown is unknown: no GPU price, no cost; no calibration, no curve; no such engine, 404."""
    config = configured(tmp_path)
    found = calibration.document(config, "local", CURVE, MIX, 1.0)
    assert {step["cost_per_m_nanousd"] for step in found["cost_by_utilisation"]} == {None}
    found = calibration.document(config, "local", CURVE, MIX, 1795442400.0)
    assert [one["verdict"] for one in found["hosted"]] == ["gpu_price_unknown"]
    found = calibration.document(config, "local", None, MIX, 1.0)
    assert (found["curve"], found["cost_by_utilisation"], found["hosted"]) == (None, [], [])
    with pytest.raises(RequestError, match="no engine 'x'"):
        calibration.document(config, "x", None, MIX, 1.0)


def test_the_mix_is_the_ledgers(sqlite: Engine, exchange: Callable[..., Any], noon: float) -> None:
    """What our requests lately were; before there were any, four to one is assumed, and said so."""
    with writing(sqlite) as conn:
        assert calibration.mix_of(conn, "local", noon) == (Mix(0.8), "assumed")
        exchanges.insert(conn, [exchange("a", local=True, time=noon, total_ms=30_000.0, usage=Usage(100, 40, 20))])
        gpu.record_uptime(conn, "local", 0, int(noon // 60), 60.0, None)
        gpu.close_minutes(conn, noon + 600)
        assert calibration.mix_of(conn, "local", noon + 600) == (Mix(0.75), "ledger")
        assert calibration.mix_of(conn, "local", noon + 40 * 86400)[1] == "assumed"
    assert calibration.parsed_mix("1:3") == Mix(0.25)
    with pytest.raises(ConfigError, match="4:1"):
        calibration.parsed_mix("-1:3")


@pytest.mark.parametrize(("args", "found"), [([], None), (["--dtype", "half"], "half"), (["--dtype=half"], "half"), (["--dtype"], None)])
def test_the_number_format_is_what_the_arguments_say(tmp_path: Path, args: list[str], found: str | None) -> None:
    """Else vLLM chooses."""
    config = config_of(tmp_path, {"engines": {"local": {"model": "org/base", "args": args}}})
    assert calibration.dtype(config, "local") == found
