"""The items of a Responses conversation: as they are kept, and as messages of a chat. Pure; RequestError in OpenAI's words for items of the wrong shape.

What chat has no words for is left out here: such a request needs a backend with the API itself (router/responses.py), and never comes back as a chat.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gateway import complaint
from router.errors import RequestError

Item = dict[str, Any]
_ROLES: Mapping[str, str] = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
_PREFIXES: Mapping[str, str] = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}
_TEXT_KEYS: Mapping[str, str] = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}
# What a provider that is shown our items must not see: ids it does not know, and what only answers have.
_OURS = frozenset({"id", "status"})


def kind_of(item: Mapping[str, Any]) -> str:
    """The type of an item; a message may leave it out."""
    kind = item.get("type")
    return kind if isinstance(kind, str) else "message" if "role" in item else ""


def given(value: object) -> list[Item]:
    """The items of an `input`: a text is one user message."""
    if isinstance(value, str):
        return [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": value}]}]
    return complaint.objects(value, "input")


def kept(items: list[Item], ident: Callable[[str], str]) -> list[Item]:
    """Items as they are listed and stored: each with an id, a status, and content in parts. `ident` makes an id from its prefix."""
    return [_kept(item, ident) for item in items]


def shown(items: list[Item]) -> list[Item]:
    """Items of an earlier turn as input for whoever answers next."""
    return [{name: value for name, value in item.items() if name not in _OURS} for item in map(_bare, items) if kind_of(item) != "reasoning"]


def messages(items: list[Item]) -> list[dict[str, Any]]:
    """The same conversation in chat's words. Function calls belong to the assistant's message before them, or make one of their own."""
    found: list[dict[str, Any]] = []
    for index, item in enumerate(items):
        where, kind = f"input[{index}]", kind_of(item)
        if kind == "message":
            found.append(_message(item, where))
        elif kind == "function_call":
            if not found or found[-1]["role"] != "assistant":
                found.append({"role": "assistant", "content": None})
            found[-1].setdefault("tool_calls", []).append(_call(item, where))
        elif kind == "function_call_output":
            found.append({"role": "tool", "tool_call_id": complaint.text(item, "call_id", where), "content": _output(item, where)})
    return found


def _kept(item: Item, ident: Callable[[str], str]) -> Item:
    kind = kind_of(item)
    whole = {"id": item.get("id") or ident(_PREFIXES.get(kind, "item")), **item, "type": kind}
    whole["id"] = whole["id"] or ident(_PREFIXES.get(kind, "item"))
    if kind == "reasoning":
        return {"summary": [], **whole}
    whole["status"] = item.get("status") or "completed"
    if kind == "message":
        content, assistant = item.get("content"), item.get("role") == "assistant"
        parts = [{"type": "output_text" if assistant else "input_text", "text": content}] if isinstance(content, str) else content
        whole["content"] = [_kept_part(part) for part in complaint.objects(parts, "content")]
    return whole


def _kept_part(part: Item) -> Item:
    kind = part.get("type")
    if kind == "output_text":
        return {"annotations": [], **part}
    return {"detail": "auto", **part} if kind == "input_image" else part


def _bare(item: Item) -> Item:
    if kind_of(item) != "message" or not isinstance(item.get("content"), list):
        return item
    return {**item, "content": [{name: value for name, value in part.items() if name != "logprobs"} for part in item["content"]]}


def _message(item: Item, where: str) -> dict[str, Any]:
    role = complaint.text(item, "role", where)
    if role not in _ROLES:
        expected = ", ".join(f"'{name}'" for name in _ROLES)
        raise RequestError(f"Invalid value: '{role[:100]}'. Supported values are: {expected}.", param=f"{where}.role", code="invalid_value")
    content = item.get("content")
    if content is None:
        raise complaint.missing(f"{where}.content")
    if isinstance(content, str):
        return {"role": _ROLES[role], "content": content}
    parts = [_part(part, f"{where}.content[{index}]") for index, part in enumerate(complaint.objects(content, f"{where}.content"))]
    texts = [part["text"] for part in parts if part is not None and part["type"] == "text"]
    if len(texts) == len(parts) and (role != "user" or len(parts) == 1):
        return {"role": _ROLES[role], "content": "".join(texts)}
    return {"role": _ROLES[role], "content": [part for part in parts if part is not None]}


def _part(part: Item, where: str) -> dict[str, Any] | None:
    kind = part.get("type")
    if isinstance(kind, str) and kind in _TEXT_KEYS:
        return {"type": "text", "text": complaint.text(part, _TEXT_KEYS[kind], where)}
    if kind == "input_image" and part.get("image_url"):
        image = {"url": complaint.text(part, "image_url", where)}
        return {"type": "image_url", "image_url": image | ({"detail": part["detail"]} if part.get("detail") else {})}
    if kind == "input_file" and part.get("file_data"):
        return {"type": "file", "file": {name: part[name] for name in ("file_data", "filename") if part.get(name)}}
    return dict(part) if kind == "input_audio" else None


def _call(item: Item, where: str) -> dict[str, Any]:
    function = {name: complaint.text(item, name, where) for name in ("name", "arguments")}
    return {"id": complaint.text(item, "call_id", where), "type": "function", "function": function}


def _output(item: Item, where: str) -> str:
    output = item.get("output")
    if isinstance(output, str):
        return output
    if output is None:
        raise complaint.missing(f"{where}.output")
    parts = [_part(part, f"{where}.output[{index}]") for index, part in enumerate(complaint.objects(output, f"{where}.output"))]
    return "".join(part["text"] for part in parts if part is not None and part["type"] == "text")
