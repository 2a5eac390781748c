//! The guard as a service: a proxy asks it about every request before it hands it on, or an application asks by itself.
//!
//! | module | what it knows |
//! |---|---|
//! | [`path`] | which paths have one reading |
//! | [`original`] | what the proxy says was asked for |
//! | [`gate`] | the rules, and who gets through |
//! | [`identity`] | what the application is told |
//! | [`refuse`] | the answer to those who do not get through |
//! | [`login`] | logging in where the server is on another host |
//! | [`upstream`], [`connect`] | the server, for codes and logout |

pub mod connect;
pub mod gate;
pub mod identity;
pub mod login;
pub mod original;
pub mod path;
pub mod refuse;
pub mod upstream;

use std::{fmt, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use http::{
    StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, HOST, SET_COOKIE},
    request::Parts,
};
use symbolon_core::keys::Jwks;
use symbolon_guard::{
    Authority,
    cookie::Cookie,
    follow::{Dial, Status},
};

use self::{
    connect::Connector,
    gate::{Gate, Refused, Why},
    identity::Minter,
    login::{Attempt, failure, parameter, see_other},
    original::{Site, site_of, told},
    upstream::{Failed, Upstream},
};
use crate::{
    app::now,
    config::forward::{ForwardConfig, Headers},
    listen::{Network, Peer},
    telemetry::Metrics,
};

/// A forward-auth service.
pub struct Forward<A> {
    gate: Gate<A>,
    minter: Option<Minter>,
    upstream: Upstream,
    config: ForwardConfig,
    standing: Standing,
}

/// Says how things stand with following the server's revocation log; nothing if it is not followed.
pub type Standing = Box<dyn Fn() -> Option<Status> + Send + Sync>;

impl<A> fmt::Debug for Forward<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forward").field("gate", &self.gate).finish_non_exhaustive()
    }
}

type Service<A> = State<Arc<Forward<A>>>;

/// All routes of a forward-auth service. `connector` is the way to the server.
///
/// # Errors
/// What is wrong with the configuration, in words.
pub fn router<A: Authority>(
    config: ForwardConfig,
    authority: impl Fn(Option<Dial>) -> A,
    connector: Connector,
    standing: Standing,
) -> Result<Router, String> {
    let service = Forward {
        gate: Gate::new(&config, authority).map_err(|error| error.to_string())?,
        minter: Minter::new(&config.internal).map_err(|error| error.to_string())?,
        upstream: Upstream::new(&config, connector)?,
        config,
        standing,
    };
    Ok(Router::new()
        .route("/check", any(check::<A>))
        .route("/check/", any(check::<A>))
        .route("/check/{*path}", any(check::<A>))
        .route(login::LOGIN, get(log_in::<A>))
        .route(login::CALLBACK, get(call_back::<A>))
        .route(login::LOGOUT, post(log_out::<A>))
        .route("/jwks.json", get(jwks::<A>))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz::<A>))
        .route("/metrics", get(metrics::<A>))
        .with_state(Arc::new(service)))
}

fn is_from(networks: &[Network], request: &Parts) -> bool {
    let peer = request.extensions.get::<Peer>();
    peer.is_some_and(|peer| networks.iter().any(|network| network.contains(peer.address)))
}

/// Whether the request that this one is about gets through.
async fn check<A: Authority>(State(service): Service<A>, request: Request) -> Response {
    let mut request = request.into_parts().0;
    // Before the proof that the session lives: a token for the application must not outlast it by more than it says.
    let began = now();
    let decided = match is_from(&service.config.listen.trusted_proxies, &request) {
        true => service.gate.decide(&mut request).await,
        false => Err(Refused { why: Why::Untrusted, original: None }),
    };
    let (outcome, response) = match decided {
        Ok((_, identity)) => {
            let claims = identity.as_deref();
            let minter = service.minter.as_ref();
            let mut told = identity::headers(claims, minter, &request.headers, began);
            if service.config.headers != Headers::XOriginal {
                identity::rename(&mut told);
            }
            let outcome = if claims.is_some() { "identity" } else { "anonymous" };
            (outcome, (told, Body::empty()).into_response())
        }
        Err(refused) => {
            tell(&refused);
            let login = refuse::login_target(&refused, &request.headers);
            let login = login.and_then(|target| service.login_url(&refused, &target));
            (refused.why.code(), refuse::answer(&refused, login.as_deref()))
        }
    };
    metrics::counter!("symbolon_forward_checks_total", "outcome" => outcome).increment(1);
    response
}

/// What an operator has to mend, and what somebody tries.
fn tell(refused: &Refused) {
    let code = refused.why.code();
    match &refused.why {
        Why::Untrusted => tracing::warn!(code, "refused a check that no trusted proxy asked for"),
        Why::Unclear(why) => tracing::warn!(code, %why, "refused a check"),
        Why::Guard(why) => tracing::debug!(code, %why, "refused a request"),
    }
}

impl<A> Forward<A> {
    /// Where a browser logs in to get to `target`. On the server's own host its login page sets the one cookie; on
    /// another host the browser gets a code there first.
    fn login_url(&self, refused: &Refused, target: &str) -> Option<String> {
        let site = self.sites().get(refused.original.as_ref()?.site)?;
        let next = login::local(target);
        let max_age = refused.why.max_age();
        if !self.shares_host(site) {
            let age = max_age.map_or_else(String::new, |age| format!("&max_age={}", age.as_secs()));
            return Some(format!("{}{}{age}", site.origin, login::again(&next)));
        }
        let query = serde_urlencoded::to_string([("next", next)]).ok()?;
        let again = if max_age.is_some() { "&again=1" } else { "" };
        Some(format!("{}/login?{query}{again}", self.config.issuer.issuer()))
    }

    fn sites(&self) -> &[Site] {
        self.gate.sites()
    }

    fn shares_host(&self, site: &Site) -> bool {
        let rest = self.config.issuer.issuer().strip_prefix(site.origin.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The site that a browser's own request is for, handed on by a trusted proxy.
    fn site(&self, request: &Parts) -> Result<&Site, Refused> {
        let refused = |why| Err(Refused { why, original: None });
        if !is_from(&self.config.listen.trusted_proxies, request) {
            return refused(Why::Untrusted);
        }
        match told(request, &HOST, "host").and_then(|host| site_of(self.sites(), host)) {
            Ok(at) => Ok(&self.sites()[at]),
            Err(why) => refused(Why::Unclear(why)),
        }
    }
}

const FAILED: StatusCode = StatusCode::INTERNAL_SERVER_ERROR;

/// Sends the browser to the server's login.
async fn log_in<A: Authority>(State(service): Service<A>, request: Request) -> Response {
    let request = request.into_parts().0;
    let site = match service.site(&request) {
        Ok(site) => site,
        Err(refused) => return refuse::answer(&refused, None),
    };
    let query = request.uri.query().unwrap_or_default();
    let secure = site.rules.layout().origin().is_secure();
    let attempt = Attempt::begin(&request.headers, secure, login::next_in(query));
    // Whoever makes up another one is asked for a login, or gets no further than before.
    let max_age = parameter(query, "max_age").ok().flatten().and_then(|age| age.parse().ok());
    let config = &service.config;
    let server = (config.issuer.issuer(), &config.server.client_id);
    let left = attempt.leave(server, &site.origin, max_age, secure);
    left.unwrap_or_else(|| FAILED.into_response())
}

/// Takes the browser back, with a code for a cookie of this host.
async fn call_back<A: Authority>(State(service): Service<A>, request: Request) -> Response {
    let request = request.into_parts().0;
    let site = match service.site(&request) {
        Ok(site) => site,
        Err(refused) => return refuse::answer(&refused, None),
    };
    let secure = site.rules.layout().origin().is_secure();
    let query = request.uri.query().unwrap_or_default();
    let attempt = match parameter(query, "state") {
        Ok(Some(state)) => Attempt::resume(&request.headers, secure, &state),
        _ => None,
    };
    let Some(attempt) = attempt else {
        let text = "This browser did not begin this login, or it took too long.";
        return failure(StatusCode::FORBIDDEN, text, &login::again("/"), "Log in again");
    };
    let mut response = service.redeem(site, query, &attempt).await;
    attempt.forget(secure, &mut response);
    response
}

impl<A> Forward<A> {
    async fn redeem(&self, site: &Site, query: &str, attempt: &Attempt) -> Response {
        let again = login::again(&attempt.next);
        let refused = |text: &str| failure(StatusCode::FORBIDDEN, text, &again, "Log in again");
        // RFC 9207: another server's answer must not be taken for this one's.
        if parameter(query, "iss") != Ok(Some(self.config.issuer.issuer().to_owned())) {
            return refused("The answer is from another login server.");
        }
        let Ok(Some(code)) = parameter(query, "code") else {
            return refused("Nobody was logged in.");
        };
        let redirect_uri = format!("{}{}", site.origin, login::CALLBACK);
        let redeemed = match self.upstream.redeem(&code, &redirect_uri, &attempt.verifier).await {
            Ok(redeemed) => redeemed,
            Err(Failed::Refused(_)) => return refused("The login took too long."),
            Err(Failed::Unavailable) => return unavailable(&again),
        };
        let max_age = redeemed.max_age.map(std::time::Duration::from_secs);
        let cookie = site.rules.layout().set(Cookie::Session, &redeemed.session_cookie, max_age);
        match (cookie, see_other(&attempt.next)) {
            (Ok(cookie), Some(mut response)) => {
                response.headers_mut().append(SET_COOKIE, cookie);
                response
            }
            _ => unavailable(&again),
        }
    }
}

fn unavailable(again: &str) -> Response {
    let text = "The login server does not answer at the moment.";
    failure(StatusCode::SERVICE_UNAVAILABLE, text, again, "Try again")
}

/// Ends the login of this host, and goes to `next`.
async fn log_out<A: Authority>(State(service): Service<A>, request: Request) -> Response {
    let request = request.into_parts().0;
    let site = match service.site(&request) {
        Ok(site) => site,
        Err(refused) => return refuse::answer(&refused, None),
    };
    let layout = site.rules.layout();
    let proven = site.rules.check_origin(&request.method, &request.headers);
    let cookies = proven.and_then(|()| {
        layout.read(&request.headers).map_err(|_| symbolon_guard::Refusal::InvalidRequest)
    });
    let cookie = match cookies {
        Ok(cookies) => cookies.get(Cookie::Session),
        Err(why) => return refuse::answer(&Refused { why: Why::Guard(why), original: None }, None),
    };
    if let Some(cookie) = cookie
        && service.upstream.end(&cookie).await.is_err()
    {
        // A browser that forgot the cookie would believe in an end that did not happen.
        let text = "The login could not be ended at the moment.";
        return failure(StatusCode::SERVICE_UNAVAILABLE, text, "/", "Back");
    }
    let next = login::next_in(request.uri.query().unwrap_or_default());
    let Some(mut response) = see_other(&next) else { return FAILED.into_response() };
    response.headers_mut().append(SET_COOKIE, layout.clear(Cookie::Session));
    response
}

/// The key that verifies the tokens for the application.
async fn jwks<A: Authority>(State(service): Service<A>) -> Response {
    let keys = service.minter.as_ref().map_or_else(Jwks::default, Minter::jwks);
    ([(CACHE_CONTROL, "max-age=60")], axum::Json(keys)).into_response()
}

async fn readyz<A: Authority>(State(service): Service<A>) -> Response {
    match (service.standing)() {
        Some(status) if !status.ready => {
            (StatusCode::SERVICE_UNAVAILABLE, "there is no lease\n").into_response()
        }
        _ => "ready\n".into_response(),
    }
}

async fn metrics<A: Authority>(State(service): Service<A>, request: Request) -> Response {
    let may = is_from(&service.config.listen.metrics_from, &request.into_parts().0);
    match Metrics::current() {
        Some(metrics) if may => {
            if let Some(status) = (service.standing)() {
                gauge(&status);
            }
            let text = "text/plain; version=0.0.4; charset=utf-8";
            ([(CONTENT_TYPE, text)], metrics.render()).into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

fn gauge(status: &Status) {
    let stale_for = status.stale_for.map_or(f64::INFINITY, |age| age.as_secs_f64());
    metrics::gauge!("symbolon_lease_left_seconds").set(status.lease_left.as_secs_f64());
    metrics::gauge!("symbolon_follower_stale_seconds").set(stale_for);
    metrics::gauge!("symbolon_revocations_live").set(status.ended_ids as f64);
    metrics::gauge!("symbolon_credentials_cached").set(status.credentials as f64);
}
