"""`openai`, the official Python client, called synchronously."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

import openai
import report
from pydantic import BaseModel


class Verdict(BaseModel):
    """A structured answer."""

    label: Literal["yes", "no"]
    urgent: bool


PARAMETERS = {"type": "object", "properties": {"city": {"type": "string", "enum": list(report.CITIES)}}, "required": ["city"], "additionalProperties": False}
FUNCTION = {"name": "get_weather", "description": "The weather.", "parameters": PARAMETERS}
TOOLS: Any = [{"type": "function", "function": FUNCTION}]
SETTINGS: Any = {"model": report.MODEL, "max_tokens": report.MAX_TOKENS, "temperature": 0}
RESPONSE: Any = {"model": report.MODEL, "max_output_tokens": report.MAX_TOKENS, "temperature": 0}
client = openai.OpenAI(base_url=report.BASE_URL, api_key=report.API_KEY, timeout=report.TIMEOUT_S)
stranger = openai.OpenAI(base_url=report.BASE_URL, api_key=report.BAD_KEY)


def says(text: str) -> Any:
    """A conversation of one message."""
    return [{"role": "user", "content": text}]


def chat() -> dict[str, Any]:
    """A whole answer."""
    answer = client.chat.completions.create(messages=says(report.QUESTION), **SETTINGS)
    return {"text": answer.choices[0].message.content, "tokens": answer.usage.total_tokens if answer.usage else 0}


def streamed(question: str) -> Iterator[str | None]:
    """The texts of a streamed answer."""
    for chunk in client.chat.completions.create(messages=says(question), stream=True, **SETTINGS):
        yield chunk.choices[0].delta.content if chunk.choices else None


def tools() -> dict[str, Any]:
    """A call, its result, the answer to that."""
    messages = says(report.TOOL_QUESTION)
    choice: Any = {"type": "function", "function": {"name": "get_weather"}}
    asked = client.chat.completions.create(messages=messages, tools=TOOLS, tool_choice=choice, model=report.MODEL, temperature=0).choices[0].message
    call: Any = (asked.tool_calls or [])[0]
    result = report.weather(**json.loads(call.function.arguments))
    messages += [asked, {"role": "tool", "tool_call_id": call.id, "content": result}]
    answer = client.chat.completions.create(messages=messages, tools=TOOLS, **SETTINGS)
    return {"called": [call.function.name], "text": answer.choices[0].message.content}


def structured() -> dict[str, Any]:
    """An answer in a shape."""
    answer = client.chat.completions.parse(messages=says(report.QUESTION), response_format=Verdict, model=report.MODEL, temperature=0)
    found = answer.choices[0].message.parsed
    return found.model_dump() if found else {}


def responses() -> dict[str, Any]:
    """A whole answer of the Responses API, and the one that goes on from it."""
    first = client.responses.create(input=report.QUESTION, **RESPONSE)
    second = client.responses.create(input=report.QUESTION, previous_response_id=first.id, **RESPONSE)
    return {"text": first.output_text, "again": second.output_text}


def responses_streamed(question: str) -> Iterator[str | None]:
    """The texts of a streamed answer of the Responses API."""
    for event in client.responses.create(input=question, stream=True, **RESPONSE):
        yield event.delta if event.type == "response.output_text.delta" else None


report.print_report(
    "openai",
    {
        "chat": chat,
        "stream": lambda: report.pieces(streamed(report.QUESTION)),
        "tools": tools,
        "structured": structured,
        "broken_stream": lambda: report.pieces(streamed(report.BROKEN)),
        "responses": responses,
        "responses_stream": lambda: report.pieces(responses_streamed(report.QUESTION)),
        "responses_broken_stream": lambda: report.pieces(responses_streamed(report.BROKEN)),
        "embeddings": lambda: {"size": len(client.embeddings.create(model=report.EMBEDDINGS, input=report.QUESTION).data[0].embedding)},
        "bad_key": lambda: report.refused(lambda: stranger.chat.completions.create(messages=says(report.QUESTION), **SETTINGS)),
        "unknown_model": lambda: report.refused(lambda: client.chat.completions.create(messages=says(report.QUESTION), model=report.NO_MODEL)),
    },
)
