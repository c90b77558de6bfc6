"""Usage exports: read exactly, in every form they come in, with every problem at its line."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.usage_export import KINDS, nanousd, of_pages, read
from router.errors import DataError

DAY = 86_400


def bucket(day: int, *results: dict[str, Any], start: int = 0, seconds: int = DAY) -> dict[str, Any]:
    return {"object": "bucket", "start_time": day * DAY + start, "end_time": day * DAY + start + seconds, "results": list(results)}


def page(*buckets: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"object": "page", "data": list(buckets), "has_more": False, "next_page": None, **more}


def used(model: str | None, requests: int, entered: int, made: int, **more: Any) -> dict[str, Any]:
    usual = {"object": "organization.usage.completions.result", "num_model_requests": requests, "input_tokens": entered, "output_tokens": made, "model": model}
    return {**usual, "input_cached_tokens": 0, **more}


def cost(value: Any, item: str | None, currency: str = "usd") -> dict[str, Any]:
    return {"object": "organization.costs.result", "amount": {"value": value, "currency": currency}, "line_item": item, "project_id": None}


WHOLE = [
    page(bucket(3, used("m", 1, 10, 2, input_audio_tokens=4, input_cached_audio_tokens=1), start=0, seconds=3600)),
    page(bucket(3, used("m", 2, 20, 3, input_audio_tokens=None, service_tier="flex"), used("n", 1, 1, 1), start=3600, seconds=3600)),
    page(bucket(3, {"object": "organization.usage.embeddings.result", "num_model_requests": 4, "input_tokens": 7, "model": "e"})),
    page(bucket(3, cost(0.06, "m, input"), cost("0.000000001", "m, output_tokens"), cost(1, "web search"), cost(2, None)), bucket(4)),
]


@pytest.mark.parametrize(
    "text",
    [json.dumps(WHOLE), json.dumps({"usage": WHOLE[:3], "costs": WHOLE[3]}, indent=2), "\n".join(map(json.dumps, WHOLE)) + "\n\n"],
    ids=["a list", "an object", "one a line"],
)
def test_every_form_is_read_alike(text: str) -> None:
    """Hours are added up to days, tiers to models, line items to models; money is exact."""
    found = read(text, "usage.json")
    assert {key: (billed.requests, billed.tokens["input_tokens"]) for key, billed in found.usage.items()} == {
        (3, "m"): (3, 30),
        (3, "n"): (1, 1),
        (3, "e"): (4, 7),
    }
    assert found.costs == {(3, "m"): Decimal("0.060000001"), (3, "web search"): Decimal(1), (3, None): Decimal(2)}
    assert (found.usage_spans, found.cost_spans) == (((3 * DAY, 5 * DAY),), ((3 * DAY, 5 * DAY),))
    assert "audio_input_tokens" not in found.usage[3, "m"].tokens  # one of the hours does not tell it
    assert found.usage[3, "e"].tokens == dict.fromkeys(KINDS, 0) | {"input_tokens": 7}


def test_what_is_not_told_is_not_zero() -> None:
    """A kind that the export leaves out is absent, so that it is not compared."""
    found = of_pages([page(bucket(1, used("m", 1, 10, 2)))], "https://p")
    assert set(found.usage[1, "m"].tokens) == {"input_tokens", "cached_tokens", "output_tokens"}
    assert found.cost_spans == ()


def test_what_is_left_out_is_said() -> None:
    """Other endpoints' usage, and an export that ends early."""
    other = {"object": "organization.usage.images.result", "images": 3}
    found = read(json.dumps(page(bucket(1, used("m", 1, 1, 1), other), has_more=True)), "f")
    assert any("images" in note for note in found.notes)
    assert any("has_more" in note for note in found.notes)


def test_every_problem_is_said_with_its_line() -> None:
    """Wrong numbers, no model, other currencies, buckets across days, unknown objects: all at once, each where it stands."""
    wrong = [
        used("m", -1, 10, 2),
        used(None, -2, 1, 1),
        used("m", 1, True, 1.5),
        cost("lots", "m, input"),
        cost(1, "m, input", "eur"),
        cost(None, None),
        {"object": "thing"},
        7,
    ]
    text = json.dumps(page(bucket(1, *wrong), bucket(1, seconds=DAY + 1), {"results": []}, {"start_time": 1}, "x"), indent=1)
    with pytest.raises(DataError) as refused:
        read(text, "usage.json")
    lines = text.splitlines()
    found = [(problem.key, problem.line) for problem in refused.value.problems]
    assert [key for key, _ in found] == [
        "data[0].results[0].num_model_requests",
        "data[0].results[1].model",
        "data[0].results[1].num_model_requests",
        "data[0].results[2].input_tokens",
        "data[0].results[2].output_tokens",
        "data[0].results[3].amount.value",
        "data[0].results[4].amount.currency",
        "data[0].results[5].amount.value",
        "data[0].results[6]",
        "data[0].results[7]",
        "data[1]",
        "data[2].start_time",
        "data[2].end_time",
        "data[3]",
        "data[4]",
    ]
    assert '"num_model_requests": -1' in lines[(found[0][1] or 0) - 1]
    assert "eur" in lines[(found[6][1] or 0) - 1]
    assert all(problem.file == "usage.json" and problem.message for problem in refused.value.problems)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", [1]),
        ("{", [1]),
        ('{"data":\n[}', [2]),
        (json.dumps(page(bucket(1, used("m", 1, 1, 1)))) + "\n{nope\n" + json.dumps(page(bucket(1, used("", 1, 1, 1)))), [2, 3]),
        ("[]", [1]),
        ("{}", [1]),
        ("null", [None]),
        ('"text"', [1]),
        (json.dumps(page()), [None]),
        (json.dumps({"data": 5}), [1]),
        ("[" * 5000, [1]),
        ("1" * 5000, [1]),
        (
            '{"object": "page", "data": [{"start_time": 0, "end_time": 60, "results": [{"object": "organization.costs.result", "amount": {"value": NaN}}]}]}',
            [1],
        ),
    ],
)
def test_what_is_no_export_is_refused(text: str, lines: list[int | None]) -> None:
    """Broken files and other shapes end in problems with places, never in an exception of another kind."""
    with pytest.raises(DataError) as refused:
        read(text, "f")
    assert [problem.line for problem in refused.value.problems] == lines


_KEYS = ("data", "results", "object", "start_time", "end_time", "amount", "value", "currency", "line_item", "model")
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, DAY * 9) | st.floats() | st.text(max_size=3) | st.sampled_from(["organization.costs.result", "bucket", "usd"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=5),
    max_leaves=12,
)


@given(_JSON, st.booleans(), st.sampled_from(["", " ", "{", "\n", ","]))
def test_whatever_stands_in_a_file_it_is_an_export_or_a_list_of_problems(value: Any, pretty: bool, tail: str) -> None:
    """Nothing else ever comes out."""
    problems: tuple[object, ...] = ()
    found = None
    try:
        found = read(json.dumps(value, indent=1 if pretty else None) + tail, "f")
    except DataError as error:
        problems = error.problems
    assert problems or (found is not None and (found.usage or found.costs))


def test_nano_dollars_are_rounded_once() -> None:
    """A finer amount goes to the even neighbour."""
    assert [nanousd(Decimal(text)) for text in ("0.06", "0.0000000005", "0.0000000015", "-0.0000000025", "1e3")] == [60_000_000, 0, 2, -2, 10**12]
