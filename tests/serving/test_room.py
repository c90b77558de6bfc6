"""Claims about how many adapters an engine keeps in memory."""

from __future__ import annotations

import sys

import pytest
from sqlalchemy import Engine

from router.errors import StateError
from serving import registry, replica_table
from serving.command import Launch, command, room
from serving.database import writing
from serving.verbs import Change
from serving.views import ReplicaView
from tests.serving.making import version
from tests.serving.servers import HOST


def seen(database: Engine, index: int, kept: int | None) -> None:
    with writing(database) as conn:
        replica_table.put(conn, ReplicaView("local", index, "http://x", "ready", healthy=True, restarts=0, detail="", room=kept), 1.0)


def ask(database: Engine, verb: str, number: int) -> registry.Plan:
    with writing(database) as conn:
        return registry.request(conn, Change(verb, "a", number, force=True, reason="test"), {}, 2.0)  # type: ignore[arg-type]


def test_what_would_not_fit_is_refused_with_what_to_do(database: Engine) -> None:
    """With room for two a third is refused, in the dry run too; asking again for one that is there is not, and after a retirement there is room."""
    with writing(database) as conn:
        for number in (1, 2, 3):
            registry.add_version(conn, version("a", 0, f"{number:064x}"), "local", "/src", "me", 1.0)
    seen(database, 0, None)  # run by someone else: unknown
    assert ask(database, "load", 1).changes
    seen(database, 1, 5)
    seen(database, 2, 2)  # the smallest counts
    assert ask(database, "promote", 2).changes
    with pytest.raises(StateError, match=r"keeps 2 adapter versions in memory, and 2 are loaded; retire one"):
        ask(database, "load", 3)
    with writing(database) as conn, pytest.raises(StateError, match="retire one"):
        registry.preview(conn, Change("canary", "a", 3, 5.0), {}, 2.0)
    assert not ask(database, "load", 1).changes
    ask(database, "retire", 1)
    with pytest.raises(StateError, match="2 are loaded"):  # it drains
        ask(database, "load", 3)
    with writing(database) as conn:
        registry.apply(conn, {}, {}, 100.0)
    assert ask(database, "load", 3).changes


@pytest.mark.parametrize(
    ("args", "adapters", "kept"),
    [((), 0, 16), ((), 8, 16), ((), 9, 17), ((), 100, 108), (("--max-cpu-loras", "40"), 100, 40), (("--max-cpu-loras=7",), 0, 7), (("--max-cpu-loras",), 1, 0)],
)
def test_room_is_made_at_the_start(args: tuple[str, ...], adapters: int, kept: int) -> None:
    """For all that will be loaded and as many again as there are slots; what the user wrote is known."""
    launch = Launch("local", "/m", sys.executable, max_loras=8, args=args)
    assert room(launch, adapters) == kept
    argv, _ = command(launch, HOST, 1, adapters)
    assert argv[argv.index("--max-cpu-loras") + 1] == str(kept)
