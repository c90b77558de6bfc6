"""A comparison for people: a table per scenario in a terminal, and one page with a picture of cost against aims kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from gateway import terminal
from gateway.simulation import pictures
from router.errors import Problem

_WIDTH, _HEIGHT, _EDGE = 640, 300, 46
_STYLE = """
:root{color-scheme:light dark;--line:#8886;--ours:#d0552b;--other:#3a76b8}
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin:2.5rem 0 .3rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:.3rem .6rem;border-bottom:1px solid var(--line)}th:first-child,td:first-child{text-align:left}
.wide{overflow-x:auto}.note{opacity:.8}.ours{font-weight:600}
svg{max-width:100%;height:auto}svg text{font:11px system-ui,sans-serif;fill:currentColor}
"""
_COLUMNS = {
    "policy": "policy",
    "objective_usd": "cost and misses",
    "hosted_usd": "hosted cost",
    "slo_attained": "within its aim",
    "failed": "no answer",
    "local_share": "local",
    "ttft_p95_s": "first token p95",
    "switches_per_min": "switches/min",
    "relative": "of all hosted",
    "interval": "95 % interval",
    "capture": "captured",
}


def show(document: Mapping[str, Any]) -> None:
    """Tables on stdout, what is odd in the trace first."""
    for problem in document["problems"]:
        terminal.note(str(Problem(problem["message"], problem["file"], problem["line"])))
    for scenario in document["scenarios"]:
        terminal.line(f"\n{scenario['scenario']}: {scenario['title']}. {_summary(scenario)}")
        terminal.rows([_shown(row) for row in scenario["policies"]], list(_COLUMNS.values()))
    terminal.line(
        ("\nInterrupted: what was done until then." if document["interrupted"] else "")
        + "\nCost and misses: hosted dollars plus the price of each miss (twice the request's list price). Captured: of the saving a clairvoyant reached."
    )


def page(document: Mapping[str, Any]) -> str:
    """The same as one HTML page without scripts, fonts or images from elsewhere."""
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    problems = "".join(f"<li>{escape(str(Problem(p['message'], p['file'], p['line'])))}</li>" for p in document["problems"])
    told = f"<ul>{problems}</ul>" if problems else ""
    trace = document["trace"]
    name = "synthetic traffic" if trace is None else escape(f"{trace['name']}, {trace['requests']:,} requests")
    body = "".join(_section(scenario) for scenario in document["scenarios"])
    return f"{head}<title>Policies side by side</title><style>{_STYLE}</style><h1>Policies side by side: {name}</h1>{told}{body}</html>\n"


def _summary(scenario: Mapping[str, Any]) -> str:
    said = f"{scenario['requests']:,} requests in {scenario['seconds']:,.0f} s, {scenario['runs']} run{'s' if scenario['runs'] > 1 else ''}"
    if scenario["clairvoyant_usd"] is None:
        return f"{said}."
    gap = "" if scenario["gap"] is None else f" ({scenario['gap']:.0%} between them)"
    return f"{said}; nobody can be below ${_money(scenario['bound_usd'])}, a clairvoyant reached ${_money(scenario['clairvoyant_usd'])}{gap}."


def _shown(row: Mapping[str, Any]) -> dict[str, str]:
    return {
        _COLUMNS["policy"]: row["policy"],
        _COLUMNS["objective_usd"]: f"${_money(row['objective_usd'])}",
        _COLUMNS["hosted_usd"]: f"${_money(row['hosted_usd'])}",
        _COLUMNS["slo_attained"]: f"{row['slo_attained']:.2%}",
        _COLUMNS["failed"]: f"{row['failed']:.2%}",
        _COLUMNS["local_share"]: f"{row['local_share']:.1%}",
        _COLUMNS["ttft_p95_s"]: f"{row['ttft_p95_s']:.2f} s",
        _COLUMNS["switches_per_min"]: f"{row['switches_per_min']:.1f}",
        _COLUMNS["relative"]: f"{row['relative']:.3f}",
        _COLUMNS["interval"]: f"{row['interval'][0]:.3f}–{row['interval'][1]:.3f}",
        _COLUMNS["capture"]: "–" if row["capture"] is None else f"{row['capture']:.3f}",
    }


def _money(text: str) -> str:
    return f"{float(text):,.4f}"


def _section(scenario: Mapping[str, Any]) -> str:
    header = "".join(f"<th>{escape(name)}</th>" for name in _COLUMNS.values())
    lines = []
    for row in scenario["policies"]:
        mark = ' class="ours"' if row["policy"] == "breakeven" else ""
        lines.append(f"<tr{mark}>{''.join(f'<td>{escape(cell)}</td>' for cell in _shown(row).values())}</tr>")
    title = f"<h2>{escape(scenario['scenario'])}: {escape(scenario['title'])}</h2>"
    table = f'<div class="wide"><table><tr>{header}</tr>{"".join(lines)}</table></div>'
    closer = pictures.timeline(scenario["timeline"]) + pictures.pareto(scenario["pareto"]) if "timeline" in scenario else ""
    return f'{title}<p class="note">{escape(_summary(scenario))}</p>{_picture(scenario["policies"])}{table}{closer}'


def _picture(policies: Sequence[Mapping[str, Any]]) -> str:
    """Cost to the right, aims kept upwards: the upper left corner is where to be."""
    costs = [float(row["hosted_usd"]) for row in policies]
    kept = [row["slo_attained"] for row in policies]
    most, least = max(costs) or 1.0, min(*kept, 0.99)
    marks = []
    for row, cost, share in zip(policies, costs, kept, strict=True):
        x = _EDGE + cost / most * (_WIDTH - 2.6 * _EDGE)
        y = _HEIGHT - _EDGE - (share - least) / (1.0 - least or 1.0) * (_HEIGHT - 2 * _EDGE)
        colour = "var(--ours)" if row["policy"] == "breakeven" else "var(--other)"
        label = f'<text x="{x + 7:.0f}" y="{y + 4:.0f}">{escape(row["policy"])}</text>'
        marks.append(
            f'<circle cx="{x:.0f}" cy="{y:.0f}" r="4.5" fill="{colour}"><title>{escape(row["policy"])}: ${cost:.4f}, {share:.2%}</title></circle>{label}'
        )
    axes = (
        f'<path d="M{_EDGE} {_EDGE / 2}V{_HEIGHT - _EDGE}H{_WIDTH - _EDGE}" fill="none" stroke="var(--line)"/>'
        f'<text x="{_EDGE}" y="{_HEIGHT - 14}">$0</text><text x="{_WIDTH - 2 * _EDGE}" y="{_HEIGHT - 14}" text-anchor="end">hosted cost, to ${most:.4f}</text>'
        f'<text x="4" y="{_EDGE - 8}">100 %</text><text x="4" y="{_HEIGHT - _EDGE}">{least:.1%}</text>'
    )
    label = "hosted cost against the share of requests within their aim, one dot per policy"
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">{axes}{"".join(marks)}</svg>'
