"""Instructor: structured answers by a forced tool, by a JSON schema, over responses, and as a stream of partial objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import instructor
import openai
import report
from pydantic import BaseModel


class Verdict(BaseModel):
    """A structured answer."""

    label: Literal["yes", "no"]
    urgent: bool


SETTINGS: Any = {"model": report.MODEL, "temperature": 0, "max_retries": 0}


def client(mode: instructor.Mode, key: str = report.API_KEY) -> instructor.Instructor:
    """The official client in Instructor's hands."""
    return instructor.from_openai(openai.OpenAI(base_url=report.BASE_URL, api_key=key, timeout=report.TIMEOUT_S), mode=mode)


def says(text: str) -> Any:
    """A conversation of one message."""
    return [{"role": "user", "content": text}]


def extracted(mode: instructor.Mode) -> dict[str, Any]:
    """An answer in a shape."""
    return dict(client(mode).create(response_model=Verdict, messages=says(report.QUESTION), **SETTINGS).model_dump())


def partial(question: str) -> Iterator[str | None]:
    """What a stream of partial objects shows."""
    for seen in client(instructor.Mode.TOOLS).create_partial(response_model=Verdict, messages=says(question), **SETTINGS):
        yield seen.model_dump_json()


report.print_report(
    "instructor",
    {
        "partial_objects": lambda: report.pieces(partial(report.QUESTION)),
        "tools": lambda: {"called": ["Verdict"], "text": repr(extracted(instructor.Mode.TOOLS))},
        "structured": lambda: extracted(instructor.Mode.JSON_SCHEMA),
        "broken_stream": lambda: report.pieces(partial(report.BROKEN)),
        "responses": lambda: {"text": repr(extracted(instructor.Mode.RESPONSES_TOOLS))},
        "bad_key": lambda: report.refused(
            lambda: client(instructor.Mode.TOOLS, report.BAD_KEY).create(response_model=Verdict, messages=says(report.QUESTION), **SETTINGS)
        ),
        "unknown_model": lambda: report.refused(
            lambda: client(instructor.Mode.TOOLS).create(response_model=Verdict, messages=says(report.QUESTION), **{**SETTINGS, "model": report.NO_MODEL})
        ),
    },
)
