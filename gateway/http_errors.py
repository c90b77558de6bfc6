"""The error tree as a client sees it: one function from an error to status, headers and a body in OpenAI's shape. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import orjson

from router.errors import (
    AdapterRefused,
    BreakevenError,
    ConfigError,
    DataError,
    GateRequired,
    LedgerError,
    LimitError,
    RequestError,
    StateError,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
)

Headers = list[tuple[bytes, bytes]]
_JSON = (b"content-type", b"application/json")
_TYPES = {401: "invalid_request_error", 403: "permission_error", 404: "invalid_request_error", 429: "rate_limit_error"}
_CONTEXT_WORDS = ("maximum context length", "context_length_exceeded", "maximum model length", "max_model_len", "longer than the maximum")

_FILTER_WORDS = (b"content_filter", b"content_policy", b"responsibleaipolicy", b"content management policy")


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """What is sent: `code` is kept apart for metrics and the ledger."""

    status: int
    body: bytes
    headers: Headers
    code: str | None


def body(message: str, kind: str, *, param: str | None = None, code: str | None = None, **more: object) -> bytes:
    """An error in OpenAI's shape."""
    return orjson.dumps({"error": {"message": message, "type": kind, "param": param, "code": code, **more}})


def answer(error: BreakevenError) -> ErrorAnswer:
    """The answer for an error. Nothing internal shows: messages of the tree are written for clients."""
    if isinstance(error, UpstreamError):
        return _upstream(error)
    status = _status(error)
    headers: Headers = [_JSON]
    code: str | None = error.code
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    if isinstance(error, LimitError):
        if error.retry_after_s is not None:
            headers += retry_after(error.retry_after_s)
        kind = "insufficient_quota" if code == "insufficient_quota" else kind
    if code == RequestError.code:
        code = None  # OpenAI leaves the code empty where the type says it all
    more: dict[str, object] = {"reasons": [reason.as_dict() for reason in error.reasons]} if isinstance(error, AdapterRefused) else {}
    if isinstance(error, ConfigError | DataError):
        more = {"problems": [problem.as_dict() for problem in error.problems]}
    return ErrorAnswer(status, body(error.message, kind, param=error.param, code=code, **more), headers, code)


def retry_after(seconds: float) -> Headers:
    """`Retry-After` in whole seconds, and OpenAI's finer one."""
    return [(b"retry-after", str(max(1, math.ceil(seconds))).encode()), (b"retry-after-ms", str(max(1, math.ceil(seconds * 1000))).encode())]


def is_context_error(text: bytes) -> bool:
    """Whether an upstream's 400 says that the prompt is too long, in OpenAI's or vLLM's words."""
    lowered = text[:4000].decode("utf-8", "replace").lower()
    return any(words in lowered for words in _CONTEXT_WORDS)


def is_content_filter(text: bytes) -> bool:
    """Whether a refusal is a judgement about the content, in the words of OpenAI, Azure and their like."""
    lowered = text[:8000].lower()
    return any(words in lowered for words in _FILTER_WORDS)


def context_too_long(message: str, param: str = "messages") -> RequestError:
    """The error OpenAI gives for a prompt that does not fit."""
    return RequestError(message, status=400, code="context_length_exceeded", param=param)


def said(raw: bytes) -> tuple[str, str | None]:
    """(message, code) of an upstream's error body, whatever its shape; the message is cut to a length fit for people."""
    try:
        parsed = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return raw[:300].decode("utf-8", "replace").strip(), None
    inner = parsed.get("error", parsed) if isinstance(parsed, dict) else parsed
    if not isinstance(inner, dict):
        return str(inner)[:500], None
    message = inner.get("message") or inner.get("detail") or ""
    code = inner.get("code")
    return str(message)[:500], code if isinstance(code, str) else None


def _status(error: BreakevenError) -> int:
    if isinstance(error, RequestError):
        return error.status
    if isinstance(error, AdapterRefused | ConfigError | DataError):
        return 422
    if isinstance(error, GateRequired | StateError):
        return 409
    return 503 if isinstance(error, LedgerError) else 500


def _upstream(error: UpstreamError) -> ErrorAnswer:
    if isinstance(error, UpstreamRefused):
        return _refused(error)
    status = 504 if isinstance(error, UpstreamTimeout) else 502
    return ErrorAnswer(status, body(error.message, "server_error", code=error.code), [_JSON], error.code)


def _refused(error: UpstreamRefused) -> ErrorAnswer:
    """A request error goes to the client as it is; a rate limit keeps its wait; what is wrong between us and the provider is a 502."""
    message, code = said(error.body)
    if error.status == 400 and is_context_error(error.body):
        return answer(context_too_long(message))
    headers: Headers = [_JSON]
    if error.status == 429:
        if error.retry_after_s is not None:
            headers += retry_after(error.retry_after_s)
        return ErrorAnswer(
            429, error.body if _is_openai_shaped(error.body) else body(message or error.message, "rate_limit_error", code=LimitError.code), headers, code
        )
    if 400 <= error.status < 500 and (error.status not in {401, 402, 403, 407, 408} or is_content_filter(error.body)):
        shaped = error.body if _is_openai_shaped(error.body) else body(message or error.message, "invalid_request_error", code=code)
        return ErrorAnswer(error.status, shaped, headers, code)
    return ErrorAnswer(502, body(f"{error.message}: {message}" if message else error.message, "server_error", code=error.code), headers, error.code)


def _is_openai_shaped(raw: bytes) -> bool:
    try:
        parsed = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return False
    inner = parsed.get("error") if isinstance(parsed, dict) else None
    return isinstance(inner, dict) and isinstance(inner.get("message"), str)
