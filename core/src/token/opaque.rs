//! Opaque access tokens: the claims of a JWT, sealed so that only the server that gave the token can read them.
//!
//! In text: the prefix `symt_` (so that secret scanners find leaked ones), then unpadded base64url of
//!
//! ```text
//! version 1 │ key 4 │ nonce 24 │ sealed claims │ tag 16
//! ```
//!
//! * Nothing about it is stored, as nothing about a JWT is: once opened it is [`Claims`], and goes the way of all.
//! * The nonce is a MAC of the claims, so a repeated refresh gives the same text, and nothing has to be drawn.
//! * Each token is sealed (AES-256-GCM) under a key of its own, which follows from the nonce: no number of tokens is too
//!   many for the key that they come from.
//! * That key belongs to a [handle key](crate::handle::HandleKey). Whoever withdraws it ends these tokens, too.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    error::Unspecified,
    hmac,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{AccessToken, CannotIssue, Claims, InvalidToken, Rules, TOKEN_BYTES_MAX};
use crate::{id::KeyId, secret::SecretText, time::Time};

/// What the text begins with.
pub const PREFIX: &str = "symt_";

const VERSION: u8 = 1;
const KEY: std::ops::Range<usize> = 1..5;
const NONCE: std::ops::Range<usize> = 5..29;
const TAG_BYTES: usize = 16;

/// Seals and opens access tokens: a part of a [handle key](crate::handle::HandleKey).
pub struct SealingKey {
    id: KeyId,
    nonce: hmac::Key,
    key: hmac::Key,
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealingKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl SealingKey {
    /// The working keys, by what `derive` makes of a label.
    pub(crate) fn new(id: KeyId, derive: impl Fn(&[u8]) -> hmac::Key) -> Self {
        let nonce = derive(b"symbolon access token nonce\x01");
        Self { id, nonce, key: derive(b"symbolon access token key\x01") }
    }

    fn short_id(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = *self.id.as_bytes();
        [a, b, c, d]
    }

    fn cipher(&self, nonce: &[u8]) -> Result<LessSafeKey, Unspecified> {
        let key = hmac::sign(&self.key, nonce);
        UnboundKey::new(&AES_256_GCM, key.as_ref()).map(LessSafeKey::new)
    }

    /// Everything that is not sealed, with the whole id of the key.
    fn associated(&self, head: &[u8]) -> Aad<Vec<u8>> {
        Aad::from([head, self.id.as_bytes()].concat())
    }

    fn open(&self, bytes: &mut [u8]) -> Result<Claims, InvalidToken> {
        let (head, sealed) = bytes.split_at_mut(NONCE.end);
        let cipher = self.cipher(&head[NONCE]).map_err(|_| InvalidToken::Signature)?;
        let json = cipher
            .open_in_place(one_time(), self.associated(head), sealed)
            .map_err(|_| InvalidToken::Signature)?;
        serde_json::from_slice(json).map_err(|_| InvalidToken::Claims)
    }
}

/// A key seals one text and no other.
fn one_time() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

impl Claims {
    /// Seals an opaque token that says this. The same arguments give the same text.
    ///
    /// # Errors
    /// [`CannotIssue`].
    pub fn seal(&self, key: &SealingKey) -> Result<SecretText, CannotIssue> {
        if self.exp <= self.iat {
            return Err(CannotIssue::Times);
        }
        let json = serde_json::to_vec(self).map_err(|_| CannotIssue::Signing)?;
        let nonce = hmac::sign(&key.nonce, &json);
        let mut bytes = Vec::with_capacity(NONCE.end + json.len() + TAG_BYTES);
        bytes.push(VERSION);
        bytes.extend_from_slice(&key.short_id());
        bytes.extend_from_slice(&nonce.as_ref()[..NONCE.len()]);
        let associated = key.associated(&bytes);
        let mut sealed = json;
        key.cipher(&bytes[NONCE])
            .and_then(|cipher| cipher.seal_in_place_append_tag(one_time(), associated, &mut sealed))
            .map_err(|_| CannotIssue::Signing)?;
        bytes.append(&mut sealed);
        let mut text = PREFIX.to_owned();
        URL_SAFE_NO_PAD.encode_string(bytes, &mut text);
        if text.len() > TOKEN_BYTES_MAX {
            return Err(CannotIssue::TooLong);
        }
        Ok(SecretText::new(text))
    }
}

/// Whether a text wants to be an opaque token.
pub fn is_opaque(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// Opens an opaque token with the key that it names, and holds what it says against the rules, as a
/// [`Verifier`](super::Verifier) does with a JWT.
///
/// # Errors
/// The first reason against it; [`InvalidToken::Expired`] only when there is no other.
///
/// ```
/// use symbolon_core::{handle::HandleKey, id::*, secret::SecretBytes, time::Time, token::*};
///
/// let key = HandleKey::new(KeyId::from_bytes([1; 16]), &SecretBytes::new([2; 32]));
/// let now = Time::from_secs(1_800_000_000);
/// let claims: Claims = serde_json::from_str(r#"{
///     "iss": "https://auth.example", "sub": "shop", "aud": "https://api.example", "client_id": "shop",
///     "iat": 1800000000, "exp": 1800000300, "jti": "AgICAgICAgICAgICAgICAg", "sid": "AwMDAwMDAwMDAwMDAwMDAw"
/// }"#)?;
/// let token = claims.seal(key.sealing())?;
///
/// let rules = Rules::new("https://auth.example", ["https://api.example"]);
/// let named = |short| Some(key.sealing()).filter(|_| key.short_id() == short);
/// assert_eq!(open(token.expose(), named, &rules, now)?.claims, claims);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn open<'k>(
    text: &str,
    key: impl FnOnce([u8; 4]) -> Option<&'k SealingKey>,
    rules: &Rules,
    now: Time,
) -> Result<AccessToken, InvalidToken> {
    if text.len() > TOKEN_BYTES_MAX {
        return Err(InvalidToken::TooLong);
    }
    let encoded = text.strip_prefix(PREFIX).ok_or(InvalidToken::Malformed)?;
    let mut bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| InvalidToken::Malformed)?;
    if bytes.len() < NONCE.end + TAG_BYTES || bytes[0] != VERSION {
        return Err(InvalidToken::Malformed);
    }
    let short = bytes[KEY].try_into().map_err(|_| InvalidToken::Malformed)?;
    let key = key(short).ok_or(InvalidToken::UnknownKey)?;
    let claims = key.open(&mut bytes)?;
    rules.check(&claims, now)?;
    Ok(AccessToken { claims, typ: None, key: key.id })
}
