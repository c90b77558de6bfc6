// Who costs what: the period grouped by route, backend, key, tag or adapter, as stacked bars and as a table that can be sorted and taken away.

import { download, get, optional } from "./api.js";
import { Bars, addUp } from "./bars.js";
import { backend, several } from "./colours.js";
import { chip, fill, h, nothing, segmented, share, sortable } from "./dom.js";
import { ago, change, count, epoch, money, percent, short, unknown, usd } from "./format.js";
import { stacked } from "./parts.js";
import { bounds } from "./period.js";
import { by, spent, sum, tokens } from "./sums.js";

const METRICS = [["cost", "Cost"], ["requests", "Requests"], ["tokens", "Tokens"], ["saved", "Saved"]];
const GROUPS = [["route", "Route"], ["backend", "Backend"], ["key", "Key"], ["tag", "Tag"], ["adapter", "Adapter"]];
const NONE = { route: "pinned by the caller", backend: "no answer", key: "no key", tag: "no tag", adapter: "no adapter" };
const MOST = 8;
const STAGES = { open: "good", ramp: "good", canary: "warn", shadow: "warn", blocked: "bad" };

export function build(root, page) {
  const slots = { controls: h("div", { class: "panel-controls" }), bars: h("div"), empty: h("div"), note: h("p", { class: "muted small" }), table: h("div", { class: "scroll-x" }) };
  root.append(h("section", { class: "panel", "aria-labelledby": "groups-title" }, h("div", { class: "panel-head" }, h("h2", { id: "groups-title" }, "Who costs what"), slots.controls), slots.empty, slots.bars),
    h("section", { class: "panel", id: "routes", "aria-label": "Groups as a table" }, slots.note, slots.table));
  const order = { column: 2, down: true };
  const view = { data: null };
  const bars = new Bars(slots.bars, (at, name) => page.exchanges(at, name && view.data.state.group !== "tag" ? filterOf(view.data, name) : {}));
  return { draw: (data) => { view.data = data; draw(slots, bars, data, page, order); } };
}

export async function load(state, period) {
  const group = state.group || "route";
  const filtered = state.route && group !== "route" ? "route," : "";
  const [steps, keys] = await Promise.all([
    get("/admin/costs", { group_by: `${filtered}${group},${period.group}`, ...bounds(period) }),
    group === "key" ? optional("/admin/keys") : null,
  ]);
  return { steps, keys };
}

function draw(slots, bars, data, page, order) {
  const { state, period } = data;
  const group = state.group || "route", metric = METRICS.some(([name]) => name === state.metric) ? state.metric : "cost";
  const rows = data.steps.data.filter((row) => !state.route || row.route === undefined || row.route === state.route);
  const groups = [...by(rows, group)].map(([name, some]) => ({ ...sum(some), name }));
  fill(slots.controls, segmented("group", "Group by", GROUPS, group, (value) => page.change({ group: value === "route" ? "" : value })),
    segmented("metric", "What the bars show", METRICS, metric, (value) => page.change({ metric: value })),
    h("button", { type: "button", class: "button", "data-focus": "csv", onclick: () => download("/admin/costs", { group_by: group, ...bounds(period) }, `costs-by-${group}.csv`).catch((error) => page.problem(error.message)) }, h("span", { class: "visually-hidden" }, "Download this table as "), "CSV"));
  slots.bars.hidden = !groups.length;
  slots.table.closest("section").hidden = !groups.length && group !== "route";
  fill(slots.empty, groups.length ? null : nothing("No requests in this time range.", group === "tag" ? "Requests carry tags in the header x-breakeven-tags." : page.firstSeen(data)));
  const names = new Map((data.keys?.data ?? []).map((key) => [key.id, key.name]));
  const written = (name) => (name === null ? NONE[group] : names.get(name) ?? name);
  const size = (total) => Math.abs((metric === "cost" ? spent(total) : metric === "requests" ? total.requests : metric === "tokens" ? tokens(total) : total.saved_nanousd) ?? 0);
  const largest = [...groups].sort((a, b) => size(b) - size(a));
  const shown = largest.length > MOST ? largest.slice(0, MOST - 1) : largest;
  const colours = group === "backend" ? data.colours : group === "adapter" ? ofAdapters(data.colours, shown) : several(shown.map((one) => one.name));
  if (groups.length) {
    const parts = stacked(rows, period, group, [...shown.map((one) => one.name), ...(shown.length < largest.length ? ["\0others"] : [])], metric)
      .map((part) => ({ ...part, tone: part.name === "\0others" ? "tone-none" : colours.get(part.name)?.tone ?? "tone-none", label: part.name === "\0others" ? `${largest.length - shown.length} others` : written(part.name) }));
    bars.show({ period, parts, ghost: null, write: metric === "cost" || metric === "saved" ? usd : short, title: `${METRICS.find(([name]) => name === metric)[1]} by ${group}`, whole: addUp });
  }
  slots.note.textContent = group === "tag" ? "A request counts under each of its tags, so the rows do not add up to the total." : "";
  const all = group === "route" ? withQuiet(groups, data) : groups;
  fill(slots.table, sortable(`By ${group} in this time range`, columns(group, written, colours, data, page), all, order, () => draw(slots, bars, data, page, order), { class: "cards-when-narrow wide" }));
}

/** Routes without a request in the period are shown too: they are there. */
function withQuiet(groups, { routes, state }) {
  const seen = new Set(groups.map((one) => one.name));
  const quiet = routes.filter((route) => !seen.has(route.name)).map((route) => ({ ...sum([]), name: route.name }));
  return [...groups, ...quiet].filter((one) => !state.route || one.name === state.route);
}

/** The filter of the exchanges that a row of this group leads to; null where there is none. */
function filterOf(data, name) {
  const group = data.state.group || "route";
  if (name === null) return {};
  if (group === "adapter") return { backend: [...data.colours.keys()].find((one) => one?.endsWith(`/${name}`)) ?? "" };
  return { [group]: name };
}

/** Adapters have the colours of their backends. */
const ofAdapters = (backends, shown) => new Map(shown.filter(({ name }) => name !== null).map(({ name }) => [name, [...backends.values()].find((one) => one.name?.endsWith(`/${name}`))]));

function columns(group, written, colours, data, page) {
  const routeOf = (row) => data.routes.find((route) => route.name === row.name);
  const first = {
    head: GROUPS.find(([name]) => name === group)[1], value: (row) => written(row.name),
    cell: (row) => h("div", { class: "stack" }, group === "backend" ? backend(row.name, colours, true) : h("span", { class: "backend" }, h("span", { class: `swatch ${colours.get(row.name)?.tone ?? "tone-none"}` }), h("b", { class: "breakable" }, written(row.name))),
      h("div", { class: "chips" }, group !== "backend" && row.sandbox ? chip("sandbox", "warn") : null, group === "route" ? health(routeOf(row)) : null)),
  };
  const found = [
    first,
    { head: "Requests", number: true, value: (row) => row.requests, cell: (row) => h("div", { class: "stack" }, row.requests && row.name !== null && group !== "tag" ? page.link("exchanges", filterOf(data, row.name), count(row.requests)) : count(row.requests),
      row.error_requests ? h("span", { class: "bad-ink small" }, `${count(row.error_requests)} failed`) : null, row.fallback_requests ? h("span", { class: "muted small" }, `${count(row.fallback_requests)} fell over`) : null) },
    { head: "Cost", number: true, value: spent, cell: (row) => h("div", { class: "stack" }, money(spent(row)), row.unpriced_requests ? h("span", { class: "muted small" }, `${count(row.unpriced_requests)} of unknown cost`) : null) },
    { head: "Per 1,000", number: true, value: (row) => row.cost_per_1k_requests_nanousd, cell: (row) => (row.requests ? money(row.cost_per_1k_requests_nanousd, "needs known prices") : unknown("no requests")) },
    { head: "All hosted", number: true, value: (row) => row.all_hosted_nanousd, cell: (row) => h("div", { class: "stack" }, money(row.all_hosted_nanousd),
      row.local_requests && row.all_hosted_nanousd && spent(row) !== null ? h("span", { class: spent(row) <= row.all_hosted_nanousd ? "good-ink small" : "bad-ink small" }, change(spent(row), row.all_hosted_nanousd)) : null) },
    { head: "Tokens", number: true, value: tokens, cell: (row) => h("div", { class: "stack" }, short(tokens(row)), row.requests ? h("span", { class: "muted small" }, `${short(row.input_tokens)} in, ${short(row.output_tokens)} out`) : null) },
  ];
  if (group !== "backend" && group !== "adapter") found.push({ head: "Answered locally", value: (row) => (row.requests ? row.local_requests / row.requests : null), cell: (row) => localShare(row, group === "route" ? routeOf(row) : null) });
  if (group === "route") found.push({ head: "Live adapter", cell: (row) => adapterCell(routeOf(row), data.now, page) });
  return found;
}

function localShare(row, route) {
  if (route && !route.candidates.some((candidate) => candidate.kind === "local")) return h("span", { class: "muted" }, "no local candidate");
  return row.requests ? h("div", { class: "stack" }, percent(row.local_requests / row.requests), share(row.local_requests / row.requests)) : h("span", { class: "muted" }, "no requests");
}

function gate(adapter, route) {
  if (!adapter.gate) return chip(route.suite ? "not judged" : "unproven", "warn", route.suite ? "No gate has judged this version for this route." : "The route has no suite to judge it by.");
  return chip(adapter.gate.passed ? "gate passed" : "gate refused", adapter.gate.passed ? "good" : "bad", adapter.gate.reason ?? null);
}

function adapterCell(route, now, page) {
  if (!route) return unknown("no such route in the configuration now");
  if (!route.adapters.length) {
    const planned = route.candidates.find((candidate) => candidate.adapter);
    return h("span", { class: "muted" }, planned ? `${planned.adapter}: none registered yet` : "hosted only");
  }
  return route.adapters.map((adapter) => h("div", { class: "stack" },
    page.link("adapters", {}, adapter.live === null ? adapter.name : `${adapter.name}@${adapter.live}`),
    h("div", { class: "chips" },
      adapter.live === null ? chip("no live version", "") : [chip(adapter.stage, STAGES[adapter.stage] ?? ""), gate(adapter, route)],
      adapter.canary === null ? null : chip(`canary @${adapter.canary} ${percent(adapter.canary_percent / 100)}`, "warn"),
      adapter.verified?.proof === "unproven" ? chip("unproven weights", "warn") : null),
    adapter.live === null ? null : h("div", { class: "muted small" }, `since ${ago(epoch(adapter.since), now)}`)));
}

function health(route) {
  return (route?.candidates ?? []).flatMap(({ backend: name, live }) => {
    if (live.breaker !== "closed") return [chip(`${name}: circuit ${live.breaker.replace("_", " ")}`, "bad")];
    return live.healthy ? [] : [chip(`${name}: not healthy`, "bad")];
  });
}
