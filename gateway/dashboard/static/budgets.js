// What is left of each budget, how fast it goes, and when it will be gone at this pace.

import { get, optional } from "./api.js";
import { moments } from "./axes.js";
import { chip, fill, h, nothing, share, table } from "./dom.js";
import { dayTime, epoch, money, percent, time, unknown, usd } from "./format.js";
import { Plot } from "./plot.js";

const DAY = 86400;

export function build(root, page) {
  const slots = { head: h("div", { class: "view-head" }, h("h2", {}, "Budgets"), h("p", { class: "muted small" }, "Hosted dollars in the day or month that runs now (UTC)")), budgets: h("div", { class: "grid-2" }) };
  root.append(slots.head, slots.budgets);
  const plots = new Map();
  return { draw: (data) => draw(slots, plots, data, page) };
}

export async function load() {
  const found = await optional("/admin/budgets");
  const list = found?.data ?? [];
  // One report for each length and kind of budget, not one for each budget.
  const wanted = new Map(list.map((budget) => [`${budget.scope} ${budget.period}`, budget]));
  const spent = new Map(await Promise.all([...wanted].map(async ([key, budget]) => [key, await get("/admin/costs", {
    group_by: `${budget.scope},${budget.period === "day" ? "hour" : "day"}`, since: budget.since, until: budget.resets_at })])));
  return { budgets: found, spent };
}

function draw(slots, plots, data, page) {
  const list = (data.budgets?.data ?? []).filter((budget) => !data.state.route || budget.scope !== "route" || budget.id === data.state.route);
  if (!list.length) {
    plots.clear();
    slots.budgets.className = "";
    fill(slots.budgets, h("section", { class: "panel", "aria-label": "Budgets" }, data.budgets === null ? nothing("This gateway does not tell budgets.") : nothing("No budget is set.", "Give a route one in the configuration, ", h("code", {}, "budget: {usd_per_day: 20}"), ", or a key: ", h("code", {}, "breakeven keys create NAME --usd-per-day 5"), ".")));
    return;
  }
  slots.budgets.className = "grid-2";
  const ids = list.map(identity);
  if ([...plots.keys()].join("\n") !== ids.join("\n")) {
    plots.clear();
    const panels = list.map((budget) => { const parts = { head: h("div"), plot: h("div") }; plots.set(identity(budget), { parts, plot: new Plot(parts.plot) }); return h("section", { class: "panel", "aria-label": `Budget of ${budget.scope} ${budget.name}, by ${budget.period}` }, parts.head, parts.plot); });
    slots.budgets.replaceChildren(...panels);
  }
  for (const budget of list) {
    const { parts, plot } = plots.get(identity(budget));
    fill(parts.head, head(budget, data, page));
    plot.show(burnDown(budget, data));
  }
}

const identity = (budget) => `${budget.scope} ${budget.id ?? budget.name} ${budget.period}`;

function state(budget) {
  if (budget.exhausted) return chip("spent", "bad");
  if (budget.forecast_nanousd !== null && budget.forecast_nanousd > budget.limit_nanousd) return chip("will not last", "warn");
  return budget.forecast_nanousd === null ? chip("no forecast yet", "", "It takes a few hours of spending.") : chip("will last", "good");
}

function head(budget, data, page) {
  const filter = { key: { key: budget.id }, route: { route: budget.id }, tag: null }[budget.scope];
  return h("div", { class: "budget-head" },
    h("div", { class: "panel-head" }, h("h3", { class: "title" }, filter ? page.link("exchanges", filter, budget.name) : budget.name, h("span", { class: "muted" }, ` ${budget.scope}, per ${budget.period}`)), state(budget)),
    h("p", { class: "figure-line" }, h("span", { class: "figure" }, money(budget.spent_nanousd)), h("span", { class: "muted" }, ` of ${usd(budget.limit_nanousd)}, ${percent(budget.spent_nanousd / budget.limit_nanousd)}`)),
    h("div", { class: "spent-share" }, share(budget.spent_nanousd / budget.limit_nanousd)),
    h("p", { class: "muted small" }, budget.reserved_nanousd ? `${usd(budget.reserved_nanousd)} reserved for requests under way. ` : "", "By the end: ", budget.forecast_nanousd === null ? unknown("no forecast yet") : h("b", {}, usd(budget.forecast_nanousd)), `. Begins anew ${dayTime(epoch(budget.resets_at))}.${budget.overspend_nanousd ? ` Calls under way can pass the limit by ${usd(budget.overspend_nanousd)} at most.` : ""}`),
    budget.alerts.length ? h("p", { class: "chips" }, budget.alerts.map((alert) => chip(`${alert.kind === "forecast" ? "forecast" : `${percent(alert.at)} reached`}: alert ${alert.sent_at ? `sent ${time(epoch(alert.sent_at))}` : alert.error && !alert.next_try_at ? "not delivered" : "on its way"}`, alert.sent_at ? "" : "warn", alert.error))) : null);
}

/** What was left at the end of every step, and where the forecast leads. */
function burnDown(budget, data) {
  const from = epoch(budget.since), end = epoch(budget.resets_at), step = budget.period === "day" ? 3600 : DAY;
  const rows = data.spent.get(`${budget.scope} ${budget.period}`)?.data ?? [];
  const mine = rows.filter((row) => row[budget.scope] === budget.id);
  const when = budget.period === "day" ? "hour" : "day";
  const points = [[from, budget.limit_nanousd]];
  let left = budget.limit_nanousd;
  for (const row of [...mine].sort((a, b) => epoch(a[when]) - epoch(b[when]))) {
    left -= row.hosted_nanousd ?? 0;
    points.push([Math.min(epoch(row[when]) + step, data.now), Math.max(0, left)]);
  }
  const now = Math.min(Math.max(data.now, from), end);
  points.push([now, Math.max(0, budget.limit_nanousd - budget.spent_nanousd)]);
  const forecast = budget.forecast_nanousd === null ? null : budget.limit_nanousd - budget.forecast_nanousd;
  const start = points.at(-1)[1];
  const gone = budget.exhausted_at === null ? null : epoch(budget.exhausted_at);
  const lines = [{ points, tone: "tone-hosted", area: true }];
  if (forecast !== null && now < end) lines.push({ points: [[now, start], gone === null ? [end, forecast] : [gone, 0]], tone: "tone-hosted", dashed: true });
  const rules = gone === null ? [] : [{ x: gone, text: `gone ${budget.period === "day" ? time(gone) : dayTime(gone)}`, tone: "bad" }];
  const columns = [{ head: "Until", cell: (point) => dayTime(point[0]) }, { head: "Left", number: true, cell: (point) => usd(Math.round(point[1])) }];
  return {
    title: `What is left of the budget of ${budget.scope} ${budget.name}`, height: 190, lines, rules,
    x: { min: from, max: end, marks: moments(from, end, 420).map(({ time: at, text }) => ({ at, text })) }, y: { max: budget.limit_nanousd, write: usd },
    legend: [[h("span", { class: "swatch tone-hosted" }), "left"], ...(forecast === null ? [] : [[h("span", { class: "swatch dashed" }), "at this pace"]])],
    table: table("What was left", columns, points, { class: "plain" }),
  };
}
