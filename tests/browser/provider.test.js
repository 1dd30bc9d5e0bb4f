// The demo's identity provider by itself: it must behave as a real one, or the demo shows nothing true.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startDemo } from "./support.js";

let demo, metadata;

before(async () => {
  demo = await startDemo();
  metadata = await (await fetch(`${demo.provider}/.well-known/openid-configuration`)).json();
});

after(() => demo?.stop());

const basic = (id, secret) => ({ authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString("base64")}` });
const STORE = basic("store", "store-demo-secret");
const FORUMS = basic("forums", "forums-demo-secret");

async function post(url, form, headers = STORE) {
  const response = await fetch(url, { method: "POST", body: new URLSearchParams(form), headers });
  assert.equal(response.headers.get("cache-control"), "no-store");
  return { status: response.status, headers: response.headers, ...(await response.json()) };
}

const token = (form, headers) => post(metadata.token_endpoint, form, headers);
const refresh = (refresh_token, headers) => token({ grant_type: "refresh_token", refresh_token }, headers);
const login = (username = "bob", password = "builder") =>
  token({ grant_type: "password", username, password, scope: "openid offline_access" });
const claimsOf = (jwt) => JSON.parse(Buffer.from(jwt.split(".")[1], "base64url"));

test("discovery names the issuer, and the JWKS has the key of the JWT", async () => {
  assert.equal(metadata.issuer, demo.provider);
  const { keys } = await (await fetch(metadata.jwks_uri)).json();
  const { access_token: jwt, expires_in: lifetime } = await login();
  const header = JSON.parse(Buffer.from(jwt.split(".")[0], "base64url"));
  const jwk = keys.find(({ kid }) => kid === header.kid);
  const key = await crypto.subtle.importKey("jwk", jwk, { name: "ECDSA", namedCurve: "P-256" }, false, ["verify"]);
  const [head, body, signature] = jwt.split(".");
  const signed = new TextEncoder().encode(`${head}.${body}`);
  assert.ok(await crypto.subtle.verify({ name: "ECDSA", hash: "SHA-256" }, key, Buffer.from(signature, "base64url"), signed));
  const claims = claimsOf(jwt);
  assert.deepEqual([claims.iss, claims.aud, claims.azp, claims.email], [demo.provider, "store", "store", "bob@example.com"]);
  assert.equal(claims.exp - claims.iat, lifetime);
});

test("a refresh rotates, and keeps subject and session", async () => {
  const first = await login();
  const second = await refresh(first.refresh_token);
  assert.equal(second.status, 200);
  assert.notEqual(second.refresh_token, first.refresh_token);
  const [before, after] = [claimsOf(first.access_token), claimsOf(second.access_token)];
  assert.deepEqual([after.sub, after.sid], [before.sub, before.sid]);
  assert.notEqual(after.jti, before.jti);
});

test("a used refresh token kills its family, and no other", async () => {
  const [first, other] = [await login(), await login()];
  const second = await refresh(first.refresh_token);
  const reused = await refresh(first.refresh_token);
  assert.deepEqual([reused.status, reused.error], [400, "invalid_grant"]);
  assert.equal((await refresh(second.refresh_token)).error, "invalid_grant");
  assert.equal((await refresh(other.refresh_token)).status, 200);
});

test("a refresh token belongs to its client", async () => {
  const { refresh_token: mine } = await login();
  assert.equal((await refresh(mine, FORUMS)).error, "invalid_grant");
  assert.equal((await refresh(mine)).status, 200);
});

test("revocation ends the family and knows no failure", async () => {
  const { refresh_token: mine } = await login();
  assert.equal((await post(metadata.revocation_endpoint, { token: mine })).status, 200);
  assert.equal((await post(metadata.revocation_endpoint, { token: "never seen" })).status, 200);
  assert.equal((await refresh(mine)).error, "invalid_grant");
});

test("wrong password and unknown user are answered alike", async () => {
  const [wrong, unknown] = [await login("bob", "wrong"), await login("nobody", "wrong")];
  assert.deepEqual([wrong.status, wrong.error, wrong.error_description], [unknown.status, unknown.error, unknown.error_description]);
  assert.deepEqual([wrong.status, wrong.error], [400, "invalid_grant"]);
});

test("clients authenticate by Basic or by form, and otherwise not at all", async () => {
  const grant = { grant_type: "password", username: "bob", password: "builder" };
  assert.equal((await token({ ...grant, client_id: "store", client_secret: "store-demo-secret" }, {})).status, 200);
  assert.equal((await token(grant, basic("store", "store%2Ddemo%2Dsecret"))).status, 200);
  const wrong = await token(grant, basic("store", "guessed"));
  assert.deepEqual([wrong.status, wrong.error], [401, "invalid_client"]);
  assert.match(wrong.headers.get("www-authenticate"), /^Basic /);
  assert.equal((await token(grant, {})).error, "invalid_client");
  assert.equal((await token({ ...grant, client_secret: "x" })).error, "invalid_request");
});

test("malformed requests get the error of RFC 6749", async () => {
  assert.equal((await token({ grant_type: "client_credentials" })).error, "unsupported_grant_type");
  assert.equal((await token({})).error, "invalid_request");
  assert.equal((await token({ grant_type: "password", username: "bob" })).error, "invalid_request");
  assert.equal((await token({ grant_type: "password", username: "bob", password: "builder", scope: "root" })).error, "invalid_scope");
  const twice = [["grant_type", "password"], ["username", "bob"], ["username", "alice"], ["password", "builder"]];
  assert.equal((await token(twice)).error, "invalid_request");
  const json = await fetch(metadata.token_endpoint, { method: "POST", body: "{}", headers: { ...STORE, "content-type": "application/json" } });
  assert.deepEqual([json.status, (await json.json()).error], [400, "invalid_request"]);
});
