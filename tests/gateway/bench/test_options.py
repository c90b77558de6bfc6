"""What a benchmark may be asked for."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.bench.options import PARTS, Options, parts
from gateway.bench.run import planned_s
from router.errors import ConfigError


def test_parts_by_name() -> None:
    """All, some, or none but a soak."""
    assert parts(None) == PARTS
    assert parts("latency, start") == ("latency", "start")
    assert parts("") == ()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"only": ("speed",)}, r"--only: speed .* latency, throughput"),
        ({"seconds": 0.0}, "above zero"),
        ({"clients": 0}, "above zero"),
        ({"soak_s": -1.0}, "--soak"),
        ({"litellm": "/nowhere/python"}, "--litellm: /nowhere/python is no program"),
    ],
)
def test_nonsense_is_refused(wrong: dict[str, Any], said: str) -> None:
    """Before anything is started, with the flag's name."""
    with pytest.raises(ConfigError, match=said):
        Options({}, **wrong)


def test_the_plan_grows_with_what_is_asked() -> None:
    """Each part, each peer and the soak take their time."""
    alone = planned_s(Options({}, only=("latency",)), nginx=False)
    assert alone == 5.0 * 2 + 3.0
    assert planned_s(Options({}, only=("latency",)), nginx=True) == alone + 5.0
    assert planned_s(Options({}, only=(), soak_s=60.0), nginx=True) == 63.0
    assert planned_s(Options({}), nginx=False) > 60.0
