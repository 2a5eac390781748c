//! Keys of every kind side by side: they follow each other by schedule and on command, and what a withdrawn one made is
//! over everywhere.

use std::{process::Stdio, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use symbolon::{app::now, ops};
use symbolon_core::{
    id::KeyId,
    keys::{Algorithm, Usage},
    time::Time,
};

use crate::{
    followers::{Follower, Place, Secret},
    oauth::Provider,
    process::{Server, free_port, run},
    store::Folder,
    world::{PASSWORD, World, ask},
};

/// The key of a token that shows it.
fn kid(token: &str) -> String {
    let head = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    let head: Value = serde_json::from_slice(&head).unwrap();
    head["kid"].as_str().unwrap().to_owned()
}

const USAGES: [Usage; 4] = [
    Usage::Sign(Algorithm::Es256),
    Usage::Sign(Algorithm::Ed25519),
    Usage::Sign(Algorithm::Rs256),
    Usage::Handle,
];

/// The key that is used at a moment.
fn used(world: &World, usage: Usage, at: Time) -> KeyId {
    let keys = world.app.keys();
    match usage {
        Usage::Sign(algorithm) => {
            keys.ring.signing_key(algorithm, at).unwrap().verifying_key().id()
        }
        Usage::Handle => keys.ring.handle_key(at).unwrap().id(),
    }
}

/// Whether things made with a key still count at a moment.
fn is_known(world: &World, usage: Usage, id: KeyId, at: Time) -> bool {
    let keys = world.app.keys();
    match usage {
        Usage::Sign(_) => keys.ring.verifying_keys(at).any(|key| key.id() == id),
        Usage::Handle => keys.ring.handle_key_by_id(id, at).is_some(),
    }
}

/// A server with keys of every kind.
async fn with_all() -> World {
    let world = World::new().await;
    for algorithm in ["EdDSA", "RS256"] {
        let more = json!({ "algorithm": algorithm });
        world.add_client(&format!("of-{}", algorithm.to_lowercase()), "confidential", more).await;
    }
    world
}

#[tokio::test]
async fn keys_follow_each_other_by_schedule_with_overlap() {
    let world = with_all().await;
    let (app, policy, start) = (&world.app, world.app.key_policy(), now());
    let first = USAGES.map(|usage| used(&world, usage, start));
    // In time before the end of their use the next ones are there, and published; the old ones go on.
    let ahead = start + policy.active_for - policy.publish_ahead + Duration::from_secs(60);
    ops::keys::rotate_due(app, ahead).await.unwrap();
    let turn = ahead + policy.publish_ahead;
    let next = USAGES.map(|usage| used(&world, usage, turn));
    for ((usage, old), new) in USAGES.into_iter().zip(first).zip(next) {
        assert_ne!(old, new, "{usage}");
        assert_eq!(used(&world, usage, turn - Duration::from_secs(1)), old, "{usage}");
        assert!(is_known(&world, usage, new, ahead) && is_known(&world, usage, old, turn));
        // What was made with the old one in its last moment lives out its life.
        let keep = if usage == Usage::Handle { policy.keep_handles } else { policy.keep_tokens };
        let last = turn + keep;
        assert!(is_known(&world, usage, old, last - Duration::from_secs(1)), "{usage}");
        assert!(!is_known(&world, usage, old, last), "{usage}");
    }
}

#[tokio::test]
async fn keys_are_replaced_on_command() {
    let world = with_all().await;
    for usage in USAGES {
        let before = used(&world, usage, now());
        let body = json!({ "usage": usage.to_string() });
        let made = world.admin(ask("POST", "/keys").json(&body)).await.expect(201);
        let made: KeyId = made.text_of("kid").parse().unwrap();
        // Published at once, used when everybody has seen it.
        assert_eq!(used(&world, usage, now()), before);
        assert!(is_known(&world, usage, made, now()));
        let turn = now() + world.app.key_policy().publish_ahead;
        assert_eq!(used(&world, usage, turn), made);
        assert!(is_known(&world, usage, before, turn), "{usage}");
    }
}

#[tokio::test]
async fn id_tokens_of_a_withdrawn_key_say_nothing() {
    let provider = Provider::new().await;
    let world = &provider.world;
    let browser = world.cookie("user").await;
    let id_token = provider.tokens(&browser).await.text_of("id_token");
    let hint = [("id_token_hint", id_token.as_str()), ("prompt", "none")];
    let answer = provider.authorize(&browser, &hint).await.expect(303);
    assert!(answer.location().contains("code="), "{answer:?}");
    let key = format!("/keys/{}", kid(&id_token));
    assert!(world.admin(ask("DELETE", &key)).await.status.is_success());
    let answer = provider.authorize(&browser, &hint).await.expect(303);
    assert!(answer.location().contains("error=invalid_request"), "{answer:?}");
    // The next ones are of another key, and the withdrawn one is published no more.
    let next = provider.tokens(&browser).await.text_of("id_token");
    assert_ne!(kid(&next), kid(&id_token));
    let jwks = world.send(ask("GET", "/.well-known/jwks.json")).await.expect(200);
    assert!(!jwks.text.contains(&kid(&id_token)) && jwks.text.contains(&kid(&next)));
}

/// A server with followers, and tokens of every kind.
struct Scene {
    // The first to be dropped.
    followers: [Follower; 2],
    server: Server,
    folder: Folder,
}

impl Scene {
    async fn new() -> Self {
        let (folder, port) = (Folder::new(), free_port());
        let server = Server::start_by(&[], &folder.0, port, Stdio::inherit()).await;
        run(&folder.0, &["user", "add", "user"], PASSWORD);
        let place = Place { folder: folder.0.clone(), issuer: format!("http://localhost:{port}") };
        for (id, more) in [
            ("es256", ["--algorithm", "ES256"]),
            ("eddsa", ["--algorithm", "EdDSA"]),
            ("rs256", ["--algorithm", "RS256"]),
            ("opaque", ["--access-token-format", "opaque"]),
        ] {
            let add = ["client", "add", id, "--kind", "public", "--first-party", "--audience"];
            run(&folder.0, &[&add[..], &[&place.issuer], &more].concat(), "");
        }
        let add = ["client", "add", "gate", "--kind", "resource", "--audience", &place.issuer];
        let secret = run(&folder.0, &add, "")["client_secret"].as_str().unwrap().to_owned();
        let file = folder.0.join("gate.secret");
        std::fs::write(&file, &secret).unwrap();
        let gate = Secret { client: "gate", secret, file };
        let followers = [
            Follower::process(&place, &gate, "beside", port, ""),
            Follower::here(&place, &gate, "within", port),
        ];
        for follower in &followers {
            follower.ready().await;
        }
        Self { followers, server, folder }
    }

    async fn login(&self, client: &str) -> String {
        let body = json!({
            "username": "user", "password": PASSWORD, "deliver": "token", "client_id": client,
        });
        let answer = self.server.http.post("/api/v1/login", &[], &body).await.unwrap();
        answer.json["access_token"].as_str().unwrap().to_owned()
    }

    /// Whether a token counts at the server and at each follower: the same everywhere.
    async fn counts(&self, token: &str) -> bool {
        let bearer = format!("Bearer {token}");
        let header = ("authorization", bearer.as_str());
        let path = "/api/v1/session";
        let answer = self.server.http.send(axum::http::Method::GET, path, &[header], None).await;
        let here = answer.unwrap().status == 200;
        for follower in &self.followers {
            assert_eq!(follower.door.accepts(header).await, here, "{}", follower.name);
        }
        here
    }

    fn handle_key(&self) -> String {
        let keys = run(&self.folder.0, &["key", "list"], "");
        let active = |key: &&Value| key["usage"] == "handle" && key["state"] == "active";
        let key = keys.as_array().unwrap().iter().find(active).unwrap();
        key["kid"].as_str().unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_withdrawn_key_made_is_over_everywhere() {
    let scene = Scene::new().await;
    let mut tokens = Vec::new();
    for client in ["es256", "eddsa", "rs256", "opaque"] {
        tokens.push((client, scene.login(client).await));
    }
    for (client, token) in &tokens {
        assert!(scene.counts(token).await, "{client}");
    }
    while !tokens.is_empty() {
        let (client, token) = tokens.remove(0);
        let key = if client == "opaque" { scene.handle_key() } else { kid(&token) };
        run(&scene.folder.0, &["key", "withdraw", &key, "--confirm=25s"], "");
        assert!(!scene.counts(&token).await, "{client}");
        for (other, token) in &tokens {
            assert!(scene.counts(token).await, "{other} after {client}");
        }
        // Another key is there already.
        assert!(scene.counts(&scene.login(client).await).await, "{client}");
    }
}

/// What an opaque token is known by is kept under the lease, and dies with what it is of.
#[tokio::test(flavor = "multi_thread")]
async fn an_opaque_token_that_is_kept_dies_with_its_session() {
    let scene = Scene::new().await;
    let token = scene.login("opaque").await;
    for _ in 0..3 {
        assert!(scene.counts(&token).await);
    }
    run(&scene.folder.0, &["session", "end-all", "--user", "user", "--confirm=25s"], "");
    assert!(!scene.counts(&token).await);
}
