"""Claims about what configuration means to serving."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.engine_specs import adapter_routes, engine_for, intake, launches, replica_specs
from router.errors import RequestError
from tests.gateway.live_gateway import config_of

LOCAL = {"model": "Qwen/Tiny", "replicas": 2, "max_loras": 3, "max_lora_rank": 64, "args": ["--max-model-len", 4096], "env": {"A": "b"}, "startup_timeout_s": 9}
THEIRS = {"urls": ["http://10.0.0.5:8000", "http://10.0.0.6:8000"], "adapter_path_map": {"/a": "/b"}, "api_key": "sk-x"}
ENGINES = {"local": LOCAL, "theirs": THEIRS}


def configured(directory: Path, **more: Any) -> Any:
    return config_of(directory, {"engines": ENGINES, **more})


def test_every_replica_has_its_spec(tmp_path: Path) -> None:
    """Managed ones are launched with the engine's values, those of someone else are called at their urls."""
    config = configured(tmp_path)
    specs = replica_specs(config, "/venv/bin/python")
    assert [spec.name for spec in specs] == ["local/0", "local/1", "theirs/0", "theirs/1"]
    launch = specs[0].launch
    assert launch is not None
    assert (launch.engine, launch.model, launch.python, launch.replicas, launch.max_loras, launch.max_lora_rank) == (
        "local",
        "Qwen/Tiny",
        "/venv/bin/python",
        2,
        3,
        64,
    )
    assert (launch.args, dict(launch.env), launch.local_model, specs[0].startup_timeout_s) == (("--max-model-len", "4096"), {"A": "b"}, False, 9)
    assert (specs[3].launch, specs[3].url, specs[3].api_key, dict(specs[3].paths)) == (None, "http://10.0.0.6:8000", "sk-x", {"/a": "/b"})
    assert [one.engine for one in launches(config, sys.executable)] == ["local"]
    assert specs == replica_specs(config, "/venv/bin/python")
    assert len({*specs}) == 4


def test_routes_of_an_adapter_say_whether_there_is_a_gate(tmp_path: Path) -> None:
    """By adapter: each route, and whether it has a suite."""
    (tmp_path / "s.jsonl").write_text("")
    config = configured(
        tmp_path,
        routes={
            "one": {"candidates": [{"engine": "local", "adapter": "a"}, {"engine": "local", "adapter": "b"}], "quality": {"suite": "s.jsonl"}},
            "two": {"candidates": [{"engine": "local", "adapter": "a"}, {"engine": "local"}]},
        },
    )
    assert adapter_routes(config) == {"a": {"one": True, "two": False}, "b": {"one": True}}


def test_the_engine_of_an_adapter(tmp_path: Path) -> None:
    """As asked, as registered, as the routes say; with several and no hint it must be said."""
    config = configured(tmp_path, routes={"one": {"candidates": [{"engine": "theirs", "adapter": "a"}]}})
    assert engine_for(config, "a") == "theirs"
    assert engine_for(config, "a", asked="local") == "local"
    assert engine_for(config, "b", known="local") == "local"
    with pytest.raises(RequestError, match="say which engine b is for: local, theirs"):
        engine_for(config, "b")
    with pytest.raises(RequestError, match="no engine 'none'"):
        engine_for(config, "a", asked="none")
    only = config_of(tmp_path, {"engines": {"local": {"model": "x/y"}}})
    assert engine_for(only, "b") == "local"
    with pytest.raises(RequestError, match="the configuration has none"):
        engine_for(config_of(tmp_path, {}), "b")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"HF_HUB_CACHE": "/x/hub"}, Path("/x/hub")),
        ({"HF_HOME": "/x"}, Path("/x/hub")),
        ({"XDG_CACHE_HOME": "/c"}, Path("/c/huggingface/hub")),
        ({}, Path.home() / ".cache" / "huggingface" / "hub"),
    ],
)
def test_what_may_be_added(tmp_path: Path, environ: dict[str, str], expected: Path) -> None:
    """Limits and import roots from the configuration, the model cache by Hugging Face's own rules."""
    config = configured(tmp_path)
    found = intake(config, "local", environ)
    assert (found.engine, found.model, found.managed, found.limits.max_rank, found.roots, found.cache) == (
        "local",
        "Qwen/Tiny",
        True,
        64,
        (tmp_path,),
        expected,
    )
    assert not intake(config, "theirs", environ).managed
    with pytest.raises(RequestError, match="no engine 'none'"):
        intake(config, "none", environ)
