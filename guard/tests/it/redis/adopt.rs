//! Sessions of Express that are live at a switch.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::hmac;
use axum::{
    Router,
    body::Body,
    extract::Path,
    http::{HeaderMap, Request, header},
    routing::{get, post},
};
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use http_body_util::BodyExt;
use symbolon_guard::{
    Rules, SecretText,
    session::{Arrived, Key, Keys, Login, Session, SessionError, Sessions, Settings},
    store::redis::{Redis, adopt::ConnectRedis},
};
use tower::ServiceExt;

use super::server::{DEADLINE, Server};

const CART: Key<Vec<String>> = Key::new("cart");
const NOTE: Key<String> = Key::new("note");

fn secret(text: &str) -> SecretText {
    SecretText::new(text.to_owned())
}

/// What express-session of this secret sends.
fn connect_sid(id: &str, secret: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = STANDARD_NO_PAD.encode(hmac::sign(&key, id.as_bytes()));
    let signed = format!("s:{id}.{tag}");
    let encoded = signed.replace(':', "%3A").replace('+', "%2B").replace('/', "%2F");
    format!("connect.sid={encoded}")
}

async fn who(session: Session) -> Result<String, SessionError> {
    let user = session.user().await?;
    let cart = session.get(&CART).await?.unwrap_or_default();
    Ok(format!("{} {}", user.as_deref().unwrap_or("nobody"), cart.join(",")))
}

async fn add(Path(what): Path<String>, session: Session) -> Result<(), SessionError> {
    session
        .update(&CART, |cart| {
            let mut cart = cart.unwrap_or_default();
            cart.push(what.clone());
            cart
        })
        .await
        .map(drop)
}

async fn logout(session: Session) -> Result<(), SessionError> {
    session.logout().await
}

async fn note(Path(note): Path<String>, session: Session) -> Result<(), SessionError> {
    session.set(&NOTE, &note)
}

async fn login(Path(user): Path<String>, session: Session) -> Result<(), SessionError> {
    session.login(Login::new(user)).await
}

pub(super) struct World {
    pub(super) server: Server,
    app: Router,
    sessions: Sessions,
    store: Redis,
}

impl World {
    async fn start() -> Option<Self> {
        Self::that_waits(DEADLINE).await
    }

    /// An application whose store may take this long.
    pub(super) async fn that_waits(deadline: Duration) -> Option<Self> {
        let server = Server::start(&[]).await?;
        let store = Redis::open(server.settings().deadline(deadline)).await.unwrap();
        let express = ConnectRedis::new(&store, &secret("keyboard cat")).unwrap();
        let express = express.or(&secret("older cat"));
        let settings = Settings {
            arrivals: Some(Arc::new(express)),
            store_wait_max: 2 * deadline,
            ..Settings::new(Rules::new("https://shop.example").unwrap(), Keys::random())
        };
        let sessions = Sessions::new(settings, store.clone()).unwrap();
        let app = Router::new()
            .route("/who", get(who))
            .route("/add/{what}", post(add))
            .route("/logout", post(logout))
            .route("/note/{note}", post(note))
            .route("/login/{user}", post(login))
            .layer(sessions.clone());
        Some(Self { server, app, sessions, store })
    }

    /// As connect-redis writes it.
    async fn express(&self, id: &str, json: &str) {
        let key = format!("sess:{id}");
        let words: [&[u8]; 5] = [b"SET", key.as_bytes(), json.as_bytes(), b"EX", b"86400"];
        let _: () = self.server.ask(&words).await;
    }

    async fn keys_of_express(&self) -> u64 {
        let keys: Vec<Vec<u8>> = self.server.ask(&[b"KEYS", b"sess:*"]).await;
        keys.len() as u64
    }

    pub(super) async fn ask(
        &self,
        method: &str,
        path: &str,
        cookies: &str,
    ) -> (u16, HeaderMap, String) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::COOKIE, cookies)
            .header("sec-fetch-site", "same-origin");
        let response =
            self.app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let text = body.collect().await.unwrap().to_bytes();
        (parts.status.as_u16(), parts.headers, String::from_utf8_lossy(&text).into_owned())
    }
}

/// What the browser sends next.
pub(super) fn cookie(headers: &HeaderMap) -> String {
    let set = headers[header::SET_COOKIE].to_str().unwrap();
    set.split(';').next().unwrap().to_owned()
}

const LOGGED_IN: &str = r#"{"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"},
    "passport":{"user":17},"cart":["tea"],"flash":{}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_switch_logs_nobody_out() {
    let Some(world) = World::start().await else { return };
    for (id, signed_with) in [("HZv0DyxQuG8rW2tR", "keyboard cat"), ("a.b+c/d", "older cat")] {
        world.express(id, LOGGED_IN).await;
        let old = connect_sid(id, signed_with);
        let (_, headers, text) = world.ask("GET", "/who", &old).await;
        assert_eq!(text, "17 tea");
        let own = cookie(&headers);
        assert!(own.starts_with("__Host-session=syma_"), "{own}");
        assert_eq!(world.keys_of_express().await, 0);
        // Ours is enough; so is the old one, while the browser has not heard; both together are one.
        for cookies in [own.clone(), old.clone(), format!("{old}; {own}")] {
            assert_eq!(world.ask("GET", "/who", &cookies).await.2, "17 tea");
        }
        assert_eq!(world.ask("POST", "/add/cup", &own).await.0, 200);
        assert_eq!(world.ask("GET", "/who", &old).await.2, "17 tea,cup");
        // What ends it here ends the old cookie.
        assert_eq!(world.ask("POST", "/logout", &own).await.0, 200);
        for cookies in [&own, &old] {
            assert_eq!(world.ask("GET", "/who", cookies).await.2, "nobody ");
        }
    }
    // A visitor's cart arrives, too.
    world.express("visitor", r#"{"cookie":{"originalMaxAge":1000},"cart":["pot"]}"#).await;
    let old = connect_sid("visitor", "keyboard cat");
    assert_eq!(world.ask("GET", "/who", &old).await.2, "nobody pot");
    // An operator sees whether the users were found.
    assert_eq!(world.sessions.arrived(), Arrived { users: 2, visitors: 1 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_first_thing_that_an_earlier_session_does_here_may_be_anything() {
    let Some(world) = World::start().await else { return };
    // What it does first, and what is known of the old cookie after that.
    for (n, path, expected) in
        [(0, "/logout", "nobody "), (1, "/note/hello", "17 tea"), (2, "/login/18", "nobody ")]
    {
        let id = format!("first-{n}");
        world.express(&id, LOGGED_IN).await;
        let old = connect_sid(&id, "keyboard cat");
        let (status, headers, text) = world.ask("POST", path, &old).await;
        assert_eq!(status, 200, "{text}");
        assert_eq!(world.keys_of_express().await, 0, "{path}");
        assert_eq!(world.ask("GET", "/who", &old).await.2, expected, "{path}");
        if path.starts_with("/login") {
            assert_eq!(world.ask("GET", "/who", &cookie(&headers)).await.2, "18 ");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_at_once_arrive_in_one_session() {
    let Some(world) = World::start().await else { return };
    let world = Arc::new(world);
    for round in 0..crate::stores::rounds(100) {
        let id = format!("round-{round}");
        world.express(&id, LOGGED_IN).await;
        let old = connect_sid(&id, "keyboard cat");
        let tasks: Vec<_> = (0..6)
            .map(|n| {
                let (world, old) = (Arc::clone(&world), old.clone());
                tokio::spawn(async move { world.ask("POST", &format!("/add/{n}"), &old).await })
            })
            .collect();
        let mut cookies = Vec::new();
        for task in tasks {
            let (status, headers, text) = task.await.unwrap();
            assert_eq!(status, 200, "{text}");
            cookies.push(cookie(&headers));
        }
        cookies.dedup();
        assert_eq!(cookies.len(), 1);
        let (_, _, text) = world.ask("GET", "/who", &cookies[0]).await;
        // Each added one thing and none was lost.
        assert_eq!(text.len(), "17 tea,0,1,2,3,4,5".len(), "{text}");
        assert_eq!(world.keys_of_express().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn forged_and_broken_sessions_of_express_do_not_arrive() {
    let Some(world) = World::start().await else { return };
    world.express("victim", LOGGED_IN).await;
    let genuine = connect_sid("victim", "keyboard cat");
    let other = connect_sid("other", "keyboard cat");
    for forged in [
        connect_sid("victim", "another cat"),
        "connect.sid=victim".to_owned(),
        "connect.sid=s%3Avictim".to_owned(),
        "connect.sid=s%3Avictim.".to_owned(),
        genuine.replace("victim", "victin"),
        genuine.replace("s%3A", "j%3A"),
        format!("{genuine}x"),
        format!("other{genuine}"),
        // Two genuine ones: somebody planted one.
        format!("{genuine}; {other}"),
        connect_sid(&"x".repeat(300), "keyboard cat"),
    ] {
        assert_eq!(world.ask("GET", "/who", &forged).await.2, "nobody ", "{forged}");
    }
    assert_eq!(world.keys_of_express().await, 1);
    // Other sites send nothing with it.
    let request = Request::post("/add/x")
        .header(header::COOKIE, &genuine)
        .header("sec-fetch-site", "cross-site");
    let refused = world.app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(refused.status(), 403);
    // What is no session of Express is none, and no error.
    for broken in
        ["", "{", "null", "[]", "{}", r#"{"cookie":1}"#, r#"{"cookie":{},"passport":{"user":""}}"#]
    {
        world.express("broken", broken).await;
        let old = connect_sid("broken", "keyboard cat");
        assert_eq!(world.ask("GET", "/who", &old).await.2, "nobody ", "{broken}");
    }
    let old = connect_sid("list", "keyboard cat");
    let _: u64 = world.server.ask(&[b"RPUSH", b"sess:list", b"a"]).await;
    assert_eq!(world.ask("GET", "/who", &old).await.2, "nobody ");
    // Over the limit of data nothing arrives, and the old session stays where it is.
    let large = format!(r#"{{"cookie":{{}},"cart":["{}"]}}"#, "x".repeat(70_000));
    world.express("large", &large).await;
    let old = connect_sid("large", "keyboard cat");
    assert_eq!(world.ask("GET", "/who", &old).await.2, "nobody ");
    let kept: u64 = world.server.ask(&[b"EXISTS", b"sess:large"]).await;
    assert_eq!(kept, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_was_ended_everywhere_does_not_arrive() {
    use symbolon_guard::store::{Reason, SessionStore};
    let Some(world) = World::start().await else { return };
    world.express("late", LOGGED_IN).await;
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let now = symbolon_core::time::Time::from_millis(i64::try_from(now).unwrap());
    world.store.end_user("17", None, Reason::Revoked, now).await.unwrap();
    let old = connect_sid("late", "keyboard cat");
    assert_eq!(world.ask("GET", "/who", &old).await.2, "nobody ");
    assert_eq!(world.keys_of_express().await, 0);
}
