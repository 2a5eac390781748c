//! How one value is read: from a TOML value to the type that the server works with.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use serde::Deserialize;
use symbolon_core::{
    client::{BrowserAccess, ClientId, ClientJwks, ClientKind, InvalidJwksUri, JwksUri},
    csrf::Origin,
    keys::Algorithm,
    limit::Quota,
    logout_uri::{LogoutUri, PostLogoutUri},
    oauth::{grant::GrantType, jwk::InvalidKeys, uri::ApplicationType},
    scope::Scope,
    session::Assurance,
    subject::{InvalidSectorUri, SectorUri, SubjectType},
    token::{TokenFormat, TokenType},
};
use symbolon_guard::follow::{Dial, Without};
use toml::Value;

use super::{
    DatabaseUrl, Forwarded, LogFormat, LogLevel, PublicUrl, Registration, SecretSha256,
    forward::{Access, Headers, HttpMethod, RulePath},
};
use crate::{
    listen::Network,
    ui::{Colour, Link, Locale},
};

/// The most values of one list.
const LIST_MAX: usize = 256;
/// The longest span that can be set; longer ones are a slip of the pen.
const SPAN_MAX: Duration = Duration::from_hours(24 * 366 * 10);

/// What a value looks like in TOML. A variable or a flag is text, and is taken for this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A string.
    Text,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// A list of strings; in a variable, with commas between.
    List,
    /// Tables; they can stand in the file only.
    Tables,
}

/// A type that settings have.
pub trait FromValue: Sized {
    /// What it is called in the reference.
    const NAME: &'static str;
    /// How it is written.
    const EXAMPLE: &'static str;
    /// How it stands in TOML.
    const SHAPE: Shape = Shape::Text;

    /// Reads a value.
    ///
    /// # Errors
    /// What is wrong with it, without the value: it may be a secret.
    fn from_value(value: &Value) -> Result<Self, String>;

    /// What it is when nobody says anything and there is no default.
    fn missing() -> Option<Self> {
        None
    }
}

fn wrong(expected: &str, found: &Value) -> String {
    format!("expected {expected}, found {}", article(found.type_str()))
}

fn article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {kind}")
}

fn text<'v>(value: &'v Value, expected: &str) -> Result<&'v str, String> {
    value.as_str().ok_or_else(|| wrong(expected, value))
}

impl<T: FromValue> FromValue for Option<T> {
    const NAME: &'static str = T::NAME;
    const EXAMPLE: &'static str = T::EXAMPLE;
    const SHAPE: Shape = T::SHAPE;

    fn from_value(value: &Value) -> Result<Self, String> {
        T::from_value(value).map(Some)
    }

    fn missing() -> Option<Self> {
        Some(None)
    }
}

/// Types of texts of which a list can be made.
trait Item: FromValue {
    const LIST: &'static str;
    const LIST_EXAMPLE: &'static str;
}

impl<T: Item> FromValue for Vec<T> {
    const NAME: &'static str = T::LIST;
    const EXAMPLE: &'static str = T::LIST_EXAMPLE;
    const SHAPE: Shape = Shape::List;

    fn from_value(value: &Value) -> Result<Self, String> {
        let items = value.as_array().ok_or_else(|| wrong(Self::NAME, value))?;
        if items.len() > LIST_MAX {
            return Err(format!("{} values are more than {LIST_MAX}", items.len()));
        }
        let read = |(at, item)| T::from_value(item).map_err(|why| format!("value {at}: {why}"));
        (1..).zip(items).map(read).collect()
    }
}

macro_rules! parsed {
    ($($type:ty: $name:literal, $example:literal;)*) => {$(
        impl FromValue for $type {
            const NAME: &'static str = $name;
            const EXAMPLE: &'static str = $example;

            fn from_value(value: &Value) -> Result<Self, String> {
                text(value, Self::NAME)?.parse::<Self>().map_err(|why| why.to_string())
            }
        }
    )*};
}

parsed! {
    SocketAddr: "an IP address and a port", "127.0.0.1:8080";
    PublicUrl: "a URL", "https://auth.example";
    DatabaseUrl: "the URL of a database", "postgres://symbolon@db.example/symbolon?sslmode=verify-full";
    Scope: "a scope", "cart:read";
    Network: "an IP address or a network", "10.0.0.0/8";
    ClientId: "a client id", "shop";
    LogoutUri: "a logout URI", "https://shop.example/logout";
    PostLogoutUri: "a URI for after a logout", "https://shop.example/goodbye";
    Colour: "a colour", "#0e6b5c";
    LogLevel: "a level, or levels by module", "info,symbolon=debug";
    RulePath: "a path", "/admin";
    HttpMethod: "a method", "GET";
    SecretSha256: "a SHA-256 digest in hexadecimal", "64 hexadecimal digits";
}

macro_rules! named {
    ($($type:ty: $($word:literal)|+;)*) => {$(
        impl FromValue for $type {
            const NAME: &'static str = concat!("one of" $(, " `", $word, "`")+);
            const EXAMPLE: &'static str = [$($word),+][0];

            fn from_value(value: &Value) -> Result<Self, String> {
                text(value, Self::NAME)?;
                Self::deserialize(value.clone()).map_err(|_| format!("it is not {}", Self::NAME))
            }
        }
    )*};
}

named! {
    Registration: "closed" | "invitation" | "open";
    Forwarded: "x-forwarded" | "forwarded";
    LogFormat: "text" | "json";
    Locale: "en" | "ko";
    ClientKind: "public" | "confidential" | "resource";
    ApplicationType: "web" | "native";
    Algorithm: "ES256" | "EdDSA" | "RS256";
    TokenType: "at+jwt" | "JWT";
    TokenFormat: "jwt" | "opaque";
    SubjectType: "public" | "pairwise";
    Headers: "x-original" | "x-forwarded" | "request";
    GrantType: "authorization_code" | "refresh_token" | "client_credentials"
        | "urn:ietf:params:oauth:grant-type:token-exchange"
        | "urn:ietf:params:oauth:grant-type:device_code";
    Access: "login" | "session" | "public";
    Assurance: "aal1" | "aal2";
}

macro_rules! worded {
    ($($type:ty: $($word:literal is $variant:ident)|+;)*) => {$(
        impl FromValue for $type {
            const NAME: &'static str = concat!("one of" $(, " `", $word, "`")+);
            const EXAMPLE: &'static str = [$($word),+][0];

            fn from_value(value: &Value) -> Result<Self, String> {
                match text(value, Self::NAME)? {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!("it is not {}", Self::NAME)),
                }
            }
        }
    )*};
}

// Types of other crates that are not read from JSON.
worded! {
    Dial: "lease" is Lease | "strict" is Strict | "until-expiry" is UntilExpiry;
    Without: "ask" is Ask | "refuse" is Refuse | "trust-expiry" is TrustExpiry;
}

macro_rules! integer {
    ($($type:ty)*) => {$(
        impl FromValue for $type {
            const NAME: &'static str = "a whole number";
            const EXAMPLE: &'static str = "100";
            const SHAPE: Shape = Shape::Integer;

            fn from_value(value: &Value) -> Result<Self, String> {
                let number = value.as_integer().ok_or_else(|| wrong(Self::NAME, value))?;
                Self::try_from(number).map_err(|_| "the number is out of range".to_owned())
            }
        }
    )*};
}

integer!(u32 usize);

impl FromValue for bool {
    const NAME: &'static str = "`true` or `false`";
    const EXAMPLE: &'static str = "true";
    const SHAPE: Shape = Shape::Boolean;

    fn from_value(value: &Value) -> Result<Self, String> {
        value.as_bool().ok_or_else(|| wrong(Self::NAME, value))
    }
}

impl FromValue for String {
    const NAME: &'static str = "a text";
    const EXAMPLE: &'static str = "text";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, Self::NAME).map(str::to_owned)
    }
}

impl FromValue for PathBuf {
    const NAME: &'static str = "a path";
    const EXAMPLE: &'static str = "/etc/symbolon/file";

    fn from_value(value: &Value) -> Result<Self, String> {
        match text(value, Self::NAME)? {
            "" => Err("a path cannot be empty".to_owned()),
            path => Ok(path.into()),
        }
    }
}

impl FromValue for Duration {
    const NAME: &'static str = "a span of time";
    const EXAMPLE: &'static str = "15m";

    /// A whole number and a unit: `ms s m h d`, a day being 24 hours.
    fn from_value(value: &Value) -> Result<Self, String> {
        span(text(value, "a span of time with its unit")?)
    }
}

/// A span of time: a whole number and its unit.
///
/// # Errors
/// What is wrong with it.
pub fn span(text: &str) -> Result<Duration, String> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let unit_ms: u64 = match unit.trim_start() {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" => return Err("the unit is missing: ms, s, m, h or d".to_owned()),
        _ => return Err("the unit is none of ms, s, m, h and d".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "a whole number must stand first".to_owned())?;
    let span = number.checked_mul(unit_ms).map(Duration::from_millis);
    span.filter(|span| *span <= SPAN_MAX).ok_or_else(|| "the span is over ten years".to_owned())
}

impl FromValue for Quota {
    const NAME: &'static str = "how many at once, then one in what time";
    const EXAMPLE: &'static str = "40, then 1 per 30s";

    fn from_value(value: &Value) -> Result<Self, String> {
        let (burst, every) = text(value, Self::NAME)?
            .split_once(", then 1 per ")
            .ok_or_else(|| "it has another form".to_owned())?;
        let burst = burst.trim().parse().map_err(|_| "a whole number must stand first")?;
        let every = span(every.trim())?;
        let hour = Duration::from_hours(1);
        if !(1..=1_000_000).contains(&burst) {
            return Err("the number is 1 to 1000000".to_owned());
        }
        // Nobody can lock anybody out for longer than this.
        if every.is_zero() || every > hour {
            return Err("the time is 1ms to 1h".to_owned());
        }
        Ok(Self { burst, every })
    }
}

impl FromValue for Vec<Link> {
    const NAME: &'static str = "a list of tables with `label` and `url`";
    const EXAMPLE: &'static str =
        r#"[{ label = "Privacy", url = "https://shop.example/privacy" }]"#;
    const SHAPE: Shape = Shape::Tables;

    fn from_value(value: &Value) -> Result<Self, String> {
        Self::deserialize(value.clone()).map_err(|why| why.message().to_owned())
    }
}

/// The keys of session data that a browser reaches.
impl FromValue for BTreeMap<String, BrowserAccess> {
    const NAME: &'static str = "a table of `read` or `write` by key";
    const EXAMPLE: &'static str = r#"{ cart = "write" }"#;
    const SHAPE: Shape = Shape::Tables;

    fn from_value(value: &Value) -> Result<Self, String> {
        Self::deserialize(value.clone()).map_err(|why| why.message().to_owned())
    }

    fn missing() -> Option<Self> {
        Some(Self::new())
    }
}

impl Item for String {
    const LIST: &'static str = "a list of texts";
    const LIST_EXAMPLE: &'static str = r#"["https://api.example"]"#;
}

impl Item for HttpMethod {
    const LIST: &'static str = "a list of methods";
    const LIST_EXAMPLE: &'static str = r#"["GET", "HEAD"]"#;
}

impl FromValue for ClientJwks {
    const NAME: &'static str = "a JWK set, as JSON";
    const EXAMPLE: &'static str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, Self::NAME)?.parse().map_err(|why: InvalidKeys| why.to_string())
    }
}

impl FromValue for JwksUri {
    const NAME: &'static str = "a URL";
    const EXAMPLE: &'static str = "https://shop.example/jwks.json";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, Self::NAME)?.parse().map_err(|why: InvalidJwksUri| why.to_string())
    }
}

impl FromValue for SectorUri {
    const NAME: &'static str = "a URL";
    const EXAMPLE: &'static str = "https://shop.example/redirect_uris.json";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, Self::NAME)?.parse().map_err(|why: InvalidSectorUri| why.to_string())
    }
}

impl Item for GrantType {
    const LIST: &'static str = "a list of `authorization_code`, `refresh_token`, `client_credentials`, \
                                `urn:ietf:params:oauth:grant-type:token-exchange` and \
                                `urn:ietf:params:oauth:grant-type:device_code`";
    const LIST_EXAMPLE: &'static str = r#"["client_credentials"]"#;
}

impl Item for Scope {
    const LIST: &'static str = "a list of scopes";
    const LIST_EXAMPLE: &'static str = r#"["cart:read"]"#;
}

impl Item for Network {
    const LIST: &'static str = "a list of IP addresses and networks";
    const LIST_EXAMPLE: &'static str = r#"["127.0.0.1", "10.0.0.0/8"]"#;
}

/// An origin as browsers write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExactOrigin(pub String);

impl FromValue for ExactOrigin {
    const NAME: &'static str = "an origin";
    const EXAMPLE: &'static str = "https://shop.example";

    fn from_value(value: &Value) -> Result<Self, String> {
        let origin: Origin = text(value, Self::NAME)?
            .parse()
            .map_err(|why: symbolon_core::csrf::InvalidOrigin| why.to_string())?;
        Ok(Self(origin.as_str().to_owned()))
    }
}

impl Item for ExactOrigin {
    const LIST: &'static str = "a list of origins";
    const LIST_EXAMPLE: &'static str = r#"["https://shop.example"]"#;
}

/// A URI that a browser may be sent back to: compared as it is written, so it must be written in full (RFC 9700,
/// section 4.1.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedirectUri(pub String);

impl FromValue for RedirectUri {
    const NAME: &'static str = "a redirect URI";
    const EXAMPLE: &'static str = "https://shop.example/callback";

    fn from_value(value: &Value) -> Result<Self, String> {
        let uri = text(value, Self::NAME)?;
        let (scheme, rest) = uri.split_once(':').ok_or("a URI begins with a scheme")?;
        let scheme_is_safe = scheme.starts_with(|c: char| c.is_ascii_lowercase())
            && scheme
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b))
            && !["javascript", "data", "vbscript", "blob", "file"].contains(&scheme);
        let plain = rest.bytes().all(|b| b.is_ascii_graphic() && !b"\\\"<>^`{|}#*".contains(&b));
        if !scheme_is_safe || rest.is_empty() || !plain || uri.len() > 2048 {
            return Err("it is no URI without a fragment, or its scheme is unsafe".to_owned());
        }
        if let "http" | "https" = scheme {
            let path_at =
                rest[2.min(rest.len())..].find(['/', '?']).map_or(rest.len(), |at| at + 2);
            let origin: Origin = format!("{scheme}:{}", &rest[..path_at])
                .parse()
                .map_err(|_| "its origin is not written as browsers write it".to_owned())?;
            if !origin.is_secure() && !origin.is_loopback() {
                return Err("plain http is for localhost only".to_owned());
            }
        }
        Ok(Self(uri.to_owned()))
    }
}

impl Item for PostLogoutUri {
    const LIST: &'static str = "a list of URIs";
    const LIST_EXAMPLE: &'static str = r#"["https://shop.example/goodbye"]"#;
}

impl Item for RedirectUri {
    const LIST: &'static str = "a list of redirect URIs";
    const LIST_EXAMPLE: &'static str = r#"["https://shop.example/callback"]"#;
}
