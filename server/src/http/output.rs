//! The halves of a login on their way out.

use std::time::Duration;

use axum::{
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use symbolon_core::{csrf, secret::SecretText, session::Session, time::Time};
use symbolon_guard::cookie::Cookie;
use utoipa::ToSchema;

use super::{Http, problem::Problem};
use crate::ops::{Unavailable, issue::Tokens};

/// Tokens as JSON (RFC 6749, section 5.1).
#[derive(Serialize, ToSchema)]
pub struct TokenAnswer {
    /// For the `Authorization: Bearer` header.
    access_token: String,
    /// For the next refresh; each use gives a new one. Absent where only an access token is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    /// What a client of OpenID Connect is told about the login, where the scope has `openid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<String>,
    /// `Bearer`, or `DPoP` where it is bound to a key.
    token_type: &'static str,
    /// What kind of token it is, where a token was exchanged (RFC 8693, section 2.2.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_token_type: Option<&'static str>,
    /// Seconds until the access token expires.
    expires_in: u64,
    /// Seconds until the login ends in any case. Absent where nobody has logged in.
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization_expires_in: Option<u64>,
    /// What the access token may be used for.
    #[serde(skip_serializing_if = "str::is_empty")]
    scope: String,
    /// The session.
    sid: String,
}

impl std::fmt::Debug for TokenAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenAnswer").field("sid", &self.sid).finish_non_exhaustive()
    }
}

impl TokenAnswer {
    /// The answer of these tokens.
    pub fn new(tokens: &Tokens, now: Time) -> Self {
        Self {
            access_token: tokens.access.expose().to_owned(),
            refresh_token: tokens.refresh.as_ref().map(|refresh| refresh.expose().to_owned()),
            id_token: tokens.id_token.as_ref().map(|token| token.expose().to_owned()),
            token_type: if tokens.bound { "DPoP" } else { "Bearer" },
            issued_token_type: None,
            expires_in: tokens.expires_in.as_secs(),
            authorization_expires_in: tokens.login_ends_at.map(|end| end.since(now).as_secs()),
            scope: tokens.scope.to_string(),
            sid: tokens.session.to_string(),
        }
    }

    /// The answer to an exchange, which names the type of what was given.
    #[must_use]
    pub fn exchanged(self, issued_token_type: &'static str) -> Self {
        Self { issued_token_type: Some(issued_token_type), ..self }
    }
}

/// How long a browser keeps the session cookie: until it closes, unless the user asked to be remembered.
pub fn max_age(session: &Session, now: Time) -> Option<Duration> {
    let remembered = session.login.as_ref().is_some_and(|login| login.remembered);
    remembered.then(|| session.limits.ends_at.since(now))
}

fn set(
    http: &Http,
    cookie: Cookie,
    value: &SecretText,
    age: Option<Duration>,
) -> Result<HeaderValue, Problem> {
    let header = http.rules.layout().set(cookie, value, age);
    header.map_err(|error| Unavailable::Key(error.to_string()).into())
}

/// Sets the session cookie.
///
/// # Errors
/// [`Problem`] if the value is no cookie value, which a handle always is.
pub fn set_session(
    http: &Http,
    headers: &mut HeaderMap,
    session: &Session,
    cookie: &SecretText,
    now: Time,
) -> Result<(), Problem> {
    headers.append(header::SET_COOKIE, set(http, Cookie::Session, cookie, max_age(session, now))?);
    Ok(())
}

/// Sets the token cookies and returns the CSRF token that belongs to them.
///
/// # Errors
/// [`Problem`] if a value is no cookie value, which a token always is.
pub fn set_tokens(
    http: &Http,
    headers: &mut HeaderMap,
    tokens: &Tokens,
    now: Time,
) -> Result<String, Problem> {
    headers.append(
        header::SET_COOKIE,
        set(http, Cookie::Access, &tokens.access, Some(tokens.expires_in))?,
    );
    if let Some(refresh) = &tokens.refresh {
        let age = tokens.login_ends_at.map(|end| end.since(now));
        headers.append(header::SET_COOKIE, set(http, Cookie::Refresh, refresh, age)?);
    }
    Ok(csrf::token(tokens.access.expose()))
}

/// Removes every cookie of ours.
pub fn clear_all(http: &Http, headers: &mut HeaderMap) {
    for cookie in Cookie::ALL {
        headers.append(header::SET_COOKIE, http.rules.layout().clear(cookie));
    }
}

/// A JSON answer that nobody keeps.
pub fn json(headers: HeaderMap, body: impl Serialize) -> Response {
    let mut response = axum::Json(body).into_response();
    response.headers_mut().extend(headers);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
