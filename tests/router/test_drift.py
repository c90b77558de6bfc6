"""Levels of drift: how they are reached, left and bounded, and what the budget promises."""

from __future__ import annotations

from math import exp

import pytest

from router.drift import BLOCK, CALM, HIGHEST, LEVELS, RISE, SPANS, Finding, Standing, budget, fires, is_near, looks_to, overall, risen, step

FAR, NEAR, CALMLY = Finding(2.0, 1.0, 0.5), Finding(0.7, 1.0, 0.06), Finding(0.1, 1.0, 0.01)


def looks(standing: Standing, finding: Finding, times: int, strand: str = "input") -> Standing:
    for _ in range(times):
        standing = step(standing, [CALMLY, finding], 0.1, strand)  # type: ignore[arg-type]
    return standing


@pytest.mark.parametrize("level", LEVELS[1:])
def test_each_level_takes_its_looks_in_a_row(level: str) -> None:
    """One look less is not enough."""
    times = looks_to(level)  # type: ignore[arg-type]
    assert looks(Standing(), FAR, times).level == level
    assert looks(Standing(), FAR, times - 1).level != level


def test_a_level_is_left_by_calm_looks_in_a_row() -> None:
    """What is near neither raises nor lowers it, and begins the counting of calm looks anew."""
    stopped = looks(Standing(), FAR, RISE["stop"])
    assert looks(stopped, NEAR, 100).level == "stop"
    almost = looks(stopped, CALMLY, CALM - 1)
    assert almost.level == "stop"
    assert looks(looks(almost, NEAR, 1), CALMLY, CALM - 1).level == "stop"
    assert looks(almost, CALMLY, 1) == Standing()


def test_a_streak_that_breaks_begins_anew_and_the_level_stays() -> None:
    """Two looks reach shadow; three more after a calm one do not reach stop."""
    shadow = looks(Standing(), FAR, 2)
    again = looks(looks(shadow, CALMLY, 1), FAR, 3)
    assert again == Standing("shadow", 3, 0)
    assert looks(again, FAR, 1).level == "stop"


def test_pace_only_tells() -> None:
    """However long it goes on."""
    assert HIGHEST["pace"] == "notify"
    assert looks(Standing(), FAR, 100, "pace").level == "notify"


def test_both_chance_and_size_must_speak() -> None:
    """Beyond chance and too small to matter does not count, nor the other way round; rates have no size."""
    assert fires(FAR, 0.1)
    assert not fires(Finding(9.0, 1.0, 0.05), 0.1)
    assert not fires(Finding(0.9, 1.0, 0.9), 0.1)
    assert fires(Finding(1.0, 1.0), 0.1)
    assert is_near(Finding(0.5, 1.0), 0.1)
    assert not is_near(Finding(0.9, 1.0, 0.04), 0.1)


def test_the_highest_strand_counts() -> None:
    """And none of them is none."""
    assert overall({"input": Standing("notify", 1), "output": Standing("stop", 4)}) == "stop"
    assert overall({}) == "none"
    assert risen("none", "notify")
    assert not risen("stop", "stop")


def test_the_budget_sums_up_to_what_is_promised() -> None:
    """All comparisons of a million requests, and the rates' detectors, come to the stated number of false alarms."""
    spent = budget(0.01, 11, 6)
    by_looks = 1e6 / BLOCK * 11 * len(SPANS) * exp(-spent.look)
    by_rates = 1e6 * 6 * exp(-spent.rate)
    assert by_looks == pytest.approx(0.005)
    assert by_rates == pytest.approx(0.005)
