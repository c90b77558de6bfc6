"""router.responses: what bodies of the Responses API need."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.capability import HOSTED, needs

LOOKUP = {"type": "function", "name": "lookup", "parameters": {"type": "object"}}


def said(*parts: dict[str, Any], role: str = "user") -> dict[str, Any]:
    """A body with one message of these parts."""
    return {"input": [{"role": role, "content": list(parts)}]}


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ({"input": "Hi"}, set()),
        ({"input": "Hi", "instructions": "x", "max_output_tokens": 5, "temperature": 0, "top_p": 1, "metadata": {"a": "b"}, "user": "u"}, set()),
        ({"input": "Hi", "store": True, "truncation": "disabled", "background": False, "service_tier": "auto", "conversation": None}, set()),
        ({"input": "Hi", "tools": [], "tool_choice": "auto", "parallel_tool_calls": True, "text": {"format": {"type": "text"}}}, set()),
        ({"tools": [LOOKUP], "tool_choice": {"type": "function", "name": "lookup"}, "parallel_tool_calls": False}, {"tools", "parallel_tool_calls"}),
        ({"tools": [LOOKUP], "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}}, {"tools"}),
        ({"tools": [{"type": "web_search"}, LOOKUP]}, {"built_in_tools", "tools"}),
        ({"tools": [{"type": "file_search", "vector_store_ids": ["v"]}]}, {"built_in_tools"}),
        ({"tool_choice": {"type": "web_search"}}, {"built_in_tools"}),
        ({"text": {"format": {"type": "json_schema", "name": "x", "schema": {}}, "verbosity": "low"}}, {"json_schema", "verbosity"}),
        ({"text": {"format": {"type": "json_object"}, "verbosity": "medium"}}, {"json_object"}),
        ({"reasoning": {"effort": "low", "summary": "auto"}, "service_tier": "flex"}, {"reasoning_effort", "service_tier"}),
        ({"reasoning": {"summary": "auto"}, "include": ["reasoning.encrypted_content"]}, set()),
        ({"top_logprobs": 3}, {"logprobs"}),
        ({"include": ["message.output_text.logprobs"]}, {"logprobs"}),
        ({"background": True, "conversation": "conv_1", "prompt": {"id": "p"}}, {"background", "conversation", "prompt_template"}),
        ({"previous_response_id": "resp_1"}, {"response_state"}),
        ({"truncation": "auto", "context_management": [{"type": "compaction"}]}, {"truncation", "context_management"}),
        ({"moderation": {"model": "omni"}}, {"response_moderation"}),
        (said({"type": "input_text", "text": "x"}), set()),
        (said({"type": "output_text", "text": "x"}, {"type": "refusal", "refusal": "x"}, role="assistant"), set()),
        (said({"type": "input_image", "image_url": "data:"}), {"vision"}),
        (said({"type": "input_image", "file_id": "file_1"}), {"vision", "provider_files"}),
        (said({"type": "input_file", "file_data": "data:", "filename": "a.pdf"}), {"files"}),
        (said({"type": "input_file", "file_url": "https://x"}), {"files", "provider_files"}),
        (said({"type": "input_audio", "input_audio": {}}), {"audio"}),
        (said({"type": "input_smell"}), {"response_items"}),
        ({"input": [{"type": "function_call", "call_id": "c"}, {"type": "function_call_output", "call_id": "c", "output": "1"}, {"type": "reasoning"}]}, set()),
        ({"input": [{"type": "function_call_output", "output": [{"type": "input_text", "text": "1"}]}]}, set()),
        ({"input": [{"type": "function_call_output", "output": [{"type": "input_image", "image_url": "data:"}]}]}, {"response_items"}),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, {"response_state"}),
        ({"input": [{"id": "msg_1"}]}, {"response_state"}),
        ({"input": [{"type": [], "content": [{"type": {}}]}], "tool_choice": {"type": []}}, {"response_state", "built_in_tools"}),
        ({"input": [{"type": "web_search_call", "id": "ws"}]}, {"response_items"}),
    ],
)
def test_what_a_body_needs(body: dict[str, Any], asked: set[str]) -> None:
    """What chat can say needs what chat needs; everything else needs a provider that has the API."""
    assert needs(body, "responses") == asked | {"responses"}


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "role", "content", "effort", "format", "output"]), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(["input", "tools", "tool_choice", "text", "reasoning", "include", "truncation", "service_tier", "previous_response_id", "prompt"])


@given(st.dictionaries(fields, json_values))
def test_nonsense_does_no_harm(body: dict[str, Any]) -> None:
    """No JSON of a wrong type raises, and only capabilities of the table come out."""
    assert needs(body, "responses") <= HOSTED
