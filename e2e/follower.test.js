// The follower in JavaScript against the real server: an access token that was ended is refused when that is confirmed,
// and when the server cannot be reached any more.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { startServer } from "./browser/server.js";

const binary = process.env.SYMBOLON;

async function startApi(issuer, secret) {
  const env = { PATH: process.env.PATH, ISSUER: issuer, CLIENT_ID: "cart-api", CLIENT_SECRET: secret, AUDIENCE: issuer };
  const script = new URL("../examples/follower-node/server.js", import.meta.url).pathname;
  const child = spawn("node", [script], { env, stdio: ["ignore", "pipe", "inherit"] });
  const [url] = await once(createInterface(child.stdout), "line");
  return { url, stop: () => child.kill("SIGKILL") };
}

test("what has ended is refused by the follower when the end is confirmed", { timeout: 60_000 }, async (t) => {
  const server = await startServer(binary);
  t.after(() => server.stop());
  const cli = (...args) =>
    JSON.parse(execFileSync(binary, [...args, "--json", "--set", `data_dir=${server.dataDir}`], { encoding: "utf8" }));
  const { client_secret } = cli("client", "add", "cart-api", "--kind", "resource", "--audience", "https://cart.example");
  const api = await startApi(server.url, client_secret);
  t.after(() => api.stop());

  const [user] = server.users;
  const body = JSON.stringify({ username: user.username, password: user.password, deliver: "token" });
  const headers = { "content-type": "application/json" };
  const login = async () => (await fetch(`${server.url}/api/v1/login`, { method: "POST", headers, body })).json();
  const ask = async (token) => (await fetch(api.url, { headers: { authorization: `Bearer ${token}` } })).status;

  const [mine, gone] = [await login(), await login()];
  assert.equal(await ask(mine.access_token), 200);
  assert.equal(await ask(gone.access_token), 200);
  const forged = `${gone.access_token.slice(0, -6)}AAAAAA`;
  for (const bad of [forged, gone.refresh_token, "a.b.c", "x".repeat(9000)]) assert.equal(await ask(bad), 401);

  for (const tokens of [gone, await login()]) {
    const ended = cli("session", "end", tokens.sid, "--confirm");
    assert.equal(ended.confirmed, true);
    assert.equal(ended.acknowledged, 1);
    assert.equal(await ask(tokens.access_token), 401);
  }
  assert.equal(await ask(mine.access_token), 200);
});
