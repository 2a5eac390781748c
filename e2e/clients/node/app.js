// What the relying parties in JavaScript have in common: express with its sessions, and nothing that is OAuth's. The
// library of each gives the steps:
//   begin()            where the browser goes, and what to keep until it is back
//   finish(url, kept)  the claims of the ID token and the tokens, from where the browser came back to
//   refresh(tokens)    new tokens; throws when the session is over
//   leave(tokens)      where the browser goes to log out
// One that is express middleware itself gives `enter` and `back` instead of the first two.

import express from "express";
import session from "express-session";
import { createRemoteJWKSet, jwtVerify } from "jose";

export const { ISSUER, CLIENT_ID, CLIENT_SECRET, PORT, API } = process.env;
export const here = `http://localhost:${PORT}`;
export const redirect_uri = `${here}/callback`;
export const scope = "openid profile";

export function serve({ begin, finish, refresh, leave, jwks_uri, enter, back }) {
  const store = new session.MemoryStore();
  const app = express();
  app.use(session({ store, secret: CLIENT_SECRET, resave: false, saveUninitialized: false }));

  enter ??= async (request, response) => {
    const { url, kept } = await begin();
    request.session.kept = kept;
    response.redirect(url);
  };
  back ??= async (request, response, next) => {
    request.user = await finish(new URL(request.originalUrl, here), request.session.kept);
    next();
  };

  app.get("/", (request, response, next) => {
    if (request.session.claims) return response.json(request.session.claims);
    return enter(request, response, next);
  });

  app.get("/callback", back, async (request, response) => {
    await new Promise((done, failed) => request.session.regenerate((error) => (error ? failed(error) : done())));
    Object.assign(request.session, request.user);
    response.redirect("/");
  });

  app.use(["/api", "/refresh", "/logout"], ({ session }, response, next) => (session.claims ? next() : response.redirect("/")));

  app.get("/api", async ({ session }, response) => {
    const answer = await fetch(API, { headers: { authorization: `Bearer ${session.tokens.access_token}` } });
    response.status(answer.status).send(await answer.text());
  });

  app.get("/refresh", async (request, response) => {
    try {
      request.session.tokens = { ...request.session.tokens, ...(await refresh(request.session.tokens)) };
      response.redirect("/");
    } catch (error) {
      console.error(error);
      request.session.destroy(() => response.status(401).send("the session is over"));
    }
  });

  app.get("/logout", async ({ session }, response) => {
    const url = await leave(session.tokens);
    session.destroy(() => response.redirect(url));
  });

  app.get("/left", (_, response) => response.send("logged out"));

  // OpenID Connect Back-Channel Logout 1.0, section 2.6.
  const jwks = createRemoteJWKSet(new URL(jwks_uri));
  app.post("/backchannel", express.urlencoded({ extended: false }), async (request, response) => {
    const rules = { issuer: ISSUER, audience: CLIENT_ID, typ: "logout+jwt", requiredClaims: ["iat", "exp", "jti"] };
    const { payload } = await jwtVerify(request.body.logout_token, jwks, rules);
    const isLogout = payload.events?.["http://schemas.openid.net/event/backchannel-logout"] && !("nonce" in payload);
    if (!isLogout || !(payload.sid || payload.sub)) return response.status(400).end();
    store.all((_, sessions) => {
      for (const [id, { claims }] of Object.entries(sessions)) {
        if (payload.sid ? claims?.sid === payload.sid : claims?.sub === payload.sub) store.destroy(id);
      }
      response.set("cache-control", "no-store").end();
    });
  });

  app.use((error, request, response, next) => {
    console.error(error);
    response.status(500).send(String(error));
  });
  app.listen(PORT, "127.0.0.1");
}
