"""A web application with Authlib and Flask."""

import os
import secrets

import jwt
from authlib.integrations.base_client import OAuthError
from authlib.integrations.flask_client import OAuth
from flask import Flask, redirect, request, session

ISSUER, API, PORT = (os.environ[name] for name in ("ISSUER", "API", "PORT"))
HERE = f"http://localhost:{PORT}"

app = Flask(__name__)
app.secret_key = secrets.token_bytes(32)
# Who is logged in, by what the cookie holds: the tokens and the claims of the ID token.
logins = {}


def login():
    return logins.get(session.get("login"))


def keep(token, refresh_token=None, access_token=None):
    login().update(token)


oauth = OAuth(app)
symbolon = oauth.register(
    "symbolon",
    client_id=os.environ["CLIENT_ID"],
    client_secret=os.environ["CLIENT_SECRET"],
    server_metadata_url=f"{ISSUER}/.well-known/openid-configuration",
    client_kwargs={"scope": "openid profile", "code_challenge_method": "S256"},
    fetch_token=login,
    update_token=keep,
)


@app.before_request
def only_for_who_is_logged_in():
    if request.path in ("/api", "/refresh", "/logout") and not login():
        return redirect("/")


@app.get("/")
def home():
    return dict(login()["claims"]) if login() else symbolon.authorize_redirect(f"{HERE}/callback")


@app.get("/callback")
def callback():
    token = symbolon.authorize_access_token()
    session.clear()
    session["login"] = secrets.token_urlsafe()
    logins[session["login"]] = {**token, "claims": {**symbolon.userinfo(token=token), **token["userinfo"]}}
    return redirect("/")


@app.get("/api")
def call():
    answer = symbolon.get(API)
    return answer.text, answer.status_code


@app.get("/refresh")
def refresh():
    """Authlib refreshes a token that is over before it uses it."""
    login()["expires_at"] = 0
    try:
        return call()
    except OAuthError as error:
        app.logger.warning("the session is over: %s", error)
        logins.pop(session.pop("login"))
        return str(error), 401


@app.get("/logout")
def logout():
    token = logins.pop(session.pop("login"))
    return symbolon.logout_redirect(post_logout_redirect_uri=f"{HERE}/left", id_token_hint=token["id_token"])


@app.get("/left")
def left():
    symbolon.validate_logout_response()
    return "logged out"


@app.post("/backchannel")
def backchannel():
    """OpenID Connect Back-Channel Logout 1.0, section 2.6, which Authlib leaves to the application."""
    token = request.form["logout_token"]
    key = jwt.PyJWKClient(symbolon.load_server_metadata()["jwks_uri"]).get_signing_key_from_jwt(token)
    needed = {"require": ["iss", "aud", "iat", "exp", "jti", "events"]}
    audience = os.environ["CLIENT_ID"]
    claims = jwt.decode(token, key, algorithms=["RS256"], issuer=ISSUER, audience=audience, options=needed)
    if "http://schemas.openid.net/event/backchannel-logout" not in claims["events"] or "nonce" in claims:
        return "", 400
    names = [name for name in ("sid", "sub") if name in claims]
    for key, kept in list(logins.items()):
        if names and all(kept["claims"].get(name) == claims[name] for name in names):
            del logins[key]
    return "", 200, {"cache-control": "no-store"}


app.run("127.0.0.1", int(PORT))
