"""From errors to answers in OpenAI's shape."""

from __future__ import annotations

import orjson
import pytest

from gateway import http_errors
from router.errors import (
    AdapterRefused,
    AuthError,
    BreakevenError,
    ConfigError,
    DataError,
    GateRequired,
    LedgerError,
    LimitError,
    Problem,
    Reason,
    RequestError,
    StateError,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
)


def leaves(kind: type[BreakevenError]) -> set[type[BreakevenError]]:
    return {kind}.union(*(leaves(sub) for sub in kind.__subclasses__()))


EXAMPLES: list[tuple[BreakevenError, int, str, str | None]] = [
    (BreakevenError("x"), 500, "server_error", "internal_error"),
    (ConfigError("x", (Problem("p", "f", 3, "k"),)), 422, "invalid_request_error", "invalid_config"),
    (DataError("x"), 422, "invalid_request_error", "invalid_data"),
    (RequestError("x", param="n"), 400, "invalid_request_error", None),
    (RequestError("x", status=404, code="model_not_found"), 404, "invalid_request_error", "model_not_found"),
    (AuthError("x", status=401), 401, "invalid_request_error", "invalid_api_key"),
    (AuthError("x", status=403, code="insufficient_permissions"), 403, "permission_error", "insufficient_permissions"),
    (LimitError("x", retry_after_s=1.2), 429, "rate_limit_error", "rate_limit_exceeded"),
    (LimitError("x", retry_after_s=None, code="insufficient_quota"), 429, "insufficient_quota", "insufficient_quota"),
    (LimitError("x", retry_after_s=1, status=503, code="overloaded"), 503, "server_error", "overloaded"),
    (UpstreamError("x"), 502, "server_error", "upstream_error"),
    (UpstreamTimeout("x", phase="total"), 504, "server_error", "upstream_timeout"),
    (UpstreamRefused("x", status=500, body=b"oops"), 502, "server_error", "upstream_refused"),
    (AdapterRefused("x", (Reason("rank", "too high", "train with r=8"),)), 422, "invalid_request_error", "adapter_refused"),
    (GateRequired("x"), 409, "invalid_request_error", "gate_required"),
    (StateError("x"), 409, "invalid_request_error", "illegal_state"),
    (LedgerError("x"), 503, "server_error", "ledger_unavailable"),
]


@pytest.mark.parametrize(("error", "status", "kind", "code"), EXAMPLES, ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None)
def test_every_error_has_an_answer(error: BreakevenError, status: int, kind: str, code: str | None) -> None:
    """Status, type, param and code as OpenAI's clients expect them."""
    answer = http_errors.answer(error)
    said = orjson.loads(answer.body)["error"]
    assert (answer.status, said["type"], said["code"], said["param"]) == (status, kind, code, error.param)
    assert said["message"].startswith("x")
    assert (b"content-type", b"application/json") in answer.headers


def test_no_error_is_forgotten() -> None:
    """Every class of the tree is in the table above."""
    public = {kind for kind in leaves(BreakevenError) if not kind.__name__.startswith("_")}
    assert public == {type(error) for error, *_ in EXAMPLES}


def test_details_travel_along() -> None:
    """Reasons and problems are lists beside the message."""
    assert orjson.loads(http_errors.answer(EXAMPLES[13][0]).body)["error"]["reasons"] == [{"code": "rank", "message": "too high", "remedy": "train with r=8"}]
    assert orjson.loads(http_errors.answer(EXAMPLES[1][0]).body)["error"]["problems"] == [{"file": "f", "line": 3, "key": "k", "message": "p"}]


def test_waits_are_said_in_both_headers() -> None:
    """Retry-After is whole seconds, never 0; the finer header has the milliseconds."""
    assert http_errors.answer(LimitError("x", retry_after_s=1.2)).headers[1:] == [(b"retry-after", b"2"), (b"retry-after-ms", b"1200")]
    assert http_errors.retry_after(0.0)[0] == (b"retry-after", b"1")


OPENAI = b'{"error":{"message":"bad","type":"invalid_request_error","param":"n","code":"invalid_value"}}'


@pytest.mark.parametrize(
    ("status", "body", "expected", "code"),
    [
        (400, OPENAI, 400, "invalid_value"),
        (422, OPENAI, 422, "invalid_value"),
        (422, b'{"detail":[{"loc":["n"]}]}', 422, None),
        (404, b"<html>", 404, None),
        (429, OPENAI, 429, "invalid_value"),
        (429, b"slow down", 429, "rate_limit_exceeded"),
        (401, OPENAI, 502, "upstream_refused"),
        (403, OPENAI, 502, "upstream_refused"),
        (403, b'{"error":{"message":"x","code":"content_filter"}}', 403, "content_filter"),
        (400, b'{"message":"This model\'s maximum context length is 8 tokens","code":400}', 400, "context_length_exceeded"),
        (302, b"", 502, "upstream_refused"),
    ],
)
def test_what_an_upstream_refused(status: int, body: bytes, expected: int, code: str | None) -> None:
    """The client's mistakes come back as they are; ours with the provider are a 502; every body is OpenAI's shape."""
    answer = http_errors.answer(UpstreamRefused("one/m answered", status=status, body=body))
    said = orjson.loads(answer.body)["error"]
    assert answer.status == expected
    assert said["code"] == code
    assert isinstance(said["message"], str)
    assert said["message"]


def test_what_a_body_says() -> None:
    """Message and code of error bodies in every shape that was seen."""
    assert http_errors.said(b'{"error":{"message":"m","code":"c"}}') == ("m", "c")
    assert http_errors.said(b'{"object":"error","message":"m","code":400}') == ("m", None)
    assert http_errors.said(b'{"detail":"m"}') == ("m", None)
    assert http_errors.said(b'{"error":"m"}') == ("m", None)
    assert http_errors.said(b"[1]") == ("[1]", None)
    assert http_errors.said(b"\xff oops ")[0].endswith("oops")
