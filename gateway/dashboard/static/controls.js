// The bar at the top: time range, route, live or paused, light or dark, and the views.

import { byId, h } from "./dom.js";
import { epoch } from "./format.js";
import { RANGES, fitting } from "./period.js";
import { dark, setDark } from "./preferences.js";
import { VIEWS, at, href } from "./state.js";

/** A time as an input of type datetime-local wants it: this browser's time zone. */
const local = (time) => new Date((time - new Date(time * 1000).getTimezoneOffset() * 60) * 1000).toISOString().slice(0, 16);

export class Controls {
  /** `page` has change(next), state(), period(), titles, link(view, more, text) and help(). */
  constructor(page) {
    this.page = page;
    byId("range").addEventListener("change", (event) => this.range(event.target.value));
    byId("route").addEventListener("change", (event) => page.change({ route: event.target.value }));
    byId("refresh").addEventListener("click", () => page.change({ live: !page.state().live }));
    byId("theme").addEventListener("click", () => this.theme());
    byId("help-button").addEventListener("click", page.help);
    byId("apply").addEventListener("click", () => this.apply());
    byId("controls").addEventListener("submit", (event) => { event.preventDefault(); if (!byId("custom").hidden) this.apply(); });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.themed());
    this.themed();
  }

  /** What can be shown before any number is there. */
  mark(state) {
    byId("views").replaceChildren(...VIEWS.map((view) => {
      const link = this.page.link(view, {}, this.page.titles[view]);
      if (view === state.view) link.setAttribute("aria-current", "page");
      link.href = href(at(state, view));
      return link;
    }));
    byId("views").querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
    byId("refresh").setAttribute("aria-pressed", String(state.live));
    byId("refresh-label").textContent = state.live ? "Live" : "Paused";
    byId("custom").hidden = state.range !== "custom";
  }

  draw({ state, routes, first, now, status }) {
    const ranges = [["auto", `Automatic (${fitting(first, now)})`], ...Object.entries(RANGES).map(([name, [label]]) => [name, label]), ["custom", "From … to …"]];
    select(byId("range"), ranges, state.range);
    const names = routes.map((item) => [item.name, item.name]);
    if (state.route && !names.some(([name]) => name === state.route)) names.push([state.route, state.route]);
    select(byId("route"), [["", "All routes"], ...names], state.route);
    byId("logout").hidden = !status.session;
    if (state.range === "custom" && !byId("custom").contains(document.activeElement)) this.show(state.since, state.until);
    byId("until").max = local(epoch(status.now) + 86400);
  }

  range(value) {
    if (value !== "custom") return this.page.change({ range: value, since: null, until: null });
    const period = this.page.period();
    if (period) this.show(period.since, period.until);
    byId("custom").hidden = false;
    byId("since").focus();
    return undefined;
  }

  show(since, until) {
    byId("since").value = local(since);
    byId("until").value = local(until);
  }

  apply() {
    const [since, until] = [Date.parse(byId("since").value) / 1000, Date.parse(byId("until").value) / 1000];
    byId("until").setCustomValidity(since < until ? "" : "The end must be after the beginning.");
    if (since < until) this.page.change({ range: "custom", since, until });
    else byId("until").reportValidity();
  }

  theme() {
    setDark(!dark());
    this.themed();
  }

  themed() { byId("theme").setAttribute("aria-pressed", String(dark())); }
}

function select(element, options, chosen) {
  const key = JSON.stringify(options);
  if (element.dataset.key !== key) {
    element.replaceChildren(...options.map(([value, label]) => h("option", { value }, label)));
    element.dataset.key = key;
  }
  element.value = chosen;
}
