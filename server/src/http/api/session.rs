//! Log in, log out, and see what is alive.

use axum::{
    extract::{Path, Query, State},
    http::{HeaderMap, Method, header},
    response::Response,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use symbolon_core::{
    client::ClientId,
    csrf,
    family::Family,
    id::{SessionId, UserId},
    secret::SecretText,
    session::{Reason, Session},
    time::Time,
};
use symbolon_guard::{Half, Identity};
use utoipa::{IntoParams, ToSchema};

use crate::{
    app::now,
    http::{
        Http,
        confirm::{Confirm, ConfirmQuery},
        input::{self, Body, Caller},
        output::{self, TokenAnswer},
        problem::{self, Problem},
    },
    ops::{
        self,
        confirm::Confirmed,
        end::Ending,
        login::{Attempt, Deliver},
    },
};

/// Which halves a login gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeliverAs {
    /// A session cookie.
    #[default]
    Session,
    /// Access and refresh token in the JSON answer.
    Token,
    /// Access and refresh token in HttpOnly cookies, and a CSRF token in the JSON answer.
    TokenCookie,
}

/// A login.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginRequest {
    /// The name.
    pub username: String,
    /// The password.
    #[schema(value_type = String, format = Password)]
    pub password: SecretText,
    /// Which halves are wanted.
    #[serde(default)]
    pub deliver: DeliverAs,
    /// Whether to remember this device.
    #[serde(default)]
    pub remember: bool,
    /// The public client that asks; confidential clients use HTTP Basic. The default client if absent.
    #[schema(value_type = Option<String>)]
    pub client_id: Option<ClientId>,
    /// The audience of the access token; the client's first if absent.
    pub audience: Option<String>,
}

/// A login that gave cookies.
#[derive(Debug, Serialize, ToSchema)]
pub struct LoginAnswer {
    /// The new session.
    sid: String,
    /// The session that it replaced, if one came along; its data came over if it was a visitor's.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced_sid: Option<String>,
    /// For the field `csrf_token` of forms, and for the header `X-CSRF-Token` beside token cookies.
    csrf_token: String,
    /// Seconds until the access token expires, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<u64>,
}

/// Tokens, and what they replaced.
#[derive(Debug, Serialize, ToSchema)]
pub struct LoginTokens {
    #[serde(flatten)]
    tokens: TokenAnswer,
    /// The visitor's session that it replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced_sid: Option<String>,
}

/// Logs in with a name and a password.
#[utoipa::path(post, path = "/api/v1/login", tag = "session", request_body = LoginRequest, responses(
    (status = 200, description = "The halves that were asked for", body = LoginTokens),
    (status = 401, description = "`invalid_credentials`, the same for every reason"),
    (status = 429, description = "`too_many_attempts`, with `Retry-After`")))]
pub async fn login(
    State(http): State<Http>,
    headers: HeaderMap,
    caller: Caller,
    Body(body): Body<LoginRequest>,
) -> Result<Response, Problem> {
    let now = now();
    let (client, binding) = input::client(&headers, body.client_id.as_ref(), &http)?;
    if !client.first_party {
        return Err(problem::CLIENT_KIND.into());
    }
    http.refuse_foreign_origin(&headers)?;
    let deliver = match body.deliver {
        DeliverAs::Session => Deliver::Cookie,
        DeliverAs::Token | DeliverAs::TokenCookie => {
            Deliver::Tokens { audience: body.audience, binding }
        }
    };
    let attempt = Attempt {
        client,
        username: &body.username,
        password: &body.password,
        again: false,
        remember: body.remember,
        presented: http.session_cookie(&headers)?,
        device: caller.device,
        deliver,
    };
    let done = ops::login::login(&http.app, attempt, now).await?;
    let replaced_sid = done.replaced.map(|id| id.to_string());
    let mut set = HeaderMap::new();
    let sid = done.session.id.to_string();
    match (done.tokens, done.cookie) {
        (Some(tokens), _) if body.deliver == DeliverAs::TokenCookie => {
            let csrf_token = output::set_tokens(&http, &mut set, &tokens, now)?;
            let expires_in = Some(tokens.expires_in.as_secs());
            Ok(output::json(set, LoginAnswer { sid, replaced_sid, csrf_token, expires_in }))
        }
        (Some(tokens), _) => Ok(output::json(
            set,
            LoginTokens { tokens: TokenAnswer::new(&tokens, now), replaced_sid },
        )),
        (None, Some(cookie)) => {
            output::set_session(&http, &mut set, &done.session, &cookie, now)?;
            let csrf_token = csrf::token(cookie.expose());
            Ok(output::json(set, LoginAnswer { sid, replaced_sid, csrf_token, expires_in: None }))
        }
        (None, None) => Err(problem::UNAVAILABLE.into()),
    }
}

impl From<ops::login::Refused> for Problem {
    fn from(refused: ops::login::Refused) -> Self {
        match refused {
            ops::login::Refused::Credentials => problem::CREDENTIALS.into(),
            ops::login::Refused::Limited(limited) => limited.into(),
            ops::login::Refused::Audience(_) => problem::AUDIENCE.into(),
            ops::login::Refused::Unavailable(error) => error.into(),
        }
    }
}

/// A logout without a cookie or access token.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogoutRequest {
    /// The refresh token whose session should end.
    #[schema(value_type = Option<String>)]
    pub refresh_token: Option<SecretText>,
}

/// Ends the session that the request carries: its cookie, its tokens, and everything under it.
#[utoipa::path(post, path = "/api/v1/logout", tag = "session", request_body(content = Option<LogoutRequest>), params(ConfirmQuery), responses(
    (status = 204, description = "Ended, or there was nothing to end"),
    (status = 200, description = "With `confirm`: it is over everywhere", body = Confirmed),
    (status = 202, description = "With `confirm`: ended, but not everywhere yet", body = Confirmed)))]
pub async fn logout(
    confirm: Confirm,
    State(http): State<Http>,
    identity: Option<Identity>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Result<Response, Problem> {
    let now = now();
    let ours = http.api_rules.check_origin(&Method::POST, &headers).is_ok();
    if let Some(identity) = &identity {
        ops::end::session(&http.app, identity.session, Reason::Logout, now).await?;
    } else if !body.is_empty() {
        let body: LogoutRequest = serde_json::from_slice(&body).map_err(|_| problem::MALFORMED)?;
        if let Some(token) = body.refresh_token {
            ops::end::by_refresh_token(&http.app, &token, now).await?;
        }
    } else if ours && !headers.contains_key(header::AUTHORIZATION) {
        // The cookie of an app's own session opens nothing here, but its holder can end it.
        if let Some(cookie) = http.session_cookie(&headers)? {
            ops::end::by_child_cookie(&http.app, &cookie, now).await?;
        }
    }
    let mut cleared = HeaderMap::new();
    // A page of another site removes no cookies either.
    if headers.contains_key(header::COOKIE) && ours {
        output::clear_all(&http, &mut cleared);
    }
    confirm.answer(&http.app, cleared, None).await
}

/// The session that the request carries.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionAnswer<'i> {
    /// The session.
    #[schema(value_type = String)]
    sid: SessionId,
    /// The user; absent for a visitor.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    sub: Option<UserId>,
    /// The client.
    client_id: &'i str,
    /// The user's roles.
    roles: &'i [Box<str>],
    /// What the token may be used for.
    scopes: &'i [Box<str>],
    /// How sure we are who it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    acr: Option<&'static str>,
    /// When the user logged in, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<i64>,
    /// Which half carried the request: `session`, `token` or `token-cookie`.
    carried_by: &'static str,
    /// For forms and scripts, where a cookie carries the request.
    #[serde(skip_serializing_if = "String::is_empty")]
    csrf_token: String,
}

/// Who the request is.
#[utoipa::path(get, path = "/api/v1/session", tag = "session", responses((status = 200, body = SessionAnswer)))]
pub async fn session(identity: Identity) -> Response {
    let answer = SessionAnswer {
        sid: identity.session,
        sub: identity.subject,
        client_id: identity.client.as_str(),
        roles: &identity.roles,
        scopes: &identity.scopes,
        acr: identity.assurance.map(symbolon_core::session::Assurance::as_str),
        auth_time: identity.auth_time.map(Time::secs),
        carried_by: match identity.half() {
            Some(Half::TokenCookie) => "token-cookie",
            Some(Half::Bearer | Half::Dpop) => "token",
            _ => "session",
        },
        csrf_token: identity.csrf_token(),
    };
    output::json(HeaderMap::new(), answer)
}

/// One live session of the user.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionItem {
    /// The session.
    pub sid: String,
    /// The client that it was opened for.
    pub client_id: String,
    /// The session of an application that it outlives, with `offline_access`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub granted_by: Option<String>,
    /// Whether this request is carried by it.
    pub current: bool,
    /// What a person calls the device.
    pub device: String,
    /// Where it was last proven from.
    pub address: String,
    /// Seconds since 1970.
    pub opened_at: i64,
    /// Seconds since 1970.
    pub seen_at: i64,
    /// When it ends in any case; seconds since 1970.
    pub expires_at: i64,
    /// How sure we are who it is.
    pub acr: Option<&'static str>,
    /// Whether a browser holds a cookie of it.
    pub cookie: bool,
    /// The token families that apps hold.
    pub families: Vec<FamilyItem>,
    /// The sessions under it.
    #[schema(no_recursion)]
    pub apps: Vec<SessionItem>,
}

/// One token family.
#[derive(Debug, Serialize, ToSchema)]
pub struct FamilyItem {
    /// Its number.
    pub number: u32,
    /// The client that holds it.
    pub client_id: String,
    /// How often its refresh token was renewed.
    pub generation: u32,
    /// When it was last used; seconds since 1970.
    pub used_at: i64,
}

impl From<&Family> for FamilyItem {
    fn from(family: &Family) -> Self {
        Self {
            number: family.number.0,
            client_id: family.client.to_string(),
            generation: family.generation.0,
            used_at: family.issued.at.secs(),
        }
    }
}

impl SessionItem {
    /// A session and those under it.
    pub fn new(session: &Session, children: &[Session], current: Option<SessionId>) -> Self {
        Self {
            sid: session.id.to_string(),
            client_id: session.client.to_string(),
            granted_by: session.granted_by.map(|id| id.to_string()),
            current: current == Some(session.id),
            device: session.device.label.to_string(),
            address: session.device.address.to_string(),
            opened_at: session.opened_at.secs(),
            seen_at: session.seen_at.secs(),
            expires_at: session.limits.ends_at.secs(),
            acr: session.login.as_ref().map(|login| login.assurance.as_str()),
            cookie: session.cookie.is_some(),
            families: session.families.iter().map(FamilyItem::from).collect(),
            apps: children.iter().map(|child| Self::new(child, &[], current)).collect(),
        }
    }
}

/// The live sessions of the user, newest first, as a tree.
#[utoipa::path(get, path = "/api/v1/sessions", tag = "session", responses((status = 200, body = Vec<SessionItem>)))]
pub async fn sessions(State(http): State<Http>, identity: Identity) -> Result<Response, Problem> {
    let user = identity.subject.ok_or(problem::UNAUTHENTICATED)?;
    let tree = ops::sessions::tree(&http.app, user, now()).await?;
    let items: Vec<_> = tree
        .iter()
        .map(|node| SessionItem::new(&node.session, &node.children, Some(identity.session)))
        .collect();
    Ok(output::json(HeaderMap::new(), items))
}

/// How many sessions ended.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ended {
    /// How many.
    ended: usize,
}

/// Ends one session of the user, and everything under it. A client that authenticates ends one that is its own: a
/// visitor's that it opened, or its user's in this application.
#[utoipa::path(delete, path = "/api/v1/sessions/{sid}", tag = "session", params(("sid" = String, Path), ConfirmQuery), responses(
    (status = 204, description = "Ended"),
    (status = 200, description = "With `confirm`: it is over everywhere", body = Confirmed),
    (status = 202, description = "With `confirm`: ended, but not everywhere yet", body = Confirmed),
    (status = 404, description = "There is no such session of this user or client")))]
pub async fn end_session(
    confirm: Confirm,
    State(http): State<Http>,
    headers: HeaderMap,
    identity: Option<Identity>,
    Path(sid): Path<String>,
) -> Result<Response, Problem> {
    let sid = sid.parse::<SessionId>().map_err(|_| problem::NOT_FOUND);
    let ending = if let Some(client) = input::basic(&headers, &http)? {
        ops::end::session_of_client(&http.app, &client, sid?, now()).await?
    } else {
        let user = identity.and_then(|it| it.subject).ok_or(problem::UNAUTHENTICATED)?;
        ops::end::session_of(&http.app, user, sid?, Reason::EndedByUser, now()).await?
    };
    if ending == Ending::Unknown {
        return Err(problem::NOT_FOUND.into());
    }
    confirm.answer(&http.app, HeaderMap::new(), None).await
}

/// Which sessions to end.
#[derive(Debug, Deserialize, IntoParams)]
pub struct EndQuery {
    /// `current`: all but the one that carries the request. Absent: all.
    keep: Option<String>,
}

/// Ends all sessions of the user, or all others.
#[utoipa::path(delete, path = "/api/v1/sessions", tag = "session", params(EndQuery, ConfirmQuery), responses(
    (status = 200, body = Ended),
    (status = 202, description = "With `confirm`: ended, but not everywhere yet", body = Confirmed)))]
pub async fn end_sessions(
    confirm: Confirm,
    State(http): State<Http>,
    identity: Identity,
    query: Result<Query<EndQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let user = identity.subject.ok_or(problem::UNAUTHENTICATED)?;
    let keep = match query.map_err(|_| problem::MALFORMED)?.0.keep.as_deref() {
        None => None,
        Some("current") => Some(identity.session),
        Some(_) => {
            return Err(Problem::from(problem::MALFORMED).detail("keep is `current` or absent"));
        }
    };
    let ended = ops::end::sessions_of(&http.app, user, keep, Reason::EndedByUser, now()).await?;
    let mut set = HeaderMap::new();
    if keep.is_none() && !matches!(identity.half(), Some(Half::Bearer | Half::Dpop)) {
        output::clear_all(&http, &mut set);
    }
    confirm.answer(&http.app, set, Some(json!(Ended { ended }))).await
}
