"""The input file: what is read, and every problem with its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.batches import lines
from gateway.batches.lines import request_of, scan
from tests.gateway.batches.conftest import CHAT, jsonl, line


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "in.jsonl"


def test_lines_are_found_where_they_are(path: Path) -> None:
    """Blank lines, Windows ends, a mark at the start and a missing last line feed are no fault; each line is read back from its place."""
    first, second, third = (json.dumps(line(number, text="ü\u2028")).encode() for number in range(3))
    path.write_bytes(b"\xef\xbb\xbf" + first + b"\r\n\n  \n" + second + b"\n" + third)
    found = scan(path, CHAT)
    assert found.problems == []
    assert [(each.number, each.custom_id) for each in found.lines] == [(1, "id-0"), (4, "id-1"), (5, "id-2")]
    data = path.read_bytes()
    for each, number in zip(found.lines, range(3), strict=True):
        custom_id, body = request_of(data[each.offset : each.offset + each.length])
        assert (custom_id, json.loads(body)) == (f"id-{number}", line(number)["body"])


def body(**changes: object) -> dict[str, object]:
    return {**line(1)["body"], **changes}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"", [(None, "empty_file", None)]),
        (b"\n \n", [(None, "empty_file", None)]),
        (b"{", [(1, "invalid_json_line", None)]),
        (b"[1]", [(1, "invalid_json_line", None)]),
        (b'"\xc3"', [(1, "invalid_json_line", None)]),
        (jsonl({}), [(1, "missing_required_parameter", param) for param in ("custom_id", "method", "url", "body")]),
        (jsonl(line(1, custom_id=7)), [(1, "invalid_value", "custom_id")]),
        (jsonl(line(1, custom_id="")), [(1, "invalid_value", "custom_id")]),
        (jsonl(line(1, custom_id="x" * 513)), [(1, "invalid_value", "custom_id")]),
        (jsonl(line(1), line(2), line(1)), [(3, "duplicate_custom_id", "custom_id")]),
        (jsonl(line(1, method="post")), [(1, "invalid_method", "method")]),
        (jsonl(line(1, url="/v1/completions")), [(1, "url_mismatch", "url")]),
        (jsonl(line(1, body=[])), [(1, "invalid_type", "body")]),
        (jsonl(line(1, body=body(model=None))), [(1, "missing_required_parameter", "body.model")]),
        (jsonl(line(1, body=body(messages=[]))), [(1, "empty_array", "body.messages")]),
        (jsonl(line(1, body=body(n=10_000))), [(1, "integer_above_max_value", "body.n")]),
        (jsonl(line(1, body=body(deep=json.loads("[" * 300 + "]" * 300)))), [(1, "invalid_json_line", "body")]),
        (jsonl(line(1, body=body(stream=True))), [(1, "invalid_value", "body.stream")]),
        (jsonl(line(1, body=body(stream="yes"))), [(1, "invalid_value", "body.stream"), (1, "invalid_type", "body.stream")]),
    ],
)
def test_what_is_wrong(path: Path, text: bytes, found: list[tuple[int | None, str, str | None]]) -> None:
    """Each problem has its line, its code and its parameter, and says something."""
    path.write_bytes(text)
    problems = scan(path, CHAT).problems
    assert [(problem["line"], problem["code"], problem["param"]) for problem in problems] == found
    assert all(problem["message"] for problem in problems)


NAMES = st.sampled_from(["model", "messages", "content", "input", "role", "stream", "n"]) | st.text()
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner),
    max_leaves=12,
)
requests = st.fixed_dictionaries({"custom_id": anything, "method": st.just("POST") | anything, "url": st.just(CHAT) | anything, "body": anything})


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(requests.map(lambda each: json.dumps(each).encode()) | st.binary(max_size=40), max_size=5), st.sampled_from(sorted(lines.ENDPOINTS)))
def test_no_file_breaks_it(path: Path, texts: list[bytes], url: str) -> None:
    """Whatever stands in a file, it is read to its end, and each line is either a request that can be sent or a problem."""
    path.write_bytes(b"\n".join(texts))
    data = path.read_bytes()
    found = scan(path, url)
    for each in found.lines:
        assert request_of(data[each.offset : each.offset + each.length])[0] == each.custom_id
    wrong = {problem["line"] for problem in found.problems}
    assert not wrong & {each.number for each in found.lines}
    assert all(number in wrong or number in {each.number for each in found.lines} for number, text in enumerate(data.split(b"\n"), 1) if text.strip())


def test_all_lines_are_judged(path: Path) -> None:
    """Every second of a thousand is wrong: all five hundred are named, and the others are kept."""
    path.write_bytes(b"".join(b"oops\n" if number % 2 else jsonl(line(number)) for number in range(1000)))
    found = scan(path, CHAT)
    assert [problem["line"] for problem in found.problems] == list(range(2, 1001, 2))
    assert len(found.lines) == 500


def test_no_more_problems_than_anyone_can_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a bound they are counted."""
    monkeypatch.setattr(lines, "MOST_PROBLEMS", 3)
    path.write_bytes(b"oops\n" * 10)
    problems = scan(path, CHAT).problems
    assert [problem["line"] for problem in problems] == [1, 2, 3, None]
    assert problems[-1]["message"] == "7 more problems are not listed; mend these first."


def test_too_many_lines(path: Path) -> None:
    """More than OpenAI takes: the number is said."""
    path.write_bytes(jsonl(*(line(number) for number in range(lines.MOST_LINES + 1))))
    (problem,) = scan(path, CHAT).problems
    assert (problem["code"], problem["line"]) == ("too_many_tasks", None)
    assert "has 50001 requests" in problem["message"]


def test_too_long_a_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named and passed over, however long; the lines behind it are judged as ever."""
    monkeypatch.setattr(lines, "MOST_LINE_BYTES", 1024)
    path.write_bytes(jsonl(line(1)) + b"x" * 10_000 + b"\n" + jsonl(line(2)) + b"y" * 5_000)
    found = scan(path, CHAT)
    assert [(problem["line"], problem["code"]) for problem in found.problems] == [(2, "line_too_large"), (4, "line_too_large")]
    data = path.read_bytes()
    assert [request_of(data[each.offset :].splitlines()[0])[0] for each in found.lines] == ["id-1", "id-2"]


def test_too_large_a_file(path: Path) -> None:
    """It is not read at all."""
    with path.open("wb") as file:
        file.truncate(lines.MOST_FILE_BYTES + 1)
    assert [problem["code"] for problem in scan(path, CHAT).problems] == ["file_too_large"]
