"""A shop with Django, which keeps its sessions, and mozilla-django-oidc: the settings of docs/guide/from-django.md."""

import os
from pathlib import Path

import django
from django.conf import settings
from django.contrib.auth import get_user
from django.core.management import call_command
from django.http import JsonResponse
from django.urls import include, path

ISSUER, PORT = os.environ["ISSUER"], os.environ["PORT"]

settings.configure(
    SECRET_KEY=os.urandom(32).hex(),
    ALLOWED_HOSTS=["localhost"],
    ROOT_URLCONF=__name__,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": Path(os.environ["FOLDER"], "db")}},
    USE_TZ=True,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "mozilla_django_oidc"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "mozilla_django_oidc.middleware.SessionRefresh",
    ],
    AUTHENTICATION_BACKENDS=[f"{__name__}.BySub", "django.contrib.auth.backends.ModelBackend"],
    OIDC_RP_CLIENT_ID=os.environ["CLIENT_ID"],
    OIDC_RP_CLIENT_SECRET=os.environ["CLIENT_SECRET"],
    OIDC_OP_AUTHORIZATION_ENDPOINT=f"{ISSUER}/oauth2/authorize",
    OIDC_OP_TOKEN_ENDPOINT=f"{ISSUER}/oauth2/token",
    OIDC_OP_USER_ENDPOINT=f"{ISSUER}/oauth2/userinfo",
    OIDC_OP_JWKS_ENDPOINT=f"{ISSUER}/.well-known/jwks.json",
    OIDC_RP_SIGN_ALGO="RS256",
    OIDC_USE_PKCE=True,
    OIDC_RP_SCOPES="openid profile",
    # So long a login that has ended at the server is still one here.
    OIDC_RENEW_ID_TOKEN_EXPIRY_SECONDS=2,
    OIDC_STORE_ID_TOKEN=True,
    OIDC_OP_LOGOUT_URL_METHOD=f"{__name__}.logout_url",
    ALLOW_LOGOUT_GET_METHOD=False,
    LOGIN_REDIRECT_URL="/",
    LOGIN_REDIRECT_URL_FAILURE="/failed",
    LOGOUT_REDIRECT_URL="/",
)
django.setup()

from django.contrib.auth.backends import UserModel  # noqa: E402
from mozilla_django_oidc.auth import OIDCAuthenticationBackend  # noqa: E402


class BySub(OIDCAuthenticationBackend):
    """Whose `sub` it is, which never changes; addresses do."""

    def filter_users_by_claims(self, claims):
        return UserModel.objects.filter(username=claims["sub"])

    def create_user(self, claims):
        return UserModel.objects.create_user(claims["sub"], first_name=claims.get("name", ""))

    def verify_claims(self, claims):
        return "sub" in claims


def logout_url(request):
    return f"{ISSUER}/oauth2/logout?id_token_hint={request.session['oidc_id_token']}&post_logout_redirect_uri=http://localhost:{PORT}/"


def home(request):
    """Who it is and what is in the cart."""
    user = get_user(request)
    who = user.get_username() if user.is_authenticated else None
    return JsonResponse({"who": who, "cart": request.session.get("cart", []), "key": request.session.session_key})


def put(request, thing):
    request.session["cart"] = [*request.session.get("cart", []), thing]
    return home(request)


urlpatterns = [path("", home), path("failed", home), path("put/<thing>", put), path("oidc/", include("mozilla_django_oidc.urls"))]

if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    call_command("runserver", f"127.0.0.1:{PORT}", "--noreload")
