//! Logout tokens (OpenID Connect Back-Channel Logout 1.0, section 2.4): a client is told that a login is over.
//!
//! It is no ID token and no access token, and nothing takes it for one: it has a `typ` of its own, `events`, and never a
//! `nonce`.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::{CannotIssue, issue::sign};
use crate::{
    client::ClientId,
    id::{SessionId, TokenId},
    keys::SigningKey,
    secret::SecretText,
    time::Time,
};

/// How long one is good for: it is sent in the moment it is made (section 4 advises two minutes at most).
const LIFE: Duration = Duration::from_secs(120);

/// What a logout token says.
#[derive(Debug, Clone, Copy)]
pub struct LogoutToken<'a> {
    /// Who issued it: this server's URL.
    pub issuer: &'a str,
    /// Whom it is for: the `aud` claim.
    pub client: &'a ClientId,
    /// Whose login is over, as the client was told: the `sub` claim.
    pub subject: &'a str,
    /// The session that is over: the `sid` claim of the ID token.
    pub session: SessionId,
    /// Its own id. A receiver may refuse one that it has seen, so each try has another.
    pub id: TokenId,
    /// When it was issued.
    pub issued_at: Time,
}

#[derive(Serialize)]
struct Written<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a ClientId,
    iat: i64,
    exp: i64,
    jti: TokenId,
    sid: SessionId,
    events: Value,
}

impl LogoutToken<'_> {
    /// Signs it, with the key that the client knows from its ID tokens.
    ///
    /// # Errors
    /// [`CannotIssue`].
    pub fn issue(&self, key: &SigningKey) -> Result<SecretText, CannotIssue> {
        let written = Written {
            iss: self.issuer,
            sub: self.subject,
            aud: self.client,
            iat: self.issued_at.secs(),
            exp: (self.issued_at + LIFE).secs(),
            jti: self.id,
            sid: self.session,
            events: json!({ "http://schemas.openid.net/event/backchannel-logout": {} }),
        };
        sign("logout+jwt", &written, key)
    }
}
