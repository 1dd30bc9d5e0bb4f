// Which tokens this browser holds. No script can read the cookies, so it goes by what was observed: the gateway names
// the JWT of each request to the app and in the user object (`jti`), and that is the one that the browser has once it
// has the answer.

/**
 * Every pair of tokens that the provider handed out, by its `jti`. `known`: pairs whose hand-out is not among the
 * exchanges.
 */
export function pairsOf(exchanges, known = []) {
  const pairs = new Map(known.map((pair) => [pair.jti, pair]));
  for (const call of exchanges) {
    if (call.kind === "provider" && call.issued) {
      pairs.set(call.issued.jti, { ...call.issued, family: call.family, sealed: call.sealed, at: call.ended });
    }
  }
  return pairs;
}

/** Whether the answer says that the browser holds no session any more. */
export const endsSession = ({ path, status, code }) =>
  code === "session_expired" || code === "not_logged_in" || (path === "/api/logout" && status === 204);

/**
 * What this browser held, in order: [{ at, jti }], `jti` null for no session. `heard` is what other pages of the same
 * browser observed, in the same form.
 */
export function holdings({ requests, apps, heard = [], pairs }) {
  const observed = requests.filter(({ ended }) => ended !== null).map((request) => {
    const { started, ended: at } = request;
    // Without an answer, the browser has what it had.
    const jti = request.status === 0 ? undefined : request.jti ?? apps.get(request.id)?.jti ?? (endsSession(request) ? null : undefined);
    return { started, at, jti, signOut: request.path === "/api/logout" };
  });
  const all = [...heard, ...observed.filter(({ jti }) => jti !== undefined)].sort((a, b) => a.at - b.at);
  const kept = [];
  for (const one of all) {
    const before = kept.at(-1);
    if (!before || !isLate(one, before, kept, pairs)) kept.push(one);
  }
  return kept;
}

/** Whether it is the answer to a request from before: it says nothing of what the browser holds now. */
function isLate(one, before, kept, pairs) {
  if (before.jti === null) return one.jti !== null && one.started < before.at;
  const [now, then] = [pairs.get(one.jti), pairs.get(before.jti)];
  // The end of a session that another one has replaced meanwhile: the gateway clears no cookie then.
  if (one.jti === null && !one.signOut) return Boolean(then) && heldAt(kept, pairs, one.started)?.family !== then.family;
  return Boolean(now && then) && now.family === then.family && now.at < then.at;
}

/** What was held at that time: a pair, null (no session), or undefined (not known). */
export function heldAt(holdings, pairs, time) {
  const last = holdings.findLast(({ at }) => at <= time);
  return last && (last.jti === null ? null : pairs.get(last.jti));
}
