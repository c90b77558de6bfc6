"""What must hold between the entries of `prices:`: known providers, one price at a time for each model and tier, steps that rise.

Plain values in, findings out, like checks.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from pydantic import TypeAdapter, ValidationError

from gateway.config.checks import Finding, listing, mapping, text, unknown
from gateway.config.document import Loc
from gateway.config.prices import ORDINARY_TIERS
from gateway.config.values import Instant

_ALWAYS = float("-inf")
_instant = TypeAdapter(Instant)


@dataclass(frozen=True, slots=True)
class _Span:
    index: int
    since: float
    until: float | None


def check_prices(data: Mapping[str, object]) -> Iterator[Finding]:
    """The findings of the whole section."""
    spans: dict[tuple[str, str, str | None], list[_Span]] = {}
    for index, price in enumerate(listing(data, "prices")):
        section = mapping(price)
        provider, model, tier = text(section, "provider"), text(section, "model"), text(section, "service_tier")
        if provider is not None and provider not in mapping(data, "providers"):
            yield unknown(("prices", index, "provider"), "provider", provider, mapping(data, "providers"))
        if tier in ORDINARY_TIERS:
            yield Finding(("prices", index, "service_tier"), f"{tier!r} is the ordinary tier: leave service_tier out")
        yield from _steps(("prices", index, "above"), section)
        since, until = _when(section, "effective", _ALWAYS), _when(section, "until", None)
        if since is not None and until is not None and until <= since:
            yield Finding(("prices", index, "until"), "is not after effective, so the price never holds: move one of them")
        elif provider is not None and model is not None and since is not None:
            spans.setdefault((provider, model, tier), []).append(_Span(index, since, until))
    for (provider, model, tier), found in spans.items():
        yield from _overlaps(f"{provider}/{model}" + (f" in the {tier} tier" if tier else ""), found)


def _when(section: Mapping[str, object], key: str, missing: float | None) -> float | None:
    """Epoch seconds; None for what is no instant (the models report that)."""
    value = section.get(key)
    if value is None or value == "":
        return missing
    try:
        return _instant.validate_python(value).timestamp()
    except ValidationError:
        return None


def _steps(loc: Loc, section: Mapping[str, object]) -> Iterator[Finding]:
    starts = [step.get("input_tokens") if isinstance(step, Mapping) else None for step in listing(section, "above")]
    for index, (before, start) in enumerate(pairwise(starts), start=1):
        if isinstance(before, int) and isinstance(start, int) and start <= before:
            yield Finding((*loc, index, "input_tokens"), f"must be more than {before}, which the step before it has")


def _overlaps(what: str, spans: list[_Span]) -> Iterator[Finding]:
    ordered = sorted(spans, key=lambda span: (span.since, span.index))
    for before, span in pairwise(ordered):
        if span.since == before.since:
            yield Finding(("prices", span.index), f"says again what {what} costs from the same date (first in prices[{before.index}]): keep one")
        elif before.until is not None and span.since < before.until:
            yield Finding(
                ("prices", span.index, "effective"),
                f"begins before prices[{before.index}] ends, so {what} would have two prices at once: end that one here, or begin this one later",
            )
