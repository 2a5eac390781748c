// The login on one host, the application on another, behind a real proxy.
// SYMBOLON names the binary, PROXIES those proxies that are there.

import assert from "node:assert/strict";
import { resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { PROXIES, World } from "./world.js";

const binary = resolve(process.env.SYMBOLON ?? "../target/debug/symbolon");
const BROWSER = ["accept", "text/html", "sec-fetch-mode", "navigate"];

for (const proxy of (process.env.PROXIES ?? Object.keys(PROXIES).join()).split(",")) describe(`${proxy}, login elsewhere`, () => {
  let world, server;

  before(async () => {
    world = await World.start(proxy, binary, "-elsewhere");
    server = `http://127.0.0.1:${world.ports.server}`;
  });
  after(() => world?.stop());

  const cookie = (answer, name) => {
    const found = (answer.headers["set-cookie"] ?? []).filter((set) => set.startsWith(name));
    assert.equal(found.length, 1, `${name}: ${answer.status} ${answer.headers["set-cookie"]}`);
    return found[0].split(";")[0];
  };
  const below = (url, base) => {
    assert.ok(url?.startsWith(`${base}/`), url);
    return url.slice(base.length);
  };

  // The user's login at the server.
  async function logIn() {
    const { password } = world.users.find(({ username }) => username === "user");
    const body = JSON.stringify({ username: "user", password, deliver: "session" });
    const headers = ["content-type", "application/json", "origin", server];
    return cookie(await world.askServer("/api/v1/login", { method: "POST", headers, body }), "symbolon=");
  }

  // From the application's page to the server and back: the attempt's cookie, and the way back.
  async function leave(login) {
    const sent = await world.ask("/cart?a=1", { headers: BROWSER });
    assert.equal(sent.status, 303);
    const left = await world.ask(below(sent.headers.location, world.origin), { headers: BROWSER });
    assert.equal(left.status, 303);
    const authorize = below(left.headers.location, server);
    const anonymous = await world.askServer(authorize, { headers: BROWSER });
    assert.ok(below(anonymous.headers.location.replace(/^\//, `${server}/`), server).startsWith("/login?"));
    const known = await world.askServer(authorize, { headers: [...BROWSER, "cookie", login] });
    assert.equal(known.status, 303, known.text);
    return { attempt: cookie(left, "symbolon-login-"), back: below(known.headers.location, world.origin) };
  }

  async function come(login) {
    const { attempt, back } = await leave(login);
    const come = await world.ask(back, { headers: [...BROWSER, "cookie", attempt] });
    assert.deepEqual([come.status, come.headers.location], [303, "/cart?a=1"], come.text);
    return { own: cookie(come, "symbolon=sym"), attempt, back };
  }

  const status = async (own) => (await world.ask("/cart", { headers: ["cookie", own] })).status;

  test("the browser comes back with a cookie of this host", async () => {
    const login = await logIn();
    const { own, attempt, back } = await come(login);
    assert.notEqual(own, login);
    const answer = await world.ask("/cart", { headers: ["cookie", own] });
    assert.equal(answer.status, 200);
    const told = Object.fromEntries(answer.json.headers);
    assert.equal(told["x-symbolon-client"], "shop");
    assert.ok(told["x-symbolon-subject"] && !told.cookie);
    const account = await world.askServer("/api/v1/session", { headers: ["cookie", own] });
    assert.equal(account.status, 401, "the application's cookie opens no account");
    // The code is used up, and whoever has it twice ends what it gave.
    assert.equal((await world.ask(back, { headers: ["cookie", attempt] })).status, 403);
  });

  test("nobody finishes what another browser began", async () => {
    const login = await logIn();
    const { attempt, back } = await leave(login);
    const other = await leave(login);
    for (const headers of [[], ["cookie", other.attempt.replace(/-\d=/, "-7=")], ["cookie", login]]) {
      const answer = await world.ask(back, { headers: [...BROWSER, ...headers] });
      assert.equal(answer.status, 403);
      assert.ok(!(answer.headers["set-cookie"] ?? []).some((set) => set.startsWith("symbolon=s")));
    }
    assert.equal((await world.ask(back, { headers: [...BROWSER, "cookie", attempt] })).status, 303);
  });

  test("the session here dies with the login", async () => {
    const login = await logIn();
    const { own } = await come(login);
    for (const _ of [1, 2]) assert.equal(await status(own), 200);
    const headers = ["cookie", login, "origin", server];
    const ended = await world.askServer("/api/v1/logout?confirm=true", { method: "POST", headers });
    assert.deepEqual([ended.status, ended.json?.confirmed], [200, true], ended.text);
    assert.equal(await status(own), 401);
  });

  test("a logout here ends the session here, and the login stays", async () => {
    const login = await logIn();
    const { own } = await come(login);
    assert.equal(await status(own), 200);
    const out = await world.ask("/_symbolon/logout", { method: "POST", headers: ["cookie", own, "origin", world.origin] });
    assert.equal(out.status, 303, out.text);
    assert.equal(await status(own), 401);
    assert.equal((await world.askServer("/api/v1/session", { headers: ["cookie", login] })).status, 200);
    assert.equal(await status((await come(login)).own), 200, "and the way back in is short");
  });
});
