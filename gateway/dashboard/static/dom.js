// Building the page out of elements. Text is always text: nothing here, or anywhere, writes HTML.

const SVG = "http://www.w3.org/2000/svg";

function build(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.setAttribute("class", value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** An HTML element: h("p", {class: "x", onclick: f}, "text", child). */
export const h = (tag, attributes, ...children) => build(document.createElement(tag), attributes, children);

/** An SVG element. */
export const s = (tag, attributes, ...children) => build(document.createElementNS(SVG, tag), attributes, children);

export const byId = (id) => document.getElementById(id);

/** Replace what is inside an element; what was focused (by its `data-focus`) is focused again, and open details stay open. */
export function fill(element, ...children) {
  const next = build(document.createElement(element.tagName), {}, children);
  const open = [...element.querySelectorAll("details")].map((details) => details.open);
  const focused = element.contains(document.activeElement) ? document.activeElement.dataset.focus : undefined;
  next.querySelectorAll("details").forEach((details, index) => { details.open = open[index] ?? details.open; });
  element.replaceChildren(...next.childNodes);
  if (focused !== undefined) element.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

/** A table: columns are [{head, cell(row), number}], the first cell of a row is its heading. Cells know their column's name for narrow screens. */
export function table(caption, columns, rows, attributes = {}, heads = columns.map((column) => column.head)) {
  const head = columns.map((column, index) => h("th", { scope: "col", class: column.number ? "number" : null, "aria-sort": column.sorted }, heads[index]));
  const body = rows.map((row) => h("tr", {}, columns.map((column, index) =>
    h(index === 0 ? "th" : "td", { scope: index === 0 ? "row" : null, class: column.number ? "number" : null, "data-label": column.head }, column.cell(row)))));
  return h("table", attributes, h("caption", { class: "visually-hidden" }, caption), h("thead", {}, h("tr", {}, head)), h("tbody", {}, body));
}

/** A table whose headings sort it. `order` is {column, down}, kept by the caller; columns that can be sorted by have `value(row)`. */
export function sortable(caption, columns, rows, order, redraw, attributes = {}) {
  const chosen = columns[order.column];
  const known = (value) => value !== null && value !== undefined;
  const compared = (a, b) => {
    const [one, other] = [chosen.value(a), chosen.value(b)];
    if (!known(one) || !known(other)) return known(one) - known(other) === 0 ? 0 : known(one) ? -1 : 1; // what is unknown stays last
    const difference = typeof one === "string" ? one.localeCompare(other) : one - other;
    return order.down ? -difference : difference;
  };
  const marked = columns.map((column, index) => ({ ...column, sorted: column.value && index === order.column ? (order.down ? "descending" : "ascending") : null }));
  const heads = columns.map((column, index) => (column.value
    ? h("button", { type: "button", class: "sort", "data-focus": `sort-${index}`, onclick: () => { order.down = index === order.column ? !order.down : Boolean(column.number); order.column = index; redraw(); } },
      h("span", { "aria-hidden": "true", class: "arrow" }, index === order.column ? (order.down ? "↓" : "↑") : ""), column.head)
    : column.head));
  return table(caption, marked, [...rows].sort(compared), attributes, heads);
}

export const chip = (text, kind = "", title = null) => h("span", { class: `chip ${kind}`.trim(), title }, text);

/** Buttons of which one is pressed: what a chart shows. Options are [[value, text]]. */
export const segmented = (name, label, options, chosen, choose) => h("div", { class: "segmented", role: "group", "aria-label": label },
  options.map(([value, text]) => h("button", { type: "button", "data-focus": `${name}-${value}`, "aria-pressed": String(value === chosen), onclick: () => choose(value) }, text)));

/** What stands where there is nothing to show, and why. */
export const nothing = (title, ...why) => h("div", { class: "nothing" }, h("p", {}, h("b", {}, title)), why.length ? h("p", { class: "muted" }, why) : null);

/** Widths are set through the object model: the content security policy forbids style attributes. */
export function sized(element, share) {
  element.style.width = `${Math.max(0, Math.min(1, share || 0)) * 100}%`;
  return element;
}

export const share = (part, kind = "") => h("div", { class: `share ${kind}`.trim(), "aria-hidden": "true" }, sized(h("span", {}), part));
