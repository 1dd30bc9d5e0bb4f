// Makes a sequence diagram out of what the page did and what the demo's provider, apps and thief saw.
//
// The gateway says nothing here: what it decided is inferred from what the others saw, and worded that way.

export const BROWSER = 0, GATEWAY = 1, APP = 2, PROVIDER = 3;
const SLACK = 3; // milliseconds by which two clocks of one machine may differ

/** How many seconds before its end a JWT is refreshed: `refresh.ahead`, but not before three quarters of its lifetime. */
export const ahead = (lifetime) => Math.min(30, Math.floor(lifetime / 4));

/**
 * The steps since `since`, newest first: { key, title, badge, tone, started, arrows, caption }.
 * `sub` is who is signed in here; older exchanges only serve to know which tokens the browser holds.
 */
export function tell({ requests, exchanges, isPublic, sub, since }) {
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
  const refreshes = by("provider").filter((call) => call.grant === "refresh_token");
  for (const call of by("provider")) {
    const own = ownerOf(call, steps, isPublic);
    if (own) own.calls.push(call);
    else steps.push(step({ key: `call-${call.id}`, kind: "call", calls: [call] }));
  }
  steps.sort((a, b) => a.started - b.started);
  followTokens(steps, sub, refreshes);
  const recent = steps.filter((one) => one.ended >= since);
  return recent.map((one) => describe(one, { isPublic, refreshes })).reverse();
}

/**
 * Notes for each request of this page which tokens the browser sent with it, as far as one can know without reading
 * its cookies: the last ones that the provider handed out for it, or for another page of the same browser.
 */
function followTokens(steps, sub, refreshes) {
  let held = [];
  const stolen = [];
  const take = (call, at = call.ended) => held.push({ ...call.issued, at, expires: call.issued.expires_at * 1000 });
  for (const one of steps) {
    for (const call of one.calls.filter((made) => made.issued && made.sub === sub)) {
      if (one.kind === "thief") stolen.push(call);
      else take(call);
    }
    if (one.kind !== "request") continue;
    const call = one.calls.find((made) => made.grant === "refresh_token");
    one.held = held.findLast((tokens) => tokens.at <= one.started);
    // The gateway looked at the clock right before the app saw the request.
    one.due = one.held && (one.app?.started ?? one.ended) >= one.held.expires - ahead(one.held.lifetime) * 1000;
    const theft = stolen.findLast((made) => made.ended <= one.started && made.ended > (one.held?.at ?? 0));
    // Not with the browser's own token, but with what the thief got for it.
    one.followed = Boolean(call && theft && call.detail.includes(theft.issued.refresh_token));
    if (one.due && theft && !one.calls.length && succeeded(one) && !overlaps(refreshes, one)) {
      one.replayed = theft;
      take(theft, one.ended);
    }
    if (one.request.code === "session_expired" || (one.request.path === "/api/logout" && one.request.status === 204)) held = [];
  }
}

const succeeded = (one) => Boolean(one.app?.user) || one.request.status === 200;
const overlaps = (calls, one) => calls.some((call) => call.started <= one.ended && call.ended >= one.started - SLACK);

function step(parts) {
  const source = parts.request || parts.thief || parts.note || parts.app || parts.calls[0];
  return { calls: [], started: source.started, ended: source.ended ?? Infinity, ...parts };
}

/** The step during which the gateway made a call. */
function ownerOf(call, steps, isPublic) {
  if (call.grant === "metadata") return null;
  const during = steps.filter((one) => one.started - SLACK <= call.started && call.ended <= one.ended + SLACK);
  const fits = (one) => {
    if (one.kind === "thief") return call.grant === "refresh_token" && one.thief.presented.startsWith("junk");
    if (one.kind !== "request") return false;
    const { path } = one.request;
    if (call.grant === "password") return path === "/api/login";
    if (call.grant === "revocation") return path === "/api/logout" || path === "/api/login";
    return path !== "/api/login" && path !== "/api/logout" && !isPublic(path);
  };
  const owner = during.filter(fits).sort((a, b) => a.started - b.started)[0];
  if (owner) return owner;
  // Another page's request is known from the app alone, which sees it right after the call.
  const next = steps.filter((one) => one.kind === "app" && one.app.user && one.started >= call.ended - SLACK && one.started < call.ended + 500);
  return call.grant === "refresh_token" ? next.sort((a, b) => a.started - b.started)[0] ?? null : null;
}

function describe(one, context) {
  const base = { key: one.key, started: one.started, arrows: [], caption: "", badge: "", tone: "" };
  const calls = one.calls.toSorted((a, b) => a.started - b.started);
  const refreshed = calls.find((call) => call.grant === "refresh_token");
  switch (one.kind) {
    case "note":
      return { ...base, title: one.note.title, caption: one.note.text, badge: "at the provider", tone: "warn" };
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
  if (call.grant === "metadata") return { title: "The gateway reads the provider's metadata", badge: "no request waits for it" };
  return { title: "The gateway asks the provider", badge: "for another page" };
}

function describeTheft(base, one, calls) {
  const { thief, app } = one;
  return {
    ...base, title: thief.title, badge: thief.succeeded ? "the thief is in" : "refused", tone: "attack", caption: thief.caption,
    lanes: { 0: "Thief" },
    arrows: [
      arrow(BROWSER, GATEWAY, thief.request, thief.presented),
      ...calls.flatMap(callArrows),
      ...(app ? appArrows(app) : []),
      answer(GATEWAY, BROWSER, thief.status, thief.gained ? `sets ${thief.gained}` : "no new tokens", thief.ended - thief.started),
    ],
  };
}

function describeForeign(base, one, calls, refreshed) {
  const { app } = one;
  const socket = app.status === 101;
  const title = app.navigation ? `The page loads: ${app.path}` : socket ? `WebSocket ${app.path}` : `Another page: ${app.method} ${app.path}`;
  return {
    ...base, title, badge: refreshed ? "silent refresh" : socket ? "stays open" : "", tone: refreshed ? "refresh" : "",
    arrows: [
      arrow(BROWSER, GATEWAY, `${app.method} ${app.path}`, app.navigation ? "public route, no session needed" : ""),
      ...calls.flatMap(callArrows), ...appArrows(app),
      answer(GATEWAY, BROWSER, app.status, refreshed?.status === 200 ? "new JWT and refresh token as cookies" : ""),
    ],
  };
}

function describeRequest(base, one, calls, refreshed, context) {
  const { request, app } = one;
  const label = `${request.method} ${request.path}`;
  const arrows = [arrow(BROWSER, GATEWAY, label, cookiesOf(one))];
  const decision = decisionOf(one, refreshed, context);
  if (decision) arrows.push({ note: decision });
  arrows.push(...calls.flatMap(callArrows), ...(app ? appArrows(app) : []));
  if (request.ended !== null) {
    arrows.push(answer(GATEWAY, BROWSER, request.status, consequenceOf(one, refreshed), request.ended - request.started));
  }
  return { ...base, title: label, arrows, ...badgeOf(one, refreshed) };
}

/** What the browser sent along. */
function cookiesOf({ request, held, started }) {
  if (request.path === "/api/login") return "user name and password";
  if (!held) return "";
  const left = Math.floor((held.expires - started) / 1000);
  return `[${held.jwt} ${left > 0 ? `${left} s left` : "expired"}, ${held.refresh_token}]`;
}

/** What the gateway must have decided, in view of what came after. */
function decisionOf(one, refreshed, { isPublic, refreshes }) {
  const { request, app } = one;
  if (request.ended === null) return "";
  if (one.followed) return "this refresh token was used moments ago: refresh with its successor";
  if (refreshed) return "the JWT has expired, or is about to: refresh it first";
  if (request.path === "/api/login") return "reads the form itself, the app never sees it";
  if (request.path === "/api/logout") return "";
  if (app && !app.user) return isPublic(request.path) ? "public route: the session is not looked at" : "no session: forwarded without an identity";
  if (one.replayed) return "this refresh token was used moments ago: same outcome again (replay window)";
  if (one.due !== false && succeeded(one) && overlaps(refreshes, one)) return "refresh under way for a parallel request: the outcome is shared";
  if (app?.user) return "JWT verified locally: no call to the provider";
  if (request.status === 200) return "JWT verified locally, answered from its claims";
  if (request.code === "session_expired") return "this refresh token is known to be dead";
  if (request.code === "not_logged_in") return "no session: answered here, nobody else is asked";
  if (request.code === "forbidden") return "JWT verified locally: its roles do not suffice, the app is not asked";
  return "answered by the gateway itself";
}

function consequenceOf({ request, replayed }, refreshed) {
  if (replayed) return `the thief's tokens as cookies: ${replayed.issued.jwt}, ${replayed.issued.refresh_token}`;
  if (request.code === "session_expired") return "session_expired, both cookies cleared";
  if (request.path === "/api/logout" && request.status === 204) return "both cookies cleared";
  if (request.path === "/api/login" && request.status === 200) return "user object; JWT and refresh token as HttpOnly cookies";
  if (refreshed?.status === 200) return "new JWT and refresh token as cookies";
  return request.code || "";
}

function badgeOf({ request, replayed, followed }, refreshed) {
  if (replayed || followed) return { badge: "shared with the thief", tone: "bad" };
  if (request.path === "/api/login") return request.status === 200 ? { badge: "login", tone: "good" } : { badge: "login", tone: request.status ? "bad" : "" };
  if (request.path === "/api/logout") return { badge: "logout", tone: "" };
  if (request.code === "session_expired") return { badge: "session ended", tone: "bad" };
  if (refreshed) return { badge: "silent refresh", tone: "refresh" };
  return request.status >= 400 ? { badge: String(request.status), tone: request.status === 404 ? "" : "bad" } : {};
}

function callArrows(call) {
  return [
    arrow(GATEWAY, PROVIDER, call.request, call.detail),
    { ...answer(PROVIDER, GATEWAY, call.status, call.outcome, call.ended - call.started), alarm: call.reuse },
  ];
}

function appArrows(app) {
  const identity = app.user ? `identity headers: ${app.user}` : "no identity headers";
  const roles = app.roles.length ? `roles: ${app.roles.join(", ")}` : "";
  const cookies = app.session_cookie ? "a session cookie reached the app!" : "session cookies removed";
  const detail = [roles, app.user ? cookies : ""].filter(Boolean).join(" · ");
  return [arrow(GATEWAY, APP, identity, detail), answer(APP, GATEWAY, app.status, "", app.ended - app.started)];
}

const arrow = (from, to, label, detail) => ({ from, to, label, detail });
const answer = (from, to, status, detail, ms) => ({ from, to, status, detail, ms, reply: true });
