"""`openai`, the official Python client, called asynchronously; streams through its own helpers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Literal

import openai
import report
from pydantic import BaseModel


class Verdict(BaseModel):
    """A structured answer."""

    label: Literal["yes", "no"]
    urgent: bool


class GetWeather(BaseModel):
    """The tool's arguments."""

    city: Literal["Paris", "Rome"]


TOOLS: Any = [openai.pydantic_function_tool(GetWeather, name="get_weather")]
SETTINGS: Any = {"model": report.MODEL, "max_tokens": report.MAX_TOKENS, "temperature": 0}
RESPONSE: Any = {"model": report.MODEL, "max_output_tokens": report.MAX_TOKENS, "temperature": 0}


def client(key: str = report.API_KEY) -> openai.AsyncOpenAI:
    """One for each event loop."""
    return openai.AsyncOpenAI(base_url=report.BASE_URL, api_key=key, timeout=report.TIMEOUT_S)


def says(text: str) -> Any:
    """A conversation of one message."""
    return [{"role": "user", "content": text}]


async def chat() -> dict[str, Any]:
    """A whole answer."""
    answer = await client().chat.completions.create(messages=says(report.QUESTION), **SETTINGS)
    return {"text": answer.choices[0].message.content, "tokens": answer.usage.total_tokens if answer.usage else 0}


async def streamed(question: str) -> AsyncIterator[str | None]:
    """The texts of a streamed answer."""
    async with client().chat.completions.stream(messages=says(question), **SETTINGS) as stream:
        async for event in stream:
            yield event.delta if event.type == "content.delta" else None


async def tools() -> dict[str, Any]:
    """A call in a stream, its result, the answer to that."""
    messages, choice = says(report.TOOL_QUESTION), {"type": "function", "function": {"name": "get_weather"}}
    wanted: Any = {"tools": TOOLS, "tool_choice": choice, "model": report.MODEL, "temperature": 0}
    async with client().chat.completions.stream(messages=messages, **wanted) as stream:
        asked = (await stream.get_final_completion()).choices[0].message
    call: Any = (asked.tool_calls or [])[0]
    result = report.weather(**json.loads(call.function.arguments))
    made = {"id": call.id, "type": "function", "function": {"name": call.function.name, "arguments": call.function.arguments}}
    messages += [{"role": "assistant", "tool_calls": [made]}, {"role": "tool", "tool_call_id": call.id, "content": result}]
    answer = await client().chat.completions.create(messages=messages, tools=TOOLS, **SETTINGS)
    return {"called": [call.function.name], "text": answer.choices[0].message.content}


async def structured() -> dict[str, Any]:
    """An answer in a shape."""
    answer = await client().chat.completions.parse(messages=says(report.QUESTION), response_format=Verdict, model=report.MODEL, temperature=0)
    found = answer.choices[0].message.parsed
    return found.model_dump() if found else {}


async def responses() -> dict[str, Any]:
    """A whole answer of the Responses API, in a shape."""
    answer = await client().responses.parse(input=report.QUESTION, text_format=Verdict, model=report.MODEL, temperature=0)
    return {"text": answer.output_text, "verdict": answer.output_parsed.model_dump() if answer.output_parsed else None}


async def responses_streamed(question: str) -> AsyncIterator[str | None]:
    """The texts of a streamed answer of the Responses API."""
    async with client().responses.stream(input=question, **RESPONSE) as stream:
        async for event in stream:
            yield event.delta if event.type == "response.output_text.delta" else None


async def embeddings() -> dict[str, Any]:
    """One vector."""
    return {"size": len((await client().embeddings.create(model=report.EMBEDDINGS, input=[report.QUESTION])).data[0].embedding)}


report.print_report(
    "openai",
    {
        "chat": chat,
        "stream": lambda: report.pieces_async(streamed(report.QUESTION)),
        "tools": tools,
        "structured": structured,
        "broken_stream": lambda: report.pieces_async(streamed(report.BROKEN)),
        "responses": responses,
        "responses_stream": lambda: report.pieces_async(responses_streamed(report.QUESTION)),
        "responses_broken_stream": lambda: report.pieces_async(responses_streamed(report.BROKEN)),
        "embeddings": embeddings,
        "bad_key": lambda: report.refused_async(lambda: client(report.BAD_KEY).chat.completions.create(messages=says(report.QUESTION), **SETTINGS)),
        "unknown_model": lambda: report.refused_async(lambda: client().chat.completions.create(messages=says(report.QUESTION), model=report.NO_MODEL)),
    },
)
