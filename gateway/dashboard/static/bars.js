// Bars over time, stacked, with a line to compare them with and the period before faintly behind. Pointer, touch and arrow keys read one bar; opening it leads on.

import { moments, scale, written } from "./axes.js";
import { h, s, table } from "./dom.js";
import { dayTime, dayYearOf, time } from "./format.js";

const HEIGHT = 248, TOP = 14, BOTTOM = 26, RIGHT = 8;

/** Label of a bar: the time it covers. */
export function label(period, index) {
  const start = period.starts[index], end = start + period.step;
  if (period.step >= 604800) return `${dayYearOf(start)} – ${dayYearOf(end - 1)}`;
  if (period.step >= 86400) return dayYearOf(start);
  return `${period.until - period.since > 86400 ? dayTime(start) : time(start)}–${time(end)}`;
}

/**
 * `show({period, parts: [{name, label, tone, values, note}], line, ghost: {label, values}, marks: [{time, text}], write, title, stacked})`: values are numbers or null (unknown),
 * one for each bar; `open(index, name)` is called when someone opens a bar, `name` null for the whole of it.
 */
export class Bars {
  constructor(root, open = null) {
    this.root = root;
    this.open = open;
    this.selected = null;
    new ResizeObserver(() => { if (this.data && Math.abs(this.width() - this.drawn) > 1) this.draw(); }).observe(root);
  }

  show(data) {
    if (this.data && (this.data.period.starts[0] !== data.period.starts[0] || this.data.period.step !== data.period.step)) this.selected = null;
    this.data = { ...data, totals: data.period.starts.map((_, index) => addUp(data.parts.map((part) => part.values[index]))) };
    this.draw();
  }

  width() { return Math.max(260, this.root.clientWidth); }

  draw() {
    this.drawn = this.width();
    const open = this.root.querySelector("details")?.open ?? false;
    const focused = this.root.contains(document.activeElement) && document.activeElement.tagName === "svg";
    this.readout = h("div", { class: "legend" });
    const svg = this.picture();
    const details = h("details", { open }, h("summary", { class: "small" }, "Show as a table"), h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${this.data.title}, as a table` }, this.asTable()));
    this.root.replaceChildren(h("figure", {}, svg, this.readout), details);
    this.svg = svg;
    if (focused) svg.focus({ preventScroll: true });
    this.read(this.selected);
  }

  picture() {
    const { period, parts, line, ghost, totals, write } = this.data;
    const all = [...totals, ...(line?.values ?? []), ...(ghost?.values ?? [])].filter((value) => value !== null);
    // Negative bars (savings that were none) hang below the zero line.
    const { bottom, top, ticks } = scale(Math.max(0, ...all), Math.min(0, ...all));
    const names = written(ticks, write);
    const left = Math.max(40, 14 + 7.2 * Math.max(...names.map((name) => name.length)));
    const inner = { width: this.drawn - left - RIGHT, height: HEIGHT - TOP - BOTTOM };
    const wide = inner.width / period.starts.length;
    const x = (index) => left + index * wide;
    const y = (value) => TOP + inner.height * (1 - (value - bottom) / (top - bottom));
    const gap = Math.min(6, wide * 0.22);
    const grid = ticks.map((tick, index) => [
      s("line", { class: tick === 0 ? "grid zero" : "grid", x1: left, x2: this.drawn - RIGHT, y1: y(tick), y2: y(tick) }),
      s("text", { class: "tick", x: left - 8, y: y(tick) + 4, "text-anchor": "end" }, names[index]),
    ]);
    const behind = ghost ? ghost.values.map((value, index) => (value ? s("rect", { class: "ghost", x: x(index), width: Math.max(1, wide), ...box(y, value, 0) }) : null)) : [];
    const columns = period.starts.map((_, index) => {
      let base = 0;
      const stack = parts.map((part) => {
        const value = part.values[index] ?? 0;
        if (!value) return null;
        const rect = s("rect", { class: part.tone, "data-name": part.name ?? "", x: x(index) + gap / 2, width: Math.max(1, wide - gap), ...box(y, base + value, base) });
        base += value;
        return rect;
      });
      return s("g", { class: "column", "data-index": index }, stack);
    });
    this.marker = s("rect", { class: "marker", y: TOP, height: inner.height, width: wide, x: left, visibility: "hidden" });
    const svg = s("svg", { class: "bars", width: this.drawn, height: HEIGHT, role: "slider", tabindex: "0", "aria-label": this.name(), "aria-valuemin": 0, "aria-valuemax": period.starts.length, "aria-valuenow": 0 },
      behind, this.marker, grid, columns, line ? s("path", { class: "counterfactual", d: steps(line.values, x, y) }) : null, this.dates(left, inner.width), this.flags(left, inner));
    this.listen(svg, left, wide);
    this.place = (index) => this.marker.setAttribute("x", x(index));
    return svg;
  }

  name() {
    const { title, period, parts } = this.data;
    const split = parts.length > 1 ? `, ${parts.length} parts each` : "";
    return `${title}: ${period.starts.length} bars over time${split}. Arrow keys read them${this.open ? ", Enter opens the requests of one" : ""}.`;
  }

  listen(svg, left, wide) {
    const count = this.data.period.starts.length;
    const at = (event) => {
      const index = Math.floor((event.clientX - svg.getBoundingClientRect().left - left) / wide);
      return index >= 0 && index < count ? index : null;
    };
    svg.addEventListener("pointermove", (event) => { if (event.pointerType === "mouse") this.read(at(event)); });
    svg.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") this.read(null); });
    // A mouse has read the bar already and opens it; a finger reads it first and opens it by the link that comes.
    svg.addEventListener("click", (event) => {
      const index = at(event);
      if (event.pointerType === "mouse" && index !== null && this.open && this.data.totals[index]) this.open(index, event.target.dataset?.name ? event.target.dataset.name : null);
      else this.read(index);
    });
    svg.addEventListener("keydown", (event) => this.key(event));
  }

  dates(left, width) {
    const { period } = this.data;
    let last = -Infinity;
    return moments(period.since, period.until, width).flatMap(({ time: when, text }) => {
      const x = left + ((when - period.since) / (period.until - period.since)) * width;
      const half = text.length * 3.4;
      if (x - half < Math.max(last, left - 30) || x + half > this.drawn) return [];
      last = x + half + 12;
      return [s("line", { class: "notch", x1: x, x2: x, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM + 4 }), s("text", { class: "tick", x, y: HEIGHT - 6, "text-anchor": "middle" }, text)];
    });
  }

  flags(left, inner) {
    const { period, marks = [] } = this.data;
    return marks.filter(({ time: when }) => when >= period.since && when < period.until).map(({ time: when, text, tone }) => {
      const x = left + ((when - period.since) / (period.until - period.since)) * inner.width;
      return s("g", { class: `flag ${tone ?? ""}` }, s("title", {}, text), s("line", { x1: x, x2: x, y1: TOP, y2: TOP + inner.height }), s("path", { d: `M${x} ${TOP - 8}l5 5-5 5-5-5z` }));
    });
  }

  key(event) {
    const last = this.data.period.starts.length - 1;
    const to = { ArrowLeft: (this.selected ?? last + 1) - 1, ArrowRight: (this.selected ?? -1) + 1, Home: 0, End: last, Escape: null }[event.key];
    if (event.key === "Enter" && this.selected !== null && this.open) return this.open(this.selected, null);
    if (to === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    this.read(to === null ? null : Math.max(0, Math.min(last, to)));
  }

  /** Write what one bar (null: all of them) comes to. */
  read(index) {
    const { period, parts, line, ghost, write, whole = addUp } = this.data;
    this.selected = index;
    this.marker.setAttribute("visibility", index === null ? "hidden" : "visible");
    if (index !== null) this.place(index);
    const value = (series) => (index === null ? series.whole !== undefined ? series.whole : whole(series.values) : series.values[index]);
    const words = (series) => { const found = value(series); return found === null ? series.unknown ?? "unknown" : write(found); };
    const heading = index === null ? "Altogether" : label(period, index);
    const items = parts.map((part) => h("li", {}, h("span", { class: `swatch ${part.tone}` }), part.label ?? part.name, " ", h("b", {}, words(part))));
    if (line) items.push(h("li", {}, h("span", { class: "swatch dashed" }), `${line.label} `, h("b", {}, words(line))));
    if (ghost) items.push(h("li", {}, h("span", { class: "swatch ghosted" }), `${ghost.label} `, h("b", {}, words(ghost))));
    const link = index !== null && this.open && this.data.totals[index] ? h("li", {}, h("button", { type: "button", class: "link", onclick: () => this.open(index, null) }, "Open these requests")) : null;
    this.readout.replaceChildren(h("span", { class: "muted when" }, heading), h("ul", {}, items, link));
    this.svg?.setAttribute("aria-valuenow", index === null ? 0 : index + 1);
    this.svg?.setAttribute("aria-valuetext", `${heading}: ${[...parts, line, ghost].filter(Boolean).map((series) => `${series.label ?? series.name} ${words(series)}`).join(", ")}`);
  }

  asTable() {
    const { period, parts, line, ghost, totals, write, title } = this.data;
    const cell = (series) => ({ head: series.label ?? series.name, number: true, cell: (index) => (series.values[index] === null ? "unknown" : write(series.values[index] ?? 0)) });
    const columns = [{ head: "Time", cell: (index) => label(period, index) }, ...parts.map(cell)];
    if (line) columns.push(cell(line));
    if (ghost) columns.push(cell(ghost));
    const rows = period.starts.map((_, index) => index).filter((index) => totals[index] || line?.values[index] || ghost?.values[index]);
    return table(`${title} as numbers`, columns, rows.reverse(), { class: "plain" });
  }
}

/** A sum that is unknown where nothing of it is known. */
export const addUp = (values) => values.reduce((sum, value) => (value === null || value === undefined ? sum : (sum ?? 0) + value), null);

const box = (y, to, from) => ({ y: Math.min(y(to), y(from)), height: Math.max(0.75, Math.abs(y(from) - y(to))) });

/** A stepped line with gaps where nothing is known. */
const steps = (values, x, y) => values.map((value, index) => (value ? `${values[index - 1] ? "L" : "M"}${x(index)} ${y(value)}H${x(index + 1)}` : "")).join("");
