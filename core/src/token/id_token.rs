//! ID tokens (OpenID Connect Core, section 2): what a client is told about a login.
//!
//! An ID token opens nothing: it has no `client_id` and no `jti`, always an `at_hash`, and its audience is the client.
//! [`Verifier`](super::Verifier) refuses it for each of these.

use aws_lc_rs::digest::{self, SHA256, SHA512};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;

use super::{CannotIssue, issue::sign};
use crate::{
    client::ClientId,
    id::{SessionId, UserId},
    keys::{Algorithm, SigningKey},
    secret::SecretText,
    session::{Login, Method},
    time::Time,
};

/// What an ID token says, besides the access token that it comes with.
#[derive(Debug, Clone, Copy)]
pub struct IdToken<'a> {
    /// Who issued it: this server's URL.
    pub issuer: &'a str,
    /// Whom it is for: the `aud` and `azp` claims.
    pub client: &'a ClientId,
    /// Who logged in, as the client knows them: the `sub` claim.
    pub subject: UserId,
    /// When and how they logged in: `auth_time`, `acr`, `amr`.
    pub login: &'a Login,
    /// The app's session: what a logout names.
    pub session: SessionId,
    /// When it was issued.
    pub issued_at: Time,
    /// From when on it is void.
    pub expires_at: Time,
    /// What the client sent with its request, the first time.
    pub nonce: Option<&'a str>,
}

#[derive(Serialize)]
struct Written<'a> {
    iss: &'a str,
    sub: UserId,
    aud: &'a ClientId,
    exp: i64,
    iat: i64,
    auth_time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
    acr: &'static str,
    amr: &'a [Method],
    sid: SessionId,
    at_hash: String,
    azp: &'a ClientId,
}

impl IdToken<'_> {
    /// Signs the ID token that goes with an access token.
    ///
    /// # Errors
    /// [`CannotIssue`].
    pub fn issue(&self, access: &SecretText, key: &SigningKey) -> Result<SecretText, CannotIssue> {
        if self.expires_at <= self.issued_at {
            return Err(CannotIssue::Times);
        }
        let written = Written {
            iss: self.issuer,
            sub: self.subject,
            aud: self.client,
            exp: self.expires_at.secs(),
            iat: self.issued_at.secs(),
            auth_time: self.login.at.secs(),
            nonce: self.nonce,
            acr: self.login.assurance.as_str(),
            amr: &self.login.methods,
            sid: self.session,
            at_hash: at_hash(access, key.verifying_key().algorithm()),
            azp: self.client,
        };
        sign("JWT", &written, key)
    }
}

/// The left half of the access token's digest, by the hash of the signature (OpenID Connect Core, section 3.1.3.6).
/// Ed25519 hashes with SHA-512.
fn at_hash(access: &SecretText, algorithm: Algorithm) -> String {
    let hash = match algorithm {
        Algorithm::Es256 | Algorithm::Rs256 => &SHA256,
        Algorithm::Ed25519 => &SHA512,
    };
    let digest = digest::digest(hash, access.expose().as_bytes());
    let half = &digest.as_ref()[..digest.as_ref().len() / 2];
    URL_SAFE_NO_PAD.encode(half)
}
