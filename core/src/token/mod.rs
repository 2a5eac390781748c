//! Access tokens: strict JWS (RFC 7515, compact) and the JWT profile of RFC 9068.
//!
//! A token is issued by [`Claims::issue`] and verified by a [`Verifier`]. Its header has exactly three members, `typ`,
//! `alg` and `kid`; anything else in it (`crit`, `jku`, `jwk`, `x5c`, `x5u`, `b64`, `zip`, unknown names) is a refusal,
//! because this issuer never writes it. Unknown *claims* are ignored, so that a newer server can add some.
//!
//! # One token for one purpose
//! A token with `typ: JWT` (for clients that know nothing else) must never be taken for an ID token, nor an ID token for
//! it. What keeps them apart:
//!
//! * An access token always has `client_id`, `jti` and `sid`; an ID token of this server ([`IdToken`]) has no
//!   `client_id` and no `jti`.
//! * An access token with `nonce`, `at_hash`, `c_hash` or `events` (ID and logout tokens) is refused.
//! * [`Claims::issue`] refuses a `typ: JWT` token whose audience is its own client: the audience of an access token is
//!   a resource server, that of an ID token is the client (OpenID Connect Core, section 2), and a client that checks
//!   its audience refuses ours. Whoever configures audiences must not name one like a client.
//! * `sub` is a user's id, or else the `client_id`; no client can be named like a user's id.
//! * A token with `cnf` (RFC 7800) is bound to a key: [`Claims::key`]. One that is bound in another way is refused.
//!
//! ```
//! use std::time::Duration;
//! use symbolon_core::{id::*, keys::{Algorithm, SigningKey}, time::Time, token::*};
//!
//! let key = SigningKey::generate(KeyId::from_bytes([1; 16]), Algorithm::Es256)?;
//! let now = Time::from_secs(1_800_000_000);
//! let claims = Claims {
//!     iss: "https://auth.example".into(),
//!     user: Some(UserId::from_bytes([2; 16])),
//!     aud: "https://api.example".into(),
//!     client_id: "shop".parse()?,
//!     iat: now,
//!     exp: now + Duration::from_secs(300),
//!     nbf: None,
//!     jti: TokenId::from_bytes([3; 16]),
//!     sid: SessionId::from_bytes([4; 16]),
//!     scope: None,
//!     roles: vec!["editor".into()],
//!     auth_time: None,
//!     acr: None,
//!     amr: Vec::new(),
//!     act: None,
//!     key: None,
//! };
//! let token = claims.issue(TokenType::AtJwt, &key)?;
//!
//! let rules = Rules::new("https://auth.example", ["https://api.example"]);
//! let verifier = Verifier::new(rules, [key.verifying_key().clone()]);
//! let verified = verifier.verify(token.expose(), now)?;
//! assert_eq!(verified.claims, claims);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod claims;
pub(crate) mod compact;
mod hint;
mod id_token;
mod issue;
pub(crate) mod json;
mod logout_token;
pub mod opaque;
mod userinfo;
mod verify;

pub use claims::{Actor, Audience, Claims, EmptyAudience};
pub use hint::Hint;
pub use id_token::IdToken;
pub use issue::CannotIssue;
pub use logout_token::LogoutToken;
pub use opaque::{SealingKey, open};
pub use userinfo::UserInfo;
pub use verify::{AccessToken, Header, InvalidToken, Rules, Verifier};

/// The longest token that is issued or looked at, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// The `typ` header. Compared exactly: this issuer writes no other spelling.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize,
)]
pub enum TokenType {
    /// `at+jwt` (RFC 9068, section 2.1).
    #[default]
    #[serde(rename = "at+jwt")]
    AtJwt,
    /// `JWT`, for clients that refuse the other.
    #[serde(rename = "JWT")]
    Jwt,
}

/// What an access token is to those who hold it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum TokenFormat {
    /// A JWT (RFC 9068): whoever holds it can read it, and whoever has the public keys can verify it.
    #[default]
    Jwt,
    /// [Sealed](Claims::seal): only the server that gave it can read it. All others ask (RFC 7662).
    Opaque,
}

impl TokenType {
    /// The `typ` as text.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AtJwt => "at+jwt",
            Self::Jwt => "JWT",
        }
    }
}
