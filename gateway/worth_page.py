"""The verdict on a route as one HTML page without scripts, fonts or images from elsewhere: monthly costs over the volume, and the tornado."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from gateway.terminal_worth import WORDS, dollars, span, when

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _BOTTOM = 760, 320, 70, 120, 40
_ROW, _NAMES = 26, 230
_STYLE = """
:root{color-scheme:light dark;--line:#8886;--ours:#d0552b;--other:#3a76b8;--good:#2a8a4a;--bad:#c33}
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin-bottom:.2rem}h2{font-size:1.15rem;margin:2.2rem 0 .4rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.35rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}td.n,th.n{text-align:right}
.wide{overflow-x:auto}.note{opacity:.75}.sandbox{background:#8882;padding:.5rem .8rem;border-radius:.4rem}
svg{max-width:100%;height:auto}svg text{font:12px system-ui,sans-serif;fill:currentColor}
"""


def page(found: Mapping[str, Any]) -> str:
    """The document of router/worth.py for a browser."""
    even = found["break_even"]
    said = f"{even['tokens_per_day']:,} tokens a day ({span(even['low'], even['high'])}); {when(even)}" if even["tokens_per_day"] is not None else "none"
    sandbox = '<p class="sandbox">The hosted model is the <b>sandbox</b> provider: its prices are stated, not real.</p>' if found["sandbox"] else ""
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in found["notes"])
    steps = "".join(f"<li>{escape(step)}" for step in found["next"])
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Is {escape(found['route'])} worth it?</title><style>{_STYLE}</style>"
        f"<h1>{escape(found['route'])}: {WORDS[found['verdict']]}</h1><p>{escape(found['reason'])}.</p>{sandbox}{notes}"
        f"<h2>A month at the traffic there is</h2>{_monthly(found)}<p>Break-even: {escape(said)}.</p>"
        f"{_curve(found)}{_tornado(found['sensitivity'])}<h2>Next</h2><ul>{steps}</ul>{_assumptions(found['assumptions'])}</html>\n"
    )


def _monthly(found: Mapping[str, Any]) -> str:
    measured = {rung["name"]: rung for rung in found["rungs"]}
    lines = []
    for name, value in found["monthly_usd"].items():
        rung = measured.get(name)
        quality = "not measured" if rung is None else f"{rung['quality']:.3f} ({rung['low']:.3f} to {rung['high']:.3f})"
        mark = "recommended" if name == found["recommended_rung"] else ""
        lines.append(f'<tr><td>{escape(name)}<td class="n">{dollars(value)}<td>{quality}<td>{mark}')
    return f'<div class="wide"><table><tr><th>rung<th class="n">dollars<th>quality<th>{"".join(lines)}</table></div>'


def _curve(found: Mapping[str, Any]) -> str:
    """Both costs over the volume, both axes logarithmic, with today's traffic and the break-even."""
    steps = found["curve"]
    if not steps:
        return ""
    xs = [math.log10(max(step["tokens_per_day"], 1)) for step in steps]
    amounts = [math.log10(max(step[name], 0.01)) for step in steps for name in ("alternative_usd", "fine_tuned_usd")]
    low, high = min(amounts), max(amounts)

    def x(value: float) -> float:
        return _LEFT + (value - xs[0]) / (xs[-1] - xs[0]) * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (math.log10(max(value, 0.01)) - low) / (high - low or 1.0) * (_HEIGHT - _BOTTOM - 20)

    parts = []
    for name, colour, label in (("alternative_usd", "var(--other)", "hosted"), ("fine_tuned_usd", "var(--ours)", "fine-tuned")):
        points = " ".join(f"{x(at):.1f},{y(step[name]):.1f}" for at, step in zip(xs, steps, strict=True))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        shift = 14 if name == "fine_tuned_usd" else -6
        parts.append(f'<text x="{_WIDTH - _RIGHT + 6}" y="{y(steps[-1][name]) + shift:.0f}">{label}</text>')
    for value, label in ((found["traffic"]["tokens"], "today"), (found["break_even"]["tokens_per_day"], "break-even")):
        if value and xs[0] <= math.log10(value) <= xs[-1]:
            at = x(math.log10(value))
            parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="16" y2="{_HEIGHT - _BOTTOM}" stroke="var(--line)" stroke-dasharray="4 3"/>')
            parts.append(f'<text x="{at + 4:.1f}" y="{14 if label == "today" else 28}">{label}</text>')
    across, up = range(math.ceil(xs[0]), math.floor(xs[-1]) + 1), range(math.ceil(low), math.floor(high) + 1)
    parts += [f'<text x="{x(decade):.0f}" y="{_HEIGHT - 20}" text-anchor="middle">{_short(10.0**decade)}</text>' for decade in across]
    parts += [f'<text x="{_LEFT - 8}" y="{y(10.0**decade) + 4:.0f}" text-anchor="end">${_short(10.0**decade)}</text>' for decade in up]
    axes = f'<path d="M{_LEFT} 10V{_HEIGHT - _BOTTOM}H{_WIDTH - _RIGHT}" fill="none" stroke="var(--line)"/>'
    label = "dollars a month of the hosted alternative and of a fine-tuned adapter over tokens a day"
    body = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">{axes}{"".join(parts)}</svg>'
    return f"<h2>Dollars a month over tokens a day</h2>{body}"


def _tornado(bars: Sequence[Mapping[str, Any]]) -> str:
    """Each assumption's range as a bar of what training then saves a month, around nothing saved."""
    if not bars:
        return ""
    shown = bars[:10]
    ends: list[float] = [bar[name] for bar in shown for name in ("saving_usd_low", "saving_usd_high")] + [0.0]
    low, high = min(ends), max(ends)
    width = _WIDTH - _NAMES - 20

    def x(value: float) -> float:
        return _NAMES + (value - low) / (high - low or 1.0) * width

    parts = []
    for index, bar in enumerate(shown):
        top = 22 + index * _ROW
        left, right = sorted((x(bar["saving_usd_low"]), x(bar["saving_usd_high"])))
        colour = "var(--ours)" if bar["flips"] else "var(--other)"
        title = (
            f"{bar['name']} from {bar['low']:,.4g} to {bar['high']:,.4g}: saves {dollars(bar['saving_usd_low'])} to {dollars(bar['saving_usd_high'])} a month"
        )
        told = f"<title>{escape(title)}</title>"
        box = f'<rect x="{left:.1f}" y="{top}" width="{max(1.0, right - left):.1f}" height="{_ROW - 9}" rx="2" fill="{colour}">{told}</rect>'
        name = f"{bar['name']} {bar['low']:,.3g}–{bar['high']:,.3g}"
        parts.append(f'{box}<text x="{_NAMES - 8}" y="{top + 13}" text-anchor="end">{escape(name)}</text>')
    height = 22 + len(shown) * _ROW + 22
    zero = f'<line x1="{x(0):.1f}" x2="{x(0):.1f}" y1="14" y2="{height - 22}" stroke="currentColor"/><text x="{x(0):.1f}" y="11" text-anchor="middle">0</text>'
    edges = f'<text x="{_NAMES}" y="{height - 6}">{dollars(low)}</text><text x="{_WIDTH - 20}" y="{height - 6}" text-anchor="end">{dollars(high)}</text>'
    label = "what training saves a month at either end of each assumption's range"
    body = f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{label}">{"".join(parts)}{zero}{edges}</svg>'
    return f'<h2>What training saves a month, by assumption</h2>{body}<p class="note">Bars in orange cross zero: there the verdict flips.</p>'


def _assumptions(known: Mapping[str, Mapping[str, Any]]) -> str:
    lines = "".join(
        f'<tr><td>{escape(name)}<td class="n">{item["value"]:,.6g}<td>{escape(item["unit"])}<td>{item["low"]:,.4g} to {item["high"]:,.4g}'
        f"<td>{escape(item['origin'])}<td>{escape(item['source'])}"
        for name, item in known.items()
    )
    head = '<tr><th>name<th class="n">value<th>unit<th>range<th>from<th>why'
    return f'<h2>Assumptions</h2><div class="wide"><table>{head}{lines}</table></div>'


def _short(value: float) -> str:
    for size, mark in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{mark}"
    return f"{value:g}"
