//! ID tokens that come back (`id_token_hint`: OpenID Connect Core, section 3.1.2.1; RP-Initiated Logout 1.0, section 2).
//!
//! A hint opens nothing. It says which login a client means, and it may have expired long ago.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, de::IgnoredAny};

use super::{Header, InvalidToken, TOKEN_BYTES_MAX, TokenType, compact, json::Unambiguous};
use crate::{client::ClientId, id::SessionId, keys::VerifyingKey};

/// What an ID token of ours said.
///
/// ```
/// use std::time::Duration;
/// use symbolon_core::{id::*, keys::*, secret::SecretText, session::*, time::Time, token::*, user::Epoch};
///
/// let key = SigningKey::generate(KeyId::from_bytes([1; 16]), Algorithm::Es256)?;
/// let now = Time::from_secs(1_800_000_000);
/// let login = Login {
///     user: UserId::from_bytes([2; 16]),
///     epoch: Epoch(1),
///     at: now,
///     methods: vec![Method::Pwd],
///     assurance: Assurance::Aal1,
///     remembered: false,
/// };
/// let token = IdToken {
///     issuer: "https://auth.example",
///     client: &"shop".parse()?,
///     subject: login.user,
///     login: &login,
///     session: SessionId::from_bytes([3; 16]),
///     issued_at: now,
///     expires_at: now + Duration::from_secs(300),
///     nonce: None,
/// };
/// let text = token.issue(&SecretText::new("an access token".to_owned()), &key)?;
/// let hint = Hint::read(text.expose(), "https://auth.example", |id| {
///     Some(key.verifying_key()).filter(|key| key.id() == id)
/// })?;
/// assert_eq!((hint.client.as_str(), hint.session), ("shop", SessionId::from_bytes([3; 16])));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// The client that it was issued to: `aud`.
    pub client: ClientId,
    /// Who logged in, as the client was told: `sub`.
    pub subject: Box<str>,
    /// The client's session: `sid`.
    pub session: SessionId,
}

#[derive(Deserialize)]
struct Read {
    iss: Box<str>,
    sub: Box<str>,
    aud: ClientId,
    sid: SessionId,
    // What an access token or a logout token has, and an ID token of ours has not.
    client_id: Option<IgnoredAny>,
    jti: Option<IgnoredAny>,
    events: Option<IgnoredAny>,
}

impl Hint {
    /// Reads a hint, with the keys that this issuer's tokens may be signed with. Times are not looked at.
    ///
    /// # Errors
    /// [`InvalidToken`]. [`InvalidToken::UnknownKey`] may be a token that is older than all keys that are kept: it says
    /// nothing, for or against anybody.
    pub fn read<'k>(
        text: &str,
        issuer: &str,
        key: impl FnOnce(crate::id::KeyId) -> Option<&'k VerifyingKey>,
    ) -> Result<Self, InvalidToken> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(InvalidToken::TooLong);
        }
        let parts = compact::split(text).ok_or(InvalidToken::Malformed)?;
        let decode = |part| URL_SAFE_NO_PAD.decode(part).map_err(|_| InvalidToken::Malformed);
        let (payload, signature) = (decode(parts.payload)?, decode(parts.signature)?);

        let Header { typ, alg, kid } = Header::parse(parts.header)?;
        if typ != TokenType::Jwt {
            return Err(InvalidToken::Type);
        }
        let key = key(kid).ok_or(InvalidToken::UnknownKey)?;
        if alg != key.algorithm() {
            return Err(InvalidToken::Algorithm);
        }
        if !key.verifies(parts.signed.as_bytes(), &signature) {
            return Err(InvalidToken::Signature);
        }
        serde_json::from_slice::<Unambiguous>(&payload).map_err(|_| InvalidToken::Claims)?;
        let read: Read = serde_json::from_slice(&payload).map_err(|_| InvalidToken::Claims)?;
        if read.client_id.is_some() || read.jti.is_some() || read.events.is_some() {
            return Err(InvalidToken::Claims);
        }
        if *read.iss != *issuer {
            return Err(InvalidToken::Issuer);
        }
        Ok(Self { client: read.aud, subject: read.sub, session: read.sid })
    }
}
