// One request or one decision laid open: what happened, every candidate with its expected cost and risk, and what would have changed the choice.

import { get, post } from "./api.js";
import { backend } from "./colours.js";
import { chip, fill, h, table } from "./dom.js";
import { count, dayTime, dropped, epoch, money, ms, outcome, percent, reason, time, unknown, usd } from "./format.js";

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

const fact = (term, ...what) => h("div", {}, h("dt", {}, term), h("dd", {}, what));

function facts(row, colours) {
  const amounts = [fact("Paid to the provider", money(row.cost_nanousd, "unknown price")), row.amortised_nanousd === 0 && row.cost_nanousd !== 0 ? null : fact("Share of the GPU", money(row.amortised_nanousd, "its minutes are not closed yet")),
    fact("All hosted", money(row.all_hosted_nanousd, "no hosted candidate of known price"))];
  const parts = row.usage && [`${count(row.usage.input_tokens)} in`, row.usage.cached_tokens ? `${count(row.usage.cached_tokens)} of them cached` : null, `${count(row.usage.output_tokens)} out`, row.usage.reasoning_tokens ? `${count(row.usage.reasoning_tokens)} of them reasoning` : null];
  return h("dl", { class: "facts" },
    fact("Route", row.route ?? "pinned by the caller"), fact("Answered by", row.backend === null ? "nobody" : backend(row.backend, colours)),
    fact("Outcome", chip(outcome(row.outcome), row.outcome === "ok" ? "good" : "bad"), ` ${row.status ? `HTTP ${row.status}` : ""}`), amounts,
    fact("Tokens", row.usage ? parts.filter(Boolean).join(", ") : unknown("the usage is unknown"), row.usage_state === "estimated" ? [" ", chip("estimated", "warn")] : null),
    fact("First token", ms(row.ttft_ms) ?? unknown("not observed")), fact("Whole answer", row.outcome === "interrupted" ? unknown("it was interrupted") : ms(row.total_ms)),
    fact("Gateway's own time", ms(row.overhead_ms) ?? unknown("not observed")),
    Object.keys(row.tags).length ? fact("Tags", Object.entries(row.tags).map(([name, value]) => [chip(`${name}=${value}`), " "])) : null);
}

function attempts(row, colours) {
  const columns = [
    { head: "Attempt", cell: (one) => backend(one.backend, colours, true) },
    { head: "Began", cell: (one) => time(epoch(one.time), true) },
    { head: "Came to", cell: (one) => (one.error ? chip(one.error.replaceAll("_", " "), "bad") : chip("answered", "good")) },
    { head: "Took", number: true, cell: (one) => ms(one.total_ms) },
    { head: "Cost", number: true, cell: (one) => (one.kind === "local" ? h("span", { class: "muted" }, "GPU time") : money(one.cost_nanousd, "unknown price")) },
  ];
  return [h("h3", {}, "Attempts"), table("Attempts", columns, row.attempts, { class: "cards-when-narrow" })];
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

/** The dialog. An id that begins with dec_ is a decision's, any other a request's; it stands in the URL's hash while the dialog is open. */
export class Detail {
  constructor(dialog) {
    this.dialog = dialog;
    this.colours = new Map();
    dialog.addEventListener("close", () => { if (location.hash) history.replaceState(history.state, "", location.pathname + location.search); });
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  }

  async open(id) {
    this.id = id;
    const isDecision = id.startsWith("dec_");
    fill(this.dialog, h("p", { class: "muted", id: "detail-title" }, "Looking it up…"));
    if (!this.dialog.open) this.dialog.showModal();
    history.replaceState(history.state, "", `${location.pathname}${location.search}#${encodeURIComponent(id)}`);
    try {
      const row = isDecision ? null : await get(`/admin/exchanges/${encodeURIComponent(id)}`);
      const wanted = isDecision ? id : row.decision_id;
      const decision = wanted === null ? null : await get(`/admin/decisions/${encodeURIComponent(wanted)}`).catch((error) => { if (isDecision) throw error; return { gone: error.message }; });
      if (this.id === id) this.show(row, decision);
    } catch (error) {
      if (this.id === id) fill(this.dialog, this.head(isDecision ? "This decision cannot be shown" : "This request cannot be shown"), h("p", { class: "problem" }, error.message));
    }
  }

  head(title) {
    return h("div", { class: "panel-head" }, h("h2", { id: "detail-title" }, title), h("button", { type: "button", class: "button", "data-focus": "close", autofocus: true, onclick: () => this.dialog.close() }, "Close"));
  }

  show(row, decision) {
    const when = epoch(row?.time ?? decision.time);
    const title = row ? `Request of ${dayTime(when)}` : decision.chosen === null ? "Nobody could answer" : `Sent to ${decision.chosen}`;
    fill(this.dialog, this.head(title), row ? [facts(row, this.colours), attempts(row, this.colours)] : null,
      decision === null ? h("p", { class: "muted" }, "No decision was made: the caller named who should answer.") : decision.gone ? h("p", { class: "muted" }, decision.gone) : this.why(decision, row !== null),
      row ? h("p", { class: "panel-foot" }, h("code", { class: "muted small" }, row.id)) : null);
    this.dialog.querySelector("[data-focus=close]")?.focus();
  }

  why(decision, within) {
    const verdict = h("span", { role: "status" });
    const replay = h("button", { type: "button", class: "button", onclick: () => this.replay(decision.decision_id, verdict) }, "Decide again from the record");
    const flips = decision.flips.map((one) => h("li", {}, flip(one)));
    return [
      within ? h("h3", {}, decision.chosen === null ? "Why: nobody could answer" : `Why ${decision.chosen}`) : null,
      h("p", { class: "muted" }, within ? "" : `${dayTime(epoch(decision.time))}, route ${decision.route}: `, h("span", { title: decision.reason }, `${reason(decision.reason)}.`), decision.sandbox ? [" ", chip("sandbox prices", "warn")] : null),
      candidates(decision, this.colours),
      h("h3", {}, "What would have changed it"), flips.length ? h("ul", { class: "flips" }, flips) : h("p", { class: "muted" }, "Nothing alone: there was no alternative within reach."),
      h("p", { class: "panel-foot" }, replay, verdict, h("code", { class: "muted small" }, decision.decision_id)),
    ];
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

export const fromHash = () => { try { return decodeURIComponent(location.hash.slice(1)); } catch { return ""; } };
