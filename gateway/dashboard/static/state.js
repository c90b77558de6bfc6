// What the page shows, kept in the URL: a view is a link that can be kept or sent to someone.

import { RANGES } from "./period.js";

export const VIEWS = ["overview", "routes", "latency", "local", "budgets", "adapters", "exchanges", "worth", "drift"];
const GROUPS = ["route", "backend", "key", "tag", "adapter"];
const FILTERS = ["route", "backend", "key"];
const METRICS = ["cost", "saved", "per1k", "requests", "failed", "fallback", "local", "tokens"];
const one = (value, allowed, otherwise) => (allowed.includes(value) ? value : otherwise);
const instant = (text) => { const time = Date.parse(text ?? ""); return Number.isNaN(time) ? null : time / 1000; };

/** {view, range, since, until, group, metric, route, backend, key, live}. `range` is "auto" until someone chooses. */
export function read(search = location.search) {
  const query = new URLSearchParams(search);
  const [since, until] = [instant(query.get("since")), instant(query.get("until"))];
  const own = since !== null && until !== null && since < until;
  return {
    view: one(query.get("view"), VIEWS, "overview"),
    range: own ? "custom" : one(query.get("range"), Object.keys(RANGES), "auto"),
    since: own ? since : null,
    until: own ? until : null,
    group: one(query.get("group"), GROUPS, ""),
    metric: one(query.get("metric"), METRICS, "cost"),
    live: query.get("refresh") !== "off",
    ...Object.fromEntries(FILTERS.map((name) => [name, query.get(name) ?? ""])),
  };
}

/** The address of a state. */
export function href(state) {
  const query = new URLSearchParams();
  if (state.view !== "overview") query.set("view", state.view);
  if (state.range === "custom") {
    query.set("since", new Date(state.since * 1000).toISOString().replace(".000Z", "Z"));
    query.set("until", new Date(state.until * 1000).toISOString().replace(".000Z", "Z"));
  } else if (state.range !== "auto") query.set("range", state.range);
  if (state.group) query.set("group", state.group);
  if (state.metric !== "cost") query.set("metric", state.metric);
  for (const name of FILTERS) if (state[name]) query.set(name, state[name]);
  if (!state.live) query.set("refresh", "off");
  const text = query.toString();
  return `/dashboard${text && "?"}${text}`;
}

/** The state with another view: filters that only the exchanges have are dropped. */
export const at = (state, view, more = {}) => ({ ...state, view, backend: "", key: "", ...more });
