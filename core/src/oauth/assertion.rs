//! Client assertions: a client proves who it is by signing with its key (`private_key_jwt`: OpenID Connect Core, section
//! 9; RFC 7521, section 4.2; RFC 7523, section 3).
//!
//! # For whom an assertion is
//! Accepted is **the issuer alone**, as a text. RFC 7523 also allows the token endpoint,
//! and that is how *audience injection* (published in 2025) works: a client that also talks to an attacker's server
//! takes from its metadata an endpoint that is written like ours, signs for that audience, and the attacker presents the
//! assertion to us. An issuer cannot be lent in this way, because a client compares it with where it found the metadata
//! (RFC 8414, section 3.3). Therefore FAPI 2.0 and the update of RFC 7523 under way (draft-ietf-oauth-rfc7523bis) want
//! the issuer as the only value.
//!
//! Clients that can only name the token endpoint (Spring Security's default, older libraries), or write one audience as an
//! array, can be given [`Rules::token_endpoint`], client by client; it is safe for one that talks to no other server with
//! the same key.
//!
//! ```
//! use symbolon_core::{oauth::{assertion::{Assertion, InvalidAssertion, Rules}, jwk::PublicKeys}, time::Time};
//!
//! // Of the key of RFC 8037, appendix A: {"iss":"shop","sub":"shop","aud":"https://auth.example","exp":1800000060,"jti":"1"}
//! let text = concat!("eyJhbGciOiJFZERTQSJ9.eyJpc3MiOiJzaG9wIiwic3ViIjoic2hvcCIsImF1ZCI6Imh0dHBzOi8vYXV0aC5leGFtcGxl",
//!     "IiwiZXhwIjoxODAwMDAwMDYwLCJqdGkiOiIxIn0.q6r2hDm-akHeteuI4S1gQWRUGVlbniIBSWXhAKf0AOKkYXADg7COmqkgf9EaQt5j",
//!     "eW7JU65jw51TfhVC5d1PBA");
//! let assertion = Assertion::parse(text)?;
//! assert_eq!(assertion.client().as_str(), "shop"); // claimed: look up its keys
//! let keys = PublicKeys::parse(r#"{"keys":[{"kty":"OKP","crv":"Ed25519",
//!     "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#)?;
//!
//! let now = Time::from_secs(1_800_000_000);
//! let proven = assertion.clone().verify(&keys, &Rules::new("https://auth.example"), now)?;
//! assert_eq!((&*proven.jti, proven.forget_at), ("1", Time::from_secs(1_800_000_090)));
//! let elsewhere = assertion.verify(&keys, &Rules::new("https://other.example"), now);
//! assert_eq!(elsewhere, Err(InvalidAssertion::Audience));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::time::Duration;

use super::{
    jwk::{PublicKeys, SignatureAlgorithm},
    jws::{Claims, InvalidJws, Jws},
};
use crate::{client::ClientId, time::Time};

/// The `client_assertion_type` of a request that carries one (RFC 7523, section 2.2).
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The longest assertion that is looked at, in bytes.
pub const ASSERTION_BYTES_MAX: usize = 8 * 1024;

/// Why an assertion is refused. To the client all of them are `invalid_client` (RFC 7521, section 4.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAssertion {
    /// It is no JWS of one of the client's keys, or not of this kind.
    #[error(transparent)]
    Jws(#[from] InvalidJws),
    /// `iss` and `sub` differ, so that a client speaks for another.
    #[error("the issuer is not the subject")]
    Subject,
    /// `aud` is not we, or not only we.
    #[error("the audience is not this server alone")]
    Audience,
}

/// What the server insists on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules<'a> {
    /// The issuer: the only audience.
    pub issuer: &'a str,
    /// For a client that needs it, the URL of the token endpoint as another audience; either of them also as an array of
    /// one. Read the module's words first.
    pub token_endpoint: Option<&'a str>,
    /// The one algorithm, where the client has registered one.
    pub algorithm: Option<SignatureAlgorithm>,
    /// How far clocks may differ.
    pub leeway: Duration,
    /// How far ahead `exp` may lie. Each `jti` is remembered at most so long, plus twice the leeway.
    pub lifetime_max: Duration,
}

impl<'a> Rules<'a> {
    /// The usual rules: only the issuer, 30 seconds of leeway, lives up to an hour (what Authlib makes, if it is not told
    /// otherwise).
    pub const fn new(issuer: &'a str) -> Self {
        Self {
            issuer,
            token_endpoint: None,
            algorithm: None,
            leeway: Duration::from_secs(30),
            lifetime_max: Duration::from_secs(3600),
        }
    }

    fn check_audience(&self, claims: &Claims) -> Result<(), InvalidAssertion> {
        match (claims.audiences()?[..].as_ref(), self.token_endpoint) {
            ([one], None) if *one == self.issuer && !claims.is_for_a_list() => Ok(()),
            ([one], Some(endpoint)) if *one == self.issuer || *one == endpoint => Ok(()),
            _ => Err(InvalidAssertion::Audience),
        }
    }
}

/// An assertion that somebody presented. Nothing in it is proven.
#[derive(Debug, Clone)]
pub struct Assertion<'t> {
    jws: Jws<'t>,
    client: ClientId,
}

/// A client that has proven who it is, if this is the first time that it says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenClient {
    /// The client.
    pub client: ClientId,
    /// The assertion's id, unique for its client: refuse it when it comes again before [`Self::forget_at`]. 1 to
    /// [`JTI_BYTES_MAX`](super::jws::JTI_BYTES_MAX) bytes of any text.
    pub jti: Box<str>,
    /// From when on the assertion is refused anyway, and its id need not be remembered.
    pub forget_at: Time,
    /// When it was made: its `iat`, or where that is missing, the earliest moment that its `exp` allows.
    pub made_at: Time,
}

impl<'t> Assertion<'t> {
    /// Takes an assertion apart, to learn whose keys are needed.
    ///
    /// # Errors
    /// The first reason against it that needs no key.
    pub fn parse(text: &'t str) -> Result<Self, InvalidAssertion> {
        let jws = Jws::parse(text, ASSERTION_BYTES_MAX)?;
        jws.check_type(&["client-authentication+jwt", "JWT"])?;
        let claimed = jws.claimed()?;
        let client = claimed.client("sub")?;
        if claimed.required("iss")? != client.as_str() {
            return Err(InvalidAssertion::Subject);
        }
        Ok(Self { jws, client })
    }

    /// The client that it claims to be of. A `client_id` beside it in the request must be the same (RFC 7521, section
    /// 4.2).
    pub const fn client(&self) -> &ClientId {
        &self.client
    }

    /// Whether one of that client's keys signed it, for us, for now.
    ///
    /// # Errors
    /// The first reason against it; [`InvalidJws::Expired`] only when there is no other.
    pub fn verify(
        self,
        keys: &PublicKeys,
        rules: &Rules<'_>,
        now: Time,
    ) -> Result<ProvenClient, InvalidAssertion> {
        self.jws.check_algorithm(rules.algorithm)?;
        let claims = self.jws.verified_by(keys)?;
        rules.check_audience(&claims)?;
        let jti = claims.jti()?.ok_or(InvalidJws::Claims)?;
        let forget_at = claims.expires_at(rules.leeway, rules.lifetime_max, now)?;
        let earliest = forget_at - rules.leeway - rules.lifetime_max;
        let made_at = claims.time("iat")?.unwrap_or(earliest);
        Ok(ProvenClient { client: self.client, jti, forget_at, made_at })
    }
}
