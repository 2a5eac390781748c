//! What a request is told when it does not get in.

use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};

use crate::{
    dpop::{NONCE, Unproven},
    step_up::StepUp,
};

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
    /// The token is bound to a key, and no proof of this key fits the request (RFC 9449, section 7.1).
    #[error("no proof of the token's key fits the request")]
    InvalidProof,
    /// The proof is right, but it must repeat this nonce (RFC 9449, section 9).
    #[error("the proof must repeat a nonce")]
    UseNonce(HeaderValue),
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
    CrossSite,
    /// The CSRF token is missing or is another credential's.
    #[error("the CSRF token does not fit")]
    InvalidCsrfToken,
    /// The access token lacks a scope.
    #[error("the scope {0} is missing")]
    InsufficientScope(Box<str>),
    /// The subject lacks a role. Which one is not said.
    #[error("a role is missing")]
    Forbidden,
    /// The login is not strong or not recent enough (RFC 9470). Step up.
    #[error("a stronger or newer login is needed")]
    InsufficientAuthentication(StepUp),
    /// It cannot be decided now. Nobody gets in.
    #[error("it cannot be decided now")]
    Unavailable {
        /// When to try again, in seconds.
        retry_after_secs: u32,
    },
}

impl Refusal {
    /// One of each, for tables of codes.
    pub fn all() -> [Self; 13] {
        [
            Self::LoginRequired,
            Self::InvalidToken,
            Self::InvalidProof,
            Self::UseNonce(HeaderValue::from_static("nonce")),
            Self::Renewed,
            Self::InvalidRequest,
            Self::TooManyCookies,
            Self::CrossSite,
            Self::InvalidCsrfToken,
            Self::InsufficientScope("".into()),
            Self::Forbidden,
            Self::InsufficientAuthentication(StepUp::default()),
            Self::Unavailable { retry_after_secs: 1 },
        ]
    }

    /// The status, the stable code, what it is, and what to do about it.
    const fn row(&self) -> (StatusCode, &'static str, &'static str, &'static str) {
        match self {
            Self::LoginRequired => (
                StatusCode::UNAUTHORIZED,
                "unauthenticated",
                "Nobody is logged in",
                "Send a session cookie, or an access token in the Authorization header.",
            ),
            Self::InvalidToken => (
                StatusCode::UNAUTHORIZED,
                "invalid_token",
                "The credential is not valid",
                "It is not valid, or no longer: refresh it, or log in again.",
            ),
            Self::InvalidProof => (
                StatusCode::UNAUTHORIZED,
                "invalid_dpop_proof",
                "The proof of the token's key does not fit",
                "Sign a new proof with the key of the token, for this method and URL, and send it once in the header DPoP.",
            ),
            Self::UseNonce(_) => (
                StatusCode::UNAUTHORIZED,
                "use_dpop_nonce",
                "The proof needs a nonce",
                "Sign a new proof that repeats the nonce of the header DPoP-Nonce.",
            ),
            Self::Renewed => (
                StatusCode::UNAUTHORIZED,
                "renewed",
                "The credential was renewed",
                "Repeat the request with the newer one.",
            ),
            Self::InvalidRequest => (
                StatusCode::BAD_REQUEST,
                "invalid_request",
                "The credentials are ambiguous",
                "Send one Authorization header, and no cookie twice. Deleting this site's cookies mends the latter.",
            ),
            Self::TooManyCookies => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "too_many_cookies",
                "There are too many cookies",
                "At most 100 cookies of 16384 bytes in all are read. Delete this site's cookies.",
            ),
            Self::CrossSite => (
                StatusCode::FORBIDDEN,
                "cross_site",
                "The request comes from another site",
                "What a cookie carries and changes something must come from a page of this site. Other clients send \
                 an access token in the Authorization header.",
            ),
            Self::InvalidCsrfToken => (
                StatusCode::FORBIDDEN,
                "invalid_csrf_token",
                "The CSRF token does not fit",
                "Load the page again. Scripts send the current credential's token in X-CSRF-Token, forms in the \
                 field csrf_token.",
            ),
            Self::InsufficientScope(_) => (
                StatusCode::FORBIDDEN,
                "insufficient_scope",
                "The access token lacks a scope",
                "Ask for an access token with the scope that WWW-Authenticate names.",
            ),
            Self::Forbidden => (
                StatusCode::FORBIDDEN,
                "forbidden",
                "This login may not do that",
                "Ask an administrator for the role, or log in as somebody who has it.",
            ),
            Self::InsufficientAuthentication(_) => (
                StatusCode::UNAUTHORIZED,
                "insufficient_user_authentication",
                "A stronger or newer login is needed",
                "Log in again: send the browser to the authorization endpoint with the acr_values and max_age that \
                 WWW-Authenticate names.",
            ),
            Self::Unavailable { .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "Not now",
                "The login cannot be checked at the moment. Try again after Retry-After.",
            ),
        }
    }

    /// The status of the answer.
    pub const fn status(&self) -> StatusCode {
        self.row().0
    }

    /// The stable code: clients may decide by it.
    pub const fn code(&self) -> &'static str {
        self.row().1
    }

    /// What it is, in a few words: the same for every request with this code.
    pub const fn title(&self) -> &'static str {
        self.row().2
    }

    /// What to do about it.
    pub const fn fix(&self) -> &'static str {
        self.row().3
    }

    /// Whether the request merely carried a credential that counts for nothing, so that it may pass for anonymous where
    /// anonymous requests are served.
    pub(crate) const fn is_spent_credential(&self) -> bool {
        matches!(self, Self::InvalidToken | Self::Renewed)
    }

    /// The `WWW-Authenticate` headers (RFC 6750, section 3; RFC 9449, section 7.1), one for each way to send a token: no
    /// error when no credential was sent; the missing scope (RFC 6750) or what the login must be (RFC 9470) otherwise. What is
    /// wrong with a proof is told for that way alone.
    pub fn challenges(&self) -> impl Iterator<Item = HeaderValue> {
        let error = match self {
            Self::LoginRequired => Some(String::new()),
            Self::InvalidToken | Self::Renewed => Some(r#", error="invalid_token""#.to_owned()),
            Self::InvalidProof | Self::UseNonce(_) => Some(format!(r#", error="{}""#, self.code())),
            Self::InsufficientScope(scope) => {
                // The characters of a scope-token (RFC 6749, section 3.3).
                let scope = scope.replace(|c| !matches!(c, '!' | '#'..='[' | ']'..='~'), "");
                Some(format!(r#", error="insufficient_scope", scope="{scope}""#))
            }
            Self::InsufficientAuthentication(needed) => {
                let parameters = needed.parameters();
                Some(format!(r#", error="insufficient_user_authentication"{parameters}"#))
            }
            _ => None,
        };
        let schemes: &[&str] = match self {
            Self::InvalidProof | Self::UseNonce(_) => &[DPOP],
            _ => &[BEARER, DPOP],
        };
        let challenge =
            move |scheme: &&str| HeaderValue::try_from(format!("{scheme}{}", error.as_ref()?)).ok();
        schemes.iter().filter_map(challenge)
    }

    /// The headers that say what to do: how to prove who one is, when to come again.
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for challenge in self.challenges() {
            headers.append(WWW_AUTHENTICATE, challenge);
        }
        match self {
            Self::UseNonce(nonce) => drop(headers.insert(NONCE, nonce.clone())),
            Self::Unavailable { retry_after_secs } => {
                headers.insert(RETRY_AFTER, HeaderValue::from(*retry_after_secs));
            }
            _ => {}
        }
        headers
    }

    /// The answer, for any body that can be made from text.
    pub fn into_response<B: From<String>>(self) -> Response<B> {
        let mut response = problem(self.row());
        response.headers_mut().extend(self.headers());
        response
    }
}

/// An answer as `application/problem+json`: the status, the stable code, what it is, and what to do about it.
pub(crate) fn problem<B: From<String>>(
    (status, code, title, fix): (StatusCode, &str, &str, &str),
) -> Response<B> {
    let body = serde_json::json!({
        "type": format!("urn:symbolon:error:{code}"),
        "title": title,
        "status": status.as_u16(),
        "code": code,
        "fix": fix,
    });
    let mut response = Response::new(B::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

const BEARER: &str = r#"Bearer realm="symbolon""#;
// Those of `SignatureAlgorithm::ALL`; a test compares.
const DPOP: &str = r#"DPoP realm="symbolon", algs="ES256 EdDSA RS256 PS256""#;

impl From<Unproven> for Refusal {
    fn from(unproven: Unproven) -> Self {
        match unproven {
            Unproven::Invalid => Self::InvalidProof,
            Unproven::Nonce(nonce) => Self::UseNonce(nonce),
            Unproven::Full => Self::Unavailable { retry_after_secs: 1 },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use symbolon_core::{oauth::jwk::SignatureAlgorithm, session::Assurance};

    use super::*;

    #[test]
    fn every_code_is_its_own() {
        let codes: std::collections::HashSet<_> = Refusal::all().map(|r| r.code()).into();
        assert_eq!(codes.len(), Refusal::all().len());
    }

    #[test]
    fn answers() {
        const DPOP: &str = r#"DPoP realm="symbolon", algs="ES256 EdDSA RS256 PS256""#;
        let scope = |s: &str| Refusal::InsufficientScope(s.into());
        let step_up =
            |assurance, max_age| Refusal::InsufficientAuthentication(StepUp { assurance, max_age });
        // What is told for every way to send a token, and for proofs alone.
        let (every, dpop) = (Some(true), Some(false));
        for (refusal, status, told, error) in [
            (Refusal::LoginRequired, 401, every, ""),
            (Refusal::InvalidToken, 401, every, r#", error="invalid_token""#),
            (Refusal::InvalidProof, 401, dpop, r#", error="invalid_dpop_proof""#),
            (
                Refusal::UseNonce(HeaderValue::from_static("a")),
                401,
                dpop,
                r#", error="use_dpop_nonce""#,
            ),
            (Refusal::Renewed, 401, every, r#", error="invalid_token""#),
            (Refusal::InvalidRequest, 400, None, ""),
            (Refusal::TooManyCookies, 431, None, ""),
            (Refusal::CrossSite, 403, None, ""),
            (Refusal::InvalidCsrfToken, 403, None, ""),
            (
                scope("cart:write"),
                403,
                every,
                r#", error="insufficient_scope", scope="cart:write""#,
            ),
            (scope("a\"\\\r\nb"), 403, every, r#", error="insufficient_scope", scope="ab""#),
            (Refusal::Forbidden, 403, None, ""),
            (
                step_up(Some(Assurance::Aal2), None),
                401,
                every,
                r#", error="insufficient_user_authentication", acr_values="aal2""#,
            ),
            (
                step_up(None, Some(Duration::from_secs(300))),
                401,
                every,
                r#", error="insufficient_user_authentication", max_age="300""#,
            ),
            (
                step_up(Some(Assurance::Aal1), Some(Duration::from_secs(5))),
                401,
                every,
                r#", error="insufficient_user_authentication", acr_values="aal1", max_age="5""#,
            ),
            (Refusal::Unavailable { retry_after_secs: 2 }, 503, None, ""),
        ] {
            let code = refusal.code();
            let response = refusal.into_response::<String>();
            assert_eq!(response.status(), status);
            let headers = response.headers();
            assert_eq!(headers[CACHE_CONTROL], "no-store");
            assert_eq!(headers[CONTENT_TYPE], "application/problem+json");
            let schemes = match told {
                Some(true) => vec![r#"Bearer realm="symbolon""#, DPOP],
                Some(false) => vec![DPOP],
                None => vec![],
            };
            let expected: Vec<_> = schemes.iter().map(|s| format!("{s}{error}")).collect();
            let sent = headers.get_all(WWW_AUTHENTICATE).iter();
            let sent: Vec<_> = sent.map(|value| value.to_str().unwrap()).collect();
            assert_eq!(sent, expected, "{code}");
            assert_eq!(headers.get(RETRY_AFTER).is_some(), status == 503);
            assert_eq!(headers.get(NONCE).is_some(), code == "use_dpop_nonce");
            let body: serde_json::Value = serde_json::from_str(response.body()).unwrap();
            assert_eq!(body["code"], code);
            assert_eq!(body["status"], status);
        }
        let names = SignatureAlgorithm::ALL.map(SignatureAlgorithm::name).join(" ");
        assert!(DPOP.ends_with(&format!("algs=\"{names}\"")));
    }
}
