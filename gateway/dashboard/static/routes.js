// One row per route: what it cost, how much stayed local, what adapter is live and how it got there.

import { chip, h, table } from "./dom.js";
import { ago, change, count, epoch, money, percent, usd } from "./format.js";
import { sized } from "./summary.js";
import { spent, sum } from "./sums.js";

const STAGES = { open: "good", ramp: "good", canary: "warn", shadow: "warn", blocked: "bad" };

function gate(adapter, route) {
  if (!adapter.gate) return chip(route.suite ? "not judged" : "unproven", "warn", route.suite ? "No gate has judged this version for this route." : "The route has no suite to judge it by.");
  return chip(adapter.gate.passed ? "gate passed" : "gate refused", adapter.gate.passed ? "good" : "bad", adapter.gate.reason ?? null);
}

function adapterCell(route, now) {
  if (!route.adapters.length) {
    const planned = route.candidates.find((candidate) => candidate.adapter);
    return h("span", { class: "muted" }, planned ? `${planned.adapter}: none registered yet` : "hosted only");
  }
  return route.adapters.map((adapter) => h("div", { class: "stack" },
    h("div", {}, h("b", {}, adapter.live === null ? adapter.name : `${adapter.name}@${adapter.live}`)),
    h("div", { class: "chips" },
      adapter.live === null ? chip("no live version", "") : [chip(adapter.stage, STAGES[adapter.stage] ?? ""), gate(adapter, route)],
      adapter.canary === null ? null : chip(`canary @${adapter.canary} ${percent(adapter.canary_percent / 100)}`, "warn"),
      adapter.verified?.proof === "unproven" ? chip("unproven weights", "warn") : null),
    adapter.live === null ? null : h("div", { class: "muted small" }, `since ${ago(epoch(adapter.since), now)}`)));
}

function health(route) {
  return route.candidates.flatMap(({ backend, live }) => {
    if (live.breaker !== "closed") return [chip(`${backend}: circuit ${live.breaker.replace("_", " ")}`, "bad")];
    return live.healthy ? [] : [chip(`${backend}: not healthy`, "bad")];
  });
}

export function routes(list, rows, now) {
  const columns = [
    { head: "Route", cell: (route) => h("div", { class: "stack" }, h("b", {}, route.name), h("div", { class: "chips" }, route.sandbox ? chip("sandbox", "warn") : null, health(route)),
      route.budget_per_day_nanousd === null ? null : h("span", { class: "muted small" }, `${usd(route.budget_spent_nanousd)} of ${usd(route.budget_per_day_nanousd)} spent today`)) },
    { head: "Requests", number: true, cell: ({ total }) => h("div", { class: "stack" }, count(total.requests),
      total.requests > total.ok_requests ? h("span", { class: "bad-ink small" }, `${count(total.requests - total.ok_requests)} failed`) : null) },
    { head: "Cost", number: true, cell: ({ total }) => h("div", { class: "stack" }, money(spent(total)),
      total.unpriced_requests ? h("span", { class: "muted small" }, `${count(total.unpriced_requests)} of unknown cost`) : null) },
    { head: "All hosted", number: true, cell: ({ total }) => h("div", { class: "stack" }, money(total.all_hosted_nanousd),
      total.local_requests && total.all_hosted_nanousd ? h("span", { class: "muted small" }, change(spent(total) ?? 0, total.all_hosted_nanousd)) : null) },
    { head: "Answered locally", cell: ({ total, candidates }) => (!candidates.some((candidate) => candidate.kind === "local") ? h("span", { class: "muted" }, "no local candidate") : total.requests ? h("div", { class: "stack" }, percent(total.local_requests / total.requests),
      h("div", { class: "share", "aria-hidden": "true" }, sized(h("span", {}), total.local_requests / total.requests))) : h("span", { class: "muted" }, "no requests")) },
    { head: "Live adapter", cell: (route) => adapterCell(route, now) },
  ];
  const withTotals = list.map((route) => ({ ...route, total: sum(rows.filter((row) => row.route === route.name)) }));
  return table("Routes in this time range", columns, withTotals, { class: "cards-when-narrow" });
}
