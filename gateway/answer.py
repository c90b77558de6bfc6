"""The head of every answer on a routed path: which headers it carries. Pure; what is sent after it is relay.py's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from router.money import usd
from router.types import Why

if TYPE_CHECKING:
    from gateway.run import Run

Headers = list[tuple[bytes, bytes]]
_PASSED = frozenset({"openai-organization", "openai-version", "openai-model", "retry-after", "retry-after-ms"})


def reason(run: Run) -> str | None:
    """Why this backend answered: the decision's reason, or that another was too slow (a hedge) or failed before it."""
    if run.hedged:
        return Why.HEDGE.value
    last, decision = run.last, run.decision
    if decision is None:
        return None
    why = Why.FAILOVER if last is not None and last.name != decision.chosen else decision.reason
    return why.value if why is not None else None


def head(run: Run, *, cost: bool = False) -> Headers:
    """Our headers, and those of the upstream that clients use. Marks the gateway's own time; call it right before sending. `cost`: it is known by now."""
    elapsed = run.elapsed_ms
    run.overhead_ms = max(0.0, elapsed - (run.upstream_s + run.waited_s) * 1000.0)
    headers: Headers = [
        (b"x-request-id", run.id.encode()),
        (b"openai-processing-ms", b"%d" % round(elapsed)),
        (b"x-breakeven-overhead-ms", b"%.3f" % run.overhead_ms),
    ]
    call = run.last
    if call is not None:
        headers.append((b"x-breakeven-backend", call.name.encode("latin-1", "replace")))
        if call.cost_nanousd is not None and cost and call.cost_state == "known":
            headers.append((b"x-breakeven-cost-usd", (usd(call.cost_nanousd) or "").encode()))
    if run.decision is not None:
        headers.append((b"x-breakeven-decision", run.decision.id.encode()))
    why = reason(run)
    if why is not None:
        headers.append((b"x-breakeven-reason", why.encode()))
    if len(run.calls) > 1:
        headers.append((b"x-should-retry", b"false"))
    own = run.gateway.limits.headers(run.key, run.gateway.clock())
    if call is not None and call.answer is not None:
        headers += passed(call.answer.headers, limits=not own)
    return headers + own


def passed(upstream: Mapping[str, str], *, limits: bool = True) -> Headers:
    """The upstream's headers that clients use (names come in lower case); its rate limits only where the key has none of ours."""
    found: Headers = []
    for name, value in upstream.items():
        if name in _PASSED or (limits and name.startswith("x-ratelimit-")):
            found.append((name.encode("latin-1", "replace"), value.encode("latin-1", "replace")))
    return found
