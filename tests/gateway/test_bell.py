"""Bells between processes: real sockets, several in one loop."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gateway.bell import Bell


async def nothing() -> None:
    """Nobody rings this one."""


async def test_who_is_rung_does_it_and_answers(tmp_path: Path) -> None:
    """All that are there, and those alone; in a directory whose name is longer than a socket's may be."""
    directory = tmp_path / ("long" * 30) / "metrics"
    done: list[str] = []

    async def first() -> None:
        done.append("first")

    async def second() -> None:
        await asyncio.sleep(0.05)
        done.append("second")

    bells = [Bell(directory, "me", nothing), Bell(directory, "w1", first), Bell(directory, "w2", second)]
    for bell in bells:
        bell.hang()
    try:
        assert await bells[0].ring(["w1", "w2", "nobody"], 20) == set()
        assert done == ["first", "second"]
        assert await bells[0].ring([], 20) == set()
    finally:
        for bell in bells:
            await bell.take_down()
    assert await bells[0].ring(["w1"], 20) == set()
    assert list(directory.iterdir()) == []


async def test_who_is_busy_is_not_waited_for(tmp_path: Path) -> None:
    """It is named, and its late answer confuses nobody."""
    go = asyncio.Event()

    async def slow() -> None:
        await go.wait()

    me, other = Bell(tmp_path, "me", nothing), Bell(tmp_path, "w1", slow)
    me.hang()
    other.hang()
    assert await me.ring(["w1"], 0.05) == {"w1"}
    go.set()
    assert await me.ring(["w1"], 20) == set()
    await other.take_down()
    await me.take_down()


async def test_a_dead_ones_socket_is_in_nobodys_way(tmp_path: Path) -> None:
    """Its successor takes the name; until then it is as if it were not there."""
    me = Bell(tmp_path, "me", nothing)
    me.hang()
    (tmp_path / "w1.bell").touch()
    assert await me.ring(["w1"], 20) == set()
    other = Bell(tmp_path, "w1", nothing)
    other.hang()
    assert await me.ring(["w1"], 20) == set()
    await other.take_down()
    await me.take_down()
