"""A generated answer on its way to the client: whole or as server-sent events, at its pace, with the faults that happen in the middle of one.

What is billed is kept in the log entry as it happens: prompt tokens once the answer is under way, each token as it is generated, whoever reads it or not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.sandbox import bodies
from gateway.sandbox.answers import Answer, chat_answer, cut, scripted
from gateway.sandbox.call import Call
from gateway.sandbox.faults import Fault, FaultName
from gateway.sandbox.latency import Pace
from gateway.sandbox.log import Entry
from gateway.sandbox.references import ReferenceBook
from gateway.sandbox.tokens import pieces, prompt_tokens

_STALL_MS = 120_000
BREAKING = {FaultName.CUT, FaultName.STALL, FaultName.MALFORMED_CHUNK}


class Chat:
    """A chat request: its prompt and the answers it gets, `n` times the same."""

    kind, chunk_kind, prefix = "chat.completion", "chat.completion.chunk", "chatcmpl"

    def __init__(self, body: Mapping[str, Any], book: ReferenceBook) -> None:
        self.body = body
        self.prompt = prompt_tokens(body)
        self.limit: int | None = body.get("max_completion_tokens") or body.get("max_tokens")
        self._book = book

    def answers(self) -> list[Answer]:
        """The choices."""
        return [chat_answer(self.body, self._book)] * int(self.body.get("n") or 1)

    def choice(self, index: int, answer: Answer) -> dict[str, Any]:
        """A whole choice."""
        return bodies.chat_choice(index, answer)

    def opening(self, index: int, answer: Answer) -> dict[str, Any] | None:
        """What a choice's stream starts with before its first token."""
        return bodies.chat_opening(index, answer)

    def token(self, index: int, answer: Answer, token: str) -> dict[str, Any]:
        """One token of a stream."""
        return bodies.chat_token(index, answer, token)

    def ending(self, index: int, finish: str) -> dict[str, Any]:
        """The end of a choice's stream."""
        return bodies.chat_ending(index, finish)


class Text:
    """A /v1/completions request: scripted text for every prompt, `n` times."""

    kind, chunk_kind, prefix = "text_completion", "text_completion", "cmpl"

    def __init__(self, body: Mapping[str, Any]) -> None:
        self.body = body
        prompt = body.get("prompt", "")
        self._prompts = [str(item) for item in prompt] if isinstance(prompt, list) else [str(prompt)]
        self.prompt = [token for text in self._prompts for token in pieces(text)]
        self.limit: int | None = body.get("max_tokens", 16)  # OpenAI's default

    def answers(self) -> list[Answer]:
        """The choices: every prompt's, one after the other."""
        return [cut(scripted(prompt), self.body.get("stop"), self.limit) for prompt in self._prompts for _ in range(int(self.body.get("n") or 1))]

    def choice(self, index: int, answer: Answer) -> dict[str, Any]:
        """A whole choice."""
        return bodies.text_choice(index, answer.text, answer.finish)

    def opening(self, index: int, answer: Answer) -> dict[str, Any] | None:  # noqa: ARG002 - the shape of Chat.opening
        """Nothing: text streams start with their first token."""
        return None

    def token(self, index: int, answer: Answer, token: str) -> dict[str, Any]:  # noqa: ARG002 - the shape of Chat.token
        """One token of a stream."""
        return bodies.text_choice(index, token, None)

    def ending(self, index: int, finish: str) -> dict[str, Any]:
        """The end of a choice's stream."""
        return bodies.text_choice(index, "", finish)


@dataclass(frozen=True, slots=True)
class Generation:
    """Everything about one answer: what was asked, its log entry, fault, pace and the headers it carries."""

    kind: Chat | Text
    entry: Entry
    fault: Fault | None
    pace: Pace
    headers: list[tuple[str, str]]

    def has(self, *names: FaultName) -> bool:
        """Whether its fault is one of these."""
        return self.fault is not None and self.fault.name in names

    def head(self, streamed: bool) -> dict[str, Any]:
        """The first fields of its body or chunks."""
        kind = self.kind.chunk_kind if streamed else self.kind.kind
        return bodies.head(kind, f"{self.kind.prefix}-{self.entry.id[-24:]}", int(self.entry.time), str(self.entry.model))

    def usage(self) -> dict[str, Any]:
        """What has been used so far."""
        return bodies.usage(self.entry.prompt_tokens, self.entry.cached_tokens, self.entry.completion_tokens)


async def send(call: Call, g: Generation) -> None:
    """Generate and send the answer. Raises Gone when the client goes away, Ended when a fault closes the connection."""
    answers = g.kind.answers()
    if g.fault is not None and g.fault.name is FaultName.CONTENT_FILTER_FINISH:
        answers = [Answer(answer.tokens[: g.fault.after], "content_filter", answer.tool) for answer in answers]
    await (_stream(call, g, answers) if g.entry.stream else _whole(call, g, answers))
    g.entry.outcome = "completed"


async def _whole(call: Call, g: Generation, answers: list[Answer]) -> None:
    clock = asyncio.get_running_loop().time
    began = clock()
    total = sum(len(answer.tokens) for answer in answers)
    longest = max(len(answer.tokens) for answer in answers)
    try:
        await call.pause(g.pace.due(max(0, longest - 1)))
    finally:
        # A client that went away is billed for what was generated until then.
        waited = clock() - began
        done = total if waited >= g.pace.due(longest - 1) or g.pace.each <= 0 else int((waited - g.pace.first) / g.pace.each + 1) * len(answers)
        g.entry.completion_tokens = max(0, min(total, done)) if waited >= g.pace.first else 0
    body = g.head(streamed=False) | {"choices": [g.kind.choice(index, answer) for index, answer in enumerate(answers)], "usage": g.usage()}
    if g.has(FaultName.NO_USAGE):
        del body["usage"]
    data = orjson.dumps(body)
    g.entry.status = 200
    await send_whole(call, g, data)


async def _stream(call: Call, g: Generation, answers: list[Answer]) -> None:
    clock = asyncio.get_running_loop().time
    began = clock()
    options = g.kind.body.get("stream_options") or {}
    # Where usage was asked for, every chunk before the last says null.
    counted = bool(options.get("include_usage"))
    head = g.head(streamed=True) | ({"usage": None} if counted else {})
    await call.pause(g.pace.first)
    g.entry.status = 200
    await call.start(200, [("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache"), *g.headers])
    for step, index, choice in _steps(g, answers):
        if step is not None:
            if g.fault is not None and g.has(*BREAKING) and step >= g.fault.after:
                await _break_stream(call, g, head, index)
            await call.pause(began + g.pace.due(step) - clock())
            g.entry.completion_tokens += 1
        await call.write(_event(head | {"choices": [choice]}))
    if g.has(*BREAKING):
        await _break_stream(call, g, head, 0)
    if counted and not g.has(FaultName.NO_USAGE):
        await call.write(_event(head | {"choices": [], "usage": g.usage()}))
        g.entry.reported = True
    await call.write(b"" if g.has(FaultName.MISSING_DONE) else b"data: [DONE]\n\n", more=False)


def _steps(g: Generation, answers: list[Answer]) -> Iterator[tuple[int | None, int, dict[str, Any]]]:
    """The chunks of a stream in order: (number of the token or None, choice index, choice). Choices advance side by side, as OpenAI's do."""
    for index, answer in enumerate(answers):
        opening = g.kind.opening(index, answer)
        if opening is not None:
            yield None, index, opening
    for step in range(max(len(answer.tokens) for answer in answers)):
        for index, answer in enumerate(answers):
            if step < len(answer.tokens):
                yield step, index, g.kind.token(index, answer, answer.tokens[step])
    for index, answer in enumerate(answers):
        yield None, index, g.kind.ending(index, answer.finish)


async def _break_stream(call: Call, g: Generation, head: dict[str, Any], index: int) -> None:
    """The middle of a stream goes wrong."""
    if g.has(FaultName.MALFORMED_CHUNK):
        whole = _event(head | {"choices": [{"index": index, "delta": {"content": "lost"}}]})
        await call.write(whole[: len(whole) // 2] + b"\n\n")
    await stop(call, g)


async def send_whole(call: Call, g: Generation, data: bytes) -> None:
    """A whole answer, spoilt as the fault in force says."""
    headers = [("content-type", "application/json"), *g.headers]
    if g.has(FaultName.CUT, FaultName.STALL):
        await call.start(200, [("content-length", str(len(data))), *headers])
        await call.write(data[: len(data) // 2])
        await stop(call, g)
    await call.answer(200, data if not g.has(FaultName.MALFORMED_CHUNK) else data[: len(data) // 2], headers)
    g.entry.reported = not g.has(FaultName.NO_USAGE, FaultName.MALFORMED_CHUNK)


async def stop(call: Call, g: Generation) -> None:
    """Say nothing more: at once, or after a stall."""
    if g.fault is not None and g.fault.name is FaultName.STALL:
        await call.pause(g.fault.seconds(_STALL_MS))
    await call.hang_up()


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"
