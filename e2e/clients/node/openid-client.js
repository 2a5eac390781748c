// A web application with openid-client.

import * as client from "openid-client";
import { CLIENT_ID, CLIENT_SECRET, ISSUER, here, redirect_uri, scope, serve } from "./app.js";

const http = { execute: [client.allowInsecureRequests] };
const config = await client.discovery(new URL(ISSUER), CLIENT_ID, CLIENT_SECRET, undefined, http);

serve({
  async begin() {
    const kept = { verifier: client.randomPKCECodeVerifier(), state: client.randomState(), nonce: client.randomNonce() };
    const url = client.buildAuthorizationUrl(config, {
      redirect_uri,
      scope,
      state: kept.state,
      nonce: kept.nonce,
      code_challenge: await client.calculatePKCECodeChallenge(kept.verifier),
      code_challenge_method: "S256",
    });
    return { url: url.href, kept };
  },

  async finish(url, { verifier, state, nonce }) {
    const checks = { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true };
    const tokens = await client.authorizationCodeGrant(config, url, checks);
    const claims = tokens.claims();
    const profile = await client.fetchUserInfo(config, tokens.access_token, claims.sub);
    return { claims: { ...profile, ...claims }, tokens };
  },

  refresh: ({ refresh_token }) => client.refreshTokenGrant(config, refresh_token),

  leave: ({ id_token }) =>
    client.buildEndSessionUrl(config, { id_token_hint: id_token, post_logout_redirect_uri: `${here}/left` }).href,

  jwks_uri: config.serverMetadata().jwks_uri,
});
