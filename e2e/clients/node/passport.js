// A web application with passport and passport-oauth2. They know OAuth only: jose checks the ID token.

import { createRemoteJWKSet, jwtVerify } from "jose";
import passport from "passport";
import { Strategy } from "passport-oauth2";
import { CLIENT_ID, CLIENT_SECRET, ISSUER, here, redirect_uri, scope, serve } from "./app.js";

const metadata = await (await fetch(`${ISSUER}/.well-known/openid-configuration`)).json();
const jwks = createRemoteJWKSet(new URL(metadata.jwks_uri));

const strategy = new Strategy(
  {
    authorizationURL: metadata.authorization_endpoint,
    tokenURL: metadata.token_endpoint,
    clientID: CLIENT_ID,
    clientSecret: CLIENT_SECRET,
    callbackURL: redirect_uri,
    scope,
    state: true,
    pkce: true,
  },
  (access_token, refresh_token, { id_token }, profile, done) =>
    jwtVerify(id_token, jwks, { issuer: ISSUER, audience: CLIENT_ID }).then(
      ({ payload }) => done(null, { claims: { ...profile, ...payload }, tokens: { access_token, refresh_token, id_token } }),
      done,
    ),
);
// passport-oauth2 leaves it to each provider's own strategy where the profile is.
strategy.userProfile = function (access_token, done) {
  this._oauth2.useAuthorizationHeaderforGET(true);
  this._oauth2.get(metadata.userinfo_endpoint, access_token, (error, body) => (error ? done(error) : done(null, JSON.parse(body))));
};
passport.use("symbolon", strategy);

const authenticate = passport.authenticate("symbolon", { session: false });

serve({
  enter: authenticate,
  back: authenticate,

  refresh: ({ refresh_token }) =>
    new Promise((done, failed) =>
      strategy._oauth2.getOAuthAccessToken(
        refresh_token,
        { grant_type: "refresh_token" },
        (error, access_token, refresh_token) => (error ? failed(error) : done({ access_token, refresh_token })),
      ),
    ),

  leave: ({ id_token }) =>
    `${metadata.end_session_endpoint}?${new URLSearchParams({ id_token_hint: id_token, post_logout_redirect_uri: `${here}/left` })}`,

  jwks_uri: metadata.jwks_uri,
});
