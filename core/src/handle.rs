//! What a client holds to prove a session (RFC 6819's *handle*): the session cookie and the refresh token.
//!
//! Both are one construction. In text: a prefix that names the kind (so that secret scanners find leaked ones), then
//! unpadded base64url of 50 bytes:
//!
//! ```text
//! version 1 │ key 4 │ session 16 │ family 2 │ generation 4 │ proof 15 │ tag 8
//! ```
//!
//! * `proof` is a MAC over everything that identifies the handle, the client, and a salt that is only in the session's
//!   row. The key is not in the database: neither a stolen database nor a leaked key is enough.
//! * `tag` is a MAC of all before it under a key of its own. It needs no row, so a forged handle costs no store read.
//!
//! Nothing about a handle is stored: its text can be computed again from the row, which is how a repeated refresh gets
//! the same answer.

use std::fmt;

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq;

use crate::{
    client::ClientId,
    id::{HandleId, KeyId, SessionId},
    secret::{SecretBytes, SecretText},
};

const VERSION: u8 = 1;
const PROOF: std::ops::Range<usize> = 27..42;
const TAG: std::ops::Range<usize> = 42..50;
const BYTES: usize = 50;
/// Length of a handle's text in bytes: prefix and 67 characters.
pub const TEXT_BYTES: usize = 5 + 67;

/// Which half of a login a handle is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Proves the session directly; for browsers.
    Cookie,
    /// Rotates at every use and yields access tokens; for apps.
    Refresh,
}

impl Kind {
    /// The prefix of the text form.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Cookie => "syms_",
            Self::Refresh => "symr_",
        }
    }
}

/// The number of a token family within its session. Numbers are never used again. The cookie is family 0.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct FamilyNumber(pub u16);

impl FamilyNumber {
    /// The family of the session cookie.
    pub const COOKIE: Self = Self(0);
}

/// How often a handle of this family was renewed. It only grows.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Generation(pub u32);

impl Generation {
    /// The first generation of a family.
    pub const FIRST: Self = Self(1);

    /// The generation after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Random bytes that are only in the session's row and enter every proof of its handles.
pub type Salt = SecretBytes<16>;

/// What a handle says it is, before or after it was proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name {
    /// Session cookie or refresh token.
    pub kind: Kind,
    /// The session it belongs to.
    pub session: SessionId,
    /// The token family within the session.
    pub family: FamilyNumber,
    /// The generation within the family.
    pub generation: Generation,
}

impl Name {
    /// The id under which exactly this generation of this handle stands in the revocation log.
    pub fn id(&self) -> HandleId {
        let mut text = [0; 24];
        text[..16].copy_from_slice(self.session.as_bytes());
        text[16] = self.kind as u8;
        text[17..19].copy_from_slice(&self.family.0.to_be_bytes());
        text[20..24].copy_from_slice(&self.generation.0.to_be_bytes());
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &text);
        let mut id = [0; 16];
        id.copy_from_slice(&digest.as_ref()[..16]);
        HandleId::from_bytes(id)
    }
}

/// Why a text is no handle of this server. All of them mean the same to whoever sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHandle {
    /// Wrong prefix, length, alphabet or version.
    #[error("not a handle")]
    Malformed,
    /// The key that it names is not in the ring: reload the ring once; never theft.
    #[error("the handle was made with a key that is not in the ring")]
    UnknownKey,
    /// The tag or the proof does not fit. It has no effect on any session.
    #[error("the handle is not authentic")]
    Forged,
}

/// A key that makes and recognises handles.
pub struct HandleKey {
    id: KeyId,
    proof: hmac::Key,
    tag: hmac::Key,
}

impl fmt::Debug for HandleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandleKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl HandleKey {
    /// Derives the two working keys from one uniformly random secret (HKDF-Expand with SHA-256, RFC 5869, whose first
    /// block is one HMAC; the secret needs no extraction).
    pub fn new(id: KeyId, secret: &SecretBytes<32>) -> Self {
        let prk = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
        let derive =
            |info: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&prk, info).as_ref());
        Self {
            id,
            proof: derive(b"symbolon handle proof\x01"),
            tag: derive(b"symbolon handle tag\x01"),
        }
    }

    /// The key's id.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The four bytes that name this key in a handle. The ring draws key ids until they are unique.
    pub const fn short_id(&self) -> [u8; 4] {
        short_id(self.id)
    }
}

const fn short_id(id: KeyId) -> [u8; 4] {
    let [a, b, c, d, ..] = *id.as_bytes();
    [a, b, c, d]
}
