//! The socket that the command line speaks to a running server over: HTTP on a Unix socket in the data folder, for its
//! owner and the superuser alone.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{Method, Request, Response, StatusCode, header},
};
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{UnixListener, UnixStream};
use tower::ServiceExt;

/// The local socket's name in the data folder.
pub const SOCKET_NAME: &str = "symbolon.sock";

/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 32 << 20;
/// The longest that an answer is waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// The superuser.
const ROOT: u32 = 0;

/// Listens on the local socket; removes it when dropped.
#[derive(Debug)]
pub struct LocalListener {
    listener: UnixListener,
    path: PathBuf,
    owner: u32,
}

impl LocalListener {
    /// Makes the socket, in place of one that a killed server left. Call it only while holding the data folder.
    ///
    /// # Errors
    /// The system's, such as for a path of more than about 100 bytes.
    pub fn bind(path: &Path) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        let owner = fs::metadata(path)?.uid();
        Ok(Self { listener, path: path.to_owned(), owner })
    }

    /// The next caller that may speak.
    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            // Somebody may have connected before the permissions were set.
            let caller = stream.peer_cred()?.uid();
            if caller == self.owner || caller == ROOT {
                return Ok(stream);
            }
            tracing::warn!(uid = caller, "refused on the local socket");
        }
    }
}

impl Drop for LocalListener {
    fn drop(&mut self) {
        // The next server removes what stays.
        let _ = fs::remove_file(&self.path);
    }
}

/// Why a call got no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens.
    #[error("no server answers on {0}")]
    Nobody(PathBuf),
    /// The socket belongs to somebody else.
    #[error("{0} may be opened by its owner only: run this as the user that the server runs as")]
    Forbidden(PathBuf),
    /// The connection broke, or the answer is no JSON.
    #[error("the local socket: {0}")]
    Broken(Box<dyn std::error::Error + Send + Sync>),
    /// The answer took too long.
    #[error("the server did not answer within {} s", ANSWER_TIMEOUT.as_secs())]
    Timeout,
}

impl CallError {
    /// Whether no server runs.
    pub const fn nobody_answers(&self) -> bool {
        matches!(self, Self::Nobody(_))
    }

    fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Broken(error.into())
    }
}

/// Calls the admin API of the server that listens on this socket.
///
/// # Errors
/// [`CallError`].
pub async fn call(
    socket: &Path,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Result<(StatusCode, Value), CallError> {
    let stream = UnixStream::connect(socket).await.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            CallError::Nobody(socket.to_owned())
        }
        io::ErrorKind::PermissionDenied => CallError::Forbidden(socket.to_owned()),
        _ => CallError::broken(error),
    })?;
    let asked = async {
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(CallError::broken)?;
        // It ends when the sender is dropped.
        tokio::spawn(connection);
        let request = request(method, path, body)?;
        answered(sender.send_request(request).await.map_err(CallError::broken)?).await
    };
    tokio::time::timeout(ANSWER_TIMEOUT, asked).await.map_err(|_| CallError::Timeout)?
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

fn request(method: Method, path: &str, body: Option<Value>) -> Result<Request<Body>, CallError> {
    let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
    let request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
    let request = request.header(header::CONTENT_TYPE, "application/json").body(body);
    request.map_err(CallError::broken)
}

async fn answered<B>(response: Response<B>) -> Result<(StatusCode, Value), CallError>
where
    B: hyper::body::Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(CallError::broken)?;
    let bytes = body.to_bytes();
    if bytes.is_empty() {
        return Ok((parts.status, Value::Null));
    }
    match serde_json::from_slice(&bytes) {
        Ok(body) => Ok((parts.status, body)),
        // The framework refuses in plain text what does not even reach a handler.
        Err(_) if parts.status.is_client_error() => {
            let code = "malformed_request";
            Ok((parts.status, json!({ "code": code, "title": String::from_utf8_lossy(&bytes) })))
        }
        Err(error) => Err(CallError::broken(error)),
    }
}
