"""Fixtures of the data plane: scripted upstreams, and gateways in front of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.app import Options
from tests.gateway.live_gateway import LiveGateway
from tests.gateway.upstream_server import UpstreamServer

# Patient: a slow machine is no fault of a provider. Tests about silence use the route `hasty`.
TIMEOUTS = {"connect_ms": 5000, "first_token_ms": 10_000, "idle_ms": 10_000, "total_ms": 20_000}
HASTY = {**TIMEOUTS, "first_token_ms": 1000, "idle_ms": 1000}


def provider(server: UpstreamServer, **more: Any) -> dict[str, Any]:
    return {"kind": "compatible", "base_url": f"{server.url}/v1", "api_key": "sk-upstream", **more}


def price(owner: str, model: str, entered: str = "1", made: str = "2") -> dict[str, Any]:
    return {"provider": owner, "model": model, "input_usd_per_m": entered, "output_usd_per_m": made}


def two_providers(first: UpstreamServer, second: UpstreamServer, **route: Any) -> dict[str, Any]:
    """Route `r`: `one/m` is cheaper and goes first, `two/m` is what it falls over to. Route `hasty` is the same with less patience."""
    both = [{"provider": "one", "model": "m"}, {"provider": "two", "model": "m"}]
    return {
        "server": {"default_provider": "one"},
        "providers": {"one": provider(first), "two": provider(second)},
        "prices": [price("one", "m"), price("two", "m", "10", "20")],
        "routes": {"r": {"candidates": both, "timeouts": TIMEOUTS, **route}, "hasty": {"candidates": both, "timeouts": HASTY, **route}},
    }


@pytest.fixture
def upstream() -> Iterator[UpstreamServer]:
    """A scripted provider."""
    with UpstreamServer() as server:
        yield server


@pytest.fixture
def fallback() -> Iterator[UpstreamServer]:
    """A second one."""
    with UpstreamServer() as server:
        yield server


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., LiveGateway]]:
    """Start a gateway from a configuration; it is stopped after the test."""
    with ExitStack() as stack:

        def begin(body: dict[str, Any], options: Options | None = None) -> LiveGateway:
            return stack.enter_context(LiveGateway(tmp_path, body, options))

        yield begin


@pytest.fixture
def pair(start: Callable[..., LiveGateway], upstream: UpstreamServer, fallback: UpstreamServer) -> LiveGateway:
    """A gateway with the route `r` over `upstream` (first) and `fallback`."""
    return start(two_providers(upstream, fallback))


@pytest.fixture
def client(pair: LiveGateway) -> Iterator[httpx.Client]:
    """A client of `pair`."""
    with httpx.Client(base_url=pair.url, timeout=20) as made:
        yield made
