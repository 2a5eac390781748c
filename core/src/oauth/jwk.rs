//! The public keys of others (RFC 7517): what clients register, and what they send along in proofs.
//!
//! Our own keys are in [`keys`](crate::keys). These differ: anybody chose them, their ids are any text or missing, and
//! they may sign with one algorithm more.

use std::{fmt, str::FromStr};

use aws_lc_rs::signature::{
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaParameters,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use crate::{
    id::Text,
    keys::{InvalidKey, Jwk, parse_public},
    secret::sha256,
    token::json::Unambiguous,
};

/// The most keys of one set.
pub const KEYS_MAX: usize = 16;
/// The longest set that is looked at, in bytes.
pub const JWKS_BYTES_MAX: usize = 32 * 1024;
/// The longest `kid`, in bytes.
pub const KID_BYTES_MAX: usize = 256;

/// How others may sign (RFC 7518, section 3.1; RFC 8037, section 3.1). No `none`, no shared secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SignatureAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519: `EdDSA`, or by its newer name `Ed25519` (RFC 9864). Both are this one algorithm.
    Ed25519,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PSS with SHA-256, what FAPI 2.0 takes from RSA.
    Ps256,
}

impl SignatureAlgorithm {
    /// Every algorithm there is, for metadata.
    pub const ALL: [Self; 4] = [Self::Es256, Self::Ed25519, Self::Rs256, Self::Ps256];

    /// The name in metadata and most headers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Ed25519 => "EdDSA",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
        }
    }

    /// The algorithm of this name. Names are compared exactly.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "Ed25519" => Some(Self::Ed25519),
            name => Self::ALL.into_iter().find(|algorithm| algorithm.name() == name),
        }
    }

    const fn rsa(self) -> &'static RsaParameters {
        match self {
            Self::Ps256 => &RSA_PSS_2048_8192_SHA256,
            _ => &RSA_PKCS1_2048_8192_SHA256,
        }
    }
}

impl serde::Serialize for SignatureAlgorithm {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> serde::Deserialize<'de> for SignatureAlgorithm {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        Self::named(&text)
            .ok_or_else(|| serde::de::Error::custom("it is ES256, EdDSA, RS256 or PS256"))
    }
}

impl fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The SHA-256 thumbprint of a key (RFC 7638): the same for every way to write the same key. As text 43 characters of
/// unpadded base64url: the `jkt` of `cnf` (RFC 9449, section 6.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Thumbprint([u8; 32]);

impl Thumbprint {
    /// The thumbprint whose bytes these are.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, as they rest.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thumbprint({self})")
    }
}

/// The text is no thumbprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a thumbprint is 43 characters of unpadded base64url")]
pub struct InvalidThumbprint;

impl FromStr for Thumbprint {
    type Err = InvalidThumbprint;

    fn from_str(text: &str) -> Result<Self, InvalidThumbprint> {
        let mut bytes = [0; 32];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
            Ok(32) => Ok(Self(bytes)),
            _ => Err(InvalidThumbprint),
        }
    }
}

impl serde::Serialize for Thumbprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Thumbprint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Members that only a private or a shared key has (RFC 7518, sections 6.2.2, 6.3.2 and 6.4.1).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// A public key of somebody else, parsed once. It verifies signatures of one algorithm.
#[derive(Clone)]
pub struct PublicKey {
    kid: Option<Box<str>>,
    algorithm: SignatureAlgorithm,
    thumbprint: Thumbprint,
    key: ParsedPublicKey,
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({}, {})", self.algorithm, self.thumbprint)
    }
}

impl PublicKey {
    /// Reads one key from JSON.
    ///
    /// The algorithm is that of `alg`, or else follows from the key: `EC` with P-256 is ES256, `OKP` with Ed25519 is
    /// EdDSA, and `RSA` is RS256; a client that signs with PS256 says so in `alg`. `use` and `key_ops` must allow
    /// verifying where they are present. RSA has 2048 to 4096 bits and the exponent 65537.
    ///
    /// # Errors
    /// [`InvalidKey`]. A key with its private half, or a shared one, is [`InvalidKey::NotForVerifying`]: it is nobody's
    /// secret any more.
    pub fn parse(json: &str) -> Result<Self, InvalidKey> {
        if json.len() > JWKS_BYTES_MAX || serde_json::from_str::<Unambiguous>(json).is_err() {
            return Err(InvalidKey::Malformed);
        }
        let members = serde_json::from_str(json).map_err(|_| InvalidKey::Malformed)?;
        Self::from_members(&members, None)
    }

    /// `presented` is what a header says that the key signs with, where the key itself may be silent. The caller has
    /// seen that no member stands twice.
    pub(super) fn from_members(
        members: &Map<String, Value>,
        presented: Option<SignatureAlgorithm>,
    ) -> Result<Self, InvalidKey> {
        if PRIVATE.iter().any(|name| members.contains_key(*name)) {
            return Err(InvalidKey::NotForVerifying);
        }
        let jwk: Jwk = serde_json::from_value(Value::Object(members.clone()))
            .map_err(|_| InvalidKey::Malformed)?;
        let algorithm = algorithm(&jwk, presented)?;
        if jwk.kid.as_ref().is_some_and(|kid| kid.len() > KID_BYTES_MAX) {
            return Err(InvalidKey::Id);
        }
        let key = parse_public(&jwk, algorithm.rsa())?;
        let thumbprint = thumbprint(&jwk);
        Ok(Self { kid: jwk.kid.map(Into::into), algorithm, thumbprint, key })
    }

    /// What its owner calls it.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The only algorithm that it verifies.
    pub const fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// What identifies it, whatever it is called.
    pub const fn thumbprint(&self) -> Thumbprint {
        self.thumbprint
    }

    /// Whether `signature` (in JWS's form: RFC 7518, section 3; RFC 8037, section 3.1) is this key's over `message`.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verify_sig(message, signature).is_ok()
    }
}

/// The one algorithm of a key. `Unsupported`: its members contradict each other, or name what is not known here.
fn algorithm(
    jwk: &Jwk,
    presented: Option<SignatureAlgorithm>,
) -> Result<SignatureAlgorithm, InvalidKey> {
    use SignatureAlgorithm::{Ed25519, Es256, Ps256, Rs256};
    let possible: &[_] = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("EC", Some("P-256")) => &[Es256],
        ("OKP", Some("Ed25519")) => &[Ed25519],
        ("RSA", None) => &[Rs256, Ps256],
        _ => return Err(InvalidKey::Unsupported),
    };
    let own = match jwk.alg.as_deref() {
        None => presented.unwrap_or(possible[0]),
        Some(name) => SignatureAlgorithm::named(name).ok_or(InvalidKey::Unsupported)?,
    };
    let agreed = possible.contains(&own) && presented.is_none_or(|presented| presented == own);
    if agreed { Ok(own) } else { Err(InvalidKey::Unsupported) }
}

/// RFC 7638, section 3, of a key that has been parsed: its members are base64url and need no escaping.
fn thumbprint(jwk: &Jwk) -> Thumbprint {
    let text = |member: &Option<String>| member.clone().unwrap_or_default();
    let Jwk { crv, x, y, n, e, kty, .. } = jwk;
    let canonical = match kty.as_str() {
        "EC" => {
            let (crv, x, y) = (text(crv), text(x), text(y));
            format!(r#"{{"crv":"{crv}","kty":"EC","x":"{x}","y":"{y}"}}"#)
        }
        "OKP" => {
            let (crv, x) = (text(crv), text(x));
            format!(r#"{{"crv":"{crv}","kty":"OKP","x":"{x}"}}"#)
        }
        _ => format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, text(e), text(n)),
    };
    Thumbprint(sha256(canonical.as_bytes()))
}

/// Why a set of keys is refused. In registration it is `invalid_client_metadata` (RFC 7591, section 3.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeys {
    /// More than [`JWKS_BYTES_MAX`] bytes.
    #[error("longer than {JWKS_BYTES_MAX} bytes")]
    TooLong,
    /// No JSON object with an array `keys` of objects, or a member stands twice.
    #[error("not a JWK set")]
    Malformed,
    /// More than [`KEYS_MAX`] keys.
    #[error("more than {KEYS_MAX} keys")]
    TooMany,
    /// Two keys that can be taken for each other: the same `kid`, or the same key.
    #[error("two keys are the same, or have the same id")]
    Twice,
    /// This key, counted from 0, cannot be used and should not be there.
    #[error("key {0}: {1}")]
    Key(usize, InvalidKey),
    /// None is for verifying signatures with an algorithm that is known here.
    #[error("no key for verifying with ES256, EdDSA, RS256 or PS256")]
    Empty,
}

/// The keys of one client: its `jwks` (RFC 7591, section 2), each parsed once.
///
/// Keys of other kinds, curves and algorithms, and those with `use: enc`, are passed over (RFC 7517, section 5). Keys
/// that are malformed, weak or private are not: whoever published them should hear of it.
///
/// ```
/// use symbolon_core::oauth::jwk::{PublicKeys, SignatureAlgorithm};
///
/// // The key of RFC 8037, appendix A, and its thumbprint.
/// let keys = PublicKeys::parse(r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"2026",
///     "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#)?;
/// let key = keys.iter().next().ok_or("one key")?;
/// assert_eq!(key.algorithm(), SignatureAlgorithm::Ed25519);
/// assert_eq!(key.thumbprint().to_string(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct PublicKeys(Vec<PublicKey>);

impl PublicKeys {
    /// Reads a set from JSON.
    pub fn parse(json: &str) -> Result<Self, InvalidKeys> {
        #[derive(serde::Deserialize)]
        struct Set {
            keys: Vec<Map<String, Value>>,
        }
        if json.len() > JWKS_BYTES_MAX {
            return Err(InvalidKeys::TooLong);
        }
        serde_json::from_str::<Unambiguous>(json).map_err(|_| InvalidKeys::Malformed)?;
        let set: Set = serde_json::from_str(json).map_err(|_| InvalidKeys::Malformed)?;
        if set.keys.len() > KEYS_MAX {
            return Err(InvalidKeys::TooMany);
        }
        let mut keys: Vec<PublicKey> = Vec::with_capacity(set.keys.len());
        for (at, members) in set.keys.iter().enumerate() {
            let key = match PublicKey::from_members(members, None) {
                Ok(key) => key,
                Err(error) if is_for_others(members, error) => continue,
                Err(error) => return Err(InvalidKeys::Key(at, error)),
            };
            let same = |other: &PublicKey| {
                other.thumbprint == key.thumbprint || (key.kid.is_some() && other.kid == key.kid)
            };
            if keys.iter().any(same) {
                return Err(InvalidKeys::Twice);
            }
            keys.push(key);
        }
        if keys.is_empty() { Err(InvalidKeys::Empty) } else { Ok(Self(keys)) }
    }

    /// Each key.
    pub fn iter(&self) -> impl Iterator<Item = &PublicKey> {
        self.0.iter()
    }

    /// The key that a header means: the one of its `kid`; without a `kid`, the only one of its algorithm.
    pub(super) fn find(
        &self,
        kid: Option<&str>,
        algorithm: SignatureAlgorithm,
    ) -> Option<&PublicKey> {
        if kid.is_some() {
            return self.0.iter().find(|key| key.kid() == kid);
        }
        let mut fitting = self.0.iter().filter(|key| key.algorithm == algorithm);
        fitting.next().filter(|_| fitting.next().is_none())
    }
}

/// Whether a key that we cannot use may stand in a set all the same.
fn is_for_others(members: &Map<String, Value>, error: InvalidKey) -> bool {
    let private = PRIVATE.iter().any(|name| members.contains_key(*name));
    matches!(error, InvalidKey::Unsupported | InvalidKey::NotForVerifying) && !private
}
