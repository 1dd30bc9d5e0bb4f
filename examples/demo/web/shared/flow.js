// The side panel: the session at a glance, buttons that make things happen, and the sequence diagram.

import { api, now, onRequest, Problem } from "./api.js";
import { h, toast } from "./dom.js";
import { ahead, tell } from "./story.js";

const loaded = performance.timeOrigin;
const SHOWN = 40;
const KEPT = 200;
const LANES = ["Browser", "Gateway", "App", "Provider"];

const requests = [];
const exchanges = new Map();
let options;
let user = null;
let lastSub = null;
let session = null;
let source = null;
let scheduled = false;
const drawn = new Map();
const parts = {};

/** Builds the panel into `<aside id="flow">`. `poke` sends one ordinary request of the app that needs a session. */
export function startFlow({ appName, isPublic, poke }) {
  options = { appName, isPublic, poke };
  build(document.getElementById("flow"));
  onRequest((request) => {
    if (!requests.includes(request)) requests.push(request);
    if (requests.length > KEPT) requests.shift();
    redraw();
  });
  // A browser opens six connections to a host: pages that nobody looks at must not hold one each.
  document.addEventListener("visibilitychange", () => (document.hidden ? disconnect() : connect()));
  connect();
  setInterval(tick, 250);
  setInterval(() => parts.pulse.checked && user && options.poke(), 5000);
}

/** Tells the panel who is signed in, if anybody. */
export function setUser(someone) {
  user = someone;
  lastSub = user?.sub ?? lastSub;
  redraw();
  askForSession();
}

function build(panel) {
  const button = (id, label, title, path) =>
    h("button", { id, type: "button", class: "action", title, onclick: () => act(path) }, label);
  parts.expire = button("flow-expire", "Expire my session", "The provider revokes the refresh token, as an administrator would", "/demo/expire");
  parts.stealRefresh = button("flow-steal-refresh", "Steal the refresh token", "Uses it with a junk JWT", "/demo/steal-refresh-token");
  parts.stealJwt = button("flow-steal-jwt", "Steal the JWT", "Uses it without a refresh token", "/demo/steal-jwt");
  parts.poke = h("button", { id: "flow-poke", type: "button", class: "action", onclick: () => options.poke() }, "Send a request");
  parts.pulse = h("input", { type: "checkbox", id: "flow-pulse" });
  parts.state = h("p", { class: "session-state" });
  parts.tokens = h("p", { class: "session-tokens" });
  parts.fill = h("div", { class: "life-fill" });
  parts.mark = h("div", { class: "life-mark", title: "From here on, a request refreshes the JWT" });
  parts.life = h("div", { class: "life", role: "img" }, parts.fill, parts.mark);
  parts.live = h("p", { class: "visually-hidden", role: "status" });
  parts.steps = h("ol", { class: "steps", id: "flow-steps", tabindex: "0", "aria-label": "What happened, newest first" });
  const toggle = h("button", { type: "button", class: "flow-toggle", "aria-expanded": "true", "aria-controls": "flow-body" }, "Hide");
  toggle.addEventListener("click", () => {
    const open = document.body.classList.toggle("flow-closed") === false;
    toggle.textContent = open ? "Hide" : "Under the hood";
    toggle.setAttribute("aria-expanded", String(open));
  });
  panel.append(
    h("header", { class: "flow-head" }, h("div", {}, h("h2", {}, "Under the hood"), h("p", {}, "What Portcullis just did, live")), toggle),
    h("div", { id: "flow-body" },
      h("section", { class: "session", "aria-label": "Session" }, parts.state, parts.life, parts.tokens),
      h("div", { class: "actions" },
        h("div", { class: "action-row" }, parts.poke, h("label", { class: "pulse", for: "flow-pulse" }, parts.pulse, " every 5 s"), parts.expire),
        h("div", { class: "action-row" }, h("span", { class: "action-label" }, "Attack:"), parts.stealRefresh, parts.stealJwt)),
      h("div", { class: "lanes", "aria-hidden": "true" }, LANES.map((lane, index) =>
        h("span", { class: `lane lane-${index}` }, lane === "App" ? options.appName : lane))),
      parts.live,
      parts.steps));
  tick();
}

async function act(path) {
  try {
    await post(path, { sub: lastSub });
  } catch (problem) {
    toast(problem.message, "bad");
  }
}

/** The panel's own requests are no part of the picture. */
async function post(path, body) {
  const response = await fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  if (!response.ok) throw new Problem(response.status, await response.json().catch(() => ({})));
}

function connect() {
  if (source) return;
  const last = Math.max(0, ...exchanges.keys());
  source = new EventSource(`/demo/events?since=0&after=${last}`);
  source.addEventListener("message", (event) => {
    const exchange = JSON.parse(event.data);
    exchanges.set(exchange.id, exchange);
    if (exchanges.size > KEPT) exchanges.delete(exchanges.keys().next().value);
    if (exchange.kind !== "app") askForSession();
    redraw();
  });
}

function disconnect() {
  source?.close();
  source = null;
}

async function askForSession() {
  if (!lastSub) return tick();
  const response = await fetch(`/demo/session?sub=${encodeURIComponent(lastSub)}`).catch(() => null);
  if (response?.ok) session = (await response.json()).session;
  tick();
}

/** The session's line and bar. */
function tick() {
  const left = session ? session.expires_at - now() / 1000 : 0;
  const alive = Boolean(session) && left > 0;
  parts.expire.disabled = !user || !session || session.revoked;
  parts.stealRefresh.disabled = !lastSub || !session;
  parts.stealJwt.disabled = !lastSub || !session;
  parts.poke.disabled = !user;
  parts.life.classList.toggle("idle", !session);
  if (!session) {
    parts.state.textContent = "No session. Sign in, and watch.";
    parts.tokens.textContent = "The browser holds no cookies of ours.";
    parts.life.setAttribute("aria-label", "no JWT");
    return;
  }
  const seconds = Math.max(0, Math.ceil(left));
  const due = ahead(session.lifetime);
  parts.state.replaceChildren(
    h("strong", {}, user ? user.name || user.preferred_username || "Signed in" : "Signed out"),
    h("span", { class: "countdown" }, alive ? `JWT expires in ${seconds} s` : "JWT expired"));
  parts.tokens.textContent = `${session.jwt} · ${session.refresh_token}${session.revoked ? " (revoked at the provider)" : ""}`;
  parts.fill.style.inlineSize = `${Math.max(0, Math.min(100, (left / session.lifetime) * 100))}%`;
  parts.fill.classList.toggle("due", left <= due);
  parts.mark.style.insetInlineStart = `${(due / session.lifetime) * 100}%`;
  parts.life.setAttribute("aria-label", `The JWT expires in ${seconds} of ${session.lifetime} seconds`);
}

function redraw() {
  if (scheduled) return;
  scheduled = true;
  setTimeout(() => {
    scheduled = false;
    draw();
  }, 40);
}

function draw() {
  const steps = tell({ requests, exchanges: [...exchanges.values()], isPublic: options.isPublic, sub: lastSub, since: loaded }).slice(0, SHOWN);
  const keep = new Set(steps.map((step) => step.key));
  for (const [key, { element }] of drawn) {
    if (!keep.has(key)) {
      element.remove();
      drawn.delete(key);
    }
  }
  const elements = steps.map((step) => {
    const signature = JSON.stringify(step);
    const known = drawn.get(step.key);
    if (known?.signature === signature) return known.element;
    const element = stepElement(step, !known);
    known?.element.replaceWith(element);
    drawn.set(step.key, { signature, element });
    return element;
  });
  elements.forEach((element, index) => {
    if (parts.steps.children[index] !== element) parts.steps.insertBefore(element, parts.steps.children[index] ?? null);
  });
  const latest = steps[0];
  if (latest) {
    const text = `${latest.title}${latest.badge ? `: ${latest.badge}` : ""}`;
    if (parts.live.textContent !== text) parts.live.textContent = text;
  }
}

function stepElement(step, fresh) {
  const time = new Date(step.started).toLocaleTimeString([], { hour12: false });
  const lane = (index) => (index === 2 ? options.appName : step.lanes?.[index] ?? LANES[index]);
  return h("li", { class: `step ${step.tone} ${fresh ? "fresh" : ""}`, "data-key": step.key },
    h("header", { class: "step-head" }, h("h3", {}, step.title),
      step.badge && h("span", { class: "badge" }, step.badge), h("time", {}, time)),
    step.arrows.length > 0 && h("ol", { class: "arrows" }, step.arrows.map((arrow) => arrowElement(arrow, lane))),
    step.caption && h("p", { class: "caption" }, step.caption));
}

function arrowElement(arrow, lane) {
  if (arrow.note) return h("li", { class: "self" }, h("span", { class: "visually-hidden" }, "Gateway: "), arrow.note);
  const { from, to, label, detail, status, ms, reply, alarm } = arrow;
  const tone = status === undefined ? "" : status < 300 || status === 101 ? "ok" : status === 404 ? "neutral" : "bad";
  return h("li", { class: `arrow from-${from} to-${to} ${reply ? "reply" : ""} ${alarm ? "alarm" : ""}` },
    h("div", { class: "arrow-text" },
      h("span", { class: "visually-hidden" }, `${lane(from)} to ${lane(to)}: `),
      label && h("span", { class: "arrow-label" }, label),
      status !== undefined && h("span", { class: `status ${tone}` }, status || "no answer"),
      detail && h("span", { class: "arrow-detail" }, detail),
      ms !== undefined && ms >= 0.05 && h("span", { class: "arrow-time" }, `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`)),
    h("div", { class: "arrow-line", "aria-hidden": "true" }));
}
