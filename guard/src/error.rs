//! What a request is told when it does not get in.

use http::{
    HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use symbolon_core::session::Assurance;

/// Why a request does not get in, told so that the right client knows what to do and the wrong one learns nothing:
/// a credential that is malformed, forged, expired, ended or of the wrong kind is always [`Refusal::InvalidToken`].
///
/// As a response it is `application/problem+json` (RFC 9457) with a stable `code`, and `WWW-Authenticate` per RFC 6750.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No credential was sent. Log in.
    #[error("no credential was sent")]
    LoginRequired,
    /// The credential lets nobody in. Refresh, or log in.
    #[error("the credential is not valid")]
    InvalidToken,
    /// The credential was genuine and has been replaced: use what the newer answer gave.
    #[error("the credential was renewed")]
    Renewed,
    /// Several `Authorization` headers, or several cookies of one of our names.
    #[error("more than one credential of one kind was sent")]
    InvalidRequest,
    /// Over [`COOKIES_BYTES_MAX`](crate::cookie::COOKIES_BYTES_MAX) or [`COOKIES_MAX`](crate::cookie::COOKIES_MAX).
    #[error("too many cookies")]
    TooManyCookies,
    /// A cookie carries the request and nothing proves that a page of this site asked.
    #[error("the request is not proven to come from this site")]
    CrossOrigin,
    /// The CSRF token is missing or is another credential's.
    #[error("the CSRF token does not fit")]
    InvalidCsrfToken,
    /// The access token lacks a scope.
    #[error("the scope {0} is missing")]
    InsufficientScope(Box<str>),
    /// The subject lacks a role. Which one is not said.
    #[error("a role is missing")]
    Forbidden,
    /// The login was not strong enough (RFC 9470). Step up.
    #[error("a stronger login is needed")]
    InsufficientAssurance(Assurance),
    /// It cannot be decided now. Nobody gets in.
    #[error("it cannot be decided now")]
    Unavailable {
        /// When to try again, in seconds.
        retry_after_secs: u32,
    },
}

impl Refusal {
    /// The stable code: clients may decide by it.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::LoginRequired => "login_required",
            Self::InvalidToken => "invalid_token",
            Self::Renewed => "renewed",
            Self::InvalidRequest => "invalid_request",
            Self::TooManyCookies => "too_many_cookies",
            Self::CrossOrigin => "cross_origin",
            Self::InvalidCsrfToken => "invalid_csrf_token",
            Self::InsufficientScope(_) => "insufficient_scope",
            Self::Forbidden => "forbidden",
            Self::InsufficientAssurance(_) => "insufficient_user_authentication",
            Self::Unavailable { .. } => "unavailable",
        }
    }

    /// The status of the answer.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::LoginRequired
            | Self::InvalidToken
            | Self::Renewed
            | Self::InsufficientAssurance(_) => StatusCode::UNAUTHORIZED,
            Self::InvalidRequest => StatusCode::BAD_REQUEST,
            Self::TooManyCookies => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::CrossOrigin
            | Self::InvalidCsrfToken
            | Self::InsufficientScope(_)
            | Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// A sentence that is the same for every request with this code.
    pub const fn title(&self) -> &'static str {
        match self {
            Self::LoginRequired => "Login required",
            Self::InvalidToken => "Credential not valid",
            Self::Renewed => "Credential renewed",
            Self::InvalidRequest => "Ambiguous credentials",
            Self::TooManyCookies => "Too many cookies",
            Self::CrossOrigin => "Cross-origin request",
            Self::InvalidCsrfToken => "CSRF token not valid",
            Self::InsufficientScope(_) => "Scope missing",
            Self::Forbidden => "Not allowed",
            Self::InsufficientAssurance(_) => "Stronger login required",
            Self::Unavailable { .. } => "Temporarily unavailable",
        }
    }

    /// What the client can do.
    pub const fn detail(&self) -> &'static str {
        match self {
            Self::LoginRequired => {
                "Send a session cookie, or an access token in the Authorization header."
            }
            Self::InvalidToken => "The credential is not valid, or no longer. Log in again.",
            Self::Renewed => {
                "The credential was replaced by a newer one. Repeat the request with that."
            }
            Self::InvalidRequest => {
                "Send one Authorization header, and no cookie of the same name twice. Deleting this site's cookies \
                 mends the latter."
            }
            Self::TooManyCookies => {
                "At most 100 cookies of 16384 bytes in all are read. Delete this site's cookies."
            }
            Self::CrossOrigin => {
                "A request that changes something and is carried by a cookie must come from a page of this site. \
                 Other clients send an access token in the Authorization header."
            }
            Self::InvalidCsrfToken => {
                "Send the CSRF token of the current credential: in the X-CSRF-Token header, or in the form field \
                 csrf_token. Loading the page again gives the current one."
            }
            Self::InsufficientScope(_) => "The access token has not the scope that this needs.",
            Self::Forbidden => "This login may not do that.",
            Self::InsufficientAssurance(_) => "Log in again with a second factor.",
            Self::Unavailable { .. } => "The login cannot be checked at the moment. Try again.",
        }
    }

    /// Whether the request merely carried a credential that counts for nothing, so that it may pass for anonymous where
    /// anonymous requests are served.
    pub(crate) const fn is_spent_credential(&self) -> bool {
        matches!(self, Self::InvalidToken | Self::Renewed)
    }

    /// The `WWW-Authenticate` header (RFC 6750, section 3): no error when no credential was sent; the missing scope
    /// (RFC 6750) or assurance level (RFC 9470) otherwise.
    pub fn challenge(&self) -> Option<HeaderValue> {
        let error = match self {
            Self::LoginRequired => return Some(HeaderValue::from_static(REALM)),
            Self::InvalidToken | Self::Renewed => r#", error="invalid_token""#.to_owned(),
            Self::InsufficientScope(scope) => {
                // The characters of a scope-token (RFC 6749, section 3.3).
                let scope = scope.replace(|c| !matches!(c, '!' | '#'..='[' | ']'..='~'), "");
                format!(r#", error="insufficient_scope", scope="{scope}""#)
            }
            Self::InsufficientAssurance(needed) => format!(
                r#", error="insufficient_user_authentication", acr_values="{}""#,
                needed.as_str()
            ),
            _ => return None,
        };
        HeaderValue::try_from(format!("{REALM}{error}")).ok()
    }

    /// The answer, for any body that can be made from text.
    pub fn into_response<B: From<String>>(self) -> Response<B> {
        let status = self.status();
        let body = serde_json::json!({
            "title": self.title(),
            "status": status.as_u16(),
            "detail": self.detail(),
            "code": self.code(),
        });
        let mut response = Response::new(B::from(body.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(challenge) = self.challenge() {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if let Self::Unavailable { retry_after_secs } = self {
            headers.insert(RETRY_AFTER, HeaderValue::from(retry_after_secs));
        }
        response
    }
}

const REALM: &str = r#"Bearer realm="symbolon""#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let scope = |s: &str| Refusal::InsufficientScope(s.into());
        for (refusal, status, challenge) in [
            (Refusal::LoginRequired, 401, Some(r#"Bearer realm="symbolon""#)),
            (Refusal::InvalidToken, 401, Some(r#"Bearer realm="symbolon", error="invalid_token""#)),
            (Refusal::Renewed, 401, Some(r#"Bearer realm="symbolon", error="invalid_token""#)),
            (Refusal::InvalidRequest, 400, None),
            (Refusal::TooManyCookies, 431, None),
            (Refusal::CrossOrigin, 403, None),
            (Refusal::InvalidCsrfToken, 403, None),
            (
                scope("cart:write"),
                403,
                Some(r#"Bearer realm="symbolon", error="insufficient_scope", scope="cart:write""#),
            ),
            (
                scope("a\"\\\r\nb"),
                403,
                Some(r#"Bearer realm="symbolon", error="insufficient_scope", scope="ab""#),
            ),
            (Refusal::Forbidden, 403, None),
            (
                Refusal::InsufficientAssurance(Assurance::Aal2),
                401,
                Some(
                    r#"Bearer realm="symbolon", error="insufficient_user_authentication", acr_values="aal2""#,
                ),
            ),
            (Refusal::Unavailable { retry_after_secs: 2 }, 503, None),
        ] {
            let code = refusal.code();
            let response = refusal.into_response::<String>();
            assert_eq!(response.status(), status);
            let headers = response.headers();
            assert_eq!(headers[CACHE_CONTROL], "no-store");
            assert_eq!(headers[CONTENT_TYPE], "application/problem+json");
            let sent = headers.get(WWW_AUTHENTICATE).map(|value| value.to_str().unwrap());
            assert_eq!(sent, challenge);
            assert_eq!(headers.get(RETRY_AFTER).is_some(), status == 503);
            let body: serde_json::Value = serde_json::from_str(response.body()).unwrap();
            assert_eq!(body["code"], code);
            assert_eq!(body["status"], status);
        }
    }
}
