//! What all pages share: where they are mounted, whose they are, and the files they need.

use std::fmt::Write;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use symbolon_core::{client::Client, oauth::uri::PageUri};

use super::{Brand, Locale, brand, words::Words};

/// The `Cache-Control` of every [`Asset`]: its path names its content, so it never changes.
pub const ASSET_CACHE_CONTROL: &str = "public, max-age=31536000, immutable";

/// The `Content-Security-Policy` of every [`Asset`]: a logo that is opened by itself must not run anything here.
pub const ASSET_CSP: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox";

/// The `Content-Security-Policy` of a page. `form_origins` are those, beside our own, to which the answer to a form of
/// this very page may redirect: browsers check `form-action` against every hop.
///
/// The caller has validated them (the redirect URI of a registered client); what is no origin or scheme is left out
/// here, so that nothing can be smuggled into the header.
pub fn csp<S: AsRef<str>>(form_origins: &[S]) -> String {
    let mut policy = "default-src 'none'; style-src 'self'; img-src 'self' data:; \
                      frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
        .to_owned();
    let plain = |c: char| c.is_ascii_alphanumeric() || ":/.-+[]".contains(c);
    let origins = form_origins.iter().map(AsRef::as_ref);
    for origin in origins.filter(|it| it.contains(':') && it.chars().all(plain)) {
        policy.push(' ');
        policy.push_str(origin);
    }
    policy
}

/// The same for a page that loads applications of these origins in frames.
pub fn csp_framing(frame_origins: &[&str]) -> String {
    // The same characters are let through, in the same way.
    let (own, with) = (csp::<&str>(&[]), csp(frame_origins));
    format!("{own}; frame-src{}", &with[own.len()..])
}

/// The same for a page that sends its form by itself, with the one script that there is.
pub fn csp_sending<S: AsRef<str>>(form_origins: &[S]) -> String {
    format!("{}; script-src 'self'", csp(form_origins))
}

/// A file that pages refer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    /// Its path below the base path; it contains a digest of the content.
    pub path: String,
    /// Its `Content-Type`.
    pub content_type: &'static str,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// Where the pages are mounted, whose they are, and their files. Made once for each brand.
#[derive(Debug)]
pub struct Site {
    pub(super) base: String,
    pub(super) brand: Brand,
    style: Asset,
    brand_style: Asset,
    icon: Asset,
    send: Asset,
}

impl Site {
    /// The pages of a brand, mounted below `base`, which is the path of the public URL as the configuration has
    /// checked it: empty, or such as `/auth`.
    pub fn new(base: &str, brand: Brand) -> Self {
        let css = include_str!("../../assets/symbolon.css").to_owned();
        Self {
            base: base.trim_end_matches('/').to_owned(),
            style: asset("symbolon", "css", css),
            brand_style: asset("brand", "css", brand::stylesheet(&brand)),
            icon: asset("mark", "svg", brand::icon(&brand)),
            send: asset("send", "js", "document.forms[0].submit();\n".to_owned()),
            brand,
        }
    }

    /// The files that must be served, with [`ASSET_CACHE_CONTROL`] and [`ASSET_CSP`]. Sites of several brands share
    /// some; the same path is the same content.
    pub fn assets(&self) -> [&Asset; 4] {
        [&self.style, &self.brand_style, &self.icon, &self.send]
    }
}

fn asset(name: &str, extension: &str, text: String) -> Asset {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    let hash = URL_SAFE_NO_PAD.encode(&digest.as_ref()[..9]);
    let content_type = match extension {
        "svg" => "image/svg+xml",
        "js" => "text/javascript; charset=utf-8",
        _ => "text/css; charset=utf-8",
    };
    let path = format!("/assets/{name}-{hash}.{extension}");
    Asset { path, content_type, bytes: text.into_bytes() }
}

/// Who looks at a page, and where: the part that all views share.
#[derive(Debug, Clone)]
pub struct Page<'a> {
    pub(super) site: &'a Site,
    pub(super) words: &'static Words,
    /// A path with its query below the base path, always beginning with exactly one `/`.
    here: &'a str,
    pub(super) user: Option<&'a str>,
    /// The application of others that the page leads to.
    pub(super) app: Option<Elsewhere>,
}

/// An application of others: what it says of itself, each link with the host that it leads to.
#[derive(Debug, Clone)]
pub struct Elsewhere {
    pub(super) title: String,
    pub(super) policy: Option<PageUri>,
    pub(super) terms: Option<PageUri>,
}

impl Elsewhere {
    /// What a client says of itself, if it is none of ours and says anything.
    pub fn of(client: &Client, locale: Locale) -> Option<Self> {
        let (policy, terms) = (client.about.policy_uri.clone(), client.about.tos_uri.clone());
        let says = !client.first_party && (policy.is_some() || terms.is_some());
        says.then(|| Self { title: client.title_in(locale.tag()).to_owned(), policy, terms })
    }
}

impl<'a> Page<'a> {
    /// A page at `here`, a path with its query below the base path, at which a `GET` shows it again: the language
    /// switch leads there. `user` is the name of who is logged in.
    pub fn new(site: &'a Site, locale: Locale, here: &'a str, user: Option<&'a str>) -> Self {
        // `//host` and `/\host` lead away from here, and controls are dropped by browsers when they read an address.
        let local = here.starts_with('/')
            && !here[1..].starts_with(['/', '\\'])
            && !here.contains(char::is_control);
        Self {
            site,
            words: Words::of(locale),
            here: if local { here } else { "/" },
            user,
            app: None,
        }
    }

    /// The same page on the way to an application.
    #[must_use]
    pub fn towards(self, app: Option<Elsewhere>) -> Self {
        Self { app, ..self }
    }

    pub(super) const fn locale(&self) -> Locale {
        self.words.locale
    }

    /// A path below the base path, as a link or form needs it.
    pub(super) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.site.base)
    }

    /// A path with `next` as its query, when there is a `next`.
    pub(super) fn with_next(&self, path: &str, next: &str) -> String {
        let query =
            if next.is_empty() { String::new() } else { format!("?next={}", encoded(next)) };
        format!("{}{path}{query}", self.site.base)
    }

    /// This page in another language.
    pub(super) fn in_language(&self, locale: &Locale) -> String {
        let (path, query) = self.here.split_once('?').unwrap_or((self.here, ""));
        let mut link = format!("{}{path}?", self.site.base);
        let is_other = |pair: &&str| {
            !pair.is_empty() && *pair != "ui_locales" && !pair.starts_with("ui_locales=")
        };
        for pair in query.split('&').filter(is_other) {
            link.push_str(pair);
            link.push('&');
        }
        link + "ui_locales=" + locale.tag()
    }

    pub(super) fn style(&self) -> String {
        self.at(&self.site.style.path)
    }

    pub(super) fn brand_style(&self) -> String {
        self.at(&self.site.brand_style.path)
    }

    pub(super) fn send(&self) -> String {
        self.at(&self.site.send.path)
    }

    pub(super) fn icon(&self) -> String {
        self.at(&self.site.icon.path)
    }
}

/// RFC 3986, section 2.1: everything but the unreserved characters is escaped.
fn encoded(text: &str) -> String {
    let mut query = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            query.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(query, "%{byte:02X}");
        }
    }
    query
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_takes_origins_and_nothing_else() {
        let own = csp::<&str>(&[]);
        assert!(own.ends_with("form-action 'self'"), "{own}");
        assert!(!own.contains("unsafe"));
        let redirects =
            ["https://shop.example", "http://[::1]:8080", "com.example.app:", "http://127.0.0.1:1"];
        assert_eq!(csp(&redirects), format!("{own} {}", redirects.join(" ")));
        for bad in ["", "*", "https://*", "a:b;script-src *", "'unsafe-inline'", "a: b", "a:\r\nb"]
        {
            assert_eq!(csp(&[bad]), own, "{bad:?}");
        }
    }

    #[test]
    fn frames_are_of_the_named_origins_and_no_others() {
        let own = csp::<&str>(&[]);
        let two = ["https://shop.example", "https://blog.example:8443"];
        assert_eq!(csp_framing(&two), format!("{own}; frame-src {}", two.join(" ")));
        assert_eq!(csp_framing(&["*", "a:b; x"]), format!("{own}; frame-src"));
    }

    #[test]
    fn the_language_switch_stays_here() {
        let cases = [
            ("/", "/auth/?ui_locales=ko"),
            ("/login?next=%2Fa%26b", "/auth/login?next=%2Fa%26b&ui_locales=ko"),
            ("/login?ui_locales=en&x&&next=a", "/auth/login?x&next=a&ui_locales=ko"),
            ("/login?ui_locales&ui_locales_x=1", "/auth/login?ui_locales_x=1&ui_locales=ko"),
            ("//evil.example", "/auth/?ui_locales=ko"),
            ("/\\evil.example", "/auth/?ui_locales=ko"),
            ("/\t/evil.example", "/auth/?ui_locales=ko"),
            ("https://evil.example", "/auth/?ui_locales=ko"),
            ("", "/auth/?ui_locales=ko"),
        ];
        let (mounted, at_root) =
            (Site::new("/auth/", Brand::default()), Site::new("/", Brand::default()));
        for (here, link) in cases {
            assert_eq!(Page::new(&mounted, Locale::En, here, None).in_language(&Locale::Ko), link);
            let at_root = Page::new(&at_root, Locale::En, here, None).in_language(&Locale::Ko);
            assert_eq!(at_root, link.replacen("/auth", "", 1), "{here}");
        }
    }

    #[test]
    fn next_is_one_parameter_whatever_it_contains() {
        let site = Site::new("", Brand::default());
        let page = Page::new(&site, Locale::En, "/", None);
        assert_eq!(page.with_next("/login", ""), "/login");
        assert_eq!(
            page.with_next("/login", "/a?b=c&d#\"가"),
            "/login?next=/a%3Fb%3Dc%26d%23%22%EA%B0%80"
        );
    }

    #[test]
    fn assets_are_named_by_their_content() {
        let accent = Brand::new("Shop", None, "#b00".parse().unwrap(), vec![]).unwrap();
        let (a, b) = (Site::new("", Brand::default()), Site::new("/auth", accent));
        assert_eq!(a.style, b.style);
        assert_ne!(a.brand_style.path, b.brand_style.path);
        assert_ne!(a.icon.path, b.icon.path);
        assert!(a.assets().iter().all(|it| it.path.starts_with("/assets/")));
    }
}
