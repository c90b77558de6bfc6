"""The `response` object of a translated answer: what it repeats of its request, and its usage. Pure; the output is composer.py's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from router.types import Usage

# Repeated as they were asked for, with the API's defaults.
_ECHOED: Mapping[str, Any] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
# What a function has that the request may leave out. `strict` null: nobody promised that arguments fit the schema.
_FUNCTION: Mapping[str, Any] = {"description": None, "parameters": None, "strict": None}


def interrupted(message: str) -> dict[str, Any]:
    """What the last event of an answer that broke off says, beside its type and number.

    Twice: flat as in OpenAI's specification, and below `error` as its servers send it. The official Python client, and all that is built on it, raises for the
    second form alone; with the first a broken answer just ends.
    """
    said = {"code": "stream_interrupted", "message": message, "param": None}
    return {**said, "error": {"type": "server_error", **said}}


def unfinished(body: Mapping[str, Any], ident: str, created: int) -> dict[str, Any]:
    """The object of an answer that has not begun; `created` in epoch seconds. `body` is the request as the client sent it."""
    echoed = {name: default if body.get(name) is None else body[name] for name, default in _ECHOED.items()}
    if echoed["service_tier"] == "auto":
        echoed["service_tier"] = "default"
    text, reasoning = body.get("text") or {}, body.get("reasoning") or {}
    return {
        "id": ident,
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "model": body.get("model", ""),
        "output": [],
        **echoed,
        "reasoning": {"effort": None, "summary": None, **reasoning},
        "text": {"verbosity": "medium", **text, "format": _format(text.get("format"))},
        "tools": [{"type": "function", **_FUNCTION, **tool} for tool in body.get("tools") or ()],
        "usage": None,
    }


def usage_of(usage: Usage | None) -> dict[str, Any] | None:
    """Tokens in the API's shape; None where the backend did not say."""
    if usage is None:
        return None
    return {
        "input_tokens": usage.input,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": usage.cache_write},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input + usage.output,
    }


def _format(asked: object) -> dict[str, Any]:
    if not isinstance(asked, dict) or not asked.get("type"):
        return {"type": "text"}
    return {"description": None, "strict": None, **asked} if asked["type"] == "json_schema" else dict(asked)
