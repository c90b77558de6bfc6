"""Pydantic AI (`pydantic-ai-slim`): agents over chat completions and over responses, a tool's whole round, structured output, embeddings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal

import report
from pydantic import BaseModel
from pydantic_ai import Agent, Embedder, NativeOutput, ToolOutput
from pydantic_ai.embeddings.openai import OpenAIEmbeddingModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider


class Verdict(BaseModel):
    """A structured answer."""

    label: Literal["yes", "no"]
    urgent: bool


SETTINGS: Any = {"max_tokens": report.MAX_TOKENS, "temperature": 0, "timeout": report.TIMEOUT_S}
UNLIMITED: Any = {"temperature": 0, "timeout": report.TIMEOUT_S}


def provider(key: str = report.API_KEY) -> OpenAIProvider:
    """The gateway."""
    return OpenAIProvider(base_url=report.BASE_URL, api_key=key)


def chat_model(key: str = report.API_KEY, name: str = report.MODEL) -> OpenAIChatModel:
    """A model over chat completions."""
    return OpenAIChatModel(name, provider=provider(key))


def responses_model() -> OpenAIResponsesModel:
    """A model over the Responses API."""
    return OpenAIResponsesModel(report.MODEL, provider=provider())


async def answered(model: Any) -> dict[str, Any]:
    """A whole answer."""
    done = await Agent(model, model_settings=SETTINGS).run(report.QUESTION)
    return {"text": done.output, "tokens": done.usage.total_tokens}


async def streamed(model: Any, question: str) -> AsyncIterator[str | None]:
    """The texts of a streamed answer."""
    async with Agent(model, model_settings=SETTINGS).run_stream(question) as run:
        async for piece in run.stream_text(delta=True, debounce_by=None):
            yield piece


async def tools() -> dict[str, Any]:
    """The agent's own loop: it calls the tool and goes on with the result."""
    called: list[str] = []
    agent = Agent(chat_model(), model_settings=UNLIMITED)

    @agent.tool_plain
    def get_weather(city: Literal["Paris", "Rome"]) -> str:
        """The weather."""
        called.append("get_weather")
        return report.weather(city)

    done = await agent.run(report.TOOL_QUESTION)
    return {"called": called, "text": done.output}


async def forced() -> dict[str, Any]:
    """A tool that the client insists on: its structured output is one."""
    done = await Agent(chat_model(), output_type=ToolOutput(Verdict), model_settings=UNLIMITED, retries=0).run(report.QUESTION)
    return done.output.model_dump()


async def structured() -> dict[str, Any]:
    """An answer in a shape."""
    done = await Agent(chat_model(), output_type=NativeOutput(Verdict), model_settings=UNLIMITED, retries=0).run(report.QUESTION)
    return done.output.model_dump()


async def embeddings() -> dict[str, Any]:
    """One vector."""
    made = await Embedder(OpenAIEmbeddingModel(report.EMBEDDINGS, provider=provider())).embed_query(report.QUESTION)
    return {"size": len(made.embeddings[0])}


report.print_report(
    "pydantic-ai-slim",
    {
        "chat": lambda: answered(chat_model()),
        "stream": lambda: report.pieces_async(streamed(chat_model(), report.QUESTION)),
        "tools": tools,
        "forced_tool": forced,
        "structured": structured,
        "broken_stream": lambda: report.pieces_async(streamed(chat_model(), report.BROKEN)),
        "responses": lambda: answered(responses_model()),
        "responses_stream": lambda: report.pieces_async(streamed(responses_model(), report.QUESTION)),
        "responses_broken_stream": lambda: report.pieces_async(streamed(responses_model(), report.BROKEN)),
        "embeddings": embeddings,
        "bad_key": lambda: report.refused_async(lambda: answered(chat_model(report.BAD_KEY))),
        "unknown_model": lambda: report.refused_async(lambda: answered(chat_model(name=report.NO_MODEL))),
    },
)
