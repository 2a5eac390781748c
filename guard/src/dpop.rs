//! Proofs that whoever sends a request holds the key of its token (DPoP, RFC 9449).
//!
//! A token that is bound to a key comes as `Authorization: DPoP …`, with a proof in the header `DPoP`, signed for this one
//! request. The [`Guard`](crate::Guard) asks for it wherever the [`Claims`](crate::Claims) of a credential name a key.
//!
//! A proof counts once. What was used is remembered by the process, until the proof is too old anyway (90 seconds at
//! most). One that was made before the process began could have been used before: it must repeat a nonce of this process,
//! and a client that is told so repeats the request by itself (RFC 9449, section 9). Processes that share one URL do not
//! know what the others have seen; where that matters, let each proof repeat a nonce:
//! [`Rules::demand_nonces`](crate::Rules::demand_nonces).

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use http::{HeaderMap, HeaderName, HeaderValue};
use symbolon_core::{
    oauth::{
        dpop::{self, InvalidProof, NonceKey, Nonces, Proof},
        jwk::Thumbprint,
        once::{NotOnce, Once},
    },
    secret::{SecretBytes, SecretText},
    time::Time,
};

/// The header of a proof.
pub const PROOF: HeaderName = HeaderName::from_static("dpop");
/// The header that hands out a nonce.
pub const NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// Used proofs that are remembered at a time, about 50 bytes each: 20 000 requests per second and more.
const USED_MAX: usize = 1 << 21;

/// Why a proof proves nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unproven {
    /// It is missing, twice there, not one of this request, of another key, or was used before.
    Invalid,
    /// It is right, but does not repeat a nonce of ours. This is one.
    Nonce(HeaderValue),
    /// Nobody can tell now whether it was used before.
    Full,
}

/// The request that a proof is for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its method.
    pub method: &'a str,
    /// Its URL, as the client sees it.
    pub url: &'a str,
    /// The access token that it carries; none at the token endpoint.
    pub token: Option<&'a SecretText>,
}

/// Verifies proofs, and remembers which were used. Cheap to clone; clones remember together.
#[derive(Clone)]
pub struct Proofs(Arc<Inner>);

struct Inner {
    rules: dpop::Rules,
    nonce_key: NonceKey,
    each: bool,
    began: Time,
    used: Mutex<Once>,
}

impl fmt::Debug for Proofs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proofs").field("each", &self.0.each).finish_non_exhaustive()
    }
}

impl Proofs {
    /// Begins to remember. `each`: every proof must repeat a nonce.
    pub(crate) fn new(each: bool) -> Self {
        let mut secret = [0; 32];
        if aws_lc_rs::rand::fill(&mut secret).is_err() {
            // As aws-lc itself does: nobody can go on without random bytes.
            std::process::abort();
        }
        Self(Arc::new(Inner {
            rules: dpop::Rules::default(),
            nonce_key: NonceKey::new(SecretBytes::new(secret)),
            each,
            began: crate::os::now(),
            used: Mutex::new(Once::new(USED_MAX)),
        }))
    }

    /// Whether the request proves that its sender holds this key, for the first time. Returns the proof itself.
    pub(crate) fn prove(
        &self,
        request: &Request<'_>,
        key: Thumbprint,
        now: Time,
    ) -> Result<Proof, Unproven> {
        let proof = self.verify(request, now)?.ok_or(Unproven::Invalid)?;
        if proof.key == key { Ok(proof) } else { Err(Unproven::Invalid) }
    }

    /// Takes note that a proof is used.
    pub(crate) fn spend(&self, proof: &Proof, now: Time) -> Result<(), Unproven> {
        let mut used = self.0.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.first(proof.key.as_bytes(), &proof.jti, proof.forget_at, now).map_err(
            |why| match why {
                NotOnce::Replayed => refused(&"it was used before"),
                NotOnce::Full => Unproven::Full,
            },
        )
    }

    /// The key that the request proves its sender to hold, for the first time; `None` if it brings no proof. For a token
    /// endpoint: the guard itself asks for proofs of the keys of tokens.
    ///
    /// # Errors
    /// [`Unproven`].
    pub fn key(&self, request: &Request<'_>, now: Time) -> Result<Option<Thumbprint>, Unproven> {
        let Some(proof) = self.verify(request, now)? else { return Ok(None) };
        self.spend(&proof, now)?;
        Ok(Some(proof.key))
    }

    /// The nonce to hand out with an answer, where each proof must repeat one.
    pub fn nonce(&self, now: Time) -> Option<HeaderValue> {
        let [nonce, _] = self.0.nonce_key.nonces(now);
        self.0.each.then(|| HeaderValue::try_from(nonce).ok()).flatten()
    }

    fn verify(&self, request: &Request<'_>, now: Time) -> Result<Option<Proof>, Unproven> {
        let mut values = request.headers.get_all(PROOF).iter();
        let text = match (values.next(), values.next()) {
            (None, _) => return Ok(None),
            (Some(value), None) => value.to_str().map_err(|_| Unproven::Invalid)?,
            (Some(_), Some(_)) => return Err(refused(&"there are two")),
        };
        let [nonce, before] = self.0.nonce_key.nonces(now);
        let both = [nonce.as_str(), before.as_str()];
        let target = dpop::Target {
            method: request.method,
            uri: request.url,
            access_token: request.token.map(SecretText::expose),
            nonces: if self.0.each {
                Nonces::Each(both)
            } else {
                Nonces::Before(self.0.began, both)
            },
        };
        Proof::verify(text, &target, &self.0.rules, now).map(Some).map_err(|why| match why {
            InvalidProof::Nonce => match HeaderValue::try_from(&nonce) {
                Ok(nonce) => Unproven::Nonce(nonce),
                Err(_) => Unproven::Full,
            },
            why => refused(&why),
        })
    }
}

fn refused(why: &dyn fmt::Display) -> Unproven {
    tracing::debug!(%why, "a DPoP proof proves nothing");
    Unproven::Invalid
}
