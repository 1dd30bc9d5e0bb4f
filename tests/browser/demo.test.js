// The whole workflow of the demo, as a browser sees it.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { browser, demo, user } from "./stage.js";
import { eventually, newUser, poke, refreshToken, signIn, signInButton, startDemo, untilDue } from "./support.js";

const badge = (page, text) => page.locator(".step .badge", { hasText: text }).first();

async function atTheStore(name = "bob", password = "builder") {
  const page = await user.open(demo.store);
  await signIn(page, name, password);
  return page;
}

async function add(page, product) {
  await page.locator(`.product[data-product="${product}"]`).getByRole("button").click();
  await page.locator(`.cart-line[data-product="${product}"]`).waitFor();
}

describe("the store", () => {
  test("shows its own form, refuses a wrong password, lets the right one in", async () => {
    const page = await user.open(demo.store);
    await page.locator(".product").first().waitFor();
    await page.getByLabel("User name").fill("bob");
    await page.getByLabel("Password").fill("wrong");
    await signInButton(page).click();
    await page.getByRole("alert").getByText("User name or password is wrong").waitFor();
    assert.deepEqual(await user.context.cookies(), []);

    await signIn(page, "bob", "builder");
    assert.equal(await page.locator("#who").textContent(), "Bob Mason");
    await badge(page, "login").waitFor();
  });

  test("gives the browser cookies that no script and no other host can have", async () => {
    const page = await atTheStore();
    const cookies = await user.context.cookies();
    assert.deepEqual(cookies.map(({ name }) => name).sort(), ["__Host-access_token", "__Host-refresh_token"]);
    for (const { domain, path, httpOnly, secure, sameSite } of cookies) {
      assert.deepEqual({ domain, path, httpOnly, secure, sameSite }, { domain: "store.localhost", path: "/", httpOnly: true, secure: true, sameSite: "Lax" });
    }
    assert.equal(await page.evaluate(() => document.cookie), "");
    assert.equal(await page.evaluate(() => localStorage.length + sessionStorage.length), 0);
  });

  test("keeps the cart through a silent refresh, and through logout and login", async () => {
    const page = await atTheStore();
    await add(page, "harbour-mug");
    const before = await user.context.cookies();
    const old = await refreshToken(page);
    await untilDue(page);
    await poke(page);
    await badge(page, "silent refresh").waitFor();
    await eventually(() => demo.calls("refresh_token", old).length === 1, "a refresh at the provider");
    const after = await user.context.cookies();
    for (const { name, value } of before) assert.notEqual(after.find((cookie) => cookie.name === name).value, value);
    assert.equal(await page.locator(".cart-line").count(), 1);

    await page.locator("#sign-out").click();
    await signInButton(page).waitFor();
    assert.equal(await page.locator(".cart-line").count(), 0);
    await signIn(page, "bob", "builder");
    await page.locator('.cart-line[data-product="harbour-mug"]').waitFor();
    await page.getByRole("button", { name: "Empty the cart" }).click();
    await page.getByText("Still empty").waitFor();
  });

  test("refreshes once for two tabs whose JWT expires", async () => {
    const first = await atTheStore();
    const second = await user.open(demo.store);
    await second.locator("#who").waitFor();
    const old = await refreshToken(first);
    await untilDue(first);
    const answered = (page) => page.waitForResponse((response) => response.url().endsWith("/api/shopping-cart"));
    const answers = [answered(first), answered(second)];
    await Promise.all([poke(first), poke(second)]);
    for (const answer of await Promise.all(answers)) assert.equal(answer.status(), 200);
    await eventually(() => demo.calls("refresh_token", old).length > 0, "a refresh at the provider");
    // Both tabs go on with what the one refresh brought.
    for (const page of [first, second]) {
      const again = answered(page);
      await poke(page);
      assert.equal((await again).status(), 200);
      assert.equal(await page.locator("#who").textContent(), "Bob Mason");
    }
    assert.equal(demo.calls("refresh_token", old).length, 1);
    assert.ok(demo.calls("refresh_token").every((call) => !call.reuse), "no refresh token was used twice");
  });

  test("signs every tab out when one does", async () => {
    const first = await atTheStore();
    const second = await user.open(demo.store);
    await second.locator("#who").waitFor();
    const token = await refreshToken(first);
    await first.locator("#sign-out").click();
    await signInButton(first).waitFor();
    await eventually(() => demo.calls("revocation", token).length === 1, "a revocation at the provider");
    assert.deepEqual(await user.context.cookies(), []);

    await poke(second);
    await signInButton(second).waitFor();
    await second.getByText("Please sign in first").waitFor();
  });

  test("shows its form again when the provider has ended the session", async () => {
    const page = await atTheStore();
    await page.locator("#flow-expire").click();
    await page.getByText("The provider ends the session").first().waitFor();
    await untilDue(page);
    await poke(page);
    await page.getByText("Your session has ended").waitFor();
    await signInButton(page).waitFor();
    await badge(page, "session ended").waitFor();
    assert.deepEqual(await user.context.cookies(), []);
  });

  test("tells a customer that a page is for administrators, and shows it to one", async () => {
    const page = await atTheStore();
    await page.getByRole("link", { name: "All orders" }).click();
    await page.getByText("This page is for administrators").waitFor();
    await page.locator("#sign-out").click();
    await signIn(page, "alice", "wonderland");
    await add(page, "night-urn");
    await page.locator("#check-out").click();
    await page.getByRole("heading", { name: "Your orders" }).waitFor();
    await page.getByRole("link", { name: "All orders" }).click();
    await page.getByRole("heading", { name: "All orders" }).waitFor();
    await page.getByText("1 × Night urn").waitFor();
  });
});

describe("the attacks", () => {
  const unsealed = (toml) => toml.replace(/^seal_keys = .*$/m, "");
  const theft = (page) => page.locator(".step.attack", { hasText: "a stolen refresh token with a junk JWT" });

  test("are shown with what they bring", async () => {
    const page = await atTheStore();
    await page.locator("#flow-steal-jwt").click();
    const jwt = page.locator(".step.attack", { hasText: "a stolen JWT" });
    await jwt.locator(".caption", { hasText: "The thief is in, for" }).waitFor();
    await jwt.getByText("no new tokens").waitFor();

    const token = await refreshToken(page);
    await page.locator("#flow-steal-refresh").click();
    await theft(page).locator(".caption", { hasText: "Refused, and the provider was not asked" }).waitFor();
    assert.deepEqual(demo.calls("refresh_token", token), []);

    // The victim's session goes on.
    await untilDue(page);
    await poke(page);
    await badge(page, "silent refresh").waitFor();
    assert.equal(await page.locator("#who").textContent(), "Bob Mason");
  });

  test("share the session where the refresh token is not sealed", async () => {
    const bare = await startDemo(unsealed);
    const page = await user.open(bare.store);
    try {
      await signIn(page, "bob", "builder");
      await page.locator("#flow-steal-refresh").click();
      await theft(page).locator(".caption", { hasText: "The thief is in, with a fresh JWT" }).waitFor();
      await theft(page).getByText("sets jwt·").waitFor();
      await theft(page).getByText("POST /oauth2/token").waitFor();

      // What the thief got has not been used: the victim is given the same.
      await eventually(async () => {
        await poke(page);
        return badge(page, "shared with the thief").isVisible();
      }, "the victim's refresh");
      assert.equal(await page.locator("#who").textContent(), "Bob Mason");
    } finally {
      // First the page: it would complain about the end of its event stream.
      await page.close();
      await bare.stop();
    }
  });

  test("end for thief and victim when the used refresh token comes again after the replay window", async () => {
    const strict = await startDemo((toml) => unsealed(toml).replace(/^# replay_window = .*$/m, 'replay_window = "1s"'));
    const page = await user.open(strict.store);
    try {
      await signIn(page, "bob", "builder");
      const token = await refreshToken(page);
      // The second time with what the first one brought: that uses it.
      for (const times of [1, 2]) {
        await page.locator("#flow-steal-refresh").click();
        await eventually(async () => (await theft(page).locator(".caption", { hasText: "replay window (1 s)" }).count()) === times, "the theft");
      }
      await eventually(async () => {
        if (await signInButton(page).isVisible()) return true;
        await poke(page).catch(() => {});
        return false;
      }, "the end of the victim's session");
      // The gateway knows the token for a used one: it asks for no new JWT, and ends the family at the provider.
      await page.getByText("family revoked").first().waitFor();
      await page.locator(".step.bad", { hasText: "session ended" }).locator(".caption", { hasText: "The gateway noticed the reuse" }).first().waitFor();
      assert.deepEqual(strict.calls("refresh_token", token).map(({ status }) => status), [200]);

      // The thief's successor token is dead, too.
      await page.locator("#flow-steal-refresh").click();
      await page.locator(".step.attack.good .caption", { hasText: "worth nothing any more" }).waitFor();
    } finally {
      // First the page: it would complain about the end of its event stream.
      await page.close();
      await strict.stop();
    }
  });
});

describe("the forums", () => {
  test("ask for their own login", async () => {
    await atTheStore();
    const page = await user.open(demo.forums);
    await page.getByText("You are reading as a guest").waitFor();
    await signInButton(page).waitFor();
    assert.deepEqual(await user.context.cookies(demo.forums), []);

    await signIn(page, "carol", "moderato");
    await page.getByText("Signed in as carol").waitFor();
    assert.equal((await user.context.cookies(demo.forums)).length, 2);
    const tokens = (await user.context.cookies()).map(({ value }) => value);
    assert.equal(new Set(tokens).size, 4);
  });

  test("bring what another member writes at once, by WebSocket", async () => {
    const page = await user.open(demo.forums);
    await signIn(page, "bob", "builder");
    await page.getByRole("link", { name: "A kick wheel" }).click();
    await page.locator("#live.on").waitFor();

    const other = await newUser(browser);
    try {
      const theirs = await other.open(`${demo.forums}/`);
      await signIn(theirs, "alice", "wonderland");
      await theirs.getByRole("link", { name: "A kick wheel" }).click();
      await theirs.getByLabel("Your reply").fill("Cork, definitely cork.");
      await theirs.getByRole("button", { name: "Post reply" }).click();
      await page.locator(".post.fresh", { hasText: "Cork, definitely cork." }).waitFor();
      await page.locator("#present", { hasText: "alice" }).waitFor();
      assert.deepEqual(other.complaints, []);
    } finally {
      await other.close();
    }
  });

  test("let moderators hide what others then cannot read", async () => {
    const page = await user.open(demo.forums);
    await signIn(page, "carol", "moderato");
    await page.getByRole("link", { name: "Show us your worst handle" }).click();
    const post = page.locator(".post", { hasText: "The mug is a compass now" });
    await post.getByRole("button", { name: "Hide" }).click();
    await page.locator(".post.hidden").waitFor();

    await page.locator("#sign-out").click();
    await signIn(page, "bob", "builder");
    await page.getByText("A moderator has hidden this post").waitFor();
    const status = await page.evaluate(async () => {
      const body = JSON.stringify({ thread: 1, post: null, on: true });
      return (await fetch("/api/moderation/verdicts", { method: "POST", body, headers: { "content-type": "application/json" } })).status;
    });
    assert.equal(status, 403);
  });
});
