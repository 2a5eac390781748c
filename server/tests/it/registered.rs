//! Clients that have registered themselves: who may look at them, change and remove them (RFC 7592), and what comes of it.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use symbolon::config::ClientRegistration;
use symbolon_core::oauth::grant::GrantType;

use crate::{
    keys::{ASSERTION_TYPE, Key},
    oauth::{VERIFIER, s256},
    registration::{
        CALLBACK, PATH, Registered, asked, logged_in, on, open, refused, register, registration,
    },
    world::{Answer, Ask, World, ask},
};

#[tokio::test]
async fn an_administrator_removes_a_registered_client() {
    let world = open().await;
    let client = register(&world, &json!({})).await;
    world.admin(ask("DELETE", &format!("/clients/{}", client.id()))).await.expect(204);
    refused(&world.send(client.ask("GET")).await, 401, "invalid_token");
    refused(&world.send(client.put(&json!({}))).await, 401, "invalid_token");
}

#[tokio::test]
async fn another_clients_registration_token() {
    let world = open().await;
    let (own, other) = (register(&world, &json!({})).await, register(&world, &json!({})).await);
    world.add_client("web", "confidential", json!({})).await;
    for id in
        [own.id(), "web".to_owned(), "symbolon".to_owned(), "nobody".to_owned(), "%00".to_owned()]
    {
        let path = format!("{PATH}/{id}");
        let body = json!({ "client_id": id, "redirect_uris": ["https://evil.example/"] });
        for token in
            [other.token(), other.text("client_secret"), own.text("client_secret"), "x".to_owned()]
        {
            for request in [ask("GET", &path), ask("PUT", &path).json(&body), ask("DELETE", &path)]
            {
                refused(&world.send(request.bearer(&token)).await, 401, "invalid_token");
            }
        }
        for request in [ask("GET", &path), ask("PUT", &path).json(&body), ask("DELETE", &path)] {
            refused(&world.send(request).await, 401, "invalid_token");
        }
    }
    // One is in the path, the other in the body.
    let mixed = own.put(&json!({ "client_id": other.id() }));
    refused(&world.send(mixed).await, 400, "invalid_client_metadata");
    world.send(own.ask("GET")).await.expect(200);
    world.send(other.ask("GET")).await.expect(200);
}

#[tokio::test]
async fn a_client_replaces_all_of_its_metadata() {
    let world = open().await;
    let first = json!({ "client_name": "Old", "tos_uri": "https://theirs.example/terms" });
    let client = register(&world, &first).await;
    let now = world.send(client.put(&json!({ "client_name": "New" }))).await.expect(200).json();
    assert_eq!(now["client_name"], "New");
    assert!(now["tos_uri"].is_null(), "what is left out is gone");
    assert!(now["client_secret"].is_null(), "its secret stays, and was told");
    assert_eq!(now["client_id_issued_at"], client.0["client_id_issued_at"]);
    logged_in(&world, &client, "openid").await;
    for wrong in [
        json!({ "client_id": null }),
        json!({ "client_secret": "symc_guess" }),
        json!({ "registration_access_token": "symg_mine" }),
        json!({ "registration_client_uri": "https://evil.example/" }),
        json!({ "client_secret_expires_at": 0 }),
        json!({ "client_id_issued_at": 0 }),
    ] {
        refused(&world.send(client.put(&wrong)).await, 400, "invalid_client_metadata");
    }
    let own = json!({ "client_secret": client.text("client_secret") });
    world.send(client.put(&own)).await.expect(200);
    // It becomes public, and its secret is void; then it keeps a secret again, which is another one.
    world.send(client.put(&json!({ "token_endpoint_auth_method": "none" }))).await.expect(200);
    let about = ask("POST", "/oauth2/introspect").form(&[("token", "x")]);
    refused(&world.send(about.basic(&client.basic())).await, 401, "invalid_client");
    let again = world.send(client.put(&json!({}))).await.expect(200).json();
    let (id, secret) = (client.id(), again["client_secret"].as_str().unwrap().to_owned());
    assert_ne!(secret, client.text("client_secret"));
    let about = ask("POST", "/oauth2/introspect").form(&[("token", "x")]);
    world.send(about.basic(&(id, secret))).await.expect(200);
}

#[tokio::test]
async fn a_client_proves_itself_as_it_registered() {
    let world = open().await;
    let key = Key::new();
    let jwks = json!({ "keys": [key.named("1")] });
    let about = [("token", "x")];
    let post = |client: &Registered| {
        let (id, secret) = client.basic();
        let form = [("client_id", &*id), ("client_secret", &*secret), about[0]];
        ask("POST", "/oauth2/introspect").form(&form)
    };
    let basic =
        |client: &Registered| ask("POST", "/oauth2/introspect").basic(&client.basic()).form(&about);
    let signed = |client: &Registered| {
        let assertion = key.assertion(&client.id(), "1", &json!({}));
        let form = [
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", &*assertion),
            about[0],
        ];
        ask("POST", "/oauth2/introspect").form(&form)
    };
    // Keys beside a secret are for what the client signs, not for who it is.
    let method = "token_endpoint_auth_method";
    let by_basic = register(&world, &json!({ method: "client_secret_basic", "jwks": jwks })).await;
    let by_post = register(&world, &json!({ method: "client_secret_post" })).await;
    let by_key = register(&world, &json!({ method: "private_key_jwt", "jwks": jwks })).await;
    assert!(by_key.0["client_secret"].is_null());
    world.send(basic(&by_basic)).await.expect(200);
    world.send(post(&by_post)).await.expect(200);
    world.send(signed(&by_key)).await.expect(200);
    for wrong in [post(&by_basic), signed(&by_basic), basic(&by_post), signed(&by_post)] {
        refused(&world.send(wrong).await, 401, "invalid_client");
    }
    let pinned = json!({
        method: "private_key_jwt", "jwks": jwks, "token_endpoint_auth_signing_alg": "EdDSA",
    });
    let pinned = register(&world, &pinned).await;
    refused(&world.send(signed(&pinned)).await, 401, "invalid_client");
}

/// What was used is remembered for all clients together.
#[tokio::test]
async fn a_flood_of_assertions_by_a_client_that_registered_itself() {
    let world = open().await;
    let key = Key::new();
    let jwks = json!({ "keys": [key.named("1")] });
    let wants = json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": jwks });
    let stranger = register(&world, &wants).await.id();
    let ours = world.add_client("ours", "confidential", json!({ "jwks": jwks })).await.0;
    let ask_as = |id: &str| {
        let assertion = key.assertion(id, "1", &json!({}));
        let form = [
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", &*assertion),
            ("token", "x"),
        ];
        ask("POST", "/oauth2/introspect").form(&form)
    };
    let mut taken = 0;
    let full = loop {
        let answer = world.send(ask_as(&stranger)).await;
        if answer.status != 200 {
            break answer;
        }
        taken += 1;
        assert!(taken < 10_000, "nothing bounds them");
    };
    refused(&full, 503, "temporarily_unavailable");
    assert!(taken >= 1000, "{taken}");
    world.send(ask_as(&ours)).await.expect(200);
}

/// Each may be 16 KiB, and rests for minutes.
#[tokio::test]
async fn a_flood_of_pushed_requests_by_a_client_that_registered_itself() {
    let world = open().await;
    let client = register(&world, &json!({})).await;
    let challenge = s256(VERIFIER);
    let form = [
        ("response_type", "code"),
        ("redirect_uri", CALLBACK),
        ("code_challenge", &*challenge),
        ("code_challenge_method", "S256"),
    ];
    let mut taken = 0;
    let full = loop {
        let push = ask("POST", "/oauth2/par").basic(&client.basic()).form(&form);
        let answer = world.send(push).await;
        if answer.status != 201 {
            break answer;
        }
        taken += 1;
        assert!(taken < 3000, "nothing bounds them");
    };
    refused(&full, 429, "temporarily_unavailable");
}

/// Sends a request some reads later, so that it meets others at every step.
async fn later(world: &World, reads: usize, request: Ask) -> Answer {
    for _ in 0..reads {
        world.app.store.clients().await.unwrap();
    }
    world.send(request).await
}

/// With pairwise subjects nobody finds out by them that two applications have the same user. A client that moved to the
/// sector of another one would.
#[tokio::test]
async fn a_client_that_moves_into_another_ones_sector() {
    let world = open().await;
    let grants = json!(["authorization_code", "refresh_token"]);
    let own = json!({ "grant_types": grants });
    let pairwise = json!({ "grant_types": grants, "subject_type": "pairwise" });
    let theirs = "https://victim.example/in";
    let moved = json!({ "subject_type": "pairwise", "redirect_uris": [theirs] });
    for (first, wishes) in [(&own, [&pairwise, &moved]), (&pairwise, [&own, &moved])] {
        let client = register(&world, first).await;
        let tokens = logged_in(&world, &client, "openid").await;
        for wish in wishes {
            refused(&world.send(client.put(wish)).await, 400, "invalid_client_metadata");
        }
        let within = json!({ "redirect_uris": [CALLBACK, "https://theirs.example/other"] });
        let mut kept = first.clone();
        kept.as_object_mut().unwrap().extend(within.as_object().unwrap().clone());
        world.send(client.put(&kept)).await.expect(200);
        let refresh = tokens.text_of("refresh_token");
        let form = [("grant_type", "refresh_token"), ("refresh_token", &*refresh)];
        let again = ask("POST", "/oauth2/token").basic(&client.basic()).form(&form);
        let again = world.send(again).await.expect(200);
        assert_eq!(sub(&again), sub(&tokens), "a refresh is of the same user");
    }
}

fn sub(tokens: &Answer) -> Value {
    let id_token = tokens.text_of("id_token");
    let claims = URL_SAFE_NO_PAD.decode(id_token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice::<Value>(&claims).unwrap()["sub"].clone()
}

#[tokio::test]
async fn a_scope_that_a_client_has_lost_since() {
    let world = open().await;
    let grants = json!(["authorization_code", "refresh_token"]);
    let client = register(&world, &json!({ "grant_types": grants, "scope": "openid cart" })).await;
    let alone = logged_in(&world, &client, "cart").await;
    let both = logged_in(&world, &client, "openid cart").await;
    let less = json!({ "grant_types": grants, "scope": "openid" });
    world.send(client.put(&less)).await.expect(200);
    let again = async |tokens: &Answer| {
        let refresh = tokens.text_of("refresh_token");
        let form = [("grant_type", "refresh_token"), ("refresh_token", &*refresh)];
        world.send(ask("POST", "/oauth2/token").basic(&client.basic()).form(&form)).await
    };
    assert_eq!(again(&both).await.expect(200).text_of("scope"), "openid");
    refused(&again(&alone).await, 400, "invalid_scope");
}

#[tokio::test]
async fn another_ones_sector_by_a_device() {
    let world = World::with(|config| {
        on(ClientRegistration::Open)(config);
        config.client_registration.grant_types.push(GrantType::DeviceCode);
    })
    .await;
    // No browser is sent to that host, so the redirect URI says nothing of who this is.
    let grants = json!(["authorization_code", GrantType::DeviceCode]);
    let wants = json!({ "subject_type": "pairwise", "grant_types": grants });
    refused(&world.send(registration(&wants)).await, 400, "invalid_client_metadata");
    let client = register(&world, &json!({ "subject_type": "pairwise" })).await;
    refused(&world.send(client.put(&wants)).await, 400, "invalid_client_metadata");
    register(&world, &json!({ "grant_types": grants })).await;
}

#[tokio::test]
async fn another_clients_token_at_introspection() {
    let world = open().await;
    let (own, other) = (register(&world, &json!({})).await, register(&world, &json!({})).await);
    let api = world.add_client("api", "resource", json!({})).await;
    let token = logged_in(&world, &own, "openid").await.text_of("access_token");
    let about = |who| ask("POST", "/oauth2/introspect").basic(who).form(&[("token", &*token)]);
    for (who, active) in [(&own.basic(), true), (&api, true), (&other.basic(), false)] {
        let told = world.send(about(who)).await.expect(200).json();
        assert_eq!(told["active"], active, "{told}");
    }
}

#[tokio::test]
async fn put_after_delete_never_revives() {
    let world = open().await;
    let (mut before, mut after) = (0, 0);
    for round in 0..crate::races().div_ceil(10) {
        let client = register(&world, &json!({})).await;
        let named = |name: &str| client.put(&json!({ "client_name": name }));
        let (put, put_too, gone, gone_too) = tokio::join!(
            later(&world, round % 8, named("One")),
            later(&world, round % 3, named("Two")),
            later(&world, (round / 2) % 6, client.ask("DELETE")),
            later(&world, (round / 2) % 5, client.ask("DELETE")),
        );
        let removed = [&gone, &gone_too].into_iter().filter(|answer| answer.status == 204).count();
        assert_eq!(removed, 1, "{gone:?} {gone_too:?}");
        for answer in [put, put_too] {
            if answer.status == 200 {
                before += 1;
            } else {
                refused(&answer, 401, "invalid_token");
                after += 1;
            }
        }
        refused(&world.send(client.put(&json!({}))).await, 401, "invalid_token");
        assert!(world.app.client(&client.id().parse().unwrap()).is_none(), "it is back");
    }
    assert!(before > 0 && after > 0, "{before} before, {after} after: no race was run");
}

#[tokio::test]
async fn a_change_brings_no_old_secret_back() {
    let world = open().await;
    let client = register(&world, &json!({})).await;
    for round in 0..crate::races().div_ceil(10) {
        let name = json!({ "client_name": format!("Round {round}") });
        let rotate = ask("POST", &format!("/clients/{}/secret", client.id())).json(&json!({}));
        let (put, rotated) =
            tokio::join!(later(&world, round % 4, client.put(&name)), world.admin(rotate));
        put.expect(200);
        let secret = rotated.expect(200).text_of("client_secret");
        world.issued.lock().unwrap().push(secret.clone());
        let about = ask("POST", "/oauth2/introspect").form(&[("token", "x")]);
        world.send(about.basic(&(client.id(), secret))).await.expect(200);
        let shown = world.send(client.ask("GET")).await.expect(200);
        assert_eq!(shown.text_of("client_name"), format!("Round {round}"));
    }
}

#[tokio::test]
async fn another_client_of_the_same_name_asks_anew() {
    let world = open().await;
    let client = register(&world, &json!({})).await;
    logged_in(&world, &client, "openid").await;
    let cookie = world.cookie("user").await;
    asked(&world, &client.id(), &cookie, "openid").await.expect(303);
    world.send(client.ask("DELETE")).await.expect(204);
    let user = world.app.store.user_by_name(&"user".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(world.app.store.allowed(user.id).await.unwrap(), []);
}

#[tokio::test]
async fn an_age_that_is_registered_counts_where_the_request_says_none() {
    let world = open().await;
    let client = register(&world, &json!({ "default_max_age": 0 })).await;
    let cookie = world.cookie("user").await;
    let to_login = asked(&world, &client.id(), &cookie, "openid").await.expect(303);
    assert!(to_login.location().starts_with("/login?"), "{to_login:?}");
}
