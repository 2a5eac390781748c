//! Whether the server lives, and whether it can work.

use axum::{
    Extension,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{
    Http,
    problem::{self, Problem},
};
use crate::listen::Peer;

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

/// Metrics in the text format of Prometheus, for callers on this machine.
pub async fn metrics(State(http): State<Http>, Extension(peer): Extension<Peer>) -> Response {
    let Some(metrics) = http.metrics.as_ref().filter(|_| peer.address.to_canonical().is_loopback())
    else {
        return Problem::from(problem::NOT_FOUND).into_response();
    };
    let app = &http.app;
    let passwords = app.passwords.stats();
    metrics::counter!("symbolon_password_hashes_total").absolute(passwords.runs);
    metrics::gauge!("symbolon_password_hashes_waiting").set(passwords.queued as f64);
    metrics::gauge!("symbolon_revocations_live").set(app.store.ended_len() as f64);
    metrics::gauge!("symbolon_sessions_cached").set(app.live.len() as f64);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render()).into_response()
}
