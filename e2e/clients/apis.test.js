// Access tokens in every algorithm, at APIs that know nothing of us but the issuer and their own name: each takes what is
// for it, and nothing else. SYMBOLON names the binary, CLIENTS those APIs that shall run.

import assert from "node:assert/strict";
import { createHmac, createPublicKey } from "node:crypto";
import { resolve } from "node:path";
import { after, before, test } from "node:test";
import { APIS } from "./clients.js";
import { AUDIENCE, World, cannot, freePort } from "./world.js";

const ALGORITHMS = ["ES256", "RS256", "EdDSA"];
const TYPES = ["at+jwt", "JWT"];
const binary = resolve(process.env.SYMBOLON ?? "../target/debug/symbolon");
const names = Object.keys(APIS).filter((name) => process.env.CLIENTS?.split(",").includes(name) ?? true);
let world, jwks;

before(async () => {
  world = await World.start(binary);
  for (const algorithm of ALGORITHMS) for (const type of TYPES) {
    const how = { "first-party": true, algorithm, "token-type": type };
    world.register(nameOf(algorithm, type), "public", { ...how, audience: [AUDIENCE, "https://other.example"] });
  }
  jwks = await (await fetch(world.metadata.jwks_uri)).json();
});
after(() => world?.stop());

const nameOf = (algorithm, type) => `${algorithm}-${type.replace("+", "-")}`.toLowerCase();
const base64url = (value) => Buffer.from(value).toString("base64url");

// A login of a client that may take passwords itself.
async function logIn(client_id, audience) {
  const { username, password } = world.user;
  const body = JSON.stringify({ client_id, username, password, deliver: "token", audience });
  const headers = { "content-type": "application/json" };
  const answer = await fetch(`${world.issuer}/api/v1/login`, { method: "POST", headers, body });
  assert.equal(answer.status, 200);
  return answer.json();
}

// What an API must refuse, made of a token that it takes.
async function refused(client_id, token) {
  const [header, claims, signature] = token.split(".");
  const { kid, typ } = JSON.parse(Buffer.from(header, "base64url"));
  const key = createPublicKey({ key: jwks.keys.find((key) => key.kid === kid), format: "jwk" });
  const changed = (alg) => base64url(JSON.stringify({ alg, typ, kid }));
  const confused = `${changed("HS256")}.${claims}`;
  const secret = key.export({ type: "spki", format: "pem" });
  const middle = signature.length >> 1;
  const flipped = signature[middle] === "A" ? "B" : "A";
  const grown = { ...JSON.parse(Buffer.from(claims, "base64url")), scope: "admin" };
  return {
    "nothing": undefined,
    "a refresh token": (await logIn(client_id)).refresh_token,
    "a token for another API": (await logIn(client_id, "https://other.example")).access_token,
    "a changed signature": `${header}.${claims}.${signature.slice(0, middle)}${flipped}${signature.slice(middle + 1)}`,
    "changed claims": `${header}.${base64url(JSON.stringify(grown))}.${signature}`,
    "no signature (alg none)": `${changed("none")}.${claims}.`,
    "the public key as a secret (HS256)": `${confused}.${createHmac("sha256", secret).update(confused).digest("base64url")}`,
  };
}

for (const name of names) test(`an API with ${name}`, { timeout: 120_000 }, async (t) => {
  const { lacks, command, algorithms, types = TYPES } = APIS[name];
  if (lacks()) return cannot(t, lacks());
  t.after(() => world.stopPrograms());
  for (const type of types) {
    const PORT = await freePort();
    const api = await world.run(command(), { ISSUER: world.issuer, AUDIENCE, TYPE: type, PORT });
    const ask = async (token) => fetch(api.url, { headers: token ? { authorization: `Bearer ${token}` } : {} });
    for (const algorithm of algorithms) await t.test(`${name} takes ${type} in ${algorithm}, and nothing else`, async () => {
      const client_id = nameOf(algorithm, type);
      const { access_token, sid } = await logIn(client_id);
      const answer = await ask(access_token);
      assert.equal(answer.status, 200, `${await answer.clone().text()}\n${api.log}`);
      const claims = await answer.json();
      assert.deepEqual([claims.sub, claims.client_id, claims.sid], [world.user.sub, client_id, sid]);
      for (const [what, token] of Object.entries(await refused(client_id, access_token))) {
        assert.equal((await ask(token)).status, 401, `${what}\n${api.log}`);
      }
    });
  }
  const unknown = ALGORITHMS.filter((algorithm) => !algorithms.includes(algorithm));
  for (const algorithm of unknown) await t.test(`${name} and ${algorithm}`, (t) => cannot(t, `${name} does not know ${algorithm}`));
});
