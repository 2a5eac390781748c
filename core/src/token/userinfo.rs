//! A signed answer of userinfo (OpenID Connect Core, section 5.3.2).

use serde::Serialize;
use serde_json::{Map, Value};

use super::{CannotIssue, issue::sign};
use crate::{client::ClientId, keys::SigningKey, secret::SecretText};

/// What a client is told about a user, signed on request. It has no `exp`, so that nobody takes it for an ID token, and
/// no `client_id`, so that nobody takes it for an access token.
#[derive(Debug, Clone, Serialize)]
pub struct UserInfo<'a> {
    /// Who says it: this server's URL.
    #[serde(rename = "iss")]
    pub issuer: &'a str,
    /// Who is told.
    #[serde(rename = "aud")]
    pub client: &'a ClientId,
    /// What: `sub` and the user's claims.
    #[serde(flatten)]
    pub claims: &'a Map<String, Value>,
}

impl UserInfo<'_> {
    /// Signs it.
    ///
    /// # Errors
    /// [`CannotIssue`].
    pub fn issue(&self, key: &SigningKey) -> Result<SecretText, CannotIssue> {
        sign("JWT", self, key)
    }
}
