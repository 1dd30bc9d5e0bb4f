// Small helpers to build the page without a framework.

const SVG = "http://www.w3.org/2000/svg";

/** An element: h("p", { class: "note", onclick }, "text", child). A false child is left out. */
export function h(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** The same for SVG. */
export function svg(tag, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== false && child !== null && child !== undefined));
  return element;
}

/** Replaces the children of the element with this id. */
export function show(id, ...children) {
  const element = document.getElementById(id);
  element.replaceChildren(...children.flat().filter(Boolean));
  return element;
}

/** Says something to everybody, also to those who listen instead of looking. */
export function toast(text, tone = "info") {
  const box = document.getElementById("toasts");
  const message = h("p", { class: `toast ${tone}` }, text);
  box.append(message);
  setTimeout(() => message.remove(), 6000);
}
