// The life of every adapter over the cost curve: trained, gated, canary, live, rolled back, drifted, and what requests cost meanwhile.

import { get, optional } from "./api.js";
import { moments, scale, written } from "./axes.js";
import { chip, fill, h, nothing, s, table } from "./dom.js";
import { dayTime, epoch, usd } from "./format.js";
import { detail, named, phrase, tone, word } from "./events.js";
import { perBar } from "./parts.js";
import { bounds, index } from "./period.js";

const LANE = 62, TOP = 12, CURVE = 130, GAP = 18, BOTTOM = 26;

export function build(root, page) {
  const slots = { picture: h("div"), cards: h("section", { class: "cards wide", "aria-label": "Adapters" }), events: h("div") };
  root.append(h("section", { class: "panel", "aria-labelledby": "timeline-title" }, h("div", { class: "panel-head" }, h("h2", { id: "timeline-title" }, "Adapters over the cost of 1,000 requests"), key()), slots.picture),
    slots.cards, h("section", { class: "panel", "aria-labelledby": "events-title" }, h("h2", { id: "events-title" }, "What happened"), slots.events));
  const view = { data: null, drawn: 0 };
  new ResizeObserver(() => { if (view.data && Math.abs(slots.picture.clientWidth - view.drawn) > 1) picture(slots.picture, view); }).observe(slots.picture);
  return { draw: (data) => { view.data = data; draw(slots, view, data, page); } };
}

const key = () => h("ul", { class: "legend keys" }, [["good", "live, gate passed"], ["warn", "canary"], ["bad", "rolled back, refused, drift"], ["quiet", "registered, loaded, retired"]].map(([kind, text]) => h("li", {}, h("span", { class: `mark ${kind}`, "aria-hidden": "true" }), text)));

export async function load(state, period) {
  const [events, steps] = await Promise.all([optional("/admin/timeline"), get("/admin/costs", { group_by: `${state.route ? "route," : ""}${period.group}`, ...bounds(period) })]);
  return { events: events?.data ?? [], steps };
}

function draw(slots, view, data, page) {
  slots.cards.hidden = !data.adapters.length;
  if (!data.adapters.length) {
    fill(slots.picture, nothing("No adapter has been registered yet.", "One comes from ", h("code", {}, "breakeven train"), " or ", h("code", {}, "breakeven adapters add PATH"), "."));
    slots.events.closest("section").hidden = true;
    return;
  }
  slots.events.closest("section").hidden = false;
  picture(slots.picture, view);
  fill(slots.cards, data.adapters.map((adapter) => card(adapter)));
  const inside = data.events.filter((event) => epoch(event.time) >= data.period.since && epoch(event.time) < data.period.until).reverse();
  fill(slots.events, inside.length ? eventTable(inside) : nothing("Nothing happened in this time range.", data.events.length ? `The last: ${phrase(data.events.at(-1))}, ${dayTime(epoch(data.events.at(-1).time))}.` : ""));
}

function card(adapter) {
  const live = adapter.versions.find((one) => one.version === adapter.live);
  return h("div", { class: "panel card" }, h("span", { class: "card-title" }, `${adapter.adapter} on ${adapter.engine}`), h("span", { class: "figure" }, adapter.live === null ? "no live version" : `@${adapter.live}`),
    h("span", { class: "chips" }, live?.gate ? chip(live.gate.passed ? "gate passed" : "gate refused", live.gate.passed ? "good" : "bad", live.gate.reason ?? null) : live ? chip("not judged", "warn") : null,
      live?.proof ? chip(live.proof, live.proof === "proven" ? "good" : "warn") : null, adapter.canary.version === null ? null : chip(`canary @${adapter.canary.version} ${adapter.canary.percent} %`, "warn")),
    h("span", { class: "muted small" }, `${adapter.versions.length} ${adapter.versions.length === 1 ? "version" : "versions"}${adapter.previous === null ? "" : `, @${adapter.previous} ready to go back to`}`), adapter.pending ? h("span", { class: "small" }, adapter.pending) : null, ...judgements(adapter));
}

/** What the evidence says of each version that has any stage but blocked, route by route, and what it takes to move up. */
function judgements(adapter) {
  const share = (value) => `${value < 0 ? "−" : "+"}${Math.abs(100 * value).toFixed(1)} %`;
  return adapter.versions.flatMap((one) => Object.entries(one.quality ?? {}).filter(([, found]) => found.stage !== "blocked").map(([route, found]) => {
    const said = found.evidence.filter((each) => each.estimate !== null).map((each) => `${each.kind} ${share(each.estimate)} (${share(each.low)} to ${share(each.high)}, ${each.n})`);
    const rest = found.held ?? (found.needed.length ? `to move up: ${found.needed.join("; ")}` : null);
    return h("span", { class: "muted small" }, `@${one.version} on ${route}: ${found.stage}${found.reference ? ` against ${found.reference}` : ""}. ${said.join(", ") || "No evidence yet"}${rest ? `. ${rest[0].toUpperCase()}${rest.slice(1)}` : ""}`);
  }));
}

/** The spans in which a version was live: [{version, from, to}], from the promotions and roll-backs of one adapter. */
export function spans(events, until) {
  const found = [];
  for (const event of events) {
    if (!["promoted", "rolled_back"].includes(event.kind) && !(event.kind === "retired" && event.version === found.at(-1)?.version)) continue;
    const at = epoch(event.time);
    if (found.length && found.at(-1).to === until) found.at(-1).to = at;
    if (event.kind !== "retired") found.push({ version: event.version, from: at, to: until });
  }
  return found;
}

function picture(root, view) {
  const { data } = view;
  const { period, state } = data;
  const width = (view.drawn = Math.max(260, root.clientWidth));
  const costs = perBar(data.steps.data.filter((row) => !state.route || row.route === state.route), period, (total) => total.cost_per_1k_requests_nanousd);
  const { top, ticks } = scale(Math.max(0, ...costs.filter((value) => value !== null)), 0, 3);
  const names = written(ticks, usd);
  const left = Math.max(48, 14 + 7.2 * Math.max(...names.map((name) => name.length)));
  const inner = width - left - 10;
  const height = TOP + CURVE + GAP + LANE * data.adapters.length + BOTTOM;
  const x = (when) => left + ((when - period.since) / (period.until - period.since)) * inner;
  const y = (value) => TOP + CURVE * (1 - value / top);
  const grid = ticks.map((tick, at) => [s("line", { class: tick === 0 ? "grid zero" : "grid", x1: left, x2: left + inner, y1: y(tick), y2: y(tick) }), s("text", { class: "tick", x: left - 8, y: y(tick) + 4, "text-anchor": "end" }, names[at])]);
  const middle = (at) => x(period.starts[at] + period.step / 2);
  const curve = costs.map((value, at) => (value === null ? "" : `${costs[at - 1] == null ? "M" : "L"}${middle(at).toFixed(1)} ${y(value).toFixed(1)}`)).join("");
  const lanes = data.adapters.map((adapter, at) => lane(adapter, TOP + CURVE + GAP + LANE * at, { ...data, x, left, inner, width }));
  let last = -Infinity;
  const labels = moments(period.since, period.until, inner).flatMap(({ time, text }) => {
    const half = text.length * 3.4;
    if (x(time) - half < Math.max(last, left - 20) || x(time) + half > width) return [];
    last = x(time) + half + 12;
    return [s("text", { class: "tick", x: x(time), y: height - 6, "text-anchor": "middle" }, text)];
  });
  const told = data.events.filter((event) => index(period, epoch(event.time)) >= 0).length;
  root.replaceChildren(s("svg", { class: "timeline", width, height, role: "img", "aria-label": `Cost of 1,000 requests over time, and ${told} events of ${data.adapters.length} adapters. The events are in the table below.` },
    grid, s("path", { class: "curve tone-hosted", d: curve }), lanes, labels));
}

function lane(adapter, y, { events, period, x, left, inner }) {
  const mine = events.filter((event) => event.adapter === adapter.adapter);
  const middle = y + 34;
  const clip = (when) => Math.max(left, Math.min(left + inner, x(when)));
  const bars = spans(mine, period.now).filter((span) => span.to > period.since && span.from < period.until).map((span) => {
    const [from, to] = [clip(span.from), clip(span.to)];
    return [s("rect", { class: "alive", x: from, width: Math.max(1, to - from), y: middle - 7, height: 14, rx: 4 }), to - from > 20 ? s("text", { class: "alive-text", x: from, y: middle + 21 }, `@${span.version}`) : null];
  });
  const inside = mine.filter((event) => epoch(event.time) >= period.since && epoch(event.time) < period.until);
  const drops = inside.filter((event) => ["promoted", "rolled_back", "drift"].includes(event.kind)).map((event) => s("line", { class: `drop ${tone(event)}`, x1: x(epoch(event.time)), x2: x(epoch(event.time)), y1: TOP, y2: middle }));
  const marks = inside.map((event) => s("path", { class: `event ${tone(event)}`, transform: `translate(${x(epoch(event.time)).toFixed(1)} ${middle})`, d: shape(event) }, s("title", {}, `${phrase(event)}, ${dayTime(epoch(event.time))}`)));
  return [s("line", { class: "rail", x1: left, x2: left + inner, y1: middle, y2: middle }), drops, bars, marks, s("text", { class: "lane", x: left, y: y + 16 }, adapter.adapter)];
}

/** Shapes tell events apart without colour: live is a circle, a canary a triangle, what was stopped a cross, the rest a diamond. */
function shape(event) {
  if (event.kind === "promoted") return "M-6 0a6 6 0 1 0 12 0a6 6 0 1 0-12 0z";
  if (event.kind === "canary") return "M0-6.5l6 11h-12z";
  if (["rolled_back", "refused", "drift"].includes(event.kind) || event.passed === false) return "M-5.5-3.5l2-2 3.5 3.5 3.5-3.5 2 2-3.5 3.5 3.5 3.5-2 2-3.5-3.5-3.5 3.5-2-2 3.5-3.5z";
  return "M0-5l5 5-5 5-5-5z";
}

function eventTable(events) {
  const columns = [
    { head: "When", cell: (event) => dayTime(epoch(event.time)) },
    { head: "Adapter", cell: (event) => h("b", {}, named(event)) },
    { head: "Event", cell: (event) => chip(word(event), tone(event)) },
    { head: "Details", cell: (event) => detail(event) || h("span", { class: "muted" }, "–") },
    { head: "By", cell: (event) => h("span", { class: "muted" }, event.actor) },
  ];
  return table("What happened to adapters, newest first", columns, events, { class: "cards-when-narrow" });
}
