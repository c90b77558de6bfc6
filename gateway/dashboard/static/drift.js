// Whether traffic and answers of each adapter version are still what it was judged on: its level, why, and every feature beside what is usual.

import { optional } from "./api.js";
import { chip, fill, h, nothing, sized, table } from "./dom.js";
import { ago, count, dayTime, epoch, percent, unknown } from "./format.js";

const LEVELS = {
  none: ["as usual", "good", "Nothing differs beyond chance."],
  notify: ["not as usual", "warn", "Something differs; it is told, nothing else is done yet."],
  shadow: ["compared more", "warn", "Its answers are compared with the hosted model's more often."],
  stop: ["stopped", "bad", "The route sends it no more requests."],
  retrain: ["retraining proposed", "bad", "The route sends it no more requests; training on the new traffic is proposed."],
};
const STRANDS = { input: "What comes in", output: "What it answers", pace: "Pace and cost", pairs: "Against the hosted model" };
const NAMES = { ttft_ms: "first token, ms", total_ms: "total time, ms", cost: "cost, nano-dollars", length: "length, bytes", tokens: "answer tokens", turns: "messages", words: "words (hashed)", not_json: "no JSON", invalid: "against the schema", refused: "refusals", cut: "cut short" };

export function build(root, page) {
  const slots = { head: h("div", { class: "view-head" }, h("h2", {}, "Drift"), h("p", { class: "muted small" }, "The newest requests beside those each version was judged on")), versions: h("div") };
  root.append(slots.head, slots.versions);
  return { draw: (data) => draw(slots, data, page) };
}

export async function load(state) {
  return { drift: await optional("/admin/drift", state.route ? { route: state.route } : {}) };
}

function draw(slots, data, page) {
  const list = data.drift?.data ?? [];
  if (!list.length) {
    fill(slots.versions, h("section", { class: "panel", "aria-label": "Drift" }, nothing("No adapter version is watched yet.", "Routes with a live adapter are, as soon as requests come. Settings: ", h("code", {}, "drift:"), " in the configuration.")));
    return;
  }
  const worst = [...list].sort((a, b) => Object.keys(LEVELS).indexOf(b.level) - Object.keys(LEVELS).indexOf(a.level));
  fill(slots.versions, worst.map((version) => panel(version, data, page)));
}

function panel(version, data, page) {
  const [text, tone, what] = LEVELS[version.level];
  return h("section", { class: "panel drift", "aria-label": `${version.backend} on ${version.route}` },
    h("div", { class: "panel-head" }, h("h3", { class: "title" }, version.backend, h("span", { class: "muted" }, " on "), page.link("routes", { route: version.route }, version.route)), chip(text, tone, what)),
    h("p", { class: "muted small" }, `${count(version.samples)} requests measured, the last ${ago(epoch(version.updated_at), data.now)}. ${version.level === "none" ? (version.action && version.acted_at ? `${sentence(version.action)} (${dayTime(epoch(version.acted_at))}).` : "") : `Since ${dayTime(epoch(version.since))}. ${sentence(version.action ?? "")}.`}`),
    version.reasons.length ? h("ul", { class: "drift-reasons" }, version.reasons.map((reason) => h("li", {}, reason))) : null,
    version.level === "none" ? null : h("p", { class: "small" }, "If this traffic is fine: ", h("code", {}, `breakeven drift --route ${version.route} --accept ${version.backend}`)),
    version.proposals.filter((one) => one.status === "open").map((one) => h("p", { class: "small" }, chip("proposed", "warn"), ` training on the traffic since ${dayTime(epoch(one.since))} (${one.id})`)),
    version.features.length ? features(version) : nothing("There is no baseline yet.", waits(version)));
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const waits = (version) => `It takes 256 requests of the route and 256 answers of the version: ${version.strands.filter((one) => !one.ready && one.strand !== "pace" && one.strand !== "pairs").map((one) => `${STRANDS[one.strand].toLowerCase()}, ${count(one.baseline)} so far`).join("; ")}.`;

function features(version) {
  const columns = [
    { head: "Feature", cell: (row) => h("span", {}, NAMES[row.feature] ?? row.feature, h("span", { class: "muted small" }, ` ${STRANDS[row.strand].toLowerCase()}`)) },
    { head: "Beyond chance", cell: (row) => distance(row) },
    { head: "Differ", number: true, cell: (row) => (row.changed === null ? unknown("a rate is judged request by request") : `≥ ${percent(row.changed)}`) },
    { head: "PSI", number: true, cell: (row) => (row.psi === null ? unknown("not defined here") : row.psi.toFixed(2)) },
    { head: "Usual", cell: (row) => summary(row.baseline) },
    { head: "Now", cell: (row) => summary(row.current) },
    { head: "Window", number: true, cell: (row) => (row.window ? `${count(row.window)} of ${count(row.baseline_n)}${row.seasonal ? ", same hours" : ""}` : unknown("request by request")) },
  ];
  return table(`Features of ${version.backend} on ${version.route}`, columns, version.features, { class: "cards-when-narrow drift-features" });
}

/** How far a feature is on the way to what chance cannot explain: a bar whose end is the threshold, and the same in words. */
function distance(row) {
  if (row.threshold === null || !row.n) return unknown("nothing to compare yet");
  const part = row.value / row.threshold;
  const bar = h("span", { class: `reach${row.firing ? " bad" : row.near ? " warn" : ""}`, "aria-hidden": "true" }, sized(h("span", {}), part));
  return h("span", { class: "reach-cell", title: `${row.statistic} ${row.value.toFixed(3)} of ${row.threshold.toFixed(3)}` }, bar, h("span", {}, row.firing ? "yes" : part >= 1 ? "yes, too little to matter" : percent(part)));
}

function summary(found) {
  const shown = Object.entries(found);
  if (!shown.length) return unknown();
  return shown.slice(0, 3).map(([name, value]) => (name === "p50" || name === "p95" ? `${name} ${count(value)}` : `${name === "rate" ? "" : `${name} `}${percent(value)}`)).join(", ");
}
