// The first view: what the time came to, how it moved, and what needs someone.

import { attention } from "./attention.js";
import { get, optional } from "./api.js";
import { Bars } from "./bars.js";
import { chip, fill, h, share, table } from "./dom.js";
import { change, count, epoch, money, percent, short, usd } from "./format.js";
import { TURNS, phrase, tone } from "./events.js";
import { idle, minus, perBar, plus, stacked } from "./parts.js";
import { before, bounds, rfc3339 } from "./period.js";
import { cards, headline } from "./summary.js";
import { spent, sum } from "./sums.js";

const TITLES = { cost: "Cost over time", saved: "Saved over time", per1k: "Cost per 1,000 requests", requests: "Requests over time", local: "Answered locally", failed: "Failed requests", fallback: "Fell over to another candidate", tokens: "Tokens over time" };

export function build(root, page) {
  const slots = { summary: h("section", { "aria-label": "Summary" }), cards: h("section", { class: "cards", "aria-label": "Key figures" }), attention: h("section", { "aria-label": "Needs attention" }),
    title: h("h2", { id: "chart-title" }, ""), key: h("p", { class: "muted small" }), bars: h("div"), routes: h("div") };
  root.append(slots.summary, slots.attention, slots.cards,
    h("section", { class: "panel", "aria-labelledby": "chart-title" }, h("div", { class: "panel-head" }, slots.title, slots.key), slots.bars),
    h("section", { class: "panel", "aria-labelledby": "by-route" }, h("div", { class: "panel-head" }, h("h2", { id: "by-route" }, "By route"), page.link("routes", {}, "All groups")), slots.routes));
  const bars = new Bars(slots.bars, (at, name) => page.exchanges(at, name ? { backend: name } : {}));
  return { draw: (data) => draw(slots, bars, data, page) };
}

export async function load(state, period) {
  const past = before(period);
  const filtered = state.route ? "route," : "";
  const [steps, past_steps, gpu, past_gpu, budgets, prices, events, totals] = await Promise.all([
    get("/admin/costs", { group_by: `${filtered}backend,${period.group}`, ...bounds(period) }),
    get("/admin/costs", { group_by: `${filtered}${period.group}`, ...bounds(past) }),
    state.route ? null : get("/admin/gpu", { step: period.group, ...bounds(period) }),
    state.route ? null : get("/admin/gpu", { step: period.group, ...bounds(past) }),
    optional("/admin/budgets"),
    optional("/admin/prices"),
    optional("/admin/timeline", { since: rfc3339(period.since), until: rfc3339(period.until) }),
    get("/admin/costs", { group_by: "route", ...bounds(period) }),
  ]);
  return { past, steps, past_steps, gpu, past_gpu, budgets, prices, events, totals };
}

function draw(slots, bars, data, page) {
  const { state, period } = data;
  const mine = (row) => !state.route || row.route === state.route;
  const rows = data.steps.data.filter(mine);
  // A period before that the ledger does not cover whole would compare with what never was.
  const comparable = data.first !== null && data.first <= data.past.since + period.step;
  const old = comparable ? data.past_steps.data.filter(mine) : [];
  const total = sum(rows), was = old.length ? sum(old) : null;
  const spare = state.route ? null : data.steps.idle_nanousd, wasSpare = state.route ? null : data.past_steps.idle_nanousd;
  fill(slots.attention, attention(data, page));
  if (!total.requests) {
    fill(slots.summary, h("p", { class: "headline" }, "No requests in this time range.", data.first ? h("span", { class: "muted" }, ` ${page.firstSeen(data)}`) : null));
    fill(slots.cards);
    slots.bars.closest("section").hidden = true;
    slots.routes.closest("section").hidden = true;
    return;
  }
  slots.bars.closest("section").hidden = slots.routes.closest("section").hidden = false;
  fill(slots.summary, headline(total, spare, page.rangeLabel(data), state.route));
  fill(slots.cards, cards({ total, idle: spare, was, wasIdle: wasSpare, bill: state.route ? null : data.steps, chosen: state.metric,
    choose: (metric) => (metric === "idle" ? page.go({ view: "local" }) : page.change({ metric })) }));
  slots.title.textContent = TITLES[state.metric] ?? TITLES.cost;
  const marks = (data.events?.data ?? []).filter((event) => TURNS.includes(event.kind)).map((event) => ({ time: epoch(event.time), text: phrase(event), tone: tone(event) }));
  fill(slots.key, was ? null : comparable ? "no requests in the period before to compare with" : "the ledger does not reach back to the period before", was || !marks.length ? null : " · ",
    marks.length ? [h("span", { class: "mark quiet", "aria-hidden": "true" }), page.link("adapters", {}, marks.length === 1 ? "a change of adapters" : `${marks.length} changes of adapters`)] : null);
  bars.show({ ...chart(state.metric, rows, old, data), period, marks, title: TITLES[state.metric] ?? TITLES.cost });
  fill(slots.routes, byRoute(data.totals.data.filter(mine), data, page));
}

/** The parts, line and ghost of one metric. */
function chart(metric, rows, old, data) {
  const { period, past, colours, gpu, past_gpu } = data;
  const rate = (field) => (total) => (total.requests ? total[field] / total.requests : null);
  const share = (label, tone, field) => {
    const of = rate(field);
    return { parts: [{ name: "", label, tone, values: perBar(rows, period, of), whole: of(sum(rows)) }], ghost: ghost(of, of(sum(old))), write: (value) => percent(value, value < 0.1 && value > 0 ? 1 : 0) };
  };
  const ghost = (of, whole) => (old.length ? { label: "period before", values: perBar(old, past, of), ...(whole === undefined ? {} : { whole }) } : null);
  const backends = [...colours.values()].filter((colour) => rows.some((row) => row.backend === colour.name));
  const dressed = (parts) => parts.map((part) => ({ ...part, ...colours.get(part.name), label: `${part.name ?? "no answer"}${colours.get(part.name)?.sandbox ? " (sandbox)" : ""}` }));
  switch (metric) {
    case "requests": return { parts: dressed(stacked(rows, period, "backend", backends.map((one) => one.name), "requests")), ghost: ghost((total) => total.requests), write: short };
    case "tokens": return { parts: [["input_tokens", "in", "tone-1"], ["output_tokens", "out", "tone-2"]].map(([field, label, tone]) => ({ name: "", label, tone, values: perBar(rows, period, (total) => total[field]) })), ghost: ghost((total) => total.input_tokens + total.output_tokens), write: short };
    case "per1k": return { parts: [{ name: "", label: "cost per 1,000 requests", tone: "tone-hosted", values: perBar(rows, period, (total) => total.cost_per_1k_requests_nanousd), whole: sum(rows).cost_per_1k_requests_nanousd }], ghost: ghost((total) => total.cost_per_1k_requests_nanousd, sum(old).cost_per_1k_requests_nanousd), write: usd };
    case "saved": {
      const saved = (total) => (total.all_hosted_nanousd === null || spent(total) === null ? null : total.all_hosted_nanousd - spent(total));
      const values = minus(perBar(rows, period, saved), gpu ? idle(gpu.data, period) : []);
      return { parts: [{ name: "", label: "saved", tone: "tone-local", values }], ghost: old.length ? { label: "period before", values: minus(perBar(old, past, saved), past_gpu ? idle(past_gpu.data, past) : []) } : null, write: usd };
    }
    case "local": return share("answered locally", "tone-local", "local_requests");
    case "failed": return share("failed", "tone-bad", "error_requests");
    case "fallback": return share("fell over", "tone-warn", "fallback_requests");
    default: {
      const parts = dressed(stacked(rows, period, "backend", backends.map((one) => one.name), "cost")).map((part) => (part.kind === "local" ? { ...part, unknown: "not booked yet" } : part));
      const spare = gpu ? idle(gpu.data, period) : null;
      if (spare?.some((value) => value)) parts.unshift({ name: "", label: "idle GPU", tone: "tone-idle", values: spare });
      const paid = old.length ? perBar(old, past, spent) : null;
      return { parts, line: { label: "all hosted", values: perBar(rows, period, (total) => total.all_hosted_nanousd) },
        ghost: paid && { label: "period before", values: past_gpu ? plus(paid, idle(past_gpu.data, past)) : paid }, write: usd };
    }
  }
}

function byRoute(rows, data, page) {
  const columns = [
    { head: "Route", cell: (row) => h("div", { class: "stack" }, row.route === null ? h("span", { class: "muted" }, "pinned by the caller") : page.link("routes", { route: row.route }, row.route), row.sandbox ? chip("sandbox", "warn") : null) },
    { head: "Requests", number: true, cell: (row) => count(row.requests) },
    { head: "Cost", number: true, cell: (row) => h("div", { class: "stack" }, money(spent(row)), row.unpriced_requests ? h("span", { class: "muted small" }, `${count(row.unpriced_requests)} of unknown cost`) : null) },
    { head: "All hosted", number: true, cell: (row) => money(row.all_hosted_nanousd) },
    { head: "Difference", number: true, cell: (row) => (row.local_requests && row.all_hosted_nanousd && spent(row) !== null ? h("span", { class: spent(row) <= row.all_hosted_nanousd ? "good-ink" : "bad-ink" }, change(spent(row), row.all_hosted_nanousd)) : h("span", { class: "muted" }, "–")) },
    { head: "Answered locally", cell: (row) => h("div", { class: "stack" }, percent(row.local_requests / row.requests), share(row.local_requests / row.requests)) },
  ];
  return table("Routes in this time range", columns, [...rows].sort((a, b) => (spent(b) ?? 0) - (spent(a) ?? 0)), { class: "cards-when-narrow" });
}

