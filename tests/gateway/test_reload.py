"""Reading the configuration again: what is taken up at once, what waits for a restart."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from gateway.quotas import Budget, Budgets
from gateway.reload import budgets, reread
from router.errors import ConfigError
from tests.gateway.live_gateway import config_of

BODY = {"providers": {"one": {"kind": "compatible", "base_url": "http://127.0.0.1:1/v1"}}, "server": {"default_provider": "one"}}
ROUTE = {"candidates": [{"provider": "one", "model": "m"}]}


def test_routes_and_keys_change_sockets_do_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A new admin key and new routes are in force; another port or database is said to need a restart."""
    config = config_of(tmp_path, BODY)
    path = tmp_path / "breakeven.yaml"
    fresh = json.loads(path.read_text())
    fresh["server"] |= {"port": 1234, "admin_key": "k"}
    fresh |= {"database": "sqlite:///other.db", "routes": {"r": {**ROUTE, "budget": {"usd_per_day": 2}}, "s": ROUTE}}
    path.write_text(json.dumps(fresh))
    with caplog.at_level(logging.WARNING):
        got = reread(config, {})
    assert set(got.routes) == {"r", "s"}
    assert got.server.admin_key is not None
    assert (got.server.port, got.database, got.source) == (0, config.database, path)
    assert "server.port, database" in caplog.text
    assert budgets(got) == Budgets({"r": (Budget("route", "r", "r", "day", 2_000_000_000),)})


def test_an_invalid_file_raises(tmp_path: Path) -> None:
    """Nothing is applied in part."""
    config = config_of(tmp_path, BODY)
    (tmp_path / "breakeven.yaml").write_text("routes: [")
    with pytest.raises(ConfigError):
        reread(config, {})
