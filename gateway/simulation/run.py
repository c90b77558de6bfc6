"""A comparison from start to document: which settings, which policies, how far it is. The gateway's own memory plays the gateway's part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gateway.live import Board, Observation
from gateway.prompt_queue import Place
from gateway.simulation.closer import FACTORS, pareto, timeline
from router.errors import ConfigError
from router.money import usd
from router.simulation.baselines import BASELINES
from router.simulation.compare import Comparison, Make, Result, compare
from router.simulation.ours import Ours
from router.simulation.scenarios import SCENARIOS, on_trace, setting
from router.simulation.setting import Setting, Told
from router.simulation.trace import Trace
from router.types import Price

OURS = "breakeven"


class Wanted(NamedTuple):
    """What to simulate. `scenarios` are weather over `trace`, or over traces of their own where it is None. None elsewhere: as the scenario has it.

    `closer`: also what our policy does through each run, and for other prices of a miss.
    """

    trace: Trace | None
    scenarios: tuple[str, ...]
    policies: tuple[str, ...] = ()
    seeds: int = 1
    rate: float = 1.0
    tries: int = 60
    price: Price | None = None
    ttft_ms: float | None = None
    total_ms: float | None = None
    gpu_hour_usd: float | None = None
    replicas: int | None = None
    closer: bool = False


def run(wanted: Wanted, progress: Callable[[int, int], None] = lambda _done, _total: None) -> dict[str, Any]:
    """The document `breakeven simulate --json` prints; of a run that is interrupted, the scenarios that were done. Raises ConfigError for names that do not
    exist."""
    chosen = _policies(wanted.policies)
    unknown = [name for name in wanted.scenarios if name not in SCENARIOS]
    if unknown:
        raise ConfigError(f"no scenario is called {', '.join(unknown)}; there are: {', '.join(SCENARIOS)}")
    each = len(chosen) * wanted.seeds + (1 if wanted.tries else 0) + (1 + len(FACTORS) if wanted.closer else 0)
    total, done = each * len(wanted.scenarios), 0

    def step() -> None:
        nonlocal done
        done += 1
        progress(done, total)

    scenarios: list[dict[str, Any]] = []
    interrupted = False
    try:
        for name in wanted.scenarios:
            scenarios.append(_scenario(wanted, name, chosen, step))  # noqa: PERF401 - what is done is kept when the next is interrupted
    except KeyboardInterrupt:
        interrupted = True
    problems = [] if wanted.trace is None else [problem.as_dict() for problem in wanted.trace.problems]
    return {
        "object": "simulation",
        "trace": None if wanted.trace is None else {"name": wanted.trace.name, "requests": len(wanted.trace.asks), "left_out": wanted.trace.left_out},
        "problems": problems,
        "interrupted": interrupted,
        "scenarios": scenarios,
    }


def _scenario(wanted: Wanted, name: str, chosen: Sequence[Make], step: Callable[[], None]) -> dict[str, Any]:
    settings = [(_setting(wanted, name, seed), seed) for seed in range(1, wanted.seeds + 1)]
    first, seed = settings[0]
    document = _comparison(first, compare(name, settings, chosen, tries=wanted.tries, on_run=step))
    if wanted.closer:
        document["timeline"] = timeline(first, seed, lesson)
        step()
        document["pareto"] = pareto(first, seed, lesson, on_run=step)
    return document


def _policies(names: Sequence[str]) -> list[Make]:
    """All hosted comes first: it is what the others are measured against."""
    unknown = [name for name in names if name not in {OURS, *BASELINES}]
    if unknown:
        raise ConfigError(f"no policy is called {', '.join(unknown)}; there are: {OURS}, {', '.join(BASELINES)}")
    kept = [name for name in BASELINES if not names or name in names or name == "all hosted"]
    makes: list[Make] = [BASELINES["all hosted"], lambda found, seed: Ours(found, Board(), lesson, seed, OURS)]
    return makes + [BASELINES[name] for name in kept if name != "all hosted"]


def lesson(told: Told, predicted_ms: float | None, saved_nanousd: int | None, slots: int, place: Place | None) -> Observation:
    """What the gateway's memory takes from an answer (as gateway/settle.py does)."""
    return Observation(
        prompt_bytes=told.ask.input * 4,
        input_tokens=told.ask.input or None,
        cached_tokens=told.cached,
        output_tokens=told.ask.output,
        ttft_ms=told.ttft_s * 1000.0,
        total_ms=told.total_s * 1000.0,
        predicted_ms=predicted_ms,
        saved_nanousd=saved_nanousd,
        slots=slots,
        place=place,
    )


def _setting(wanted: Wanted, name: str, seed: int) -> Setting:
    found = setting(name, seed) if wanted.trace is None else on_trace(name, wanted.trace)
    slo = found.slo
    if wanted.ttft_ms is not None or wanted.total_ms is not None:
        slo = type(slo)(wanted.ttft_ms, wanted.total_ms)
    return found._replace(
        trace=found.trace.scaled(wanted.rate),
        price=wanted.price or found.price,
        slo=slo,
        replicas=found.replicas if wanted.replicas is None else wanted.replicas,
        gpu_hour_usd=found.gpu_hour_usd if wanted.gpu_hour_usd is None else wanted.gpu_hour_usd,
    )


def _comparison(first: Setting, found: Comparison) -> dict[str, Any]:
    seconds = first.trace.seconds
    gpu = round(first.gpu_hour_usd * 1e9 * seconds / 3600.0) * first.replicas
    return {
        "scenario": found.scenario,
        "title": SCENARIOS[found.scenario].title,
        "requests": found.requests,
        "seconds": round(seconds, 1),
        "runs": found.runs,
        "gpu_usd": usd(gpu),
        "bound_usd": usd(found.bound_nanousd),
        "clairvoyant_usd": usd(found.clairvoyant_nanousd),
        "gap": _gap(found),
        "policies": [_result(each) for each in sorted(found.results, key=lambda result: result.objective_nanousd)],
    }


def _gap(found: Comparison) -> float | None:
    """Which share of what the clairvoyant pays the bound leaves open: the truth lies between them."""
    if found.bound_nanousd is None or not found.clairvoyant_nanousd:
        return None
    return round(1.0 - found.bound_nanousd / found.clairvoyant_nanousd, 4)


def _result(found: Result) -> dict[str, Any]:
    return {
        "policy": found.policy,
        "objective_usd": usd(found.objective_nanousd),
        "hosted_usd": usd(found.hosted_nanousd),
        "slo_attained": round(1.0 - found.missed, 5),
        "failed": round(found.failed, 5),
        "local_share": round(found.local, 4),
        "ttft_p50_s": round(found.ttft_p50_s, 3),
        "ttft_p95_s": round(found.ttft_p95_s, 3),
        "switches_per_min": round(found.switches_per_min, 2),
        "relative": round(found.relative, 4),
        "interval": [round(found.low, 4), round(found.high, 4)],
        "capture": None if found.capture is None else round(found.capture, 4),
    }
