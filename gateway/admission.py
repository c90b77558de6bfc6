"""How many requests one process answers at a time. Beyond the bound it says so at once instead of queueing without end."""

from __future__ import annotations

from router.errors import LimitError

# Each costs some tens of kilobytes and a share of one core: more than this cannot be answered in time by one process.
MOST_IN_FLIGHT = 2048


class Admission:
    """A bound on requests under way. `enter` and `leave` come in pairs."""

    __slots__ = ("_most", "draining", "running")

    def __init__(self, most: int = MOST_IN_FLIGHT) -> None:
        self._most = most
        self.running = 0
        self.draining = False

    def enter(self) -> None:
        """Count a request in, or LimitError 503."""
        if self.running >= self._most:
            raise LimitError("The gateway has as many requests as it can answer; try again shortly.", retry_after_s=1.0, status=503, code="overloaded")
        self.running += 1

    def leave(self) -> None:
        """Count it out."""
        self.running -= 1
