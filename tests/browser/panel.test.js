// The side panel: it says what was observed of this browser, in the right colour, and it can be found and used.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { browser, demo, user } from "./stage.js";
import {
  bannerOf, eventually, newUser, poke, refreshToken, signIn, signInButton, startDemo, untilDue,
} from "./support.js";

const attack = (page, tone, text) => page.locator(`.step.attack.${tone}`, { hasText: text }).first();
const focused = (page, selector) => eventually(() => page.evaluate((css) => document.activeElement?.matches(css), selector), `focus on ${selector}`);

async function open(app = "store", name = "bob", password = "builder", at = demo) {
  const page = await user.open(at[app]);
  if (name) await signIn(page, name, password);
  return page;
}

/** With another configuration, and a page that may lose its server. */
async function elsewhere(change, use) {
  const other = await startDemo(change);
  const careless = await newUser(browser);
  try {
    await use(other, careless);
  } finally {
    await careless.close();
    await other.stop();
  }
}

const unsealed = (toml) => toml.replace(/^seal_keys = .*$/m, "");

describe("the panel tells of this browser", () => {
  test("its own tokens, and the thief's as the thief's", () => elsewhere(unsealed, async (bare, { open: visit }) => {
    const page = await visit(bare.store);
    await signIn(page, "alice", "wonderland");
    const own = await refreshToken(page);
    await page.locator("#flow-steal-refresh").click();
    await page.locator(".step.attack", { hasText: "The thief is in" }).waitFor();
    await eventually(() => bare.calls("refresh_token", own).length === 1, "the thief's refresh");
    assert.equal(await refreshToken(page), own);
    await page.locator(".session-tokens", { hasText: "used" }).waitFor();
    const gained = /rt·[0-9a-f]+/.exec(bare.calls("refresh_token", own)[0].outcome)[0];
    await page.locator("#flow-thief", { hasText: gained }).waitFor();
    // Once the browser has them, they are its own, too.
    await untilDue(page);
    await poke(page);
    await page.locator(".step.bad .badge", { hasText: "shared with the thief" }).waitFor();
    await eventually(async () => (await refreshToken(page)) !== own, "the new tokens in the panel");
  }));

  test("its own tokens, where the same user signs in elsewhere", async () => {
    const page = await open();
    const own = await refreshToken(page);
    const other = await newUser(browser);
    try {
      const theirs = await other.open(demo.store);
      await signIn(theirs, "bob", "builder");
      const newer = await refreshToken(theirs);
      assert.notEqual(newer, own);
      await page.locator(".step", { hasText: "for another page" }).first().waitFor();
      assert.equal(await refreshToken(page), own);
      // Ending one ends the other one's not.
      await page.locator("#flow-expire").click();
      await page.locator(".session-tokens", { hasText: "login ended" }).waitFor();
      assert.doesNotMatch(await theirs.locator(".session-tokens").textContent(), /ended/);
    } finally {
      await other.close();
    }
  });

  test("nothing of anybody once it is signed out", async () => {
    const page = await open();
    await page.locator(".countdown", { hasText: "JWT expires in" }).waitFor();
    await page.locator("#sign-out").click();
    await signInButton(page).waitFor();
    await eventually(async () => (await page.locator(".countdown").textContent()) === "", "the end of the countdown");
    assert.equal(await page.locator(".life-fill").evaluate((bar) => bar.offsetWidth), 0);
    assert.doesNotMatch(await page.locator(".session").textContent(), /rt·|jwt·|Bob/);
  });

  test("who is signed in, in every tab at once", async () => {
    const [first, second] = [await open(), await user.open(demo.store)];
    await second.locator("#who", { hasText: "Bob Mason" }).waitFor();
    await first.locator("#sign-out").click();
    await signInButton(second).waitFor();
    await second.locator(".session-state", { hasText: "Not signed in" }).waitFor();
    await signIn(first, "alice", "wonderland");
    await second.locator("#who", { hasText: "Alice Liddell" }).waitFor();
    await second.locator(".session-state", { hasText: "Alice Liddell" }).waitFor();
    await eventually(async () => (await refreshToken(second)) === (await refreshToken(first)), "the same tokens in both tabs");
    // What one tab refreshed, the other one has.
    const old = await refreshToken(first);
    await untilDue(first);
    await poke(first);
    await eventually(async () => (await refreshToken(first)) !== old && (await refreshToken(second)) === (await refreshToken(first)), "the refresh in both tabs");
  });

  test("nothing that it cannot know, where the provider is not the demo's own", async () => {
    const page = await user.open("about:blank");
    await page.route("**/demo/state*", (route) => route.fulfill({ json: { login: null, gateway: null } }));
    await page.route("**/api/user", (route) => route.fulfill({ json: { sub: "1", name: "Alice Liddell" } }));
    await page.route("**/api/shopping-cart", (route) => route.fulfill({ json: { lines: [], total_cents: 0 } }));
    await page.goto(demo.store);
    await page.locator(".session-state", { hasText: "Alice Liddell" }).waitFor();
    await page.locator(".session-tokens", { hasText: "not known here: the identity provider is not the demo's own" }).waitFor();
    assert.equal(await page.locator(".life-fill.good, .life-fill.due").count(), 0);
    for (const id of ["flow-seal", "flow-steal-jwt", "flow-steal-refresh", "flow-expire", "flow-status"]) {
      assert.equal(await page.locator(`#${id}`).isVisible(), false, id);
    }
  });

  test("that nobody answers, in no good colour", () => elsewhere((toml) => toml, async (gone, { open: visit }) => {
    const page = await visit(gone.store);
    await signIn(page, "bob", "builder");
    await page.locator(".countdown", { hasText: "JWT expires in" }).waitFor();
    await gone.stop();
    await poke(page);
    const step = page.locator(".step", { hasText: "no answer" }).first();
    await step.locator(".status.bad", { hasText: "no answer" }).waitFor();
    await step.locator(".badge", { hasText: "no answer" }).waitFor();
    assert.equal(await page.locator(".status.ok", { hasText: "no answer" }).count(), 0);
    await page.locator("#flow-connection", { hasText: "No connection to the demo" }).waitFor();
    assert.equal(await page.locator(".life-fill.good, .life-fill.due").count(), 0);
    // Nor is anybody signed out by that.
    await page.locator("#sign-out").click();
    await page.getByText("You are still signed in").waitFor();
    assert.equal(await page.locator("#who").textContent(), "Bob Mason");
    await page.locator(".step.bad", { hasText: "POST /api/logout" }).locator(".badge", { hasText: "no answer" }).waitFor();
  }));

  test("that the app or the provider does not answer", async () => {
    const careless = await newUser(browser);
    const page = await careless.open(demo.store);
    await signIn(page, "bob", "builder");
    const cases = [
      [502, "upstream_unavailable", "the app cannot be reached"],
      [503, "identity_provider_unavailable", "the provider cannot be used now"],
      [504, "upstream_timeout", "the app did not answer in time"],
    ];
    for (const [status, code, decision] of cases) {
      const problem = { status, contentType: "application/problem+json", body: JSON.stringify({ code, detail: code }) };
      await page.route("**/api/shopping-cart", (route) => route.fulfill(problem));
      await poke(page);
      const step = page.locator(".step.bad", { hasText: decision }).first();
      await step.locator(".status.bad", { hasText: String(status) }).waitFor();
      await step.locator(".badge", { hasText: String(status) }).waitFor();
      await page.unroute("**/api/shopping-cart");
    }
    assert.equal(await page.locator("#who").textContent(), "Bob Mason");
    await careless.close();
  });
});

describe("sealed cookies", () => {
  test("refuse what is let in without them, at the flip of a switch", async () => {
    const page = await open();
    const seal = page.getByRole("switch", { name: "Sealed cookies" });
    const steal = async (tone, text) => {
      await page.locator("#flow-steal-refresh").click();
      await attack(page, tone, text).waitFor();
    };
    assert.equal(await seal.getAttribute("aria-checked"), "true");
    await page.locator(".session-tokens", { hasText: "sealed rt·" }).waitFor();
    await steal("good", "Refused, and the provider was not asked");
    await attack(page, "good", "Refused").locator(".status.ok", { hasText: "401" }).waitFor();
    assert.equal(await page.locator(".step.attack.bad").count(), 0);
    await poke(page);
    assert.equal(await page.locator("#who").textContent(), "Bob Mason");

    await seal.click();
    await page.locator(".step.warn", { hasText: "Sealed cookies are off" }).waitFor();
    await page.getByText("Sealed cookies are off now. Sign in").waitFor();
    assert.equal(await seal.getAttribute("aria-checked"), "false");
    await focused(page, "#flow-seal");
    await signIn(page, "bob", "builder");
    assert.doesNotMatch(await page.locator(".session-tokens").textContent(), /sealed/);
    await steal("bad", "The thief is in, with a fresh JWT");
    await attack(page, "bad", "The thief is in").locator(".status.bad", { hasText: "200" }).waitFor();

    await seal.click();
    await page.locator(".step.good", { hasText: "Sealed cookies are on" }).waitFor();
    await signIn(page, "bob", "builder");
    const before = await page.locator(".step.attack.good").count();
    await page.locator("#flow-steal-refresh").click();
    await eventually(async () => (await page.locator(".step.attack.good").count()) === before + 1, "the refused attack");
  });

  test("are of both apps, and end other sessions when their JWT is due", async () => {
    const page = await open();
    const other = await user.open(demo.forums);
    await signIn(other, "bob", "builder");
    for (const [on, title] of [["false", "Sealed cookies are off"], ["true", "Sealed cookies are on"]]) {
      await page.getByRole("switch").click();
      await other.locator(".step", { hasText: title }).waitFor();
      await other.locator(`#flow-seal[aria-checked="${on}"]`).waitFor();
      // As its note says: the session goes on at first.
      await poke(other);
      assert.equal(await other.locator("#who").textContent(), "Bob Mason");
      await eventually(async () => {
        if (await signInButton(other).isVisible()) return true;
        await poke(other);
        return false;
      }, "the end of the session");
      await other.locator(".step.bad .badge", { hasText: "session ended" }).first().waitFor();
      await signIn(other, "bob", "builder");
    }
  });

  test("change nothing for a stolen JWT; a sign-out recalls it", async () => {
    const page = await open();
    await page.locator("#flow-steal-jwt").click();
    await attack(page, "bad", "The thief is in, for").waitFor();
    await page.locator("#sign-out").click();
    await signInButton(page).waitFor();
    await page.getByRole("button", { name: "Use the stolen JWT again" }).click();
    await attack(page, "good", "the gateway recalled its JWTs").waitFor();
    assert.ok(await page.locator("#flow-steal-refresh").isDisabled(), "a refresh token that no browser holds cannot be stolen");
  });
});

describe("the panel is found", () => {
  for (const [width, height] of [[768, 900], [375, 740]]) {
    test(`on a window of ${width} pixels, from the start`, async () => {
      const page = await user.open("about:blank");
      await page.setViewportSize({ width, height });
      await page.goto(demo.store);
      const button = page.getByRole("button", { name: /Under the hood/ });
      await button.waitFor();
      const { x, y, width: across, height: down } = await button.boundingBox();
      assert.ok(x >= 0 && x + across <= width && y >= 0 && y + down <= height, "the button is on the screen");
      assert.equal(await page.locator("#flow-steps").isVisible(), false);
      await button.click();
      await page.locator(".step", { hasText: "GET /api/user" }).waitFor();
      const panel = await page.locator("#flow").boundingBox();
      assert.deepEqual([panel.x, panel.y, panel.width, panel.height], [0, 0, width, height]);
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), width);
      // What it covers cannot be reached by keyboard.
      assert.equal(await page.locator(".app").evaluate((app) => app.inert), true);
      await page.keyboard.press("Escape");
      await focused(page, "#flow-toggle");
      assert.equal(await page.locator("#flow-steps").isVisible(), false);
      assert.equal(await page.locator(".app").evaluate((app) => app.inert), false);
    });
  }

  test("with the number of failures that nobody has seen", async () => {
    const page = await open("store", null);
    const badge = page.locator("#flow-failures");
    await page.getByRole("button", { name: "Hide" }).click();
    await badge.waitFor({ state: "hidden" });
    for (const times of ["1 failure", "2 failures"]) {
      await page.getByLabel("User name").fill("bob");
      await page.getByLabel("Password").fill("wrong");
      await signInButton(page).click();
      await page.getByRole("button", { name: `Under the hood ${times}` }).waitFor();
    }
    await page.locator("#flow-toggle").click();
    await badge.waitFor({ state: "hidden" });
    await page.getByRole("button", { name: "Hide" }).click();
    await badge.waitFor({ state: "hidden" });
  });

  test("beside the links to the other app and the status page", async () => {
    const page = await open("store", null);
    await page.getByRole("link", { name: "Forums" }).click();
    await page.getByRole("heading", { name: "Conversations" }).waitFor();
    assert.equal(page.url(), `${demo.forums}/`);
    await page.getByRole("link", { name: `status page: ${new URL(demo.status).host}` }).waitFor();
    const address = await page.locator("#flow-status").getAttribute("href");
    assert.equal(address, demo.status);
    assert.match(await (await fetch(address)).text(), /Portcullis/);
    await page.getByRole("link", { name: "Store" }).click();
    await page.getByRole("heading", { name: "Pottery, made slowly." }).waitFor();
  });

  test("and the banner names the same", async () => {
    const { text, store, status } = await bannerOf();
    assert.match(text, new RegExp(`^ +store +${store}$`, "m"));
    assert.match(text, new RegExp(`^ +status page +${status}$`, "m"));
  });
});

describe("the focus stays where the work is", () => {
  for (const [app, heading] of [["store", /Your cart/], ["forums", /^bob$/]]) {
    test(`in the ${app}, after signing in and out`, async () => {
      const page = await open(app, null);
      await page.getByLabel("User name").fill("bob");
      await page.getByLabel("Password").fill("builder");
      await page.keyboard.press("Enter");
      await page.locator("#toasts", { hasText: "Welcome, Bob Mason" }).waitFor();
      await focused(page, "#side h2");
      await page.locator("#side h2", { hasText: heading }).waitFor();
      await focused(page, "#side h2");
      await page.locator("#sign-out").focus();
      await page.keyboard.press("Enter");
      await focused(page, "#side #sign-in-title");
      await page.keyboard.press("Tab");
      await focused(page, "#username");
    });
  }

  test("on the control that was used, when the page draws it anew", async () => {
    const page = await open();
    await page.locator('.product[data-product="dawn-bowl"]').getByRole("button").click();
    await page.locator('.cart-line[data-product="dawn-bowl"]').getByRole("button", { name: "One more" }).focus();
    await page.keyboard.press("Enter");
    await page.locator('.cart-line[data-product="dawn-bowl"] output', { hasText: "2" }).waitFor();
    await focused(page, '.cart-line[data-product="dawn-bowl"] [aria-label="One more"]');
    await page.getByRole("button", { name: "Table" }).focus();
    await page.keyboard.press("Enter");
    await page.locator('.filters [aria-pressed="true"]', { hasText: "Table" }).waitFor();
    await focused(page, '.filters [aria-pressed="true"]');
    await page.getByRole("button", { name: "Empty the cart" }).focus();
    await page.keyboard.press("Enter");
    await page.getByText("Still empty").waitFor();
    await focused(page, "#side h2");
  });
});
