// Every request of the page goes through here. The side panel is told of each; the app itself does not care.

const listeners = new Set();
const IDENTITIES = ["/api/login", "/api/user"];
let number = 0;
const page = Math.random().toString(36).slice(2, 8);

/** Milliseconds since the Unix epoch, comparable with the demo's own clock: it is the same machine. */
export const now = () => performance.timeOrigin + performance.now();

/** Calls `listener` with every request, once when it starts and once when it has ended. */
export function onRequest(listener) {
  listeners.add(listener);
}

/** A problem answer (RFC 9457), of the gateway or of the app. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || `The server answered ${status}.`);
    this.status = status;
    this.code = body.code;
    this.title = body.title;
  }

  /** Whether the way out is to sign in (again). */
  get signedOut() {
    return this.status === 401 && this.code !== "invalid_credentials";
  }
}

/** Sends a request, and gives what the JSON answer says. Throws a Problem for everything but 2xx. */
export async function api(method, path, { json, form } = {}) {
  number += 1;
  const request = { id: `${page}-${number}`, method, path, started: now(), ended: null, status: 0, code: null, jti: undefined, replica: null };
  const tell = () => listeners.forEach((listener) => listener(request));
  tell();
  const headers = { accept: "application/json", "x-demo-request": request.id };
  let body;
  if (json !== undefined) {
    headers["content-type"] = "application/json";
    body = JSON.stringify(json);
  } else if (form !== undefined) {
    body = new URLSearchParams(form);
  }
  try {
    const response = await fetch(path, { method, headers, body, credentials: "same-origin" });
    request.status = response.status;
    // Of several gateways: the balancer says which one answered.
    request.replica = response.headers.get("x-demo-replica");
    const type = response.headers.get("content-type") || "";
    const answer = type.includes("json") ? await response.json().catch(() => ({})) : {};
    // The user object: which JWT it is from.
    if (response.ok && IDENTITIES.includes(path)) request.jti = answer.jti;
    if (!response.ok) {
      request.code = answer.code || null;
      throw new Problem(response.status, answer);
    }
    return answer;
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw new Problem(0, { title: "No answer", detail: "The server cannot be reached." });
  } finally {
    request.ended = now();
    tell();
  }
}
