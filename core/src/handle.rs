//! What a client holds to prove a session (RFC 6819's *handle*): the session cookie and the refresh token.
//!
//! Both are one construction. In text: a prefix that names the kind (so that secret scanners find leaked ones), then
//! unpadded base64url of 52 bytes:
//!
//! ```text
//! version 1 │ key 4 │ session 16 │ family 4 │ generation 4 │ proof 15 │ tag 8
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
    time::Time,
    token::SealingKey,
};

const VERSION: u8 = 1;
const PROOF: std::ops::Range<usize> = 29..44;
const TAG: std::ops::Range<usize> = 44..52;
const BYTES: usize = 52;
/// Length of a handle's text in bytes: prefix and 70 characters.
pub const TEXT_BYTES: usize = 5 + 70;

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
pub struct FamilyNumber(pub u32);

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
        let mut text = [0; 25];
        text[..16].copy_from_slice(self.session.as_bytes());
        text[16] = self.kind as u8;
        text[17..21].copy_from_slice(&self.family.0.to_be_bytes());
        text[21..25].copy_from_slice(&self.generation.0.to_be_bytes());
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
    stamp: hmac::Key,
    sealing: SealingKey,
}

impl fmt::Debug for HandleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandleKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl HandleKey {
    /// Derives the working keys from one uniformly random secret (HKDF-Expand with SHA-256, RFC 5869, whose first
    /// block is one HMAC; the secret needs no extraction).
    pub fn new(id: KeyId, secret: &SecretBytes<32>) -> Self {
        let prk = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
        let derive =
            |info: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&prk, info).as_ref());
        Self {
            id,
            proof: derive(b"symbolon handle proof\x01"),
            tag: derive(b"symbolon handle tag\x01"),
            stamp: derive(b"symbolon request stamp\x01"),
            sealing: SealingKey::new(id, derive),
        }
    }

    /// The key's id.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// What seals access tokens that nobody else can read.
    pub const fn sealing(&self) -> &SealingKey {
        &self.sealing
    }

    /// The four bytes that name this key in a handle. The ring draws key ids until they are unique.
    pub const fn short_id(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = *self.id.as_bytes();
        [a, b, c, d]
    }

    /// The text of the handle `name`, held by `client`. The same arguments give the same text.
    ///
    /// ```
    /// use symbolon_core::{handle::*, id::{KeyId, SessionId}, secret::SecretBytes};
    /// let key = HandleKey::new(KeyId::from_bytes([7; 16]), &SecretBytes::new([1; 32]));
    /// let name = Name {
    ///     kind: Kind::Cookie,
    ///     session: SessionId::from_bytes([2; 16]),
    ///     family: FamilyNumber::COOKIE,
    ///     generation: Generation::FIRST,
    /// };
    /// let (client, salt) = ("shop".parse()?, Salt::new([3; 16]));
    /// let text = key.mint(&name, &client, &salt);
    /// let handle = Handle::parse(text.expose(), |short| (short == key.short_id()).then_some(&key))?;
    /// assert_eq!(handle.prove(&key, &client, &salt)?.name(), name);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn mint(&self, name: &Name, client: &ClientId, salt: &Salt) -> SecretText {
        let mut bytes = [0; BYTES];
        bytes[0] = VERSION;
        bytes[1..5].copy_from_slice(&self.short_id());
        bytes[5..21].copy_from_slice(name.session.as_bytes());
        bytes[21..25].copy_from_slice(&name.family.0.to_be_bytes());
        bytes[25..29].copy_from_slice(&name.generation.0.to_be_bytes());
        bytes[PROOF].copy_from_slice(&self.proof(name, client, salt));
        let tag = self.tag(name.kind, &bytes);
        bytes[TAG].copy_from_slice(&tag);
        let mut text = String::with_capacity(TEXT_BYTES);
        text.push_str(name.kind.prefix());
        URL_SAFE_NO_PAD.encode_string(bytes, &mut text);
        SecretText::new(text)
    }

    /// Says that this server saw a request at a moment. It proves nothing about anybody.
    pub fn stamp(&self, request: &str, at: Time) -> String {
        let mac = URL_SAFE_NO_PAD.encode(self.stamp_of(request, at));
        format!("{}.{mac}", at.millis())
    }

    /// The moment of a [stamp](Self::stamp) of this key, if it is one of this request.
    pub fn stamped(&self, request: &str, stamp: &str) -> Option<Time> {
        let (at, mac) = stamp.split_once('.')?;
        let at = Time::from_millis(at.parse().ok()?);
        let mac = URL_SAFE_NO_PAD.decode(mac).ok()?;
        bool::from(mac.ct_eq(&self.stamp_of(request, at)[..])).then_some(at)
    }

    fn stamp_of(&self, request: &str, at: Time) -> [u8; 16] {
        let mut mac = hmac::Context::with_key(&self.stamp);
        mac.update(&at.millis().to_be_bytes());
        mac.update(request.as_bytes());
        truncate(&mac.sign())
    }

    fn proof(&self, name: &Name, client: &ClientId, salt: &Salt) -> [u8; 15] {
        let mut mac = hmac::Context::with_key(&self.proof);
        mac.update(&[VERSION, name.kind as u8]);
        mac.update(self.id.as_bytes());
        mac.update(name.session.as_bytes());
        mac.update(&name.family.0.to_be_bytes());
        mac.update(&name.generation.0.to_be_bytes());
        mac.update(salt.expose());
        // Last, because it is the only part without a fixed length.
        mac.update(client.as_str().as_bytes());
        truncate(&mac.sign())
    }

    fn tag(&self, kind: Kind, bytes: &[u8; BYTES]) -> [u8; 8] {
        let mut mac = hmac::Context::with_key(&self.tag);
        mac.update(&[kind as u8]);
        mac.update(&bytes[..TAG.start]);
        truncate(&mac.sign())
    }
}

fn truncate<const N: usize>(tag: &hmac::Tag) -> [u8; N] {
    let mut short = [0; N];
    short.copy_from_slice(&tag.as_ref()[..N]);
    short
}

/// A handle's text taken apart. Nothing about it was checked yet: use it to find what is known of its session, not to
/// decide.
///
/// Two are equal if they are the same text; the comparison takes the same time wherever they differ.
#[derive(Clone, PartialEq, Eq)]
pub struct Unchecked {
    kind: Kind,
    bytes: SecretBytes<BYTES>,
}

impl fmt::Debug for Unchecked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Unchecked").field(&self.kind).finish()
    }
}

impl Unchecked {
    /// Reads a handle's text.
    ///
    /// # Errors
    /// [`InvalidHandle::Malformed`].
    pub fn read(text: &str) -> Result<Self, InvalidHandle> {
        let kind = [Kind::Cookie, Kind::Refresh]
            .into_iter()
            .find(|kind| text.starts_with(kind.prefix()))
            .ok_or(InvalidHandle::Malformed)?;
        if text.len() != TEXT_BYTES {
            return Err(InvalidHandle::Malformed);
        }
        let mut bytes = [0; BYTES];
        let decoded = URL_SAFE_NO_PAD.decode_slice(&text[kind.prefix().len()..], &mut bytes);
        if decoded != Ok(BYTES) || bytes[0] != VERSION {
            return Err(InvalidHandle::Malformed);
        }
        Ok(Self { kind, bytes: SecretBytes::new(bytes) })
    }

    /// Session cookie or refresh token.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The session that it names.
    pub fn session(&self) -> SessionId {
        SessionId::from_bytes(array(self.bytes.expose(), 5))
    }

    /// The [`HandleKey::short_id`] of the key that it names.
    pub fn key(&self) -> [u8; 4] {
        array(self.bytes.expose(), 1)
    }

    /// Checks the tag. The key is that of [`Self::key`].
    ///
    /// # Errors
    /// [`InvalidHandle::Forged`]: it may have no effect on any session.
    pub fn check(&self, key: &HandleKey) -> Result<Handle, InvalidHandle> {
        let bytes = self.bytes.expose();
        if !bool::from(key.tag(self.kind, bytes).ct_eq(&bytes[TAG])) {
            return Err(InvalidHandle::Forged);
        }
        let name = Name {
            kind: self.kind,
            session: self.session(),
            family: FamilyNumber(u32::from_be_bytes(array(bytes, 21))),
            generation: Generation(u32::from_be_bytes(array(bytes, 25))),
        };
        Ok(Handle { name, key: self.key(), proof: SecretBytes::new(array(bytes, PROOF.start)) })
    }
}

/// A handle whose tag fits: this server made it (or its keys leaked). Whether it still proves its session is for the
/// session's row to say.
#[derive(Clone, PartialEq, Eq)]
pub struct Handle {
    name: Name,
    key: [u8; 4],
    proof: SecretBytes<15>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.name).finish()
    }
}

impl Handle {
    /// Reads a handle's text and checks its tag. `key` finds a key of the ring by its [`HandleKey::short_id`].
    ///
    /// # Errors
    /// [`InvalidHandle`]; none of them may have an effect on any session.
    pub fn parse<'k>(
        text: &str,
        key: impl FnOnce([u8; 4]) -> Option<&'k HandleKey>,
    ) -> Result<Self, InvalidHandle> {
        let unchecked = Unchecked::read(text)?;
        unchecked.check(key(unchecked.key()).ok_or(InvalidHandle::UnknownKey)?)
    }

    /// What the handle says it is. Use it to find the row, not to decide.
    pub const fn name(&self) -> Name {
        self.name
    }

    /// The [`HandleKey::short_id`] of the key that made it.
    pub const fn key(&self) -> [u8; 4] {
        self.key
    }

    /// Checks the proof against what only the session's row knows.
    ///
    /// # Errors
    /// [`InvalidHandle::Forged`]: it has no effect on the session.
    pub fn prove(
        self,
        key: &HandleKey,
        client: &ClientId,
        salt: &Salt,
    ) -> Result<Proven, InvalidHandle> {
        let expected = SecretBytes::new(key.proof(&self.name, client, salt));
        if self.proof == expected { Ok(Proven(self.name)) } else { Err(InvalidHandle::Forged) }
    }
}

/// The name of a handle that was proven against its session's row. Only [`Handle::prove`] makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proven(Name);

impl Proven {
    /// Which handle was proven.
    pub const fn name(&self) -> Name {
        self.0
    }
}

fn array<const N: usize>(bytes: &[u8; BYTES], at: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&bytes[at..at + N]);
    part
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(seed: u8) -> HandleKey {
        HandleKey::new(KeyId::from_bytes([seed; 16]), &SecretBytes::new([seed; 32]))
    }

    fn name(kind: Kind) -> Name {
        let session = SessionId::from_bytes([9; 16]);
        Name { kind, session, family: FamilyNumber(3), generation: Generation(7) }
    }

    fn client(name: &str) -> ClientId {
        name.parse().unwrap()
    }

    fn parse(text: &str, key: &HandleKey) -> Result<Handle, InvalidHandle> {
        Handle::parse(text, |short| (short == key.short_id()).then_some(key))
    }

    #[test]
    fn a_refresh_token_is_never_a_cookie() {
        let key = key(1);
        let text = key.mint(&name(Kind::Refresh), &client("a"), &Salt::new([1; 16]));
        let dressed_up = text.expose().replace("symr_", "syms_");
        assert_eq!(parse(&dressed_up, &key), Err(InvalidHandle::Forged));
    }

    #[test]
    fn another_client_or_row_does_not_prove_it() {
        let key = key(1);
        let salt = Salt::new([1; 16]);
        let text = key.mint(&name(Kind::Refresh), &client("a"), &salt);
        let handle = parse(text.expose(), &key).unwrap();
        assert!(handle.clone().prove(&key, &client("a"), &salt).is_ok());
        assert!(handle.clone().prove(&key, &client("b"), &salt).is_err());
        assert!(handle.prove(&key, &client("a"), &Salt::new([2; 16])).is_err());
    }

    #[test]
    fn an_unknown_key_is_not_a_forgery() {
        let text = key(1).mint(&name(Kind::Cookie), &client("a"), &Salt::new([1; 16]));
        assert_eq!(parse(text.expose(), &key(2)), Err(InvalidHandle::UnknownKey));
    }

    #[test]
    fn every_generation_has_an_id_of_its_own() {
        let one = name(Kind::Refresh);
        let others = [
            Name { generation: one.generation.next(), ..one },
            Name { family: FamilyNumber(4), ..one },
            Name { kind: Kind::Cookie, ..one },
        ];
        assert!(others.iter().all(|other| other.id() != one.id()));
    }

    proptest! {
        #[test]
        fn any_changed_character_is_refused(at in 0..TEXT_BYTES, to in "[A-Za-z0-9_-]") {
            let key = key(1);
            let salt = Salt::new([1; 16]);
            let text = key.mint(&name(Kind::Refresh), &client("a"), &salt);
            let mut changed = text.expose().to_owned();
            changed.replace_range(at..=at, &to);
            prop_assume!(changed != text.expose());
            prop_assert!(parse(&changed, &key).is_err());
        }

        #[test]
        fn arbitrary_text_is_never_a_handle(text in ".{0,100}") {
            prop_assert!(parse(&text, &key(1)).is_err());
        }
    }
}
