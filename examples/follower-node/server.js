// An API that lets in who has a live access token, and shows for whom. See README.md.

import { createServer } from "node:http";
import { Verifier } from "./follower.js";

const { ISSUER, SERVER = ISSUER, CLIENT_ID, CLIENT_SECRET, AUDIENCE, PORT = "0" } = process.env;
const verifier = new Verifier({ issuer: ISSUER, server: SERVER, clientId: CLIENT_ID, clientSecret: CLIENT_SECRET, audience: AUDIENCE });
// Not ready before it knows what has ended.
await verifier.start();

const server = createServer(async (request, response) => {
  const token = /^Bearer (\S+)$/i.exec(request.headers.authorization ?? "")?.[1];
  const claims = token && (await verifier.verify(token));
  response.setHeader("content-type", "application/json");
  response.setHeader("cache-control", "no-store");
  if (!claims) {
    response.writeHead(401, { "www-authenticate": token ? 'Bearer error="invalid_token"' : "Bearer" });
    return response.end('{"code":"unauthenticated"}\n');
  }
  response.end(`${JSON.stringify({ sub: claims.sub, sid: claims.sid, roles: claims.roles ?? [] })}\n`);
});
server.listen(Number(PORT), "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));

process.on("SIGTERM", () => {
  verifier.stop();
  server.close();
  server.closeIdleConnections();
});
