"""Whether a route is worth training for: from traffic, prices, the ladder's results and stated costs to the verdict, the document of `breakeven worth`. Pure.

A verdict is `train` (it saves money at the volume there is), `not_yet` (it would at a larger one, or something is missing) or `stay` (at no volume, or the
adapter is not good enough). Growth is never counted on: it only dates the break-even. Not here: the arithmetic (economy.py), default costs (assumptions.py),
what it is made from (worth_facts.py), reading anything (the gateway).
"""

from __future__ import annotations

import math
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Literal

from router import economy
from router.economy import Economy
from router.sensitivity import cents, sensitivity, whole
from router.worth_facts import BASE, HOSTED, LOCAL, TRAINED, Facts, alternative, economy_of, volume

Verdict = Literal["train", "not_yet", "stay"]
_DAY_S = 86_400.0
_FAR_MONTHS = 120.0  # a date beyond ten years is no date


def worth(facts: Facts) -> dict[str, Any]:
    """The document. Dollars are numbers, rounded to cents; null is unknown."""
    made = None if facts.hosted_usd_per_m is None or facts.missing else economy_of(facts, {n: a.value for n, a in facts.assumptions.items()})
    if made is None:
        return _unknown(facts)
    tokens = volume(facts.traffic, made.horizon_months)
    even = economy.break_even_tokens(made)
    verdict, reason = _judge(facts, made, tokens, even)
    low, high, bars = sensitivity(facts, made, tokens, even, trains=verdict == "train")
    monthly = _monthly(facts, made, tokens)
    use = economy.break_even_utilisation(made)
    date, earliest, latest = _dates(facts, (even, low, high))
    return _frame(facts) | {
        "verdict": verdict,
        "recommended_rung": TRAINED if verdict == "train" else alternative(facts)[0],
        "reason": reason,
        "monthly_usd": {name: cents(value) for name, value in monthly.items()},
        "break_even": {
            "tokens_per_day": whole(even),
            "date": date,
            "low": whole(low),
            "high": whole(high),
            "date_low": earliest,
            "date_high": latest,
            "utilisation": use,
        },
        "saving_usd_per_month": cents(economy.saving_usd(made, tokens)),
        "one_off_usd": cents(made.one_off_usd),
        "payback_months": economy.payback_months(made, tokens),
        "tokens_per_gpu_day": whole(made.tokens_per_gpu_day),
        "curve": _curve(made, tokens, even),
        "sensitivity": bars,
        "next": _next(facts, verdict, even),
    }


def _judge(facts: Facts, made: Economy, tokens: float, even: float | None) -> tuple[Verdict, str]:
    other = alternative(facts)[0]
    trained = next((rung for rung in facts.rungs if rung.name == TRAINED), None)
    if even is None:
        full = made.gpu_month_usd / economy.DAYS_PER_MONTH / made.tokens_per_gpu_day * 1e6
        busy = f"a GPU as full as its peaks allow ({1.0 / made.peak:.0%}) answers a million tokens for ${full:,.3g}, {other} for ${made.usd_per_m:,.3g}"
        return "stay", f"training pays at no volume: {busy}"
    if trained is not None and not trained.good:
        return "stay", f"the adapter that was measured reaches {trained.quality:.3f} and is not good enough; the arithmetic does not matter before it is"
    if tokens <= 0.0:
        return "not_yet", f"the route has no traffic yet; training would pay from {even:,.0f} tokens a day on"
    saving = economy.saving_usd(made, tokens)
    if saving <= 0.0:
        times = f"{even / tokens:,.1f} times" if even > tokens else "no less than"
        why = f"{tokens:,.0f} tokens a day, and it pays from {even:,.0f} on, {times} as many"
        return "not_yet", f"the route has {why}: today training would cost ${-saving:,.0f} a month more than {other}"
    back = economy.payback_months(made, tokens)
    when = "" if back is None else f"; the one-off ${made.one_off_usd:,.0f} are back after {back:.1f} months"
    return "train", f"training saves ${saving:,.0f} a month against {other} at {tokens:,.0f} tokens a day{when}"


def _monthly(facts: Facts, made: Economy, tokens: float) -> dict[str, float | None]:
    """Each rung's month: running costs of the hosted ones, everything of the trained one. The bare base needs a GPU and its operation."""
    price = facts.hosted_usd_per_m or 0.0
    base = economy.hosted_usd(economy.with_value(made, "usd_per_m", price), tokens)
    found: dict[str, float | None] = {HOSTED: base}
    for rung in facts.rungs:
        if rung.name not in LOCAL:
            found[rung.name] = None if rung.cost_factor is None else base * rung.cost_factor
        elif rung.name == BASE:
            found[BASE] = economy.running_usd(made, tokens) + made.operation_usd
    found[TRAINED] = economy.trained_usd(made, tokens)
    return found


def _dates(facts: Facts, even: tuple[float | None, float | None, float | None]) -> tuple[str | None, str | None, str | None]:
    """The UTC day when the traffic will be large enough: as it grows now, at the earliest and at the latest. Today where it is."""
    traffic, (middle, low, high) = facts.traffic, even
    return (
        _date(facts.now, traffic.tokens, middle, traffic.growth),
        _date(facts.now, traffic.tokens, low, traffic.growth_high),
        _date(facts.now, traffic.tokens, high, traffic.growth_low),
    )


def _date(now: float, tokens: float, wanted: float | None, growth: float | None) -> str | None:
    if wanted is None or tokens <= 0.0:
        return None
    if tokens >= wanted:
        return _day(now)
    if growth is None or growth <= 0.0:
        return None
    months = math.log(wanted / tokens) / math.log1p(growth)
    return _day(now + months * economy.DAYS_PER_MONTH * _DAY_S) if months <= _FAR_MONTHS else None


def _day(instant: float) -> str:
    return datetime.fromtimestamp(instant, UTC).date().isoformat()


def _curve(made: Economy, tokens: float, even: float | None) -> list[dict[str, float]]:
    """Monthly costs over the volume, for a plot: from a hundredth to ten times what is interesting."""
    middle = max(tokens, even or 0.0) or made.tokens_per_gpu_day
    volumes = [middle * 10.0 ** (step / 10.0) for step in range(-20, 11)]
    shown = []
    for each in volumes:
        hosted, trained = round(economy.hosted_usd(made, each), 2), round(economy.trained_usd(made, each), 2)
        shown.append({"tokens_per_day": round(each), "alternative_usd": hosted, "fine_tuned_usd": trained})
    return shown


def _next(facts: Facts, verdict: Verdict, even: float | None) -> list[str]:
    """What to do now, most useful first."""
    steps: list[str] = []
    if facts.traffic.tokens <= 0.0:
        steps.append(f"send the route's traffic through the gateway (model: {facts.route}) for a week; then ask again")
    elif facts.traffic.growth is None:
        steps.append("ask again after two weeks of whole days: growth cannot be told yet, so there is no date")
    if not facts.rungs:
        steps.append(f"measure before you train: breakeven eval {facts.route} compares prompts, examples, retrieval and the bare base on the route's suite")
    if verdict == "train":
        measured = any(rung.name == TRAINED for rung in facts.rungs)
        steps.append("promote the adapter once its gate passes" if measured else f"build a dataset (breakeven dataset build --route {facts.route}) and train")
    elif verdict == "not_yet" and even is not None:
        steps.append("capture a sample now (routes.….capture.sample), so that there is data when the volume is there")
    else:
        steps.append("stay with the recommended rung; ask again when prices or the model change")
    return steps


def _unknown(facts: Facts) -> dict[str, Any]:
    """The document where something nobody knows stands in the way."""
    missing = list(facts.missing) or ["the price of the route's hosted model: give it in prices:"]
    known = [(facts.hosted_usd_per_m or 0.0) * facts.traffic.tokens * economy.DAYS_PER_MONTH / 1e6] if facts.hosted_usd_per_m is not None else [None]
    return _frame(facts) | {
        "verdict": "not_yet",
        "recommended_rung": alternative(facts)[0],
        "reason": "it cannot be worked out yet, something is missing: " + "; ".join(missing),
        "monthly_usd": {HOSTED: cents(known[0]), TRAINED: None},
        "break_even": dict.fromkeys(("tokens_per_day", "date", "low", "high", "date_low", "date_high", "utilisation")),
        "saving_usd_per_month": None,
        "one_off_usd": None,
        "payback_months": None,
        "tokens_per_gpu_day": None,
        "curve": [],
        "sensitivity": [],
        "next": missing,
    }


def _frame(facts: Facts) -> dict[str, Any]:
    traffic = asdict(facts.traffic) | {"tokens": facts.traffic.tokens}
    return {
        "route": facts.route,
        "traffic": traffic,
        "hosted_usd_per_m": facts.hosted_usd_per_m,
        "rungs": [asdict(rung) for rung in facts.rungs],
        "assumptions": {name: {key: value for key, value in asdict(item).items() if key != "name"} for name, item in facts.assumptions.items()},
        "missing": list(facts.missing),
        "notes": list(facts.notes),
        "sandbox": facts.sandbox,
    }
