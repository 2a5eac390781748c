// The store of examples/express alone: what express-session asks of a store, and what its other stores lack.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { World, cannot } from "../clients/world.js";
import { binary, lacks, settled } from "./examples.js";

const lack = lacks.node("express");
let world, store, other, loginId;

before(async () => {
  if (lack) return;
  const { SymbolonStore, ...more } = await import(settled("express/symbolon-store.js"));
  loginId = more.loginId;
  world = await World.start(binary);
  const clientSecret = world.register("shop", "confidential", { "first-party": true });
  const open = () => new SymbolonStore({ url: world.issuer, clientId: "shop", clientSecret });
  // Two instances.
  [store, other] = [open(), open()];
});
after(() => world?.stop());

const it = (name, run) => test(name, { timeout: 30_000 }, (t) => (lack ? cannot(t, lack) : run(t)));
const call = (store, verb, ...args) =>
  new Promise((done, failed) => store[verb](...args, (error, value) => (error ? failed(error) : done(value))));
const get = (id, from = store) => call(from, "get", id);
const set = (id, session, to = store) => call(to, "set", id, session);
const cookie = (expires = null) => ({ originalMaxAge: expires && expires - Date.now(), expires, httpOnly: true, path: "/" });
// As express-session holds a session while a request runs.
const load = (id, from) => call(from, "load", id);

const login = async () => {
  const body = JSON.stringify({ username: world.user.username, password: world.user.password, deliver: "token" });
  const answer = await fetch(`${world.issuer}/api/v1/login`, { method: "POST", headers: { "content-type": "application/json" }, body });
  return (await answer.json()).sid;
};

it("it keeps what it is given, under any id", async () => {
  for (const id of ["123", "a b/c?d", "x".repeat(200), "한국어"]) {
    assert.equal(await get(id), null);
    await set(id, { cookie: cookie(), name: "tj", nested: { list: [1, null, { a: "b" }] } });
    assert.deepEqual(await get(id, other), { cookie: cookie(), name: "tj", nested: { list: [1, null, { a: "b" }] } });
    await set(id, { cookie: cookie(), count: 0 });
    assert.deepEqual(await get(id), { cookie: cookie(), count: 0 }, "the whole of it is replaced");
    await call(store, "touch", id, { cookie: cookie() });
    await call(store, "destroy", id);
    assert.equal(await get(id, other), null);
    await call(store, "destroy", id);
  }
});

it("values come back as they were", async () => {
  const numbers = [0.1 + 0.2, 0.14803581001136545, 5.863592005613204e140, 2 ** 70, 5e-324, -Number.MAX_VALUE, 2 ** 53];
  for (const [what, value, ...read] of [
    ["numbers", numbers],
    ["any text", "a\0b \u2028 한국어 👍"],
    ["half an emoji", "👍".slice(0, 1), "\ufffd"],
    ["a date", new Date(0), "1970-01-01T00:00:00.000Z"],
    ["null, which is nothing", null, undefined],
    ["undefined", undefined],
  ]) {
    await set(what, { cookie: cookie(), value });
    assert.deepEqual((await get(what, other)).value, read.length ? read[0] : value, what);
  }
});

it("a cookie that has expired is no session", async () => {
  await set("old", { cookie: cookie(new Date(Date.now() + 3_600_000)), a: 1 });
  assert.equal((await get("old")).a, 1);
  const session = await load("old", store);
  session.cookie.expires = new Date(Date.now() - 1_000);
  await call(store, "touch", "old", session);
  assert.equal(await get("old", other), null);
});

it("being touched moves the expiry of the cookie and nothing else", async () => {
  const expires = (seconds) => new Date(Date.now() + seconds * 1_000).toISOString();
  const [soon, late] = [expires(60), expires(90)];
  await set("touched", { cookie: { originalMaxAge: null, expires: soon }, a: 1 });
  // As express-session touches, and with no more than a cookie, which is all that a store needs of it.
  const touches = [await load("touched", other), { cookie: {} }];
  for (const session of touches) {
    session.cookie.expires = new Date(late);
    await call(other, "touch", "touched", session);
    const { cookie, ...values } = await get("touched");
    assert.deepEqual([cookie.expires, values], [late, { a: 1 }]);
  }
  // Without an expiry of its own it lives as long as Symbolon lets it.
  const session = await load("touched", store);
  session.cookie.maxAge = null;
  await call(store, "touch", "touched", session);
  assert.equal((await get("touched", other)).cookie.expires, null);

  await call(store, "destroy", "touched");
  await call(other, "touch", "touched", session);
  await call(other, "touch", "never", session);
  for (const id of ["touched", "never"]) assert.equal(await get(id), null, "nothing is opened, or brought back");
});

it("a request that changes nothing writes nothing", async (t) => {
  await set("read", { cookie: cookie(), a: { b: [1] } });
  const { fetch: real } = globalThis;
  const asked = [];
  t.mock.method(globalThis, "fetch", (url, options) => asked.push(options.method) && real(url, options));
  const session = await load("read", other);
  await call(other, "touch", "read", session);
  await call(other, "set", "read", session);
  assert.deepEqual(asked, ["GET"]);
});

it("requests at the same time lose nothing of each other", async () => {
  await set("busy", { cookie: cookie(), keep: true, gone: true });
  const loaded = await Promise.all(Array.from({ length: 64 }, (_, n) => load("busy", n % 2 ? store : other)));
  await Promise.all(
    loaded.map((session, n) => {
      session[`key${n}`] = n;
      if (n === 0) delete session.gone;
      return call(n % 2 ? store : other, "set", "busy", session);
    }),
  );
  const { cookie: _, ...values } = await get("busy");
  assert.deepEqual(values, Object.fromEntries([["keep", true], ...loaded.map((_, n) => [`key${n}`, n])]));
});

it("a session that ended while a request was running is not brought back by it", async () => {
  await set("ended", { cookie: cookie(), a: 1 });
  const running = await load("ended", other);
  await call(store, "destroy", "ended");
  running.a = 2;
  await call(other, "set", "ended", running);
  // Nor by one that never read it.
  await set("ended", { cookie: cookie(), a: 3 });
  assert.equal(await get("ended"), null);
});

it("a login's session ends with the login, and opens to nobody who only knows its id", async () => {
  const sid = await login();
  const [mine, earlier] = [loginId(sid), loginId(sid)];
  await set(earlier, { cookie: cookie(), cart: ["tea"] });
  await set(mine, { cookie: cookie(), who: "me" });
  assert.deepEqual(await get(mine, other), { cookie: cookie(), who: "me", cart: ["tea"] });
  for (const wrong of [earlier, loginId(sid), `${sid}.${"A".repeat(22)}`, sid]) assert.equal(await get(wrong), null, wrong);
  const running = await load(mine, other);
  await call(store, "destroy", mine);
  running.who = "still me";
  await call(other, "set", mine, running);
  assert.equal(await get(mine), null, "a late write proves nothing");

  const again = loginId(sid);
  await set(again, { cookie: cookie(), who: "me" });
  assert.equal((await get(again)).who, "me");
  world.cli("session", "end", sid, "--confirm");
  assert.equal(await get(again, other), null);
});

it("over the limit, with a wrong secret, and without the server it says so", async () => {
  await assert.rejects(set("large", { cookie: cookie(), a: "x".repeat(70_000) }), { status: 413, message: /65536/ });
  for (const key of ["", "x".repeat(129)]) await assert.rejects(set("keys", { cookie: cookie(), [key]: 1 }), { status: 500, message: /invalid_key/ });
  const { SymbolonStore } = await import(settled("express/symbolon-store.js"));
  const wrong = new SymbolonStore({ url: world.issuer, clientId: "shop", clientSecret: "no" });
  await assert.rejects(get("123", wrong), { status: 503, message: /invalid_client/ });
  const nobody = new SymbolonStore({ url: "http://127.0.0.1:9", clientId: "shop", clientSecret: "no" });
  await assert.rejects(get("123", nobody), { status: 503 });
});
