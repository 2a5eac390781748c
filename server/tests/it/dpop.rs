//! Tokens that are bound to a key (RFC 9449): the walk of a client, and every attack on it by its name.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::{
    keys::{Key, now},
    oauth::{Provider, refused},
    world::{Answer, Ask, ORIGIN, World, ask},
};

const TOKEN: (&str, &str) = ("POST", "/oauth2/token");
const SESSION: (&str, &str) = ("GET", "/api/v1/session");
const SPA: [(&str, &str); 2] = [("client_id", "spa"), ("redirect_uri", "https://spa.example/in")];

fn claims(token: &str) -> Value {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}

/// The tokens of the public client, bound to this key.
async fn bound(provider: &Provider, cookie: &str, key: &Key) -> Answer {
    let code = provider.code(cookie, &SPA).await;
    let request = Provider::redemption(&code, &SPA).header("dpop", &key.at_token());
    let answer = provider.world.send(request).await.expect(200);
    assert_eq!(answer.text_of("token_type"), "DPoP");
    assert_eq!(claims(&answer.text_of("access_token"))["cnf"]["jkt"], key.thumbprint());
    answer
}

fn refreshing(token: &str) -> Ask {
    let fields = [("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", "spa")];
    ask("POST", "/oauth2/token").form(&fields)
}

/// A server whose first-party client takes tokens for the server itself, so that they can be tried out here.
async fn own_api() -> (World, (String, String)) {
    let world = World::new().await;
    let more = json!({
        "audiences": [ORIGIN], "grant_types": ["client_credentials"], "scopes": ["cart"],
    });
    let machine = world.add_client("machine", "confidential", more).await;
    (world, machine)
}

async fn machine_token(world: &World, machine: &(String, String), key: &Key) -> String {
    let fields = [("grant_type", "client_credentials")];
    let request = ask("POST", "/oauth2/token").form(&fields).basic(machine);
    let answer = world.send(request.header("dpop", &key.at_token())).await.expect(200);
    assert_eq!(answer.text_of("token_type"), "DPoP");
    answer.text_of("access_token")
}

fn by_dpop(token: &str, proof: &str) -> Ask {
    ask("GET", SESSION.1).header("authorization", &format!("DPoP {token}")).header("dpop", proof)
}

#[track_caller]
fn challenged(answer: &Answer, error: &str) {
    assert_eq!(answer.status, 401, "{answer:?}");
    let challenges: Vec<_> = answer.headers.get_all("www-authenticate").iter().collect();
    let dpop = challenges.iter().map(|value| value.to_str().unwrap());
    let dpop = dpop.filter(|value| value.starts_with("DPoP ")).collect::<Vec<_>>().join("");
    assert!(dpop.contains(&format!("error=\"{error}\"")), "{challenges:?}");
    assert!(dpop.contains("algs=\"ES256 EdDSA RS256 PS256\""), "{challenges:?}");
}

#[tokio::test]
async fn the_walk_of_a_public_client() {
    let provider = Provider::new().await;
    let (world, key) = (&provider.world, Key::new());
    let browser = world.cookie("user").await;
    let first = bound(&provider, &browser, &key).await;
    let told = provider.introspect(&first.text_of("access_token")).await;
    assert_eq!(
        (&told["token_type"], &told["cnf"]["jkt"]),
        (&json!("DPoP"), &json!(key.thumbprint()))
    );

    let request = refreshing(&first.text_of("refresh_token")).header("dpop", &key.at_token());
    let next = world.send(request).await.expect(200);
    assert_eq!(next.text_of("token_type"), "DPoP");
    assert_eq!(claims(&next.text_of("access_token"))["cnf"]["jkt"], key.thumbprint());
    // The answer was lost: the same again, with the key.
    let request = refreshing(&first.text_of("refresh_token")).header("dpop", &key.at_token());
    let again = world.send(request).await.expect(200);
    assert_eq!(again.text_of("refresh_token"), next.text_of("refresh_token"));
    let metadata = world.send(ask("GET", "/.well-known/openid-configuration")).await.json();
    let algorithms = json!(["ES256", "EdDSA", "RS256", "PS256"]);
    assert_eq!(metadata["dpop_signing_alg_values_supported"], algorithms);
}

#[tokio::test]
async fn theft_of_a_refresh_token_without_its_key() {
    let provider = Provider::new().await;
    let (world, key, thief) = (&provider.world, Key::new(), Key::new());
    let browser = world.cookie("user").await;
    let token = bound(&provider, &browser, &key).await.text_of("refresh_token");
    refused(&world.send(refreshing(&token)).await, 400, "invalid_grant");
    let with_another = refreshing(&token).header("dpop", &thief.at_token());
    refused(&world.send(with_another).await, 400, "invalid_grant");
    let by_api = json!({ "refresh_token": token, "client_id": "spa" });
    let by_api = world.send(ask("POST", "/api/v1/refresh").json(&by_api)).await;
    assert_ne!(by_api.status, 200);
    // It had no effect on the owner.
    world.send(refreshing(&token).header("dpop", &key.at_token())).await.expect(200);
}

#[tokio::test]
async fn token_theft_without_the_key() {
    let (world, machine) = own_api().await;
    let (key, thief) = (Key::new(), Key::new());
    let token = machine_token(&world, &machine, &key).await;
    let here = |key: &Key| key.proof(SESSION, Some(&token), &json!({}));
    world.send(by_dpop(&token, &here(&key))).await.expect(200);

    challenged(&world.send(by_dpop(&token, &here(&thief))).await, "invalid_dpop_proof");
    let without = ask("GET", SESSION.1).header("authorization", &format!("DPoP {token}"));
    challenged(&world.send(without).await, "invalid_dpop_proof");
    // As a bearer token it is worth nothing, with or without a proof.
    challenged(&world.send(ask("GET", SESSION.1).bearer(&token)).await, "invalid_token");
    let beside = ask("GET", SESSION.1).bearer(&token).header("dpop", &here(&key));
    challenged(&world.send(beside).await, "invalid_token");
    let in_cookie = ask("GET", SESSION.1).header("cookie", &format!("symbolon-access={token}"));
    challenged(&world.send(in_cookie).await, "invalid_token");
}

#[tokio::test]
async fn a_replayed_proof() {
    let provider = Provider::new().await;
    let (world, key) = (&provider.world, Key::new());
    let browser = world.cookie("user").await;
    let code = provider.code(&browser, &SPA).await;
    let proof = key.at_token();
    let request = || Provider::redemption(&code, &SPA).header("dpop", &proof);
    let token = world.send(request()).await.expect(200).text_of("refresh_token");
    refused(&world.send(request()).await, 400, "invalid_dpop_proof");
    let elsewhere = refreshing(&token).header("dpop", &proof);
    refused(&world.send(elsewhere).await, 400, "invalid_dpop_proof");
    // It did not count as a second use of the code.
    world.send(refreshing(&token).header("dpop", &key.at_token())).await.expect(200);

    let (world, machine) = own_api().await;
    let token = machine_token(&world, &machine, &key).await;
    let proof = key.proof(SESSION, Some(&token), &json!({}));
    world.send(by_dpop(&token, &proof)).await.expect(200);
    challenged(&world.send(by_dpop(&token, &proof)).await, "invalid_dpop_proof");
}

#[tokio::test]
async fn a_proof_of_another_request() {
    let provider = Provider::new().await;
    let (world, key) = (&provider.world, Key::new());
    let browser = world.cookie("user").await;
    let code = provider.code(&browser, &SPA).await;
    let send = |proof: String| world.send(Provider::redemption(&code, &SPA).header("dpop", &proof));
    for (target, changes) in [
        (("GET", TOKEN.1), json!({})),
        (("POST", "/oauth2/revoke"), json!({})),
        (TOKEN, json!({ "htu": "https://evil.example/oauth2/token" })),
        (TOKEN, json!({ "iat": now() - 120 })),
        (TOKEN, json!({ "iat": now() + 120 })),
        (TOKEN, json!({ "jti": null })),
    ] {
        refused(&send(key.proof(target, None, &changes)).await, 400, "invalid_dpop_proof");
    }
    refused(&send("nonsense".to_owned()).await, 400, "invalid_dpop_proof");
    let twice = Provider::redemption(&code, &SPA).header("dpop", &key.at_token());
    let twice = world.send(twice.header("dpop", &key.at_token())).await;
    refused(&twice, 400, "invalid_dpop_proof");
    // The proof of another token, at a resource server.
    let (world, machine) = own_api().await;
    let (one, other) =
        (machine_token(&world, &machine, &key).await, machine_token(&world, &machine, &key).await);
    let proof = key.proof(SESSION, Some(&other), &json!({}));
    challenged(&world.send(by_dpop(&one, &proof)).await, "invalid_dpop_proof");
}

#[tokio::test]
async fn what_was_used_before_a_start_needs_a_nonce() {
    let provider = Provider::new().await;
    let (world, key) = (&provider.world, Key::new());
    let browser = world.cookie("user").await;
    let code = provider.code(&browser, &SPA).await;
    let early = json!({ "iat": now() - 20 });
    let request = Provider::redemption(&code, &SPA).header("dpop", &key.proof(TOKEN, None, &early));
    let answer = world.send(request).await;
    refused(&answer, 400, "use_dpop_nonce");
    let nonce = answer.headers["dpop-nonce"].to_str().unwrap();
    let early = json!({ "iat": now() - 20, "nonce": nonce });
    let request = Provider::redemption(&code, &SPA).header("dpop", &key.proof(TOKEN, None, &early));
    world.send(request).await.expect(200);
}

#[tokio::test]
async fn a_client_whose_tokens_must_be_bound() {
    let (world, _) = own_api().await;
    let more = json!({
        "grant_types": ["client_credentials"], "dpop_bound_access_tokens": true, "first_party": true,
    });
    let strict = world.add_client("strict", "confidential", more).await;
    let fields = [("grant_type", "client_credentials")];
    let request = || ask("POST", "/oauth2/token").form(&fields).basic(&strict);
    refused(&world.send(request()).await, 400, "invalid_dpop_proof");
    let key = Key::new();
    world.send(request().header("dpop", &key.at_token())).await.expect(200);
    // Nor does any other way give it an unbound one.
    let login =
        json!({ "username": "user", "password": crate::world::PASSWORD, "deliver": "token" });
    let login = world.send(ask("POST", "/api/v1/login").json(&login).basic(&strict)).await;
    assert_ne!(login.status, 200, "{login:?}");
}

/// A key of one's own proves nothing of the client.
#[tokio::test]
async fn a_key_does_not_make_a_public_client_a_machine() {
    let world = World::new().await;
    let more = json!({ "grant_types": ["client_credentials"] });
    world.add_client("spa", "public", more).await;
    let fields = [("grant_type", "client_credentials"), ("client_id", "spa")];
    let request = ask("POST", "/oauth2/token").form(&fields);
    let answer = world.send(request.header("dpop", &Key::new().at_token())).await;
    refused(&answer, 400, "unauthorized_client");
}

/// A client that authenticates may change its key from one refresh to the next; the same answer is for the same key.
#[tokio::test]
async fn the_key_of_a_client_that_authenticates() {
    let provider = Provider::new().await;
    let world = &provider.world;
    let (one, other) = (Key::new(), Key::new());
    let browser = world.cookie("user").await;
    let first = provider.tokens(&browser).await;
    assert_eq!(first.text_of("token_type"), "Bearer");
    let refresh = |token: &str, key: Option<&Key>| {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token)];
        let request = ask("POST", "/oauth2/token").form(&fields).basic(&provider.web);
        world.send(match key {
            Some(key) => request.header("dpop", &key.at_token()),
            None => request,
        })
    };
    let token = first.text_of("refresh_token");
    let second = refresh(&token, Some(&one)).await.expect(200);
    assert_eq!(claims(&second.text_of("access_token"))["cnf"]["jkt"], one.thumbprint());
    refused(&refresh(&token, Some(&other)).await, 400, "invalid_grant");
    refused(&refresh(&token, None).await, 400, "invalid_grant");
    let again = refresh(&token, Some(&one)).await.expect(200);
    assert_eq!(again.text_of("refresh_token"), second.text_of("refresh_token"));
    let third = refresh(&again.text_of("refresh_token"), Some(&other)).await.expect(200);
    assert_eq!(claims(&third.text_of("access_token"))["cnf"]["jkt"], other.thumbprint());
}

/// Whoever steals a code can do nothing with it, even with the verifier (RFC 9449, section 10).
#[tokio::test]
async fn theft_of_a_code_without_its_key() {
    let provider = Provider::new().await;
    let (world, key, thief) = (&provider.world, Key::new(), Key::new());
    let browser = world.cookie("user").await;
    let thumbprint = key.thumbprint();
    let code = provider.code(&browser, &[&SPA[..], &[("dpop_jkt", &thumbprint)]].concat()).await;
    let redeem = || Provider::redemption(&code, &SPA);
    refused(&world.send(redeem()).await, 400, "invalid_grant");
    let by_thief = redeem().header("dpop", &thief.at_token());
    refused(&world.send(by_thief).await, 400, "invalid_grant");
    world.send(redeem().header("dpop", &key.at_token())).await.expect(200);
    let wrong = provider.authorize(&browser, &[("dpop_jkt", "short")]).await.expect(303);
    assert!(wrong.location().contains("error=invalid_request"), "{wrong:?}");
}

#[tokio::test]
async fn a_pushed_request_is_bound_by_its_proof() {
    let provider = Provider::new().await;
    let (world, key, thief) = (&provider.world, Key::new(), Key::new());
    let browser = world.cookie("user").await;
    let challenge = crate::oauth::s256(crate::oauth::VERIFIER);
    let fields = [
        ("response_type", "code"),
        ("client_id", "spa"),
        ("redirect_uri", SPA[1].1),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("scope", "cart"),
    ];
    let (other, proof) =
        (thief.thumbprint(), || key.proof(("POST", "/oauth2/par"), None, &json!({})));
    let push = |fields: &[(&str, &str)]| ask("POST", "/oauth2/par").form(fields);
    let both = [&fields[..], &[("dpop_jkt", &other)]].concat();
    refused(&world.send(push(&both).header("dpop", &proof())).await, 400, "invalid_dpop_proof");
    refused(
        &world.send(push(&fields).header("dpop", &key.at_token())).await,
        400,
        "invalid_dpop_proof",
    );
    let pushed = world.send(push(&fields).header("dpop", &proof())).await.expect(201);
    let uri = pushed.text_of("request_uri");
    let query = serde_urlencoded::to_string([("client_id", "spa"), ("request_uri", &uri)]).unwrap();
    let back = world.send(ask("GET", &format!("/oauth2/authorize?{query}")).cookie(&browser)).await;
    let code = crate::oauth::sent(back.expect(303).location(), "code").unwrap();
    let redeem = |key: &Key| Provider::redemption(&code, &SPA).header("dpop", &key.at_token());
    refused(&world.send(redeem(&thief)).await, 400, "invalid_grant");
    world.send(redeem(&key)).await.expect(200);
}

#[tokio::test]
async fn userinfo_wants_the_proof_too() {
    let provider = Provider::new().await;
    let (world, key, thief) = (&provider.world, Key::new(), Key::new());
    let browser = world.cookie("user").await;
    let token = bound(&provider, &browser, &key).await.text_of("access_token");
    let ask = || ask("GET", "/oauth2/userinfo");
    let proof = |key: &Key| key.proof(("GET", "/oauth2/userinfo"), Some(&token), &json!({}));
    let scheme = format!("DPoP {token}");
    let by = |key: &Key| ask().header("authorization", &scheme).header("dpop", &proof(key));
    let told = world.send(by(&key)).await.expect(200).json();
    assert_eq!(told["sub"], claims(&token)["sub"]);
    challenged(&world.send(by(&thief)).await, "invalid_dpop_proof");
    challenged(&world.send(ask().bearer(&token)).await, "invalid_token");
}
