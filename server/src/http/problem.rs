//! What an API says when it refuses: RFC 9457 problem details with a stable code. All codes stand in one table, which
//! the reference is generated from.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::ops::{Unavailable, confirm::Confirmed};

/// A stable code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// What programs compare.
    pub code: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What it is.
    pub title: &'static str,
    /// What to do about it.
    pub fix: &'static str,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $status:literal $code:literal, $title:literal, $fix:literal;)*) => {
        $($(#[$doc])* pub const $name: Code = Code { code: $code, status: $status, title: $title, fix: $fix };)*
        /// Every code there is.
        pub const CODES: &[Code] = &[$($name),*];
    };
}

codes! {
    /// The body or query is not what the route takes.
    MALFORMED = 400 "malformed_request", "The request cannot be read", "Compare the body with the OpenAPI document at /api/v1/openapi.json.";
    /// The content type is not JSON.
    NOT_JSON = 415 "not_json", "The body must be JSON", "Send `Content-Type: application/json`.";
    /// The body is over the limit.
    TOO_LARGE = 413 "too_large", "The request is too large", "Send less; the limit is named in `detail`.";
    /// Name or password.
    CREDENTIALS = 401 "invalid_credentials", "The name or the password is wrong", "Check both. The answer is the same whether or not the name exists.";
    /// The client did not authenticate.
    CLIENT = 401 "invalid_client", "The client is not known or its secret is wrong", "Send the client id and secret with HTTP Basic authentication; `symbolon client rotate-secret` makes a new secret.";
    /// A client that cannot be as it is.
    CLIENT_SETTINGS = 400 "invalid_client_settings", "The client cannot be as it is", "Change the members that `detail` names.";
    /// Nobody registers with what an administrator would hand out.
    NO_INVITATIONS = 409 "no_client_invitations", "No client registers itself with a token here", "Set `client_registration.mode` to `token` and start the server again.";
    /// Another kind of client is needed.
    CLIENT_KIND = 403 "client_not_allowed", "This client may not do this", "See `kind` and `first_party` of the client: only first-party clients take passwords, and only they and resource servers follow the revocation log.";
    /// The refresh token.
    GRANT = 400 "invalid_grant", "The refresh token or code proves no live session", "Log in again. An old refresh token or a used code that comes back ends its session.";
    /// No half, or one that proves nothing.
    UNAUTHENTICATED = 401 "unauthenticated", "Nobody is logged in", "Log in, or send a valid access token.";
    /// CSRF.
    CROSS_SITE = 403 "cross_site", "The request comes from another site", "Send it from a page of this site or of an origin listed for the client.";
    /// Forms carry a token.
    FORM_TOKEN = 403 "form_token", "The form is stale", "Load the page again and send the form from there.";
    /// Origins are listed per client.
    ORIGIN = 403 "origin_not_listed", "The origin is not listed for this client", "Add the exact origin to the client's `origins`.";
    /// The client's audiences.
    AUDIENCE = 400 "invalid_target", "The client has no such audience", "Ask for one of the client's `audiences`, or none for the first.";
    /// Attempt limits.
    LIMITED = 429 "too_many_attempts", "Too many attempts", "Wait as long as `Retry-After` says.";
    /// Somebody must wait.
    UNAVAILABLE = 503 "unavailable", "Not now", "Try again after `Retry-After`; the log of the server says why.";
    /// No such thing, or not yours.
    NOT_FOUND = 404 "not_found", "There is no such thing here", "Check the address; what belongs to others looks like this, too.";
    /// Wrong method.
    METHOD = 405 "method_not_allowed", "This address does not take that method", "See `Allow`.";
    /// The session of a sid.
    SESSION_GONE = 404 "session_gone", "The session has ended or never was", "Open a new session.";
    /// Compare and set.
    VERSION = 412 "version_mismatch", "The session data has changed", "Read it again and send the new ETag in `If-Match`.";
    /// A data key.
    DATA_KEY = 400 "invalid_key", "This is no key of session data", "A key has 1 to 128 bytes.";
    /// A browser reaches declared keys only.
    DATA_UNDECLARED = 403 "key_not_declared", "The browser may not reach this key", "Declare it for the client: `browser.KEY = \"read\"` or `\"write\"`.";
    /// Session data limit.
    DATA_TOO_LARGE = 413 "session_data_too_large", "The session data is over its limit", "Keep less in the session; `limits.session_data_bytes_max` is named in `detail`.";
    /// Registration mode.
    REGISTRATION_CLOSED = 403 "registration_closed", "Registration is closed", "Ask an administrator; `registration.mode` opens it.";
    /// Invitation codes.
    INVITATION = 403 "invalid_invitation", "The invitation is not valid", "Ask for a new one; each can be used once.";
    /// User names.
    USERNAME = 422 "invalid_username", "This is no username", "Use 1 to 128 characters without spaces.";
    /// Password policy.
    PASSWORD = 422 "password_refused", "The password is not accepted", "See `reason`: choose a longer or less common one.";
    /// A name that exists.
    TAKEN = 409 "taken", "The name is taken", "Choose another name.";
    /// The configuration declares it.
    DECLARED = 409 "declared", "The configuration declares it", "Change it in the configuration file.";
    /// Tokens → cookie needs them.
    NO_LOGIN = 409 "no_login", "There is no login to hand over", "Log in first.";
    /// Two processes use one identity.
    FOLLOWER_IDENTITY = 409 "follower_identity", "The follower's identity is used twice", "Draw a new identity, keep what is held, and ask again without `last_answer`.";
    /// A follower was led to another node than the one that it follows.
    FOLLOWER_ELSEWHERE = 412 "follower_elsewhere", "Another node answers this follower", "Ask again at once. Nothing was heard here. After 64 such answers, ask without `node`.";
    /// Followers are counted.
    FOLLOWERS = 503 "too_many_followers", "There are too many followers", "Try again later, or raise `revocation.followers_max`.";
    /// How long to wait for a confirmation.
    CONFIRM = 400 "invalid_confirm", "This is no time to wait for a confirmation", "Write `confirm=true` or a time up to 25 seconds, such as `confirm=2s` or `confirm=500ms`.";
    /// Too many roles.
    ROLES = 422 "too_many_roles", "The user would have too many roles", "Remove some first.";
}

/// A refusal on its way out.
#[derive(Debug, Clone)]
pub struct Problem {
    code: Code,
    detail: Option<String>,
    reason: Option<&'static str>,
    retry_after: Option<Duration>,
    confirmed: Option<Box<Confirmed>>,
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self { code, detail: None, reason: None, retry_after: None, confirmed: None }
    }
}

impl Problem {
    /// Says more. Never anything that an outsider must not know.
    #[must_use]
    pub fn detail(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    /// Names the rule that refused.
    #[must_use]
    pub const fn reason(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }

    /// Says when to try again.
    #[must_use]
    pub const fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Says how far an end has come that this refusal brought about.
    #[must_use]
    pub fn confirmed(self, confirmed: Option<Confirmed>) -> Self {
        Self { confirmed: confirmed.map(Box::new), ..self }
    }

    /// The code.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// How long to wait.
    pub fn wait(&self) -> Duration {
        self.retry_after.unwrap_or_default()
    }

    /// How long to wait, in whole seconds, if that is said.
    pub fn retry_after_secs(&self) -> Option<u64> {
        self.retry_after.map(|after| after.as_secs_f64().ceil() as u64)
    }
}

impl From<Unavailable> for Problem {
    fn from(error: Unavailable) -> Self {
        // The cause is for the log alone.
        tracing::error!(%error, "not now");
        let after = match error {
            Unavailable::Busy { retry_after } => retry_after,
            _ => Duration::from_secs(1),
        };
        Self::from(UNAVAILABLE).retry_after(after)
    }
}

impl From<symbolon_core::limit::Limited> for Problem {
    fn from(limited: symbolon_core::limit::Limited) -> Self {
        Self::from(LIMITED).retry_after(limited.retry_after)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Code { code, status, title, fix } = self.code;
        let retry_after = self.retry_after_secs();
        let mut body = json!({
            "type": format!("urn:symbolon:error:{code}"), "title": title, "status": status, "code": code, "fix": fix,
        });
        if let Some(detail) = self.detail {
            body["detail"] = detail.into();
        }
        if let Some(reason) = self.reason {
            body["reason"] = reason.into();
        }
        if let Some(Value::Object(confirmed)) = self.confirmed.map(|confirmed| json!(confirmed))
            && let Value::Object(body) = &mut body
        {
            body.extend(confirmed);
        }
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(after) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after));
        }
        if code == CLIENT.code {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"symbolon\""),
            );
        }
        response
    }
}
