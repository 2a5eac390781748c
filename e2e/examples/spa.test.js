// The application in the browser, in Chromium, in several tabs.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { World, cannot, freePort, until } from "../clients/world.js";
import { binary, lacks, settled } from "./examples.js";
import { launch } from "./chromium.js";

const lack = lacks.chromium();
let world, browser, url;

before(async () => {
  if (lack) return;
  world = await World.start(binary);
  const PORT = await freePort();
  url = `http://localhost:${PORT}`;
  const uris = { "redirect-uri": `${url}/callback`, "post-logout-redirect-uri": `${url}/` };
  world.register("spa", "public", { "first-party": true, origin: url, ...uris });
  await world.run(["node", settled("spa/server.js")], { ISSUER: world.issuer, CLIENT_ID: "spa", PORT });
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await world?.stop();
});

// A browser of somebody, with its tabs, the refreshes that it made and what its console said.
async function person() {
  const context = await browser.newContext();
  context.setDefaultTimeout(10_000);
  const it = { context, refreshes: [], said: [] };
  context.on("request", (request) => {
    if (/grant_type=refresh_token/.test(request.postData() ?? "")) it.refreshes.push(request);
  });
  context.on("console", (message) => it.said.push(message.text()));
  it.open = async () => {
    const tab = await context.newPage();
    await tab.goto(url);
    await tab.waitForFunction(() => /logged in/.test(document.getElementById("who")?.textContent));
    return tab;
  };
  return it;
}

const isIn = (tab) => tab.locator("#logout").isVisible();

async function logIn(tab) {
  await tab.click("#login");
  await tab.fill("#login-form [name=username]", world.user.username);
  await tab.fill("#login-form [name=password]", world.user.password);
  await tab.click("#login-submit");
  await tab.waitForSelector("#logout:visible");
}

// Presses the button, and gives what the API said.
async function call(tab) {
  await tab.evaluate(() => (document.getElementById("said").textContent = ""));
  await tab.click("#call");
  return JSON.parse(await (await tab.waitForFunction(() => document.getElementById("said").textContent)).jsonValue());
}

const it = (name, run) => test(name, { timeout: 60_000 }, (t) => (lack ? cannot(t, lack) : run(t)));

it("two tabs whose token has run out refresh once", async () => {
  const me = await person();
  const first = await me.open();
  await logIn(first);
  const second = await me.open();
  assert.ok(await isIn(second), "the second tab has the tokens of the first");
  assert.equal((await call(second)).sub, world.user.sub);
  assert.equal(me.refreshes.length, 0);

  const later = Date.now() + 40_000;
  for (const tab of [first, second]) await tab.clock.setSystemTime(later);
  const answers = await Promise.all([call(second), call(first)]);
  assert.equal(answers[0].sub, world.user.sub);
  assert.equal(answers[1].sub, world.user.sub);
  assert.equal(me.refreshes.length, 1, "one refresh for all tabs");

  // The tab that led is closed: another one does it.
  await first.close();
  await second.clock.setSystemTime(later + 40_000);
  assert.equal((await call(second)).sub, world.user.sub);
  assert.equal(me.refreshes.length, 2);
  assert.notEqual(me.refreshes[0].postData(), me.refreshes[1].postData(), "the refresh token rotated");

  // A reload asks the server, not the user.
  await second.reload();
  await second.waitForSelector("#logout:visible");
  await me.context.close();
});

it("a logout is over in every tab, and an end at the server at the next refresh", async () => {
  const me = await person();
  const [first, second] = [await me.open(), await me.open()];
  await logIn(first);
  await second.waitForSelector("#logout:visible");
  await first.click("#logout");
  await second.waitForSelector("#login:visible");
  await first.waitForSelector("#login:visible");

  await logIn(second);
  await first.waitForSelector("#logout:visible");
  world.cli("session", "end-all", "--user", world.user.username, "--confirm");
  for (const tab of [first, second]) await tab.clock.setSystemTime(Date.now() + 40_000);
  assert.equal(await call(first), null);
  for (const tab of [first, second]) await tab.waitForSelector("#login:visible");
  await me.context.close();
});

it("no token is where a script finds it later, and no other script runs", async () => {
  const me = await person();
  const tab = await me.open();
  await logIn(tab);
  const kept = await tab.evaluate(async () => ({
    local: JSON.stringify(localStorage),
    tab: JSON.stringify(sessionStorage),
    databases: (await indexedDB.databases()).length,
    cookies: document.cookie,
    address: location.href,
    history: performance.getEntriesByType("navigation")[0].type,
  }));
  assert.deepEqual([kept.local, kept.tab, kept.databases, kept.cookies, kept.address], ["{}", "{}", 0, "", `${url}/`]);

  const wasRun = await tab.evaluate(() => {
    const script = document.createElement("script");
    try {
      script.text = "window.evil = true";
      document.body.append(script);
      document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='window.evil = true'>");
    } catch {
      // Trusted Types refuse it.
    }
    return Boolean(window.evil);
  });
  assert.ok(!wasRun);
  const sent = await tab.evaluate(() => fetch("https://evil.example/", { mode: "no-cors" }).then(() => true, () => false));
  assert.ok(!sent, "nothing is sent elsewhere");
  await me.context.close();
});

it("a code that somebody else began is not redeemed", async () => {
  const me = await person();
  const tab = await me.open();
  const asked = [];
  me.context.on("request", (request) => asked.push(request.url()));
  const answer = new URLSearchParams({ code: "syma_of-another", state: "of-another", iss: world.issuer });
  await tab.goto(`${url}/callback?${answer}`);
  await until(async () => /not begun here/.test(await tab.textContent("#said")), "that it refuses");
  assert.ok(!asked.some((it) => it.includes("/oauth2/token")));
  assert.equal(tab.url(), `${url}/`);
  await me.context.close();
});
