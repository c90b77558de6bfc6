"""What arrives: requests with their times and lengths, from a recorded trace or made. Pure: lines in, requests out; reading files is the caller's.

A trace that is wrong in places is still read: each problem is a value with its line, and a person decides. Recorded formats: Azure's LLM inference traces
(`TIMESTAMP,ContextTokens,GeneratedTokens`, https://github.com/Azure/AzurePublicDataset) and Mooncake's (JSONL; parsed by the caller into `from_rows`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from math import cos, pi
from typing import NamedTuple

from router.errors import Problem
from router.simulation import chance

AZURE_COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
# Longer than any model reads: a slip, not a request.
MOST_TOKENS = 4_000_000
_HOLE_FACTOR = 100.0
_SHOWN = 20
# Conversations that go on at the same time, in a made-up trace.
_TOGETHER = 60


Row = tuple[float, int, int]
"""Seconds, tokens in, tokens out."""


class Ask(NamedTuple):
    """One request: seconds since the trace began, tokens in and out, and how many of the input a warm prompt cache would hold; `adapter` is whom it is for."""

    at: float
    input: int
    output: int
    conversation: int = 0
    shared: int = 0
    adapter: int = 0


class Trace(NamedTuple):
    """Requests in order of time. `problems` say what was left out or looks odd, with line numbers; `left_out` counts lines that are not in."""

    name: str
    asks: tuple[Ask, ...]
    problems: tuple[Problem, ...] = ()
    left_out: int = 0

    @property
    def seconds(self) -> float:
        """From the first request to the last."""
        return self.asks[-1].at - self.asks[0].at if self.asks else 0.0

    def scaled(self, rate: float) -> Trace:
        """The same requests arriving `rate` times as fast."""
        return self._replace(asks=tuple(ask._replace(at=ask.at / rate) for ask in self.asks))

    def first(self, count: int) -> Trace:
        """Its first `count` requests."""
        return self._replace(asks=self.asks[:count])


def azure(name: str, lines: Iterable[str]) -> Trace:
    """A trace in Azure's columns, in any order of columns. No line is guessed at: what cannot be read is a problem and is left out."""
    numbered = ((number, [cell.strip() for cell in line.lstrip("\ufeff").rstrip("\r\n").split(",")]) for number, line in enumerate(lines, 1))
    _, first = next(numbered, (1, list(AZURE_COLUMNS)))
    places = {cell: index for index, cell in enumerate(first)}
    missing = [column for column in AZURE_COLUMNS if column not in places]
    if missing:
        told = f"the first line names the columns; missing: {', '.join(missing)} (needed: {','.join(AZURE_COLUMNS)})"
        return Trace(name, (), (Problem(told, name, 1),))
    return gathered(name, ((number, _azure_row(cells, places)) for number, cells in numbered if cells != [""]))


def gathered(name: str, found: Iterable[tuple[int, Row | str]]) -> Trace:
    """A trace of (line, what it says): a row, or why it cannot be read."""
    rows: list[Row] = []
    wrong: list[Problem] = []
    for number, each in found:
        if isinstance(each, str):
            wrong.append(Problem(each, name, number))
        else:
            rows.append(each)
    told = wrong[:_SHOWN]
    if len(wrong) > _SHOWN:
        told.append(Problem(f"{len(wrong) - _SHOWN} more lines like these", name))
    return from_rows(name, rows, told, len(wrong))


def from_rows(name: str, rows: Sequence[Row], problems: Sequence[Problem] = (), left_out: int = 0) -> Trace:
    """A trace of (epoch or relative seconds, tokens in, tokens out). Unsorted times are sorted and told, and so are holes."""
    told = list(problems)
    if not rows:
        return Trace(name, (), (*told, Problem("no request in it", name)), left_out)
    ordered = sorted(rows)
    if ordered != list(rows):
        told.append(Problem("its times are not in order; they were sorted", name))
    began = ordered[0][0]
    asks = tuple(Ask(at - began, entered, made, index) for index, (at, entered, made) in enumerate(ordered))
    told += _holes(name, asks)
    return Trace(name, asks, tuple(told), left_out)


def _azure_row(cells: Sequence[str], places: dict[str, int]) -> Row | str:
    try:
        stamp, entered, made = (cells[places[column]] for column in AZURE_COLUMNS)
    except IndexError:
        return f"{len(cells)} columns, not {len(places)}"
    try:
        # seven decimals in the original: more than datetime takes
        head, dot, fraction = stamp.rstrip("Z").partition(".")
        moment = datetime.fromisoformat(head)
        at = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() + (float(f"0.{fraction}") if dot else 0.0)
    except ValueError:
        return f"{stamp!r} is not a time such as 2023-11-16 18:15:46.6805900"
    tokens = []
    for column, text in (("ContextTokens", entered), ("GeneratedTokens", made)):
        try:
            count = int(text)
        except ValueError:
            return f"{column} is {text!r}, not a whole number"
        if not 0 <= count <= MOST_TOKENS:
            return f"{column} is {count}: between 0 and {MOST_TOKENS:,}"
        tokens.append(count)
    return at, tokens[0], tokens[1]


def _holes(name: str, asks: Sequence[Ask]) -> list[Problem]:
    if len(asks) < 3:
        return []
    usual = max((asks[-1].at - asks[0].at) / (len(asks) - 1), 1.0)
    gaps = [(before.at, after.at - before.at) for before, after in pairwise(asks) if after.at - before.at > usual * _HOLE_FACTOR]
    return [Problem(f"nothing arrives for {gap:.0f} s from second {at:.0f} on (usual: one in {usual:.1f} s)", name) for at, gap in gaps[:_SHOWN]]


# Synthetic traces, for those who have none. Lengths are log-normal with the medians and spreads of published chat traffic: about a thousand tokens in and two
# hundred out, long tails.


class Shape(NamedTuple):
    """How a synthetic trace looks. `swing` 0..1: how much the rate follows the day; `burst`: requests that come at once, on average; `drift`: factor of the
    answers' length in the second half; `turns`: requests of a conversation, on average; `adapters`: how many are asked for, by Zipf's law."""

    rate: float = 5.0
    seconds: float = 1800.0
    input_median: float = 650.0
    input_sigma: float = 1.0
    output_median: float = 140.0
    output_sigma: float = 0.9
    swing: float = 0.0
    burst: float = 1.0
    drift: float = 1.0
    turns: float = 1.0
    adapters: int = 1


def synthetic(name: str, shape: Shape, seed: int) -> Trace:
    """A trace from a shape; the same seed gives the same trace."""
    asks: list[Ask] = []
    now = 0.0
    number = 0
    while True:
        level = 1.0 + shape.swing * cos(2.0 * pi * now / shape.seconds + pi)
        now += chance.exponential(shape.burst / (shape.rate * max(level, 0.05)), seed, 1, number)
        if now >= shape.seconds:
            return Trace(name, tuple(asks))
        together = 1 if shape.burst <= 1.0 else 1 + int(chance.exponential(shape.burst - 1.0, seed, 2, number))
        asks += [_made(shape, seed, number, index, now + index * 0.005) for index in range(together)]
        number += 1


def _made(shape: Shape, seed: int, number: int, index: int, at: float) -> Ask:
    stretch = shape.drift if at > shape.seconds / 2 else 1.0
    entered = max(1, min(100_000, round(chance.lognormal(shape.input_median, shape.input_sigma, seed, 3, number, index))))
    made = max(1, min(8_000, round(chance.lognormal(shape.output_median * stretch, shape.output_sigma, seed, 4, number, index))))
    deep = chance.uniform(seed, 5, number, index) < 1.0 - 1.0 / shape.turns
    conversation = _conversation(seed, number, shape.turns)
    return Ask(at, entered, made, conversation, int(entered * 0.7) if deep else 0, _adapter(shape, seed, conversation))


def _conversation(seed: int, number: int, turns: float) -> int:
    """Whose turn it is: one that began with this request, or one of those that go on (each has its place among `_TOGETHER`)."""
    if turns <= 1.0:
        return number
    place = int(chance.uniform(seed, 6, number) * _TOGETHER)
    generation = int((number / _TOGETHER + chance.uniform(seed, 12, place)) / turns)
    return place + generation * _TOGETHER


def _adapter(shape: Shape, seed: int, conversation: int) -> int:
    """The more popular the lower its number: the chance of number k is about proportional to 1 / (k + 1)."""
    return 0 if shape.adapters <= 1 else min(shape.adapters - 1, int((shape.adapters + 1.0) ** chance.uniform(seed, 13, conversation)) - 1)
