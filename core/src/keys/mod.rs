//! The key ring: keys that sign access tokens and keys that make handles, by schedule, sealed at rest.
//!
//! A key at rest is a [`KeyRecord`]: when it was made, from when on it is used, and its secret sealed under a
//! [`MasterKey`] that is not in the database. Everything else follows from those times ([`lives`]): a key is used until
//! the next one of its [`Usage`] begins, stays known for as long as anything made with it may live, and then goes.
//!
//! ```text
//!  created ──publish_ahead──► activates ──── active ────► next key activates ──keep_after──► removed
//!  └───────────────────────── in the JWKS, found by every verifier ─────────────────────────┘
//! ```
//!
//! So a key is never without a successor: if nobody ran [`plan`] for a year, the old key just signed for a year.
//!
//! ```
//! use std::time::Duration;
//! use rand_core::SeedableRng;
//! use symbolon_core::{keys::*, secret::SecretBytes, time::Time};
//!
//! let rng = &mut rand_chacha::ChaCha20Rng::from_seed([7; 32]); // a server passes the system's
//! let now = Time::from_secs(1_800_000_000);
//! let master = MasterKey::new(&SecretBytes::random(rng));
//! let policy = Policy {
//!     active_for: Duration::from_secs(30 * 86_400),
//!     publish_ahead: Duration::from_secs(86_400),
//!     keep_tokens: Duration::from_secs(3_600),
//!     keep_handles: Duration::from_secs(90 * 86_400),
//! };
//!
//! let wanted = [Usage::Sign(Algorithm::Es256), Usage::Handle];
//! let mut records = Vec::new();
//! for act in plan(&records, &wanted, now, &policy) {
//!     if let KeyAct::Create(key) = act {
//!         records.push(key.make(&records, &master, now, rng)?);
//!     }
//! }
//! let ring = KeyRing::open(&records, &master, &policy)?;
//! assert!(ring.signing_key(Algorithm::Es256, now).is_some());
//! assert_eq!(ring.jwks(now).keys.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::{fmt, str::FromStr};

use crate::{id::KeyId, time::Time};

mod jwk;
mod pair;
mod ring;
mod schedule;
mod seal;

pub use jwk::{Jwk, Jwks};
pub(crate) use pair::parse_public;
pub use pair::{InvalidKey, SigningKey, VerifyingKey};
pub use ring::{KeyRing, NewKeyError, OpenRingError};
pub use schedule::{KeyAct, KeyState, Life, NewKey, Policy, lives, plan};
pub use seal::{MasterKey, OpenError, SealError, sealed_by};

/// How a key signs, by its JOSE name (RFC 7518, section 3.1; RFC 8037, section 3.1). A key has exactly one.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256. The default: every library knows it.
    #[default]
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519: the fastest to sign and to verify. Its name is `EdDSA`, because that is what libraries know; RFC 9864
    /// prefers `Ed25519`, which no key of ours answers to.
    #[serde(rename = "EdDSA")]
    Ed25519,
    /// RSASSA-PKCS1-v1_5 with SHA-256, for verifiers that know nothing else. Making a key takes a noticeable moment.
    #[serde(rename = "RS256")]
    Rs256,
}

impl Algorithm {
    /// Every algorithm there is.
    pub const ALL: [Self; 3] = [Self::Es256, Self::Ed25519, Self::Rs256];

    /// The `alg` of headers and JWKs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Ed25519 => "EdDSA",
            Self::Rs256 => "RS256",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an algorithm is ES256, EdDSA or RS256")]
pub struct UnknownAlgorithm;

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(text: &str) -> Result<Self, UnknownAlgorithm> {
        Self::ALL.into_iter().find(|a| a.name() == text).ok_or(UnknownAlgorithm)
    }
}

/// What a key is for. A key is never used for two things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Usage {
    /// Signing tokens with this algorithm. Its public half is in the JWKS.
    Sign(Algorithm),
    /// Making and recognising [handles](crate::handle). All of it is secret.
    Handle,
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sign(algorithm) => algorithm.fmt(f),
            Self::Handle => f.write_str("handle"),
        }
    }
}

impl FromStr for Usage {
    type Err = UnknownAlgorithm;

    /// Reads what [`Display`](fmt::Display) writes: `handle`, or the name of an algorithm.
    fn from_str(text: &str) -> Result<Self, UnknownAlgorithm> {
        if text == "handle" { Ok(Self::Handle) } else { text.parse().map(Self::Sign) }
    }
}

/// A key at rest: one row of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// The `kid`.
    pub id: KeyId,
    /// What it is for.
    pub usage: Usage,
    /// The secret, sealed under the master key together with id and usage.
    pub sealed: Box<[u8]>,
    /// Since when it is published.
    pub created_at: Time,
    /// From when on it is used, until the next key of its usage is.
    pub activates_at: Time,
    /// When it was declared lost. Nothing made with it counts any more, and its id is in the revocation log.
    pub withdrawn_at: Option<Time>,
}
