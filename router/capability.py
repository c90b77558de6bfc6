"""Which backend takes what: one table, a reason per row, and what a request body needs. Not here: dropping candidates (router.gates).

Plain text chat with the usual sampling fields is what every backend takes; it has no row. A field without a row never makes a candidate infeasible:
the backend itself answers what it thinks of it. Null and default values need nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from router import responses

Endpoint = Literal["chat", "completions", "embeddings", "responses"]


class Capability(NamedTuple):
    """One row: `hosted` and `vllm` say who takes it; `reason` says why, for people who wonder about a drop."""

    name: str
    hosted: bool
    vllm: bool
    reason: str


TABLE: tuple[Capability, ...] = (
    Capability("tools", True, True, "vLLM parses tool calls where the engine was started with a parser for its model (see `engine_takes`)"),
    Capability("parallel_tool_calls", True, True, "vLLM cuts the answer to one call when it is false"),
    Capability("functions", True, False, "the deprecated form: vLLM ignores `functions` and would answer without them"),
    Capability("custom_tools", True, False, "vLLM's chat endpoint takes tools of type `function` only"),
    Capability("json_schema", True, True, "both constrain decoding to the schema"),
    Capability("json_object", True, True, "both constrain decoding to JSON"),
    Capability("logprobs", True, True, "same fields in both"),
    Capability("n", True, True, "same field in both"),
    Capability("seed", True, True, "best effort in both"),
    Capability("stop", True, True, "same field in both"),
    Capability("max_completion_tokens", True, True, "vLLM reads it before `max_tokens`"),
    Capability("developer_role", True, True, "vLLM renders it as `system` where the model's template has no such role"),
    Capability("vision", True, False, "needs a base that sees (see `engine_takes`)"),
    Capability("audio", True, False, "neither audio in nor out on a text base"),
    Capability("files", True, False, "file parts refer to the provider's storage or its document parser"),
    Capability("logit_bias", True, False, "token ids belong to one vocabulary; on another tokenizer they would move other words"),
    Capability("reasoning_effort", True, False, "on a base without a reasoning mode it changes nothing, and the caller asked for a change"),
    Capability("verbosity", True, False, "vLLM ignores it"),
    Capability("prediction", True, False, "vLLM ignores it: the caller pays for speed it does not get"),
    Capability("service_tier", True, False, "a tier is something the provider sells"),
    Capability("store", True, False, "stored completions live with the provider"),
    Capability("web_search", True, False, "the provider's own search"),
    Capability("moderation", True, False, "the provider's own moderation"),
    Capability("completions", True, True, "/v1/completions: same shape in both"),
    Capability("suffix", True, False, "vLLM takes it for the few models made to fill in the middle only"),
    Capability("best_of", True, False, "vLLM ignores `best_of`"),
    Capability("embeddings", True, False, "a generating base is no embedding model"),
    Capability("responses", True, True, "where a backend has chat only, the gateway translates"),
    *(Capability(name, True, False, why) for name, (why, _, _) in responses.NATIVE.items()),
)

HOSTED: frozenset[str] = frozenset(row.name for row in TABLE if row.hosted)
VLLM: frozenset[str] = frozenset(row.name for row in TABLE if row.vllm)
REASONS: Mapping[str, str] = {row.name: row.reason for row in TABLE}
# What takes the Responses API itself: an answer there keeps its state with the provider.
NATIVE: frozenset[str] = frozenset(responses.NATIVE)
_SPEAKERS = frozenset({"openai", "azure"})

_NOTHING: frozenset[str] = frozenset()
# Content part types of chat messages; text and refusal parts need nothing.
_PARTS: Mapping[str, str] = {"image_url": "vision", "input_image": "vision", "input_audio": "audio", "file": "files", "input_file": "files"}
_FORMATS: Mapping[str, str] = {"json_schema": "json_schema", "json_object": "json_object"}
_ENDPOINTS: Mapping[str, str] = {"completions": "completions", "embeddings": "embeddings"}
# Fields that need the capability of their own name whenever they are present and truthy.
_BY_PRESENCE: Mapping[str, str] = {
    "functions": "functions",
    "function_call": "functions",
    "logprobs": "logprobs",
    "stop": "stop",
    "logit_bias": "logit_bias",
    "prediction": "prediction",
    "store": "store",
    "web_search_options": "web_search",
    "moderation": "moderation",
    "suffix": "suffix",
    "audio": "audio",
}
# Fields that need it only with a value other than the API's default.
_BY_VALUE: Mapping[str, tuple[str, tuple[object, ...]]] = {
    "parallel_tool_calls": ("parallel_tool_calls", (True,)),
    "n": ("n", (1,)),
    "best_of": ("best_of", (1,)),
    "seed": ("seed", ()),
    "max_completion_tokens": ("max_completion_tokens", ()),
    "reasoning_effort": ("reasoning_effort", ()),
    "verbosity": ("verbosity", ("medium",)),
    "service_tier": ("service_tier", ("auto", "default")),
}


def engine_takes(*, tool_calls: bool = True, vision: bool = False) -> frozenset[str]:
    """What one vLLM engine takes: without a tool-call parser it refuses `tools`; a base that sees takes images."""
    takes = VLLM if tool_calls else VLLM - {"tools", "parallel_tool_calls"}
    return takes | {"vision"} if vision else takes


def speaks_responses(provider_kind: str) -> bool:
    """Whether a provider of that kind has `/responses` itself; the others and engines are asked in chat's words."""
    return provider_kind in _SPEAKERS


def provider_takes(kind: str) -> frozenset[str]:
    """What one provider takes."""
    return HOSTED if speaks_responses(kind) else HOSTED - NATIVE


def remedy(name: str) -> tuple[str, str] | None:
    """(parameter, what the client can do) where a capability only the Responses API has is missing."""
    found = responses.NATIVE.get(name)
    return None if found is None else (found[1], found[2])


def needs(body: Mapping[str, Any], endpoint: Endpoint | None = None) -> frozenset[str]:
    """What a request body asks of a backend. `endpoint` None: told from the body (`messages`, `prompt`; `input` alone reads as embeddings).

    Wrongly typed fields need nothing here: the backend says what is wrong with them, in its own words.
    """
    found: set[str] = set()
    kind = endpoint or _told_from(body)
    if kind == "responses":
        return frozenset({"responses", *responses.needs(body)})
    if kind in _ENDPOINTS:
        found.add(_ENDPOINTS[kind])
    for field, value in body.items():
        if field in _BY_PRESENCE:
            if value:
                found.add(_BY_PRESENCE[field])
        elif field in _BY_VALUE and value is not None:
            name, defaults = _BY_VALUE[field]
            if value not in defaults:
                found.add(name)
    _add_nested(body, found)
    return frozenset(found) if found else _NOTHING


def _told_from(body: Mapping[str, Any]) -> Endpoint:
    if "messages" in body:
        return "chat"
    if "prompt" in body:
        return "completions"
    return "embeddings" if "input" in body else "chat"


def _add_nested(body: Mapping[str, Any], found: set[str]) -> None:
    tools = body.get("tools")
    if isinstance(tools, list) and tools:
        found.add("tools")
        if any(isinstance(tool, dict) and tool.get("type", "function") != "function" for tool in tools):
            found.add("custom_tools")
    shape = body.get("response_format")
    if isinstance(shape, dict) and isinstance(kind := shape.get("type"), str) and kind in _FORMATS:
        found.add(_FORMATS[kind])
    modalities = body.get("modalities")
    if isinstance(modalities, list) and "audio" in modalities:
        found.add("audio")
    messages = body.get("messages")
    if isinstance(messages, list):
        for message in messages:
            if isinstance(message, dict):
                _add_message(message, found)


def _add_message(message: Mapping[str, Any], found: set[str]) -> None:
    if message.get("role") == "developer":
        found.add("developer_role")
    content = message.get("content")
    if isinstance(content, list):
        for part in content:
            if isinstance(part, dict) and isinstance(kind := part.get("type"), str) and kind in _PARTS:
                found.add(_PARTS[kind])
