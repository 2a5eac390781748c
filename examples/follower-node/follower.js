// A follower of Symbolon's revocation log (docs/protocol), without dependencies: it verifies access tokens by itself,
// and refuses within a lease what has ended.

import { createHash, createPublicKey, randomBytes, verify } from "node:crypto";

const LEASE_MS_MAX = 60_000;
const ENTRY_LIFE_MS_MAX = 7 * 24 * 3_600_000;
const ENDED_MAX = 4096;
// How often another node may answer in the place of the one that was asked for.
const ELSEWHERE_MAX = 64;
const SKEW_SECS = 30;
const TOKEN_LIFE_SECS_MAX = 3600;
const TOKEN_BYTES_MAX = 8192;

const randomId = () => randomBytes(16).toString("base64url");
const isId = (text) => typeof text === "string" && /^[A-Za-z0-9_-]{22}$/.test(text);
const isWithin = (number, max) => Number.isSafeInteger(number) && number >= 0 && number <= max;

// The best clock that Node has. It stands still while the machine sleeps: such a machine should run forward-auth.
const monotonicMs = () => Number(process.hrtime.bigint() / 1000n) / 1000;

/** The id of a client in the log. */
export function clientEntry(clientId) {
  const hash = createHash("sha256").update("symbolon client\0").update(clientId).digest();
  return hash.subarray(0, 16).toString("base64url");
}

/** The id under which all tokens end that a session was given before its user changed the password. */
export function eraEntry(sid, jti) {
  const [session, token] = [sid, jti].map((id) => Buffer.from(id, "base64url").subarray(0, 8));
  return Buffer.concat([session, token]).toString("base64url");
}

/** What is held: the set of ended ids, the lease, the server's clock. Pure: times are handed in. */
export class Follower {
  #id = randomId();
  #cursor = null;
  #lastAnswer = null;
  #node = null;
  #elsewhere = 0;
  #asked = null;
  #ended = new Map();
  #leaseUntil = -Infinity;
  #clock = null;

  /** The next question. `now` is read before it is sent: the lease counts from here. */
  ask(now) {
    this.#asked = { question: randomId(), now };
    return {
      follower: this.#id,
      question: this.#asked.question,
      ...(this.#lastAnswer && { last_answer: this.#lastAnswer }),
      ...(this.#node && now < this.#leaseUntil && { node: this.#node }),
      ...(this.#cursor && { cursor: this.#cursor }),
    };
  }

  /** Applies an answer: the ids first, then the cursor, then the lease. False: it was dropped. */
  hear(answer) {
    const asked = this.#asked;
    if (!asked || answer?.question !== asked.question || !Follower.#isSound(answer)) return false;
    this.#asked = null;
    const serverNow = this.serverTime(asked.now);
    if (serverNow === null || answer.now_ms >= serverNow) this.#clock = { time: answer.now_ms, at: asked.now };
    for (const id of answer.ended) {
      this.#ended.delete(id); // A map keeps the order of insertion: the oldest come first.
      this.#ended.set(id, answer.now_ms);
    }
    for (const [id, at] of this.#ended) {
      if (at >= answer.now_ms - answer.entry_life_ms) break;
      this.#ended.delete(id);
    }
    this.#cursor = answer.cursor;
    this.#lastAnswer = answer.answer;
    [this.#node, this.#elsewhere] = [answer.node ?? null, 0];
    if (!answer.more && answer.lease_ms > 0) {
      this.#leaseUntil = Math.max(this.#leaseUntil, asked.now + answer.lease_ms);
    }
    return true;
  }

  static #isSound(answer) {
    return (
      isId(answer.answer) &&
      (answer.node === undefined || isId(answer.node)) &&
      typeof answer.cursor === "string" &&
      Array.isArray(answer.ended) &&
      answer.ended.length <= ENDED_MAX &&
      answer.ended.every(isId) &&
      Number.isSafeInteger(answer.now_ms) &&
      isWithin(answer.lease_ms ?? 0, LEASE_MS_MAX) &&
      isWithin(answer.entry_life_ms, ENTRY_LIFE_MS_MAX)
    );
  }

  /** A proxy gave the question to another node than it named. Whether to ask again at once. */
  elsewhere() {
    const named = this.#node !== null;
    this.#elsewhere += 1;
    if (this.#elsewhere >= ELSEWHERE_MAX) this.forgetNode();
    return named;
  }

  /** The question was not answered: whoever hears the next will do. */
  forgetNode() {
    [this.#node, this.#elsewhere] = [null, 0];
  }

  /** Another process used this identity: takes a new one, and keeps what is held. */
  rename() {
    [this.#id, this.#lastAnswer, this.#asked] = [randomId(), null, null];
    this.forgetNode();
  }

  /** "ended", "live" or "no-lease". Read `now` after the request was read. */
  standing(ids, now) {
    if (ids.some((id) => this.#ended.has(id))) return "ended";
    return this.#clock && now < this.#leaseUntil ? "live" : "no-lease";
  }

  hasEnded(id) {
    return this.#ended.has(id);
  }

  serverTime(now) {
    return this.#clock && this.#clock.time + Math.max(0, now - this.#clock.at);
  }
}

/** Follows a server and verifies access tokens of it for one audience. */
export class Verifier {
  #follower = new Follower();
  #keys = new Map();
  #keysAt = -Infinity;
  #fetching = null;
  #stopped = false;

  /** `server` is where the issuer is reached from here. */
  constructor({ issuer, server = issuer, clientId, clientSecret, audience }) {
    Object.assign(this, { issuer, server, audience });
    const encoded = [clientId, clientSecret].map(encodeURIComponent).join(":");
    this.authorization = `Basic ${Buffer.from(encoded).toString("base64")}`;
  }

  /** Follows until `stop`, which takes effect with the next answer. Resolves when it holds its first lease. */
  start() {
    return new Promise((ready) => this.#follow(ready));
  }

  stop() {
    this.#stopped = true;
  }

  async #follow(ready) {
    let pauseMs = 50;
    while (!this.#stopped) {
      try {
        const question = this.#follower.ask(monotonicMs());
        const response = await this.#post("/follow", "application/json", JSON.stringify(question));
        if (response.status === 409) {
          this.#follower.rename();
          continue;
        }
        if (response.status === 412 && this.#follower.elsewhere()) continue;
        if (response.status !== 200) throw new Error(`the server answered ${response.status}`);
        const answer = await response.json();
        if (!this.#follower.hear(answer)) throw new Error("the answer was dropped");
        for (const id of answer.ended) this.#keys.delete(id);
        if (!answer.more) ready();
        pauseMs = 50;
      } catch (error) {
        this.#follower.forgetNode();
        console.warn(`following: ${error.message}`);
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
        pauseMs = Math.min(pauseMs * 2, 1000);
      }
    }
  }

  #post(path, type, body) {
    const headers = { authorization: this.authorization, "content-type": type, accept: "application/json" };
    const signal = AbortSignal.timeout(5000);
    return fetch(this.server + path, { method: "POST", headers, body, signal, redirect: "error" });
  }

  /** The claims of an access token, or null if it counts for nothing now. */
  async verify(token) {
    if (typeof token !== "string" || token.length > TOKEN_BYTES_MAX) return null;
    const parts = token.split(".");
    if (parts.length !== 3) return null;
    const [header, claims] = parts.slice(0, 2).map(json);
    if (!header || !claims || header.typ !== "at+jwt" || header.alg !== "ES256") return null;
    const key = await this.#key(header.kid);
    const signed = Buffer.from(`${parts[0]}.${parts[1]}`);
    const signature = Buffer.from(parts[2], "base64url");
    if (!key || !verify("sha256", signed, { key, dsaEncoding: "ieee-p1363" }, signature)) return null;
    const audiences = [claims.aud].flat();
    if (claims.iss !== this.issuer || !audiences.includes(this.audience)) return null;

    // The clock is read after everything that could take time.
    const now = monotonicMs();
    const { sid, jti, client_id } = claims;
    if (!isId(sid) || !isId(jti) || typeof client_id !== "string") return null;
    const ids = [sid, jti, eraEntry(sid, jti), header.kid, clientEntry(client_id)];
    switch (this.#follower.standing(ids, now)) {
      case "live": {
        const secs = this.#follower.serverTime(now) / 1000;
        const life = claims.exp - claims.iat;
        const valid = life > 0 && life <= TOKEN_LIFE_SECS_MAX && claims.iat <= secs + SKEW_SECS;
        return valid && claims.exp + SKEW_SECS > secs ? claims : null;
      }
      case "no-lease":
        return (await this.#introspect(token)) ? claims : null;
      default:
        return null;
    }
  }

  async #introspect(token) {
    const body = new URLSearchParams({ token }).toString();
    const response = await this.#post("/oauth2/introspect", "application/x-www-form-urlencoded", body).catch(() => null);
    return response?.status === 200 && (await response.json()).active === true;
  }

  /** A key by its id. An unknown one makes at most one fetch in five seconds, whoever sends it. */
  async #key(kid) {
    if (!isId(kid) || this.#follower.hasEnded(kid)) return null;
    if (!this.#keys.has(kid) && monotonicMs() - this.#keysAt > 5000) {
      this.#fetching ??= this.#fetchKeys().finally(() => (this.#fetching = null));
      await this.#fetching;
    }
    return this.#keys.get(kid) ?? null;
  }

  async #fetchKeys() {
    this.#keysAt = monotonicMs();
    const signal = AbortSignal.timeout(5000);
    const response = await fetch(`${this.server}/.well-known/jwks.json`, { signal, redirect: "error" }).catch(() => null);
    if (response?.status !== 200) return;
    const { keys } = await response.json();
    for (const jwk of keys.slice(0, 64)) {
      // A key that was withdrawn while this was under way does not come back.
      if (jwk.kty !== "EC" || jwk.crv !== "P-256" || !isId(jwk.kid) || this.#follower.hasEnded(jwk.kid)) continue;
      if (!this.#keys.has(jwk.kid)) this.#keys.set(jwk.kid, createPublicKey({ key: jwk, format: "jwk" }));
    }
  }
}

function json(part) {
  try {
    const bytes = Buffer.from(part, "base64url");
    return bytes.toString("base64url") === part ? JSON.parse(bytes.toString("utf8")) : null;
  } catch {
    return null;
  }
}
