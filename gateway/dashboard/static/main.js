// The page: reads its state from the URL, the numbers from /admin, and draws one view of both, again every few seconds.

import * as adapters from "./adapters.js";
import { get, post } from "./api.js";
import * as budgets from "./budgets.js";
import { assign } from "./colours.js";
import { Controls } from "./controls.js";
import { Detail, fromHash } from "./detail.js";
import { byId, fill, h } from "./dom.js";
import * as drift from "./drift.js";
import * as exchanges from "./exchanges.js";
import { ago, dayTime, dayYearOf, epoch } from "./format.js";
import { Help, listen } from "./help.js";
import * as latency from "./latency.js";
import * as local from "./local.js";
import * as overview from "./overview.js";
import { RANGES, between, fitting, span } from "./period.js";
import * as routes from "./routes.js";
import { at, href, read } from "./state.js";
import { welcome } from "./summary.js";
import * as worth from "./worth.js";

const EVERY_MS = 5000, SELDOM_MS = 30000, RARELY_MS = 120000; // short ranges move, long ones hardly do
const modules = { overview, routes, latency, local, budgets, adapters, exchanges, worth, drift };
const titles = { overview: "Overview", routes: "Routes", latency: "Latency", local: "Local", budgets: "Budgets", adapters: "Adapters", exchanges: "Exchanges", worth: "Worth it?", drift: "Drift" };
const detail = new Detail(byId("detail")), help = new Help(byId("help"));
let state = read(), timer = 0, round = 0, shown = null, lastPeriod = null;

/** What views may do with the page around them. */
const page = {
  change: (next) => go({ ...state, ...next }),
  go: (next) => go(at(state, next.view ?? state.view, next)),
  open: (id) => detail.open(id),
  problem,
  rangeLabel: ({ period }) => period.label ?? `${dayTime(period.since)} to ${dayTime(period.until)}`,
  firstSeen: ({ first, now }) => (first === null ? "Nothing has been asked yet." : `The first request was ${ago(first, now)}.`),
  /** A link to another view of the same time. */
  link(view, more, ...children) {
    const next = at(state, view, more);
    return h("a", { href: href(next), "data-focus": `link-${view}-${JSON.stringify(more)}`, onclick: (event) => { if (plain(event)) { event.preventDefault(); go(next); } } }, children);
  },
  /** The exchanges of one bar. */
  exchanges(index, filter) {
    const since = lastPeriod.starts[index];
    go(at(state, "exchanges", { ...filter, range: "custom", since, until: since + lastPeriod.step }));
  },
};
const plain = (event) => !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || event.button);
const controls = new Controls({ change: page.change, state: () => state, period: () => lastPeriod, titles, link: page.link, help: () => help.open() });

async function load() {
  const [status, routeList, known] = await Promise.all([get("/admin/status"), get("/admin/routes"), get("/admin/adapters")]);
  const now = epoch(status.now);
  const first = status.first_exchange === null ? null : epoch(status.first_exchange);
  const period = state.range === "custom" ? between(state.since, state.until, now) : span(state.range === "auto" ? fitting(first, now) : state.range, now);
  lastPeriod = period;
  const mine = state;
  const base = { state: mine, status, now, first, period, routes: routeList.data, adapters: known.data };
  const view = first === null && mine.view === "overview" ? {} : await modules[mine.view].load(mine, period, base);
  return { ...base, ...view, colours: colours(base, view) };
}

/** One colour per backend in all views: every version there ever was has its own, whether a view's rows name it or not. */
function colours({ status, routes: list, adapters: known }, view) {
  const candidates = list.flatMap((route) => route.candidates);
  const rows = [view.steps, view.totals, view.backends, view.first].flatMap((answer) => answer?.data ?? []).filter((row) => row.backend !== undefined);
  const sandbox = new Set([...candidates, ...rows].filter((item) => item.sandbox).map((item) => item.backend));
  const versions = known.flatMap((adapter) => adapter.versions.filter((one) => one.state !== "refused").map((one) => `${adapter.engine}/${adapter.adapter}@${one.version}`));
  return assign([...versions, ...[...rows, ...candidates].map((item) => item.backend)], (backend) => status.engines.includes(`${backend}`.split("/")[0]), sandbox);
}

function draw(data) {
  detail.colours = data.colours;
  controls.draw(data);
  byId("sandbox").hidden = !data.status.sandbox && !data.steps?.sandbox;
  const empty = data.first === null && data.state.view === "overview";
  byId("empty").hidden = !empty;
  byId("view").hidden = empty;
  byId("view").setAttribute("aria-busy", "false");
  if (empty) fill(byId("empty"), h("p", { class: "headline" }, "Nothing has been asked yet."), welcome(data.routes, data.status));
  else {
    fill(byId("empty"));
    if (shown?.name !== data.state.view) enter(data.state.view);
    shown.view.draw(data);
  }
  foot(data);
}

function enter(name) {
  byId("view").replaceChildren();
  byId("view").className = `view view-${name}`;
  shown = { name, view: modules[name].build(byId("view"), page) };
  document.title = name === "overview" ? "Breakeven" : `${titles[name]} – Breakeven`;
}

function foot({ status, steps }) {
  const notes = [
    `Breakeven ${status.version}, up since ${dayYearOf(epoch(status.started))}`,
    `prices: ${status.prices}`,
    `times in ${Intl.DateTimeFormat().resolvedOptions().timeZone}`,
    steps?.unpriced_requests ? `${steps.unpriced_requests.toLocaleString("en-US")} requests of unknown cost are in no sum` : null,
    steps?.interrupted_requests ? `${steps.interrupted_requests.toLocaleString("en-US")} interrupted` : null,
  ];
  fill(byId("foot"), notes.filter(Boolean).join(" · "));
}

function problem(text) {
  byId("problem").hidden = text === null;
  byId("problem").textContent = text ?? "";
}

async function refresh(told = false) {
  clearTimeout(timer);
  const mine = ++round;
  const wanted = state.view;
  try {
    const data = await load();
    if (mine !== round) return;
    draw(data);
    problem(null);
    document.documentElement.dataset.ready = wanted;
    performance.mark("numbers");
    if (told) byId("live").textContent = `${titles[wanted]}, ${page.rangeLabel(data)}`;
    const length = data.period.until - data.period.since;
    if (state.live && !document.hidden) timer = setTimeout(refresh, length > 8e6 ? RARELY_MS : length > 90000 ? SELDOM_MS : EVERY_MS);
  } catch (error) {
    if (mine !== round) return;
    if (!error.status && error.status !== 0) console.error(error);
    problem(error.message);
    byId("view").setAttribute("aria-busy", "false");
    if (shown === null) fill(byId("view"), h("p", { class: "headline skeleton" }, "The numbers cannot be read."));
    if (state.live) timer = setTimeout(refresh, EVERY_MS);
  }
}

function go(next) {
  const address = href(next);
  if (address !== location.pathname + location.search) history.pushState(null, "", address);
  arrive(next);
}

function arrive(next) {
  const moved = next.view !== state.view;
  state = next;
  controls.mark(state);
  if (moved) window.scrollTo(0, 0);
  delete document.documentElement.dataset.ready;
  byId("view").setAttribute("aria-busy", "true");
  refresh(true);
}

window.addEventListener("popstate", () => { if (byId("detail").open) byId("detail").close(); arrive(read()); if (fromHash()) openFromHash(); });
byId("logout").addEventListener("click", async () => { await post("/dashboard/logout").catch(() => null); location.assign("/dashboard/login"); });
document.addEventListener("visibilitychange", () => { if (document.hidden) clearTimeout(timer); else if (state.live) refresh(); });
document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); byId("main").focus(); });
listen({
  view: (view) => go(at(state, view)), shorter: () => step(-1), longer: () => step(1), range: () => byId("range").focus(), live: () => page.change({ live: !state.live }), theme: () => controls.theme(), help: () => help.open(),
});

function step(by) {
  const names = Object.keys(RANGES);
  const now = names.indexOf(state.range) >= 0 ? names.indexOf(state.range) : names.findIndex((name) => RANGES[name][0] === lastPeriod?.label);
  const next = names[Math.max(0, Math.min(names.length - 1, now + by))];
  if (next) page.change({ range: next, since: null, until: null });
}

const openFromHash = () => { if (fromHash() && fromHash() !== "main") detail.open(fromHash()); };
controls.mark(state);
refresh();
openFromHash();
