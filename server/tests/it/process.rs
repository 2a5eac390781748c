//! The real binary as a process of its own: started on a free port, waited for under a deadline, ended by its id.

use std::{
    io::Write,
    net::TcpListener,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::Value;

use crate::postgres;

/// Long enough for a busy machine; nothing asserts how long anything took.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A running `symbolon dev`.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    pub(crate) http: Http,
}

impl Server {
    /// Starts the server on a folder and waits until it answers. The port belongs to the issuer: a server that is
    /// started again on the same folder takes the same one.
    pub(crate) async fn start(folder: &Path, port: u16) -> Self {
        Self::start_by(&[], folder, port, Stdio::inherit()).await
    }

    /// Starts it by a command that becomes the server, such as `env`.
    pub(crate) async fn start_by(by: &[&str], folder: &Path, port: u16, stderr: Stdio) -> Self {
        let child = symbolon(by, folder)
            .args(["dev", "--json", "--no-demo", "--port", &port.to_string(), "--data-dir"])
            .arg(folder)
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let url = format!("http://localhost:{port}");
        let mut server = Self { child, port, http: Http::new(&url) };
        tokio::time::timeout(DEADLINE, server.answers()).await.unwrap();
        server
    }

    async fn answers(&mut self) {
        while self.http.get("/readyz").await.is_none_or(|answer| answer.status != 200) {
            assert_eq!(self.stopped(), None, "the server stopped");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has stopped by itself, and how.
    pub(crate) fn stopped(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// `kill -9`, and waits until the process is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The server's binary, with Argon2 at its minimum and long grace, and nothing of this process's environment.
fn symbolon(by: &[&str], folder: &Path) -> Command {
    let mut command = binary(by);
    for setting in [
        "password.memory_kib=8",
        "password.iterations=1",
        "password.queue_max=4096",
        "lifetimes.refresh_grace=1m",
        "limits.sessions_per_user_max=10000",
    ] {
        command.args(["--set", setting]);
    }
    command.args(["--set", &format!("data_dir={}", folder.display())]);
    if postgres::is_asked_for() {
        command.env("SYMBOLON_STORE__URL", postgres::database_of(folder).expose());
        command.env("SYMBOLON_STORE__CONNECTIONS_MAX", "4");
    }
    command
}

/// The binary, with nothing of this process's environment.
pub(crate) fn binary(by: &[&str]) -> Command {
    let mut words = by.iter().chain(&[env!("CARGO_BIN_EXE_symbolon")]);
    let mut command = Command::new(words.next().unwrap());
    command
        .args(words)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null());
    command
}

/// Runs a command of the binary to its end and returns what it printed, as JSON.
pub(crate) fn run(folder: &Path, arguments: &[&str], stdin: &str) -> Value {
    let mut command = symbolon(&[], folder);
    command.arg("--json").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {:?}", output.status);
    serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
}

/// Runs a command of the binary that must fail. Returns its exit code and the stable code of its first error.
pub(crate) fn refused(by: &[&str], folder: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = symbolon(by, folder);
    let output = command.arg("--json").args(arguments).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    let last = errors.lines().last().unwrap_or_default();
    let errors: Value = serde_json::from_str(last).unwrap_or_else(|_| panic!("{errors}"));
    (output.status.code().unwrap(), errors["errors"][0]["code"].as_str().unwrap().to_owned())
}

/// An HTTP client for one server.
#[derive(Clone)]
pub(crate) struct Http {
    client: Client<hyper_util::client::legacy::connect::HttpConnector, Full<axum::body::Bytes>>,
    url: String,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) json: Value,
}

impl Http {
    pub(crate) fn new(url: &str) -> Self {
        // The server listens on 127.0.0.1; `localhost` is only its name.
        let url = url.replace("localhost", "127.0.0.1");
        Self { client: Client::builder(TokioExecutor::new()).build_http(), url }
    }

    /// `None` when the connection failed or broke: nobody knows what became of the request.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Option<Answer> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        self.answered(request, body.map(ToString::to_string).unwrap_or_default()).await
    }

    pub(crate) async fn form(&self, path: &str, fields: &[(&str, String)]) -> Option<Answer> {
        let request = Request::post(format!("{}{path}", self.url))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.answered(request, serde_urlencoded::to_string(fields).unwrap()).await
    }

    async fn answered(
        &self,
        request: axum::http::request::Builder,
        body: String,
    ) -> Option<Answer> {
        let response = self.client.request(request.body(Full::from(body)).unwrap()).await.ok()?;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.ok()?.to_bytes();
        let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Some(Answer { status: parts.status, headers: parts.headers, json })
    }

    pub(crate) async fn get(&self, path: &str) -> Option<Answer> {
        self.send(Method::GET, path, &[], None).await
    }

    pub(crate) async fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Option<Answer> {
        self.send(Method::POST, path, headers, Some(body)).await
    }
}
