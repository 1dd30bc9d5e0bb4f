// Small helpers to build the page without a framework.

const SVG = "http://www.w3.org/2000/svg";
// At once: more would cover what they are about.
const TOASTS = 2;
const FOCUSABLE = "a[href], button, input, textarea, select, [tabindex]";

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

/**
 * Replaces the children of the element with this id. Who was in there with the keyboard stays: on the same control if
 * it is there again, else on the heading of what is there now.
 */
export function show(id, ...children) {
  const element = document.getElementById(id);
  const focused = element.contains(document.activeElement) && element !== document.activeElement ? document.activeElement : null;
  const name = focused && nameOf(focused, element);
  element.replaceChildren(...children.flat().filter(Boolean));
  if (focused) {
    const same = [...element.querySelectorAll(FOCUSABLE)].find((one) => nameOf(one, element) === name);
    if (same) same.focus({ preventScroll: true });
    else focusOn(element);
  }
  return element;
}

/** Puts the focus on the heading of a part of the page, where a reader goes on. */
export function focusOn(element) {
  const target = element.querySelector("h1, h2, h3") ?? element;
  if (!target.hasAttribute("tabindex")) target.setAttribute("tabindex", "-1");
  target.focus();
}

/** By what a control is known again in what replaces it: what it is, and of which product or post. */
function nameOf(control, root) {
  const within = [];
  for (let one = control; one && one !== root; one = one.parentElement) {
    within.push(one.dataset?.product ?? one.dataset?.post ?? "");
  }
  const own = control.id || control.getAttribute("href") || control.getAttribute("aria-label") || control.textContent;
  return JSON.stringify([control.tagName, own, within.filter(Boolean)]);
}

/** Says something to everybody, also to those who listen instead of looking. */
export function toast(text, tone = "info") {
  const box = document.getElementById("toasts");
  const message = h("p", { class: `toast ${tone}` }, text);
  box.append(message);
  while (box.children.length > TOASTS) box.firstElementChild.remove();
  setTimeout(() => message.remove(), 6000);
}
