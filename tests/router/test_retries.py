"""router.retries: the retry budget."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.retries import LEAST, SHARE, WINDOW_S, Window, on_request, on_retry

NOW = 1_800_000_000.0


def test_a_quiet_route_has_its_least() -> None:
    """Ten in ten seconds, without any other request; ten seconds later they are back, half of them after five."""
    window = Window()
    for _ in range(LEAST):
        window = on_retry(window, NOW) or Window()
    assert window.retries == LEAST
    assert on_retry(window, NOW) is None
    assert on_retry(window, NOW + 9.9) is None
    assert on_retry(window, NOW + WINDOW_S) is None
    later = window
    for _ in range(LEAST // 2):
        later = on_retry(later, NOW + 1.5 * WINDOW_S) or Window()
    assert on_retry(later, NOW + 1.5 * WINDOW_S) is None
    assert on_retry(window, NOW + 2.5 * WINDOW_S) == Window(int(NOW / WINDOW_S) + 2, 0, 1)


@given(st.lists(st.tuples(st.floats(0.0, 3.0), st.booleans()), max_size=300))
def test_retries_stay_within_the_budget(events: list[tuple[float, bool]]) -> None:
    """In any one window: at most the least, and the share of the requests of it and the one before."""
    window, now, seen = Window(), NOW, []
    for pause, retry in events:
        now += pause
        if not retry:
            window = on_request(window, now)
            seen.append((now, "request"))
        elif (used := on_retry(window, now)) is not None:
            window = used
            seen.append((now, "retry"))
    for begin in {int(at // WINDOW_S) for at, _ in seen}:
        retries = sum(what == "retry" and int(at // WINDOW_S) == begin for at, what in seen)
        requests = sum(what == "request" and int(at // WINDOW_S) in (begin, begin - 1) for at, what in seen)
        assert retries <= LEAST + SHARE * requests + 1


def test_a_busy_route_has_its_share() -> None:
    """Of a thousand requests two hundred may be repeated, and ten."""
    window, granted = Window(), 0
    for _ in range(1_000):
        window = on_request(window, NOW)
    while (used := on_retry(window, NOW)) is not None:
        window, granted = used, granted + 1
    assert granted == LEAST + SHARE * 1_000


def test_a_clock_that_steps_back_forgets_nothing() -> None:
    """Counts stay in the window they are in."""
    window = on_request(Window(), NOW)
    assert on_request(window, NOW - 50.0).requests == 2
