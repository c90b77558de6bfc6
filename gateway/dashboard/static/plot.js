// Lines and dots over two axes: the cost of tokens over how busy an engine is, what is left of a budget over time. The numbers are in the table beneath.

import { scale, written } from "./axes.js";
import { h, s } from "./dom.js";

const HEIGHT = 240, TOP = 14, BOTTOM = 26, NAMED = 44, RIGHT = 20;

export class Plot {
  constructor(root) {
    this.root = root;
    new ResizeObserver(() => { if (this.data && Math.abs(this.width() - this.drawn) > 1) this.draw(); }).observe(root);
  }

  /**
   * {title, x: {min, max, marks: [{at, text}], label}, y: {max, write, cap}, lines: [{points: [[x, y]], tone, dashed, area, label}], dots: [{x, y, tone, text}],
   * rules: [{y | x, text, tone}], legend: nodes, table: a table element or null, height}.
   */
  show(data) {
    this.data = data;
    this.draw();
  }

  width() { return Math.max(240, this.root.clientWidth); }

  draw() {
    this.drawn = this.width();
    const { title, legend, table } = this.data;
    const open = this.root.querySelector("details")?.open ?? false;
    const details = table ? h("details", { open }, h("summary", { class: "small" }, "Show as a table"), h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${title}, as a table` }, table)) : null;
    this.root.replaceChildren(h("figure", {}, this.picture(), legend?.length ? h("div", { class: "legend" }, h("ul", {}, legend.map((item) => h("li", {}, item)))) : null), ...(details ? [details] : []));
  }

  picture() {
    const { title, x, y, lines = [], dots = [], rules = [], height = HEIGHT } = this.data;
    const values = [...lines.flatMap((line) => line.points.map((point) => point[1])), ...dots.map((dot) => dot.y), ...rules.map((rule) => rule.y ?? 0), y.max ?? 0];
    const { top, ticks } = scale(Math.min(y.cap ?? Infinity, Math.max(...values)));
    const names = written(ticks, y.write);
    const left = Math.max(40, 14 + 7.2 * Math.max(...names.map((name) => name.length)));
    const inner = { width: this.drawn - left - RIGHT, height: height - TOP - (x.label ? NAMED : BOTTOM) };
    const at = (value) => left + ((value - x.min) / (x.max - x.min)) * inner.width;
    const up = (value) => TOP + inner.height * (1 - Math.min(value, top) / top);
    const grid = ticks.map((tick, index) => [
      s("line", { class: tick === 0 ? "grid zero" : "grid", x1: left, x2: left + inner.width, y1: up(tick), y2: up(tick) }),
      s("text", { class: "tick", x: left - 8, y: up(tick) + 4, "text-anchor": "end" }, names[index]),
    ]);
    let last = -Infinity;
    const marks = x.marks.flatMap(({ at: where, text }) => {
      const place = at(where), half = text.length * 3.4;
      if (place - half < last || place + half > this.drawn + 2) return [];
      last = place + half + 10;
      return [s("line", { class: "notch", x1: place, x2: place, y1: TOP + inner.height, y2: TOP + inner.height + 4 }), s("text", { class: "tick", x: place, y: TOP + inner.height + 18, "text-anchor": "middle" }, text)];
    });
    const path = (points) => points.map(([px, py], index) => `${index ? "L" : "M"}${at(px).toFixed(1)} ${up(py).toFixed(1)}`).join("");
    const drawn = lines.filter((line) => line.points.length).map((line) => [
      line.area ? s("path", { class: `area ${line.tone}`, d: `${path(line.points)}L${at(line.points.at(-1)[0])} ${up(0)}L${at(line.points[0][0])} ${up(0)}Z` }) : null,
      s("path", { class: `curve ${line.tone}${line.dashed ? " dashed" : ""}`, d: path(line.points) }),
    ]);
    const ruled = rules.map((rule) => (rule.y === undefined
      ? [s("line", { class: `rule ${rule.tone ?? ""}`, x1: at(rule.x), x2: at(rule.x), y1: TOP, y2: TOP + inner.height }), s("text", { class: "tick strong", x: at(rule.x) + (rule.x > (x.min + x.max) / 2 ? -6 : 6), y: TOP + 10, "text-anchor": rule.x > (x.min + x.max) / 2 ? "end" : "start" }, rule.text)]
      : [s("line", { class: `rule ${rule.tone ?? ""}`, x1: left, x2: left + inner.width, y1: up(rule.y), y2: up(rule.y) }), s("text", { class: "tick strong", x: left + inner.width, y: up(rule.y) - 6, "text-anchor": "end" }, rule.text)]));
    const points = dots.map((dot) => s("circle", { class: `point ${dot.tone}`, cx: at(dot.x), cy: up(dot.y), r: 3.5 }, s("title", {}, dot.text)));
    const axis = x.label ? s("text", { class: "tick", x: left + inner.width / 2, y: height - 4, "text-anchor": "middle" }, x.label) : null;
    return s("svg", { class: "plot", width: this.drawn, height, role: "img", "aria-label": title }, grid, marks, axis, drawn, points, ruled);
  }
}
