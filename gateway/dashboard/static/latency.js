// How fast answers were, route by route, against what the route aims at: percentiles of whole answers and of first tokens.

import { get } from "./api.js";
import { backend } from "./colours.js";
import { fill, h, nothing, s, segmented, table } from "./dom.js";
import { moments } from "./axes.js";
import { count, dayTime, epoch, ms, percent, unknown } from "./format.js";
import { bounds } from "./period.js";
import { Plot } from "./plot.js";
import { by } from "./sums.js";

export function build(root, page) {
  const slots = { head: h("div", { class: "panel-controls" }), routes: h("div", { class: "stacked" }), note: h("p", { class: "muted small" }) };
  root.append(h("div", { class: "view-head" }, h("h2", {}, "Latency against the SLO"), slots.head), slots.routes, slots.note);
  const view = { face: "total", plots: new Map() };
  const again = (data) => draw(slots, data, page, view, again);
  return { draw: again };
}

export async function load(state, period) {
  const [backends, whole, steps] = await Promise.all([
    get("/admin/latency", bounds(period)),
    get("/admin/latency", { group_by: "route", ...bounds(period) }),
    get("/admin/latency", { group_by: `route,${period.group}`, ...bounds(period) }),
  ]);
  return { backends, whole, steps };
}

function draw(slots, data, page, view, again) {
  const { state } = data;
  fill(slots.head, segmented("face", "Which time", [["total", "Whole answers"], ["ttft", "First token"]], view.face, (face) => { view.face = face; again(data); }));
  const rows = data.backends.data.filter((row) => (!state.route || row.route === state.route) && row[`${view.face}_ms`].p50 !== null);
  const groups = [...by(rows, "route")].sort((a, b) => `${a[0]}`.localeCompare(`${b[0]}`));
  fill(slots.routes, groups.length ? groups.map(([route, some]) => panel(route, some, data, view, page)) : h("section", { class: "panel", "aria-label": "Latency" }, nothing("No answers in this time range.", page.firstSeen(data))));
  slots.note.textContent = groups.length ? "Answers that succeeded. Half were faster than p50, nineteen of twenty faster than p95, all but one in a hundred faster than p99." : "";
}

function panel(route, rows, data, view, page) {
  const { face } = view;
  const slo = rows[0][`slo_${face}_ms`];
  const whole = data.whole.data.find((row) => row.route === route);
  const inside = whole?.[`within_slo_${face}`] ?? null, target = whole?.slo_target ?? null;
  const field = `${face}_ms`;
  const limit = Math.max(...rows.map((row) => row[field].p99 ?? row[field].p95), slo ?? 0) * 1.08;
  const list = [...rows].sort((a, b) => b.answers - a.answers);
  const columns = [
    { head: "Backend", cell: (row) => backend(row.backend, data.colours, true) },
    { head: "", cell: (row) => track(row[field], slo, limit, data.colours.get(row.backend)?.tone ?? "tone-none") },
    ...["p50", "p90", "p95", "p99"].filter((name) => rows.some((row) => row[field][name] !== undefined)).map((name) => ({ head: name, number: true, cell: (row) => ms(row[field][name]) ?? unknown("not seen") })),
    { head: "p95 and the SLO", number: true, cell: (row) => against(row[field].p95, slo) },
    { head: "Answers", number: true, cell: (row) => (route === null ? count(row.answers) : page.link("exchanges", { route, backend: row.backend ?? "" }, count(row.answers))) },
  ];
  const aim = slo === null ? h("span", { class: "muted" }, "no SLO for this") : [h("span", { class: "slo-key", "aria-hidden": "true" }), `SLO ${ms(slo)}`,
    inside === null ? null : h("b", { class: target !== null && inside < target ? "bad-ink" : "good-ink" }, ` ${percent(inside, 1)} inside`), inside !== null && target !== null ? h("span", { class: "muted" }, `, aim ${percent(target)}`) : null];
  return h("section", { class: "panel", "aria-label": `Latency of ${route ?? "requests pinned by the caller"}` },
    h("div", { class: "panel-head" }, h("h3", { class: "title" }, route ?? "Pinned by the caller"), h("p", { class: "small" }, aim)),
    table(`Latency of ${route ?? "requests pinned by the caller"} by backend`, columns, list, { class: "cards-when-narrow latency" }), axis(limit), overTime(route, slo, data, view));
}

/** p50 and p95 of the whole route over time, and its SLO. Percentiles do not add up, so every point is of its own step. */
function overTime(route, slo, data, view) {
  const { period } = data, field = `${view.face}_ms`;
  const rows = data.steps.data.filter((row) => row.route === route && row[field].p50 !== null);
  if (rows.length < 2) return null;
  if (!view.plots.has(route)) { const root = h("div", { class: "over-time" }); view.plots.set(route, { root, plot: new Plot(root) }); }
  const { root, plot } = view.plots.get(route);
  const length = { day: 86400, hour: 3600, quarter_hour: 900, minute: 60 }[period.group];
  const line = (name) => rows.map((row) => [epoch(row[period.group]) + length / 2, row[field][name]]);
  const columns = [{ head: "From", cell: (row) => dayTime(epoch(row[period.group])) }, ...["p50", "p95", "p99"].map((name) => ({ head: name, number: true, cell: (row) => ms(row[field][name]) ?? unknown() })), { head: "Answers", number: true, cell: (row) => count(row.answers) }];
  // The plot measures the width it is drawn into, which it has once it is on the page.
  requestAnimationFrame(() => plot.show({
    title: `p50 and p95 of ${route ?? "requests pinned by the caller"} over time`, height: 180, lines: [{ points: line("p95"), tone: "tone-1" }, { points: line("p50"), tone: "tone-3" }],
    rules: slo === null ? [] : [{ y: slo, text: `SLO ${ms(slo)}` }], x: { min: period.since, max: period.until, marks: moments(period.since, period.until, root.clientWidth || 800).map(({ time, text }) => ({ at: time, text })) },
    y: { max: slo ?? 0, write: ms }, legend: [[h("span", { class: "swatch line tone-3" }), "p50"], [h("span", { class: "swatch line tone-1" }), "p95 of all backends together"]], table: table("Percentiles over time", columns, [...rows].reverse(), { class: "plain" }),
  }));
  return root;
}

function track(times, slo, limit, tone) {
  const { p50, p90, p95, p99 } = times;
  const at = (value) => `${Math.min(100, (value / limit) * 100)}%`;
  const far = p99 ?? p95;
  return s("svg", { class: "track", height: 28, width: "100%", "aria-hidden": "true" },
    s("line", { class: "rail", x1: 0, x2: "100%", y1: 14, y2: 14 }),
    s("line", { class: `range thin ${tone}`, x1: at(p50), x2: at(far), y1: 14, y2: 14 }),
    s("line", { class: `range ${tone}`, x1: at(p50), x2: at(p95), y1: 14, y2: 14 }),
    p90 === undefined || p90 === null ? null : s("line", { class: `whisker ${tone}`, x1: at(p90), x2: at(p90), y1: 9, y2: 19 }),
    p99 === undefined || p99 === null ? null : s("line", { class: `whisker ${tone}`, x1: at(p99), x2: at(p99), y1: 10, y2: 18 }),
    s("circle", { class: tone, cx: at(p50), cy: 14, r: 5 }),
    s("circle", { class: `hollow ${tone}`, cx: at(p95), cy: 14, r: 5 }),
    slo === null ? null : s("line", { class: "slo", x1: at(slo), x2: at(slo), y1: 1, y2: 27 }));
}

const axis = (limit) => h("p", { class: "muted small track-key" }, h("span", { class: "dot" }), " p50 ", h("span", { class: "dot hollow" }), " p95, marks at p90 and p99; the right edge is ", ms(limit));

function against(p95, slo) {
  if (slo === null) return h("span", { class: "muted" }, "no aim");
  const late = p95 > slo;
  return h("span", { class: late ? "bad-ink" : "good-ink" }, `${late ? "over" : "within"} ${ms(slo)}`);
}
