// The sentences and colours of the side panel. Each follows from what was observed, and from nothing else.

/**
 * How many seconds before its end a JWT is refreshed: `refresh.ahead`, but not before three quarters of its lifetime.
 */
export const ahead = (lifetime) => Math.min(30, Math.floor(lifetime / 4));

/** The colour of a status: `ok`, `neutral` or `bad`; 0 is no answer. */
export function statusTone(status) {
  if (status === 101 || (status >= 200 && status < 300)) return "ok";
  if (status === 404 || (status >= 100 && status < 400)) return "neutral";
  return "bad";
}

const ENDS = {
  revoked: "the gateway revoked it at the provider",
  expired: "the provider ended it",
  reused: "the provider saw a used refresh token again",
};

/**
 * Who is signed in here with which tokens. `user`: undefined while it is not known. `left`: seconds until the JWT
 * expires.
 */
export function sessionWords({ user, login, gateway, connected, left }) {
  const idle = { bar: "idle", share: 0, countdown: "", tokens: "", label: "no JWT" };
  if (user === undefined) return { ...idle, who: "Not known", tokens: "The gateway has not said who is signed in." };
  if (user === null) return { ...idle, who: "Not signed in", tokens: "This browser holds no session. Sign in, and watch." };
  const who = user.name || user.preferred_username || user.email || "Signed in";
  if (!login) {
    const why = gateway === null ? ": the identity provider is not the demo's own" : "";
    return { ...idle, who, tokens: `Which tokens the browser holds is not known here${why}.`, label: "JWT not known" };
  }
  const { jwt, refresh_token: token, lifetime, sealed } = login.tokens;
  const seconds = Math.max(0, Math.ceil(left));
  const state = login.ended ? `login ended: ${ENDS[login.ended]}` : login.used ? "used: the provider has given newer ones" : "";
  return {
    who,
    countdown: left > 0 ? `JWT expires in ${seconds} s` : "JWT expired",
    tokens: `${jwt} · ${sealed ? "sealed " : ""}${token}${state ? ` (${state})` : ""}`,
    // What the demo cannot tell now may have changed.
    bar: !connected ? "idle" : left <= ahead(lifetime) ? "due" : "good",
    share: Math.max(0, Math.min(1, left / lifetime)),
    label: left > 0 ? `The JWT expires in ${seconds} of ${lifetime} seconds` : "The JWT has expired",
  };
}

/**
 * What the thief has of this browser's login, and whether it is of use: { text, bad }. `time`: seconds since the Unix
 * epoch.
 */
export function thiefWords(login, time) {
  const { jwt, refresh_token: token, own } = login?.thief ?? {};
  const has = [own ? `${own.jwt} · ${own.refresh_token}, from the gateway` : token && `a copy of ${token}`, jwt && `a copy of ${jwt}`];
  const text = has.filter(Boolean).join("; ");
  return { text: text && `The thief has ${text}`, bad: !login?.ended && Boolean(own || (jwt && login.tokens.expires_at > time)) };
}

export const NOTES = {
  login_ended: {
    title: "The provider ends the session", badge: "at the provider", tone: "warn",
    caption: "As an administrator would: the refresh token is dead now. The JWT in the browser's cookie still counts until it is due for a " +
      "refresh; the provider refuses that, and the gateway answers 401 and clears both cookies.",
  },
  sealed: {
    title: "Sealed cookies are on", badge: "configuration", tone: "good",
    caption: "The gateway loaded its configuration again, with session.seal_keys and without a restart. Whoever signs in from now on gets a sealed " +
      "refresh token. A session from before goes on until its JWT has expired; then it ends with 401 session_expired.",
  },
  unsealed: {
    title: "Sealed cookies are off", badge: "configuration", tone: "warn",
    caption: "The gateway loaded its configuration again, without session.seal_keys and without a restart. Whoever signs in from now on gets the refresh " +
      "token itself as a cookie. A session from before ends when its JWT is due for a refresh, with 401 session_expired.",
  },
};

/** What an attack was, and what came of it: { title, presented, gained, badge, tone, caption }. */
export function theftWords(theft) {
  const { loot, again, token, status, gained, code } = theft;
  const isJwt = loot === "jwt";
  const title = isJwt ? "Attack: a stolen JWT" : "Attack: a stolen refresh token with a junk JWT";
  const outcome = status === 200 ? { badge: "the thief is in", tone: "bad" }
    : status === 401 || status === 403 ? { badge: "refused", tone: "good" }
    : { badge: `no success: ${status}`, tone: "" };
  return {
    title: again ? `${title}, again` : title, ...outcome,
    presented: isJwt ? `stolen ${token}, nothing else` : `junk JWT, ${again ? "the thief's" : "stolen"} ${token}`,
    gained: [code, gained ? `sets ${gained.jwt}, ${gained.refresh_token}` : "no new tokens"].filter(Boolean).join(", "),
    caption: isJwt ? jwtCaption(theft) : refreshTokenCaption(theft),
  };
}

function refreshTokenCaption({ status, sealed, again, gained, asked, login_ended: ended, replay_window: window }) {
  const unasked = asked ? "" : ", and the provider was not asked";
  if (status === 200 && gained) {
    const how = again ? "The thief is in again, with a fresh JWT." : "The thief is in, with a fresh JWT: while cookies are not sealed, a refresh token alone is a session.";
    const source = asked ? "The provider gave new tokens for it, so the one in the victim's browser is a used one."
      : "The gateway gave him its newest tokens, as after a lost answer.";
    return `${how} ${source} Until somebody uses what the thief got, and for the replay window (${window} s) after that, the gateway gives the victim ` +
      "the same tokens: both share the session. After that the gateway takes the used one for reuse, and ends the session for both, here and at the " +
      "provider. With sealed cookies the first step is refused: turn them on above, sign in, and try again.";
  }
  if (status === 200) return "The thief got an answer for a signed-in user, and no new token.";
  if (status === 401 && sealed) {
    return `Refused${unasked}: the gateway seals the refresh token's cookie (session.seal_keys), and this token is not sealed. One that was found ` +
      `elsewhere, such as at the provider or in a log, is worth nothing here. ${ended ? `The victim's login has ended anyway: ${ENDS[ended]}.` : "The victim's login goes on."}`;
  }
  if (status === 401 && ended) return `Refused${unasked}: the login has ended (${ENDS[ended]}), and what the thief holds is worth nothing any more.`;
  return otherwise(status, unasked);
}

function jwtCaption({ status, remaining, login_ended: ended }) {
  if (status === 200 && remaining === 0) {
    return "The thief is in, though the JWT has just expired: the gateway tolerates a few seconds of clock skew (leeway). After that it ends, " +
      "because there is no refresh token.";
  }
  if (status === 200) {
    const late = ended === "expired" ? " The provider has ended the login; the gateway hears of that at the next refresh." : "";
    return `The thief is in, for ${remaining} more s: a JWT is checked locally, and nobody asks the provider. Sealed cookies do not change that; ` +
      `short lifetimes keep it short, and a sign-out recalls the JWT at once: sign out, and use it again.${late}`;
  }
  if (status === 401 && remaining === 0) return "Too late for the thief: the stolen JWT has expired, and there is no refresh token to renew it.";
  if (status === 401 && ended === "revoked") {
    return `Refused, although the JWT has ${remaining} s left: the session has ended, by a sign-out, another sign-in of the same browser, or reuse, and the gateway recalled its JWTs.`;
  }
  if (status === 401) return `Refused, although the JWT has ${remaining} s left: the gateway does not take it any more.`;
  return otherwise(status, "");
}

function otherwise(status, unasked) {
  if (status === 401 || status === 403) return `Refused${unasked}.`;
  if (status === 503) return "No decision: the provider could not be asked, so nobody was let in.";
  return `The gateway answered ${status}, and the thief got nothing.`;
}

/** What the gateway decided where it answered with one of its own codes. */
export const CODES = {
  session_expired: "the session has ended: refused here",
  not_logged_in: "no session: answered here, nobody else is asked",
  forbidden: "JWT verified locally: its roles do not suffice, the app is not asked",
  cross_site_request: "a request of another site: refused here",
  too_many_attempts: "too many attempts: the provider is not asked",
  identity_provider_unavailable: "the provider cannot be used now: no decision, the session is kept",
  upstream_unavailable: "the app cannot be reached",
  upstream_timeout: "the app did not answer in time",
};
