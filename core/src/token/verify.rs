//! Looking at a token. The steps of [`Verifier::verify`] stand in the order in which they happen.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{Claims, TOKEN_BYTES_MAX, TokenType, compact};
use crate::{
    id::{EntryId, KeyId},
    keys::{Algorithm, VerifyingKey},
    time::Time,
};

/// Ours have 61 bytes.
const HEADER_BYTES_MAX: usize = 192;

/// Why a token is refused. This is for logs and for the decision what to do next; outsiders get one answer for all of
/// them (`invalid_token`, RFC 6750, section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    /// More than [`TOKEN_BYTES_MAX`] bytes.
    #[error("longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    /// Not three parts of canonical, unpadded base64url.
    #[error("not a JWS in compact form")]
    Malformed,
    /// The header is not JSON with exactly `typ`, `alg` and `kid` of known values.
    #[error("the header is not one of ours")]
    Header,
    /// The `typ` is not accepted here.
    #[error("the type is not accepted")]
    Type,
    /// No key has this `kid`: the caller may fetch the keys once and try again.
    #[error("the key is not known")]
    UnknownKey,
    /// The `alg` is not the one algorithm of its key.
    #[error("the algorithm is not that of the key")]
    Algorithm,
    /// The signature is not the key's over this text.
    #[error("the signature is wrong")]
    Signature,
    /// A claim is missing, stands twice, has the wrong type, or belongs to another kind of token.
    #[error("the claims are not those of an access token")]
    Claims,
    /// Another `iss`.
    #[error("the issuer is another")]
    Issuer,
    /// None of ours in `aud`.
    #[error("the audience is another")]
    Audience,
    /// It ends before it begins, or would live longer than any token may.
    #[error("the lifetime is longer than any token's")]
    Lifetime,
    /// `iat` or `nbf` lie in the future.
    #[error("not valid yet")]
    NotYetValid,
    /// `exp` is past. Everything else was right.
    #[error("expired")]
    Expired,
}

/// What a verifier insists on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The only `iss`.
    pub issuer: Box<str>,
    /// Those of whom one must be in `aud`.
    pub audiences: Vec<Box<str>>,
    /// The accepted `typ`s.
    pub types: Vec<TokenType>,
    /// How far clocks may differ. It lengthens the life of every token.
    pub leeway: Duration,
    /// The longest life of a token. A longer one is refused: the revocation log forgets an ended session after this.
    pub lifetime_max: Duration,
}

impl Rules {
    /// The usual rules: only `at+jwt`, 30 seconds of leeway, lives up to an hour.
    pub fn new<'a>(issuer: &str, audiences: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            issuer: issuer.into(),
            audiences: audiences.into_iter().map(Into::into).collect(),
            types: vec![TokenType::AtJwt],
            leeway: Duration::from_secs(30),
            lifetime_max: Duration::from_secs(3600),
        }
    }

    /// Whether a token of this issuer says this to one of the audiences, and is valid now.
    ///
    /// # Errors
    /// The first reason against it; [`InvalidToken::Expired`] only when there is no other.
    pub fn check(&self, claims: &Claims, now: Time) -> Result<(), InvalidToken> {
        if claims.iss != self.issuer {
            return Err(InvalidToken::Issuer);
        }
        if !self.audiences.iter().any(|ours| claims.aud.contains(ours)) {
            return Err(InvalidToken::Audience);
        }
        self.check_times(claims, now)
    }

    /// Whether a token of these times is valid now. A verified token that is used again is checked with this, not anew.
    pub fn check_times(&self, claims: &Claims, now: Time) -> Result<(), InvalidToken> {
        if claims.exp <= claims.iat || claims.exp.since(claims.iat) > self.lifetime_max {
            return Err(InvalidToken::Lifetime);
        }
        let latest = now + self.leeway;
        if claims.iat > latest || claims.nbf.is_some_and(|nbf| nbf > latest) {
            return Err(InvalidToken::NotYetValid);
        }
        if claims.exp + self.leeway <= now {
            return Err(InvalidToken::Expired);
        }
        Ok(())
    }
}

/// A token that was verified. Whether it was *revoked* is another question, asked at every use: its
/// [entries](Self::entries) against the [revocation set](crate::revocation).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// What it says.
    pub claims: Claims,
    /// Its type; `None` for an opaque one.
    pub typ: Option<TokenType>,
    /// The key that signed or sealed it.
    pub key: KeyId,
}

impl AccessToken {
    /// The ids of which none may be in the revocation set: those of its session, of all tokens of its era in that
    /// session, of itself, of its client and of its key.
    pub fn entries(&self) -> [EntryId; 5] {
        let Claims { sid, jti, client_id, .. } = &self.claims;
        [sid.entry(), jti.era(*sid), jti.entry(), client_id.entry(), self.key.entry()]
    }
}

/// The header of a token (RFC 7515, section 4.1): these members and no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// What kind of token it is.
    pub typ: TokenType,
    /// How it claims to be signed. Compared with the key's algorithm, never used to choose one.
    pub alg: Algorithm,
    /// The key's id. Looked up, nothing else.
    pub kid: KeyId,
}

impl Header {
    /// Reads the first part of a token. It is not proven to be anybody's.
    pub fn parse(part: &str) -> Result<Self, InvalidToken> {
        let mut bytes = [0; HEADER_BYTES_MAX];
        let json = decode(part, &mut bytes)?;
        serde_json::from_slice(json).map_err(|_| InvalidToken::Header)
    }
}

/// Decides whether a text is a token of one issuer for one resource server. Keys are parsed once, before; verifying
/// reads nothing but its parameters.
#[derive(Debug, Clone)]
pub struct Verifier {
    rules: Rules,
    keys: BTreeMap<KeyId, VerifyingKey>,
}

impl Verifier {
    /// A verifier of these rules that knows these keys. Make a new one when the keys change.
    pub fn new(rules: Rules, keys: impl IntoIterator<Item = VerifyingKey>) -> Self {
        Self { rules, keys: keys.into_iter().map(|key| (key.id(), key)).collect() }
    }

    /// What it insists on.
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Whether the text is a valid token now, and what it says.
    ///
    /// # Errors
    /// The first reason against it; [`InvalidToken::Expired`] only when there is no other.
    pub fn verify(&self, text: &str, now: Time) -> Result<AccessToken, InvalidToken> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(InvalidToken::TooLong);
        }
        let parts = compact::split(text).ok_or(InvalidToken::Malformed)?;
        let payload = URL_SAFE_NO_PAD.decode(parts.payload).map_err(|_| InvalidToken::Malformed)?;
        let mut bytes = [0; compact::SIGNATURE_BYTES_MAX];
        let signature = decode(parts.signature, &mut bytes)?;

        let Header { typ, alg, kid } = Header::parse(parts.header)?;
        if !self.rules.types.contains(&typ) {
            return Err(InvalidToken::Type);
        }
        let key = self.keys.get(&kid).ok_or(InvalidToken::UnknownKey)?;
        if alg != key.algorithm() {
            return Err(InvalidToken::Algorithm);
        }
        if !key.verifies(parts.signed.as_bytes(), signature) {
            return Err(InvalidToken::Signature);
        }

        let claims: Claims = serde_json::from_slice(&payload).map_err(|_| InvalidToken::Claims)?;
        self.rules.check(&claims, now)?;
        Ok(AccessToken { claims, typ: Some(typ), key: kid })
    }
}

fn decode<'b>(part: &str, bytes: &'b mut [u8]) -> Result<&'b [u8], InvalidToken> {
    let length = URL_SAFE_NO_PAD.decode_slice(part, bytes).map_err(|_| InvalidToken::Malformed)?;
    Ok(&bytes[..length])
}
