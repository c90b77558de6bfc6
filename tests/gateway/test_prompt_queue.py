"""What an engine has before it: prompts of streams until their first token, prompts of whole answers for as long as reading them takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.prompt_queue import PromptQueue
from router.types import Errand


def test_a_stream_is_counted_until_its_first_token() -> None:
    """And not twice when it is over."""
    queue = PromptQueue()
    first = queue.enter(Errand("e", 1000.0, True), 1.0)
    second = queue.enter(Errand("e", 500.0, True), 2.0)
    assert (first.load, first.tokens, second.load, second.tokens) == (1000.0, 1000.0, 1500.0, 1500.0)
    assert queue.ahead(50.0) == 1500.0
    queue.read(first)
    queue.read(first)
    assert queue.ahead(50.0) == 500.0
    queue.leave(first)
    queue.leave(second)
    assert (queue.ahead(50.0), queue.in_flight) == (0.0, 0)


def test_a_whole_answer_drains() -> None:
    """At the rate the engine reads; at once while that is not known."""
    queue = PromptQueue()
    queue.enter(Errand("e", 1000.0, False), 1.0)
    assert queue.ahead(1.0) == 0.0
    queue.token_ms = 0.5
    queue.enter(Errand("e", 1000.0, False), 2.0)
    assert queue.ahead(2.1) == pytest.approx(800.0)
    assert queue.ahead(2.0) == pytest.approx(800.0)
    assert queue.enter(Errand("e", 10.0, True), 2.2).tokens == pytest.approx(610.0)
    assert queue.ahead(9.0) == pytest.approx(10.0)


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 1e5)), max_size=60))
def test_nothing_is_left_when_all_are_gone(steps: list[tuple[int, float]]) -> None:
    """Whatever the order of first tokens and ends."""
    queue = PromptQueue()
    inside = []
    for now, (what, tokens) in enumerate(steps):
        if what < 2 or not inside:
            inside.append(queue.enter(Errand("e", tokens, bool(what)), float(now)))
        elif what == 2:
            queue.read(inside[int(tokens) % len(inside)])
        else:
            queue.leave(inside.pop(int(tokens) % len(inside)))
        assert queue.in_flight == len(inside)
        assert queue.ahead(float(now)) >= -1e-6
    for place in inside:
        queue.leave(place)
    queue.token_ms = 1.0
    assert (queue.in_flight, queue.ahead(1e9)) == (0, 0.0)


def test_adapters_have_slots() -> None:
    """A call is blocked while others have all of them; not one whose adapter is there, nor the base."""
    queue = PromptQueue()
    first = queue.enter(Errand("e", 1.0, True, "a", 2), 1.0)
    assert not queue.blocked("c")
    places = [first, queue.enter(Errand("e", 1.0, True, "b", 2), 1.0), queue.enter(Errand("e", 1.0, True, "a", 2), 1.0)]
    assert queue.blocked("c")
    assert not queue.blocked("a")
    assert not queue.blocked("")
    queue.leave(places[0])
    assert queue.blocked("c")  # the other call of that adapter is still there
    queue.leave(places[2])
    assert not queue.blocked("c")
