"""LlamaIndex: OpenAILike (`llama-index-llms-openai-like`) for chat, OpenAIResponses (`llama-index-llms-openai`), embeddings.

Its tools are made from a function's annotations as they stand: no `from __future__ import annotations` here.
"""

import json
from collections.abc import Iterator
from typing import Any, Literal

import report
from llama_index.core.llms import ChatMessage, MessageRole
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.llms.openai import OpenAIResponses
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel


class Verdict(BaseModel):
    """A structured answer."""

    label: Literal["yes", "no"]
    urgent: bool


def get_weather(city: Literal["Paris", "Rome"]) -> str:
    """The weather."""
    return report.weather(city)


TOOL = FunctionTool.from_defaults(get_weather)
QUESTION = [ChatMessage(report.QUESTION)]


def model(key: str = report.API_KEY, name: str = report.MODEL, limit: int | None = report.MAX_TOKENS) -> OpenAILike:
    """A chat model."""
    settings: Any = {"is_chat_model": True, "is_function_calling_model": True, "should_use_structured_outputs": True, "max_retries": 0}
    return OpenAILike(model=name, api_base=report.BASE_URL, api_key=key, max_tokens=limit, temperature=0, timeout=report.TIMEOUT_S, **settings)


def responses() -> OpenAIResponses:
    """A model over the Responses API."""
    settings: Any = {"max_output_tokens": report.MAX_TOKENS, "context_window": 4000, "max_retries": 0}
    return OpenAIResponses(model=report.MODEL, api_base=report.BASE_URL, api_key=report.API_KEY, temperature=0, timeout=report.TIMEOUT_S, **settings)


def streamed(llm: Any, question: str) -> Iterator[str | None]:
    """The texts of a streamed answer."""
    for chunk in llm.stream_chat([ChatMessage(question)]):
        yield chunk.delta


def tools() -> dict[str, Any]:
    """A call, its result, the answer to that."""
    history = [ChatMessage(report.TOOL_QUESTION)]
    llm = model(limit=None)
    asked = llm.chat_with_tools([TOOL], chat_history=history, tool_choice="get_weather")
    calls = llm.get_tool_calls_from_response(asked)
    history.append(asked.message)
    for call in calls:
        result = TOOL(**call.tool_kwargs)
        history.append(ChatMessage(str(result.content), role=MessageRole.TOOL, additional_kwargs={"tool_call_id": call.tool_id}))
    answer = model().chat_with_tools([TOOL], chat_history=history)
    return {"called": [call.tool_name for call in calls], "text": answer.message.content}


def structured() -> dict[str, Any]:
    """An answer in a shape."""
    found = model(limit=None).structured_predict(Verdict, PromptTemplate(report.QUESTION))
    return dict(found.model_dump() if isinstance(found, Verdict) else json.loads(str(found)))


def embeddings() -> dict[str, Any]:
    """One vector."""
    made = OpenAIEmbedding(model_name=report.EMBEDDINGS, api_base=report.BASE_URL, api_key=report.API_KEY)
    return {"size": len(made.get_text_embedding(report.QUESTION))}


report.print_report(
    "llama-index-llms-openai-like",
    {
        "chat": lambda: {"text": model().chat(QUESTION).message.content},
        "stream": lambda: report.pieces(streamed(model(), report.QUESTION)),
        "tools": tools,
        "structured": structured,
        "broken_stream": lambda: report.pieces(streamed(model(), report.BROKEN)),
        "responses": lambda: {"text": responses().chat(QUESTION).message.content},
        "responses_stream": lambda: report.pieces(streamed(responses(), report.QUESTION)),
        "responses_broken_stream": lambda: report.pieces(streamed(responses(), report.BROKEN)),
        "embeddings": embeddings,
        "bad_key": lambda: report.refused(lambda: model(report.BAD_KEY).chat(QUESTION)),
        "unknown_model": lambda: report.refused(lambda: model(name=report.NO_MODEL).chat(QUESTION)),
    },
)
