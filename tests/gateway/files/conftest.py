"""The official client in front of a gateway, and a gateway that has no provider to pass anything on to."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import openai
import pytest

from tests.gateway.live_gateway import LiveGateway

# The default provider is `openai`, and there is none of that name.
NOBODY = {"providers": {"other": {"kind": "compatible", "base_url": "http://127.0.0.1:9/v1"}}}


@pytest.fixture
def alone(start: Callable[..., LiveGateway]) -> LiveGateway:
    """A gateway without a default provider."""
    return start(NOBODY)


@pytest.fixture
def sdk(alone: LiveGateway) -> Iterator[openai.OpenAI]:
    """The client that everyone has, of `alone`."""
    with openai.OpenAI(base_url=f"{alone.url}/v1", api_key="any", max_retries=0, timeout=60) as client:
        yield client
