"""What a benchmark is asked to do: plain values with the design's loads as defaults."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from router.errors import ConfigError

PARTS = ("latency", "throughput", "streams", "memory", "start")


@dataclass(frozen=True, slots=True)
class Options:
    """`seconds` is how long each system is loaded in each part; `litellm` an interpreter that has it; `soak_s` zero for none. `python` runs our own processes.

    ConfigError when a value makes no sense.
    """

    environ: Mapping[str, str] = field(repr=False)
    seconds: float = 5.0
    clients: int = 32
    streams: int = 512
    only: tuple[str, ...] = PARTS
    litellm: str | None = None
    soak_s: float = 0.0
    python: str = sys.executable

    def __post_init__(self) -> None:
        if unknown := set(self.only) - set(PARTS):
            raise ConfigError(f"--only: {', '.join(sorted(unknown))} is no part of the benchmark; there are {', '.join(PARTS)}")
        if self.seconds <= 0.0 or self.soak_s < 0.0 or self.clients < 1 or self.streams < 1:
            raise ConfigError("--seconds, --clients and --streams must be above zero, and --soak not below it")
        if self.litellm is not None and shutil.which(self.litellm) is None:
            raise ConfigError(f"--litellm: {self.litellm} is no program; name the Python that has LiteLLM (pip install 'litellm[proxy]')")


def parts(text: str | None) -> tuple[str, ...]:
    """The value of --only: parts by name, separated by commas; all without it, and none for an empty text (a soak alone)."""
    return PARTS if text is None else tuple(part.strip() for part in text.split(",") if part.strip())
