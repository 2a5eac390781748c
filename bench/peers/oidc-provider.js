// node-oidc-provider, set up for the same work as Symbolon: its best case, since everything it keeps is in a Map, and no
// user is asked for anything. It prints a line of JSON: where it listens, and the cookies of a session.

import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { createRequire } from "node:module";
import Provider from "oidc-provider";

// Its notices; nobody reads them.
console.info = console.log = console.warn = () => {};

const CALLBACK = "https://web.example/callback";
const API = "https://api.example";

const kept = new Map();
let granted;

async function allow({ account, client, provider }) {
  const grant = new provider.Grant({ accountId: account.accountId, clientId: client.clientId });
  grant.addOIDCScope("openid profile");
  await grant.save();
  return grant;
}

class InMemory {
  constructor(kind) {
    this.kind = kind;
  }
  key(id) {
    return `${this.kind} ${id}`;
  }
  async upsert(id, payload) {
    kept.set(this.key(id), payload);
    if (payload.uid) kept.set(`uid ${payload.uid}`, payload);
  }
  async find(id) {
    return kept.get(this.key(id));
  }
  async findByUid(uid) {
    return kept.get(`uid ${uid}`);
  }
  async findByUserCode() {}
  async destroy(id) {
    kept.delete(this.key(id));
  }
  async consume(id) {
    kept.get(this.key(id)).consumed = Math.floor(Date.now() / 1000);
  }
  async revokeByGrantId() {}
}

const jwk = (kind, options, alg) => {
  const key = generateKeyPairSync(kind, options).privateKey.export({ format: "jwk" });
  return { ...key, alg, use: "sig", kid: alg };
};
const client = (client_id, more) => ({
  client_id,
  client_secret: process.env.SECRET,
  id_token_signed_response_alg: "ES256",
  ...more,
});

const provider = new Provider("http://127.0.0.1", {
  adapter: InMemory,
  cookies: { keys: ["not a secret"] },
  jwks: {
    keys: [
      jwk("ec", { namedCurve: "P-256" }, "ES256"),
      jwk("ed25519", {}, "EdDSA"),
      jwk("rsa", { modulusLength: 2048 }, "RS256"),
    ],
  },
  clients: [
    client("robot", {
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
    }),
    client("web", {
      grant_types: ["authorization_code", "refresh_token"],
      redirect_uris: [CALLBACK],
    }),
  ],
  enabledJWA: { idTokenSigningAlgValues: ["ES256"] },
  features: {
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_context, resource) => ({
        scope: "read",
        audience: API,
        accessTokenFormat: "jwt",
        jwt: { sign: { alg: new URL(resource).pathname.slice(1) } },
      }),
    },
  },
  findAccount: (_context, id) => ({ accountId: id, claims: () => ({ sub: id, name: "user" }) }),
  issueRefreshToken: () => true,
  rotateRefreshToken: true,
  loadExistingGrant: ({ oidc }) => (granted ??= allow(oidc)),
});

const listening = provider.listen(0, "127.0.0.1");
await once(listening, "listening");
const origin = `http://127.0.0.1:${listening.address().port}`;

// One login through its own development pages.
const cookies = new Map();
const ask = async (path, form) => {
  const answer = await fetch(new URL(path, origin), {
    method: form ? "POST" : "GET",
    body: form && new URLSearchParams(form),
    headers: { cookie: [...cookies].map((pair) => pair.join("=")).join("; ") },
    redirect: "manual",
  });
  for (const set of answer.headers.getSetCookie()) {
    const [name, value] = set.split(";")[0].split("=");
    cookies.set(name, value);
  }
  return answer.headers.get("location");
};
const question = new URLSearchParams({
  client_id: "web",
  redirect_uri: CALLBACK,
  response_type: "code",
  scope: "openid profile",
  code_challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
  code_challenge_method: "S256",
});
let location = await ask(`/auth?${question}`);
location = await ask(location, { prompt: "login", login: "user", password: "any" });
location = await ask(location);
if (!location?.startsWith(CALLBACK)) throw new Error(`no code: ${location}`);

const version = createRequire(import.meta.url)("oidc-provider/package.json").version;
const cookie = ["_session", "_session.sig"].map((name) => `${name}=${cookies.get(name)}`).join("; ");
process.stdout.write(`${JSON.stringify({ version, port: listening.address().port, cookie })}\n`);
