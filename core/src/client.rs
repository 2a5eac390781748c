//! The applications that know Symbolon: OAuth clients (RFC 6749, section 2) and resource servers.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand_core::CryptoRng;
use subtle::ConstantTimeEq;

use crate::{
    id::{EntryId, SessionId, Text, UserId},
    keys::Algorithm,
    logout_uri::{LogoutUri, PostLogoutUri},
    oauth::{
        grant::GrantType,
        jwk::{InvalidKeys, PublicKeys},
        uri::{ApplicationType, RedirectUri, Uri},
    },
    scope::{self, Scope},
    secret::{SecretBytes, SecretText, sha256},
    subject::{SectorUri, SubjectType},
    time::Time,
    token::{TokenFormat, TokenType},
};

/// A client's name, the `client_id` of OAuth: 1 to 64 of `a-z 0-9 . _ -`, beginning with a letter or digit. It never
/// has the form of a user's id, because both stand in the `sub` claim (RFC 9068, section 5).
///
/// Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(Arc<str>);

/// The text is no client name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a client id is 1 to 64 of a-z 0-9 . _ -, begins with a letter or digit, and is no user's id"
)]
pub struct InvalidClientId;

impl ClientId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The client as the revocation log knows it: the first 16 bytes of SHA-256 over its name, so that whoever sees a
    /// `client_id` claim can compute it.
    pub fn entry(&self) -> EntryId {
        EntryId::from_bytes(digest(&[b"symbolon client\0", self.0.as_bytes()]))
    }

    /// The id of the visitor's session that this client opens under a name of its own: the first 16 bytes of SHA-256
    /// over both, so that every process of the client computes it. No client chooses an id: one that it had chosen could
    /// be that of something else in the revocation log.
    pub fn session_named(&self, name: &str) -> SessionId {
        let parts = [b"symbolon session\0", self.0.as_bytes(), b"\0", name.as_bytes()];
        SessionId::from_bytes(digest(&parts))
    }
}

fn digest(parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    parts.iter().for_each(|part| hash.update(part));
    let mut id = [0; 16];
    id.copy_from_slice(&hash.finish().as_ref()[..16]);
    id
}

impl FromStr for ClientId {
    type Err = InvalidClientId;

    fn from_str(text: &str) -> Result<Self, InvalidClientId> {
        let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = text.as_bytes();
        let valid = bytes.len() <= 64
            && bytes.first().is_some_and(plain)
            && bytes.iter().all(|b| plain(b) || matches!(b, b'.' | b'_' | b'-'))
            && text.parse::<UserId>().is_err();
        valid.then(|| Self(text.into())).ok_or(InvalidClientId)
    }
}

impl serde::Serialize for ClientId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for ClientId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What kind of application a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientKind {
    /// It cannot keep a secret: a SPA, a mobile app (RFC 6749, section 2.1).
    Public,
    /// It keeps a secret: a web application's server side.
    Confidential,
    /// It only checks tokens and asks for session data: an API.
    Resource,
}

/// What a browser may do with one key of a client's session data.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum BrowserAccess {
    /// Read it.
    Read,
    /// Read and write it.
    Write,
}

/// SHA-256 of a client's secret: all of it that rests. The secret has 256 random bits, so nothing slower is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretDigest([u8; 32]);

impl SecretDigest {
    /// The digest of a secret.
    pub fn of(secret: &SecretText) -> Self {
        Self(sha256(secret.expose().as_bytes()))
    }

    /// The digest whose bytes these are.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, as they rest.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether `secret` is the secret.
    pub fn matches(&self, secret: &SecretText) -> bool {
        self.0.ct_eq(&Self::of(secret).0).into()
    }
}

/// Draws a client secret: 256 random bits, with a prefix that secret scanners know.
pub fn new_secret(rng: &mut impl CryptoRng) -> SecretText {
    let bytes = SecretBytes::<32>::random(rng);
    SecretText::new(format!("symc_{}", URL_SAFE_NO_PAD.encode(bytes.expose())))
}

/// A client's `jwks` (RFC 7591, section 2), as it was registered: a set in which every key that is ours to use is sound.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct ClientJwks(serde_json::Value);

impl ClientJwks {
    /// The keys.
    ///
    /// # Errors
    /// [`InvalidKeys`] says what is wrong, which was looked at before.
    pub fn keys(&self) -> Result<PublicKeys, InvalidKeys> {
        PublicKeys::parse(&self.0.to_string())
    }
}

impl FromStr for ClientJwks {
    type Err = InvalidKeys;

    fn from_str(json: &str) -> Result<Self, InvalidKeys> {
        PublicKeys::parse(json)?;
        serde_json::from_str(json).map(Self).map_err(|_| InvalidKeys::Malformed)
    }
}

impl<'de> serde::Deserialize<'de> for ClientJwks {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let jwks = Self(serde_json::Value::deserialize(deserializer)?);
        jwks.keys().map_err(serde::de::Error::custom)?;
        Ok(jwks)
    }
}

/// A client's `jwks_uri` (RFC 7591, section 2): `https`, or `http` where the configuration allows to reach it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct JwksUri(Box<str>);

/// The text is no place where keys can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a jwks_uri is an https URL without user and fragment")]
pub struct InvalidJwksUri;

impl JwksUri {
    /// As it was registered.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for JwksUri {
    type Err = InvalidJwksUri;

    fn from_str(text: &str) -> Result<Self, InvalidJwksUri> {
        let uri = Uri::parse(text).map_err(|_| InvalidJwksUri)?;
        let fits = uri.is_web() && uri.fragment.is_none();
        fits.then(|| Self(text.into())).ok_or(InvalidJwksUri)
    }
}

impl<'de> serde::Deserialize<'de> for JwksUri {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

const fn yes() -> bool {
    true
}

fn grant_types() -> Vec<GrantType> {
    GrantType::DEFAULT.into()
}

const fn rs256() -> Algorithm {
    Algorithm::Rs256
}

const fn never() -> Time {
    Time::from_millis(0)
}

/// One application.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// The `client_id`.
    pub id: ClientId,
    /// What kind of application it is.
    pub kind: ClientKind,
    /// What people call it; its id, if it says nothing.
    #[serde(default)]
    pub name: Option<Box<str>>,
    /// Whether it is ours: it may take passwords itself, and no consent is asked for it.
    #[serde(default)]
    pub first_party: bool,
    /// The digest of its secret. It rests in a column of its own.
    #[serde(skip)]
    pub secret: Option<SecretDigest>,
    /// The audiences that its access tokens can be for; the first is the default. A client without one gets access
    /// tokens for userinfo alone, with the scope `openid`.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// The names under which it is a resource server itself: it may exchange users' access tokens that are for one of
    /// them (RFC 8693). None: it exchanges nothing.
    #[serde(default)]
    pub exchange_audiences: Vec<String>,
    /// The exact origins that its pages live on (CORS, handover).
    #[serde(default)]
    pub origins: Vec<String>,
    /// The exact URIs that a browser may be sent back to.
    #[serde(default)]
    pub redirect_uris: Vec<String>,
    /// The exact URIs that a browser may be sent to after a logout (OpenID Connect RP-Initiated Logout 1.0, section 3.1).
    #[serde(default)]
    pub post_logout_redirect_uris: Vec<PostLogoutUri>,
    /// Where its server side hears of the end of sessions (OpenID Connect Back-Channel Logout 1.0, section 2.2).
    #[serde(default)]
    pub backchannel_logout_uri: Option<LogoutUri>,
    /// Whether it needs the `sid` in logout tokens. They always have it.
    #[serde(default)]
    pub backchannel_logout_session_required: bool,
    /// What browsers load in a frame when they log out (OpenID Connect Front-Channel Logout 1.0, section 2).
    #[serde(default)]
    pub frontchannel_logout_uri: Option<LogoutUri>,
    /// Whether it needs `iss` and `sid` with it. They are always sent.
    #[serde(default)]
    pub frontchannel_logout_session_required: bool,
    /// What kind of application it is, as to where a browser may be sent back to.
    #[serde(default)]
    pub application_type: ApplicationType,
    /// Whether its authorization requests need a code challenge. Those of a public client always do.
    #[serde(default = "yes")]
    pub pkce_required: bool,
    /// Whether its authorization requests count only when it has pushed them (RFC 9126).
    #[serde(default)]
    pub require_pushed_authorization_requests: bool,
    /// The scopes that it may ask for, besides the [standard](scope::STANDARD) ones.
    #[serde(default)]
    pub scopes: Vec<Scope>,
    /// The grants that it may use at the token endpoint.
    #[serde(default = "grant_types")]
    pub grant_types: Vec<GrantType>,
    /// How its access tokens are signed.
    #[serde(default)]
    pub algorithm: Algorithm,
    /// How its ID tokens are signed. Every OpenID Connect library knows RS256 (OpenID Connect Core, section 15.1).
    #[serde(default = "rs256")]
    pub id_token_algorithm: Algorithm,
    /// How userinfo answers are signed for it. `None`: they are plain JSON (OpenID Connect Core, section 5.3.2).
    #[serde(default)]
    pub userinfo_algorithm: Option<Algorithm>,
    /// The `typ` of its access tokens.
    #[serde(default)]
    pub token_type: TokenType,
    /// Whether its access tokens can be read by whoever holds them.
    #[serde(default)]
    pub access_token_format: TokenFormat,
    /// Under which id it knows users (OpenID Connect Core, section 8).
    #[serde(default)]
    pub subject_type: SubjectType,
    /// Whose host is the sector of its pairwise subjects, where its redirect URIs have not one in common (section 8.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sector_identifier_uri: Option<SectorUri>,
    /// The public keys that it proves itself with (`private_key_jwt`), instead of a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<ClientJwks>,
    /// Where those keys are, instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<JwksUri>,
    /// Whether its assertions may name the token endpoint as their audience, too. See
    /// [`assertion`](crate::oauth::assertion) for what that costs.
    #[serde(default)]
    pub token_endpoint_audience: bool,
    /// Whether it gets access tokens that are bound to a key, and no others (RFC 9449, section 5.2).
    #[serde(default)]
    pub dpop_bound_access_tokens: bool,
    /// The keys of its session data that a browser reaches. None unless declared.
    #[serde(default)]
    pub browser: BTreeMap<String, BrowserAccess>,
    /// Whether the configuration file declares it; then only the file changes it.
    #[serde(default)]
    pub declared: bool,
    /// When it was added. A refresh token of before belongs to another client that had this name.
    #[serde(default = "never")]
    pub added_at: Time,
}

impl Client {
    /// The audience of a token, where the request names none or one of the client's own.
    pub fn audience(&self, asked: Option<&str>) -> Option<&str> {
        match asked {
            None => self.audiences.first().map(String::as_str),
            Some(asked) => {
                self.audiences.iter().map(String::as_str).find(|audience| *audience == asked)
            }
        }
    }

    /// What of an asked scope the client may have: each name once, in the order in which it was asked. Other names are
    /// passed over, as OpenID Connect Core, section 3.1.2.1, asks; the answer says what was given.
    pub fn scope(&self, asked: &str) -> Box<str> {
        scope::only(asked, |name| {
            // Without refresh tokens there is nothing that could outlive the login.
            let lasts = name != scope::OFFLINE || self.may_use(GrantType::RefreshToken);
            let own = || self.scopes.iter().any(|own| own.as_str() == name);
            lasts && (scope::STANDARD.contains(&name) || own())
        })
    }

    /// Whether it proves itself with a key, and so with no secret.
    pub const fn has_keys(&self) -> bool {
        self.jwks.is_some() || self.jwks_uri.is_some()
    }

    /// Whether it has one way to prove itself, as its kind needs it: keys in one place, and none for a public client.
    pub const fn is_consistent(&self) -> bool {
        let both = self.jwks.is_some() && self.jwks_uri.is_some();
        let public = matches!(self.kind, ClientKind::Public);
        !(both || public && self.has_keys())
    }

    /// Whether browsers may load its logout URI in a frame: it has the origin of one of its redirect URIs (OpenID Connect
    /// Front-Channel Logout 1.0, section 2).
    pub fn may_be_framed(&self) -> bool {
        let Some(uri) = &self.frontchannel_logout_uri else { return true };
        let rest = |own: &String| own.strip_prefix(uri.origin()).map(str::to_owned);
        let mut rests = self.redirect_uris.iter().filter_map(rest);
        rests.any(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
    }

    /// What people call it.
    pub fn title(&self) -> &str {
        self.name.as_deref().unwrap_or(self.id.as_str())
    }

    /// Whether a browser may be sent back to this URI.
    pub fn admits_redirect(&self, uri: &str) -> bool {
        let admits = |own: &String| {
            RedirectUri::parse(own, self.application_type).is_ok_and(|own| own.admits(uri))
        };
        self.redirect_uris.iter().any(|own| own == uri || admits(own))
    }

    /// The scope of a client that acts for itself: without a wish all of its own. `None` if it asks for more; a login,
    /// which the standard scopes are about, it has none.
    pub fn scope_of_machine(&self, asked: Option<&str>) -> Option<Box<str>> {
        let own: Vec<&str> = self.scopes.iter().map(Scope::as_str).collect();
        let Some(asked) = asked else { return Some(own.join(" ").into()) };
        let may = |name: &str| own.contains(&name);
        asked.split_ascii_whitespace().all(may).then(|| scope::only(asked, may))
    }

    /// Whether it may use a grant.
    pub fn may_use(&self, grant: GrantType) -> bool {
        self.grant_types.contains(&grant)
    }

    /// How what it gets is signed: its access tokens, its userinfo answers, and its ID tokens where it sends users here. Keys for these are
    /// published as soon as it is known, because verifiers that keep a copy of the key set look again only now and then.
    pub fn algorithms(&self) -> impl Iterator<Item = Algorithm> {
        let signed = self.access_token_format == TokenFormat::Jwt;
        let access = (signed && self.kind != ClientKind::Resource).then_some(self.algorithm);
        let id = (!self.redirect_uris.is_empty()).then_some(self.id_token_algorithm);
        access.into_iter().chain(id).chain(self.userinfo_algorithm)
    }

    /// Whether pages of this origin belong to the client.
    pub fn owns_origin(&self, origin: &str) -> bool {
        self.origins.iter().any(|own| own == origin)
    }
}
