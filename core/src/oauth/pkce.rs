//! Proof key for code exchange (RFC 7636), method `S256` alone.
//!
//! `plain` protects against nobody who sees the request, and it is what a request without a method means (RFC 7636,
//! section 4.3): both are refused. The challenge itself, and how a verifier is compared with it, are the code's:
//! [`Challenge`].

pub use crate::code::{Challenge, InvalidChallenge};

/// Why the parameters of a request are refused. To the client all of them are `invalid_request` (RFC 7636, section
/// 4.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPkce {
    /// The client must send a challenge and sent none.
    #[error("code_challenge is required")]
    Missing,
    /// A method other than `S256`, or none, which means `plain`.
    #[error("code_challenge_method must be S256")]
    Method,
    /// A method without a challenge.
    #[error("code_challenge_method without code_challenge")]
    MethodAlone,
    /// No challenge of that method.
    #[error(transparent)]
    Challenge(#[from] InvalidChallenge),
}

/// Reads `code_challenge` and `code_challenge_method` of an authorization request.
///
/// `Ok(None)`: the client sent neither and is not required to. Its code must then be redeemed *without* a verifier
/// (RFC 9700, section 4.8.2: else an attacker strips the challenge off a request, and the verifier proves nothing).
///
/// ```
/// use symbolon_core::oauth::pkce::{self, InvalidPkce};
///
/// // The example of RFC 7636, appendix B.
/// let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
/// assert!(pkce::requested(Some(challenge), Some("S256"), true)?.is_some());
/// assert_eq!(pkce::requested(Some(challenge), None, true), Err(InvalidPkce::Method));
/// assert_eq!(pkce::requested(None, None, true), Err(InvalidPkce::Missing));
/// # Ok::<(), InvalidPkce>(())
/// ```
pub fn requested(
    challenge: Option<&str>,
    method: Option<&str>,
    required: bool,
) -> Result<Option<Challenge>, InvalidPkce> {
    match (challenge, method) {
        (Some(challenge), Some("S256")) => Ok(Some(challenge.parse()?)),
        (Some(_), _) => Err(InvalidPkce::Method),
        (None, Some(_)) => Err(InvalidPkce::MethodAlone),
        (None, None) if required => Err(InvalidPkce::Missing),
        (None, None) => Ok(None),
    }
}
