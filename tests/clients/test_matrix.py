"""Real OpenAI clients against a real gateway, by base URL and key alone: the sandbox as the hosted provider, and a real vLLM engine.

`make client-tests` installs the clients, runs this and prints the table of the README from what the scripts reported. Every client asks in its own way
(scripts/with_*); what it saw is judged here. A client that is not installed is an error.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from gateway.sandbox import SandboxOptions, running
from tests.clients.cutting import CuttingProxy
from tests.clients.installation import EMBEDDINGS, Client, Installation, serving
from tests.clients.table import CLIENTS, Results, absent
from tests.engines import RealEngine

pytestmark = pytest.mark.clients

RESULTS = Path(os.environ.get("CLIENTS_RESULTS", "client-results.json"))


class World:
    """One gateway; each client's script runs against it once, when its first test asks."""

    def __init__(self, installation: Installation, proxy: CuttingProxy) -> None:
        self.installation, self.proxy = installation, proxy
        self._seen: dict[str, dict[str, Any]] = {}

    def saw(self, client: Client, check: str) -> Any:
        """What a client's check reports."""
        if client.title not in self._seen:
            report = self._seen[client.title] = self.installation.run(client)
            Results(RESULTS).add(self.installation.backend, client.title, report)
        found = self._seen[client.title]["checks"][check]
        assert "failed" not in found, found["failed"]
        return found


@pytest.fixture(scope="module")
def sandbox_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The sandbox provider as the hosted one."""
    with running(SandboxOptions(token_ms=1)) as provider:
        there = urlsplit(provider.url)
        with CuttingProxy(str(there.hostname), int(there.port or 0)) as proxy:
            entry = {"base_url": f"http://127.0.0.1:{proxy.port}/v1", "api_key": "sandbox", "sandbox": True, "models": [EMBEDDINGS]}
            routes = {"assistant": {"candidates": [{"provider": "openai", "model": "gpt-4o-mini"}]}}
            with serving(tmp_path_factory.mktemp("sandbox"), "sandbox", {"providers": {"openai": entry}, "routes": routes}) as made:
                yield World(made, proxy)


@pytest.fixture(scope="module")
def vllm_world(tmp_path_factory: pytest.TempPathFactory, real_engine: RealEngine) -> Iterator[World]:
    """A real vLLM, run by someone else as far as this gateway knows."""
    there = urlsplit(real_engine.ready().url)
    with CuttingProxy(str(there.hostname), int(there.port or 0)) as proxy:
        engine = {"urls": [f"http://127.0.0.1:{proxy.port}"]}
        nobody = {"base_url": "http://127.0.0.1:9/v1", "api_key": "none", "models": ["gpt-4o-mini"]}  # left out, it would be OpenAI with all its models
        routes = {"assistant": {"candidates": [{"engine": "local"}]}}
        with serving(tmp_path_factory.mktemp("vllm"), "vllm", {"providers": {"openai": nobody}, "engines": {"local": engine}, "routes": routes}) as made:
            yield World(made, proxy)


@pytest.fixture(params=["sandbox", pytest.param("vllm", marks=pytest.mark.vllm)], scope="module")
def world(request: pytest.FixtureRequest) -> World:
    """Each backend."""
    found: World = request.getfixturevalue(f"{request.param}_world")
    return found


@pytest.fixture(params=CLIENTS, ids=lambda client: client.title.replace(" ", "-"))
def client(request: pytest.FixtureRequest) -> Client:
    """Each client."""
    found: Client = request.param
    return found


def seen(world: World, client: Client, check: str) -> Any:
    """What a client's check reports; skipped where the client or the backend has no such thing, for the reason in the table's own list."""
    if (why := absent(world.installation.backend, client.title, check)) is not None:
        pytest.skip(why)
    return world.saw(client, check)


def test_an_answer(world: World, client: Client) -> None:
    """Text, and usage where the client shows it."""
    found = seen(world, client, "chat")
    assert isinstance(found["text"], str)
    assert found["text"]
    assert found.get("tokens", 1) > 0


def test_a_stream_says_what_the_whole_answer_says(world: World, client: Client) -> None:
    """Several pieces that add up to the answer of the same question."""
    found = seen(world, client, "stream")
    assert "raised" not in found, found
    # A command's output has no pieces; a busy engine may send many tokens at once.
    assert len(found["pieces"]) > 1 or client.title == "llm" or world.installation.backend == "vllm"
    assert "".join(found["pieces"]) == world.saw(client, "chat")["text"]


def test_a_tool_is_called_and_its_result_answered(world: World, client: Client) -> None:
    """The call comes in the client's own types, the function runs, the model answers to what it returned."""
    found = seen(world, client, "tools")
    assert len(found["called"]) == 1
    assert found["text"]


def test_an_answer_in_a_shape(world: World, client: Client) -> None:
    """By JSON schema, validated by the client."""
    found = seen(world, client, "structured")
    assert set(found) == {"label", "urgent"}
    assert found["label"] in {"yes", "no"}
    assert found["urgent"] in {True, False}


def test_an_answer_in_a_shape_by_other_ways(world: World) -> None:
    """A tool that Pydantic AI insists on; Instructor's stream of ever fuller objects."""
    by_title = {client.title: client for client in CLIENTS}
    assert set(world.saw(by_title["Pydantic AI"], "forced_tool")) == {"label", "urgent"}
    objects = world.saw(by_title["Instructor"], "partial_objects")
    assert "raised" not in objects, objects
    assert None not in json.loads(objects["pieces"][-1]).values()
    assert None in json.loads(objects["pieces"][0]).values()


def test_a_broken_stream_is_not_taken_for_a_whole_answer(world: World, client: Client) -> None:
    """The backend dies in the middle: what came is shown, then the client raises."""
    found = seen(world, client, "broken_stream")
    assert world.proxy.cut > 0
    # Instructor shows objects, and there is none yet; a busy engine may send all that it has in the event that was cut.
    assert found["pieces"] or client.title == "Instructor" or world.installation.backend == "vllm", found
    assert "raised" in found, found


def test_responses_where_the_client_speaks_them(world: World, client: Client) -> None:
    """A whole answer of the Responses API."""
    assert seen(world, client, "responses")["text"]


def test_a_stream_of_responses(world: World, client: Client) -> None:
    """Several pieces and a proper end."""
    found = seen(world, client, "responses_stream")
    assert "raised" not in found, found
    assert "".join(found["pieces"])


def test_a_broken_stream_of_responses(world: World, client: Client) -> None:
    """As with chat: the client raises."""
    found = seen(world, client, "responses_broken_stream")
    assert found["pieces"] or world.installation.backend == "vllm", found
    assert "raised" in found, found


def test_embeddings(world: World, client: Client) -> None:
    """One vector of the provider's size."""
    assert seen(world, client, "embeddings")["size"] == 1536


def test_a_wrong_key(world: World, client: Client) -> None:
    """The client's own exception for it, with words that say what is wrong."""
    found = seen(world, client, "bad_key")
    assert "raised" in found, found
    assert "Incorrect API key" in json.dumps(found)


def test_an_unknown_model(world: World, client: Client) -> None:
    """The client's own exception for it, with the model's name."""
    found = seen(world, client, "unknown_model")
    assert "raised" in found, found
    assert "no/such-model" in json.dumps(found)
