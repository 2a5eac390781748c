//! Scopes: what a client may do, by name (RFC 6749, section 3.3).

use std::{fmt, str::FromStr};

use crate::id::Text;

/// One name of a scope: 1 to 64 visible characters of ASCII, without quotation marks and backslashes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(transparent)]
pub struct Scope(Box<str>);

/// The text is no name of a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a scope is 1 to 64 visible ASCII characters without \" and \\")]
pub struct InvalidScope;

/// Asks for an ID token, and for access to userinfo.
pub const OPENID: &str = "openid";

/// Asks for tokens that outlive the login (OpenID Connect Core, section 11).
pub const OFFLINE: &str = "offline_access";

/// The scopes that every client may ask for (OpenID Connect Core, section 5.4).
pub const STANDARD: [&str; 6] = [OPENID, "profile", "email", "address", "phone", OFFLINE];

impl Scope {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        let plain = |b: u8| b.is_ascii_graphic() && b != b'"' && b != b'\\';
        let valid = (1..=64).contains(&text.len()) && text.bytes().all(plain);
        valid.then(|| Self(text.into())).ok_or(InvalidScope)
    }
}

impl<'de> serde::Deserialize<'de> for Scope {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a list of scopes, separated by spaces, has this name in it.
///
/// ```
/// # use symbolon_core::scope::has;
/// assert!(has("openid profile", "profile"));
/// assert!(!has("openid profile", "prof"));
/// ```
pub fn has(list: &str, name: &str) -> bool {
    list.split_ascii_whitespace().any(|own| own == name)
}

/// The names of a list that may be had: each once, in the order in which they were asked.
///
/// ```
/// # use symbolon_core::scope::only;
/// assert_eq!(&*only("b a b c", |name| name != "c"), "b a");
/// ```
pub fn only(list: &str, may: impl Fn(&str) -> bool) -> Box<str> {
    let mut given: Vec<&str> = Vec::new();
    for name in list.split_ascii_whitespace().filter(|name| may(name)) {
        if !given.contains(&name) {
            given.push(name);
        }
    }
    given.join(" ").into()
}

/// Whether everything of one list stands in the other, too.
///
/// ```
/// # use symbolon_core::scope::is_within;
/// assert!(is_within("openid", "profile openid"));
/// assert!(!is_within("openid cart", "openid"));
/// ```
pub fn is_within(list: &str, other: &str) -> bool {
    list.split_ascii_whitespace().all(|name| has(other, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let long = "x".repeat(65);
        for (text, valid) in [
            ("cart", true),
            ("https://api.example/cart:read", true),
            ("", false),
            ("two names", false),
            ("quo\"te", false),
            ("back\\slash", false),
            ("é", false),
            ("new\nline", false),
            (&long[1..], true),
            (&long, false),
        ] {
            assert_eq!(text.parse::<Scope>().is_ok(), valid, "{text:?}");
        }
    }
}
