"""Claims about the life of an adapter version."""

from __future__ import annotations

import itertools

import pytest

from router.errors import StateError
from serving.states import TRANSITIONS, Event, State, step


def test_the_way_in_and_out() -> None:
    """Registered, loaded, draining, retired is the way of every version that is served."""
    state = State.REGISTERED
    seen = []
    for event in (Event.LOAD, Event.VERIFY, Event.DRAIN, Event.UNLOAD):
        state = step(state, event)
        seen.append(state)
    assert seen == [State.REGISTERED, State.LOADED, State.DRAINING, State.RETIRED]


def test_what_the_table_lacks_is_an_error() -> None:
    """Every pair that is not in the table raises and names both."""
    for state, event in itertools.product(State, Event):
        if (state, event) not in TRANSITIONS:
            with pytest.raises(StateError, match=f"{state} cannot {event}"):
                step(state, event)


def test_nothing_comes_back_from_retirement() -> None:
    """A retired version stays retired: its files are gone."""
    assert {TRANSITIONS[pair] for pair in TRANSITIONS if pair[0] is State.RETIRED} == {State.RETIRED}


def test_every_state_is_reached() -> None:
    """There is no state that nothing leads to."""
    assert set(TRANSITIONS.values()) == set(State)
