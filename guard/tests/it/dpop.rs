//! Tokens that are bound to a key: what a thief of one can do, and what its owner must.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use axum::{
    Router,
    body::Body,
    http::{Request, Response},
    routing::any,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use symbolon_core::oauth::jwk::{PublicKey, Thumbprint};
use symbolon_guard::{
    Guard, Identity, Rules,
    testing::{self, Known},
};
use tower::ServiceExt;

const URL: &str = "https://shop.example/cart";

/// A client's key.
struct Key(EcdsaKeyPair);

impl Key {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn jwk(&self) -> Value {
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        json!({ "kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y) })
    }

    fn thumbprint(&self) -> Thumbprint {
        PublicKey::parse(&self.jwk().to_string()).unwrap().thumbprint()
    }

    /// A proof for a request with this token; `changes` replace claims.
    fn proof(&self, token: &str, id: &str, changes: &Value) -> String {
        let mut claims = json!({
            "jti": id, "htm": "GET", "htu": URL, "iat": now(),
            "ath": encode(digest(&SHA256, token.as_bytes())),
        });
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk() });
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", encode(signature))
    }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[expect(clippy::disallowed_methods, reason = "a client's own clock")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// An application whose guard knows a token that is bound to this key, and one that is not bound.
fn app(key: &Key, rules: &Rules) -> Router {
    let known = Known::default()
        .with("bound", testing::claims().bound(key.thumbprint()))
        .with("free", testing::claims())
        .with("syms_bound", testing::claims().bound(key.thumbprint()));
    let half = |identity: Identity| async move { format!("{:?}", identity.half().unwrap()) };
    Router::new()
        .route("/cart", any(half))
        .route("/shop/cart", any(half))
        .layer(Guard::required(rules.clone(), known))
}

fn rules() -> Rules {
    Rules::new("https://shop.example").unwrap()
}

async fn send(app: &Router, path: &str, sent: &[(&str, &str)]) -> Response<Body> {
    let mut request = Request::get(path);
    for (name, value) in sent {
        request = request.header(*name, *value);
    }
    app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

/// Status, and the last challenge's error.
fn told(response: &Response<Body>) -> (u16, String) {
    let mut challenges = response.headers().get_all("www-authenticate").iter();
    let last = challenges.next_back().map_or("", |value| value.to_str().unwrap());
    let error = last.split_once("error=\"").map_or("", |(_, rest)| rest.trim_end_matches('"'));
    (response.status().as_u16(), error.to_owned())
}

async fn check(app: &Router, sent: &[(&str, &str)], status: u16, error: &str) {
    let response = send(app, "/cart", sent).await;
    assert_eq!(told(&response), (status, error.to_owned()), "{sent:?}");
}

#[tokio::test]
async fn a_stolen_token_is_of_no_use_without_its_key() {
    let (owner, thief) = (Key::new(), Key::new());
    let app = app(&owner, &rules());
    let bound = ("authorization", "DPoP bound");
    check(&app, &[bound, ("dpop", &owner.proof("bound", "1", &json!({})))], 200, "").await;
    // Case does not matter in a scheme.
    let other_case = ("authorization", "dpop bound");
    check(&app, &[other_case, ("dpop", &owner.proof("bound", "2", &json!({})))], 200, "").await;

    let proof = thief.proof("bound", "3", &json!({}));
    check(&app, &[bound, ("dpop", &proof)], 401, "invalid_dpop_proof").await;
    check(&app, &[bound], 401, "invalid_dpop_proof").await;
    check(&app, &[bound, ("dpop", "nonsense")], 401, "invalid_dpop_proof").await;
}

#[tokio::test]
async fn a_bound_token_is_no_bearer_token() {
    let key = Key::new();
    let app = app(&key, &rules());
    for (name, value) in [
        ("authorization", "Bearer bound"),
        ("cookie", "__Host-symbolon-access=bound"),
        ("cookie", "__Host-symbolon=syms_bound"),
    ] {
        let proof = key.proof("bound", name, &json!({}));
        check(&app, &[(name, value), ("dpop", &proof)], 401, "invalid_token").await;
        check(&app, &[(name, value)], 401, "invalid_token").await;
    }
    // Nor does a proof make a bearer token more than it is.
    let proof = key.proof("free", "a", &json!({}));
    check(&app, &[("authorization", "DPoP free"), ("dpop", &proof)], 401, "invalid_token").await;
    check(&app, &[("authorization", "DPoP other"), ("dpop", &proof)], 401, "invalid_token").await;
    check(&app, &[("authorization", "Bearer free"), ("dpop", &proof)], 200, "").await;
}

#[tokio::test]
async fn a_replayed_proof() {
    let key = Key::new();
    let app = app(&key, &rules());
    let bound = ("authorization", "DPoP bound");
    let proof = key.proof("bound", "1", &json!({}));
    check(&app, &[bound, ("dpop", &proof)], 200, "").await;
    check(&app, &[bound, ("dpop", &proof)], 401, "invalid_dpop_proof").await;
    // Two at once are one too many, whichever is right.
    let fresh = key.proof("bound", "2", &json!({}));
    check(&app, &[bound, ("dpop", &fresh), ("dpop", &fresh)], 401, "invalid_dpop_proof").await;
    check(&app, &[bound, ("dpop", &fresh)], 200, "").await;
    // A proof that was refused is not used up.
    let elsewhere = key.proof("bound", "3", &json!({}));
    let refused = send(&app, "/shop/cart", &[bound, ("dpop", &elsewhere)]).await;
    assert_eq!(told(&refused), (401, "invalid_dpop_proof".to_owned()));
    check(&app, &[bound, ("dpop", &elsewhere)], 200, "").await;
}

#[tokio::test]
async fn a_proof_of_another_request() {
    let key = Key::new();
    let app = app(&key, &rules());
    let bound = ("authorization", "DPoP bound");
    for changes in [
        json!({ "htm": "POST" }),
        json!({ "htu": "https://shop.example/other" }),
        json!({ "htu": "https://evil.example/cart" }),
        json!({ "htu": "http://shop.example/cart" }),
        json!({ "ath": encode(digest(&SHA256, b"another token")) }),
        json!({ "ath": null }),
        json!({ "iat": now() - 61 }),
        json!({ "iat": now() + 3600 }),
        json!({ "jti": "" }),
    ] {
        let proof = key.proof("bound", "1", &changes);
        check(&app, &[bound, ("dpop", &proof)], 401, "invalid_dpop_proof").await;
    }
    let proof = key.proof("bound", "2", &json!({ "htu": "https://SHOP.example:443/cart?a#b" }));
    check(&app, &[bound, ("dpop", &proof)], 200, "").await;
}

#[tokio::test]
async fn what_was_used_before_a_start_needs_a_nonce() {
    let key = Key::new();
    let app = app(&key, &rules());
    let bound = ("authorization", "DPoP bound");
    let before = key.proof("bound", "1", &json!({ "iat": now() - 5 }));
    let refused = send(&app, "/cart", &[bound, ("dpop", &before)]).await;
    assert_eq!(told(&refused), (401, "use_dpop_nonce".to_owned()));
    let nonce = refused.headers()["dpop-nonce"].to_str().unwrap();
    // A client whose clock is slow repeats the request by itself, and gets in.
    let again = key.proof("bound", "2", &json!({ "iat": now() - 5, "nonce": nonce }));
    check(&app, &[bound, ("dpop", &again)], 200, "").await;
    check(&app, &[bound, ("dpop", &again)], 401, "invalid_dpop_proof").await;
}

#[tokio::test]
async fn each_proof_repeats_a_nonce_where_that_is_demanded() {
    let key = Key::new();
    let (one, other) = (rules().demand_nonces(), rules().demand_nonces());
    let (app, elsewhere) = (app(&key, &one), app(&key, &other));
    let bound = ("authorization", "DPoP bound");
    let refused =
        send(&app, "/cart", &[bound, ("dpop", &key.proof("bound", "1", &json!({})))]).await;
    assert_eq!(told(&refused), (401, "use_dpop_nonce".to_owned()));
    let nonce = refused.headers()["dpop-nonce"].to_str().unwrap();
    let proof = key.proof("bound", "2", &json!({ "nonce": nonce }));
    check(&app, &[bound, ("dpop", &proof)], 200, "").await;
    // Of use at this process alone.
    check(&elsewhere, &[bound, ("dpop", &proof)], 401, "use_dpop_nonce").await;
}

/// An outer guard has used the proof up; the request is still the same one.
#[tokio::test]
async fn guards_within_guards() {
    let (key, rules) = (Key::new(), rules());
    let outer = Known::default().with("bound", testing::claims().bound(key.thumbprint()));
    let app = app(&key, &rules).layer(Guard::optional(rules.clone(), outer));
    let bound = ("authorization", "DPoP bound");
    let proof = key.proof("bound", "1", &json!({}));
    check(&app, &[bound, ("dpop", &proof)], 200, "").await;
    check(&app, &[bound, ("dpop", &proof)], 401, "invalid_dpop_proof").await;
}

/// Clients see the base path, and routers below it may not.
#[tokio::test]
async fn below_a_base_path() {
    let key = Key::new();
    let app = app(&key, &Rules::new("https://shop.example/shop").unwrap());
    let bound = ("authorization", "DPoP bound");
    for (path, id) in [("/cart", "1"), ("/shop/cart", "2")] {
        let htu = json!({ "htu": "https://shop.example/shop/cart" });
        let proof = key.proof("bound", id, &htu);
        let response = send(&app, path, &[bound, ("dpop", &proof)]).await;
        assert_eq!(told(&response), (200, String::new()), "{path}");
    }
}
