"""What one call used and cost, once it is over: from what the provider said, else estimated and marked so, else unknown. Pure arithmetic over values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from gateway.call import Call
from gateway.price_package import is_ordinary
from gateway.prices import PriceBook
from gateway.view import Backend
from router.money import cost
from router.types import Attempt, CostState, Decision, Features, Live, Price, Usage, UsageState

_ORDER: Mapping[CostState, int] = {"known": 0, "measured": 1, "estimated": 2, "unknown": 3}
FREE_ERRORS = frozenset({"upstream_unreachable", "upstream_timeout:connect", "upstream_timeout:retrieval"})


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
        call.usage, state = _estimate(call, live, replace(features, prompt_bytes=features.prompt_bytes + call.added_bytes)), "estimated"
    call.usage_state = state
    if call.backend.candidate.kind == "local":
        call.cost_nanousd, call.cost_state = 0, "known"
        return
    price = price_of(call, prices, time)
    amount = None if price is None else cost(call.usage, price)
    call.cost_nanousd = amount
    call.cost_state = "unknown" if amount is None else "known" if state == "provider" else "estimated"


def price_of(call: Call, prices: PriceBook, time: float) -> Price | None:
    """The price of this very answer: its size and its service tier count."""
    return _price(call.backend, prices, time, call.usage, call.service_tier)


def _price(backend: Backend, prices: PriceBook, time: float, usage: Usage | None, service_tier: str | None) -> Price | None:
    candidate = backend.candidate
    if not backend.tiered and time < backend.priced_until and is_ordinary(service_tier):
        return candidate.price
    size = usage.input if usage is not None else None
    return prices.price(candidate.owner, backend.provider_kind, candidate.model, time, input_tokens=size, service_tier=service_tier)


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
    if len(calls) == 1:
        return calls[0].cost_nanousd, calls[0].cost_state
    return weakest([(call.cost_nanousd, call.cost_state) for call in calls])


def weakest(costs: Sequence[tuple[int | None, CostState]]) -> tuple[int | None, CostState]:
    """Amounts added up, as sure as the least sure of them."""
    state: CostState = max((said for _, said in costs), key=_ORDER.__getitem__, default="known")
    return (None, state) if state == "unknown" else (sum(amount or 0 for amount, _ in costs), state)


def all_hosted(call: Call, first: Backend | None, decision: Decision, prices: PriceBook, time: float) -> int | None:
    """What the first hosted candidate would have cost for the same answer; None without a priced one. Tokens are converted by the learnt ratios."""
    if first is None or first.candidate.price is None or call.usage is None or call.usage_state == "unknown":
        return None
    if first.candidate.backend == call.name:
        return call.cost_nanousd
    usage = converted(call.usage, call.name, first.candidate.backend, decision)
    if call.added_bytes or first.candidate.program_bytes:  # each with the program it has
        asked = decision.features.prompt_bytes
        share = (asked + first.candidate.program_bytes) / ((asked + call.added_bytes) or 1)
        usage = replace(usage, input=round(usage.input * share))
    price = _price(first, prices, time, usage, None)
    return None if price is None else cost(usage, price)


def converted(usage: Usage, here: str, there: str, decision: Decision) -> Usage:
    """The tokens that the answer of `here` would have been at `there`, once both ratios were learnt when it was decided. Caches and reasoning are left out:
    what another model would have had in its cache, or thought, is not known."""
    states = {live.backend: live for live in decision.live}
    target, source = states.get(there), states.get(here)
    factor = 1.0
    if target is not None and source is not None and target.output_tokens is not None and source.output_tokens is not None:
        factor = source.bytes_per_token / target.bytes_per_token
    return Usage(
        input=round(usage.input * factor),
        output=round(usage.output * factor),
        audio_input=round(usage.audio_input * factor),
        audio_output=round(usage.audio_output * factor),
    )


def _cost_nothing(call: Call) -> bool:
    if call.usage is not None or call.output_bytes:
        return False
    return call.error in FREE_ERRORS or (call.status is not None and call.status >= 300)


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
