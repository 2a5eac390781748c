//! The request that a check is about, as the proxy tells of it.

use http::{HeaderName, Method, Uri, header::HOST, request::Parts};
use symbolon_guard::{Rules, cookie::InvalidPublicUrl};

use super::path::{InvalidPath, StrictPath};
use crate::config::forward::{Headers, host_of};

/// Where checks are asked for.
pub const CHECK: &str = "/check";

const ORIGINAL: [HeaderName; 3] = [
    HeaderName::from_static("x-original-method"),
    HeaderName::from_static("x-original-uri"),
    HeaderName::from_static("x-original-host"),
];
const FORWARDED: [HeaderName; 3] = [
    HeaderName::from_static("x-forwarded-method"),
    HeaderName::from_static("x-forwarded-uri"),
    HeaderName::from_static("x-forwarded-host"),
];
const UPGRADE: HeaderName = http::header::UPGRADE;
const WEBSOCKET_KEY: HeaderName = http::header::SEC_WEBSOCKET_KEY;

/// Why it is not known what the check is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unclear {
    /// The proxy's header is missing, doubled or no text; or it is no method. The proxy is not set up as `headers` says.
    #[error("the proxy does not tell the original {0}, or tells it more than once")]
    Told(&'static str),
    /// None of the configured origins has this host.
    #[error("no application has this host")]
    Host,
    /// See [`InvalidPath`].
    #[error(transparent)]
    Path(#[from] InvalidPath),
}

/// An application behind the proxy.
#[derive(Debug, Clone)]
pub struct Site {
    /// Its origin.
    pub origin: String,
    /// Which cookies are ours there, and whose requests are its own.
    pub rules: Rules,
}

impl Site {
    /// The site of an origin.
    ///
    /// # Errors
    /// [`InvalidPublicUrl`].
    pub fn new(origin: &str) -> Result<Self, InvalidPublicUrl> {
        Ok(Self { origin: origin.to_owned(), rules: Rules::new(origin)? })
    }

    /// Whether it is meant by this `Host`. The scheme's own port may be written or not.
    fn has_host(&self, host: &str) -> bool {
        let own = host_of(&self.origin);
        let port = if self.origin.starts_with("https:") { ":443" } else { ":80" };
        let without_port = host.strip_suffix(port).filter(|host| !host.ends_with(':'));
        [Some(host), without_port].into_iter().flatten().any(|host| host.eq_ignore_ascii_case(own))
    }
}

/// The site that has the one `Host` of a request.
///
/// # Errors
/// [`Unclear`].
pub fn site_of(sites: &[Site], host: &str) -> Result<usize, Unclear> {
    sites.iter().position(|site| site.has_host(host)).ok_or(Unclear::Host)
}

/// A header that stands exactly once.
///
/// # Errors
/// [`Unclear::Told`].
pub fn told<'r>(
    request: &'r Parts,
    name: &HeaderName,
    what: &'static str,
) -> Result<&'r str, Unclear> {
    let mut values = request.headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().map_err(|_| Unclear::Told(what)),
        _ => Err(Unclear::Told(what)),
    }
}

/// The request that a check is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original {
    /// The position of its site.
    pub site: usize,
    /// Its method.
    pub method: Method,
    /// Its path.
    pub path: StrictPath,
    /// Its path and query as they were sent.
    pub target: String,
}

impl Original {
    /// Reads it out of the request for a check.
    ///
    /// # Errors
    /// [`Unclear`]: nothing is guessed, neither from other headers nor from the check itself.
    pub fn of(headers: Headers, sites: &[Site], check: &Parts) -> Result<Self, Unclear> {
        let [method, target, host] = match headers {
            Headers::Request => {
                let target = target_after(&check.uri).ok_or(Unclear::Told("path"))?;
                [check.method.as_str(), target, told(check, &HOST, "host")?]
            }
            Headers::XOriginal => tell(check, &ORIGINAL)?,
            Headers::XForwarded => tell(check, &FORWARDED)?,
        };
        Ok(Self {
            site: site_of(sites, host)?,
            method: method.parse().map_err(|_| Unclear::Told("method"))?,
            path: StrictPath::parse(target)?,
            target: target.to_owned(),
        })
    }

    /// Makes the check look like the original, for the guard. A WebSocket handshake is one even if the proxy took its
    /// `Upgrade` away: browsers send cookies along with those of other sites, so it counts as unsafe.
    pub fn apply_to(&self, check: &mut Parts) {
        check.method = self.method.clone();
        // What a proof of a token's key was signed for. A strict path is a URI.
        if let Ok(uri) = self.target.parse() {
            check.uri = uri;
        }
        if check.headers.contains_key(WEBSOCKET_KEY) {
            check.headers.insert(UPGRADE, http::HeaderValue::from_static("websocket"));
        }
    }
}

fn tell<'r>(
    check: &'r Parts,
    [method, uri, host]: &[HeaderName; 3],
) -> Result<[&'r str; 3], Unclear> {
    Ok([told(check, method, "method")?, told(check, uri, "path")?, told(check, host, "host")?])
}

fn target_after(uri: &Uri) -> Option<&str> {
    uri.path_and_query()?.as_str().strip_prefix(CHECK)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    type Told<'a> = &'a [(&'a str, &'a str)];
    /// Site, method and path.
    type Read<'a> = Result<(usize, &'a str, &'a str), Unclear>;

    #[track_caller]
    fn check(headers: Headers, uri: &str, given: Told<'_>, expected: Read<'_>) {
        let sites =
            ["https://shop.example", "http://localhost:3000"].map(|url| Site::new(url).unwrap());
        let mut request = Request::get(uri);
        for (name, value) in given {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let original = Original::of(headers, &sites, &parts);
        let original = original.as_ref().map(|o| (o.site, o.method.as_str(), o.path.as_str()));
        assert_eq!(original.map_err(|why| *why), expected, "{uri} {given:?}");
    }

    #[test]
    fn nothing_is_guessed() {
        use Headers::*;
        const M: (&str, &str) = ("x-original-method", "PUT");
        const U: (&str, &str) = ("x-original-uri", "/a?b");
        const H: (&str, &str) = ("x-original-host", "shop.example");
        const FM: (&str, &str) = ("x-forwarded-method", "POST");
        const FU: (&str, &str) = ("x-forwarded-uri", "/f");
        const FH: (&str, &str) = ("x-forwarded-host", "localhost:3000");
        let told = |what| Err(Unclear::Told(what));
        let cases: &[(Headers, &str, Told<'_>, Read<'_>)] = &[
            (XOriginal, "/check", &[M, U, H], Ok((0, "PUT", "/a"))),
            (XForwarded, "/check", &[FM, FU, FH], Ok((1, "POST", "/f"))),
            // Each reads its own only; the other's could be the client's.
            (XOriginal, "/check", &[M, U, H, FM, FU, FH], Ok((0, "PUT", "/a"))),
            (XForwarded, "/check", &[M, U, H, FM, FU, FH], Ok((1, "POST", "/f"))),
            (XOriginal, "/check", &[FM, FU, FH], told("method")),
            (XOriginal, "/check", &[U, H], told("method")),
            (XOriginal, "/check", &[M, H], told("path")),
            (XOriginal, "/check", &[M, U], told("host")),
            (XOriginal, "/check", &[M, U, H, ("host", "shop.example"), U], told("path")),
            (XOriginal, "/check", &[M, M, U, H], told("method")),
            (XOriginal, "/check", &[M, U, H, H], told("host")),
            (XOriginal, "/check", &[("x-original-method", "GET, POST"), U, H], told("method")),
            (XOriginal, "/check", &[("x-original-method", ""), U, H], told("method")),
            (XOriginal, "/check", &[M, ("x-original-uri", "/caf\u{e9}"), H], told("path")),
            (XOriginal, "/check", &[M, ("x-original-uri", ""), H], Err(InvalidPath::Form.into())),
            (XOriginal, "/check", &[M, U, ("x-original-host", "evil.example")], Err(Unclear::Host)),
            (
                XOriginal,
                "/check",
                &[M, U, ("x-original-host", "shop.example, evil")],
                Err(Unclear::Host),
            ),
            (XOriginal, "/check", &[M, U, ("x-original-host", "")], Err(Unclear::Host)),
            (
                XOriginal,
                "/check",
                &[M, U, ("x-original-host", "SHOP.example:443")],
                Ok((0, "PUT", "/a")),
            ),
            (
                XOriginal,
                "/check",
                &[M, U, ("x-original-host", "shop.example:80")],
                Err(Unclear::Host),
            ),
            (XOriginal, "/check", &[M, U, ("x-original-host", "localhost")], Err(Unclear::Host)),
            (Request, "/check/a/b?c", &[("host", "shop.example")], Ok((0, "GET", "/a/b"))),
            (Request, "/check/", &[("host", "shop.example")], Ok((0, "GET", "/"))),
            (Request, "/check", &[("host", "shop.example")], Err(InvalidPath::Form.into())),
            (
                Request,
                "/check/a",
                &[("host", "shop.example"), ("host", "localhost:3000")],
                told("host"),
            ),
            (Request, "/check/a", &[], told("host")),
            (
                Request,
                "/check//a",
                &[("host", "shop.example")],
                Err(InvalidPath::EmptySegment.into()),
            ),
            (
                Request,
                "/check/a/../b",
                &[("host", "shop.example")],
                Err(InvalidPath::DotSegment.into()),
            ),
        ];
        for (headers, uri, given, expected) in cases {
            check(*headers, uri, given, *expected);
        }
    }
}
