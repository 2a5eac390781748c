//! A real Redis or Valkey server in a folder of its own, reached by a unix socket or on 127.0.0.1.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};

use symbolon_guard::store::redis::{Redis, Settings};

use crate::postgres::Folder;

/// Longer than anything here takes on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The program, or `None` after having said so.
fn program() -> Option<&'static str> {
    let is_here = |name: &&str| {
        let version = Command::new(name).arg("--version").stdout(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    };
    let found = ["redis-server", "valkey-server"].into_iter().find(is_here);
    if found.is_none() {
        println!("skipped, because neither redis-server nor valkey-server is installed");
    }
    found
}

/// A port of 127.0.0.1 that nobody listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Ends with the test.
pub(crate) struct Server {
    child: Option<Child>,
    program: &'static str,
    folder: Folder,
    arguments: Vec<String>,
    port: Option<u16>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Server {
    /// Starts one with these arguments, on a unix socket.
    pub(crate) async fn start(arguments: &[&str]) -> Option<Self> {
        Self::start_at(None, arguments).await
    }

    /// Starts one on a free port of 127.0.0.1.
    pub(crate) async fn on_a_port(arguments: &[&str]) -> Option<Self> {
        Self::start_at(Some(free_port()), arguments).await
    }

    /// Starts one that speaks TLS on a free port, as `localhost` with this certificate and key (PEM).
    pub(crate) async fn with_tls(certificate: &str, key: &str) -> Option<(Self, u16)> {
        let folder = Folder::new();
        let (certificate_at, key_at) = (folder.0.join("certificate"), folder.0.join("key"));
        std::fs::write(&certificate_at, certificate).unwrap();
        std::fs::write(&key_at, key).unwrap();
        let port = free_port();
        let arguments = [
            "--tls-port",
            &port.to_string(),
            "--tls-cert-file",
            certificate_at.to_str()?,
            "--tls-key-file",
            key_at.to_str()?,
            "--tls-auth-clients",
            "no",
        ];
        Some((Self::start(&arguments).await?, port))
    }

    async fn start_at(port: Option<u16>, arguments: &[&str]) -> Option<Self> {
        let mut server = Self {
            child: None,
            program: program()?,
            folder: Folder::new(),
            arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
            port,
        };
        server.restart().await;
        Some(server)
    }

    /// Starts it anew on what it has kept.
    pub(crate) async fn restart(&mut self) {
        let socket = self.folder.0.join("socket");
        let mut command = Command::new(self.program);
        command.current_dir(&self.folder.0).args(["--bind", "127.0.0.1", "--save", ""]);
        command.args(["--port", &self.port.unwrap_or(0).to_string()]);
        command.arg("--unixsocket").arg(&socket).args(&self.arguments);
        let log = std::fs::File::create(self.folder.0.join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log).stderr(Stdio::null());
        self.child = Some(command.spawn().unwrap());
        until("the server answers", async || {
            let mut connection = self.connect().await?;
            redis::cmd("PING").query_async::<String>(&mut connection).await.ok()
        })
        .await;
    }

    /// As at a power failure, but for what the operating system keeps.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Sends it a signal, such as `STOP`.
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
    }

    pub(crate) fn url(&self) -> String {
        match self.port {
            Some(port) => format!("redis://127.0.0.1:{port}"),
            None => format!("unix://{}", self.folder.0.join("socket").display()),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.unwrap()
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings::new(&self.url()).unwrap()
    }

    /// A store that waits as long as a busy machine needs.
    pub(crate) async fn store(&self) -> Redis {
        Redis::open(self.settings().deadline(DEADLINE)).await.unwrap()
    }

    async fn connect(&self) -> Option<redis::aio::MultiplexedConnection> {
        let client = redis::Client::open(self.url()).ok()?;
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(DEADLINE));
        client.get_multiplexed_async_connection_with_config(&config).await.ok()
    }

    /// Asks the server itself.
    pub(crate) async fn ask<T: redis::FromRedisValue>(&self, words: &[&[u8]]) -> T {
        let mut command = redis::cmd(std::str::from_utf8(words[0]).unwrap());
        command.arg(&words[1..]);
        let mut connection = self.connect().await.unwrap();
        command.query_async(&mut connection).await.unwrap()
    }
}

/// Asks until there is an answer.
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let answer = tokio::time::timeout(DEADLINE, asking).await;
    answer.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}
