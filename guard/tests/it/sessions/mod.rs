//! Sessions of an application's own, as a browser and an attacker see them.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU8, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Path,
    http::{HeaderMap, Request, Response, StatusCode, header},
    routing::{get, post},
};
use http_body_util::BodyExt;
use symbolon_core::{id::SessionId, time::Time};
use symbolon_guard::{
    Rules, SecretText,
    session::{Key, Keys, Login, Session, SessionError, Sessions, Settings},
    store::{
        Answer, Applied, Delta, Event, EventId, Loaded, Opened, Opening, Part, Reason, Record,
        SessionStore, Unavailable,
    },
};
use tower::ServiceExt;

mod answers;
mod attacks;
mod behind;
mod browser;
mod place;
mod trips;

const URL: &str = "https://shop.example";
const OWN: (&str, &str) = ("sec-fetch-site", "same-origin");

/// A store, with everything written down that is asked of it. It can be set back in time, fail or hang.
#[derive(Debug, Clone)]
struct Spy {
    store: Arc<dyn SessionStore>,
    /// What the store rests in.
    _rest: Option<Arc<dyn std::any::Any + Send + Sync>>,
    asked: Arc<Mutex<Vec<&'static str>>>,
    back_ms: Arc<AtomicI64>,
    mood: Arc<AtomicU8>,
}

const WELL: u8 = 0;
const FAILING: u8 = 1;
const HANGING: u8 = 2;

impl Spy {
    /// On the store that the caller of the tests has chosen.
    async fn new() -> Self {
        Self::on(place::chosen().await)
    }

    /// In memory: for tests in which time stands still.
    fn in_memory() -> Self {
        Self::on(place::in_memory())
    }

    fn on((store, _rest): place::Place) -> Self {
        Self { store, _rest, asked: Arc::default(), back_ms: Arc::default(), mood: Arc::default() }
    }

    /// From here on the store believes that it is earlier.
    fn set_back(&self, span: Duration) {
        self.back_ms.store(i64::try_from(span.as_millis()).unwrap(), Ordering::SeqCst);
    }

    fn set_mood(&self, mood: u8) {
        self.mood.store(mood, Ordering::SeqCst);
    }

    fn at(&self, now: Time) -> Time {
        Time::from_millis(now.millis() - self.back_ms.load(Ordering::SeqCst))
    }

    /// What was asked of it since the last time.
    fn asked(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    /// The same, without what goes on behind the requests.
    fn asked_in_front(&self) -> Vec<&'static str> {
        self.asked().into_iter().filter(|verb| *verb != "sweep").collect()
    }

    fn note<'a, T: Send + 'a>(
        &self,
        verb: &'static str,
        answer: impl FnOnce() -> Answer<'a, T>,
    ) -> Answer<'a, T> {
        self.asked.lock().unwrap().push(verb);
        match self.mood.load(Ordering::SeqCst) {
            WELL => answer(),
            FAILING => Box::pin(async { Err(Unavailable::because("out of order")) }),
            _ => Box::pin(std::future::pending()),
        }
    }
}

impl SessionStore for Spy {
    fn create<'a>(&'a self, opening: &'a Opening, now: Time) -> Answer<'a, Opened> {
        self.note("create", || self.store.create(opening, self.at(now)))
    }

    fn load(&self, id: SessionId, part: Part, now: Time) -> Answer<'_, Loaded> {
        self.note("load", || self.store.load(id, part, self.at(now)))
    }

    fn apply<'a>(&'a self, id: SessionId, delta: &'a Delta, now: Time) -> Answer<'a, Applied> {
        self.note("apply", || self.store.apply(id, delta, self.at(now)))
    }

    fn touch<'a>(&'a self, seen: &'a [(SessionId, Time)]) -> Answer<'a, ()> {
        self.note("touch", || self.store.touch(seen))
    }

    fn renew<'a>(&'a self, old: SessionId, opening: &'a Opening, now: Time) -> Answer<'a, Opened> {
        self.note("renew", || self.store.renew(old, opening, self.at(now)))
    }

    fn end(&self, id: SessionId, reason: Reason, now: Time) -> Answer<'_, bool> {
        self.note("end", || self.store.end(id, reason, self.at(now)))
    }

    fn end_user<'a>(
        &'a self,
        user: &'a str,
        but: Option<SessionId>,
        reason: Reason,
        now: Time,
    ) -> Answer<'a, u64> {
        self.note("end_user", || self.store.end_user(user, but, reason, self.at(now)))
    }

    fn list<'a>(&'a self, user: &'a str, now: Time) -> Answer<'a, Vec<Record>> {
        self.note("list", || self.store.list(user, self.at(now)))
    }

    fn sweep(&self, most: usize, now: Time) -> Answer<'_, bool> {
        self.note("sweep", || self.store.sweep(most, self.at(now)))
    }

    fn events(&self, most: usize) -> Answer<'_, Vec<Event>> {
        self.note("events", || self.store.events(most))
    }

    fn settle<'a>(&'a self, heard: &'a [EventId]) -> Answer<'a, ()> {
        self.note("settle", || self.store.settle(heard))
    }
}

const CART: Key<Vec<String>> = Key::new("cart");
const COUNT: Key<u64> = Key::new("count");
const NOTE: Key<String> = Key::new("note");

type Done = Result<String, SessionError>;

/// An application that does each thing at a route of its own.
fn routes() -> Router {
    Router::new()
        .route("/", get(|| async { "no session asked for" }))
        .route("/who", get(who))
        .route("/cart", get(cart))
        .route("/cart/{item}", post(add))
        .route("/count", post(count))
        .route("/note/{note}", post(note))
        .route("/note", get(taken))
        .route("/login/{user}", post(login))
        .route("/remember/{user}", post(remember))
        .route("/renew", post(async |session: Session| session.renew().await))
        .route("/logout", post(async |session: Session| session.logout().await))
        .route("/others", post(async |s: Session| s.logout_others().await.map(|n| n.to_string())))
        .route(
            "/everywhere",
            post(async |s: Session| s.logout_everywhere().await.map(|n| n.to_string())),
        )
        .route("/end/{id}", post(end))
        .route("/list", get(list))
}

async fn who(session: Session) -> Done {
    Ok(session.user().await?.map_or("nobody".to_owned(), |user| user.to_string()))
}

async fn cart(session: Session) -> Done {
    Ok(session.get(&CART).await?.unwrap_or_default().join(","))
}

async fn add(session: Session, Path(item): Path<String>) -> Done {
    let mut cart = session.get(&CART).await?.unwrap_or_default();
    cart.push(item);
    session.set(&CART, &cart)?;
    Ok(cart.join(","))
}

async fn count(session: Session) -> Done {
    let count = session.update(&COUNT, |count| count.unwrap_or(0) + 1).await?;
    Ok(count.to_string())
}

async fn note(session: Session, Path(note): Path<String>) -> Result<(), SessionError> {
    session.set(&NOTE, &note)
}

async fn taken(session: Session) -> Done {
    Ok(session.take(&NOTE).await?.unwrap_or_default())
}

async fn login(session: Session, Path(user): Path<String>) -> Result<(), SessionError> {
    session.login(Login::new(user).label("Firefox on Linux")).await
}

async fn remember(session: Session, Path(user): Path<String>) -> Result<(), SessionError> {
    session.login(Login::new(user).remembered(true)).await
}

async fn end(session: Session, Path(id): Path<String>) -> Done {
    Ok(session.end(id.parse().unwrap()).await?.to_string())
}

async fn list(session: Session) -> Done {
    let ids = session.list().await?.into_iter().map(|record| record.id.to_string());
    Ok(ids.collect::<Vec<_>>().join(","))
}

fn keys(text: &str) -> Keys {
    Keys::new(&SecretText::new(text.repeat(32))).unwrap()
}

fn settings() -> Settings {
    Settings::new(Rules::new(URL).unwrap(), keys("a"))
}

fn app(settings: Settings, store: impl SessionStore) -> Router {
    routes().layer(Sessions::new(settings, store).unwrap())
}

/// A browser: it keeps what it is told to.
#[derive(Debug, Clone)]
struct Browser {
    app: Router,
    cookie: Option<String>,
}

/// What came back.
#[derive(Debug)]
struct Page {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Browser {
    fn new(app: &Router) -> Self {
        Self { app: app.clone(), cookie: None }
    }

    /// One that holds this.
    fn with(app: &Router, cookie: &str) -> Self {
        Self { app: app.clone(), cookie: Some(cookie.to_owned()) }
    }

    fn cookie(&self) -> String {
        self.cookie.clone().unwrap_or_default()
    }

    async fn get(&mut self, path: &str) -> Page {
        self.send("GET", path, &[]).await
    }

    async fn post(&mut self, path: &str) -> Page {
        self.send("POST", path, &[OWN]).await
    }

    /// The page's text; it must be fine.
    async fn read(&mut self, path: &str) -> String {
        let page = self.get(path).await;
        assert_eq!(page.status, 200, "{path}: {page:?}");
        page.text
    }

    /// Posts, which must be fine.
    async fn does(&mut self, path: &str) -> String {
        let page = self.post(path).await;
        assert_eq!(page.status, 200, "{path}: {page:?}");
        page.text
    }

    async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) -> Page {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        let page = page(self.app.clone().oneshot(request).await.unwrap()).await;
        for set in page.headers.get_all(header::SET_COOKIE) {
            let (pair, attributes) = set.to_str().unwrap().split_once(';').unwrap();
            self.cookie = (!attributes.contains("Max-Age=0")).then(|| pair.to_owned());
        }
        page
    }
}

async fn page(response: Response<Body>) -> Page {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    Page { status: parts.status, headers: parts.headers, text }
}

impl Page {
    fn code(&self) -> String {
        let problem: serde_json::Value = serde_json::from_str(&self.text).unwrap();
        problem["code"].as_str().unwrap().to_owned()
    }

    fn sets_a_cookie(&self) -> bool {
        self.headers.contains_key(header::SET_COOKIE)
    }
}
