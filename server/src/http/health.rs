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
use crate::{app::App, listen::Peer, telemetry::Metrics};

/// The process answers.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// The metrics, for the addresses in `listen.metrics_from`.
pub async fn metrics(State(http): State<Http>, peer: Option<Extension<Peer>>) -> Response {
    let from = &http.app.config.listen.metrics_from;
    let may = peer.is_some_and(|peer| from.iter().any(|network| network.contains(peer.address)));
    match Metrics::current() {
        Some(metrics) if may => {
            gauge(&http.app);
            let text = "text/plain; version=0.0.4; charset=utf-8";
            ([(header::CONTENT_TYPE, text)], metrics.render()).into_response()
        }
        _ => Problem::from(problem::NOT_FOUND).into_response(),
    }
}

/// What is counted elsewhere, as it is at this moment.
fn gauge(app: &App) {
    let passwords = app.passwords.stats();
    metrics::counter!("symbolon_password_hashes_total").absolute(passwords.runs);
    metrics::gauge!("symbolon_password_hashes_waiting").set(passwords.queued as f64);
    metrics::gauge!("symbolon_revocations_live").set(app.store.log().len() as f64);
    metrics::gauge!("symbolon_followers").set(app.store.log().followers() as f64);
    metrics::gauge!("symbolon_sessions_cached").set(app.live.len() as f64);
}

/// The store answers, and there are keys to sign with.
pub async fn readyz(State(http): State<Http>) -> Response {
    let keys = http.app.keys().ring.handle_key(crate::app::now()).is_some();
    match http.app.store.barrier().await {
        Ok(()) if keys => "ready\n".into_response(),
        Ok(()) => (StatusCode::SERVICE_UNAVAILABLE, "no key is active\n").into_response(),
        Err(error) => {
            tracing::error!(%error, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n").into_response()
        }
    }
}
