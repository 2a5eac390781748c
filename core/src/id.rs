//! Public identifiers: 128 random bits, written as 22 characters of unpadded base64url.
//!
//! An id names a thing and proves nothing; it may stand in logs, tokens and URLs. What proves a session is a
//! [handle](crate::handle).

use std::{borrow::Cow, fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand_core::CryptoRng;

/// The text was not 22 characters of canonical, unpadded base64url.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is 22 characters of unpadded base64url")]
pub struct InvalidId;

/// A string, borrowed where nothing in it is escaped: every request reads some ids.
#[derive(PartialEq, serde::Deserialize)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 16]);

        impl $name {
            /// Draws a new id.
            pub fn random(rng: &mut impl CryptoRng) -> Self {
                let mut bytes = [0; 16];
                rng.fill_bytes(&mut bytes);
                Self(bytes)
            }

            /// The id whose bytes these are.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 bytes, as they rest in the store.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }

            /// The id as the revocation log knows it.
            pub const fn entry(self) -> EntryId {
                EntryId(self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0; 22];
                let written = URL_SAFE_NO_PAD.encode_slice(self.0, &mut text).map_err(|_| fmt::Error)?;
                f.write_str(std::str::from_utf8(&text[..written]).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let mut bytes = [0; 16];
                match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
                    Ok(16) => Ok(Self(bytes)),
                    _ => Err(InvalidId),
                }
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = InvalidId;

            fn try_from(bytes: &[u8]) -> Result<Self, InvalidId> {
                bytes.try_into().map(Self).map_err(|_| InvalidId)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let Text(text) = Text::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// One login of one user (or client) on one device or in one app: the `sid` claim.
    SessionId
    /// One user: the `sub` claim.
    UserId
    /// One access token: the `jti` claim (RFC 7519, section 4.1.7).
    TokenId
    /// One generation of one handle. It goes into the revocation log when that generation must die.
    HandleId
    /// One key of the ring: the `kid` header (RFC 7515, section 4.1.4).
    KeyId
    /// One process of many that share a store.
    NodeId
    /// One entry of the audit trail.
    AuditId
    /// One history of the revocation log. Another one means that history was lost or begun anew.
    LogId
    /// One running follower of the log, drawn by its process and never kept.
    FollowerId
    /// One question of a follower, which its answer repeats.
    QuestionId
    /// One answer to a follower, which its next question names.
    AnswerId
    /// Anything that can be ended, as the revocation log knows it: 16 bytes of one set.
    EntryId
}

impl TokenId {
    /// An id whose first half says the era of its session, and the second which token it is.
    pub(crate) fn in_era(era: [u8; 8], own: [u8; 8]) -> Self {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&era);
        id[8..].copy_from_slice(&own);
        Self(id)
    }

    /// The id under which the revocation log ends every access token of this one's era in its session at once: those
    /// that were given before the password changed, whoever holds them and however many there are.
    pub fn era(self, session: SessionId) -> EntryId {
        let mut id = session.0;
        id[8..].copy_from_slice(&self.0[..8]);
        EntryId(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_canonical() {
        let id = SessionId::from_bytes([0xff; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in [
            "",
            "AAAA",
            "AAAAAAAAAAAAAAAAAAAAAB",
            "AAAAAAAAAAAAAAAAAAAAAA==",
            "AAAAAAAAAAAAAAAAAAAAA+",
        ] {
            assert_eq!(bad.parse::<SessionId>(), Err(InvalidId), "{bad}");
        }
    }
}
