"""When the books are closed: in the loop's next turn, all of one turn together, and whatever happens to one of them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway import settle
from gateway.run import Run
from gateway.settle import Books
from gateway.store.spool import Spool


def run(name: str) -> Run:
    return cast("Run", SimpleNamespace(id=name, ended=0.0))


async def test_what_is_over_is_booked_in_the_next_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever closes goes on first; then each is settled once, and one that cannot be does not take the others with it."""
    spool, booked = Spool(tmp_path, "w0"), list[str]()

    def settling(over: Any) -> None:
        assert over.ended > 0.0
        booked.append(over.id)
        if over.id == "b":
            raise ValueError("b cannot be booked")

    monkeypatch.setattr(settle, "settle", settling)
    failures: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context["exception"]))
    books = Books(spool)
    for name in "abc":
        books.close(run(name))
    assert booked == []
    await asyncio.sleep(0)
    assert booked == ["a", "b", "c"]
    assert [str(failure) for failure in failures] == ["b cannot be booked"]
    books.close(run("d"))
    books.flush()
    await asyncio.sleep(0)
    assert booked == ["a", "b", "c", "d"]
    spool.close()
