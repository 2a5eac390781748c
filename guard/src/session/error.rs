//! What can go wrong with a session, and what the client is told.

use http::{Response, StatusCode};
use symbolon_core::data::KEY_BYTES_MAX;

use crate::{
    error::{Refusal, problem},
    store::{InvalidKey, Reason, USER_BYTES_MAX},
};

/// Why something could not be done with a session. As a response it is `application/problem+json` with a stable `code`,
/// so that a handler can pass it on with `?`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The store does not answer; 503 with `Retry-After`. It is not known whether a write was done.
    #[error("the session store does not answer")]
    Unavailable,
    /// The session was live when this request first looked, or the user's when the login began, and has ended since.
    /// Nothing was written; 401, `session_ended`.
    #[error("the session has ended while the request ran")]
    Ended(Reason),
    /// The data would be larger than the limit; nothing of this request was written; 413, `session_too_large`.
    #[error("session data is limited to {bytes_max} bytes")]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// The user has as many sessions as may be, and this login was refused; 409, `too_many_sessions`.
    #[error("the user has as many sessions as allowed")]
    TooMany,
    /// Too many requests changed the same value at the same time; 503.
    #[error("too many requests change the session at once")]
    Contended,
    /// The application asked for what cannot be; 500.
    #[error("{0}")]
    Misuse(Misuse),
}

/// A fault of the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misuse {
    /// No [`Sessions`](super::Sessions) layer stands in front of the route.
    #[error("no layer for sessions stands in front of this route")]
    NoLayer,
    /// A key is empty or too long.
    #[error("a key of session data has 1 to {KEY_BYTES_MAX} bytes")]
    Key,
    /// A value has no JSON form, such as a map whose keys are no text.
    #[error("the value has no JSON form")]
    Value,
    /// The name of a user is empty or too long.
    #[error("the name of a user has 1 to {USER_BYTES_MAX} bytes")]
    User,
}

impl From<InvalidKey> for SessionError {
    fn from(_: InvalidKey) -> Self {
        Self::Misuse(Misuse::Key)
    }
}

impl SessionError {
    /// The answer, for any body that can be made from text.
    pub fn into_response<B: From<String>>(self) -> Response<B> {
        match self {
            Self::Unavailable | Self::Contended => {
                Refusal::Unavailable { retry_after_secs: 1 }.into_response()
            }
            Self::Ended(_) => problem((
                StatusCode::UNAUTHORIZED,
                "session_ended",
                "The session has ended",
                "Load the page again, or log in again.",
            )),
            Self::TooLarge { bytes_max } => problem((
                StatusCode::PAYLOAD_TOO_LARGE,
                "session_too_large",
                "The session holds too much",
                &format!("A session holds at most {bytes_max} bytes. Take something away."),
            )),
            Self::TooMany => problem((
                StatusCode::CONFLICT,
                "too_many_sessions",
                "You are logged in too often",
                "Log out somewhere else first.",
            )),
            Self::Misuse(misuse) => {
                tracing::error!(%misuse, "the application misuses its session");
                problem((
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal",
                    "Something went wrong",
                    "Try again later. The application's log says more.",
                ))
            }
        }
    }
}
