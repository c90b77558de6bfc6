// The bars over time: one per step, stacked by backend, with a line for what all-hosted would have cost. Pointer, touch and arrow keys read one bar.

import { h, s, table } from "./dom.js";
import { count, dayOf, dayTime, money, time, unknown, usd } from "./format.js";
import { spent } from "./sums.js";

const HEIGHT = 240, TOP = 12, BOTTOM = 26, LEFT = 64, RIGHT = 8;

/** The part of the bars that no backend used. */
const IDLE = { name: "idle GPU", kind: "local", tone: "tone-idle" };

/** Rows of /admin/costs by backend and of /admin/gpu, by step, as [{start, values: Map(backend -> number), line, requests, unbooked}]. */
export function series(rows, gpu, period, metric) {
  const step = period.starts.length > 1 ? period.starts[1] - period.starts[0] : period.until - period.since;
  const bars = period.starts.map((start) => ({ start, values: new Map(), line: 0, requests: 0, unbooked: 0 }));
  const at = (time) => bars[Math.floor((Date.parse(time) / 1000 - period.since) / step)];
  for (const row of metric === "cost" ? gpu : []) {
    const bar = at(row.time);
    if (bar && row.idle_nanousd) bar.values.set(IDLE.name, (bar.values.get(IDLE.name) ?? 0) + row.idle_nanousd);
  }
  for (const row of rows) {
    const bar = at(row[period.group]);
    if (!bar) continue;
    const value = metric === "cost" ? spent(row) ?? 0 : row.requests;
    bar.values.set(row.backend, (bar.values.get(row.backend) ?? 0) + value);
    bar.line += row.all_hosted_nanousd ?? 0;
    bar.requests += row.requests;
    bar.unbooked += row.unallocated_requests;
  }
  return bars;
}

/** A scale's upper end and its ticks: 1, 2 or 5 times a power of ten apart. */
export function scale(largest) {
  if (largest <= 0) return { top: 1, ticks: [0] };
  const rough = largest / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough);
  const top = Math.ceil(largest / step) * step;
  return { top, ticks: Array.from({ length: Math.round(top / step) + 1 }, (_, index) => index * step) };
}

export class Bars {
  constructor(root) {
    this.root = root;
    this.selected = null;
    this.size = new ResizeObserver(() => { if (this.data && Math.abs(this.width() - this.drawn) > 1) this.draw(); });
    this.size.observe(root);
  }

  show(bars, colours, metric, period) {
    if (this.data && this.data.bars[0]?.start !== bars[0]?.start) this.selected = null;
    this.data = { bars, colours: [IDLE, ...colours.values()].filter((colour) => bars.some((bar) => bar.values.has(colour.name))), metric, period };
    this.draw();
  }

  width() { return Math.max(280, this.root.clientWidth); }

  write(value) { return this.data.metric === "cost" ? usd(value) : count(value); }

  label(bar) {
    const { starts, until } = this.data.period;
    const next = starts[starts.indexOf(bar.start) + 1] ?? until;
    return next - bar.start >= 86400 ? dayOf(bar.start) : `${starts.length * (next - bar.start) > 86400 ? dayTime(bar.start) : time(bar.start)}–${time(next)}`;
  }

  draw() {
    const { bars, metric } = this.data;
    this.drawn = this.width();
    const open = this.root.querySelector("details")?.open ?? false;
    const focused = this.root.contains(document.activeElement) && document.activeElement.tagName === "svg";
    this.readout = h("div", { class: "legend" });
    const svg = this.picture();
    const details = h("details", { open }, h("summary", { class: "small" }, "Show as a table"), h("div", { class: "scroll" }, this.asTable()));
    this.root.replaceChildren(h("figure", {}, svg, this.readout), details);
    if (focused) svg.focus({ preventScroll: true });
    this.read(this.selected);
    svg.setAttribute("aria-label", `${metric === "cost" ? "Cost" : "Requests"} over time, ${bars.length} bars stacked by backend. Use the arrow keys to read them.`);
  }

  picture() {
    const { bars, colours, metric } = this.data;
    const inner = { width: this.drawn - LEFT - RIGHT, height: HEIGHT - TOP - BOTTOM };
    const totals = bars.map((bar) => [...bar.values.values()].reduce((a, b) => a + b, 0));
    const { top, ticks } = scale(Math.max(...totals, ...(metric === "cost" ? bars.map((bar) => bar.line) : [0])));
    const x = (index) => LEFT + (index * inner.width) / bars.length;
    const y = (value) => TOP + inner.height * (1 - value / top);
    const wide = inner.width / bars.length;
    const gap = Math.min(6, wide * 0.22);
    const grid = ticks.map((tick) => [
      s("line", { class: "grid", x1: LEFT, x2: this.drawn - RIGHT, y1: y(tick), y2: y(tick) }),
      s("text", { class: "tick", x: LEFT - 8, y: y(tick) + 4, "text-anchor": "end" }, this.write(tick)),
    ]);
    const columns = bars.map((bar, index) => {
      let base = 0;
      const parts = colours.map((colour) => {
        const value = bar.values.get(colour.name) ?? 0;
        const box = s("rect", { class: colour.tone, x: x(index) + gap / 2, width: Math.max(1, wide - gap), y: y(base + value), height: Math.max(0, y(base) - y(base + value)) });
        base += value;
        return value > 0 ? box : null;
      });
      return s("g", { class: "column", "data-index": index }, parts);
    });
    const line = metric === "cost" && bars.some((bar) => bar.line > 0)
      ? s("path", { class: "counterfactual", d: bars.map((bar, index) => (bar.line ? `${bars[index - 1]?.line ? "L" : "M"}${x(index)} ${y(bar.line)}H${x(index + 1)}` : "")).join("") })
      : null;
    this.marker = s("rect", { class: "marker", y: TOP, height: inner.height, width: wide, x: LEFT, visibility: "hidden" });
    const svg = s("svg", { class: "bars", width: this.drawn, height: HEIGHT, role: "img", tabindex: "0" }, this.marker, grid, columns, line, this.dates(x, wide));
    const at = (event) => {
      const index = Math.floor((event.clientX - svg.getBoundingClientRect().left - LEFT) / wide);
      this.read(index >= 0 && index < bars.length ? index : null);
    };
    svg.addEventListener("pointermove", at);
    svg.addEventListener("pointerdown", at);
    svg.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") this.read(null); });
    svg.addEventListener("keydown", (event) => this.key(event));
    this.place = (index) => { this.marker.setAttribute("x", x(index)); };
    return svg;
  }

  dates(x, wide) {
    const { bars, period } = this.data;
    const step = (period.until - period.since) / bars.length;
    const days = step * bars.length > 90000;
    const every = Math.max(1, Math.ceil(64 / wide));
    let last = -Infinity;
    return bars.flatMap((bar, index) => {
      // Over days, a label belongs to the first bar of a day; else to every so many bars.
      const wanted = days ? (index === 0 ? new Date(bar.start * 1000).getHours() < 12 : dayOf(bar.start) !== dayOf(bars[index - 1].start)) : index % every === 0;
      if (!wanted || x(index) + wide / 2 - last < 56 || x(index) + wide / 2 > this.drawn - 20) return [];
      last = x(index) + wide / 2;
      return [s("text", { class: "tick", x: last, y: HEIGHT - 6, "text-anchor": "middle" }, days ? dayOf(bar.start) : time(bar.start))];
    });
  }

  key(event) {
    const last = this.data.bars.length - 1;
    const to = { ArrowLeft: (this.selected ?? last + 1) - 1, ArrowRight: (this.selected ?? -1) + 1, Home: 0, End: last, Escape: null }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.readout.setAttribute("aria-live", "polite");
    this.read(to === null ? null : Math.max(0, Math.min(last, to)));
  }

  /** Write what one bar (null: all of them) comes to. */
  read(index) {
    const { bars, colours, metric } = this.data;
    this.selected = index;
    const chosen = index === null ? bars : [bars[index]];
    this.marker.setAttribute("visibility", index === null ? "hidden" : "visible");
    if (index !== null) this.place(index);
    const total = (name) => chosen.reduce((sum, bar) => sum + (bar.values.get(name) ?? 0), 0);
    const items = colours.map((colour) => h("li", {}, h("span", { class: `swatch ${colour.tone}` }), colour.name ?? "no answer", colour.sandbox ? " (sandbox) " : " ", h("b", {}, this.write(total(colour.name)))));
    if (metric === "cost") items.push(h("li", {}, h("span", { class: "swatch dashed" }), "all hosted ", h("b", {}, usd(chosen.reduce((sum, bar) => sum + bar.line, 0)))));
    const unbooked = chosen.reduce((sum, bar) => sum + bar.unbooked, 0);
    const note = metric === "cost" && unbooked ? h("li", { class: "muted" }, `${count(unbooked)} local requests not booked yet (their minutes are still open)`) : null;
    this.readout.replaceChildren(h("span", { class: "muted" }, index === null ? "Altogether" : this.label(bars[index])), h("ul", {}, items, note));
  }

  asTable() {
    const { bars, colours, metric } = this.data;
    const columns = [{ head: "Time", cell: (bar) => this.label(bar) }];
    for (const colour of colours) columns.push({ head: colour.name ?? "no answer", number: true, cell: (bar) => (metric === "cost" ? money(bar.values.get(colour.name) ?? 0) : count(bar.values.get(colour.name) ?? 0)) });
    if (metric === "cost") columns.push({ head: "all hosted", number: true, cell: (bar) => usd(bar.line) ?? unknown() });
    return table("The bars as numbers", columns, bars.filter((bar) => bar.requests || bar.values.size).reverse(), { class: "plain" });
  }
}
