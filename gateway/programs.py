"""A candidate's program applied to a request: the messages it is sent instead of the client's, looked up within its own deadline.

The client's request itself stays as it is: other candidates, captures and the count of its bytes see the original.
Not here: what a program is and how it renders (serving/programs.py), which candidate has one (plans.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from gateway.wire import Ask, prompt_bytes
from router.capability import speaks_responses
from router.errors import UpstreamTimeout
from serving.programs import Program

# What a program cannot be put before.
NOT_TALKS = frozenset({"completions", "embeddings", "suffix", "best_of"})


async def applied(program: Program, ask: Ask, name: str, provider_kind: str) -> tuple[Ask, int]:
    """The request as this candidate is asked it, and how many bytes of text that added. UpstreamTimeout when the look-up takes too long."""
    native = ask.chat is not None and speaks_responses(provider_kind)
    make: Callable[[], Ask] = (lambda: _native(program, ask)) if native else (lambda: _chat(program, ask))
    if not program.looks_up:
        made = make()
    else:
        try:
            async with asyncio.timeout(program.spec.timeout_ms / 1000.0):
                made = await asyncio.to_thread(make)
        except TimeoutError:
            waited = f"{name} found no passages or examples within {program.spec.timeout_ms:g} ms (program.retrieval.timeout_ms)"
            raise UpstreamTimeout(waited, phase="retrieval") from None
    return made, max(0, _bytes(made, native=native) - _bytes(ask, native=native))


def _chat(program: Program, ask: Ask) -> Ask:
    body = {**ask.conversation, "messages": program.render(ask.conversation["messages"])}
    return replace(ask, body=body) if ask.chat is None else replace(ask, chat=body)


def _native(program: Program, ask: Ask) -> Ask:
    """For a backend that speaks Responses itself. A conversation it keeps has had its examples with the first turn."""
    given = ask.body.get("input")
    items: Any = [{"role": "user", "content": given}] if isinstance(given, str) else given if isinstance(given, list) else []
    told = ask.body.get("instructions")
    said = "\n\n".join(text for text in (program.system, told) if isinstance(text, str) and text)
    begun = ask.body.get("previous_response_id") is not None
    rendered = replace(program, system=None, shots=() if begun else program.shots, shot_index=None if begun else program.shot_index).render(items)
    return replace(ask, body={**ask.body, "input": rendered, **({"instructions": said} if said else {})})


def _bytes(ask: Ask, *, native: bool) -> int:
    if not native:
        return prompt_bytes(ask)
    return _text_bytes(ask.body.get("instructions")) + _text_bytes(ask.body.get("input"))


def _text_bytes(value: object) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "replace"))
    if isinstance(value, list):
        return sum(_text_bytes(item) for item in value)
    if isinstance(value, Mapping):
        return _text_bytes(value.get("content")) + _text_bytes(value.get("text"))
    return 0
