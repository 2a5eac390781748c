//! A JWS in compact form (RFC 7515, section 7.1) that somebody else signed, taken apart before anybody believes it.
//!
//! What holds for each of them, and each row of RFC 8725 that it comes from:
//!
//! * The algorithm is that of the key. `none` and shared secrets are no algorithms here (sections 2.1, 3.1, 3.2).
//! * A header that points to keys (`jku`, `x5u`), brings certificates (`x5c`), wants extensions (`crit`, `b64`) or is
//!   that of an encrypted token (`enc`, `zip`) is refused; `jwk` only a [proof](super::dpop) may bring (section 3.10).
//! * No member stands twice, at any depth, in header or claims (section 2.4).
//! * Each kind of token has its `typ`, and none is taken for another (sections 3.11, 3.12).
//!
//! Header members that are not known are ignored, as RFC 7515, section 4, wants it.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use super::jwk::{KID_BYTES_MAX, PublicKey, PublicKeys, SignatureAlgorithm};
use crate::{
    client::ClientId,
    time::Time,
    token::{compact, json::Unambiguous},
};

/// The longest `jti`, in bytes.
pub const JTI_BYTES_MAX: usize = 128;
/// The first moment of the year 10000, in seconds: no claim is later.
const SECS_MAX: i64 = 253_402_300_800;

/// Why a signed text is refused, whatever it was to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJws {
    /// Longer than this kind may be.
    #[error("too long")]
    TooLong,
    /// Not three parts of canonical, unpadded base64url.
    #[error("not a JWS in compact form")]
    Malformed,
    /// The header is no JSON object, or has members that are refused.
    #[error("the header is not allowed")]
    Header,
    /// The `typ` is that of something else.
    #[error("the type is another")]
    Type,
    /// The `alg` is none that is allowed, or not that of the key.
    #[error("the algorithm is not allowed, or not that of the key")]
    Algorithm,
    /// No key of the client is meant: an unknown `kid`, or none where several keys fit.
    #[error("the key is not known")]
    UnknownKey,
    /// The key that the header brings is none that may be used.
    #[error("the key in the header is not allowed")]
    Key,
    /// The signature is not the key's over this text.
    #[error("the signature is wrong")]
    Signature,
    /// The claims are no JSON object, one stands twice, is missing, or has the wrong type.
    #[error("the claims are malformed, or one is missing")]
    Claims,
    /// `exp` is further away than such a text may live.
    #[error("it would live too long")]
    Lifetime,
    /// `iat` or `nbf` lie in the future.
    #[error("not valid yet")]
    NotYetValid,
    /// `exp` is past.
    #[error("expired")]
    Expired,
}

/// A text that was taken apart. Nothing in it is proven.
#[derive(Debug, Clone)]
pub(super) struct Jws<'t> {
    signed: &'t str,
    signature: Vec<u8>,
    header: Map<String, Value>,
    algorithm: SignatureAlgorithm,
    payload: Vec<u8>,
}

/// Members that no header of ours may have; `jwk` is refused by all but proofs.
const REFUSED: [&str; 7] = ["crit", "b64", "jku", "x5u", "x5c", "enc", "zip"];

impl<'t> Jws<'t> {
    pub(super) fn parse(text: &'t str, bytes_max: usize) -> Result<Self, InvalidJws> {
        if text.len() > bytes_max {
            return Err(InvalidJws::TooLong);
        }
        let parts = compact::split(text).ok_or(InvalidJws::Malformed)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| InvalidJws::Malformed);
        let (header, payload) = (decode(parts.header)?, decode(parts.payload)?);
        let signature = decode(parts.signature)?;
        if signature.len() > compact::SIGNATURE_BYTES_MAX {
            return Err(InvalidJws::Malformed);
        }
        let header = object(&header).ok_or(InvalidJws::Header)?;
        if REFUSED.iter().any(|name| header.contains_key(*name)) {
            return Err(InvalidJws::Header);
        }
        let name = header.get("alg").and_then(Value::as_str).ok_or(InvalidJws::Header)?;
        let algorithm = SignatureAlgorithm::named(name).ok_or(InvalidJws::Algorithm)?;
        Ok(Self { signed: parts.signed, signature, header, algorithm, payload })
    }

    /// Whether the `typ` is one of these, in any case, with or without `application/` (RFC 7515, section 4.1.9).
    /// `Ok(false)`: there is none.
    pub(super) fn check_type(&self, accepted: &[&str]) -> Result<bool, InvalidJws> {
        let Some(typ) = self.header.get("typ") else { return Ok(false) };
        let typ = typ.as_str().ok_or(InvalidJws::Header)?;
        let (prefix, rest) = typ.split_at_checked("application/".len()).unwrap_or(("", typ));
        let short = if prefix.eq_ignore_ascii_case("application/") { rest } else { typ };
        let known = accepted.iter().any(|name| short.eq_ignore_ascii_case(name));
        if known { Ok(true) } else { Err(InvalidJws::Type) }
    }

    /// Whether it is signed in the one way that is accepted, if there is only one.
    pub(super) fn check_algorithm(
        &self,
        only: Option<SignatureAlgorithm>,
    ) -> Result<(), InvalidJws> {
        let accepted = only.is_none_or(|only| only == self.algorithm);
        if accepted { Ok(()) } else { Err(InvalidJws::Algorithm) }
    }

    /// The claims, once one of these keys has signed them.
    pub(super) fn verified_by(&self, keys: &PublicKeys) -> Result<Claims, InvalidJws> {
        self.check_signature(keys)?;
        self.claimed()
    }

    fn check_signature(&self, keys: &PublicKeys) -> Result<(), InvalidJws> {
        if self.header.contains_key("jwk") {
            return Err(InvalidJws::Header);
        }
        let kid = match self.header.get("kid") {
            None => None,
            Some(Value::String(kid)) if kid.len() <= KID_BYTES_MAX => Some(kid.as_str()),
            Some(_) => return Err(InvalidJws::Header),
        };
        let key = keys.find(kid, self.algorithm).ok_or(InvalidJws::UnknownKey)?;
        self.verify(key)
    }

    /// The claims, and the key that the header brings, once that key has signed them.
    pub(super) fn verified_by_itself(&self) -> Result<(Claims, PublicKey), InvalidJws> {
        let members = self.header.get("jwk").and_then(Value::as_object);
        let members = members.ok_or(InvalidJws::Header)?;
        let key =
            PublicKey::from_members(members, Some(self.algorithm)).map_err(|_| InvalidJws::Key)?;
        self.verify(&key)?;
        Ok((self.claimed()?, key))
    }

    fn verify(&self, key: &PublicKey) -> Result<(), InvalidJws> {
        if self.algorithm != key.algorithm() {
            return Err(InvalidJws::Algorithm);
        }
        if !key.verifies(self.signed.as_bytes(), &self.signature) {
            return Err(InvalidJws::Signature);
        }
        Ok(())
    }

    /// What it says before it is proven.
    pub(super) fn claimed(&self) -> Result<Claims, InvalidJws> {
        object(&self.payload).map(Claims).ok_or(InvalidJws::Claims)
    }
}

/// A claims set. Readers of one claim say `None` where it is missing, and refuse `null` and other types.
#[derive(Debug, Clone)]
pub(super) struct Claims(Map<String, Value>);

impl Claims {
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, InvalidJws> {
        self.0.get(name).map(|value| value.as_str().ok_or(InvalidJws::Claims)).transpose()
    }

    pub(super) fn required(&self, name: &str) -> Result<&str, InvalidJws> {
        self.text(name)?.ok_or(InvalidJws::Claims)
    }

    pub(super) fn client(&self, name: &str) -> Result<ClientId, InvalidJws> {
        self.required(name)?.parse().map_err(|_| InvalidJws::Claims)
    }

    /// A NumericDate (RFC 7519, section 2): seconds, which may have a fraction.
    pub(super) fn time(&self, name: &str) -> Result<Option<Time>, InvalidJws> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let secs = match value.as_i64() {
            Some(secs) => secs,
            // Below 2^53: the conversion is exact, and the fraction is dropped.
            None => match value.as_f64() {
                Some(secs) if (0.0..SECS_MAX as f64).contains(&secs) => secs as i64,
                _ => return Err(InvalidJws::Claims),
            },
        };
        if !(0..SECS_MAX).contains(&secs) {
            return Err(InvalidJws::Claims);
        }
        Ok(Some(Time::from_secs(secs)))
    }

    /// Whether `exp`, which is required, `iat` and `nbf` fit this moment; then when it is refused anyway.
    pub(super) fn expires_at(
        &self,
        leeway: Duration,
        lifetime_max: Duration,
        now: Time,
    ) -> Result<Time, InvalidJws> {
        let expires_at = self.time("exp")?.ok_or(InvalidJws::Claims)?;
        let latest = now + leeway;
        let begins_later = |time: Option<Time>| time.is_some_and(|time| time > latest);
        if begins_later(self.time("iat")?) || begins_later(self.time("nbf")?) {
            return Err(InvalidJws::NotYetValid);
        }
        if expires_at > latest + lifetime_max {
            return Err(InvalidJws::Lifetime);
        }
        let refused_at = expires_at + leeway;
        if refused_at <= now { Err(InvalidJws::Expired) } else { Ok(refused_at) }
    }

    /// The `jti`: 1 to [`JTI_BYTES_MAX`] bytes.
    pub(super) fn jti(&self) -> Result<Option<Box<str>>, InvalidJws> {
        match self.text("jti")? {
            Some(jti) if jti.is_empty() || jti.len() > JTI_BYTES_MAX => Err(InvalidJws::Claims),
            jti => Ok(jti.map(Into::into)),
        }
    }

    /// Each audience: `aud` is a text or an array of texts. None where it is missing.
    pub(super) fn audiences(&self) -> Result<Vec<&str>, InvalidJws> {
        match self.0.get("aud") {
            None => Ok(Vec::new()),
            Some(Value::Array(all)) => {
                all.iter().map(|one| one.as_str().ok_or(InvalidJws::Claims)).collect()
            }
            Some(_) => Ok(vec![self.required("aud")?]),
        }
    }

    /// Whether `aud` is an array, which says no more than a text where it holds one.
    pub(super) fn is_for_a_list(&self) -> bool {
        self.0.get("aud").is_some_and(Value::is_array)
    }

    pub(super) fn into_members(self) -> Map<String, Value> {
        self.0
    }
}

/// An object in which no member stands twice, at any depth.
fn object(json: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice::<Unambiguous>(json).ok()?;
    serde_json::from_slice(json).ok()
}

#[cfg(test)]
mod tests;
