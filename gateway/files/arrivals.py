"""How many files one process takes in at a time: each holds a connection, a descriptor and a quarter of a megabyte for as long as its sender likes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from router.errors import LimitError

MOST = 64


class Arrivals:
    """A bound on uploads under way."""

    __slots__ = ("running",)

    def __init__(self) -> None:
        self.running = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count one in for as long as the block takes. LimitError 503 where there is no place."""
        if self.running >= MOST:
            raise LimitError("As many files are arriving as the gateway takes at a time; try again shortly.", retry_after_s=5.0, status=503, code="overloaded")
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
