//! Refresh and handover.

use axum::{
    extract::{Query, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use symbolon_core::{
    client::{Client, ClientId, ClientKind},
    csrf,
    family::Binding,
    oauth::resource::Resources,
    secret::SecretText,
};
use symbolon_guard::{Carried, Identity, admit, cookie::Cookie};
use utoipa::{IntoParams, ToSchema};

use crate::{
    app::now,
    http::{
        Http,
        confirm::{Confirm, ConfirmQuery},
        input::{self, Body, Caller},
        output::{self, TokenAnswer},
        pages,
        problem::{self, Problem},
    },
    ops::{
        self,
        confirm::Confirmed,
        handover::Ask,
        issue::Tokens,
        refresh::{Refused, Use},
    },
};

/// A refresh. Without `refresh_token`, the refresh cookie is used.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefreshRequest {
    /// The refresh token.
    #[schema(value_type = Option<String>)]
    pub refresh_token: Option<SecretText>,
    /// The public client that asks; confidential clients use HTTP Basic.
    #[schema(value_type = Option<String>)]
    pub client_id: Option<ClientId>,
}

/// A refresh by cookie.
#[derive(Debug, Serialize, ToSchema)]
pub struct CookieRefreshed {
    /// The session.
    sid: String,
    /// For the header `X-CSRF-Token`: it belongs to the new access token.
    csrf_token: String,
    /// Seconds until the new access token expires.
    expires_in: u64,
}

/// Rotates a refresh token. Repeats within the grace time get the same answer.
#[utoipa::path(post, path = "/api/v1/refresh", tag = "token", request_body(content = Option<RefreshRequest>), responses(
    (status = 200, body = TokenAnswer),
    (status = 400, description = "`invalid_grant`; with `confirm`, and how far the end of a stolen login has come")),
    params(ConfirmQuery))]
pub async fn refresh(
    confirm: Confirm,
    State(http): State<Http>,
    headers: HeaderMap,
    caller: Caller,
    body: axum::body::Bytes,
) -> Result<Response, Problem> {
    let refreshed = refresh_now(&http, &headers, &caller, &body).await;
    match &refreshed {
        // It may have been theft, which ended the session.
        Err(problem) if problem.code() == problem::GRANT && confirm.is_wanted() => {
            let confirmed = confirm.wait(&http.app).await?;
            Err(Problem::from(problem::GRANT).confirmed(confirmed))
        }
        _ => refreshed,
    }
}

async fn refresh_now(
    http: &Http,
    headers: &HeaderMap,
    caller: &Caller,
    body: &[u8],
) -> Result<Response, Problem> {
    let now = now();
    let request = if body.is_empty() {
        RefreshRequest::default()
    } else {
        http.refuse_foreign_origin(headers)?;
        serde_json::from_slice(body).map_err(|_| problem::MALFORMED)?
    };
    let (client, shown) = input::client(headers, request.client_id.as_ref(), http)?;
    if let Some(token) = &request.refresh_token {
        let used = Use {
            token,
            client: &client,
            shown,
            key: None,
            scope: None,
            resources: Resources::default(),
            device: &caller.device,
            asked: &caller.asked,
        };
        let tokens = ops::refresh::refresh(&http.app, used, now).await?;
        return Ok(output::json(HeaderMap::new(), TokenAnswer::new(&tokens, now)));
    }
    // A cookie comes by itself, so the browser must say that a page of ours asked.
    http.api_rules.check_origin(&Method::POST, headers).map_err(|_| problem::CROSS_SITE)?;
    let tokens = by_cookie(http, headers, caller, &client, shown).await?;
    let mut set = HeaderMap::new();
    let csrf_token = output::set_tokens(http, &mut set, &tokens, now)?;
    let (sid, expires_in) = (tokens.session.to_string(), tokens.expires_in.as_secs());
    Ok(output::json(set, CookieRefreshed { sid, csrf_token, expires_in }))
}

/// Logs out by the refresh cookie, which reaches this path and no other: for a page whose access cookie has expired.
#[utoipa::path(delete, path = "/api/v1/refresh", tag = "token", params(ConfirmQuery), responses(
    (status = 204, description = "Ended, or there was nothing to end"),
    (status = 200, description = "With `confirm`: it is over everywhere", body = Confirmed),
    (status = 202, description = "With `confirm`: ended, but not everywhere yet", body = Confirmed)))]
pub async fn end_by_cookie(
    confirm: Confirm,
    State(http): State<Http>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    http.api_rules.check_origin(&Method::DELETE, &headers).map_err(|_| problem::CROSS_SITE)?;
    let cookies = http.rules.layout().read(&headers).map_err(|_| problem::MALFORMED)?;
    if let Some(token) = cookies.get(Cookie::Refresh) {
        ops::end::by_refresh_token(&http.app, &token, now()).await?;
    }
    let mut cleared = HeaderMap::new();
    output::clear_all(&http, &mut cleared);
    confirm.answer(&http.app, cleared, None).await
}

async fn by_cookie(
    http: &Http,
    headers: &HeaderMap,
    caller: &Caller,
    client: &Client,
    shown: Binding,
) -> Result<Tokens, Problem> {
    let cookies = http.rules.layout().read(headers).map_err(|_| problem::MALFORMED)?;
    let token = cookies.get(Cookie::Refresh).ok_or(problem::GRANT)?;
    let used = Use {
        token: &token,
        client,
        shown,
        key: None,
        scope: None,
        resources: Resources::default(),
        device: &caller.device,
        asked: &caller.asked,
    };
    Ok(ops::refresh::refresh(&http.app, used, now()).await?)
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unavailable(error)
            | Refused::Check(ops::check::Refused::Unavailable(error)) => error.into(),
            refused => {
                tracing::debug!(reason = %refused, "a refresh token proves nothing");
                problem::GRANT.into()
            }
        }
    }
}

/// Where to go on.
#[derive(Debug, Deserialize, IntoParams)]
pub struct ContinueQuery {
    /// A path of this origin.
    next: Option<String>,
    /// The public client whose token cookies these are; the default client if absent.
    #[param(value_type = Option<String>)]
    client_id: Option<ClientId>,
}

/// For a server-rendered page whose access cookie has expired: it sends the browser here, which is the only place that
/// the refresh cookie reaches, and the browser comes back with new cookies. A request that another site began gets a
/// page with a button instead, so that nobody else can make a browser rotate.
#[utoipa::path(get, path = "/api/v1/refresh/continue", tag = "token", params(ContinueQuery), responses(
    (status = 303, description = "Back to `next`, or to the login page")))]
pub async fn refresh_continue(
    State(http): State<Http>,
    headers: HeaderMap,
    caller: Caller,
    view: pages::View,
    Query(query): Query<ContinueQuery>,
) -> Result<Response, Problem> {
    let site = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    if !matches!(site, Some("same-origin" | "none")) {
        return Ok(pages::continue_page(&http, &view));
    }
    go_on(&http, &headers, &caller, query.next.as_deref(), query.client_id.as_ref()).await
}

/// The form behind the button of [`refresh_continue`].
#[derive(Debug, Deserialize, ToSchema)]
pub struct ContinueForm {
    #[serde(default)]
    csrf_token: String,
    #[serde(default)]
    next: String,
}

/// The button of the page above.
#[utoipa::path(post, path = "/api/v1/refresh/continue", tag = "token", responses((status = 303, description = "Back to `next`")))]
pub async fn refresh_continue_form(
    State(http): State<Http>,
    headers: HeaderMap,
    caller: Caller,
    view: pages::View,
    input::Form(form): input::Form<ContinueForm>,
) -> Result<Response, Problem> {
    if !pages::continue_form_is_ours(&http, &view, &form.csrf_token) {
        return Err(problem::CROSS_SITE.into());
    }
    go_on(&http, &headers, &caller, Some(&form.next), None).await
}

async fn go_on(
    http: &Http,
    headers: &HeaderMap,
    caller: &Caller,
    next: Option<&str>,
    client: Option<&ClientId>,
) -> Result<Response, Problem> {
    let (client, shown) = input::client(headers, client, http)?;
    let next = next.and_then(|text| http.next(text));
    let mut set = HeaderMap::new();
    let to = match by_cookie(http, headers, caller, &client, shown).await {
        Ok(tokens) => {
            output::set_tokens(http, &mut set, &tokens, now())?;
            next.map_or_else(|| http.path("/"), |next| next.as_str().to_owned())
        }
        Err(problem) if problem.code() == problem::GRANT => {
            output::clear_all(http, &mut set);
            pages::login_url(http, next.as_ref())
        }
        Err(problem) => return Err(problem),
    };
    set.insert(header::LOCATION, HeaderValue::try_from(to).map_err(|_| problem::MALFORMED)?);
    set.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok((StatusCode::SEE_OTHER, set).into_response())
}

/// Which half the login should have, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum To {
    /// Tokens in the JSON answer, for a login that a cookie carries.
    Token,
    /// A session cookie, for a login that an access token carries.
    Session,
}

/// A handover.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HandoverRequest {
    /// Which half is wanted.
    pub to: To,
    /// The public client that asks; a confidential one uses HTTP Basic and sends the session cookie along.
    #[schema(value_type = Option<String>)]
    pub client_id: Option<ClientId>,
    /// The audience of the access token; the client's first if absent.
    pub audience: Option<String>,
    /// The password, typed again: without it a public client gets an access token alone.
    #[schema(value_type = Option<String>, format = Password)]
    pub password: Option<SecretText>,
}

/// Gives a live login its other half, without the password; it stays one session. Cookie → tokens only for a listed
/// origin, giving an access token (with the password typed again: a refresh token, too). Tokens → cookie needs the
/// `Authorization` header and a listed origin.
#[utoipa::path(post, path = "/api/v1/handover", tag = "token", request_body = HandoverRequest, responses(
    (status = 200, body = TokenAnswer), (status = 403, description = "`origin_not_listed`")))]
pub async fn handover(
    State(http): State<Http>,
    headers: HeaderMap,
    caller: Caller,
    identity: Option<Identity>,
    Body(body): Body<HandoverRequest>,
) -> Result<Response, Problem> {
    let Some(identity) = identity else {
        return to_bound_tokens(&http, &headers, &caller, &body).await;
    };
    // What the guard has let in, again: here the half itself counts, not only whose it is.
    let carried = admit(&http.api_rules, &Method::POST, &headers).map_err(|_| problem::NO_LOGIN)?;
    match (body.to, carried) {
        (To::Token, Carried::SessionCookie(cookie)) => {
            to_tokens(&http, &headers, &caller, &cookie, &body).await
        }
        (To::Session, Carried::Bearer(token)) => {
            to_cookie(&http, &headers, &identity, &token).await
        }
        (To::Token, _) => Err(Problem::from(problem::NO_LOGIN).detail("send the session cookie")),
        (To::Session, _) => Err(Problem::from(problem::NO_LOGIN)
            .detail("send the access token in the Authorization header")),
    }
}

async fn to_tokens(
    http: &Http,
    headers: &HeaderMap,
    caller: &Caller,
    cookie: &SecretText,
    body: &HandoverRequest,
) -> Result<Response, Problem> {
    let now = now();
    let (client, _) = input::client(headers, body.client_id.as_ref(), http)?;
    if !client.first_party {
        return Err(problem::CLIENT_KIND.into());
    }
    if !input::origin(headers)
        .is_some_and(|origin| http.is_own_origin(origin) || client.owns_origin(origin))
    {
        return Err(problem::ORIGIN.into());
    }
    let ask = body.password.as_ref().map_or(Ask::Access, Ask::SteppedUp);
    let audience = body.audience.as_deref();
    let (tokens, renewed) =
        ops::handover::to_tokens(&http.app, cookie, &client, audience, ask, &caller.device, now)
            .await?;
    let mut set = HeaderMap::new();
    if let Some((session, cookie)) = renewed {
        output::set_session(http, &mut set, &session, &cookie, now)?;
    }
    Ok(output::json(set, TokenAnswer::new(&tokens, now)))
}

/// Cookie → tokens for the server side of a client, which authenticates and relays the browser's cookie: the refresh
/// token is bound to that authentication.
async fn to_bound_tokens(
    http: &Http,
    headers: &HeaderMap,
    caller: &Caller,
    body: &HandoverRequest,
) -> Result<Response, Problem> {
    let now = now();
    let client = input::basic(headers, http)?.ok_or(problem::UNAUTHENTICATED)?;
    // A client that is not ours asks the user for consent, which a relayed cookie does not give.
    if !client.first_party || client.kind != ClientKind::Confidential {
        return Err(problem::CLIENT_KIND.into());
    }
    let cookie = http.session_cookie(headers)?.filter(|_| body.to == To::Token);
    let cookie = cookie
        .ok_or_else(|| Problem::from(problem::NO_LOGIN).detail("relay the session cookie"))?;
    let audience = body.audience.as_deref();
    let device = &caller.device;
    let (tokens, _) =
        ops::handover::to_tokens(&http.app, &cookie, &client, audience, Ask::Bound, device, now)
            .await?;
    Ok(output::json(HeaderMap::new(), TokenAnswer::new(&tokens, now)))
}

/// A login that has a cookie now.
#[derive(Debug, Serialize, ToSchema)]
pub struct CookieGiven {
    /// The session, the same as before.
    sid: String,
    /// For forms.
    csrf_token: String,
}

async fn to_cookie(
    http: &Http,
    headers: &HeaderMap,
    identity: &Identity,
    token: &SecretText,
) -> Result<Response, Problem> {
    let now = now();
    let client = http.app.client(&identity.client).ok_or(problem::NO_LOGIN)?;
    // The cookie does whatever the user can do: only a client of ours may bring it about.
    if !client.first_party {
        return Err(problem::CLIENT_KIND.into());
    }
    // The page that asks must be listed: otherwise an attacker plants the cookie of his own login.
    if !input::origin(headers)
        .is_some_and(|origin| http.is_own_origin(origin) || client.owns_origin(origin))
    {
        return Err(problem::ORIGIN.into());
    }
    let (session, cookie) = ops::handover::to_cookie(&http.app, token, now).await?;
    let mut set = HeaderMap::new();
    output::set_session(http, &mut set, &session, &cookie, now)?;
    let csrf_token = csrf::token(cookie.expose());
    Ok(output::json(set, CookieGiven { sid: session.id.to_string(), csrf_token }))
}

impl From<ops::handover::Refused> for Problem {
    fn from(refused: ops::handover::Refused) -> Self {
        use ops::handover::Refused;
        match refused {
            Refused::NoLogin => problem::NO_LOGIN.into(),
            Refused::NotLatest => Self::from(problem::NO_LOGIN).detail(refused.to_string()),
            Refused::Credentials => problem::CREDENTIALS.into(),
            Refused::Limited(limited) => limited.into(),
            Refused::Audience(_) => problem::AUDIENCE.into(),
            Refused::Unavailable(error) => error.into(),
        }
    }
}
