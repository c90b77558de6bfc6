"""The end of every exchange, whichever way it ended: one ledger row, limits, metrics, what was learnt, the capture. Runs once, never waits, never raises for
a full disk (the spool keeps the record and refuses new requests instead)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING

from gateway.answer import reason
from gateway.costing import all_hosted, attempt, total
from gateway.drift.sampling import measured
from gateway.live import Observation
from gateway.store.captures import Capture, redacted
from router.types import Exchange, Live, Outcome, Scored, Usage

if TYPE_CHECKING:
    from gateway.call import Call
    from gateway.run import Run
    from gateway.store.spool import Spool


class Books:
    """Exchanges that are over, settled in the next turn of the loop: their answers leave first, and the ledger takes all of one turn in one write.

    Whoever stops the loop calls `flush` before the spool is closed. A process that is killed in that very turn leaves them as it leaves those under way:
    admitted, so `interrupted`.
    """

    __slots__ = ("_over", "_spool", "compare")

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._over: deque[Run] = deque()
        # Told of each exchange that is to be compared, once it is booked; it neither raises nor waits.
        self.compare: Callable[[Run, Exchange], None] | None = None

    def close(self, run: Run) -> None:
        """An exchange is over: its calls have all ended and are priced. Once for each."""
        run.ended = perf_counter()
        if not self._over:
            asyncio.get_running_loop().call_soon(self.flush)
        self._over.append(run)

    def flush(self) -> None:
        """Settle them now."""
        if not self._over:
            return
        try:
            with self._spool.together():
                while self._over:
                    self._settle(self._over.popleft())
        finally:
            if self._over:
                self.flush()  # one that cannot be settled does not take the others with it

    def _settle(self, run: Run) -> None:
        settled = settle(run)
        if self.compare is not None and run.compared:
            self.compare(run, settled)


def settle(run: Run) -> Exchange:
    """Close the books on an exchange whose calls have all ended and are priced."""
    gateway, now = run.gateway, run.gateway.clock()
    exchange = _row(run)
    if run.decision is not None:
        digest = run.decision.snapshot_digest
        gateway.spool.snapshot(digest, run.plan.bodies[digest])
    gateway.spool.settle(exchange, run.decision, _capture(run))
    if run.watched and (sample := measured(run, exchange)) is not None:
        gateway.spool.measured(sample)
    gateway.limits.settle(run.hold, exchange.usage.input + exchange.usage.output, exchange.cost_nanousd or 0, now)
    gateway.metrics.settled(exchange, run.ask.endpoint, run.view.backends, run.plan.snapshot.slo)
    call = run.last
    if call is not None and exchange.outcome is Outcome.OK and call.usage_state == "provider":
        _learn(run, call, exchange, now)
    return exchange


def live_of(run: Run, backend: str) -> Live:
    """What was known of a backend when the decision was made."""
    for live in run.decision.live if run.decision is not None else ():
        if live.backend == backend:
            return live
    return Live(backend)


def scored_of(run: Run, backend: str) -> Scored | None:
    """What the decision says of a backend."""
    for scored in run.decision.scored if run.decision is not None else ():
        if scored.backend == backend:
            return scored
    return None


def _row(run: Run) -> Exchange:
    call = run.last
    cost, state = total(run.calls)
    candidate = call.backend.candidate if call is not None else None
    opportunity = None
    if candidate is not None and candidate.kind == "local" and (scored := scored_of(run, candidate.backend)) is not None:
        opportunity = scored.cost_nanousd
    all_hosted_cost = None
    if call is not None and run.decision is not None:
        all_hosted_cost = all_hosted(call, run.plan.first_hosted, run.decision, run.gateway.prices, run.time)
    return Exchange(
        id=run.id,
        time=run.time,
        route=run.plan.route,
        endpoint=run.endpoint,
        backend=call.name if call is not None else None,
        adapter_version=candidate.version if candidate is not None else None,
        key_id=run.key.id if run.key is not None else None,
        tags=run.wishes.tags,
        stream=run.ask.stream,
        status=run.status,
        outcome=run.outcome,
        usage=(call.usage if call is not None else None) or Usage(),
        usage_state=call.usage_state if call is not None else "provider",
        cost_nanousd=cost,
        cost_state=state,
        opportunity_nanousd=opportunity,
        all_hosted_nanousd=all_hosted_cost,
        ttft_ms=run.ttft_ms,
        total_ms=(run.ended - run.started) * 1000.0,
        overhead_ms=run.overhead_ms,
        reason=reason(run),
        decision_id=run.decision.id if run.decision is not None else None,
        sandbox=candidate.sandbox if candidate is not None else False,
        attempts=tuple(attempt(each) for each in run.calls),
        prompt_bytes=run.features.prompt_bytes + (call.added_bytes if call is not None else 0),
        trace=run.trace,
        finish_reason=call.finish_reason if call is not None else None,
    )


def _learn(run: Run, call: Call, exchange: Exchange, now: float) -> None:
    usage, scored = call.usage or Usage(), scored_of(run, call.name)
    run.gateway.fleet.board.learn(
        run.plan.name,
        call.backend.candidate,
        Observation(
            prompt_bytes=run.features.prompt_bytes + call.added_bytes,
            input_tokens=usage.input or None,
            cached_tokens=usage.cached,
            # `n` answers are made side by side: what is learnt is the length of one
            output_tokens=None if run.ask.endpoint == "embeddings" else round(usage.output / run.features.n),
            ttft_ms=call.ttft_ms,
            total_ms=call.total_ms or 0.0,
            predicted_ms=None if scored is None else scored.latency_ms,
            saved_nanousd=exchange.all_hosted_nanousd,
            slots=call.backend.slots,
            place=call.ticket.place,
        ),
        now,
    )


def _capture(run: Run) -> Capture | None:
    call = run.last
    if not run.captured or run.outcome is not Outcome.OK or call is None or call.transcript is None:
        return None
    said = call.transcript
    capture = Capture(run.id, run.plan.route, run.time, dict(run.ask.conversation), said.text, call.finish_reason, call.name, tuple(said.tool_calls))
    return redacted(capture, run.plan.capture.redact)
