//! Public keys as JSON (RFC 7517; RFC 7518, section 6; RFC 8037, section 2).

use serde::{Deserialize, Serialize, de::IgnoredAny};

use super::{InvalidKey, VerifyingKey};

/// A public key as it stands in a JWKS. It is text from somewhere; [`VerifyingKey::from_jwk`] makes a key of it.
///
/// Members that are not listed here are ignored (RFC 7517, section 4).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Jwk {
    /// The key's family: `EC`, `OKP` or `RSA`.
    pub kty: String,
    /// The key's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// The one algorithm it is used with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alg: Option<String>,
    /// What the public key is for: `sig`.
    #[serde(default, rename = "use", skip_serializing_if = "Option::is_none")]
    pub usage: Option<String>,
    /// What may be done with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_ops: Option<Vec<String>>,
    /// The curve of `EC` and `OKP`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crv: Option<String>,
    /// The first coordinate of `EC`, the whole public key of `OKP`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x: Option<String>,
    /// The second coordinate of `EC`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y: Option<String>,
    /// The modulus of `RSA`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<String>,
    /// The exponent of `RSA`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e: Option<String>,
    /// The private half. A key that was published with it is nobody's secret and is refused.
    #[serde(default, rename = "d", skip_serializing)]
    pub(super) private: Option<IgnoredAny>,
}

/// A set of public keys (RFC 7517, section 5): what `/.well-known/jwks.json` answers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Jwks {
    /// The keys.
    pub keys: Vec<Jwk>,
}

impl Jwks {
    /// Every key as one that verifies, or why it cannot; a user of foreign sets passes over those (RFC 7517, section 5).
    pub fn verifying_keys(&self) -> impl Iterator<Item = Result<VerifyingKey, InvalidKey>> + '_ {
        self.keys.iter().map(VerifyingKey::from_jwk)
    }
}
