// Login with OpenID Connect, by openid-client: the shop's session ends when the login at the server does.

import express from "express";
import { createRemoteJWKSet, jwtVerify } from "jose";
import * as client from "openid-client";
import { becomes, save } from "./login.js";
import { SymbolonStore } from "./symbolon-store.js";

const LOGOUT = "http://schemas.openid.net/event/backchannel-logout";
const DAY_MS = 24 * 3_600_000;

export async function oidc({ issuer, clientId, clientSecret, here, store }) {
  // For http://localhost alone.
  const http = issuer.startsWith("http:") ? { execute: [client.allowInsecureRequests] } : undefined;
  const config = await client.discovery(new URL(issuer), clientId, clientSecret, undefined, http);
  const redirect_uri = `${here}/callback`;
  const sessions = store instanceof SymbolonStore ? undefined : new Sessions(store);
  const router = express.Router();

  router.get("/login", async (request, response) => {
    const kept = { verifier: client.randomPKCECodeVerifier(), state: client.randomState(), nonce: client.randomNonce() };
    request.session.kept = kept;
    await save(request);
    const url = client.buildAuthorizationUrl(config, {
      redirect_uri,
      scope: "openid profile",
      state: kept.state,
      nonce: kept.nonce,
      code_challenge: await client.calculatePKCECodeChallenge(kept.verifier),
      code_challenge_method: "S256",
    });
    response.redirect(303, url.href);
  });

  router.get("/callback", async (request, response) => {
    const { kept } = request.session;
    // In another browser; or in another tab, which has begun one since.
    if (!kept || kept.state !== request.query.state) return response.status(400).send("This login was not begun here. Try again.");
    const checks = { pkceCodeVerifier: kept.verifier, expectedState: kept.state, expectedNonce: kept.nonce, idTokenExpected: true };
    const tokens = await client.authorizationCodeGrant(config, new URL(request.originalUrl, here), checks);
    const { sub, sid } = tokens.claims();
    const { name, preferred_username } = await client.fetchUserInfo(config, tokens.access_token, sub);
    await becomes(request, { sub, sid, name: name ?? preferred_username });
    // The tokens themselves are not needed any more; the receipt is, for logging out.
    request.session.id_token = tokens.id_token;
    await save(request);
    await sessions?.begun(sid, request.sessionID);
    response.redirect(303, "/");
  });

  router.post("/logout", async (request, response) => {
    const { id_token } = request.session;
    await new Promise((done) => request.session.destroy(done));
    const post_logout_redirect_uri = `${here}/`;
    const parameters = id_token ? { id_token_hint: id_token, post_logout_redirect_uri } : { post_logout_redirect_uri };
    response.redirect(303, client.buildEndSessionUrl(config, parameters).href);
  });

  // Sessions that are Symbolon's end there. For every other store the server calls (OpenID Connect Back-Channel Logout).
  if (sessions) {
    const { jwks_uri, id_token_signing_alg_values_supported: algorithms } = config.serverMetadata();
    const jwks = createRemoteJWKSet(new URL(jwks_uri));
    const rules = { issuer, audience: clientId, typ: "logout+jwt", algorithms, requiredClaims: ["iat", "exp", "jti"] };
    router.post("/backchannel", express.urlencoded({ extended: false, limit: "16kb" }), async (request, response) => {
      response.set("cache-control", "no-store");
      try {
        const { payload } = await jwtVerify(request.body?.logout_token ?? "", jwks, rules);
        const { events, sid, jti, exp } = payload;
        const isLogout = events?.[LOGOUT] !== null && typeof events?.[LOGOUT] === "object" && !("nonce" in payload);
        if (!isLogout || typeof sid !== "string" || !sessions.isNew(jti, exp)) throw new Error("no logout token, or a replay");
        await sessions.ended(sid);
        response.end();
      } catch (error) {
        console.error(error.message);
        response.status(400).json({ error: "invalid_request" });
      }
    });
  }

  router.use((request, _, next) => {
    request.who = request.session.who;
    next();
  });
  return router;
}

/** Finds the session of a login in any express-session store, and ends it there. */
class Sessions {
  #store;
  #tokens = new Map();
  // A logout can come before the session that it ends is written.
  #over = new Map();

  constructor(store) {
    this.#store = store;
  }

  async begun(sid, id) {
    const cookie = { originalMaxAge: DAY_MS, expires: new Date(Date.now() + DAY_MS) };
    await this.#call("set", `login:${sid}`, { cookie, session: id });
    if (this.#over.has(sid)) await this.ended(sid);
  }

  async ended(sid) {
    this.#over.set(sid, Date.now() + DAY_MS);
    const found = await this.#call("get", `login:${sid}`);
    if (!found) return;
    await this.#call("destroy", found.session);
    await this.#call("destroy", `login:${sid}`);
  }

  // Each token counts once, as long as it would count.
  isNew(jti, exp) {
    const now = Date.now();
    for (const kept of [this.#tokens, this.#over]) for (const [key, until] of kept) if (until <= now) kept.delete(key);
    if (this.#tokens.has(jti)) return false;
    this.#tokens.set(jti, exp * 1_000);
    return true;
  }

  #call(verb, ...args) {
    return new Promise((done, failed) => this.#store[verb](...args, (error, value) => (error ? failed(error) : done(value))));
  }
}
