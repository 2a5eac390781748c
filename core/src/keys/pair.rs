//! Parsed keys: parsed once, used for as long as they live.

use std::fmt;

use aws_lc_rs::{
    encoding::AsDer,
    error::Unspecified,
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize, PublicKeyComponents},
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
        Ed25519KeyPair, KeyPair, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256,
        RsaParameters,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::{Algorithm, Jwk};
use crate::id::KeyId;

/// RSA moduli outside of this are refused: below is weak (RFC 7518, section 3.3), above is slow.
const MODULUS_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;
/// The public exponent 65537. Every key of ours has it; others are refused, the small ones for their history.
const EXPONENT: [u8; 3] = [1, 0, 1];

/// Why a key cannot be used. None of them says anything about its secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// Its `kid` is missing, or none of ours.
    #[error("the key's id is not 22 characters of unpadded base64url")]
    Id,
    /// Its `kty`, `crv` and `alg` name nothing that is known here, or contradict each other.
    #[error("the key's type or algorithm is not supported")]
    Unsupported,
    /// Its `use` or `key_ops` forbid verifying, or it was published with its private half.
    #[error("the key is not one for verifying signatures")]
    NotForVerifying,
    /// RSA with less than 2048 or more than 4096 bits, or an exponent other than 65537.
    #[error("the RSA key is too small, too large, or has an unusual exponent")]
    Rsa,
    /// Its bytes are no key.
    #[error("the key is malformed")]
    Malformed,
}

/// A public key, parsed: it verifies signatures of one algorithm.
#[derive(Clone)]
pub struct VerifyingKey {
    id: KeyId,
    algorithm: Algorithm,
    key: ParsedPublicKey,
    jwk: Jwk,
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, algorithm, .. } = self;
        write!(f, "VerifyingKey({id}, {algorithm})")
    }
}

impl VerifyingKey {
    /// Parses a public key. The algorithm follows from `kty` and `crv`; `alg`, `use` and `key_ops` are checked where
    /// they are present; `kid` is required.
    pub fn from_jwk(jwk: &Jwk) -> Result<Self, InvalidKey> {
        let id = jwk.kid.as_deref().and_then(|kid| kid.parse().ok()).ok_or(InvalidKey::Id)?;
        let algorithm = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("EC", Some("P-256")) => Algorithm::Es256,
            ("OKP", Some("Ed25519")) => Algorithm::Ed25519,
            ("RSA", None) => Algorithm::Rs256,
            _ => return Err(InvalidKey::Unsupported),
        };
        if jwk.alg.as_deref().is_some_and(|alg| alg != algorithm.name()) {
            return Err(InvalidKey::Unsupported);
        }
        let key = parse_public(jwk, &RSA_PKCS1_2048_8192_SHA256)?;
        Ok(Self { id, algorithm, key, jwk: jwk.clone() })
    }

    /// The key's id.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The only algorithm that it verifies.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key as it was published.
    pub const fn jwk(&self) -> &Jwk {
        &self.jwk
    }

    /// Whether `signature` (in JWS's form: RFC 7518, section 3; RFC 8037, section 3.1) is this key's over `message`.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verify_sig(message, signature).is_ok()
    }
}

/// The public key that the members of a JWK make; one of RSA verifies as `rsa` says. The members that say what it is for
/// are checked where they are present.
pub(crate) fn parse_public(
    jwk: &Jwk,
    rsa: &'static RsaParameters,
) -> Result<ParsedPublicKey, InvalidKey> {
    let may_verify = jwk.usage.as_deref().is_none_or(|usage| usage == "sig")
        && jwk.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"))
        && jwk.private.is_none();
    if !may_verify {
        return Err(InvalidKey::NotForVerifying);
    }
    let key = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("EC", Some("P-256")) => {
            let point = [&[4], &field::<32>(&jwk.x)?[..], &field::<32>(&jwk.y)?[..]].concat();
            ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        }
        ("OKP", Some("Ed25519")) => ParsedPublicKey::new(&ED25519, field::<32>(&jwk.x)?),
        ("RSA", None) => rsa_components(jwk)?.to_parsed_public_key(rsa),
        _ => return Err(InvalidKey::Unsupported),
    };
    key.map_err(|_| InvalidKey::Malformed)
}

fn decode(text: &Option<String>) -> Result<Vec<u8>, InvalidKey> {
    let text = text.as_deref().ok_or(InvalidKey::Malformed)?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidKey::Malformed)
}

fn field<const N: usize>(text: &Option<String>) -> Result<[u8; N], InvalidKey> {
    decode(text)?.try_into().map_err(|_| InvalidKey::Malformed)
}

fn rsa_components(jwk: &Jwk) -> Result<PublicKeyComponents<Vec<u8>>, InvalidKey> {
    let (n, e) = (decode(&jwk.n)?, decode(&jwk.e)?);
    let leading_zeros = n.first().map_or(0, |byte| byte.leading_zeros() as usize);
    if leading_zeros == 8 {
        return Err(InvalidKey::Malformed);
    }
    if !MODULUS_BITS.contains(&(n.len() * 8 - leading_zeros)) || e != EXPONENT {
        return Err(InvalidKey::Rsa);
    }
    Ok(PublicKeyComponents { n, e })
}

/// A private key, parsed: it signs with one algorithm.
pub struct SigningKey {
    public: VerifyingKey,
    pair: Pair,
}

enum Pair {
    Es256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rs256(RsaKeyPair),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let VerifyingKey { id, algorithm, .. } = self.public;
        write!(f, "SigningKey({id}, {algorithm})")
    }
}

impl SigningKey {
    /// Makes a key, from randomness that the crypto library draws. RSA (2048 bits) takes about a tenth of a second.
    pub fn generate(id: KeyId, algorithm: Algorithm) -> Result<Self, InvalidKey> {
        let pair = match algorithm {
            Algorithm::Es256 => {
                EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map(Pair::Es256)
            }
            Algorithm::Ed25519 => Ed25519KeyPair::generate().map(Pair::Ed25519),
            Algorithm::Rs256 => RsaKeyPair::generate(KeySize::Rsa2048).map(Pair::Rs256),
        };
        Self::new(id, pair.map_err(|_| InvalidKey::Malformed)?)
    }

    /// Parses the PKCS #8 form (RFC 5208, RFC 5958) of a key of this algorithm.
    pub fn from_pkcs8(id: KeyId, algorithm: Algorithm, der: &[u8]) -> Result<Self, InvalidKey> {
        let pair = match algorithm {
            Algorithm::Es256 => {
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).map(Pair::Es256)
            }
            Algorithm::Ed25519 => Ed25519KeyPair::from_pkcs8(der).map(Pair::Ed25519),
            Algorithm::Rs256 => RsaKeyPair::from_pkcs8(der).map(Pair::Rs256),
        };
        Self::new(id, pair.map_err(|_| InvalidKey::Malformed)?)
    }

    /// The PKCS #8 form of the private key, in clear. Every caller is a place to look at in a review.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, InvalidKey> {
        let copy = |bytes: &[u8]| Zeroizing::new(bytes.to_vec());
        let der = match &self.pair {
            Pair::Es256(pair) => pair.to_pkcs8v1().map(|der| copy(der.as_ref())),
            Pair::Ed25519(pair) => pair.to_pkcs8().map(|der| copy(der.as_ref())),
            Pair::Rs256(pair) => pair.as_der().map(|der| copy(der.as_ref())),
        };
        der.map_err(|_| InvalidKey::Malformed)
    }

    fn new(id: KeyId, pair: Pair) -> Result<Self, InvalidKey> {
        let text = |bytes: &[u8]| Some(URL_SAFE_NO_PAD.encode(bytes));
        let mut jwk = Jwk {
            kid: Some(id.to_string()),
            alg: Some(pair.algorithm().name().into()),
            usage: Some("sig".into()),
            ..Jwk::default()
        };
        match &pair {
            Pair::Es256(pair) => {
                // An uncompressed point: 4, x, y (SEC 1, section 2.3.3).
                let point = pair.public_key().as_ref();
                let (x, y) = point[1..].split_at(32);
                (jwk.kty, jwk.crv) = ("EC".into(), Some("P-256".into()));
                (jwk.x, jwk.y) = (text(x), text(y));
            }
            Pair::Ed25519(pair) => {
                (jwk.kty, jwk.crv) = ("OKP".into(), Some("Ed25519".into()));
                jwk.x = text(pair.public_key().as_ref());
            }
            Pair::Rs256(pair) => {
                let public = pair.public_key();
                jwk.kty = "RSA".into();
                jwk.n = text(public.modulus().big_endian_without_leading_zero());
                jwk.e = text(public.exponent().big_endian_without_leading_zero());
            }
        }
        Ok(Self { public: VerifyingKey::from_jwk(&jwk)?, pair })
    }

    /// The public half.
    pub const fn verifying_key(&self) -> &VerifyingKey {
        &self.public
    }

    /// Signs a message, in JWS's form. The crypto library draws what ECDSA needs.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let rng = SystemRandom::new();
        match &self.pair {
            Pair::Es256(pair) => pair.sign(&rng, message).map(|s| s.as_ref().to_vec()),
            Pair::Ed25519(pair) => pair.try_sign(message).map(|s| s.as_ref().to_vec()),
            Pair::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &rng, message, &mut signature).map(|()| signature)
            }
        }
    }
}

impl Pair {
    const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Es256(_) => Algorithm::Es256,
            Self::Ed25519(_) => Algorithm::Ed25519,
            Self::Rs256(_) => Algorithm::Rs256,
        }
    }
}
