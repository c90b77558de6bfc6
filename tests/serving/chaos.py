"""Killing what carries adapters, at every step of their way: two replicas of the stand-in, their controller as a process of its own, and a worker whose
route is asked all the time. Shared by the short form (test_chaos.py) and the proof (tests/proof/test_chaos.py).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from gateway import adapters
from gateway.adapters import Asked
from serving import registry
from serving.database import reading
from serving.guard import members
from serving.states import State
from serving.verbs import Change
from serving.views import AdapterView, ReplicaView
from tests.gateway.live_gateway import LiveGateway
from tests.serving.making import make_adapter, make_base, probes
from tests.serving.servers import FAKE

ROOT = Path(__file__).parents[2]
CONTROLLER = (
    "import sys, pathlib; from gateway.config.load import load; from gateway.controller import main; sys.exit(main(load(pathlib.Path(sys.argv[1]), {})))"
)
ADD = """
import pathlib, resource, signal, sys, time
from gateway import adapters
from gateway.config.load import load
from serving.database import connect
config = load(pathlib.Path(sys.argv[1]), {})
database = connect(config.database, config.source.parent)
if sys.argv[3] != "-":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
adapters.added(database, config, adapters.Asked("colour", sys.argv[2]), time.time(), {})
"""
STEPS = ("copy", "load", "verify", "evaluate", "promote", "rollback", "drain", "unload")
VICTIMS = ("replica", "controller", "both")
WAIT_S = 90.0


class World:
    """An installation with one route, `plain`: a provider that always answers, and the adapter `colour` on the engine. Use it as a context manager."""

    def __init__(self, directory: Path, hosted: str) -> None:
        self.directory = directory
        (directory / "in").mkdir(parents=True)
        make_base(directory / "base")
        engine = {"model": str(directory / "base"), "python": sys.executable, "env": {"PYTHONPATH": str(FAKE)}, "gpu_hour_usd": 0.01, "replicas": 2}
        body = {
            "providers": {"hosted": {"kind": "compatible", "base_url": f"{hosted}/v1", "api_key": "x", "models": ["their-base"]}},
            "prices": [{"provider": "hosted", "model": "their-base", "effective": "2020-01-01", "input_usd_per_m": "50", "output_usd_per_m": "50"}],
            "engines": {"local": engine},
            "adapters": {"import_roots": [str(directory / "in")]},
            "routes": {"plain": {"candidates": [{"provider": "hosted", "model": "their-base"}, {"engine": "local", "adapter": "colour"}]}},
        }
        self.worker = LiveGateway(directory, body)
        self.config, self.database = self.worker.config, self.worker.database
        self.controller: subprocess.Popen[bytes] | None = None
        self.answers: list[tuple[int, str, str]] = []
        self.made = 0
        self.killed: set[str] = set()
        self._stop = threading.Event()
        self._asking = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> World:
        self.worker.__enter__()
        self.start()
        self.until(lambda: [r.state for r in self.replicas()] == ["ready", "ready"])
        self._asking.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._asking.join(60)
        groups = self.groups()
        if self.controller is not None:
            self.controller.terminate()
            try:
                self.controller.wait(60)
            finally:
                self.controller.kill()
        self.worker.__exit__()
        assert not any(members(group) for group in groups)

    def start(self) -> None:
        """The controller, as its own process."""
        with (self.directory / "controller.log").open("ab") as log:
            self.controller = subprocess.Popen(
                [sys.executable, "-c", CONTROLLER, str(self.config.source)], cwd=ROOT, start_new_session=True, stdout=log, stderr=log
            )

    def _ask(self) -> None:
        with httpx.Client(base_url=self.worker.url, timeout=60) as http:
            while not self._stop.wait(0.1):
                answer = http.post("/v1/completions", json={"model": "plain", "prompt": "hi", "max_tokens": 1})
                body = answer.json()
                text = str(body["choices"][0]["text"]) if answer.status_code == 200 else answer.text
                self.answers.append((answer.status_code, str(body.get("model")), text))

    def until(self, true: Callable[[], Any], what: str = "it") -> None:
        deadline = time.monotonic() + WAIT_S
        while not true():
            if time.monotonic() > deadline:
                said = (self.directory / "controller.log").read_text()[-3000:]
                raise AssertionError(f"{what} did not happen in time: {self.view() if self.made else ''}\n{said}")
            time.sleep(0.05)

    def replicas(self) -> list[ReplicaView]:
        with reading(self.database) as conn:
            return registry.replicas(conn)

    def view(self) -> AdapterView:
        with reading(self.database) as conn:
            return registry.view(conn, "colour")

    def state(self, number: int) -> State:
        found = self.view().version(number)
        assert found is not None
        return found.state

    def groups(self) -> list[int]:
        """The process groups of the replicas that run."""
        found = []
        for path in sorted((self.config.server.data_dir / "engines").glob("local-*.json")):
            try:
                found.append(int(json.loads(path.read_text())["server"]))
            except (OSError, ValueError):
                continue
        return found

    def adapter(self, hold: str | None = None) -> tuple[str, int, Path]:
        """A directory for the next version, which stops at a step: its path, its number, the file that says it stands there."""
        self.made += 1
        held = self.directory / f"held-{self.made}"
        fake = {"shift": 0.5, "says": f"v{self.made}"} | ({"hold": [hold, str(held)]} if hold else {})
        path = make_adapter(self.directory / "in" / str(self.made), fake=fake)
        (path / "probes.json").write_text(json.dumps(probes(0.5)))
        return str(path), self.made, held

    def add(self, hold: str | None = None) -> tuple[int, Path]:
        path, number, held = self.adapter(hold)
        found = adapters.added(self.database, self.config, Asked("colour", path), time.time(), {})
        assert found["version"] == number
        return number, held

    def ask(self, verb: str, number: int | None) -> None:
        adapters.requested(self.database, self.config, Change(verb, "colour", number, reason="chaos"), time.time())  # type: ignore[arg-type]

    def live(self) -> int:
        """A new version, live and settled."""
        number, _ = self.add()
        self.ask("promote", number)
        self.until(lambda: self.view().live == number, "live")
        return number

    def kill(self, victim: str) -> None:
        """SIGKILL, without any warning."""
        groups, replicas = self.groups(), self.replicas()
        assert self.controller is not None
        self.killed |= {r.url for r in (replicas[:1] if victim == "replica" else replicas)}  # with the controller its servers go
        if victim in ("controller", "both"):
            self.controller.kill()
        if victim in ("replica", "both"):
            for pid in members(groups[0])[:1] if victim == "replica" else [m for group in groups for m in members(group)]:
                with suppress(ProcessLookupError):  # the guards are at it already
                    os.kill(pid, signal.SIGKILL)
        if victim in ("controller", "both"):
            self.controller.wait(30)
            self.start()

    def settled(self) -> None:
        """Wait until both replicas are ready and have exactly what the registry wants; then it must be one of the legal states."""

        def done() -> bool:
            view, seen = self.view(), self.replicas()
            if [r.state for r in seen] != ["ready", "ready"] or {r.url for r in seen} & self.killed or adapters.pending(view) is not None:
                return False
            return all(set(v.replicas) == ({0, 1} if v.wanted else set()) for v in view.versions)

        self.until(done, "coming to rest")
        view = self.view()
        live = view.version(view.live or 0)
        assert live is not None
        assert live.state is State.LOADED
        assert (view.want_live, view.want_canary) == (None, None)
        wanted = {view.model(v.version) for v in view.versions if v.wanted}
        for replica in self.replicas():
            listed = httpx.get(f"{replica.url}/v1/models", timeout=30).json()["data"]
            assert {card["id"] for card in listed if card["parent"] is not None} == wanted
        assert {Path(v.path).is_dir() for v in view.versions if v.state is not State.RETIRED} == {True}

    def asked_without_a_break(self) -> None:
        """More answers came since, every request was answered, and every answer by the weights it names."""
        seen = len(self.answers)
        self.until(lambda: len(self.answers) > seen + 2, "an answer")
        for status, model, text in self.answers:
            assert status == 200, text
            assert text == ("x" if model == "their-base" else "v" + model.removeprefix("local/colour@")), (model, text)


def scenario(world: World, step: str, victim: str) -> None:
    """One kill at one step, and what must be so afterwards."""
    before = world.live()
    world.settled()
    if step == "copy":
        _copy(world, victim)
    elif step in ("load", "verify"):
        number, held = world.add(step)
        world.ask("promote", number)
        world.until(held.exists, step)
        assert (world.view().live, world.view().want_live) == (before, number)
        world.kill(victim)
        held.with_suffix(".go").touch()
        world.until(lambda: world.view().live == number, "live")
    elif step in ("evaluate", "promote"):
        number, _ = world.add()
        world.ask("load", number)
        world.until(lambda: world.state(number) is State.LOADED, "loaded")
        world.kill(victim)
        if step == "promote":
            world.ask("promote", number)
            world.until(lambda: world.view().live == number, "live")
        world.settled()
        assert world.view().live == (number if step == "promote" else before)
    elif step == "rollback":
        world.live()
        world.kill(victim)
        world.ask("rollback", None)
        world.until(lambda: world.view().live == before, "rolled back")
    else:
        number, held = world.add("unload" if step == "unload" else None)
        world.ask("promote", number)
        world.until(lambda: world.view().live == number, "live")
        world.live()
        world.ask("retire", number)
        world.until(held.exists if step == "unload" else lambda: world.state(number) is State.DRAINING, step)
        world.kill(victim)
        held.with_suffix(".go").touch()
        world.until(lambda: world.state(number) is State.RETIRED, "retired")
    world.settled()
    world.asked_without_a_break()


def _copy(world: World, victim: str) -> None:
    """The process that copies is killed while it does, beside the victim; nothing of it is registered, and adding it again works."""
    path, number, _ = world.adapter()
    for extra in range(150):
        (Path(path) / f"note-{extra}.txt").write_text("x")
    home = world.config.server.data_dir / "adapters"
    adding = subprocess.Popen([sys.executable, "-c", ADD, str(world.config.source), path, "-"], cwd=ROOT)
    try:
        world.until(lambda: list(home.glob(".staging-*")) or adding.poll() is not None, "a copy")
    finally:
        adding.kill()
        adding.wait(30)
    world.kill(victim)
    found = adapters.added(world.database, world.config, Asked("colour", path), time.time(), {})
    assert found["version"] == number
    if victim != "replica":  # the next controller sweeps up
        world.until(lambda: not list(home.glob(".staging-*")), "the sweep")


def full_disk(world: World) -> None:
    """A copy that does not fit leaves nothing, and says so; with room it goes in."""
    path, number, _ = world.adapter()
    home = world.config.server.data_dir / "adapters"
    before, files = world.view(), sorted(home.rglob("*"))
    done = subprocess.run([sys.executable, "-c", ADD, str(world.config.source), path, "2000"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "no room for a copy" in done.stderr
    assert (world.view(), sorted(home.rglob("*"))) == (before, files)
    assert adapters.added(world.database, world.config, Asked("colour", path), time.time(), {})["version"] == number
    world.asked_without_a_break()
