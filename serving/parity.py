"""Whether the server renders a conversation to the very tokens the trainer saw: the other half of the proof beside `verify.py`.

Public: `read_conversations(directory) -> tuple[Conversation, ...]`, `first_difference`, `check(client, base, path, context) -> Parity`.
The trainer records a few conversations with their token ids in probes.json; the server's `/tokenize` must give the same. A template, tokenizer or
server version that renders otherwise asks the adapter in a language it was not taught, and no log-probability on recorded ids can show that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router.errors import DataError, Reason, UpstreamRefused
from serving.client import Client

PROBES = "probes.json"
# Statuses of a server that has no such endpoint, as opposed to one that refuses this conversation.
ABSENT = (404, 405, 501)


@dataclass(frozen=True, slots=True)
class Conversation:
    """OpenAI-format messages and tools, and the ids the trainer made of them, the answer included."""

    messages: tuple[Mapping[str, Any], ...]
    tools: tuple[Mapping[str, Any], ...]
    token_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Parity:
    """`compared` conversations; no reasons means that all were equal. Zero compared: none was recorded, or the server cannot be asked."""

    compared: int
    reasons: tuple[Reason, ...] = ()


def read_conversations(directory: Path) -> tuple[Conversation, ...]:
    """What the trainer recorded; none where it recorded none (adapters made elsewhere). Raises DataError when the file is damaged."""
    path = directory / PROBES
    if not path.is_file():
        return ()
    try:
        rows = json.loads(path.read_text(encoding="utf-8")).get("conversations", [])
        return tuple(Conversation(tuple(row["messages"]), tuple(row.get("tools") or ()), tuple(int(t) for t in row["token_ids"])) for row in rows)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"the conversations of {PROBES} cannot be read: {error!r}; publish the adapter again") from error


def first_difference(seen: Sequence[int], served: Sequence[int]) -> int | None:
    """The first position at which two id sequences differ; None when they are equal."""
    for at, (one, other) in enumerate(zip(seen, served, strict=False)):
        if one != other:
            return at
    return None if len(seen) == len(served) else min(len(seen), len(served))


async def check(client: Client, base: str, path: Path, context: int | None = None) -> Parity:
    """Ask the server for each recorded conversation that fits its `context` (tokens). Raises UpstreamError when it does not answer."""
    try:
        recorded = read_conversations(path)
    except DataError as error:
        return Parity(0, (Reason("probes_damaged", error.message, "publish the adapter again"),))
    fitting = [one for one in recorded if context is None or len(one.token_ids) <= context]
    compared = 0
    for one in fitting:
        try:
            served = await client.tokenize(base, one.messages, one.tools)
        except UpstreamRefused as error:
            if error.status in ABSENT:
                return Parity(compared)
            if error.status >= 500:
                raise
            said = f"the server does not render a conversation the trainer learnt from: {error.message}"
            return Parity(compared, (Reason("tokens_differ", said, "serve the base with the chat template it was trained with"),))
        at = first_difference(one.token_ids, served)
        if at is not None:
            return Parity(compared, (_differ(one.token_ids, served, at),))
        compared += 1
    return Parity(compared)


def _differ(seen: Sequence[int], served: Sequence[int], at: int) -> Reason:
    here, there = (str(ids[at]) if at < len(ids) else "the end" for ids in (seen, served))
    said = f"the server renders a conversation to {len(served)} tokens, the trainer saw {len(seen)}: at token {at} there is {there} instead of {here}"
    return Reason("tokens_differ", said, "serve the base with the tokenizer and chat template it was trained with, and with the same versions of both")
