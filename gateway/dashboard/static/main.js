// The page: reads its state from the URL, the numbers from /admin, and draws both again every few seconds.

import { get, post } from "./api.js";
import { Bars, series } from "./bars.js";
import { assign } from "./colours.js";
import { DecisionDialog, decisions, dialogElement, fromHash } from "./decisions.js";
import { byId, fill, h } from "./dom.js";
import { ago, dayTime, epoch } from "./format.js";
import { latency } from "./latency.js";
import { RANGES, fitting, read, rfc3339, span, write } from "./period.js";
import { routes } from "./routes.js";
import { sum } from "./sums.js";
import { cards, headline, welcome } from "./summary.js";

const EVERY_MS = 5000, SELDOM_MS = 30000; // short ranges move, long ones hardly do
const state = read();
const bars = new Bars(byId("bars"));
const dialog = new DecisionDialog(dialogElement());
let timer = 0, round = 0;

async function load() {
  const status = await get("/admin/status");
  const now = epoch(status.now);
  const first = status.first_exchange === null ? null : epoch(status.first_exchange);
  const range = state.range === "auto" ? fitting(first, now) : state.range;
  const period = span(range, now);
  const between = { since: rfc3339(period.since), until: rfc3339(period.until) };
  const [steps, totals, gpu, speeds, routeList, decided] = await Promise.all([
    get("/admin/costs", { group_by: `route,backend,${period.group}`, ...between }),
    get("/admin/costs", { group_by: "route,backend", ...between }),
    get("/admin/gpu", { step: period.group, ...between }),
    get("/admin/latency", between),
    get("/admin/routes"),
    get("/admin/decisions", { limit: 20, route: state.route }),
  ]);
  return { status, now, first, range, period, steps, totals, gpu, speeds, routes: routeList.data, decided: decided.data };
}

function draw(data) {
  const mine = (row) => !state.route || row.route === state.route;
  const rows = data.totals.data.filter(mine);
  const total = sum(rows);
  const list = data.routes.filter((route) => !state.route || route.name === state.route);
  const isLocal = (backend) => data.status.engines.includes(`${backend}`.split("/")[0]);
  const candidates = data.routes.flatMap((route) => route.candidates);
  const sandbox = new Set([...candidates, ...data.totals.data].filter((item) => item.sandbox).map((item) => item.backend));
  const colours = assign([...data.totals.data, ...candidates].map((item) => item.backend), isLocal, sandbox);
  dialog.colours = colours;
  controls(data);
  byId("sandbox").hidden = !data.status.sandbox && !data.totals.sandbox;
  byId("summary").setAttribute("aria-busy", "false");
  const empty = data.first === null;
  byId("empty").hidden = !empty;
  byId("filled").hidden = empty || !total.requests;
  if (empty) {
    fill(byId("summary"), h("p", { class: "headline" }, "Nothing has been asked yet."));
    fill(byId("empty"), welcome(data.routes, data.status));
  } else if (!total.requests) {
    fill(byId("summary"), h("p", { class: "headline" }, "No requests in this time range.", h("span", { class: "muted" }, ` The first was ${ago(data.first, data.now)}.`)));
  } else {
    const bill = state.route ? null : data.totals;
    fill(byId("summary"), headline(total, bill, RANGES[data.range][0], state.route));
    fill(byId("cards"), cards(total, bill, data.status.replicas));
    bars.show(series(data.steps.data.filter(mine), bill ? data.gpu.data : [], data.period, state.metric), colours, state.metric, data.period);
    fill(byId("routes"), routes(list, rows, data.now));
    fill(byId("latency"), latency(data.speeds.data.filter(mine), colours));
    fill(byId("latency-key"), h("span", { class: "dot" }), " p50  ", h("span", { class: "dot hollow" }), " p95  ", h("span", { class: "slo-key" }), " SLO");
    fill(byId("decisions"), decisions(data.decided, colours, data.now, (id) => dialog.open(id)));
  }
  foot(data);
}

function controls(data) {
  const range = byId("range"), route = byId("route");
  const options = [["auto", `All (${fitting(data.first, data.now)})`], ...Object.entries(RANGES).map(([name, [label]]) => [name, label])];
  select(range, options, state.range);
  const names = data.routes.map((item) => [item.name, item.name]);
  if (state.route && !names.some(([name]) => name === state.route)) names.push([state.route, state.route]);
  select(route, [["", "All routes"], ...names], state.route);
  byId("logout").hidden = !data.status.session;
  fill(byId("metric"), ["cost", "requests"].map((name) =>
    h("button", { type: "button", "data-focus": `metric-${name}`, "aria-pressed": String(state.metric === name), onclick: () => change({ metric: name }) }, name === "cost" ? "Cost" : "Requests")));
}

function select(element, options, chosen) {
  const key = JSON.stringify(options);
  if (element.dataset.key !== key) {
    element.replaceChildren(...options.map(([value, label]) => h("option", { value }, label)));
    element.dataset.key = key;
  }
  element.value = chosen;
}

function foot(data) {
  const { status, totals } = data;
  const notes = [
    `Breakeven ${status.version}, up since ${dayTime(epoch(status.started))}`,
    `prices: ${status.prices}`,
    totals.unpriced_requests ? `${totals.unpriced_requests} requests of unknown cost are in no sum` : null,
    totals.interrupted_requests ? `${totals.interrupted_requests} interrupted` : null,
  ];
  fill(byId("foot"), notes.filter(Boolean).join(" · "));
}

function problem(text) {
  byId("problem").hidden = text === null;
  byId("problem").textContent = text ?? "";
}

async function refresh() {
  clearTimeout(timer);
  const mine = ++round;
  try {
    const data = await load();
    if (mine !== round) return;
    draw(data);
    problem(null);
    document.documentElement.dataset.ready = "yes";
    if (state.live) timer = setTimeout(refresh, data.period.until - data.period.since > 90000 ? SELDOM_MS : EVERY_MS);
  } catch (error) {
    if (mine !== round) return;
    problem(error.message);
    if (state.live) timer = setTimeout(refresh, EVERY_MS);
  }
}

function change(next) {
  Object.assign(state, next);
  write(state);
  const button = byId("refresh");
  button.setAttribute("aria-pressed", String(state.live));
  byId("refresh-label").textContent = state.live ? "Live" : "Paused";
  refresh();
}

byId("range").addEventListener("change", (event) => change({ range: event.target.value }));
byId("route").addEventListener("change", (event) => change({ route: event.target.value }));
byId("refresh").addEventListener("click", () => change({ live: !state.live }));
byId("logout").addEventListener("click", async () => { await post("/dashboard/logout").catch(() => null); location.assign("/dashboard/login"); });
byId("controls").addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("visibilitychange", () => { if (document.hidden) clearTimeout(timer); else if (state.live) refresh(); });
change({});
if (fromHash()) dialog.open(fromHash());
