"""The decision: which candidate answers this request, in which order the others follow, and why. Pure: same arguments, same decision.

Among the candidates that pass the hard gates the score is in nano-dollars: expected price of this request (hosted) or displaced saving (local), plus the
chance to miss the route's aim times what a miss is worth. Not here: gates (router.gates), prediction (router.latency), the price of GPU work (router.shadow).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from router import latency, money, shadow
from router.gates import drops
from router.split import mix
from router.types import Candidate, CostState, Decision, Features, Live, Scored, Snapshot, Stage, Why

POLICY_VERSION = "bid-price/3"
# Expected answer length before anything of the route was learnt. Of the order of published chat traces; one observation replaces it.
PRIOR_OUTPUT_TOKENS = 200.0
# Scores closer than this, relative to the larger, are one price: a coin decides and both sides keep being observed.
TIE = 0.01
TIE_P_MISS = 0.05
_INFINITY = float("inf")
# Which gate stands behind which reason, where the dropped candidate would have won.
_WHY_DROPPED: Mapping[str, Why] = {
    "quality_gate": Why.QUALITY_GATE,
    "circuit": Why.CIRCUIT,
    "retry_after": Why.CIRCUIT,
    "rate_limit": Why.CIRCUIT,
    "budget": Why.BUDGET,
}


class Row(NamedTuple):
    """What one candidate would cost, feasible or not. Nano-dollars; `price` None: unknown. `score` None: unknown price. `opportunity` is part of the score.

    `lost` is the share of the request's worth that its misses are expected to cost (router.latency.risk), `crowd` the part of `price` that is for what it would
    do to others.
    """

    price: float | None
    opportunity: float
    latency_ms: float | None
    p_miss: float
    score: float | None
    lost: float = 0.0
    crowd: float = 0.0


def decide(features: Features, snapshot: Snapshot, live: Mapping[str, Live], now: float, seed: int, decision_id: str) -> Decision:
    """The choice for one request. `live` holds what is known of each backend by name; one that is missing counts as never observed."""
    candidates = snapshot.candidates
    states = [live[c.backend] if c.backend in live else Live(c.backend, healthy=c.kind == "hosted") for c in candidates]
    dropped = drops(features, snapshot, states, now)
    rows = weigh(features, snapshot, states)
    order = sorted((i for i, drop in enumerate(dropped) if drop is None), key=lambda i: rank(rows[i], i))
    near = tied(order, rows) if len(order) > 1 else 1
    if near > 1:
        order.insert(0, order.pop(mix(seed) % near))
    return Decision(
        decision_id,
        snapshot.route,
        tuple([candidates[i].backend for i in order]),
        _why(snapshot, order, rows, dropped, near > 1) if order else None,
        tuple([_scored(candidates[i], rows[i], dropped[i]) for i in range(len(rows))]),
        features,
        tuple(states),
        snapshot.digest,
        now,
        seed,
        POLICY_VERSION,
    )


def weigh(features: Features, snapshot: Snapshot, states: list[Live]) -> list[Row]:
    """One row per candidate, in the snapshot's order; `states` in the same order."""
    aims = latency.limits(features, snapshot.slo)
    prior = prior_output(states)
    worth, output_share = miss_worth(features, snapshot, states, prior)
    rows = []
    for candidate, live in zip(snapshot.candidates, states, strict=True):
        output = expected_output(features, live, prior)
        tokens = (features.prompt_bytes + candidate.program_bytes) / live.bytes_per_token
        prediction = latency.predict(candidate, live, output, tokens)
        crowd, slower_ms = latency.crowd(candidate, live, tokens, output)
        risk = latency.risk(prediction, aims, snapshot.slo.target, live, latency.Work(output_share, crowd, slower_ms))
        opportunity = others = 0.0
        price: float | None = None
        if candidate.kind == "local":
            others = risk.harm * live.usual_saving * snapshot.miss_price_factor
            price = opportunity = shadow.opportunity(live, output * features.n) + others
        elif candidate.price is not None:
            price = money.expected(tokens, live.cached_share, output * features.n, candidate.price)
        total_ms = None if prediction is None else prediction.total_ms
        rows.append(Row(price, opportunity, total_ms, risk.p_miss, None if price is None else price + risk.lost * worth, risk.lost, others))
    return rows


def miss_worth(features: Features, snapshot: Snapshot, states: list[Live], prior: float) -> tuple[float, float]:
    """What a miss of this request is worth, nano-dollars, and which share of that is for its answer: the route's factor times the request's price on the first
    hosted candidate whose price is known. Where there is none, the most work that any engine would lose by it."""
    for candidate, live in zip(snapshot.candidates, states, strict=True):
        if candidate.kind == "hosted" and candidate.price is not None:
            tokens = (features.prompt_bytes + candidate.program_bytes) / live.bytes_per_token
            output = expected_output(features, live, prior) * features.n
            whole = money.expected(tokens, live.cached_share, output, candidate.price)
            read = money.expected(tokens, live.cached_share, 0.0, candidate.price)
            return snapshot.miss_price_factor * whole, 1.0 - read / whole if whole else 0.0
    dearest = max((shadow.opportunity(live, expected_output(features, live, prior) * features.n) for live in states), default=0.0)
    return snapshot.miss_price_factor * dearest, 1.0


def expected_output(features: Features, live: Live, prior: float) -> float:
    """Expected tokens of one answer: learnt, else the prior, never more than the request allows; embeddings have none."""
    if "embeddings" in features.needs:
        return 0.0
    tokens = prior if live.output_tokens is None else live.output_tokens
    return tokens if features.max_tokens is None else min(tokens, float(features.max_tokens))


def prior_output(states: list[Live]) -> float:
    """Expected tokens of an answer on a backend that taught nothing yet: what the route's other backends taught, else a constant.

    The same questions get answers of similar length elsewhere, and a known and a new backend are compared on equal terms.
    """
    known = [live.output_tokens for live in states if live.output_tokens is not None]
    return sum(known) / len(known) if known else PRIOR_OUTPUT_TOKENS


def rank(row: Row, index: int) -> tuple[bool, float, float, float, int]:
    """Sort key: known prices by score, then risk, then latency, then as written; unknown prices after them, by latency."""
    late = _INFINITY if row.latency_ms is None else row.latency_ms
    if row.score is None:
        return (True, late, 0.0, 0.0, index)
    return (False, row.score, row.p_miss, late, index)


def tied(order: list[int], rows: list[Row]) -> int:
    """How many of the first in order (by rank) are one price: 1 means no tie. Free candidates are ordered by risk and latency, they are never a tie."""
    best = rows[order[0]]
    if not best.score or best.p_miss >= TIE_P_MISS:
        return 1
    near = 1
    while near < len(order):
        row = rows[order[near]]
        if row.score is None or row.score - best.score > TIE * row.score or row.p_miss >= TIE_P_MISS:
            break
        near += 1
    return near


def _why(snapshot: Snapshot, order: list[int], rows: list[Row], dropped: list[str | None], tie: bool) -> Why:
    if snapshot.pinned:
        return Why.PINNED
    chosen = order[0]
    candidate = snapshot.candidates[chosen]
    if candidate.adapter is not None and candidate.stage in (Stage.CANARY, Stage.RAMP):
        return Why.CANARY
    missed = _cheaper_but_dropped(chosen, rows, dropped)
    if missed is not None:
        return missed
    if len(order) == 1:
        return Why.ONLY_FEASIBLE
    return Why.EXPLORE_TIE if tie else _what_tipped(chosen, order, rows)


def _cheaper_but_dropped(chosen: int, rows: list[Row], dropped: list[str | None]) -> Why | None:
    """The gate that took out the candidate which would have won, if it is one of the gates that are reasons of their own."""
    best, found = rows[chosen].score, None
    for row, drop in zip(rows, dropped, strict=True):
        if drop is not None and row.score is not None and (best is None or row.score < best):
            best, found = row.score, drop
    return _WHY_DROPPED.get(found.partition(":")[0]) if found is not None else None


def _what_tipped(chosen: int, order: list[int], rows: list[Row]) -> Why:
    """Cost, unless the choice would be another without the price of a miss, or without the price of GPU work."""
    won = rows[chosen]
    if won.price is None or won.score is None:
        # Nothing is priced: latency is all there was to choose by.
        return Why.SLO_RISK
    rivals = [(row.price, row.opportunity, row.score) for row in [rows[i] for i in order[1:]] if row.price is not None and row.score is not None]
    by_miss = any(price < won.price for price, _, _ in rivals)
    by_capacity = any(score - opportunity < won.score - won.opportunity for _, opportunity, score in rivals)
    if by_miss != by_capacity:
        return Why.SLO_RISK if by_miss else Why.CAPACITY_PRICE
    base = won.price - won.opportunity
    ahead = [(price, opportunity, score) for price, opportunity, score in rivals if price - opportunity < base]
    if not ahead:
        return Why.SLO_RISK if by_miss else Why.COST
    price, opportunity, score = min(ahead, key=lambda rival: rival[0] - rival[1])
    risk = (score - price) - (won.score - won.price)
    return Why.SLO_RISK if risk >= opportunity - won.opportunity else Why.CAPACITY_PRICE


def _scored(candidate: Candidate, row: Row, drop: str | None) -> Scored:
    state: CostState = "unknown" if row.price is None else "estimated"
    price = None if row.price is None else round(row.price)
    return Scored(candidate.backend, drop is None, drop, price, state, row.latency_ms, row.p_miss, row.score)
