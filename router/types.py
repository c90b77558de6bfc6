"""The nouns every room shares: prices, candidates, snapshots, decisions and exchanges. Values only; no behaviour beyond derived properties.

Units: money is integer nano-dollars (1e-9 USD), prices are nano-dollars per million tokens, durations are milliseconds unless the name ends
in `_s`, instants are seconds since the epoch (UTC, float), tokens are counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, NamedTuple

from router.quick import quick

CostState = Literal["known", "measured", "estimated", "unknown"]
UsageState = Literal["provider", "estimated", "unknown"]
Kind = Literal["hosted", "local"]


class Stage(StrEnum):
    """What the router may do with (route, adapter version)."""

    BLOCKED = "blocked"
    SHADOW = "shadow"
    CANARY = "canary"
    RAMP = "ramp"
    OPEN = "open"


class Outcome(StrEnum):
    """How an admitted request ended. Exactly one per exchange."""

    OK = "ok"
    CLIENT_ERROR = "client_error"
    CLIENT_GONE = "client_gone"
    UPSTREAM_ERROR = "upstream_error"
    TIMEOUT = "timeout"
    REFUSED = "refused"
    INTERRUPTED = "interrupted"


class Why(StrEnum):
    """The reason of a decision (header `x-breakeven-reason`)."""

    ONLY_FEASIBLE = "only_feasible"
    QUALITY_GATE = "quality_gate"
    COST = "cost"
    SLO_RISK = "slo_risk"
    CAPACITY_PRICE = "capacity_price"
    BUDGET = "budget"
    CACHE_STAY = "cache_stay"
    CIRCUIT = "circuit"
    FAILOVER = "failover"
    EXPLORE_TIE = "explore_tie"
    HEDGE = "hedge"
    PINNED = "pinned"
    CANARY = "canary"


@quick
@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer. `cached` (read from the provider's cache), `cache_write` (written to it) and `audio_input` are parts of `input`, `reasoning` and
    `audio_output` are parts of `output` (OpenAI's convention)."""

    input: int = 0
    cached: int = 0
    output: int = 0
    reasoning: int = 0
    cache_write: int = 0
    audio_input: int = 0
    audio_output: int = 0


@dataclass(frozen=True, slots=True)
class Price:
    """What one provider charges for one model, nano-dollars per million tokens.

    `cached` None means: no discount is known, charge `input`; `reasoning` None: as `output`. The others are None where they are unknown, and an answer that
    has such tokens then has an unknown cost.
    """

    input: int
    output: int
    cached: int | None = None
    source: str = "config"
    cache_write: int | None = None
    reasoning: int | None = None
    audio_input: int | None = None
    audio_output: int | None = None


@dataclass(frozen=True, slots=True)
class Slo:
    """What the router aims at. None means: no aim."""

    ttft_ms: float | None = None
    total_ms: float | None = None
    target: float = 0.95


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to answer a route. `backend` is its public name: `openai/gpt-4o-mini`, `local`, `local/support-triage@3`.

    `owner` is the provider or engine name, `model` what is sent upstream, `adapter`/`version` are set for adapters only (`version` None: no live version).
    `gpu_hour_nanousd` is None where the engine's price is unknown. `takes` are the capabilities of this backend (router.capability).
    `program_bytes`: about how much text its program adds to each prompt.
    """

    backend: str
    kind: Kind
    owner: str
    model: str
    adapter: str | None = None
    version: int | None = None
    stage: Stage = Stage.OPEN
    canary_percent: float = 0.0
    price: Price | None = None
    context_tokens: int | None = None
    takes: frozenset[str] = frozenset()
    gpu_hour_nanousd: int | None = None
    sandbox: bool = False
    program_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The slow-moving half of a decision's input: swapped whole, content-addressed by `digest` (router.record).

    `pinned`: the caller named the candidate, so quality stages and canary shares do not apply; the snapshot then holds that one candidate.
    """

    route: str
    candidates: tuple[Candidate, ...]
    slo: Slo = Slo()
    miss_price_factor: float = 2.0
    hosted_budget_left: bool = True
    digest: str = ""
    pinned: bool = False


@quick
@dataclass(frozen=True, slots=True)
class Live:
    """The fast-moving half, one per candidate: what is known of a backend right now.

    ttft_ms/tpot_ms are the estimators' current means (None: never observed), `log_sigma` the spread of log total latency, `output_tokens` the learnt mean
    output of this route on this backend, `bytes_per_token` the learnt ratio, `in_flight` requests this process has there, `slots` how many it serves at full
    speed, `retry_at` an instant before which it asked not to be called, `work_value` the learnt hosted nano-dollars saved per GPU-second,
    `others_in_flight` requests on the same engine under other names (adapters and the base share its slots). `requests_left` and `tokens_left` are what a
    provider's rate limit still lets through (None: not known), `probe_due` whether a circuit that is not closed may be tried by a request that has nobody else.

    What the means leave out: `ahead_tokens` prompt tokens sent to this engine that have no first token yet; `prompt_ms` by how much each prompt token, ahead or
    of the request itself, delays the first token around its mean, which was seen at `usual_prompt` such tokens; `load_ms` by how much each of the `load_tokens`
    prompt tokens in flight at this engine slows every other token, around `usual_load` of them; `ttft_sigma` the spread of the logarithm of the first token's
    time (0: that of the total); `evidence` how many answers all this rests on, faded with time (None: enough); `usual_saving` the hosted nano-dollars that an
    answer of this engine saves on average; `blocked_ms` how long a request is expected to wait because others have all adapter slots of the engine.
    """

    backend: str
    healthy: bool = True
    breaker: Literal["closed", "open", "half_open"] = "closed"
    in_flight: int = 0
    slots: int = 0
    ttft_ms: float | None = None
    tpot_ms: float | None = None
    log_sigma: float = 0.5
    output_tokens: float | None = None
    bytes_per_token: float = 4.0
    cached_share: float = 0.0
    retry_at: float | None = None
    work_value: float = 0.0
    others_in_flight: int = 0
    requests_left: int | None = None
    tokens_left: int | None = None
    probe_due: bool = False
    ahead_tokens: float = 0.0
    prompt_ms: float = 0.0
    usual_prompt: float = 0.0
    load_ms: float = 0.0
    usual_load: float = 0.0
    ttft_sigma: float = 0.0
    evidence: float | None = None
    usual_saving: float = 0.0
    load_tokens: float = 0.0
    blocked_ms: float = 0.0


class Errand(NamedTuple):
    """What a call brings to an engine: the engine's name, prompt tokens, whether its first token will be seen; which adapter it is for (empty: the base), and
    how many different ones the engine serves at once (0: not known, or all)."""

    engine: str
    tokens: float
    stream: bool
    adapter: str = ""
    adapter_slots: int = 0


@quick
@dataclass(frozen=True, slots=True)
class Features:
    """What a decision may know of a request: sizes and needs, never text. `conversation` is a stable hash of its beginning (canary split)."""

    prompt_bytes: int
    max_tokens: int | None = None
    n: int = 1
    stream: bool = False
    needs: frozenset[str] = frozenset()
    conversation: int = 0
    slo_total_ms: float | None = None


@quick
@dataclass(frozen=True, slots=True)
class Scored:
    """One candidate as the decision saw it. Money in nano-dollars; None where unknown or not scored."""

    backend: str
    feasible: bool
    dropped_because: str | None = None
    cost_nanousd: int | None = None
    cost_state: CostState = "unknown"
    latency_ms: float | None = None
    p_miss: float | None = None
    score_nanousd: float | None = None


@quick
@dataclass(frozen=True, slots=True)
class Decision:
    """The choice for one request and everything it was made from: enough to replay it. `order` is the failover order, `chosen` first; empty: no candidate."""

    id: str
    route: str
    order: tuple[str, ...]
    reason: Why | None
    scored: tuple[Scored, ...]
    features: Features
    live: tuple[Live, ...]
    snapshot_digest: str
    now: float
    seed: int
    policy_version: str

    @property
    def chosen(self) -> str | None:
        """The backend to try first; None when no candidate is feasible."""
        return self.order[0] if self.order else None


@quick
@dataclass(frozen=True, slots=True)
class Attempt:
    """One call to one backend within an exchange, failed ones included; each carries its own cost. `kind` decides whether GPU minutes are booked on it.

    `service_tier` is what the provider said it answered in; None: it said nothing.
    """

    backend: str
    status: int | None
    error: str | None
    started: float
    ttft_ms: float | None
    total_ms: float
    usage: Usage
    usage_state: UsageState
    cost_nanousd: int | None
    cost_state: CostState
    kind: Kind = "hosted"
    service_tier: str | None = None


@quick
@dataclass(frozen=True, slots=True)
class Exchange:
    """One admitted request and its outcome: exactly one settled ledger row. `id` is the `x-request-id`.

    `cost_nanousd` is the hosted cost (0 for purely local answers), `opportunity_nanousd` the decision's price of the local work,
    `all_hosted_nanousd` what the first hosted candidate would have cost; the amortised local cost is booked later, by minute, in its own table.
    `prompt_bytes` is the size of the request's text, the numerator of the learnt bytes-per-token ratio. `trace` is the caller's W3C `traceparent` where traces
    are on and it sent one, `finish_reason` what the first choice of the answer ended with.
    """

    id: str
    time: float
    route: str | None
    endpoint: str
    backend: str | None
    adapter_version: int | None
    key_id: str | None
    tags: dict[str, str]
    stream: bool
    status: int
    outcome: Outcome
    usage: Usage
    usage_state: UsageState
    cost_nanousd: int | None
    cost_state: CostState
    opportunity_nanousd: int | None
    all_hosted_nanousd: int | None
    ttft_ms: float | None
    total_ms: float
    overhead_ms: float | None
    reason: str | None
    decision_id: str | None
    sandbox: bool = False
    attempts: tuple[Attempt, ...] = field(default_factory=tuple)
    prompt_bytes: int = 0
    trace: str | None = None
    finish_reason: str | None = None
