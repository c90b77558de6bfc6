"""One example in OpenAI's fine-tuning formats (chat, or prompt and completion): a JSON line in, an `Example` or every problem of that line out.

Public: `parse(line, number, file) -> Example | tuple[Problem, ...]`, `from_messages`, `Example`, `question`, `canonical`.
Pure. Not here: files and whole-dataset checks (dataset.py), tokens (tokens.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gateway.store import redact
from router.errors import Problem

Message = Mapping[str, Any]
Say = Callable[[str, str], None]  # key within the line, message

ROLES = ("system", "developer", "user", "assistant", "tool")
TOP_KEYS = ("messages", "tools", "parallel_tool_calls")
MESSAGE_KEYS = {
    "system": ("role", "content", "name"),
    "developer": ("role", "content", "name"),
    "user": ("role", "content", "name"),
    "assistant": ("role", "content", "name", "weight", "tool_calls", "refusal"),
    "tool": ("role", "content", "name", "tool_call_id"),
}


@dataclass(frozen=True, slots=True)
class Example:
    """One conversation to train on. Content is text; `weight` is dropped from the messages and kept in `trained` (indices of assistant messages
    that count for the loss). `digest` is the sha256 of the canonical line: the example's identity for splits and duplicates. `line` counts from 1."""

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...]
    trained: tuple[int, ...]
    line: int
    digest: str

    @property
    def prompt(self) -> tuple[Message, ...]:
        """Everything before the final answer."""
        return self.messages[:-1]

    @property
    def question(self) -> str:
        """What was asked, as one text: the prompt without system text, which all examples of a route share."""
        return question(self.prompt)

    @property
    def answer(self) -> str:
        """The final answer as text: content, and tool calls as canonical JSON."""
        last = self.messages[-1]
        calls = last.get("tool_calls")
        return str(last.get("content") or "") + (canonical(calls) if calls else "")

    def as_line(self) -> str:
        """The example as one JSON line, without its newline; parses back to the same digest."""
        body = _line_body(self.messages, self.tools, self.trained)
        return json.dumps(body, ensure_ascii=False, separators=(",", ":"))


def redacted(example: Example, kinds: Collection[str]) -> Example:
    """The example without what looks like personal data of these kinds (gateway.store.redact); its digest is that of what is left."""
    messages = [redact.body(message, kinds) for message in example.messages]
    body = _line_body(messages, example.tools, example.trained)
    digest = hashlib.sha256(canonical(body).encode()).hexdigest()
    return replace(example, messages=tuple(messages), digest=digest)


def question(messages: Sequence[Message]) -> str:
    """The text of a conversation's messages other than system and developer ones."""
    return "\n".join(str(m.get("content") or "") for m in messages if m["role"] not in ("system", "developer"))


def canonical(value: object) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def parse(line: str, number: int, file: str | None = None) -> Example | tuple[Problem, ...]:
    """One JSON line as an `Example`, or every problem it has. `number` is the line's number in `file`."""
    problems: list[Problem] = []

    def say(key: str, message: str) -> None:
        problems.append(Problem(message, file, number, key or None))

    body = _json_object(line, say)
    if body is None:
        return tuple(problems)
    body = _from_completion(body)
    _check_top(body, say)
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        what = "is missing" if messages is None else "must be a list with at least one message"
        say("messages", what)
        return tuple(problems)
    checked = [_check_message(message, f"messages[{i}]", say) for i, message in enumerate(messages)]
    if not problems:
        _check_order(checked, say)
    if problems:
        return tuple(problems)
    return _example(checked, body.get("tools") or (), number)


def from_messages(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], number: int, file: str | None = None) -> Example | tuple[Problem, ...]:
    """An `Example` from messages already in memory (captured traffic), under the same rules as a line of a file."""
    body: dict[str, Any] = {"messages": list(messages)}
    if tools:
        body["tools"] = list(tools)
    return parse(json.dumps(body, ensure_ascii=False), number, file)


def _example(messages: Sequence[dict[str, Any]], tools: Sequence[Mapping[str, Any]], number: int) -> Example:
    trained = tuple(i for i, m in enumerate(messages) if m["role"] == "assistant" and m.get("weight", 1) == 1)
    clean = tuple({k: v for k, v in m.items() if k != "weight"} for m in messages)
    digest = hashlib.sha256(canonical(_line_body(clean, tools, trained)).encode()).hexdigest()
    return Example(clean, tuple(tools), trained, number, digest)


def _line_body(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], trained: Sequence[int]) -> dict[str, Any]:
    rows = [{**m, "weight": 0} if m["role"] == "assistant" and i not in trained else dict(m) for i, m in enumerate(messages)]
    return {"messages": rows, "tools": list(tools)} if tools else {"messages": rows}


def _json_object(line: str, say: Say) -> dict[str, Any] | None:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        out = dict(items)
        if len(out) < len(items):
            names = [name for name, _ in items]
            say("", f"the key {next(n for n in names if names.count(n) > 1)!r} occurs twice in one object; keep one")
        return out

    def constant(name: str) -> None:
        say("", f"{name} is not JSON; write a number or null")

    try:
        body = json.loads(line, object_pairs_hook=pairs, parse_constant=constant)
    except json.JSONDecodeError as error:
        say("", f"not JSON: {error.msg} at column {error.colno}; each line must be one JSON object")
        return None
    except RecursionError:
        say("", "nested too deeply to read; flatten it")
        return None
    if not _encodable(body):
        say("", "holds half of a surrogate pair (\\ud800 to \\udfff alone), which is no character; remove it")
        return None
    if not isinstance(body, dict):
        say("", f'must be a JSON object like {{"messages": [...]}}, not {_kind(body)}')
        return None
    return body


def _from_completion(body: dict[str, Any]) -> dict[str, Any]:
    """OpenAI's older `{"prompt", "completion"}` lines as the conversation they stand for; anything else as it is."""
    prompt, completion = body.get("prompt"), body.get("completion")
    if set(body) != {"prompt", "completion"} or not isinstance(prompt, str) or not isinstance(completion, str):
        return body
    # those files separate the two by a leading space of the completion, which no chat model writes
    return {"messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": completion.removeprefix(" ")}]}


def _encodable(body: object) -> bool:
    try:
        canonical(body).encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_top(body: Mapping[str, Any], say: Say) -> None:
    for key in body:
        if key in ("functions", "function_call"):
            say(key, "is deprecated by OpenAI; write the functions as `tools`")
        elif key not in TOP_KEYS:
            say(key, f"unknown key; a line has {', '.join(TOP_KEYS)}")
    tools = body.get("tools")
    if tools is None:
        return
    if not isinstance(tools, list):
        say("tools", f"must be a list, not {_kind(tools)}")
        return
    for i, tool in enumerate(tools):
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str) or tool.get("type") != "function":
            say(f"tools[{i}]", 'must look like {"type": "function", "function": {"name": ..., "parameters": {...}}}')


def _check_message(message: object, key: str, say: Say) -> dict[str, Any]:
    if not isinstance(message, dict):
        say(key, f"must be an object with role and content, not {_kind(message)}")
        return {}
    role = message.get("role")
    if role not in ROLES:
        said = "is missing" if role is None else f"unknown role {role!r}"
        say(f"{key}.role", f"{said}; use one of {', '.join(ROLES)}")
        return {}
    for name in message:
        if name not in MESSAGE_KEYS[role]:
            say(f"{key}.{name}", f"unknown key; a {role} message has {', '.join(MESSAGE_KEYS[role])}")
    out = {name: value for name, value in message.items() if value is not None}
    if "weight" in out and (isinstance(out["weight"], bool) or out["weight"] not in (0, 1)):
        say(f"{key}.weight", f"must be 0 or 1, not {out['weight']!r}")
    if "name" in out and not isinstance(out["name"], str):
        say(f"{key}.name", f"must be text, not {_kind(out['name'])}")
    if role == "tool" and not isinstance(out.get("tool_call_id"), str):
        say(f"{key}.tool_call_id", "is missing; a tool message answers one tool call by its id")
    if "tool_calls" in out and role == "assistant":
        _check_calls(out, f"{key}.tool_calls", say)
    _check_content(out, key, say)
    return out


def _check_content(message: dict[str, Any], key: str, say: Say) -> None:
    content = message.get("content")
    if content is None and message["role"] == "assistant" and (message.get("tool_calls") or isinstance(message.get("refusal"), str)):
        message["content"] = message.pop("refusal", "")
        return
    if "refusal" in message:
        say(f"{key}.refusal", "stands beside content; keep one of them")
    if content is None:
        say(f"{key}.content", "is missing")
        return
    if isinstance(content, list):
        parts = [p["text"] for p in content if isinstance(p, dict) and p.get("type") == "text" and isinstance(p.get("text"), str)]
        if len(parts) < len(content):
            say(f"{key}.content", "only text parts can be trained on; remove the other parts")
            return
        content = message["content"] = "".join(parts)
    if not isinstance(content, str):
        say(f"{key}.content", f"must be text, not {_kind(content)}")
    elif not content.strip() and message["role"] == "assistant" and not message.get("tool_calls"):
        say(f"{key}.content", "is empty; an assistant message to learn from needs text or tool calls")


def _check_calls(message: Mapping[str, Any], key: str, say: Say) -> None:
    calls = message["tool_calls"]
    if not isinstance(calls, list) or not calls:
        say(key, "must be a list with at least one call")
        return
    for i, call in enumerate(calls):
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(call.get("id"), str) or call.get("type") != "function" or not isinstance(function.get("name"), str):
            say(f"{key}[{i}]", 'must look like {"id": ..., "type": "function", "function": {"name": ..., "arguments": "{...}"}}')
            continue
        try:
            arguments = json.loads(function.get("arguments", ""))
        except (TypeError, json.JSONDecodeError):
            arguments = None
        if not isinstance(arguments, dict):
            say(f"{key}[{i}].function.arguments", "must be the text of a JSON object")


def _check_order(messages: Sequence[Mapping[str, Any]], say: Say) -> None:
    answers = [m for m in messages if m["role"] == "assistant"]
    if not answers:
        say("messages", "no assistant message: there is nothing to learn; add the answer as the last message")
        return
    if messages[-1]["role"] != "assistant":
        say("messages", f"the last message is from {messages[-1]['role']}, but must be from the assistant: what follows the last answer is never learnt")
    if len(messages) == 1:
        say("messages", "the answer stands alone: put what it answers before it")
    if all(m.get("weight", 1) == 0 for m in answers):
        say("messages", "every assistant message has weight 0: there is nothing to learn")
    open_calls: set[str] = set()
    for i, message in enumerate(messages):
        open_calls |= {call["id"] for call in message.get("tool_calls", ())}
        if message["role"] == "tool" and message["tool_call_id"] not in open_calls:
            say(f"messages[{i}].tool_call_id", f"{message['tool_call_id']!r} answers no earlier tool call")


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true/false", int: "a number", float: "a number", type(None): "null"}
    return names.get(type(value), type(value).__name__)
