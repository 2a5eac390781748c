//! The CSRF decision: which proof of same origin an unsafe request carried by a cookie must show; and the token that
//! forms and scripts send along.
//!
//! A browser attaches cookies by itself, so a cookie proves who the browser belongs to and never who asked. The proof
//! of *who asked* is what only the browser can write: `Sec-Fetch-Site` (W3C Fetch Metadata) and `Origin` (RFC 6454).
//! A request that shows neither is refused; a client that is no browser uses the `Authorization` header instead.
//!
//! The decision rests on safe methods being safe: a route that changes something on GET is not protected by anything
//! here.

use std::{fmt, str::FromStr};

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq;

use crate::id::Text;

/// Length of a CSRF token in bytes.
pub const TOKEN_BYTES: usize = 22;

/// An origin exactly as browsers write it: `scheme://host` or `scheme://host:port`, lower case, without the scheme's
/// default port (RFC 6454, section 6.1). Two origins are the same when their texts are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin(Box<str>);

/// The text is not an origin as browsers write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an origin is https://host or https://host:port, lower case, without a path or the default port"
)]
pub struct InvalidOrigin;

impl Origin {
    /// The origin as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the scheme is `https`.
    pub fn is_secure(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// Whether the host is this machine itself: `localhost`, a name under it, or a loopback address. Browsers call
    /// these trustworthy without TLS (W3C Secure Contexts, section 3.1).
    pub fn is_loopback(&self) -> bool {
        let authority = self.0.split_once("://").map_or("", |(_, rest)| rest);
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => host,
            _ => authority,
        };
        host == "localhost"
            || host.ends_with(".localhost")
            || host == "[::1]"
            || host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
    }

    /// Reads the origin and the path of an `http` or `https` URL that has no user, query or fragment. The path comes
    /// back without a slash at its end: empty for the root.
    ///
    /// ```
    /// use symbolon_core::csrf::Origin;
    /// let (origin, path) = Origin::split("https://shop.example/auth/")?;
    /// assert_eq!((origin.as_str(), path), ("https://shop.example", "/auth"));
    /// # Ok::<(), symbolon_core::csrf::InvalidOrigin>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidOrigin`] when what stands before the path is not an origin as browsers write it.
    pub fn split(url: &str) -> Result<(Self, &str), InvalidOrigin> {
        let host_at = url.find("://").ok_or(InvalidOrigin)? + 3;
        let path_at = url[host_at..].find('/').map_or(url.len(), |at| host_at + at);
        let (origin, path) = url.split_at(path_at);
        Ok((origin.parse()?, path.trim_end_matches('/')))
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let (scheme, authority) = text.split_once("://").ok_or(InvalidOrigin)?;
        let default_port = match scheme {
            "https" => 443,
            "http" => 80,
            _ => return Err(InvalidOrigin),
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let port_is_canonical = port.is_none_or(|text| {
            text.parse::<u16>()
                .is_ok_and(|port| port != 0 && port != default_port && port.to_string() == text)
        });
        (is_host(host) && port_is_canonical).then(|| Self(text.into())).ok_or(InvalidOrigin)
    }
}

impl serde::Serialize for Origin {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Origin {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok_and(|ip| ip.to_string() == address);
    }
    let label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
    };
    host.len() <= 253 && host.split('.').all(label)
}

/// What a request shows about who asked. A header that came more than once, or that is not text, is the empty string:
/// it is then evidence of nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence<'a> {
    /// The method, as sent; methods are case-sensitive (RFC 9110, section 9.1).
    pub method: &'a str,
    /// Whether it asks to open a WebSocket. That is a GET, but what follows is not: browsers open them across origins
    /// and send cookies along.
    pub websocket: bool,
    /// The `Sec-Fetch-Site` header.
    pub fetch_site: Option<&'a str>,
    /// The `Origin` header.
    pub origin: Option<&'a str>,
}

/// Why an unsafe request that a cookie carries is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Neither header says that a page of ours asked.
    #[error("nothing proves that the request comes from a page of this site")]
    NoEvidence,
    /// `Origin: null`: a sandboxed frame, a redirect across origins, a `data:` page. It proves nothing.
    #[error("the request comes from a page without an origin")]
    NullOrigin,
    /// A page of another origin asked.
    #[error("the request comes from a page of another site")]
    OtherOrigin,
}

/// Whether a method changes nothing (RFC 9110, section 9.2.1).
pub fn is_safe(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE")
}

/// Decides whether a request that a cookie carries may count as asked by a page of ours. `own` is the origin that
/// browsers see us under; `listed` says which other origins may act for the user.
///
/// | `Sec-Fetch-Site` | `Origin` absent | `null` | own | listed | other |
/// |---|---|---|---|---|---|
/// | `same-origin` | pass | pass | pass | pass | refuse |
/// | `none` or absent | refuse | refuse | pass | pass | refuse |
/// | `same-site`, `cross-site`, unknown | refuse | refuse | refuse | pass | refuse |
///
/// * `same-origin` beside `null` passes because that is what a browser sends for a form on a page of ours that has
///   `Referrer-Policy: no-referrer`; a page that really has no origin is `cross-site`.
/// * `none` (the user asked, not a page) is no proof of same origin. A repeated form post still carries its `Origin`.
/// * Headers that contradict each other never come from a browser. They are refused.
///
/// ```
/// use symbolon_core::csrf::*;
/// let own: Origin = "https://shop.example".parse()?;
/// let post = Evidence { method: "POST", websocket: false, fetch_site: None, origin: None };
/// assert_eq!(decide(&post, &own, |_| false), Err(Refused::NoEvidence));
/// let from_us = Evidence { origin: Some("https://shop.example"), ..post };
/// assert_eq!(decide(&from_us, &own, |_| false), Ok(()));
/// # Ok::<(), InvalidOrigin>(())
/// ```
///
/// # Errors
/// [`Refused`], for the log; the one who asked is told the same in every case.
pub fn decide(
    request: &Evidence<'_>,
    own: &Origin,
    listed: impl FnOnce(&str) -> bool,
) -> Result<(), Refused> {
    if is_safe(request.method) && !request.websocket {
        return Ok(());
    }
    match (request.fetch_site, request.origin) {
        (Some("same-origin"), None | Some("null")) => Ok(()),
        (Some("same-origin" | "none") | None, Some(origin)) if origin == own.as_str() => Ok(()),
        (_, Some("null")) => Err(Refused::NullOrigin),
        (_, Some(origin)) if origin != own.as_str() && listed(origin) => Ok(()),
        (_, Some(_)) => Err(Refused::OtherOrigin),
        (_, None) => Err(Refused::NoEvidence),
    }
}

/// The CSRF token that belongs to a credential (a session cookie's or an access token's text): 22 characters.
///
/// It is a hash of the credential, so nothing is stored and any process that sees the credential can check it. That is
/// safe because the credential has over 100 secret bits that no page can read (the cookie is `HttpOnly`): the token
/// cannot be guessed, and whoever learns the token learns nothing of the credential. It changes when the credential
/// does.
///
/// ```
/// use symbolon_core::csrf;
/// let token = csrf::token("syms_example");
/// assert!(csrf::matches(&token, "syms_example"));
/// assert!(!csrf::matches(&token, "syms_another"));
/// ```
pub fn token(credential: &str) -> String {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(b"symbolon csrf v1\0");
    hash.update(credential.as_bytes());
    URL_SAFE_NO_PAD.encode(&hash.finish().as_ref()[..16])
}

/// Whether `given` is the CSRF token of `credential`, compared in constant time.
pub fn matches(given: &str, credential: &str) -> bool {
    token(credential).as_bytes().ct_eq(given.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "https://shop.example";
    const LISTED: &str = "https://app.shop.example";

    fn check(evidence: &Evidence<'_>) -> Result<(), Refused> {
        decide(evidence, &OWN.parse().unwrap(), |origin| origin == LISTED)
    }

    const SITES: [Option<&str>; 7] = [
        None,
        Some("same-origin"),
        Some("none"),
        Some("same-site"),
        Some("cross-site"),
        Some("SAME-ORIGIN"),
        Some(""),
    ];
    const ORIGINS: [Option<&str>; 11] = [
        None,
        Some("null"),
        Some(OWN),
        Some(LISTED),
        Some("https://evil.example"),
        Some("http://shop.example"),
        Some("https://shop.example:8443"),
        Some("https://shop.example.evil.example"),
        Some("https://shop.example/"),
        Some("HTTPS://SHOP.EXAMPLE"),
        Some(""),
    ];

    /// The table of [`decide`], written a second time and differently.
    fn passes(site: Option<&str>, origin: Option<&str>) -> bool {
        let own = origin == Some(OWN);
        let listed = origin == Some(LISTED);
        let silent = origin.is_none() || origin == Some("null");
        match site {
            Some("same-origin") => silent || own || listed,
            Some("none") | None => own || listed,
            Some(_) => listed,
        }
    }

    #[test]
    fn every_site_method_and_origin() {
        for method in ["GET", "HEAD", "OPTIONS", "TRACE", "POST", "PUT", "PATCH", "DELETE", "get"] {
            for websocket in [false, true] {
                for fetch_site in SITES {
                    for origin in ORIGINS {
                        let evidence = Evidence { method, websocket, fetch_site, origin };
                        let safe =
                            matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE") && !websocket;
                        let expected = safe || passes(fetch_site, origin);
                        assert_eq!(check(&evidence).is_ok(), expected, "{evidence:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn reasons_for_the_log() {
        let post = Evidence { method: "POST", websocket: false, fetch_site: None, origin: None };
        for (origin, reason) in [
            (None, Refused::NoEvidence),
            (Some("null"), Refused::NullOrigin),
            (Some("https://evil.example"), Refused::OtherOrigin),
        ] {
            assert_eq!(check(&Evidence { origin, ..post }), Err(reason));
        }
    }

    #[test]
    fn origins_are_canonical() {
        for good in [
            "https://shop.example",
            "https://shop.example:8443",
            "http://localhost:8080",
            "http://127.0.0.1:1",
            "http://[::1]:8080",
            "https://[2001:db8::1]",
        ] {
            assert_eq!(good.parse::<Origin>().map(|o| o.to_string()).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "null",
            "*",
            "shop.example",
            "https://",
            "https://shop.example/",
            "https://Shop.example",
            "https://shop.example:443",
            "http://shop.example:80",
            "https://shop.example:0",
            "https://shop.example:08",
            "https://shop.example:+8443",
            "https://shop.example:99999",
            "https://user@shop.example",
            "https://shop..example",
            "https://[::1",
            "https://[0:0::1]",
            "ftp://shop.example",
            "https://shop.example evil",
        ] {
            assert_eq!(bad.parse::<Origin>(), Err(InvalidOrigin), "{bad}");
        }
    }

    #[test]
    fn this_machine_is_known_by_name_and_address() {
        for (origin, loopback) in [
            ("http://localhost", true),
            ("http://localhost:8080", true),
            ("http://shop.localhost:8080", true),
            ("http://127.0.0.1:8080", true),
            ("http://[::1]", true),
            ("http://[::1]:8080", true),
            ("http://localhost.example", false),
            ("http://127.0.0.1.example", false),
            ("http://10.0.0.1", false),
            ("http://[2001:db8::1]", false),
        ] {
            assert_eq!(origin.parse::<Origin>().unwrap().is_loopback(), loopback, "{origin}");
        }
    }

    #[test]
    fn a_token_belongs_to_one_credential() {
        let own = token("syms_one");
        assert_eq!(own.len(), TOKEN_BYTES);
        assert!(matches(&own, "syms_one"));
        for wrong in ["", &own[1..], &format!("{own}A"), &token("syms_two"), "syms_one"] {
            assert!(!matches(wrong, "syms_one"), "{wrong}");
        }
    }
}
