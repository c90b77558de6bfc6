"""The spool's record format: values to bytes and back. No files and no database here.

One record is one line, so that a torn or damaged record costs that record alone and an operator can read the file:

    <crc32, 8 hex digits> <kind><TAB><field><TAB><field>…<LF>

The checksum covers everything between its blank and the line feed. Fields are JSON (orjson escapes tabs and line feeds inside strings). Kinds:
H header, A admit, P snapshot (a policy input, written before the first decision that names it), S settle. Arrays are positional and only ever grow
at the end, so that newer code reads older files; a file whose header says a higher FORMAT is left alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import orjson

from gateway.store.captures import Capture
from router.types import Attempt, Decision, Exchange, Outcome, Usage

FORMAT = 1
_NUL, _REPLACEMENT = b"\\u0000", b"\\ufffd"


@dataclass(frozen=True, slots=True)
class Header:
    """The first record of each file."""

    format: int


@dataclass(frozen=True, slots=True)
class Admit:
    """A request was let in; `time` in epoch seconds."""

    id: str
    time: float
    route: str | None
    endpoint: str
    key_id: str | None


@dataclass(frozen=True, slots=True)
class SnapshotBody:
    """A decision's slow-moving input; `body` is the JSON text of router/record.py."""

    digest: str
    body: str


@dataclass(frozen=True, slots=True)
class DecisionText:
    """A decision as the ledger keeps it: what is searched by, and the JSON text of router/record.py."""

    id: str
    time: float
    route: str
    snapshot_digest: str
    record: str


@dataclass(frozen=True, slots=True)
class Settle:
    """A request's one outcome."""

    exchange: Exchange
    decision: DecisionText | None
    capture: Capture | None


Record = Header | Admit | SnapshotBody | Settle


def header() -> bytes:
    """The line every file begins with."""
    return _line(b"H", _json({"format": FORMAT}))


def admit(record: Admit) -> bytes:
    """The line of an admit."""
    return _line(b"A", _json((record.id, record.time, record.route, record.endpoint, record.key_id)))


def snapshot(digest: str, body: Mapping[str, object]) -> bytes:
    """The line of a snapshot."""
    return _line(b"P", _json(digest), _json(body))


def settle(exchange: Exchange, decision: Decision | None, capture: Capture | None) -> bytes:
    """The line of a settle."""
    head = record = b"null"
    if decision is not None:
        head = _json((decision.id, decision.now, decision.route, decision.snapshot_digest))
        record = _json(decision)
    return _line(b"S", _json(_exchange_fields(exchange)), head, record, b"null" if capture is None else _json(capture))


def decode(line: bytes) -> Record:
    """One line, without its line feed, back to its record. Raises ValueError when it is damaged or of a kind this version does not know."""
    body = line[9:]
    if line[8:9] != b" " or line[:8] != b"%08x" % crc32(body):
        raise ValueError("checksum does not match")
    kind, *fields = body.split(b"\t")
    try:
        if kind == b"S":
            return _decode_settle(fields)
        if kind == b"A":
            return Admit(*orjson.loads(fields[0]))
        if kind == b"P":
            return SnapshotBody(orjson.loads(fields[0]), fields[1].decode())
        if kind == b"H":
            return Header(orjson.loads(fields[0])["format"])
    except (TypeError, IndexError, KeyError) as error:
        raise ValueError(f"a record of kind {kind!r} has the wrong fields: {error}") from error
    raise ValueError(f"unknown kind of record {kind!r}")


def _decode_settle(fields: list[bytes]) -> Settle:
    head = orjson.loads(fields[1])
    capture = orjson.loads(fields[3])
    return Settle(
        exchange=_exchange(orjson.loads(fields[0])),
        decision=None if head is None else DecisionText(*head, fields[2].decode()),
        capture=None if capture is None else Capture(**capture),
    )


def _exchange_fields(e: Exchange) -> tuple[Any, ...]:
    u = e.usage
    return (
        (e.id, e.time, e.route, e.endpoint, e.backend, e.adapter_version, e.key_id, e.tags, e.stream, e.status, e.outcome),
        (u.input, u.cached, u.output, u.reasoning),
        (e.usage_state, e.cost_nanousd, e.cost_state, e.opportunity_nanousd, e.all_hosted_nanousd, e.ttft_ms, e.total_ms, e.overhead_ms),
        (e.reason, e.decision_id, e.sandbox),
        tuple(_attempt_fields(a) for a in e.attempts),
        (e.prompt_bytes,),
    )


def _attempt_fields(a: Attempt) -> tuple[Any, ...]:
    u = a.usage
    return (
        (a.backend, a.status, a.error, a.started, a.ttft_ms, a.total_ms),
        (u.input, u.cached, u.output, u.reasoning),
        (a.usage_state, a.cost_nanousd, a.cost_state, a.kind),
    )


def _exchange(groups: list[Any]) -> Exchange:
    who, usage, money, why, attempts, sizes = groups
    return Exchange(
        *who[:10],
        Outcome(who[10]),
        Usage(*usage),
        *money,
        *why,
        tuple(_attempt(a) for a in attempts),
        *sizes,
    )


def _attempt(groups: list[Any]) -> Attempt:
    call, usage, money = groups
    return Attempt(*call, Usage(*usage), *money)


def _line(kind: bytes, *fields: bytes) -> bytes:
    body = b"\t".join((kind, *fields))
    return b"%08x %s\n" % (crc32(body), body)


def _json(value: object) -> bytes:
    try:
        encoded = orjson.dumps(value, default=_plain)
    except orjson.JSONEncodeError:
        # Half a surrogate pair or a number of more than 64 bits, sent by somebody else: the row matters more than that value.
        encoded = orjson.dumps(_mended(value))
    # Postgres cannot hold NUL in a text.
    return encoded.replace(_NUL, _REPLACEMENT) if _NUL in encoded else encoded


def _plain(value: object) -> object:
    if isinstance(value, frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} cannot be written to the ledger")


def _mended(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return None
    if isinstance(value, Mapping):
        return {str(_mended(key)): _mended(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mended(item) for item in value]
    if isinstance(value, frozenset):
        return [_mended(item) for item in sorted(value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _mended(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return value
