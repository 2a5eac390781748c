// The clients: how each is started, and what of the walk it does in its own way. Each is as its library's manual shows
// it, and is told an issuer, a name and a secret.

import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const has = (file) => existsSync(here + file);
const runs = (command, ...args) => {
  try {
    execFileSync(command, args, { cwd: here, stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
};

const PYTHON = "python/venv/bin/python";

// Why something cannot run here, or nothing.
const node = () => {
  if (Number(process.versions.node.split(".")[0]) < 20) return `it needs Node 20, and this is ${process.versions.node}`;
  return has("node_modules/jose") ? undefined : "its npm packages could not be installed";
};

const python = () => (runs(PYTHON, "-c", "import authlib, flask, jwt") ? undefined : "its packages for Python could not be installed");

const golang = () => (has("go/bin/webapp") ? undefined : "it could not be built (it needs Go 1.21 or later, and its modules)");

// APIs that check access tokens by themselves.
export const APIS = {
  jose: { lacks: node, command: ["node", "node/jose-api.js"] },
  jsonwebtoken: { lacks: node, command: ["node", "node/jsonwebtoken-api.js"] },
  pyjwt: { lacks: python, command: [PYTHON, "python/pyjwt_api.py"] },
  "go-oidc": { lacks: golang, command: ["go/bin/api"] },
};

export const CLIENTS = {
  "openid-client": { lacks: node, command: ["node", "node/openid-client.js"], api: "jose", backchannel: "/backchannel" },
  oauth4webapi: { lacks: node, command: ["node", "node/oauth4webapi.js"], api: "jsonwebtoken", backchannel: "/backchannel" },
  authlib: { lacks: python, command: [PYTHON, "python/authlib_app.py"], api: "pyjwt", backchannel: "/backchannel" },
  "go-oidc": { lacks: golang, command: ["go/bin/webapp"], api: "go-oidc", backchannel: "/backchannel" },
};
