//! What the standards ask for: introspection, keys, metadata.

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};
use symbolon_core::{client::ClientId, keys::Algorithm, secret::SecretText, time::Time};

use super::{
    Http,
    confirm::Confirm,
    input::{self, Authenticated, Form},
    output,
    problem::Problem,
};
use crate::{
    app::now,
    ops::{self, introspect::Active},
};

/// A question about a half (RFC 7662, section 2.1).
#[derive(Debug, Deserialize)]
pub struct Question {
    token: SecretText,
    // A hint that is not needed: every half says what it is.
    #[serde(rename = "token_type_hint", default)]
    _hint: Option<String>,
}

/// What a half proves now.
pub async fn introspect(
    State(http): State<Http>,
    Authenticated(asker): Authenticated,
    Form(question): Form<Question>,
) -> Result<Response, Problem> {
    let active = ops::introspect::introspect(&http.app, &asker, &question.token, now()).await?;
    Ok(output::json(
        HeaderMap::new(),
        active.map_or_else(|| json!({ "active": false }), |active| body(&http, &active)),
    ))
}

fn body(http: &Http, active: &Active) -> Value {
    let mut body = json!({
        "active": true,
        "iss": http.app.config.public_url.issuer(),
        "sid": active.session,
        "client_id": active.client,
        "roles": active.roles,
        "iat": active.issued_at.secs(),
        "exp": active.expires_at.secs(),
        // Not of the standard: what a follower looks up in the revocation log before it uses this answer again.
        "revoked_by": active.revoked_by,
        "token_type": if active.token.is_some() { "Bearer" } else { "session" },
    });
    let mut say = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body[name] = value;
        }
    };
    say("sub", active.user.map(|user| json!(user)));
    say("username", active.username.as_ref().map(|name| json!(name)));
    say("parent", active.parent.map(|parent| json!(parent)));
    say("scope", (!active.scope.is_empty()).then(|| json!(active.scope)));
    say("auth_time", active.auth_time.map(|at: Time| json!(at.secs())));
    say("acr", active.user.map(|_| json!(active.assurance.as_str())));
    if let Some((id, audiences)) = &active.token {
        say("jti", Some(json!(id)));
        say("aud", Some(json!(audiences)));
    }
    body
}

/// A half that shall be void (RFC 7009, section 2.1).
#[derive(Debug, Deserialize)]
pub struct Revocation {
    token: SecretText,
    #[serde(rename = "token_type_hint", default)]
    _hint: Option<String>,
    client_id: Option<ClientId>,
}

/// Revokes an access token, or the login behind a refresh token (RFC 7009). What proves nothing is revoked already.
pub async fn revoke(
    confirm: Confirm,
    State(http): State<Http>,
    headers: HeaderMap,
    Form(revocation): Form<Revocation>,
) -> Result<Response, Problem> {
    let (client, _) = input::client(&headers, revocation.client_id.as_ref(), &http)?;
    ops::end::half(&http.app, &client, &revocation.token, now()).await?;
    // The standard asks for 200.
    confirm.answer(&http.app, HeaderMap::new(), Some(json!({}))).await
}

/// The public keys (RFC 7517). Copies may be kept for less time than a new key is published before it signs.
pub async fn jwks(State(http): State<Http>) -> Response {
    let keys = http.app.keys().ring.jwks(now());
    let age = (http.app.key_policy().publish_ahead / 4).as_secs().min(3600);
    let mut response = axum::Json(keys).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
    if let Ok(value) = HeaderValue::try_from(format!("public, max-age={age}")) {
        headers.insert(header::CACHE_CONTROL, value);
    }
    response
}

/// What a resource server needs to know (RFC 8414).
pub async fn metadata(State(http): State<Http>) -> Response {
    let issuer = http.app.config.public_url.issuer();
    axum::Json(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/oauth2/authorize"),
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "introspection_endpoint": format!("{issuer}/oauth2/introspect"),
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic"],
        "revocation_endpoint": format!("{issuer}/oauth2/revoke"),
        "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "none"],
        "access_token_signing_alg_values_supported": Algorithm::ALL.map(Algorithm::name),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
        "request_uri_parameter_supported": false,
        "grant_types_supported": [],
        "ui_locales_supported": ["ko", "en"],
    }))
    .into_response()
}
