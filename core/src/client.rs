//! The applications that know Symbolon: OAuth clients (RFC 6749, section 2) and resource servers.

use std::{fmt, str::FromStr};

use crate::id::EntryId;

/// A client's name, the `client_id` of OAuth: 1 to 64 of `a-z 0-9 . _ -`, beginning with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(transparent)]
pub struct ClientId(Box<str>);

/// The text is no client name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a client id is 1 to 64 of a-z 0-9 . _ - and begins with a letter or digit")]
pub struct InvalidClientId;

impl ClientId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The client as the revocation log knows it: the first 16 bytes of SHA-256 over its name, so that whoever sees a
    /// `client_id` claim can compute it.
    pub fn entry(&self) -> EntryId {
        let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        hash.update(b"symbolon client\0");
        hash.update(self.0.as_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&hash.finish().as_ref()[..16]);
        EntryId::from_bytes(id)
    }
}

impl FromStr for ClientId {
    type Err = InvalidClientId;

    fn from_str(text: &str) -> Result<Self, InvalidClientId> {
        let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = text.as_bytes();
        let valid = bytes.len() <= 64
            && bytes.first().is_some_and(plain)
            && bytes.iter().all(|b| plain(b) || matches!(b, b'.' | b'_' | b'-'));
        valid.then(|| Self(text.into())).ok_or(InvalidClientId)
    }
}

impl<'de> serde::Deserialize<'de> for ClientId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
