"""Batches in the database: the state machine, whose they are, pages."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import Engine

from gateway.store import batches
from gateway.store.batches import NEXT, Batch
from router.errors import RequestError, StateError
from serving.database import reading, writing


def made(number: int = 1, key: str | None = "key_a", **more: object) -> Batch:
    usual = Batch(f"{batches.PREFIX}{number}", key, "/v1/chat/completions", "file-1", float(number), number + batches.WINDOW_S, 60)
    return replace(usual, **more)  # type: ignore[arg-type]


def test_what_is_kept_comes_back(database: Engine) -> None:
    """Every field, the JSON ones and the empty ones included."""
    full = made(2, None, metadata={"a": "b"}, headers={"x-breakeven-tags": "a=b"}, errors=[{"code": "c", "line": 3}], completed_at=5.0, total=9)
    with writing(database) as conn:
        batches.add(conn, made())
        batches.add(conn, full)
    with reading(database) as conn:
        assert batches.get(conn, made().id) == made()
        assert batches.owned(conn, full.id, None) == full
        with pytest.raises(RequestError, match="No batch found with id") as refused:
            batches.owned(conn, full.id, "key_a")
        assert refused.value.status == 404


def test_only_what_the_table_says_can_happen(database: Engine) -> None:
    """Every pair of states: a move is made exactly where the table has it, and then has its instant and its values."""
    number = 0
    for before in NEXT:
        for after in NEXT:
            if not any(after in following for following in NEXT.values()):
                continue
            number += 1
            with writing(database) as conn:
                batches.add(conn, made(number, status=before))
                moved = batches.move(conn, made(number).id, after, 77.0, total=5)
                found = batches.get(conn, made(number).id)
            assert moved == (after in NEXT[before])
            assert found == (made(number, status=after, total=5, **{f"{after}_at": 77.0}) if moved else made(number, status=before))
    with writing(database) as conn, pytest.raises(StateError, match="nothing leads to 'validating'"):
        batches.move(conn, made(1).id, "validating", 1.0)


def test_what_is_still_to_do(database: Engine) -> None:
    """Unfinished ones, oldest first, whoever's."""
    with writing(database) as conn:
        for number, status in enumerate(NEXT):
            batches.add(conn, made(number, f"key_{number}", status=status))
        batches.count(conn, made(1).id, 3, 2)
        found = batches.unfinished(conn)
        assert batches.count_unfinished(conn, "key_1") == 1
        assert batches.count_unfinished(conn, "key_5") == batches.count_unfinished(conn, None) == 0
    assert [batch.status for batch in found] == ["validating", "in_progress", "finalizing", "cancelling"]
    assert (found[1].completed, found[1].failed) == (3, 2)


def test_pages_meet(database: Engine) -> None:
    """Newest first, no gap and no repeat, another key's left out, an unknown cursor gives an empty page."""
    with writing(database) as conn:
        for number in range(5):
            batches.add(conn, made(number, created_at=float(number // 2)))
        batches.add(conn, made(9, "key_b"))
    with reading(database) as conn:
        first, more = batches.page(conn, "key_a", 3)
        assert more
        second, more = batches.page(conn, "key_a", 3, first[-1].id)
        assert not more
        assert [batch.id for batch in first + second] == [made(number).id for number in (4, 3, 2, 1, 0)]
        assert batches.page(conn, "key_a", 3, "batch_nobody") == ([], False)


def test_ours_and_theirs() -> None:
    """Ids that we make are told from a provider's by their look."""
    assert batches.is_ours(batches.new_id())
    assert not batches.is_ours("batch_67f7bfc50b288190893f242d9fa93c52")
