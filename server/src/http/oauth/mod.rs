//! What the standards ask for: tokens, introspection, keys, metadata.

pub mod device;
pub mod error;
pub mod metadata;
pub mod par;
pub mod parameters;
pub mod registration;
pub mod request;
pub mod token;
pub mod userinfo;

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use symbolon_core::{
    family::Binding,
    id::{EntryId, SessionId, TokenId, UserId},
    oauth::jwk::Thumbprint,
    time::Time,
    token::Actor,
};

use symbolon_guard::dpop;

use self::{error::OauthError, parameters::Parameters};
use super::{Http, confirm::Confirm, output};
use crate::{
    app::now,
    ops::{self, introspect::Active},
};

/// What a half proves now (RFC 7662, section 2.1), told to a client that has authenticated. No hint is needed: every half
/// says what it is.
pub async fn introspect(
    State(http): State<Http>,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, OauthError> {
    let (asker, shown) = parameters.client(&headers, &http).await?;
    if shown == Binding::None {
        return Err(OauthError::invalid_client(false));
    }
    let token = parameters.require("token", "token is missing")?;
    let active = ops::introspect::introspect(&http.app, &asker, token, now()).await?;
    Ok(match &active {
        None => output::json(HeaderMap::new(), json!({ "active": false })),
        Some(active) => output::json(HeaderMap::new(), Told::new(&http, active)),
    })
}

/// An active half (RFC 7662, section 2.2).
#[derive(Debug, Serialize)]
struct Told<'a> {
    active: bool,
    iss: &'a str,
    sid: SessionId,
    client_id: &'a str,
    roles: &'a [Box<str>],
    iat: i64,
    exp: i64,
    token_type: &'static str,
    /// Not of the standard: what a follower looks up in the revocation log before it uses this answer again.
    revoked_by: &'a [EntryId],
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<SessionId>,
    #[serde(skip_serializing_if = "str::is_empty")]
    scope: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acr: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<TokenId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<&'a Actor>,
    /// The key that the token is bound to (RFC 9449, section 6.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<Value>,
    #[serde(flatten)]
    more: &'a Map<String, Value>,
}

impl<'a> Told<'a> {
    fn new(http: &'a Http, active: &'a Active) -> Self {
        let token = active.token.as_ref();
        Self {
            active: true,
            iss: http.app.config.public_url.issuer(),
            sid: active.session,
            client_id: active.client.as_str(),
            roles: &active.roles,
            iat: active.issued_at.secs(),
            exp: active.expires_at.secs(),
            token_type: match (token, active.key) {
                (None, _) => "session",
                (Some(_), None) => "Bearer",
                (Some(_), Some(_)) => "DPoP",
            },
            revoked_by: &active.revoked_by,
            sub: active.user,
            username: active.username.as_deref(),
            parent: active.parent,
            scope: &active.scope,
            auth_time: active.auth_time.map(Time::secs),
            acr: active.user.map(|_| active.assurance.as_str()),
            jti: token.map(|(id, _)| *id),
            aud: token.map(|(_, audiences)| audiences.as_slice()),
            act: active.act.as_ref(),
            cnf: active.key.map(|key| json!({ "jkt": key })),
            more: &active.more,
        }
    }
}

/// Revokes an access token, or the login behind a refresh token (RFC 7009). What proves nothing is revoked already. Who
/// says nothing of itself means the default client.
pub async fn revoke(
    confirm: Confirm,
    State(http): State<Http>,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, OauthError> {
    let client =
        match http.app.client(&http.default_client).filter(|_| parameters.names_nobody(&headers)) {
            Some(client) => client,
            None => parameters.client(&headers, &http).await?.0,
        };
    let token = parameters.require("token", "token is missing")?;
    ops::end::half(&http.app, &client, token, now()).await?;
    // The standard asks for 200.
    Ok(confirm.answer(&http.app, HeaderMap::new(), Some(json!({}))).await.into_response())
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

/// The key that a `POST` proves its sender to hold (RFC 9449), if it brings a proof.
fn proven_key(
    http: &Http,
    headers: &HeaderMap,
    path: &str,
) -> Result<Option<Thumbprint>, OauthError> {
    let url = format!("{}{path}", http.app.config.public_url.issuer());
    let request = dpop::Request { headers, method: "POST", url: &url, token: None };
    Ok(http.rules.proofs().key(&request, now())?)
}
