//! Sockets in: the public listener and the local socket of the command line.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request},
    http::{Method, StatusCode, header},
    middleware::{self, Next},
    response::Response,
};
use http_body_util::{BodyExt, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tower::ServiceExt;

/// The local socket's name in the data folder.
pub const SOCKET_NAME: &str = "symbolon.sock";

/// Who is at the other end of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The address of the caller.
    pub address: IpAddr,
    /// Whether it came over TLS.
    pub secure: bool,
}

/// Serves a router until the shutdown, then finishes what is in flight.
///
/// # Errors
/// The listener failed.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let service = router
        .layer(middleware::from_fn(name_peer))
        .into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).with_graceful_shutdown(shutdown).await
}

async fn name_peer(mut request: Request, then: Next) -> Response {
    if let Some(ConnectInfo(address)) =
        request.extensions().get::<ConnectInfo<SocketAddr>>().copied()
    {
        request.extensions_mut().insert(Peer { address: address.ip(), secure: false });
    }
    then.run(request).await
}

/// Completes when the process is told to stop: Ctrl-C or SIGTERM.
pub async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// Serves the admin API on the local socket, for its owner alone.
///
/// # Errors
/// The socket cannot be made.
pub async fn serve_local(path: PathBuf, router: Router) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    // The lock of the data folder is ours, so nobody answers on what is there.
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    axum::serve(listener, router).await
}

/// Why a call of the local socket got no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens.
    #[error("no server answers on {0}")]
    Nobody(PathBuf),
    /// The connection broke, or the answer is no JSON.
    #[error("the local socket: {0}")]
    Broken(String),
}

impl CallError {
    /// Whether no server runs.
    pub const fn nobody_answers(&self) -> bool {
        matches!(self, Self::Nobody(_))
    }
}

const ANSWER_BYTES_MAX: usize = 16 << 20;

fn request(method: Method, path: &str, body: Option<Value>) -> Result<Request<Body>, CallError> {
    let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
    let request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
    let request = request.header(header::CONTENT_TYPE, "application/json").body(body);
    request.map_err(|error| CallError::Broken(error.to_string()))
}

async fn answered<B>(response: axum::http::Response<B>) -> Result<(StatusCode, Value), CallError>
where
    B: http_body::Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (parts, body) = response.into_parts();
    let broken = |error: &dyn std::fmt::Display| CallError::Broken(error.to_string());
    let body =
        Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| broken(&error))?;
    let bytes = body.to_bytes();
    if bytes.is_empty() {
        return Ok((parts.status, Value::Null));
    }
    Ok((parts.status, serde_json::from_slice(&bytes).map_err(|error| broken(&error))?))
}

/// Calls the admin API of the running server.
///
/// # Errors
/// [`CallError`].
pub async fn call(
    socket: &Path,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Result<(StatusCode, Value), CallError> {
    let stream =
        UnixStream::connect(socket).await.map_err(|_| CallError::Nobody(socket.to_owned()))?;
    let broken = |error: hyper::Error| CallError::Broken(error.to_string());
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    tokio::spawn(connection);
    answered(sender.send_request(request(method, path, body)?).await.map_err(broken)?).await
}

/// Calls the same API in this process.
///
/// # Errors
/// [`CallError`].
pub async fn answer(
    router: &Router,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Result<(StatusCode, Value), CallError> {
    let Ok(response) = router.clone().oneshot(request(method, path, body)?).await;
    answered(response).await
}
