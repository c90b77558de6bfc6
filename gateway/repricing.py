"""Re-pricing: what settled exchanges cost by the present price book, each at its own time, from the usage that was stored with it.

For after a correction: an override that came late, a package that was behind. Chunk by chunk, each in a transaction with how far it is, so that it may be
interrupted anywhere and goes on where it was; doing it twice changes nothing the second time. Estimated usage stays estimated, unknown usage unknown.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256

from sqlalchemy import Engine

from gateway.config.models import Config
from gateway.costing import FREE_ERRORS, converted, weakest
from gateway.prices import PriceBook, book
from gateway.store import decisions, repricings
from gateway.store.repricings import Call, Correction, Line, Repricing
from router.errors import StateError
from router.money import cost
from router.naming import without_program
from router.types import CostState, Decision, Snapshot, Usage
from serving.database import reading, writing

CHUNK = 500

Decided = Mapping[str, tuple[Decision, Snapshot]]


@dataclass(frozen=True, slots=True)
class Progress:
    """Where it stands: `done` of `total` rows."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Repricer:
    """Re-prices the rows of one database by the price book of `config`. `clock` gives epoch seconds; `chunk` rows are one transaction."""

    engine: Engine
    config: Config
    clock: Callable[[], float]
    chunk: int = CHUNK

    def begin(self, by: str, reason: str | None, since: float | None, until: float | None, provider: str | None, model: str | None) -> Repricing:
        """A new re-pricing of the rows in [since, until), those that called `provider` or `model` only."""
        now = self.clock()
        return Repricing(f"rpr_{secrets.token_hex(8)}", now, now, by, label(self.config), None, reason, since, until, provider, model)

    def resumed(self, identity: str) -> Repricing:
        """An interrupted one, to go on with. Raises StateError when there is none of that id, it has ended, or prices are not the same any more."""
        with reading(self.engine) as conn:
            found = repricings.get(conn, identity)
        if found is None:
            raise StateError(f"there is no re-pricing {identity!r}; breakeven reprice --list shows those there are")
        if found.finished_at is not None:
            raise StateError(f"re-pricing {identity} has ended; begin a new one with --since and --until")
        if found.prices != label(self.config):
            raise StateError(f"prices have changed since re-pricing {identity} began; begin a new one for its period, it corrects all rows again")
        return found

    def run(self, item: Repricing, report: Callable[[Progress], None], *, dry: bool = False) -> Repricing:
        """Re-price until all is done; what came of it. `dry`: nothing is written, and the sums are what they would be."""
        prices, done = book(self.config), 0
        with reading(self.engine) as conn:
            total = repricings.count(conn, item)
        if not dry:
            with writing(self.engine) as conn:
                repricings.save(conn, item)
        while item.finished_at is None:
            item, seen = self._chunk(item, prices, dry=dry)
            done += seen
            report(Progress(done, max(total, done)))
        return item

    def _chunk(self, item: Repricing, prices: PriceBook, *, dry: bool) -> tuple[Repricing, int]:
        with (reading if dry else writing)(self.engine) as conn:
            found = repricings.lines(conn, item, self.chunk)
            decided = decisions.several(conn, {line.decision_id for line in found if line.decision_id is not None})
            judged = [(line, *self._judge(item, line, decided, prices)) for line in found]
            changed = [made for line, made, _ in judged if _differs(line, made)]
            item = _added(item, [(line, made) for line, made, _ in judged], sum(left for _, _, left in judged), self.clock())
            if len(found) < self.chunk:
                item = replace(item, finished_at=item.updated_at)
            if not dry:
                repricings.correct(conn, changed)
                repricings.save(conn, item)
        return item, len(found)

    def _judge(self, item: Repricing, line: Line, decided: Decided, prices: PriceBook) -> tuple[Correction, bool]:
        """What a row costs now, and whether something of it had to be left alone."""
        calls: dict[int, tuple[int | None, CostState]] = {}
        left = False
        for call in line.calls:
            if call.kind == "hosted" and _concerns(item, call.backend):
                made = self._call(call, line.time, prices)
                left |= made is None
                if made is not None and made != (call.cost_nanousd, call.cost_state):
                    calls[call.position] = made
        costs = [calls.get(call.position, (call.cost_nanousd, call.cost_state)) for call in line.calls]
        amount, state = weakest(costs) if calls else (line.cost_nanousd, line.cost_state)
        hosted, unsure = self._all_hosted(item, line, costs, decided, prices)
        return Correction(line.id, line.time, amount, state, hosted, calls), left or unsure

    def _call(self, call: Call, time: float, prices: PriceBook) -> tuple[int | None, CostState] | None:
        """The cost of one hosted attempt; None: it cannot be judged."""
        if call.usage is None or _free(call):
            return call.cost_nanousd, call.cost_state
        provider, _, model = without_program(call.backend).partition("/")
        known = self.config.providers.get(provider)
        if known is None or (not call.complete and prices.tiers(provider, known.kind, model, time)):
            return None
        price = prices.price(provider, known.kind, model, time, input_tokens=call.usage.input, service_tier=call.service_tier)
        amount = None if price is None else cost(call.usage, price)
        return amount, "unknown" if amount is None else "known" if call.usage_state == "provider" else "estimated"

    def _all_hosted(
        self, item: Repricing, line: Line, costs: list[tuple[int | None, CostState]], decided: Decided, prices: PriceBook
    ) -> tuple[int | None, bool]:
        """What the first hosted candidate would have cost, and whether that had to be left as it was."""
        if line.usage is None or line.backend is None or line.decision_id is None:
            return line.all_hosted_nanousd, False
        if line.decision_id not in decided:
            return line.all_hosted_nanousd, True
        decision, snapshot = decided[line.decision_id]
        if snapshot.pinned and line.route is not None:
            return line.all_hosted_nanousd, True  # the route's first candidate is not in the snapshot of a pinned request
        first = next((candidate for candidate in snapshot.candidates if candidate.kind == "hosted"), None)
        if first is None or not _concerns(item, first.backend):
            return line.all_hosted_nanousd, False
        known = self.config.providers.get(first.owner)
        if known is None:
            return line.all_hosted_nanousd, True
        there = converted(line.usage, line.backend, first.backend, decision)
        price = prices.price(first.owner, known.kind, first.model, line.time, input_tokens=there.input)
        if price is None:
            return None, False
        if first.backend != line.backend:
            return cost(there, price), False
        own = [amount for call, (amount, _) in zip(line.calls, costs, strict=True) if call.backend == line.backend]
        return own[-1] if own else line.all_hosted_nanousd, False


def label(config: Config) -> str:
    """Which price book: the package's version and a fingerprint of the overrides."""
    overrides = [override.model_dump_json() for override in config.prices]
    own = sha256("\n".join(overrides).encode()).hexdigest()[:8]
    return book(config).source + (f", {len(overrides)} overrides ({own})" if overrides else "")


def _concerns(item: Repricing, backend: str) -> bool:
    provider, _, model = without_program(backend).partition("/")
    return item.provider in {None, provider} and item.model in {None, model}


def _free(call: Call) -> bool:
    """A refusal: nothing was done, nothing is charged, whatever the prices are."""
    refused = call.error in FREE_ERRORS or (call.status is not None and call.status >= 300)
    return refused and call.usage == Usage() and call.usage_state == "provider"


def _differs(line: Line, made: Correction) -> bool:
    before = (line.cost_nanousd, line.cost_state, line.all_hosted_nanousd)
    return bool(made.attempts) or before != (made.cost_nanousd, made.cost_state, made.all_hosted_nanousd)


def _added(item: Repricing, judged: list[tuple[Line, Correction]], left: int, now: float) -> Repricing:
    """The sums after one more chunk."""
    last = judged[-1][0] if judged else None
    return replace(
        item,
        updated_at=now,
        cursor_time=item.cursor_time if last is None else last.time,
        cursor_id=item.cursor_id if last is None else last.id,
        rows=item.rows + len(judged),
        changed=item.changed + sum(_differs(line, made) for line, made in judged),
        left_alone=item.left_alone + left,
        attempts_changed=item.attempts_changed + sum(len(made.attempts) for _, made in judged),
        before_nanousd=item.before_nanousd + sum(line.cost_nanousd or 0 for line, _ in judged),
        after_nanousd=item.after_nanousd + sum(made.cost_nanousd or 0 for _, made in judged),
        unknown_before=item.unknown_before + sum(line.cost_nanousd is None for line, _ in judged),
        unknown_after=item.unknown_after + sum(made.cost_nanousd is None for _, made in judged),
        all_hosted_changed=item.all_hosted_changed + sum(line.all_hosted_nanousd != made.all_hosted_nanousd for line, made in judged),
        all_hosted_before_nanousd=item.all_hosted_before_nanousd + sum(line.all_hosted_nanousd or 0 for line, _ in judged),
        all_hosted_after_nanousd=item.all_hosted_after_nanousd + sum(made.all_hosted_nanousd or 0 for _, made in judged),
    )
