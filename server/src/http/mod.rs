//! HTTP: requests to acts, outcomes to answers. Nothing here decides; all routes stand in one table.

pub mod api;
pub mod authority;
pub mod confirm;
pub mod follow;
pub mod health;
pub mod input;
pub mod local;
pub mod next;
pub mod oauth;
pub mod openapi;
pub mod output;
pub mod pages;
pub mod problem;
pub mod routes;

use std::{ops::Deref, sync::Arc};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next as Then},
    response::{IntoResponse, Response},
    routing::get,
};
use symbolon_core::{
    client::{Client, ClientId},
    secret::SecretText,
};
use symbolon_guard::{
    Rules,
    cookie::{Cookie, InvalidPublicUrl},
};

use self::{next::Next, problem::Problem};
use crate::app::App;

/// What every route needs.
#[derive(Debug, Clone)]
pub struct Http(Arc<Inner>);

/// See [`Http`].
#[derive(Debug)]
pub struct Inner {
    /// The server.
    pub app: Arc<App>,
    /// Cookie layout and own origin: the rules of the pages.
    pub rules: Rules,
    /// The same, and the origins of first-party clients: the rules of the API.
    pub api_rules: Rules,
    /// The client that a request means which names none.
    pub default_client: ClientId,
    /// The pages.
    pub pages: pages::Pages,
}

impl Deref for Http {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Http {
    /// Prepares the routes of a server.
    ///
    /// # Errors
    /// [`InvalidPublicUrl`] says what to write instead.
    pub fn new(app: Arc<App>) -> Result<Self, InvalidPublicUrl> {
        let listed = Arc::clone(&app);
        let rules = Rules::new(app.config.public_url.issuer())?;
        // A page of such an origin can do through the API whatever its user can do.
        let api_rules = rules.clone().also_from(move |origin| {
            listed.clients().values().any(|client| client.first_party && client.owns_origin(origin))
        });
        let pages = pages::Pages::new(&app.config, &rules);
        let default_client = app.config.default_client.clone();
        Ok(Self(Arc::new(Inner { app, rules, api_rules, default_client, pages })))
    }

    /// A path of ours, as browsers see it.
    pub fn path(&self, path: &str) -> String {
        format!("{}{path}", self.rules.layout().base())
    }

    /// Whether pages of this origin are ours.
    pub fn is_own_origin(&self, origin: &str) -> bool {
        self.rules.layout().origin().as_str() == origin
    }

    /// The session cookie that came along, if it is one.
    ///
    /// # Errors
    /// [`problem::MALFORMED`] if cookies of one name came twice, or too many.
    pub fn session_cookie(&self, headers: &HeaderMap) -> Result<Option<SecretText>, Problem> {
        let cookies = self
            .rules
            .layout()
            .read(headers)
            .map_err(|error| Problem::from(problem::MALFORMED).detail(error.to_string()))?;
        Ok(cookies.get(Cookie::Session))
    }

    /// The first-party client whose pages live on this origin. Where there are several, the first by name.
    pub fn owner_of(&self, origin: &str) -> Option<ClientId> {
        let clients = self.app.clients();
        let owns = |client: &&Arc<Client>| client.first_party && client.owns_origin(origin);
        clients.values().filter(owns).map(|client| client.id.clone()).min()
    }

    /// Where to go after a login, if that is a place of ours or of a first-party client.
    pub fn next(&self, text: &str) -> Option<Next> {
        Next::parse_listed(text, |origin| self.owner_of(origin).is_some())
    }

    /// Refuses what a browser says comes from elsewhere. Where a secret in the body carries the request and not a
    /// cookie, a client that is no browser need not prove anything.
    ///
    /// # Errors
    /// [`problem::CROSS_SITE`].
    pub fn refuse_foreign_origin(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let from_browser =
            headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site");
        if !from_browser {
            return Ok(());
        }
        self.api_rules.check_origin(&Method::POST, headers).map_err(|_| problem::CROSS_SITE.into())
    }
}

/// All routes of a server, below the path of its public URL.
///
/// # Errors
/// [`InvalidPublicUrl`] says what to write instead.
pub fn router(app: Arc<App>) -> Result<Router, InvalidPublicUrl> {
    let body_bytes_max = app.config.limits.body_bytes_max;
    let http = Http::new(app)?;
    let base = http.rules.layout().base().to_owned();
    let routes = routes::build(&http)
        .fallback(pages::not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(body_bytes_max))
        .layer(middleware::from_fn_with_state(http.clone(), cors))
        .layer(middleware::map_response_with_state(http.clone(), harden))
        .with_state(http.clone());
    if base.is_empty() {
        return Ok(routes);
    }
    // RFC 8414, section 3.1 puts the well-known path before that of the issuer; probes need not know the base path.
    let metadata = format!("/.well-known/oauth-authorization-server{base}");
    let outside = Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route(&metadata, get(oauth::metadata))
        .fallback(not_found)
        .layer(middleware::map_response_with_state(http.clone(), harden))
        .with_state(http);
    Ok(Router::new().nest(&base, routes).merge(outside))
}

async fn not_found() -> Problem {
    problem::NOT_FOUND.into()
}

async fn method_not_allowed() -> Problem {
    problem::METHOD.into()
}

/// What every answer says, unless its route knows better.
async fn harden(State(http): State<Http>, mut response: Response) -> Response {
    let defaults = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    let headers = response.headers_mut();
    for (name, value) in defaults {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    // Where the public URL is `https`, browsers shall not try anything else for a year (RFC 6797).
    if http.rules.layout().origin().is_secure() {
        let year = HeaderValue::from_static("max-age=31536000");
        headers.entry(header::STRICT_TRANSPORT_SECURITY).or_insert(year);
    }
    response
}

/// CORS (the Fetch standard): exactly the origins that a client lists, for the API alone; never `*`.
async fn cors(State(http): State<Http>, request: Request, then: Then) -> Response {
    let path = request.uri().path();
    let api = path.starts_with("/api/v1/");
    let origin = input::origin(request.headers()).map(str::to_owned);
    let listed = origin.filter(|origin| {
        api && http.app.clients().values().any(|client| client.owns_origin(origin))
    });
    let preflight = request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match (preflight, &listed) {
        (true, Some(_)) => StatusCode::NO_CONTENT.into_response(),
        (true, None) => Problem::from(problem::ORIGIN).into_response(),
        (false, _) => then.run(request).await,
    };
    let headers = response.headers_mut();
    if api {
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
    if let Some(origin) = listed.and_then(|origin| HeaderValue::try_from(origin).ok()) {
        // Pages of a client that is not ours come with its token, never with the user's cookie.
        if origin.to_str().is_ok_and(|origin| http.owner_of(origin).is_some()) {
            let yes = HeaderValue::from_static("true");
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        }
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if preflight {
            let allow = "authorization, content-type, if-match, x-csrf-token";
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(allow));
            headers.insert(
                header::ACCESS_CONTROL_ALLOW_METHODS,
                HeaderValue::from_static("GET, POST, PATCH, DELETE"),
            );
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        } else {
            headers.insert(
                header::ACCESS_CONTROL_EXPOSE_HEADERS,
                HeaderValue::from_static("etag, retry-after"),
            );
        }
    }
    response
}
