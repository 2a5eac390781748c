//! The URIs of a client that a logout leads to.
//!
//! They are read strictly: visible ASCII without anything that a browser and we could read in two ways, no user in the
//! authority, no fragment, at most [`BYTES_MAX`]. They are used as they were registered, and compared byte by byte.

use std::{fmt, str::FromStr};

use crate::id::Text;

/// The longest URI, in bytes.
pub const BYTES_MAX: usize = 2048;

/// Where a client hears of the end of sessions: `https` or `http`, with a host.
///
/// ```
/// use symbolon_core::logout_uri::LogoutUri;
/// let uri: LogoutUri = "https://shop.example:8443/out?tenant=1".parse()?;
/// assert_eq!(uri.origin(), "https://shop.example:8443");
/// assert!("https://user@shop.example/out".parse::<LogoutUri>().is_err());
/// # Ok::<(), symbolon_core::logout_uri::InvalidLogoutUri>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogoutUri(Box<str>);

/// Where a browser may be sent to after a logout: `https`, `http` to this machine, or a native app's own scheme with a
/// dot in it (RFC 8252, section 7.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostLogoutUri(Box<str>);

/// The text is no URI that a client hears of logouts at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it must begin with https:// or http:// and name a host, without user and fragment")]
pub struct InvalidLogoutUri;

/// The text is no URI that a browser is sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "it must be https, http to this machine, or a scheme with a dot in it, without user and fragment"
)]
pub struct InvalidPostLogoutUri;

impl LogoutUri {
    /// Scheme, host and port, as they were registered.
    pub fn origin(&self) -> &str {
        web_origin(&self.0).unwrap_or_default()
    }
}

impl PostLogoutUri {
    /// What a page's policy must admit to lead there: the origin, or the scheme of a native app.
    pub fn source(&self) -> &str {
        let scheme = || self.0.find(':').map_or("", |at| &self.0[..=at]);
        web_origin(&self.0).unwrap_or_else(scheme)
    }
}

impl FromStr for LogoutUri {
    type Err = InvalidLogoutUri;

    fn from_str(text: &str) -> Result<Self, InvalidLogoutUri> {
        let valid = is_plain(text) && web_origin(text).is_some();
        valid.then(|| Self(text.into())).ok_or(InvalidLogoutUri)
    }
}

impl FromStr for PostLogoutUri {
    type Err = InvalidPostLogoutUri;

    fn from_str(text: &str) -> Result<Self, InvalidPostLogoutUri> {
        let web = || match web_origin(text) {
            Some(origin) => origin.starts_with("https://") || is_loopback(origin),
            None => is_own_scheme(text),
        };
        let valid = is_plain(text) && web();
        valid.then(|| Self(text.into())).ok_or(InvalidPostLogoutUri)
    }
}

fn is_plain(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_graphic() && !b"\"'<>\\^`{|}#".contains(&b);
    text.len() <= BYTES_MAX && text.bytes().all(plain)
}

/// The beginning of an `https` or `http` URI up to its path, if it names a host and no user.
fn web_origin(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
    let authority = rest.split(['/', '?']).next()?;
    let valid = authority.starts_with(|c: char| c == '[' || c.is_ascii_alphanumeric())
        && authority.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
    valid.then(|| &text[..text.len() - rest.len() + authority.len()])
}

fn is_loopback(origin: &str) -> bool {
    let host = origin.strip_prefix("http://").unwrap_or_default();
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|own| {
        host.strip_prefix(own).is_some_and(|port| port.is_empty() || port.starts_with(':'))
    })
}

/// A scheme that somebody can own has a dot: `javascript` and `data` have none.
fn is_own_scheme(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, rest)| {
        scheme.starts_with(|c: char| c.is_ascii_lowercase())
            && scheme.contains('.')
            && scheme
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b))
            && !rest.is_empty()
            && !rest.contains('@')
    })
}

macro_rules! texts {
    ($($type:ident)*) => {$(
        impl $type {
            /// As it was registered.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let Text(text) = Text::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

texts! { LogoutUri PostLogoutUri }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reads_in_two_ways_or_runs_is_no_uri_here() {
        // The text, the origin where a client can hear, the source where a browser can be sent.
        for (text, hears, leads) in [
            (
                "https://shop.example/out",
                Some("https://shop.example"),
                Some("https://shop.example"),
            ),
            ("https://shop.example", Some("https://shop.example"), Some("https://shop.example")),
            (
                "https://shop.example:8443/a?b",
                Some("https://shop.example:8443"),
                Some("https://shop.example:8443"),
            ),
            (
                "https://shop.example?x=/y",
                Some("https://shop.example"),
                Some("https://shop.example"),
            ),
            ("http://shop.example/out", Some("http://shop.example"), None),
            (
                "http://localhost:3000/out",
                Some("http://localhost:3000"),
                Some("http://localhost:3000"),
            ),
            ("http://[::1]:9/x", Some("http://[::1]:9"), Some("http://[::1]:9")),
            ("http://localhost.evil.example/", Some("http://localhost.evil.example"), None),
            ("com.example.app:/out", None, Some("com.example.app:")),
            ("com.example.app://out", None, Some("com.example.app:")),
            ("myapp:/out", None, None),
            ("", None, None),
            ("shop.example/out", None, None),
            ("//shop.example/out", None, None),
            ("HTTPS://shop.example/out", None, None),
            ("ftp://shop.example/", None, None),
            ("javascript:alert(1)", None, None),
            ("javascript://shop.example/%0aalert(1)", None, None),
            ("data:text/html,x", None, None),
            ("https:///out", None, None),
            ("https://:443/", None, None),
            ("https://user@shop.example/", None, None),
            ("https://shop.example/#part", None, None),
            ("https://shop.example/a b", None, None),
            ("https://shop.example\\@evil.example/", None, None),
            ("https://shop.example/\"><script>", None, None),
            ("https://shop.example/\r\nx:y", None, None),
            ("https://shöp.example/", None, None),
        ] {
            let hearing = text.parse::<LogoutUri>().ok();
            assert_eq!(hearing.as_ref().map(LogoutUri::origin), hears, "{text}");
            let leading = text.parse::<PostLogoutUri>().ok();
            assert_eq!(leading.as_ref().map(PostLogoutUri::source), leads, "{text}");
        }
        let long = format!("https://shop.example/{}", "a".repeat(BYTES_MAX));
        assert!(long.parse::<LogoutUri>().is_err() && long.parse::<PostLogoutUri>().is_err());
    }
}
