//! `GET` and `POST /oauth2/authorize` (RFC 6749, section 4.1.1; OpenID Connect Core, section 3.1.2): an application sends
//! its user's browser here and gets it back with a code, for a session of its own. The steps, in this order:
//!
//! | what must be | otherwise |
//! |---|---|
//! | every parameter stands once, `client_id` names a client, a pushed request counts, `redirect_uri` is that client's: [`Asked::read`] | a page that names the parameter |
//! | the request can be granted: [`Request::read`](symbolon_core::oauth::authorization::Request::read) | back to the client with the error |
//! | somebody is logged in, whom the client means, lately enough, has chosen the account and allows it: [`STEPS`](symbolon_core::oauth::authorization::STEPS) | the page for it, which leads back here; with `prompt=none`, back to the client with the error |
//! | | back to the client with a code |
//!
//! Nobody is sent to a URI that is not one of a client's. What goes back says who answers (`iss`, RFC 9207).

use axum::{
    extract::{RawForm, RawQuery, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use symbolon_core::{
    client::ClientId,
    code::{self, Asked as Granted},
    id::UserId,
    oauth::authorization::{Fault, Page, Request, ResponseMode, Seen},
    scope,
    secret::SecretText,
    session::Login,
    time::Time,
};

use super::{Http, Next, View, again, consent, login_again_url, login_url, logout, see_other};
use crate::{
    app::now,
    http::oauth::request::{Asked, NAMED, PATH, UNAVAILABLE, Unanswerable},
    ops::{self, Unavailable, code::Refused},
    ui,
};

/// `GET /oauth2/authorize`.
pub async fn authorize(
    State(http): State<Http>,
    view: View,
    RawQuery(query): RawQuery,
) -> Response {
    respond(&http, &view, query.as_deref().unwrap_or_default(), None).await
}

/// `POST /oauth2/authorize`: the same by a form of the client's page. Other sites' forms carry no session cookie, so the
/// browser comes once more by itself.
pub async fn by_form(State(http): State<Http>, view: View, RawForm(form): RawForm) -> Response {
    again(&http, &view, (PATH, NAMED), &form)
}

/// Answers a request. `approved`: the person has just allowed exactly this, on our page.
pub async fn respond(
    http: &Http,
    view: &View,
    query: &str,
    approved: Option<consent::Decision>,
) -> Response {
    let now = now();
    let asked = match Asked::read(http, query, now).await {
        Ok(asked) => asked,
        Err(Unanswerable::Parameter(parameter)) => {
            return view.refused(http, 400, ui::Refusal::Authorization { parameter }, None);
        }
        Err(Unanswerable::Unavailable) => {
            return view.refused(http, 503, ui::Refusal::Unavailable, Some(1));
        }
    };
    match answer(http, view, &asked, approved, now).await {
        Ok(response) => response,
        Err(Fault { error, says }) => {
            back(http, view, &asked, &[("error", error), ("error_description", says)])
        }
    }
}

async fn answer(
    http: &Http,
    view: &View,
    asked: &Asked,
    decision: Option<consent::Decision>,
    now: Time,
) -> Result<Response, Fault> {
    let request = asked.request()?;
    let next = asked.again(http, now)?;
    let browser = Browser::of(http, view, asked, now).await?;
    let hinted = request.id_token_hint.as_deref().map(|text| hinted(http, asked, text));
    let approved = decision == Some(consent::Decision::Allow);
    let seen = Seen {
        login: browser.login.as_ref(),
        subject: browser.login.as_ref().map(|login| http.app.subject(&asked.client, login.user)),
        hinted: hinted.transpose()?,
        asked_at: asked.asked_at,
        allowed: browser.allowed.as_deref(),
        approved,
        now,
    };
    let to = |url| see_other(&with_language(url, &request), HeaderMap::new());
    if decision == Some(consent::Decision::Switch) {
        return Ok(to(login_again_url(http, &next)));
    }
    if decision == Some(consent::Decision::Deny) {
        return Err(Fault { error: "access_denied", says: "the user said no" });
    }
    match (request.next(&seen)?, browser.cookie) {
        (Some(Page::LoginAgain), _) => Ok(to(login_again_url(http, &next))),
        (Some(Page::Consent), _) => Ok(consent::show(http, view, asked, &request, &next).await),
        (Some(Page::Login), _) | (None, None) => Ok(to(login_url(http, Some(&next)))),
        (None, Some(cookie)) => {
            let before = browser.allowed.unwrap_or_default();
            let allowed =
                approved.then(|| scope::only(&format!("{before} {}", request.scope), |_| true));
            give(http, view, asked, request, (&cookie, allowed), &next).await
        }
    }
}

/// Whom the client means, by an ID token of ours. One that is too old to be read means nobody who can be here.
fn hinted(http: &Http, asked: &Asked, text: &str) -> Result<UserId, Fault> {
    let says = "id_token_hint is no ID token of this client";
    let fault = Fault { error: "invalid_request", says };
    let hint = logout::read_hint(http, text).map_err(|_| fault)?.ok_or(fault)?;
    let subject = hint.subject.parse().map_err(|_| fault)?;
    if hint.client == asked.client.id { Ok(subject) } else { Err(fault) }
}

/// What is known of who sits at the browser.
struct Browser {
    cookie: Option<SecretText>,
    login: Option<Login>,
    allowed: Option<Box<str>>,
}

impl Browser {
    async fn of(http: &Http, view: &View, asked: &Asked, now: Time) -> Result<Self, Fault> {
        let nobody = Self { cookie: None, login: None, allowed: None };
        if view.identity.as_ref().is_none_or(|identity| identity.subject.is_none()) {
            return Ok(nobody);
        }
        // Who is known by something else than a session cookie would be sent back here from the login page, for ever.
        let cookie = http.session_cookie(&view.headers).ok().flatten();
        let says = "the login has no session cookie";
        let cookie = cookie.ok_or(Fault { error: "access_denied", says })?;
        let session = match ops::check::cookie_at_store(&http.app, &cookie, now).await {
            Ok(live) => live.session,
            Err(ops::check::Refused::Unavailable(error)) => return Err(unavailable(&error)),
            // It ended, or was renewed, in this moment.
            Err(_) => return Ok(nobody),
        };
        if session.parent.is_some() {
            let says = "the login cannot authorize an application";
            return Err(Fault { error: "access_denied", says });
        }
        let Some(login) = session.login else { return Ok(nobody) };
        let allowed = ops::apps::of(&http.app, login.user, &asked.client.id).await;
        let allowed = allowed.map_err(|error| unavailable(&error))?;
        Ok(Self { cookie: Some(cookie), login: Some(login), allowed: Some(allowed) })
    }
}

fn unavailable(error: &Unavailable) -> Fault {
    tracing::error!(%error, "an authorization request was not answered");
    UNAVAILABLE
}

/// The pages on the way speak the language that the client asks for, if we have it.
fn with_language(url: String, request: &Request) -> String {
    let Some(locales) = &request.ui_locales else { return url };
    match serde_urlencoded::to_string([("ui_locales", locales)]) {
        Ok(query) => format!("{url}&{query}"),
        Err(_) => url,
    }
}

async fn give(
    http: &Http,
    view: &View,
    asked: &Asked,
    request: Request,
    (cookie, allowed): (&SecretText, Option<Box<str>>),
    next: &Next,
) -> Result<Response, Fault> {
    let Request { challenge, scope, nonce, resource, key, .. } = request;
    let redirect_uri = asked.redirect_uri.as_str().into();
    let granted = Granted { redirect_uri, challenge, scope, nonce, resource, key };
    let client = &asked.client.id;
    let request = code::Request { client, asked: granted, allowed, pushed: asked.pushed };
    match ops::code::issue(&http.app, cookie, &request, now()).await {
        Ok(code) => Ok(back(http, view, asked, &[("code", code.expose())])),
        // It ended, or was renewed, in this moment.
        Err(Refused::Cookie(_)) => Ok(see_other(&login_url(http, Some(next)), HeaderMap::new())),
        Err(Refused::Unavailable(error)) => Err(unavailable(&error)),
        Err(refused) => {
            tracing::debug!(reason = %refused, "a code was refused");
            let says = "the login cannot authorize an application, or the request was used before";
            Err(Fault { error: "access_denied", says })
        }
    }
}

/// Sends the browser to the redirect URI with what there is to say, in the way that the client asks for.
fn back(http: &Http, view: &View, asked: &Asked, say: &[(&str, &str)]) -> Response {
    let said = asked.saying(http, say);
    match asked.mode() {
        ResponseMode::Query => asked.redirect(&said),
        ResponseMode::FormPost => {
            let onward = Onward::to(asked);
            let page = view.page_towards(http, "/", &onward, None);
            let template = ui::FormPost { page: &page, action: &asked.redirect_uri, fields: &said };
            let mut response = view.html_to(http, StatusCode::OK, &template, None, &onward);
            if let Ok(policy) = HeaderValue::try_from(ui::csp_sending(&onward.origins)) {
                response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
            }
            response
        }
    }
}

/// Where a page leads: whose brand it shows, to which origins its form may lead, and who is expected to log in.
#[derive(Debug, Default)]
pub struct Onward {
    /// The client at the other end.
    pub client: Option<ClientId>,
    /// The origins (or private schemes), other than ours, that `form-action` must admit.
    pub origins: Vec<String>,
    /// Who the client thinks will log in.
    pub login_hint: Option<Box<str>>,
}

impl Onward {
    /// Where the answer to a request goes.
    pub fn to(asked: &Asked) -> Self {
        let login_hint = asked.get("login_hint").map(Into::into);
        let origins = asked.origin().into_iter().collect();
        Self { client: Some(asked.client.id.clone()), origins, login_hint }
    }

    /// Where a page leads whose form goes to `next` in the end.
    pub async fn of(http: &Http, next: Option<&Next>) -> Self {
        let Some(next) = next else { return Self::default() };
        if let Some(origin) = next.origin() {
            let (client, origins) = (http.owner_of(origin), vec![origin.to_owned()]);
            return Self { client, origins, ..Self::default() };
        }
        let query = next.as_str().strip_prefix(&http.path(PATH));
        let Some(query) = query.and_then(|rest| rest.strip_prefix('?')) else {
            return Self::default();
        };
        Asked::read(http, query, now()).await.map(|asked| Self::to(&asked)).unwrap_or_default()
    }
}
