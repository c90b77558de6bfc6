"""LangChain (`langchain-openai`): ChatOpenAI over chat completions and over responses, tools, structured output, embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import report
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, SecretStr


class Verdict(BaseModel):
    """A structured answer."""

    label: Literal["yes", "no"]
    urgent: bool


@tool
def get_weather(city: Literal["Paris", "Rome"]) -> str:
    """The weather."""
    return report.weather(city)


def model(key: str = report.API_KEY, name: str = report.MODEL, limit: int | None = report.MAX_TOKENS, **more: Any) -> ChatOpenAI:
    """A chat model."""
    settings: Any = {"model": name, "max_tokens": limit, "temperature": 0, "timeout": report.TIMEOUT_S, **more}
    return ChatOpenAI(base_url=report.BASE_URL, api_key=SecretStr(key), **settings)


def chat(**more: Any) -> dict[str, Any]:
    """A whole answer."""
    answer = model(**more).invoke(report.QUESTION)
    return {"text": answer.text, "tokens": (answer.usage_metadata or {}).get("total_tokens", 0)}


def streamed(question: str, **more: Any) -> Iterator[str | None]:
    """The texts of a streamed answer."""
    for chunk in model(**more).stream(question):
        yield chunk.text


def tools() -> dict[str, Any]:
    """A call, its result, the answer to that."""
    asked = model(limit=None).bind_tools([get_weather], tool_choice="get_weather").invoke([HumanMessage(report.TOOL_QUESTION)])
    results = [get_weather.invoke(call) for call in asked.tool_calls]
    assert all(isinstance(result, ToolMessage) for result in results)
    answer = model().bind_tools([get_weather]).invoke([HumanMessage(report.TOOL_QUESTION), asked, *results])
    return {"called": [call["name"] for call in asked.tool_calls], "text": answer.text}


def structured() -> dict[str, Any]:
    """An answer in a shape."""
    found: Any = model(limit=None).with_structured_output(Verdict).invoke(report.QUESTION)
    return dict(found.model_dump())


def embeddings() -> dict[str, Any]:
    """One vector. The length check would download a tokenizer."""
    made = OpenAIEmbeddings(base_url=report.BASE_URL, api_key=SecretStr(report.API_KEY), model=report.EMBEDDINGS, check_embedding_ctx_length=False)
    return {"size": len(made.embed_query(report.QUESTION))}


report.print_report(
    "langchain-openai",
    {
        "chat": chat,
        "stream": lambda: report.pieces(streamed(report.QUESTION)),
        "tools": tools,
        "structured": structured,
        "broken_stream": lambda: report.pieces(streamed(report.BROKEN)),
        "responses": lambda: chat(use_responses_api=True),
        "responses_stream": lambda: report.pieces(streamed(report.QUESTION, use_responses_api=True)),
        "responses_broken_stream": lambda: report.pieces(streamed(report.BROKEN, use_responses_api=True)),
        "embeddings": embeddings,
        "bad_key": lambda: report.refused(lambda: model(report.BAD_KEY).invoke(report.QUESTION)),
        "unknown_model": lambda: report.refused(lambda: model(name=report.NO_MODEL).invoke(report.QUESTION)),
    },
)
