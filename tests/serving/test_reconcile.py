"""Claims about making replicas have what the registry wants. Real HTTP to stand-ins for vLLM, a real database, a clock in the test's hands."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from serving import reconcile as reconcile_module
from serving import registry, storage
from serving import replica as replica_module
from serving.client import Client
from serving.database import reading, writing
from serving.reconcile import FILES_S, RETRY_S, Reconciler
from serving.replica import Spec
from serving.states import State
from serving.verbs import DRAIN_S, Change
from serving.views import AdapterView, VersionView
from tests.serving.making import conversation, make_adapter, make_database, probes, version
from tests.serving.servers import Watched, until


class World:
    """A database, a data directory, replicas of one engine, and the reconciler between them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.now = 1000.0
        self.lines: list[str] = []
        self.database: Engine = make_database(directory)
        self.replicas: list[Watched] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.reconciler = Reconciler(self.database, directory / "data", lambda: self.now, self.lines.append)
        self.routes = {"a": {"triage": False}}

    async def replica(self, url: str, paths: dict[str, str] | None = None) -> Watched:
        made = Watched(Spec("local", len(self.replicas), self.directory, url=url, paths=paths or {}))
        self.replicas.append(made)
        self.tasks.append(asyncio.ensure_future(made.replica.run()))
        await until(lambda: made.replica.up)
        return made

    async def once(self, times: int = 1) -> None:
        for _ in range(times):
            await self.reconciler.once([watched.replica for watched in self.replicas], self.routes)

    def add(self, shift: float = 0.5, recorded: float | None = 0.5, conversations: list[dict[str, Any]] | None = None, **fake: Any) -> int:
        """A published version that computes `shift` and whose trainer recorded `recorded` and `conversations`."""
        source = make_adapter(self.directory / "in" / f"{len(list((self.directory / 'in').glob('*')))}", fake={"shift": shift, **fake})
        if recorded is not None:
            (source / "probes.json").write_text(json.dumps(probes(recorded) | {"conversations": conversations or []}))
        staged = storage.stage(source, self.directory / "data", [self.directory])
        place = storage.publish(staged, self.directory / "data", "a")
        with writing(self.database) as conn:
            return registry.add_version(conn, version("a", 0, staged.digest, path=str(place)), "local", str(source), "me", self.now).version

    def ask(self, verb: str, number: int | None = None, **more: Any) -> None:
        with writing(self.database) as conn:
            registry.request(conn, Change(verb, "a", number, **more), self.routes["a"], self.now)  # type: ignore[arg-type]

    @property
    def view(self) -> AdapterView:
        with reading(self.database) as conn:
            return registry.view(conn, "a")

    def version(self, number: int) -> VersionView:
        found = self.view.version(number)
        assert found is not None
        return found

    async def names(self, watched: Watched) -> set[str]:
        client = Client(watched.replica.view.url)
        found = set(await client.models()) - {"their-base"}
        await client.aclose()
        return found


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(replica_module, "POLL_S", 0.05)
    (tmp_path / "in").mkdir()
    made = World(tmp_path)
    yield made
    for watched in made.replicas:
        await watched.replica.stop()
    await asyncio.gather(*made.tasks)
    made.database.dispose()


Start = Callable[..., str]


async def test_a_promotion_reaches_every_replica_before_it_counts(world: World, server: Start) -> None:
    """Loaded and verified on both, then live; both are announced only after their adapters are in."""
    one, two = await world.replica(server()), await world.replica(server())
    number = world.add()
    world.ask("promote", number)
    assert (one.replica.view.state, world.view.live) == ("starting", None)
    await world.once()
    assert (one.replica.view.state, two.replica.view.state) == ("ready", "ready")
    assert (world.view.live, world.version(1).replicas) == (1, (0, 1))
    assert await world.names(one) == {"local/a@1"} == await world.names(two)
    assert world.version(1).verified is not None
    assert world.version(1).verified["proof"] == "proven"  # type: ignore[index]
    assert any("verified local/a@1 (proven)" in line for line in world.lines)
    assert "adapter a@1 is live" in world.lines


async def test_an_adapter_that_computes_something_else_is_refused(world: World, server: Start) -> None:
    """What the engine computes is not what the trainer recorded: unloaded, refused with the reason, the live version untouched."""
    one = await world.replica(server())
    world.ask("promote", world.add())
    await world.once()
    bad = world.add(shift=0.9, recorded=0.5)
    world.ask("promote", bad)
    await world.once(2)
    found = world.version(bad)
    assert (found.state, found.reasons[0].code, world.view.live, world.view.want_live) == (State.REFUSED, "record_differs", 1, None)
    assert await world.names(one) == {"local/a@1"}


@pytest.mark.parametrize(("fake", "code"), [({"status": 500}, "engine_refused"), ({"status": 404}, "engine_refused"), ({"nan": True}, "not_finite")])
async def test_what_the_engine_refuses_is_refused(world: World, server: Start, fake: dict[str, Any], code: str) -> None:
    """A load that fails and numbers that are not finite end in a refusal with the engine's words, and nothing stays loaded."""
    one = await world.replica(server())
    world.ask("load", world.add(**fake))
    await world.once(2)
    assert (world.version(1).state, world.version(1).reasons[0].code) == (State.REFUSED, code)
    assert await world.names(one) == set()
    assert one.replica.view.state == "ready"


async def test_a_restarted_server_gets_its_adapters_back_before_it_is_ready(world: World, server: Start) -> None:
    """Another process under the same url has nothing: everything is loaded and verified again first."""
    one = await world.replica(server())
    world.ask("promote", world.add())
    await world.once()
    client = Client(one.replica.view.url)
    await client.unload("local/a@1")
    await client.aclose()
    one.replica.generation += 1
    one.replica._view = replace(one.replica.view, state="starting", healthy=False)
    await world.once()
    assert await world.names(one) == {"local/a@1"}
    assert (one.replica.view.state, world.version(1).replicas) == ("ready", (0,))


async def test_what_someone_unloaded_by_hand_comes_back(world: World, server: Start) -> None:
    """Desired and actual are compared for ever, a few seconds apart when nothing changed."""
    one = await world.replica(server())
    world.ask("promote", world.add())
    await world.once(2)
    client = Client(one.replica.view.url)
    await client.unload("local/a@1")
    await world.once()
    assert await world.names(one) == set()
    world.now += 6
    await world.once()
    assert await world.names(one) == {"local/a@1"}
    await client.aclose()


async def test_retiring_drains_unloads_and_removes_the_files_later(world: World, server: Start) -> None:
    """The name stays for the drain time, then goes everywhere; the directory goes when no request can still need it."""
    one = await world.replica(server())
    world.ask("load", world.add())
    await world.once()
    place = Path(world.version(1).path)
    world.ask("retire", 1)
    await world.once()
    assert await world.names(one) == {"local/a@1"}
    assert world.version(1).replicas == ()
    world.now += DRAIN_S
    await world.once(2)
    assert await world.names(one) == set()
    assert world.version(1).state is State.RETIRED
    assert place.is_dir()
    world.now += FILES_S + 1
    await world.once()
    assert not place.exists()
    assert world.version(1).files_removed


async def test_files_shared_with_a_later_version_stay(world: World, server: Start) -> None:
    """The same content added again after its retirement lies in the same place: the old version's end does not take it away."""
    await world.replica(server())
    world.add()
    world.ask("retire", 1)
    world.now += DRAIN_S
    await world.once()
    assert world.add() == 2
    world.now += FILES_S + 1
    await world.once()
    assert Path(world.version(2).path).is_dir()
    assert world.version(1).files_removed
    assert not world.version(2).files_removed


async def test_a_live_version_that_does_not_come_back_is_tried_again(world: World, server: Start) -> None:
    """On one replica it fails: it stays live, the failure is visible there, other replicas serve, and it is tried again later."""
    one = await world.replica(server())
    world.ask("promote", world.add())
    await world.once()
    two = await world.replica(server())
    place = Path(world.version(1).path)
    place.chmod(0o755)
    (place / "fake.json").chmod(0o644)
    (place / "fake.json").write_text('{"status": 500}')
    await world.once(2)
    found = world.version(1)
    assert (found.state, found.replicas, world.view.live) == (State.LOADED, (0,), 1)
    assert "made up" in found.failed[1]
    assert await world.names(two) == set()
    (place / "fake.json").write_text('{"shift": 0.5}')
    world.now += RETRY_S - 6
    await world.once()
    assert await world.names(two) == set()
    world.now += 7
    await world.once()
    assert await world.names(two) == {"local/a@1"} == await world.names(one)
    assert world.version(1).replicas == (0, 1)


async def test_leftover_names_of_ours_are_unloaded_foreign_ones_stay(world: World, server: Start, tmp_path: Path) -> None:
    """On a server that someone else runs only names of this engine are ours."""
    one = await world.replica(server())
    client = Client(one.replica.view.url)
    path = str(make_adapter(tmp_path / "in" / "x"))
    await client.load("local/old@7", path)
    await client.load("theirs", path)
    world.ask("load", world.add())
    await world.once()
    assert await world.names(one) == {"theirs", "local/a@1"}
    await client.aclose()


async def test_paths_are_translated_for_a_server_elsewhere(world: World, server: Start) -> None:
    """The server sees the directory under its own name, and is compared by it."""
    (world.directory / "data").mkdir()
    (world.directory / "mounted").symlink_to(world.directory / "data")
    one = await world.replica(server(), {str(world.directory / "data"): str(world.directory / "mounted")})
    world.ask("load", world.add())
    await world.once(3)
    client = Client(one.replica.view.url)
    assert (await client.models())["local/a@1"].root.startswith(str(world.directory / "mounted"))
    assert sum("loaded local/a@1" in line for line in world.lines) == 1
    await client.aclose()


async def test_a_server_in_trouble_refuses_nothing(world: World, server: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the server itself fails, versions keep their state and it is tried again; the replica is not announced."""
    monkeypatch.setattr(replica_module, "UNHEALTHY_AFTER", 1000)  # the reconciler sees it, not the watch
    one = await world.replica(server())
    world.ask("load", world.add(status=500))
    async with httpx.AsyncClient() as http:
        await http.post(one.replica.view.url + "/fake/health", json={"status": 503})
        await world.once()
        assert (world.version(1).state, one.replica.view.state) == (State.REGISTERED, "starting")
        assert any("trying again" in line for line in world.lines)
        await http.post(one.replica.view.url + "/fake/health", json={"status": 200})
    await world.once()
    assert world.version(1).state is State.REFUSED


async def test_a_gone_replica_is_forgotten(world: World, server: Start) -> None:
    """What it had is not where requests may go any more."""
    await world.replica(server())
    world.ask("load", world.add())
    await world.once()
    await world.reconciler.gone("local", 0)
    assert world.version(1).replicas == ()


async def test_an_engine_that_renders_conversations_otherwise_gets_no_adapter(world: World, server: Start) -> None:
    """Its numbers are right, yet it asks with other tokens than the trainer saw: refused, unloaded, the live version untouched."""
    watched = await world.replica(server())
    world.ask("promote", world.add(conversations=[conversation("yes"), conversation("no")]))
    await world.once(3)
    assert world.version(1).verified is not None
    assert world.version(1).verified["conversations"] == 2  # type: ignore[index]
    other = world.add(shift=0.7, recorded=0.7, conversations=[conversation("yes"), conversation("no", seen=" no")])
    world.ask("promote", other)
    await world.once(3)
    found = world.version(other)
    assert (found.state, found.reasons[0].code, world.view.live) == (State.REFUSED, "tokens_differ", 1)
    assert await world.names(watched) == {"local/a@1"}


async def test_a_loaded_adapter_the_registry_does_not_know_of_is_verified_first(world: World, server: Start) -> None:
    """After a crash between load and record the version is there and unverified: it is verified, not trusted."""
    one = await world.replica(server())
    number = world.add()
    client = Client(one.replica.view.url)
    await client.load("local/a@1", world.version(number).path)
    await client.aclose()
    world.ask("load", number)
    await world.once()
    assert world.version(1).replicas == (0,)
    assert not any("loaded local/a@1" in line for line in world.lines)


def test_pauses_are_what_the_documents_say() -> None:
    """Files stay longer than the longest request may run."""
    assert reconcile_module.FILES_S > 600
