// The app on a device: the test is the system's browser.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after, before, test } from "node:test";
import { startServer } from "../browser/server.js";
import { Browser } from "../clients/browser.js";
import { binary, settled } from "./examples.js";

let server, user, NativeApp;

before(async () => {
  ({ NativeApp } = await import(settled("mobile/native.js")));
  const quick = ["password.memory_kib=8", "password.iterations=1", "lifetimes.access_token=62s"].flatMap((it) => ["--set", it]);
  server = await startServer(binary, "--no-demo", "--config", settled("mobile/symbolon.toml"), ...quick);
  user = server.users.find(({ username }) => username === "user");
});
after(() => server?.stop());

const cli = (...args) => execFileSync(binary, [...args, "--json", "--set", `data_dir=${server.dataDir}`]);

async function app(more = {}) {
  const browser = new Browser();
  let end;
  const open = async (url) => {
    const page = await browser.goto(url);
    end = await browser.submit(page, { username: user.username, password: user.password }, "login-form");
  };
  const it = await NativeApp.discover({ issuer: server.url, clientId: "phone", open, ...more });
  return { it, end: () => end };
}

test("it logs in by a loopback port, calls, refreshes, and its session ends", { timeout: 60_000 }, async (t) => {
  const { it, end } = await app();
  await it.loginByLoopback();
  assert.match(end().text, /You are logged in/);
  const answer = await it.userinfo();
  const { sub } = await answer.json();
  assert.ok(sub);

  const asked = [];
  const { fetch } = globalThis;
  t.mock.method(globalThis, "fetch", (url, options) => {
    asked.push({ url: String(url), body: String(options?.body ?? ""), headers: options?.headers ?? {} });
    return fetch(url, options);
  });
  it.now = () => Date.now() + 40_000;
  const answers = await Promise.all([it.userinfo(), it.userinfo(), it.userinfo()]);
  assert.deepEqual(answers.map(({ status }) => status), [200, 200, 200]);
  assert.equal(asked.filter(({ body }) => body.includes("grant_type=refresh_token")).length, 1, "one refresh for all");

  // Who copies the access token has not the key.
  const { authorization, DPoP } = asked.findLast(({ headers }) => headers.authorization).headers;
  const { userinfo_endpoint } = it.metadata;
  const bearer = authorization.replace("DPoP", "Bearer");
  for (const headers of [{ authorization }, { authorization: bearer }, { authorization, DPoP }]) {
    assert.equal((await fetch(userinfo_endpoint, { headers })).status, 401);
  }

  cli("session", "end-all", "--user", user.username, "--confirm");
  assert.equal((await it.userinfo()).status, 401);
  assert.ok(!it.isLoggedIn);
});

test("it logs in by a scheme of its own, and logs out", { timeout: 60_000 }, async () => {
  const { it, end } = await app();
  await it.loginByScheme("com.example.app:/callback", () => end().url);
  assert.ok(end().url.startsWith("com.example.app:/callback?code="));
  assert.equal((await it.userinfo()).status, 200);
  await it.logout();
  await assert.rejects(it.userinfo(), /log in first/);
});

test("a code that another app began, or another server sent, is not redeemed", { timeout: 60_000 }, async () => {
  const { it } = await app();
  const { url, finish } = it.begin("com.example.app:/callback");
  const state = new URL(url).searchParams.get("state");
  for (const answer of [
    { code: "syma_of-another", state: "of-another", iss: server.url },
    { code: "syma_of-another", state, iss: "https://evil.example" },
    { code: "syma_of-another", state },
    { code: "syma_of-another", state, iss: server.url },
  ]) {
    await assert.rejects(finish(`com.example.app:/callback?${new URLSearchParams(answer)}`));
    assert.ok(!it.isLoggedIn);
  }
});

test("other programs of the machine that knock at the port end nothing", { timeout: 60_000 }, async () => {
  const browser = new Browser();
  const open = async (url) => {
    const back = new URL(new URL(url).searchParams.get("redirect_uri"));
    assert.equal(back.hostname, "127.0.0.1");
    for (const path of ["/", "/callback", "/callback?code=a&state=b", `/callback?error=access_denied&iss=${server.url}`]) {
      assert.equal((await fetch(new URL(path, back))).status, 404);
    }
    const page = await browser.goto(url);
    await browser.submit(page, { username: user.username, password: user.password }, "login-form");
  };
  const { it } = await app({ open });
  await it.loginByLoopback();
  assert.equal((await it.userinfo()).status, 200);
});
