//! Followers of a real server: forward-auth processes and guards in this process, and the way to ask them.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command},
};

use axum::{Router, body::Body, http::Method, http::Request, routing::get};
use symbolon_core::secret::SecretText;
use symbolon_guard::{
    Guard, Rules,
    follow::{Following, Settings},
};
use tower::ServiceExt;

use crate::process::{DEADLINE, Http, binary, free_port};

/// What followers share: the server, and where their files lie.
pub(crate) struct Place {
    pub(crate) folder: PathBuf,
    /// The server's public URL, which is also the origin of the application that they stand before.
    pub(crate) issuer: String,
}

/// How a client is known to the server.
#[derive(Debug, Clone)]
pub(crate) struct Secret {
    pub(crate) client: &'static str,
    pub(crate) secret: String,
    /// The file that it lies in.
    pub(crate) file: PathBuf,
}

/// One follower.
pub(crate) struct Follower {
    pub(crate) name: String,
    pub(crate) door: Door,
    process: Option<Child>,
}

/// The way to ask a follower.
#[derive(Clone)]
pub(crate) struct Door {
    /// The client that it follows as.
    pub(crate) client: &'static str,
    to: To,
}

#[derive(Clone)]
enum To {
    Process { http: Http, host: String },
    Here(Router),
}

impl Door {
    /// Whether a credential is accepted there: the name and the value of the header that carries it. Whoever does not
    /// answer accepts nobody.
    pub(crate) async fn accepts(&self, (name, value): (&str, &str)) -> bool {
        match &self.to {
            To::Process { http, host } => {
                let headers = [
                    ("x-original-method", "GET"),
                    ("x-original-uri", "/"),
                    ("x-original-host", host.as_str()),
                    (name, value),
                ];
                let answer = http.send(Method::GET, "/check", &headers, None).await;
                answer.is_some_and(|answer| answer.status == 200)
            }
            To::Here(router) => {
                let request = Request::get("/").header(name, value).body(Body::empty()).unwrap();
                router.clone().oneshot(request).await.unwrap().status() == 200
            }
        }
    }
}

impl Follower {
    /// A forward-auth process that reaches the server at this port. `more` are lines for its table `server`.
    pub(crate) fn process(place: &Place, of: &Secret, name: &str, server: u16, more: &str) -> Self {
        let port = free_port();
        let host = place.issuer.strip_prefix("http://").unwrap().to_owned();
        let config = place.folder.join(format!("{name}.toml"));
        let text = format!(
            "origins = ['{issuer}']\n[listen]\naddress = '127.0.0.1:{port}'\n[server]\n\
             url = 'http://127.0.0.1:{server}'\npublic_url = '{issuer}'\naudience = '{issuer}'\n\
             client_id = '{client}'\nclient_secret_file = '{secret}'\n{more}\n\
             [log]\nlevel = 'error'\n",
            issuer = place.issuer,
            client = of.client,
            secret = of.file.display(),
        );
        std::fs::write(&config, text).unwrap();
        let child = binary(&[]).arg("forward-auth").arg("--config").arg(&config).spawn().unwrap();
        let http = Http::new(&format!("http://127.0.0.1:{port}"));
        let door = Door { client: of.client, to: To::Process { http, host } };
        Self { name: name.to_owned(), door, process: Some(child) }
    }

    /// A guard in this process.
    pub(crate) fn here(place: &Place, of: &Secret, name: &str, server: u16) -> Self {
        let client = of.client.parse().unwrap();
        let settings = Settings::new(
            format!("http://127.0.0.1:{server}"),
            client,
            SecretText::new(of.secret.clone()),
        );
        let settings = Settings { issuer: Some(place.issuer.clone()), ..settings }
            .audience(place.issuer.clone());
        let (following, task) = Following::new(settings).unwrap();
        tokio::spawn(task);
        let guard = Guard::required(Rules::new(&place.issuer).unwrap(), following);
        let router = Router::new().route("/", get(async || ())).layer(guard);
        let door = Door { client: of.client, to: To::Here(router) };
        Self { name: name.to_owned(), door, process: None }
    }

    /// Waits until it holds a lease, if it is a process.
    pub(crate) async fn ready(&self) {
        let To::Process { http, .. } = &self.door.to else { return };
        let asking = async {
            while http.get("/readyz").await.is_none_or(|answer| answer.status != 200) {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(DEADLINE, asking).await.unwrap();
    }

    /// `kill -9`, and waits until the process is gone.
    pub(crate) fn kill(&mut self) {
        let mut child = self.process.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Stops the process in the middle of whatever it does, and waits until it has stopped.
    pub(crate) async fn freeze(&self) {
        self.signal("-STOP");
        let stat = PathBuf::from(format!("/proc/{}/stat", self.pid()));
        let stopped = async {
            while !is_stopped(&stat) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, stopped).await.unwrap();
    }

    /// Lets it go on.
    pub(crate) fn wake(&self) {
        self.signal("-CONT");
    }

    fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.pid().to_string()]).status().unwrap();
        assert!(status.success());
    }
}

/// The state stands after the name, which stands in parentheses.
fn is_stopped(stat: &Path) -> bool {
    let stat = std::fs::read_to_string(stat).unwrap();
    stat.rsplit_once(") ").unwrap().1.starts_with('T')
}

impl Drop for Follower {
    fn drop(&mut self) {
        if let Some(mut child) = self.process.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
