"""The verdict on a route, gathered: its traffic from the ledger, prices, the engine's curve and hour, the newest ladder, stated costs. Reads only.

Not here: the verdict itself (router/worth.py), how it looks (terminal_worth.py, worth_page.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection

from gateway.calibration import USUAL_MIX
from gateway.config.models import Config
from gateway.config.worth import WorthConfig
from gateway.prices import book
from gateway.store import costs, curves, ladder
from gateway.store.gpu import DECODE_WEIGHT
from gateway.store.groups import checked
from gateway.store.measures import NAMES
from gateway.store.period import Period
from router import assumptions, trend
from router.assumptions import Assumption
from router.errors import ConfigError, RequestError
from router.utilisation import Mix, hosted_per_million
from router.worth import worth
from router.worth_facts import HOSTED, LOCAL, Facts, Rung, Traffic

DAYS = 28
_DAY_S, _HOUR_S = 86_400.0, 3600.0
_LEAST_HOURS = 24 * 7  # before that the busiest hour says little
_PRICE_SPREAD, _CURVE_SPREAD = 0.2, 0.15


@dataclass(frozen=True, slots=True)
class Asked:
    """What to judge and by which stated numbers (`values`: assumptions by name); `tokens_per_day` instead of the ledger's."""

    route: str
    values: Mapping[str, float] = field(default_factory=dict)
    tokens_per_day: float | None = None


def document(conn: Connection, config: Config, asked: Asked, now: float) -> dict[str, Any]:
    """The verdict as it goes out. RequestError 404 for a route there is none of."""
    route = config.routes.get(asked.route)
    if route is None:
        raise RequestError(f"there is no route {asked.route!r}; it has {', '.join(config.routes) or 'none'}", status=404, code="route_not_found", param="route")
    traffic, hours, notes = traffic_of(conn, asked.route, now)
    if asked.tokens_per_day is not None:
        traffic = _scaled(traffic, asked.tokens_per_day)
        notes = ["tokens per day are as given"]
    mix = Mix.of(traffic.input_tokens, traffic.output_tokens, traffic.cached_tokens) if traffic.tokens > 0 else USUAL_MIX
    if traffic.tokens <= 0:
        notes.append("no traffic: a mix of four prompt tokens to one generated is assumed")
    hosted = next((candidate for candidate in route.candidates if candidate.kind == "hosted"), None)
    price, missing = None, []
    if hosted is None:
        missing.append(f"a hosted candidate of routes.{asked.route}: there is nothing to compare with")
    else:
        provider = config.providers[hosted.owner]
        price = book(config).price(hosted.owner, provider.kind, hosted.model or "", now)
        if price is None:
            missing.append(f"the price of {hosted.owner}/{hosted.model}: give it in prices:")
    known, unpriced = _assumptions(conn, config, asked, mix, trend.peak(hours) if len(hours) >= _LEAST_HOURS else None)
    found = ladder.latest(conn, asked.route)
    if found is not None:
        notes.append(f"the ladder was measured on {datetime.fromtimestamp(found.time, UTC).date().isoformat()}")
    facts = Facts(
        route=asked.route,
        now=now,
        traffic=traffic,
        hosted_usd_per_m=None if price is None else hosted_per_million(price, mix) / 1e9,
        assumptions=known,
        rungs=rungs_of(found.report) if found is not None else (),
        missing=[*missing, *unpriced],
        sandbox=any(config.providers[c.owner].sandbox for c in route.candidates if c.kind == "hosted"),
        notes=notes,
    )
    return worth(facts) | {"hosted": None if hosted is None else f"{hosted.owner}/{hosted.model}", "price_source": None if price is None else price.source}


def stated(words: Iterable[str], option: str) -> dict[str, float]:
    """Assumptions from `name=value` words. ConfigError naming the option for one that is none."""
    values: dict[str, float] = {}
    for word in words:
        name, _, text = word.partition("=")
        try:
            values[name] = float(text)
        except ValueError:
            raise ConfigError(f"{option} {word!r} is not NAME=NUMBER; write {option} engineering_weeks=2") from None
        if name not in assumptions.NAMES:
            raise ConfigError(f"{option} {word!r}: there is no assumption {name!r}; there are {', '.join(assumptions.NAMES)}")
    try:
        WorthConfig.model_validate(values)
    except ValidationError as error:
        said = "; ".join(f"{problem['loc'][0]}: {problem['msg'][:1].lower()}{problem['msg'][1:]}" for problem in error.errors())
        raise ConfigError(f"{option}: {said}") from error
    return values


def traffic_of(conn: Connection, route: str, now: float) -> tuple[Traffic, list[float], list[str]]:
    """The route's mean day over the last whole days it was there, its tokens by hour, and what is to be said of them."""
    today = math.floor(now / _DAY_S) * _DAY_S
    rows = _steps(conn, route, "hour", Period(today - DAYS * _DAY_S, now))
    if not rows:
        return Traffic(), [], []
    first = min(rows)
    hours = [sum(rows.get(hour, (0.0,) * 4)[1:3]) for hour in range(first, math.floor(now / _HOUR_S))]
    start = -(-first // 24)
    whole = [_sum(rows, day) for day in range(start, round(today / _DAY_S))]
    notes: list[str] = []
    if not any(day[1] + day[2] for day in whole):
        seen_h = max(1.0, now / _HOUR_S - first)
        total = [sum(values) * 24.0 / seen_h for values in zip(*rows.values(), strict=True)]
        notes.append(f"no whole day yet: {seen_h:.0f} h are taken as they are for all of a day")
        return Traffic(0, *_named(total)), hours, notes
    tokens = [day[1] + day[2] for day in whole]
    mean = [sum(values) / len(whole) for values in zip(*whole, strict=True)]
    grown = trend.growth(tokens) or (None, None, None)
    if grown[0] is None:
        notes.append(f"{len(whole)} whole day{'s' if len(whole) > 1 else ''} cannot show growth: it takes {trend.LEAST_DAYS} with traffic")
    return Traffic(len(whole), *_named(mean), trend.standard_error(tokens), *grown), hours, notes


def rungs_of(report: Mapping[str, Any]) -> list[Rung]:
    """A kept ladder as the verdict takes it: costs and GPU work relative to the hosted model as it is."""
    rows = report["rungs"]
    base = next((row for row in rows if row["rung"] == HOSTED), None)
    found = []
    for row in rows:
        local = row["rung"] in LOCAL
        factor = _work(row, base) if local else _ratio(row["cost_per_1k_nanousd"], None if base is None else base["cost_per_1k_nanousd"])
        found.append(
            Rung(
                name=row["rung"],
                backend=row["model"],
                quality=row["score"],
                low=row["interval"][0],
                high=row["interval"][1],
                good=row["good"],
                proven=row["proven"],
                cost_factor=factor,
                p50_ms=row["latency_p50_ms"],
                p95_ms=row["latency_p95_ms"],
            )
        )
    return found


def _assumptions(conn: Connection, config: Config, asked: Asked, mix: Mix, peak: float | None) -> tuple[dict[str, Assumption], list[str]]:
    """Defaults, then what is measured and configured, then what the asker states; and which of them are missing."""
    known, missing = assumptions.defaults(), []
    candidates = config.routes[asked.route].candidates
    engine = next((c.engine for c in candidates if c.engine is not None), next(iter(config.engines), None))
    own = {**config.worth.stated, **asked.values}
    if engine is not None:
        hour = config.engines[engine].gpu_hour_nanousd
        if hour is not None:
            known["gpu_hour_usd"] = known["gpu_hour_usd"].set(hour / 1e9, "configured", f"engines.{engine}.gpu_hour_usd", _PRICE_SPREAD)
        elif "gpu_hour_usd" not in own:
            missing.append(f"what an hour of {engine} costs: set engines.{engine}.gpu_hour_usd")
        curve = curves.latest(conn, engine)
        if curve is not None:
            busy = curve.saturation.seconds(1e6 * mix.prompt * (1.0 - mix.cached), 1e6 * (1.0 - mix.prompt))
            known["gpu_s_per_m"] = known["gpu_s_per_m"].set(busy, "measured", f"breakeven calibrate {engine}, for this route's mix", _CURVE_SPREAD)
    if peak is not None:
        known["peak"] = replace(known["peak"], value=peak, low=max(1.0, peak / 1.5), high=peak * 1.5, origin="measured", source="the ledger's hours")
    known = assumptions.stated(known, config.worth.stated, "configured", f"worth: in {config.source.name}")
    return assumptions.stated(known, asked.values, "given", "given with the question"), missing


def _steps(conn: Connection, route: str, step: str, period: Period) -> dict[int, tuple[float, float, float, float]]:
    """(requests, input, output, cached) tokens of the route by number of the hour."""
    groups = checked(("route", step))
    at = [NAMES.index(name) for name in ("requests", "input_tokens", "output_tokens", "cached_tokens")]
    found = {}
    for key, amounts in costs.sums(conn, groups, period).items():
        if key[0] == route:
            requests, entered, made, cached = (float(amounts[i] or 0) for i in at)
            found[round(_instant(groups.shown(key)[step]) / _HOUR_S)] = (requests, entered, made, cached)
    return found


def _instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _sum(rows: Mapping[int, tuple[float, float, float, float]], day: int) -> tuple[float, ...]:
    hours = [rows[hour] for hour in range(24 * day, 24 * day + 24) if hour in rows]
    return tuple(sum(values) for values in zip(*hours, strict=True)) if hours else (0.0,) * 4


def _named(values: Iterable[float]) -> tuple[float, float, float, float]:
    """In the order of Traffic: requests, input, cached, output."""
    requests, entered, made, cached = values
    return requests, entered, cached, made


def _scaled(traffic: Traffic, tokens: float) -> Traffic:
    """The same mix and growth at another volume."""
    if traffic.tokens <= 0:
        return Traffic(0, 0.0, tokens * USUAL_MIX.prompt, 0.0, tokens * (1.0 - USUAL_MIX.prompt))
    factor = tokens / traffic.tokens
    scaled = {name: getattr(traffic, name) * factor for name in ("requests", "input_tokens", "cached_tokens", "output_tokens")}
    return replace(traffic, spread=0.0, **scaled)


def _ratio(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else part / whole


def _work(row: Mapping[str, Any], base: Mapping[str, Any] | None) -> float | None:
    """GPU work of a rung over that of the hosted model's tokens, a generated token weighed as in the books (docs/decisions/0006)."""
    if base is None:
        return 1.0
    mine, theirs = (_tokens(each) for each in (row, base))
    return _ratio(mine, theirs)


def _tokens(row: Mapping[str, Any]) -> float | None:
    entered, made = row["input_tokens"], row["output_tokens"]
    return None if entered is None or made is None else entered + DECODE_WEIGHT * made
