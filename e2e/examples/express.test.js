// The shop on Express: its sessions end with the login, on three instances behind nginx, whoever learns of it how.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { Browser } from "../clients/browser.js";
import { BackChannel, World, cannot, freePort, until } from "../clients/world.js";
import { binary, lacks, settled } from "./examples.js";
import { threeInstances } from "./shops.js";

const lack = lacks.node("express");

for (const LOGIN of ["oidc", "sidecar"]) {
  const command = ["node", settled("express/server.js")];
  threeInstances(`the shop on Express, login by ${LOGIN}`, lack ?? lacks.nginx(), command, LOGIN);
}

describe("one instance with a store of its own", () => {
  let world, channel;
  before(async () => {
    if (lack) return;
    world = await World.start(binary);
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
