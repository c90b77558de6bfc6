"""The ladder as a part of the evaluation's page: a picture of quality over cost, every rung with its interval, fields, the judge, the candidate to deploy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from router.money import usd

_WIDTH, _HEIGHT, _EDGE = 720, 300, 52


def section(climbed: Mapping[str, Any]) -> str:
    """HTML of a ladder as training/evaluation.py keeps it."""
    head = "".join(f"<th>{name}" for name in ("rung", "score (95 %)", "", "against the best", "cost per 1k", "p50 / p95", ""))
    rows = "".join(_row(row, climbed["recommended_rung"]) for row in climbed["rungs"])
    skipped = "".join(f"<li>{escape(text)}" for text in climbed["skipped"])
    return (
        f"<h2>Ladder</h2>{_picture(climbed['rungs'], climbed['recommended_rung'])}"
        f'<div class="wide"><table><tr>{head}{rows}</table></div>'
        f"{f'<p class=note>Not asked:</p><ul class=note>{skipped}</ul>' if skipped else ''}"
        f"<p>The cheapest rung that is good enough (at most {-100 * climbed['floor']:g} points below the best) is "
        f"<b>{escape(climbed['recommended_rung'])}</b>. As a candidate of the route:</p><pre>{escape(climbed['candidate'])}</pre>"
        f"{_fields(climbed['fields'])}{_judge(climbed['judge'])}"
    )


def _row(row: Mapping[str, Any], best: str) -> str:
    low, high = row["interval"]
    cost = row["cost_per_1k_nanousd"]
    apart = row["difference_interval"]
    against = "–" if apart is None or row["rung"] == row["against"] else f"{row['difference']:+.3f} ({apart[0]:+.3f} to {apart[1]:+.3f})"
    verdict = "good, proven" if row["proven"] else "good, not proven by so few items" if row["good"] else "not good enough"
    if row["vetoes"]:
        verdict = f"{len(row['vetoes'])} must-pass items wrong"
    cells = (
        f"<b>{escape(row['rung'])}</b>{' ←' if row['rung'] == best else ''}<br><span class=note>{escape(row['model'])}</span>",
        f"{row['score']:.3f} ({low:.3f} to {high:.3f})",
        _bar(row["score"], low, high),
        against,
        "unknown" if cost is None else f"${usd(cost)}",
        f"{_ms(row['latency_p50_ms'])} / {_ms(row['latency_p95_ms'])}",
        f'<span class="{"good" if row["good"] else "bad"}">{verdict}</span>',
    )
    return "<tr>" + "".join(f"<td>{cell}" for cell in cells)


def _picture(rows: Sequence[Mapping[str, Any]], best: str) -> str:
    """Cost to the right (logarithmic), score with its interval upwards: the upper left corner is where to be. Rungs of unknown cost are not in it."""
    known = [row for row in rows if row["cost_per_1k_nanousd"]]
    if not known:
        return "<p class=note>No rung has a known cost, so there is no picture of quality over cost.</p>"
    costs = [math.log10(row["cost_per_1k_nanousd"]) for row in known]
    low, wide = min(costs) - 0.1, max(costs) - min(costs) + 0.2
    parts = []
    for row, cost in zip(known, costs, strict=True):
        x = _EDGE + (cost - low) / wide * (_WIDTH - 3 * _EDGE)
        y, top, bottom = (_up(value) for value in (row["score"], row["interval"][1], row["interval"][0]))
        colour = "var(--good)" if row["rung"] == best else "#4a7fd0" if row["good"] else "var(--bad)"
        title = f"<title>{escape(row['rung'])}: {row['score']:.3f} for ${usd(row['cost_per_1k_nanousd'])} per 1k</title>"
        parts.append(f'<line x1="{x:.0f}" x2="{x:.0f}" y1="{top:.0f}" y2="{bottom:.0f}" stroke="{colour}"/>')
        parts.append(f'<circle cx="{x:.0f}" cy="{y:.0f}" r="5" fill="{colour}">{title}</circle>')
        parts.append(f'<text x="{x + 8:.0f}" y="{y + 4:.0f}">{escape(row["rung"])}</text>')
    ticks = "".join(f'<text x="6" y="{_up(share) + 4:.0f}">{share:.2f}</text>' for share in (0.0, 0.25, 0.5, 0.75, 1.0))
    ends = f"${usd(min(r['cost_per_1k_nanousd'] for r in known))} per 1k", f"${usd(max(r['cost_per_1k_nanousd'] for r in known))} per 1k"
    axes = (
        f'<path d="M{_EDGE} 12V{_HEIGHT - _EDGE / 2}H{_WIDTH - _EDGE}" fill="none" stroke="var(--line)"/>{ticks}'
        f'<text x="{_EDGE}" y="{_HEIGHT - 6}">{ends[0]}</text>'
        f'<text x="{_WIDTH - _EDGE}" y="{_HEIGHT - 6}" text-anchor="end">{ends[1]}</text>'
    )
    label = "score over cost per thousand requests, one dot per rung with the interval of its score"
    style = "width:100%;max-width:45rem;height:auto;font:12px system-ui,sans-serif;fill:currentColor"
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" style="{style}" role="img" aria-label="{label}">{axes}{"".join(parts)}</svg>'


def _up(score: float) -> float:
    return _HEIGHT - _EDGE / 2 - score * (_HEIGHT - _EDGE / 2 - 16)


def _bar(score: float, low: float, high: float) -> str:
    return (
        f'<svg viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="score {score:.3f}">'
        f'<rect width="100" height="10" fill="#8882"/><rect width="{100 * score:.1f}" height="10" fill="#4a7fd0"/>'
        f'<line x1="{100 * low:.1f}" x2="{100 * high:.1f}" y1="5" y2="5" stroke="currentColor" stroke-width="1.5"/></svg>'
    )


def _fields(found: Mapping[str, Mapping[str, float]]) -> str:
    if not found:
        return ""
    names = sorted({name for values in found.values() for name in values})
    lines = "".join(f"<tr><td>{escape(rung)}" + "".join(f"<td>{values.get(name, 0.0):.3f}" for name in names) for rung, values in found.items())
    return f'<h2>F1 by field</h2><div class="wide"><table><tr><th>rung{"".join(f"<th>{escape(name)}" for name in names)}{lines}</table></div>'


def _judge(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    verdict = "calibrated" if found["calibrated"] else "not calibrated"
    return (
        f"<h2>Judge</h2><p>{escape(found['model'])} is {verdict}: on {found['anchors']} labelled comparisons it agrees in {found['agreement']:.1%} "
        f"(kappa {found['kappa']:.2f}, at least {found['least_kappa']:g} on {found['least_anchors']}); the first place wins "
        f"{100 * found['position_bias']:+.1f} points more often than a half (95 %: {100 * found['bias_low']:+.1f} to {100 * found['bias_high']:+.1f}), "
        f"and {found['contradicted']:.1%} of the comparisons "
        "contradict themselves when they are swapped.</p>"
    )


def _ms(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0f} ms"
