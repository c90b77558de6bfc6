"""The rows of a benchmark's table: what was measured, beside what, and whether the design's target is met. Pure: from the document alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# The loads at which the targets are stated; below them a figure is shown and not judged.
CLIENTS, STREAMS = 32, 512
_P50_MS, _P99_MS, _DELAY_MS = 0.35, 1.5, 5.0
_NGINX, _LITELLM = 1 / 12, 40.0
_CHATS_MB, _STREAMS_MB, _FLAT_MB, _START = 150.0, 250.0, 3.0, 3.0


@dataclass(frozen=True, slots=True)
class Row:
    """One line. `met` is None where there is no target, or nothing to judge it by."""

    what: str
    measured: str
    beside: str = "–"
    ratio: str = "–"
    target: str = "–"
    met: bool | None = None


def rows(document: Mapping[str, Any]) -> list[Row]:
    """Of all parts that the document has."""
    asked = document["options"]
    found: list[Row] = []
    if "latency" in document:
        found += _latency(document["latency"])
    if "throughput" in document:
        found += _throughput(document["throughput"], asked["clients"])
    if "streams" in document:
        found += _streams(document["streams"], asked)
    if "memory" in document:
        found += _memory(document["memory"])
    if "start" in document:
        found.append(_start(document["start"]))
    if "soak" in document:
        found.append(_soak(document["soak"]))
    return found


def _latency(part: Mapping[str, Any]) -> list[Row]:
    ours, bare = part["breakeven"], part["upstream"]
    found = []
    for name, most in (("p50", _P50_MS), ("p90", None), ("p99", _P99_MS)):
        key = f"{name}_ms"
        beside = [f"upstream {bare[key]:.2f} ms"] + [f"{peer} +{part[peer]['added'][key]:.2f}" for peer in ("nginx", "litellm") if peer in part]
        added = ours["added"][key]
        target = {} if most is None else {"target": f"≤ {most:g} ms", "met": added <= most}
        found.append(Row(f"added latency, 1 client, {name}", f"+{added:.2f} ms", ", ".join(beside), **target))
    return found


def _throughput(part: Mapping[str, Any], clients: int) -> list[Row]:
    ours, load = part["breakeven"], f"{clients} clients"
    judged = clients >= CLIENTS
    found = [Row(f"requests/s, one core, {load}", f"{ours['requests_per_s']:,.0f}", f"upstream alone {part['upstream']['requests_per_s']:,.0f}")]
    if nginx := part.get("nginx"):
        share = ours["requests_per_s"] / nginx["requests_per_s"]
        beside = f"nginx {nginx['requests_per_s']:,.0f} (its core {nginx['busy']:.0%} busy)"
        found.append(
            _ratio(Row("requests/s, beside nginx", f"{ours['requests_per_s']:,.0f}", beside), _part(share), f"≥ {_part(_NGINX)}", judged, share >= _NGINX)
        )
        if ours["requests_per_cpu_s"] and nginx["requests_per_cpu_s"]:
            share = ours["requests_per_cpu_s"] / nginx["requests_per_cpu_s"]
            row = Row("requests per CPU second, beside nginx", f"{ours['requests_per_cpu_s']:,.0f}", f"nginx {nginx['requests_per_cpu_s']:,.0f}")
            found.append(_ratio(row, _part(share), f"≥ {_part(_NGINX)}", judged, share >= _NGINX))
    if litellm := part.get("litellm"):
        found.append(_times("requests/s, beside LiteLLM", ours["requests_per_s"], litellm["requests_per_s"], judged))
    others = ", ".join(f"{peer} {part[peer]['worker_us']:.0f} µs" for peer in ("nginx", "litellm") if peer in part) or "–"
    for name, each, beside in (("1 worker", ours, others), ("2 workers", part["two_workers"], f"{part['two_workers']['requests_per_s']:,.0f} requests/s")):
        found.append(Row(f"CPU per request, {name}", f"{each['worker_us']:.0f} µs + {each['controller_us']:.0f} µs controller", beside))
    return found


def _streams(part: Mapping[str, Any], asked: Mapping[str, Any]) -> list[Row]:
    ours, bare, many = part["paced"]["breakeven"], part["paced"]["upstream"], part["streams"]
    judged = many >= STREAMS
    broken = f"upstream alone {bare['broken']} of {bare['completed'] + bare['broken']}"
    added = ours["added_p99_ms"]
    beside = [f"upstream {bare['delay_p99_ms']:.2f} ms"] + [f"nginx {each['added_p99_ms']:+.2f}" for name, each in part["paced"].items() if name == "nginx"]
    found = [
        _ratio(Row(f"{many} paced streams, broken", f"{ours['broken']} of {ours['completed'] + ours['broken']}", broken), "–", "0", judged, not ours["broken"]),
        _ratio(Row(f"{many} paced streams, added p99 delay", f"{added:+.2f} ms", ", ".join(beside)), "–", f"≤ {_DELAY_MS:g} ms", judged, added <= _DELAY_MS),
    ]
    instant = part["instant"]
    speed, names = instant["breakeven"]["chunks_per_s"], [name for name in ("upstream", "nginx") if name in instant]
    row = Row(f"stream events/s, {asked['clients']} clients", f"{speed:,.0f}", ", ".join(f"{name} {instant[name]['chunks_per_s']:,.0f}" for name in names))
    found.append(row)
    if litellm := instant.get("litellm"):
        found.append(_times("stream events/s, beside LiteLLM", speed, litellm["chunks_per_s"], asked["clients"] >= CLIENTS))
    return found


def _memory(part: Mapping[str, Any]) -> list[Row]:
    found = []
    for load, name, most, judged in (
        (f"{part['clients']} clients", "chats", _CHATS_MB, part["clients"] >= CLIENTS),
        (f"{part['streams_at_once']} streams", "streams", _STREAMS_MB, part["streams_at_once"] >= STREAMS),
    ):
        ours = part[name]["breakeven"]
        beside = ", ".join(f"{peer} {each['rss_mb']:.0f} MB" for peer, each in part[name].items() if peer != "breakeven") or "–"
        row = Row(f"memory of a worker, {load}", f"RSS {ours['rss_mb']:.0f} MB, PSS {ours['pss_mb']:.0f} MB", beside)
        found.append(_ratio(row, "–", f"≤ {most:.0f} MB", judged, ours["rss_mb"] <= most))
    return found


def _start(part: Mapping[str, Any]) -> Row:
    beside = f"import fastapi, sqlalchemy {part['import_s']:.2f} s" + (f"; LiteLLM {part['litellm_s']:.1f} s" if "litellm_s" in part else "")
    return Row("serve ready, no engines", f"{part['ready_s']:.2f} s", beside, f"{part['ratio']:.1f} ×", f"≤ {_START:g} ×", part["ratio"] <= _START)


def _soak(part: Mapping[str, Any]) -> Row:
    beside = f"{part['requests']:,} chats, {part['streams']:,} streams, {part['failed']} failed; RSS {part['rss_mb_first']:.0f} → {part['rss_mb_last']:.0f} MB"
    measured = f"{part['slope_mb_per_min']:+.2f} MB/min"
    met = part["growth_mb"] <= _FLAT_MB and not part["failed"]
    return Row(f"soak of {part['seconds']:.0f} s", measured, beside, "–", f"grows ≤ {_FLAT_MB:g} MB after its first quarter", met)


def _times(what: str, ours: float, theirs: float, judged: bool) -> Row:
    row = Row(what, f"{ours:,.0f}", f"LiteLLM {theirs:,.0f}")
    if not theirs:
        return row  # it had no answer at all; there is nothing to compare with
    return _ratio(row, f"{ours / theirs:.0f} ×", f"≥ {_LITELLM:.0f} ×", judged, ours / theirs >= _LITELLM)


def _ratio(row: Row, ratio: str, target: str, judged: bool, met: bool) -> Row:
    return Row(row.what, row.measured, row.beside, ratio, target, met if judged else None)


def _part(share: float) -> str:
    return f"1/{1 / share:.1f}" if 0 < share < 1 else f"{share:.1f} ×"
