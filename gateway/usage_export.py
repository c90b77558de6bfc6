"""A provider's own account of what was used, in the shape of OpenAI's organization usage and costs API, read from text. No HTTP, no ledger.

Taken are pages as the API sends them (`{"object": "page", "data": [buckets]}`): one, a list of them, one a line, or an object of them under names of your
choice, usage and costs together. Buckets may be minutes, hours or days; they are added up by UTC day and model. Amounts are exact: `0.06` is six cents.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any

from gateway.config import marks
from router.errors import DataError, Problem

DAY = 86_400
_USAGE = frozenset({"organization.usage.completions.result", "organization.usage.embeddings.result"})
_COSTS = "organization.costs.result"
# The ledger's names of token kinds, and what the export calls them; several are added up, of which only the first must be there.
_KINDS: Mapping[str, tuple[str, ...]] = {
    "input_tokens": ("input_tokens",),
    "cached_tokens": ("input_cached_tokens",),
    "cache_write_tokens": ("input_cache_write_tokens",),
    "output_tokens": ("output_tokens",),
    "audio_input_tokens": ("input_audio_tokens", "input_cached_audio_tokens"),
    "audio_output_tokens": ("output_audio_tokens",),
}
KINDS = tuple(_KINDS)
_NANO = Decimal(10**9)
_LINE_ITEM = re.compile(r"(?P<model>[^,]+), .+")

Loc = tuple[str | int, ...]
Spans = tuple[tuple[int, int], ...]


@dataclass(slots=True)
class Billed:
    """What a provider counts of one model in one day. A kind of token that some result does not tell is not in `tokens`."""

    requests: int = 0
    tokens: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))


@dataclass(slots=True)
class Export:
    """All of it. Keys are (day, model), a day in whole days since the epoch; for costs the model is None where they are not told by model.

    `usage_spans` and `cost_spans` are what the buckets cover, epoch seconds from (included) to (not included). `notes` are what a reader should know.
    """

    usage: dict[tuple[int, str], Billed] = field(default_factory=dict)
    costs: dict[tuple[int, str | None], Decimal] = field(default_factory=dict)
    usage_spans: Spans = ()
    cost_spans: Spans = ()
    notes: tuple[str, ...] = ()


def read(text: str, file: str) -> Export:
    """The export in `text`, as it stood in `file`. Raises DataError with every problem, each with its line."""
    reader = _Reader()
    for value, line in _values(text, file, reader.problems):
        before = len(reader.found)
        for loc, page in _pages(value, ()):
            reader.page(loc, page)
        if value is not None and len(reader.found) == before and not reader.pages:
            reader.found.append(((), "is not a page of the usage or costs API: it has no `data`"))
        wrong = reader.found[before:]
        places = marks.parse(text) if wrong and line is None else None
        reader.problems += [Problem(message, file, line if places is None else _line(places, loc), _dotted(loc)) for loc, message in wrong]
    return _finished(reader, file)


def of_pages(pages: Sequence[Any], source: str) -> Export:
    """The same of pages that came over HTTP from `source`."""
    reader = _Reader()
    for number, page in enumerate(pages):
        for loc, found in _pages(page, (number,)):
            reader.page(loc, found)
    reader.problems += [Problem(message, source, None, _dotted(loc)) for loc, message in reader.found]
    return _finished(reader, source)


class _Reader:
    """Collects results and complaints. `found` are complaints with their place in the document they are of."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.found: list[tuple[Loc, str]] = []
        self.pages = 0
        self.export = Export()
        self._usage_spans: list[tuple[int, int]] = []
        self._cost_spans: list[tuple[int, int]] = []
        self._others: set[str] = set()
        self._more = False

    def page(self, loc: Loc, page: Mapping[str, Any]) -> None:
        """One page."""
        self.pages += 1
        data = page.get("data")
        if not isinstance(data, list):
            self.found.append(((*loc, "data"), "must be a list of buckets"))
            return
        self._more = page.get("has_more") is True
        for index, bucket in enumerate(data):
            self._bucket((*loc, "data", index), bucket)

    def _bucket(self, loc: Loc, bucket: Any) -> None:
        results = bucket.get("results", bucket.get("result")) if isinstance(bucket, Mapping) else None
        if not isinstance(bucket, Mapping) or not isinstance(results, list):
            self.found.append((loc, "must be a bucket: start_time, end_time and a list of results"))
            return
        start, end = (self._count(loc, bucket, name) for name in ("start_time", "end_time"))
        if start is None or end is None:
            return
        if end <= start or start // DAY != (end - 1) // DAY:
            self.found.append((loc, "must be within one UTC day: ask for bucket_width 1d, 1h or 1m"))
            return
        kinds = {result.get("object") if isinstance(result, Mapping) else None for result in results}
        if kinds & _USAGE or not results:
            self._usage_spans.append((start, end))
        if _COSTS in kinds or not results:
            self._cost_spans.append((start, end))
        for index, result in enumerate(results):
            self._result((*loc, "results", index), start // DAY, result)

    def _result(self, loc: Loc, day: int, result: Any) -> None:
        kind = result.get("object") if isinstance(result, Mapping) else None
        if kind in _USAGE:
            self._used(loc, day, result)
        elif kind == _COSTS:
            self._cost(loc, day, result)
        elif isinstance(kind, str) and kind.startswith("organization.usage."):
            self._others.add(kind.removeprefix("organization.usage.").removesuffix(".result"))
        else:
            self.found.append((loc, f"is no result of the usage or costs API: its object is {kind!r}"))

    def _used(self, loc: Loc, day: int, result: Mapping[str, Any]) -> None:
        model = result.get("model")
        if not isinstance(model, str) or not model:
            self.found.append(((*loc, "model"), "must name the model: ask for the usage with group_by=model"))
            model = ""  # its numbers are looked at all the same
        embedding = result["object"] == "organization.usage.embeddings.result"
        requests = self._count(loc, result, "num_model_requests")
        billed = self.export.usage.setdefault((day, model), Billed())
        billed.requests += requests or 0
        for kind, names in _KINDS.items():
            needed = kind in {"input_tokens", "output_tokens"} and not (embedding and kind == "output_tokens")
            counts = [self._count(loc, result, name, needed=needed) for name in names]
            if embedding and kind != "input_tokens":
                counts = [0]
            if counts[0] is None:
                billed.tokens.pop(kind, None)
            elif kind in billed.tokens:
                billed.tokens[kind] += sum(count or 0 for count in counts)

    def _cost(self, loc: Loc, day: int, result: Mapping[str, Any]) -> None:
        amount = result.get("amount")
        value = amount.get("value") if isinstance(amount, Mapping) else None
        if isinstance(amount, Mapping) and amount.get("currency") not in {"usd", "USD"}:
            self.found.append(((*loc, "amount", "currency"), f"must be usd, not {amount.get('currency')!r}"))
            return
        try:
            dollars = Decimal(value) if isinstance(value, int | Decimal | str) and not isinstance(value, bool) else None
        except InvalidOperation:
            dollars = None
        if dollars is None or not dollars.is_finite():
            self.found.append(((*loc, "amount", "value"), "must be an amount of dollars"))
            return
        item = result.get("line_item")
        named = _LINE_ITEM.fullmatch(item) if isinstance(item, str) else None
        model = named["model"] if named else item if isinstance(item, str) else None
        self.export.costs[day, model] = self.export.costs.get((day, model), Decimal(0)) + dollars

    def _count(self, loc: Loc, values: Mapping[str, Any], name: str, *, needed: bool = True) -> int | None:
        value = values.get(name)
        if value is None and not needed:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            self.found.append(((*loc, name), f"must be a whole number, at least 0, not {_short(value)}"))
            return None
        return value

    def finish(self) -> Export:
        """The export, with what it covers."""
        made = self.export
        made.usage_spans, made.cost_spans = _merged(self._usage_spans), _merged(self._cost_spans)
        if not made.usage:
            made.usage_spans = ()
        if not made.costs:
            made.cost_spans = ()
        notes = []
        if self._others:
            notes.append(f"left out, for the gateway does not route them: usage of {', '.join(sorted(self._others))}")
        if self._more:
            notes.append("the last page says has_more: the export does not reach the end of its period")
        made.notes = tuple(notes)
        return made


def nanousd(dollars: Decimal) -> int:
    """Nano-dollars of an amount in dollars, half to even where it is finer."""
    return int((dollars * _NANO).to_integral_value(ROUND_HALF_EVEN))


def day_text(day: int) -> str:
    """A day as people write it."""
    return datetime.fromtimestamp(day * DAY, UTC).date().isoformat()


def _values(text: str, file: str, problems: list[Problem]) -> Iterator[tuple[Any, int | None]]:
    """The JSON values of a text: one, or one a line (then with its line)."""
    try:
        yield json.loads(text, parse_float=Decimal), None
        return
    except (ValueError, RecursionError) as error:  # a number of too many digits is a ValueError
        lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
        if len(lines) < 2 or not lines[0][1].strip().endswith(("}", "]")):
            problems.append(Problem(f"is not JSON: {error}", file, getattr(error, "lineno", 1)))
            return
    for number, line in lines:
        try:
            value = json.loads(line, parse_float=Decimal)
        except (ValueError, RecursionError) as error:
            problems.append(Problem(f"is not JSON: {error}", file, number))
        else:
            yield value, number


def _pages(value: Any, loc: Loc) -> Iterator[tuple[Loc, Mapping[str, Any]]]:
    """The pages in a value, at whatever depth."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _pages(item, (*loc, index))
    elif isinstance(value, Mapping):
        if "data" in value:
            yield loc, value
        else:
            for key, item in value.items():
                yield from _pages(item, (*loc, str(key)))


def _finished(reader: _Reader, file: str) -> Export:
    if reader.problems:
        count = "1 problem" if len(reader.problems) == 1 else f"{len(reader.problems)} problems"
        raise DataError(f"{file} has {count}", tuple(reader.problems))
    export = reader.finish()
    if not export.usage and not export.costs:
        raise DataError(f"{file} holds no usage and no costs", (Problem("holds no usage and no costs of models", file),))
    return export


def _merged(spans: list[tuple[int, int]]) -> Spans:
    found: list[tuple[int, int]] = []
    for start, end in sorted(set(spans)):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return tuple(found)


def _line(tree: marks.Tree, loc: Loc) -> int | None:
    """The line of a place in a JSON text (which is YAML); None where that cannot be told."""
    node = tree.root
    if node is None:
        return None
    for part in loc:
        value = node.value
        if isinstance(value, list) and isinstance(part, int) and part < len(value):
            node = value[part]
        elif isinstance(value, dict) and part in value:
            node = value[str(part)].node
        else:
            break
    return node.line


def _dotted(loc: Loc) -> str | None:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
    return text.lstrip(".") or None


def _short(value: object) -> str:
    return repr(value) if len(repr(value)) <= 40 else f"{repr(value)[:37]}..."
