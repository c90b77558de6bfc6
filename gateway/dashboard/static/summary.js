// The sentence at the top, the key figures, and what a fresh install sees instead.

import { chip, h, share } from "./dom.js";
import { change, count, money, percent, short, unknown, usd } from "./format.js";
import { spent } from "./sums.js";

/** What the period came to. `idle` is the price of GPU time that nobody used, null when a route is chosen: idle time belongs to no route. */
export function outcome(total, idle) {
  const answered = spent(total);
  const paid = answered === null ? null : answered + (idle ?? 0);
  const complete = total.all_hosted_nanousd !== null && paid !== null;
  return { answered, idle, paid, saved: complete ? total.all_hosted_nanousd - paid : null };
}

export function headline(total, idle, label, routeName) {
  const { paid, saved } = outcome(total, idle);
  const local = total.local_requests / total.requests;
  const of = routeName ? [" of ", h("b", {}, routeName)] : [];
  const opening = total.local_requests
    ? [h("b", { class: "local-ink" }, percent(local)), ` of ${count(total.requests)} requests`, of, " were answered locally."]
    : [total.requests === 1 ? "The one request" : `All ${count(total.requests)} requests`, of, " went to hosted models."];
  const cost = paid === null ? [" What they cost is unknown."] : [" They cost ", h("b", {}, usd(paid))];
  let end = paid === null ? [] : ["."];
  if (saved !== null && total.local_requests) {
    end = saved >= 0
      ? [", hosted alone would have been ", h("b", {}, usd(total.all_hosted_nanousd)), "."]
      : [", more than the ", h("b", {}, usd(total.all_hosted_nanousd)), " that hosted alone would have been."];
  }
  return h("p", { class: "headline" }, h("span", { class: "muted when" }, label), opening, cost, end);
}

/** How a figure moved against the period before: `better` is 1 where more is better, -1 where less is, 0 where it is neither. */
function moved(now, before, better) {
  if (now === null || before === null || !before || now === undefined || before === undefined) return null;
  const text = change(now, before);
  const good = better * (now - before);
  return h("span", { class: `delta ${text.startsWith("±") || !good ? "" : good > 0 ? "good-ink" : "bad-ink"}` }, text, h("span", { class: "visually-hidden" }, " against the period before"));
}

const rate = (part, whole) => (whole ? part / whole : null);
const points = (now, before) => {
  if (now === null || before === null) return null;
  const difference = Math.round((now - before) * 1000) / 10;
  return { text: difference === 0 ? "±0 pt" : `${difference > 0 ? "+" : "−"}${Math.abs(difference)} pt`, difference };
};

function moveOfRate(now, before, better) {
  const found = points(now, before);
  if (found === null) return null;
  const good = better * found.difference;
  return h("span", { class: `delta ${good > 0 ? "good-ink" : good < 0 ? "bad-ink" : ""}`, title: "percentage points" }, found.text, h("span", { class: "visually-hidden" }, " (percentage points) against the period before"));
}

/** The key figures; each is a button that puts it into the chart. `was` is the same of the period before, null where there is none. */
export function cards({ total, idle, was, wasIdle, bill, chosen, choose }) {
  const now = outcome(total, idle), then = was ? outcome(was, wasIdle) : null;
  const pending = total.unallocated_requests ? `, ${count(total.unallocated_requests)} not booked yet` : "";
  const gpu = (total.local_amortised_nanousd ?? 0) + (idle ?? 0);
  const of = (row, field) => (row ? rate(row[field], row.requests) : null);
  const card = (metric, title, value, delta, note, more = null) => h("button", { type: "button", class: "panel card", "data-focus": `card-${metric}`, "aria-pressed": String(metric === chosen), onclick: () => choose(metric) },
    h("span", { class: "card-title" }, title), h("span", { class: "figure-line" }, h("span", { class: "figure" }, value), delta), h("span", { class: "muted small" }, note), more);
  const tokens = total.input_tokens + total.output_tokens;
  const mark = total.sandbox ? chip("sandbox", "warn", "Counted at list prices, charged by nobody: the provider is the sandbox.") : null;
  return [
    card("cost", "Spent", money(now.paid), then && moved(now.paid, then.paid, -1), [`${usd(total.hosted_nanousd) ?? "unknown"} hosted${gpu ? `, ${usd(gpu)} GPU` : ""}${pending}`], mark),
    card("saved", "Saved", now.saved === null ? unknown("needs known prices") : h("span", { class: now.saved >= 0 ? "good-ink" : "bad-ink" }, usd(now.saved)), null,
      now.saved === null || !total.all_hosted_nanousd ? "needs known prices" : `${percent(now.saved / total.all_hosted_nanousd)} of ${usd(total.all_hosted_nanousd)} all hosted${gpu ? (idle === null ? ", idle GPU not counted" : ", idle GPU paid") : ""}`, mark && mark.cloneNode(true)),
    card("per1k", "Cost per 1,000 requests", money(total.cost_per_1k_requests_nanousd, "needs known prices"), was && moved(total.cost_per_1k_requests_nanousd, was.cost_per_1k_requests_nanousd, -1),
      gpu && idle !== null ? "without idle GPU time" : "hosted and GPU", mark && mark.cloneNode(true)),
    card("requests", "Requests", short(total.requests), was && moved(total.requests, was.requests, 0), was?.requests ? `${short(was.requests)} in the period before` : `${short(tokens)} tokens`),
    card("local", "Answered locally", percent(total.local_requests / total.requests), moveOfRate(of(total, "local_requests"), of(was, "local_requests"), 1), `${count(total.local_requests)} of ${count(total.requests)}`, share(total.local_requests / total.requests)),
    card("failed", "Failed", percent(total.error_requests / total.requests, 2), moveOfRate(of(total, "error_requests"), of(was, "error_requests"), -1), total.error_requests ? `${count(total.error_requests)} requests without an answer` : "every request was answered"),
    card("fallback", "Fell over to another", percent(total.fallback_requests / total.requests, 2), moveOfRate(of(total, "fallback_requests"), of(was, "fallback_requests"), -1),
      total.fallback_requests ? `${count(total.fallback_requests)} answered by the next candidate` : "the first choice always answered"),
    bill && bill.gpu_bill_nanousd !== undefined && (bill.gpu_bill_nanousd || bill.idle_state === "unknown")
      ? card("idle", "Idle GPU", money(bill.idle_nanousd, "gpu_hour_usd is not set"), null, bill.gpu_bill_nanousd ? `${percent((bill.idle_nanousd ?? 0) / bill.gpu_bill_nanousd)} of the ${usd(bill.gpu_bill_nanousd)} bill` : "gpu_hour_usd is not set")
      : card("tokens", "Tokens", short(tokens), was && moved(tokens, was.input_tokens + was.output_tokens, 0), `${short(total.input_tokens)} in, ${short(total.output_tokens)} out`),
  ];
}

export function welcome(routes, status) {
  const route = routes[0]?.name ?? "your-route";
  const code = `from openai import OpenAI

client = OpenAI(base_url="${location.origin}/v1", api_key="${status.open_access ? "none-needed-yet" : "YOUR_KEY"}")
client.chat.completions.create(
    model="${route}",
    messages=[{"role": "user", "content": "Hello"}],
)`;
  const steps = [
    routes.length ? null : h("li", {}, "Add a route to ", h("code", {}, status.config), " and reload."),
    status.open_access ? null : h("li", {}, "Make a key: ", h("code", {}, "breakeven keys create NAME"), "."),
    h("li", {}, "Send a request as you do to OpenAI, with another base URL:", h("pre", { tabindex: "0" }, code)),
    h("li", {}, "It shows here within two seconds, with its cost and why it was sent where it was."),
  ];
  return h("div", { class: "panel welcome" }, h("h2", {}, "Ready for the first request"), h("ol", {}, steps));
}
