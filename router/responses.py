"""What a `/v1/responses` body needs of a backend: the words of router.capability for what chat has as well, and those of NATIVE for what it has not. Pure.

A backend that has chat only is asked in chat's words (gateway/responses/); what has none there can be answered only where the API itself is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What only a backend with the Responses API takes -> (why, the parameter it comes from, what the client can do).
NATIVE: Mapping[str, tuple[str, str, str]] = {
    "built_in_tools": ("the provider runs them", "tools", "use tools of type `function` only"),
    "background": ("the answer stays with the provider until it is fetched", "background", "leave `background` out"),
    "conversation": ("conversations live with the provider", "conversation", "send the turns as `input`, or use `previous_response_id`"),
    "prompt_template": ("prompt templates live with the provider", "prompt", "write the text into `instructions` and `input`"),
    "response_state": ("the conversation began at the provider and lives there", "previous_response_id", "send the earlier turns as `input`"),
    "provider_files": ("the file lies with the provider, or the provider fetches it", "input", "send the content itself as a data URL"),
    "response_items": (
        "these items are what the provider's own tools left behind",
        "input",
        "leave items out that are no messages, function calls or their outputs",
    ),
    "truncation": ("only the provider knows what fits", "truncation", "leave `truncation` out and send what fits"),
    "context_management": ("the provider compacts the conversation", "context_management", "leave `context_management` out"),
    "response_moderation": ("the provider's own moderation", "moderation", "leave `moderation` out"),
}

_FORMATS: Mapping[str, str] = {"json_schema": "json_schema", "json_object": "json_object"}
# Items that chat has words for. Reasoning is left out: another model has no use for it.
_ITEMS = frozenset({"message", "function_call", "function_call_output", "reasoning"})
_TEXTS = frozenset({"input_text", "output_text", "refusal", "text", "summary_text", "reasoning_text"})
_CHOICES = frozenset({"function", "allowed_tools"})
# Fields that need a provider whenever they are truthy.
_BY_PRESENCE: Mapping[str, str] = {
    "background": "background",
    "conversation": "conversation",
    "prompt": "prompt_template",
    "previous_response_id": "response_state",
    "context_management": "context_management",
    "moderation": "response_moderation",
}


def needs(body: Mapping[str, Any]) -> set[str]:
    """Capabilities by name. `previous_response_id` counts as the provider's: whoever knows the conversation puts its items into `input` instead."""
    found = {name for field, name in _BY_PRESENCE.items() if body.get(field)}
    if body.get("truncation") == "auto":
        found.add("truncation")
    tier = body.get("service_tier")
    if tier is not None and tier not in ("auto", "default"):
        found.add("service_tier")
    if body.get("parallel_tool_calls") is False:
        found.add("parallel_tool_calls")
    if body.get("top_logprobs") or "message.output_text.logprobs" in _list(body.get("include")):
        found.add("logprobs")
    if _object(body.get("reasoning")).get("effort") is not None:
        found.add("reasoning_effort")
    text = _object(body.get("text"))
    if text.get("verbosity") not in (None, "medium"):
        found.add("verbosity")
    kind = _kind(_object(text.get("format")))
    if kind in _FORMATS:
        found.add(_FORMATS[kind])
    _add_tools(body, found)
    for item in _list(body.get("input")):
        if isinstance(item, Mapping):
            _add_item(item, found)
    return found


def _add_tools(body: Mapping[str, Any], found: set[str]) -> None:
    for tool in _list(body.get("tools")):
        found.add("tools" if isinstance(tool, Mapping) and tool.get("type", "function") == "function" else "built_in_tools")
    choice = body.get("tool_choice")
    if isinstance(choice, Mapping) and _kind(choice) not in _CHOICES:
        found.add("built_in_tools")


def _add_item(item: Mapping[str, Any], found: set[str]) -> None:
    kind = _kind(item) or ("message" if "role" in item else "item_reference")
    if kind == "item_reference":
        found.add("response_state")
    elif kind not in _ITEMS:
        found.add("response_items")
    elif kind == "function_call_output":
        if any(_kind(_object(part)) not in _TEXTS for part in _list(item.get("output"))):
            found.add("response_items")
    elif kind == "message":
        for part in _list(item.get("content")):
            if isinstance(part, Mapping):
                _add_part(part, found)


def _add_part(part: Mapping[str, Any], found: set[str]) -> None:
    kind = _kind(part)
    if kind in _TEXTS:
        return
    if kind == "input_image":
        found.update({"vision"} if part.get("image_url") else {"vision", "provider_files"})
    elif kind == "input_file":
        found.update({"files"} if part.get("file_data") else {"files", "provider_files"})
    elif kind == "input_audio":
        found.add("audio")
    else:
        found.add("response_items")


def _kind(value: Mapping[str, Any]) -> str:
    found = value.get("type")
    return found if isinstance(found, str) else ""


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
