// Elements from text only: what a model or a caller named is never read as HTML.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

export function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

// columns: [title, cell of a row, "number" | "wide" | undefined]
export function table(caption, columns, rows, empty) {
  if (rows.length === 0) return el("p", { class: "hint" }, empty);
  const kind = (column) => ({ class: column[2] ?? null });
  return el("table", {},
    el("caption", {}, el("span", {}, caption)),
    el("thead", {}, el("tr", {}, ...columns.map((c) => el("th", { scope: "col", ...kind(c) }, c[0])))),
    el("tbody", {}, ...rows.map((row) =>
      el("tr", {}, ...columns.map((c) => el("td", kind(c), c[1](row)))))));
}

// A table that changes by itself must not take the focus from a button in it.
export function put(target, ...children) {
  const held = document.activeElement;
  const mark = target.contains(held) ? held.dataset.mark : undefined;
  target.replaceChildren(...children);
  if (mark !== undefined) target.querySelector(`[data-mark="${CSS.escape(mark)}"]`)?.focus();
}
