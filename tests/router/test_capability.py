"""router.capability: what real request bodies need, and who takes it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.capability import HOSTED, NATIVE, REASONS, TABLE, VLLM, Endpoint, engine_takes, needs, provider_takes, remedy, speaks_responses

HELLO = [{"role": "user", "content": "Hello"}]
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}
TRIAGE = {"type": "json_schema", "json_schema": {"name": "triage", "strict": True, "schema": {"type": "object"}}}


def chat(**fields: Any) -> dict[str, Any]:
    """A chat body as the SDK sends it."""
    return {"model": "support-triage", "messages": HELLO, **fields}


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        (chat(), set()),
        (chat(temperature=0, top_p=1, max_tokens=5, stream=True, stream_options={"include_usage": True}, user="u", metadata={"a": "b"}), set()),
        (chat(prompt_cache_key="k", safety_identifier="s", presence_penalty=0.1, frequency_penalty=0.1), set()),
        (chat(max_completion_tokens=20), {"max_completion_tokens"}),
        (chat(tools=[WEATHER], tool_choice="auto"), {"tools"}),
        (chat(tools=[WEATHER], parallel_tool_calls=False), {"tools", "parallel_tool_calls"}),
        (chat(tools=[WEATHER], parallel_tool_calls=True), {"tools"}),
        (chat(tools=[{"type": "custom", "custom": {"name": "code"}}]), {"tools", "custom_tools"}),
        (chat(functions=[WEATHER["function"]], function_call="auto"), {"functions"}),
        (chat(response_format=TRIAGE), {"json_schema"}),
        (chat(response_format={"type": "json_object"}), {"json_object"}),
        (chat(response_format={"type": "text"}), set()),
        (chat(logprobs=True, top_logprobs=3, n=2, seed=0, stop=["\n"]), {"logprobs", "n", "seed", "stop"}),
        (chat(logprobs=False, n=1, seed=None, stop=None), set()),
        (chat(logit_bias={"50256": -100}), {"logit_bias"}),
        (chat(logit_bias={}), set()),
        (chat(reasoning_effort="low", verbosity="low"), {"reasoning_effort", "verbosity"}),
        (chat(reasoning_effort=None, verbosity="medium"), set()),
        (chat(service_tier="auto"), set()),
        (chat(service_tier="flex", store=True), {"service_tier", "store"}),
        (chat(store=False), set()),
        (chat(prediction={"type": "content", "content": "x"}), {"prediction"}),
        (chat(web_search_options={"search_context_size": "low"}), {"web_search"}),
        (chat(modalities=["text", "audio"], audio={"voice": "alloy", "format": "wav"}), {"audio"}),
        (chat(modalities=["text"]), set()),
        ({"messages": [{"role": "developer", "content": "Be brief"}, *HELLO]}, {"developer_role"}),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "what is this"}, {"type": "image_url", "image_url": {"url": "data:"}}]}]},
            {"vision"},
        ),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}]}]}, {"audio"}),
        ({"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]}, {"files"}),
        ({"prompt": "Once", "best_of": 3, "suffix": "end"}, {"completions", "best_of", "suffix"}),
        ({"prompt": ["a", "b"], "echo": True}, {"completions"}),
        ({"input": "embed me"}, {"embeddings"}),
    ],
)
def test_what_a_body_needs(body: dict[str, Any], asked: set[str]) -> None:
    """Fields with a value other than the API's default need their capability, and nothing else does."""
    assert needs(body) == asked


@pytest.mark.parametrize(("endpoint", "asked"), [("responses", {"responses"}), ("embeddings", {"embeddings"}), ("chat", set())])
def test_the_endpoint_can_be_told(endpoint: Endpoint, asked: set[str]) -> None:
    """Responses and embeddings share their fields: who knows the path says which it is."""
    assert needs({"input": "x"}, endpoint) == asked


def test_an_empty_body_needs_nothing() -> None:
    """A body without a known shape reads as plain chat: the backend will say what is missing."""
    assert needs({}) == frozenset()


@given(st.dictionaries(st.text().filter(lambda k: k not in REASONS and k not in {"input", "prompt"}), st.integers()))
def test_fields_of_the_future_exclude_nobody(extra: dict[str, int]) -> None:
    """A field nobody has heard of adds no need."""
    assert needs({"messages": HELLO, **{f"x_{key}": value for key, value in extra.items()}}) == frozenset()


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(
    ["messages", "tools", "response_format", "modalities", "n", "stop", "logit_bias", "service_tier", "prompt", "input", "verbosity", "seed"]
)


@given(st.dictionaries(fields, json_values))
def test_nonsense_is_left_to_the_backend(body: dict[str, Any]) -> None:
    """No JSON of a wrong type raises, and only capabilities of the table come out."""
    assert needs(body) <= HOSTED


def test_the_table_is_whole() -> None:
    """Names are unique, each row has a reason, hosted takes everything, and vLLM takes what the design says."""
    assert len({row.name for row in TABLE}) == len(TABLE)
    assert all(row.reason for row in TABLE)
    assert set(REASONS) == HOSTED
    assert VLLM < HOSTED
    assert {"tools", "json_schema", "logprobs", "n", "seed", "max_completion_tokens", "completions"} <= VLLM
    assert VLLM.isdisjoint({"logit_bias", "reasoning_effort", "audio", "prediction", "service_tier", "store", "web_search", "embeddings"})


def test_an_engine_takes_what_it_was_started_with() -> None:
    """Without a tool-call parser no tools; with a base that sees, images."""
    assert engine_takes() == VLLM
    assert "tools" not in engine_takes(tool_calls=False)
    assert engine_takes(vision=True) == VLLM | {"vision"}


def test_only_some_providers_have_the_responses_api() -> None:
    """OpenAI and Azure have it; others take what chat can say; engines too. What is missing elsewhere has a remedy that names the parameter."""
    assert provider_takes("openai") == provider_takes("azure") == HOSTED
    assert provider_takes("compatible") == HOSTED - NATIVE
    assert NATIVE.isdisjoint(VLLM)
    assert "responses" in VLLM
    assert [speaks_responses(kind) for kind in ("openai", "azure", "compatible", "")] == [True, True, False, False]
    assert remedy("background") == ("background", "leave `background` out")
    assert remedy("tools") is None
