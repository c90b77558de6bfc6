// Rows of /admin/costs as the bars of a chart: which part of which bar they belong to. Pure.

import { epoch } from "./format.js";
import { index } from "./period.js";
import { spent, sum, tokens } from "./sums.js";

const blank = (period) => new Array(period.starts.length).fill(null);
const add = (values, at, value) => { if (value !== null && value !== undefined) values[at] = (values[at] ?? 0) + value; };

/** Rows of a period by bar: an array of arrays. */
export function rowsOf(rows, period) {
  const bars = period.starts.map(() => []);
  for (const row of rows) {
    const at = index(period, epoch(row[period.group]));
    if (at >= 0) bars[at].push(row);
  }
  return bars;
}

/** One number for each bar of all its rows: `of(total of the bar)`. */
export const perBar = (rows, period, of) => rowsOf(rows, period).map((bar) => (bar.length ? of(sum(bar)) : null));

const MEASURES = { cost: spent, requests: (row) => row.requests, tokens, saved: (row) => row.saved_nanousd };

/** Parts of the bars by a field's values: [{name, values, whole}] in the order of `names`. */
export function stacked(rows, period, field, names, metric) {
  const found = new Map(names.map((name) => [name, blank(period)]));
  for (const row of rows) {
    const at = index(period, epoch(row[period.group]));
    const values = found.get(row[field]) ?? found.get("\0others");
    if (at >= 0 && values) add(values, at, MEASURES[metric](row));
  }
  return [...found].map(([name, values]) => ({ name, values }));
}

/** Idle GPU time of /admin/gpu by bar; null where there is none. */
export function idle(gpu, period) {
  const values = blank(period);
  for (const row of gpu) {
    const at = index(period, epoch(row.time));
    if (at >= 0) add(values, at, row.idle_nanousd);
  }
  return values;
}

export const plus = (one, other) => one.map((value, at) => (value === null && other[at] === null ? null : (value ?? 0) + (other[at] ?? 0)));
export const minus = (one, other) => one.map((value, at) => (value === null ? null : value - (other[at] ?? 0)));
