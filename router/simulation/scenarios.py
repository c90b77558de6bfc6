"""What happens in a run: outages, brown-outs, storms of 429, bursts, price changes and so on, each as a change of a plain setting.

The parameters were written down before anything was tuned on them, in the orders of magnitude that published outages and brown-outs had, and are
not to be changed to suit a policy (a test holds their digest); those from "repriced" on were added before the second round of tuning. The rate of a
synthetic trace is chosen so that all of it would load one engine to a stated share of its capacity.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from router.simulation.engine import EngineShape
from router.simulation.hosted import Fault, HostedShape
from router.simulation.setting import Setting
from router.simulation.trace import Shape, Trace, synthetic
from router.types import Price, Slo

# Nano-dollars per million tokens of a small hosted model with the usual ratios: output eight times input, a cached token a tenth.
SMALL = Price(250_000_000, 2_000_000_000, 25_000_000, "simulation")
AIM = Slo(ttft_ms=1500.0, total_ms=20_000.0)


class Scenario(NamedTuple):
    """One kind of weather. `load`: work offered over what one engine can do, at its best; `make` turns the calm setting into this one."""

    title: str
    load: float
    shape: Shape
    make: Callable[[Setting], Setting]


def _same(setting: Setting) -> Setting:
    return setting


def _hosted(*faults: Fault) -> Callable[[Setting], Setting]:
    return lambda setting: setting._replace(hosted_faults=faults)


def _local(*faults: Fault) -> Callable[[Setting], Setting]:
    return lambda setting: setting._replace(local_faults=faults)


CALM = Shape(seconds=900.0)
SCENARIOS: dict[str, Scenario] = {
    "calm": Scenario("load well below capacity", 0.5, CALM, _same),
    "full": Scenario("load at capacity", 1.0, CALM, _same),
    "overload": Scenario("twice what the engine can do", 2.0, CALM, _same),
    "day": Scenario("a day's swing around capacity", 0.9, CALM._replace(swing=0.8), _same),
    "bursts": Scenario("twenty at once, on average", 0.7, CALM._replace(burst=20.0), _same),
    "outage": Scenario("the provider answers 503 for three minutes", 0.9, CALM, _hosted(Fault(300.0, 480.0, "error"))),
    "silence": Scenario("the provider answers nothing for three minutes", 0.9, CALM, _hosted(Fault(300.0, 480.0, "hang"))),
    "brown-out": Scenario("the provider is five times slower for five minutes", 0.9, CALM, _hosted(Fault(300.0, 600.0, "slow", 5.0))),
    "storm": Scenario(
        "the provider's quota falls to a fifth for five minutes",
        1.2,
        CALM,
        lambda setting: setting._replace(hosted=setting.hosted._replace(tpm=1_500_000.0), hosted_faults=(Fault(300.0, 600.0, "quota", 0.2),)),
    ),
    "flapping": Scenario("the provider fails every other ten seconds", 0.9, CALM, _hosted(*(Fault(300.0 + 20 * i, 310.0 + 20 * i, "error") for i in range(9)))),
    "engine dies": Scenario("the engine is gone for two minutes", 0.7, CALM, _local(Fault(300.0, 420.0, "error"))),
    "neighbour": Scenario("somebody else takes forty per cent of the GPU", 0.7, CALM, _local(Fault(300.0, 600.0, "slow", 1.67))),
    "cheap": Scenario("the provider costs a tenth", 1.2, CALM, lambda s: s._replace(price=Price(25_000_000, 200_000_000, 2_500_000, "simulation"))),
    "dear": Scenario(
        "the provider costs ten times as much", 1.2, CALM, lambda s: s._replace(price=Price(2_500_000_000, 20_000_000_000, 250_000_000, "simulation"))
    ),
    "longer": Scenario("answers become three times as long half-way", 0.6, CALM._replace(drift=3.0), _same),
    "turns": Scenario("long conversations whose prompts are cached", 0.9, CALM._replace(input_median=2500.0, turns=6.0), _same),
    "blind": Scenario("engine metrics read zero for five minutes, and late", 1.1, CALM, lambda s: s._replace(blind=(300.0, 600.0), scrape_s=60.0)),
    "strict": Scenario("an aim of half a second for the first token", 0.9, CALM, lambda s: s._replace(slo=Slo(ttft_ms=500.0, total_ms=20_000.0))),
    "repriced": Scenario(
        "the provider's prices fall to a tenth half-way",
        1.2,
        CALM,
        lambda s: s._replace(reprices=((450.0, Price(25_000_000, 200_000_000, 2_500_000, "simulation")),)),
    ),
    "tails": Scenario("answers of wildly different lengths, which nobody can predict", 0.8, CALM._replace(output_sigma=1.6), _same),
    "stall": Scenario(
        "a third of the provider's streams stall after the first token, for five minutes", 1.2, CALM, _hosted(Fault(300.0, 600.0, "stall", 0.33))
    ),
    "adapters": Scenario(
        "two hundred adapters, by Zipf's law, for eight slots",
        0.6,
        CALM._replace(adapters=200),
        lambda s: s._replace(engine=s.engine._replace(lora_slots=8, lora_load_ms=25.0)),
    ),
    "replicas": Scenario(
        "three replicas, one of which dies for two minutes while another is slow",
        2.4,
        CALM._replace(turns=4.0),
        lambda s: s._replace(replicas=3, local_faults=(Fault(300.0, 420.0, "error"), Fault(360.0, 600.0, "slow", 2.0, 1))),
    ),
    "gateways": Scenario("sixteen gateways that know nothing of each other", 1.1, CALM, lambda s: s._replace(gateways=16)),
    "budget": Scenario(
        "a quarter of what the provider would ask for all of it may be spent", 1.6, CALM, lambda s: s._replace(budget_nanousd=_share_of_list(s, 0.25))
    ),
}


def setting(name: str, seed: int) -> Setting:
    """The setting of a scenario on a synthetic trace of that seed."""
    scenario = SCENARIOS[name]
    rate = scenario.load / _mean_work_s(scenario.shape)
    trace = synthetic(name, scenario.shape._replace(rate=rate), seed)
    return on_trace(name, trace)


def on_trace(name: str, trace: Trace) -> Setting:
    """A scenario's weather over any trace."""
    calm = Setting(name, trace, SMALL, AIM, EngineShape(), HostedShape())
    return SCENARIOS[name].make(calm)


def _share_of_list(found: Setting, share: float) -> int:
    """A budget: this share of what all of the trace costs hosted."""
    return round(share * sum(found.list_cost(ask) for ask in found.trace.asks))


def _mean_work_s(shape: Shape) -> float:
    """Mean GPU-seconds of one request of a shape, from a sample of its own."""
    engine = EngineShape()
    sample = synthetic("sample", shape._replace(rate=5.0, seconds=200.0, swing=0.0, drift=1.0, burst=1.0), 0).asks
    return sum(engine.work_s(ask.input, ask.output) for ask in sample) / len(sample)
