// Starts the demo and the browser, and listens to what the demo's provider saw.

import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import http from "node:http";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const PATIENCE = 30_000;
/** Of a JWT, in milliseconds; the gateway refreshes it after three quarters of that. */
export const LIFETIME = 8_000;

/**
 * The demo on free ports, with other settings in `gateway.toml` and further arguments if they are wanted. `calls` are
 * those of the gateway at the provider.
 */
export async function startDemo(change = (toml) => toml, args = []) {
  const { directory, config } = await configOf(change);
  const child = spawnDemo(["--config", config, "--free-ports", "--jwt-lifetime", `${LIFETIME / 1000}s`, ...args]);
  const addresses = await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`the demo ended with ${code}`)));
    createInterface({ input: child.stdout }).on("line", (line) => line.startsWith("{") && resolve(JSON.parse(line)));
  });
  const exchanges = [];
  const streams = [listen(addresses.store, exchanges), listen(addresses.forums, exchanges)];
  let stopped = false;
  const stop = async () => {
    if (stopped) return;
    stopped = true;
    streams.forEach((stream) => stream.destroy());
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGINT");
    await ended;
    await rm(directory, { recursive: true });
  };
  return { ...addresses, stop, calls: (grant, text = "") => exchanges.filter((one) => one.grant === grant && one.detail.includes(text)) };
}

/** `gateway.toml` in a directory of its own, changed. */
async function configOf(change) {
  const directory = await mkdtemp(join(tmpdir(), "portcullis-demo-"));
  const config = join(directory, "gateway.toml");
  await writeFile(config, change(await readFile(join(ROOT, "gateway.toml"), "utf8")));
  return { directory, config };
}

function spawnDemo(args) {
  const [program, ...first] = process.env.DEMO ? [process.env.DEMO] : ["cargo", "run", "--quiet", "--example", "demo", "--"];
  return spawn(program, [...first, ...args], { cwd: ROOT, stdio: ["ignore", "pipe", "inherit"] });
}

/** What the demo tells people when it starts, and the addresses that are to be in it. */
export async function bannerOf() {
  const ports = await freePorts(5);
  const [listen, admin, provider, store, forums] = ports;
  const change = (toml) => [[8080, listen], [9090, admin], [9000, provider], [3001, store], [3002, forums]]
    .reduce((text, [from, to]) => text.replaceAll(`127.0.0.1:${from}`, `127.0.0.1:${to}`), toml);
  const { directory, config } = await configOf(change);
  const child = spawnDemo(["--config", config]);
  const ended = new Promise((resolve) => child.once("exit", resolve));
  let text = "";
  await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`the demo ended with ${code}`)));
    child.stdout.setEncoding("utf8").on("data", (chunk) => {
      text += chunk;
      if (text.includes("Ctrl-C")) resolve();
    });
  });
  child.kill("SIGINT");
  await ended;
  await rm(directory, { recursive: true });
  return { text, store: `http://store.localhost:${listen}`, status: `http://127.0.0.1:${admin}/` };
}

async function freePorts(count) {
  const servers = await Promise.all(Array.from({ length: count }, () => new Promise((resolve, reject) => {
    const server = net.createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => resolve(server));
  })));
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** Follows the demo's event stream. By address and Host: not every resolver knows *.localhost. */
function listen(url, exchanges) {
  const { host, port } = new URL(url);
  const request = http.get({ host: "127.0.0.1", port, path: "/demo/events?since=0", headers: { host } }, (response) => {
    let text = "";
    response.setEncoding("utf8");
    response.on("data", (chunk) => {
      const lines = (text + chunk).split("\n");
      text = lines.pop();
      for (const line of lines.filter((one) => one.startsWith("data:"))) {
        const exchange = JSON.parse(line.slice("data:".length));
        // What concerns both apps would count twice.
        if (exchange.app) exchanges.push(exchange);
      }
    });
    response.on("error", () => {});
  });
  request.on("error", () => {});
  return request;
}

export const startBrowser = () =>
  chromium.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update"],
  });

/** A fresh browser profile that remembers everything that went wrong on its pages. */
export async function newUser(browser) {
  const context = await browser.newContext({ viewport: { width: 1500, height: 950 } });
  context.setDefaultTimeout(PATIENCE);
  const complaints = [];
  const open = async (url) => {
    const page = await context.newPage();
    page.on("pageerror", (error) => complaints.push(error.message));
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type()) && !isAnswer(message)) complaints.push(message.text());
    });
    await page.goto(url);
    return page;
  };
  return { context, open, complaints, close: () => context.close() };
}

/** Chromium reports every 4xx answer as an error; those of the workflow are no complaint. */
function isAnswer(message) {
  const path = new URL(message.location().url || "http://unknown/").pathname;
  return /status of 40[134]/.test(message.text()) && path.startsWith("/api/");
}

/** Sends a request that needs a session, by the panel's button. */
export const poke = (page) => page.locator("#flow-poke").click();

/** The button of the sign-in form, which only guests see. */
export const signInButton = (page) => page.getByRole("button", { name: "Sign in" });

export async function signIn(page, name, password) {
  await page.getByLabel("User name").fill(name);
  await page.getByLabel("Password").fill(password);
  await signInButton(page).click();
  await page.locator("#who").waitFor();
}

/** The fingerprint of the refresh token that the side panel shows. */
export async function refreshToken(page) {
  const text = await page.locator(".session-tokens", { hasText: "rt·" }).textContent();
  return /rt·[0-9a-f]+/.exec(text)[0];
}

/** Waits until the newest JWT is due for a refresh. */
export async function untilDue(page) {
  await page.locator(".life-fill.due").waitFor();
}

/** Repeats `check` until it returns something true. */
export async function eventually(check, what) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const result = await check();
    if (result) return result;
    if (Date.now() > end) throw new Error(`never happened: ${what}`);
    await sleep(50);
  }
}
