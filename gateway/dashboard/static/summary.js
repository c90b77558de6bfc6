// The sentence at the top, the key figures, and what a fresh install sees instead.

import { chip, h } from "./dom.js";
import { count, money, percent, unknown, usd } from "./format.js";
import { spent } from "./sums.js";

/** What the period came to. `bill` is the GPU bill with idle time, null when a route is chosen: idle time belongs to no route. */
export function outcome(total, bill) {
  const answered = spent(total);
  const idle = bill?.idle_nanousd ?? null;
  const paid = answered === null ? null : answered + (idle ?? 0);
  const complete = total.all_hosted_nanousd !== null && paid !== null;
  return { answered, idle, paid, saved: complete ? total.all_hosted_nanousd - paid : null };
}

export function headline(total, bill, label, routeName) {
  const { paid, saved } = outcome(total, bill);
  const share = total.local_requests / total.requests;
  const of = routeName ? [" of ", h("b", {}, routeName)] : [];
  const opening = total.local_requests
    ? [h("b", { class: "local-ink" }, percent(share)), ` of ${count(total.requests)} requests`, of, " were answered locally."]
    : [`All ${count(total.requests)} requests`, of, " went to hosted models."];
  const cost = paid === null ? [" What they cost is unknown."] : [" They cost ", h("b", {}, usd(paid))];
  let end = paid === null ? [] : ["."];
  if (saved !== null && total.local_requests) {
    end = saved >= 0
      ? [", hosted alone would have been ", h("b", {}, usd(total.all_hosted_nanousd)), "."]
      : [", more than the ", h("b", {}, usd(total.all_hosted_nanousd)), " that hosted alone would have been."];
  }
  return h("p", { class: "headline" }, h("span", { class: "muted when" }, label), opening, cost, end);
}

function card(title, value, note, extra = null) {
  return h("div", { class: "panel card" }, h("h3", {}, title), h("p", { class: "figure" }, value), h("p", { class: "muted small" }, note), extra);
}

export function cards(total, bill, replicas) {
  const { paid, idle, saved } = outcome(total, bill);
  const failed = total.requests - total.ok_requests;
  const mark = () => (total.sandbox ? chip("sandbox", "warn", "Counted at list prices, charged by nobody: the provider is the sandbox.") : null);
  const pending = total.unallocated_requests ? `, ${count(total.unallocated_requests)} not booked yet` : "";
  const share = total.local_requests / total.requests;
  const gpu = (total.local_amortised_nanousd ?? 0) + (idle ?? 0);
  const found = [
    card("Spent", money(paid), [`${usd(total.hosted_nanousd) ?? "unknown"} hosted${gpu ? `, ${usd(gpu)} GPU` : ""}${pending}`], mark()),
    card("All hosted would cost", money(total.all_hosted_nanousd), ["each route's first hosted model"], mark()),
    card("Saved", saved === null ? unknown() : h("span", { class: saved >= 0 ? "good-ink" : "bad-ink" }, usd(saved)),
      [saved === null || !total.all_hosted_nanousd ? "needs known prices" : `${percent(saved / total.all_hosted_nanousd)} of all hosted${gpu ? (bill ? ", idle GPU paid" : ", idle GPU not counted") : ""}`], mark()),
    card("Answered locally", percent(share), [`${count(total.local_requests)} of ${count(total.requests)} requests`],
      h("div", { class: "share", "aria-hidden": "true" }, sized(h("span", {}), share))),
    card("Failed", count(failed), [failed ? `${percent(failed / total.requests, 1)} of requests, clients that left included` : "every request was answered"]),
  ];
  if (bill?.gpu_bill_nanousd !== undefined && replicas.length) {
    const ready = replicas.filter((replica) => replica.healthy).length;
    const busy = bill.gpu_bill_nanousd ? 1 - (bill.idle_nanousd ?? 0) / bill.gpu_bill_nanousd : null;
    found.push(card("Idle GPU", money(bill.idle_nanousd, "gpu_hour_usd is not set"),
      [busy === null ? "no GPU time booked yet" : `${percent(1 - busy)} of the ${usd(bill.gpu_bill_nanousd)} bill`],
      chip(`${ready} of ${replicas.length} ready`, ready === replicas.length ? "good" : ready ? "warn" : "bad")));
  }
  return found;
}

/** Widths are set through the object model: the content security policy forbids style attributes. */
export function sized(element, share) {
  element.style.width = `${Math.max(0, Math.min(1, share || 0)) * 100}%`;
  return element;
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
