"""A controller with a stand-in for vLLM, for tests of the gateway that need adapters in and out: real processes, sockets and files."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from gateway.config.models import Config
from gateway.controller import Controller
from serving.database import connect
from tests.databases import prepare
from tests.gateway.live_gateway import config_of
from tests.serving.making import make_adapter, make_base, probes
from tests.serving.servers import FAKE


def body(directory: Path, **engine: Any) -> dict[str, Any]:
    """Two routes with one adapter, `plain` without a suite and `suited` with one; an engine that the stand-in runs."""
    if not (directory / "base").exists():
        make_base(directory / "base")
        (directory / "in").mkdir()
        (directory / "suite.jsonl").write_text("")
    local = {"model": str(directory / "base"), "python": sys.executable, "env": {"PYTHONPATH": str(FAKE)}, "gpu_hour_usd": 3.6, **engine}
    return {
        "engines": {"local": local},
        "adapters": {"import_roots": [str(directory / "in")]},
        "routes": {
            "plain": {"candidates": [{"engine": "local", "adapter": "colour"}]},
            "suited": {"candidates": [{"engine": "local", "adapter": "judged"}], "quality": {"suite": str(directory / "suite.jsonl")}},
        },
    }


def adapter(directory: Path, name: str, shift: float = 0.5, recorded: float | None = 0.5, **config: Any) -> str:
    """An adapter's directory inside the import root: it computes `shift`, its trainer recorded `recorded`."""
    path = make_adapter(directory / "in" / name, fake={"shift": shift}, **config)
    if recorded is not None:
        (path / "probes.json").write_text(json.dumps(probes(recorded)))
    return str(path)


def configured(directory: Path, **engine: Any) -> tuple[Config, Engine]:
    """The configuration and its fresh database."""
    config = config_of(directory, body(directory, **engine))
    database = connect(config.database, directory)
    prepare(database)
    return config, database


@contextlib.asynccontextmanager
async def controlled(config: Config) -> AsyncIterator[Controller]:
    """A controller that runs beside the test, until the end of the block."""
    controller = Controller(config, time.time, {})
    stop = asyncio.Event()
    task = asyncio.ensure_future(controller.run(stop))
    try:
        yield controller
    finally:
        stop.set()
        await asyncio.wait_for(task, 30)
