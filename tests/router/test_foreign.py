"""router.foreign: which work cannot have been ours."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.foreign import LAG_S, Call, Tokens, explained, unexplained

WINDOW = (60.0, 120.0)


def test_a_call_inside_explains_all_its_work() -> None:
    """Prompt and answer, streamed or not."""
    calls = [Call(70.0, 80.0, 71.0, Tokens(100, 40)), Call(70.0, 80.0, None, Tokens(10, 4))]
    assert explained(calls, WINDOW) == Tokens(110, 44)


def test_a_stream_is_counted_where_its_first_token_came() -> None:
    """Sent at 50 s and first answered at 70 s: the prompt may be counted up to then, the answer only from then on."""
    assert explained([Call(50.0, 90.0, 70.0, Tokens(100, 40))], WINDOW) == Tokens(100, 40)
    assert explained([Call(10.0, 100.0, 20.0, Tokens(100, 80))], WINDOW).prefill == 0.0
    assert explained([Call(10.0, 100.0, 20.0, Tokens(100, 80))], WINDOW, 0.0).decode == pytest.approx(40.0)
    assert explained([Call(115.0, 130.0, 125.0, Tokens(100, 10))], WINDOW) == Tokens(100, 0), "its prefill may have been before the minute was over"


def test_a_whole_answer_may_have_been_counted_on_either_side() -> None:
    """Nobody knows when the prefill of an answer without a stream was done: it explains work in both minutes."""
    call = Call(110.0, 130.0, None, Tokens(100, 20))
    assert explained([call], WINDOW).prefill == explained([call], (120.0, 180.0)).prefill == 100
    assert explained([call], WINDOW, 0.0).decode == pytest.approx(10.0)


def test_what_ran_just_beside_the_minute_may_have_been_read_in_it() -> None:
    """Counters are read a little off the full minute; a call of no length counts where it was."""
    assert explained([Call(59.0, 59.0, None, Tokens(5, 1))], WINDOW) == Tokens(5, 1)
    assert explained([Call(50.0, 58.0, None, Tokens(5, 1))], WINDOW) == Tokens()


def test_a_small_rest_is_noise() -> None:
    """Two per cent is not told from reading a moment early; less than ours is nothing; the kinds are apart."""
    assert unexplained(Tokens(100, 1000), Tokens(99, 500)) == Tokens(0, 500)
    assert unexplained(Tokens(100, 10), Tokens(200, 20)) == Tokens()
    assert Tokens(10, 5).weighed(4.0) == 30.0


@st.composite
def calls(draw: st.DrawFn) -> list[Call]:
    found = []
    for _ in range(draw(st.integers(1, 8))):
        start = draw(st.floats(0, 200))
        end = start + draw(st.floats(0.01, 150))
        first = draw(st.none() | st.floats(start, end - 0.001))
        found.append(Call(start, end, first, Tokens(draw(st.integers(0, 1000)), draw(st.integers(0, 1000)))))
    return found


@given(calls(), st.randoms(use_true_random=False), st.floats(0, LAG_S))
def test_our_own_work_is_never_foreign(sent: list[Call], rng: object, late: float) -> None:
    """However vLLM counts it (a prompt at any moment until the first token, answers at their pace, all read up to LAG_S late), no minute has foreign work."""
    for low, high in pairwise(range(0, 420, 60)):
        prefill = decode = 0.0
        for call in sent:
            latest = call.ended if call.first is None else call.first
            counted = call.started + (latest - call.started) * rng.random() + late  # type: ignore[attr-defined]
            prefill += call.tokens.prefill if low <= counted < high else 0.0
            begun = call.started if call.first is None else call.first
            length = call.ended - begun
            inside = max(min(call.ended + late, high) - max(begun + late, low), 0.0)
            decode += call.tokens.decode * (inside / length if length > 0.0 else float(low <= begun + late < high))
        rest = unexplained(Tokens(prefill, decode), explained(sent, (float(low), float(high))))
        assert rest == Tokens()
