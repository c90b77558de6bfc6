"""The spool's record format: values to bytes and back. No files and no database here.

One record is one line, so that a torn or damaged record costs that record alone and an operator can read the file:

    <crc32, 8 hex digits> <kind><TAB><field><TAB><field>…<LF>

The checksum covers everything between its blank and the line feed. Fields are JSON (orjson escapes tabs and line feeds inside strings). Kinds:
H header, A admit, P snapshot (a policy input, written before the first decision that names it), R a stored answer of /v1/responses, S settle,
D numbers measured for drift. Exchanges and decisions are arrays whose names the header has (shape.py), so that newer code reads older files; a file whose
header says a higher FORMAT is left alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from zlib import crc32

import orjson

from gateway.store import shape
from gateway.store.captures import Capture
from gateway.store.drift import Sample
from gateway.store.responses import Stored
from router.quick import quick
from router.types import Decision, Exchange

FORMAT = 1
_NONE = b"null"
_loads = orjson.loads
_NUL, _REPLACEMENT = b"\\u0000", b"\\ufffd"


@dataclass(frozen=True, slots=True)
class Header:
    """The first record of each file: the format, and the shapes of what follows."""

    format: int
    exchange: shape.Names
    decision: shape.Names


@quick
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


class DecisionText(NamedTuple):
    """A decision as the ledger keeps it: what is searched by, and its packed values as JSON text."""

    id: str
    time: float
    route: str
    snapshot_digest: str
    packed: str


@dataclass(frozen=True, slots=True)
class Settle:
    """A request's one outcome."""

    exchange: Exchange
    decision: DecisionText | None
    capture: Capture | None


Record = Header | Admit | SnapshotBody | Settle | Stored | Sample


def header() -> bytes:
    """The line every file begins with."""
    return _line(b"H", _json(Header(FORMAT, shape.EXCHANGE, shape.DECISION)))


def admit(record: Admit) -> bytes:
    """The line of an admit."""
    return _line(b"A", _json((record.id, record.time, record.route, record.endpoint, record.key_id)))


def snapshot(digest: str, body: Mapping[str, object]) -> bytes:
    """The line of a snapshot."""
    return _line(b"P", _json(digest), _json(body))


def stored(item: Stored) -> bytes:
    """The line of a stored answer."""
    return _line(b"R", _json(item))


def measured(item: Sample) -> bytes:
    """The line of a sample for drift."""
    return _line(b"D", _json((item.exchange_id, item.time, item.route, item.adapter, item.version, item.body)))


def settle(exchange: Exchange, decision: Decision | None, capture: Capture | None) -> bytes:
    """The line of a settle."""
    head = packed = _NONE
    if decision is not None:
        head = _json((decision.id, decision.now, decision.route, decision.snapshot_digest))
        packed = _json(shape.pack_decision(decision))
    return _line(b"S", _json(shape.pack_exchange(exchange)), head, packed, _NONE if capture is None else _json(capture))


def decode(line: bytes, names: shape.Names = shape.EXCHANGE) -> Record:
    """One line, without its line feed, back to its record. `names` is `exchange` of the file's header.

    Raises ValueError when the line is damaged or of a kind that this version does not know.
    """
    kind, *fields = parts(line)
    try:
        if kind == b"S":
            packed, chosen, captured = settled(fields)
            return Settle(shape.unpack_exchange(packed, names), chosen, captured)
        return plain(kind, fields)
    except (TypeError, IndexError, KeyError) as error:
        raise ValueError(f"a record of kind {kind!r} has the wrong fields: {error}") from error


def exchange(line: bytes, names: shape.Names) -> Exchange:
    """The exchange of a settle's line."""
    record = decode(line, names)
    if not isinstance(record, Settle):
        raise ValueError("not the record of a settle")  # noqa: TRY004 - of a wrong record, not of a wrong type
    return record.exchange


def parts(line: bytes) -> list[bytes]:
    """The kind of a line and its fields. Raises ValueError when it is damaged."""
    body = line[9:]
    if line[:9] != b"%08x " % crc32(body):
        raise ValueError("checksum does not match")
    return body.split(b"\t")


def settled(fields: Sequence[bytes]) -> tuple[list[Any], DecisionText | None, Capture | None]:
    """A settle with its exchange still packed (shape.py). Raises ValueError, TypeError, IndexError or KeyError for wrong fields."""
    packed, head, chosen, captured = fields
    decision = capture = None
    if head != _NONE:
        name, time, route, digest = _loads(head)
        decision = DecisionText(name, time, route, digest, chosen.decode())
    if captured != _NONE:
        data = _loads(captured)
        capture = Capture(**{**data, "tool_calls": tuple(data["tool_calls"])})
    return _loads(packed), decision, capture


def plain(kind: bytes, fields: Sequence[bytes]) -> Header | Admit | SnapshotBody | Stored | Sample:
    """Any other record. Raises ValueError for a kind that is unknown, and ValueError, TypeError, IndexError or KeyError for wrong fields."""
    if kind == b"A":
        return Admit(*_loads(fields[0]))
    if kind == b"D":
        identity, time, route, adapter, version, body = _loads(fields[0])
        return Sample(identity, time, route, adapter, version, tuple(body))
    if kind == b"P":
        return SnapshotBody(_loads(fields[0]), fields[1].decode())
    if kind == b"R":
        return Stored(**_loads(fields[0]))
    if kind == b"H":
        return Header(**_loads(fields[0]))
    raise ValueError(f"unknown kind of record {kind!r}")


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
    raise TypeError(type(value).__name__)


def _mended(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return None
    if isinstance(value, Mapping):
        return {_mended(str(key)): _mended(item) for key, item in value.items()}
    if isinstance(value, list | tuple | frozenset):
        return [_mended(item) for item in (sorted(value) if isinstance(value, frozenset) else value)]
    if isinstance(value, Capture | Stored):
        return {field.name: _mended(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return value if value is None or isinstance(value, int | float) else str(value)
