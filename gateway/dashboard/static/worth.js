// Worth it? The verdict on one route: what each rung costs a month, from which volume training pays, and what that depends on.

import { get } from "./api.js";
import { chip, fill, h, nothing, s, table } from "./dom.js";
import { short, unknown, usd } from "./format.js";
import { Plot } from "./plot.js";

const WORDS = { train: ["Train", "good"], not_yet: ["Not yet", "warn"], stay: ["Stay", ""] };
const NAMES = { zero_shot_hosted: "hosted, as it is", zero_shot_base: "bare base", fine_tuned: "fine-tuned", few_shot: "few-shot", few_shot_similar: "few-shot, similar", structured: "structured output" };
const ROW = 30, NAMED = 210, END = 12, BARS = 8;
const named = (rung) => NAMES[rung] ?? rung.replaceAll("_", " ");
const dollars = (value, why = "unknown") => (value === null ? unknown(why) : value < 0 ? `−${usd(-value * 1e9)}` : usd(value * 1e9));

export function build(root, page) {
  const slots = { head: h("div"), cards: h("section", { class: "cards", "aria-label": "The verdict in figures" }), months: h("div"), curve: h("div"), tornado: h("div"), next: h("div"), assumptions: h("div"), empty: h("div") };
  const panel = (id, title, ...parts) => h("section", { class: "panel", "aria-labelledby": id }, h("h2", { id }, title), parts);
  slots.panels = [panel("months-title", "A month at the traffic there is", slots.months), panel("volume-title", "Dollars a month over tokens a day", slots.curve),
    panel("tornado-title", "What training saves a month, by assumption", h("p", { class: "muted small" }, "Each number alone from its lowest to its highest. A bar that crosses zero can flip the verdict."), slots.tornado),
    panel("next-title", "What to do next", slots.next), panel("assumptions-title", "Assumptions", slots.assumptions)];
  root.append(slots.empty, slots.head, slots.cards, ...slots.panels);
  const curve = new Plot(slots.curve);
  return { draw: (data) => draw(slots, curve, data, page) };
}

export async function load(state, period, { routes }) {
  const name = routes.some((route) => route.name === state.route) ? state.route : routes[0]?.name;
  return { worth: name === undefined ? null : await get(`/admin/worth/${encodeURIComponent(name)}`) };
}

function draw(slots, curve, data, page) {
  const found = data.worth;
  slots.cards.hidden = found === null;
  for (const panel of slots.panels) panel.hidden = found === null;
  fill(slots.empty, found === null ? h("section", { class: "panel", "aria-label": "Routes" }, nothing("No route is configured.", "A verdict is about a route: ", h("code", {}, "routes:"), ` in ${data.status.config}.`)) : null);
  if (found === null) { fill(slots.head); return; }
  const [word, kind] = WORDS[found.verdict];
  fill(slots.head, h("div", { class: "panel" }, h("p", { class: "headline" }, h("span", { class: "when muted" }, `Is ${found.route} worth training for? `), h("b", {}, `${word}. `), `${found.reason[0].toUpperCase()}${found.reason.slice(1)}.`),
    h("p", { class: "chips" }, chip(word, kind), chip(`recommended: ${named(found.recommended_rung)}`), found.sandbox ? chip("sandbox prices", "warn") : null),
    found.notes.map((note) => h("p", { class: "muted small" }, note)), data.state.route ? null : h("p", { class: "muted small" }, "Choose another route above.")));
  fill(slots.cards, cards(found));
  fill(slots.months, months(found));
  drawCurve(slots, curve, found);
  const bars = found.sensitivity.slice(0, BARS);
  fill(slots.tornado, bars.length ? [tornado(bars), sensitivities(found.sensitivity)] : nothing("Nothing can be worked out yet."));
  fill(slots.next, h("ul", {}, found.next.map((step) => h("li", {}, step))));
  fill(slots.assumptions, assumptions(found.assumptions));
}

function cards(found) {
  const even = found.break_even;
  const card = (title, value, note) => h("div", { class: "panel card" }, h("span", { class: "card-title" }, title), h("span", { class: "figure" }, value), h("span", { class: "muted small" }, note));
  const range = even.tokens_per_day === null ? "at no volume, or not known" : even.high === null ? `from ${short(even.low ?? 0)}; at worst at no volume` : `${short(even.low ?? 0)} to ${short(even.high)}`;
  return [
    card("Tokens a day", short(found.traffic.tokens), found.traffic.days ? `mean of ${found.traffic.days} whole ${found.traffic.days > 1 ? "days" : "day"}` : "no whole day yet"),
    card("Break-even", even.tokens_per_day === null ? unknown("none") : `${short(even.tokens_per_day)} a day`, range),
    card("When", even.date ?? unknown("no date"), even.date === null ? "traffic does not grow towards it, or growth is not known" : `${even.date_low ?? "?"} to ${even.date_high ?? "never"}`),
    card("Training saves", dollars(found.saving_usd_per_month), found.one_off_usd === null ? "something is missing" : `a month; ${usd(found.one_off_usd * 1e9)} once`),
  ];
}

function months(found) {
  const measured = new Map(found.rungs.map((rung) => [rung.name, rung]));
  const columns = [
    { head: "Rung", cell: ([name]) => h("span", { class: "chips" }, h("b", {}, named(name)), name === found.recommended_rung ? chip("recommended", "good") : null) },
    { head: "Dollars a month", number: true, cell: ([, value]) => dollars(value) },
    { head: "Quality", number: true, cell: ([name]) => (measured.has(name) ? `${measured.get(name).quality.toFixed(3)} (${measured.get(name).low.toFixed(3)} to ${measured.get(name).high.toFixed(3)})` : unknown("not measured: breakeven eval")) },
    { head: "Good enough", cell: ([name]) => (measured.has(name) ? (measured.get(name).good ? (measured.get(name).proven ? "yes, proven" : "yes") : "no") : unknown("not measured")) },
  ];
  return table("Each rung's month", columns, Object.entries(found.monthly_usd), { class: "cards-when-narrow" });
}

/** Both costs from no traffic to twice what is interesting. */
function drawCurve(slots, curve, found) {
  slots.curve.hidden = !found.curve.length;
  if (!found.curve.length) return;
  const even = found.break_even.tokens_per_day;
  const most = 2 * Math.max(found.traffic.tokens, even ?? 0) || found.tokens_per_gpu_day;
  const points = found.curve.filter((step) => step.tokens_per_day <= most);
  const line = (field, tone, label) => ({ points: points.map((step) => [step.tokens_per_day, step[field] * 1e9]), tone, label });
  const lines = [line("alternative_usd", "tone-hosted", "hosted"), line("fine_tuned_usd", "tone-local", "fine-tuned, one-off costs spread over the horizon")];
  const rules = [[found.traffic.tokens, "today"], [even, "break-even"]].filter(([x]) => x && x <= most).map(([x, text]) => ({ x, text }));
  const marks = [0, 0.25, 0.5, 0.75, 1].map((part) => ({ at: part * most, text: short(part * most) }));
  const legend = lines.map((each) => [h("span", { class: `swatch ${each.tone}`, "aria-hidden": "true" }), each.label]);
  const columns = [["Tokens a day", (step) => short(step.tokens_per_day)], ["Hosted", (step) => dollars(step.alternative_usd)], ["Fine-tuned", (step) => dollars(step.fine_tuned_usd)]].map(([head, cell], at) => ({ head, cell, number: at > 0 }));
  curve.show({ title: "Dollars a month of hosted and fine-tuned over tokens a day", x: { min: 0, max: most, marks, label: "tokens a day" }, y: { write: usd }, lines, rules, legend, table: table("Dollars a month", columns, points) });
}

function tornado(bars) {
  const width = 760, height = bars.length * ROW + 30;
  const ends = [0, ...bars.flatMap((bar) => [bar.saving_usd_low, bar.saving_usd_high])];
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  const at = (value) => NAMED + ((value - low) / (high - low || 1)) * (width - NAMED - END);
  const rows = bars.map((bar, index) => {
    const [left, right] = [at(bar.saving_usd_low), at(bar.saving_usd_high)].sort((a, b) => a - b);
    const top = 22 + index * ROW;
    return [s("text", { class: "tick strong", x: NAMED - 10, y: top + 14, "text-anchor": "end" }, bar.name.replaceAll("_", " ")),
      s("rect", { class: bar.flips ? "tone-local" : "tone-hosted", x: left, y: top, width: Math.max(right - left, 1), height: ROW - 10, rx: 3 }, s("title", {}, `${bar.low} to ${bar.high} ${bar.unit}`))];
  });
  const zero = [s("line", { class: "grid zero", x1: at(0), x2: at(0), y1: 16, y2: height - 8 }), s("text", { class: "tick", x: at(0), y: 11, "text-anchor": "middle" }, "$0")];
  return h("div", { class: "scroll" }, s("svg", { class: "plot tornado", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "What training saves a month at either end of each assumption; the numbers are in the table below" }, rows, zero));
}

function sensitivities(bars) {
  const number = (value) => value.toLocaleString("en-US", { maximumSignificantDigits: 4 });
  const columns = [
    { head: "Assumption", cell: (bar) => `${bar.name.replaceAll("_", " ")} (${bar.unit})` },
    { head: "From", number: true, cell: (bar) => number(bar.low) }, { head: "To", number: true, cell: (bar) => number(bar.high) },
    { head: "Saves at from", number: true, cell: (bar) => dollars(bar.saving_usd_low) }, { head: "Saves at to", number: true, cell: (bar) => dollars(bar.saving_usd_high) },
    { head: "", cell: (bar) => (bar.flips ? chip("flips the verdict", "warn") : "") },
  ];
  return h("details", {}, h("summary", { class: "small" }, "Show as a table"), table("What training saves a month, by assumption", columns, bars, { class: "cards-when-narrow" }));
}

function assumptions(known) {
  const columns = [
    { head: "Name", cell: ([name]) => h("code", {}, name) },
    { head: "Value", number: true, cell: ([, item]) => `${item.value.toLocaleString("en-US", { maximumSignificantDigits: 6 })} ${item.unit}` },
    { head: "From", cell: ([, item]) => chip(item.origin, item.origin === "default" ? "" : "good") },
    { head: "Why", cell: ([, item]) => h("span", { class: "small" }, item.source) },
  ];
  return [h("p", { class: "muted small" }, "Change them under ", h("code", {}, "worth:"), " in the configuration, or with ", h("code", {}, "breakeven worth ROUTE --assume NAME=NUMBER"), "."), table("Assumptions", columns, Object.entries(known), { class: "cards-when-narrow" })];
}
