//! What the application is told about a request that got through: headers, or a short-lived token.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CACHE_CONTROL, COOKIE},
};
use symbolon_core::{
    id::{KeyId, TokenId},
    keys::{Algorithm, InvalidKey, Jwks, SigningKey},
    time::Time,
    token::{self, TokenType},
};
use symbolon_guard::Claims;

use crate::{config::forward::Internal, os::Os};

const SUBJECT: HeaderName = HeaderName::from_static("x-symbolon-subject");
const SESSION: HeaderName = HeaderName::from_static("x-symbolon-session");
const CLIENT: HeaderName = HeaderName::from_static("x-symbolon-client");
const ACTOR: HeaderName = HeaderName::from_static("x-symbolon-actor");
const ROLES: HeaderName = HeaderName::from_static("x-symbolon-roles");
const SCOPES: HeaderName = HeaderName::from_static("x-symbolon-scopes");
const ASSURANCE: HeaderName = HeaderName::from_static("x-symbolon-assurance");
const TOKEN: HeaderName = HeaderName::from_static("x-symbolon-token");
const COOKIES: HeaderName = HeaderName::from_static("x-symbolon-cookie");

/// Every header that a check which lets through always has. The proxy sets each of them on the request for the
/// application, `X-Symbolon-Cookie` as `Cookie`; an empty one overwrites what a client made up.
pub const TOLD: [&str; 9] = [
    "X-Symbolon-Subject",
    "X-Symbolon-Session",
    "X-Symbolon-Client",
    "X-Symbolon-Actor",
    "X-Symbolon-Roles",
    "X-Symbolon-Scopes",
    "X-Symbolon-Assurance",
    "X-Symbolon-Token",
    "X-Symbolon-Cookie",
];

/// Makes tokens for the application. Its key is made at start and rests nowhere.
#[derive(Debug)]
pub struct Minter {
    settings: Internal,
    audience: String,
    key: SigningKey,
}

impl Minter {
    /// The minter of these settings, if they name an audience.
    ///
    /// # Errors
    /// The crypto library made no key.
    pub fn new(settings: &Internal) -> Result<Option<Self>, InvalidKey> {
        let Some(audience) = settings.audience.clone() else { return Ok(None) };
        let key = SigningKey::generate(KeyId::random(&mut Os), Algorithm::Es256)?;
        Ok(Some(Self { settings: settings.clone(), audience, key }))
    }

    /// The key that verifies its tokens.
    pub fn jwks(&self) -> Jwks {
        Jwks { keys: vec![self.key.verifying_key().jwk().clone()] }
    }

    /// A token that says this; `now` was read before it was known. `None`, which lets nobody in, if it cannot be made.
    fn mint(&self, claims: &Claims, now: Time) -> Option<HeaderValue> {
        // A token holds whole seconds: it must not live longer by what is cut off.
        let iat = Time::from_secs(now.secs());
        let claims = token::Claims {
            iss: self.settings.issuer.as_str().into(),
            user: claims.subject,
            aud: self.audience.as_str().into(),
            client_id: claims.client.clone(),
            iat,
            exp: iat + self.settings.lifetime,
            nbf: None,
            jti: TokenId::random(&mut Os),
            sid: claims.session,
            scope: Some(list(&claims.scopes, " ")).filter(|scope| !scope.is_empty()).map(Box::from),
            roles: claims.roles.to_vec(),
            auth_time: claims.auth_time,
            acr: claims.assurance.map(|level| level.as_str().into()),
            amr: Vec::new(),
            act: claims.act.clone(),
            key: None,
            more: Default::default(),
        };
        match claims.issue(TokenType::AtJwt, &self.key) {
            Ok(token) => sensitive(token.expose()),
            Err(error) => {
                tracing::error!(%error, "no token for the application");
                None
            }
        }
    }
}

/// The headers of a check that lets through. All are always there.
pub fn headers(
    claims: Option<&Claims>,
    minter: Option<&Minter>,
    request: &HeaderMap,
    now: Time,
) -> HeaderMap {
    let text = |text: Option<String>| {
        text.and_then(|text| HeaderValue::try_from(text).ok())
            .unwrap_or(HeaderValue::from_static(""))
    };
    let of = |member: fn(&Claims) -> Option<String>| text(claims.and_then(member));
    let token = claims.zip(minter).and_then(|(claims, minter)| minter.mint(claims, now));
    HeaderMap::from_iter([
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (SUBJECT, of(|claims| claims.subject.map(|user| user.to_string()))),
        (SESSION, of(|claims| Some(claims.session.to_string()))),
        (CLIENT, of(|claims| Some(claims.client.to_string()))),
        (ACTOR, of(|claims| claims.act.as_ref().map(|act| act.sub.to_string()))),
        (ROLES, of(|claims| Some(list(&claims.roles, ",")))),
        (SCOPES, of(|claims| Some(list(&claims.scopes, " ")))),
        (ASSURANCE, of(|claims| claims.assurance.map(|level| level.as_str().to_owned()))),
        (TOKEN, token.unwrap_or(HeaderValue::from_static(""))),
        (COOKIES, foreign_cookies(request)),
    ])
}

/// Says the same under the name that the application reads, for proxies that cannot rename a header (Traefik, Envoy).
/// The others have little room for headers.
pub fn rename(told: &mut HeaderMap) {
    if let Some(cookies) = told.get(COOKIES).cloned() {
        told.insert(COOKIE, cookies);
    }
}

/// The words of a list. One that could be read as two is left out: it gives nobody anything.
fn list(words: &[Box<str>], between: &str) -> String {
    let whole =
        |word: &&str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_graphic() && b != b',');
    words.iter().map(AsRef::as_ref).filter(whole).collect::<Vec<_>>().join(between)
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The cookies without ours: no application needs to hold what proves a login. Whatever is named like one of ours goes,
/// under either scheme and in either case.
fn foreign_cookies(request: &HeaderMap) -> HeaderValue {
    let headers = request.get_all(COOKIE).iter();
    let pairs = headers.flat_map(|header| header.as_bytes().split(|b| *b == b';'));
    let foreign = pairs.map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty() && !is_ours(pair));
    let kept = foreign.collect::<Vec<_>>().join(&b"; "[..]);
    let mut value = HeaderValue::from_bytes(&kept).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

fn is_ours(pair: &[u8]) -> bool {
    let name =
        pair.split(|b| *b == b'=').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    let prefixes = [&b"__host-"[..], b"__secure-"];
    let bare = prefixes.iter().find_map(|prefix| name.strip_prefix(*prefix)).unwrap_or(&name);
    bare.strip_prefix(b"symbolon").is_some_and(|rest| rest.is_empty() || rest.starts_with(b"-"))
}

#[cfg(test)]
mod tests {
    use symbolon_core::token::{Actor, Rules, Verifier};
    use symbolon_guard::testing;

    use super::*;

    fn cookies(values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (COOKIE, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn our_cookies_stay_here() {
        for (sent, kept) in [
            (&[][..], ""),
            (&["a=1; __Host-symbolon=syms_x; b=2"], "a=1; b=2"),
            (&["__Host-symbolon=syms_x"], ""),
            (
                &["symbolon=syms_x;a=1;symbolon-access=y", "__Secure-symbolon-refresh=z", "c=3"],
                "a=1; c=3",
            ),
            (&["__host-SYMBOLON=syms_x; \t__Host-symbolon =syms_y ; symbolon"], ""),
            (&["__Host-symbolon-login-3=x"], ""),
            (&["symbolonic=1; my-symbolon=2"], "symbolonic=1; my-symbolon=2"),
            (&["a=\"x; __Host-symbolon=syms_x; y\""], "a=\"x; y\""),
        ] {
            assert_eq!(foreign_cookies(&cookies(sent)).to_str().unwrap(), kept, "{sent:?}");
        }
    }

    #[test]
    fn every_header_is_always_there() {
        let now = Time::from_secs(1_000_000);
        let sample =
            testing::claims().role("admin").role("a,b").role("x y").role("staff").scope("cart");
        let orders = Actor { sub: "orders".parse().unwrap(), act: None };
        let sample = sample.through(orders);
        for (claims, roles) in [(None, ""), (Some(sample.build()), "admin,staff")] {
            let headers = headers(claims.as_ref(), None, &HeaderMap::new(), now);
            for name in TOLD {
                assert!(headers.contains_key(name), "{name}");
            }
            assert_eq!(headers[ROLES], roles);
            assert_eq!(headers[SUBJECT].is_empty(), claims.is_none());
            assert_eq!(headers[ACTOR], if claims.is_some() { "orders" } else { "" });
            assert_eq!(headers[CACHE_CONTROL], "no-store");
        }
    }

    #[test]
    fn a_token_for_the_application() {
        let settings = Internal {
            audience: Some("shop".to_owned()),
            issuer: "gate".to_owned(),
            lifetime: std::time::Duration::from_secs(5),
        };
        let minter = Minter::new(&settings).unwrap().unwrap();
        let before = Actor { sub: "shop".parse().unwrap(), act: None };
        let act = Actor { sub: "orders".parse().unwrap(), act: Some(Box::new(before)) };
        let claims = testing::claims().role("admin").through(act).build();
        let now = Time::from_millis(1_000_000_999);
        let headers = headers(Some(&claims), Some(&minter), &HeaderMap::new(), now);
        let token = headers[TOKEN].to_str().unwrap();
        let keys: Vec<_> = minter.jwks().verifying_keys().collect::<Result<_, _>>().unwrap();
        let verified = |audience: &str, now| {
            let rules = Rules::new("gate", [audience]);
            let rules = Rules { leeway: std::time::Duration::ZERO, ..rules };
            Verifier::new(rules, keys.clone()).verify(token, now)
        };
        let access = verified("shop", now).unwrap();
        assert_eq!((access.claims.user, access.claims.sid), (claims.subject, claims.session));
        assert_eq!((&*access.claims.roles[0], &access.claims.act), ("admin", &claims.act));
        assert!(verified("another", now).is_err());
        assert!(verified("shop", Time::from_secs(1_000_005)).is_err());
        assert!(!format!("{headers:?}").contains(token));
    }
}
