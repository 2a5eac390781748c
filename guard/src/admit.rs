//! The one place that decides which half a request carries and which checks follow.

use std::{fmt, sync::Arc};

use http::{HeaderMap, HeaderName, Method, header, request::Parts};
use symbolon_core::{
    csrf::{self, Evidence},
    handle::Kind,
    secret::SecretText,
};

use crate::{
    cookie::{Cookie, InvalidCookies, InvalidPublicUrl, Layout, credential},
    dpop::Proofs,
    error::Refusal,
};

/// The header in which a script sends the CSRF token of the access token that rests in its cookie.
pub const CSRF_HEADER: HeaderName = HeaderName::from_static("x-csrf-token");

/// Which half of a login proved it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Half {
    /// The session cookie.
    SessionCookie,
    /// An access token in the `Authorization` header.
    Bearer,
    /// An access token in the `Authorization` header, bound to a key that the sender proved to hold.
    Dpop,
    /// An access token in a cookie.
    TokenCookie,
}

/// What a request carries: nothing, or exactly one credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carried {
    /// No credential of ours.
    Nothing,
    /// A session cookie. An unsafe request has shown its same-origin proof.
    SessionCookie(SecretText),
    /// An access token in the `Authorization` header. Nothing sends that by itself, so no CSRF check is needed.
    Bearer(SecretText),
    /// An access token in the `Authorization` header, of the scheme `DPoP` (RFC 9449, section 7.1). The
    /// [`Guard`](crate::Guard) asks for the proof of its key.
    Dpop(SecretText),
    /// An access token in a cookie. An unsafe request has shown its same-origin proof and the CSRF token.
    TokenCookie(SecretText),
}

impl Carried {
    /// The credential and the half it belongs to.
    pub const fn credential(&self) -> Option<(Half, &SecretText)> {
        match self {
            Self::Nothing => None,
            Self::SessionCookie(text) => Some((Half::SessionCookie, text)),
            Self::Bearer(text) => Some((Half::Bearer, text)),
            Self::Dpop(text) => Some((Half::Dpop, text)),
            Self::TokenCookie(text) => Some((Half::TokenCookie, text)),
        }
    }
}

/// What [`admit`] goes by: the cookie layout of the public URL, and the other origins that may act for the user.
///
/// Cheap to clone.
#[derive(Clone)]
pub struct Rules {
    layout: Arc<Layout>,
    listed: Option<Listed>,
    proofs: Proofs,
}

type Listed = Arc<dyn Fn(&str) -> bool + Send + Sync>;

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules").field("layout", &self.layout).finish_non_exhaustive()
    }
}

impl Rules {
    /// The rules for an application that browsers see under `public_url`: `https://shop.example`,
    /// `https://shop.example/auth`, `http://localhost:3000`. No other origin may act for the user.
    ///
    /// # Errors
    /// [`InvalidPublicUrl`] says what to write instead.
    pub fn new(public_url: &str) -> Result<Self, InvalidPublicUrl> {
        Ok(Self {
            layout: Arc::new(Layout::of(public_url)?),
            listed: None,
            proofs: Proofs::new(false),
        })
    }

    /// Lets pages of other origins send unsafe requests with cookies: those for which `listed` is true. It gets the
    /// `Origin` header as sent and is asked per request, so the list may change while running.
    ///
    /// Give this to the routes that such pages use and to no others: a page of a listed origin can do whatever the
    /// user can do there.
    #[must_use]
    pub fn also_from(self, listed: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self { listed: Some(Arc::new(listed)), ..self }
    }

    /// Lets only those [proofs](crate::dpop) count that repeat a nonce of this process: where several processes answer
    /// under one URL and a proof must not count at each, or where clocks of clients are not trusted. It costs a client a
    /// second request every few minutes.
    #[must_use]
    pub fn demand_nonces(self) -> Self {
        Self { proofs: Proofs::new(true), ..self }
    }

    /// Verifies proofs of keys for these rules.
    pub const fn proofs(&self) -> &Proofs {
        &self.proofs
    }

    /// A path of ours as clients see it. Routers that are nested below the base path have taken it off.
    pub(crate) fn url(&self, path: &str) -> String {
        let base = self.layout.base();
        let rest = path.strip_prefix(base).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        format!("{}{base}{}", self.layout.origin().as_str(), rest.unwrap_or(path))
    }

    /// The names and attributes of our cookies.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Demands a same-origin proof of an unsafe request, whatever it carries. [`admit`] does this for requests that a
    /// cookie carries; a handler does it for a form that works without any cookie, such as the login form (otherwise
    /// another site can log its visitor in as somebody else).
    ///
    /// # Errors
    /// [`Refusal::CrossSite`].
    pub fn check_origin(&self, method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
        let evidence = Evidence {
            method: method.as_str(),
            websocket: asks_for_websocket(headers),
            fetch_site: single(headers, &HeaderName::from_static("sec-fetch-site")),
            origin: single(headers, &header::ORIGIN),
        };
        let listed = |origin: &str| self.listed.as_ref().is_some_and(|listed| listed(origin));
        csrf::decide(&evidence, self.layout.origin(), listed).map_err(|reason| {
            tracing::debug!(%reason, "refused an unsafe request");
            Refusal::CrossSite
        })
    }
}

/// Decides which half a request carries, and applies the checks that belong to it.
///
/// 1. An `Authorization` header is there: only it counts. Cookies beside it are not even read. It must be one
///    `Bearer` or `DPoP` token of a form that an access token can have.
/// 2. A session cookie is there: only it counts. An unsafe method needs a same-origin proof.
/// 3. An access token is in a cookie: an unsafe method needs a same-origin proof and, in `X-CSRF-Token`, the token's
///    CSRF token.
/// 4. Otherwise the request carries nothing.
///
/// There is no falling back from one to the next: what is refused is refused. A form that a session cookie carries
/// also sends a CSRF token; that is in the body, so its handler checks it with
/// [`Identity::check_form_token`](crate::Identity::check_form_token).
///
/// # Errors
/// A [`Refusal`]. Whether the credential is genuine is for the [`Authority`](crate::Authority) to say; here only its
/// form is looked at.
///
/// ```
/// use symbolon_guard::{admit, Carried, Half, Rules};
/// let rules = Rules::new("https://shop.example")?;
/// let request = http::Request::get("/cart")
///     .header("authorization", "Bearer eyJ.example.token")
///     .header("cookie", "__Host-symbolon=syms_ignored");
/// let (parts, _) = request.body(())?.into_parts();
/// let carried = admit(&rules, &parts.method, &parts.headers)?;
/// assert_eq!(carried.credential().map(|(half, _)| half), Some(Half::Bearer));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn admit(rules: &Rules, method: &Method, headers: &HeaderMap) -> Result<Carried, Refusal> {
    if headers.contains_key(header::AUTHORIZATION) {
        return by_header(headers);
    }
    let cookies = rules.layout.read(headers).map_err(|error| match error {
        InvalidCookies::TooLarge => Refusal::TooManyCookies,
        InvalidCookies::Repeated(_) => Refusal::InvalidRequest,
    })?;
    if cookies.is_present(Cookie::Session) {
        rules.check_origin(method, headers)?;
        let text = cookies.get(Cookie::Session).filter(|text| is_handle(text, Kind::Cookie));
        return text.map(Carried::SessionCookie).ok_or(Refusal::InvalidToken);
    }
    if cookies.is_present(Cookie::Access) {
        rules.check_origin(method, headers)?;
        let token = cookies.get(Cookie::Access).filter(is_access_token);
        let token = token.ok_or(Refusal::InvalidToken)?;
        if !csrf::is_safe(method.as_str()) {
            check_csrf_header(headers, &token)?;
        }
        return Ok(Carried::TokenCookie(token));
    }
    Ok(Carried::Nothing)
}

/// The token of the one `Authorization` header (RFC 6750, section 2.1; RFC 9449, section 7.1).
fn by_header(headers: &HeaderMap) -> Result<Carried, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(Refusal::InvalidRequest);
    };
    let bytes = value.as_bytes();
    let (scheme, rest) =
        bytes.split_at(bytes.iter().position(|b| *b == b' ').unwrap_or(bytes.len()));
    let carried: fn(SecretText) -> Carried = match scheme {
        scheme if scheme.eq_ignore_ascii_case(b"bearer") => Carried::Bearer,
        scheme if scheme.eq_ignore_ascii_case(b"dpop") => Carried::Dpop,
        // Another scheme is no credential of ours (RFC 6750, section 3.1): name ours, without an error.
        _ => return Err(Refusal::LoginRequired),
    };
    let token = rest.iter().position(|b| *b != b' ').map_or(&[][..], |at| &rest[at..]);
    credential(token).filter(is_access_token).map(carried).ok_or(Refusal::InvalidToken)
}

fn check_csrf_header(headers: &HeaderMap, token: &SecretText) -> Result<(), Refusal> {
    let sent = single(headers, &CSRF_HEADER).unwrap_or_default();
    if csrf::matches(sent, token.expose()) { Ok(()) } else { Err(Refusal::InvalidCsrfToken) }
}

fn is_handle(text: &SecretText, kind: Kind) -> bool {
    text.expose().starts_with(kind.prefix())
}

/// A handle where an access token belongs is refused: neither half stands in for the other.
fn is_access_token(text: &SecretText) -> bool {
    !is_handle(text, Kind::Cookie) && !is_handle(text, Kind::Refresh)
}

/// `Upgrade: websocket` (RFC 6455), among others that may be asked for. Over HTTP/2 it is a CONNECT, which is unsafe
/// anyway.
fn asks_for_websocket(headers: &HeaderMap) -> bool {
    let names = headers
        .get_all(header::UPGRADE)
        .into_iter()
        .flat_map(|v| v.as_bytes().split(|b| *b == b','));
    names.into_iter().any(|name| name.trim_ascii().eq_ignore_ascii_case(b"websocket"))
}

/// A header that must come once. More than once, or not text: the empty string, which proves nothing.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => None,
        (Some(value), None) => Some(value.to_str().unwrap_or("")),
        (Some(_), Some(_)) => Some(""),
    }
}

/// [`admit`] for a whole request head.
pub(crate) fn admit_parts(rules: &Rules, request: &Parts) -> Result<Carried, Refusal> {
    admit(rules, &request.method, &request.headers)
}
