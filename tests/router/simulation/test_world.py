"""A run: every request has one outcome, faults are met as the gateway meets them, and our policy is the gateway's own."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from gateway.live import Board
from gateway.simulation.run import lesson
from router.record import replay
from router.simulation.baselines import BASELINES
from router.simulation.hosted import Fault, HostedShape, Provider
from router.simulation.ours import Ours
from router.simulation.scenarios import AIM, SMALL
from router.simulation.setting import HOSTED, LOCAL, Outcome, Setting, Told
from router.simulation.trace import Ask, Shape, Trace, synthetic
from router.simulation.world import World
from router.types import Slo

BUSY = Setting("busy", synthetic("busy", Shape(rate=12.0, seconds=40.0), 3), SMALL, AIM)


class Fixed:
    """Always the same order; keeps what it was told."""

    name = "fixed"

    def __init__(self, *order: str) -> None:
        self._order = order
        self.told: list[Told] = []

    def order(self, number: int, ask: Ask, world: World, now: float) -> Sequence[str]:
        return self._order

    def replica(self, number: int, ask: Ask, world: World, now: float) -> int:
        return number % world.setting.replicas

    def began(self, number: int, ask: Ask, backend: str, now: float) -> None:
        pass

    def first_token(self, number: int) -> None:
        pass

    def ended(self, told: Told) -> None:
        self.told.append(told)


def one(**changes: object) -> Setting:
    """A setting with one request, after a second."""
    return Setting("one", Trace("one", (Ask(1.0, 100, 10),)), SMALL, AIM)._replace(**changes)


def only(setting: Setting, policy: Fixed) -> Outcome:
    (found,) = World(setting, policy, 1).run()
    return found


def test_one_request_each_way() -> None:
    """A hosted answer costs its list price, a local one no hosted dollar; nobody missed anything."""
    hosted, local = only(one(), Fixed(HOSTED)), only(one(), Fixed(LOCAL))
    assert (hosted.backend, hosted.cost_nanousd, hosted.missed) == (HOSTED, 45_000, False)
    assert (local.backend, local.cost_nanousd, local.missed) == (LOCAL, 0, False)
    assert 0 < local.ttft_s < local.total_s < hosted.total_s
    assert hosted.worth_nanousd == 90_000


def test_failover() -> None:
    """A provider that answers 503 or nothing is left for the other; nobody left is no answer, and a miss."""
    down = one(hosted_faults=(Fault(0.0, 99.0, "error"),))
    policy = Fixed(HOSTED, LOCAL)
    found = only(down, policy)
    assert (found.backend, found.calls, [told.status for told in policy.told]) == (LOCAL, 2, [503, 200])
    assert found.ttft_s > 0.05
    silent = only(one(hosted_faults=(Fault(0.0, 99.0, "hang"),)), Fixed(HOSTED, LOCAL))
    assert (silent.backend, silent.missed) == (LOCAL, True)
    assert silent.ttft_s > 30.0
    nobody = only(down, Fixed(HOSTED))
    assert (nobody.backend, nobody.missed, nobody.cost_nanousd) == (None, True, 0)


def test_an_engine_that_dies() -> None:
    """Who waits for a first token goes to the other; a stream that had begun is broken; a dead engine refuses at once."""
    long = Trace("long", (Ask(0.0, 10, 3000), Ask(4.9999, 60_000, 10), Ask(6.0, 10, 10)))
    setting = Setting("dies", long, SMALL, Slo(), local_faults=(Fault(5.0, 60.0, "error"),))
    policy = Fixed(LOCAL, HOSTED)
    found = {outcome.number: outcome for outcome in World(setting, policy, 1).run()}
    assert [found[number].backend for number in range(3)] == [None, HOSTED, HOSTED]
    assert sorted((told.number, told.status) for told in policy.told if told.status != 200) == [(0, 502), (1, 502), (2, 503)]


def test_the_quota() -> None:
    """Beyond its tokens a provider answers 429 and says when to come back."""
    asks = tuple(Ask(float(second) / 10, 1000, 10) for second in range(30))
    policy = Fixed(HOSTED, LOCAL)
    World(Setting("quota", Trace("quota", asks), SMALL, AIM, hosted=HostedShape(tpm=10_000.0)), policy, 1).run()
    refused = [told for told in policy.told if told.status == 429]
    assert len(refused) >= 18
    assert all(told.retry_after_s >= 1.0 for told in refused)


def test_prompts_stay_warm() -> None:
    """The second turn of a conversation is cheaper at the provider and quicker at the engine."""
    turns = Trace("turns", (Ask(0.0, 6000, 5, 1), Ask(5.0, 6000, 5, 1, 5000)))
    outcomes = World(Setting("turns", turns, SMALL, AIM), Fixed(HOSTED), 1).run()
    assert outcomes[1].cost_nanousd < outcomes[0].cost_nanousd / 2
    local = World(Setting("turns", turns, SMALL, AIM), Fixed(LOCAL), 1).run()
    assert local[1].ttft_s < local[0].ttft_s / 3


def test_the_luck_is_the_same_for_all() -> None:
    """What a call meets depends on its number and instant, not on who calls or in which order."""
    provider, other = (Provider(HostedShape(), (), 5) for _ in range(2))
    other.call(Ask(0.0, 9, 9), 1, 1, 0.0)
    assert provider.call(Ask(0.0, 500, 50), 7, 1, 3.0) == other.call(Ask(0.0, 500, 50), 7, 1, 3.0)
    assert provider.call(Ask(0.0, 500, 50), 8, 1, 3.0) != provider.call(Ask(0.0, 500, 50), 7, 1, 3.0)


@pytest.mark.parametrize("name", [*BASELINES, "breakeven"])
def test_every_request_has_one_outcome(name: str) -> None:
    """Whoever decides, under faults on both sides; and the same seed gives the same run."""
    faults = (Fault(5.0, 9.0, "error"), Fault(12.0, 15.0, "hang"), Fault(18.0, 22.0, "slow", 6.0))
    setting = BUSY._replace(hosted_faults=faults, local_faults=(Fault(25.0, 28.0, "error"), Fault(30.0, 35.0, "slow", 3.0)))
    runs = []
    for _ in range(2):
        policy = Ours(setting, Board(), lesson) if name == "breakeven" else BASELINES[name](setting, 1)
        runs.append(World(setting, policy, 1).run())
    assert sorted(outcome.number for outcome in runs[0]) == list(range(len(setting.trace.asks)))
    assert runs[0] == runs[1]
    assert all(outcome.cost_nanousd > 0 for outcome in runs[0] if outcome.backend == HOSTED)
    assert all(outcome.total_s >= outcome.ttft_s > 0 for outcome in runs[0] if outcome.backend is not None)


def test_it_is_the_gateways_policy() -> None:
    """Each decision replays from its record to the same choice, and under load both backends are used."""
    policy = Ours(BUSY._replace(trace=BUSY.trace.scaled(4.0)), Board(), lesson)
    outcomes = World(BUSY._replace(trace=BUSY.trace.scaled(4.0)), policy, 1).run()
    assert {outcome.backend for outcome in outcomes} == {HOSTED, LOCAL}
    for number in range(0, len(outcomes), 50):
        assert replay(policy.decisions[number], policy.snapshot(0, 0.0))[1]


def test_a_stalled_stream_is_broken() -> None:
    """What stalls after its first token is paid for, counts as a miss, and nobody answers in its place."""
    stalled = only(one(hosted_faults=(Fault(0.0, 10.0, "stall", 1.0),)), Fixed(HOSTED, LOCAL))
    assert (stalled.backend, stalled.calls, stalled.missed, stalled.cost_nanousd) == (None, 1, True, 45_000)


def test_a_dead_replica_is_one_of_several() -> None:
    """Its calls fail over; the other replica answers its own."""
    asks = Trace("two", (Ask(1.0, 100, 10), Ask(1.5, 100, 10)))
    found = Setting("two", asks, SMALL, AIM, replicas=2, local_faults=(Fault(0.5, 10.0, "error"),))
    first, second = sorted(World(found, Fixed(LOCAL, HOSTED), 1).run())
    assert (first.backend, first.calls) == (HOSTED, 2)
    assert (second.backend, second.calls) == (LOCAL, 1)
