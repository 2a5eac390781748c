//! Making a token.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{Claims, TOKEN_BYTES_MAX, TokenType};
use crate::{keys::SigningKey, secret::SecretText};

/// Why no token was made. Each of them is a fault of the server or its configuration, none of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CannotIssue {
    /// It would end before it begins.
    #[error("the token would expire before it is issued")]
    Times,
    /// It could be taken for an ID token: `typ: JWT`, and the client itself is its audience.
    #[error("a token of type JWT must not have its own client as audience")]
    LooksLikeIdToken,
    /// It would be longer than any verifier looks at.
    #[error("the token would be longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    /// The crypto library refused.
    #[error("the token could not be signed")]
    Signing,
}

impl Claims {
    /// Signs a token that says this. The caller has read `iat` and `exp` from a clock *before* it looked whether the
    /// session lives.
    pub fn issue(&self, typ: TokenType, key: &SigningKey) -> Result<SecretText, CannotIssue> {
        if self.exp <= self.iat {
            return Err(CannotIssue::Times);
        }
        if typ == TokenType::Jwt && self.aud.contains(self.client_id.as_str()) {
            return Err(CannotIssue::LooksLikeIdToken);
        }
        sign(typ.name(), self, key)
    }
}

/// The compact JWS of these claims.
pub(super) fn sign(
    typ: &str,
    claims: &impl serde::Serialize,
    key: &SigningKey,
) -> Result<SecretText, CannotIssue> {
    let public = key.verifying_key();
    let (alg, kid) = (public.algorithm(), public.id());
    let header = format!(r#"{{"typ":"{typ}","alg":"{alg}","kid":"{kid}"}}"#);
    let claims = serde_json::to_vec(claims).map_err(|_| CannotIssue::Signing)?;

    let mut text = String::with_capacity(1024);
    URL_SAFE_NO_PAD.encode_string(header, &mut text);
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(claims, &mut text);
    let signature = key.sign(text.as_bytes()).map_err(|_| CannotIssue::Signing)?;
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut text);
    if text.len() > TOKEN_BYTES_MAX {
        return Err(CannotIssue::TooLong);
    }
    Ok(SecretText::new(text))
}
