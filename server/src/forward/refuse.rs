//! The answer to a check that lets nobody in: 401 or 403 and nothing else, because nginx makes a 500 of the rest.
//!
//! * 401 when another credential could help. A browser on its way to a page is told where to log in: in
//!   `X-Symbolon-Login`, which a proxy can make a redirect of, and in the body, which leads there by itself where a
//!   proxy hands it on as it is.
//! * 403 otherwise, also when the server cannot be asked: a 401 would make clients throw good credentials away. The
//!   reason is then `unavailable`, and there is a `Retry-After`.

use std::time::Duration;

use axum::{body::Body, response::Response};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE},
};
use symbolon_core::session::Assurance;
use symbolon_guard::Refusal;

use super::{
    gate::{Refused, Why},
    original::Unclear,
};

/// Why, as a stable word.
const REASON: HeaderName = HeaderName::from_static("x-symbolon-reason");
/// Where a browser logs in.
const LOGIN: HeaderName = HeaderName::from_static("x-symbolon-login");

impl Why {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Untrusted => "untrusted_proxy",
            Self::Unclear(Unclear::Told(_)) => "unclear_request",
            Self::Unclear(Unclear::Host) => "unknown_host",
            Self::Unclear(Unclear::Path(_)) => "ambiguous_path",
            Self::Guard(refusal) => refusal.code(),
        }
    }

    const fn status(&self) -> StatusCode {
        match self {
            Self::Guard(refusal) if refusal.status().as_u16() == 401 => StatusCode::UNAUTHORIZED,
            _ => StatusCode::FORBIDDEN,
        }
    }

    const fn title(&self) -> &'static str {
        match self {
            Self::Untrusted => "Only the proxy may ask",
            Self::Unclear(Unclear::Told(_)) => "The proxy does not tell what was asked for",
            Self::Unclear(Unclear::Host) => "There is no such host here",
            Self::Unclear(Unclear::Path(_)) => "The path can be read in two ways",
            Self::Guard(refusal) => refusal.title(),
        }
    }

    const fn fix(&self) -> &'static str {
        match self {
            Self::Untrusted => "Name the proxy in listen.trusted_proxies.",
            Self::Unclear(Unclear::Told(_)) => {
                "Set the proxy up as the guide says, or choose other headers."
            }
            Self::Unclear(Unclear::Host) => "Add its origin to origins.",
            Self::Unclear(Unclear::Path(_)) => {
                "Send a path without dot segments, empty segments, parameters and needless percent-encoding."
            }
            Self::Guard(refusal) => refusal.fix(),
        }
    }

    /// Whether a new login by a person could mend it. There is no login of more assurance than every login has.
    fn login_helps(&self) -> bool {
        use Refusal::{InsufficientAuthentication, InvalidToken, LoginRequired, Renewed};
        match self {
            Self::Guard(LoginRequired | InvalidToken | Renewed) => true,
            Self::Guard(InsufficientAuthentication(needed)) => {
                needed.assurance.is_none_or(|level| level == Assurance::Aal1)
            }
            _ => false,
        }
    }

    /// How old the login may be at most, where that is what was wrong.
    pub const fn max_age(&self) -> Option<Duration> {
        match self {
            Self::Guard(Refusal::InsufficientAuthentication(needed)) => needed.max_age,
            _ => None,
        }
    }
}

/// Where a browser logs in to come back to what it asked for; `None` for a client that is no browser on its way to a
/// page, and where a login would not help.
pub fn login_target(refused: &Refused, headers: &HeaderMap) -> Option<String> {
    let original = refused.original.as_ref().filter(|_| refused.why.login_helps())?;
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let page = match text(&HeaderName::from_static("sec-fetch-mode")) {
        Some(mode) => mode == "navigate",
        None => text(&ACCEPT).is_some_and(|accept| accept.contains("text/html")),
    };
    let wants = page && original.method == Method::GET && !headers.contains_key(AUTHORIZATION);
    wants.then(|| original.target.clone())
}

/// The answer; `login` is where the browser logs in, if it is one.
pub fn answer(refused: &Refused, login: Option<&str>) -> Response {
    let why = &refused.why;
    let (content_type, body) = match login {
        Some(url) => ("text/html; charset=utf-8", page(url)),
        None => ("application/problem+json", problem(why)),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = why.status();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REASON, HeaderValue::from_static(why.code()));
    if let Some(url) = login.and_then(|url| HeaderValue::from_str(url).ok()) {
        headers.insert(LOGIN, url);
    }
    if let Why::Guard(refusal) = why {
        headers.extend(refusal.headers());
    }
    response
}

/// RFC 9457.
fn problem(why: &Why) -> String {
    let code = why.code();
    serde_json::json!({
        "type": format!("urn:symbolon:error:{code}"),
        "title": why.title(),
        "status": why.status().as_u16(),
        "code": code,
        "fix": why.fix(),
    })
    .to_string()
}

/// A page that leads to the login by itself, without a script.
fn page(url: &str) -> String {
    let url = escaped(url);
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Log in</title>\
         <meta http-equiv=\"refresh\" content=\"0;url={url}\"><p><a href=\"{url}\">Log in</a></p></html>\n"
    )
}

/// Text within an attribute or an element.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for sign in text.chars() {
        match sign {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
