//! Which language somebody reads.

use std::cmp::Reverse;

/// The longest list of languages that is looked at, in bytes; what is beyond counts as not said.
const LIST_BYTES_MAX: usize = 512;

/// A language of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Locale {
    /// English.
    #[default]
    En,
    /// Korean.
    Ko,
}

/// What a request says about languages, the strongest first.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    /// The query parameter `ui_locales`: tags with spaces between (OpenID Connect Core 1.0, section 3.1.2.1).
    pub ui_locales: Option<&'a str>,
    /// The cookie [`Locale::COOKIE`].
    pub cookie: Option<&'a str>,
    /// The header `Accept-Language` (RFC 9110, section 12.5.4).
    pub accept_language: Option<&'a str>,
}

impl Locale {
    /// All of them, in the order of the switch.
    pub const ALL: [Self; 2] = [Self::En, Self::Ko];

    /// The cookie that remembers the choice.
    pub const COOKIE: &'static str = "symbolon-locale";

    /// The language tag (RFC 5646).
    pub const fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Ko => "ko",
        }
    }

    /// What the language calls itself.
    pub const fn own_name(self) -> &'static str {
        match self {
            Self::En => "English",
            Self::Ko => "한국어",
        }
    }

    /// The language of a tag, by its first part: `ko-KR` is Korean.
    pub fn of_tag(tag: &str) -> Option<Self> {
        let primary = tag.trim().split('-').next()?;
        Self::ALL.into_iter().find(|locale| locale.tag().eq_ignore_ascii_case(primary))
    }

    /// The language to answer in.
    ///
    /// ```
    /// use symbolon::ui::{Asked, Locale};
    /// let asked = Asked { accept_language: Some("fr, ko-KR;q=0.9, en;q=0.8"), ..Asked::default() };
    /// assert_eq!(Locale::negotiate(asked, Locale::En), Locale::Ko);
    /// ```
    pub fn negotiate(asked: Asked<'_>, default: Self) -> Self {
        let listed = |tags: &str| bounded(tags).split(' ').find_map(Self::of_tag);
        asked
            .ui_locales
            .and_then(listed)
            .or_else(|| asked.cookie.and_then(Self::of_tag))
            .or_else(|| asked.accept_language.and_then(|ranges| accepted(ranges, default)))
            .unwrap_or(default)
    }
}

/// The best of our languages in an `Accept-Language` list. `*` stands for the default; equal weights keep their order.
fn accepted(ranges: &str, default: Locale) -> Option<Locale> {
    let mut wanted: Vec<(u16, Locale)> = bounded(ranges)
        .split(',')
        .filter_map(|range| {
            let (tag, weight) = range.split_once(';').unwrap_or((range, "q=1"));
            let locale = if tag.trim() == "*" { Some(default) } else { Locale::of_tag(tag) };
            Some((thousandths(weight)?, locale?))
        })
        .filter(|(weight, _)| *weight > 0)
        .collect();
    wanted.sort_by_key(|(weight, _)| Reverse(*weight));
    wanted.first().map(|(_, locale)| *locale)
}

/// A weight such as `q=0.25`, in thousandths (RFC 9110, section 12.4.2).
fn thousandths(weight: &str) -> Option<u16> {
    let (name, value) = weight.trim().split_once('=')?;
    let (whole, part) = value.split_once('.').unwrap_or((value, ""));
    let valid = name.eq_ignore_ascii_case("q")
        && part.len() <= 3
        && part.bytes().all(|digit| digit.is_ascii_digit());
    match (valid, whole) {
        (true, "1") if part.bytes().all(|digit| digit == b'0') => Some(1000),
        (true, "0") => format!("{part:0<3}").parse().ok(),
        _ => None,
    }
}

fn bounded(list: &str) -> &str {
    &list[..list.floor_char_boundary(LIST_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strongest_wish_wins() {
        use Locale::{En, Ko};
        let long = format!("{}ko", "fr,".repeat(400));
        let cases = [
            ([None, None, None], En, En),
            ([None, None, None], Ko, Ko),
            ([Some("ko"), Some("en"), Some("en")], En, Ko),
            ([Some("fr ko-KR en"), None, None], En, Ko),
            ([Some("fr de"), Some("ko"), Some("en")], En, Ko),
            ([Some(""), Some("xx"), Some("ko")], En, Ko),
            ([None, Some("KO"), Some("en")], En, Ko),
            ([None, Some("<script>"), None], En, En),
            ([None, None, Some("ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7")], En, Ko),
            ([None, None, Some("en;q=0.5, ko;q=0.9")], En, Ko),
            ([None, None, Some("en;q=0.5,ko;q=0.50")], Ko, En),
            ([None, None, Some("ko;q=0, en;q=0.001")], Ko, En),
            ([None, None, Some("ko;q=0")], En, En),
            ([None, None, Some("fr, *;q=0.1")], Ko, Ko),
            ([None, None, Some("ko;q=1.5, en;q=0.1")], Ko, En),
            ([None, None, Some("ko;q=0.1234, en ; Q=0.1")], Ko, En),
            ([None, None, Some("ko;q=nan;x, ,;;,=,en")], Ko, En),
            ([None, None, Some("korean, koi, english")], En, En),
            ([None, None, Some(&long)], En, En),
            ([None, None, Some("가나다라")], Ko, Ko),
        ];
        for ([ui_locales, cookie, accept_language], default, answer) in cases {
            let asked = Asked { ui_locales, cookie, accept_language };
            assert_eq!(Locale::negotiate(asked, default), answer, "{asked:?}, default {default:?}");
        }
    }
}
