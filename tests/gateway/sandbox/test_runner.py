"""Running a sandbox as the command line does: a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys

import httpx
import pytest

from gateway.sandbox import running
from tests.patience import patience, read_line

CODE = """
from gateway.sandbox import SandboxOptions, serve
serve(SandboxOptions(models=("m",)), ready=lambda made: print(made.url, flush=True))
"""


def test_serve_says_where_it_is_and_stops_on_sigterm() -> None:
    """Port 0 lets the system choose; SIGTERM ends it cleanly."""
    with subprocess.Popen([sys.executable, "-c", CODE], stdout=subprocess.PIPE, text=True) as process, patience(process):
        url = read_line(process).strip()
        assert httpx.get(f"{url}/v1/models").json()["data"][0]["id"] == "m"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_two_run_side_by_side_and_end_with_their_block() -> None:
    """Each has its own port; after the block nothing answers."""
    with running() as one, running(host="::1") as two:
        assert one.url != two.url
        assert two.base_url.startswith("http://[::1]:")
        assert httpx.get(f"{two.base_url}/models").status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{one.base_url}/models")
