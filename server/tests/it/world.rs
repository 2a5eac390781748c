//! A server in this process, spoken to through its router as HTTP would.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode, header},
};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use symbolon::{
    app::App,
    config::{Config, Sources},
    http,
    listen::Peer,
    ops,
    os::Asked,
};
use symbolon_core::secret::SecretText;
use tower::ServiceExt;

use crate::{
    postgres,
    secrets::{Lines, files, found},
    store::Folder,
};

pub(crate) const PASSWORD: &str = "correct horse battery staple";
pub(crate) const ORIGIN: &str = "http://localhost:8080";

pub(crate) struct World {
    pub(crate) app: Arc<App>,
    pub(crate) router: Router,
    /// The secrets that answers carried.
    pub(crate) issued: Mutex<Vec<String>>,
    logged_before: usize,
    folder: Folder,
}

/// No secret rests in clear or is logged, whatever the test did.
impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.leaks(), Vec::<String>::new());
        }
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub(crate) fn text_of(&self, member: &str) -> String {
        self.json()[member].as_str().unwrap_or_else(|| panic!("no {member}: {self:?}")).to_owned()
    }

    pub(crate) fn code(&self) -> String {
        self.text_of("code")
    }

    /// The value of a cookie that this answer sets.
    pub(crate) fn cookie(&self, name: &str) -> Option<String> {
        let prefix = format!("{name}=");
        let set =
            self.headers.get_all(header::SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
        set.filter_map(|set| set.strip_prefix(&prefix))
            .map(|rest| rest.split(';').next().unwrap().to_owned())
            .find(|value| !value.is_empty())
    }

    pub(crate) fn location(&self) -> &str {
        self.headers.get(header::LOCATION).map_or("", |value| value.to_str().unwrap())
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }
}

/// A request under construction.
pub(crate) struct Ask {
    request: axum::http::request::Builder,
    body: Body,
    address: IpAddr,
    asked: Asked,
}

pub(crate) fn ask(method: &str, path: &str) -> Ask {
    let request = Request::builder().method(method).uri(path);
    Ask {
        request,
        body: Body::empty(),
        address: [127, 0, 0, 1].into(),
        asked: Asked::now(Default::default()),
    }
}

impl Ask {
    pub(crate) fn header(self, name: &str, value: &str) -> Self {
        Self { request: self.request.header(name, value), ..self }
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        let body = Body::from(body.to_string());
        Self { body, ..self.header("content-type", "application/json") }
    }

    pub(crate) fn form(self, fields: &[(&str, &str)]) -> Self {
        let body = Body::from(serde_urlencoded::to_string(fields).unwrap());
        Self { body, ..self.header("content-type", "application/x-www-form-urlencoded") }
    }

    /// It was read when the machine started, and comes to its turn now.
    pub(crate) fn late(self) -> Self {
        Self { asked: Asked::default(), ..self }
    }

    pub(crate) fn raw(self, body: impl Into<Body>) -> Self {
        Self { body: body.into(), ..self }
    }

    pub(crate) fn cookie(self, value: &str) -> Self {
        self.header("cookie", &format!("symbolon={value}"))
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn basic(self, client: &(String, String)) -> Self {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let encoded = STANDARD.encode(format!("{}:{}", client.0, client.1));
        self.header("authorization", &format!("Basic {encoded}"))
    }

    /// As a browser sends it from a page of ours.
    pub(crate) fn by_our_page(self) -> Self {
        self.header("origin", ORIGIN).header("sec-fetch-site", "same-origin")
    }

    pub(crate) fn at_address(self, address: IpAddr) -> Self {
        Self { address, ..self }
    }
}

/// Both halves of a login.
#[derive(Debug, Clone)]
pub(crate) struct Tokens {
    pub(crate) sid: String,
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl From<&Answer> for Tokens {
    fn from(answer: &Answer) -> Self {
        Self {
            sid: answer.text_of("sid"),
            access: answer.text_of("access_token"),
            refresh: answer.text_of("refresh_token"),
        }
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_| ()).await
    }

    pub(crate) async fn with(edit: impl FnOnce(&mut Config)) -> Self {
        let folder = Folder::new();
        let mut config = config(&folder);
        edit(&mut config);
        let world = Self::open(config, folder).await;
        for name in ["user", "other"] {
            world.add_user(name).await;
        }
        world
    }

    async fn open(config: Config, folder: Folder) -> Self {
        let logged_before = Lines::of_the_process().len();
        let app = App::open(config).await.unwrap();
        let router = http::router(Arc::clone(&app), None).unwrap();
        let issued = Mutex::new(vec![PASSWORD.to_owned()]);
        Self { app, router, issued, logged_before, folder }
    }

    /// Another server on the same database.
    pub(crate) async fn beside(&self) -> Self {
        let folder = Folder::new();
        let mut config = self.app.config.clone();
        config.data_dir = folder.0.clone();
        Self::open(config, folder).await
    }

    pub(crate) async fn add_user(&self, name: &str) {
        let password = SecretText::new(PASSWORD.to_owned());
        let now = symbolon::app::now();
        ops::users::add(&self.app, name, &password, std::collections::BTreeSet::new(), now)
            .await
            .unwrap();
    }

    /// Adds a client of this kind through the admin API, with more members. Returns its id and secret.
    pub(crate) async fn add_client(&self, id: &str, kind: &str, more: Value) -> (String, String) {
        let mut body = json!({ "id": id, "kind": kind, "audiences": ["https://api.example"] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let local = http::local::router(Arc::clone(&self.app));
        let request = ask("POST", "/clients").json(&body);
        let answer = send(&local, request).await.expect(201);
        self.note(&answer);
        (id.to_owned(), answer.json()["client_secret"].as_str().unwrap_or_default().to_owned())
    }

    pub(crate) async fn send(&self, ask: Ask) -> Answer {
        let answer = send(&self.router, ask).await;
        self.note(&answer);
        answer
    }

    /// Notes the secrets that an answer carries: cookies, and members of these names.
    fn note(&self, answer: &Answer) {
        let mut issued = self.issued.lock().unwrap();
        for set in answer.headers.get_all(header::SET_COOKIE) {
            let (_, value) = set.to_str().unwrap().split_once('=').unwrap();
            let value = value.split(';').next().unwrap();
            issued.extend((value.len() >= 20).then(|| value.to_owned()));
        }
        let json: Value = serde_json::from_str(&answer.text).unwrap_or_default();
        for name in [
            "access_token",
            "refresh_token",
            "id_token",
            "client_secret",
            "invitation",
            "registration_access_token",
            "initial_access_token",
        ] {
            issued.extend(json[name].as_str().map(str::to_owned));
        }
    }

    /// The noted secrets that rest or were logged.
    pub(crate) fn leaks(&self) -> Vec<String> {
        let mut places = files(&self.folder.0);
        let logs = Lines::of_the_process().since(self.logged_before);
        places.push(("the logs".to_owned(), logs));
        found(&self.issued.lock().unwrap(), &places)
    }

    /// Asks the admin API of the local socket.
    pub(crate) async fn admin(&self, ask: Ask) -> Answer {
        send(&http::local::router(Arc::clone(&self.app)), ask).await
    }

    pub(crate) async fn login(&self, name: &str, deliver: &str) -> Answer {
        let body = json!({ "username": name, "password": PASSWORD, "deliver": deliver });
        self.send(ask("POST", "/api/v1/login").json(&body)).await.expect(200)
    }

    /// Logs in and returns the session cookie.
    pub(crate) async fn cookie(&self, name: &str) -> String {
        self.login(name, "session").await.cookie("symbolon").unwrap()
    }

    pub(crate) async fn tokens(&self, name: &str) -> Tokens {
        Tokens::from(&self.login(name, "token").await)
    }

    pub(crate) async fn refresh(&self, token: &str) -> Answer {
        self.send(ask("POST", "/api/v1/refresh").json(&json!({ "refresh_token": token }))).await
    }

    /// The status of a check of a half.
    pub(crate) async fn check(&self, ask: Ask) -> u16 {
        self.send(ask).await.status.as_u16()
    }

    pub(crate) async fn cookie_counts(&self, cookie: &str) -> bool {
        self.check(ask("GET", "/api/v1/session").cookie(cookie)).await == 200
    }

    pub(crate) async fn access_counts(&self, token: &str) -> bool {
        self.check(ask("GET", "/api/v1/session").bearer(token)).await == 200
    }
}

async fn send(router: &Router, ask: Ask) -> Answer {
    let mut request = ask.request.body(ask.body).unwrap();
    request.extensions_mut().insert(Peer { address: ask.address, secure: false });
    request.extensions_mut().insert(ask.asked);
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    Answer {
        status: parts.status,
        headers: parts.headers,
        text: String::from_utf8_lossy(&bytes).into_owned(),
    }
}

fn config(folder: &Folder) -> Config {
    let path = &folder.0;
    let folder = path.display().to_string();
    let settings = [
        ("data_dir", folder.as_str()),
        ("public_url", ORIGIN),
        ("registration.mode", "open"),
        ("password.memory_kib", "8"),
        ("password.iterations", "1"),
    ];
    let mut flags: Vec<_> = settings.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    if postgres::is_asked_for() {
        let url = postgres::database_of(path).expose().to_owned();
        flags.push(("store.url".to_owned(), url));
        flags.push(("store.connections_max".to_owned(), "4".to_owned()));
    }
    let sources = Sources { flags, ..Sources::default() };
    Config::load(&sources, &|path| std::fs::read_to_string(path)).unwrap()
}
