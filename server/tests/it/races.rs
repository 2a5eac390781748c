//! Requests in flight while a session ends: whatever they had read before, nothing that they give or write counts
//! afterwards. See also `flows.rs` (writes of session data), `store.rs` (writes of rows) and `codes.rs` (codes).

use std::{cell::Cell, sync::Arc};

use axum::{
    Extension, Router,
    body::Body,
    http::Request,
    middleware::{Next, from_fn},
    response::Response,
    routing::get,
};
use futures_util::{
    StreamExt,
    future::{join, join_all},
    stream,
};
use serde_json::json;
use symbolon::{app::now, listen::Peer, ops, store::Found};
use symbolon_core::{id::SessionId, secret::SecretText, session::Reason};
use symbolon_guard::{
    Guard, Rules,
    follow::{Following, Settings},
};
use tokio::{net::TcpListener, sync::watch};
use tower::ServiceExt;

use crate::{
    process::DEADLINE,
    world::{Answer, Ask, ORIGIN, PASSWORD, Tokens, World, ask},
};

/// Runs all rounds, some at a time: they share what the store does for each commit, and disturb each other.
pub(crate) async fn rounds(run: impl AsyncFn(usize)) {
    stream::iter(0..crate::races()).for_each_concurrent(16, |round| run(round)).await;
}

/// How often what was in flight came before the end, and how often after it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    won: Cell<usize>,
    lost: Cell<usize>,
}

impl Tally {
    pub(crate) fn count(&self, won: bool) {
        let count = if won { &self.won } else { &self.lost };
        count.set(count.get() + 1);
    }

    #[track_caller]
    pub(crate) fn assert_raced(&self) {
        assert!(self.won.get() > 0 && self.lost.get() > 0, "{self:?}: no race was run");
    }
}

/// Lets two acts begin at once, or one of them some reads later: so they meet at every step.
async fn race<A, B>(
    world: &World,
    round: usize,
    one: impl Future<Output = A>,
    other: impl Future<Output = B>,
) -> (A, B) {
    let nobody = SessionId::from_bytes([0; 16]);
    let reads = async |count: usize| {
        for _ in 0..count {
            world.app.store.session(nobody).await.unwrap();
        }
    };
    let (first, second) = ((round % 12).saturating_sub(6), 6_usize.saturating_sub(round % 12));
    let one = async {
        reads(first).await;
        one.await
    };
    let other = async {
        reads(second).await;
        other.await
    };
    join(one, other).await
}

async fn end(world: &World, sid: SessionId) {
    ops::end::session(&world.app, sid, Reason::EndedByAdmin, now()).await.unwrap();
}

async fn is_ended(world: &World, sid: SessionId) -> bool {
    matches!(world.app.store.session(sid).await.unwrap(), Some(Found::Ended(..)))
}

/// No half of an answer counts. Returns whether it had any.
async fn gave_nothing(world: &World, answer: &Answer) -> bool {
    let gave = answer.status == 200;
    if gave && answer.json()["access_token"].is_string() {
        let tokens = Tokens::from(answer);
        assert!(!world.access_counts(&tokens.access).await, "{answer:?}");
        assert_eq!(world.refresh(&tokens.refresh).await.expect(400).code(), "invalid_grant");
    }
    if let Some(cookie) = answer.cookie("symbolon") {
        assert!(!world.cookie_counts(&cookie).await, "{answer:?}");
    }
    gave
}

/// A request that is in flight.
#[derive(Debug, Clone, Copy)]
enum Flight {
    Refresh,
    CookieToTokens,
    TokenToCookie,
}

impl Flight {
    fn request(self, tokens: &Tokens, cookie: &str) -> Ask {
        let handover = ask("POST", "/api/v1/handover");
        match self {
            Self::Refresh => {
                ask("POST", "/api/v1/refresh").json(&json!({ "refresh_token": tokens.refresh }))
            }
            Self::CookieToTokens => handover
                .cookie(cookie)
                .by_our_page()
                .json(&json!({ "to": "token", "password": PASSWORD })),
            Self::TokenToCookie => handover
                .bearer(&tokens.access)
                .header("origin", ORIGIN)
                .json(&json!({ "to": "session" })),
        }
    }
}

#[tokio::test]
async fn what_is_given_while_a_session_ends_is_worth_nothing() {
    let world = World::new().await;
    let flights = [Flight::Refresh, Flight::CookieToTokens, Flight::TokenToCookie];
    let tallies = flights.map(|_| Tally::default());
    rounds(async |round| {
        let flight = flights[round % 3];
        let tokens = world.tokens("user").await;
        // The other half of the same login.
        let cookie = world.send(Flight::TokenToCookie.request(&tokens, "")).await.expect(200);
        let cookie = cookie.cookie("symbolon").unwrap();
        let sid = tokens.sid.parse().unwrap();
        let request = flight.request(&tokens, &cookie);
        let (answer, ()) = race(&world, round / 3, world.send(request), end(&world, sid)).await;
        let gave = gave_nothing(&world, &answer).await;
        assert!(gave || [400, 401, 409].contains(&answer.status.as_u16()), "{flight:?} {answer:?}");
        tallies[round % 3].count(gave);
        assert!(is_ended(&world, sid).await, "{flight:?}, round {round}");
        assert!(!world.cookie_counts(&cookie).await, "{flight:?}, round {round}");
        assert!(!world.access_counts(&tokens.access).await, "{flight:?}, round {round}");
    })
    .await;
    tallies.iter().for_each(Tally::assert_raced);
}

/// A browser logs out and in at once, with one cookie. The new login counts, the old one leads to nothing.
#[tokio::test]
async fn a_login_beside_a_logout_revives_nothing() {
    let world = World::new().await;
    let tally = Tally::default();
    rounds(async |round| {
        let first = world.login("user", "session").await;
        let old = first.cookie("symbolon").unwrap();
        let sid: SessionId = first.text_of("sid").parse().unwrap();
        let body = json!({ "username": "user", "password": PASSWORD, "deliver": "session" });
        let login = ask("POST", "/api/v1/login").cookie(&old).by_our_page().json(&body);
        let logout = ask("POST", "/api/v1/logout").cookie(&old).by_our_page();
        let (login, logout) = race(&world, round, world.send(login), world.send(logout)).await;
        assert!([204, 401].contains(&logout.status.as_u16()), "{logout:?}");
        let login = login.expect(200);
        let cookie = login.cookie("symbolon").unwrap();
        tally.count(login.json()["replaced_sid"].is_string());
        assert!(is_ended(&world, sid).await, "round {round}");
        assert!(!world.cookie_counts(&old).await, "round {round}");
        assert!(world.cookie_counts(&cookie).await, "round {round}: it is another session");
        end(&world, login.text_of("sid").parse().unwrap()).await;
    })
    .await;
    tally.assert_raced();
}

/// Holds back answers, while it is closed.
struct Gate {
    open: watch::Sender<bool>,
    held: watch::Sender<usize>,
}

impl Gate {
    async fn pass(self: Arc<Self>, request: Request<Body>, then: Next) -> Response {
        let asks = request.uri().path() == "/oauth2/introspect";
        let answer = then.run(request).await;
        if asks {
            self.held.send_modify(|held| *held += 1);
            self.open.subscribe().wait_for(|open| *open).await.unwrap();
        }
        answer
    }

    fn close(&self) {
        self.open.send_replace(false);
        self.held.send_replace(0);
    }

    /// Waits until so many answers were made since it was closed.
    async fn holds(&self, answers: usize) {
        self.held.subscribe().wait_for(|held| *held >= answers).await.unwrap();
    }
}

/// A server on a port, and a guard elsewhere that follows it. What the guard hears of credentials comes through a gate.
async fn followed(world: &World, gate: Arc<Gate>) -> Router {
    let client = world.add_client("follower", "resource", json!({})).await;
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", socket.local_addr().unwrap());
    let peer = Peer { address: [127, 0, 0, 1].into(), secure: false };
    let pass = move |request, then| Arc::clone(&gate).pass(request, then);
    let router = world.router.clone().layer(from_fn(pass)).layer(Extension(peer));
    tokio::spawn(async { axum::serve(socket, router).await });
    let mut settings = Settings::new(server, client.0.parse().unwrap(), SecretText::new(client.1));
    settings.remote.deadline = DEADLINE;
    let (following, task) = Following::new(settings).unwrap();
    tokio::spawn(task);
    following.ready().await;
    let guard = Guard::required(Rules::new(ORIGIN).unwrap(), following);
    Router::new().route("/", get(async || ())).layer(guard)
}

/// A guard that has never seen a cookie asks about it while its session lives. What it hears comes when the end is
/// confirmed, and is neither believed nor kept.
#[tokio::test]
async fn what_a_follower_loads_while_a_session_ends_is_not_kept() {
    const AT_ONCE: usize = 20;
    let world = World::new().await;
    let gate = Arc::new(Gate { open: watch::Sender::new(true), held: watch::Sender::new(0) });
    let guard = followed(&world, Arc::clone(&gate)).await;
    let ask_guard = async |cookie: &str| {
        let request = Request::get("/").header("cookie", format!("symbolon={cookie}"));
        guard.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap().status()
    };
    for round in 0..crate::races().div_ceil(AT_ONCE) {
        gate.close();
        let logins = join_all((0..AT_ONCE).map(|_| world.login("user", "session"))).await;
        let cookies: Vec<_> = logins.iter().map(|of| of.cookie("symbolon").unwrap()).collect();
        let ends = async {
            gate.holds(AT_ONCE).await;
            let ends = logins.iter().map(|login| {
                let path = format!("/sessions/{}?confirm=25s", login.text_of("sid"));
                world.admin(ask("DELETE", &path))
            });
            for confirmed in join_all(ends).await {
                assert_eq!(confirmed.expect(200).json()["confirmed"], true);
            }
            gate.open.send_replace(true);
        };
        let ask_all = || join_all(cookies.iter().map(|cookie| ask_guard(cookie)));
        let (loaded, ()) = join(ask_all(), ends).await;
        assert!(loaded.iter().all(|status| *status == 401), "round {round}: {loaded:?}");
        let again = ask_all().await;
        assert!(again.iter().all(|status| *status == 401), "round {round}: {again:?}");
    }
}
