"""The opportunity price of GPU work, in nano-dollars, for decisions only: what one more request here costs the others. Not here: the books (router.allocate).

While slots are free the GPU is paid for anyway and more work costs nothing. Beyond that, of (in flight + 1) requests only `slots` fit, so the share
1 - slots / (in flight + 1) of the saving per GPU-second (`work_value`) is lost to somebody: the price rises from 0 towards `work_value`.
"""

from __future__ import annotations

from router.types import Live


def rate(live: Live) -> float:
    """Nano-dollars per GPU-second right now: 0 while there are free slots or where capacity is unknown, below `work_value` always."""
    load = live.in_flight + live.others_in_flight
    if live.slots <= 0 or load < live.slots:
        return 0.0
    return live.work_value * (1.0 - live.slots / (load + 1))


def gpu_seconds(live: Live, output_tokens: float) -> float:
    """GPU-seconds of one request at saturation: its unhurried time over the requests that share the GPU; 0 while never observed."""
    if live.slots <= 0 or live.ttft_ms is None or live.tpot_ms is None:
        return 0.0
    return (live.ttft_ms + output_tokens * live.tpot_ms) / 1000.0 / live.slots


def opportunity(live: Live, output_tokens: float) -> float:
    """Nano-dollars of saving that a request of `output_tokens` tokens displaces here."""
    price = rate(live)
    return price * gpu_seconds(live, output_tokens) if price else 0.0
