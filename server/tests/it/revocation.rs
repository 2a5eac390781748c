//! The revocation log through the door: what a follower is told, and what a confirmation waits for.

use std::time::Duration;

use rand_chacha::{ChaCha12Rng, rand_core::SeedableRng};
use serde_json::{Value, json};
use symbolon_core::{
    follower::{Answer, Follower, Question, Standing},
    id::{EntryId, SessionId},
    time::{Tick, Time},
};

use crate::world::{Ask, PASSWORD, Tokens, World, ask};

/// A follower of a server in this process. Time does not pass for it.
struct Following {
    follower: Follower,
    rng: ChaCha12Rng,
    client: (String, String),
}

const NOW: Tick = Tick::from_nanos(1_000_000_000);

impl Following {
    async fn of(world: &World) -> Self {
        Self::named(world, "follower").await
    }

    async fn named(world: &World, name: &str) -> Self {
        let client = world.add_client(name, "resource", json!({})).await;
        let mut rng = ChaCha12Rng::seed_from_u64(name.len() as u64);
        Self { follower: Follower::new(&mut rng), rng, client }
    }

    fn question(&mut self) -> Question {
        self.follower.ask(NOW, Vec::new(), &mut self.rng)
    }

    async fn ask(&mut self, world: &World) -> crate::world::Answer {
        let question = json!(self.question());
        world.send(ask("POST", "/follow").basic(&self.client).json(&question)).await
    }

    /// Asks and applies, until it holds a lease.
    async fn keep_up(&mut self, world: &World) -> Vec<EntryId> {
        let mut ended = Vec::new();
        loop {
            let answer: Answer =
                serde_json::from_str(&self.ask(world).await.expect(200).text).unwrap();
            let more = answer.more;
            ended.extend(self.follower.hear(answer).unwrap());
            if !more {
                return ended;
            }
        }
    }

    fn holds(&self, id: &str) -> bool {
        self.follower.standing(&[id.parse().unwrap()], NOW) == Standing::Ended
    }
}

fn claims(token: &str) -> Value {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

#[tokio::test]
async fn a_follower_is_ready_when_it_knows_everything_and_hears_of_each_end() {
    let world = World::new().await;
    let early = world.tokens("user").await;
    world.send(ask("POST", "/api/v1/logout").bearer(&early.access)).await.expect(204);
    let mut following = Following::of(&world).await;
    assert_eq!(following.follower.standing(&[], NOW), Standing::NoLease);
    following.keep_up(&world).await;
    assert!(following.holds(&early.sid), "what ended before it came is told first");
    assert!(matches!(following.follower.standing(&[], NOW), Standing::Live(_)));
    let late = world.tokens("user").await;
    assert!(!following.holds(&late.sid));
    world.send(ask("POST", "/api/v1/logout").bearer(&late.access)).await.expect(204);
    following.keep_up(&world).await;
    assert!(following.holds(&late.sid));
}

#[tokio::test]
async fn a_question_waits_for_an_end_but_not_for_long() {
    let world = World::with(|config| config.revocation.lease = Duration::from_millis(200)).await;
    let mut following = Following::of(&world).await;
    let tokens = world.tokens("user").await;
    following.keep_up(&world).await;
    // Nothing happens: an empty answer, and a lease again.
    assert_eq!(following.keep_up(&world).await, []);
    let end = world.send(ask("POST", "/api/v1/logout").bearer(&tokens.access));
    let (ended, answer) = tokio::join!(following.keep_up(&world), end);
    answer.expect(204);
    let sid = tokens.sid.parse().unwrap();
    assert!(ended.contains(&sid) || following.keep_up(&world).await.contains(&sid));
}

#[tokio::test]
async fn hostile_questions_get_nothing_and_acknowledge_nothing() {
    let world = World::new().await;
    let mut following = Following::of(&world).await;
    following.keep_up(&world).await;
    let public = world.add_client("app", "public", json!({})).await;
    let third_party = world.add_client("third", "confidential", json!({})).await;
    let wrong = (following.client.0.clone(), "wrong".to_owned());
    let question = json!(following.question());
    let with = |name: &str, value: Value| {
        let mut question = question.clone();
        question[name] = value;
        question
    };
    for (body, client, status) in [
        (question.clone(), &wrong, 401),
        (question.clone(), &public, 401),
        (question.clone(), &third_party, 403),
        (json!({}), &following.client, 400),
        (with("follower", json!("short")), &following.client, 400),
        (with("cursor", json!("AAAA")), &following.client, 400),
        (with("unknown", json!(1)), &following.client, 400),
        (with("seen", json!(vec!["AAAAAAAAAAAAAAAAAAAAAA"; 1025])), &following.client, 400),
        // Another process says that it is this one.
        (with("last_answer", json!("AAAAAAAAAAAAAAAAAAAAAA")), &following.client, 409),
        (with("last_answer", Value::Null), &following.client, 409),
    ] {
        let answer = world.send(ask("POST", "/follow").basic(client).json(&body)).await;
        assert_eq!(answer.status, status, "{body} {}", answer.text);
    }
    // Its identity was used by somebody else, so it needs another. What it holds stays.
    assert_eq!(following.ask(&world).await.expect(409).code(), "follower_identity");
    following.follower.rename(&mut following.rng);
    following.keep_up(&world).await;
}

#[tokio::test]
async fn a_forged_cursor_acknowledges_nothing() {
    let world = World::with(|config| config.revocation.lease = Duration::from_secs(30)).await;
    let mut following = Following::of(&world).await;
    following.keep_up(&world).await;
    let tokens = world.tokens("user").await;
    world.send(ask("POST", "/api/v1/logout").bearer(&tokens.access)).await.expect(204);
    // It claims to have read what it was never told.
    let mut cursor = world.app.store.log().head();
    cursor.tag = [0x77; 8];
    for sequence in [cursor.sequence, cursor.sequence + 1000, u64::MAX] {
        let mut question = json!(following.question());
        question["cursor"] = json!(symbolon_core::log::Cursor { sequence, ..cursor });
        let answer =
            world.send(ask("POST", "/follow").basic(&following.client).json(&question)).await;
        let answer: Answer = serde_json::from_str(&answer.expect(200).text).unwrap();
        assert!(answer.ended.contains(&tokens.sid.parse().unwrap()), "it starts again");
        following.follower.hear(answer).unwrap();
        let forged = world.send(ask("POST", "/api/v1/logout?confirm=1ms").bearer(&tokens.access));
        let _ = forged.await;
    }
}

#[tokio::test]
async fn followers_are_counted() {
    let world = World::with(|config| config.revocation.followers_max = 1).await;
    let mut first = Following::of(&world).await;
    let mut second = Following::named(&world, "another-follower").await;
    first.keep_up(&world).await;
    let refused = second.ask(&world).await.expect(503);
    assert_eq!(refused.code(), "too_many_followers");
    first.keep_up(&world).await;
}

/// One way to end something: what it does, and the ids that a follower must know afterwards.
struct Way {
    name: &'static str,
    end: Ask,
    ids: Vec<String>,
    admin: bool,
}

async fn ways(world: &World) -> Vec<Way> {
    let confirm = "confirm=20s";
    let api = |name, end, ids: &[&str]| Way {
        name,
        end,
        ids: ids.iter().map(ToString::to_string).collect(),
        admin: false,
    };
    let admin = |name, end, ids: &[&str]| Way { admin: true, ..api(name, end, ids) };
    let mut ways = Vec::new();
    let tokens = world.tokens("user").await;
    ways.push(api(
        "logout",
        ask("POST", &format!("/api/v1/logout?{confirm}")).bearer(&tokens.access),
        &[&tokens.sid],
    ));
    let (tokens, other) = (world.tokens("user").await, world.tokens("user").await);
    ways.push(api(
        "one session of mine",
        ask("DELETE", &format!("/api/v1/sessions/{}?{confirm}", other.sid)).bearer(&tokens.access),
        &[&other.sid],
    ));
    let others = world.tokens("user").await;
    ways.push(api(
        "all others",
        ask("DELETE", &format!("/api/v1/sessions?keep=current&{confirm}")).bearer(&tokens.access),
        &[&others.sid],
    ));
    world.add_user("changing").await;
    let (changing, gone) = (world.tokens("changing").await, world.tokens("changing").await);
    ways.push(api(
        "password change",
        ask("POST", &format!("/api/v1/password?{confirm}")).bearer(&changing.access).json(
            &json!({ "current_password": PASSWORD, "new_password": "quite another long one" }),
        ),
        &[&gone.sid],
    ));
    world.add_user("stolen").await;
    let stolen = world.tokens("stolen").await;
    let second = Tokens {
        refresh: world.refresh(&stolen.refresh).await.text_of("refresh_token"),
        ..stolen.clone()
    };
    world.refresh(&second.refresh).await.expect(200);
    ways.push(api(
        "theft",
        ask("POST", &format!("/api/v1/refresh?{confirm}"))
            .json(&json!({ "refresh_token": stolen.refresh })),
        &[&stolen.sid],
    ));
    let tokens = world.tokens("user").await;
    let jti = claims(&tokens.access)["jti"].as_str().unwrap().to_owned();
    ways.push(api(
        "revocation of an access token (RFC 7009)",
        ask("POST", &format!("/oauth2/revoke?{confirm}")).form(&[("token", &tokens.access)]),
        &[&jti],
    ));
    let tokens = world.tokens("user").await;
    ways.push(api(
        "revocation of a refresh token (RFC 7009)",
        ask("POST", &format!("/oauth2/revoke?{confirm}")).form(&[("token", &tokens.refresh)]),
        &[&tokens.sid],
    ));
    let tokens = world.tokens("user").await;
    ways.push(admin(
        "one session by an administrator",
        ask("DELETE", &format!("/sessions/{}?{confirm}", tokens.sid)),
        &[&tokens.sid],
    ));
    let tokens = world.tokens("user").await;
    world.send(ask("POST", "/api/v1/logout").bearer(&tokens.access)).await.expect(204);
    ways.push(admin(
        "once more what has ended",
        ask("DELETE", &format!("/sessions/{}?{confirm}", tokens.sid)),
        &[&tokens.sid],
    ));
    let jti = "AAAAAAAAAAAAAAAAAAAAAQ";
    ways.push(admin(
        "a token by its id",
        ask("DELETE", &format!("/tokens/{jti}?{confirm}")),
        &[jti],
    ));
    world.add_user("disabled").await;
    let tokens = world.tokens("disabled").await;
    ways.push(admin(
        "a user who is disabled",
        ask("POST", &format!("/users/disabled/disable?{confirm}")),
        &[&tokens.sid],
    ));
    world.add_user("reset").await;
    let tokens = world.tokens("reset").await;
    ways.push(admin(
        "a password that is reset",
        ask("POST", &format!("/users/reset/password?{confirm}"))
            .json(&json!({ "password": "quite another long one" })),
        &[&tokens.sid],
    ));
    let tokens = world.tokens("other").await;
    ways.push(admin(
        "all sessions of a user",
        ask("DELETE", &format!("/sessions?user=other&{confirm}")),
        &[&tokens.sid],
    ));
    let removed = world.add_client("removed", "confidential", json!({})).await;
    let id = removed.0.parse::<symbolon_core::client::ClientId>().unwrap().entry().to_string();
    ways.push(admin("a client", ask("DELETE", &format!("/clients/removed?{confirm}")), &[&id]));
    let keys = world.admin(ask("GET", "/keys")).await.json();
    let key = keys.as_array().unwrap().iter().find(|key| key["usage"] == "ES256").unwrap();
    let kid = key["kid"].as_str().unwrap();
    ways.push(admin("a key", ask("DELETE", &format!("/keys/{kid}?{confirm}")), &[kid]));
    ways
}

/// Every way to end something can be confirmed, and when that returns, a follower knows.
#[tokio::test]
async fn every_end_can_be_confirmed() {
    let mut left = 1;
    let mut nth = 0;
    while nth < left {
        // The lease is long, so nothing is waited out: the answer comes when the follower has acknowledged.
        let world = World::with(|config| config.revocation.lease = Duration::from_secs(30)).await;
        let mut ways = ways(&world).await;
        left = ways.len();
        let way = ways.swap_remove(nth);
        check_way(&world, way).await;
        nth += 1;
    }
    assert_eq!(left, 15);
}

async fn check_way(world: &World, way: Way) {
    let mut following = Following::of(world).await;
    following.keep_up(world).await;
    let end =
        async { if way.admin { world.admin(way.end).await } else { world.send(way.end).await } };
    let acknowledge = async {
        loop {
            following.keep_up(world).await;
        }
    };
    let answer = tokio::select! {
        biased;
        answer = end => answer,
        never = acknowledge => never,
    };
    let body = answer.json();
    assert_eq!(body["confirmed"], true, "{}: {body}", way.name);
    assert_eq!(body["acknowledged"], 1, "{}: {body}", way.name);
    assert_eq!(body["waited_out"], 0, "{}: {body}", way.name);
    assert!(body["took_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{}: {body}", way.name);
    for id in &way.ids {
        assert!(following.holds(id), "{}: {id} is not known", way.name);
    }
}

#[tokio::test]
async fn a_silent_follower_is_waited_out() {
    let world = World::with(|config| config.revocation.lease = Duration::from_millis(100)).await;
    let mut following = Following::of(&world).await;
    following.keep_up(&world).await;
    let tokens = world.tokens("user").await;
    let logout = ask("POST", "/api/v1/logout?confirm=true").bearer(&tokens.access);
    let body = world.send(logout).await.expect(200).json();
    assert_eq!((&body["confirmed"], &body["acknowledged"]), (&json!(true), &json!(0)), "{body}");
    assert!(body["waited_out"].as_u64().is_some(), "{body}");
}

/// A store that was put back from a copy may not know a session that lives on in tokens.
#[tokio::test]
async fn the_end_of_a_session_that_the_store_does_not_know_is_told() {
    let world = World::new().await;
    let mut following = Following::of(&world).await;
    following.keep_up(&world).await;
    let lost = SessionId::from_bytes([7; 16]);
    world.admin(ask("DELETE", &format!("/sessions/{lost}"))).await.expect(404);
    assert_eq!(following.keep_up(&world).await, []);
    let end = ask("DELETE", &format!("/sessions/{lost}?confirm=1ms"));
    let body = world.admin(end).await.expect(202).json();
    assert_eq!((&body["ended"], &body["waiting"]), (&json!(0), &json!(1)), "{body}");
    assert_eq!(following.keep_up(&world).await, [lost.entry()]);
}

#[tokio::test]
async fn a_deadline_that_passes_is_no_confirmation() {
    let world = World::with(|config| config.revocation.lease = Duration::from_secs(30)).await;
    let mut following = Following::of(&world).await;
    following.keep_up(&world).await;
    let (mine, gone) = (world.tokens("user").await, world.tokens("user").await);
    let end = |within| {
        ask("DELETE", &format!("/api/v1/sessions/{}?confirm={within}", gone.sid))
            .bearer(&mine.access)
    };
    let body = world.send(end("1ms")).await.expect(202).json();
    assert_eq!((&body["confirmed"], &body["waiting"]), (&json!(false), &json!(1)), "{body}");
    // It has ended all the same, and can be confirmed once more: not "gone, so it is over".
    assert!(!world.access_counts(&gone.access).await);
    world.send(end("1ms")).await.expect(202);
    following.keep_up(&world).await;
    let question = json!(following.question());
    let follow = world.send(ask("POST", "/follow").basic(&following.client).json(&question));
    let confirmed = tokio::select! {
        biased;
        confirmed = world.send(end("20s")) => confirmed,
        early = follow => panic!("nothing more has ended: {early:?}"),
    };
    assert_eq!(confirmed.expect(200).json()["confirmed"], true);
    for wrong in ["soon", "-1s", "26s", "1h", "5"] {
        assert_eq!(world.send(end(wrong)).await.expect(400).code(), "invalid_confirm", "{wrong}");
    }
}

#[tokio::test]
async fn who_trusts_expiry_is_named() {
    let world = World::new().await;
    let mut following = Following::of(&world).await;
    following.follower.trusts_expiry = true;
    following.keep_up(&world).await;
    let tokens = world.tokens("user").await;
    let logout = ask("POST", "/api/v1/logout?confirm=5s").bearer(&tokens.access);
    let (answer, _) = tokio::join!(world.send(logout), following.keep_up(&world));
    assert_eq!(answer.json()["except"], json!(["follower"]));
}

/// What is not one's own looks as if it were not there, confirmed or not.
#[tokio::test]
async fn nobody_confirms_what_is_not_theirs() {
    let world = World::new().await;
    let (mine, theirs) = (world.tokens("user").await, world.tokens("other").await);
    let end = |sid: &str| {
        ask("DELETE", &format!("/api/v1/sessions/{sid}?confirm=true")).bearer(&mine.access)
    };
    world.send(end(&theirs.sid)).await.expect(404);
    world.send(end("AAAAAAAAAAAAAAAAAAAAAQ")).await.expect(404);
    assert!(world.access_counts(&theirs.access).await);
    world
        .send(
            ask("POST", "/oauth2/revoke").form(&[("token", &theirs.access), ("client_id", "app")]),
        )
        .await
        .expect(401);
    let shop = world.add_client("shop", "confidential", json!({})).await;
    for token in [&theirs.access, &theirs.refresh] {
        world
            .send(ask("POST", "/oauth2/revoke").basic(&shop).form(&[("token", token)]))
            .await
            .expect(200);
    }
    assert!(world.access_counts(&theirs.access).await, "another client's token is left alone");
}

/// A follower says which sessions were used, so that they do not fall idle; one that lapsed stays lapsed.
#[tokio::test]
async fn what_followers_saw_counts() {
    let world = World::new().await;
    let cookie = world.cookie("user").await;
    let sid = world.send(ask("GET", "/api/v1/session").cookie(&cookie)).await.text_of("sid");
    let mut following = Following::of(&world).await;
    let question = following.follower.ask(NOW, vec![sid.parse().unwrap()], &mut following.rng);
    let before = symbolon::app::now();
    let answer =
        world.send(ask("POST", "/follow").basic(&following.client).json(&json!(question))).await;
    answer.expect(200);
    let seen: Option<Time> = world.app.live.last_seen(sid.parse().unwrap());
    assert!(seen.is_some_and(|seen| seen >= before));
}
