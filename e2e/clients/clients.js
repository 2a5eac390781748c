// The clients: how each is started, and what of the walk it does in its own way. Each is as its library's manual shows
// it, and is told an issuer, a name and a secret.

import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const has = (file) => existsSync(resolve(here, file));
const runs = (command, ...args) => {
  try {
    execFileSync(command, args, { cwd: here, stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
};

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const MODULES = "/usr/lib/apache2/modules";
const JAVA = ["java", "-XX:TieredStopAtLevel=1"];
const JAR = "spring/target/clients-0.jar";
const LAUNCHER = "org.springframework.boot.loader.launch.PropertiesLauncher";
const PYTHON = "python/venv/bin/python";

// Why something cannot run here, or nothing.
const node = () => {
  if (Number(process.versions.node.split(".")[0]) < 20) return `it needs Node 20, and this is ${process.versions.node}`;
  return has("node_modules/jose") ? undefined : "its npm packages could not be installed";
};

const browser = () =>
  node() ?? (runs(CHROMIUM, "--version") && has("../node_modules/playwright-core") ? undefined : "Chromium could not be installed");
const python = () => (runs(PYTHON, "-c", "import authlib, flask, jwt") ? undefined : "its packages for Python could not be installed");

const golang = () => (has("go/bin/webapp") ? undefined : "it could not be built (it needs Go 1.21 or later, and its modules)");
const java = () => (has(JAR) && runs("java", "-version") ? undefined : "it could not be built (it needs a JDK 17 or later, and Maven)");
const apache = () =>
  has(`${MODULES}/mod_auth_openidc.so`) ? undefined : "libapache2-mod-auth-openidc could not be installed";
const oauth2proxy = () => (runs("oauth2-proxy", "--version") ? undefined : "there is no oauth2-proxy on the PATH");

// APIs that check access tokens by themselves: the algorithms and types that they know with these few lines.
const ES256 = ["ES256", "RS256"];
const ALL = [...ES256, "EdDSA"];
export const APIS = {
  jose: { lacks: node, command: () => ["node", "node/jose-api.js"], algorithms: ALL },
  jsonwebtoken: { lacks: node, command: () => ["node", "node/jsonwebtoken-api.js"], algorithms: ES256 },
  pyjwt: { lacks: python, command: () => [PYTHON, "python/pyjwt_api.py"], algorithms: ALL },
  "go-oidc": { lacks: golang, command: () => ["go/bin/api"], algorithms: ALL },
  // Spring's resource server takes no other type from its settings alone.
  spring: { lacks: java, command: () => [...JAVA, "-jar", JAR, "--spring.profiles.active=api"], algorithms: ES256, types: ["JWT"] },
  jjwt: { lacks: java, command: () => [...JAVA, "-Dloader.main=example.Jjwt", "-cp", JAR, LAUNCHER], algorithms: ALL },
};

export const CLIENTS = {
  "openid-client": {
    lacks: node,
    command: () => ["node", "node/openid-client.js"],
    api: "jose",
    consent: true,
    backchannel: "/backchannel",
  },
  oauth4webapi: {
    lacks: node,
    command: () => ["node", "node/oauth4webapi.js"],
    api: "jsonwebtoken",
    backchannel: "/backchannel",
  },
  passport: { lacks: node, command: () => ["node", "node/passport.js"], api: "jsonwebtoken", backchannel: "/backchannel" },
  "oidc-client-ts": {
    lacks: browser,
    page: true,
    kind: "public",
    command: () => ["node", "node/spa.js"],
    api: "jose",
    consent: true,
  },
  authlib: { lacks: python, command: () => [PYTHON, "python/authlib_app.py"], api: "pyjwt", backchannel: "/backchannel" },
  "go-oidc": { lacks: golang, command: () => ["go/bin/webapp"], api: "go-oidc", backchannel: "/backchannel" },
  "oauth2-proxy": {
    lacks: oauth2proxy,
    command: ({ ISSUER, CLIENT_ID, PORT, UPSTREAM }) => [
      ...["oauth2-proxy", "--provider=oidc", `--oidc-issuer-url=${ISSUER}`, `--client-id=${CLIENT_ID}`],
      ...[`--redirect-url=http://localhost:${PORT}/callback`, `--http-address=127.0.0.1:${PORT}`, `--upstream=${UPSTREAM}`],
      ...["--cookie-secure=false", "--cookie-refresh=1s", "--code-challenge-method=S256", "--skip-provider-button"],
      ...["--email-domain=*", "--pass-access-token", `--whitelist-domain=${new URL(ISSUER).host}`],
      "--proxy-prefix=", "--skip-auth-route=GET=^/left",
    ],
    env: ({ CLIENT_SECRET }) => ({
      OAUTH2_PROXY_CLIENT_SECRET: CLIENT_SECRET,
      OAUTH2_PROXY_COOKIE_SECRET: randomBytes(16).toString("hex"),
    }),
    upstream: { IDENTITY: "x-forwarded-user", TOKEN: "x-forwarded-access-token" },
    api: "jose",
    refreshing: "/",
    logout: ({ url, world }) => {
      const after = new URLSearchParams({ post_logout_redirect_uri: `${url}/left` });
      const rd = `${world.metadata.end_session_endpoint}?id_token_hint={id_token}&${after}`;
      return `/sign_out?${new URLSearchParams({ rd })}`;
    },
  },
  mod_auth_openidc: {
    lacks: apache,
    command: () => ["/usr/sbin/apache2", "-DFOREGROUND", "-f", `${here}apache/httpd.conf`],
    env: () => ({ MODULES, PASSPHRASE: randomBytes(16).toString("hex") }),
    formPost: true,
    upstream: { IDENTITY: "oidc_claim_sub", TOKEN: "oidc_access_token" },
    api: "jose",
    refreshing: "/",
    backchannel: "/callback?logout=backchannel",
    logout: ({ url }) => `/callback?logout=${encodeURIComponent(`${url}/left`)}`,
  },
  spring: {
    lacks: java,
    command: () => [...JAVA, "-jar", JAR, "--spring.profiles.active=web"],
    // Where a login comes back to, and where one that an access token needed.
    callback: ["/login/oauth2/code/symbolon", "/authorize/oauth2/code/symbolon"],
    type: "JWT",
    api: "spring",
    consent: true,
    refreshing: "/api",
    backchannel: "/logout/connect/back-channel/symbolon",
    asks: /Are you sure you want to log out/,
  },
};
