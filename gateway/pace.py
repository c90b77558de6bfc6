"""Whether a stream crawls: the pace it must keep after its first token, where its route sets one. Arithmetic over what it is told; no clock of its own.

Only waiting for the upstream counts, so a client that reads slowly makes no stream slow. Tokens are counted by the bytes of the answer, at the learnt ratio.
"""

from __future__ import annotations

# The pace is measured over this long: shorter than anyone waits, long enough for an engine that was busy with a long prompt.
WINDOW_S = 5.0


class Pace:
    """Windows of waiting, one after the other: each must bring its quota within `WINDOW_S`, and the next begins when it has."""

    __slots__ = ("_quota", "_reached", "_waited_s")

    def __init__(self, tokens_per_s: float, bytes_per_token: float, output_bytes: int) -> None:
        self._quota = tokens_per_s * bytes_per_token * WINDOW_S
        self._reached = output_bytes + self._quota
        self._waited_s = 0.0

    @property
    def left_ms(self) -> float:
        """Milliseconds of waiting until the window's quota must be there."""
        return max(0.0, WINDOW_S - self._waited_s) * 1000.0

    def waited(self, seconds: float, output_bytes: int) -> None:
        """So long was waited, and so many bytes of answer the stream has had by now in all."""
        if output_bytes >= self._reached:
            self._reached, self._waited_s = output_bytes + self._quota, 0.0
        else:
            self._waited_s += seconds
