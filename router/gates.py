"""Hard gates: whether a candidate may answer this request at all. Not here: what is better among those that may (router.policy).

A drop is a value, a short string that ends up in the decision:
`capability:<x>`, `no_live_version`, `quality_gate:<stage>`, `budget`, `context`, `unhealthy`, `circuit`, `retry_after`, `rate_limit`, `canary_share`.
"""

from __future__ import annotations

from router.headroom import is_short
from router.split import bucket
from router.types import Candidate, Features, Live, Snapshot, Stage

# Tokens are estimated from bytes. A wrong drop cannot be undone, a wrong pass is refused by the backend and fails over: the estimate must exceed clearly.
CONTEXT_DOUBT = 0.9
CANARY_SHARE = "canary_share"
CIRCUIT = "circuit"
RATE_LIMIT = "rate_limit"
_PARTIAL = (Stage.CANARY, Stage.RAMP)
_CLOSED = (Stage.BLOCKED, Stage.SHADOW)


def gate(features: Features, candidate: Candidate, live: Live, now: float, *, hosted_budget_left: bool = True, pinned: bool = False) -> str | None:
    """The first reason why this candidate may not answer, or None. Lasting reasons come before passing ones. Canary shares: see `drops`."""
    if not features.needs <= candidate.takes:
        return "capability:" + min(features.needs - candidate.takes)
    if candidate.adapter is not None:
        if candidate.version is None:
            return "no_live_version"
        if not pinned and candidate.stage in _CLOSED:
            return f"quality_gate:{candidate.stage.value}"
    if not hosted_budget_left and candidate.kind == "hosted" and not _is_free(candidate):
        return "budget"
    if candidate.context_tokens is not None:
        estimate = (features.prompt_bytes + candidate.program_bytes) / live.bytes_per_token
        if estimate * CONTEXT_DOUBT + (features.max_tokens or 0) > candidate.context_tokens:
            return "context"
    return _not_now(features, live, now)


def _not_now(features: Features, live: Live, now: float) -> str | None:
    if not live.healthy:
        return "unhealthy"
    if live.retry_at is not None and now < live.retry_at:
        return "retry_after"
    if live.breaker == "open" or (live.breaker == "half_open" and live.in_flight > 0 and not live.probe_due):
        return CIRCUIT
    return RATE_LIMIT if is_short(features, live) else None


def drops(features: Features, snapshot: Snapshot, live: list[Live], now: float) -> list[str | None]:
    """One entry per candidate of the snapshot: None where it may answer. `live` is in the same order."""
    budget, pinned = snapshot.hosted_budget_left, snapshot.pinned
    found: list[str | None] = []
    partial = False
    for i, candidate in enumerate(snapshot.candidates):
        found.append(gate(features, candidate, live[i], now, hosted_budget_left=budget, pinned=pinned))
        if candidate.adapter is not None and candidate.stage in _PARTIAL:
            partial = True
    if partial and not pinned:
        _share(features.conversation, snapshot.candidates, found)
    if None not in found:
        _last_resort(found, live)
    return found


def _last_resort(found: list[str | None], live: list[Live]) -> None:
    """Where nobody may answer: who is only believed to be at its rate limit is asked (it decides); else open circuits are probed, those whose turn it is."""
    if RATE_LIMIT in found:
        found[:] = [None if drop == RATE_LIMIT else drop for drop in found]
    else:
        found[:] = [None if drop == CIRCUIT and state.probe_due else drop for drop, state in zip(found, live, strict=True)]


def _share(conversation: int, candidates: tuple[Candidate, ...], found: list[str | None]) -> None:
    """Leaves, of the versions of one adapter, the one whose turn this conversation is: a canary has its percentage, the live version has the rest.

    A canary that cannot answer gives its conversations back to the live version: a canary must never cost a request.
    """
    taken: set[tuple[str, str]] = set()
    for i, candidate in enumerate(candidates):
        if candidate.adapter is None or candidate.stage not in _PARTIAL or found[i] is not None:
            continue
        adapter = (candidate.owner, candidate.adapter)
        if adapter not in taken and bucket(conversation, candidate.backend) < candidate.canary_percent:
            taken.add(adapter)
        else:
            found[i] = CANARY_SHARE
    for i, candidate in enumerate(candidates):
        if candidate.adapter is not None and candidate.stage not in _PARTIAL and found[i] is None and (candidate.owner, candidate.adapter) in taken:
            found[i] = CANARY_SHARE


def _is_free(candidate: Candidate) -> bool:
    price = candidate.price
    return price is not None and price.input == 0 and price.output == 0 and not price.cached
