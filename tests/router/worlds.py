"""Sample candidates and hypothesis strategies for whole decisions, shared by the tests of gates, policy, explain and record."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from router.capability import HOSTED, VLLM
from router.types import Candidate, Features, Live, Price, Slo, Snapshot, Stage

NOW = 1_800_000_000.0
MINI = Candidate(
    "openai/gpt-4o-mini", "hosted", "openai", "gpt-4o-mini", price=Price(150_000_000, 600_000_000, 75_000_000), context_tokens=128_000, takes=HOSTED
)
LARGE = Candidate(
    "openai/gpt-4o", "hosted", "openai", "gpt-4o", price=Price(2_500_000_000, 10_000_000_000, 1_250_000_000), context_tokens=128_000, takes=HOSTED
)
UNPRICED = Candidate("house/llm", "hosted", "house", "llm", takes=HOSTED)
BASE = Candidate("local", "local", "local", "local", takes=VLLM, context_tokens=4096)
TRIAGE = Candidate("local/triage@3", "local", "local", "local/triage@3", adapter="triage", version=3, takes=VLLM, context_tokens=4096)
CANARY = replace(TRIAGE, backend="local/triage@4", model="local/triage@4", version=4, stage=Stage.CANARY, canary_percent=20.0)
HELLO = Features(prompt_bytes=2_000, max_tokens=300, stream=True, conversation=42)
SLO = Slo(ttft_ms=400.0, total_ms=1500.0)


def quick(backend: str) -> Live:
    """A backend well inside the sample SLO."""
    return Live(backend, ttft_ms=80.0, tpot_ms=5.0, output_tokens=80.0, log_sigma=0.3, slots=8, work_value=1e6)


def slow(backend: str) -> Live:
    """A backend that misses the sample SLO almost always."""
    return replace(quick(backend), ttft_ms=3_000.0, tpot_ms=40.0)


def world(*candidates: Candidate, slo: Slo = SLO, factor: float = 2.0, **live: Live) -> tuple[Snapshot, dict[str, Live]]:
    """A snapshot of these candidates, all quick unless `live` (by any key) says otherwise."""
    states = {candidate.backend: quick(candidate.backend) for candidate in candidates}
    states.update({state.backend: state for state in live.values()})
    return Snapshot("r", candidates, slo, factor), states


prices = st.builds(Price, st.integers(1, 10**10), st.integers(1, 10**11), st.none() | st.integers(0, 10**10))
slos = st.builds(Slo, st.none() | st.floats(10, 5_000), st.none() | st.floats(100, 50_000), st.sampled_from([0.9, 0.95, 0.99]))
needs = st.frozensets(st.sampled_from(["tools", "json_schema", "logit_bias", "audio", "n"]), max_size=2)
features = st.builds(
    Features,
    st.integers(0, 100_000),
    st.none() | st.integers(1, 8_000),
    st.integers(1, 3),
    st.booleans(),
    needs,
    st.integers(0, 2**63),
    st.none() | st.floats(10, 50_000),
)


@st.composite
def lives(draw: st.DrawFn, backend: str) -> Live:
    """Any state of a backend, never observed and broken ones included."""
    observed = draw(st.booleans())
    return Live(
        backend,
        healthy=draw(st.integers(0, 9)) > 0,
        breaker=draw(st.sampled_from(["closed", "closed", "closed", "open", "half_open"])),
        in_flight=draw(st.integers(0, 40)),
        slots=draw(st.integers(0, 16)),
        ttft_ms=draw(st.floats(1, 10_000)) if observed else None,
        tpot_ms=draw(st.floats(0.1, 200)) if observed else None,
        log_sigma=draw(st.floats(0.05, 1.5)),
        output_tokens=draw(st.none() | st.floats(1, 4_000)),
        bytes_per_token=draw(st.floats(1.0, 8.0)),
        cached_share=draw(st.floats(0, 1)),
        retry_at=draw(st.none() | st.floats(NOW - 60, NOW + 60)),
        work_value=draw(st.floats(0, 1e8)),
        others_in_flight=draw(st.integers(0, 20)),
        requests_left=draw(st.none() | st.integers(0, 50)),
        tokens_left=draw(st.none() | st.integers(0, 50_000)),
        probe_due=draw(st.booleans()),
        ahead_tokens=draw(st.floats(0, 1e5)),
        prompt_ms=draw(st.sampled_from([0.0, 0.02, 0.5])),
        usual_prompt=draw(st.floats(0, 1e4)),
        load_ms=draw(st.sampled_from([0.0, 1e-4, 1e-2])),
        usual_load=draw(st.floats(0, 1e5)),
        load_tokens=draw(st.floats(0, 1e5)),
        evidence=draw(st.none() | st.floats(0, 100)),
        usual_saving=draw(st.sampled_from([0.0, 5e5, 1e7])),
        blocked_ms=draw(st.sampled_from([0.0, 0.0, 2_000.0])),
    )


@st.composite
def candidates(draw: st.DrawFn, index: int) -> Candidate:
    """Any candidate; names are told apart by `index`."""
    if draw(st.booleans()):
        return Candidate(
            f"openai/m{index}",
            "hosted",
            "openai",
            f"m{index}",
            price=draw(st.none() | prices),
            takes=HOSTED,
            context_tokens=draw(st.none() | st.integers(500, 200_000)),
        )
    version = draw(st.none() | st.just(index + 1))
    name = f"local/a@{version}" if version is not None else f"local/b{index}"
    stage = draw(st.sampled_from([Stage.OPEN, Stage.OPEN, Stage.OPEN, *Stage]))
    return Candidate(
        name, "local", "local", name, adapter="a", version=version, stage=stage, canary_percent=draw(st.floats(0, 100)), takes=VLLM, context_tokens=8_192
    )


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Features, Snapshot, dict[str, Live]]:
    """A request, a snapshot of up to four candidates and their states."""
    found = tuple(draw(candidates(i)) for i in range(draw(st.integers(0, 4))))
    snapshot = Snapshot("r", found, draw(slos), draw(st.sampled_from([0.0, 1.0, 2.0, 5.0, 10.0])), draw(st.integers(0, 4)) > 0)
    return draw(features), snapshot, {candidate.backend: draw(lives(candidate.backend)) for candidate in found}
