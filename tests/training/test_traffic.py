"""training/traffic.py: captured exchanges as examples, under the providers' terms."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.store.captures import Capture
from router.errors import DataError
from training import traffic
from training.traffic import Terms

TERMS = {"openai": Terms(train_on_outputs=False), "own": Terms(train_on_outputs=True), "box": Terms(train_on_outputs=False, sandbox=True)}
ENGINES = ("local",)


def capture(backend: str | None, response: str = "fine", finish: str | None = "stop", **more: Any) -> Capture:
    """One captured exchange."""
    request = {"model": "r", "messages": [{"role": "user", "content": "how?"}], **more.pop("request", {})}
    return Capture("x", "r", 1.0, request, response, finish, backend, **more)


def test_only_answers_that_may_be_used_are_used() -> None:
    """Allowed and sandbox providers count; others, our engines, cut and empty answers are skipped, each with its reason."""
    found = traffic.from_captures(
        [
            capture("own/gpt"), capture("box/gpt"), capture("openai/gpt"), capture("local/a@1"), capture(None), capture("own/gpt", finish="length"),
            capture("own/gpt", " "), capture("own/gpt", request={"messages": []}),
            capture("own/gpt", request={"messages": None}), capture("own/gpt", finish=None),
        ],
        TERMS,
        ENGINES,
    )  # fmt: skip
    assert [e.line for e in found.examples] == [1, 2, 10]
    assert found.backends == {"own/gpt": 2, "box/gpt": 1}
    assert found.skipped == {
        "providers.openai.train_on_outputs is false": 1,
        "answered by our own engine": 1,
        "answered by an unknown backend, which is not a configured provider": 1,
        "not a whole answer (finish_reason length)": 1,
        "empty answer": 1,
        "not a conversation that can be trained on": 2,
    }
    assert found.source("r")["captures_used"] == 3


def test_tools_travel_with_the_example() -> None:
    """Tool definitions and calls of the exchange are part of what is learnt."""
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    tool = {"type": "function", "function": {"name": "look", "parameters": {}}}
    found = traffic.from_captures([capture("own/gpt", "", "tool_calls", tool_calls=[call], request={"tools": [tool]})], TERMS, ENGINES)
    assert found.examples[0].tools == (tool,)
    assert found.examples[0].messages[-1]["tool_calls"] == [call]


def test_nothing_usable_is_refused_with_the_reason() -> None:
    """No capture at all, and captures whose provider forbids it, say what to do."""
    with pytest.raises(DataError, match=r"capture\.sample"):
        traffic.from_captures([], TERMS, ENGINES)
    with pytest.raises(DataError, match="terms forbid") as caught:
        traffic.from_captures([capture("openai/gpt")] * 3, TERMS, ENGINES)
    assert "3 providers.openai.train_on_outputs is false" in caught.value.message
    with pytest.raises(DataError) as other:
        traffic.from_captures([capture("own/gpt", "")], TERMS, ENGINES)
    assert "terms" not in other.value.message
