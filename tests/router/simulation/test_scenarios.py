"""Scenarios stay what they were when policies were tuned, and each of them is felt."""

from __future__ import annotations

from hashlib import sha256

from router.simulation.baselines import BASELINES
from router.simulation.scenarios import AIM, SCENARIOS, SMALL, setting
from router.simulation.setting import HOSTED, Setting
from router.simulation.trace import Ask, Shape, Trace, synthetic
from router.simulation.world import World

# Of the parameters as they were committed. A change here makes every figure that was published before incomparable: publish them anew.
LEFT_OUT = {"name", "price", "reprices", "slo", "trace"}
FROZEN = "9bd8898c0404d202c9acd39dfb35be1a095a0e63c23e766c961da9a67bc25080"


def test_the_parameters_are_frozen() -> None:
    """Whoever changes a scenario has to say so here."""
    one = Setting("", Trace("one", (Ask(0.0, 100, 10),)), SMALL, AIM)
    told = repr([(name, found.load, found.shape, figures(found.make(one))) for name, found in SCENARIOS.items()])
    assert sha256(told.encode()).hexdigest() == FROZEN


def figures(found: Setting) -> tuple[object, ...]:
    prices = [(price.input, price.output, price.cached) for price in (found.price, *(price for _, price in found.reprices))]
    rest = found._replace(name="", price=SMALL, reprices=(), slo=AIM)._asdict()
    return (
        prices,
        [since for since, _ in found.reprices],
        found.slo.ttft_ms,
        found.slo.total_ms,
        [rest[name] for name in sorted(rest) if name not in LEFT_OUT],
    )


def test_there_are_scenarios_of_every_kind() -> None:
    """Load, arrivals, the provider, the engine, prices, aims, adapters, replicas, gateways, budgets."""
    assert len(SCENARIOS) == 25
    assert setting("adapters", 1).engine.lora_slots == 8
    assert len({ask.adapter for ask in setting("adapters", 1).trace.asks}) > 50
    assert setting("budget", 1).budget_nanousd


def test_conversations_go_on() -> None:
    """Where a trace has conversations their turns are requests of the same conversation, a few of them long; without turns each request is alone."""
    asks = synthetic("turns", Shape(rate=20.0, seconds=100.0, turns=6.0), 1).asks
    assert len(asks) / len({ask.conversation for ask in asks}) > 3
    alone = synthetic("alone", Shape(rate=20.0, seconds=100.0), 1).asks
    assert len({ask.conversation for ask in alone}) == len(alone)


def test_prices_that_change() -> None:
    """From then on the provider costs as much as it says."""
    found = setting("repriced", 1)
    asks = (Ask(440.0, 1000, 100), Ask(460.0, 1000, 100))
    found = found._replace(trace=Trace("two", asks))
    before, after = sorted(World(found, BASELINES["all hosted"](found, 1), 1).run())
    assert (before.backend, before.cost_nanousd) == (HOSTED, 450_000)
    assert (after.backend, after.cost_nanousd) == (HOSTED, 45_000)


def test_a_budget_is_never_overspent() -> None:
    """Who sends everything to the provider finds the rest refused, and the engine answers."""
    found = setting("budget", 1)
    found = found._replace(trace=found.trace.first(400), budget_nanousd=20_000_000)
    outcomes = World(found, BASELINES["all hosted"](found, 1), 1).run()
    most = max(outcome.cost_nanousd for outcome in outcomes)
    assert 20_000_000 <= sum(outcome.cost_nanousd for outcome in outcomes) < 20_000_000 + most
    assert all(outcome.backend is not None for outcome in outcomes)
