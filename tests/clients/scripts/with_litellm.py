"""LiteLLM as a client: its SDK with the `openai/` prefix and `api_base`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

import litellm
import report
from pydantic import BaseModel


class Verdict(BaseModel):
    """A structured answer."""

    label: Literal["yes", "no"]
    urgent: bool


litellm.suppress_debug_info = True
litellm.drop_params = False
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string", "enum": list(report.CITIES)}}, "required": ["city"], "additionalProperties": False}
TOOLS: Any = [{"type": "function", "function": {"name": "get_weather", "description": "The weather.", "parameters": PARAMETERS}}]
GATEWAY: Any = {"api_base": report.BASE_URL, "api_key": report.API_KEY, "timeout": report.TIMEOUT_S, "num_retries": 0}
MODEL = f"openai/{report.MODEL}"
LIMITED: Any = {"max_tokens": report.MAX_TOKENS, "temperature": 0}


def says(text: str) -> list[Any]:
    """A conversation of one message."""
    return [{"role": "user", "content": text}]


def chat(**more: Any) -> dict[str, Any]:
    """A whole answer."""
    answer: Any = litellm.completion(**{"model": MODEL, "messages": says(report.QUESTION), **LIMITED, **GATEWAY, **more})
    return {"text": answer.choices[0].message.content, "tokens": answer.usage.total_tokens}


def streamed(question: str) -> Iterator[str | None]:
    """The texts of a streamed answer."""
    stream: Any = litellm.completion(model=MODEL, messages=says(question), stream=True, **LIMITED, **GATEWAY)
    for chunk in stream:
        yield chunk.choices[0].delta.content if chunk.choices else None


def tools() -> dict[str, Any]:
    """A call, its result, the answer to that."""
    messages = says(report.TOOL_QUESTION)
    choice: Any = {"type": "function", "function": {"name": "get_weather"}}
    asked: Any = litellm.completion(model=MODEL, messages=messages, tools=TOOLS, tool_choice=choice, temperature=0, **GATEWAY)
    call = asked.choices[0].message.tool_calls[0]
    result = report.weather(**json.loads(call.function.arguments))
    messages += [asked.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": result}]
    answer: Any = litellm.completion(model=MODEL, messages=messages, tools=TOOLS, **LIMITED, **GATEWAY)
    return {"called": [call.function.name], "text": answer.choices[0].message.content}


def structured() -> dict[str, Any]:
    """An answer in a shape."""
    answer: Any = litellm.completion(model=MODEL, messages=says(report.QUESTION), response_format=Verdict, temperature=0, **GATEWAY)
    return Verdict.model_validate_json(answer.choices[0].message.content).model_dump()


def responses() -> dict[str, Any]:
    """A whole answer of the Responses API."""
    answer: Any = litellm.responses(model=MODEL, input=report.QUESTION, max_output_tokens=report.MAX_TOKENS, temperature=0, **GATEWAY)
    return {"text": answer.output[0].content[0].text}


def responses_streamed(question: str) -> Iterator[str | None]:
    """The texts of a streamed answer of the Responses API."""
    stream: Any = litellm.responses(model=MODEL, input=question, max_output_tokens=report.MAX_TOKENS, temperature=0, stream=True, **GATEWAY)
    for event in stream:
        yield event.delta if event.type == "response.output_text.delta" else None


def embeddings() -> dict[str, Any]:
    """One vector."""
    answer: Any = litellm.embedding(model=f"openai/{report.EMBEDDINGS}", input=[report.QUESTION], **GATEWAY)
    return {"size": len(answer.data[0]["embedding"])}


report.print_report(
    "litellm",
    {
        "chat": chat,
        "stream": lambda: report.pieces(streamed(report.QUESTION)),
        "tools": tools,
        "structured": structured,
        "broken_stream": lambda: report.pieces(streamed(report.BROKEN)),
        "responses": responses,
        "responses_stream": lambda: report.pieces(responses_streamed(report.QUESTION)),
        "responses_broken_stream": lambda: report.pieces(responses_streamed(report.BROKEN)),
        "embeddings": embeddings,
        "bad_key": lambda: report.refused(lambda: chat(api_key=report.BAD_KEY)),
        "unknown_model": lambda: report.refused(lambda: chat(model=f"openai/{report.NO_MODEL}")),
    },
)
