"""What tests of all rooms share: one real vLLM engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engines import RealEngine


@pytest.fixture(scope="session")
def real_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealEngine]:
    """A controller with one real vLLM replica, started once per run. For tests marked `vllm`."""
    made = RealEngine.start(tmp_path_factory.mktemp("engine"))
    yield made
    assert made.stop() == 0
