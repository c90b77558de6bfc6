"""The queue's decisions alone: bounds, order, fairness between keys, who goes first when it is full."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.fair_queue import PRIORITIES, FairQueue, Priority, Ticket

KEYS = st.sampled_from("abcdef")
LEVELS = st.sampled_from(PRIORITIES)


def filled(*asked: tuple[str, Priority], bound: int = 1000) -> tuple[FairQueue[Ticket], list[Ticket]]:
    queue: FairQueue[Ticket] = FairQueue(bound)
    tickets = [Ticket(key, priority) for key, priority in asked]
    for ticket in tickets:
        assert queue.offer(ticket) is None
    return queue, tickets


def drained(queue: FairQueue[Ticket]) -> list[Ticket]:
    found = []
    while (ticket := queue.take()) is not None:
        found.append(ticket)
    return found


class Model(RuleBasedStateMachine):
    """Any history of offers, takes, removals and changed bounds."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: FairQueue[Ticket] = FairQueue(4)
        self.waiting: list[Ticket] = []

    @rule(key=KEYS, priority=LEVELS)
    def offer(self, key: str, priority: Priority) -> None:
        full = len(self.queue) >= self.queue.bound
        ticket = Ticket(key, priority)
        out = self.queue.offer(ticket)
        assert (out is not None) == full, "it is shed when the queue is full, and only then"
        if out is not None and out is not ticket:
            self.waiting.remove(out)
        if out is not ticket:
            self.waiting.append(ticket)
        if out is not None and any(one.priority == "low" for one in self.waiting):
            assert out.priority == "low", "low goes first"
        if out is not None and out.priority != "low":
            sizes = Counter(one.key for one in self.waiting)
            sizes[out.key] += 1
            assert sizes[out.key] == max(sizes.values()), "whoever has most loses"

    @precondition(lambda self: self.waiting)
    @rule()
    def take(self) -> None:
        ticket = self.queue.take()
        assert ticket is not None, "nobody waits while something may be taken"
        mine = [one for one in self.waiting if one.key == ticket.key]
        best = min(PRIORITIES.index(one.priority) for one in mine)
        assert ticket is next(one for one in mine if PRIORITIES.index(one.priority) == best), "a key's best, oldest first"
        self.waiting.remove(ticket)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(self.waiting))
        assert self.queue.remove(ticket)
        assert not self.queue.remove(ticket)
        self.waiting.remove(ticket)

    @rule(bound=st.integers(0, 6))
    def rebound(self, bound: int) -> None:
        self.queue.bound = bound

    @invariant()
    def nobody_is_lost(self) -> None:
        assert len(self.queue) == len(self.waiting)
        assert len(self.waiting) <= 6
        if not self.waiting:
            assert self.queue.take() is None


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


@given(st.dictionaries(KEYS, st.integers(1, 40), min_size=2), st.randoms(use_true_random=False))
def test_keys_that_wait_are_served_alike(sizes: dict[str, int], random: object) -> None:
    """Whatever each has queued and in whatever order, no key is ever more than one request ahead of another that still waits."""
    asked: list[tuple[str, Priority]] = [(key, "normal") for key, size in sizes.items() for _ in range(size)]
    random.shuffle(asked)  # type: ignore[attr-defined]
    queue, _ = filled(*asked)
    left, served = Counter(sizes), Counter[str]()
    for ticket in drained(queue):
        served[ticket.key] += 1
        left[ticket.key] -= 1
        waiting = [served[key] for key in sizes if left[key]]
        assert not waiting or max(served[key] for key in sizes if left[key]) - min(waiting) <= 1
    assert served == Counter(sizes)


@given(st.integers(1, 5), st.lists(st.tuples(KEYS, st.sampled_from(["high", "normal"])), min_size=1, max_size=200), LEVELS)
def test_nobody_starves(others: int, flood: list[tuple[str, Priority]], priority: Priority) -> None:
    """One request among keys that ask without end: it is served after at most as many as there are other keys, four times as many when it is low."""
    queue: FairQueue[Ticket] = FairQueue(10_000)
    for key in "abcde"[:others]:
        for _ in range(30):
            queue.offer(Ticket(key, "high"))
    for _ in range(len(flood) % 50):
        taken = queue.take()
        assert taken is not None
        queue.offer(Ticket(taken.key, "high"))
    mine = Ticket("z", priority)
    queue.offer(Ticket("z", priority))
    queue.offer(mine)
    served = 0
    while (taken := queue.take()) is not mine:
        assert taken is not None
        if taken.key != "z":
            served += 1
            key, level = flood[served % len(flood)]
            queue.offer(Ticket("abcde"["abcdef".index(key) % others], level))
        assert served <= others * (5 if priority == "low" else 2) + 1


@given(st.integers(0, 3), st.integers(4, 60))
def test_a_flood_does_not_push_others_out(others: int, flood: int) -> None:
    """A key that fills the queue loses its own newest when another asks for its share; what others have waiting stays."""
    queue: FairQueue[Ticket] = FairQueue(8)
    for _ in range(flood):
        queue.offer(Ticket("flood", "high"))
    asked = [Ticket(f"k{number}", "normal") for number in range(others)]
    for ticket in asked:
        out = queue.offer(ticket)
        assert out is None or out.key == "flood"
    for _ in range(flood):
        queue.offer(Ticket("flood", "high"))
    assert set(asked) <= set(drained(queue))


def test_within_a_key_higher_priorities_go_first() -> None:
    """And equal ones in the order they came."""
    queue, tickets = filled(("a", "low"), ("a", "normal"), ("a", "high"), ("a", "normal"), ("a", "high"))
    assert drained(queue) == [tickets[index] for index in (2, 4, 1, 3, 0)]


def test_calling_everything_urgent_buys_nothing() -> None:
    """Two keys, one all high, one all normal: they take turns."""
    queue, _ = filled(*[("a", "high")] * 5, *[("b", "normal")] * 5)
    assert "".join(ticket.key for ticket in drained(queue)) == "ababababab"


def test_low_gives_way() -> None:
    """A key whose requests are low has one served while another has four."""
    queue, _ = filled(*[("a", "low")] * 4, *[("b", "normal")] * 16)
    order = "".join(ticket.key for ticket in drained(queue))
    assert order[:16].count("a") in {3, 4}
    assert order[0] == "a"


def test_equal_claims_are_decided_against_the_new_one() -> None:
    """And within one key the newest of the lowest goes."""
    queue, _ = filled(("a", "normal"), ("b", "normal"), bound=2)
    new = Ticket("a", "normal")
    assert queue.offer(new) is new
    better = Ticket("a", "high")
    out = queue.offer(better)
    assert out is not None
    assert (out.key, out.priority) == ("a", "normal")
    third = Ticket("c", "high")
    assert queue.offer(third) is third
    assert repr(third) == "<c high #7>"


def test_an_old_service_is_no_debt_for_ever() -> None:
    """Who was served much while alone is not made to wait for a newcomer's whole backlog; and keys that are gone are forgotten."""
    queue, _ = filled(*[("a", "normal")] * 10)
    for _ in range(9):
        queue.take()
    for _ in range(5):
        queue.offer(Ticket("b", "normal"))
        queue.offer(Ticket("a", "normal"))
    assert "".join(ticket.key for ticket in drained(queue))[:6].count("b") == 3
    filler = Ticket("filler", "low")
    queue.offer(filler)
    for number in range(3000):
        queue.offer(Ticket(f"key{number}", "high"))
        queue.take()
    assert len(queue._flows) < 100
