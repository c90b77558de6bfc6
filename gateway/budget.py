"""The hosted dollars of one exchange: reserved before each of its calls, so that what its calls may come to together is never more than what is there; and
what to say when it is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway import quotas
from gateway.refusals import no_candidate
from router.errors import LimitError, RequestError
from router.money import usd

if TYPE_CHECKING:
    from gateway.run import Run
    from gateway.view import Backend
    from router.types import Decision

_PER_TOKENS = 1_000_000
# Every token is at least a byte; beside the texts there are roles, names and marks, a few tokens for each message.
_BESIDE_TEXT = 1024
# How far a conversation can go on a model whose context nobody states.
_LONGEST_TOKENS = 131_072
# What large prompts and faster tiers cost more, at most, where the price of the ordinary answer is all that is known here.
_TIERED = 2
_FASTER = 3
_SHORTLY_S = 1.0


@dataclass(frozen=True, slots=True)
class Stake:
    """Nano-dollars a call is expected to cost, and what it can cost at most."""

    expected: int
    most: int


_NOTHING = Stake(0, 0)


def reserve(run: Run, name: str, now: float) -> bool:
    """Reserve what a call to this candidate may cost, beside what the calls before it came to and those under way may. False: it is not there."""
    if run.plan.backends[name].candidate.kind == "local" or run.decision is None or not run.hold.accounts:
        return True
    stakes = [_came_to(call.cost_nanousd) if call.total_ms is not None else stake(run, call.name) for call in run.calls]
    stakes.append(stake(run, name))
    return run.gateway.limits.commit(run.hold, sum(each.expected for each in stakes), sum(each.most for each in stakes), now)


def expected(run: Run, name: str) -> int:
    """Nano-dollars that the decision expects of a hosted candidate; 0 for an engine, and where nothing is known."""
    if run.decision is None or run.plan.backends[name].candidate.kind == "local":
        return 0
    return next((scored.cost_nanousd for scored in run.decision.scored if scored.backend == name), None) or 0


def stake(run: Run, name: str) -> Stake:
    """What is at stake in a call to a candidate; nothing for an engine, and where no price is known."""
    backend = run.plan.backends[name]
    if backend.candidate.kind == "local" or backend.candidate.price is None:
        return _NOTHING
    likely = expected(run, name)
    return Stake(likely, max(likely, _most(run, backend)))


def refusal(run: Run, decision: Decision, now: float) -> RequestError:
    """The error of a request that no candidate may answer; which budget is spent, and until when, where it is that."""
    limits, hold = run.gateway.limits, run.hold
    if not hold.accounts or all(scored.dropped_because != "budget" for scored in decision.scored):
        return no_candidate(decision, run.plan, now)
    gone = limits.exhausted(hold, now)
    if gone is not None and gone.spent:
        budget = gone.budget
        message = (
            f"You exceeded your current quota: the hosted budget of {budget.scope} {budget.name!r} for this {budget.period} (${usd(budget.nanousd)}) is spent, "
            f"and nothing free can answer. It starts anew at 00:00 UTC{'' if budget.period == 'day' else ' on the first of the month'}."
        )
        return LimitError(message, retry_after_s=gone.until - now, code="insufficient_quota")
    if any(account.purse.reserved()[1] > 0 for account in hold.accounts):
        message = "What is left of a budget is reserved by requests under way, and nothing free can answer. Please try again in 1s."
        return LimitError(message, retry_after_s=_SHORTLY_S)
    least = min(hold.accounts, key=lambda account: account.left(now))
    message = (
        f"You exceeded your current quota: ${usd(max(least.left(now), 0))} is left of the hosted budget of {least.budget.scope} {least.budget.name!r} for this "
        f"{least.budget.period}, less than this request is expected to cost, and nothing free can answer."
    )
    return LimitError(message, retry_after_s=quotas.until(least.budget.period, now) - now, code="insufficient_quota")


def _came_to(nanousd: int | None) -> Stake:
    return Stake(nanousd or 0, nanousd or 0)


def _most(run: Run, backend: Backend) -> int:
    """The dearest answer there can be: every byte a token, as many tokens out as are asked for or the model can make, each at its dearest kind's price."""
    price, wanted, longest = backend.candidate.price, run.features, backend.candidate.context_tokens or _LONGEST_TOKENS
    if price is None:
        return 0
    seen = not wanted.needs.isdisjoint({"vision", "audio", "files"})
    added = 0 if backend.program is None else backend.program.most_bytes
    entering = longest if seen else min(longest, wanted.prompt_bytes + added + _BESIDE_TEXT)
    leaving = 0 if run.ask.endpoint == "embeddings" else min(longest, wanted.max_tokens or longest) * wanted.n
    dearest_in = max(price.input, price.cached or 0, price.cache_write or 0, price.audio_input or 0 if seen else 0)
    dearest_out = max(price.output, price.reasoning or 0, price.audio_output or 0)
    faster = _FASTER if run.ask.body.get("service_tier") == "priority" else 1
    return (entering * dearest_in + leaving * dearest_out) * (_TIERED if backend.tiered else 1) * faster // _PER_TOKENS + 1
