"""Whether one adapter version more fits into the memory of an engine's replicas. Pure; how much room there is was decided at the start (command.py).

What does not fit is evicted, and read from disk again in the middle of a step while everybody waits.
"""

from __future__ import annotations

from collections.abc import Iterable

from router.errors import StateError
from serving.states import State
from serving.verbs import Plan
from serving.views import AdapterView, ReplicaView, VersionView


def check(made: Plan, adapters: Iterable[AdapterView], replicas: Iterable[ReplicaView]) -> None:
    """Raises StateError where `made` wants more versions loaded than a replica of its engine keeps. Replicas that someone else runs are not known."""
    engine, before = made.before.engine, {v.version for v in made.before.versions if held(v)}
    more = sum(held(v) and v.version not in before for v in made.after.versions)
    rooms = [replica.room for replica in replicas if replica.engine == engine and replica.room is not None]
    if not more or not rooms:
        return
    now = sum(held(v) for one in adapters if one.engine == engine for v in one.versions)
    if now + more > min(rooms):
        raise StateError(
            f"{engine} keeps {min(rooms)} adapter versions in memory, and {now} are loaded; retire one first, or restart the engine: it then makes room for "
            f"those that are loaded and some more (--max-cpu-loras in engines.{engine}.args sets a number of your own)"
        )


def held(version: VersionView) -> bool:
    """Whether a version takes up room: it is wanted, or on its way out."""
    return version.wanted or version.state is State.DRAINING
