// Scales and their labels, shared by every chart. Pure.

import { dayOf, monthOf, time } from "./format.js";

/** A scale's lower and upper end and its ticks: 1, 2 or 5 times a power of ten apart. */
export function scale(largest, smallest = 0, count = 4) {
  const low = Math.min(0, smallest), high = Math.max(0, largest);
  if (high - low <= 0) return { bottom: 0, top: 1, ticks: [0] };
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough * (1 - 1e-9));
  const bottom = Math.floor(low / step + 1e-9) * step, top = Math.ceil(high / step - 1e-9) * step;
  return { bottom, top, ticks: Array.from({ length: Math.round((top - bottom) / step) + 1 }, (_, index) => bottom + index * step) };
}

/** The labels of ticks: formats that know of axes write them alike. */
export const written = (ticks, write) => (write.axis ? write.axis(ticks) : ticks.map((tick) => write(tick)));

/** Labels of a time axis: [{time, text}], no more than fit `width` pixels. Days and months are labelled where they begin. */
export function moments(since, until, width) {
  const length = until - since;
  const most = Math.max(2, Math.floor(width / 72));
  if (length > 200 * 86400) return months(since, until, most);
  if (length > 2 * 86400) return everyDay(since, until, most);
  const step = [60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 14400, 21600, 43200].find((one) => length / one <= most) ?? 86400;
  const shift = new Date(since * 1000).getTimezoneOffset() * 60;
  const first = Math.ceil((since - shift) / step) * step + shift;
  return Array.from({ length: Math.max(0, Math.ceil((until - first) / step)) }, (_, index) => ({ time: first + index * step, text: time(first + index * step) }));
}

function everyDay(since, until, most) {
  const every = Math.max(1, Math.ceil((until - since) / 86400 / most));
  const day = new Date(since * 1000);
  day.setHours(24, 0, 0, 0);
  const found = [];
  for (; day / 1000 < until; day.setDate(day.getDate() + every)) found.push({ time: day / 1000, text: dayOf(day / 1000) });
  return found;
}

function months(since, until, most) {
  const every = Math.max(1, Math.ceil((until - since) / 86400 / 30.4 / most));
  const day = new Date(since * 1000);
  day.setHours(0, 0, 0, 0);
  day.setDate(1);
  day.setMonth(day.getMonth() + 1);
  const found = [];
  for (; day / 1000 < until; day.setMonth(day.getMonth() + every)) found.push({ time: day / 1000, text: monthOf(day / 1000) });
  return found;
}
