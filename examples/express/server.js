// A shop on Express. LOGIN says how it learns who somebody is, SESSIONS where it keeps the cart. See README.md.

import { createHmac, randomBytes } from "node:crypto";
import express from "express";
import session from "express-session";
import { oidc } from "./oidc.js";
import { shop } from "./shop.js";
import { symbolon } from "./sidecar.js";
import { SymbolonStore, loginId } from "./symbolon-store.js";

const { PORT = "3000", HERE = `http://localhost:${PORT}`, ISSUER = "http://localhost:8080" } = process.env;
const { CLIENT_ID = "shop", CLIENT_SECRET, LOGIN = "oidc", SESSIONS = "memory", SIDECAR } = process.env;
// Where this process reaches the server, which may be another URL than the browsers'.
const { SERVER = ISSUER } = process.env;

const store =
  SESSIONS === "symbolon"
    ? new SymbolonStore({ url: SERVER, clientId: CLIENT_ID, clientSecret: CLIENT_SECRET })
    : new session.MemoryStore();

const COOKIE_SECRET = process.env.COOKIE_SECRET ?? CLIENT_SECRET;
const mac = (text) => createHmac("sha256", COOKIE_SECRET).update(text).digest().subarray(0, 16);

const app = express();
app.disable("x-powered-by");
app.set("trust proxy", "loopback");
app.use(
  session({
    store,
    name: "shop",
    // All instances know the same secret. With another one, each browser begins anew.
    secret: COOKIE_SECRET,
    genid: ({ login }) => {
      if (!login) return randomBytes(24).toString("base64url");
      // Who comes with a cookie of Symbolon's is known at each instance, and all make the same id of it.
      return LOGIN === "sidecar" ? loginId(login.sid, mac(login.sid)) : loginId(login.sid);
    },
    cookie: { httpOnly: true, sameSite: "lax", secure: HERE.startsWith("https:") },
    resave: false,
    saveUninitialized: false,
  }),
);

// Its own cookie carries the cart: whoever is logged in or not, only its own pages may change something.
app.use((request, response, next) => {
  const { method, path, headers } = request;
  const isSafe = ["GET", "HEAD"].includes(method);
  // The server calls this one, without any cookie.
  const isServer = path === "/backchannel" && !headers.cookie;
  if (isSafe || isServer || headers.origin === new URL(HERE).origin) return next();
  response.status(403).json({ code: "cross_site" });
});

if (LOGIN === "sidecar") app.use(symbolon({ sidecar: SIDECAR }));
else app.use(await oidc({ issuer: ISSUER, clientId: CLIENT_ID, clientSecret: CLIENT_SECRET, here: HERE, store }));
app.use(shop({ instance: PORT, login: LOGIN }));

app.use((error, request, response, _next) => {
  console.error(error);
  response.status(error.status ?? 500).json({ code: error.status === 503 ? "unavailable" : "failed" });
});
app.listen(Number(PORT), "127.0.0.1", () => console.log(HERE));
