"""The sections: defaults, plain values for the other rooms, and secrets."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.config.models import (
    BudgetConfig,
    CandidateConfig,
    Config,
    EngineConfig,
    HedgeConfig,
    ProviderConfig,
    RouteConfig,
    ServerConfig,
    SloConfig,
    is_loopback,
)
from gateway.config.prices import PriceOverride
from router.types import Price, Slo


def test_a_route_needs_only_candidates() -> None:
    """Everything else has the documented default, and no aim is invented."""
    route = RouteConfig.model_validate({"candidates": [{"engine": "local"}]})
    assert route.slo.to_router() == Slo(ttft_ms=None, total_ms=None, target=0.95)
    assert (route.timeouts.connect_ms, route.timeouts.first_token_ms, route.timeouts.idle_ms, route.timeouts.total_ms) == (2000, 30000, 30000, 600000)
    assert (route.quality.floor, route.quality.suite) == (-0.02, None)
    assert (route.capture.sample, route.capture.retain_days, route.capture.redact) == (0, 30, ("email", "phone", "card"))
    assert route.budget.nanousd_per_day is None
    assert (route.hedge, route.timeouts.min_tokens_per_s) == (None, None)


def test_hedges() -> None:
    """After milliseconds or a learnt percentile; a share of the hosted dollars."""
    assert HedgeConfig.model_validate({"after_ms": 800}) == HedgeConfig(after_ms=800.0, spend=0.05)
    assert HedgeConfig.model_validate({"after_ms": "p95", "spend": 0.5}).after_ms == "p95"


def test_slo_and_money_become_plain_values() -> None:
    """Milliseconds stay milliseconds, dollars become exact nano-dollars."""
    assert SloConfig(ttft_ms=400, total_ms=1500).to_router() == Slo(400.0, 1500.0, 0.95)
    assert EngineConfig.model_validate({"model": "m", "gpu_hour_usd": 2.50}).gpu_hour_nanousd == 2_500_000_000
    assert EngineConfig(model="m").gpu_hour_nanousd is None
    assert BudgetConfig.model_validate({"usd_per_day": 0.1}).nanousd_per_day == 100_000_000
    assert BudgetConfig.model_validate({"usd_per_day": 0}).nanousd_per_day == 0


def test_a_price_override_names_its_date() -> None:
    """Dollars per million tokens become nano-dollars per million tokens; the source tells from when."""
    given = {"provider": "openai", "model": "m", "input_usd_per_m": "0.15", "cached_input_usd_per_m": 0.075, "output_usd_per_m": 0.6}
    day = PriceOverride.model_validate({**given, "effective": "2026-01-31"})
    assert day.effective == datetime(2026, 1, 31, tzinfo=UTC)
    assert day.to_router() == Price(150_000_000, 600_000_000, 75_000_000, "override 2026-01-31")
    assert PriceOverride.model_validate({**given, "effective": "2026-01-31T12:30:00Z"}).to_router().source == "override 2026-01-31T12:30:00Z"
    always = PriceOverride.model_validate({**given, "cached_input_usd_per_m": None}).to_router()
    assert (always.cached, always.source) == (None, "override always")


def test_candidates_know_their_owner() -> None:
    """Hosted by provider, local by engine."""
    hosted, local = CandidateConfig(provider="openai", model="m"), CandidateConfig(engine="local", adapter="a")
    assert (hosted.kind, hosted.owner) == ("hosted", "openai")
    assert (local.kind, local.owner) == ("local", "local")


def test_engines_are_launched_or_reached() -> None:
    """With urls, each is a replica of an engine that is not ours to launch."""
    reached = EngineConfig.model_validate({"urls": ["http://a:1/", "http://b:1"]})
    assert (reached.managed, reached.replica_count, reached.urls) == (False, 2, ("http://a:1", "http://b:1"))
    launched = EngineConfig(model="m", replicas=3)
    assert (launched.managed, launched.replica_count) == (True, 3)


def test_listed_models() -> None:
    """As router.naming wants them."""
    assert ProviderConfig().listed == ("*",)
    assert ProviderConfig.model_validate({"models": ["a", "b"]}).listed == ("a", "b")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.3.2.1", True), ("localhost", True), ("::1", True), ("[::1]", True), ("0.0.0.0", False), ("::", False), ("gw.example", False)],
)
def test_loopback(host: str, loopback: bool) -> None:
    """Only addresses that other machines cannot reach."""
    assert is_loopback(host) is loopback
    assert ServerConfig(host=host).loopback is loopback


def test_empty_values_mean_defaults() -> None:
    """A key left empty, a section left empty, and a variable that is empty."""
    config = Config.model_validate(
        {"server": None, "prices": None, "redis": "", "routes": {"a": {"candidates": [{"engine": "e", "adapter": ""}], "slo": None}}}
    )
    assert config.server == ServerConfig()
    assert config.prices == ()
    assert config.redis is None
    assert config.routes["a"].candidates[0].adapter is None
    assert ServerConfig.model_validate({"admin_port": "null", "admin_key": "", "port": None}) == ServerConfig()


def test_sections_are_closed_and_frozen() -> None:
    """No unknown key, no later change."""
    with pytest.raises(ValidationError):
        ServerConfig.model_validate({"hots": "x"})
    with pytest.raises(ValidationError):
        ServerConfig.model_validate(["host"])
    with pytest.raises(ValidationError):
        ServerConfig().port = 1


def test_no_secret_shows() -> None:
    """Neither in repr nor in str, wherever secrets may stand."""
    config = Config.model_validate(
        {
            "server": {"admin_key": "hunter2"},
            "database": "postgresql://u:hunter2@h/n",
            "redis": "redis://:hunter2@h",
            "providers": {"p": {"api_key": "hunter2", "headers": {"x": "hunter2"}}},
            "engines": {"e": {"urls": ["http://h"], "api_key": "hunter2", "env": {"TOKEN": "hunter2"}}},
        }
    )
    assert "hunter2" not in repr(config) + str(config)
    key = config.server.admin_key
    assert key is not None
    assert key.get_secret_value() == "hunter2"


def test_paths_are_seen_from_the_file() -> None:
    """Every path of every section is absolute, defaults included."""
    route = {"candidates": [{"engine": "e", "program": {"system": "s", "examples": "x", "retrieval": {"source": "d"}}}], "quality": {"suite": "q"}}
    data = {"routes": {"r": route}, "engines": {"e": {"model": "./m", "python": "v/bin/python"}}}
    config = Config.model_validate(data, context={"root": Path("/c"), "source": Path("/c/b.yaml")})
    program = config.routes["r"].candidates[0].program
    assert program is not None
    assert program.retrieval is not None
    assert (program.system, program.examples, program.retrieval.source) == (Path("/c/s"), Path("/c/x"), Path("/c/d"))
    assert config.routes["r"].quality.suite == Path("/c/q")
    assert (config.server.data_dir, config.database, config.adapters.import_roots) == (Path("/c/.breakeven"), "sqlite:////c/breakeven.db", (Path("/c"),))
    assert (config.engines["e"].model, config.engines["e"].python) == ("/c/m", "/c/v/bin/python")
    assert (config.source, config.resolve("x"), config.resolve("/x")) == (Path("/c/b.yaml"), Path("/c/x"), Path("/x"))


def test_the_default_provider_may_be_absent() -> None:
    """Then nothing passes through."""
    assert Config().default_provider is None
    assert Config.model_validate({"providers": {"openai": {}}}).default_provider == ProviderConfig()
