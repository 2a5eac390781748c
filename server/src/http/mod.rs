//! HTTP: requests to acts, outcomes to answers. Nothing here decides; all routes stand in one table.

pub mod api;
pub mod authority;
pub mod confirm;
mod edge;
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
    extract::{Request, State},
    http::{HeaderMap, Method, header},
    middleware,
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

use self::{edge::Edge, next::Next, problem::Problem};
use crate::{
    app::App,
    telemetry::{Metrics, Observe},
};

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

/// All routes of a server, below the path of its public URL. What is asked there is told of in logs, and in metrics if
/// there are any.
///
/// # Errors
/// [`InvalidPublicUrl`] says what to write instead.
pub fn router(app: Arc<App>, metrics: Option<Metrics>) -> Result<Router, InvalidPublicUrl> {
    let http = Http::new(app)?;
    let base = http.rules.layout().base().to_owned();
    // One layer: each costs every request more than what it does.
    let layers = (Observe(metrics), Edge(http.clone()));
    let routes = routes::build(&http)
        .fallback(pages::not_found)
        .method_not_allowed_fallback(method_not_allowed);
    let routes = standing(routes, &http.app).layer(layers.clone()).with_state(http.clone());
    if base.is_empty() {
        return Ok(routes);
    }
    // RFC 8414, section 3.1 puts the well-known path before that of the issuer; probes need not know the base path.
    let outside = Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route(&format!("{OAUTH}{base}"), get(oauth::metadata::metadata))
        .route(&format!("{OPENID}{base}"), get(oauth::metadata::metadata))
        .fallback(not_found)
        .layer(layers)
        .with_state(http);
    Ok(Router::new().nest(&base, routes).merge(outside))
}

/// Where many processes share a store, nobody is answered by one that may have missed an end.
fn standing<S: Clone + Send + Sync + 'static>(routes: Router<S>, app: &Arc<App>) -> Router<S> {
    if app.store.is_shared() {
        routes.layer(middleware::from_fn_with_state(Arc::clone(app), stand))
    } else {
        routes
    }
}

async fn stand(State(app): State<Arc<App>>, request: Request, then: middleware::Next) -> Response {
    // What says nothing of any session.
    let path = request.uri().path();
    let fixed = ["/healthz", "/readyz", "/metrics"].contains(&path)
        || path.starts_with("/assets/")
        || path.starts_with("/.well-known/");
    if !fixed && let Err(error) = app.stand().await {
        return Problem::from(error).into_response();
    }
    then.run(request).await
}

/// Where the metadata is.
const OAUTH: &str = "/.well-known/oauth-authorization-server";
const OPENID: &str = "/.well-known/openid-configuration";

async fn not_found() -> Problem {
    problem::NOT_FOUND.into()
}

async fn method_not_allowed() -> Problem {
    problem::METHOD.into()
}
