// An API that checks access tokens with jsonwebtoken, and gets the keys with jwks-rsa.

import { createServer } from "node:http";
import jwt from "jsonwebtoken";
import jwksClient from "jwks-rsa";

const { ISSUER, AUDIENCE, TYPE, PORT } = process.env;
const metadata = await (await fetch(`${ISSUER}/.well-known/openid-configuration`)).json();
const jwks = jwksClient({ jwksUri: metadata.jwks_uri });
const rules = { issuer: ISSUER, audience: AUDIENCE, algorithms: ["ES256", "RS256"], complete: true };

const key = ({ kid }, done) => jwks.getSigningKey(kid).then((key) => done(null, key.getPublicKey()), done);

createServer((request, response) => {
  const token = request.headers.authorization?.replace(/^Bearer /, "");
  jwt.verify(token, key, rules, (error, verified) => {
    // It leaves `typ` to us: without this an ID token would do wherever the audience is the client's name.
    if (error || verified.header.typ !== TYPE) {
      return response.writeHead(401, { "www-authenticate": "Bearer" }).end(String(error));
    }
    response.setHeader("content-type", "application/json").end(JSON.stringify(verified.payload));
  });
}).listen(PORT, "127.0.0.1");
