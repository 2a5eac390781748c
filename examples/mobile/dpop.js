// Proofs that a request comes from who holds the key (DPoP, RFC 9449).

import { createHash, generateKeyPairSync, randomUUID, sign } from "node:crypto";

const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

/** The device's key. On a phone it is made in the Keychain or the Keystore, and never leaves it. */
export class DeviceKey {
  #private;
  #header;

  constructor() {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const { kty, crv, x, y } = publicKey.export({ format: "jwk" });
    this.#private = privateKey;
    this.#header = encode({ typ: "dpop+jwt", alg: "ES256", jwk: { kty, crv, x, y } });
  }

  /** A `fetch` whose requests prove this key, for `accessToken` where one goes along. */
  fetch = async (url, { headers, accessToken, ...options } = {}) => {
    const ask = (nonce) => {
      const DPoP = this.#proof(options.method ?? "GET", url, accessToken, nonce);
      const authorization = accessToken && { authorization: `DPoP ${accessToken}` };
      return fetch(url, { ...options, redirect: "error", headers: { ...headers, ...authorization, DPoP } });
    };
    const answer = await ask();
    // The server may want a nonce of its own in the proof: section 8.
    const nonce = answer.headers.get("dpop-nonce");
    return nonce && [400, 401].includes(answer.status) ? ask(nonce) : answer;
  };

  #proof(htm, url, accessToken, nonce) {
    const { origin, pathname } = new URL(url);
    const ath = accessToken && createHash("sha256").update(accessToken).digest("base64url");
    const claims = { jti: randomUUID(), htm, htu: origin + pathname, iat: Math.floor(Date.now() / 1_000), ath, nonce };
    const signed = `${this.#header}.${encode(claims)}`;
    const signature = sign("sha256", Buffer.from(signed), { key: this.#private, dsaEncoding: "ieee-p1363" });
    return `${signed}.${signature.toString("base64url")}`;
  }
}
