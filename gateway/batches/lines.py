"""The input file of a batch: each line's request, and everything that is wrong with the file, all at once, each with its line.

Reads line by line in bounded memory. The codes are OpenAI's where it has one. Not here: sending anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson

from gateway import ask_bounds
from gateway.wire import PATHS, Endpoint, parse
from router.errors import RequestError

# What a batch may ask for. OpenAI's other batch endpoints (moderations, images, videos) are not routed here.
ENDPOINTS: dict[str, Endpoint] = {f"/v1{path}": name for name, path in PATHS.items()}
MOST_LINES = 50_000
MOST_FILE_BYTES = 200 * 1024 * 1024
MOST_LINE_BYTES = 16 * 1024 * 1024
# So many problems are listed one by one; what is beyond is counted.
MOST_PROBLEMS = 10_000
_MOST_ID = 512
_BOM = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """Where a request stands in the file: its line (from 1), its bytes, and the id its answer will carry."""

    number: int
    offset: int
    length: int
    custom_id: str


@dataclass(slots=True)
class Scan:
    """What a file holds. `problems` are `{code, message, param, line}`; without any, `lines` are all there are."""

    lines: list[Line] = field(default_factory=list)
    problems: list[dict[str, Any]] = field(default_factory=list)
    beyond: int = 0

    def wrong(self, line: int | None, code: str, message: str, param: str | None = None) -> None:
        """Note a problem."""
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append({"code": code, "message": message, "param": param, "line": line})
        else:
            self.beyond += 1

    def finish(self) -> Scan:
        """Say how many problems are not listed."""
        if self.beyond:
            self.problems.append(
                {"code": "too_many_problems", "message": f"{self.beyond} more problems are not listed; mend these first.", "param": None, "line": None}
            )
        return self


def scan(path: Path, url: str) -> Scan:
    """Read a file whose requests all go to `url`. Blocking: up to seconds for a file of the largest size."""
    found = Scan()
    size = path.stat().st_size
    if size > MOST_FILE_BYTES:
        found.wrong(None, "file_too_large", f"The input file has {size} bytes; a batch takes {MOST_FILE_BYTES} at most. Split it into several batches.")
        return found
    seen: dict[str, int] = {}
    requests = 0
    with path.open("rb") as file:
        for number, offset, text in _texts(file, found):
            requests += 1
            if requests <= MOST_LINES:
                _check(found, Line(number, offset, len(text), ""), text, url, seen)
    if requests > MOST_LINES:
        found.wrong(None, "too_many_tasks", f"The batch has {requests} requests; it may have {MOST_LINES} at most. Split it into several batches.")
    elif requests == 0 and not found.problems:
        found.wrong(None, "empty_file", "The input file has no requests in it.")
    return found.finish()


def request_of(text: bytes) -> tuple[str, bytes]:
    """The custom id and the body to send of a line that `scan` found right."""
    parsed = orjson.loads(text)
    return parsed["custom_id"], orjson.dumps(parsed["body"])


def _texts(file: BinaryIO, found: Scan) -> Iterator[tuple[int, int, bytes]]:
    """(line number, offset, bytes without the line's end) of each line that is not blank. Too long ones are noted and passed over."""
    number = offset = 0
    while text := file.readline(MOST_LINE_BYTES + 1):
        number += 1
        begin, size = offset, len(text)
        if size > MOST_LINE_BYTES and not text.endswith(b"\n"):
            while rest := file.readline(MOST_LINE_BYTES):
                size += len(rest)
                if rest.endswith(b"\n"):
                    break
            message = f"This line is longer than {MOST_LINE_BYTES // 1024**2} MiB; refer to large inputs by URL."
            found.wrong(number, "line_too_large", message)
            offset += size
            continue
        offset += size
        if number == 1 and text.startswith(_BOM):
            text, begin = text[len(_BOM) :], begin + len(_BOM)
        text = text.rstrip(b"\r\n")
        if text.strip():
            yield number, begin, text


def _check(found: Scan, line: Line, text: bytes, url: str, seen: dict[str, int]) -> None:
    parsed = _object(found, line.number, text)
    if parsed is None:
        return
    before = len(found.problems) + found.beyond
    custom_id = _custom_id(found, line.number, parsed.get("custom_id"), seen)
    if parsed.get("method") is None:
        found.wrong(line.number, "missing_required_parameter", "Missing required parameter: 'method'.", "method")
    elif parsed["method"] != "POST":
        found.wrong(line.number, "invalid_method", "The method of every request must be 'POST'.", "method")
    if parsed.get("url") is None:
        found.wrong(line.number, "missing_required_parameter", "Missing required parameter: 'url'.", "url")
    elif parsed["url"] != url:
        found.wrong(line.number, "url_mismatch", f"The URL of this request is not the batch's endpoint, {url}.", "url")
    _body(found, line.number, parsed.get("body"), ENDPOINTS[url])
    if custom_id is not None and len(found.problems) + found.beyond == before:
        found.lines.append(line._replace(custom_id=custom_id))


def _object(found: Scan, number: int, text: bytes) -> dict[str, Any] | None:
    try:
        text.decode()
    except UnicodeDecodeError as error:
        found.wrong(number, "invalid_json_line", f"This line is not valid UTF-8 (byte {error.start + 1} of the line).")
        return None
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        found.wrong(number, "invalid_json_line", f"This line is not parseable as valid JSON: {error}.")
        return None
    if not isinstance(parsed, dict):
        found.wrong(number, "invalid_json_line", "This line is not a JSON object.")
        return None
    return parsed


def _custom_id(found: Scan, number: int, value: object, seen: dict[str, int]) -> str | None:
    if value is None:
        found.wrong(number, "missing_required_parameter", "Missing required parameter: 'custom_id'.", "custom_id")
        return None
    if not isinstance(value, str) or not 1 <= len(value) <= _MOST_ID:
        found.wrong(number, "invalid_value", f"'custom_id' must be a text of 1 to {_MOST_ID} characters.", "custom_id")
        return None
    first = seen.setdefault(value, number)
    if first != number:
        found.wrong(number, "duplicate_custom_id", f"The custom_id {value[:100]!r} is already used on line {first}.", "custom_id")
    return value


def _body(found: Scan, number: int, body: object, endpoint: Endpoint) -> None:
    if body is None:
        found.wrong(number, "missing_required_parameter", "Missing required parameter: 'body'.", "body")
        return
    if not isinstance(body, dict):
        found.wrong(number, "invalid_type", "Invalid type for 'body': expected an object.", "body")
        return
    if body.get("stream"):
        found.wrong(number, "invalid_value", "Answers of a batch cannot be streamed: leave 'stream' out.", "body.stream")
    try:
        raw = orjson.dumps(body)
        ask_bounds.check(parse(raw, endpoint).body, raw)
    except orjson.JSONEncodeError:
        found.wrong(number, "invalid_json_line", "The body is nested too deeply: keep it within 200 levels.", "body")
    except RequestError as error:
        found.wrong(number, error.code, error.message, f"body.{error.param}" if error.param else "body")
