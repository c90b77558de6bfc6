"""Every baseline by name: its number in the protocol, where its formula is from, how it is made. Those with a parameter come with several values, the best of
which is judged (in hindsight, which flatters them).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from router.simulation.policies import (
    Always,
    Baseline,
    Composite,
    LeastBusy,
    LocalFirst,
    LowestCost,
    LowestLatency,
    LowestUsage,
    MultiFactor,
    PredictedLatency,
    Prequal,
    RouteBalance,
    Share,
)
from router.simulation.rivals import Adaptive, Bandit, BudgetFilter, Cascade, FrozenPrice, Percentiles, Threshold, Weighted
from router.simulation.setting import HOSTED, LOCAL, Setting

Make = Callable[[Setting, int], Baseline]


class Known(NamedTuple):
    """A baseline: `number` in the list of twenty-two (several may be variants of one), `source` of its formula."""

    number: int
    source: str
    make: Make


_LITELLM = "BerriAI/litellm 1.109.1, router_strategy/"


def _several(name: str, number: int, source: str, make: Callable[[Setting, int, str], Baseline]) -> tuple[str, Known]:
    return name, Known(number, source, lambda setting, seed: make(setting, seed, name))


KNOWN: dict[str, Known] = dict(
    (
        _several("all hosted", 0, "the status quo", lambda s, n, name: Always(s, n, name, HOSTED)),
        _several("all local", 1, "a plain queue", lambda s, n, name: Always(s, n, name, LOCAL)),
        *(
            _several(f"local first, {most}", 2, "overflow at so many in flight", lambda s, n, name, most=most: LocalFirst(s, n, name, most))  # type: ignore[misc]
            for most in (16, 32, 64, 96, 128)
        ),
        _several("shuffle", 3, _LITELLM + "simple_shuffle.py", lambda s, n, name: Share(s, n, name, 0.5)),
        _several("lowest latency", 4, _LITELLM + "lowest_latency.py", LowestLatency),
        _several("lowest latency, buffer", 4, _LITELLM + "lowest_latency.py", lambda s, n, name: LowestLatency(s, n, name, 0.1)),
        _several("lowest cost", 5, _LITELLM + "lowest_cost.py, the engine free", lambda s, n, name: LowestCost(s, n, name, 0.0)),
        _several("lowest cost, amortised", 5, _LITELLM + "lowest_cost.py, the engine as if alone", lambda s, n, name: LowestCost(s, n, name, 3.9)),
        _several("least busy", 6, _LITELLM + "least_busy.py", LeastBusy),
        _several("lowest usage", 7, _LITELLM + "lowest_tpm_rpm_v2.py", LowestUsage),
        _several("adaptive", 8, _LITELLM + "adaptive_router", Adaptive),
        _several("budget filter", 9, _LITELLM + "budget_limiter.py", BudgetFilter),
        _several("weighted", 10, "Bifrost docs/enterprise/adaptive-load-balancing.mdx, our reading", Weighted),
        _several("multi-factor", 11, "vllm-project/semantic-router pkg/selection multi_factor", MultiFactor),
        _several("percentiles", 12, "vllm-project/semantic-router pkg/selection latency_aware", Percentiles),
        _several("composite", 13, "gateway-api-inference-extension scorers, a provider as pseudo-endpoint", Composite),
        _several("predicted latency", 14, "llm-d predicted latency, a running quantile for its trees", PredictedLatency),
        _several("RouteBalance", 15, "arXiv 2606.17949, one request at a time", RouteBalance),
        _several("PORT", 16, "arXiv 2509.02718, prices of GPU-seconds", FrozenPrice),
        _several("ParetoBandit", 17, "arXiv 2604.00136, without contexts", Bandit),
        _several("RouteLLM, 20 %", 18, "arXiv 2406.18665, calibrated", lambda s, n, name: Threshold(s, n, name, 0.2)),
        _several("RouteLLM, 50 %", 18, "arXiv 2406.18665, calibrated", lambda s, n, name: Threshold(s, n, name, 0.5)),
        _several("cascade", 19, "arXiv 2305.05176, escalation by failure and queue", Cascade),
        _several("Prequal", 20, "NSDI 2024, hot-cold lexicographic", Prequal),
        _several("random 0.8", 21, "a coin", lambda s, n, name: Share(s, n, name, 0.8)),
        _several("random 0.95", 21, "a coin", lambda s, n, name: Share(s, n, name, 0.95)),
    )
)
BASELINES: dict[str, Make] = {name: known.make for name, known in KNOWN.items()}
