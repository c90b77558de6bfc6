// The requests themselves, newest first: filtered, page by page, each leading to what happened to it and why it was sent where it was.

import { get, optional } from "./api.js";
import { backend } from "./colours.js";
import { chip, fill, h, nothing, table } from "./dom.js";
import { count, dayTime, epoch, money, ms, outcome, reason, time, unknown } from "./format.js";
import { bounds } from "./period.js";

const PAGE = 50;

export function build(root, page) {
  const slots = { filters: h("form", { class: "filters", "aria-label": "Which requests", onsubmit: (event) => event.preventDefault() }), status: h("p", { class: "muted small", role: "status" }), table: h("div"), more: h("p", { class: "panel-foot" }) };
  root.append(h("section", { class: "panel", "aria-labelledby": "exchanges-title" }, h("div", { class: "panel-head" }, h("h2", { id: "exchanges-title" }, "Exchanges"), slots.status), slots.filters, slots.table, slots.more));
  const list = { key: "", rows: [], cursor: null };
  return { draw: (data) => draw(slots, list, data, page) };
}

const query = ({ state, period }) => ({ route: state.route, backend: state.backend, key: state.key, limit: PAGE, ...bounds(period) });

export async function load(state, period) {
  const [first, keys] = await Promise.all([get("/admin/exchanges", query({ state, period })), optional("/admin/keys")]);
  return { first, keys };
}

function draw(slots, list, data, page) {
  const key = JSON.stringify(query(data));
  // A refresh puts what is new on top of the pages that were opened; another question begins anew.
  const fresh = list.key !== key || list.rows.length <= PAGE;
  Object.assign(list, fresh ? { key, rows: data.first.data, cursor: data.first.next_cursor } : { rows: merged(data.first.data, list.rows) });
  filters(slots.filters, data, page);
  show(slots, list, data, page);
}

const merged = (first, rows) => { const known = new Set(rows.map((row) => row.id)); return [...first.filter((row) => !known.has(row.id)), ...rows]; };

function show(slots, list, data, page) {
  slots.status.textContent = list.rows.length ? `${count(list.rows.length)} shown, newest first${list.cursor ? "" : "; these are all"}` : "";
  const days = data.period.until - data.period.since > 43200;
  fill(slots.table, list.rows.length ? table("Requests, newest first", columns(data, page, days), list.rows, { class: "cards-when-narrow exchanges" }) : nothing("No exchanges like this in this time range.", page.firstSeen(data)));
  fill(slots.more, list.cursor ? h("button", { type: "button", class: "button", "data-focus": "more", onclick: (event) => more(event.currentTarget, slots, list, data, page) }, "Show older ones") : null);
}

async function more(button, slots, list, data, page) {
  button.disabled = true;
  try {
    const next = await get("/admin/exchanges", { ...query(data), cursor: list.cursor });
    list.rows = [...list.rows, ...next.data];
    list.cursor = next.next_cursor;
    show(slots, list, data, page);
  } catch (error) {
    page.problem(error.message);
    button.disabled = false;
  }
}

function filters(form, data, page) {
  const { state } = data;
  const choice = (name, label, options) => {
    const known = options.some(([value]) => value === state[name]) ? options : [...options, [state[name], state[name]]];
    const select = h("select", { "data-focus": `filter-${name}`, onchange: (event) => page.change({ [name]: event.target.value }) }, known.map(([value, text]) => h("option", { value, selected: value === state[name] }, text)));
    return h("label", {}, h("span", { class: "muted small" }, label), select);
  };
  const backends = [...data.colours.keys()].filter((name) => name !== null).sort();
  fill(form, choice("backend", "Backend", [["", "all"], ...backends.map((name) => [name, name])]),
    data.keys?.data.length ? choice("key", "Key", [["", "all"], ...data.keys.data.map((key) => [key.id, key.name])]) : null,
    state.backend || state.key || state.range === "custom" ? h("button", { type: "button", class: "link", "data-focus": "clear", onclick: () => page.change({ backend: "", key: "", ...(state.range === "custom" ? { range: "auto", since: null, until: null } : {}) }) }, "Clear filters") : null);
}

export const cost = (row) => {
  if (row.cost_nanousd === null) return null;
  return row.amortised_nanousd === null ? (row.cost_nanousd || null) : row.cost_nanousd + row.amortised_nanousd;
};

const whyNoCost = (row) => (row.cost_nanousd === null ? "unknown price" : "its minute of GPU time is not closed yet");

function columns(data, page, days) {
  return [
    { head: "When", cell: (row) => h("button", { type: "button", class: "link", "data-focus": row.id, "aria-haspopup": "dialog", onclick: () => page.open(row.id) },
      days ? dayTime(epoch(row.time)) : time(epoch(row.time), true), h("span", { class: "visually-hidden" }, `, request ${row.id}`)) },
    { head: "Route", cell: (row) => row.route ?? h("span", { class: "muted" }, "pinned") },
    { head: "Answered by", cell: (row) => (row.backend === null ? h("span", { class: "muted" }, "nobody") : backend(row.backend, data.colours)) },
    { head: "Because", cell: (row) => h("span", { class: "muted" }, row.reason === null && row.decision_id === null ? "no decision was needed" : reason(row.reason)) },
    { head: "Outcome", cell: (row) => h("span", { class: "chips" }, chip(outcome(row.outcome), row.outcome === "ok" ? "good" : row.outcome === "client_gone" ? "warn" : "bad", `HTTP ${row.status}`), row.attempts.length > 1 ? chip(`${row.attempts.length} attempts`, "warn") : null) },
    { head: "Tokens in + out", number: true, cell: (row) => (row.usage ? `${count(row.usage.input_tokens)} + ${count(row.usage.output_tokens)}` : unknown("the usage is unknown")) },
    { head: "Took", number: true, cell: (row) => (row.outcome === "interrupted" ? unknown("it was interrupted") : ms(row.total_ms)) },
    { head: "Cost", number: true, cell: (row) => money(cost(row), whyNoCost(row)) },
  ];
}
