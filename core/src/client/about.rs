//! What a client says of itself to people (RFC 7591, section 2). Nothing is decided by it, nothing is fetched from it.

use std::{collections::BTreeMap, fmt, str::FromStr};

use crate::{id::Text, oauth::uri::PageUri};

/// A text for people: 1 to 128 characters, none of which is a control character or turns the direction of writing, so
/// that it cannot be read as something else where it stands on a page or in a terminal.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct Name(Box<str>);

/// The text is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "it has 1 to 128 characters, and none that controls a terminal or the direction of writing"
)]
pub struct InvalidName;

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a character changes how others are shown: U+061C, U+200E, U+200F, U+202A to U+202E, U+2066 to U+2069, and
/// the line and paragraph separators.
const fn turns(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let plain = |c: char| !c.is_control() && !turns(c);
        let valid = !text.trim().is_empty()
            && text.len() <= 4 * 128
            && text.chars().count() <= 128
            && text.chars().all(plain);
        valid.then(|| Self(text.into())).ok_or(InvalidName)
    }
}

/// A language tag, as far as we tell languages apart: letters, digits and `-` (RFC 5646), at most 35.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(transparent)]
pub struct Language(Box<str>);

/// The text is no language tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a language tag is letters, digits and -, such as ko or en-GB")]
pub struct InvalidLanguage;

impl FromStr for Language {
    type Err = InvalidLanguage;

    fn from_str(text: &str) -> Result<Self, InvalidLanguage> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        let valid = text.len() <= 35
            && text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.bytes().all(plain);
        valid.then(|| Self(text.into())).ok_or(InvalidLanguage)
    }
}

impl Language {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is this language, in whatever region.
    fn is(&self, language: &str) -> bool {
        let primary = self.0.split('-').next().unwrap_or_default();
        primary.eq_ignore_ascii_case(language)
    }
}

macro_rules! texts {
    ($($type:ty)*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
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

texts! { Name Language }

/// What a client says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// What people call it who read these languages.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub names: BTreeMap<Language, Name>,
    /// Its home page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_uri: Option<PageUri>,
    /// Its logo. It is given back and shown nowhere: no page of ours loads anything from elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logo_uri: Option<PageUri>,
    /// How it deals with personal data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_uri: Option<PageUri>,
    /// Its terms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tos_uri: Option<PageUri>,
    /// Where a login can begin that others want (OpenID Connect Core, section 4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initiate_login_uri: Option<PageUri>,
    /// Who is responsible for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contacts: Vec<Name>,
    /// What software it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software_id: Option<Name>,
    /// Which version of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software_version: Option<Name>,
}

impl About {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Its name in a language such as `ko`.
    pub fn name_in(&self, language: &str) -> Option<&Name> {
        self.names.iter().find(|(own, _)| own.is(language)).map(|(_, name)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_as_they_stand() {
        for (text, valid) in [
            ("Shop", true),
            ("가게 — Shop №1", true),
            ("", false),
            ("   ", false),
            ("a\u{1b}[31m", false),
            ("line\nbreak", false),
            ("bank\u{202e}knab", false),
            ("a\u{2066}b", false),
            (&"가".repeat(128), true),
            (&"x".repeat(129), false),
        ] {
            assert_eq!(text.parse::<Name>().is_ok(), valid, "{text:?}");
        }
    }

    #[test]
    fn a_name_for_a_language_in_any_region() {
        let names = serde_json::json!({ "names": { "ko-KR": "가게", "fr": "Boutique" } });
        let about: About = serde_json::from_value(names).unwrap();
        assert_eq!(about.name_in("ko").map(Name::as_str), Some("가게"));
        assert_eq!(about.name_in("en"), None);
    }
}
