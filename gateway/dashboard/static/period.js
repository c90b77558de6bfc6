// Which time is shown and in which steps: named ranges, spans of one's own, and the same stretch of time before.

const MINUTE = 60, HOUR = 3600, DAY = 86400, WEEK = 604800;

/** Range name -> [label, seconds, seconds of a bar]. */
export const RANGES = {
  "15m": ["Last 15 minutes", 15 * MINUTE, MINUTE],
  "1h": ["Last hour", HOUR, 2 * MINUTE],
  "6h": ["Last 6 hours", 6 * HOUR, 15 * MINUTE],
  "24h": ["Last 24 hours", DAY, HOUR],
  "7d": ["Last 7 days", WEEK, 6 * HOUR],
  "30d": ["Last 30 days", 30 * DAY, DAY],
  "90d": ["Last 90 days", 90 * DAY, DAY],
  "1y": ["Last year", 364 * DAY, WEEK],
};
const STEPS = [MINUTE, 2 * MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, WEEK];
const MOST_BARS = 62;

/** The smallest range that shows everything there is, 15 minutes at least and a month at most. */
export function fitting(first, now) {
  const age = first === null ? 0 : now - first;
  return Object.keys(RANGES).find((name) => age <= RANGES[name][1] || name === "30d");
}

/** The group of /admin/costs whose rows can be added up to bars of so many seconds. */
const groupOf = (step) => (step < 15 * MINUTE ? "minute" : step < HOUR ? "quarter_hour" : step < DAY ? "hour" : "day");

/** Weeks begin on Monday; the first of January 1970 was a Thursday. */
const floor = (time, step) => { const from = step === WEEK ? 4 * DAY : 0; return Math.floor((time - from) / step) * step + from; };

function made(label, first, end, step, now) {
  const bars = Math.max(1, Math.round((end - first) / step));
  return { label, since: first, until: end, now: Math.min(now, end), step, group: groupOf(step), starts: Array.from({ length: bars }, (_, index) => first + index * step) };
}

/** {label, since, until, now, step, group, starts} of a named range: epoch seconds, and the beginning of every bar. */
export function span(range, now) {
  const [label, seconds, step] = RANGES[range];
  const end = floor(now, step) + step;
  return made(label, end - seconds, end, step, now);
}

/** The same of a stretch of time that someone chose. */
export function between(since, until, now) {
  const step = STEPS.find((one) => (until - since) / one <= MOST_BARS) ?? WEEK;
  const first = floor(since, step);
  return made(null, first, Math.max(first + step, floor(until - 1e-3, step) + step), step, now);
}

/** The stretch of the same length before, up to the same point as now is in this one. */
export function before(period) {
  const length = period.until - period.since;
  return { ...period, since: period.since - length, until: period.now - length, starts: period.starts.map((start) => start - length) };
}

/** The index of the bar a time falls into; -1 outside. */
export function index(period, time) {
  const at = Math.floor((time - period.starts[0]) / period.step);
  return at >= 0 && at < period.starts.length ? at : -1;
}

export const rfc3339 = (epoch) => new Date(epoch * 1000).toISOString();
export const bounds = (period) => ({ since: rfc3339(period.since), until: rfc3339(period.until) });
