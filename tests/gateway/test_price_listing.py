"""The price book as it is shown: by kind, with its source, its date and its age; unknown is unknown."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from gateway import price_package
from gateway.config.load import loads
from gateway.config.models import Config
from gateway.price_listing import STALE_AFTER_DAYS, data_age, doubts, listing

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def test_the_models_of_a_configuration_are_listed_once() -> None:
    """Candidates, listed models and overrides; unknown is null with its state, never a zero."""
    config = Config.model_validate(
        {
            "providers": {"openai": {"models": ["gpt-4o-mini", "gpt-4o"]}, "mine": {"kind": "compatible", "base_url": "http://127.0.0.1:9/v1"}},
            "engines": {"local": {"model": "a/b"}},
            "prices": [{"provider": "mine", "model": "big", "input_usd_per_m": 0.5, "output_usd_per_m": 1}],
            "routes": {"r": {"candidates": [{"provider": "openai", "model": "gpt-4o-mini"}, {"provider": "mine", "model": "small"}, {"engine": "local"}]}},
        }
    )
    found = listing(config, None, NOW.timestamp())
    rows = found["data"]
    assert isinstance(rows, list)
    assert [(r["provider"], r["model"], r["input_usd_per_m"], r["cached_input_usd_per_m"], r["cost_state"]) for r in rows] == [
        ("openai", "gpt-4o-mini", "0.15", "0.075", "known"),
        ("mine", "small", None, None, "unknown"),
        ("openai", "gpt-4o", "2.5", "1.25", "known"),
        ("mine", "big", "0.5", None, "known"),
    ]
    assert (rows[0]["output_nanousd_per_m"], rows[1]["source"], rows[3]["source"]) == (600_000_000, None, "override always")
    one = listing(config, "gpt-5", NOW.timestamp())["data"]
    assert isinstance(one, list)
    assert [(r["provider"], r["cost_state"]) for r in one] == [("openai", "known"), ("mine", "unknown")]


def test_every_kind_is_shown_and_what_is_unknown_is_null() -> None:
    """Cache writes, audio, long requests and service tiers beside the plain price; the day it came into force and how old the data is."""
    config = Config.model_validate(
        {
            "providers": {"openai": {"models": ["gpt-audio", "gpt-6-sol", "o3"]}, "mine": {"kind": "compatible", "base_url": "http://127.0.0.1:9/v1"}},
            "prices": [
                {"provider": "mine", "model": "big", "input_usd_per_m": 1, "output_usd_per_m": 2, "reasoning_usd_per_m": 3, "effective": "2026-01-31"},
                {"provider": "mine", "model": "big", "input_usd_per_m": 0.5, "output_usd_per_m": 1, "service_tier": "flex"},
            ],
        }
    )
    document = listing(config, None, NOW.timestamp())
    audio, sol, o3, big = document["data"]
    assert (audio["audio_input_usd_per_m"], audio["audio_output_nanousd_per_m"], audio["cache_write_usd_per_m"]) == ("32", 64_000_000_000, None)
    assert (audio["variants"], audio["effective"], audio["stale"]) == ([], None, document["package"]["stale"])
    long, flex = sol["variants"][0], next(v for v in sol["variants"] if v["service_tier"] == "flex")
    assert (long["service_tier"], long["above_input_tokens"], long["input_usd_per_m"], long["cache_write_usd_per_m"]) == (None, 272_000, "4", "5")
    assert (flex["above_input_tokens"], flex["input_usd_per_m"], flex["cached_input_usd_per_m"]) == (0, "1", "0.1")
    assert {v["service_tier"] for v in sol["variants"]} >= {None, "batch", "flex", "priority"}
    assert o3["effective"] == "2025-06-10T00:00:00.000Z"
    assert (big["effective"], big["source"], big["stale"], big["age_days"]) == ("2026-01-31T00:00:00.000Z", "override 2026-01-31", False, None)
    assert (big["reasoning_usd_per_m"], [v["service_tier"] for v in big["variants"]], big["variants"][0]["input_usd_per_m"]) == ("3", ["flex"], "0.5")


def test_data_grows_old() -> None:
    """Counted from the newest price change it knows of; stale after the stated number of days."""
    as_of = price_package.as_of()
    assert as_of is not None
    newest = datetime.combine(as_of, datetime.min.time(), UTC)
    fresh, old = (data_age((newest + timedelta(days=days)).timestamp()) for days in (STALE_AFTER_DAYS, STALE_AFTER_DAYS + 1))
    assert (fresh["as_of"], fresh["age_days"], fresh["stale"]) == (as_of.isoformat(), STALE_AFTER_DAYS, False)
    assert (old["age_days"], old["stale"], old["stale_after_days"]) == (STALE_AFTER_DAYS + 1, True, STALE_AFTER_DAYS)
    assert data_age(0.0)["age_days"] == 0
    assert fresh["source"].startswith("genai-prices ")


def test_prices_announced_ahead_do_not_make_the_data_newer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes into force after the package was installed says nothing about how new it is; without a plausible time of installation it is unknown."""
    module = tmp_path / "genai_prices.py"
    module.touch()
    monkeypatch.setattr(price_package.genai_prices, "__file__", str(module))
    found = []
    for installed in (datetime(2025, 6, 20, tzinfo=UTC), datetime(1980, 1, 1, tzinfo=UTC)):
        os.utime(module, (installed.timestamp(),) * 2)
        price_package.as_of.cache_clear()
        found.append(price_package.as_of())
        unknown = data_age(NOW.timestamp())
    price_package.as_of.cache_clear()
    assert found[0] is not None
    assert date(2025, 6, 10) <= found[0] <= date(2025, 6, 20)
    assert (found[1], unknown["as_of"], unknown["age_days"], unknown["stale"]) == (None, None, None, None)


def test_models_of_unknown_price_are_doubtful(tmp_path: Path) -> None:
    """Each once, where it is named; a model that has a price is not, nor one that only an override names."""
    text = """
providers: {openai: {api_key: k, models: [gpt-4o, gpt-99]}, mine: {kind: compatible, base_url: "https://m.example/v1"}}
prices: [{provider: mine, model: big, input_usd_per_m: 1, output_usd_per_m: 1}]
routes: {r: {candidates: [{provider: openai, model: gpt-99}, {provider: mine, model: big}, {provider: mine, model: small}]}}
"""
    found = doubts(loads(text, tmp_path / "breakeven.yaml", {}), NOW.timestamp())
    assert [problem.key for problem in found] == ["routes.r.candidates[0]", "routes.r.candidates[2]"]
    assert all(str(tmp_path / "breakeven.yaml") in str(problem) and "price is unknown" in problem.message for problem in found)
    later = doubts(loads(text, tmp_path / "breakeven.yaml", {}), NOW.timestamp() + 86_400 * 365)
    assert [problem.key for problem in later] == ["routes.r.candidates[0]", "routes.r.candidates[2]", "prices"]
