// The shop on Express: its sessions end with the login, on three instances behind nginx, whoever learns of it how.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { Browser } from "../clients/browser.js";
import { BackChannel, World, cannot, freePort, until } from "../clients/world.js";
import { Shops } from "./shops.js";
import { lacks, settled } from "./examples.js";

const lack = lacks.node("express") ?? lacks.nginx();

for (const LOGIN of ["oidc", "sidecar"]) describe(`three instances, login by ${LOGIN}`, () => {
  let shops;
  before(async () => {
    if (!lack) shops = await Shops.start({ LOGIN });
  });
  after(() => shops?.stop());
  const it = (name, run) => test(name, { timeout: 60_000 }, (t) => (lack ? cannot(t, lack) : run(t)));

  it("a cart survives the login, and the logout is over at each instance at once", async () => {
    const browser = new Browser();
    await shops.put(browser, "tea");
    await shops.put(browser, "lamp");
    await shops.put(browser, "tea");
    assert.deepEqual(await shops.count(browser), "login");
    await shops.logIn(browser);
    assert.equal(await shops.count(browser), 3);
    await shops.put(browser, "bell");
    for (const _ of [1, 2, 3]) assert.equal(await shops.count(browser), 4, "whichever instance answers");

    const copy = browser.copy();
    await shops.logOut(browser);
    // Also for who has stolen every cookie.
    for (const one of [browser, copy]) for (const _ of [1, 2, 3]) assert.equal(await shops.count(one), "login");
    assert.match((await browser.goto(shops.url)).text, /<ul id="cart"><\/ul>/, "the cart left with its user");
  });

  it("an administrator's end is over at each instance at once", async () => {
    const browser = new Browser();
    await shops.logIn(browser);
    await shops.put(browser, "tea");
    assert.equal(await shops.count(browser), 1);
    shops.cli("session", "end-all", "--user", "user", "--confirm");
    for (const _ of [1, 2, 3]) assert.equal(await shops.count(browser), "login");
  });

  it("a session id that was planted before the login is worth nothing after it", async () => {
    const browser = new Browser();
    await shops.put(browser, "tea");
    const attacker = browser.copy();
    await shops.logIn(browser);
    assert.equal(await shops.count(browser), 1);
    assert.equal(await shops.count(attacker), "login");
    assert.match((await attacker.goto(shops.url)).text, /<ul id="cart"><\/ul>/);
  });

  it("another site's page puts nothing into the cart", async () => {
    const browser = new Browser();
    await shops.logIn(browser);
    for (const origin of ["https://evil.example", "null"]) {
      const answer = await browser.goto(`${shops.url}/cart/tea`, { method: "POST", headers: { origin } });
      assert.equal(answer.status, 403);
    }
    assert.equal(await shops.count(browser), 0);
  });
});

describe("one instance with a store of its own", () => {
  let world, channel;
  before(async () => {
    if (lack) return;
    world = await World.start(process.env.SYMBOLON);
    const PORT = await freePort();
    const url = `http://localhost:${PORT}`;
    channel = await BackChannel.before(`${url}/backchannel`);
    const CLIENT_SECRET = world.register("shop", "confidential", {
      ...{ "first-party": true, "redirect-uri": `${url}/callback`, "post-logout-redirect-uri": `${url}/` },
      "backchannel-logout-uri": channel.url,
    });
    const program = ["node", settled("express/server.js")];
    channel.program = await world.run(program, { ISSUER: world.issuer, CLIENT_ID: "shop", CLIENT_SECRET, PORT });
    channel.isOpen = true;
  });
  after(async () => {
    channel?.stop();
    await world?.stop();
  });

  test("the back channel ends the session of this login, and no token counts twice", { timeout: 60_000 }, async (t) => {
    if (lack) return cannot(t, lack);
    const { url } = channel.program;
    const logIn = async () => {
      const browser = new Browser();
      const page = await browser.goto(`${url}/login`);
      await browser.submit(page, world.user, "login-form");
      return browser;
    };
    const isIn = async (browser) => (await browser.goto(url)).text.includes('id="who"');
    const [mine, other] = [await logIn(), await logIn()];
    assert.ok((await isIn(mine)) && (await isIn(other)));
    const out = await mine.goto(`${world.issuer}/logout`);
    await mine.submit(out, {}, "logout-form");
    await until(async () => !(await isIn(mine)), "that the shop has heard of it");
    assert.ok(await isIn(other), "the other login goes on");
    assert.deepEqual(channel.answers, [200]);

    const send = async (logout_token) => {
      const body = new URLSearchParams(logout_token === undefined ? {} : { logout_token });
      return (await fetch(`${url}/backchannel`, { method: "POST", body })).status;
    };
    const [token] = channel.bodies.map((body) => new URLSearchParams(body).get("logout_token"));
    const [head, claims, signature] = token.split(".");
    const unsigned = `${Buffer.from('{"alg":"none","typ":"logout+jwt"}').toString("base64url")}.${claims}.`;
    for (const bad of [token, undefined, "", "a.b.c", unsigned, `${head}.${claims}.${signature.slice(4)}AAAA`]) {
      assert.equal(await send(bad), 400, bad);
    }
  });
});

test("the middleware is short enough to read", async () => {
  const lines = (await readFile(settled("express/sidecar.js"), "utf8")).split("\n").length;
  assert.ok(lines <= 150, `${lines} lines`);
});
