//! Logging in where the server is on another host: the browser goes there, comes back with a one-time code, and gets a
//! cookie of the application's own host (RFC 6749 with PKCE, RFC 7636, and `iss`, RFC 9207).
//!
//! What belongs to an attempt lies in a short-lived cookie of the browser that began it, so nothing is kept here, and
//! nobody can finish in one browser what was begun in another.

use aws_lc_rs::digest;
use axum::{body::Body, response::Response};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, COOKIE, LOCATION, REFERRER_POLICY, SET_COOKIE},
};
use subtle::ConstantTimeEq;
use symbolon_core::{
    client::ClientId,
    secret::{SecretBytes, SecretText},
};

use super::refuse::escaped;
use crate::{http::next::Next, os::Os};

/// Where an attempt begins.
pub const LOGIN: &str = "/_symbolon/login";
/// Where it comes back to.
pub const CALLBACK: &str = "/_symbolon/callback";
/// Where a login here ends.
pub const LOGOUT: &str = "/_symbolon/logout";

/// Attempts of one browser at a time: tabs. One more takes the place of another.
const ATTEMPTS_MAX: u8 = 8;
/// The longest place to go to afterwards that is remembered: the cookies of all attempts must fit in what proxies take of
/// one header, 8 KiB.
const NEXT_BYTES_MAX: usize = 512;
/// How long an attempt may take.
const ATTEMPT_SECS: u32 = 600;
/// The most bytes of a query that are read.
const QUERY_BYTES_MAX: usize = 8 * 1024;

/// One attempt to log in.
#[derive(Debug)]
pub struct Attempt {
    /// Which of the browser's attempts it is.
    slot: u8,
    state: SecretText,
    /// The PKCE verifier.
    pub verifier: SecretText,
    /// Where to go afterwards.
    pub next: String,
}

/// The place in a query, or the root.
pub fn next_in(query: &str) -> String {
    let next = parameter(query, "next").ok().flatten();
    local(&next.unwrap_or_default())
}

/// A place on this host; the root for everything else.
pub fn local(text: &str) -> String {
    Next::parse(text).map_or_else(|| "/".to_owned(), |next| next.as_str().to_owned())
}

/// The parameter stands twice, or the query is too long or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the query cannot be read in one way")]
pub struct InvalidQuery;

/// A parameter that stands once.
///
/// # Errors
/// [`InvalidQuery`].
pub fn parameter(query: &str, name: &str) -> Result<Option<String>, InvalidQuery> {
    if query.len() > QUERY_BYTES_MAX {
        return Err(InvalidQuery);
    }
    let pairs: Vec<(String, String)> =
        serde_urlencoded::from_str(query).map_err(|_| InvalidQuery)?;
    let mut values = pairs.into_iter().filter(|(own, _)| own == name).map(|(_, value)| value);
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(InvalidQuery),
    }
}

/// Whether cookies here have the prefixes of `https`.
fn cookie_name(secure: bool, slot: u8) -> String {
    let prefix = if secure { "__Host-" } else { "" };
    format!("{prefix}symbolon-login-{slot}")
}

/// The values of the cookies of this name.
fn cookies<'h>(headers: &'h HeaderMap, name: &'h str) -> impl Iterator<Item = &'h str> {
    let pairs = headers.get_all(COOKIE).iter().filter_map(|header| header.to_str().ok());
    let pairs =
        pairs.flat_map(|header| header.split(';')).map(|pair| pair.trim_matches([' ', '\t']));
    pairs.filter_map(move |pair| pair.strip_prefix(name)?.strip_prefix('='))
}

fn random<const N: usize>() -> SecretText {
    SecretText::new(URL_SAFE_NO_PAD.encode(SecretBytes::<N>::random(&mut Os).expose()))
}

impl Attempt {
    /// Begins one, in a place that is free in this browser.
    pub fn begin(headers: &HeaderMap, secure: bool, next: String) -> Self {
        let free = |slot: &u8| cookies(headers, &cookie_name(secure, *slot)).next().is_none();
        let any = SecretBytes::<1>::random(&mut Os).expose()[0] % ATTEMPTS_MAX;
        let slot = (0..ATTEMPTS_MAX).find(free).unwrap_or(any);
        let next = if next.len() > NEXT_BYTES_MAX { "/".to_owned() } else { next };
        Self { slot, state: random::<16>(), verifier: random::<32>(), next }
    }

    /// What the browser brings back, and what proves that it is the same one.
    fn state(&self) -> SecretText {
        SecretText::new(format!("{}.{}", self.slot, self.state.expose()))
    }

    /// The cookie that holds it.
    fn cookie(&self, secure: bool) -> Option<HeaderValue> {
        let next = URL_SAFE_NO_PAD.encode(&self.next);
        let value = format!("{}.{}.{next}", self.state.expose(), self.verifier.expose());
        set_cookie(secure, self.slot, &value, ATTEMPT_SECS)
    }

    /// The way to the server's login, which shall be at most `max_age_secs` old then.
    pub fn leave(
        &self,
        (issuer, client): (&str, &ClientId),
        origin: &str,
        max_age_secs: Option<u32>,
        secure: bool,
    ) -> Option<Response> {
        let challenge = digest::digest(&digest::SHA256, self.verifier.expose().as_bytes());
        let query = serde_urlencoded::to_string([
            ("response_type", "code"),
            ("client_id", client.as_str()),
            ("redirect_uri", &format!("{origin}{CALLBACK}")),
            ("state", self.state().expose()),
            ("code_challenge", &URL_SAFE_NO_PAD.encode(challenge)),
            ("code_challenge_method", "S256"),
        ]);
        let age = max_age_secs.map_or_else(String::new, |age| format!("&max_age={age}"));
        let mut response = see_other(&format!("{issuer}/oauth2/authorize?{}{age}", query.ok()?))?;
        response.headers_mut().append(SET_COOKIE, self.cookie(secure)?);
        Some(response)
    }

    /// The attempt that this browser began and that `state` belongs to.
    pub fn resume(headers: &HeaderMap, secure: bool, state: &str) -> Option<Self> {
        let (slot, brought) = state.split_once('.')?;
        let slot: u8 = slot.parse().ok().filter(|slot| *slot < ATTEMPTS_MAX)?;
        let name = cookie_name(secure, slot);
        let mut values = cookies(headers, &name);
        // Of two that have one name, one was planted.
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        let mut parts = value.split('.');
        let (own, verifier, next) = (parts.next()?, parts.next()?, parts.next()?);
        let same: bool = own.as_bytes().ct_eq(brought.as_bytes()).into();
        if !same || own.is_empty() || parts.next().is_some() {
            return None;
        }
        let next = String::from_utf8(URL_SAFE_NO_PAD.decode(next).ok()?).ok()?;
        let [state, verifier] = [own, verifier].map(|text| SecretText::new(text.to_owned()));
        Some(Self { slot, state, verifier, next: local(&next) })
    }

    /// Removes the cookie that holds it.
    pub fn forget(&self, secure: bool, response: &mut Response) {
        if let Some(cookie) = set_cookie(secure, self.slot, "", 0) {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
    }
}

fn set_cookie(secure: bool, slot: u8, value: &str, max_age_secs: u32) -> Option<HeaderValue> {
    let name = cookie_name(secure, slot);
    let secure = if secure { "; Secure" } else { "" };
    let text =
        format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}; Max-Age={max_age_secs}");
    let mut cookie = HeaderValue::try_from(text).ok()?;
    cookie.set_sensitive(true);
    Some(cookie)
}

/// Goes elsewhere, and tells nobody whence.
pub fn see_other(location: &str) -> Option<Response> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    headers.insert(LOCATION, HeaderValue::try_from(location).ok()?);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Some(response)
}

/// A page that says why it did not work, with a link.
pub fn failure(status: StatusCode, text: &str, link: &str, label: &str) -> Response {
    let (link, text) = (escaped(link), escaped(text));
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{text}</title>\
         <h1>{text}</h1><p><a href=\"{link}\">{label}</a></p></html>\n"
    );
    let mut response = Response::new(Body::from(page));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// The link to a new attempt.
pub fn again(next: &str) -> String {
    let query = serde_urlencoded::to_string([("next", next)]).unwrap_or_default();
    format!("{LOGIN}?{query}")
}
