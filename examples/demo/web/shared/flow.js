// The side panel: the session at a glance, buttons that make things happen, and the sequence diagram.

import { api, now, onRequest, Problem } from "./api.js";
import { clock, stepElement } from "./diagram.js";
import { h, toast } from "./dom.js";
import { tell } from "./story.js";
import { ahead, sessionWords, thiefWords } from "./words.js";

const loaded = performance.timeOrigin;
const SHOWN = 40;
const KEPT = 200;
// Requests at once, for several gateways.
const BURST = 6;
const NARROW = matchMedia("(max-width: 1080px)");

const requests = [];
const exchanges = new Map();
// What other pages of this browser observed of its tokens.
const heard = [];
const pages = new BroadcastChannel("demo-session");
const drawn = new Map();
// Failures that were on the screen.
const seen = new Set();
const parts = {};
let options;
// `undefined` while it is not known.
let user;
// The JWT that this browser holds, or held last.
let jti = null;
let held = false;
// What the demo says of it, and of its gateway: `undefined` until it has, null where the gateway is not the demo's own.
let login = null;
let gateway;
let source = null;
let offline = null;
let asked = 0;
let told = null;
let scheduled = false;
let switching = false;

/**
 * Builds the panel into `<aside id="flow">`. `poke` sends one ordinary request of the app that needs a session,
 * `askWho` asks the gateway who is signed in, `signOut` signs out and says whether that went well. `other`: the app to
 * link to.
 */
export function startFlow(settings) {
  options = settings;
  build(document.getElementById("flow"));
  onRequest((request) => {
    if (!requests.includes(request)) requests.push(request);
    if (requests.length > KEPT) requests.shift();
    redraw();
  });
  pages.addEventListener("message", ({ data }) => {
    if (data.seen) heard.push(data.seen);
    if (heard.length > KEPT) heard.shift();
    if (user !== undefined && data.sub !== (user?.sub ?? null)) options.askWho();
    redraw();
  });
  // A browser opens six connections to a host: pages that nobody looks at must not hold one each.
  document.addEventListener("visibilitychange", () => (document.hidden ? disconnect() : connect()));
  // A page from before, with what was on it then.
  addEventListener("pageshow", (event) => event.persisted && options.askWho());
  connect();
  askForState();
  setInterval(tick, 250);
  setInterval(() => parts.pulse.checked && user && options.poke(), 5000);
}

/** Tells the panel who is signed in: null for nobody, undefined if that could not be found out. */
export function setUser(someone) {
  user = someone;
  draw();
  tick();
}

function build(panel) {
  const button = (id, label, title, path) =>
    h("button", { id, type: "button", class: "action", title, onclick: () => act(path) }, label);
  parts.expire = button("flow-expire", "Expire my session", "The provider revokes the refresh token, as an administrator would", "/demo/expire");
  parts.stealRefresh = button("flow-steal-refresh", "Steal the refresh token",
    "Takes it from the provider's memory, as no script can read the cookie, and uses it with a junk JWT", "/demo/steal-refresh-token");
  parts.stealJwt = button("flow-steal-jwt", "Steal the JWT", "Uses it without a refresh token", "/demo/steal-jwt");
  parts.poke = h("button", { id: "flow-poke", type: "button", class: "action", onclick: () => options.poke() }, "Send a request");
  parts.burst = h("button", { id: "flow-burst", type: "button", class: "action", hidden: true, title: "The balancer chooses a gateway for each of them", onclick: () => burst() }, `Send ${BURST} at once`);
  parts.pulse = h("input", { type: "checkbox", id: "flow-pulse" });
  parts.seal = h("button", { id: "flow-seal", type: "button", class: "switch", role: "switch", "aria-checked": "true", "aria-describedby": "flow-seal-note", title: "Loads the gateway's configuration again, and signs you out first: no session survives that", onclick: switchSeal },
    h("span", { class: "switch-track", "aria-hidden": "true" }), "Sealed cookies");
  parts.sealNote = h("span", { class: "action-label", id: "flow-seal-note" });
  parts.own = h("div", { class: "actions-own" },
    h("div", { class: "action-row" }, h("span", { class: "action-label" }, "Attack:"), parts.stealRefresh, parts.stealJwt),
    h("div", { class: "action-row" }, parts.seal, parts.sealNote));
  parts.connection = h("p", { id: "flow-connection" });
  parts.state = h("p", { class: "session-state" });
  parts.tokens = h("p", { class: "session-tokens" });
  parts.thief = h("p", { class: "session-thief", id: "flow-thief", hidden: true });
  parts.fill = h("div", { class: "life-fill" });
  parts.mark = h("div", { class: "life-mark", title: "From here on, a request refreshes the JWT" });
  parts.life = h("div", { class: "life idle", role: "img" }, parts.fill, parts.mark);
  parts.live = h("p", { class: "visually-hidden", role: "status" });
  parts.status = h("a", { id: "flow-status", target: "_blank", rel: "noopener", hidden: true });
  parts.steps = h("ol", { class: "steps", id: "flow-steps", tabindex: "0", "aria-label": "What happened, newest first" });
  parts.toggleText = h("span", {});
  parts.failures = h("span", { class: "flow-failures", id: "flow-failures", hidden: true });
  parts.toggle = h("button", { type: "button", class: "flow-toggle", id: "flow-toggle", "aria-controls": "flow-body", onclick: () => open(!isOpen()) }, parts.toggleText, parts.failures);
  panel.append(
    h("header", { class: "flow-head" }, h("div", {}, h("h2", {}, "Under the hood"), parts.connection), parts.toggle),
    h("div", { id: "flow-body" },
      h("section", { class: "session", "aria-label": "Session" }, parts.state, parts.life, parts.tokens, parts.thief),
      h("div", { class: "actions" },
        h("div", { class: "action-row" }, parts.poke, parts.burst, h("label", { class: "pulse", for: "flow-pulse" }, parts.pulse, " every 5 s"), parts.expire),
        parts.own, parts.status),
      h("div", { class: "lanes", "aria-hidden": "true" }, lanes().map((lane, index) => h("span", { class: `lane lane-${index}` }, lane))),
      parts.live,
      parts.steps));
  // There is no room for both on a narrow window: there it waits behind its button.
  open(!NARROW.matches);
  NARROW.addEventListener("change", () => open(!NARROW.matches));
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !NARROW.matches || !isOpen()) return;
    open(false);
    parts.toggle.focus();
  });
  tick();
}

const lanes = () => ["Browser", "Gateway", options.appName, "Provider"];

const isOpen = () => !document.body.classList.contains("flow-closed");

function open(wanted) {
  document.body.classList.toggle("flow-closed", !wanted);
  // On a narrow window it covers the app.
  document.querySelector(".app").inert = wanted && NARROW.matches;
  parts.toggleText.textContent = wanted ? "Hide" : "Under the hood";
  parts.toggle.setAttribute("aria-expanded", String(wanted));
  redraw();
}

function burst() {
  for (let count = 0; count < BURST; count += 1) options.poke();
}

async function act(path) {
  try {
    await post(path, { jti, held });
  } catch (problem) {
    toast(problem.message, "bad");
  }
}

/**
 * Sealing is a matter of the gateway's configuration: no session survives a change of it, so this one is ended first.
 */
async function switchSeal() {
  const on = !gateway.sealed;
  switching = true;
  tick();
  try {
    const ended = user ? await options.signOut() : true;
    if (!ended) return;
    await post("/demo/seal", { on });
    toast(`Sealed cookies are ${on ? "on" : "off"} now. Sign in to have such a session.`, on ? "good" : "info");
  } catch (problem) {
    toast(problem.message, "bad");
  } finally {
    switching = false;
    await askForState();
    tick();
    parts.seal.focus();
  }
}

/** The panel's own requests are no part of the picture. */
async function post(path, body) {
  const headers = { "content-type": "application/json" };
  const response = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) }).catch(() => null);
  if (!response) throw new Problem(0, { detail: "The server cannot be reached." });
  if (!response.ok) throw new Problem(response.status, await response.json().catch(() => ({})));
}

function connect() {
  if (source) return;
  const last = Math.max(0, ...exchanges.keys());
  source = new EventSource(`/demo/events?since=0&after=${last}`);
  source.addEventListener("open", () => {
    offline = null;
    askForState();
  });
  source.addEventListener("error", ({ target }) => {
    offline ??= new Date();
    tick();
    // An answer other than 200 ends it for good; a lost connection does not.
    if (target !== source || target.readyState !== EventSource.CLOSED) return;
    disconnect();
    setTimeout(() => document.hidden || connect(), 1000);
  });
  source.addEventListener("message", (event) => {
    const exchange = JSON.parse(event.data);
    exchanges.set(exchange.id, exchange);
    if (exchanges.size > KEPT) exchanges.delete(exchanges.keys().next().value);
    if (exchange.kind !== "app") askForState();
    redraw();
  });
}

function disconnect() {
  source?.close();
  source = null;
}

async function askForState() {
  asked += 1;
  const [number, wanted] = [asked, jti];
  const response = await fetch(`/demo/state${wanted ? `?jti=${encodeURIComponent(wanted)}` : ""}`).catch(() => null);
  const answer = response?.ok ? await response.json().catch(() => null) : null;
  // Another question was asked meanwhile.
  if (!answer || number !== asked) return;
  ({ login, gateway } = answer);
  const sealed = [...exchanges.values()].find((one) => one.issued?.jti === wanted)?.sealed;
  if (login) login.tokens = { ...login.tokens, family: login.family, sealed: sealed ?? gateway?.sealed };
  link(parts.status, gateway?.links.status);
  if (!parts.status.hidden) parts.status.textContent = `The gateway's status page: ${parts.status.host}`;
  link(document.getElementById("other-app"), gateway?.links[options.other]);
  redraw();
  tick();
}

function link(element, address) {
  element.hidden = !address;
  if (address) element.href = address;
}

/** The session's lines and bar, and what can be done. */
function tick() {
  const current = held ? login : null;
  const left = current ? current.tokens.expires_at - now() / 1000 : 0;
  const words = sessionWords({ user, login: current, gateway, connected: !offline, left });
  parts.connection.textContent = offline ? `No connection to the demo since ${clock(offline)}` : "What Portcullis just did, live";
  parts.connection.classList.toggle("bad", Boolean(offline));
  parts.state.replaceChildren(h("strong", {}, words.who), h("span", { class: "countdown" }, words.countdown));
  parts.tokens.textContent = words.tokens;
  parts.life.className = `life ${words.bar}`;
  parts.life.setAttribute("aria-label", words.label);
  parts.fill.style.inlineSize = `${words.share * 100}%`;
  parts.fill.className = `life-fill ${words.bar === "idle" ? "" : words.bar}`;
  if (current) parts.mark.style.insetInlineStart = `${(ahead(current.tokens.lifetime) / current.tokens.lifetime) * 100}%`;
  const thief = thiefWords(login, now() / 1000);
  parts.thief.hidden = !thief.text;
  parts.thief.textContent = thief.text;
  parts.thief.classList.toggle("bad", thief.bad);
  parts.expire.disabled = !current || Boolean(current.ended);
  parts.expire.hidden = parts.own.hidden = gateway === null;
  const robbed = login?.thief;
  parts.stealRefresh.disabled = !current && !robbed?.refresh_token;
  parts.stealRefresh.textContent = robbed?.own || (!current && robbed?.refresh_token) ? "Use the thief's refresh token again" : "Steal the refresh token";
  parts.stealJwt.disabled = !current && !robbed?.jwt;
  parts.stealJwt.textContent = !current && robbed?.jwt ? "Use the stolen JWT again" : "Steal the JWT";
  parts.seal.disabled = !gateway || switching;
  parts.burst.hidden = !(gateway?.replicas > 1);
  if (gateway) {
    parts.seal.setAttribute("aria-checked", String(gateway.sealed));
    parts.sealNote.textContent = gateway.sealed ? "on: session.seal_keys is set" : "off: no session.seal_keys";
  }
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
  const known = login ? [login.tokens] : [];
  const story = tell({ requests, exchanges: [...exchanges.values()], isPublic: options.isPublic, since: loaded, heard, known });
  hold(story.held, story.pair);
  const steps = story.steps.slice(0, SHOWN);
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
    const element = stepElement(step, lanes(), !known);
    known?.element.replaceWith(element);
    drawn.set(step.key, { signature, element });
    return element;
  });
  elements.forEach((element, index) => {
    if (parts.steps.children[index] !== element) parts.steps.insertBefore(element, parts.steps.children[index] ?? null);
  });
  countFailures(steps);
  const latest = steps[0];
  if (latest) {
    const text = `${latest.title}${latest.badge ? `: ${latest.badge}` : ""}`;
    if (parts.live.textContent !== text) parts.live.textContent = text;
  }
}

/** Takes note of which tokens the browser holds, and tells its other pages. */
function hold(observed, pair) {
  const changed = Boolean(observed) && (observed.jti !== null) !== held || (observed?.jti && observed.jti !== jti);
  if (observed) held = observed.jti !== null;
  if (observed?.jti) jti = observed.jti;
  if (changed) {
    // Until the demo says what has become of them.
    if (login?.tokens.jti !== jti) login = pair ? { family: pair.family, tokens: pair, used: false, ended: null } : null;
    askForState();
    tick();
  }
  const sub = user?.sub ?? null;
  const news = JSON.stringify([sub, observed?.jti]);
  if (user === undefined || news === told) return;
  told = news;
  pages.postMessage({ sub, seen: observed && { started: observed.started, at: observed.at, jti: observed.jti } });
}

/** How many exchanges went wrong while nobody could see them. */
function countFailures(steps) {
  const failed = steps.filter((step) => step.tone === "bad").map(({ key }) => key);
  if (isOpen()) failed.forEach((key) => seen.add(key));
  const count = failed.filter((key) => !seen.has(key)).length;
  parts.failures.hidden = count === 0;
  parts.failures.replaceChildren(String(count), h("span", { class: "visually-hidden" }, count === 1 ? " failure" : " failures"));
}
