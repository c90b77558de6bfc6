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

/** Replace what is inside an element, unless the same is there already: a refresh must not take away focus or an open table. */
export function fill(element, ...children) {
  const next = build(document.createElement(element.tagName), {}, children);
  const open = [...element.querySelectorAll("details")].map((details) => details.open);
  const focused = element.contains(document.activeElement) ? document.activeElement.dataset.focus : undefined;
  next.querySelectorAll("details").forEach((details, index) => { details.open = open[index] ?? details.open; });
  element.replaceChildren(...next.childNodes);
  if (focused !== undefined) element.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

/** A table: columns are [{head, cell(row), number}], the first cell of a row is its heading. Cells know their column's name for narrow screens. */
export function table(caption, columns, rows, attributes = {}) {
  const head = columns.map((column) => h("th", { scope: "col", class: column.number ? "number" : null }, column.head));
  const body = rows.map((row) => h("tr", {}, columns.map((column, index) =>
    h(index === 0 ? "th" : "td", { scope: index === 0 ? "row" : null, class: column.number ? "number" : null, "data-label": column.head }, column.cell(row)))));
  return h("table", attributes, h("caption", { class: "visually-hidden" }, caption), h("thead", {}, h("tr", {}, head)), h("tbody", {}, body));
}

export const chip = (text, kind = "", title = null) => h("span", { class: `chip ${kind}`.trim(), title }, text);
