// What the shop's back channel takes of somebody who can sign, and what it refuses. The server here is the test.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { World, cannot, freePort } from "../clients/world.js";
import { lacks, settled } from "./examples.js";

const lack = lacks.node("express");
const world = new World();
const EVENT = { "http://schemas.openid.net/event/backchannel-logout": {} };
let jose, keys, issuer, shop, server;

before(async () => {
  if (lack) return;
  jose = await import(pathToFileURL(createRequire(settled("express/server.js")).resolve("jose")));
  keys = await jose.generateKeyPair("RS256");
  server = createServer((request, response) => {
    const answers = {
      "/.well-known/openid-configuration": {
        ...{ issuer, authorization_endpoint: `${issuer}/a`, token_endpoint: `${issuer}/t`, jwks_uri: `${issuer}/jwks` },
        id_token_signing_alg_values_supported: ["RS256"],
      },
      "/jwks": { keys: [{ ...shown, kid: "1", alg: "RS256", use: "sig" }] },
    };
    response.setHeader("content-type", "application/json").end(JSON.stringify(answers[request.url] ?? {}));
  }).listen(0, "127.0.0.1");
  const shown = await jose.exportJWK(keys.publicKey);
  await once(server, "listening");
  issuer = `http://localhost:${server.address().port}`;
  const PORT = await freePort();
  shop = await world.run(["node", settled("express/server.js")], { ISSUER: issuer, CLIENT_SECRET: "a secret", PORT });
});
after(async () => {
  await world.stop();
  server?.close();
});

async function sign(claims, header = {}, key = keys.privateKey) {
  const now = Math.floor(Date.now() / 1_000);
  const usual = { iss: issuer, aud: "shop", iat: now, exp: now + 120, jti: crypto.randomUUID(), sid: "a", sub: "b", events: EVENT };
  const all = Object.fromEntries(Object.entries({ ...usual, ...claims }).filter(([, value]) => value !== undefined));
  return new jose.SignJWT(all).setProtectedHeader({ alg: "RS256", kid: "1", typ: "logout+jwt", ...header }).sign(key);
}

const send = async (logout_token) =>
  (await fetch(`${shop.url}/backchannel`, { method: "POST", body: new URLSearchParams({ logout_token }) })).status;

test("a logout token counts once, and only as the standard has it", { timeout: 60_000 }, async (t) => {
  if (lack) return cannot(t, lack);
  const good = await sign({});
  assert.equal(await send(good), 200, shop.log);
  assert.equal(await send(good), 400, "a replay");
  const stranger = await jose.generateKeyPair("RS256");
  const refused = {
    "of another issuer": sign({ iss: "https://evil.example" }),
    "for another client": sign({ aud: "other" }),
    "without an audience": sign({ aud: undefined }),
    "an ID token: no event": sign({ events: undefined }),
    "another event": sign({ events: { "https://evil.example": {} } }),
    "an event that is none": sign({ events: { [Object.keys(EVENT)[0]]: true } }),
    "with a nonce": sign({ nonce: "n" }),
    "without a session": sign({ sid: undefined }),
    "without an id": sign({ jti: undefined }),
    "without an end": sign({ exp: undefined }),
    "too old": sign({ exp: Math.floor(Date.now() / 1_000) - 60 }),
    "of another type": sign({}, { typ: "JWT" }),
    "signed by a stranger": sign({}, {}, stranger.privateKey),
    "signed with the public text": sign({}, { alg: "HS256" }, new TextEncoder().encode("a secret")),
  };
  for (const [what, token] of Object.entries(refused)) assert.equal(await send(await token), 400, what);
  assert.equal(await send(await sign({})), 200);
});

test("without its sidecar nobody gets in, and nobody is told to throw credentials away", { timeout: 60_000 }, async (t) => {
  if (lack) return cannot(t, lack);
  const [PORT, nobody] = [await freePort(), await freePort()];
  const env = { LOGIN: "sidecar", SIDECAR: `http://127.0.0.1:${nobody}`, CLIENT_SECRET: "a secret", PORT };
  const alone = await world.run(["node", settled("express/server.js")], env);
  const answer = await fetch(alone.url);
  assert.deepEqual([answer.status, answer.headers.get("retry-after")], [503, "1"]);
});
