// Which time is shown and in which steps, kept in the URL so that a view can be sent to someone.

/** Range name -> [label, seconds, group of /admin/costs, seconds of a bar]. */
export const RANGES = {
  "15m": ["Last 15 minutes", 900, "minute", 60],
  "1h": ["Last hour", 3600, "minute", 120],
  "6h": ["Last 6 hours", 21600, "quarter_hour", 900],
  "24h": ["Last 24 hours", 86400, "hour", 3600],
  "7d": ["Last 7 days", 604800, "hour", 21600],
  "30d": ["Last 30 days", 2592000, "day", 86400],
  "90d": ["Last 90 days", 7776000, "day", 86400],
};

/** The state of the page: {range, route, metric, live}. `range` "auto" until someone chooses. */
export function read() {
  const query = new URLSearchParams(location.search);
  const range = query.get("range");
  return { range: range in RANGES ? range : "auto", route: query.get("route") ?? "", metric: query.get("metric") === "requests" ? "requests" : "cost", live: query.get("refresh") !== "off" };
}

export function write(state) {
  const query = new URLSearchParams();
  if (state.range !== "auto") query.set("range", state.range);
  if (state.route) query.set("route", state.route);
  if (state.metric !== "cost") query.set("metric", state.metric);
  if (!state.live) query.set("refresh", "off");
  const text = query.toString();
  history.replaceState(null, "", `${location.pathname}${text && "?"}${text}${location.hash}`);
}

/** The smallest range that shows everything there is, 15 minutes at least. */
export function fitting(first, now) {
  const age = first === null ? 0 : now - first;
  return Object.keys(RANGES).find((name) => age <= RANGES[name][1]) ?? "90d";
}

/** {since, until, group, step, starts}: epoch seconds, and the beginning of every bar. */
export function span(range, now) {
  const [, seconds, group, step] = RANGES[range];
  const last = Math.floor(now / step) * step;
  const bars = Math.round(seconds / step);
  const first = last - (bars - 1) * step;
  return { since: first, until: last + step, group, step, starts: Array.from({ length: bars }, (_, index) => first + index * step) };
}

export const rfc3339 = (epoch) => new Date(epoch * 1000).toISOString();
