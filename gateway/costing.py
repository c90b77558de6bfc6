"""What one call used and cost, once it is over: from what the provider said, else estimated and marked so, else unknown. Pure arithmetic over values."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.call import Call
from gateway.prices import PriceBook
from router.money import cost
from router.types import Attempt, Candidate, CostState, Decision, Features, Live, Price, Usage, UsageState

_ORDER: Mapping[CostState, int] = {"known": 0, "measured": 1, "estimated": 2, "unknown": 3}
_FREE_ERRORS = frozenset({"upstream_unreachable", "upstream_timeout:connect"})


def price_call(call: Call, live: Live, features: Features, prices: PriceBook, time: float) -> None:
    """Fill in usage and cost of an ended call. A refusal is free; where work was done and the provider did not say how much, it is estimated."""
    if _cost_nothing(call):
        call.usage, call.usage_state, call.cost_nanousd, call.cost_state = Usage(), "provider", 0, "known"
        return
    if call.later and call.usage is None:
        call.usage, call.usage_state, call.cost_nanousd, call.cost_state = Usage(), "unknown", None, "unknown"
        return
    state: UsageState = "provider"
    if call.usage is None:
        call.usage, state = _estimate(call, live, features), "estimated"
    call.usage_state = state
    if call.backend.candidate.kind == "local":
        call.cost_nanousd, call.cost_state = 0, "known"
        return
    price = price_of(call, prices, time)
    call.cost_nanousd = None if price is None else cost(call.usage, price)
    call.cost_state = "unknown" if price is None else "known" if state == "provider" else "estimated"


def price_of(call: Call, prices: PriceBook, time: float) -> Price | None:
    """The price of this very answer: its size and its service tier count."""
    candidate = call.backend.candidate
    if call.service_tier in {None, "default", "auto"} and not call.backend.tiered:
        return candidate.price
    size = call.usage.input if call.usage is not None else None
    return prices.price(candidate.owner, call.backend.provider_kind, candidate.model, time, input_tokens=size, service_tier=call.service_tier)


def attempt(call: Call) -> Attempt:
    """The ledger's row of an ended, priced call."""
    return Attempt(
        backend=call.name,
        status=call.status,
        error=call.error,
        started=call.time,
        ttft_ms=call.ttft_ms,
        total_ms=call.total_ms or 0.0,
        usage=call.usage or Usage(),
        usage_state=call.usage_state,
        cost_nanousd=call.cost_nanousd,
        cost_state=call.cost_state,
        kind=call.backend.candidate.kind,
        service_tier=call.service_tier,
    )


def total(calls: list[Call]) -> tuple[int | None, CostState]:
    """The cost of an exchange: all its calls, as sure as the least sure of them. No call costs nothing."""
    state: CostState = max((call.cost_state for call in calls), key=_ORDER.__getitem__, default="known")
    if state == "unknown":
        return None, state
    return sum(call.cost_nanousd or 0 for call in calls), state


def all_hosted(call: Call, first: Candidate | None, decision: Decision) -> int | None:
    """What the first hosted candidate would have cost for the same answer; None without a priced one. Tokens are converted by the learnt ratios."""
    if first is None or first.price is None or call.usage is None or call.usage_state == "unknown":
        return None
    if first.backend == call.name:
        return call.cost_nanousd
    states = {live.backend: live for live in decision.live}
    there, here = states.get(first.backend), states.get(call.name)
    factor = 1.0
    if there is not None and here is not None and there.output_tokens is not None and here.output_tokens is not None:
        factor = here.bytes_per_token / there.bytes_per_token
    usage = Usage(input=round(call.usage.input * factor), cached=0, output=round(call.usage.output * factor))
    return cost(usage, first.price)


def _cost_nothing(call: Call) -> bool:
    if call.usage is not None or call.output_bytes:
        return False
    return call.error in _FREE_ERRORS or (call.status is not None and call.status >= 300)


def _estimate(call: Call, live: Live, features: Features) -> Usage:
    entered = round(features.prompt_bytes / live.bytes_per_token)
    if call.output_bytes or call.error is None:
        return Usage(input=entered, output=round(call.output_bytes / live.bytes_per_token))
    # cut off before anything could be seen of a whole answer: as far as it usually gets in that time
    made = 0.0
    if not features.stream and call.status is None and live.ttft_ms is not None and live.tpot_ms:
        made = max(0.0, (call.total_ms or 0.0) - live.ttft_ms) / live.tpot_ms
        made = min(made, live.output_tokens or made, float(features.max_tokens or made))
    return Usage(input=entered, output=round(made))
