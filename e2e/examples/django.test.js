// Django keeps its sessions, and Symbolon says who it is: what docs/guide/from-django.md tells of mozilla-django-oidc.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Browser } from "../clients/browser.js";
import { World, cannot, freePort, until } from "../clients/world.js";
import { binary, lacks } from "./examples.js";

const python = fileURLToPath(new URL("../clients/python/venv/bin/python", import.meta.url));
const lack = lacks.python(python, "django, mozilla_django_oidc");
let world, url;

before(async () => {
  if (lack) return;
  world = await World.start(binary);
  const PORT = await freePort();
  url = `http://localhost:${PORT}`;
  const CLIENT_SECRET = world.register("shop", "confidential", {
    "first-party": true,
    "redirect-uri": `${url}/oidc/callback/`,
  });
  await world.run([python, "python/django_app.py"], { ISSUER: world.issuer, CLIENT_ID: "shop", CLIENT_SECRET, PORT });
});
after(() => world?.stop());

const it = (name, run) => test(name, { timeout: 60_000 }, (t) => (lack ? cannot(t, lack) : run(t)));

const look = async (browser, path = "/") => {
  const page = await browser.goto(url + path);
  assert.equal(page.url.startsWith(url), true, page.way.join("\n"));
  return JSON.parse(page.text);
};

const logIn = async (browser) => {
  const page = await browser.goto(`${url}/oidc/authenticate/`);
  const inside = await browser.submit(page, world.user, "login-form");
  assert.equal(inside.status, 200, `${inside.way.join("\n")}\n${inside.text}`);
  return JSON.parse(inside.text);
};

it("a login has a new session key and the visitor's cart in it, and who held the old key gains nothing", async () => {
  const browser = new Browser();
  const visitor = await look(browser, "/put/tea");
  const attacker = browser.copy();
  const mine = await logIn(browser);
  assert.deepEqual([mine.who, mine.cart], [world.user.sub, ["tea"]]);
  assert.notEqual(mine.key, visitor.key);
  assert.deepEqual(await look(attacker), { who: null, cart: [], key: null });
});

it("the login is asked for again at the server, and over when it is over there", async () => {
  const browser = new Browser();
  await logIn(browser);
  let page;
  const isAsked = async () => (page = await browser.goto(url)).way.some((it) => it.includes("prompt=none"));
  await until(isAsked, "the server is asked");
  assert.equal(JSON.parse(page.text).who, world.user.sub);
  world.cli("session", "end-all", "--user", world.user.username, "--confirm");
  await until(async () => (await look(browser)).who === null, "the login is over");
});
