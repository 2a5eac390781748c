//! DPoP (RFC 9449): a request proves that whoever sends it has the private key that its token is bound to.
//!
//! A stolen token is of no use without the key. A stolen *proof* fits one method, one URL, at a resource server one
//! token, for the seconds that [`Rules`] say, and once, if the server remembers its [`Proof::jti`].
//!
//! ```
//! use symbolon_core::{oauth::dpop::{Nonces, Proof, Rules, Target}, time::Time};
//!
//! // The example of RFC 9449, section 7.1.
//! let header = concat!("eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgt",
//!     "MzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUw",
//!     "Q2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9y",
//!     "ZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNF",
//!     "c05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6",
//!     "Fy1dqd-jfxSYoMxhAJpLjA");
//! let target = Target {
//!     method: "GET",
//!     uri: "https://resource.example.org/protectedresource",
//!     access_token: Some("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"),
//!     nonces: Nonces::None,
//! };
//! let proof = Proof::verify(header, &target, &Rules::default(), Time::from_secs(1_562_262_620))?;
//! // The `jkt` of the token's `cnf` must be this key.
//! assert_eq!(proof.key.to_string(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
//! # Ok::<(), symbolon_core::oauth::dpop::InvalidProof>(())
//! ```

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq;

use super::{
    jwk::Thumbprint,
    jws::{InvalidJws, Jws},
    uri::Uri,
};
use crate::{
    secret::{SecretBytes, sha256},
    time::Time,
};

/// The longest proof that is looked at, in bytes. With an RSA key of 4096 bits it has about 2200.
pub const PROOF_BYTES_MAX: usize = 8 * 1024;

/// Why a proof is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProof {
    /// It is no JWS of the key that it brings, or not `dpop+jwt`. To the client this and all others but [`Self::Nonce`]
    /// are `invalid_dpop_proof` (RFC 9449, sections 5 and 7.1).
    #[error(transparent)]
    Jws(#[from] InvalidJws),
    /// Another method.
    #[error("the method is another")]
    Method,
    /// Another URL, or none.
    #[error("the URL is another")]
    Uri,
    /// Another access token, or none.
    #[error("the access token is another")]
    Token,
    /// `iat` is too old or in the future.
    #[error("not made just now")]
    Time,
    /// Everything else was right, and the nonce is missing or none of ours. To the client it is `use_dpop_nonce`, with a
    /// fresh one (RFC 9449, sections 8 and 9).
    #[error("the nonce is missing or not one of ours")]
    Nonce,
}

/// What the server insists on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How far ahead of ours the client's clock may be.
    pub leeway: Duration,
    /// How old a proof may be.
    pub age_max: Duration,
}

impl Default for Rules {
    /// 30 seconds ahead, 60 seconds old. Each `jti` is remembered for their sum at most.
    fn default() -> Self {
        Self { leeway: Duration::from_secs(30), age_max: Duration::from_secs(60) }
    }
}

/// The request that a proof must fit.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Its method, as it came. Compared exactly: methods are case-sensitive (RFC 9110, section 9.1).
    pub method: &'a str,
    /// Its URL as the client sees it, with the scheme and host of this server's outside. Query and fragment do not
    /// count; both sides are compared in their normal form (RFC 9449, section 4.3).
    pub uri: &'a str,
    /// At a resource server, the access token beside the proof. At the token endpoint `None`.
    pub access_token: Option<&'a str>,
    /// Which proofs must repeat a nonce of ours.
    pub nonces: Nonces<'a>,
}

/// Which proofs must repeat a nonce of ours (RFC 9449, sections 8 and 9), and which nonces count now: the current one and
/// the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nonces<'a> {
    /// None must.
    None,
    /// Those that were made before the second of this moment: whoever remembers what was used began then.
    Before(Time, [&'a str; 2]),
    /// Each must.
    Each([&'a str; 2]),
}

impl Nonces<'_> {
    fn admit(&self, nonce: Option<&str>, issued_at: Time) -> bool {
        let ours = |nonces: &[&str; 2]| nonce.is_some_and(|nonce| nonces.contains(&nonce));
        match self {
            Self::None => true,
            Self::Before(began, nonces) => issued_at.secs() >= began.secs() || ours(nonces),
            Self::Each(nonces) => ours(nonces),
        }
    }
}

/// A proof that fits its request. It counts if it is the first time that it is presented, and at a resource server if
/// its key is that of the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The key: `cnf.jkt` of the token (RFC 9449, section 6.1).
    pub key: Thumbprint,
    /// The proof's id, unique for its key: refuse it when it comes again before [`Self::forget_at`]. 1 to
    /// [`JTI_BYTES_MAX`](super::jws::JTI_BYTES_MAX) bytes of any text.
    pub jti: Box<str>,
    /// From when on the proof is refused anyway, and its id need not be remembered.
    pub forget_at: Time,
}

impl Proof {
    /// Verifies the value of a `DPoP` header, by the steps of RFC 9449, section 4.3. That there is one such header is
    /// the caller's to see.
    ///
    /// # Errors
    /// The first reason against it; [`InvalidProof::Nonce`] only when there is no other.
    pub fn verify(
        text: &str,
        target: &Target<'_>,
        rules: &Rules,
        now: Time,
    ) -> Result<Self, InvalidProof> {
        let jws = Jws::parse(text, PROOF_BYTES_MAX)?;
        if !jws.check_type(&["dpop+jwt"])? {
            return Err(InvalidJws::Type.into());
        }
        let (claims, key) = jws.verified_by_itself()?;
        let jti = claims.jti()?.ok_or(InvalidJws::Claims)?;
        if claims.required("htm")? != target.method {
            return Err(InvalidProof::Method);
        }
        let presented = normal(claims.required("htu")?);
        if presented.is_none() || presented != normal(target.uri) {
            return Err(InvalidProof::Uri);
        }
        if let Some(token) = target.access_token {
            let hash = URL_SAFE_NO_PAD.encode(sha256(token.as_bytes()));
            let presented = claims.text("ath")?.ok_or(InvalidProof::Token)?;
            if !bool::from(presented.as_bytes().ct_eq(hash.as_bytes())) {
                return Err(InvalidProof::Token);
            }
        }
        let issued_at = claims.time("iat")?.ok_or(InvalidJws::Claims)?;
        let forget_at = issued_at + rules.age_max;
        if issued_at > now + rules.leeway || forget_at <= now {
            return Err(InvalidProof::Time);
        }
        if !target.nonces.admit(claims.text("nonce")?, issued_at) {
            return Err(InvalidProof::Nonce);
        }
        Ok(Self { key: key.thumbprint(), jti, forget_at })
    }
}

/// Makes nonces: each for a while, from a secret of this process and the time, so that none has to be remembered.
#[derive(Debug)]
pub struct NonceKey(SecretBytes<32>);

impl NonceKey {
    /// From a fresh secret.
    pub const fn new(secret: SecretBytes<32>) -> Self {
        Self(secret)
    }

    /// The nonce to hand out now, and the one before it, which counts, too: a nonce is good for 5 to 10 minutes.
    pub fn nonces(&self, now: Time) -> [String; 2] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.expose());
        let turn = now.secs().div_euclid(NONCE_SECS);
        [turn, turn - 1].map(|turn| {
            let tag = hmac::sign(&key, &[b"dpop nonce", &turn.to_be_bytes()[..]].concat());
            URL_SAFE_NO_PAD.encode(&tag.as_ref()[..16])
        })
    }
}

const NONCE_SECS: i64 = 300;

fn normal(uri: &str) -> Option<String> {
    Uri::parse(uri).ok()?.normal_target()
}
