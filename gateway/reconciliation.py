"""The ledger beside a provider's own account, day by day and model by model: where they differ, by how much, and what is known that explains it.

Pure: an export (gateway.usage_export) and the ledger's sums (gateway.store.asked) in, a document out. Nothing is corrected here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from gateway.store.asked import Spent
from gateway.usage_export import DAY, KINDS, Export, day_text, nanousd
from router.money import usd

# Providers bill under the name of a dated version what is asked for under its short name.
_DATED = re.compile(r"(?P<short>.+?)-\d{4}-?\d{2}-?\d{2}")
_COMPARED = ("requests", *KINDS, "cost_nanousd")


@dataclass(frozen=True, slots=True)
class Ledger:
    """Our side: what was used while the export's usage buckets ran, what was spent while its cost buckets did, exchanges cut off by day."""

    used: Mapping[tuple[int, str], Spent]
    paid: Mapping[tuple[int, str], Spent]
    interrupted: Mapping[int, int] = field(default_factory=dict)


def compare(export: Export, ledger: Ledger, tolerance: Decimal, now: float) -> dict[str, Any]:
    """The reconciliation. A difference is within `tolerance` when it is at most that share of the larger side; `ok`: all are. `now`: epoch seconds."""
    ours = {model for _, model in (*ledger.used, *ledger.paid)}
    renamed = {model: _named(model, ours) for _, model in (*export.usage, *export.costs) if model is not None}
    theirs = _theirs(export, renamed)
    keys = sorted({*theirs, *ledger.used, *ledger.paid}, key=lambda key: (key[0], key[1] or ""))
    judged = [_row(key, theirs.get(key, {}), export, ledger, tolerance, now) for key in keys]
    rows = [row for row in judged if row is not None]
    return {
        "object": "reconciliation",
        "tolerance": str(tolerance),
        "ok": all(row["within"] for row in rows),
        "data": rows,
        "total": _totals(rows),
        "notes": [*export.notes, *_aliases(renamed), *_coverage(export)],
    }


def _named(model: str, ours: Iterable[str]) -> str:
    """The ledger's name of a model the provider names."""
    if model in ours:
        return model
    dated = _DATED.fullmatch(model)
    return dated["short"] if dated is not None and dated["short"] in ours else model


def _theirs(export: Export, renamed: Mapping[str, str]) -> dict[tuple[int, str | None], dict[str, int | Decimal]]:
    """The provider's numbers by day and the ledger's name of the model; what it does not tell is not there."""
    found: dict[tuple[int, str | None], dict[str, int | Decimal]] = {}
    for (day, model), billed in export.usage.items():
        known = (day, renamed[model]) in found
        numbers = found.setdefault((day, renamed[model]), {})
        numbers["requests"] = numbers.get("requests", 0) + billed.requests
        for kind in KINDS:
            if kind not in billed.tokens:
                numbers.pop(kind, None)
            elif kind in numbers or not known:
                numbers[kind] = numbers.get(kind, 0) + billed.tokens[kind]
    for (day, name), dollars in export.costs.items():
        numbers = found.setdefault((day, None if name is None else renamed[name]), {})
        numbers["dollars"] = numbers.get("dollars", Decimal(0)) + dollars
    return found


def _row(
    key: tuple[int, str | None],
    theirs: Mapping[str, int | Decimal],
    export: Export,
    ledger: Ledger,
    tolerance: Decimal,
    now: float,
) -> dict[str, Any] | None:
    day, model = key
    used, paid = _ours(ledger, key)
    measures: dict[str, tuple[int, int]] = {}
    if model is not None and export.usage_spans and _covers(export.usage_spans, day):
        measures["requests"] = (used.requests, int(theirs.get("requests", 0)))
        for kind in KINDS:
            if kind in theirs or "requests" not in theirs:
                measures[kind] = (used.tokens[kind], int(theirs.get(kind, 0)))
    # Where the provider tells dollars by day alone, they stand in the row of the day, and in no other.
    if export.cost_spans and _covers(export.cost_spans, day) and (model is None or (day, None) not in export.costs):
        measures["cost_nanousd"] = (paid.nanousd, nanousd(Decimal(theirs.get("dollars", 0))))
    if not measures:
        return None
    within = all(abs(here - there) <= tolerance * max(here, there, -there) for here, there in measures.values())
    row: dict[str, Any] = {"day": day_text(day), "model": model, "within": within}
    row |= {name: _pair(*measures[name]) if name in measures else None for name in _COMPARED}
    money = row["cost_nanousd"]
    row["cost_usd"] = None if money is None else {side: usd(amount) for side, amount in money.items()}
    row |= {"estimated_requests": used.estimated, "unpriced_requests": paid.unpriced, "unmeasured_requests": used.unmeasured}
    row["why"] = _reasons(day, model, measures, used, paid, ledger.interrupted.get(day, 0), now)
    return row


def _ours(ledger: Ledger, key: tuple[int, str | None]) -> tuple[Spent, Spent]:
    day, model = key
    if model is not None:
        return ledger.used.get((day, model), _NOTHING), ledger.paid.get((day, model), _NOTHING)
    paid = [spent for (when, _), spent in ledger.paid.items() if when == day]
    whole = Spent(
        sum(each.requests for each in paid),
        _NOTHING.tokens,
        sum(each.nanousd for each in paid),
        sum(each.estimated for each in paid),
        sum(each.unpriced for each in paid),
        sum(each.unmeasured for each in paid),
    )
    return whole, whole


_NOTHING = Spent(0, dict.fromkeys(("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", *KINDS), 0), 0, 0, 0, 0)


def _pair(here: int, there: int) -> dict[str, int]:
    return {"ledger": here, "provider": there, "difference": here - there}


def _reasons(day: int, model: str | None, measures: Mapping[str, tuple[int, int]], used: Spent, paid: Spent, cut: int, now: float) -> list[str]:
    """What is known that may explain a difference, the surest first. Nothing to explain: nothing said."""
    gaps = {name: here - there for name, (here, there) in measures.items() if here != there}
    requests = gaps.get("requests", 0)
    reasons = (
        (cut, f"{cut} exchanges of this day were cut off by the death of a process: the provider may count up to as many requests more, over all models"),
        (used.unmeasured, f"{used.unmeasured} requests in the ledger have no usage: their tokens and dollars are in the provider's sums alone"),
        (used.estimated, f"{used.estimated} requests in the ledger are estimated, for the provider did not say what they used (the client left, it broke)"),
        (paid.unpriced, f"{paid.unpriced} requests in the ledger have no price: give it in prices:, then breakeven reprice"),
        ((day + 1) * DAY > now - 3600, "the day is not long over: providers publish usage minutes to hours late"),
        (requests < -cut, "the provider counts requests that did not come through this gateway: another key, project or gateway has the same account"),
        (requests > 0, "the ledger has requests the provider does not count: the export is of another project or key, or leaves their endpoint out"),
        (
            "requests" in measures and set(gaps) == {"cost_nanousd"} and not paid.unpriced,
            "usage agrees and dollars do not: the price book is not what was charged; correct it in prices:, then breakeven reprice",
        ),
        (model is not None and "requests" not in measures and not paid.requests, "the ledger has nothing of this line item"),
    )
    return [said for holds, said in reasons if holds and gaps]


def _covers(spans: Iterable[tuple[int, int]], day: int) -> bool:
    return any(start < (day + 1) * DAY and end > day * DAY for start, end in spans)


def _totals(rows: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in _COMPARED:
        pairs = [row[name] for row in rows if row[name] is not None]
        found[name] = _pair(sum(pair["ledger"] for pair in pairs), sum(pair["provider"] for pair in pairs)) if pairs else None
    money = found["cost_nanousd"]
    return found | {"cost_usd": None if money is None else {side: usd(amount) for side, amount in money.items()}}


def _aliases(renamed: Mapping[str, str]) -> list[str]:
    return [f"{theirs} is {ours} in the ledger" for theirs, ours in sorted(renamed.items()) if theirs != ours]


def _coverage(export: Export) -> list[str]:
    said = []
    for what, spans in (("usage", export.usage_spans), ("costs", export.cost_spans)):
        if not spans:
            said.append(f"there are no {what} in the export, so they are not compared")
        elif len(spans) > 1:
            said.append(f"the {what} have gaps: only the days they cover are compared")
    return said
