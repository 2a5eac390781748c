//! What is known about a user, as applications are told it: the standard claims of OpenID Connect (Core, section 5.1),
//! each by the scope that asks for it (section 5.4).
//!
//! All of it is optional and bounded. Nothing here says who a user is: that is `sub`, and nothing decides by it.

use std::{collections::BTreeMap, str::FromStr};

use serde_json::{Map, Value};

/// What a claim may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Url,
    Email,
    /// E.164, such as `+442083661177`.
    Phone,
    /// `1990-01-31`, `0000-01-31` or `1990`.
    Date,
    Boolean,
    /// An object of [`ADDRESS`].
    Address,
}

/// Every claim that can be set, with the scope that asks for it.
const CLAIMS: &[(&str, &str, Kind)] = &[
    ("name", "profile", Kind::Text),
    ("given_name", "profile", Kind::Text),
    ("family_name", "profile", Kind::Text),
    ("middle_name", "profile", Kind::Text),
    ("nickname", "profile", Kind::Text),
    ("profile", "profile", Kind::Url),
    ("picture", "profile", Kind::Url),
    ("website", "profile", Kind::Url),
    ("gender", "profile", Kind::Text),
    ("birthdate", "profile", Kind::Date),
    ("zoneinfo", "profile", Kind::Text),
    ("locale", "profile", Kind::Text),
    ("email", "email", Kind::Email),
    ("email_verified", "email", Kind::Boolean),
    ("phone_number", "phone", Kind::Phone),
    ("phone_number_verified", "phone", Kind::Boolean),
    ("address", "address", Kind::Address),
];

/// The members of an address (section 5.1.1).
const ADDRESS: [&str; 6] =
    ["formatted", "street_address", "locality", "region", "postal_code", "country"];

/// The most characters of a text.
const TEXT_CHARS_MAX: usize = 256;
/// The most bytes of a URL.
const URL_BYTES_MAX: usize = 1024;

/// The claim that is the login name.
pub const USERNAME: &str = "preferred_username";

/// A value is none that its claim can have, or there is no such claim.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProfile {
    /// There is no such claim.
    #[error("there is no standard claim of this name that can be set")]
    Unknown,
    /// The claim and what it may be.
    #[error("{0} is not {1}")]
    Value(&'static str, &'static str),
}

/// What is known about one user.
///
/// ```
/// use symbolon_core::profile::Profile;
///
/// let profile = Profile::from_pairs([("email", "user@example.com"), ("address.country", "KR")])?;
/// let told: Vec<_> = profile.claims("openid email").map(|(name, _)| name).collect();
/// assert_eq!(told, ["email"]);
/// # Ok::<(), symbolon_core::profile::InvalidProfile>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct Profile(BTreeMap<&'static str, Value>);

impl Profile {
    /// Reads claims that stand as text: booleans as `true` and `false`, parts of the address as `address.country`.
    ///
    /// # Errors
    /// [`InvalidProfile`].
    pub fn from_pairs<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, InvalidProfile> {
        let mut members = Map::new();
        for (name, text) in pairs {
            if let Some(part) = name.strip_prefix("address.") {
                let address = members.entry("address").or_insert_with(|| Map::new().into());
                if let Some(address) = address.as_object_mut() {
                    address.insert(part.to_owned(), text.into());
                }
            } else {
                let is_boolean = claim(name)?.2 == Kind::Boolean;
                let boolean = bool::from_str(text).ok().filter(|_| is_boolean);
                members.insert(name.to_owned(), boolean.map_or_else(|| text.into(), Value::from));
            }
        }
        Self::try_from(members)
    }

    /// One claim.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The claims that a scope asks for, names separated by spaces.
    pub fn claims(&self, scope: &str) -> impl Iterator<Item = (&'static str, &Value)> {
        CLAIMS
            .iter()
            .filter(move |(_, asks, _)| crate::scope::has(scope, asks))
            .filter_map(|(name, ..)| self.0.get(name).map(|value| (*name, value)))
    }
}

/// The names of all claims that a user may have.
pub fn names() -> impl Iterator<Item = &'static str> {
    CLAIMS.iter().map(|(name, ..)| *name).chain([USERNAME])
}

/// The scope that asks for a claim. `None`: users have no such claim.
pub fn scope_of(name: &str) -> Option<&'static str> {
    if name == USERNAME { Some("profile") } else { claim(name).ok().map(|(_, scope, _)| *scope) }
}

fn claim(name: &str) -> Result<&'static (&'static str, &'static str, Kind), InvalidProfile> {
    CLAIMS.iter().find(|(own, ..)| *own == name).ok_or(InvalidProfile::Unknown)
}

impl TryFrom<Map<String, Value>> for Profile {
    type Error = InvalidProfile;

    fn try_from(members: Map<String, Value>) -> Result<Self, InvalidProfile> {
        let mut all = BTreeMap::new();
        for (name, value) in members {
            let (name, _, kind) = claim(&name)?;
            kind.check(&value).map_err(|expected| InvalidProfile::Value(name, expected))?;
            all.insert(*name, value);
        }
        Ok(Self(all))
    }
}

impl<'de> serde::Deserialize<'de> for Profile {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Map::deserialize(deserializer)?.try_into().map_err(serde::de::Error::custom)
    }
}

impl Kind {
    /// # Errors
    /// What it may be.
    fn check(self, value: &Value) -> Result<(), &'static str> {
        let (fits, expected) = match (self, value) {
            (Self::Boolean, value) => (value.is_boolean(), "true or false"),
            (Self::Address, value) => (
                value.as_object().is_some_and(is_address),
                "an object of formatted, street_address, locality, region, postal_code and country",
            ),
            (Self::Text, value) => {
                (value.as_str().is_some_and(is_text), "a text of 1 to 256 characters")
            }
            (Self::Url, value) => (value.as_str().is_some_and(is_url), "an http or https URL"),
            (Self::Email, value) => (value.as_str().is_some_and(is_email), "an email address"),
            (Self::Phone, value) => {
                (value.as_str().is_some_and(is_phone), "a phone number such as +442083661177")
            }
            (Self::Date, value) => (
                value.as_str().is_some_and(is_date),
                "a date such as 1990-01-31, 0000-01-31 or 1990",
            ),
        };
        if fits { Ok(()) } else { Err(expected) }
    }
}

fn is_text(text: &str) -> bool {
    // Bytes first, so that a hostile text costs nothing.
    !text.is_empty()
        && text.len() <= TEXT_CHARS_MAX * 4
        && text.chars().count() <= TEXT_CHARS_MAX
        && !text.chars().any(char::is_control)
}

fn is_lines(text: &str) -> bool {
    is_text(&text.replace("\r\n", " ").replace('\n', " "))
}

fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let plain = |b: u8| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b);
    text.len() <= URL_BYTES_MAX
        && rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(plain))
}

fn is_email(text: &str) -> bool {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !"<>()[]\\,;:\"".contains(c);
    is_text(text)
        && text.chars().all(plain)
        && text.rsplit_once('@').is_some_and(|(local, domain)| {
            !local.is_empty()
                && !local.contains('@')
                && domain.split('.').all(|part| !part.is_empty())
        })
}

fn is_phone(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|digits| {
        (2..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
    })
}

fn is_date(text: &str) -> bool {
    let number = |part: &str, len: usize| {
        (part.len() == len && part.bytes().all(|b| b.is_ascii_digit()))
            .then(|| part.parse::<u16>().ok())
            .flatten()
    };
    match *text.split('-').collect::<Vec<_>>() {
        [year] => number(year, 4).is_some(),
        [year, month, day] => {
            number(year, 4).is_some()
                && number(month, 2).is_some_and(|month| (1..=12).contains(&month))
                && number(day, 2).is_some_and(|day| (1..=31).contains(&day))
        }
        _ => false,
    }
}

fn is_address(address: &Map<String, Value>) -> bool {
    !address.is_empty()
        && address.iter().all(|(name, value)| {
            ADDRESS.contains(&name.as_str()) && value.as_str().is_some_and(is_lines)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let (long, longest) = ("x".repeat(257), "x".repeat(256));
        for (name, text, valid) in [
            ("name", "홍길동", true),
            ("name", &longest, true),
            ("name", &long, false),
            ("name", "", false),
            ("name", "two\nlines", false),
            ("sub", "somebody else", false),
            ("preferred_username", "admin", false),
            ("roles", "admin", false),
            ("picture", "https://example.com/me.png", true),
            ("picture", "javascript:alert(1)", false),
            ("picture", "https://", false),
            ("picture", "https://example.com/<script>", false),
            ("email", "user@example.com", true),
            ("email", "user", false),
            ("email", "@example.com", false),
            ("email", "a@b@example.com", false),
            ("email", "user@example..com", false),
            ("email", "user@example.com\r\nBcc: x@example.com", false),
            ("email_verified", "true", true),
            ("email_verified", "yes", false),
            ("phone_number", "+442083661177", true),
            ("phone_number", "02083661177", false),
            ("birthdate", "1990-01-31", true),
            ("birthdate", "0000-01-31", true),
            ("birthdate", "1990", true),
            ("birthdate", "1990-13-01", false),
            ("birthdate", "31.1.1990", false),
            ("address.country", "KR", true),
            ("address.formatted", "1 Way\nTown", true),
            ("address.planet", "Earth", false),
            ("address", "somewhere", false),
        ] {
            assert_eq!(Profile::from_pairs([(name, text)]).is_ok(), valid, "{name}={text:?}");
        }
        let text = serde_json::json!({ "email_verified": "true" });
        assert!(serde_json::from_value::<Profile>(text).is_err(), "a text is no boolean");
    }

    #[test]
    fn a_scope_asks_for_its_own_claims() {
        let all = [
            ("name", "n"),
            ("email", "a@b"),
            ("email_verified", "false"),
            ("phone_number", "+123"),
        ];
        let profile = Profile::from_pairs(all).unwrap();
        for (scope, told) in [
            ("openid", &[][..]),
            ("openid email", &["email", "email_verified"]),
            ("profile phone", &["name", "phone_number"]),
            ("emailx", &[]),
        ] {
            assert_eq!(profile.claims(scope).map(|(name, _)| name).collect::<Vec<_>>(), told);
        }
    }
}
