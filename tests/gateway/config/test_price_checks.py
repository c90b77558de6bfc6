"""Prices that cannot hold together, each found at its line, all of them at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.load import loads
from router.errors import ConfigError

HEAD = "providers: {p: {kind: compatible, base_url: 'https://p.example/v1'}}\nprices:\n"


def entry(more: str, model: str = "m") -> str:
    return f"  - {{provider: p, model: {model}, input_usd_per_m: 1, output_usd_per_m: 1, {more}}}\n"


def problems(tmp_path: Path, *entries: str) -> list[tuple[str | None, int | None, str]]:
    """Key, line and message of what is wrong with a file of these entries."""
    try:
        loads(HEAD + "".join(entries), tmp_path / "breakeven.yaml", {})
    except ConfigError as error:
        return [(problem.key, problem.line, problem.message) for problem in error.problems]
    return []


def test_prices_may_follow_one_another(tmp_path: Path) -> None:
    """With and without an end, with a gap, in any order, each tier for itself."""
    following = (
        entry("effective: 2026-03-01"),
        entry("effective: 2026-01-01, until: 2026-02-01"),
        entry("effective: 2026-02-01, until: 2026-02-10"),
        entry("service_tier: flex"),
        entry("effective: 2026-01-15, service_tier: flex"),
        entry("until: 2025-12-31"),
    )
    assert problems(tmp_path, *following) == []


def test_all_that_is_absurd_is_said_at_once(tmp_path: Path) -> None:
    """Finer than a nano-dollar, negative, no number, two prices at once, never in force, steps that do not rise, a tier that is none: each with its line."""
    found = problems(
        tmp_path,
        "  - {provider: p, model: a, input_usd_per_m: 0.0000000001, output_usd_per_m: -1, cache_write_usd_per_m: lots}\n",
        "  - {provider: p, model: b, input_usd_per_m: 1e12, output_usd_per_m: 1, until: soon}\n",
        entry("effective: 2026-01-01, until: 2026-06-01"),
        entry("effective: 2026-05-01"),
        entry("effective: 2026-07-01, until: 2026-07-01"),
        entry("effective: 2026-05-01T00:00:00Z"),
        entry("service_tier: default", "c"),
        entry("above: [{input_tokens: 9, input_usd_per_m: 1, output_usd_per_m: 1}, {input_tokens: 9, input_usd_per_m: 1, output_usd_per_m: -2}]", "d"),
    )
    assert [(key, line) for key, line, _ in found] == [
        ("prices[0].input_usd_per_m", 3),
        ("prices[0].output_usd_per_m", 3),
        ("prices[0].cache_write_usd_per_m", 3),
        ("prices[1].input_usd_per_m", 4),
        ("prices[1].until", 4),
        ("prices[3].effective", 6),
        ("prices[4].until", 7),
        ("prices[5]", 8),
        ("prices[6].service_tier", 9),
        ("prices[7].above[1].input_tokens", 10),
        ("prices[7].above[1].output_usd_per_m", 10),
    ]
    said = " ".join(message for _, _, message in found)
    for part in ("two prices at once", "never holds", "first in prices[3]", "leave service_tier out", "must be more than 9"):
        assert part in said


@pytest.mark.parametrize("text", ["prices: 7", "prices: [7, null, []]", "prices: {a: b}", "prices: [{above: 3}, {above: [1, {input_tokens: x}, null]}]"])
def test_wrong_shapes_are_problems_and_nothing_worse(tmp_path: Path, text: str) -> None:
    """Whatever stands there, the file is refused with problems that have a place."""
    with pytest.raises(ConfigError) as refused:
        loads(text, tmp_path / "breakeven.yaml", {})
    assert refused.value.problems
    assert all(problem.line == 1 for problem in refused.value.problems)
