//! The socket that the command line speaks to a running server over: HTTP on a Unix socket in the data folder, for its
//! owner and the superuser alone.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use axum::http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{UnixListener, UnixStream};

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

/// What a running server answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The body; null if there is none.
    pub body: Value,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens.
    #[error("no server runs on this data folder")]
    NotRunning,
    /// The socket belongs to somebody else.
    #[error("the socket may not be opened: run this as the user that the server runs as")]
    Forbidden,
    /// The connection broke.
    #[error("the server did not answer: {0}")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer took too long.
    #[error("the server did not answer within {} s", ANSWER_TIMEOUT.as_secs())]
    Timeout,
}

impl CallError {
    fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Broken(error.into())
    }
}

/// Asks the server that listens on this socket.
///
/// # Errors
/// [`CallError`].
pub async fn call(
    socket: &Path,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Answer, CallError> {
    let stream = UnixStream::connect(socket).await.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => CallError::NotRunning,
        io::ErrorKind::PermissionDenied => CallError::Forbidden,
        _ => CallError::broken(error),
    })?;
    let asked = ask(stream, method, path, body);
    tokio::time::timeout(ANSWER_TIMEOUT, asked).await.map_err(|_| CallError::Timeout)?
}

async fn ask(
    stream: UnixStream,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Answer, CallError> {
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(CallError::broken)?;
    let connection = tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, "local");
    if body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let bytes = body.map(Value::to_string).unwrap_or_default();
    let request = request.body(Full::new(Bytes::from(bytes))).map_err(CallError::broken)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(CallError::broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let bytes = body.map_err(CallError::broken)?.to_bytes();
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).map_err(CallError::broken)?
        };
        Ok(Answer { status, body })
    }
    .await;
    connection.abort();
    answer
}
