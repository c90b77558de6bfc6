// How numbers, times and reasons are written. Unknown is always a dash with a word for screen readers, never a zero.

import { h } from "./dom.js";

const NANO = 1e9;
const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

export const unknown = (why = "unknown") => h("span", { class: "muted", title: why }, h("span", { "aria-hidden": "true" }, "–"), h("span", { class: "visually-hidden" }, why));

/** Dollars with as many digits as they need to say something: $12.35, $0.0421, $0.0000813. */
export function usd(nanousd) {
  if (nanousd === null || nanousd === undefined) return null;
  const amount = nanousd / NANO;
  const size = Math.abs(amount);
  if (size === 0) return "$0";
  const digits = size >= 1000 ? 0 : size >= 0.995 ? 2 : Math.min(9, 2 - Math.floor(Math.log10(size)));
  const text = size.toLocaleString("en-US", { minimumFractionDigits: size >= 0.01 ? Math.min(2, digits) : 0, maximumFractionDigits: digits });
  return `${amount < 0 ? "−" : ""}$${text}`;
}

/** Labels of a money axis, all with the same digits. */
usd.axis = (ticks) => {
  const step = Math.abs((ticks[1] ?? 1) - ticks[0]) / NANO;
  const digits = step >= 1 ? 0 : Math.max(2, Math.min(9, -Math.floor(Math.log10(step) + 1e-9)));
  return ticks.map((tick) => `${tick < 0 ? "−" : ""}$${(Math.abs(tick) / NANO).toLocaleString("en-US", { minimumFractionDigits: tick === 0 ? 0 : digits, maximumFractionDigits: digits })}`);
};

export const money = (nanousd, why) => usd(nanousd) ?? unknown(why);
export const count = (number) => whole.format(number);

/** Large numbers short: 950, 12.3k, 4.56M. */
export function short(number) {
  const size = Math.abs(number);
  const [unit, by] = size >= 999.5e6 ? ["B", 1e9] : size >= 999.5e3 ? ["M", 1e6] : size >= 10e3 ? ["k", 1e3] : ["", 1];
  if (!unit) return whole.format(number);
  const scaled = number / by;
  return `${Math.abs(scaled) >= 100 ? Math.round(scaled) : Number(scaled.toFixed(Math.abs(scaled) >= 10 ? 1 : 2))}${unit}`;
}
export const percent = (share, digits = 0) => (Number.isFinite(share) ? `${share < 0 ? "−" : ""}${(Math.abs(share) * 100).toFixed(share > 0 && share < 0.01 && digits === 0 ? 1 : digits)} %` : "–");

export function ms(value) {
  if (value === null || value === undefined) return null;
  if (value >= 9950) return `${(value / 1000).toFixed(1)} s`;
  return value >= 995 ? `${(value / 1000).toFixed(2)} s` : `${value >= 10 ? Math.round(value) : value.toFixed(1)} ms`;
}

/** Labels of a time axis in milliseconds: one unit for all. */
ms.axis = (ticks) => {
  const seconds = ticks.at(-1) >= 2000, step = (ticks[1] ?? 1) - ticks[0];
  return ticks.map((tick) => (tick === 0 ? "0" : seconds ? `${(tick / 1000).toFixed(step % 1000 ? 1 : 0)} s` : `${Math.round(tick)} ms`));
};

/** A signed difference relative to what it was: "−64 %". Beyond ten times it is written as a factor. */
export function change(now, before) {
  if (!before) return "";
  const difference = now / before - 1;
  if (difference >= 9) return `${short(Math.round(now / before))}×`;
  const rounded = Math.round(difference * 100);
  return rounded === 0 ? "±0 %" : `${rounded > 0 ? "+" : "−"}${Math.abs(rounded)} %`;
}

const OUTCOMES = {
  ok: "answered", client_error: "refused by the backend", client_gone: "client left", upstream_error: "backend failed", timeout: "timed out", refused: "not let in", interrupted: "interrupted",
};
export const outcome = (code) => OUTCOMES[code] ?? code.replaceAll("_", " ");

const date = (options) => new Intl.DateTimeFormat("en-GB", options);
const clock = date({ hour: "2-digit", minute: "2-digit" });
const clockSeconds = date({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = date({ day: "numeric", month: "short" });

const dayYear = date({ day: "numeric", month: "short", year: "numeric" });
const month = date({ month: "short" });
const year = date({ year: "numeric" });

export const time = (epoch, seconds = false) => (seconds ? clockSeconds : clock).format(epoch * 1000);
export const dayOf = (epoch) => day.format(epoch * 1000);
export const dayYearOf = (epoch) => dayYear.format(epoch * 1000);
/** A month, with its year in January: "Dec", "Jan 2026". */
export const monthOf = (epoch) => (new Date(epoch * 1000).getMonth() === 0 ? `${month.format(epoch * 1000)} ${year.format(epoch * 1000)}` : month.format(epoch * 1000));
export const dayTime = (epoch) => `${dayOf(epoch)}, ${time(epoch)}`;

export function ago(epoch, now) {
  const seconds = Math.max(0, now - epoch);
  const [unit, size] = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]].find(([, length]) => seconds >= length) ?? ["second", 1];
  const number = Math.floor(seconds / size);
  return `${number} ${unit}${number === 1 ? "" : "s"} ago`;
}

export const epoch = (rfc3339) => Date.parse(rfc3339) / 1000;

/** The router's reasons in words. */
export const REASONS = {
  only_feasible: "the only one that could",
  quality_gate: "the others are not good enough yet",
  cost: "cheapest that is fast enough",
  slo_risk: "the cheaper one might be too late",
  capacity_price: "local capacity is scarce",
  budget: "the hosted budget is spent",
  cache_stay: "its prompt is cached there",
  circuit: "another one is failing",
  failover: "after another one failed",
  explore_tie: "a near-tie, decided by chance",
  hedge: "asked twice to be in time",
  pinned: "named by the caller",
  canary: "the canary's share",
};
export const reason = (code) => (code === null ? "nothing could answer" : REASONS[code] ?? code.replaceAll("_", " "));

/** Why a candidate was dropped, in words. */
export function dropped(code) {
  const [kind, detail] = code.split(":");
  const words = {
    capability: `does not take ${(detail ?? "").replaceAll("_", " ")}`, context: "the prompt is too long for it", unhealthy: "not healthy", circuit: "circuit open",
    retry_after: "asked us to wait", quality_gate: `stage ${detail ?? "blocked"}`, no_live_version: "no live version", budget: "budget spent",
  };
  return words[kind] ?? code.replaceAll("_", " ");
}
