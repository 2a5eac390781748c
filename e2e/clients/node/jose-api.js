// An API that checks access tokens with jose.

import { createServer } from "node:http";
import { createRemoteJWKSet, jwtVerify } from "jose";

const { ISSUER, AUDIENCE, TYPE, PORT } = process.env;
const metadata = await (await fetch(`${ISSUER}/.well-known/openid-configuration`)).json();
const jwks = createRemoteJWKSet(new URL(metadata.jwks_uri));

createServer(async (request, response) => {
  // For the application in the browser, which is of another origin.
  response.setHeader("access-control-allow-origin", "*").setHeader("access-control-allow-headers", "authorization");
  if (request.method === "OPTIONS") return response.writeHead(204).end();
  try {
    const [, token] = request.headers.authorization.match(/^Bearer (.+)$/);
    const { payload } = await jwtVerify(token, jwks, { issuer: ISSUER, audience: AUDIENCE, typ: TYPE });
    response.setHeader("content-type", "application/json").end(JSON.stringify(payload));
  } catch (error) {
    response.writeHead(401, { "www-authenticate": "Bearer" }).end(String(error));
  }
}).listen(PORT, "127.0.0.1");
