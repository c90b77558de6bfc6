"""One real vLLM replica for the whole test run: a controller process with a random tiny Llama and PEFT adapters for it, made once.

`real_engine` (in tests/conftest.py) is for tests marked `vllm`. Tests may add adapters under names of their own;
whoever stops the server waits until it is back.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Engine

from gateway import adapters
from gateway.adapters import Asked
from gateway.config.load import load
from gateway.config.models import Config
from serving import registry
from serving.database import connect, reading
from serving.verbs import Change
from serving.views import ReplicaView
from tests.databases import prepare

ROOT = Path(__file__).parents[1]
# Tools and shapes as a real base would have them. A random model that may choose white space between JSON tokens never stops taking it.
SHAPES = '{"backend": "xgrammar", "disable_any_whitespace": true}'
ARGS = ("--max-model-len", "512", "--max-cpu-loras", "32", "--enable-auto-tool-choice", "--tool-call-parser", "hermes", "--structured-outputs-config", SHAPES)
ENV = {"VLLM_ENFORCE_STRICT_TOOL_CALLING": "0"}  # forced calls by their JSON schema: Hermes's own form leaves the arguments open, and they never end
START_S = 180.0  # 16 s on two idle cores; a busy machine takes several times that
PROCESS = "import sys, pathlib; from gateway.config.load import load; from gateway.controller import main; sys.exit(main(load(pathlib.Path(sys.argv[1]), {})))"


@dataclass
class RealEngine:
    """The installation around the replica: `local` serves `base`, adapters lie in `directory/adapters/{red,green,blue,zero}`."""

    directory: Path
    config: Config
    database: Engine
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, directory: Path) -> RealEngine:
        """Make the model, start the controller. Returns at once; `ready` waits."""
        subprocess.run([sys.executable, str(ROOT / "tests" / "serving" / "tiny.py"), str(directory)], check=True, capture_output=True, cwd=ROOT)
        body: dict[str, Any] = {
            "server": {"data_dir": str(directory / "data")},
            "database": f"sqlite:///{directory / 'breakeven.db'}",
            "engines": {"local": {"model": str(directory / "base"), "max_loras": 4, "max_lora_rank": 16, "args": list(ARGS), "env": ENV}},
            "adapters": {"import_roots": [str(directory / "adapters")]},
        }
        path = directory / "breakeven.yaml"
        path.write_text(json.dumps(body))
        config = load(path, {})
        database = connect(config.database, directory)
        prepare(database)
        with (directory / "controller.log").open("wb") as log:
            process = subprocess.Popen([sys.executable, "-c", PROCESS, str(path)], cwd=ROOT, start_new_session=True, stdout=log, stderr=log)
        return cls(directory, config, database, process)

    def ready(self, wait_s: float = START_S) -> ReplicaView:
        """The replica, once it is ready."""
        return self.until(lambda: next((r for r in self.replicas() if r.state == "ready"), None), wait_s)

    def replicas(self) -> list[ReplicaView]:
        with reading(self.database) as conn:
            return registry.replicas(conn)

    def add(self, name: str, directory: str) -> int:
        """Register `directory/adapters/<directory>` as a version of `name`."""
        asked = Asked(name, str(self.directory / "adapters" / directory))
        return int(adapters.added(self.database, self.config, asked, time.time(), {})["version"])

    def ask(self, verb: str, name: str, version: int | None = None, wait_s: float = START_S, **more: Any) -> dict[str, Any]:
        """Carry out a verb and wait for it."""
        change = Change(verb, name, version, **more)  # type: ignore[arg-type]
        return adapters.carried_out(self.database, self.config, change, wait_s, (time.time, time.sleep))

    def complete(self, model: str, prompt: str = "The order", **more: Any) -> dict[str, Any]:
        """A greedy completion straight from the replica."""
        wanted = {"model": model, "prompt": prompt, "max_tokens": 12, "temperature": 0, "seed": 1, **more}
        answer = httpx.post(self.ready().url + "/v1/completions", json=wanted, timeout=60)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def until(self, condition: Callable[[], Any], wait_s: float = START_S) -> Any:
        """Wait for something to become true; shows the controller's log when it does not."""
        deadline = time.monotonic() + wait_s
        while not (found := condition()):
            assert time.monotonic() < deadline, (self.directory / "controller.log").read_text()[-3000:]
            time.sleep(0.1)
        return found

    def stop(self) -> int:
        """End it as an operator would: its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(60)
        finally:
            self.process.kill()
            self.database.dispose()
