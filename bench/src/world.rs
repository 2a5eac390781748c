//! A server in this process on a real port and a real database file, and the bare axum application beside it.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    http::{HeaderMap, Request, header},
    routing,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use symbolon::{
    app::App,
    config::{Config, Sources},
    http,
    listen::{Bounds, Front, Listener, Peer, Proxies, Stop},
    ops,
    telemetry::{self, Metrics},
};
use symbolon_core::{id::SessionId, secret::SecretText};
use tokio::{net::TcpListener, runtime::Runtime};
use tower::ServiceExt;

use crate::harness::{Result, pin};

pub(crate) const ORIGIN: &str = "http://localhost:8080";
/// The client of an API.
pub(crate) const CLIENT: &str = "bench-api";
pub(crate) const CHEAP_PASSWORDS: [(&str, &str); 2] =
    [("password.memory_kib", "64"), ("password.iterations", "1")];
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// The `Authorization` header of that client.
pub(crate) fn basic(secret: &str) -> String {
    basic_of(CLIENT, secret)
}

/// The `Authorization` header of any client.
pub(crate) fn basic_of(client: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{client}:{secret}")))
}

/// A folder beside the executable (not in /tmp, which may be memory) that goes away with its value.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    /// Beside the executable.
    pub(crate) fn new() -> Result<Self> {
        Self::within(std::env::current_exe()?.parent().ok_or("no folder")?)
    }

    pub(crate) fn within(folder: &Path) -> Result<Self> {
        let path = folder.join(format!("bench-{}", SessionId::random(&mut symbolon::app::Os)));
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The server.
pub(crate) struct World {
    pub(crate) app: Arc<App>,
    pub(crate) router: Router,
    pub(crate) runtime: Runtime,
    folder: Folder,
}

impl World {
    /// A server whose requests are answered on one core, core 0.
    pub(crate) fn on_one_core() -> Result<Self> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        Self::on(builder.worker_threads(1).on_thread_start(|| pin(0)).enable_all().build()?, &[])
    }

    /// A server on all cores, as it usually runs.
    pub(crate) fn on_all_cores() -> Result<Self> {
        Self::on(tokio::runtime::Builder::new_multi_thread().enable_all().build()?, &[])
    }

    /// A server whose passwords cost next to nothing: for figures that need many logins and measure something else.
    pub(crate) fn of_many_logins() -> Result<Self> {
        Self::of_cheap_passwords(&[("limits.sessions_per_user_max", "1000000")])
    }

    /// The same on a PostgreSQL database, if one is given.
    pub(crate) fn at(url: Option<&str>, settings: &[(&str, &str)]) -> Result<Self> {
        // A busy machine may take its time to prepare.
        let url = url.map(|url| [("store.url", url), ("store.timeout", "30s")]);
        let settings = settings.iter().copied().chain(url.into_iter().flatten());
        let settings = settings.collect::<Vec<_>>();
        Self::of_cheap_passwords(&settings)
    }

    fn of_cheap_passwords(settings: &[(&str, &str)]) -> Result<Self> {
        let settings = [&CHEAP_PASSWORDS, settings].concat();
        Self::on(tokio::runtime::Builder::new_multi_thread().enable_all().build()?, &settings)
    }

    fn on(runtime: Runtime, settings: &[(&str, &str)]) -> Result<Self> {
        let folder = Folder::new()?;
        let data_dir = folder.0.display().to_string();
        let flags = [("data_dir", &*data_dir), ("public_url", ORIGIN), ("log.level", "warn")];
        let flags = flags.iter().chain(settings);
        let flags = flags.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let sources = Sources { flags, ..Sources::default() };
        let config = Config::load(&sources, &|path| std::fs::read_to_string(path))
            .map_err(|errors| format!("{errors:?}"))?;
        let app = runtime.block_on(App::open(config))?;
        // Once per process.
        static METRICS: OnceLock<Option<Metrics>> = OnceLock::new();
        let metrics = METRICS.get_or_init(|| {
            telemetry::init_logs(&app.config.log).ok()?;
            Metrics::install().ok()
        });
        if let Some(metrics) = metrics.clone() {
            runtime.spawn(metrics.keep_small());
        }
        let router = http::router(Arc::clone(&app), metrics.clone())?;
        let world = Self { app, router, runtime, folder };
        world.add_user("user")?;
        Ok(world)
    }

    pub(crate) fn add_user(&self, name: &str) -> Result<()> {
        let password = SecretText::new(PASSWORD.to_owned());
        let roles = ["editor".parse()?].into();
        let added = ops::users::add(&self.app, name, &password, roles, symbolon::app::now());
        self.runtime.block_on(added)?;
        Ok(())
    }

    /// Stops. Returns what it leaves on disk.
    pub(crate) fn close(self) -> Folder {
        let Self { app, router, runtime, folder } = self;
        drop((app, router));
        runtime.shutdown_timeout(Duration::from_secs(10));
        folder
    }

    /// Adds an API's client, which may introspect and follow. Returns its secret.
    pub(crate) fn add_resource_server(&self) -> Result<String> {
        self.add_client(&json!({ "id": CLIENT, "kind": "resource", "audiences": [ORIGIN] }))
    }

    /// Adds a client. Returns its secret.
    pub(crate) fn add_client(&self, client: &Value) -> Result<String> {
        let request = Request::post("/clients").header(header::CONTENT_TYPE, "application/json");
        let local = http::local::router(Arc::clone(&self.app));
        let answered = answer(&local, request.body(client.to_string().into())?);
        let (_, client) = self.runtime.block_on(answered)?;
        Ok(client["client_secret"].as_str().ok_or("no secret")?.to_owned())
    }

    /// Logs in without HTTP, from some address. Returns the session cookie, if it was asked for, and the answer.
    pub(crate) fn login(&self, deliver: &str) -> Result<(Option<String>, Value)> {
        self.runtime.block_on(login(&self.router, "user", deliver, [127, 0, 0, 1].into()))
    }

    /// Serves the server's routes on a free port, with all that `symbolon serve` puts around them: logs, metrics, bounds.
    pub(crate) fn serve(&self) -> Result<SocketAddr> {
        let settings = &self.app.config.listen;
        let proxies = Proxies::new(settings.trusted_proxies.clone(), settings.forwarded);
        let front = Front::new(self.router.clone(), proxies, Bounds::from(settings));
        let (listener, address) = self.listen()?;
        self.runtime.spawn(async move {
            let (_stopper, stop) = Stop::new();
            front.serve(Listener::Tcp(listener, None), stop).await
        });
        Ok(address)
    }

    /// Serves any other routes on a free port, as every axum application does.
    pub(crate) fn serve_axum(&self, router: Router) -> Result<SocketAddr> {
        let (listener, address) = self.listen()?;
        self.runtime.spawn(async { axum::serve(listener, router).await });
        Ok(address)
    }

    fn listen(&self) -> Result<(TcpListener, SocketAddr)> {
        let listener = self.runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    }
}

/// The axum application that answers this and does nothing else.
pub(crate) fn bare(path: &str, answer: Value) -> Router {
    let answer: &'static Value = Box::leak(Box::new(answer));
    let route = routing::get(async move || Json(answer)).post(async move |_: Bytes| Json(answer));
    Router::new().route(path, route)
}

/// The axum application that gives this answer with these headers, and does nothing else.
pub(crate) fn bare_with(path: &str, headers: HeaderMap, answer: Value) -> Router {
    let answer: &'static Value = Box::leak(Box::new(answer));
    Router::new().route(path, routing::get(async move || (headers.clone(), Json(answer))))
}

/// See [`World::login`].
pub(crate) async fn login(
    router: &Router,
    user: &str,
    deliver: &str,
    address: IpAddr,
) -> Result<(Option<String>, Value)> {
    let body = json!({ "username": user, "password": PASSWORD, "deliver": deliver });
    let mut request = Request::post("/api/v1/login")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))?;
    request.extensions_mut().insert(Peer { address, secure: false });
    let (headers, answer) = answer(router, request).await?;
    let set = headers.get(header::SET_COOKIE).and_then(|value| value.to_str().ok());
    Ok((set.and_then(|set| set.split(';').next()).map(str::to_owned), answer))
}

/// The JSON that a router answers with.
pub(crate) async fn answer(router: &Router, request: Request<Body>) -> Result<(HeaderMap, Value)> {
    let Ok(response) = router.clone().oneshot(request).await;
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, 1 << 20).await?;
    if !parts.status.is_success() {
        return Err(format!("{}: {}", parts.status, String::from_utf8_lossy(&bytes)).into());
    }
    Ok((parts.headers, serde_json::from_slice(&bytes)?))
}
