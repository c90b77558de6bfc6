"""The sandbox's Responses API: the same scripted answers as its chat, as `response` objects and events, with conversations that can go on.

Here: what a request asks, what is remembered of it, how its answer is sent. Built-in tools are accepted and never used: there is no model that could want them.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import orjson

from gateway.responses import items
from gateway.responses.answer import unfinished
from gateway.responses.composer import Composer
from gateway.responses.request import check, to_chat
from gateway.sandbox import bodies, refusals
from gateway.sandbox.answers import Answer
from gateway.sandbox.call import Call
from gateway.sandbox.faults import FaultName
from gateway.sandbox.generation import BREAKING, Chat, Generation, send_whole, stop
from gateway.sandbox.references import ReferenceBook
from gateway.sandbox.refusals import Refusal
from router.errors import RequestError
from router.types import Usage

_MOST_TALKS = 1000


class Reply(Chat):
    """A Responses request: the chat it amounts to, and what is to be remembered of it."""

    def __init__(self, asked: Mapping[str, Any], talk: list[items.Item], chat: dict[str, Any], book: ReferenceBook) -> None:
        super().__init__(chat, book)
        self.asked, self.talk = asked, talk


class Talks:
    """The answers that follow-ups may name, newest last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[list[items.Item], dict[str, Any]]] = OrderedDict()

    def reply(self, body: Mapping[str, Any], book: ReferenceBook) -> Reply | Refusal:
        """What a request asks, or what is wrong with it."""
        previous = body.get("previous_response_id")
        known = self._kept.get(str(previous))
        if previous is not None and known is None:
            return refusals.invalid(f"Previous response with id '{previous}' not found.", "previous_response_id", "previous_response_not_found")
        try:
            check(body)
            talk = [*(known[0] if known is not None else ()), *items.given(body.get("input"))]
            chat = to_chat({**body, "input": talk})
        except RequestError as error:
            return refusals.invalid(error.message, error.param, error.code)
        problem = refusals.check_limits({"max_tokens": body.get("max_output_tokens")})
        return problem if problem is not None else Reply(body, talk, chat, book)

    def keep(self, reply: Reply, response: dict[str, Any]) -> None:
        """Remember an answer, unless its request says not to."""
        if reply.asked.get("store") is not False:
            self._kept[response["id"]] = ([*reply.talk, *response["output"]], response)
            if len(self._kept) > _MOST_TALKS:
                self._kept.popitem(last=False)

    def stored(self, method: str, response_id: str) -> dict[str, Any] | None:
        """The body for GET or DELETE of an answer; None for one that is not there."""
        known = self._kept.pop(response_id, None) if method == "DELETE" else self._kept.get(response_id)
        if known is None:
            return None
        return {"id": response_id, "object": "response", "deleted": True} if method == "DELETE" else known[1]


async def send(call: Call, g: Generation, reply: Reply, talks: Talks) -> None:
    """Generate and send the answer. Raises Gone when the client goes away, Ended when a fault closes the connection."""
    answer = reply.answers()[0]
    if g.fault is not None and g.has(FaultName.CONTENT_FILTER_FINISH):
        answer = Answer(answer.tokens[: g.fault.after], "content_filter", answer.tool)
    numbers = itertools.count()
    ident = g.entry.id.removeprefix("req_")
    composer = Composer(unfinished(reply.asked, f"resp_{ident}", int(g.entry.time)), lambda prefix: f"{prefix}_{ident}{next(numbers)}", lambda: g.entry.time)
    await (_stream(call, g, composer, answer) if g.entry.stream else _whole(call, g, composer, answer))
    talks.keep(reply, composer.response)
    g.entry.outcome = "completed"


async def _whole(call: Call, g: Generation, composer: Composer, answer: Answer) -> None:
    await call.pause(g.pace.due(max(0, len(answer.tokens) - 1)))
    g.entry.completion_tokens, g.entry.status = len(answer.tokens), 200
    composer.add(bodies.chat_message(answer))
    composer.finish(answer.finish)
    composer.complete(_usage(g))
    await send_whole(call, g, orjson.dumps(composer.response))


async def _stream(call: Call, g: Generation, composer: Composer, answer: Answer) -> None:
    clock = asyncio.get_running_loop().time
    began = clock()
    await call.pause(g.pace.first)
    g.entry.status = 200
    await call.start(200, [("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache"), *g.headers])
    await call.write(composer.begin())
    opening = bodies.chat_opening(0, answer)["delta"]
    await call.write(composer.add(opening))
    for step, token in enumerate(answer.tokens):
        if g.fault is not None and g.has(*BREAKING) and step >= g.fault.after:
            break
        await call.pause(began + g.pace.due(step) - clock())
        g.entry.completion_tokens += 1
        await call.write(composer.add(bodies.chat_token(0, answer, token)["delta"]))
    if g.has(*BREAKING):
        if g.has(FaultName.MALFORMED_CHUNK):
            await call.write(b'event: response.output_text.delta\ndata: {"type":"response.out\n\n')
        await stop(call, g)
    composer.finish(answer.finish)
    last = composer.complete(_usage(g))
    g.entry.reported = not g.has(FaultName.NO_USAGE)
    await call.write(b"" if g.has(FaultName.MISSING_DONE) else last, more=False)


def _usage(g: Generation) -> Usage | None:
    if g.has(FaultName.NO_USAGE):
        return None
    return Usage(input=g.entry.prompt_tokens, cached=g.entry.cached_tokens, output=g.entry.completion_tokens)
