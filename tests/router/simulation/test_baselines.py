"""Every baseline against a case worked out by hand from its formula."""

from __future__ import annotations

import pytest

from router.simulation.baselines import BASELINES, KNOWN
from router.simulation.policies import Baseline
from router.simulation.rivals import Adaptive, Bandit, FrozenPrice, Weighted
from router.simulation.scenarios import AIM, SMALL
from router.simulation.setting import HOSTED, LOCAL, Scrape, Setting, Told
from router.simulation.trace import Ask, Shape, Trace, synthetic
from router.simulation.world import World

ASK = Ask(0.0, 1000, 100)
SETTING = Setting("one", Trace("one", (ASK,) * 80), SMALL, AIM)


def told(backend: str, status: int = 200, ttft_s: float = 0.1, total_s: float = 1.1, now: float = 1.0) -> Told:
    return Told(0, ASK, backend, status, ttft_s, total_s, 0, 0.0, now)


def made(name: str, setting: Setting = SETTING) -> tuple[Baseline, World]:
    policy = BASELINES[name](setting, 1)
    return policy, World(setting, policy, 1)


def learn(policy: Baseline, *answers: Told) -> None:
    for answer in answers:
        policy.began(answer.number, answer.ask, answer.backend, answer.now) if answer.backend == HOSTED else start(policy)
        policy.ended(answer)


def start(policy: Baseline) -> None:
    policy.replica(0, ASK, World(SETTING, policy, 1), 0.0)
    policy.began(0, ASK, LOCAL, 0.0)


def share(policy: Baseline, world: World, count: int = 2000) -> float:
    return sum(policy.first(number, ASK, world, 0.0) == LOCAL for number in range(count)) / count


def test_all_twenty_two_are_there() -> None:
    """Each number of the protocol, each with a source; names are what the policies call themselves."""
    assert {known.number for known in KNOWN.values()} == set(range(22))
    assert all(known.source for known in KNOWN.values())
    assert all(make(SETTING, 1).name == name for name, make in BASELINES.items())


@pytest.mark.parametrize(
    ("name", "wanted"), [("all hosted", 0.0), ("all local", 1.0), ("shuffle", 0.5), ("random 0.8", 0.8), ("RouteLLM, 20 %", 0.8), ("RouteLLM, 50 %", 0.5)]
)
def test_shares(name: str, wanted: float) -> None:
    """Coins fall as often as they are said to, thresholds are at their quantile."""
    assert share(*made(name)) == pytest.approx(wanted, abs=0.03)


def test_overflow_and_least_busy() -> None:
    """The seventeenth goes elsewhere; the emptier wins, a tie is the first's."""
    policy, world = made("local first, 16")
    for _ in range(16):
        assert policy.first(0, ASK, world, 0.0) == LOCAL
        start(policy)
    assert policy.first(0, ASK, world, 0.0) == HOSTED
    policy, world = made("least busy")
    assert policy.first(0, ASK, world, 0.0) == HOSTED
    policy.began(0, ASK, HOSTED, 0.0)
    assert policy.first(0, ASK, world, 0.0) == LOCAL


def test_lowest_latency() -> None:
    """Unseen is zero and first; 0.011 s per token beats 0.02; one timeout of a thousand seconds among two puts a backend out; a buffer lets near ones in."""
    policy, world = made("lowest latency")
    learn(policy, told(HOSTED))
    assert policy.first(0, ASK, world, 0.0) == LOCAL
    learn(policy, told(LOCAL, total_s=2.0))
    assert policy.first(0, ASK, world, 0.0) == HOSTED
    learn(policy, told(HOSTED, status=0))
    assert policy.first(0, ASK, world, 0.0) == LOCAL
    policy, world = made("lowest latency, buffer")
    learn(policy, told(HOSTED, total_s=1.05), told(LOCAL, total_s=1.0))
    assert share(policy, world) == pytest.approx(0.5, abs=0.05)


def test_lowest_cost() -> None:
    """2.25 dollars for a million of each against nothing, and against 3.90: the mix does not matter."""
    assert share(*made("lowest cost"), count=1) == 1.0
    assert share(*made("lowest cost, amortised"), count=1) == 0.0


def test_lowest_usage() -> None:
    """Who answered 1,100 tokens in this minute comes after who answered none; the next minute begins anew."""
    policy, world = made("lowest usage")
    assert policy.first(0, ASK, world, 1.0) == HOSTED
    learn(policy, told(HOSTED))
    assert policy.first(0, ASK, world, 2.0) == LOCAL
    assert policy.first(0, ASK, world, 61.0) == HOSTED


def test_adaptive() -> None:
    """Priors of 0.8 and 0.6 with a tenth of a price difference each: 0.56 against 0.42 + 0.3; failures tell, and nothing does after two hundred."""
    policy, world = made("adaptive")
    assert isinstance(policy, Adaptive)
    assert share(policy, world, 500) > 0.8
    learn(policy, *[told(LOCAL, status=503)] * 190)
    assert policy.seen[LOCAL] == [6.0, 194.0]
    assert share(policy, world, 500) < 0.1
    learn(policy, *[told(LOCAL)] * 50)
    assert policy.seen[LOCAL] == [6.0, 194.0]


def test_budget_filter() -> None:
    """A thousand in and a hundred out cost 450,000 nano-dollars; two of them reach a budget of 900,000."""
    policy, world = made("budget filter", SETTING._replace(budget_nanousd=900_000))
    learn(policy, told(HOSTED))
    assert 0.4 < share(policy, world) < 0.6
    learn(policy, told(HOSTED))
    assert share(policy, world) == 1.0


def test_weighted() -> None:
    """Half of its calls failed: its weight falls to a sixteenth, to be seen five seconds later; no weight is below its floor."""
    policy, world = made("weighted")
    assert isinstance(policy, Weighted)
    policy.first(0, ASK, world, 0.0)
    learn(policy, told(LOCAL, status=503), told(LOCAL), told(HOSTED))
    policy.first(0, ASK, world, 4.9)
    assert policy.weight[LOCAL] == 1.0
    policy.first(0, ASK, world, 5.0)
    assert (policy.weight[LOCAL], policy.weight[HOSTED]) == (pytest.approx(0.0625), 1.0)
    learn(policy, *[told(LOCAL, status=503)] * 50)
    policy.first(0, ASK, world, 10.0)
    assert policy.weight[LOCAL] == 0.05


def test_multi_factor_and_percentiles() -> None:
    """With both within the aim, the free one wins on price unless it is slower and busier; percentiles look at both times, and only at who was seen."""
    policy, world = made("multi-factor")
    learn(policy, told(HOSTED, ttft_s=0.1), told(LOCAL, ttft_s=0.5))
    assert policy.first(0, ASK, world, 0.0) == HOSTED
    start(policy)
    start(policy)
    assert policy.first(0, ASK, world, 0.0) == HOSTED
    learn(policy, told(HOSTED, ttft_s=2.0))
    assert policy.first(0, ASK, world, 0.0) == LOCAL
    policy, world = made("percentiles")
    assert policy.first(0, ASK, world, 0.0) == HOSTED
    learn(policy, told(LOCAL, ttft_s=0.1, total_s=2.1))
    assert policy.first(0, ASK, world, 0.0) == LOCAL
    learn(policy, told(HOSTED, ttft_s=0.3, total_s=1.3))
    assert policy.first(0, ASK, world, 0.0) == LOCAL  # (1 + 2) / 2 against (3 + 1) / 2


def test_composite_and_predicted_latency() -> None:
    """Half full in both is 0.5, which is not above the constant; of two within the aim the one that is nearer to it is packed."""
    policy, world = made("composite")
    assert policy.first(0, ASK, world, 0.0) == LOCAL
    world.scraped = Scrape(0.0, 10, 64, 0.5)
    assert policy.first(0, ASK, world, 0.0) == HOSTED
    policy, world = made("predicted latency")
    learn(policy, told(HOSTED, ttft_s=0.9), told(LOCAL, ttft_s=0.4))
    assert policy.first(0, ASK, world, 0.0) == HOSTED
    learn(policy, told(HOSTED, ttft_s=2.0), told(HOSTED, ttft_s=2.0))
    assert policy.first(5, ASK, world, 0.0) == LOCAL


def test_route_balance() -> None:
    """The dear one loses a whole point whatever it costs, so it wins only where the other is slower by more than its own time."""
    policy, world = made("RouteBalance")
    learn(policy, told(HOSTED, total_s=1.0), told(LOCAL, total_s=5.0))
    assert policy.first(0, ASK, world, 0.0) == LOCAL
    for _ in range(1000):
        start(policy)
    assert policy.first(0, ASK, world, 0.0) == LOCAL


def test_port_freezes_its_price() -> None:
    """Of eighty requests two teach; then the price holds, and it is the density from which on the work fits."""
    policy, world = made("PORT")
    assert isinstance(policy, FrozenPrice)
    for number in range(3):
        policy.first(number, ASK, world, 10.0)
    assert policy.gamma == 0.0  # two requests in ten seconds: everything fits
    policy, world = made("PORT")
    for number in range(3):
        policy.first(number, ASK, world, 0.0)
    assert isinstance(policy, FrozenPrice)
    assert policy.gamma is not None
    assert policy.gamma > 0.0
    assert policy.first(9, ASK, world, 50.0) == LOCAL  # as dense as those it learnt from
    assert policy.first(9, ASK._replace(input=9000), world, 50.0) == HOSTED


def test_pareto_bandit_paces() -> None:
    """Spend above the target raises the penalty by a twentieth of the excess; the engine's failures lower its mean."""
    policy, world = made("ParetoBandit")
    assert isinstance(policy, Bandit)
    assert policy.first(0, ASK, world, 0.0) == LOCAL
    for _ in range(100):
        learn(policy, told(HOSTED))
    assert policy.penalty > 0.5
    before = policy.mean[LOCAL]
    learn(policy, told(LOCAL, status=503))
    assert policy.mean[LOCAL] < before


def test_cascade_and_prequal() -> None:
    """Both are local at first; a hundred and sixty in flight wait two seconds, above an aim of 1.5."""
    policy, world = made("cascade")
    assert policy.first(0, ASK, world, 0.0) == LOCAL
    for _ in range(168):
        start(policy)
    assert policy.first(0, ASK, world, 0.0) == HOSTED
    policy, world = made("Prequal")
    learn(policy, told(HOSTED, total_s=1.0), told(LOCAL, total_s=3.0))
    assert [policy.first(number, ASK, world, 0.0) for number in range(30)] == [LOCAL] * 30
    for _ in range(200):
        start(policy)
    assert policy.first(0, ASK, world, 0.0) == HOSTED


@pytest.mark.parametrize("name", list(BASELINES))
def test_each_answers_everything(name: str) -> None:
    """On a busy quarter of a minute: one outcome per request, and no more calls than two each."""
    found = Setting("busy", synthetic("busy", Shape(rate=20.0, seconds=10.0), 3), SMALL, AIM)
    outcomes = World(found, BASELINES[name](found, 1), 1).run()
    assert len(outcomes) == len(found.trace.asks)
    assert all(outcome.backend is not None and outcome.calls <= 2 for outcome in outcomes)
