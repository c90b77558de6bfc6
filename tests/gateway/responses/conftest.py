"""Gateways over providers with and without the Responses API, and the official client in front of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from openai import OpenAI

from tests.gateway.conftest import HASTY, TIMEOUTS, price, provider
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.upstream_server import UpstreamServer


def mixed(chat: UpstreamServer, native: UpstreamServer, **more: Any) -> dict[str, Any]:
    """`chatty` has chat only, `native` the API itself. Route `r` prefers the first, `n` the second; `only` has the first alone; `hasty` is impatient."""
    both: list[dict[str, Any]] = [{"provider": "chatty", "model": "m"}, {"provider": "native", "model": "m"}]
    return {
        "server": {"default_provider": "native"},
        "providers": {"chatty": provider(chat), "native": {**provider(native), "kind": "openai"}},
        "prices": [price("chatty", "m"), price("native", "m", "10", "20"), price("native", "cheap", "0.1", "0.2")],
        "routes": {
            "r": {"candidates": both, "timeouts": TIMEOUTS, **more},
            "n": {"candidates": [{"provider": "native", "model": "cheap"}, both[0]], "timeouts": TIMEOUTS, **more},
            "only": {"candidates": both[:1], "timeouts": TIMEOUTS, **more},
            "hasty": {"candidates": both[:1], "timeouts": HASTY, **more},
        },
    }


@pytest.fixture
def gateway(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> LiveGateway:
    """`upstream` is the chat-only provider, `fallback` the native one."""
    return start(mixed(upstream, fallback))


@pytest.fixture
def client_of() -> Iterator[Callable[..., OpenAI]]:
    """Make official clients."""
    with ExitStack() as stack:
        yield lambda made, key="any": stack.enter_context(OpenAI(base_url=f"{made.url}/v1", api_key=key, max_retries=0, timeout=30))


@pytest.fixture
def sdk(gateway: LiveGateway, client_of: Callable[..., OpenAI]) -> OpenAI:
    """The official client of `gateway`."""
    return client_of(gateway)
