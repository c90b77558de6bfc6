"""Usage as OpenAI and the providers of its shape report it, down to the kinds that have prices of their own."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.usage import usage_of
from router.types import Usage


@pytest.mark.parametrize(
    ("reported", "usage"),
    [
        pytest.param(
            {
                "prompt_tokens": 1200,
                "completion_tokens": 300,
                "total_tokens": 1500,
                "prompt_tokens_details": {"cached_tokens": 1000, "audio_tokens": 0, "cache_write_tokens": 128},
                "completion_tokens_details": {"reasoning_tokens": 192, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
            },
            Usage(1200, 1000, 300, 192, cache_write=128),
            id="OpenAI's chat",
        ),
        pytest.param(
            {
                "prompt_tokens": 500,
                "completion_tokens": 250,
                "prompt_tokens_details": {"audio_tokens": 450, "text_tokens": 50, "cached_tokens": 0},
                "completion_tokens_details": {"audio_tokens": 200, "text_tokens": 50, "reasoning_tokens": 0},
            },
            Usage(500, 0, 250, 0, audio_input=450, audio_output=200),
            id="OpenAI's chat with audio",
        ),
        pytest.param(
            {
                "input_tokens": 4000,
                "output_tokens": 20,
                "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 3207, "cache_write_tokens_details": {"ttl_30m_tokens": 3207}},
                "output_tokens_details": {"reasoning_tokens": 5},
            },
            Usage(4000, 0, 20, 5, cache_write=3207),
            id="OpenAI's responses",
        ),
        pytest.param(
            {
                "prompt_tokens": 194,
                "completion_tokens": 2,
                "cost": 0.95,
                "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 100, "audio_tokens": 0},
            },
            Usage(194, 0, 2, cache_write=100),
            id="OpenRouter",
        ),
        pytest.param(
            {"prompt_tokens": 2000, "completion_tokens": 9, "cache_creation_input_tokens": 1253, "cache_read_input_tokens": 700},
            Usage(2000, 700, 9, cache_write=1253),
            id="a gateway to Anthropic, cache counted inside the prompt",
        ),
        pytest.param(
            {"prompt_tokens": 31, "completion_tokens": 467, "prompt_tokens_details": {"cached_tokens": 0}, "cache_creation_input_tokens": 1253},
            Usage(1284, 0, 467, cache_write=1253),
            id="a gateway to Anthropic, cache counted beside the prompt",
        ),
        pytest.param(
            {"input_tokens": 9, "output_tokens": 4, "cache_creation_input_tokens": 10, "cache_read_input_tokens": 17102},
            Usage(17121, 17102, 4, cache_write=10),
            id="Anthropic's own counting",
        ),
        pytest.param(
            {"prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 8, "audio_tokens": 99}},
            Usage(10, 8, 4, cache_write=2, audio_input=10),
            id="parts beyond the whole",
        ),
        pytest.param(
            {"prompt_tokens": 1, "completion_tokens": 4, "completion_tokens_details": {"reasoning_tokens": 3, "audio_tokens": 3}},
            Usage(1, 0, 4, 3, audio_output=1),
            id="reasoning and audio beyond the output",
        ),
        pytest.param(
            {"prompt_tokens": 3, "completion_tokens": True, "prompt_tokens_details": [], "completion_tokens_details": {"audio_tokens": "7"}},
            Usage(3),
            id="nonsense beside something usable",
        ),
    ],
)
def test_what_providers_report(reported: dict[str, Any], usage: Usage) -> None:
    """Each kind of token is read from where its provider puts it."""
    assert usage_of(reported) == usage


_ANTHROPIC = ("cache_creation_input_tokens", "cache_read_input_tokens")
_COUNT = st.one_of(st.none(), st.integers(-5, 3000), st.booleans(), st.text(max_size=2))


@given(
    st.dictionaries(st.sampled_from([*("prompt_tokens", "input_tokens", "completion_tokens", "output_tokens"), *_ANTHROPIC]), _COUNT),
    st.dictionaries(st.sampled_from(["cached_tokens", "cache_write_tokens", "cache_creation_tokens", "audio_tokens"]), _COUNT),
    st.dictionaries(st.sampled_from(["reasoning_tokens", "audio_tokens"]), _COUNT),
)
def test_parts_never_exceed_their_whole(top: dict[str, Any], taken: dict[str, Any], made: dict[str, Any]) -> None:
    """Whatever a provider sends, counts are whole, at least zero, and parts fit into input and output."""
    usage = usage_of({**top, "prompt_tokens_details": taken, "completion_tokens_details": made})
    if usage is not None:
        assert min(usage.input, usage.cached, usage.output, usage.reasoning, usage.cache_write, usage.audio_input, usage.audio_output) >= 0
        assert usage.cached + usage.cache_write <= usage.input
        assert usage.audio_input <= usage.input
        assert usage.reasoning + usage.audio_output <= usage.output
