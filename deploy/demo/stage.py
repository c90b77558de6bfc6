"""The demo's stage: a work directory, free ports, the processes that run on it, and one line per thing that happens.

Not here: the order of the stages (run.py), customers (traffic.py), the summary (summary.py).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from deploy.demo.tickets import Ticket, write_reference, write_suite

HERE = Path(__file__).resolve().parent
ERROR_RATE, LATENCY_MS = 0.06, 180


class StageError(Exception):
    """A stage of the demo failed; the message says which command and what it printed."""


def free_port() -> int:
    """A port of the loopback interface that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Stage:
    """Owns the work directory and every process the demo starts; leaves none behind."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()
        self.port, self.provider_port = free_port(), free_port()
        self.url, self.key = f"http://127.0.0.1:{self.port}/v1", ""
        self.base = str(HERE / "base")
        self.sandbox = not self._real_provider()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._began = time.monotonic()
        self._open_line = False

    def __enter__(self) -> Self:
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        shutil.copy(HERE / "breakeven.yaml", self.directory / "breakeven.yaml")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        last_first = list(self._processes.values())[::-1]
        for process in last_first:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in last_first:
            try:
                process.wait(timeout=40)
            except subprocess.TimeoutExpired:
                process.kill()

    # what people see

    def say(self, text: str) -> None:
        """One line with the time since the start."""
        self._line("\n" if self._open_line else "", f"[{time.monotonic() - self._began:5.0f} s] {text}", "\n")
        self._open_line = False

    def progress(self, text: str) -> None:
        """A line that the next one overwrites on a terminal."""
        if sys.stdout.isatty():
            self._line("\r\x1b[2K", f"          {text}", "")
            self._open_line = True

    @staticmethod
    def _line(before: str, text: str, after: str) -> None:
        sys.stdout.write(before + text + after)
        sys.stdout.flush()

    # processes

    def _real_provider(self) -> bool:
        """Real OpenAI only when a key is set and a person at a terminal agrees to pay and to train on the answers."""
        if not os.environ.get("OPENAI_API_KEY"):
            return False
        if not sys.stdin.isatty():
            self._line("", "OPENAI_API_KEY is set, but nobody can be asked here: using the sandbox provider", "\n")
            return False
        question = "OPENAI_API_KEY is set. Send about 3,200 small requests to real OpenAI (well below one dollar) and train on the answers? [y/N] "
        return input(question).strip().lower() == "y"

    def environment(self) -> dict[str, str]:
        """What every command of the demo runs with."""
        provider = f"http://127.0.0.1:{self.provider_port}/v1" if self.sandbox else "https://api.openai.com/v1"
        return {
            **os.environ,
            "BREAKEVEN_CONFIG": str(self.directory / "breakeven.yaml"),
            "DEMO_PORT": str(self.port),
            "DEMO_PROVIDER_URL": provider,
            "DEMO_PROVIDER_KEY": "sandbox-key" if self.sandbox else os.environ["OPENAI_API_KEY"],
            "DEMO_SANDBOX": "true" if self.sandbox else "false",
            "DEMO_BASE": self.base,
            "PYTHONUNBUFFERED": "1",
        }

    def write(self, name: str, text: str) -> None:
        """A file in the work directory."""
        (self.directory / name).write_text(text)

    def breakeven(self, *words: str, live: bool = False) -> Any:
        """Run one `breakeven` command; its `--json` document. `live` shows its progress as it goes. StageError when it fails."""
        command = [sys.executable, "-m", "breakeven", *words, "--json"]
        done = subprocess.run(
            command, cwd=self.directory, env=self.environment(), stdout=subprocess.PIPE, stderr=None if live else subprocess.PIPE, check=False
        )
        if done.returncode != 0:
            said = done.stdout.decode() + (done.stderr or b"").decode()
            raise StageError(f"`breakeven {' '.join(words)}` ended with {done.returncode}: {said[-2000:]}")
        return json.loads(done.stdout)

    def _launch(self, name: str, *words: str) -> None:
        with (self.directory / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "breakeven", *words],
                cwd=self.directory,
                env=self.environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes[name] = process

    def kill(self, name: str) -> None:
        """`kill -9` of a process that was started here, as a crash would."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def start(self, drawn: Mapping[str, Sequence[Ticket]]) -> None:
        """Provider, gateway and, below the gateway, the engine; a key for the customers."""
        write_suite(self.directory / "suite.jsonl", drawn["suite"])
        write_reference(self.directory / "reference.jsonl", [t for batch in drawn.values() for t in batch])
        if self.sandbox:
            self.say(f"starting the sandbox provider: {ERROR_RATE:.0%} wrong answers, {LATENCY_MS} ms, prices of the model it imitates")
            words = (
                "sandbox",
                "--port",
                str(self.provider_port),
                "--answers",
                "reference.jsonl",
                "--error-rate",
                str(ERROR_RATE),
                "--latency-ms",
                str(LATENCY_MS),
            )
            self._launch("sandbox", *words, "--api-key", "sandbox-key")
            self.wait_for(f"http://127.0.0.1:{self.provider_port}/sandbox/log", 30)
        self.say("starting the gateway (ready at once) and, below it, vLLM (half a minute)")
        self.start_gateway()
        self.key = self.breakeven("keys", "create", "demo-customers")["key"]
        time.sleep(1.0)  # a new key is seen everywhere within a second

    def start_gateway(self) -> None:
        """`breakeven serve`, until it answers."""
        self._launch("serve", "serve")
        self.wait_for(f"http://127.0.0.1:{self.port}/readyz", 30)

    def get(self, path: str) -> Any:
        """A JSON document of the gateway's admin API (open here: loopback and no admin key)."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            return json.load(answer)

    def wait_for(self, url: str, seconds: float) -> None:
        """Until `url` answers 200."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if any(p.poll() is not None for p in self._processes.values()):
                break
            try:
                with urllib.request.urlopen(url, timeout=2):  # noqa: S310  our own loopback address
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        logs = "".join(f"\n--- {p.name}\n{p.read_text()[-1500:]}" for p in sorted(self.directory.glob("*.log")))
        raise StageError(f"{url} did not answer within {seconds:.0f} s{logs}")

    def wait_for_engine(self, seconds: float = 240) -> None:
        """Until the engine's replica is healthy."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            replicas = self.get("/admin/status")["replicas"]
            if replicas and all(r["healthy"] for r in replicas):
                return
            self.progress("waiting for vLLM: " + ", ".join(f"{r['state']} {r.get('detail') or ''}" for r in replicas))
            time.sleep(0.5)
        raise StageError(f"vLLM was not healthy within {seconds:.0f} s; see {self.directory}/serve.log")

    def wait(self) -> None:
        """Until Ctrl-C."""
        try:
            signal.pause()
        except KeyboardInterrupt:
            self.say("stopping")
