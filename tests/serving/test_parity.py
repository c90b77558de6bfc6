"""Claims about comparing the tokens the server renders with those the trainer saw. The server is a stand-in on a real socket."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from router.errors import UpstreamError, UpstreamRefused
from serving.client import Client
from serving.parity import check, first_difference, read_conversations
from tests.serving.making import conversation, probes


def recorded(directory: Path, *conversations: dict[str, Any]) -> Path:
    (directory / "probes.json").write_text(json.dumps(probes(0.5) | {"conversations": conversations}))
    return directory


def answer(client: Client, status: int) -> None:
    httpx.post(client.url + "/fake/tokenizer", json={"status": status})


def test_where_two_sequences_part() -> None:
    """The first position that differs; a shorter sequence differs where it ends."""
    assert first_difference([1, 2, 3], [1, 2, 3]) is None
    assert first_difference([1, 2, 3], [1, 5, 3]) == 1
    assert first_difference([1, 2, 3], [1, 2]) == 2
    assert first_difference([], [1]) == 0


async def test_equal_tokens_are_counted(client: Client, tmp_path: Path) -> None:
    """Every conversation that fits the server's context is compared."""
    found = await check(client, "their-base", recorded(tmp_path, conversation("yes"), conversation("n" * 100)), context=64)
    assert (found.compared, found.reasons) == (1, ())
    assert (await check(client, "their-base", tmp_path)).compared == 2


async def test_other_tokens_are_a_reason_that_says_where(client: Client, tmp_path: Path) -> None:
    """Position, both ids and both lengths."""
    found = await check(client, "their-base", recorded(tmp_path, conversation("yes"), conversation("no", seen="no!")))
    assert found.compared == 1
    assert [(r.code, r.message) for r in found.reasons] == [
        ("tokens_differ", "the server renders a conversation to 21 tokens, the trainer saw 22: at token 20 there is 10 instead of 33")
    ]


async def test_a_refused_conversation_is_a_reason_and_a_missing_endpoint_is_not(client: Client, tmp_path: Path) -> None:
    """400 is about this conversation, 404 about the server, 500 about its health."""
    recorded(tmp_path, conversation("yes"))
    answer(client, 400)
    assert [r.code for r in (await check(client, "their-base", tmp_path)).reasons] == ["tokens_differ"]
    answer(client, 404)
    found = await check(client, "their-base", tmp_path)
    assert (found.compared, found.reasons) == (0, ())
    answer(client, 500)
    with pytest.raises(UpstreamRefused, match="made up"):
        await check(client, "their-base", tmp_path)


async def test_an_answer_without_tokens_is_the_servers_fault(client: Client) -> None:
    """A 200 that is something else says so."""
    answer(client, 204)
    with pytest.raises(UpstreamError, match="no tokens"):
        await client.tokenize("their-base", [{"role": "user", "content": "hi"}], [{"type": "function"}])


async def test_nothing_recorded_is_nothing_compared(client: Client, tmp_path: Path) -> None:
    """Foreign adapters have no record; a damaged one is refused."""
    assert read_conversations(tmp_path) == ()
    assert (await check(client, "their-base", tmp_path)).compared == 0
    (tmp_path / "probes.json").write_text('{"conversations": [{"messages": 3}]}')
    assert [r.code for r in (await check(client, "their-base", tmp_path)).reasons] == ["probes_damaged"]
