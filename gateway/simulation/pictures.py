"""Pictures of one policy for the page of `breakeven simulate`: what it does through a run, and what other prices of a miss would buy. Plain SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_WIDTH, _BAND, _EDGE = 640, 70, 46
_ROWS = (("local_share", "local share"), ("in_flight", "in flight at the engine"), ("work_price_nanousd", "price of engine work"), ("missed", "missed"))


def timeline(entries: Sequence[Mapping[str, Any]]) -> str:
    """Four bands over the same time: where requests went, the queue, what engine work was worth, what missed its aim."""
    if not entries:
        return ""
    least, most = entries[0]["at_s"], max(entries[-1]["at_s"], entries[0]["at_s"] + 1.0)
    bands = "".join(_band(index, key, label, entries, (least, most)) for index, (key, label) in enumerate(_ROWS))
    height = _BAND * len(_ROWS) + 30
    axis = f'<text x="{_EDGE}" y="{height - 8}">{least:.0f} s</text><text x="{_WIDTH - 20}" y="{height - 8}" text-anchor="end">{most:.0f} s</text>'
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="what breakeven does through the run">{bands}{axis}</svg>'


def _band(index: int, key: str, label: str, entries: Sequence[Mapping[str, Any]], span: tuple[float, float]) -> str:
    top = max(*(float(entry[key]) for entry in entries), 1e-9) if len(entries) > 1 else float(entries[0][key]) or 1.0
    foot = _BAND * (index + 1)
    points = " ".join(
        f"{_EDGE + (entry['at_s'] - span[0]) / (span[1] - span[0]) * (_WIDTH - _EDGE - 20):.1f},{foot - float(entry[key]) / top * (_BAND - 24):.1f}"
        for entry in entries
    )
    told = f"{top:,.0f}" if top > 1.0 else f"{top:.0%}"
    return (
        f'<path d="M{_EDGE} {foot}H{_WIDTH - 20}" stroke="var(--line)"/><polyline points="{points}" fill="none" stroke="var(--ours)"/>'
        f'<text x="{_EDGE}" y="{foot - _BAND + 18}">{label}, to {told}</text>'
    )


def pareto(points: Sequence[Mapping[str, Any]]) -> str:
    """Hosted cost to the right, aims kept upwards, one dot per price of a miss."""
    costs, kept = [float(point["hosted_usd"]) for point in points], [float(point["slo_attained"]) for point in points]
    most, least, high = max(costs) or 1.0, min(kept), max(kept)
    places = [
        (_EDGE + cost / most * (_WIDTH - 3 * _EDGE), 200.0 - (share - least) / ((high - least) or 1.0) * 150.0) for cost, share in zip(costs, kept, strict=True)
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="var(--ours)"/><text x="{x + 7:.1f}" y="{y + 4:.1f}">{point["miss_price_factor"]:g}</text>'
        for (x, y), point in zip(places, points, strict=True)
    )
    told = f'<text x="{_EDGE}" y="230">hosted cost to ${most:.4f}; aims kept {least:.2%} to {high:.2%}; the numbers are the price of a miss</text>'
    label = "hosted cost against aims kept, for several prices of a miss"
    return f'<svg viewBox="0 0 {_WIDTH} 240" role="img" aria-label="{label}"><polyline points="{line}" fill="none" stroke="var(--line)"/>{dots}{told}</svg>'
