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
  const text = size.toLocaleString("en-US", { minimumFractionDigits: size >= 0.995 ? Math.min(2, digits) : 0, maximumFractionDigits: digits });
  return `${amount < 0 ? "−" : ""}$${text}`;
}

export const money = (nanousd, why) => usd(nanousd) ?? unknown(why);
export const count = (number) => whole.format(number);
export const percent = (share, digits = 0) => (Number.isFinite(share) ? `${share < 0 ? "−" : ""}${(Math.abs(share) * 100).toFixed(share > 0 && share < 0.01 && digits === 0 ? 1 : digits)} %` : "–");

export function ms(value) {
  if (value === null || value === undefined) return null;
  if (value >= 9950) return `${(value / 1000).toFixed(1)} s`;
  return value >= 995 ? `${(value / 1000).toFixed(2)} s` : `${value >= 10 ? Math.round(value) : value.toFixed(1)} ms`;
}

/** A signed difference relative to what it was: "−64 %". */
export const change = (now, before) => (before ? `${now > before ? "+" : "−"}${Math.abs(Math.round((1 - now / before) * 100))} %` : "");

const date = (options) => new Intl.DateTimeFormat("en-GB", options);
const clock = date({ hour: "2-digit", minute: "2-digit" });
const clockSeconds = date({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = date({ day: "numeric", month: "short" });

export const time = (epoch, seconds = false) => (seconds ? clockSeconds : clock).format(epoch * 1000);
export const dayOf = (epoch) => day.format(epoch * 1000);
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
