//! What the token endpoint says when it refuses (RFC 6749, section 5.2), and nothing else does: clients compare `error`.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use symbolon_core::oauth::authorization::Fault;
use symbolon_guard::dpop::{NONCE, Unproven};

use super::super::problem::Problem;
use crate::ops::Unavailable;

/// A refusal on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OauthError {
    /// What programs compare.
    pub error: &'static str,
    /// What people read. Never anything that was sent.
    pub says: &'static str,
    status: StatusCode,
    /// The client tried HTTP Basic, and hears so.
    basic: bool,
    retry_after_secs: Option<u64>,
    nonce: Option<HeaderValue>,
}

impl OauthError {
    const fn new(error: &'static str, says: &'static str) -> Self {
        let status = StatusCode::BAD_REQUEST;
        Self { error, says, status, basic: false, retry_after_secs: None, nonce: None }
    }

    /// A parameter is missing, stands twice, or does not go with another.
    pub const fn invalid_request(says: &'static str) -> Self {
        Self::new("invalid_request", says)
    }

    /// The client is not known, or did not prove that it is who it says.
    pub fn invalid_client(basic: bool) -> Self {
        let status = StatusCode::UNAUTHORIZED;
        let says = "the client is not known, or did not authenticate";
        Self { status, basic, ..Self::new("invalid_client", says) }
    }

    /// The code or refresh token. All refusals of it are alike.
    pub const INVALID_GRANT: Self = Self::new(
        "invalid_grant",
        "the code or refresh token is none of this client's that counts",
    );

    /// The client may not use this grant.
    pub const fn unauthorized_client(says: &'static str) -> Self {
        Self::new("unauthorized_client", says)
    }

    /// There is no such grant.
    pub const GRANT_TYPE: Self =
        Self::new("unsupported_grant_type", "grant_type is none that the metadata lists");

    /// More than was granted.
    pub const SCOPE: Self = Self::new("invalid_scope", "the scope is more than was granted");

    /// The proof of a key is missing, or is none for this request (RFC 9449, section 5).
    pub const PROOF: Self = Self::new(
        "invalid_dpop_proof",
        "the DPoP proof is missing, not one of this request, or was used before",
    );

    /// Not now.
    fn unavailable(retry_after_secs: u64) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let told = Self::new("temporarily_unavailable", "try again after Retry-After");
        Self { status, retry_after_secs: Some(retry_after_secs), ..told }
    }

    /// The client gets no tokens for that resource server, or for none at all (RFC 8707, section 2).
    pub const TARGET: Self = Self::new("invalid_target", "the client has no such audience");

    /// The user of the device has not decided yet (RFC 8628, section 3.5).
    pub const PENDING: Self = Self::new("authorization_pending", "the user has not decided yet");

    /// The same, and the device asks too often.
    pub const SLOW_DOWN: Self =
        Self::new("slow_down", "wait five seconds longer between questions");

    /// The user of the device said no.
    pub const DENIED: Self = Self::new("access_denied", "the user said no");

    /// The device waited for too long.
    pub const EXPIRED: Self =
        Self::new("expired_token", "the device code has expired: begin again");

    /// Too many pushed requests or devices of this client wait for their users (RFC 9126, section 2.3).
    pub const TOO_MANY: Self = Self {
        error: "temporarily_unavailable",
        says: "too many requests of this client wait",
        status: StatusCode::TOO_MANY_REQUESTS,
        basic: false,
        retry_after_secs: Some(60),
        nonce: None,
    };
}

impl From<Fault> for OauthError {
    fn from(fault: Fault) -> Self {
        Self::new(fault.error, fault.says)
    }
}

impl From<Unproven> for OauthError {
    fn from(unproven: Unproven) -> Self {
        match unproven {
            Unproven::Invalid => Self::PROOF,
            Unproven::Nonce(nonce) => {
                let says = "the DPoP proof must repeat the nonce of the header DPoP-Nonce";
                Self { nonce: Some(nonce), ..Self::new("use_dpop_nonce", says) }
            }
            Unproven::Full => Self::unavailable(1),
        }
    }
}

impl From<Unavailable> for OauthError {
    fn from(error: Unavailable) -> Self {
        Self::unavailable(Problem::from(error).retry_after_secs().unwrap_or(1))
    }
}

impl IntoResponse for OauthError {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.error, "error_description": self.says });
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
        if self.basic {
            let basic = HeaderValue::from_static("Basic realm=\"symbolon\"");
            headers.insert(header::WWW_AUTHENTICATE, basic);
        }
        headers.extend(self.retry_after_secs.map(|s| (header::RETRY_AFTER, HeaderValue::from(s))));
        headers.extend(self.nonce.map(|nonce| (NONCE, nonce)));
        response
    }
}
