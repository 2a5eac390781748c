// One login, each step of it at another server.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { after, before, test } from "node:test";
import { Browser } from "../clients/browser.js";
import { NODES, World, lacks } from "./world.js";

const skip = lacks() && `skipped, because ${lacks()}`;
let world, user, shop;

before(async () => {
  if (skip) return;
  world = await World.start();
  [user, shop] = [await world.addUser("user"), await world.addShop("shop")];
});
after(() => world?.stop());

const bearer = ({ access_token: token }) => ["authorization", `Bearer ${token}`];
const by = (answer) => answer.headers["x-answered-by"];

async function login(deliver) {
  const answer = await world.ask("/api/v1/login", { json: { ...user, deliver } });
  assert.equal(answer.status, 200, answer.text);
  return answer;
}

test("a login at one server is of use at the next, and over at all when the last ends it", { skip }, async () => {
  const begun = await login("token");
  const used = await world.ask("/api/v1/session", { headers: bearer(begun.json) });
  assert.equal(used.status, 200, used.text);
  const refreshed = await world.ask("/api/v1/refresh", { json: { refresh_token: begun.json.refresh_token } });
  assert.equal(refreshed.status, 200, refreshed.text);
  assert.equal(new Set([begun, used, refreshed].map(by)).size, 3, "each came to another one");
  const { sid, refresh_token } = refreshed.json;
  const data = `/api/v1/sessions/${sid}/data`;
  const written = await world.ask(data, { method: "PATCH", headers: shop, json: { cart: ["socks"] } });
  const read = await world.ask(data, { headers: shop });
  assert.deepEqual([written.status, read.json], [200, { cart: ["socks"] }]);
  assert.notEqual(by(written), by(read));
  const [both, ended] = [bearer(refreshed.json), await world.ask("/api/v1/logout?confirm=20s", { method: "POST", headers: bearer(refreshed.json) })];
  assert.equal(ended.json.confirmed, true, ended.text);
  assert.equal(new Set([written, read, ended].map(by)).size, 3);
  const refusals = NODES.map(async (node) => [
    (await world.ask("/api/v1/session", { node, headers: both })).status,
    (await world.ask(data, { node, headers: shop })).status,
    (await world.ask("/api/v1/refresh", { node, json: { refresh_token } })).status,
  ]);
  assert.deepEqual(await Promise.all(refusals), NODES.map(() => [401, 404, 400]));
});

test("a cookie is as good at every server", { skip }, async () => {
  const begun = await login("session");
  const headers = ["cookie", begun.headers["set-cookie"][0].split(";")[0], "origin", world.origin];
  const at = (node) => world.ask("/api/v1/session", { node, headers });
  const sids = async () => (await Promise.all(NODES.map(at))).map(({ status, json }) => (status === 200 ? json.sid : status));
  assert.deepEqual(await sids(), NODES.map(() => begun.json.sid));
  const ended = await world.ask("/api/v1/logout?confirm=20s", { method: "POST", headers });
  assert.equal(ended.json.confirmed, true, ended.text);
  assert.deepEqual(await sids(), [401, 401, 401]);
});

test("an application's login by code, whose steps come to different servers", { skip }, async () => {
  const callback = "com.example.app:/callback";
  const flags = ["--kind", "public", "--first-party", "--application-type", "native", "--redirect-uri", callback, "--audience", "https://api.example"];
  await world.cli(0, ["client", "add", "app", ...flags]);
  const [verifier, state] = [randomBytes(32), randomBytes(16)].map((bytes) => bytes.toString("base64url"));
  const asked = new URLSearchParams({
    ...{ response_type: "code", client_id: "app", redirect_uri: callback, scope: "openid", state },
    ...{ code_challenge: createHash("sha256").update(verifier).digest("base64url"), code_challenge_method: "S256" },
  });
  const browser = new Browser();
  const page = await browser.goto(`${world.origin}/oauth2/authorize?${asked}`);
  const back = await browser.submit(page, user, "login-form");
  assert.ok(back.url.startsWith(callback), `${back.url} ${back.text}`);
  const answer = new URL(back.url).searchParams;
  assert.deepEqual([answer.get("state"), answer.get("iss")], [state, world.origin]);
  const redeem = () => {
    const body = { grant_type: "authorization_code", client_id: "app", redirect_uri: callback };
    const form = new URLSearchParams({ ...body, code: answer.get("code"), code_verifier: verifier });
    const headers = ["content-type", "application/x-www-form-urlencoded"];
    return world.ask("/oauth2/token", { headers, body: form.toString() });
  };
  const got = await redeem();
  assert.equal(got.status, 200, got.text);
  const steps = [page, back, got].map(by);
  assert.ok(steps[0] !== steps[1] && steps[1] !== steps[2], `each came to another one: ${steps}`);
  // Its second use is noticed wherever it comes.
  assert.equal((await redeem()).status, 400);
  const form = new URLSearchParams({ grant_type: "refresh_token", client_id: "app", refresh_token: got.json.refresh_token });
  const headers = ["content-type", "application/x-www-form-urlencoded"];
  const refreshed = await Promise.all(NODES.map((node) => world.ask("/oauth2/token", { node, headers, body: form.toString() })));
  assert.deepEqual(refreshed.map(({ status }) => status), [400, 400, 400]);
});

test("every server knows all three", { skip }, async () => {
  for (const node of NODES) {
    const servers = await world.cli(node, ["cluster", "status"]);
    assert.deepEqual(servers.map((server) => [server.lease_ms, server.followers]), NODES.map(() => [1000, 0]));
    assert.equal(servers.filter((server) => server.this).length, 1);
  }
});
