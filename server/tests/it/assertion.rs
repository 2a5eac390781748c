//! Clients that prove themselves with a key, and every attack on it by its name.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Router, http::StatusCode, response::Redirect, routing::get};
use serde_json::{Value, json};

use crate::{
    keys::{ASSERTION_TYPE, Key, now},
    oauth::{CALLBACK, Provider, VERIFIER},
    world::{Answer, Ask, ORIGIN, World, ask},
};

const TOKEN: &str = "/oauth2/token";

fn machine(keys: Value) -> Value {
    let mut client = json!({ "grant_types": ["client_credentials"], "scopes": ["cart"] });
    if let Value::Object(keys) = keys {
        client.as_object_mut().unwrap().extend(keys);
    }
    client
}

/// A server with a client that has this key.
async fn world(key: &Key) -> World {
    let world = World::new().await;
    let keys = machine(json!({ "jwks": { "keys": [key.named("1")] } }));
    let (_, secret) = world.add_client("machine", "confidential", keys).await;
    assert_eq!(secret, "", "whoever has a key has no secret");
    world
}

fn request(path: &str, assertion: &str, more: &[(&str, &str)]) -> Ask {
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", assertion),
    ];
    ask("POST", path).form(&[&fields[..], more].concat())
}

async fn present(world: &World, assertion: &str) -> Answer {
    world.send(request(TOKEN, assertion, &[])).await
}

#[track_caller]
fn refused(answer: &Answer, status: u16, error: &str) {
    let found = (answer.status.as_u16(), answer.text_of("error"));
    assert_eq!(found, (status, error.to_owned()), "{answer:?}");
}

#[tokio::test]
async fn a_key_is_as_good_as_a_secret() {
    let key = Key::new();
    let world = world(&key).await;
    let sign = || key.assertion("machine", "1", &json!({}));
    let token = present(&world, &sign()).await.expect(200).text_of("access_token");
    let named = [("client_id", "machine")];
    world.send(request(TOKEN, &sign(), &named)).await.expect(200);

    let about = [("token", token.as_str())];
    let told = world.send(request("/oauth2/introspect", &sign(), &about)).await.expect(200).json();
    assert_eq!((&told["active"], &told["client_id"]), (&json!(true), &json!("machine")));
    world.send(request("/oauth2/revoke", &sign(), &about)).await.expect(200);
    let told = world.send(request("/oauth2/introspect", &sign(), &about)).await.expect(200).json();
    assert_eq!(told["active"], false);

    let metadata = world.send(ask("GET", "/.well-known/openid-configuration")).await.json();
    for endpoint in ["token", "introspection", "revocation"] {
        let methods = &metadata[format!("{endpoint}_endpoint_auth_methods_supported")];
        assert!(methods.as_array().unwrap().contains(&json!("private_key_jwt")), "{endpoint}");
        let algorithms =
            &metadata[format!("{endpoint}_endpoint_auth_signing_alg_values_supported")];
        assert_eq!(*algorithms, json!(["ES256", "EdDSA", "RS256", "PS256"]), "{endpoint}");
    }
}

#[tokio::test]
async fn a_replayed_assertion() {
    let key = Key::new();
    let world = world(&key).await;
    let assertion = key.assertion("machine", "1", &json!({}));
    present(&world, &assertion).await.expect(200);
    for path in [TOKEN, "/oauth2/introspect", "/oauth2/revoke"] {
        let again = world.send(request(path, &assertion, &[("token", "x")])).await;
        refused(&again, 401, "invalid_client");
    }
    // Its id is the client's own: another client may have the same.
    let more = machine(json!({ "jwks": { "keys": [key.named("1")] } }));
    world.add_client("other", "confidential", more).await;
    let id = json!({ "jti": "the same" });
    present(&world, &key.assertion("machine", "1", &id)).await.expect(200);
    present(&world, &key.assertion("other", "1", &id)).await.expect(200);
    refused(&present(&world, &key.assertion("machine", "1", &id)).await, 401, "invalid_client");
}

#[tokio::test]
async fn an_assertion_of_before_the_start() {
    let key = Key::new();
    let world = world(&key).await;
    // It may have been used at the process before, which took its memory along.
    for changes in [json!({ "iat": now() - 10 }), json!({ "iat": null })] {
        let answer = present(&world, &key.assertion("machine", "1", &changes)).await;
        refused(&answer, 401, "invalid_client");
    }
}

#[tokio::test]
async fn algorithm_confusion() {
    let key = Key::new();
    let world = world(&key).await;
    let claims = json!({
        "iss": "machine", "sub": "machine", "aud": ORIGIN, "jti": "a", "iat": now(), "exp": now() + 60,
    });
    for header in [
        json!({ "alg": "none", "kid": "1" }),
        json!({ "alg": "HS256", "kid": "1" }),
        json!({ "alg": "EdDSA", "kid": "1" }),
        json!({ "alg": "RS256", "kid": "1" }),
        json!({ "alg": "ES256", "kid": "2" }),
        json!({ "alg": "ES256", "jwk": key.jwk() }),
        json!({ "alg": "ES256", "kid": "1", "jku": "https://evil.example/jwks" }),
        json!({ "alg": "ES256", "kid": "1", "crit": ["exp"] }),
        json!({ "alg": "ES256", "kid": "1", "typ": "dpop+jwt" }),
    ] {
        let answer = present(&world, &key.sign(&header, &claims)).await;
        refused(&answer, 401, "invalid_client");
    }
    // None of these used its id up.
    present(&world, &key.sign(&json!({ "alg": "ES256", "kid": "1" }), &claims)).await.expect(200);
}

#[tokio::test]
async fn whose_assertion_it_is() {
    let (key, thief) = (Key::new(), Key::new());
    let world = world(&key).await;
    let (_, secret) = world.add_client("web", "confidential", machine(json!({}))).await;
    world.add_client("spa", "public", json!({})).await;
    for assertion in [
        thief.assertion("machine", "1", &json!({})),
        key.assertion("web", "1", &json!({})),
        key.assertion("spa", "1", &json!({})),
        key.assertion("nobody", "1", &json!({})),
        key.assertion("machine", "1", &json!({ "sub": "web" })),
        key.assertion("machine", "1", &json!({ "aud": "https://other.example" })),
        key.assertion("machine", "1", &json!({ "aud": format!("{ORIGIN}{TOKEN}") })),
        key.assertion("machine", "1", &json!({ "exp": now() - 60 })),
        key.assertion("machine", "1", &json!({ "exp": now() + 7200 })),
        "nonsense".to_owned(),
    ] {
        refused(&present(&world, &assertion).await, 401, "invalid_client");
    }
    let good = key.assertion("machine", "1", &json!({}));
    let other = [("client_id", "web")];
    refused(&world.send(request(TOKEN, &good, &other)).await, 401, "invalid_client");
    // In one way, not in two.
    let twice = [("client_secret", secret.as_str())];
    refused(&world.send(request(TOKEN, &good, &twice)).await, 400, "invalid_request");
    let basic = ("web".to_owned(), secret.clone());
    let both = request(TOKEN, &good, &[]).basic(&basic);
    refused(&world.send(both).await, 400, "invalid_request");
    // A client that has a key has no secret, not even an empty one.
    for secret in ["", "symc_guess"] {
        let fields = [("grant_type", "client_credentials")];
        let basic = ("machine".to_owned(), secret.to_owned());
        let answer = world.send(ask("POST", TOKEN).form(&fields).basic(&basic)).await;
        refused(&answer, 401, "invalid_client");
    }
    let unknown = [
        ("grant_type", "client_credentials"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"),
        ("client_assertion", good.as_str()),
    ];
    refused(&world.send(ask("POST", TOKEN).form(&unknown)).await, 401, "invalid_client");
    present(&world, &good).await.expect(200);
}

#[tokio::test]
async fn the_token_endpoint_as_audience_only_where_it_is_allowed() {
    let key = Key::new();
    let world = World::new().await;
    let keys = json!({ "jwks": { "keys": [key.named("1")] }, "token_endpoint_audience": true });
    world.add_client("spring", "confidential", machine(keys)).await;
    for (aud, status) in
        [(format!("{ORIGIN}{TOKEN}"), 200), (format!("{ORIGIN}/oauth2/revoke"), 401)]
    {
        let answer = present(&world, &key.assertion("spring", "1", &json!({ "aud": aud }))).await;
        answer.expect(status);
    }
}

#[tokio::test]
async fn what_cannot_be_registered() {
    let world = World::new().await;
    let key = Key::new();
    let jwks = json!({ "keys": [key.named("1")] });
    let private = json!({ "keys": [{ "kty": "oct", "k": "AAAA" }] });
    for (kind, more, field) in [
        ("public", json!({ "jwks": jwks }), "jwks"),
        (
            "confidential",
            json!({ "jwks": jwks, "jwks_uri": "https://shop.example/jwks" }),
            "jwks_uri",
        ),
        ("confidential", json!({ "jwks": private }), "jwks"),
        ("confidential", json!({ "jwks": { "keys": [] } }), "jwks"),
        ("confidential", json!({ "jwks_uri": "file:///etc/passwd" }), "jwks_uri"),
        ("confidential", json!({ "jwks_uri": "https://user@shop.example/jwks" }), "jwks_uri"),
        ("confidential", json!({ "jwks_uri": "/jwks" }), "jwks_uri"),
        ("public", json!({ "redirect_uris": ["javascript:alert(1)"] }), "redirect_uris"),
        ("public", json!({ "redirect_uris": ["http://shop.example/in"] }), "redirect_uris"),
        ("public", json!({ "redirect_uris": ["com.example.app:/in"] }), "redirect_uris"),
        ("public", json!({ "origins": ["https://shop.example/path"] }), "origins"),
        ("public", json!({ "audiences": [""] }), "audiences"),
        ("public", json!({ "name": "bank\u{202e}knab" }), "name"),
        ("public", json!({ "about": { "policy_uri": "javascript:x" } }), "about.policy_uri"),
        ("public", json!({ "mood": "good" }), "mood"),
        (
            "confidential",
            json!({ "token_endpoint_auth_method": "private_key_jwt" }),
            "token_endpoint_auth_method",
        ),
    ] {
        let mut body = json!({ "id": "new", "kind": kind });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = world.admin(ask("POST", "/clients").json(&body)).await.expect(400);
        assert_eq!(answer.code(), "invalid_client_settings", "{more}");
        let told = answer.text_of("detail");
        assert!(told.starts_with(&format!("{field}: ")) && !told.contains("; "), "{more}: {told}");
    }
    // A secret beside the key would be a second way in.
    let body = json!({ "id": "machine", "kind": "resource", "jwks": jwks });
    world.admin(ask("POST", "/clients").json(&body)).await.expect(201);
    let secret = world.admin(ask("POST", "/clients/machine/secret").json(&json!({}))).await;
    assert_eq!(secret.status, 403);
}

/// A client's own server, whose keys can be changed. It counts who asks.
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    jwks: Arc<Mutex<Value>>,
    asked: Arc<AtomicUsize>,
}

impl Site {
    pub(crate) async fn new(jwks: Value) -> Self {
        let jwks = Arc::new(Mutex::new(jwks));
        let asked = Arc::new(AtomicUsize::new(0));
        let (keys, count) = (Arc::clone(&jwks), Arc::clone(&asked));
        let answer = move || {
            count.fetch_add(1, Ordering::SeqCst);
            let body = keys.lock().unwrap().to_string();
            async move { body }
        };
        let elsewhere = || async { Redirect::temporary("/jwks") };
        let router = Router::new()
            .route("/jwks", get(answer))
            .route("/moved", get(elsewhere))
            .route("/gone", get(|| async { StatusCode::NOT_FOUND }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, jwks, asked }
    }

    fn client(&self, path: &str) -> Value {
        machine(json!({ "jwks_uri": format!("http://{}{path}", self.address) }))
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn reaching(network: &str) -> World {
    let network = network.parse().unwrap();
    World::with(|config| config.outbound.allowed_networks = vec![network]).await
}

#[tokio::test]
async fn keys_are_fetched_kept_and_fetched_again_for_a_new_one() {
    let (old, new) = (Key::new(), Key::new());
    let site = Site::new(json!({ "keys": [old.named("old")] })).await;
    let world = reaching("127.0.0.1").await;
    world.add_client("machine", "confidential", site.client("/jwks")).await;
    for _ in 0..3 {
        present(&world, &old.assertion("machine", "old", &json!({}))).await.expect(200);
    }
    assert_eq!(site.asked(), 1);
    // The client has another key, and uses it at once.
    *site.jwks.lock().unwrap() = json!({ "keys": [new.named("new")] });
    for _ in 0..3 {
        present(&world, &new.assertion("machine", "new", &json!({}))).await.expect(200);
    }
    let answer = present(&world, &old.assertion("machine", "old", &json!({}))).await;
    refused(&answer, 401, "invalid_client");
    // A flood of unknown keys is not handed on.
    for _ in 0..5 {
        let answer = present(&world, &Key::new().assertion("machine", "none", &json!({}))).await;
        refused(&answer, 401, "invalid_client");
    }
    assert_eq!(site.asked(), 2);
}

#[tokio::test]
async fn a_refresh_with_a_new_key() {
    let (old, new) = (Key::new(), Key::new());
    let site = Site::new(json!({ "keys": [old.named("old")] })).await;
    let world = reaching("127.0.0.1").await;
    let jwks_uri = format!("http://{}/jwks", site.address);
    let more = json!({ "first_party": true, "redirect_uris": [CALLBACK], "jwks_uri": jwks_uri });
    let web = world.add_client("web", "confidential", more).await;
    let provider = Provider { world, web, spa: (String::new(), String::new()) };
    let world = &provider.world;
    let browser = world.cookie("user").await;
    let code = provider.code(&browser, &[]).await;
    let sign = |key: &Key, kid| key.assertion("web", kid, &json!({}));
    let with = |assertion: &str, fields: &[(&str, &str)]| {
        let own = [("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion)];
        ask("POST", TOKEN).form(&[&own[..], fields].concat())
    };
    let redemption = [
        ("grant_type", "authorization_code"),
        ("code", &*code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    let tokens = world.send(with(&sign(&old, "old"), &redemption)).await.expect(200);
    *site.jwks.lock().unwrap() = json!({ "keys": [new.named("new")] });
    let refresh = tokens.text_of("refresh_token");
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", &*refresh)];
    world.send(with(&sign(&new, "new"), &refresh)).await.expect(200);
}

#[tokio::test]
async fn ssrf_through_jwks_uri() {
    let key = Key::new();
    let site = Site::new(json!({ "keys": [key.named("1")] })).await;
    let world = World::new().await;
    let port = site.address.port();
    for (id, uri) in [
        ("address", format!("http://127.0.0.1:{port}/jwks")),
        ("secure", format!("https://127.0.0.1:{port}/jwks")),
        ("name", format!("http://localhost:{port}/jwks")),
        ("number", format!("http://2130706433:{port}/jwks")),
        ("mapped", format!("http://[::ffff:127.0.0.1]:{port}/jwks")),
        ("cloud", "http://169.254.169.254/latest/meta-data".to_owned()),
    ] {
        world.add_client(id, "confidential", machine(json!({ "jwks_uri": uri }))).await;
        let answer = present(&world, &key.assertion(id, "1", &json!({}))).await;
        refused(&answer, 503, "temporarily_unavailable");
        assert!(!answer.text.contains("127.0.0.1"), "{answer:?}");
    }
    assert_eq!(site.asked(), 0);
}

#[tokio::test]
async fn no_redirect_and_nothing_but_keys() {
    let key = Key::new();
    let site = Site::new(json!({ "keys": [key.named("1")] })).await;
    let world = reaching("127.0.0.0/8").await;
    for (id, path) in [("moved", "/moved"), ("gone", "/gone")] {
        world.add_client(id, "confidential", site.client(path)).await;
        // The second time nobody is asked: the first try was a moment ago.
        for _ in 0..2 {
            let answer = present(&world, &key.assertion(id, "1", &json!({}))).await;
            refused(&answer, 503, "temporarily_unavailable");
        }
    }
    assert_eq!(site.asked(), 0, "a redirect was followed");
    for (id, body) in [
        ("long", json!({ "keys": [key.named("1")], "more": "x".repeat(40_000) })),
        ("other", json!({ "private": "data" })),
        ("shared", json!({ "keys": [{ "kty": "oct", "k": "AAAA" }] })),
    ] {
        *site.jwks.lock().unwrap() = body;
        world.add_client(id, "confidential", site.client("/jwks")).await;
        let answer = present(&world, &key.assertion(id, "1", &json!({}))).await;
        refused(&answer, 503, "temporarily_unavailable");
        assert!(!answer.text.contains("data"));
    }
}
