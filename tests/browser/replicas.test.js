// Three gateways behind a balancer that chooses one at random for each request: a user does not notice.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { eventually, newUser, poke, refreshToken, signIn, signInButton, startBrowser, startDemo, untilDue } from "./support.js";

let browser, fleet, user;

before(async () => {
  fleet = await startDemo((toml) => toml, ["--replicas", "3"]);
  browser = await startBrowser();
});

after(async () => {
  await browser?.close();
  await fleet?.stop();
});

beforeEach(async () => {
  user = await newUser(browser);
});

afterEach(async () => {
  await user.close();
  assert.deepEqual(user.complaints, [], "the pages complained");
});

/** A page of a signed-in user, and every answer to its requests: { path, status, replica }. */
async function atTheStore() {
  const page = await user.open(fleet.store);
  const answers = [];
  page.on("response", (response) => {
    const { pathname } = new URL(response.url());
    if (pathname.startsWith("/api/")) answers.push({ path: pathname, status: response.status(), replica: response.headers()["x-demo-replica"] });
  });
  await signIn(page, "bob", "builder");
  return { page, answers };
}

const statuses = (answers) => [...new Set(answers.map(({ status }) => status))];

describe("three gateways", () => {
  test("make one call for the parallel requests of a session, which get the same tokens", async () => {
    const { page, answers } = await atTheStore();
    for (let round = 1; round <= 3; round += 1) {
      const old = await refreshToken(page);
      await untilDue(page);
      answers.length = 0;
      await page.locator("#flow-burst").click();
      await eventually(() => answers.length >= 6, "six answers");
      await eventually(async () => (await refreshToken(page)) !== old, "new tokens");
      assert.deepEqual(statuses(answers), [200]);
      assert.equal(fleet.calls("refresh_token", old).length, 1);
    }
    // The diagram names the gateways. With 18 requests, one of three is left out once in a thousand runs.
    const named = await eventually(async () => {
      const names = new Set(await page.locator(".step .replica").allTextContents());
      return names.size >= 2 && names;
    }, "more than one gateway in the diagram");
    for (const name of named) assert.match(name, /^Gateway [123]$/);
  });

  test("know of a logout at one of them", async () => {
    const { page, answers } = await atTheStore();
    const cookies = await user.context.cookies();
    await page.locator("#sign-out").click();
    await signInButton(page).waitFor();
    await user.context.addCookies(cookies);
    answers.length = 0;
    // The browser forgets them at each refusal.
    const refuses = (replica) => answers.findLast((one) => one.replica === replica)?.status === 401;
    await eventually(async () => {
      await user.context.addCookies(cookies);
      await page.evaluate(() => fetch("/api/shopping-cart").catch(() => {}));
      return ["1", "2", "3"].every(refuses);
    }, "a refusal by each of them");
  });

  // The last one: it leaves two of them.
  test("go on when one of them is killed", async () => {
    const { page, answers } = await atTheStore();
    process.kill(fleet.fleet.replicas[2].process, "SIGKILL");
    answers.length = 0;
    for (let round = 1; round <= 2; round += 1) {
      await untilDue(page);
      for (let count = 0; count < 3; count += 1) await poke(page);
      await page.locator(".life-fill.good").waitFor();
    }
    await eventually(() => answers.length >= 6, "six answers");
    assert.deepEqual(statuses(answers), [200]);
    assert.ok(answers.every(({ replica }) => replica !== "3"));
  });
});
