//! Logs, request ids, metrics.
//!
//! A log line never holds a query string, a header or a body, because secrets travel there. A request is told by its
//! id, its method, the *route* it went to (`/api/v1/sessions/{sid}`), its status and how long it took.

use std::{fmt, io::IsTerminal, time::Duration};

use axum::{
    Extension, Router,
    extract::{MatchedPath, Request},
    http::{HeaderName, HeaderValue, Method, StatusCode},
    middleware::Next,
    response::Response,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use symbolon_core::secret::SecretBytes;
use tokio::time::Instant;
use tracing::{Instrument, Span};
use tracing_subscriber::{Layer, layer::SubscriberExt, registry, util::SubscriberInitExt};

use crate::{
    app::Os,
    config::{Log, LogFormat},
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// The upper bounds of the buckets of durations, in seconds. A password takes some 20 ms.
const BUCKETS: [f64; 12] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5];

/// The id of a request: 128 random bits as 22 characters of base64url. It is always our own; one that comes from
/// outside is ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(String);

impl RequestId {
    fn new() -> Self {
        Self(URL_SAFE_NO_PAD.encode(SecretBytes::<16>::random(&mut Os).expose()))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why there are no logs or metrics.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// Something else logs in this process.
    #[error("logs: {0}")]
    Logs(#[from] tracing_subscriber::util::TryInitError),
    /// The recorder of metrics could not be made.
    #[error("metrics: {0}")]
    Metrics(#[from] BuildError),
    /// Something else records metrics in this process.
    #[error("metrics: something else records them in this process")]
    Recorder,
}

/// Sends the logs of this process to standard error. Once per process.
///
/// # Errors
/// [`TelemetryError`].
pub fn init_logs(log: &Log) -> Result<(), TelemetryError> {
    let colours = std::io::stderr().is_terminal();
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colours);
    let layer = match log.format {
        LogFormat::Text => layer.with_target(false).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    };
    Ok(registry().with(layer.with_filter(log.level.0.clone())).try_init()?)
}

/// The metrics of this process, for `/metrics`.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics(…)")
    }
}

impl Metrics {
    /// Begins to record. Once per process.
    ///
    /// # Errors
    /// [`TelemetryError`].
    pub fn install() -> Result<Self, TelemetryError> {
        let recorder = PrometheusBuilder::new().set_buckets(&BUCKETS)?.build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|_| TelemetryError::Recorder)?;
        metrics::describe_histogram!(
            "http_request_duration_seconds",
            metrics::Unit::Seconds,
            "From the head of a request to the head of its answer."
        );
        Ok(Self(handle))
    }

    /// Puts what was measured into its buckets every few seconds, so that memory does not grow while nobody reads.
    pub async fn keep_small(self) {
        let mut every = tokio::time::interval(UPKEEP_EVERY);
        loop {
            every.tick().await;
            self.0.run_upkeep();
        }
    }

    /// All metrics in the text format of Prometheus.
    pub fn render(&self) -> String {
        self.0.run_upkeep();
        self.0.render()
    }
}

/// Gives every request its id, and tells of it in logs and metrics. Handlers find the [`Metrics`] in an extension.
pub fn observe(router: Router, metrics: Option<Metrics>) -> Router {
    let router = router.layer(axum::middleware::from_fn(observe_one));
    match metrics {
        Some(metrics) => router.layer(Extension(metrics)),
        None => router,
    }
}

async fn observe_one(mut request: Request, next: Next) -> Response {
    let id = RequestId::new();
    let mut told = Told::new(&request, &id);
    let header = HeaderValue::try_from(&id.0).ok();
    request.extensions_mut().insert(id);
    let mut response = next.run(request).instrument(told.span.clone()).await;
    if let Some(header) = header {
        response.headers_mut().insert(REQUEST_ID, header);
    }
    told.status = Some(response.status());
    response
}

/// A request, which is told of when it ends: also one whose client goes away before the answer, lest anybody tries
/// something unseen.
#[derive(Debug)]
struct Told {
    span: Span,
    began: Instant,
    method: &'static str,
    route: Option<MatchedPath>,
    status: Option<StatusCode>,
}

impl Told {
    fn new(request: &Request, id: &RequestId) -> Self {
        let method = method(request.method());
        let route = request.extensions().get::<MatchedPath>().cloned();
        // Of the level that is never left out, so that every warning has its request.
        let span = tracing::error_span!(
            "request",
            %id,
            method,
            route = route.as_ref().map_or("none", MatchedPath::as_str),
        );
        Self { span, began: Instant::now(), method, route, status: None }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        let status = self.status.as_ref().map_or("none", StatusCode::as_str);
        let route = self.route.as_ref().map_or("none", MatchedPath::as_str);
        metrics::histogram!(
            "http_request_duration_seconds",
            "method" => self.method,
            "route" => route.to_owned(),
            "status" => status.to_owned(),
        )
        .record(took);
        let duration_ms = (took.as_secs_f64() * 1e6).round() / 1e3;
        let span = &self.span;
        match self.status {
            Some(code) if code.is_server_error() => {
                tracing::warn!(parent: span, status, duration_ms, "answered");
            }
            Some(_) => tracing::info!(parent: span, status, duration_ms, "answered"),
            None => {
                tracing::info!(parent: span, duration_ms, "not answered in time, or the client went away");
            }
        }
    }
}

/// The methods that there are; whatever else somebody invents counts as one.
fn method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
