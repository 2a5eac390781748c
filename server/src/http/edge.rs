//! What goes for every request and every answer, whatever the route: how long a body may be, which origins may ask
//! (CORS), what browsers shall not do with an answer.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::{
    body::HttpBody,
    extract::{DefaultBodyLimit, Request},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use tower::{Layer, Service};

use super::{
    Http, input,
    problem::{self, Problem},
};

/// What every answer says, unless its route knows better.
const DEFAULTS: [(HeaderName, HeaderValue); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// The layer around all routes.
#[derive(Debug, Clone)]
pub(super) struct Edge(pub(super) Http);

impl<S> Layer<S> for Edge {
    type Service = Edged<S>;

    fn layer(&self, inner: S) -> Edged<S> {
        Edged { inner, http: self.0.clone() }
    }
}

/// A service at the [`Edge`].
#[derive(Debug, Clone)]
pub(super) struct Edged<S> {
    inner: S,
    http: Http,
}

impl<S> Service<Request> for Edged<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Unpin,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let cors = Cors::of(&self.http, &request);
        let answer = match (cors.preflight, &cors.origin) {
            (true, Some(_)) => Answer::Known(StatusCode::NO_CONTENT.into_response()),
            (true, None) => Answer::Known(Problem::from(problem::ORIGIN).into_response()),
            (false, _) => {
                if !request.body().is_end_stream() {
                    let bytes_max = self.http.app.config.limits.body_bytes_max;
                    DefaultBodyLimit::max(bytes_max).apply(&mut request);
                }
                Answer::Awaited(self.inner.call(request))
            }
        };
        let secure = self.http.rules.layout().origin().is_secure();
        Answering { answer: Some(answer), cors, secure }
    }
}

enum Answer<F> {
    Known(Response),
    Awaited(F),
}

/// The answer of an [`Edged`] service.
pub(super) struct Answering<F> {
    answer: Option<Answer<F>>,
    cors: Cors,
    secure: bool,
}

impl<F> Future for Answering<F>
where
    F: Future<Output = Result<Response, Infallible>> + Unpin,
{
    type Output = Result<Response, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut response = match &mut self.answer {
            Some(Answer::Awaited(answer)) => ready!(Pin::new(answer).poll(cx))?,
            _ => match self.answer.take() {
                Some(Answer::Known(response)) => response,
                // Polled after it was ready, which nobody may do.
                _ => return Poll::Pending,
            },
        };
        let headers = response.headers_mut();
        headers.reserve(DEFAULTS.len() + 3);
        self.cors.mark(headers);
        harden(headers, self.secure);
        Poll::Ready(Ok(response))
    }
}

fn harden(headers: &mut HeaderMap, secure: bool) {
    for (name, value) in DEFAULTS {
        headers.entry(name).or_insert(value);
    }
    // Where the public URL is `https`, browsers shall not try anything else for a year (RFC 6797).
    if secure {
        let year = HeaderValue::from_static("max-age=31536000");
        headers.entry(header::STRICT_TRANSPORT_SECURITY).or_insert(year);
    }
}

/// CORS (the Fetch standard): exactly the origins that a client lists, for the API and for what an OAuth client in the
/// browser asks (draft-ietf-oauth-browser-based-apps); never `*`, and never the authorization endpoint, which is a page.
struct Cors {
    shared: bool,
    preflight: bool,
    /// Where the request comes from, if a client lists it.
    origin: Option<HeaderValue>,
    /// Whether its pages may come with the user's cookie: a client of ours, to the API. All others come with a token.
    credentials: bool,
}

impl Cors {
    fn of(http: &Http, request: &Request) -> Self {
        let headers = request.headers();
        let path = request.uri().path();
        let api = path.starts_with("/api/v1/");
        let oauth = path.starts_with("/.well-known/") || path.starts_with("/oauth2/");
        let shared = api || (oauth && path != "/oauth2/authorize");
        let is_listed = |origin: &&str| {
            shared && http.app.clients().values().any(|client| client.owns_origin(origin))
        };
        let origin = input::origin(headers).filter(is_listed);
        let preflight = request.method() == Method::OPTIONS
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let credentials = api && origin.is_some_and(|origin| http.owner_of(origin).is_some());
        let origin = origin.and_then(|text| HeaderValue::try_from(text).ok());
        Self { shared, preflight, origin, credentials }
    }

    fn mark(&mut self, headers: &mut HeaderMap) {
        if self.shared {
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
        let Some(origin) = self.origin.take() else { return };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.credentials {
            let yes = HeaderValue::from_static("true");
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        }
        if self.preflight {
            let allow = "authorization, content-type, dpop, if-match, x-csrf-token";
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(allow));
            headers.insert(
                header::ACCESS_CONTROL_ALLOW_METHODS,
                HeaderValue::from_static("GET, POST, PATCH, DELETE"),
            );
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        } else {
            headers.insert(
                header::ACCESS_CONTROL_EXPOSE_HEADERS,
                HeaderValue::from_static("dpop-nonce, etag, retry-after, www-authenticate"),
            );
        }
    }
}
