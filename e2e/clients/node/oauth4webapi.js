// A web application with oauth4webapi, which does each step of the protocol by itself.

import * as oauth from "oauth4webapi";
import { CLIENT_ID, CLIENT_SECRET, ISSUER, here, redirect_uri, scope, serve } from "./app.js";

const http = { [oauth.allowInsecureRequests]: true };
const issuer = new URL(ISSUER);
const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, http));
const client = { client_id: CLIENT_ID };
const authentication = oauth.ClientSecretBasic(CLIENT_SECRET);

serve({
  async begin() {
    const kept = {
      verifier: oauth.generateRandomCodeVerifier(),
      state: oauth.generateRandomState(),
      nonce: oauth.generateRandomNonce(),
    };
    const url = new URL(as.authorization_endpoint);
    url.search = new URLSearchParams({
      client_id: CLIENT_ID,
      redirect_uri,
      response_type: "code",
      scope,
      state: kept.state,
      nonce: kept.nonce,
      code_challenge: await oauth.calculatePKCECodeChallenge(kept.verifier),
      code_challenge_method: "S256",
    });
    return { url: url.href, kept };
  },

  async finish(url, { verifier, state, nonce }) {
    const parameters = oauth.validateAuthResponse(as, client, url, state);
    const asked = [as, client, authentication, parameters, redirect_uri, verifier, http];
    const answer = await oauth.authorizationCodeGrantRequest(...asked);
    const rules = { expectedNonce: nonce, requireIdToken: true };
    const tokens = await oauth.processAuthorizationCodeResponse(as, client, answer, rules);
    await oauth.validateApplicationLevelSignature(as, answer, http);
    const claims = oauth.getValidatedIdTokenClaims(tokens);
    const userinfo = await oauth.userInfoRequest(as, client, tokens.access_token, http);
    const profile = await oauth.processUserInfoResponse(as, client, claims.sub, userinfo);
    return { claims: { ...profile, ...claims }, tokens };
  },

  async refresh({ refresh_token }) {
    const answer = await oauth.refreshTokenGrantRequest(as, client, authentication, refresh_token, http);
    return oauth.processRefreshTokenResponse(as, client, answer);
  },

  leave({ id_token }) {
    const url = new URL(as.end_session_endpoint);
    url.search = new URLSearchParams({ id_token_hint: id_token, post_logout_redirect_uri: `${here}/left` });
    return url.href;
  },

  jwks_uri: as.jwks_uri,
});
