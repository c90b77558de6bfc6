"""Answers of /v1/responses that are kept for their follow-ups."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import orjson
from sqlalchemy import Engine, select

from gateway.store import records, responses, retention
from gateway.store.ingest import Ingester
from gateway.store.responses import Stored
from gateway.store.spool import Spool
from gateway.store.tables import responses as table
from serving.database import reading, writing

DAY = 86400.0
FIRST = Stored("resp_1", 10.0, "key_a", "resp_1", None, [{"id": "msg_1", "content": "tab\t\nü"}], {"id": "resp_1", "output": []})
SECOND = replace(FIRST, id="resp_2", time=11.0, previous_id="resp_1")
THIRD = replace(FIRST, id="resp_3", time=12.0, previous_id="resp_2")


def test_a_conversation_is_read_from_its_last_answer_back(database: Engine) -> None:
    """Newest first, without its other branches, as far as asked; a second insert changes nothing."""
    branch = replace(FIRST, id="resp_4", previous_id="resp_1")
    with writing(database) as conn:
        responses.insert(conn, [THIRD, FIRST, SECOND, branch])
        responses.insert(conn, [replace(SECOND, time=99.0)])
    with reading(database) as conn:
        assert responses.chain(conn, "resp_3") == [THIRD, SECOND, FIRST]
        assert responses.chain(conn, "resp_4") == [branch, FIRST]
        assert responses.chain(conn, "resp_3", most=2) == [THIRD, SECOND]
        assert responses.chain(conn, "resp_9") == []
        texts = [len(orjson.dumps(value).decode()) for value in (FIRST.input, FIRST.response)]
        assert responses.size(conn, "resp_3") == 3 * sum(texts)
        assert responses.size(conn, "resp_9") == 0
        assert responses.get(conn, "resp_2") == SECOND
        assert responses.get(conn, "resp_9") is None


def test_only_its_own_key_deletes_an_answer(database: Engine) -> None:
    """The content goes, the id stays: neither a second deletion nor a late record brings anything back."""
    nobody = replace(FIRST, id="resp_0", key_id=None)
    with writing(database) as conn:
        responses.insert(conn, [FIRST, nobody])
        assert not responses.remove(conn, "resp_1", "key_b")
        assert not responses.remove(conn, "resp_1", None)
        assert responses.remove(conn, "resp_1", "key_a")
        assert responses.remove(conn, "resp_0", None)
        assert not responses.remove(conn, "resp_1", "key_a")
        responses.insert(conn, [FIRST])
        assert responses.get(conn, "resp_1") == replace(FIRST, input=[], response={}, deleted=True)


def test_a_conversation_is_forgotten_whole(database: Engine) -> None:
    """Thirty days after its last answer, not before; the sweep says how many."""
    now = 100 * DAY
    old = [replace(FIRST, time=now - 40 * DAY), replace(SECOND, time=now - 31 * DAY)]
    kept = [replace(FIRST, id="resp_5", root="resp_5", time=now - 60 * DAY), replace(SECOND, id="resp_6", root="resp_5", time=now - 29 * DAY)]
    single = [replace(FIRST, id=f"resp_x{n}", root=f"resp_x{n}", time=now - 90 * DAY) for n in range(5)]
    with writing(database) as conn:
        responses.insert(conn, [*old, *kept, *single])
    assert retention.sweep(database, now, {}, chunk=2).responses == 6
    with reading(database) as conn:
        assert set(conn.execute(select(table.c.id)).scalars()) == {"resp_5", "resp_6"}
    assert retention.sweep(database, now, {}, ledger_days=1.0).responses == 0


def test_no_key_fills_the_table(database: Engine) -> None:
    """The oldest conversations of a key that has too many go, those of other keys stay."""
    with writing(database) as conn:
        mine = [replace(FIRST, id=f"resp_{n}{turn}", root=f"resp_{n}0", time=float(n)) for n in range(4) for turn in range(2)]
        responses.insert(conn, [*mine, replace(FIRST, id="resp_b", root="resp_b", key_id="key_b"), replace(FIRST, id="resp_n", root="resp_n", key_id=None)])
        assert responses.delete_beyond(conn, most=5) == 2
        assert set(conn.execute(select(table.c.id)).scalars()) == {"resp_30", "resp_31", "resp_20", "resp_21", "resp_b", "resp_n"}
        assert responses.delete_beyond(conn, most=5) == 0


def test_an_answer_goes_through_the_spool(sqlite: Engine, tmp_path: Path) -> None:
    """Written by a worker, read by the ingester, whatever it holds; a lone surrogate costs itself alone."""
    odd = replace(FIRST, id="resp_odd", response={"text": "\ud800", "big": 2**70, "nul": "a\0b"})
    spool = Spool(tmp_path / "spool", "w0")
    spool.keep(FIRST)
    spool.keep(odd)
    ingester = Ingester(sqlite, tmp_path / "spool")
    ingester.run_once()
    assert ingester.corrupt == 0
    ingester.close()
    spool.close()
    with reading(sqlite) as conn:
        assert responses.get(conn, "resp_1") == FIRST
        found = responses.get(conn, "resp_odd")
        assert found is not None
        assert found.response == {"text": "?", "big": None, "nul": "a\ufffdb"}
    assert records.decode(records.stored(FIRST)[:-1]) == FIRST
