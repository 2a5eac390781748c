#!/bin/sh
# A JSON client that uses the tokens of a login which a cookie carries; then the login ends, and so do its tokens.
# Needs curl and jq. Where things are, as `symbolon dev` prints it:
SYMBOLON=${SYMBOLON:-http://localhost:8080}
SHOP=${SHOP:-http://localhost:8081}
CLIENT=${CLIENT:-shop-app}

set -eu
umask 077
cookies=$(mktemp)
bearer=$(mktemp)
trap 'rm -f "$cookies" "$bearer"; stty echo 2>/dev/null || true' EXIT
say() { printf '\n# %s\n' "$*" >&2; }
# Secrets go through files and standard input: a command line is open to everybody on the machine.
as_browser() { curl -sS -b "$cookies" -c "$cookies" "$@"; }
read_cart() { curl -sS -K "$bearer" -w '\n%{http_code}\n' "$SHOP/api/cart"; }

printf 'The cookie "symbolon" of a browser that is logged in (empty: log in here): ' >&2
stty -echo 2>/dev/null || true
read -r cookie
if [ -n "$cookie" ]; then
    printf 'localhost\tFALSE\t/\tFALSE\t0\tsymbolon\t%s\n' "$cookie" > "$cookies"
else
    say "A stranger puts a tea bowl into the cart: 303, and the cookie of a visitor's session"
    as_browser -o /dev/null -w '%{http_code}\n' -H "Origin: $SHOP" -d add=tea-bowl "$SHOP/cart"
    stty echo 2>/dev/null || true
    printf 'User name: ' >&2; read -r name
    stty -echo 2>/dev/null || true
    printf 'Password: ' >&2; read -r password; echo >&2
    say "The stranger logs in: another session id, the same cart"
    printf '%s\n%s\n' "$name" "$password" | jq -Rn '{username: input, password: input}' |
        as_browser -H 'Content-Type: application/json' --data @- "$SYMBOLON/api/v1/login" | jq 'del(.csrf_token)'
fi
stty echo 2>/dev/null || true

say "The cookie asks for the other half: an access token of the same login, for the shop"
tokens=$(jq -n --arg client "$CLIENT" --arg shop "$SHOP" '{to: "token", client_id: $client, audience: $shop}' |
    as_browser -f -H "Origin: $SHOP" -H 'Content-Type: application/json' --data @- "$SYMBOLON/api/v1/handover")
printf '%s' "$tokens" | jq -r '"header = \"Authorization: Bearer \(.access_token)\""' > "$bearer"

say "The token alone reads the cart"
read_cart

say "The login ends (press Enter to log out here; or log out in the browser first)"
read -r _
as_browser -o /dev/null -w '%{http_code}\n' -H "Origin: $SYMBOLON" -X POST "$SYMBOLON/api/v1/logout"

say "The same token, long before it expires: 401"
answer=$(read_cart)
printf '%s\n' "$answer"
[ "$(printf '%s' "$answer" | tail -n 1)" = 401 ]
