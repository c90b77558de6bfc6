"""What `/v1/models` lists."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from gateway import openai_models, plans
from gateway.prices import PriceBook
from gateway.store.keys import Key
from gateway.view import Facts
from serving.views import AdapterView
from tests.gateway.live_gateway import config_of

KEY = Key("key_1", "team", "bk-x", ("r",), ("local*",), None, None, None, None, None, 0.0, None)


def test_everything_with_a_name(tmp_path: Path) -> None:
    """Routes, listed models, engines and live adapters, each once; a key sees what it may use; other adapters are not callable yet."""
    body = {
        "server": {"default_provider": "one"},
        "providers": {"one": {"kind": "compatible", "base_url": "http://127.0.0.1:1/v1", "models": ["m", "r"]}},
        "engines": {"local": {"urls": ["http://127.0.0.1:1"]}},
        "routes": {"r": {"candidates": [{"provider": "one", "model": "m"}]}},
    }
    adapters = {"a": AdapterView("a", "local", live=1), "b": AdapterView("b", "local"), "c": AdapterView("c", "gone", live=1)}
    view = plans.build(config_of(tmp_path, body), Facts(adapters=adapters), PriceBook(), 1.79e9)

    def names(key: Key | None) -> list[tuple[str, str]]:
        return [(model["id"], model["owned_by"]) for model in openai_models.listing(view, key, 7)["data"]]

    assert names(None) == [("r", "breakeven"), ("m", "one"), ("local", "local"), ("local/a", "local")]
    assert names(KEY) == [("r", "breakeven"), ("local", "local"), ("local/a", "local")]
    assert names(replace(KEY, routes=None, models=("m",))) == [("m", "one")]
    assert openai_models.one(view.routes["r"], 7) == {"id": "r", "object": "model", "created": 7, "owned_by": "breakeven"}
