"""The hosted dollars of one exchange: reserved before each of its calls, so that what its calls may come to together is never more than what is there."""

from __future__ import annotations

from gateway.run import Run


def reserve(run: Run, name: str, now: float) -> bool:
    """Reserve what a call to this candidate is expected to cost, beside what the calls before it came to and those under way may. False: it is not there."""
    if run.plan.backends[name].candidate.kind == "local" or run.decision is None:
        return True
    under_way = sum(expected(run, call.name) if call.total_ms is None else call.cost_nanousd or 0 for call in run.calls)
    return run.gateway.limits.commit(run.hold, under_way + expected(run, name), now)


def expected(run: Run, name: str) -> int:
    """Nano-dollars that the decision expects of a hosted candidate; 0 for an engine, and where nothing is known."""
    if run.decision is None or run.plan.backends[name].candidate.kind == "local":
        return 0
    return next((scored.cost_nanousd for scored in run.decision.scored if scored.backend == name), None) or 0
