//! Opaque access tokens: they do what a JWT does wherever the server is asked, and nobody else reads them.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use symbolon_core::token::opaque::PREFIX;

use crate::{
    keys::Key,
    oauth::{CALLBACK, Client, Provider, opened, refused},
    world::{Answer, ORIGIN, PASSWORD, World, ask},
};

const SPA: [(&str, &str); 2] =
    [("client_id", "secret-spa"), ("redirect_uri", "https://spa.example/in")];

/// The clients of every test, and one of each kind whose tokens are opaque.
async fn provider() -> (Provider, Client) {
    let provider = Provider::new().await;
    let more = |uri: &str| {
        json!({
            "first_party": true, "redirect_uris": [uri], "scopes": ["cart"],
            "access_token_format": "opaque", "token_type": "JWT",
            "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
        })
    };
    let shop = provider.world.add_client("shop", "confidential", more(CALLBACK)).await;
    provider.world.add_client("secret-spa", "public", more(SPA[1].1)).await;
    (provider, shop)
}

async fn tokens(provider: &Provider, shop: &Client, browser: &str) -> Answer {
    let code = provider.code(browser, &[("client_id", "shop")]).await;
    let answer =
        provider.world.send(Provider::redemption(&code, &[]).basic(shop)).await.expect(200);
    assert!(answer.text_of("access_token").starts_with(PREFIX));
    answer
}

async fn introspected(world: &World, asker: &Client, token: &str) -> Value {
    let about = ask("POST", "/oauth2/introspect").basic(asker).form(&[("token", token)]);
    world.send(about).await.expect(200).json()
}

#[tokio::test]
async fn it_does_what_a_jwt_does() {
    let (provider, shop) = provider().await;
    let world = &provider.world;
    let browser = world.cookie("user").await;
    let jwt = provider.tokens(&browser).await.text_of("access_token");
    let answer = tokens(&provider, &shop, &browser).await;
    let token = answer.text_of("access_token");
    // Introspection says the same of both, to the client and to the resource server.
    let api = world.add_client("api", "resource", json!({})).await;
    for asker in [&shop, &api] {
        let said = introspected(world, asker, &token).await;
        let (_, of_jwt) = opened(world, &jwt).await;
        for name in ["sub", "aud", "scope", "iss"] {
            assert_eq!(said[name], of_jwt[name], "{name}");
        }
        let facts = (&said["active"], &said["client_id"], &said["token_type"]);
        assert_eq!(facts, (&json!(true), &json!("shop"), &json!("Bearer")));
    }
    // No other client hears of it.
    let more = json!({ "audiences": ["https://other.example"] });
    let other = world.add_client("other", "resource", more).await;
    assert_eq!(introspected(world, &other, &token).await, json!({ "active": false }));
    // Userinfo, and the hash in the ID token.
    let told = world.send(ask("GET", "/oauth2/userinfo").bearer(&token)).await.expect(200);
    assert_eq!(told.json()["preferred_username"], "user");
    let (_, id) = opened(world, &answer.text_of("id_token")).await;
    let hash = digest(&SHA256, token.as_bytes());
    assert_eq!(id["at_hash"], URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16]));
    // It is for its audience, which is not the server itself.
    assert!(!world.access_counts(&token).await);
    // Its client revokes it, and nobody else does.
    let revoke =
        |client: &Client| ask("POST", "/oauth2/revoke").basic(client).form(&[("token", &token)]);
    world.send(revoke(&provider.web)).await.expect(200);
    assert_eq!(introspected(world, &shop, &token).await["active"], true);
    world.send(revoke(&shop)).await.expect(200);
    assert_eq!(introspected(world, &shop, &token).await, json!({ "active": false }));
    assert_eq!(world.check(ask("GET", "/oauth2/userinfo").bearer(&token)).await, 401);
}

#[tokio::test]
async fn a_repeated_refresh_gives_the_same_text() {
    let (provider, shop) = provider().await;
    let browser = provider.world.cookie("user").await;
    let refresh = tokens(&provider, &shop, &browser).await.text_of("refresh_token");
    let first = provider.refresh(&shop, &refresh, &[]).await.expect(200);
    let again = provider.refresh(&shop, &refresh, &[]).await.expect(200);
    for name in ["access_token", "refresh_token"] {
        assert_eq!(first.text_of(name), again.text_of(name), "{name}");
    }
    assert!(first.text_of("access_token").starts_with(PREFIX));
    // What ends the login ends it.
    let token = first.text_of("access_token");
    provider.log_out(&browser).await;
    assert_eq!(introspected(&provider.world, &shop, &token).await["active"], false);
}

#[tokio::test]
async fn machines_and_services_have_them_too() {
    let (provider, shop) = provider().await;
    let world = &provider.world;
    let own = ask("POST", "/oauth2/token").form(&[("grant_type", "client_credentials")]);
    let token = world.send(own.basic(&shop)).await.expect(200).text_of("access_token");
    let said = introspected(world, &shop, &token).await;
    assert_eq!((&said["active"], said.get("sub")), (&json!(true), None));
    // A user's opaque token is exchanged, for one in the form of the service's own.
    let grant = "urn:ietf:params:oauth:grant-type:token-exchange";
    let more = json!({
        "grant_types": [grant], "exchange_audiences": ["https://api.example"],
        "audiences": ["https://stock.example"], "scopes": ["cart"], "access_token_format": "opaque",
    });
    let orders = world.add_client("orders", "confidential", more).await;
    let browser = world.cookie("user").await;
    let subject = tokens(&provider, &shop, &browser).await.text_of("access_token");
    let fields = [
        ("grant_type", grant),
        ("subject_token", subject.as_str()),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
    ];
    let exchange = || ask("POST", "/oauth2/token").form(&fields).basic(&orders);
    let given = world.send(exchange()).await.expect(200).text_of("access_token");
    assert!(given.starts_with(PREFIX));
    let (said, before) =
        (introspected(world, &orders, &given).await, introspected(world, &shop, &subject).await);
    assert_eq!((&said["sub"], &said["sid"]), (&before["sub"], &before["sid"]));
    assert_eq!(said["act"], json!({ "sub": "orders" }));
    provider.log_out(&browser).await;
    refused(&world.send(exchange()).await, 400, "invalid_request");
    assert_eq!(introspected(world, &orders, &given).await["active"], false);
}

#[tokio::test]
async fn theft_of_a_bound_opaque_token() {
    let (provider, shop) = provider().await;
    let (world, key, thief) = (&provider.world, Key::new(), Key::new());
    let browser = world.cookie("user").await;
    let code = provider.code(&browser, &SPA).await;
    let request = Provider::redemption(&code, &SPA).header("dpop", &key.at_token());
    let answer = world.send(request).await.expect(200);
    assert_eq!(answer.text_of("token_type"), "DPoP");
    let token = answer.text_of("access_token");
    assert_eq!(introspected(world, &shop, &token).await["cnf"]["jkt"], key.thumbprint());
    let at = |scheme: &str, proof: Option<String>| {
        let asked =
            ask("GET", "/oauth2/userinfo").header("authorization", &format!("{scheme} {token}"));
        proof.into_iter().fold(asked, |asked, proof| asked.header("dpop", &proof))
    };
    let proof = |key: &Key| key.proof(("GET", "/oauth2/userinfo"), Some(&token), &json!({}));
    assert_eq!(world.check(at("DPoP", Some(proof(&key)))).await, 200);
    assert_eq!(world.check(at("DPoP", Some(proof(&thief)))).await, 401);
    assert_eq!(world.check(at("DPoP", None)).await, 401);
    assert_eq!(world.check(at("Bearer", None)).await, 401);
}

#[tokio::test]
async fn a_changed_character_counts_nowhere() {
    let (provider, shop) = provider().await;
    let world = &provider.world;
    let browser = world.cookie("user").await;
    let token = tokens(&provider, &shop, &browser).await.text_of("access_token");
    // Every character is tried in core; here one of each part.
    for at in [2, 5, 6, 8, 12, 30, 60, token.len() - 1] {
        let mut changed = token.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert_eq!(introspected(world, &shop, &changed).await["active"], false, "{at}");
        assert_eq!(world.check(ask("GET", "/oauth2/userinfo").bearer(&changed)).await, 401);
    }
}

#[tokio::test]
async fn it_is_handed_over_as_a_jwt_is() {
    let world = World::new().await;
    let more = json!({
        "first_party": true, "audiences": [ORIGIN], "access_token_format": "opaque",
        "origins": ["https://app.example"],
    });
    world.add_client("app", "public", more).await;
    let body = json!({
        "username": "user", "password": PASSWORD, "deliver": "token", "client_id": "app",
    });
    let answer = world.send(ask("POST", "/api/v1/login").json(&body)).await.expect(200);
    let token = answer.text_of("access_token");
    assert!(token.starts_with(PREFIX));
    assert!(world.access_counts(&token).await);
    let handover = ask("POST", "/api/v1/handover").bearer(&token).header("origin", ORIGIN);
    let answer = world.send(handover.json(&json!({ "to": "session" }))).await.expect(200);
    let cookie = answer.cookie("symbolon").unwrap();
    assert!(world.cookie_counts(&cookie).await);
}
