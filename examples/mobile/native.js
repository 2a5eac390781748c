// The login of an app on a device (RFC 8252): in the system's browser, with PKCE, and back by a URL that leads to the app.

import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { DeviceKey } from "./dpop.js";

const EARLY_MS = 30_000;
const LOGIN_MS = 5 * 60_000;
const random = () => randomBytes(32).toString("base64url");

export class NativeApp {
  // The refresh token belongs into the Keychain or the Keystore; here it is in memory, as the access token is anywhere.
  #tokens = null;
  #refreshing = null;
  #key = new DeviceKey();

  /** `open(url)` opens the system's browser; never a view inside the app, which could read the password. */
  static async discover({ issuer, clientId, open, now = Date.now }) {
    const metadata = await (await fetch(`${issuer}/.well-known/openid-configuration`)).json();
    if (metadata.issuer !== issuer) throw new Error(`${issuer} is another server's`);
    return Object.assign(new NativeApp(), { issuer, clientId, open, now, metadata });
  }

  /** A login that is under way: where the browser goes, and `finish` for the URL with which it comes back. */
  begin(redirect_uri) {
    const [verifier, state] = [random(), random()];
    const url = new URL(this.metadata.authorization_endpoint);
    url.search = new URLSearchParams({
      response_type: "code",
      client_id: this.clientId,
      redirect_uri,
      scope: "openid profile",
      state,
      code_challenge: createHash("sha256").update(verifier).digest("base64url"),
      code_challenge_method: "S256",
    });
    const finish = async (back) => {
      const answer = new URL(back).searchParams;
      // Any app can send the browser here: only what was begun here, at this server, is gone on with.
      if (answer.get("state") !== state || answer.get("iss") !== this.issuer) throw new Error("this login was not begun here");
      if (answer.has("error")) throw new Error(answer.get("error_description") ?? answer.get("error"));
      const code = { code: answer.get("code"), redirect_uri, code_verifier: verifier };
      this.#tokens = await this.#ask({ grant_type: "authorization_code", ...code });
    };
    return { url: url.href, finish };
  }

  /** On a computer: the browser comes back to a port of this machine that is open for this one login. */
  async loginByLoopback() {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const here = `http://127.0.0.1:${server.address().port}`;
    const { url, finish } = this.begin(`${here}/callback`);
    const back = new Promise((done, failed) => {
      setTimeout(failed, LOGIN_MS, new Error("nobody came back from the browser")).unref();
      server.on("request", async (request, response) => {
        const isBack = request.method === "GET" && request.url.startsWith("/callback?");
        const outcome = isBack && (await finish(here + request.url).then(() => null, (error) => error));
        // Other programs of this machine can knock, too; they end nothing.
        if (!isBack || outcome?.message === "this login was not begun here") return response.writeHead(404).end();
        response.writeHead(200, { "content-type": "text/plain", connection: "close" });
        response.end(outcome ? "The login failed. Go back to the app." : "You are logged in. Close this window.");
        if (outcome) failed(outcome);
        else done();
      });
    });
    try {
      await this.open(url);
      await back;
    } finally {
      server.close();
    }
  }

  /** On a phone: the system starts the app with its own URL, `com.example.app:/callback?…`. */
  async loginByScheme(redirect_uri, comesBack) {
    const { url, finish } = this.begin(redirect_uri);
    await this.open(url);
    await finish(await comesBack());
  }

  get isLoggedIn() {
    return this.#tokens !== null;
  }

  /** Calls an API with an access token that is good for a while, and proves the device's key. */
  async call(url) {
    if (this.#tokens && this.#tokens.until - EARLY_MS <= this.now()) {
      // Who calls at the same time waits for the same refresh.
      this.#refreshing ??= this.#refresh().finally(() => (this.#refreshing = null));
      await this.#refreshing;
    }
    if (!this.#tokens) throw new Error("log in first");
    const answer = await this.#key.fetch(url, { accessToken: this.#tokens.access_token });
    if (answer.status === 401) this.#tokens = null;
    return answer;
  }

  userinfo() {
    return this.call(this.metadata.userinfo_endpoint);
  }

  /** Ends the session of this app: its refresh token, and every access token that it got. */
  async logout() {
    const { refresh_token } = this.#tokens;
    this.#tokens = null;
    await this.#post(this.metadata.revocation_endpoint, { token: refresh_token });
  }

  async #refresh() {
    try {
      this.#tokens = await this.#ask({ grant_type: "refresh_token", refresh_token: this.#tokens.refresh_token });
    } catch (error) {
      // The session is over. Without a network it is not: the token is tried again.
      if (error.code === "invalid_grant") this.#tokens = null;
      else throw error;
    }
  }

  async #ask(fields) {
    const answer = await (await this.#post(this.metadata.token_endpoint, fields)).json();
    if (answer.error) throw Object.assign(new Error(answer.error_description ?? answer.error), { code: answer.error });
    return { ...answer, until: this.now() + answer.expires_in * 1_000 };
  }

  #post(url, fields) {
    return this.#key.fetch(url, { method: "POST", body: new URLSearchParams({ client_id: this.clientId, ...fields }) });
  }
}
