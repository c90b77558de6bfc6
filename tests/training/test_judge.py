"""A judge model: asked in both orders, read strictly, believed as far as labelled anchors say."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

import pytest

from router.errors import DataError
from training import judge
from training.judge import Anchor, Calibration


def parts(prompt: str) -> tuple[str, str]:
    """The two answers in a prompt."""
    return tuple(prompt.partition(f"<answer_{n}>\n")[2].partition(f"\n</answer_{n}>")[0] for n in "ab")  # type: ignore[return-value]


async def longer(prompt: str) -> str:
    """A judge that prefers the longer answer."""
    a, b = parts(prompt)
    return "TIE" if len(a) == len(b) else "A" if len(a) > len(b) else "B"


async def first(prompt: str) -> str:
    """A judge that always prefers the first place."""
    return "A"


def test_both_orders_must_agree() -> None:
    """Better in both is 1, worse in both 0; a judge that goes by the place alone says nothing."""
    assert asyncio.run(judge.compare(longer, "q", "long answer", "short")) == (1.0, ("first", "second"))
    assert asyncio.run(judge.compare(longer, "q", "x", "short")) == (0.0, ("second", "first"))
    assert asyncio.run(judge.compare(longer, "q", "abc", "xyz")) == (0.5, ("tie", "tie"))
    assert asyncio.run(judge.compare(first, "q", "a", "b")) == (0.5, ("first", "first"))


@pytest.mark.parametrize(
    ("said", "pick"), [("A", "first"), ("b.", "second"), ("Answer: TIE", "tie"), ("A is wrong, so B", "second"), ("neither", "tie"), ("", "tie")]
)
def test_words_are_read_strictly(said: str, pick: str) -> None:
    """The last word of ours counts; anything else is a tie."""
    assert judge.read(said) == pick


def anchors(n: int) -> list[Anchor]:
    """Where people prefer the longer answer, half of the time in each place."""
    return [Anchor(f"q{i}", "long answer" if i % 2 else "x", "x" if i % 2 else "long answer", "a" if i % 2 else "b") for i in range(n)]


def test_a_judge_that_agrees_is_calibrated() -> None:
    """Kappa 1, no position bias, nothing contradicted; too few anchors are not enough whatever they say."""
    found = asyncio.run(judge.calibrate(longer, "m", anchors(60)))
    assert (found.agreement, found.kappa, found.position_bias, found.contradicted, found.calibrated) == (1.0, 1.0, 0.0, 0.0, True)
    assert found.bias_low < 0 < found.bias_high
    assert not asyncio.run(judge.calibrate(longer, "m", anchors(10))).calibrated


def test_position_bias_is_measured() -> None:
    """A judge that picks the first place in three of ten decided answers more than it should shows exactly that, and is not believed."""
    rng = random.Random(7)

    async def leaning(prompt: str) -> str:
        return "A" if rng.random() < 0.3 else await longer(prompt)

    found = asyncio.run(judge.calibrate(leaning, "m", anchors(2000)))
    assert found.position_bias == pytest.approx(0.15, abs=0.02)  # 0.3 x 1 + 0.7 x 0.5 - 0.5
    assert found.bias_low > 0.1
    assert found.contradicted == pytest.approx(0.3, abs=0.04)
    always = asyncio.run(judge.calibrate(first, "m", anchors(60)))
    assert (always.position_bias, always.kappa, always.contradicted, always.calibrated) == (0.5, 0.0, 1.0, False)


def test_kappa_is_agreement_beyond_chance() -> None:
    """Cohen's example: 20 and 15 agreed of 50, 0.7 observed, 0.5 by chance: 0.4."""
    one = ["a"] * 25 + ["b"] * 25
    other = ["a"] * 20 + ["b"] * 5 + ["a"] * 10 + ["b"] * 15
    assert judge.kappa(one, other) == pytest.approx(0.4)
    assert judge.kappa([], []) == 0.0
    assert judge.kappa(["a"], ["a"]) == 1.0


def test_anchors_are_read_whole(tmp_path: Path) -> None:
    """Every wrong line is named."""
    path = tmp_path / "anchors.jsonl"
    good = {"question": "q", "a": "x", "b": "y", "label": "tie"}
    path.write_text("\n".join([json.dumps(good), "", "{", json.dumps({**good, "label": "c"}), json.dumps({**good, "a": 1}), "[]"]))
    with pytest.raises(DataError) as caught:
        judge.load_anchors(path)
    assert [problem.line for problem in caught.value.problems] == [3, 4, 5, 6]
    path.write_text(json.dumps(good))
    assert judge.load_anchors(path) == [Anchor("q", "x", "y", "tie")]
    with pytest.raises(DataError, match="cannot be read"):
        judge.load_anchors(tmp_path / "nobody")


def test_a_calibration_says_what_it_takes() -> None:
    """For reports: the thresholds stand beside the numbers."""
    shown = Calibration("m", 60, 0.9, 0.8, 0.0, -0.1, 0.1, 0.0).as_dict()
    assert (shown["calibrated"], shown["least_kappa"], shown["least_anchors"]) == (True, 0.6, 50)
