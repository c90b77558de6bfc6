"""The spool's lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.store import records, shape
from gateway.store.captures import Capture
from router import record
from router.types import Decision, Exchange, Usage

Make = Callable[..., Any]


def test_a_settle_comes_back_as_it_was(exchange: Make, decision: Make) -> None:
    """Every field of exchange, decision and capture survives, floats to the last bit."""
    sent, chosen = exchange(ttft_ms=0.1 + 0.2), decision()
    capture = Capture("req_1", "triage", 1.5, {"messages": [{"role": "user", "content": "tab\there\nline"}]}, "answer\t\n", "stop", "openai/x", ({"id": "c"},))
    line = records.settle(sent, chosen, capture)
    found = records.decode(line[:-1])
    assert isinstance(found, records.Settle)
    assert found.exchange == sent
    assert found.capture == capture
    assert found.decision is not None
    assert (found.decision.id, found.decision.time, found.decision.snapshot_digest) == ("dec_1", chosen.now, "")
    assert record.from_dict(Decision, shape.unpack_decision(orjson.loads(found.decision.packed), shape.DECISION)) == chosen


def test_a_packed_decision_reads_like_its_record(decision: Make) -> None:
    """What the ledger keeps unpacks to exactly what router/record.py writes."""
    packed = orjson.loads(orjson.dumps(shape.pack_decision(decision()), default=sorted))
    assert shape.unpack_decision(packed, shape.DECISION) == record.to_dict(decision())


def test_an_exchange_of_an_older_version_is_read_by_its_own_names(exchange: Make) -> None:
    """Fields that an older version did not have take their defaults, and an order that has changed does not matter."""
    sent: Exchange = exchange(prompt_bytes=0)
    older = {**shape.EXCHANGE, "exchange": tuple(reversed([name for name in shape.EXCHANGE["exchange"] if name != "prompt_bytes"]))}
    values, usage, calls = shape.pack_exchange(sent)
    by_name = dict(zip(shape.EXCHANGE["exchange"], values, strict=True))
    packed = orjson.loads(orjson.dumps(([by_name[name] for name in older["exchange"]], usage, calls)))
    assert shape.unpack_exchange(packed, older) == sent


@given(st.binary(max_size=300), st.integers(0, 10_000), st.integers(1, 255))
def test_no_damage_goes_unnoticed(noise: bytes, place: int, change: int) -> None:
    """A changed byte anywhere, or any noise, is refused with ValueError and nothing else."""
    line = bytearray(records.admit(records.Admit("req_1", 1.5, "r", "chat.completions", None))[:-1])
    line[place % len(line)] ^= change
    for damaged in (bytes(line), noise):
        with pytest.raises(ValueError, match=r"\w"):
            records.decode(damaged)


@pytest.mark.parametrize("body", [b"Z\t1", b"S\tnull", b"S\t1\tnull\tnull\tnull", b"A\t[1]", b"H\t[]", b"P\t1", b'S\t[[],[],[]]\t["x"]\t{}\tnull', b"H\t{}"])
def test_a_record_with_the_wrong_fields_is_refused(body: bytes) -> None:
    """A right checksum does not make a record: unknown kinds and wrong fields are ValueErrors."""
    with pytest.raises(ValueError, match=r"\w"):
        records.decode(records._line(body)[:-1])


def test_what_others_sent_cannot_keep_a_row_out(exchange: Make) -> None:
    """Half a surrogate pair, NUL and a number beyond 64 bits are mended; everything else of the row stays."""
    strange = exchange("req_1", tags={"a\ud800": "b\x00", "deep": "\udc00"}, usage=Usage(10**30, 0, 5))
    capture = Capture("req_1", "r", 1.0, {"messages": ({"content": "\ud800"},)}, "\ud83d", None)
    found = records.decode(records.settle(strange, None, capture)[:-1])
    assert isinstance(found, records.Settle)
    assert found.exchange.tags == {"a?": "b\ufffd", "deep": "?"}
    assert found.exchange.usage.input is None
    assert found.exchange.cost_nanousd == 45_000
    assert found.capture is not None
    assert (found.capture.request, found.capture.response) == ({"messages": [{"content": "?"}]}, "?")


def test_a_strange_decision_is_mended_too(exchange: Make, decision: Make) -> None:
    """A route name that no JSON can hold costs the name, not the decision."""
    line = records.settle(exchange(), decision(route="r\ud800"), None)
    found = records.decode(line[:-1])
    assert isinstance(found, records.Settle)
    assert found.decision is not None
    assert found.decision.route == "r?"


def test_a_value_of_no_json_type_is_kept_as_text(exchange: Make) -> None:
    """Whatever stands in a tag, settling does not fail."""
    found = records.decode(records.settle(exchange(tags={"a": 1j}), None, None)[:-1])
    assert isinstance(found, records.Settle)
    assert found.exchange.tags == {"a": "1j"}
