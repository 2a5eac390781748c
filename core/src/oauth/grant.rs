//! Grants: in exchange for what a client gets tokens (RFC 6749, section 1.3).

use std::{fmt, str::FromStr};

/// A grant, as `grant_type` and `grant_types` name it (RFC 7591, section 2).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum GrantType {
    /// A code that a browser brought (RFC 6749, section 4.1).
    AuthorizationCode,
    /// The refresh token of before (section 6).
    RefreshToken,
    /// The client's own authentication: it acts for itself (section 4.4).
    ClientCredentials,
    /// A user's access token, for one that a service may use on their behalf (RFC 8693).
    #[serde(rename = "urn:ietf:params:oauth:grant-type:token-exchange")]
    TokenExchange,
    /// A code that the user of a device typed elsewhere (RFC 8628).
    #[serde(rename = "urn:ietf:params:oauth:grant-type:device_code")]
    DeviceCode,
}

/// The text names no grant that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a grant is one of those that the metadata lists as grant_types_supported")]
pub struct UnknownGrant;

impl GrantType {
    /// Every grant there is.
    pub const ALL: [Self; 5] = [
        Self::AuthorizationCode,
        Self::RefreshToken,
        Self::ClientCredentials,
        Self::TokenExchange,
        Self::DeviceCode,
    ];

    /// The grants of a client that says nothing about it.
    pub const DEFAULT: [Self; 2] = [Self::AuthorizationCode, Self::RefreshToken];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::RefreshToken => "refresh_token",
            Self::ClientCredentials => "client_credentials",
            Self::TokenExchange => "urn:ietf:params:oauth:grant-type:token-exchange",
            Self::DeviceCode => "urn:ietf:params:oauth:grant-type:device_code",
        }
    }
}

impl FromStr for GrantType {
    type Err = UnknownGrant;

    fn from_str(text: &str) -> Result<Self, UnknownGrant> {
        Self::ALL.into_iter().find(|grant| grant.as_str() == text).ok_or(UnknownGrant)
    }
}

impl fmt::Display for GrantType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
