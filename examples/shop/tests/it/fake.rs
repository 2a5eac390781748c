//! A Symbolon that is a map.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use axum::{
    Form, Json, Router,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, Response, StatusCode, header},
    response::IntoResponse,
    routing::{get, post},
};
use serde_json::{Map, Value, json};

/// What the stand-in remembers.
#[derive(Default)]
pub(crate) struct Fake {
    /// Credential → what introspection says of it.
    pub(crate) known: HashMap<String, Value>,
    /// Session → how often it was written, and its data.
    pub(crate) data: HashMap<String, (u64, Map<String, Value>)>,
    pub(crate) visitors: Vec<Value>,
    /// How many of the next writes somebody else precedes with one piece of another article.
    pub(crate) rivals: usize,
    pub(crate) down: bool,
}

pub(crate) type Shared = Arc<Mutex<Fake>>;

/// A session id: 22 characters that stand for 16 bytes.
pub(crate) fn sid(number: usize) -> String {
    format!("{number:021}A")
}

impl Fake {
    /// A new session under a new cookie, with the data of the session before.
    fn open(&mut self, user: bool, before: Option<&str>) -> String {
        let number = self.data.len() + 1;
        let data = before.and_then(|before| self.data.remove(before)).unwrap_or_default();
        self.data.insert(sid(number), data);
        let mut says = json!({ "active": true, "token_type": "session", "client_id": "shop" });
        says["sid"] = json!(sid(number));
        if user {
            says["sub"] = json!(sid(0));
        }
        self.known.insert(format!("syms_{number}"), says);
        format!("syms_{number}")
    }

    pub(crate) fn login(&mut self, cookie: &str) -> String {
        let before = self.known.remove(cookie).map(|says| says["sid"].as_str().unwrap().to_owned());
        // The old session leaves its place taken, so that ids do not repeat.
        let after = self.open(true, before.as_deref());
        self.data.extend(before.map(|before| (before, Default::default())));
        after
    }

    fn write(&mut self, sid: &str, patch: Map<String, Value>) -> u64 {
        let (version, data) = self.data.get_mut(sid).unwrap();
        data.extend(patch);
        *version += 1;
        *version
    }
}

fn is_the_shop(headers: &HeaderMap) -> bool {
    headers
        .get(header::AUTHORIZATION)
        .is_some_and(|value| value == "Basic c2hvcDpzeW1jX3NlY3JldA==")
}

async fn introspect(
    State(fake): State<Shared>,
    headers: HeaderMap,
    Form(question): Form<HashMap<String, String>>,
) -> Response<Body> {
    let fake = fake.lock().unwrap();
    if fake.down || !is_the_shop(&headers) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let says = fake.known.get(&question["token"]).cloned();
    Json(says.unwrap_or_else(|| json!({ "active": false }))).into_response()
}

async fn open_visitor(
    State(fake): State<Shared>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response<Body> {
    let mut fake = fake.lock().unwrap();
    if fake.down || !is_the_shop(&headers) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    fake.visitors.push(body);
    let cookie = fake.open(false, None);
    let set_cookie = format!("symbolon={cookie}; Path=/; HttpOnly; SameSite=Lax");
    let answer = json!({ "sid": fake.known[&cookie]["sid"], "set_cookie": set_cookie, "cookie_name": "symbolon" });
    (StatusCode::CREATED, Json(answer)).into_response()
}

async fn read(
    State(fake): State<Shared>,
    headers: HeaderMap,
    Path(sid): Path<String>,
) -> Response<Body> {
    let fake = fake.lock().unwrap();
    match fake.data.get(&sid).filter(|_| is_the_shop(&headers)) {
        Some((version, data)) => {
            ([(header::ETAG, format!("\"{version}\""))], Json(data.clone())).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn merge(
    State(fake): State<Shared>,
    headers: HeaderMap,
    Path(sid): Path<String>,
    Json(patch): Json<Map<String, Value>>,
) -> Response<Body> {
    let mut fake = fake.lock().unwrap();
    if fake.rivals > 0 {
        fake.rivals -= 1;
        let mut data = fake.data[&sid].1.clone();
        let bells = data.get("cart").map_or(0, |cart| cart["wind-bell"].as_u64().unwrap_or(0));
        data.entry("cart").or_insert(json!({}))["wind-bell"] = json!(bells + 1);
        fake.write(&sid, data);
    }
    let current = format!("\"{}\"", fake.data[&sid].0);
    if headers[header::IF_MATCH] != current {
        return StatusCode::PRECONDITION_FAILED.into_response();
    }
    Json(json!({ "version": fake.write(&sid, patch) })).into_response()
}

/// The routes of Symbolon that the shop asks.
pub(crate) fn routes(fake: Shared) -> Router {
    Router::new()
        .route("/auth/oauth2/introspect", post(introspect))
        .route("/auth/api/v1/sessions", post(open_visitor))
        .route("/auth/api/v1/sessions/{sid}/data", get(read).patch(merge))
        .with_state(fake)
}
