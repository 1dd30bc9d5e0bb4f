// The demo and the browser for the tests of one file, and a fresh user for each test. Importing it starts and ends
// them.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach } from "node:test";
import { newUser, startBrowser, startDemo } from "./support.js";

export let demo, browser, user;

before(async () => {
  demo = await startDemo();
  browser = await startBrowser();
});

after(async () => {
  await browser?.close();
  await demo?.stop();
});

beforeEach(async () => {
  user = await newUser(browser);
});

afterEach(async () => {
  await user.close();
  assert.deepEqual(user.complaints, [], "the pages complained");
});
