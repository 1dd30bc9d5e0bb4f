// What the side panel says follows from what was observed, over all that can be. Without a browser: these modules are
// plain functions.

import assert from "node:assert/strict";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

let directory, words, tokens, story;

before(async () => {
  // Beside a package.json that says what they are.
  directory = await mkdtemp(join(tmpdir(), "portcullis-demo-web-"));
  await cp(fileURLToPath(new URL("../../examples/demo/web/shared", import.meta.url)), directory, { recursive: true });
  await writeFile(join(directory, "package.json"), '{ "type": "module" }');
  const load = (name) => import(pathToFileURL(join(directory, name)));
  [words, tokens, story] = await Promise.all(["words.js", "tokens.js", "story.js"].map(load));
});

after(() => rm(directory, { recursive: true }));

const every = (table) => Object.entries(table).reduce(
  (rows, [name, values]) => rows.flatMap((row) => values.map((value) => ({ ...row, [name]: value }))), [{}]);

describe("a colour", () => {
  test("of a status is that of what it means", () => {
    const tones = { ok: [101, 200, 201, 204, 206], neutral: [100, 103, 301, 302, 304, 404], bad: [0, 400, 401, 403, 429, 500, 502, 503, 504] };
    for (const [tone, statuses] of Object.entries(tones)) {
      for (const status of statuses) assert.equal(words.statusTone(status), tone, String(status));
    }
  });

  test("of the bar is a good one only for a session that is known to live", () => {
    const pair = { jti: "j", jwt: "jwt·1", refresh_token: "rt·1", lifetime: 30, expires_at: 100 };
    const logins = [null, { tokens: pair, used: false, ended: null }, { tokens: pair, used: true, ended: "revoked" }];
    const all = every({ user: [undefined, null, { sub: "1", name: "Alice" }], login: logins, gateway: [undefined, null, {}], connected: [true, false], left: [20, 5, 0, -3] });
    for (const one of all) {
      const said = words.sessionWords(one);
      const known = Boolean(one.user && one.login && one.connected);
      assert.equal(said.bar, !known ? "idle" : one.left > 7 ? "good" : "due", JSON.stringify(one));
      if (!one.user) {
        assert.equal(said.countdown, "");
        assert.doesNotMatch(said.who + said.tokens, /Alice|jwt·|rt·/);
      }
      if (one.left <= 0) assert.doesNotMatch(said.countdown, /expires in/);
      if (one.user && !one.login) assert.match(said.tokens, /not known/);
    }
  });

  test("and the sentences of an attack are those of its outcome", () => {
    const all = every({
      loot: ["refresh_token", "jwt"], again: [false, true], status: [200, 401, 403, 404, 429, 500, 502, 503, 504], gained: [null, { jwt: "jwt·2", refresh_token: "rt·2" }],
      asked: [true, false], sealed: [true, false], login_ended: [null, "revoked", "expired", "reused"], remaining: [0, 20],
    });
    for (const one of all.map((row) => ({ ...row, token: "rt·1", code: null, replay_window: 30 }))) {
      const { tone, badge, caption, title, gained } = words.theftWords(one);
      const text = JSON.stringify(one);
      const [inside, refused] = [one.status === 200, one.status === 401 || one.status === 403];
      assert.equal(tone, inside ? "bad" : refused ? "good" : "", text);
      assert.equal(badge, inside ? "the thief is in" : refused ? "refused" : `no success: ${one.status}`, text);
      assert.equal(/^The thief (is in|got an answer)/.test(caption), inside, text);
      if (refused) assert.match(caption, /^(Refused|Too late)/, text);
      if (one.asked) assert.doesNotMatch(caption, /not asked/, text);
      if (one.login_ended) assert.doesNotMatch(caption, /login goes on/, text);
      if (!one.sealed) assert.doesNotMatch(caption, /the gateway seals/, text);
      if (!one.gained) assert.match(gained, /no new tokens/, text);
      assert.equal(title.endsWith("again"), one.again);
      assert.doesNotMatch(caption, /provider notices|does not recall|undefined|null/, text);
    }
  });
});

describe("the browser's tokens", () => {
  const hand = (jti, at, family = "a") => ({ kind: "provider", grant: "refresh_token", started: at - 1, ended: at, family, issued: { jti, jwt: `jwt·${jti}`, refresh_token: `rt·${jti}`, expires_at: 1e6, lifetime: 30 } });
  const request = (started, ended, rest) => ({ id: `r${started}`, method: "GET", path: "/api/x", started, ended, status: 200, code: null, ...rest });
  const last = (requests, exchanges = [hand("1", 1), hand("2", 20), hand("9", 30, "b")], heard = []) =>
    tokens.holdings({ requests, apps: new Map(), heard, pairs: tokens.pairsOf(exchanges) }).at(-1)?.jti;

  test("are those of the last answer, but not of a late one", () => {
    const login = request(0, 2, { jti: "1" });
    const refreshed = request(19, 21, { jti: "2" });
    const table = [
      [[], undefined, "nothing is known before the first answer"],
      [[login], "1", "as the login says"],
      [[login, refreshed], "2", "as the refresh says"],
      [[login, refreshed, request(18, 25, { jti: "1" })], "2", "an answer with the JWT from before came late"],
      [[login, request(3, 4, { status: 0 })], "1", "no answer changes nothing"],
      [[login, request(3, 4, { status: 503, code: "identity_provider_unavailable" })], "1", "nor does an outage"],
      [[login, request(3, 4, { status: 403, code: "forbidden" })], "1", "nor a role that is missing"],
      [[login, request(3, 4, { status: 401, code: "session_expired" })], null, "the session has ended"],
      [[login, request(3, 4, { status: 404, code: "not_logged_in" })], null, "there is none"],
      [[login, request(3, 4, { path: "/api/logout", status: 204 })], null, "signed out"],
      [[login, request(3, 4, { path: "/api/logout", status: 0 })], "1", "a sign-out without an answer is none"],
      [[login, request(3, 9, { path: "/api/logout", status: 204 }), request(5, 10, { jti: "1" })], null, "an answer from before the sign-out came late"],
      [[login, request(29, 31, { jti: "9" }), request(25, 35, { status: 401, code: "session_expired" })], "9", "the end of the session that a login has replaced"],
    ];
    for (const [requests, expected, why] of table) assert.equal(last(requests), expected, why);
    assert.equal(last([login], undefined, [{ started: 5, at: 6, jti: null }]), null, "another tab signed out");
    assert.equal(last([login], undefined, [{ started: 25, at: 31, jti: "9" }]), "9", "another tab signed in");
  });

  test("and a refresh are told apart from another browser's at the same time", () => {
    const own = request(100, 110, { id: "own", jti: undefined });
    const exchanges = [
      hand("1", 1), hand("9", 1, "b"),
      // Both within the time of our request; theirs came first.
      { ...hand("9b", 103, "b"), id: 1, presented: "rt·9", request: "POST /oauth2/token", detail: "", status: 200, outcome: "" },
      { ...hand("1b", 106), id: 2, presented: "rt·1", request: "POST /oauth2/token", detail: "", status: 200, outcome: "" },
      { kind: "app", id: 3, request_id: "own", jti: "1b", user: "alice", roles: [], started: 107, ended: 108, status: 200, method: "GET", path: "/api/x" },
    ];
    const login = request(0, 2, { id: "login", path: "/api/login", method: "POST", jti: "1" });
    const { steps, held } = story.tell({ requests: [login, own], exchanges, isPublic: () => false, since: 50 });
    assert.equal(held.jti, "1b");
    const mine = steps.find(({ key }) => key === "own");
    assert.deepEqual(mine.arrows.filter(({ label }) => label === "POST /oauth2/token").length, 1);
    assert.equal(mine.badge, "silent refresh");
    assert.ok(steps.some(({ key, badge }) => key === "call-1" && badge === "for another page"));
  });
});

test("of several gateways, the one that answered and the one that called are named", () => {
  const request = (id, replica) => ({ id, method: "GET", path: "/api/x", started: 100, ended: 130, status: 200, code: null, jti: undefined, replica });
  const app = (id, replica) => ({ kind: "app", id: Number(id), request_id: id, jti: "2", user: "alice", roles: [], started: 120, ended: 125, status: 200, method: "GET", path: "/api/x", replica });
  const tokens = (jti) => ({ jti, jwt: `jwt·${jti}`, refresh_token: `rt·${jti}`, lifetime: 30, expires_at: 1 });
  const login = { id: "login", method: "POST", path: "/api/login", started: 1, ended: 3, status: 200, code: null, jti: "1", replica: "3" };
  const exchanges = [
    { kind: "provider", id: 8, grant: "password", request: "POST /oauth2/token", detail: "", status: 200, outcome: "", family: "a", issued: tokens("1"), replica: "3", started: 1.5, ended: 2 },
    { kind: "provider", id: 9, grant: "refresh_token", request: "POST /oauth2/token", detail: "rt·1", status: 200, outcome: "", family: "a", presented: "rt·1", issued: tokens("2"), replica: "2", started: 105, ended: 110 },
    app("11", "1"), app("12", "2"),
  ];
  const { steps } = story.tell({ requests: [login, request("11", "1"), request("12", "2")], exchanges, isPublic: () => false, since: 50 });
  const [waited, called] = ["11", "12"].map((id) => steps.find(({ key }) => key === id));
  assert.deepEqual([waited.replica, called.replica], ["1", "2"]);
  assert.equal(called.arrows.filter(({ detail }) => detail === "rt·1 · from gateway 2").length, 1);
  assert.equal(waited.arrows.filter(({ label }) => label === "POST /oauth2/token").length, 0);
  assert.ok(waited.arrows.some(({ note }) => note === "refresh under way for a parallel request at gateway 2: the outcome is shared"), JSON.stringify(waited.arrows));
});

test("a request without an answer has no outcome, whatever came of it", () => {
  for (const [method, path] of [["GET", "/api/x"], ["GET", "/api/user"], ["POST", "/api/login"], ["POST", "/api/logout"], ["GET", "/api/products"]]) {
    const request = { id: "1", method, path, started: 1, ended: 2, status: 0, code: null };
    const app = { kind: "app", id: 1, request_id: "1", jti: "1", user: "alice", roles: [], started: 1.2, ended: 1.5, status: 200, method, path };
    for (const exchanges of [[], [app]]) {
      const { steps: [step], held } = story.tell({ requests: [request], exchanges, isPublic: () => false, since: 0 });
      assert.deepEqual([step.badge, step.tone], ["no answer", "bad"], path);
      assert.deepEqual(step.arrows.at(-1).status, 0);
      assert.doesNotMatch(step.arrows.at(-1).detail, /cookies/);
      assert.equal(held, undefined);
    }
  }
});
