//! Logs, request ids, metrics.

/// The id of a request.
#[derive(Debug, Clone)]
pub struct RequestId(String);

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
}

/// Begins to log.
pub fn init(_format: Format, level: &str) {
    let filter = tracing_subscriber::EnvFilter::new(level);
    let _ =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}

/// Observes requests.
pub fn observe(router: axum::Router) -> axum::Router {
    router
}
