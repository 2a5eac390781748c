//! Token exchange: services that act for users, and every way to gain by it.

use serde_json::{Value, json};

use crate::{
    keys::Key,
    oauth::{Provider, opened, refused},
    world::{Answer, ORIGIN, PASSWORD, World, ask},
};

type Client = (String, String);

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// For whom the tokens of the application are.
const API: &str = "https://api.example";
const STOCK: &str = "https://stock.example";

/// A service that is one resource server and calls another.
async fn service(world: &World, id: &str, own: &str, next: &[&str]) -> Client {
    let more = json!({
        "grant_types": [GRANT], "exchange_audiences": [own], "audiences": next, "scopes": ["cart"],
    });
    world.add_client(id, "confidential", more).await
}

async fn orders(world: &World) -> Client {
    service(world, "orders", API, &[STOCK, "https://post.example"]).await
}

async fn exchange(world: &World, client: &Client, token: &str, more: &[(&str, &str)]) -> Answer {
    let mut fields =
        vec![("grant_type", GRANT), ("subject_token", token), ("subject_token_type", ACCESS_TOKEN)];
    fields.retain(|(name, _)| more.iter().all(|(own, _)| own != name));
    fields.extend(more.iter().filter(|(_, value)| !value.is_empty()));
    world.send(ask("POST", "/oauth2/token").form(&fields).basic(client)).await
}

async fn is_active(world: &World, client: &Client, token: &str) -> bool {
    let about = ask("POST", "/oauth2/introspect").basic(client).form(&[("token", token)]);
    world.send(about).await.expect(200).json()["active"] == true
}

/// A user's token, for the service `orders`.
async fn world() -> (Provider, Client, String, String) {
    let provider = Provider::new().await;
    let orders = orders(&provider.world).await;
    let browser = provider.world.cookie("user").await;
    let token = provider.tokens(&browser).await.text_of("access_token");
    (provider, orders, browser, token)
}

#[tokio::test]
async fn a_service_acts_for_the_user() {
    let (provider, orders, _, token) = world().await;
    let world = &provider.world;
    let (_, had) = opened(world, &token).await;
    let answer = exchange(world, &orders, &token, &[("scope", "cart")]).await.expect(200);
    let body = answer.json();
    assert_eq!(body["issued_token_type"], ACCESS_TOKEN);
    for absent in ["refresh_token", "id_token"] {
        assert_eq!(body[absent], Value::Null, "{absent}");
    }
    let given = answer.text_of("access_token");
    let (header, claims) = opened(world, &given).await;
    assert_eq!(header["typ"], "at+jwt");
    assert!(had["auth_time"].is_i64());
    assert_eq!(
        claims,
        json!({
            "iss": ORIGIN, "sub": had["sub"], "sid": had["sid"], "aud": STOCK, "scope": "cart",
            "client_id": "orders", "act": { "sub": "orders" }, "jti": claims["jti"],
            "iat": claims["iat"], "exp": claims["exp"], "auth_time": had["auth_time"],
        })
    );
    assert_ne!(claims["jti"], had["jti"]);
    assert!(claims["exp"].as_i64() <= had["exp"].as_i64(), "it lives no longer");
    let about = ask("POST", "/oauth2/introspect").basic(&orders).form(&[("token", &given)]);
    assert_eq!(world.send(about).await.json()["act"], json!({ "sub": "orders" }));
    for name in ["resource", "audience"] {
        let asked = [(name, "https://post.example")];
        let answer = exchange(world, &orders, &token, &asked).await.expect(200);
        let (_, claims) = opened(world, &answer.text_of("access_token")).await;
        assert_eq!(claims["aud"][0], "https://post.example", "{name}");
    }
}

#[tokio::test]
async fn scope_growth_by_exchange() {
    let (provider, orders, browser, token) = world().await;
    let world = &provider.world;
    for (asked, given) in [
        ("", Some("openid profile email cart")),
        ("cart", Some("cart")),
        ("cart cart", Some("cart")),
        // Not in the token, not the service's, not a scope.
        ("address", None),
        ("cart admin", None),
        ("cart\"", None),
    ] {
        let answer = exchange(world, &orders, &token, &[("scope", asked)]).await;
        match given {
            Some(given) => assert_eq!(answer.expect(200).text_of("scope"), given),
            None => refused(&answer, 400, "invalid_scope"),
        }
    }
    // What the service may not have is taken off, and a token for something never becomes one for nothing in particular.
    let code = provider.code(&browser, &[("scope", "cart")]).await;
    let redeemed = world.send(Provider::redemption(&code, &[]).basic(&provider.web)).await;
    let token = redeemed.expect(200).text_of("access_token");
    let more = json!({ "grant_types": [GRANT], "exchange_audiences": [API], "audiences": [STOCK] });
    let poor = world.add_client("poor", "confidential", more).await;
    for asked in ["", "cart"] {
        let answer = exchange(world, &poor, &token, &[("scope", asked)]).await;
        refused(&answer, 400, "invalid_scope");
    }
}

#[tokio::test]
async fn exchange_for_an_audience_that_is_not_the_services() {
    let (provider, orders, _, token) = world().await;
    let world = &provider.world;
    for more in [
        [("resource", API), ("audience", "")],
        [("audience", "https://evil.example"), ("resource", "")],
        [("audience", STOCK), ("resource", "https://post.example")],
    ] {
        refused(&exchange(world, &orders, &token, &more).await, 400, "invalid_target");
    }
    // With a token for the server itself a service could do what the user can do here.
    let here = service(world, "here", API, &[ORIGIN]).await;
    for more in [vec![], vec![("resource", ORIGIN)]] {
        refused(&exchange(world, &here, &token, &more).await, 400, "invalid_target");
    }
}

#[tokio::test]
async fn exchange_by_a_client_that_is_not_in_the_audience() {
    let (provider, _, _, token) = world().await;
    let world = &provider.world;
    let stock = service(world, "stock", STOCK, &["https://post.example"]).await;
    refused(&exchange(world, &stock, &token, &[]).await, 400, "invalid_request");
    // Neither by an audience that its own tokens may have, nor by the grant alone.
    let more = json!({ "grant_types": [GRANT], "audiences": [API, STOCK] });
    let caller = world.add_client("caller", "confidential", more).await;
    refused(&exchange(world, &caller, &token, &[]).await, 400, "invalid_request");
    refused(&exchange(world, &provider.web, &token, &[]).await, 400, "unauthorized_client");
    let more = json!({ "grant_types": [GRANT], "exchange_audiences": [API] });
    world.add_client("open", "public", more).await;
    let named = [
        ("grant_type", GRANT),
        ("client_id", "open"),
        ("subject_token", &token),
        ("subject_token_type", ACCESS_TOKEN),
    ];
    let answer = world.send(ask("POST", "/oauth2/token").form(&named)).await;
    refused(&answer, 400, "unauthorized_client");
}

#[tokio::test]
async fn exchange_of_something_else_than_a_users_access_token() {
    let (provider, orders, browser, token) = world().await;
    let world = &provider.world;
    let more = json!({ "grant_types": ["client_credentials"] });
    let robot = world.add_client("robot", "confidential", more).await;
    let own = ask("POST", "/oauth2/token").form(&[("grant_type", "client_credentials")]);
    let of_machine = world.send(own.basic(&robot)).await.expect(200).text_of("access_token");
    let tokens = provider.tokens(&browser).await;
    let (refresh, id) = (tokens.text_of("refresh_token"), tokens.text_of("id_token"));
    let forged = format!("{}AAAA", &token[..token.len() - 4]);
    for other in [&of_machine, &refresh, &id, &browser, &forged, "x"] {
        refused(&exchange(world, &orders, other, &[]).await, 400, "invalid_request");
    }
    let id_token = "urn:ietf:params:oauth:token-type:id_token";
    for wrong in [
        ("subject_token", ""),
        ("subject_token_type", ""),
        ("subject_token_type", id_token),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"),
        ("actor_token", token.as_str()),
    ] {
        refused(&exchange(world, &orders, &token, &[wrong]).await, 400, "invalid_request");
    }
}

#[tokio::test]
async fn exchange_of_an_ended_sessions_token() {
    let (provider, orders, browser, token) = world().await;
    let world = &provider.world;
    let given = exchange(world, &orders, &token, &[]).await.expect(200).text_of("access_token");
    assert!(is_active(world, &orders, &given).await);
    // One act ends the cookie, the application's token and the service's.
    provider.log_out(&browser).await;
    assert!(!is_active(world, &orders, &given).await);
    refused(&exchange(world, &orders, &token, &[]).await, 400, "invalid_request");
}

#[tokio::test]
async fn what_ends_the_token_or_the_service_ends_the_exchange() {
    let (provider, orders, browser, token) = world().await;
    let world = &provider.world;
    let given = exchange(world, &orders, &token, &[]).await.expect(200).text_of("access_token");
    // One token is ended alone: nothing more is given for it.
    let revoked = ask("POST", "/oauth2/revoke").form(&[("token", &token)]).basic(&provider.web);
    world.send(revoked).await.expect(200);
    refused(&exchange(world, &orders, &token, &[]).await, 400, "invalid_request");
    world.admin(ask("DELETE", "/clients/orders")).await;
    assert!(!is_active(world, &provider.web, &given).await);
    // A user who is disabled has no service that acts for them.
    let token = provider.tokens(&browser).await.text_of("access_token");
    let stock = service(world, "stock", API, &[STOCK]).await;
    exchange(world, &stock, &token, &[]).await.expect(200);
    world.admin(ask("POST", "/users/user/disable")).await;
    refused(&exchange(world, &stock, &token, &[]).await, 400, "invalid_request");
}

#[tokio::test]
async fn a_changed_password_ends_what_was_exchanged_before() {
    let world = World::new().await;
    // The tokens of the login itself are for the server, whose services are its resource servers.
    let inner = service(&world, "inner", ORIGIN, &[STOCK]).await;
    let tokens = world.tokens("user").await;
    let given = exchange(&world, &inner, &tokens.access, &[]).await.expect(200);
    let given = given.text_of("access_token");
    let new = json!({ "current_password": PASSWORD, "new_password": "a quite different long one" });
    let change = ask("POST", "/api/v1/password").bearer(&tokens.access).json(&new);
    assert!(world.send(change).await.status.is_success());
    assert!(!is_active(&world, &inner, &given).await);
    refused(&exchange(&world, &inner, &tokens.access, &[]).await, 400, "invalid_request");
    refused(&exchange(&world, &inner, &given, &[]).await, 400, "invalid_request");
}

#[tokio::test]
async fn a_chain_of_exchanges_gains_nothing_and_ends() {
    let (provider, orders, browser, token) = world().await;
    let world = &provider.world;
    let (_, first) = opened(world, &token).await;
    // In a ring, to find out whether a token can be kept alive by passing it on.
    let back = service(world, "back", STOCK, &[API]).await;
    let mut token = exchange(world, &orders, &token, &[("scope", "cart")]).await.expect(200);
    let mut actors = json!({ "sub": "orders" });
    for service in [&back, &orders, &back] {
        let before = token.text_of("access_token");
        // What was given up on the way does not come back.
        let grown = exchange(world, service, &before, &[("scope", "cart profile")]).await;
        refused(&grown, 400, "invalid_scope");
        token = exchange(world, service, &before, &[]).await.expect(200);
        let (_, claims) = opened(world, &token.text_of("access_token")).await;
        actors = json!({ "sub": service.0, "act": actors });
        assert_eq!(claims["act"], actors);
        assert_eq!((&claims["sub"], &claims["sid"]), (&first["sub"], &first["sid"]));
        assert_eq!(claims["scope"], "cart");
        assert!(claims["exp"].as_i64() <= first["exp"].as_i64());
    }
    let last = token.text_of("access_token");
    refused(&exchange(world, &orders, &last, &[]).await, 400, "invalid_request");
    assert!(is_active(world, &orders, &last).await);
    provider.log_out(&browser).await;
    assert!(!is_active(world, &orders, &last).await);
}

#[tokio::test]
async fn exchange_of_a_token_that_is_bound_to_a_key() {
    let (provider, orders, browser, token) = world().await;
    let (world, key) = (&provider.world, Key::new());
    // Whoever was called with it has not the key, and must not turn it into one that needs none.
    let code = provider.code(&browser, &[]).await;
    let redeemed = Provider::redemption(&code, &[]).basic(&provider.web);
    let bound = world.send(redeemed.header("dpop", &key.at_token())).await.expect(200);
    let bound = bound.text_of("access_token");
    refused(&exchange(world, &orders, &bound, &[]).await, 400, "invalid_request");
    // A service may bind what it gets to a key of its own.
    let fields = [
        ("grant_type", GRANT),
        ("subject_token", token.as_str()),
        ("subject_token_type", ACCESS_TOKEN),
    ];
    let asked = ask("POST", "/oauth2/token").form(&fields).basic(&orders);
    let given = world.send(asked.header("dpop", &key.at_token())).await.expect(200);
    assert_eq!(given.text_of("token_type"), "DPoP");
    let (_, claims) = opened(world, &given.text_of("access_token")).await;
    assert_eq!(claims["cnf"]["jkt"], key.thumbprint());
}
