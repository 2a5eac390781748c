// An express-session store that keeps nothing: sessions are Symbolon's, and their values its session data. Whatever ends
// a session there (a logout, an administrator, a change of the password) has ended it here, at every instance, at once.

import { createHash, randomBytes } from "node:crypto";
import session from "express-session";

const DEADLINE_MS = 2_000;
const PROOF = "symbolon.proof";

const digest = (text) => createHash("sha256").update(text).digest();

/** The id of an application's session that lies in the session of a login: it ends with the login. */
export const loginId = (sid, secret = randomBytes(16)) => `${sid}.${secret.toString("base64url")}`;

export class SymbolonStore extends session.Store {
  #base;
  #authorization;
  #clientId;
  // What was loaded of each session, as JSON by key: only what differs is written, so that requests at the same time do
  // not lose each other's writes.
  #loaded = new WeakMap();

  constructor({ url, clientId, clientSecret }) {
    super();
    this.#base = `${url}/api/v1/sessions`;
    this.#clientId = clientId;
    this.#authorization = `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString("base64")}`;
  }

  get(id, done) {
    answer(done, this.#load(id));
  }

  set(id, session, done) {
    answer(done, this.#save(id, session));
  }

  touch(id, session, done) {
    answer(done, this.#touch(id, session));
  }

  destroy(id, done) {
    answer(done, this.#end(id));
  }

  // express-session makes its object of what `get` gave.
  createSession(request, values) {
    const session = super.createSession(request, values);
    this.#loaded.set(session, asJson(session));
    return session;
  }

  async #load(id) {
    const place = this.#place(id);
    const values = await this.#read(place);
    if (!values?.cookie) return null;
    if (values.cookie.expires && new Date(values.cookie.expires) <= Date.now()) return null;
    delete values[PROOF];
    this.#loaded.set(values, asJson(values));
    return values;
  }

  async #save(id, session) {
    const place = this.#place(id);
    const before = this.#loaded.get(session) ?? (await this.#begin(place, id, session));
    const isFirst = !this.#loaded.has(session);
    const now = asJson(session);
    const patch = {};
    // One that was loaded is proven already, and who writes late does not prove it again.
    if (isFirst && place.proof) patch[PROOF] = place.proof;
    // What lies in a login's session already stays when another of the application's sessions begins there.
    if (!isFirst || !place.proof) for (const key of before.keys()) if (!now.has(key)) patch[key] = null;
    for (const [key, json] of now) if (before.get(key) !== json) patch[key] = JSON.parse(json);
    // Null: it has ended while the request was running, and stays ended.
    const isAlive = Object.keys(patch).length === 0 || (await this.#ask("PATCH", `/${place.sid}/data`, patch));
    if (isAlive) this.#loaded.set(session, now);
  }

  // Being read is being used. What is left is the cookie's own expiry, where the application has set one.
  async #touch(id, session) {
    const before = this.#loaded.get(session);
    const { cookie } = Object.fromEntries(asJson({ cookie: session.cookie }));
    if (before?.get("cookie") === cookie) return;
    const isAlive = await this.#ask("PATCH", `/${this.#place(id).sid}/data`, { cookie: JSON.parse(cookie) });
    if (isAlive) before?.set("cookie", cookie);
  }

  // The first write: a visitor's session is opened, a login's is there. Gives what is to be replaced.
  async #begin({ sid, proof }, id, session) {
    if (!proof) {
      const address = session.req?.ip?.replace(/^::ffff:/, "");
      const opened = await this.#ask("POST", "", { name: id, address, user_agent: session.req?.get?.("user-agent") });
      if (opened?.status === 201) return new Map();
    }
    const old = await this.#ask("GET", `/${sid}/data`);
    return asJson(old?.json ?? {});
  }

  async #end(id) {
    const place = this.#place(id);
    if (!place.proof) return void (await this.#ask("DELETE", `/${place.sid}`));
    // The login goes on; who ends it is its server, at the user's logout.
    const values = await this.#read(place);
    if (!values) return;
    await this.#ask("PATCH", `/${place.sid}/data`, Object.fromEntries(Object.keys(values).map((key) => [key, null])));
  }

  // The values of a session whose id proves it, or null.
  async #read({ sid, proof }) {
    const found = await this.#ask("GET", `/${sid}/data?seen=true`);
    return found && (!proof || found.json[PROOF] === proof) ? found.json : null;
  }

  // In which session of the server an id lies: in a login's, or in a visitor's that has the id's digest for a name.
  #place(id) {
    const [, sid] = /^([\w-]{22})\.[\w-]{22}$/.exec(id) ?? [];
    if (sid) return { sid, proof: digest(id).toString("base64url") };
    const named = digest(`symbolon session\0${this.#clientId}\0${id}`);
    return { sid: named.subarray(0, 16).toString("base64url") };
  }

  // An answer, or null where the session has ended or never was.
  async #ask(method, path, body) {
    const headers = { authorization: this.#authorization, "content-type": "application/json" };
    const signal = AbortSignal.timeout(DEADLINE_MS);
    let response, json;
    try {
      response = await fetch(this.#base + path, { method, headers, body: body && JSON.stringify(body), signal });
      json = response.status === 204 ? null : await response.json();
    } catch (cause) {
      throw Object.assign(new Error("the session server does not answer", { cause }), { status: 503 });
    }
    if (response.status === 404) return null;
    if (response.ok) return { status: response.status, json };
    // Too large; too many visitors from one address; what no session can hold. Else it is not this request that is wrong.
    const status = { 400: 500, 413: 413, 429: 429 }[response.status] ?? 503;
    throw Object.assign(new Error(`the session server said ${response.status} ${json.code}: ${json.detail ?? json.title}`), { status });
  }
}

// Half a character, as `slice` leaves it of an emoji, is no Unicode and no JSON to others.
const wellFormed = (_, value) => (typeof value === "string" ? value.toWellFormed() : value);
const asJson = (values) => new Map(Object.entries(JSON.parse(JSON.stringify(values, wellFormed))).map(([key, it]) => [key, JSON.stringify(it)]));

function answer(done, promise) {
  promise.then(
    (value) => done?.(null, value),
    (error) => done?.(error),
  );
}
