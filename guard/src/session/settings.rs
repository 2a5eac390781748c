//! What sessions are like: their cookie, their limits. Checked once, at the start.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue};
use symbolon_core::{secret::SecretText, session::Lifetimes};

use super::{Arrivals, secret::Keys};
use crate::{admit::Rules, store::AtMost};

/// The longest name of a session.
pub const NAME_BYTES_MAX: usize = 64;

/// What the sessions of a [`Sessions`](super::Sessions) layer are like. [`Settings::new`] says what each is by default.
///
/// ```
/// use symbolon_guard::{Rules, session::{Keys, Settings}};
/// let rules = Rules::new("https://shop.example")?;
/// let settings = Settings { name: "cart".to_owned(), ..Settings::new(rules, Keys::random()) };
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where browsers see the application, and whose pages may send unsafe requests.
    pub rules: Rules,
    /// The keys of what browsers hold.
    pub keys: Keys,
    /// The name of the session and its cookie: `session`. Browsers get it with the prefix that fits, which says that
    /// nobody else has set the cookie: `__Host-` with path `/` and without a domain, otherwise `__Secure-`; none on plain
    /// http. A name that begins with one of the prefixes of RFC 6265bis has to fit it.
    pub name: String,
    /// How a session travels: in a cookie.
    pub transport: Transport,
    /// `Domain`: none, so that only this host gets the cookie. With one, every host below it gets it and can set it.
    pub domain: Option<String>,
    /// `Path`: `/`.
    pub path: String,
    /// `SameSite`: `Lax`.
    pub same_site: SameSite,
    /// `Partitioned`: not. One cookie for each site that embeds this one.
    pub partitioned: bool,
    /// How long sessions live: visitors a day; logins 30 minutes of silence and 12 hours, those that are remembered 14
    /// and 30 days. The cookie of a session that is not remembered goes with the browser.
    pub lifetimes: Lifetimes,
    /// Whether a visitor's cookie outlives the browser, too, for as long as their session lives: not. For carts that are
    /// still there next week, with a longer [`visitor`](Lifetimes::visitor).
    pub remember_visitors: bool,
    /// How many sessions a user may have, unless a login says so itself: any number.
    pub at_most: Option<AtMost>,
    /// How large the data of a session may become, all keys and values together: 64 KiB.
    pub data_bytes_max: usize,
    /// How long a request waits for the store: 1 second. Then the answer is 503, at once for those that follow, until the
    /// store answers again.
    pub store_wait_max: Duration,
    /// Which requests need a same-origin proof: unsafe ones that a cookie carries.
    pub csrf: Csrf,
    /// Whose live sessions move here when their cookie is all that a request holds: nobody's.
    pub arrivals: Option<Arc<dyn Arrivals>>,
}

/// How a session travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// In a cookie.
    Cookie,
    /// In this header, in both directions. Browsers do not send it by themselves, so no request needs a same-origin
    /// proof.
    Header(HeaderName),
    /// In this header if the request has it, and otherwise in a cookie. The answer goes the way of the request.
    HeaderOrCookie(HeaderName),
}

/// The attribute of a cookie that says to which requests from other sites browsers attach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// Following a link attaches it.
    Lax,
    /// Nothing does.
    Strict,
    /// Everything does. For pages that others embed.
    None,
}

/// Which requests need a same-origin proof (`Sec-Fetch-Site` or `Origin`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Csrf {
    /// Unsafe ones that a cookie carries.
    Carried,
    /// All unsafe ones but those that the header carries: another site cannot log its visitor in as somebody else.
    /// Clients that are no browsers have to send `Origin`.
    Every,
}

/// Why there can be no such sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSettings {
    /// The name has other characters, is too long, or begins with a prefix that its cookie does not fit.
    #[error(
        "a session's name is 1 to {NAME_BYTES_MAX} letters, digits and -_. and fits its prefix"
    )]
    Name,
    /// The domain is not the public URL's host, nor one above it.
    #[error("the cookie's domain is the host of the public URL or a domain above it")]
    Domain,
    /// The path would not survive in a `Path` attribute.
    #[error("the cookie's path begins with / and has neither ; nor control characters")]
    Path,
    /// `SameSite=None` or `Partitioned` over plain http.
    #[error("browsers take SameSite=None and Partitioned over https only")]
    Insecure,
    /// A lifetime is shorter than a second, or an idle limit longer than its absolute one.
    #[error("a lifetime is a second or more, and an idle limit no longer than the absolute one")]
    Lifetimes,
}

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

impl Settings {
    /// The defaults.
    pub fn new(rules: Rules, keys: Keys) -> Self {
        Self {
            rules,
            keys,
            name: "session".to_owned(),
            transport: Transport::Cookie,
            domain: None,
            path: "/".to_owned(),
            same_site: SameSite::Lax,
            partitioned: false,
            lifetimes: Lifetimes {
                visitor: DAY,
                idle: 30 * MINUTE,
                absolute: DAY / 2,
                remembered_idle: 14 * DAY,
                remembered_absolute: 30 * DAY,
            },
            remember_visitors: false,
            at_most: None,
            data_bytes_max: 64 * 1024,
            store_wait_max: Duration::from_secs(1),
            csrf: Csrf::Carried,
            arrivals: None,
        }
    }

    /// The cookie, if all this fits together.
    pub(super) fn cookie(&self) -> Result<Cookie, InvalidSettings> {
        let origin = self.rules.layout().origin();
        let secure = origin.is_secure();
        if !secure && (self.partitioned || self.same_site == SameSite::None) {
            return Err(InvalidSettings::Insecure);
        }
        let lifetimes = &self.lifetimes;
        let second = Duration::from_secs(1);
        if lifetimes.visitor < second
            || lifetimes.idle < second
            || lifetimes.remembered_idle < second
            || lifetimes.idle > lifetimes.absolute
            || lifetimes.remembered_idle > lifetimes.remembered_absolute
        {
            return Err(InvalidSettings::Lifetimes);
        }
        let in_path = |b: u8| (b' '..0x7f).contains(&b) && b != b';';
        if !self.path.starts_with('/') || !self.path.bytes().all(in_path) {
            return Err(InvalidSettings::Path);
        }
        if self.domain.as_ref().is_some_and(|domain| !is_at_or_above(domain, origin.as_str())) {
            return Err(InvalidSettings::Domain);
        }
        let mut attributes = format!("; Path={}", self.path);
        if let Some(domain) = &self.domain {
            // Writing to a String cannot fail.
            let _ = write!(attributes, "; Domain={domain}");
        }
        attributes.push_str(match self.same_site {
            SameSite::Lax => "; HttpOnly; SameSite=Lax",
            SameSite::Strict => "; HttpOnly; SameSite=Strict",
            SameSite::None => "; HttpOnly; SameSite=None",
        });
        if secure {
            attributes.push_str("; Secure");
        }
        if self.partitioned {
            attributes.push_str("; Partitioned");
        }
        let for_this_host = self.domain.is_none() && self.path == "/";
        Ok(Cookie { name: cookie_name(&self.name, secure, for_this_host)?, attributes })
    }
}

/// The name with its prefix (RFC 6265bis, section 4.1.3; the `Http` ones are of the draft on layered cookies).
fn cookie_name(name: &str, secure: bool, for_this_host: bool) -> Result<String, InvalidSettings> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(fits) {
        return Err(InvalidSettings::Name);
    }
    if !name.starts_with("__") {
        let prefix = match (secure, for_this_host) {
            (false, _) => "",
            (true, true) => "__Host-",
            (true, false) => "__Secure-",
        };
        return Ok(format!("{prefix}{name}"));
    }
    let demands_host = |prefix: &str| prefix.starts_with("__Host-");
    let prefixes = ["__Host-Http-", "__Host-", "__Secure-", "__Http-"];
    let prefix = prefixes.into_iter().find(|prefix| name.starts_with(prefix));
    match prefix {
        Some(prefix) if name.len() > prefix.len() && secure => {
            let fits = for_this_host || !demands_host(prefix);
            if fits { Ok(name.to_owned()) } else { Err(InvalidSettings::Name) }
        }
        _ => Err(InvalidSettings::Name),
    }
}

/// Whether browsers take a cookie of this domain from this origin. That it is no public suffix they know themselves.
fn is_at_or_above(domain: &str, origin: &str) -> bool {
    let authority = origin.split_once("://").map_or("", |(_, authority)| authority);
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let of_names = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
    let is_name = domain.contains('.') && !domain.starts_with('.') && domain.bytes().all(of_names);
    let below = host.strip_suffix(domain);
    is_name && below.is_some_and(|below| below.is_empty() || below.ends_with('.'))
}

/// Writes the cookie.
#[derive(Debug)]
pub(super) struct Cookie {
    pub(super) name: String,
    attributes: String,
}

impl Cookie {
    /// Sets it, for so long or until the browser closes. `None` never happens: whatever was let in can be written.
    pub(super) fn set(&self, value: &SecretText, max_age: Option<Duration>) -> Option<HeaderValue> {
        let mut text = format!("{}={}{}", self.name, value.expose(), self.attributes);
        if let Some(max_age) = max_age {
            // Writing to a String cannot fail. Browsers keep nothing for more than 400 days.
            let _ = write!(text, "; Max-Age={}", max_age.min(400 * DAY).as_secs());
        }
        let mut header = HeaderValue::try_from(text).ok()?;
        header.set_sensitive(true);
        Some(header)
    }

    pub(super) fn clear(&self) -> Option<HeaderValue> {
        self.set(&SecretText::default(), Some(Duration::ZERO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str) -> Settings {
        Settings::new(Rules::new(url).unwrap(), Keys::random())
    }

    #[test]
    fn cookies_and_their_prefixes() {
        use InvalidSettings::{Domain, Insecure, Name, Path};
        const URL: &str = "https://www.shop.example:8443/base";
        const LOCAL: &str = "http://localhost:3000";
        type Edit = fn(&mut Settings);
        let cases: &[(&str, Edit, Result<&str, InvalidSettings>)] = &[
            (URL, |_| {}, Ok("__Host-session=v; Path=/; HttpOnly; SameSite=Lax; Secure")),
            (LOCAL, |_| {}, Ok("session=v; Path=/; HttpOnly; SameSite=Lax")),
            (
                URL,
                |s| s.path = "/cart".to_owned(),
                Ok("__Secure-session=v; Path=/cart; HttpOnly; SameSite=Lax; Secure"),
            ),
            (
                URL,
                |s| s.domain = Some("shop.example".to_owned()),
                Ok(
                    "__Secure-session=v; Path=/; Domain=shop.example; HttpOnly; SameSite=Lax; Secure",
                ),
            ),
            (
                URL,
                |s| {
                    s.name = "__Host-Http-id".to_owned();
                    s.same_site = SameSite::None;
                    s.partitioned = true;
                },
                Ok("__Host-Http-id=v; Path=/; HttpOnly; SameSite=None; Secure; Partitioned"),
            ),
            (
                URL,
                |s| {
                    s.name = "__Secure-id".to_owned();
                    s.same_site = SameSite::Strict;
                },
                Ok("__Secure-id=v; Path=/; HttpOnly; SameSite=Strict; Secure"),
            ),
            (URL, |s| s.name = String::new(), Err(Name)),
            (URL, |s| s.name = "a;b".to_owned(), Err(Name)),
            (URL, |s| s.name = "n".repeat(65), Err(Name)),
            (URL, |s| s.name = "__host-id".to_owned(), Err(Name)),
            (URL, |s| s.name = "__Host-".to_owned(), Err(Name)),
            (URL, |s| s.name = "__id".to_owned(), Err(Name)),
            (LOCAL, |s| s.name = "__Host-id".to_owned(), Err(Name)),
            (LOCAL, |s| s.name = "__Secure-id".to_owned(), Err(Name)),
            (
                URL,
                |s| {
                    s.name = "__Host-id".to_owned();
                    s.path = "/cart".to_owned();
                },
                Err(Name),
            ),
            (
                URL,
                |s| {
                    s.name = "__Host-id".to_owned();
                    s.domain = Some("shop.example".to_owned());
                },
                Err(Name),
            ),
            (URL, |s| s.domain = Some("example".to_owned()), Err(Domain)),
            (URL, |s| s.domain = Some(".shop.example".to_owned()), Err(Domain)),
            (URL, |s| s.domain = Some("op.example".to_owned()), Err(Domain)),
            (URL, |s| s.domain = Some("other.example".to_owned()), Err(Domain)),
            (URL, |s| s.domain = Some("a.www.shop.example".to_owned()), Err(Domain)),
            (URL, |s| s.domain = Some("shop.example; Path=/".to_owned()), Err(Domain)),
            (URL, |s| s.path = "cart".to_owned(), Err(Path)),
            (URL, |s| s.path = "/; Domain=evil.example".to_owned(), Err(Path)),
            (URL, |s| s.path = "/\r\nSet-Cookie: a".to_owned(), Err(Path)),
            (LOCAL, |s| s.same_site = SameSite::None, Err(Insecure)),
            (LOCAL, |s| s.partitioned = true, Err(Insecure)),
        ];
        for (url, edit, expected) in cases {
            let mut settings = settings(url);
            edit(&mut settings);
            let value = SecretText::new("v".to_owned());
            let found = settings.cookie().map(|cookie| cookie.set(&value, None).unwrap());
            let found = found.as_ref().map(|header| header.to_str().unwrap());
            assert_eq!(found, expected.as_ref().copied(), "{settings:?}");
        }
    }

    #[test]
    fn ages() {
        let cookie = settings("http://localhost").cookie().unwrap();
        let value = SecretText::new("s3cret".to_owned());
        for (max_age, expected) in [
            (Some(DAY), "; Max-Age=86400"),
            (Some(1000 * DAY), "; Max-Age=34560000"),
            (None, "; SameSite=Lax"),
        ] {
            let header = cookie.set(&value, max_age).unwrap();
            assert!(header.to_str().unwrap().ends_with(expected), "{max_age:?}");
            assert!(!format!("{header:?}").contains("s3cret"));
        }
        let expected = "session=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0";
        assert_eq!(cookie.clear().unwrap().to_str().unwrap(), expected);
    }

    #[test]
    fn lifetimes_make_sense() {
        let edits: [fn(&mut Lifetimes); 4] = [
            |lives| lives.visitor = Duration::ZERO,
            |lives| lives.idle = Duration::from_millis(999),
            |lives| lives.idle = 2 * lives.absolute,
            |lives| lives.remembered_absolute = lives.remembered_idle - MINUTE,
        ];
        for edit in edits {
            let mut settings = settings("http://localhost");
            edit(&mut settings.lifetimes);
            assert_eq!(settings.cookie().err(), Some(InvalidSettings::Lifetimes));
        }
    }
}
