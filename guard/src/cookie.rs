//! Cookies: their names and attributes for one public URL, strict reading, and writing that cannot go wrong.
//!
//! | | session cookie | access token in a cookie | refresh token in a cookie |
//! |---|---|---|---|
//! | `https` | `__Host-symbolon` | `__Host-symbolon-access` | `__Secure-symbolon-refresh` |
//! | `http` on this machine | `symbolon` | `symbolon-access` | `symbolon-refresh` |
//! | `Path` | `/` | `/` | the refresh route |
//!
//! All are `HttpOnly; SameSite=Lax`, and `Secure` under `https`. The `__Host-` prefix keeps a sister domain from
//! planting a cookie; browsers demand `Secure`, `Path=/` and no `Domain` for it (RFC 6265bis, section 4.1.3), so a
//! cookie whose path is narrower has `__Secure-`.

use std::{fmt::Write as _, time::Duration};

use http::{HeaderMap, HeaderValue, header::COOKIE};
use symbolon_core::{
    csrf::{InvalidOrigin, Origin},
    secret::SecretText,
};

/// The most bytes of `Cookie` headers that are read. Browsers send less; servers commonly take 8 to 16 KiB of headers.
pub const COOKIES_BYTES_MAX: usize = 16 * 1024;
/// The most cookies that are read in one request.
pub const COOKIES_MAX: usize = 100;

/// One of the cookies that Symbolon sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cookie {
    /// Proves the session.
    Session,
    /// An access token that scripts cannot read.
    Access,
    /// A refresh token that reaches the refresh route only.
    Refresh,
}

impl Cookie {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Session, Self::Access, Self::Refresh];

    const fn names(self) -> [&'static str; 2] {
        match self {
            Self::Session => ["symbolon", "__Host-symbolon"],
            Self::Access => ["symbolon-access", "__Host-symbolon-access"],
            Self::Refresh => ["symbolon-refresh", "__Secure-symbolon-refresh"],
        }
    }
}

/// Why a public URL cannot have cookies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPublicUrl {
    /// See [`InvalidOrigin`].
    #[error(transparent)]
    Origin(#[from] InvalidOrigin),
    /// Cookies over plain http are open to everybody on the way.
    #[error("plain http is for localhost only: give the https URL that browsers use")]
    Insecure,
    /// The path would not survive in a `Path` attribute.
    #[error("the path of a public URL is segments of A-Z a-z 0-9 . _ ~ - without a query")]
    Path,
}

/// A cookie's value had bytes that no cookie can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a cookie value is made of letters, digits and -._~+/=")]
pub struct InvalidValue;

/// What browsers see us as: our origin, the path we live under, and with that the name and the attributes of every
/// cookie. All is derived from the public URL.
///
/// ```
/// use symbolon_core::secret::SecretText;
/// use symbolon_guard::cookie::{Cookie, Layout};
/// let layout = Layout::of("https://shop.example/auth")?;
/// let value = SecretText::new("symr_example".to_owned());
/// assert_eq!(
///     layout.set(Cookie::Refresh, &value, None)?,
///     "__Secure-symbolon-refresh=symr_example; Path=/auth/api/v1/refresh; HttpOnly; SameSite=Lax; Secure",
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Layout {
    origin: Origin,
    base: Box<str>,
    cleared: [HeaderValue; 3],
}

impl Layout {
    /// The layout for a public URL such as `https://shop.example` or `https://shop.example/auth`.
    ///
    /// # Errors
    /// [`InvalidPublicUrl`] says what to write instead.
    pub fn of(public_url: &str) -> Result<Self, InvalidPublicUrl> {
        let (origin, base) = Origin::split(public_url)?;
        if !origin.is_secure() && !origin.is_loopback() {
            return Err(InvalidPublicUrl::Insecure);
        }
        let is_segment = |segment: &str| {
            !matches!(segment, "" | "." | "..")
                && segment
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'~' | b'-'))
        };
        if !base.split('/').skip(1).all(is_segment) {
            return Err(InvalidPublicUrl::Path);
        }
        let placeholder = HeaderValue::from_static("");
        let cleared = [placeholder.clone(), placeholder.clone(), placeholder];
        let mut layout = Self { origin, base: base.into(), cleared };
        for cookie in Cookie::ALL {
            let text = layout.write(cookie, "", Some(Duration::ZERO));
            layout.cleared[cookie as usize] =
                HeaderValue::try_from(text).map_err(|_| InvalidPublicUrl::Path)?;
        }
        Ok(layout)
    }

    /// The origin that browsers see us under.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The path that all our routes begin with: empty, or `/auth`.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The name of a cookie.
    pub fn name(&self, cookie: Cookie) -> &'static str {
        cookie.names()[usize::from(self.origin.is_secure())]
    }

    /// The `Set-Cookie` header that sets a cookie, for `max_age` or until the browser closes. The value is marked
    /// sensitive, so that logs of headers leave it out.
    ///
    /// # Errors
    /// [`InvalidValue`]; handles and access tokens never cause it.
    pub fn set(
        &self,
        cookie: Cookie,
        value: &SecretText,
        max_age: Option<Duration>,
    ) -> Result<HeaderValue, InvalidValue> {
        if value.expose().is_empty() || !value.expose().bytes().all(is_credential_byte) {
            return Err(InvalidValue);
        }
        let text = self.write(cookie, value.expose(), max_age);
        let mut header = HeaderValue::try_from(text).map_err(|_| InvalidValue)?;
        header.set_sensitive(true);
        Ok(header)
    }

    /// The `Set-Cookie` header that removes a cookie.
    pub fn clear(&self, cookie: Cookie) -> HeaderValue {
        self.cleared[cookie as usize].clone()
    }

    fn write(&self, cookie: Cookie, value: &str, max_age: Option<Duration>) -> String {
        let mut text = format!("{}={value}; Path=", self.name(cookie));
        match cookie {
            Cookie::Session | Cookie::Access => text.push('/'),
            Cookie::Refresh => {
                text.push_str(&self.base);
                text.push_str("/api/v1/refresh");
            }
        }
        text.push_str("; HttpOnly; SameSite=Lax");
        if self.origin.is_secure() {
            text.push_str("; Secure");
        }
        if let Some(max_age) = max_age {
            // Writing to a String cannot fail.
            let _ = write!(text, "; Max-Age={}", max_age.as_secs());
        }
        text
    }

    /// Finds our cookies among those of a request, wherever they stand in however many `Cookie` headers (HTTP/2 sends
    /// one each). Cookies of others may be as they like.
    ///
    /// # Errors
    /// [`InvalidCookies`]: too much to read, or one of our names came twice. Then somebody planted one of the two, and
    /// choosing would be guessing.
    pub fn read<'h>(&self, headers: &'h HeaderMap) -> Result<Cookies<'h>, InvalidCookies> {
        let mut found = Cookies::default();
        each(headers, |name, value| self.take(name, value, &mut found))?;
        Ok(found)
    }

    fn take<'h>(
        &self,
        name: &[u8],
        value: &'h [u8],
        found: &mut Cookies<'h>,
    ) -> Result<(), InvalidCookies> {
        let ours = Cookie::ALL.into_iter().find(|cookie| self.name(*cookie).as_bytes() == name);
        match ours {
            Some(cookie) if found.values[cookie as usize].replace(value).is_some() => {
                Err(InvalidCookies::Repeated(cookie))
            }
            _ => Ok(()),
        }
    }
}

/// Looks at name and value of every cookie of a request, in however many `Cookie` headers. A cookie without a name
/// counts as one without a value: it is serialised as its value alone.
pub(crate) fn each<'h>(
    headers: &'h HeaderMap,
    mut look: impl FnMut(&'h [u8], &'h [u8]) -> Result<(), InvalidCookies>,
) -> Result<(), InvalidCookies> {
    let (mut bytes, mut pairs) = (0, 0);
    for header in headers.get_all(COOKIE) {
        bytes += header.len();
        if bytes > COOKIES_BYTES_MAX {
            return Err(InvalidCookies::TooLarge);
        }
        for pair in header.as_bytes().split(|b| *b == b';') {
            pairs += 1;
            if pairs > COOKIES_MAX {
                return Err(InvalidCookies::TooLarge);
            }
            let pair = trim(pair);
            let at = pair.iter().position(|b| *b == b'=').unwrap_or(pair.len());
            look(&pair[..at], pair.get(at + 1..).unwrap_or_default())?;
        }
    }
    Ok(())
}

/// Our cookies of one request, as they were sent.
#[derive(Clone, Copy, Default)]
pub struct Cookies<'h> {
    values: [Option<&'h [u8]>; 3],
}

impl std::fmt::Debug for Cookies<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let present = Cookie::ALL.into_iter().filter(|cookie| self.is_present(*cookie));
        f.debug_set().entries(present).finish()
    }
}

impl Cookies<'_> {
    /// Whether a cookie was sent, whatever its value.
    pub fn is_present(&self, cookie: Cookie) -> bool {
        self.values[cookie as usize].is_some()
    }

    /// The value of a cookie. `None` when it was not sent, or when its value is nothing that we ever set.
    pub fn get(&self, cookie: Cookie) -> Option<SecretText> {
        credential(self.values[cookie as usize]?)
    }
}

/// Why the cookies of a request are not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCookies {
    /// Over [`COOKIES_BYTES_MAX`] or [`COOKIES_MAX`].
    #[error("more than {COOKIES_BYTES_MAX} bytes of cookies, or more than {COOKIES_MAX} of them")]
    TooLarge,
    /// Several cookies have one of our names.
    #[error("the cookie was sent more than once")]
    Repeated(Cookie),
}

/// The most bytes of a session cookie, an access token or a refresh token. Browsers keep 4 KiB of a cookie.
pub const CREDENTIAL_BYTES_MAX: usize = 8 * 1024;

/// Takes the text of a credential if it can be one: 1 to [`CREDENTIAL_BYTES_MAX`] bytes of RFC 6750's `b64token`.
pub(crate) fn credential(bytes: &[u8]) -> Option<SecretText> {
    let fits = !bytes.is_empty() && bytes.len() <= CREDENTIAL_BYTES_MAX;
    let text = std::str::from_utf8(bytes).ok()?;
    (fits && bytes.iter().copied().all(is_credential_byte))
        .then(|| SecretText::new(text.to_owned()))
}

const fn is_credential_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
}

/// Only what RFC 9110 calls white space: a wider notion lets `\u{a0}__Host-name` pass for `__Host-name`.
fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(COOKIE, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    #[test]
    fn public_urls() {
        for (url, expected) in [
            ("https://shop.example", Ok(("https://shop.example", "", "__Host-symbolon"))),
            ("https://shop.example/", Ok(("https://shop.example", "", "__Host-symbolon"))),
            ("https://shop.example/a/b/", Ok(("https://shop.example", "/a/b", "__Host-symbolon"))),
            ("http://localhost:8080/auth", Ok(("http://localhost:8080", "/auth", "symbolon"))),
            ("http://127.0.0.1:8080", Ok(("http://127.0.0.1:8080", "", "symbolon"))),
            ("http://shop.example", Err(InvalidPublicUrl::Insecure)),
            ("http://localhost.evil.example", Err(InvalidPublicUrl::Insecure)),
            ("shop.example", Err(InvalidPublicUrl::Origin(InvalidOrigin))),
            ("https://Shop.example", Err(InvalidPublicUrl::Origin(InvalidOrigin))),
            ("https://shop.example?x=1", Err(InvalidPublicUrl::Origin(InvalidOrigin))),
            ("https://shop.example/a?x=1", Err(InvalidPublicUrl::Path)),
            ("https://shop.example/a;b", Err(InvalidPublicUrl::Path)),
            ("https://shop.example/a//b", Err(InvalidPublicUrl::Path)),
            ("https://shop.example/a/../b", Err(InvalidPublicUrl::Path)),
            ("https://shop.example/a\r\nb", Err(InvalidPublicUrl::Path)),
        ] {
            let layout = Layout::of(url);
            let found = layout
                .as_ref()
                .map(|l| (l.origin().as_str(), l.base(), l.name(Cookie::Session)))
                .map_err(|error| *error);
            assert_eq!(found, expected, "{url}");
        }
    }

    #[test]
    fn prefixes_keep_their_rules() {
        for url in ["https://shop.example", "https://shop.example/auth", "http://localhost:1/auth"]
        {
            let layout = Layout::of(url).unwrap();
            for cookie in Cookie::ALL {
                let value = SecretText::new("v".to_owned());
                for header in [
                    layout.set(cookie, &value, Some(Duration::from_secs(60))).unwrap(),
                    layout.clear(cookie),
                ] {
                    let text = header.to_str().unwrap();
                    assert!(text.contains("; HttpOnly; SameSite=Lax"), "{text}");
                    assert!(!text.contains("Domain"), "{text}");
                    assert_eq!(text.contains("; Secure"), url.starts_with("https"), "{text}");
                    assert_eq!(text.starts_with("__"), url.starts_with("https"), "{text}");
                    if text.starts_with("__Host-") {
                        assert!(text.contains("; Path=/; "), "{text}");
                    }
                }
                assert!(layout.clear(cookie).to_str().unwrap().ends_with("; Max-Age=0"));
            }
        }
    }

    #[test]
    fn a_value_cannot_add_an_attribute() {
        let layout = Layout::of("https://shop.example").unwrap();
        for value in
            ["", "a; Domain=evil.example", "a b", "a\r\nSet-Cookie: b", "a,b", "\"a\"", "é"]
        {
            let value = SecretText::new(value.to_owned());
            assert_eq!(layout.set(Cookie::Session, &value, None), Err(InvalidValue));
        }
    }

    #[test]
    fn reading() {
        use InvalidCookies::{Repeated, TooLarge};
        let layout = Layout::of("https://shop.example").unwrap();
        let many = "a=b;".repeat(COOKIES_MAX + 1);
        let large = format!("a={}", "b".repeat(COOKIES_BYTES_MAX));
        let half = format!("a={}", "b".repeat(COOKIES_BYTES_MAX / 2));
        let own = b"__Host-symbolon=v".as_slice();
        type Found = Result<Option<&'static str>, InvalidCookies>;
        let cases: &[(&[&[u8]], Found)] = &[
            (&[], Ok(None)),
            (&[b""], Ok(None)),
            (&[own], Ok(Some("v"))),
            (&[b"a=b; __Host-symbolon=v; c=d"], Ok(Some("v"))),
            (&[b"a=b;__Host-symbolon=v;c=d"], Ok(Some("v"))),
            (&[b"a=b", own], Ok(Some("v"))),
            (&[b"\xff=\xfe; ;=; ==;x", own], Ok(Some("v"))),
            (&[b"__Host-symbolon=a=b"], Ok(Some("a=b"))),
            (&[b"__host-symbolon=v"], Ok(None)),
            (&[b"symbolon=v"], Ok(None)),
            (&[b"\xa0__Host-symbolon=v"], Ok(None)),
            (&[b"__Host-symbolon =v"], Ok(None)),
            (&[b"__Host-symbolon"], Ok(None)),
            (&[b"__Host-symbolon="], Ok(None)),
            (&[b"__Host-symbolon=\"v\""], Ok(None)),
            (&[b"__Host-symbolon=v w"], Ok(None)),
            (&[b"__Host-symbolon=\xff"], Ok(None)),
            (&[own, own], Err(Repeated(Cookie::Session))),
            (&[b"__Host-symbolon=v; __Host-symbolon=w"], Err(Repeated(Cookie::Session))),
            (&[b"__Host-symbolon=v; __Host-symbolon"], Err(Repeated(Cookie::Session))),
            // A cookie with an empty name is serialised as its value alone.
            (&[b"__Host-symbolon=evil", own], Err(Repeated(Cookie::Session))),
            (&[many.as_bytes()], Err(TooLarge)),
            (&[large.as_bytes()], Err(TooLarge)),
            (&[half.as_bytes(), half.as_bytes()], Err(TooLarge)),
        ];
        for (sent, expected) in cases {
            let headers = headers(sent);
            let found = layout.read(&headers).map(|cookies| cookies.get(Cookie::Session));
            let found = found.as_ref().map(|v| v.as_ref().map(SecretText::expose));
            assert_eq!(found, expected.as_ref().map(|v| *v), "{sent:?}");
        }
    }

    #[test]
    fn values_are_not_printed() {
        let layout = Layout::of("https://shop.example").unwrap();
        let headers = headers(&[b"__Host-symbolon=s3cret"]);
        assert_eq!(format!("{:?}", layout.read(&headers).unwrap()), "{Session}");
        let value = SecretText::new("s3cret".to_owned());
        let set = layout.set(Cookie::Session, &value, None).unwrap();
        assert!(!format!("{set:?}").contains("s3cret"));
    }
}
