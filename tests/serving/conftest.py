"""Fixtures of serving's tests: a stand-in for vLLM that runs by itself, and a real one shared by all tests that are marked `vllm`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving.process import free_port
from tests.serving.servers import FAKE


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Start a stand-in server by itself, as someone else would: `server(NAME="value")` gives its URL."""
    running: list[subprocess.Popen[bytes]] = []

    def start(**env: str) -> str:
        port = free_port()
        argv = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--port", str(port), "--served-model-name", "their-base", "--model", "/m"]
        running.append(subprocess.Popen(argv, env={**os.environ, "PYTHONPATH": str(FAKE), **env}, stdout=subprocess.DEVNULL, start_new_session=True))
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(url + "/health", timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return url
        raise AssertionError("the stand-in did not start")

    yield start
    for process in running:
        os.killpg(process.pid, 9)
        process.wait()
