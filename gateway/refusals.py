"""What to tell a client when no candidate may answer, and it is not for a budget (budget.py): from the drops of a decision to one error. Pure."""

from __future__ import annotations

from gateway.http_errors import context_too_long
from gateway.view import RoutePlan
from router.capability import remedy
from router.errors import LimitError, RequestError
from router.types import Decision

_SHORTLY_S = 1.0


def no_candidate(decision: Decision, plan: RoutePlan, now: float) -> RequestError:
    """The error of a decision without candidates. What the client can change comes last only where something of ours is passing."""
    drops = [scored.dropped_because or "" for scored in decision.scored]
    name = plan.name
    waits = [live.retry_at - now for live in decision.live if live.retry_at is not None and live.retry_at > now]
    if drops and all(drop == "retry_after" for drop in drops):
        wait_s = min(waits, default=_SHORTLY_S)
        return LimitError(f"Rate limit reached for {name!r}: its providers asked to wait. Please try again in {wait_s:.3g}s.", retry_after_s=wait_s)
    if any(drop in {"unhealthy", "circuit", "retry_after"} for drop in drops):
        # circuits are probed once a second: who comes again then may be the one that gets through
        wait_s = min([*waits, _SHORTLY_S]) if "circuit" in drops else min(waits, default=_SHORTLY_S)
        return _unavailable(f"No candidate of {name!r} can answer right now ({_listed(decision)}); try again shortly.", wait_s)
    if "context" in drops:
        return _too_long(decision, plan)
    lacking = [drop.removeprefix("capability:") for drop in drops if drop.startswith("capability:")]
    if lacking:
        what = ", ".join(sorted(set(lacking)))
        message = f"No candidate of {name!r} supports what the request asks for: {what}."
        known = remedy(lacking[0])
        if known is not None:
            message += f" It needs a provider that has the Responses API itself (kind openai or azure) on this route; or {known[1]}."
        return RequestError(message, param=known[0] if known is not None else lacking[0], code="unsupported_parameter")
    return _unavailable(f"No candidate of {name!r} may answer ({_listed(decision) or 'there is none'}).", None)


def _too_long(decision: Decision, plan: RoutePlan) -> RequestError:
    room = max((backend.candidate.context_tokens or 0 for backend in plan.backends.values()), default=0)
    states = [live for live in decision.live if live.bytes_per_token]
    tokens = round(decision.features.prompt_bytes / max(live.bytes_per_token for live in states)) if states else 0
    asked = decision.features.max_tokens
    more = f" (about {tokens} in the messages, {asked} in the completion)" if asked else " in the messages"
    message = f"This model's maximum context length is {room} tokens. However, you requested about {tokens + (asked or 0)} tokens{more}."
    return context_too_long(f"{message} Please reduce the length of the messages or completion.")


def _unavailable(message: str, wait_s: float | None) -> LimitError:
    return LimitError(message, retry_after_s=wait_s, status=503, code="no_candidate")


def _listed(decision: Decision) -> str:
    return ", ".join(f"{scored.backend}: {scored.dropped_because}" for scored in decision.scored)
