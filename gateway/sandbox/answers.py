"""What the sandbox says: a reference answer, a minimal instance of a JSON schema, a tool call, or a scripted text. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.sandbox.references import ReferenceBook, conversation_hash, last_user
from gateway.sandbox.tokens import pieces

_SCRIPT = (
    "This is a sandbox answer, made without a model.",
    "It is the same every time the same question is asked.",
    "Give the sandbox reference answers to make it say something useful.",
    "Tokens are counted by a simple rule that is written down beside the code.",
    "Latency, errors and faults are whatever the sandbox was started with.",
)
_ENOUGH_DEPTH = 24  # a schema that refers to itself ends here


@dataclass(frozen=True, slots=True)
class Answer:
    """One choice: its tokens, why it ended, and tool calls in OpenAI's shape (then the tokens are those of the arguments)."""

    tokens: tuple[str, ...]
    finish: str
    tool: str | None = None

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.tokens)


def chat_answer(body: Mapping[str, Any], book: ReferenceBook) -> Answer:
    """The answer to a chat request, cut to its stop sequences and token limit."""
    tool = _asked_tool(body)
    if tool is not None:
        arguments = orjson.dumps(instance(tool.get("parameters") or {"type": "object"})).decode()
        return Answer(tuple(pieces(arguments)), "tool_calls", str(tool.get("name")))
    text = book.answer(body["messages"])
    if text is None:
        text = _formatted(body.get("response_format")) or scripted(last_user(body["messages"]))
    return cut(text, body.get("stop"), body.get("max_completion_tokens") or body.get("max_tokens"))


def cut(text: str, stop: object, limit: int | None) -> Answer:
    """A text as a client's `stop` and token limit leave it."""
    for word in [stop] if isinstance(stop, str) else stop if isinstance(stop, list) else []:
        text = text.split(str(word), 1)[0] if word else text
    tokens = pieces(text)
    return Answer(tuple(tokens[:limit]), "length") if limit is not None and limit < len(tokens) else Answer(tuple(tokens), "stop")


def scripted(prompt: str) -> str:
    """A text that depends on the prompt and nothing else: one to four sentences."""
    draw = conversation_hash(prompt)
    return " ".join(_SCRIPT[(draw + i) % len(_SCRIPT)] for i in range(1 + draw // 8 % 4))


def instance(schema: Mapping[str, Any], root: Mapping[str, Any] | None = None, depth: int = 0) -> Any:
    """A smallest value that satisfies a JSON schema of the kind OpenAI's structured output takes."""
    root = schema if root is None else root
    if depth > _ENOUGH_DEPTH:
        return None
    if "$ref" in schema:
        return instance(_resolve(str(schema["$ref"]), root), root, depth + 1)
    for word in ("const", "default"):
        if word in schema:
            return schema[word]
    if schema.get("enum"):
        return schema["enum"][0]
    for word in ("anyOf", "oneOf", "allOf"):
        if schema.get(word):
            return instance(schema[word][0], root, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    return _of_type(kind[0] if isinstance(kind, list) else kind, schema, root, depth)


def _of_type(kind: str, schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    if kind == "object":
        wanted = schema.get("required", [])
        return {name: instance(sub, root, depth + 1) for name, sub in schema.get("properties", {}).items() if name in wanted}
    if kind == "array":
        return [instance(schema.get("items", {}), root, depth + 1) for _ in range(schema.get("minItems", 0))]
    if kind in {"integer", "number"}:
        return max(0, schema.get("minimum", 0)) if schema.get("maximum", 0) >= 0 else schema["maximum"]
    return {"boolean": False, "null": None}.get(kind, "x" * schema.get("minLength", 0))


def _resolve(ref: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    node: Any = root
    for part in ref.removeprefix("#").split("/")[1:]:
        node = node[part]
    return dict(node)


def _formatted(wanted: object) -> str | None:
    if not isinstance(wanted, Mapping):
        return None
    if wanted.get("type") == "json_schema":
        return orjson.dumps(instance(wanted.get("json_schema", {}).get("schema", {}))).decode()
    return '{"sandbox":true}' if wanted.get("type") == "json_object" else None


def _asked_tool(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The function a request insists on: named by `tool_choice`, the first where one is `required`; left to the model, the one that the question names."""
    tools = [tool["function"] for tool in body.get("tools") or () if isinstance(tool, Mapping) and "function" in tool]
    choice = body.get("tool_choice")
    if choice == "required":
        return tools[0] if tools else None
    if isinstance(choice, Mapping):
        return next((tool for tool in tools if tool.get("name") == choice.get("function", {}).get("name")), None)
    last = body["messages"][-1] if body["messages"] else {}
    if choice == "none" or last.get("role") != "user":
        return None  # a tool's result is answered in words, or no agent's loop would end
    words = set(re.findall(r"[\w-]+", last_user([last])))
    return next((tool for tool in tools if tool.get("name") in words), None)
