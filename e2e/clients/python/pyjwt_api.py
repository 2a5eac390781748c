"""An API that checks access tokens with PyJWT."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import urlopen

import jwt

ISSUER, AUDIENCE, TYPE, PORT = (os.environ[name] for name in ("ISSUER", "AUDIENCE", "TYPE", "PORT"))
metadata = json.load(urlopen(f"{ISSUER}/.well-known/openid-configuration"))
jwks = jwt.PyJWKClient(metadata["jwks_uri"])


def check(authorization):
    scheme, _, token = (authorization or "").partition(" ")
    if scheme != "Bearer" or jwt.get_unverified_header(token).get("typ") != TYPE:
        raise jwt.InvalidTokenError("no access token")
    key = jwks.get_signing_key_from_jwt(token)
    algorithms = ["ES256", "EdDSA", "RS256"]
    return jwt.decode(token, key, algorithms, issuer=ISSUER, audience=AUDIENCE, options={"require": ["exp", "sub"]})


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            status, body = 200, json.dumps(check(self.headers["authorization"]))
        except jwt.PyJWTError as error:
            status, body = 401, str(error)
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(body.encode())


ThreadingHTTPServer(("127.0.0.1", int(PORT)), Handler).serve_forever()
