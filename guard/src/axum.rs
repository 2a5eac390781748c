//! axum: [`Identity`], `Option<Identity>` and the session are extractors, what refuses is a response.

use std::convert::Infallible;

use axum_core::{
    body::Body,
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, Response},
};
use http::request::Parts;

use crate::{error::Refusal, identity::Identity, layer::found};

/// Refused when the request is anonymous, or when no [`Guard`](crate::Guard) stands in front of the route.
impl<S: Sync> FromRequestParts<S> for Identity {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        found(&parts.extensions).cloned()
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Identity {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.into_response::<Body>()
    }
}

#[cfg(feature = "sessions")]
mod sessions {
    use axum_core::{
        body::Body,
        extract::FromRequestParts,
        response::{IntoResponse, Response},
    };
    use http::request::Parts;

    use crate::session::{Misuse, Session, SessionError};

    /// Refused when no [`Sessions`](crate::session::Sessions) layer stands in front of the route.
    impl<S: Sync> FromRequestParts<S> for Session {
        type Rejection = SessionError;

        async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionError> {
            let session = parts.extensions.get::<Self>().cloned();
            session.ok_or(SessionError::Misuse(Misuse::NoLayer))
        }
    }

    impl IntoResponse for SessionError {
        fn into_response(self) -> Response {
            self.into_response::<Body>()
        }
    }
}
