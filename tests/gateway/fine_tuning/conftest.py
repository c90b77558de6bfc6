"""A gateway with an engine whose base is a directory, and the official client. No process trains here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import pytest

from tests.gateway.live_gateway import LiveGateway


def lines(count: int) -> bytes:
    """Conversations to train on."""
    rows = [{"messages": [{"role": "user", "content": f"question {i}"}, {"role": "assistant", "content": f"answer {i}"}]} for i in range(count)]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@pytest.fixture
def gateway(start: Callable[..., LiveGateway], tmp_path: Path) -> LiveGateway:
    """One engine `local`, which stands for gpt-4o-mini; the provider does not answer."""
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text("{}")
    return start(
        {
            "server": {"default_provider": "away"},
            "providers": {"away": {"kind": "compatible", "base_url": "http://127.0.0.1:9/v1", "models": ["m"]}},
            "engines": {"local": {"model": str(tmp_path / "base"), "gpu_hour_usd": 2.5}, "far": {"urls": ["http://127.0.0.1:9"]}},
            "training": {"base_aliases": {"gpt-4o-mini": "local", "gpt-far": "far"}, "organization": "acme"},
            "routes": {"r": {"candidates": [{"engine": "local"}]}},
        }
    )


@pytest.fixture
def sdk(gateway: LiveGateway) -> Iterator[openai.OpenAI]:
    """The official client."""
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture
def file_id(sdk: openai.OpenAI) -> str:
    """An uploaded training file."""
    return sdk.files.create(file=("train.jsonl", lines(12)), purpose="fine-tune").id
