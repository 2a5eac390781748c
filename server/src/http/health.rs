//! Whether the server lives, and whether it can work.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};

use super::Http;

/// The process answers.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// The store answers, and there are keys to sign with.
pub async fn readyz(State(http): State<Http>) -> Response {
    let keys = http.app.keys().ring.handle_key(crate::app::now()).is_some();
    match http.app.store.ping().await {
        Ok(()) if keys => "ready\n".into_response(),
        Ok(()) => (StatusCode::SERVICE_UNAVAILABLE, "no key is active\n").into_response(),
        Err(error) => {
            tracing::error!(%error, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n").into_response()
        }
    }
}
