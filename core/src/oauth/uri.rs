//! URIs (RFC 3986), and redirect URIs: where a browser may be sent back to.

use std::{fmt, str::FromStr};

use crate::id::Text;

/// The longest URI that is looked at, in bytes.
pub const URI_BYTES_MAX: usize = 2048;

/// Why a text is no URI for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUri {
    /// More than [`URI_BYTES_MAX`] bytes.
    #[error("longer than {URI_BYTES_MAX} bytes")]
    TooLong,
    /// Not `scheme:` and then only characters that RFC 3986 allows.
    #[error("not an absolute URI")]
    Malformed,
    /// Its host or port is none, or it names a user.
    #[error("the host, port or user of the URI is not allowed")]
    Authority,
    /// It has a `#`.
    #[error("a URI with a fragment")]
    Fragment,
    /// A redirect URI that is neither `https`, nor `http` to this machine, nor an app's own scheme.
    #[error(
        "a redirect URI is https, http to a loopback address, or a native app's own scheme with a dot in it"
    )]
    Scheme,
}

/// The parts of an absolute URI, as they stand. Reading one changes nothing in it.
///
/// It is read as RFC 3986 says, and refused where browsers (the URL Standard) would read something else: backslashes,
/// spaces, control characters, anything that is not ASCII, a user in the authority, hosts with unusual characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uri<'a> {
    /// Before the first `:`, in any case.
    pub scheme: &'a str,
    /// After `//`: a name, an IPv4 address, or an IPv6 address in brackets. Empty, or missing, for schemes without one.
    pub host: Option<&'a str>,
    /// After the host.
    pub port: Option<u16>,
    /// From the first `/` on, or all that follows the scheme.
    pub path: &'a str,
    /// After `?`.
    pub query: Option<&'a str>,
    /// After `#`.
    pub fragment: Option<&'a str>,
}

impl<'a> Uri<'a> {
    /// Reads a URI.
    pub fn parse(text: &'a str) -> Result<Self, InvalidUri> {
        if text.len() > URI_BYTES_MAX {
            return Err(InvalidUri::TooLong);
        }
        let (scheme, rest) = text.split_once(':').ok_or(InvalidUri::Malformed)?;
        if !is_scheme(scheme) || !has_only_uri_bytes(rest) {
            return Err(InvalidUri::Malformed);
        }
        let (rest, fragment) = split_off(rest, '#');
        let (rest, query) = split_off(rest, '?');
        let (authority, path) = match rest.strip_prefix("//") {
            None => (None, rest),
            Some(rest) => {
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                (Some(authority), path)
            }
        };
        let (host, port) = match authority {
            None => (None, None),
            Some(authority) => split_authority(authority).ok_or(InvalidUri::Authority)?,
        };
        // Only in a host: RFC 3986, section 3.2.2.
        let brackets = |part: &str| part.contains(['[', ']']);
        if brackets(path) || query.is_some_and(brackets) || fragment.is_some_and(brackets) {
            return Err(InvalidUri::Malformed);
        }
        let uri = Self { scheme, host, port, path, query, fragment };
        let names_host = host.is_some_and(|host| !host.is_empty());
        if uri.is_web() && !names_host { Err(InvalidUri::Authority) } else { Ok(uri) }
    }

    /// Whether the scheme is `http` or `https`.
    pub fn is_web(&self) -> bool {
        self.scheme_is("http") || self.scheme_is("https")
    }

    /// Whether this is the scheme; case does not matter (RFC 3986, section 3.1).
    pub fn scheme_is(&self, name: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(name)
    }

    /// The URI without query and fragment in its normal form (RFC 3986, sections 6.2.2 and 6.2.3): scheme and host in
    /// lower case, no default port, no dot segments, `/` for an empty path, `%` only before what needs it. `None` for
    /// anything but `http` and `https`.
    pub fn normal_target(&self) -> Option<String> {
        let host = self.host.filter(|_| self.is_web())?.to_ascii_lowercase();
        let scheme = self.scheme.to_ascii_lowercase();
        let default = if scheme == "https" { 443 } else { 80 };
        let port = self.port.filter(|port| *port != default);
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let path = without_dots(&normal_escapes(self.path));
        Some(format!("{scheme}://{host}{port}{path}"))
    }
}

/// RFC 3986, section 3.1.
fn is_scheme(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte))
}

/// Reserved, unreserved, and `%` only with two hexadecimal digits (RFC 3986, section 2).
fn has_only_uri_bytes(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.iter().enumerate().all(|(at, byte)| match byte {
        b'%' => bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)),
        byte => byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=".contains(byte),
    })
}

fn split_off(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(text, rest)| (text, Some(rest)))
}

/// Host and port. `None`: a user, or characters that no host name has.
fn split_authority(authority: &str) -> Option<(Option<&str>, Option<u16>)> {
    let host_end = if authority.starts_with('[') {
        authority.find(']')? + 1
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, port) = authority.split_at(host_end);
    let valid = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)),
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => None,
        None => return None,
        Some(digits) => Some(port_of(digits)?),
    };
    valid.then_some((Some(host), port))
}

/// One to five digits without leading zero, up to 65535.
fn port_of(digits: &str) -> Option<u16> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    if plain { digits.parse().ok() } else { None }
}

/// Unreserved characters as themselves, other escapes in upper case.
fn normal_escapes(path: &str) -> String {
    let mut normal = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        normal.push_str(&rest[..at]);
        let escape = &rest[at..rest.len().min(at + 3)];
        match u8::from_str_radix(&escape[1..], 16).map(char::from) {
            Ok(plain) if plain.is_ascii_alphanumeric() || "-._~".contains(plain) => {
                normal.push(plain);
            }
            _ => normal.push_str(&escape.to_ascii_uppercase()),
        }
        rest = &rest[at + escape.len()..];
    }
    normal.push_str(rest);
    normal
}

/// RFC 3986, section 5.2.4, for a path that is empty or begins with `/`.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}

/// What kind of application a redirect URI belongs to (OpenID Connect Dynamic Client Registration, section 2).
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum ApplicationType {
    /// It runs on a server or in a browser.
    #[default]
    Web,
    /// It is installed on a device (RFC 8252).
    Native,
}

/// A redirect URI as a client registered it.
///
/// | kind | registered | admits |
/// |---|---|---|
/// | web | `https://host…`; `http://` to this machine, for development | exactly itself |
/// | native | `https://host…` (RFC 8252, section 7.2) | exactly itself |
/// | native | `scheme.with.dot:…` (RFC 8252, section 7.1) | exactly itself |
/// | native | `http://127.0.0.1…`, `http://[::1]…`, `http://localhost…` (RFC 8252, section 7.3) | itself, with any port or none |
///
/// "Exactly" is one comparison of the texts, byte by byte (RFC 9700, section 4.1.3): nothing is decoded or made normal
/// first, there is no wildcard, and no prefix. A fragment or a user in the authority is refused at registration, as are
/// schemes without a dot: `javascript:`, `data:` and the like are among them, and one nobody can own.
///
/// ```
/// use symbolon_core::oauth::uri::{ApplicationType, RedirectUri};
///
/// let uri = RedirectUri::parse("http://127.0.0.1/done", ApplicationType::Native)?;
/// assert!(uri.admits("http://127.0.0.1:49152/done"));
/// assert!(!uri.admits("http://127.0.0.1:49152/done/"));
/// assert!(!uri.admits("http://127.0.0.1:80@shop.example/done"));
///
/// let uri = RedirectUri::parse("https://shop.example/in", ApplicationType::Web)?;
/// assert!(uri.admits("https://shop.example/in"));
/// assert!(!uri.admits("https://shop.example/in?next=1"));
/// # Ok::<(), symbolon_core::oauth::uri::InvalidUri>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RedirectUri {
    text: Box<str>,
    /// Where a port may stand, and what follows it: of a native app's loopback URI.
    free_port: Option<FreePort>,
}

/// A range of the text: what lies between is the port with its colon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct FreePort {
    start: usize,
    end: usize,
}

impl RedirectUri {
    /// Reads a URI that a client of this kind wants to register.
    ///
    /// # Errors
    /// [`InvalidUri`]; in registration all of them are `invalid_redirect_uri` (RFC 7591, section 3.2.2).
    pub fn parse(text: &str, application: ApplicationType) -> Result<Self, InvalidUri> {
        let uri = Uri::parse(text)?;
        if uri.fragment.is_some() {
            return Err(InvalidUri::Fragment);
        }
        let native = application == ApplicationType::Native;
        let loopback = uri.scheme == "http" && uri.host.is_some_and(is_loopback);
        let own_scheme = native && !uri.is_web() && uri.scheme.contains('.');
        if !(uri.scheme == "https" || loopback || own_scheme) {
            return Err(InvalidUri::Scheme);
        }
        let free_port = uri.host.filter(|_| native && loopback).map(|host| {
            let start = "http://".len() + host.len();
            let end = text[start..].find(['/', '?']).map_or(text.len(), |at| start + at);
            FreePort { start, end }
        });
        Ok(Self { text: text.into(), free_port })
    }

    /// As it was registered.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a browser may be sent to the URI of a request.
    #[must_use]
    pub fn admits(&self, presented: &str) -> bool {
        if presented == &*self.text {
            return true;
        }
        let Some(FreePort { start, end }) = self.free_port else { return false };
        let rest = presented
            .strip_prefix(&self.text[..start])
            .and_then(|rest| rest.strip_suffix(&self.text[end..]));
        match rest {
            None => false,
            Some("") => true,
            Some(port) => port.strip_prefix(':').and_then(port_of).is_some(),
        }
    }
}

/// What a client of any kind may register. Whether it is one of this client's kind is looked at with the others
/// ([`Client::check`](crate::client::Client::check)).
impl FromStr for RedirectUri {
    type Err = InvalidUri;

    fn from_str(text: &str) -> Result<Self, InvalidUri> {
        Self::parse(text, ApplicationType::Native)
    }
}

impl serde::Serialize for RedirectUri {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> serde::Deserialize<'de> for RedirectUri {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The address of a page: `https`, without a user and a fragment. Nothing is fetched from it; people may follow it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct PageUri(Box<str>);

/// The text is no address of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no https URL without user and fragment")]
pub struct InvalidPageUri;

impl PageUri {
    /// As it was registered.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whose page it is.
    pub fn host(&self) -> &str {
        Uri::parse(&self.0).ok().and_then(|uri| uri.host).unwrap_or_default()
    }
}

impl FromStr for PageUri {
    type Err = InvalidPageUri;

    fn from_str(text: &str) -> Result<Self, InvalidPageUri> {
        let uri = Uri::parse(text).map_err(|_| InvalidPageUri)?;
        let fits = uri.scheme == "https" && uri.fragment.is_none();
        fits.then(|| Self(text.into())).ok_or(InvalidPageUri)
    }
}

impl<'de> serde::Deserialize<'de> for PageUri {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// This machine, under a name that leads nowhere else. `localhost` is one (RFC 6761, section 6.3), though RFC 8252,
/// section 8.3, advises the addresses.
fn is_loopback(host: &str) -> bool {
    matches!(host, "127.0.0.1" | "[::1]" | "localhost")
}
