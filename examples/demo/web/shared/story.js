// Makes a sequence diagram out of what the page did and what the demo's provider, apps and thief saw.
//
// The gateway says nothing here but which JWT it went by; what it decided is inferred from what the others saw, and
// worded that way.

import { heldAt, holdings, pairsOf } from "./tokens.js";
import { CODES, NOTES, statusTone, theftWords } from "./words.js";

export const BROWSER = 0, GATEWAY = 1, APP = 2, PROVIDER = 3;
const SLACK = 3; // milliseconds by which two clocks of one machine may differ
const SOON = 5000; // milliseconds within which the gateway does something in the background

/**
 * The `steps` since `since`, newest first: { key, title, badge, tone, started, arrows, caption, replica }; what the browser
 * `held` last ({ at, jti }, or undefined where nothing is known); the `pair` of tokens of that name. `heard` and
 * `known`: see tokens.js.
 */
export function tell({ requests, exchanges, isPublic, since, heard = [], known = [] }) {
  const by = (kind) => exchanges.filter((exchange) => exchange.kind === kind);
  const steps = [
    ...requests.map((request) => step({ key: request.id, kind: "request", request })),
    ...by("thief").map((thief) => step({ key: thief.request_id, kind: "thief", thief })),
    ...by("note").map((note) => step({ key: `note-${note.id}`, kind: "note", note })),
  ];
  const byKey = new Map(steps.map((one) => [one.key, one]));
  for (const app of by("app")) {
    const own = byKey.get(app.request_id);
    if (own) own.app = app;
    else steps.push(step({ key: `app-${app.id}`, kind: "app", app }));
  }
  const pairs = pairsOf(exchanges, known);
  const apps = new Map(by("app").map((app) => [app.request_id, app]));
  const observed = holdings({ requests, apps, heard, pairs });
  for (const one of steps) {
    one.before = one.kind === "request" ? heldAt(observed, pairs, one.started) : undefined;
    one.cleared = heldAt(observed, pairs, one.ended) === null;
    one.after = pairs.get(one.request?.jti ?? one.app?.jti ?? one.thief?.gained?.jti);
  }
  for (const call of by("provider")) {
    const own = ownerOf(call, steps, isPublic);
    if (own) own.calls.push(call);
    else steps.push(step({ key: `call-${call.id}`, kind: "call", calls: [call] }));
  }
  steps.sort((a, b) => a.started - b.started);
  const calls = (grant) => by("provider").filter((call) => call.grant === grant);
  const context = { isPublic, refreshes: calls("refresh_token"), revocations: calls("revocation"), thefts: by("thief") };
  const recent = steps.filter((one) => one.ended >= since);
  return { steps: recent.map((one) => describe(one, context)).reverse(), held: observed.at(-1), pair: pairs.get(observed.at(-1)?.jti) };
}

function step(parts) {
  const source = parts.request || parts.thief || parts.note || parts.app || parts.calls[0];
  return { calls: [], started: source.started, ended: source.ended ?? Infinity, ...parts };
}

/** The step during which the gateway made a call: by the tokens that it brought, else by time. */
function ownerOf(call, steps, isPublic) {
  if (call.grant === "metadata") return null;
  const during = steps.filter((one) => one.started - SLACK <= call.started && call.ended <= one.ended + SLACK);
  const candidates = during.filter((one) => fits(one, call, isPublic)).sort((a, b) => a.started - b.started);
  const certain = candidates.find((one) => call.issued && one.after?.jti === call.issued.jti);
  if (certain || candidates.length > 0) return certain ?? candidates[0];
  // Another page's request is known from the app alone, which sees it right after the call.
  const next = steps.filter((one) => one.kind === "app" && one.app.user && one.started >= call.ended - SLACK && one.started < call.ended + 500);
  const brought = next.filter((one) => !call.issued || !one.app.jti || one.app.jti === call.issued.jti);
  return call.grant === "refresh_token" ? brought.sort((a, b) => a.started - b.started)[0] ?? null : null;
}

function fits(one, call, isPublic) {
  if (one.kind === "thief") return call.grant === "refresh_token" && call.presented === one.thief.token;
  if (one.kind !== "request") return false;
  const { path, replica } = one.request;
  if (call.replica && replica && call.replica !== replica) return false;
  // Somebody else's tokens.
  if (call.issued && one.after && one.after.jti !== call.issued.jti) return false;
  if (call.grant === "password") return path === "/api/login";
  if (call.family && one.before && one.before.family !== call.family) return false;
  if (call.grant === "revocation") return path === "/api/logout" || path === "/api/login";
  return one.before !== null && path !== "/api/login" && path !== "/api/logout" && !isPublic(path);
}

function describe(one, context) {
  const replica = one.request?.replica ?? one.app?.replica ?? null;
  const base = { key: one.key, started: one.started, arrows: [], caption: "", badge: "", tone: "", replica };
  const calls = one.calls.toSorted((a, b) => a.started - b.started);
  const refreshed = calls.find((call) => call.grant === "refresh_token");
  switch (one.kind) {
    case "note":
      return { ...base, ...NOTES[one.note.event] };
    case "call":
      return { ...base, ...titleOfCall(calls[0]), arrows: calls.flatMap(callArrows), tone: calls[0].status < 400 ? "" : "bad" };
    case "thief":
      return describeTheft(base, one, calls);
    case "app":
      return describeForeign(base, one, calls, refreshed);
    default:
      return describeRequest(base, one, calls, refreshed, context);
  }
}

function titleOfCall(call) {
  switch (call.grant) {
    case "metadata":
      return { title: "The gateway reads the provider's metadata", badge: "no request waits for it" };
    case "revocation":
      return { title: "The gateway revokes a refresh token", badge: "in the background" };
    default:
      return { title: "The gateway asks the provider", badge: "for another page" };
  }
}

function describeTheft(base, one, calls) {
  const { thief, app } = one;
  const words = theftWords(thief);
  return {
    ...base, title: words.title, badge: words.badge, tone: words.tone, attack: true, caption: words.caption,
    lanes: { 0: "Thief" },
    arrows: [
      arrow(BROWSER, GATEWAY, thief.request, words.presented),
      ...calls.flatMap(callArrows),
      ...(app ? appArrows(app) : []),
      // What is good news for the thief is none for anybody else.
      { ...answer(GATEWAY, BROWSER, thief.status, words.gained, thief.ended - thief.started), status_tone: { good: "ok", bad: "bad" }[words.tone] ?? "neutral" },
    ],
  };
}

function describeForeign(base, one, calls, refreshed) {
  const { app } = one;
  const socket = app.status === 101;
  const title = app.navigation ? `The page loads: ${app.path}` : socket ? `WebSocket ${app.path}` : `Another page: ${app.method} ${app.path}`;
  const bad = statusTone(app.status) === "bad";
  return {
    ...base, title, badge: bad ? String(app.status) : refreshed ? "silent refresh" : socket ? "opened" : "", tone: bad ? "bad" : refreshed ? "refresh" : "",
    arrows: [
      arrow(BROWSER, GATEWAY, `${app.method} ${app.path}`, app.navigation && !app.user ? "no identity is looked for" : ""),
      ...calls.flatMap(callArrows), ...appArrows(app),
      answer(GATEWAY, BROWSER, app.status, refreshed?.status === 200 ? "new JWT and refresh token as cookies" : ""),
    ],
  };
}

function describeRequest(base, one, calls, refreshed, context) {
  const { request, app } = one;
  const label = `${request.method} ${request.path}`;
  const arrows = [arrow(BROWSER, GATEWAY, label, cookiesOf(one))];
  const seen = { ...one, ...sharing(one, refreshed, context), reuse: reuseOf(one, refreshed, context) };
  const decision = decisionOf(seen, refreshed, context);
  if (decision) arrows.push({ note: decision });
  arrows.push(...calls.flatMap(callArrows), ...(app ? appArrows(app) : []));
  if (request.ended !== null) {
    arrows.push(answer(GATEWAY, BROWSER, request.status, consequenceOf(seen, refreshed), request.ended - request.started));
  }
  const caption = seen.reuse ? "The gateway noticed the reuse: an older refresh token of this session came again after the replay window. It did not ask for new " +
    "tokens, ended the session for everybody who has it, and had the newest refresh token revoked at the provider." : "";
  return { ...base, title: label, arrows, caption, ...badgeOf(seen, refreshed) };
}

/** What the browser sent along. */
function cookiesOf({ request, before, started }) {
  if (request.path === "/api/login") return "user name and password";
  if (!before) return "";
  const left = Math.floor(before.expires_at - started / 1000);
  return `[${before.jwt} ${left > 0 ? `${left} s left` : "expired"}, ${before.sealed ? "sealed " : ""}${before.refresh_token}]`;
}

/** Whether the request got tokens that it did not bring, and whose: { newer, thief }. */
function sharing({ before, after, request }, refreshed, { thefts }) {
  if (!before || request.path === "/api/login") return {};
  const given = (token) => thefts.find(({ gained }) => gained && (gained.jti === token || gained.refresh_token === token));
  if (refreshed) return { followed: refreshed.presented !== before.refresh_token, thief: given(refreshed.presented) };
  const newer = Boolean(after) && after.jti !== before.jti && after.family === before.family;
  return { newer, thief: newer ? given(after.jti) : undefined };
}

/** Whether the gateway took the refresh token for a used one: it refused it by itself, and revoked its successor. */
function reuseOf({ request, before, ended }, refreshed, { revocations }) {
  if (request.code !== "session_expired" || refreshed || !before) return false;
  return revocations.some((call) => call.family === before.family && call.presented !== before.refresh_token && Math.abs(call.started - ended) < SOON);
}

/** What the gateway must have decided, in view of what came after. */
function decisionOf(one, refreshed, { isPublic, refreshes }) {
  const { request, app } = one;
  if (request.ended === null || request.status === 0) return "";
  if (one.reuse) return "a used refresh token, after its replay window: reuse";
  if (one.followed && request.status < 400) return "this refresh token was used before: refresh with its successor";
  if (refreshed) return "the JWT has expired, or is about to: refresh it first";
  if (request.path === "/api/login") return "reads the form itself, the app never sees it";
  if (request.path === "/api/logout") return "";
  if (app && !app.user) return isPublic(request.path) ? "public route: the session is not looked at" : "no session: forwarded without an identity";
  const [call] = one.newer ? refreshes.filter(({ issued }) => issued?.jti === one.after.jti) : [];
  if (call && overlaps([call], one)) return `refresh under way for a parallel request${elsewhere(call, request)}: the outcome is shared`;
  if (one.newer) return `this refresh token was used before${call ? elsewhere(call, request) : ""}: the newest tokens again, without a call`;
  if (app?.user) return "JWT verified locally: no call to the provider";
  if (request.status === 200) return "JWT verified locally, answered from its claims";
  return CODES[request.code] ?? "answered by the gateway itself";
}

/** Of several gateways: the one that made a call, if another one got the request. */
const elsewhere = (call, request) => call.replica && request.replica && call.replica !== request.replica ? ` at gateway ${call.replica}` : "";

const overlaps = (calls, one) => calls.some((call) => call.started <= one.ended && call.ended >= one.started - SLACK);

function consequenceOf(one, refreshed) {
  const { request, newer, thief, after } = one;
  if (request.code === "session_expired") return one.cleared ? "session_expired, both cookies cleared" : "session_expired";
  if (request.path === "/api/logout" && request.status === 204) return "both cookies cleared";
  if (request.path === "/api/login" && request.status === 200) return "user object; JWT and refresh token as HttpOnly cookies";
  if (newer) return `${thief ? "the thief's" : "newer"} tokens as cookies: ${after.jwt}, ${after.refresh_token}`;
  if (refreshed?.status === 200 && request.status > 0) return "new JWT and refresh token as cookies";
  return request.code || "";
}

function badgeOf({ request, thief }, refreshed) {
  if (request.ended === null) return {};
  if (request.status === 0) return { badge: "no answer", tone: "bad" };
  if (thief) return { badge: "shared with the thief", tone: "bad" };
  if (request.path === "/api/login") return request.status === 200 ? { badge: "login", tone: "good" } : { badge: `login: ${request.status}`, tone: "bad" };
  if (request.path === "/api/logout") return request.status === 204 ? { badge: "logout", tone: "" } : { badge: `logout: ${request.status}`, tone: "bad" };
  if (request.code === "session_expired") return { badge: "session ended", tone: "bad" };
  if (request.code === "not_logged_in") return { badge: "no session", tone: request.status === 404 ? "" : "bad" };
  if (statusTone(request.status) === "bad") return { badge: String(request.status), tone: "bad" };
  if (refreshed) return { badge: "silent refresh", tone: "refresh" };
  return request.status === 404 ? { badge: "404", tone: "" } : {};
}

function callArrows(call) {
  return [
    arrow(GATEWAY, PROVIDER, call.request, [call.detail, call.replica && `from gateway ${call.replica}`].filter(Boolean).join(" · ")),
    { ...answer(PROVIDER, GATEWAY, call.status, call.outcome, call.ended - call.started), alarm: call.reuse },
  ];
}

function appArrows(app) {
  const identity = app.user ? `identity headers: ${app.user}` : "no identity headers";
  const roles = app.roles.length ? `roles: ${app.roles.join(", ")}` : "";
  const cookies = app.session_cookie ? "a session cookie reached the app!" : "session cookies removed";
  const detail = [roles, app.user || app.session_cookie ? cookies : ""].filter(Boolean).join(" · ");
  return [arrow(GATEWAY, APP, identity, detail), answer(APP, GATEWAY, app.status, "", app.ended - app.started)];
}

const arrow = (from, to, label, detail) => ({ from, to, label, detail });
const answer = (from, to, status, detail, ms) => ({ from, to, status, detail, ms, reply: true });
