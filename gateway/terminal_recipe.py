"""How recipes look to people: one that was imported, and what a run will take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.terminal import line
from router.money import usd

_FITS = {
    True: "fits",
    False: "does not fit this device: lower batch_size (and raise gradient_accumulation), or use quantization: nf4",
    None: "unknown device",
}


def imported(found: Mapping[str, Any]) -> None:
    """Where the recipe is, what was decided on the way, and what to do next."""
    line(f"{found['recipe']} written")
    for note in found["notes"]:
        line(f"  note: {note}")
    line(f"next: breakeven recipe estimate {found['recipe']}")


def estimated(found: Mapping[str, Any]) -> None:
    """Steps, memory, time and dollars, and where each comes from."""
    line(f"{found['name']} on {found['base']} ({found['quantization']}): {found['examples']} examples, {found['tokens_per_epoch']:,} tokens per epoch")
    line(f"  {found['steps']} steps, {found['tokens']:,} tokens, {found['adapter_parameters']:,} parameters to train")
    parts = ", ".join(f"{name} {_bytes(size)}" for name, size in found["memory"].items() if size)
    fits = {
        True: "fits",
        False: "does not fit this device: lower batch_size (and raise gradient_accumulation), or use quantization: nf4",
        None: "unknown device",
    }
    line(f"  memory about {_bytes(found['memory_bytes'])} ({parts}); {fits[found['fits']]}")
    if found["seconds"] is None:
        line("  time unknown: no run of this base has been measured on this machine yet")
    else:
        low, high = found["seconds"]
        source = {"measured": "measured by an earlier run here", "published": "from published runs of other cards, scaled by size"}[found["speed_from"]]
        line(f"  time {_duration(low)} to {_duration(high)}, {source}")
    if found["nanousd"] is not None:
        low, high = found["nanousd"]
        line(f"  cost ${usd(low)} to ${usd(high)}")


def _bytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
