"""The sandbox's error answers, in OpenAI's words, and the check that a request is well-formed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.sandbox.faults import Fault, FaultName

HTML_502 = b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><center><h1>502 Bad Gateway</h1></center></body>\r\n</html>\r\n"


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error answer: status, body and the headers it needs beside the usual ones."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = (("content-type", "application/json"),)


def refusal(status: int, message: str, kind: str, code: str | None, param: str | None = None) -> Refusal:
    """An error in OpenAI's shape."""
    return Refusal(status, orjson.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}}))


def invalid(message: str, param: str | None = None, code: str | None = None) -> Refusal:
    """400 for a request that is not well-formed."""
    return refusal(400, message, "invalid_request_error", code, param)


def wrong_key(sent: str) -> Refusal:
    """401, with as much of the key as OpenAI shows."""
    if not sent:
        return refusal(401, "You didn't provide an API key. Send it in an Authorization header: Bearer YOUR_KEY.", "invalid_request_error", None)
    shown = f"{sent[:8]}{'*' * 8}{sent[-4:]}" if len(sent) > 16 else "*" * len(sent)
    return refusal(401, f"Incorrect API key provided: {shown}.", "invalid_request_error", "invalid_api_key")


def unknown_model(name: object) -> Refusal:
    """404 in OpenAI's words."""
    return refusal(404, f"The model `{name}` does not exist or you do not have access to it.", "invalid_request_error", "model_not_found", "model")


def unknown_url(method: str, path: str) -> Refusal:
    """404 for anything the sandbox does not have."""
    return refusal(404, f"Invalid URL ({method} {path})", "invalid_request_error", None)


def too_long(limit: int, tokens: int) -> Refusal:
    """400 in OpenAI's words."""
    message = (
        f"This model's maximum context length is {limit} tokens. However, your messages resulted in {tokens} tokens. Please reduce the length of the messages."
    )
    return invalid(message, "messages", "context_length_exceeded")


def rate_limited(what: str, model: str, limit: int, retry_after_s: float | None) -> Refusal:
    """429. `what` is "requests" or "tokens" per minute."""
    again = "" if retry_after_s is None else f" Please try again in {retry_after_s:g}s."
    answer = refusal(429, f"Rate limit reached for {model} on {what} per min: Limit {limit}.{again}", what, "rate_limit_exceeded")
    if retry_after_s is None:
        return answer
    wait = (("retry-after", str(max(1, -int(-retry_after_s // 1)))), ("retry-after-ms", str(int(retry_after_s * 1000))))
    return Refusal(answer.status, answer.body, answer.headers + wait)


def of_fault(fault: Fault, model: str, context_tokens: int, prompt_tokens: int) -> Refusal | None:
    """The error answer of a fault; None for faults that are no error answer."""
    match fault.name:
        case FaultName.RATE_LIMIT:
            return rate_limited("requests", model, 500, None)
        case FaultName.RATE_LIMIT_RETRY_AFTER:
            return rate_limited("requests", model, 500, fault.retry_after_s)
        case FaultName.HTML_502:
            return Refusal(502, HTML_502, (("content-type", "text/html"),))
        case FaultName.CONTEXT_LENGTH:
            return too_long(context_tokens, max(prompt_tokens, context_tokens + 1))
        case FaultName.BAD_KEY:
            return wrong_key("sandbox-fault-bad-key")
        case _:
            return _FIXED.get(fault.name)


_FIXED: Mapping[FaultName, Refusal] = {
    FaultName.QUOTA: refusal(429, "You exceeded your current quota, please check your plan and billing details.", "insufficient_quota", "insufficient_quota"),
    FaultName.SERVER_ERROR: refusal(500, "The server had an error while processing your request. Sorry about that!", "server_error", None),
    FaultName.UNAVAILABLE: refusal(503, "The engine is currently overloaded, please try again later.", "server_error", "overloaded"),
    FaultName.CONTENT_FILTER: Refusal(
        400,
        orjson.dumps(
            {
                "error": {
                    "message": "The response was filtered due to the prompt triggering a content management policy. Please modify your prompt and retry.",
                    "type": None,
                    "param": "prompt",
                    "code": "content_filter",
                    "status": 400,
                    "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"violence": {"filtered": True, "severity": "medium"}}},
                }
            }
        ),
    ),
    FaultName.PREFILL_REJECT: invalid("This model does not support assistant message prefill. The conversation must end with a user message.", "messages"),
}


def check_chat(body: Mapping[str, Any]) -> Refusal | None:
    """What is wrong with a chat request; None when nothing is."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        return invalid("Missing required parameter: 'messages'.", "messages", "missing_required_parameter")
    if not messages:
        return invalid("Invalid 'messages': empty array. Expected an array with minimum length 1.", "messages", "empty_array")
    for number, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            return invalid(f"Missing required parameter: 'messages[{number}].role'.", f"messages[{number}].role", "missing_required_parameter")
    return check_limits(body)


def check_limits(body: Mapping[str, Any]) -> Refusal | None:
    """What is wrong with the numbers of a request."""
    for name in ("max_tokens", "max_completion_tokens", "n"):
        value = body.get(name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            return invalid(f"Invalid '{name}': expected an integer of at least 1.", name, "invalid_value")
    if body.get("stream_options") is not None and not body.get("stream"):
        return invalid("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
    return None
