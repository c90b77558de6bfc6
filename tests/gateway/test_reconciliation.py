"""Two accounts side by side: equal where they are, and every known reason where they are not."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from gateway.reconciliation import Ledger, compare
from gateway.store.asked import Spent
from gateway.store.tables import TOKEN_COLUMNS
from gateway.usage_export import Export, of_pages
from tests.gateway.test_usage_export import DAY, bucket, cost, page, used

LATER = 100.0 * DAY


def spent(requests: int, entered: int, made: int, nanousd: int = 0, **more: Any) -> Spent:
    tokens = dict.fromkeys(TOKEN_COLUMNS, 0) | {"input_tokens": entered, "output_tokens": made}
    return replace(Spent(requests, tokens, nanousd, 0, 0, 0), **more)


def export(*results: dict[str, Any], day: int = 3) -> Export:
    return of_pages([page(bucket(day, *results))], "f")


def judged(found: Export, ours: dict[tuple[int, str], Spent], tolerance: str = "0", cut: dict[int, int] | None = None, now: float = LATER) -> dict[str, Any]:
    return compare(found, Ledger(ours, ours, cut or {}), Decimal(tolerance), now)


def test_accounts_that_agree_are_ok() -> None:
    """To the token and the nano-dollar; a dated name of the same model is that model."""
    found = judged(
        export(used("m-2026-01-31", 2, 10, 4), cost("0.00000001", "m-2026-01-31, input"), cost("0.000000005", "m, output")), {(3, "m"): spent(2, 10, 4, 15)}
    )
    assert found["ok"]
    row = found["data"][0]
    assert (row["day"], row["model"], row["why"]) == ("1970-01-04", "m", [])
    assert (row["requests"], row["cost_nanousd"]) == ({"ledger": 2, "provider": 2, "difference": 0}, {"ledger": 15, "provider": 15, "difference": 0})
    assert row["audio_input_tokens"] is None
    assert "m-2026-01-31 is m in the ledger" in found["notes"]


def test_a_model_of_its_own_keeps_its_date() -> None:
    """Where the ledger has the dated name too, the two are two models."""
    found = judged(export(used("m-2026-01-31", 1, 1, 1), used("m", 1, 2, 2)), {(3, "m"): spent(1, 2, 2), (3, "m-2026-01-31"): spent(1, 1, 1)})
    assert found["ok"]
    assert len(found["data"]) == 2


@pytest.mark.parametrize(("tolerance", "ok"), [("0", False), ("0.009", False), ("0.01", True), ("1", True)])
def test_the_tolerance_is_a_share_of_the_larger_side(tolerance: str, ok: bool) -> None:
    """99 of 100 tokens are one per cent apart."""
    assert judged(export(used("m", 5, 100, 0)), {(3, "m"): spent(5, 99, 0)}, tolerance)["ok"] is ok


@pytest.mark.parametrize(
    ("theirs", "ours", "cut", "now", "part"),
    [
        (used("m", 3, 30, 3), spent(2, 20, 2), {}, LATER, "did not come through this gateway"),
        (used("m", 1, 10, 1), None, {}, LATER, "did not come through this gateway"),
        (used("m", 3, 30, 3), spent(2, 20, 2), {3: 1}, LATER, "1 exchanges of this day were cut off"),
        (used("m", 1, 10, 1), spent(2, 20, 2), {}, LATER, "the provider does not count"),
        (used("m", 2, 20, 5), spent(2, 20, 2, estimated=1), {}, LATER, "1 requests in the ledger are estimated"),
        (used("m", 2, 20, 5), spent(2, 10, 2, unmeasured=1), {}, LATER, "1 requests in the ledger have no usage"),
        (used("m", 2, 20, 5), spent(1, 10, 2), {}, 4.0 * DAY, "the day is not long over"),
    ],
)
def test_known_reasons_are_named(theirs: dict[str, Any], ours: Spent | None, cut: dict[int, int], now: float, part: str) -> None:
    """Each with what it may account for; a difference that interrupted requests explain is not called foreign traffic."""
    found = judged(export(theirs), {} if ours is None else {(3, "m"): ours}, cut=cut, now=now)
    assert not found["ok"]
    assert any(part in why for why in found["data"][0]["why"])
    assert not cut or not any("did not come through" in why for why in found["data"][0]["why"])


def test_another_price_is_told_from_other_traffic() -> None:
    """Usage agrees, dollars do not: it is the price book; without a price it is that."""
    theirs = export(used("m", 2, 20, 2), cost("0.00000003", "m, input"))
    assert any("the price book is not what was charged" in why for why in judged(theirs, {(3, "m"): spent(2, 20, 2, 20)})["data"][0]["why"])
    unpriced = judged(theirs, {(3, "m"): spent(2, 20, 2, 0, unpriced=2)})["data"][0]["why"]
    assert unpriced == ["2 requests in the ledger have no price: give it in prices:, then breakeven reprice"]


def test_dollars_by_day_alone_are_compared_by_day() -> None:
    """In a row of their own, against all models of that day; the rows of the models have none."""
    found = judged(export(used("m", 1, 1, 1), used("n", 1, 1, 1), cost("0.00000003", None)), {(3, "m"): spent(1, 1, 1, 10), (3, "n"): spent(1, 1, 1, 20)})
    assert found["ok"]
    assert [(row["model"], row["cost_nanousd"] and row["cost_nanousd"]["ledger"]) for row in found["data"]] == [(None, 30), ("m", None), ("n", None)]
    assert found["total"]["cost_usd"] == {"ledger": "0.00000003", "provider": "0.00000003", "difference": "0"}


def test_line_items_that_are_no_models_stand_alone() -> None:
    """A fee the ledger knows nothing of is a difference, and said to be one."""
    found = judged(export(cost(1, "web search tool calls")), {})
    assert not found["ok"]
    assert found["data"][0]["why"] == ["the ledger has nothing of this line item"]
    assert any("no usage in the export" in note for note in found["notes"])


def test_days_the_export_does_not_cover_are_not_compared() -> None:
    """With a gap between its buckets: said, and the day between is no difference."""
    covered = of_pages([page(bucket(3, used("m", 1, 1, 1)), bucket(5, used("m", 1, 1, 1)))], "f")
    assert covered.usage_spans == ((3 * DAY, 4 * DAY), (5 * DAY, 6 * DAY))
    found = judged(covered, {(day, "m"): spent(1, 1, 1) for day in (3, 4, 5)})
    assert (found["ok"], [row["day"] for row in found["data"]]) == (True, ["1970-01-04", "1970-01-06"])
    assert any("gaps" in note for note in found["notes"])


def test_a_kind_that_one_name_does_not_tell_is_not_compared() -> None:
    """Two dated names of one model, of which one tells no cached tokens."""
    theirs = export(used("m-2026-01-31", 1, 10, 1, input_cached_tokens=None), used("m-2026-02-28", 1, 10, 1, input_cached_tokens=5))
    row = judged(theirs, {(3, "m"): spent(2, 20, 2)})["data"][0]
    assert (row["within"], row["cached_tokens"]) == (True, None)
