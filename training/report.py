"""An evaluation and its gate, for people and for programs: one JSON file and one HTML file that needs nothing else.

Public: `write(directory, report, gate) -> (json path, html path)`, `html(report, gate) -> str`, `regressions(report)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from router.money import usd
from training import ladder_page, manifest
from training.gate import Gate
from training.results import EvalReport, ItemResult, Rung

WORST = 20  # regressions shown side by side
_STYLE = """
:root{color-scheme:light dark;--line:#8884;--good:#2a8a4a;--bad:#c33;--soft:#8882}
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.1rem;margin-top:2rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.4rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}
.wide{overflow-x:auto}.good{color:var(--good)}.bad{color:var(--bad)}
.note{opacity:.75}.sandbox{background:var(--soft);padding:.5rem .8rem;border-radius:.4rem}
pre{white-space:pre-wrap;word-break:break-word;margin:0;font-size:13px}
svg{display:block;width:12rem;height:1.2rem}
"""
_ROLES = {"hosted": "hosted", "base": "bare base", "adapter": "adapter", "other": "as on the ladder"}


def write(directory: Path, report: EvalReport, gate: Gate, climbed: Mapping[str, Any] | None = None) -> tuple[Path, Path]:
    """report.json and report.html in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = directory / "report.json", directory / "report.html"
    manifest.write_json(paths[0], {**report.as_dict(), "gate": gate.as_dict(), "ladder": climbed})
    paths[1].write_text(html(report, gate, climbed), encoding="utf-8")
    return paths


def regressions(report: EvalReport, other: str | None = None) -> list[tuple[ItemResult, ItemResult]]:
    """(adapter, hosted) results of items where the adapter is worse, the largest loss first; without an adapter those of rung `other`."""
    candidate, reference = report.rung("adapter") or next((rung for rung in report.rungs if rung.rung == other), None), report.rung("hosted")
    if candidate is None or reference is None:
        return []
    pairs = [(a, b) for a, b in zip(candidate.results, reference.results, strict=True) if a.value < b.value or (b.right and not a.right)]
    return sorted(pairs, key=lambda pair: pair[0].value - pair[1].value)


def html(report: EvalReport, gate: Gate, climbed: Mapping[str, Any] | None = None) -> str:
    """The report as one page without scripts, fonts or images from elsewhere."""
    verdict = '<span class="good">admitted</span>' if gate.admit else '<span class="bad">refused</span>'
    if climbed is not None and report.rung("adapter") is None:
        verdict = escape(climbed["recommended_rung"])  # nothing to admit: what the ladder recommends
    sandbox = '<p class="sandbox">The hosted model is the <b>sandbox</b> provider: its quality, latency and prices are stated, not measured.</p>'
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Evaluation of {escape(report.route)}</title><style>{_STYLE}</style>"
        f"<h1>{escape(report.route)}: {verdict}</h1>"
        f'<p class="note">suite {escape(Path(report.suite).name)} ({escape(report.suite_digest[:12])})</p>'
        f"{sandbox if report.sandbox else ''}{ladder_page.section(climbed) if climbed else ''}{_rungs(report)}"
        f"{_gate(gate) if report.rung('adapter') else ''}{_worst(report, climbed)}</html>\n"
    )


def _rungs(report: EvalReport) -> str:
    head = "".join(f"<th>{name}" for name in ("rung", "score", "", "wholly right (95 %)", "form", "cost per 1k", "p50 / p95", "errors"))
    return f'<h2>Rungs</h2><div class="wide"><table><tr>{head}{"".join(_row(rung) for rung in report.rungs)}</table></div>'


def _row(rung: Rung) -> str:
    s = rung.summary()
    low, high = rung.right_interval
    cost = s["cost_per_1k_nanousd"]
    money = "unknown" if not isinstance(cost, int) else f"${usd(cost)}"
    cells = (
        f"<b>{escape(rung.model)}</b><br><span class=note>{_ROLES[rung.role]}</span>",
        f"{rung.score:.3f}",
        _bar(rung.score, low, high),
        f"{rung.share('right'):.3f} ({low:.3f} to {high:.3f})",
        f"{100 * rung.share('valid'):.1f} %",
        money,
        f"{_ms(s['latency_p50_ms'])} / {_ms(s['latency_p95_ms'])}",
        str(s["errors"]),
    )
    return "<tr>" + "".join(f"<td>{cell}" for cell in cells)


def _bar(score: float, low: float, high: float) -> str:
    """The score as a bar, the interval of wholly right answers as a line through it."""
    return (
        f'<svg viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="score {score:.3f}">'
        f'<rect width="100" height="10" fill="#8882"/><rect width="{100 * score:.1f}" height="10" fill="#4a7fd0"/>'
        f'<line x1="{100 * low:.1f}" x2="{100 * high:.1f}" y1="5" y2="5" stroke="currentColor" stroke-width="1.5"/></svg>'
    )


def _gate(gate: Gate) -> str:
    marks = {True: '<td class="good">passed', False: '<td class="bad">failed'}
    rows = "".join(f"<tr>{marks[check.passed]}<td>{escape(check.name.replace('_', ' '))}<td>{escape(check.detail)}" for check in gate.checks)
    paired = ""
    if gate.comparison:
        c = gate.comparison
        paired = (
            f"<p>Paired over {c.n} items: difference {c.difference:+.4f} (95 %: {c.low:+.4f} to {c.high:+.4f}). "
            f"Wholly right on one side only: adapter {c.better}, hosted {c.worse} (McNemar exact p = {c.p:.3g}).</p>"
        )
    return f'<h2>Gate</h2><div class="wide"><table>{rows}</table></div>{paired}<p>{escape(gate.power)}.</p>'


def _worst(report: EvalReport, climbed: Mapping[str, Any] | None) -> str:
    name = "adapter" if report.rung("adapter") else str(climbed["recommended_rung"]) if climbed else "adapter"
    found = regressions(report, name)
    if not found:
        return f"<h2>Regressions</h2><p>None: {escape(name)} is nowhere worse than the hosted model.</p>"
    rows = "".join(
        f"<tr><td>{escape(mine.id)}<br><span class=note>{mine.value:.2f} / {theirs.value:.2f}</span>"
        f"<td><pre>{escape(mine.answer or mine.error or '(empty)')}</pre><span class=note>{escape(mine.detail)}</span><td><pre>{escape(theirs.answer)}</pre>"
        for mine, theirs in found[:WORST]
    )
    shown = f"the {WORST} worst of {len(found)}" if len(found) > WORST else f"all {len(found)}"
    return f'<h2>Regressions, {shown}</h2><div class="wide"><table><tr><th>item<th>{escape(name)}<th>hosted{rows}</table></div>'


def _ms(value: object) -> str:
    return f"{value:.0f} ms" if isinstance(value, float) else "unknown"
