// The GPUs: how busy they are, what nobody used, and what a million tokens cost at which utilisation, beside what the hosted model would take.

import { get } from "./api.js";
import { Bars } from "./bars.js";
import { backend } from "./colours.js";
import { chip, fill, h, nothing, share, table } from "./dom.js";
import { count, dayYearOf, epoch, money, percent, short, unknown, usd } from "./format.js";
import { bounds, index } from "./period.js";
import { Plot } from "./plot.js";

export function build(root, page) {
  const slots = { cards: h("section", { class: "cards", "aria-label": "GPU figures" }), busy: h("div"), curve: h("div"), curveNote: h("p", { class: "muted small" }), engines: h("div"), adapters: h("div"), empty: h("div") };
  const panel = (id, title, ...parts) => h("section", { class: "panel", "aria-labelledby": id }, h("h2", { id }, title), parts);
  slots.panels = [panel("busy-title", "GPU bill: used and idle", slots.busy), panel("curve-title", "Cost of a million tokens against utilisation", slots.curveNote, slots.curve), panel("engines-title", "Engines", slots.engines), panel("work-title", "Who used the GPU", slots.adapters)];
  root.append(slots.empty, slots.cards, ...slots.panels);
  const charts = { busy: new Bars(slots.busy, (at) => page.exchanges(at, {})), curve: new Plot(slots.curve) };
  return { draw: (data) => draw(slots, charts, data, page) };
}

export async function load(state, period, { status }) {
  const [costs, ...curves] = await Promise.all([get("/admin/engines/costs", { step: period.group, ...bounds(period) }), ...status.engines.map((engine) => get(`/admin/engines/${encodeURIComponent(engine)}/curve`))]);
  return { costs, curves: new Map(status.engines.map((engine, at) => [engine, curves[at]])) };
}

const total = (rows, field) => rows.reduce((sum, row) => (row[field] === null || row[field] === undefined ? sum : (sum ?? 0) + row[field]), null);

function draw(slots, charts, data, page) {
  const { status, period } = data;
  const rows = data.costs.data;
  const none = !status.engines.length;
  slots.cards.hidden = none;
  for (const panel of slots.panels) panel.hidden = none;
  fill(slots.empty, none ? h("section", { class: "panel", "aria-label": "Engines" }, nothing("No engine is configured.", "Every request goes to a hosted model. An engine is a vLLM server that this gateway starts or reaches: ", h("code", {}, "engines:"), ` in ${status.config}.`)) : null);
  if (none) return;
  fill(slots.cards, cards(rows, data));
  charts.busy.show({ ...bill(rows, period), period, write: usd, title: "GPU bill over time" });
  drawCurve(slots, charts, rows, data);
  fill(slots.engines, engines(rows, data));
  fill(slots.adapters, work(rows, data));
}

const TOKENS = ["prefill_tokens", "decode_tokens", "foreign_prefill_tokens", "foreign_decode_tokens"];

function cards(rows, { status }) {
  const [bill, used, foreign, idle] = ["bill_nanousd", "allocated_nanousd", "foreign_nanousd", "idle_nanousd"].map((name) => total(rows, name));
  const made = TOKENS.reduce((sum, name) => sum + (total(rows, name) ?? 0), 0);
  const hours = total(rows, "replica_seconds");
  const ready = status.replicas.filter((replica) => replica.healthy).length;
  const card = (title, value, note, more = null) => h("div", { class: "panel card" }, h("span", { class: "card-title" }, title), h("span", { class: "figure" }, value), h("span", { class: "muted small" }, note), more);
  const noPrice = "gpu_hour_usd is not set";
  return [
    card("GPU bill", bill === null ? unknown(rows.length ? noPrice : "no closed minute yet") : usd(bill), hours === null ? "closed minutes in this time range" : `${(hours / 3600).toLocaleString("en-US", { maximumFractionDigits: 1 })} replica hours up`,
      status.replicas.length ? chip(`${ready} of ${status.replicas.length} ready`, ready === status.replicas.length ? "good" : ready ? "warn" : "bad") : null),
    card("Used by requests", bill ? percent(used / bill) : unknown(noPrice), used === null ? noPrice : `${usd(used)} of the bill${foreign ? `, others ${usd(foreign)}` : ""}`),
    card("Idle", money(idle, noPrice), bill ? `${percent(idle / bill)} of the bill that no request used` : "nothing booked yet"),
    card("A million tokens", bill !== null && made ? usd((bill / made) * 1e6) : unknown("no token counts yet"), made ? `${short(made)} tokens, idle time paid` : "needs the engine's token counters"),
  ];
}

function bill(rows, period) {
  const values = (field) => {
    const found = new Array(period.starts.length).fill(null);
    for (const row of rows) { const at = index(period, epoch(row.time)); if (at >= 0 && row[field] !== null) found[at] = (found[at] ?? 0) + row[field]; }
    return found;
  };
  const parts = [["used by requests", "tone-local", "allocated_nanousd"], ["used by others", "tone-local-4", "foreign_nanousd"], ["idle", "tone-idle", "idle_nanousd"]].map(([label, tone, field]) => ({ name: "", label, tone, values: values(field) }));
  return { parts: parts.filter((part) => part.tone !== "tone-local-4" || part.values.some((value) => value)), ghost: null };
}

/** Measured points (one a step), the calibrated curve where there is one, and the hosted prices it has to beat. */
function drawCurve(slots, charts, rows, data) {
  const measured = rows.map((row) => ({ x: row.utilisation, y: row.whole_cost_per_m_nanousd })).filter((point) => point.x !== null && point.y);
  const lines = [...data.curves].flatMap(([engine, known], at) => {
    const points = known.cost_by_utilisation.map((step) => [step.utilisation, step.cost_per_m_nanousd]).filter(([x, y]) => x > 0 && y !== null);
    return points.length ? [{ points, drawn: between(points), tone: at ? "tone-local-3" : "tone-local", label: engine }] : [];
  });
  const hosted = beside(data);
  slots.curve.hidden = !lines.length;
  slots.curveNote.replaceChildren(...said(lines, hosted, data));
  if (!lines.length) return;
  // Near nothing to do the curve goes to infinity: the picture ends where it says something about the hosted prices.
  const cap = Math.max(...hosted.map((one) => one.cost_per_m_nanousd ?? 0), ...lines.map((line) => (line.points.find(([x]) => x >= 0.1) ?? line.points[0])[1])) * 1.25;
  const rules = hosted.filter((one) => one.cost_per_m_nanousd !== null).map((one) => ({ y: one.cost_per_m_nanousd, text: `${one.model} ${usd(one.cost_per_m_nanousd)}`, tone: "hosted" }));
  for (const one of hosted) if (one.break_even_utilisation !== null) rules.push({ x: one.break_even_utilisation, text: `even at ${percent(one.break_even_utilisation, 1)}`, tone: "local" });
  const columns = [{ head: "Utilisation", cell: ([x]) => percent(x) }, { head: "A million tokens", number: true, cell: ([, y]) => usd(y) }];
  charts.curve.show({
    title: "Cost of a million tokens against utilisation", lines: lines.map((line) => ({ ...line, points: line.drawn.filter((point) => point[1] <= cap) })), rules, dots: measured.slice(-400).map((point) => ({ ...point, tone: "tone-1", text: `${percent(point.x, 1)} utilised: ${usd(point.y)} a million tokens` })),
    x: { min: 0, max: 1, marks: [0, 0.2, 0.4, 0.6, 0.8, 1].map((at) => ({ at, text: percent(at) })), label: "utilisation: of what the engine can do, it did" }, y: { max: 0, cap, write: usd },
    legend: [[h("span", { class: "swatch line tone-local" }), "as calibrated"], ...(measured.length ? [[h("span", { class: "swatch round tone-1" }), "as it was, a point for each step"]] : []), ...(rules.length ? [[h("span", { class: "swatch dashed" }), "hosted, for the same mix of tokens"]] : [])],
    table: table("Cost of a million tokens against utilisation", columns, lines[0].points, { class: "plain" }),
  });
}

/** The curve between its steps: utilisation times cost is what an hour's tokens cost, which changes evenly. */
function between(points) {
  return points.flatMap(([x, y], at) => {
    const next = points[at + 1];
    return next ? [0, 0.25, 0.5, 0.75].map((part) => { const u = x + (next[0] - x) * part; return [u, (x * y * (1 - part) + next[0] * next[1] * part) / u]; }) : [[x, y]];
  });
}

function said(lines, hosted, { curves }) {
  if (!lines.length) {
    const unpriced = [...curves.values()].some((known) => known.curve !== null && known.gpu_hour_nanousd === null);
    return unpriced ? ["Calibrated, but what the GPU costs is not known: set ", h("code", {}, "gpu_hour_usd"), "."] : ["Never calibrated: ", h("code", {}, "breakeven calibrate ENGINE"), " measures what the engine can do, and from which utilisation on it is cheaper than hosted."];
  }
  return hosted.flatMap((one) => {
    if (one.verdict === "price_unknown") return [`What ${one.model} costs is not known. `];
    return [one.break_even_utilisation === null ? `Even fully used, the engine's tokens cost more than ${one.model}'s. ` : `From ${percent(one.break_even_utilisation, 1)} utilisation on, the engine's tokens cost less than ${one.model}'s. `];
  });
}

/** The hosted models that stand beside a local candidate on some route, as the first engine's curve sees them. */
function beside({ routes, curves }) {
  const rivals = new Set(routes.filter((route) => route.candidates.some((one) => one.kind === "local")).flatMap((route) => route.candidates.filter((one) => one.kind === "hosted").map((one) => one.backend)));
  return [...curves.values()].find((known) => known.hosted.length)?.hosted.filter((one) => rivals.has(`${one.provider}/${one.model}`)) ?? [];
}

function engines(rows, { status, curves }) {
  const columns = [
    { head: "Engine", cell: (engine) => h("b", {}, engine.name) },
    { head: "Replicas", cell: (engine) => h("span", { class: "chips" }, engine.replicas.length ? engine.replicas.map((replica) => chip(`${replica.index}: ${replica.healthy ? "ready" : replica.state}`, replica.healthy ? "good" : "bad", replica.detail || null)) : h("span", { class: "muted" }, "never seen")) },
    { head: "Bill", number: true, cell: (engine) => money(engine.bill, "gpu_hour_usd is not set") },
    { head: "Idle", number: true, cell: (engine) => money(engine.idle, "gpu_hour_usd is not set") },
    { head: "Used", number: true, cell: (engine) => (engine.bill ? percent(engine.used / engine.bill) : unknown("nothing booked yet")) },
    { head: "Utilisation", number: true, cell: (engine) => (engine.utilisation === null ? unknown("never calibrated") : percent(engine.utilisation, 1)) },
    { head: "Calibrated", number: true, cell: (engine) => (engine.curve?.curve ? dayYearOf(epoch(engine.curve.curve.measured_at)) : h("span", { class: "muted" }, "never")) },
  ];
  const list = status.engines.map((name) => {
    const mine = rows.filter((row) => row.engine === name);
    return { name, replicas: status.replicas.filter((replica) => replica.engine === name), bill: total(mine, "bill_nanousd"), idle: total(mine, "idle_nanousd"), used: total(mine, "allocated_nanousd"), utilisation: average(mine), curve: curves.get(name) };
  });
  return table("Engines in this time range", columns, list, { class: "cards-when-narrow" });
}

/** Utilisation over steps, each by how long the replicas were up in it. */
function average(rows) {
  const known = rows.filter((row) => row.utilisation !== null);
  const seconds = total(known, "replica_seconds");
  return seconds ? known.reduce((sum, row) => sum + row.utilisation * row.replica_seconds, 0) / seconds : null;
}

function work(rows, data) {
  const found = new Map();
  for (const one of rows.flatMap((row) => row.adapters)) {
    const sum = found.get(one.backend) ?? { backend: one.backend, cost: null, calls: 0, prefill: 0, decode: 0 };
    if (one.cost_nanousd !== null) sum.cost = (sum.cost ?? 0) + one.cost_nanousd;
    for (const [name, field] of [["calls", "calls"], ["prefill", "prefill_tokens"], ["decode", "decode_tokens"]]) sum[name] += one[field];
    found.set(one.backend, sum);
  }
  if (!found.size) return nothing("No work is booked in this time range.");
  const all = [...found.values()].reduce((sum, one) => sum + (one.cost ?? 0), 0);
  const columns = [
    { head: "Backend", cell: (one) => (one.backend === null ? h("span", { class: "muted" }, "before this was kept apart") : backend(one.backend, data.colours, true)) },
    { head: "Calls", number: true, cell: (one) => count(one.calls) },
    { head: "Tokens read", number: true, cell: (one) => short(one.prefill) },
    { head: "Tokens written", number: true, cell: (one) => short(one.decode) },
    { head: "GPU cost", number: true, cell: (one) => money(one.cost, "gpu_hour_usd is not set") },
    { head: "A million tokens", number: true, cell: (one) => (one.cost !== null && one.prefill + one.decode ? usd((one.cost / (one.prefill + one.decode)) * 1e6) : unknown("no tokens")) },
    { head: "Share", cell: (one) => (all && one.cost !== null ? h("div", { class: "stack" }, percent(one.cost / all), share(one.cost / all, "plain")) : unknown("gpu_hour_usd is not set")) },
  ];
  return table("Work by backend", columns, [...found.values()].sort((a, b) => (b.cost ?? 0) - (a.cost ?? 0)), { class: "cards-when-narrow" });
}
