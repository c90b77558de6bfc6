"""Claims about a server as a child process."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from serving import process
from serving.process import Server, free_port


async def start(directory: Path, code: str = "print('hello')") -> Server:
    return await Server.start([sys.executable, "-c", code], {"A_NAME": "a value"}, directory / "x.json", directory / "logs" / "x.log", 1.0)


async def test_output_environment_and_exit_code(tmp_path: Path) -> None:
    """Both outputs are in the log, variables arrive, the exit code comes out, and stopping after the end is harmless."""
    server = await start(tmp_path, "import os, sys; print(os.environ['A_NAME']); print('oops', file=sys.stderr); sys.exit(3)")
    assert await asyncio.wait_for(server.wait(), 60) == 3
    assert sorted(server.tail()) == ["a value", "oops"]
    assert await server.stop() == 3
    assert await server.stop() == 3
    assert not (tmp_path / "x.json").exists()


async def test_the_log_of_the_run_before_is_kept_unless_it_is_huge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new run begins a new log; the old one says why that run ended; more than the bound is not kept."""
    for code in ("print('first')", "print('second')"):
        await asyncio.wait_for((await start(tmp_path, code)).wait(), 60)
    assert (tmp_path / "logs" / "x.log.1").read_text() == "first\n"
    monkeypatch.setattr(process, "_KEPT_LOG_BYTES", 1)
    server = await start(tmp_path)
    await asyncio.wait_for(server.wait(), 60)
    assert not (tmp_path / "logs" / "x.log.1").exists()
    server.log.unlink()
    assert server.tail() == []


async def test_stopping_a_running_server(tmp_path: Path) -> None:
    """It is asked to end and is gone when `stop` returns; its pid is the guard's."""
    server = await start(tmp_path, "import time; time.sleep(300)")
    assert server.pid > 0
    assert await server.stop() == 143


async def test_a_guard_that_cannot_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error comes out and no descriptor stays open."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(FileNotFoundError):
        await Server.start(["x"], {}, tmp_path / "x.json", tmp_path / "x.log", 1.0)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1


def test_ports_are_free() -> None:
    """Each can be bound by the next one who asks."""
    assert 1024 < free_port() < 65536
