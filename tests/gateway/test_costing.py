"""What a call used and cost: said by the provider, estimated and marked, or unknown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.call import Call, retry_after_s
from gateway.costing import all_hosted, attempt, price_call, total
from gateway.prices import PriceBook
from gateway.view import Backend
from router.types import Candidate, CostState, Decision, Features, Live, Price, Usage

PRICES = PriceBook()
PRICE = Price(1_000_000_000, 2_000_000_000)
HOSTED = Candidate("one/m", "hosted", "one", "m", price=PRICE)
FEATURES = Features(prompt_bytes=400, max_tokens=50)
LIVE = Live("one/m", ttft_ms=100.0, tpot_ms=10.0, output_tokens=20.0)


def call(candidate: Candidate = HOSTED, **more: Any) -> Call:
    made = Call(Backend(candidate, ("b",), {"b": "m"}, {}), "b", 1.0, 0.0)
    made.total_ms = 250.0
    for name, value in more.items():
        setattr(made, name, value)
    return made


def priced(made: Call, features: Features = FEATURES) -> tuple[Usage | None, str, int | None, str]:
    price_call(made, LIVE, features, PRICES, 1.0)
    return made.usage, made.usage_state, made.cost_nanousd, made.cost_state


def test_what_the_provider_says_counts() -> None:
    """Known usage and known price are a known cost."""
    assert priced(call(status=200, usage=Usage(10, 0, 5, 0))) == (Usage(10, 0, 5, 0), "provider", 20_000, "known")


def test_a_missing_usage_is_estimated_from_bytes() -> None:
    """By the learnt ratio, and said to be so."""
    assert priced(call(status=200, output_bytes=40)) == (Usage(100, 0, 10, 0), "estimated", 120_000, "estimated")


@pytest.mark.parametrize(
    "more",
    [{"status": 429, "error": "http_429"}, {"status": 500, "error": "http_500"}, {"error": "upstream_unreachable"}, {"error": "upstream_timeout:connect"}],
)
def test_a_refusal_is_free(more: dict[str, Any]) -> None:
    """Nothing was done, nothing is charged."""
    assert priced(call(**more)) == (Usage(), "provider", 0, "known")


def test_a_whole_answer_that_was_cut_off() -> None:
    """As many tokens as it usually makes in that time, within what was asked for."""
    cut = {"error": "client_gone"}
    assert priced(call(**cut))[0] == Usage(100, 0, 15, 0)
    assert priced(call(**cut, total_ms=50.0))[0] == Usage(100, 0, 0, 0)
    assert priced(call(**cut, total_ms=9000.0))[0] == Usage(100, 0, 20, 0)
    assert priced(call(**cut), replace(FEATURES, max_tokens=3))[0] == Usage(100, 0, 3, 0)
    assert priced(call(**cut), replace(FEATURES, stream=True))[0] == Usage(100, 0, 0, 0)


def test_local_answers_cost_no_hosted_dollars() -> None:
    """The GPU's share is booked elsewhere, by the minute."""
    local = replace(HOSTED, kind="local", price=None)
    assert priced(call(local, status=200, usage=Usage(10, 0, 5, 0)))[2:] == (0, "known")


def test_an_unknown_price_is_an_unknown_cost() -> None:
    """Never 0, never a guess."""
    assert priced(call(replace(HOSTED, price=None), status=200, usage=Usage(10, 0, 5, 0)))[2:] == (None, "unknown")


def test_the_row_of_a_call() -> None:
    """Everything is in it."""
    made = call(status=200, usage=Usage(10, 0, 5, 0), ttft_ms=30.0)
    priced(made)
    row = attempt(made)
    assert (row.backend, row.status, row.error, row.started, row.ttft_ms, row.total_ms, row.cost_nanousd, row.kind) == (
        "one/m",
        200,
        None,
        1.0,
        30.0,
        250.0,
        20_000,
        "hosted",
    )


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([], (0, "known")),
        ([(5, "known"), (7, "known")], (12, "known")),
        ([(5, "known"), (7, "estimated")], (12, "estimated")),
        ([(5, "estimated"), (None, "unknown")], (None, "unknown")),
    ],
)
def test_the_sum_is_as_sure_as_its_least_sure_part(parts: list[tuple[int | None, CostState]], expected: tuple[int | None, str]) -> None:
    """A failover's parts add up; one unknown makes the sum unknown."""
    assert total([call(cost_nanousd=cost, cost_state=state) for cost, state in parts]) == expected


def decision(*live: Live) -> Decision:
    return Decision("d", "r", (), None, (), FEATURES, live, "", 1.0, 0, "v")


def test_what_it_would_have_cost_hosted() -> None:
    """By the first hosted candidate's price; tokens are converted once both ratios are learnt, and nothing is made up before."""
    local = call(replace(HOSTED, backend="local", kind="local", price=None), usage=Usage(100, 0, 10, 0), usage_state="provider")
    first = call().backend

    def hosted(made: Call, backend: Backend | None, decided: Decision) -> int | None:
        return all_hosted(made, backend, decided, PRICES, 1.0)

    learnt = (Live("one/m", bytes_per_token=4.0, output_tokens=5.0), Live("local", bytes_per_token=2.0, output_tokens=5.0))
    assert hosted(local, first, decision(*learnt)) == 50 * 1000 + 5 * 2000
    assert hosted(local, first, decision(learnt[1])) == 100 * 1000 + 10 * 2000
    assert hosted(local, first, decision(replace(learnt[0], output_tokens=None), learnt[1])) == 120_000
    assert hosted(local, None, decision()) is None
    assert hosted(local, replace(first, candidate=replace(HOSTED, price=None)), decision()) is None
    assert hosted(call(usage=None), first, decision()) is None
    assert hosted(call(usage=Usage(1, 0, 1, 0), usage_state="provider", cost_nanousd=77), first, decision()) == 77


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after-ms": "1500", "retry-after": "7"}, 1.5),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:00 GMT"}, 50.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:01 GMT"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after-ms": "x", "retry-after": "2"}, 2.0),
        ({"retry-after": "inf"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], wait: float | None) -> None:
    """Seconds, milliseconds or a date; nonsense is no wait."""
    assert retry_after_s(headers, 10.0) == wait
