// What happened to adapters, in words: the events of /admin/timeline.

import { percent } from "./format.js";

const KINDS = {
  registered: ["registered", "quiet"], refused: ["refused", "bad"], loaded: ["loaded", "quiet"], gated: ["gate", "good"], canary: ["canary", "warn"], promoted: ["live", "good"],
  rolled_back: ["rolled back", "bad"], retired: ["retired", "quiet"], drift: ["drift", "bad"],
};

/** Events worth a mark over a cost curve: those that change who answers. */
export const TURNS = ["canary", "promoted", "rolled_back", "retired", "drift"];

export const word = (event) => (event.kind === "registered" && event.trained ? "trained" : event.kind === "gated" && event.passed === false ? "gate refused" : event.kind === "gated" ? "gate passed" : KINDS[event.kind]?.[0] ?? event.kind);
export const tone = (event) => (event.kind === "gated" && event.passed === false ? "bad" : KINDS[event.kind]?.[1] ?? "quiet");
export const named = (event) => (event.version === null ? event.adapter : `${event.adapter}@${event.version}`);

/** An event as a phrase: "support-triage@2 live". */
export function phrase(event) {
  const of = event.kind === "canary" && event.percent !== null ? ` with ${percent(event.percent / 100)}` : "";
  return event.kind === "rolled_back" ? `${event.adapter} rolled back to @${event.version}` : `${named(event)} ${word(event)}${of}`;
}

/** What else is known of it, for a table. */
export function detail(event) {
  const trained = event.trained ? [event.trained.examples === null ? null : `${event.trained.examples} examples`, event.trained.steps === null ? null : `${event.trained.steps} steps`, event.trained.quantization === "nf4" ? "4-bit" : null].filter(Boolean).join(", ") : null;
  return [trained, event.percent === null || event.kind !== "canary" ? null : `${percent(event.percent / 100)} of the requests`, event.route ? `on ${event.route}` : null, event.reason || null].filter(Boolean).join("; ");
}
