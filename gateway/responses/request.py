"""A Responses request in chat's words. Pure; RequestError in OpenAI's words for values of the wrong type.

Fields that neither API has are passed on as they are: they may mean something to the backend. Whether all of a request can be said in chat's words is
router.responses' to say, and who may answer it otherwise the router's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway import complaint
from gateway.responses import items
from router.errors import RequestError

# Of the Responses API itself, whether it has a counterpart below or means nothing to a chat.
_FIELDS = frozenset(
    {
        *("access_programs", "background", "background_options", "context_management", "conversation", "image", "include", "input", "instructions"),
        *("max_output_tokens", "max_tool_calls", "messages", "metadata", "model", "n", "moderation", "parallel_tool_calls", "previous_response_id", "prompt"),
        *("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "reasoning", "safety_identifier", "service_tier", "store", "stream"),
        *("stream_options", "temperature", "text", "tool_choice", "tools", "top_logprobs", "top_p", "truncation", "user"),
    }
)
_SAME = ("temperature", "top_p", "user")
_LOGPROBS = "message.output_text.logprobs"


def check(body: Mapping[str, Any]) -> None:
    """Whether there is something to answer, and the types of what is read here. RequestError."""
    if all(body.get(name) is None for name in ("input", "previous_response_id", "prompt", "conversation")):
        message = "One of \"input\" or \"previous_response_id\" or 'prompt' or 'conversation_id' must be provided."
        raise RequestError(message, param="input", code="missing_required_parameter")
    given = body.get("input")
    if given is not None and not isinstance(given, str | list):
        raise complaint.wrong_type("input", "one of a string or an array of objects", given)
    for name in ("instructions", "previous_response_id"):
        if body.get(name) is not None:
            complaint.text(dict(body), name)
    for name in ("text", "reasoning", "metadata"):
        complaint.mapping(body.get(name), name)
    store = body.get("store")
    if store is not None and not isinstance(store, bool):
        raise complaint.wrong_type("store", "a boolean", store)


def wants_logprobs(body: Mapping[str, Any]) -> bool:
    """Whether the answer's text is to carry log-probabilities."""
    include = body.get("include")
    return bool(body.get("top_logprobs")) or (isinstance(include, list) and _LOGPROBS in include)


def to_chat(body: Mapping[str, Any]) -> dict[str, Any]:
    """The chat body, without `model` and `stream`."""
    found: dict[str, Any] = {name: value for name, value in body.items() if name not in _FIELDS}
    found["messages"] = _messages(body)
    found.update((name, body[name]) for name in _SAME if body.get(name) is not None)
    if body.get("max_output_tokens") is not None:
        found["max_tokens"] = body["max_output_tokens"]
    _add_tools(body, found)
    _add_text(body, found)
    effort = complaint.mapping(body.get("reasoning"), "reasoning").get("effort")
    if effort is not None:
        found["reasoning_effort"] = effort
    if body.get("service_tier") not in (None, "auto", "default"):
        found["service_tier"] = body["service_tier"]
    if wants_logprobs(body):
        found["logprobs"] = True
        if body.get("top_logprobs"):
            found["top_logprobs"] = body["top_logprobs"]
    return found


def _messages(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One system message at the beginning: many chat templates take no more."""
    said = items.messages(items.given(body.get("input")))
    first = 0
    while first < len(said) and said[first]["role"] == "system" and isinstance(said[first]["content"], str):
        first += 1
    instructions = body.get("instructions")
    texts = [instructions] if instructions else []
    texts += [message["content"] for message in said[:first]]
    return [{"role": "system", "content": "\n\n".join(texts)}, *said[first:]] if texts else said


def _add_tools(body: Mapping[str, Any], found: dict[str, Any]) -> None:
    tools = [tool for tool in complaint.objects(body.get("tools"), "tools") if tool.get("type", "function") == "function"]
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        allowed = [tool.get("name") for tool in complaint.objects(choice.get("tools"), "tool_choice.tools")]
        tools, choice = [tool for tool in tools if tool.get("name") in allowed], choice.get("mode", "auto")
    if not tools:
        return
    found["tools"] = [{"type": "function", "function": _function(tool, f"tools[{index}]")} for index, tool in enumerate(tools)]
    if isinstance(choice, dict) and choice.get("type") == "function":
        found["tool_choice"] = {"type": "function", "function": {"name": complaint.text(choice, "name", "tool_choice")}}
    elif isinstance(choice, str):
        found["tool_choice"] = choice
    if body.get("parallel_tool_calls") is not None:
        found["parallel_tool_calls"] = body["parallel_tool_calls"]


def _function(tool: dict[str, Any], where: str) -> dict[str, Any]:
    name = complaint.text(tool, "name", where)
    return {"name": name, **{key: tool[key] for key in ("description", "parameters", "strict") if tool.get(key) is not None}}


def _add_text(body: Mapping[str, Any], found: dict[str, Any]) -> None:
    text = complaint.mapping(body.get("text"), "text")
    if text.get("verbosity") is not None:
        found["verbosity"] = text["verbosity"]
    shape = complaint.mapping(text.get("format"), "text.format")
    if shape.get("type") == "json_object":
        found["response_format"] = {"type": "json_object"}
    elif shape.get("type") == "json_schema":
        schema = {key: shape[key] for key in ("name", "description", "schema", "strict") if shape.get(key) is not None}
        found["response_format"] = {"type": "json_schema", "json_schema": schema}
