"""A piece of a spool file: whole lines, and what they say, sorted by where it goes. No database here.

This runs for every request, on the processor that also serves the dashboard: lines are taken apart without building the values that nobody looks at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, overload

from typing_extensions import override

from gateway.store import records, shape
from gateway.store.captures import Capture
from gateway.store.drift import Sample
from gateway.store.responses import Stored
from gateway.store.rows import Layout, Rows
from router.types import Exchange

# What a record raises that its checksum allows and its fields do not make sense of.
_SENSELESS = (ValueError, TypeError, LookupError, AttributeError)


class _Exchanges(Sequence[Exchange]):
    """The exchanges of some lines, made only for who looks at them."""

    def __init__(self, lines: Sequence[bytes], names: shape.Names) -> None:
        self._lines, self._names = lines, names

    @override
    def __len__(self) -> int:
        return len(self._lines)

    @overload
    def __getitem__(self, index: int) -> Exchange: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Exchange]: ...
    @override
    def __getitem__(self, index: int | slice) -> Exchange | Sequence[Exchange]:
        if isinstance(index, slice):
            return _Exchanges(self._lines[index], self._names)
        return records.exchange(self._lines[index], self._names)


@dataclass(slots=True)
class Piece:
    """The records of one piece of a file, which ends at byte `end`. `lines` are the settles as read; `opened` the admits that it does not settle."""

    end: int
    header: records.Header
    rows: Rows = field(default_factory=Rows)
    decisions: list[records.DecisionText] = field(default_factory=list)
    captures: list[Capture] = field(default_factory=list)
    opened: list[records.Admit] = field(default_factory=list)
    snapshots: list[records.SnapshotBody] = field(default_factory=list)
    responses: list[Stored] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    damaged: list[bytes] = field(default_factory=list)

    def exchanges(self) -> Sequence[Exchange]:
        """Its settles as values, in the order of `lines`."""
        return _Exchanges(self.lines, self.header.exchange)

    def only(self, number: int) -> Piece:
        """One of its settles as a piece of its own."""
        return parse(self.lines[number] + b"\n", self.header, self.end)


def whole_lines(file: BinaryIO, size: int) -> bytes:
    """About `size` bytes of whole lines from here; more when one line is longer, none when there is no whole line."""
    content = file.read(size)
    while b"\n" not in content:
        more = file.read(size)
        if not more:
            return b""
        content += more
    return content[: content.rindex(b"\n") + 1]


def parse(content: bytes, header: records.Header, end: int) -> Piece:
    """Whole lines of a file with this header, by what they are. What is damaged or makes no sense is kept as it is."""
    piece, layout = Piece(end, header), Layout(header.exchange)
    parts, settled, read, rows = records.parts, records.settled, layout.read, piece.rows
    admits: list[bytes] = []
    for line in content.split(b"\n")[:-1]:
        if line[9:11] == b"A\t":
            admits.append(line)
            continue
        try:
            kind, *fields = parts(line)
            if kind == b"S":
                packed, decision, capture = settled(fields)
                read(packed, rows)
                piece.lines.append(line)
                if decision is not None:
                    piece.decisions.append(decision)
                if capture is not None:
                    piece.captures.append(capture)
            else:
                _keep(piece, records.plain(kind, fields))
        except _SENSELESS:
            piece.damaged.append(line)
    _open(piece, admits)
    return piece


def _keep(piece: Piece, record: records.Record) -> None:
    match record:
        case records.SnapshotBody():
            piece.snapshots.append(record)
        case Stored():
            piece.responses.append(record)
        case Sample():
            piece.samples.append(record)
        case _:
            pass


def _open(piece: Piece, admits: Sequence[bytes]) -> None:
    """Most admits are settled a few lines on: those are not looked at more than it takes to see that."""
    settled, known = set(piece.rows.ids), {name.encode("utf-8", "replace") for name in piece.rows.ids}
    opened: dict[str, records.Admit] = {}
    for line in admits:
        # The id stands between the first two quotes.
        if line[13 : line.find(b'"', 13)] in known:
            continue
        try:
            kind, *fields = records.parts(line)
            record = records.plain(kind, fields)
        except _SENSELESS:
            piece.damaged.append(line)
            continue
        if isinstance(record, records.Admit) and record.id not in settled:
            opened[record.id] = record
    piece.opened = list(opened.values())
