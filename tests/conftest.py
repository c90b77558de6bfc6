"""What tests of all rooms share: one real vLLM engine, and patience."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.engines import RealEngine

# A busy machine stops an example for longer than any deadline; a test that never ends is ended by pytest-timeout.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
# A shell that starts this in the background has Ctrl-C ignored, and so would every process that a test starts and then interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def real_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealEngine]:
    """A controller with one real vLLM replica, started once per run. For tests marked `vllm`."""
    made = RealEngine.start(tmp_path_factory.mktemp("engine"))
    yield made
    assert made.stop() == 0
