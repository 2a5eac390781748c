//! Requests in flight while a session ends: whatever they had read before, nothing that they give or write counts
//! afterwards. See also `flows.rs` (writes of session data), `store.rs` (writes of rows) and `codes.rs` (codes).

use std::cell::Cell;

use axum::{Extension, Router, body::Body, http::Request, routing::get};
use futures_util::{StreamExt, future::join, stream};
use serde_json::json;
use symbolon::{app::now, listen::Peer, ops, store::Found};
use symbolon_core::{id::SessionId, secret::SecretText, session::Reason};
use symbolon_guard::{
    Guard, Rules,
    follow::{Following, Settings},
};
use tokio::net::TcpListener;
use tower::ServiceExt;

use crate::world::{Answer, Ask, ORIGIN, PASSWORD, Tokens, World, ask};

/// Runs all rounds, some at a time: they share what the store does for each commit, and disturb each other.
async fn rounds(run: impl AsyncFn(usize)) {
    stream::iter(0..crate::races()).for_each_concurrent(16, |round| run(round)).await;
}

/// How often what was in flight came before the end, and how often after it.
#[derive(Debug, Default)]
struct Tally {
    won: Cell<usize>,
    lost: Cell<usize>,
}

impl Tally {
    fn count(&self, won: bool) {
        let count = if won { &self.won } else { &self.lost };
        count.set(count.get() + 1);
    }

    #[track_caller]
    fn assert_raced(&self) {
        assert!(self.won.get() > 0 && self.lost.get() > 0, "{self:?}: no race was run");
    }
}

/// Ends a session, some reads later in each round: so it meets what is in flight at every step.
async fn end(world: &World, sid: SessionId, round: usize) {
    for _ in 0..round % 8 {
        world.app.store.session(sid).await.unwrap();
    }
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
        let (answer, ()) = join(world.send(request), end(&world, sid, round / 3)).await;
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
        let logout = async {
            for _ in 0..round % 8 {
                world.app.store.session(sid).await.unwrap();
            }
            world.send(ask("POST", "/api/v1/logout").cookie(&old).by_our_page()).await
        };
        let (login, logout) = join(world.send(login), logout).await;
        assert!([204, 401].contains(&logout.status.as_u16()), "{logout:?}");
        let login = login.expect(200);
        let cookie = login.cookie("symbolon").unwrap();
        tally.count(login.json()["replaced_sid"].is_string());
        assert!(is_ended(&world, sid).await, "round {round}");
        assert!(!world.cookie_counts(&old).await, "round {round}");
        assert!(world.cookie_counts(&cookie).await, "round {round}: it is another session");
        end(&world, login.text_of("sid").parse().unwrap(), 0).await;
    })
    .await;
    tally.assert_raced();
}

/// A server on a port, and a guard elsewhere that follows it.
async fn followed(world: &World) -> Router {
    let client = world.add_client("follower", "resource", json!({})).await;
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", socket.local_addr().unwrap());
    let peer = Peer { address: [127, 0, 0, 1].into(), secure: false };
    let router = world.router.clone().layer(Extension(peer));
    tokio::spawn(async { axum::serve(socket, router).await });
    let settings = Settings::new(server, client.0.parse().unwrap(), SecretText::new(client.1));
    let (following, task) = Following::new(settings).unwrap();
    tokio::spawn(task);
    following.ready().await;
    let guard = Guard::required(Rules::new(ORIGIN).unwrap(), following);
    Router::new().route("/", get(async || ())).layer(guard)
}

/// A guard that has never seen the cookie asks about it while its session ends; what it hears comes before or after.
#[tokio::test]
async fn what_a_follower_loads_while_a_session_ends_is_not_kept() {
    let world = World::new().await;
    let guard = followed(&world).await;
    let ask_guard = async |cookie: &str| {
        let request = Request::get("/").header("cookie", format!("symbolon={cookie}"));
        guard.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap().status()
    };
    let tally = Tally::default();
    rounds(async |round| {
        let login = world.login("user", "session").await;
        let cookie = login.cookie("symbolon").unwrap();
        let sid = login.text_of("sid");
        let ends = async {
            // The question goes through a socket, which takes about as long as some reads.
            for _ in 0..round % 16 {
                world.app.store.session(sid.parse().unwrap()).await.unwrap();
            }
            let confirmed = ask("DELETE", &format!("/sessions/{sid}?confirm=25s"));
            world.admin(confirmed).await.expect(200)
        };
        let (loaded, confirmed) = join(ask_guard(&cookie), ends).await;
        assert_eq!(confirmed.json()["confirmed"], true);
        assert!(loaded == 200 || loaded == 401, "{loaded}");
        tally.count(loaded == 200);
        assert_eq!(ask_guard(&cookie).await, 401, "round {round}");
    })
    .await;
    tally.assert_raced();
}
