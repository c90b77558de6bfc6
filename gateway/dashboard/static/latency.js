// p50 and p95 of each backend on each route, on one scale per route, against what the route aims at.

import { backend } from "./colours.js";
import { h, s, table } from "./dom.js";
import { count, ms, unknown } from "./format.js";

function track(row, limit, tone) {
  const { p50, p95 } = row.total_ms;
  const at = (value) => `${Math.min(99, (value / limit) * 100)}%`;
  const slo = row.slo_total_ms;
  return s("svg", { class: "track", height: 26, width: "100%", "aria-hidden": "true" },
    s("line", { class: "rail", x1: 0, x2: "100%", y1: 13, y2: 13 }),
    s("line", { class: `range ${tone}`, x1: at(p50), x2: at(p95), y1: 13, y2: 13 }),
    s("circle", { class: tone, cx: at(p50), cy: 13, r: 5 }),
    s("circle", { class: `hollow ${tone}`, cx: at(p95), cy: 13, r: 5 }),
    slo === null ? null : s("line", { class: "slo", x1: at(slo), x2: at(slo), y1: 2, y2: 24 }));
}

function against(row) {
  if (row.slo_total_ms === null) return h("span", { class: "muted" }, "no aim");
  const late = row.total_ms.p95 > row.slo_total_ms;
  return h("span", { class: late ? "bad-ink" : "good-ink" }, `${late ? "over" : "within"} ${ms(row.slo_total_ms)}`);
}

export function latency(rows, colours) {
  const known = rows.filter((row) => row.total_ms.p50 !== null).sort((a, b) => `${a.route}`.localeCompare(`${b.route}`) || b.answers - a.answers);
  const limits = new Map();
  for (const row of known) limits.set(row.route, Math.max(limits.get(row.route) ?? 0, row.total_ms.p95 * 1.12, (row.slo_total_ms ?? 0) * 1.12));
  const columns = [
    { head: "Route and backend", cell: (row) => h("div", { class: "stack" }, backend(row.backend, colours, true), h("span", { class: "muted small" }, row.route ?? "pinned by the caller")) },
    { head: "", cell: (row) => track(row, limits.get(row.route), colours.get(row.backend)?.tone ?? "tone-hosted-4") },
    { head: "p50", number: true, cell: (row) => ms(row.total_ms.p50) },
    { head: "p95", number: true, cell: (row) => ms(row.total_ms.p95) },
    { head: "First token p50", number: true, cell: (row) => ms(row.ttft_ms.p50) ?? unknown("never seen") },
    { head: "p95 against the SLO", number: true, cell: against },
    { head: "Answers", number: true, cell: (row) => count(row.answers) },
  ];
  return known.length ? table("Latency by route and backend", columns, known, { class: "cards-when-narrow latency" }) : h("p", { class: "muted" }, "No answers yet in this time range.");
}
