// The GPUs: how busy they are, what nobody used, and what a million tokens cost at which utilisation, beside what the hosted model would take.

import { get, optional } from "./api.js";
import { Bars } from "./bars.js";
import { chip, fill, h, nothing, table } from "./dom.js";
import { epoch, money, percent, short, unknown, usd } from "./format.js";
import { bounds, index } from "./period.js";
import { Plot } from "./plot.js";

const STEPS = { minute: "minute", quarter_hour: "quarter_hour", hour: "hour", day: "day" };

export function build(root, page) {
  const slots = { cards: h("section", { class: "cards", "aria-label": "GPU figures" }), busy: h("div"), curve: h("div"), curveNote: h("p", { class: "muted small" }), engines: h("div"), adapters: h("div"), empty: h("div") };
  const panel = (id, title, ...parts) => h("section", { class: "panel", "aria-labelledby": id }, h("h2", { id }, title), parts);
  slots.panels = [panel("busy-title", "GPU bill: used and idle", slots.busy), panel("curve-title", "Cost of a million tokens against utilisation", slots.curveNote, slots.curve), panel("engines-title", "Engines", slots.engines), panel("work-title", "Who used the GPU", slots.adapters)];
  root.append(slots.empty, slots.cards, ...slots.panels);
  const charts = { busy: new Bars(slots.busy, (at) => page.exchanges(at, {})), curve: new Plot(slots.curve) };
  return { draw: (data) => draw(slots, charts, data, page) };
}

export async function load(state, period) {
  const [gpu, engines, status, prices] = await Promise.all([
    get("/admin/gpu", { step: period.group, ...bounds(period) }),
    optional("/admin/engines/costs", { step: STEPS[period.group], ...bounds(period) }),
    get("/admin/status"),
    optional("/admin/prices"),
  ]);
  const curves = new Map(await Promise.all(status.engines.map(async (engine) => [engine, await optional(`/admin/engines/${encodeURIComponent(engine)}/curve`)])));
  return { gpu, engines, prices, curves };
}

const total = (rows, field) => rows.reduce((sum, row) => (row[field] === null || row[field] === undefined ? sum : (sum ?? 0) + row[field]), null);

function draw(slots, charts, data, page) {
  const { status, period } = data;
  const rows = data.engines?.data ?? data.gpu.data;
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

function cards(rows, { status, period }) {
  const [bill, used, idle] = ["bill_nanousd", "allocated_nanousd", "idle_nanousd"].map((name) => total(rows, name));
  const made = (total(rows, "prefill_tokens") ?? 0) + (total(rows, "decode_tokens") ?? 0);
  const hours = total(rows, "seconds_up");
  const ready = status.replicas.filter((replica) => replica.healthy).length;
  const card = (title, value, note, more = null) => h("div", { class: "panel card" }, h("span", { class: "card-title" }, title), h("span", { class: "figure" }, value), h("span", { class: "muted small" }, note), more);
  const noPrice = "gpu_hour_usd is not set";
  return [
    card("GPU bill", bill === null ? unknown(rows.length ? noPrice : "no closed minute yet") : usd(bill), hours === null ? "closed minutes in this time range" : `${(hours / 3600).toLocaleString("en-US", { maximumFractionDigits: 1 })} hours up`,
      status.replicas.length ? chip(`${ready} of ${status.replicas.length} ready`, ready === status.replicas.length ? "good" : ready ? "warn" : "bad") : null),
    card("Used by requests", bill ? percent(used / bill) : unknown(noPrice), used === null ? noPrice : `${usd(used)} of the bill`),
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
  return { parts: [{ name: "", label: "used", tone: "tone-local", values: values("allocated_nanousd") }, { name: "", label: "idle", tone: "tone-idle", values: values("idle_nanousd") }], ghost: null };
}

/** Measured points (one a step), the calibrated curve where there is one, and the hosted price they have to beat. */
function drawCurve(slots, charts, rows, data) {
  const measured = rows.map((row) => ({ x: utilisation(row), y: perMillion(row), row })).filter((point) => point.x !== null && point.y !== null && point.y > 0);
  const lines = [...data.curves].flatMap(([engine, curve], at) => {
    const points = curvePoints(curve);
    return points.length ? [{ points, tone: at ? "tone-local-3" : "tone-local", label: engine }] : [];
  });
  const hosted = hostedPrice(rows, data);
  const known = [...measured.map((point) => point.y), ...(hosted ? [hosted.amount] : []), ...lines.flatMap((line) => line.points.filter(([x]) => x >= 0.08).map((point) => point[1]))];
  slots.curve.hidden = !known.length || !(measured.length || lines.length);
  const crossing = lines.length && hosted ? breakEven(lines[0].points, hosted.amount) : null;
  slots.curveNote.replaceChildren(...said(lines, measured, hosted, crossing));
  if (slots.curve.hidden) return;
  const cap = Math.max(...known) * 1.15;
  const rules = hosted ? [{ y: hosted.amount, text: `${hosted.model}: ${usd(hosted.amount)}`, tone: "hosted" }] : [];
  if (crossing !== null) rules.push({ x: crossing, text: `even at ${percent(crossing)}`, tone: "local" });
  const columns = [{ head: "Utilisation", cell: ([x]) => percent(x) }, { head: "A million tokens", number: true, cell: ([, y]) => usd(y) }];
  const points = lines.length ? lines[0].points : measured.map((point) => [point.x, point.y]);
  charts.curve.show({
    title: "Cost of a million tokens against utilisation", lines, rules, dots: measured.slice(-400).map((point) => ({ x: point.x, y: point.y, tone: "tone-local", text: `${percent(point.x)} busy: ${usd(point.y)} a million tokens` })),
    x: { min: 0, max: 1, marks: [0, 0.2, 0.4, 0.6, 0.8, 1].map((at) => ({ at, text: percent(at) })), label: "utilisation of the GPU" }, y: { max: 0, cap, write: usd },
    legend: [...(lines.length ? [[h("span", { class: "swatch line tone-local" }), "as calibrated"]] : []), ...(measured.length ? [[h("span", { class: "swatch round tone-local" }), "measured, a point for each step"]] : []), ...(hosted ? [[h("span", { class: "swatch line tone-hosted" }), "hosted, for the same mix of tokens"]] : [])],
    table: points.length ? table("Cost of a million tokens against utilisation", columns, points, { class: "plain" }) : null,
  });
}

function said(lines, measured, hosted, crossing) {
  if (!lines.length && !measured.length) return ["Nothing to draw yet: run ", h("code", {}, "breakeven calibrate ENGINE"), " to measure what the engine can do, or let it answer requests."];
  const first = lines.length ? [] : ["Never calibrated: ", h("code", {}, "breakeven calibrate ENGINE"), " measures the whole curve. "];
  if (crossing !== null) return [...first, `Busier than ${percent(crossing)}, the engine's tokens cost less than ${hosted.model}'s.`];
  if (lines.length && hosted) return [...first, `Even fully busy, the engine's tokens cost more than ${hosted.model}'s.`];
  return first;
}

const utilisation = (row) => row.utilisation ?? (row.bill_nanousd ? row.allocated_nanousd / row.bill_nanousd : null);
function perMillion(row) {
  if (row.cost_per_million_nanousd !== undefined) return row.cost_per_million_nanousd;
  const made = (row.prefill_tokens ?? 0) + (row.decode_tokens ?? 0);
  return made && row.bill_nanousd !== null ? (row.bill_nanousd / made) * 1e6 : null;
}

/** The points of a calibrated curve: [[utilisation, nano-dollars a million tokens]]. */
export function curvePoints(curve) {
  const points = curve?.by_utilisation ?? curve?.points ?? [];
  return points.map((point) => [point.utilisation, point.cost_per_million_nanousd ?? point.nanousd_per_million]).filter(([x, y]) => x > 0 && y !== null && y !== undefined).sort((a, b) => a[0] - b[0]);
}

/** The utilisation at which a falling curve meets a price; null where it never does. */
export function breakEven(points, price) {
  for (let at = 1; at < points.length; at++) {
    const [[x0, y0], [x1, y1]] = [points[at - 1], points[at]];
    if (y0 > price && y1 <= price) return x0 + ((x1 - x0) * (y0 - price)) / (y0 - y1);
  }
  return points.length && points[0][1] <= price ? points[0][0] : null;
}

/** What the first hosted candidate beside a local one takes for a million tokens in the mix the engines worked through. */
function hostedPrice(rows, { routes }) {
  const route = routes.find((one) => one.candidates.some((candidate) => candidate.kind === "local") && one.candidates.some((candidate) => candidate.price));
  const candidate = route?.candidates.find((one) => one.price);
  const [read, written] = [total(rows, "prefill_tokens") ?? 0, total(rows, "decode_tokens") ?? 0];
  if (!candidate || !(read + written)) return null;
  return { model: candidate.model, amount: (candidate.price.input_nanousd * read + candidate.price.output_nanousd * written) / (read + written) };
}

function engines(rows, { status, curves }) {
  const columns = [
    { head: "Engine", cell: (engine) => h("b", {}, engine.name) },
    { head: "Replicas", cell: (engine) => h("span", { class: "chips" }, engine.replicas.length ? engine.replicas.map((replica) => chip(`${replica.index}: ${replica.healthy ? "ready" : replica.state}`, replica.healthy ? "good" : "bad", replica.detail || null)) : h("span", { class: "muted" }, "never seen")) },
    { head: "Bill", number: true, cell: (engine) => money(engine.bill, "gpu_hour_usd is not set") },
    { head: "Idle", number: true, cell: (engine) => money(engine.idle, "gpu_hour_usd is not set") },
    { head: "Used", number: true, cell: (engine) => (engine.bill ? percent(engine.used / engine.bill) : unknown("nothing booked yet")) },
    { head: "Calibrated", number: true, cell: (engine) => (engine.curve ? (engine.curve.time ? new Date(engine.curve.time).toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" }) : "yes") : h("span", { class: "muted" }, "never")) },
  ];
  const list = status.engines.map((name) => {
    const mine = rows.filter((row) => row.engine === name);
    return { name, replicas: status.replicas.filter((replica) => replica.engine === name), bill: total(mine, "bill_nanousd"), idle: total(mine, "idle_nanousd"), used: total(mine, "allocated_nanousd"), curve: curves.get(name) };
  });
  return table("Engines in this time range", columns, list, { class: "cards-when-narrow" });
}

function work(rows, data) {
  const found = new Map();
  for (const row of rows) {
    for (const one of row.adapters ?? []) {
      const name = one.adapter ?? one.backend;
      const sum = found.get(name) ?? { name, cost: null, prefill: 0, decode: 0 };
      if (one.allocated_nanousd !== null && one.allocated_nanousd !== undefined) sum.cost = (sum.cost ?? 0) + one.allocated_nanousd;
      sum.prefill += one.prefill_tokens ?? 0;
      sum.decode += one.decode_tokens ?? 0;
      found.set(name, sum);
    }
  }
  if (!found.size) return nothing("No work of adapters is booked in this time range.");
  const columns = [
    { head: "Adapter", cell: (one) => h("b", {}, one.name ?? "the base") },
    { head: "Tokens read", number: true, cell: (one) => short(one.prefill) },
    { head: "Tokens written", number: true, cell: (one) => short(one.decode) },
    { head: "Share of the GPU", number: true, cell: (one) => money(one.cost, "gpu_hour_usd is not set") },
  ];
  return table("Work by adapter", columns, [...found.values()].sort((a, b) => (b.cost ?? 0) - (a.cost ?? 0)), { class: "cards-when-narrow" });
}
