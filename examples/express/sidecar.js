// Express middleware that asks a forward-auth sidecar on this machine who a request is. Everything that counts is decided
// there (docs/guide/forward-auth.md): this hands the request on as it came, and does what the answer says.

import { Agent, get } from "node:http";

const DEADLINE_MS = 3_000;
const agent = new Agent({ keepAlive: true });
// What the check looks at; nothing else of the request leaves the process.
const ASKED = ["cookie", "authorization", "dpop", "origin", "sec-fetch-site", "sec-fetch-mode", "accept", "x-csrf-token", "upgrade"];

/** Asks about a request: `{ status, who, login, reason, challenge, cookie }`. A sidecar that is away lets nobody in. */
export async function ask(sidecar, request) {
  const headers = {
    "x-original-method": request.method,
    "x-original-uri": request.originalUrl ?? request.url,
    "x-original-host": request.headers.host,
  };
  for (const name of ASKED) if (request.headers[name]) headers[name] = request.headers[name];
  const check = await send(`${sidecar}/check`, headers).catch(() => null);
  if (!check) return { status: 403, reason: "unavailable" };
  const said = (name) => check.headers[`x-symbolon-${name}`] || undefined;
  const list = (name, separator) => said(name)?.split(separator) ?? [];
  const who = said("session") && {
    subject: said("subject"),
    session: said("session"),
    client: said("client"),
    roles: list("roles", ","),
    scopes: list("scopes", " "),
    assurance: said("assurance"),
  };
  const [login, reason, cookie] = ["login", "reason", "cookie"].map(said);
  return { status: check.statusCode, who, login, reason, cookie, challenge: check.headers["www-authenticate"] };
}

// Not `fetch`, which writes a `Sec-Fetch-Mode` of its own over the browser's.
const send = (url, headers) =>
  new Promise((done, failed) => {
    const asked = get(url, { agent, headers, signal: AbortSignal.timeout(DEADLINE_MS) }, (check) => {
      check.resume().on("end", () => done(check)).on("error", failed);
    });
    asked.on("error", failed);
  });

/** Middleware: `request.symbolon` is who was let in, or undefined where the rules let anybody in. */
export function symbolon({ sidecar }) {
  return async (request, response, next) => {
    const answer = await ask(sidecar, request);
    if (answer.status !== 200) return refuse(response, answer);
    request.symbolon = answer.who;
    // The application and its other middleware never see a credential of Symbolon's.
    request.headers.cookie = answer.cookie;
    delete request.headers.authorization;
    next();
  };
}

function refuse(response, { status, login, reason, challenge }) {
  response.set("cache-control", "no-store");
  // Nobody can tell now: no 401, or clients would throw away what is good.
  if (reason === "unavailable") return response.status(503).set("retry-after", "1").json({ code: "unavailable" });
  if (status !== 401) return response.status(403).json({ code: reason ?? "refused" });
  // A browser on its way to a page.
  if (login) return response.redirect(303, login);
  if (challenge) response.set("www-authenticate", challenge);
  return response.status(401).json({ code: "unauthenticated" });
}
