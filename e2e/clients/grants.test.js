// Grants without a browser of the client's own: a device (RFC 8628) with openid-client, and a service that acts for the
// device's user (RFC 8693) with openid-client and with oauth4webapi. Both as their manuals show it.

import assert from "node:assert/strict";
import { resolve } from "node:path";
import { after, before, test } from "node:test";
import { Browser } from "./browser.js";
import { AUDIENCE, World, cannot } from "./world.js";
import { APIS } from "./clients.js";

const binary = resolve(process.env.SYMBOLON ?? "../target/debug/symbolon");
const DEVICE = "urn:ietf:params:oauth:grant-type:device_code";
const EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token";
const STOCK = "https://stock.example";
const lack = APIS.jose.lacks();
let world, secret, browser;

before(async () => {
  if (lack) return;
  world = await World.start(binary);
  world.register("tv", "public", { scope: "cart", "grant-type": [DEVICE, "refresh_token"], audience: AUDIENCE });
  const orders = { scope: "cart", "grant-type": EXCHANGE, audience: STOCK, "exchange-audience": AUDIENCE };
  secret = world.register("orders", "confidential", orders);
  browser = new Browser();
});
after(() => world?.stop());

// The user opens the page that the device names, logs in, and allows what it shows.
async function allow({ verification_uri, verification_uri_complete, user_code }) {
  assert.ok(verification_uri_complete.startsWith(verification_uri), verification_uri_complete);
  let page = await browser.goto(verification_uri_complete);
  if (page.text.includes('id="login-form"')) page = await browser.submit(page, world.user, "login-form");
  if (page.text.includes('id="device-form"')) page = await browser.submit(page, { user_code }, "device-form");
  assert.ok(page.text.includes(user_code), page.text);
  page = await browser.submit(page, { decision: "allow" }, "device-consent-form");
  assert.match(page.url, /decided=allow$/);
}

// A token of the device, whose user has allowed it.
async function deviceTokens(client) {
  const http = { execute: [client.allowInsecureRequests] };
  const config = await client.discovery(new URL(world.issuer), "tv", undefined, client.None(), http);
  const device = await client.initiateDeviceAuthorization(config, { scope: "openid cart" });
  await allow(device);
  const tokens = await client.pollDeviceAuthorizationGrant(config, device);
  return { config, tokens };
}

// What an API of this audience says that knows nothing of us but the issuer.
async function verified(token, audience) {
  const { createRemoteJWKSet, jwtVerify } = await import("jose");
  const keys = createRemoteJWKSet(new URL(world.metadata.jwks_uri));
  return (await jwtVerify(token, keys, { issuer: world.issuer, audience, typ: "at+jwt" })).payload;
}

// What was given for the device's token: the same user and session, for another API, through `orders`.
async function actsForTheUser(before, given) {
  const [had, has] = [await verified(before, AUDIENCE), await verified(given.access_token, STOCK)];
  assert.deepEqual([has.sub, has.sid, has.scope], [had.sub, had.sid, "cart"]);
  assert.deepEqual([has.act, has.client_id], [{ sub: "orders" }, "orders"]);
  assert.ok(has.exp <= had.exp);
  assert.equal(given.refresh_token, undefined);
}

const fields = (subject_token) => ({ subject_token, subject_token_type: ACCESS_TOKEN, audience: STOCK, scope: "cart" });

test("openid-client: a device and token exchange", { timeout: 120_000 }, async (t) => {
  if (lack) return cannot(t, lack);
  const client = await import("openid-client");
  const { config, tokens } = await deviceTokens(client);
  assert.equal(tokens.claims().sub, world.user.sub);
  const next = await client.refreshTokenGrant(config, tokens.refresh_token);
  await verified(next.access_token, AUDIENCE);

  const http = { execute: [client.allowInsecureRequests] };
  const orders = await client.discovery(new URL(world.issuer), "orders", secret, undefined, http);
  const given = await client.genericGrantRequest(orders, EXCHANGE, fields(next.access_token));
  await actsForTheUser(next.access_token, given);

  // The login ends, and with it the device and whoever acts for it.
  await browser.submit(await browser.goto(`${world.issuer}/logout`), {}, "logout-form");
  await assert.rejects(client.refreshTokenGrant(config, next.refresh_token), { error: "invalid_grant" });
  const about = await client.tokenIntrospection(orders, given.access_token);
  assert.equal(about.active, false);
});

test("oauth4webapi: token exchange", { timeout: 120_000 }, async (t) => {
  if (lack) return cannot(t, lack);
  const oauth = await import("oauth4webapi");
  const { tokens } = await deviceTokens(await import("openid-client"));
  const insecure = { [oauth.allowInsecureRequests]: true };
  const issuer = new URL(world.issuer);
  const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, insecure));
  const client = { client_id: "orders" };
  const authentication = oauth.ClientSecretBasic(secret);
  const asked = fields(tokens.access_token);
  const answer = await oauth.genericTokenEndpointRequest(as, client, authentication, EXCHANGE, asked, insecure);
  await actsForTheUser(tokens.access_token, await oauth.processGenericTokenEndpointResponse(as, client, answer));
});
