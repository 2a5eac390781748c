// OpenID Connect for an application in the browser, without a library: authorization code with PKCE.

const { ISSUER, CLIENT_ID } = await (await fetch("/settings.json")).json();
const metadata = await (await fetch(`${ISSUER}/.well-known/openid-configuration`)).json();
const redirect_uri = `${location.origin}/callback`;

const base64url = (bytes) => btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));
const hashed = async (text) => base64url(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))));

/** Sends the browser to the login. With `prompt: "none"` nobody is asked: it comes back at once, perhaps without one. */
export async function begin(more = {}) {
  const attempt = { verifier: random(), state: random(), nonce: random() };
  // Of this tab, until it is back; worth nothing after that.
  sessionStorage.setItem("attempt", JSON.stringify(attempt));
  const url = new URL(metadata.authorization_endpoint);
  url.search = new URLSearchParams({
    response_type: "code",
    client_id: CLIENT_ID,
    redirect_uri,
    scope: "openid profile",
    state: attempt.state,
    nonce: attempt.nonce,
    code_challenge: await hashed(attempt.verifier),
    code_challenge_method: "S256",
    ...more,
  });
  location.assign(url);
  return new Promise(() => {});
}

/** The tokens of a login that came back to this page, or null if nobody is logged in. */
export async function finish() {
  const attempt = JSON.parse(sessionStorage.getItem("attempt"));
  sessionStorage.removeItem("attempt");
  const answer = new URLSearchParams(location.search);
  // The code leaves the address bar and the history before anything else happens.
  history.replaceState(null, "", "/");
  if (!attempt || answer.get("state") !== attempt.state || answer.get("iss") !== ISSUER) throw new Error("not begun here");
  if (answer.get("error") === "login_required") return null;
  if (answer.has("error")) throw new Error(answer.get("error_description") ?? answer.get("error"));
  const code = { grant_type: "authorization_code", code: answer.get("code"), redirect_uri, code_verifier: attempt.verifier };
  const tokens = await ask(code);
  // It came from the token endpoint, which vouches for its signature (OpenID Connect Core 1.0, section 3.1.3.7).
  const { iss, aud, nonce } = claims(tokens.id_token);
  if (iss !== ISSUER || aud !== CLIENT_ID || nonce !== attempt.nonce) throw new Error("an ID token of another login");
  return tokens;
}

/** The next tokens, or null if the session is over. */
export async function refresh({ refresh_token, id_token }) {
  const tokens = await ask({ grant_type: "refresh_token", refresh_token });
  return tokens && { id_token, ...tokens };
}

async function ask(fields) {
  const body = new URLSearchParams({ client_id: CLIENT_ID, ...fields });
  const response = await fetch(metadata.token_endpoint, { method: "POST", body, credentials: "omit" });
  const { error, error_description, access_token, refresh_token, id_token, expires_in } = await response.json();
  if (error === "invalid_grant" && fields.grant_type === "refresh_token") return null;
  if (error) throw new Error(error_description ?? error);
  return { access_token, refresh_token, ...(id_token && { id_token }), until: Date.now() + expires_in * 1_000 };
}

/** Ends the login at the server, too. */
export function leave({ id_token }) {
  const url = new URL(metadata.end_session_endpoint);
  url.search = new URLSearchParams({ id_token_hint: id_token, post_logout_redirect_uri: `${location.origin}/` });
  location.assign(url);
}

export async function userinfo(access_token) {
  const headers = { authorization: `Bearer ${access_token}` };
  const response = await fetch(metadata.userinfo_endpoint, { headers, credentials: "omit" });
  return response.ok ? response.json() : null;
}

export function claims(id_token) {
  const bytes = Uint8Array.from(atob(id_token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")), (it) => it.charCodeAt(0));
  return JSON.parse(new TextDecoder().decode(bytes));
}
