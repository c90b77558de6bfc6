"""One fast sandbox for the tests of a file, and an official client of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from openai import OpenAI

from gateway.sandbox import Reference, Running, SandboxOptions, running

REFERENCES = tuple(Reference(f"ticket {n}", f'{{"intent": "{("refund", "ship")[n % 2]}", "order": "A{n}"}}') for n in range(200))


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Running]:
    """A sandbox with 200 reference answers that answers at once."""
    with running(SandboxOptions(references=REFERENCES, seed=1)) as made:
        yield made


@pytest.fixture
def client(sandbox: Running) -> Iterator[OpenAI]:
    """The official client; the sandbox's log and faults are empty."""
    sandbox.app.log.clear()
    sandbox.app.faults.clear()
    with OpenAI(base_url=sandbox.base_url, api_key="any", max_retries=0, timeout=10) as made:
        yield made
