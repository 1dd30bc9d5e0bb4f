// Draws the steps of the sequence diagram.

import { h } from "./dom.js";
import { statusTone } from "./words.js";

export const clock = (time) => new Date(time).toLocaleTimeString([], { hour12: false });

/** A step. `lanes`: the names of the four. */
export function stepElement(step, lanes, fresh) {
  const lane = (index) => step.lanes?.[index] ?? lanes[index];
  return h("li", { class: `step ${step.attack ? "attack" : ""} ${step.tone} ${fresh ? "fresh" : ""}`, "data-key": step.key },
    h("header", { class: "step-head" }, h("h3", {}, step.title),
      step.badge && h("span", { class: "badge" }, step.badge),
      step.replica && h("span", { class: "replica", title: "The gateway that the balancer chose for this request" }, `Gateway ${step.replica}`), h("time", {}, clock(step.started))),
    step.arrows.length > 0 && h("ol", { class: "arrows" }, step.arrows.map((arrow) => arrowElement(arrow, lane))),
    step.caption && h("p", { class: "caption" }, step.caption));
}

function arrowElement(arrow, lane) {
  if (arrow.note) return h("li", { class: "self" }, h("span", { class: "visually-hidden" }, "Gateway: "), arrow.note);
  const { from, to, label, detail, status, ms, reply, alarm } = arrow;
  const tone = arrow.status_tone ?? (status === undefined ? "" : statusTone(status));
  return h("li", { class: `arrow from-${from} to-${to} ${reply ? "reply" : ""} ${alarm ? "alarm" : ""}` },
    h("div", { class: "arrow-text" },
      h("span", { class: "visually-hidden" }, `${lane(from)} to ${lane(to)}: `),
      label && h("span", { class: "arrow-label" }, label),
      status !== undefined && h("span", { class: `status ${tone}` }, status || "no answer"),
      detail && h("span", { class: "arrow-detail" }, detail),
      ms !== undefined && ms >= 0.05 && h("span", { class: "arrow-time" }, `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`)),
    h("div", { class: "arrow-line", "aria-hidden": "true" }));
}
