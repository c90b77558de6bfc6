// What needs someone: budgets that will not last, backends that fail, prices that are old. Nothing is said where nothing is wrong.

import { h } from "./dom.js";
import { dayTime, epoch, percent, usd } from "./format.js";

/** A list of what is wrong, worst first; null when nothing is. */
export function attention(data, page) {
  const found = [...backends(data, page), ...engines(data, page), ...budgets(data, page), ...prices(data)];
  if (!found.length) return null;
  return h("div", { class: "attention" }, h("h2", {}, found.length === 1 ? "One thing needs attention" : `${found.length} things need attention`), h("ul", {}, found.map(([tone, ...text]) => h("li", { class: tone }, text))));
}

function backends({ routes }, page) {
  const seen = new Map();
  for (const route of routes) {
    for (const { backend, live, adapter, version } of route.candidates) {
      if (adapter && version === null) continue; // nothing is live there yet, which is no fault
      if (live.breaker === "closed" && live.healthy) continue;
      const what = live.breaker === "open" ? "fails and is not asked for now" : live.breaker !== "closed" ? "failed and is being tried again" : "is not healthy";
      seen.set(backend, { what, routes: [...(seen.get(backend)?.routes ?? []), route.name] });
    }
  }
  return [...seen].map(([backend, { what, routes: names }]) => ["bad", page.link("routes", {}, backend), ` ${what} (${names.join(", ")}).`]);
}

function engines({ status }, page) {
  const missing = status.replicas.filter((replica) => !replica.healthy);
  return missing.length ? [["warn", page.link("local", {}, `${missing.length} of ${status.replicas.length} engine replicas`), missing.length === 1 ? " is not ready." : " are not ready."]] : [];
}

function budgets({ budgets: found }, page) {
  return (found?.data ?? []).flatMap((budget) => {
    const of = `the budget of ${budget.scope} ${budget.name} (${usd(budget.limit_nanousd)} a ${budget.period})`;
    if (budget.exhausted) return [["bad", page.link("budgets", {}, of[0].toUpperCase() + of.slice(1)), ` is spent until ${dayTime(epoch(budget.resets_at))}.`]];
    if (budget.forecast_nanousd !== null && budget.forecast_nanousd > budget.limit_nanousd) return [["warn", "At this pace ", page.link("budgets", {}, of), ` will be gone ${budget.exhausted_at ? dayTime(epoch(budget.exhausted_at)) : `before ${dayTime(epoch(budget.resets_at))}`}; ${percent(budget.spent_nanousd / budget.limit_nanousd)} is spent now.`]];
    return [];
  });
}

function prices({ prices: found }) {
  const stale = (found?.data ?? []).filter((price) => price.stale);
  return stale.length ? [["warn", `The prices of ${stale.length === 1 ? stale[0].model : `${stale.length} models`} are old: costs may be off until they are renewed or overridden.`]] : [];
}
