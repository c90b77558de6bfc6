// The last decisions, and one of them laid open: every candidate with its expected cost and risk, and what would have changed the choice.

import { get, post } from "./api.js";
import { backend } from "./colours.js";
import { byId, chip, fill, h, table } from "./dom.js";
import { dayTime, dropped, epoch, money, ms, percent, reason, time, unknown, usd } from "./format.js";

export function decisions(list, colours, now, open) {
  if (!list.length) return h("p", { class: "muted" }, "No decisions yet.");
  const columns = [
    { head: "When", cell: (row) => h("button", { type: "button", class: "link", "data-focus": row.decision_id, "aria-haspopup": "dialog", onclick: () => open(row.decision_id) },
      now - epoch(row.time) < 43200 ? time(epoch(row.time), true) : dayTime(epoch(row.time)), h("span", { class: "visually-hidden" }, `, decision ${row.decision_id}`)) },
    { head: "Route", cell: (row) => row.route },
    { head: "Sent to", cell: (row) => (row.chosen === null ? chip("nobody", "bad") : backend(row.chosen, colours)) },
    { head: "Because", cell: (row) => h("span", { title: row.reason }, reason(row.reason)) },
    { head: "Expected cost", number: true, cell: (row) => money(row.cost_nanousd, "unknown price") },
    { head: "Predicted", number: true, cell: (row) => ms(row.latency_ms) ?? unknown("nothing observed yet") },
  ];
  return table("The last decisions, newest first", columns, list, { class: "cards-when-narrow decisions" });
}

function candidates(decision, colours) {
  const columns = [
    { head: "Candidate", cell: (row) => h("div", { class: "stack" }, backend(row.backend, colours, true),
      h("div", { class: "chips" }, row.backend === decision.chosen ? chip("chosen", "good") : null, row.feasible ? null : chip(dropped(row.dropped_because), "bad", row.dropped_because))) },
    { head: "Expected cost", number: true, cell: (row) => money(row.cost_nanousd, row.feasible ? "unknown price" : "not scored") },
    { head: "Predicted latency", number: true, cell: (row) => ms(row.latency_ms) ?? unknown(row.feasible ? "nothing observed yet" : "not scored") },
    { head: "Risk of being late", number: true, cell: (row) => (row.p_miss === null ? unknown("not scored") : percent(row.p_miss, 1)) },
    { head: "Score", number: true, cell: (row) => money(row.score_nanousd, "not scored") },
  ];
  return table("Candidates", columns, decision.candidates, { class: "cards-when-narrow" });
}

/** One flip as a sentence. */
export function flip({ what, backend: where, from, to, then }) {
  const b = (text) => h("b", {}, text);
  const more = to > from;
  switch (what) {
    case "gate": return ["If ", b(where), ` were not left out (${dropped(from)}), it would be chosen.`];
    case "seed": return ["It was a near-tie and chance decided; ", b(then), " was as good."];
    case "price": return ["If this request cost ", from === null ? "less than " : more ? "more than " : "less than ", b(usd(to)), " at ", b(where), from === null ? " (now unknown)" : ` (now ${usd(from)})`, ", ", b(then), " would be chosen."];
    case "miss_price_factor": return ["If a late answer were priced at ", b(`${to.toPrecision(2)}×`), ` the request's cost (now ${from}×), `, b(then), " would be chosen."];
    case "latency_ms": return ["If ", b(where), more ? " took longer than " : " were done within ", b(ms(to)), ` (now ${ms(from)}), `, b(then), " would be chosen."];
    case "in_flight": return ["With ", b(`${to}`), " requests under way at ", b(where), ` (there were ${from}), `, b(then), " would be chosen."];
    default: return [`${what}: ${from} → ${to}, then `, b(then), "."];
  }
}

export class DecisionDialog {
  constructor(dialog) {
    this.dialog = dialog;
    this.colours = new Map();
    dialog.addEventListener("close", () => { if (location.hash) history.replaceState(null, "", location.pathname + location.search); });
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  }

  async open(id) {
    fill(this.dialog, h("p", { class: "muted", id: "decision-title" }, "Looking it up…"));
    if (!this.dialog.open) this.dialog.showModal();
    history.replaceState(null, "", `${location.pathname}${location.search}#${encodeURIComponent(id)}`);
    try {
      this.show(await get(`/admin/decisions/${encodeURIComponent(id)}`));
    } catch (error) {
      fill(this.dialog, this.head("This decision cannot be shown"), h("p", { class: "problem" }, error.message));
    }
  }

  head(title) {
    return h("div", { class: "panel-head" }, h("h2", { id: "decision-title" }, title), h("button", { type: "button", class: "button", onclick: () => this.dialog.close() }, "Close"));
  }

  show(decision) {
    const verdict = h("span", { role: "status" });
    const replay = h("button", { type: "button", class: "button", onclick: () => this.replay(decision.decision_id, verdict) }, "Decide again from the record");
    const flips = decision.flips.map((one) => h("li", {}, flip(one)));
    fill(this.dialog,
      this.head(decision.chosen === null ? "Nobody could answer" : ["Sent to ", decision.chosen]),
      h("p", {}, h("b", {}, decision.reason === null ? reason(null) : reason(decision.reason)), h("span", { class: "muted" }, ` · ${decision.route} · ${dayTime(epoch(decision.time))}`)),
      h("div", { class: "scroll" }, candidates(decision, this.colours)),
      h("p", { class: "muted small" }, "Score = expected cost + risk of being late × price of being late. The lowest score that passes every gate is chosen."),
      h("h3", {}, "What would have changed it"),
      flips.length ? h("ul", { class: "flips" }, flips) : h("p", { class: "muted" }, "Nothing in reach: no single price, latency or load would have."),
      h("div", { class: "panel-foot" }, replay, verdict, h("code", { class: "muted small" }, decision.decision_id)));
  }

  async replay(id, verdict) {
    verdict.replaceChildren("…");
    try {
      const again = await post(`/admin/decisions/${encodeURIComponent(id)}/replay`);
      verdict.replaceChildren(again.same ? chip("the same choice", "good") : chip(`now ${again.chosen ?? "nobody"}`, "bad"));
    } catch (error) {
      verdict.replaceChildren(chip(error.message, "bad"));
    }
  }
}

export const fromHash = () => decodeURIComponent(location.hash.slice(1));
export const dialogElement = () => byId("decision");
