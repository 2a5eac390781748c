//! `/oauth2/logout` (OpenID Connect RP-Initiated Logout 1.0): an application sends its user's browser here to log out,
//! and gets it back. The steps, in this order:
//!
//! | what must be | otherwise |
//! |---|---|
//! | every parameter stands once | a page that names it |
//! | `id_token_hint` is an ID token of ours, however old; one that is older than our keys says nothing | a page that names it |
//! | `client_id` names a client, and that of the hint | a page that names it |
//! | `post_logout_redirect_uri` is exactly one of that client's | a page that names it |
//! | somebody is logged in here | nothing to end: back, or the logged-out page |
//! | the hint is of a session of this browser | the question |
//! | | the session ends with all under it, and the browser goes back |
//!
//! A link from anywhere leads here, so a link alone logs nobody out: the hint shows that it comes from an application
//! that this browser is logged in at. Who comes without one is not sent on by itself either, but by a click.
//!
//! Applications that asked for it are loaded in hidden frames of the logged-out page (OpenID Connect Front-Channel
//! Logout 1.0); the browser goes back when they had their time.

use std::sync::Arc;

use axum::{
    extract::{RawForm, RawQuery, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::Response,
};
use serde::Deserialize;
use symbolon_core::{
    client::Client,
    logout_uri::PostLogoutUri,
    secret::SecretText,
    session::Reason,
    token::{Hint, InvalidToken},
};
use symbolon_guard::Identity;

use super::{Http, View, again, entry::username, see_other};
use crate::{
    app::now,
    http::{
        confirm::Confirm,
        input::Form,
        oauth::parameters::Parameters,
        output,
        problem::{self, Problem},
    },
    ops::{self, tell::Frame},
    ui::{self, Over},
};

/// The path below the base path.
const PATH: &str = "/oauth2/logout";

/// How long the frames have before the browser goes back, in seconds.
const FRAMES_SECS: u32 = 2;

/// Parameters that a page names when they are wrong.
const NAMED: &[&str] = &[
    "id_token_hint",
    "client_id",
    "post_logout_redirect_uri",
    "state",
    "logout_hint",
    "ui_locales",
];

/// What a request asks for. What it names belongs together.
struct Asked {
    client: Option<Arc<Client>>,
    hint: Option<Hint>,
    back: Option<Back>,
}

/// Where the browser goes then: a URI that the client has registered, with the state of the request.
struct Back {
    uri: PostLogoutUri,
    state: Option<String>,
}

impl Back {
    fn url(&self) -> String {
        match &self.state {
            None => self.uri.to_string(),
            Some(state) => with_query(self.uri.as_str(), &[("state", state)]),
        }
    }
}

fn with_query(uri: &str, more: &[(&str, &str)]) -> String {
    let separator = if uri.contains('?') { '&' } else { '?' };
    format!("{uri}{separator}{}", serde_urlencoded::to_string(more).unwrap_or_default())
}

impl Asked {
    /// Reads a query.
    ///
    /// # Errors
    /// The parameter that is wrong.
    fn read(http: &Http, query: &str) -> Result<Self, &'static str> {
        let parameters =
            Parameters::read(query).map_err(|unreadable| unreadable.parameter(NAMED))?;
        let get = |name| parameters.get(name);
        let hint = get("id_token_hint").map(|text| read_hint(http, text)).transpose()?.flatten();
        let named = get("client_id").or(hint.as_ref().map(|hint| hint.client.as_str()));
        let client = named.map(|id| client(http, id).ok_or("client_id")).transpose()?;
        if hint.as_ref().zip(client.as_ref()).is_some_and(|(hint, own)| hint.client != own.id) {
            return Err("client_id");
        }
        let back = get("post_logout_redirect_uri").map(|asked| {
            let own = client.iter().flat_map(|client| &client.post_logout_redirect_uris);
            let uri = own.into_iter().find(|uri| uri.as_str() == asked).cloned();
            let state = get("state").map(str::to_owned);
            uri.map(|uri| Back { uri, state }).ok_or("post_logout_redirect_uri")
        });
        Ok(Self { client, hint, back: back.transpose()? })
    }

    /// Whether the hint is of a session of this browser.
    async fn is_of_this_browser(&self, http: &Http, here: &Identity) -> Result<bool, Problem> {
        let Some(hint) = &self.hint else { return Ok(false) };
        Ok(ops::sessions::is_of(&http.app, here.session, hint.session).await?)
    }
}

fn client(http: &Http, id: &str) -> Option<Arc<Client>> {
    let client = http.app.client(&id.parse().ok()?)?;
    (!http.app.store.is_ended(&[client.id.entry()])).then_some(client)
}

/// What a hint says; nothing, where it is older than all our keys.
///
/// # Errors
/// The name of the parameter: it is no ID token of ours.
pub fn read_hint(http: &Http, text: &str) -> Result<Option<Hint>, &'static str> {
    let keys = http.app.keys();
    let key = |id| keys.ring.verifying_keys(now()).find(|key| key.id() == id);
    match Hint::read(text, http.app.config.public_url.issuer(), key) {
        Ok(hint) => Ok(Some(hint)),
        Err(InvalidToken::UnknownKey) => Ok(None),
        Err(error) => {
            tracing::debug!(%error, "an id_token_hint is none of ours");
            Err("id_token_hint")
        }
    }
}

/// `GET /oauth2/logout`.
pub async fn logout(State(http): State<Http>, view: View, RawQuery(query): RawQuery) -> Response {
    let asked = match Asked::read(&http, query.as_deref().unwrap_or_default()) {
        Ok(asked) => asked,
        Err(parameter) => {
            return view.refused(&http, 400, ui::Refusal::Authorization { parameter }, None);
        }
    };
    let here = view.identity.as_ref().filter(|identity| identity.subject.is_some());
    let Some(here) = here else {
        // Whoever has a cart and no login keeps it: any site can lead here.
        let ended = Ended { by_itself: asked.hint.is_some(), ..Ended::default() };
        return asked.finish(&http, &view, ended);
    };
    let ended = match asked.is_of_this_browser(&http, here).await {
        Ok(false) => return question(&http, &view, &asked, here).await,
        Ok(true) => end(&http, here, asked.back.is_some()).await,
        Err(problem) => Err(problem),
    };
    match ended {
        Ok(ended) => asked.finish(&http, &view, ended),
        Err(problem) => view.refuse(&http, &problem),
    }
}

/// `POST /oauth2/logout`, from a page of the application. The session cookie does not come along with a form of another
/// site, but with the `GET` that this leads to.
pub async fn by_form(State(http): State<Http>, view: View, RawForm(form): RawForm) -> Response {
    again(&http, &view, (PATH, NAMED), &form)
}

async fn question(http: &Http, view: &View, asked: &Asked, here: &Identity) -> Response {
    let name = username(http, Some(here)).await;
    let page = page(http, view, asked.client.as_deref(), &view.here, name.as_deref());
    let csrf_token = SecretText::new(here.csrf_token());
    let template = ui::LogoutAsked {
        page: &page,
        csrf_token: &csrf_token,
        client: asked.client.as_ref().map_or("", |client| client.id.as_str()),
        title: asked.client.as_ref().map(|client| client.title()),
        back: asked.back.as_ref().map_or("", |back| back.uri.as_str()),
        state: asked.back.as_ref().and_then(|back| back.state.as_deref()).unwrap_or_default(),
    };
    let response = view.html(http, StatusCode::OK, &template, None);
    let leads: Vec<&str> = asked.back.iter().map(|back| back.uri.source()).collect();
    with_policy(response, &ui::csp(&leads))
}

/// The answer to the question.
#[derive(Debug, Deserialize)]
pub struct Answer {
    #[serde(default)]
    csrf_token: String,
    #[serde(default)]
    client_id: String,
    #[serde(default)]
    post_logout_redirect_uri: String,
    #[serde(default)]
    state: String,
}

/// `POST /oauth2/logout/confirm`.
pub async fn confirm_form(
    State(http): State<Http>,
    view: View,
    Form(answer): Form<Answer>,
) -> Response {
    // As for every logout: a form of another site carries no cookie, and its answer would still remove them.
    if http.rules.check_origin(&Method::POST, &view.headers).is_err() {
        return view.refuse(&http, &problem::CROSS_SITE.into());
    }
    let fields = [
        ("client_id", &answer.client_id),
        ("post_logout_redirect_uri", &answer.post_logout_redirect_uri),
        ("state", &answer.state),
    ];
    let query = serde_urlencoded::to_string(fields).unwrap_or_default();
    let asked = match Asked::read(&http, &query) {
        Ok(asked) => asked,
        Err(parameter) => {
            return view.refused(&http, 400, ui::Refusal::Authorization { parameter }, None);
        }
    };
    let ended = match &view.identity {
        Some(here) if here.check_form_token(&answer.csrf_token).is_err() => {
            return view.refuse(&http, &problem::FORM_TOKEN.into());
        }
        Some(here) => end(&http, here, asked.back.is_some()).await,
        None => Ok(Ended::nothing(&http)),
    };
    match ended {
        Ok(ended) => asked.finish(&http, &view, ended),
        Err(problem) => view.refuse(&http, &problem),
    }
}

/// What a logout leaves to say.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// Whether the browser may go back without a click.
    by_itself: bool,
    /// How far the end has come, if somebody reads it.
    over: Option<Over>,
    /// The applications that are loaded in frames.
    frames: Vec<Frame>,
    /// The cookies to remove.
    set: HeaderMap,
}

impl Ended {
    /// Nobody was logged in. What cookies there are prove nothing.
    pub(super) fn nothing(http: &Http) -> Self {
        let mut set = HeaderMap::new();
        output::clear_all(http, &mut set);
        Self { by_itself: true, set, ..Self::default() }
    }
}

/// Ends the session of this browser, and everything under it. `leads_on`: nobody has to wait for a page that is not
/// read.
pub(super) async fn end(http: &Http, here: &Identity, leads_on: bool) -> Result<Ended, Problem> {
    let confirm = Confirm::for_a_person();
    let frames = ops::tell::frames(&http.app, here.session).await?;
    ops::end::session(&http.app, here.session, Reason::Logout, now()).await?;
    let over = match leads_on {
        true => None,
        false => Some(confirm.over(&http.app).await.unwrap_or(Over::NotYet)),
    };
    Ok(Ended { over, frames, ..Ended::nothing(http) })
}

impl Asked {
    fn finish(&self, http: &Http, view: &View, ended: Ended) -> Response {
        let back = self.back.as_ref().map(Back::url);
        finish(http, view, self.client.as_deref(), back.as_deref(), ended)
    }
}

/// On at once where no frame needs time; otherwise the logged-out page.
pub(super) fn finish(
    http: &Http,
    view: &View,
    client: Option<&Client>,
    back: Option<&str>,
    ended: Ended,
) -> Response {
    match back {
        Some(back) if ended.by_itself && ended.frames.is_empty() => see_other(back, ended.set),
        back => logged_out(http, view, client, back, ended),
    }
}

/// The logged-out page, with its frames and the way on.
fn logged_out(
    http: &Http,
    view: &View,
    client: Option<&Client>,
    back: Option<&str>,
    ended: Ended,
) -> Response {
    let page = page(http, view, client, "/", None);
    let issuer = http.app.config.public_url.issuer();
    let url = |frame: &Frame| {
        let sid = frame.session.to_string();
        with_query(frame.uri.as_str(), &[("iss", issuer), ("sid", &sid)])
    };
    let frames: Vec<String> = ended.frames.iter().map(url).collect();
    let over = ended.over;
    let template = ui::LoggedOut { page: &page, everywhere: false, over, back, frames: &frames };
    let mut response = view.html(http, StatusCode::OK, &template, None);
    if !frames.is_empty() {
        let origins: Vec<&str> = ended.frames.iter().map(|frame| frame.uri.origin()).collect();
        response = with_policy(response, &ui::csp_framing(&origins));
    }
    let headers = response.headers_mut();
    if let Some(back) = back.filter(|_| ended.by_itself)
        && let Ok(refresh) = HeaderValue::try_from(format!("{FRAMES_SECS}; url={back}"))
    {
        headers.insert(header::REFRESH, refresh);
    }
    headers.extend(ended.set);
    response
}

fn with_policy(mut response: Response, policy: &str) -> Response {
    if let Ok(policy) = HeaderValue::try_from(policy) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// A page that looks like the client's.
fn page<'a>(
    http: &'a Http,
    view: &'a View,
    client: Option<&Client>,
    here: &'a str,
    user: Option<&'a str>,
) -> ui::Page<'a> {
    let site = client.and_then(|client| http.pages.of_clients.get(&client.id));
    ui::Page::new(site.unwrap_or(&http.pages.site), view.locale, here, user)
}
