//! The server behind its own guard: who a half belongs to, asked in the process.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{FromRequest, Request, State},
    http::{HeaderValue, Method, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use symbolon_core::{secret::SecretText, time::Time};
use symbolon_guard::{Authority, Carried, Claims, Guard, Refusal};

use super::{
    Http, input,
    oauth::parameters::{Parameters, Unreadable},
};
use crate::{
    app::{App, now},
    live::Known,
    ops::{
        self,
        check::{self, Refused},
    },
};

/// Answers the guard from the store and what is alive in memory.
#[derive(Debug, Clone)]
pub struct InProcess(pub Arc<App>);

impl Authority for InProcess {
    async fn identify(&self, carried: &Carried, _: &Parts) -> Result<Arc<Claims>, Refusal> {
        let now = now();
        match carried {
            Carried::Nothing => Err(Refusal::LoginRequired),
            Carried::SessionCookie(text) => check::cookie(&self.0, text, now)
                .await
                .map_err(refusal)
                .and_then(|known| of_browser(&known).map(Arc::new)),
            Carried::Bearer(text) | Carried::TokenCookie(text) | Carried::Dpop(text) => {
                of_token(&self.0, text, self.0.config.public_url.issuer(), now)
            }
        }
    }
}

/// The server behind the guard of userinfo: access tokens that are for it, and nothing else. Such a token opens nothing
/// more here, and no session cookie is sent by apps.
#[derive(Debug, Clone)]
pub struct AtUserinfo(pub Arc<App>);

impl Authority for AtUserinfo {
    async fn identify(&self, carried: &Carried, _: &Parts) -> Result<Arc<Claims>, Refusal> {
        match carried {
            Carried::Bearer(text) | Carried::Dpop(text) => {
                of_token(&self.0, text, &ops::issue::userinfo(&self.0), now())
            }
            _ => Err(Refusal::LoginRequired),
        }
    }
}

fn refusal(refused: Refused) -> Refusal {
    tracing::debug!(reason = %refused, "a half proves nothing");
    match refused {
        Refused::Renewed => Refusal::Renewed,
        Refused::Unavailable(error) => {
            tracing::error!(%error, "a session cannot be checked");
            Refusal::Unavailable { retry_after_secs: 1 }
        }
        _ => Refusal::InvalidToken,
    }
}

/// The cookie of an app's own session opens nothing here: whoever runs the app must not get at the account.
fn of_browser(known: &Known) -> Result<Claims, Refusal> {
    if known.parent.is_some() { Err(Refusal::InvalidToken) } else { Ok(of_session(known)) }
}

fn of_session(known: &Known) -> Claims {
    let login = known.login.as_ref();
    Claims {
        subject: login.map(|login| login.user),
        session: known.session(),
        parent: known.parent,
        client: known.client.clone(),
        scopes: Vec::new(),
        roles: login.map(|login| Arc::clone(&login.roles)).unwrap_or_default(),
        assurance: login.map(|login| login.assurance),
        auth_time: login.map(|login| login.at),
        key: None,
    }
}

fn of_token(
    app: &App,
    text: &SecretText,
    audience: &str,
    now: Time,
) -> Result<Arc<Claims>, Refusal> {
    let verified = check::token(app, text, now).map_err(refusal)?;
    // A token for somebody else's API is no key to this one (RFC 9068, section 4).
    if !verified.claims.aud.contains(audience) {
        return Err(Refusal::InvalidToken);
    }
    Ok(Arc::clone(&verified.identity))
}

/// Puts a token that comes in a form where tokens stand (RFC 6750, section 2.2). A token comes in one way: one in two places
/// is refused, and so is one in the query, which others see in logs and histories (RFC 9700, section 4.3.2).
pub async fn token_in_form(State(http): State<Http>, request: Request, then: Next) -> Response {
    let in_query = |query: &str| match Parameters::read(query) {
        Ok(parameters) => parameters.get(ACCESS_TOKEN).is_some(),
        Err(Unreadable::Twice(_)) => true,
        Err(Unreadable::Form) => false,
    };
    if request.uri().query().is_some_and(in_query) {
        return Refusal::InvalidRequest.into_response();
    }
    if request.method() != Method::POST || !input::is_form(request.headers()) {
        return then.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    let form = Request::from_parts(parts.clone(), body);
    let form = match Parameters::from_request(form, &http).await {
        Ok(form) => form,
        Err(error) => return error.into_response(),
    };
    if let Some(token) = form.secret(ACCESS_TOKEN) {
        let by_header = parts.headers.contains_key(header::AUTHORIZATION);
        let value = HeaderValue::try_from(format!("Bearer {}", token.expose()));
        let (Ok(mut value), false) = (value, by_header) else {
            return Refusal::InvalidRequest.into_response();
        };
        value.set_sensitive(true);
        parts.headers.insert(header::AUTHORIZATION, value);
    }
    then.run(Request::from_parts(parts, Body::empty())).await
}

const ACCESS_TOKEN: &str = "access_token";

/// Lets requests alone that a client authenticates with HTTP Basic: that client is who asks. All others need a session.
pub async fn unless_basic(State(http): State<Http>, request: Request, then: Next) -> Response {
    let value = request.headers().get(header::AUTHORIZATION);
    if value.is_some_and(|value| value.as_bytes().to_ascii_lowercase().starts_with(b"basic ")) {
        return then.run(request).await;
    }
    let guard = Guard::required(http.api_rules.clone(), InProcess(Arc::clone(&http.app)));
    let (mut parts, body) = request.into_parts();
    match guard.identify(&parts).await {
        Ok(Some(identity)) => {
            parts.extensions.insert(identity);
            then.run(Request::from_parts(parts, body)).await
        }
        Ok(None) => Refusal::LoginRequired.into_response(),
        Err(refusal) => refusal.into_response(),
    }
}
