//! Logs, request ids, metrics.
//!
//! A log line never holds a query string, a header or a body, because secrets travel there. A request is told by its
//! id, its method, the *route* it went to (`/api/v1/sessions/{sid}`), its status and how long it took.

use std::{
    cell::RefCell,
    collections::HashMap,
    convert::Infallible,
    fmt,
    io::{self, IsTerminal, Write},
    pin::Pin,
    sync::{Arc, PoisonError, RwLock},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderName, HeaderValue, Method, StatusCode},
    response::Response,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use rand_core::Rng;
use tokio::time::Instant;
use tower::{Layer, Service};
use tracing_subscriber::{
    Layer as _, fmt::MakeWriter, layer::SubscriberExt, registry, util::SubscriberInitExt,
};

use crate::{
    app::Os,
    config::{Log, LogFormat},
};

/// The target of the lines about requests: `log.level = "info,symbolon::request=debug"` logs every one.
const REQUESTS: &str = "symbolon::request";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// The upper bounds of the buckets of durations, in seconds. A password takes some 20 ms.
const BUCKETS: [f64; 12] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5];

/// The id of a request: 128 random bits as 22 characters of base64url. It is always our own; one that comes from
/// outside is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId([u8; 22]);

/// How many ids a thread draws at once.
const IDS: usize = 64;

thread_local! {
    /// Random bytes for ids, and how many ids are left in them. They are no secrets.
    static DRAWN: RefCell<(usize, [[u8; 16]; IDS])> = const { RefCell::new((0, [[0; 16]; IDS])) };
}

impl RequestId {
    fn new() -> Self {
        let bytes = DRAWN.with_borrow_mut(|(left, drawn)| {
            if *left == 0 {
                Os.fill_bytes(drawn.as_flattened_mut());
                *left = IDS;
            }
            *left -= 1;
            drawn[*left]
        });
        let mut text = [b'A'; 22];
        // 16 bytes are 22 characters.
        let _ = URL_SAFE_NO_PAD.encode_slice(bytes, &mut text);
        Self(text)
    }

    /// The id of the request that this task answers.
    pub fn current() -> Option<Self> {
        REQUEST.try_with(|asked| asked.id).ok()
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
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
    let writer = OfRequest::new(io::stderr, log.format);
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colours);
    let layer = match log.format {
        LogFormat::Text => layer.with_target(false).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    };
    // The level first: what it leaves out costs next to nothing.
    Ok(registry().with(log.level.0.clone()).with(layer).try_init()?)
}

/// The metrics of this process, for `/metrics`.
#[derive(Clone)]
pub struct Metrics(Arc<Recorded>);

struct Recorded {
    handle: PrometheusHandle,
    /// By route, what was answered there: to look a histogram up by its labels costs more than a session check.
    durations: RwLock<HashMap<Box<str>, Vec<Durations>>>,
}

struct Durations {
    method: &'static str,
    status: Option<StatusCode>,
    histogram: metrics::Histogram,
}

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
        Ok(Self(Arc::new(Recorded { handle, durations: RwLock::default() })))
    }

    /// The metrics that the request which this task answers is counted in.
    pub fn current() -> Option<Self> {
        REQUEST.try_with(|asked| asked.metrics.clone()).ok().flatten()
    }

    fn answered(&self, asked: &Asked, status: Option<StatusCode>, took: Duration) {
        let is_it = |one: &&Durations| one.method == asked.method && one.status == status;
        let known = self.0.durations.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(one) = known.get(asked.route()).and_then(|all| all.iter().find(is_it)) {
            return one.histogram.record(took);
        }
        drop(known);
        let histogram = metrics::histogram!(
            "http_request_duration_seconds",
            "method" => asked.method,
            "route" => asked.route().to_owned(),
            "status" => status.as_ref().map_or("none", StatusCode::as_str).to_owned(),
        );
        histogram.record(took);
        let one = Durations { method: asked.method, status, histogram };
        let mut known = self.0.durations.write().unwrap_or_else(PoisonError::into_inner);
        known.entry(asked.route().into()).or_default().push(one);
    }

    /// Puts what was measured into its buckets every few seconds, so that memory does not grow while nobody reads.
    pub async fn keep_small(self) {
        let mut every = tokio::time::interval(UPKEEP_EVERY);
        loop {
            every.tick().await;
            self.0.handle.run_upkeep();
        }
    }

    /// All metrics in the text format of Prometheus.
    pub fn render(&self) -> String {
        self.0.handle.run_upkeep();
        self.0.handle.render()
    }
}

tokio::task_local! {
    /// The request that this task answers.
    static REQUEST: Asked;
}

/// What is known of a request before it is answered.
struct Asked {
    id: RequestId,
    method: &'static str,
    route: Option<MatchedPath>,
    metrics: Option<Metrics>,
}

impl Asked {
    fn route(&self) -> &str {
        self.route.as_ref().map_or("none", MatchedPath::as_str)
    }
}

/// The layer that gives every request its id, and tells of it in logs and, if there are any, metrics. Handlers find the
/// id with [`RequestId::current`] and the metrics with [`Metrics::current`].
#[derive(Debug, Clone)]
pub struct Observe(pub Option<Metrics>);

impl<S> Layer<S> for Observe {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Observed<S> {
        Observed { inner, metrics: self.0.clone() }
    }
}

/// A service whose requests are told of.
#[derive(Debug, Clone)]
pub struct Observed<S> {
    inner: S,
    metrics: Option<Metrics>,
}

impl<S> Service<Request> for Observed<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let id = RequestId::new();
        let asked = Asked {
            id,
            method: method(request.method()),
            route: request.extensions().get().cloned(),
            metrics: self.metrics.clone(),
        };
        let told = Told { began: Instant::now(), status: None };
        let answer = self.inner.call(request);
        Box::pin(REQUEST.scope(asked, async move {
            let mut told = told;
            let mut response = answer.await?;
            if let Ok(id) = HeaderValue::from_str(id.as_str()) {
                response.headers_mut().insert(REQUEST_ID, id);
            }
            told.status = Some(response.status());
            Ok(response)
        }))
    }
}

/// A request, which is told of when it ends: also one whose client goes away before the answer, lest anybody tries
/// something unseen.
struct Told {
    began: Instant,
    status: Option<StatusCode>,
}

impl Drop for Told {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        let _ = REQUEST.try_with(|asked| {
            if let Some(metrics) = &asked.metrics {
                metrics.answered(asked, self.status, took);
            }
        });
        let status = self.status.as_ref().map(StatusCode::as_str);
        let duration_ms = (took.as_secs_f64() * 1e6).round() / 1e3;
        match self.status {
            Some(code) if code.is_server_error() => {
                tracing::warn!(target: REQUESTS, status, duration_ms, "answered");
            }
            Some(_) => tracing::debug!(target: REQUESTS, status, duration_ms, "answered"),
            None => tracing::info!(
                target: REQUESTS,
                duration_ms,
                "not answered in time, or the client went away"
            ),
        }
    }
}

/// Writes of a log line also which request it is of. A span would say the same, at the price of being made for every
/// request, also for the many that nothing is logged of.
#[derive(Debug, Clone, Copy)]
pub struct OfRequest<W> {
    writer: W,
    format: LogFormat,
}

impl<W> OfRequest<W> {
    /// Lines of this format, to be written to `writer`.
    pub const fn new(writer: W, format: LogFormat) -> Self {
        Self { writer, format }
    }
}

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for OfRequest<W> {
    type Writer = OfRequest<W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        OfRequest { writer: self.writer.make_writer(), format: self.format }
    }
}

impl<W: Write> Write for OfRequest<W> {
    /// The subscriber writes whole lines.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let told = REQUEST.try_with(|asked| tell(asked, self.format, line)).ok().flatten();
        self.writer.write_all(told.as_deref().unwrap_or(line))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// The line with the request in it: at its end, or as the first members of an object.
fn tell(asked: &Asked, format: LogFormat, line: &[u8]) -> Option<Vec<u8>> {
    let (id, method, route) = (asked.id.as_str(), asked.method, asked.route());
    Some(match format {
        LogFormat::Text => {
            let start = line.strip_suffix(b"\n")?;
            let end = format!(" request={id} method={method} route={route}\n");
            [start, end.as_bytes()].concat()
        }
        LogFormat::Json => {
            let rest = line.strip_prefix(b"{")?;
            let start = serde_json::json!({ "request": id, "method": method, "route": route });
            let start = start.to_string();
            [start.strip_suffix('}')?.as_bytes(), b",", rest].concat()
        }
    })
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
