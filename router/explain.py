"""What would have changed a decision: for each lever the value at which the choice flips. Not here: the decision itself (router.policy).

Scores are linear in prices, so price levers are exact in closed form; latency and work in flight are found by halving, on the policy's own scores. Every
lever is moved alone, with everything else as it was. Within the policy's tie band around a flip a coin decides.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from router import latency
from router.policy import Row, expected_output, miss_worth, prior_output, rank, tied, weigh
from router.types import Decision, Live, Snapshot

Flip = dict[str, object]
_FAR = 20.0  # powers of two
_HALVINGS = 60


def flips(decision: Decision, snapshot: Snapshot) -> list[Flip]:
    """Each `{"what", "backend", "from", "to", "then"}`: move `what` of `backend` past `to`, and `then` is chosen.

    `what`: `gate` (from the drop to None), `seed` (a coin decided; to None), `price` (nano-dollars of this request; from None where unknown),
    `miss_price_factor` (backend None), `latency_ms` (predicted total), `in_flight`. Empty without alternatives.
    """
    names = [candidate.backend for candidate in snapshot.candidates]
    by_name = {live.backend: live for live in decision.live}
    states = [by_name.get(name, Live(name)) for name in names]
    rows = weigh(decision.features, snapshot, states)
    chosen = None if decision.chosen is None else names.index(decision.chosen)
    found = _gates(decision, rows, chosen)
    if chosen is None or len(decision.order) == 1:
        return found
    feasible = [i for i, scored in enumerate(decision.scored) if scored.feasible]
    if tied(sorted(feasible, key=lambda i: rank(rows[i], i)), rows) > 1:
        return [*found, _flip("seed", None, decision.seed, None, decision.order[1])]
    levers = _Levers(decision, snapshot, states, rows, chosen)
    if chosen not in levers.known:
        return found
    for i in levers.feasible:
        found += levers.price(i)
    found += levers.miss_factor()
    for i in levers.feasible:
        found += levers.latency(i) + levers.in_flight(i)
    return found


def _gates(decision: Decision, rows: list[Row], chosen: int | None) -> list[Flip]:
    """Dropped candidates that would have won."""
    best = None if chosen is None else rows[chosen].score
    found = []
    for scored, row in zip(decision.scored, rows, strict=True):
        wins = chosen is None or (row.score is not None and (best is None or row.score < best))
        if not scored.feasible and wins:
            found.append(_flip("gate", scored.backend, scored.dropped_because, None, scored.backend))
    return found


class _Priced(NamedTuple):
    price: float
    lost: float
    score: float
    crowd: float


class _Levers:
    """One decision laid open: who was feasible, at which known scores, who won and what a miss was worth."""

    def __init__(self, decision: Decision, snapshot: Snapshot, states: list[Live], rows: list[Row], chosen: int) -> None:
        self.features, self.snapshot, self.states, self.rows, self.chosen = decision.features, snapshot, states, rows, chosen
        self.names = [candidate.backend for candidate in snapshot.candidates]
        self.feasible = [i for i, scored in enumerate(decision.scored) if scored.feasible]
        self.known = {i: _Priced(r.price, r.lost, r.score, r.crowd) for i in self.feasible if (r := rows[i]).price is not None and r.score is not None}
        self.worth, self.share = miss_worth(self.features, snapshot, states, prior_output(states))
        self.reference = next((i for i, c in enumerate(snapshot.candidates) if c.kind == "hosted" and rows[i].price is not None), None)

    def price(self, i: int) -> list[Flip]:
        """The expected price of one hosted candidate at which it starts to win, or stops to."""
        if self.snapshot.candidates[i].kind != "hosted":
            return []
        if i not in self.known:
            return self._unknown_price(i)
        price = self.known[i].price
        # Every score is base + slope * factor when this price is multiplied by factor; the crossing nearest to 1 is the flip.
        lines = {j: self._line(i, j) for j in self.known}
        base, slope = lines.pop(i)
        crossings = [((other - base) / (slope - rise), j) for j, (other, rise) in lines.items() if slope > rise]
        if not price or not crossings:
            return []
        factor, rival = min(crossings)
        if i == self.chosen:
            return [_flip("price", self.names[i], price, price * factor, self.names[rival])]
        beats_all = len(crossings) == len(lines) and 0.0 < factor < 1.0
        return [_flip("price", self.names[i], price, price * factor, self.names[i])] if beats_all else []

    def _unknown_price(self, i: int) -> list[Flip]:
        if self.reference is None or self.reference > i:
            # Its price, once known, would also set what a miss is worth.
            return []
        to = self.known[self.chosen].score - self.rows[i].lost * self.worth
        return [_flip("price", self.names[i], None, to, self.names[i])] if to > 0.0 else []

    def _line(self, moved: int, j: int) -> tuple[float, float]:
        price, lost, _, _ = self.known[j]
        risk = lost * self.worth
        base, slope = (0.0, price) if j == moved else (price, 0.0)
        return (base, slope + risk) if self.reference == moved else (base + risk, slope)

    def miss_factor(self) -> list[Flip]:
        """The nearest factors, below and above, at which lateness is priced low or high enough for another choice."""
        factor = self.snapshot.miss_price_factor
        if self.worth <= 0.0:
            return []
        lines = {j: (each.price - each.crowd, (each.lost * self.worth + each.crowd) / factor) for j, each in self.known.items()}
        base, slope = lines[self.chosen]
        rivals = [(other, rise, j) for j, (other, rise) in lines.items() if rise != slope]
        crossings = [((other - base) / (slope - rise), j) for other, rise, j in rivals]
        below = max((crossing for crossing in crossings if 0.0 < crossing[0] < factor), default=None)
        above = min((crossing for crossing in crossings if crossing[0] > factor), default=None)
        return [_flip("miss_price_factor", None, factor, to[0], self.names[to[1]]) for to in (below, above) if to is not None]

    def latency(self, i: int) -> list[Flip]:
        """The predicted total latency at which one candidate's risk tips the choice."""
        others = [(priced.score, j) for j, priced in self.known.items() if j != i]
        total = self.rows[i].latency_ms
        if i not in self.known or total is None or not others or self.worth <= 0.0:
            return []
        score, rival = min(others)
        rises = i == self.chosen
        stretch = self._stretch(i, score, rises=rises)
        return [] if stretch is None else [_flip("latency_ms", self.names[i], total, total * stretch, self.names[rival if rises else i])]

    def _stretch(self, i: int, score: float, *, rises: bool) -> float | None:
        """By how much both predicted latencies must be multiplied so that its own score becomes `score`."""
        live = self.states[i]
        output = expected_output(self.features, live, prior_output(self.states))
        candidate = self.snapshot.candidates[i]
        tokens = (self.features.prompt_bytes + candidate.program_bytes) / live.bytes_per_token
        prediction = latency.predict(candidate, live, output, tokens)
        if prediction is None:
            return None
        aims, work = latency.limits(self.features, self.snapshot.slo), latency.Work(self.share, *latency.crowd(candidate, live, tokens, output))
        others = live.usual_saving * self.snapshot.miss_price_factor
        bare = self.known[i].price - self.known[i].crowd

        def above(power: float) -> bool:
            by = 2.0**power
            scaled = prediction._replace(ttft_ms=prediction.ttft_ms * by, total_ms=prediction.total_ms * by)
            risk = latency.risk(scaled, aims, self.snapshot.slo.target, live, work)
            return bare + risk.harm * others + risk.lost * self.worth > score

        now, far = 0.0, _FAR if rises else -_FAR
        if above(now) == above(far):
            return None
        for _ in range(_HALVINGS):
            middle = (now + far) / 2.0
            now, far = (middle, far) if above(middle) == above(now) else (now, middle)
        return float(2.0**far)

    def in_flight(self, i: int) -> list[Flip]:
        """The number of requests in flight on one engine from which on it loses, or down to which it wins."""
        live = self.states[i]
        if self.snapshot.candidates[i].kind != "local" or live.slots <= 0:
            return []
        wins_now = i == self.chosen
        # Between a number at which it wins and one at which it loses, the flip lies.
        wins, loses = (live.in_flight, max(2 * live.in_flight, 16 * live.slots)) if wins_now else (0, live.in_flight)
        if self._winner_at(i, wins) != i or self._winner_at(i, loses) == i:
            return []
        while loses - wins > 1:
            middle = (wins + loses) // 2
            wins, loses = (middle, loses) if self._winner_at(i, middle) == i else (wins, middle)
        to = loses if wins_now else wins
        return [_flip("in_flight", self.names[i], live.in_flight, to, self.names[self._winner_at(i, to)])]

    def _winner_at(self, i: int, in_flight: int) -> int:
        states = list(self.states)
        states[i] = replace(states[i], in_flight=in_flight)
        rows = weigh(self.features, self.snapshot, states)
        return min(self.feasible, key=lambda j: rank(rows[j], j))


def _flip(what: str, backend: str | None, now: object, to: object, then: str) -> Flip:
    return {"what": what, "backend": backend, "from": now, "to": to, "then": then}
