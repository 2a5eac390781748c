//! Userinfo, and the metadata that says where it is.

use serde_json::{Value, json};
use symbolon::http::routes::{Access, ROUTES};

use crate::{
    oauth::{CALLBACK, Provider, opened, refused},
    world::{Answer, ORIGIN, World, ask},
};

const PATH: &str = "/oauth2/userinfo";

/// A server where something is known about the user.
async fn known() -> Provider {
    let provider = Provider::new().await;
    let profile = json!({
        "name": "A User", "locale": "ko", "email": "user@example.com", "email_verified": true,
        "phone_number": "+8225550100", "address": { "country": "KR", "locality": "Seoul" },
    });
    let put = ask("PUT", "/users/user/profile").json(&profile);
    let answer = provider.world.admin(put).await.expect(200);
    assert_eq!(answer.json()["profile"], profile);
    provider
}

async fn told(world: &World, method: &str, token: &str) -> Answer {
    world.send(ask(method, PATH).bearer(token)).await
}

#[tokio::test]
async fn each_scope_asks_for_its_own_claims() {
    let provider = known().await;
    let world = &provider.world;
    let browser = world.cookie("user").await;
    let sub =
        world.send(ask("GET", "/api/v1/session").cookie(&browser)).await.json()["sub"].clone();
    let name = json!({ "name": "A User", "locale": "ko", "preferred_username": "user" });
    let email = json!({ "email": "user@example.com", "email_verified": true });
    for (scope, claims) in [
        ("openid", vec![]),
        ("openid profile", vec![&name]),
        ("openid email cart", vec![&email]),
        ("openid phone", vec![&json!({ "phone_number": "+8225550100" })]),
        ("openid address", vec![&json!({ "address": { "country": "KR", "locality": "Seoul" } })]),
        ("openid profile email", vec![&name, &email]),
    ] {
        let code = provider.code(&browser, &[("scope", scope)]).await;
        let redeemed = Provider::redemption(&code, &[]).basic(&provider.web);
        let token = world.send(redeemed).await.expect(200).text_of("access_token");
        let mut expected = json!({ "sub": sub });
        for more in claims {
            expected.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        }
        for method in ["GET", "POST"] {
            let answer = told(world, method, &token).await.expect(200);
            assert_eq!(answer.json(), expected, "{scope}");
            assert_eq!(answer.headers["cache-control"], "no-store");
        }
    }
}

#[tokio::test]
async fn nothing_else_than_a_token_for_it_counts() {
    let provider = known().await;
    let world = &provider.world;
    let browser = world.cookie("user").await;
    let tokens = provider.tokens(&browser).await;
    let code = provider.code(&browser, &[("scope", "profile email")]).await;
    let redeemed = Provider::redemption(&code, &[]).basic(&provider.web);
    let without_openid = world.send(redeemed).await.expect(200).text_of("access_token");
    let first_party = world.tokens("user").await.access;
    let refresh = tokens.text_of("refresh_token");
    for token in [&tokens.text_of("id_token"), &without_openid, &first_party, &refresh, "x"] {
        let answer = told(world, "GET", token).await.expect(401);
        let challenge = answer.headers["www-authenticate"].to_str().unwrap();
        assert!(challenge.starts_with("Bearer") && challenge.contains("invalid_token"));
    }
    world.send(ask("GET", PATH).cookie(&browser)).await.expect(401);
    // What counts does so until the login ends.
    let token = tokens.text_of("access_token");
    told(world, "GET", &token).await.expect(200);
    provider.log_out(&browser).await;
    told(world, "GET", &token).await.expect(401);
}

#[tokio::test]
async fn a_token_comes_in_one_way() {
    let provider = known().await;
    let world = &provider.world;
    let browser = world.cookie("user").await;
    let token = provider.tokens(&browser).await.text_of("access_token");
    for scheme in ["Bearer", "bearer", "BEARER", "beArer"] {
        for method in ["GET", "POST"] {
            let header = format!("{scheme} {token}");
            world.send(ask(method, PATH).header("authorization", &header)).await.expect(200);
        }
    }
    // In a form (RFC 6750, section 2.2), and only there.
    let in_form = || ask("POST", PATH).form(&[("access_token", &token)]);
    let told = world.send(in_form()).await.expect(200);
    assert!(told.json()["sub"].is_string());
    world.send(ask("POST", PATH).form(&[("access_token", "x")])).await.expect(401);
    world.send(ask("POST", PATH).form(&[("another", &token)])).await.expect(401);
    world.send(ask("GET", PATH).form(&[("access_token", &token)])).await.expect(401);
    world.send(ask("POST", PATH).json(&json!({ "access_token": token }))).await.expect(401);
    let beside = ask("POST", PATH).bearer(&token).form(&[("other", "x")]);
    world.send(beside).await.expect(200);
    // In two places.
    let twice = ask("POST", PATH).form(&[("access_token", &token), ("access_token", &token)]);
    let in_query = format!("{PATH}?access_token={token}");
    for (two, code) in [
        (in_form().bearer(&token), "code"),
        (in_form().bearer("x"), "code"),
        (ask("POST", PATH).bearer(&token).bearer(&token), "code"),
        (twice, "error"),
        (ask("GET", &in_query).bearer(&token), "code"),
        (ask("POST", &in_query).form(&[("access_token", &token)]), "code"),
    ] {
        assert_eq!(world.send(two).await.expect(400).text_of(code), "invalid_request");
    }
}

/// RFC 9700, section 4.3.2: whatever stands in a query proves nothing, anywhere.
#[tokio::test]
async fn access_token_in_a_query() {
    let provider = known().await;
    let world = &provider.world;
    let browser = world.cookie("user").await;
    let of_app = provider.tokens(&browser).await.text_of("access_token");
    let own = world.tokens("user").await.access;
    for route in ROUTES.iter().filter(|route| !matches!(route.access, Access::Public)) {
        let path = route.path.replace("{sid}", "AAAAAAAAAAAAAAAAAAAAAA").replace("{client}", "web");
        for token in [&of_app, &own] {
            let with = |query: String| ask(&route.method.to_uppercase(), &format!("{path}{query}"));
            let without = world.send(with(String::new())).await.status;
            let answer = world.send(with(format!("?access_token={token}"))).await;
            // As without it, or refused for it.
            assert!(
                answer.status == without || answer.status == 400 && path == PATH,
                "{route:?}: {answer:?}"
            );
            assert!(!answer.text.contains("\"sub\""), "{route:?}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn it_says_what_is_so_now() {
    let provider = known().await;
    let world = &provider.world;
    let browser = world.cookie("user").await;
    let token = provider.tokens(&browser).await.text_of("access_token");
    let put = ask("PUT", "/users/user/profile").json(&json!({ "email": "new@example.com" }));
    world.admin(put).await.expect(200);
    assert_eq!(told(world, "GET", &token).await.expect(200).text_of("email"), "new@example.com");
    for wrong in [json!({ "sub": "x" }), json!({ "email": 1 }), json!({ "roles": "admin" })] {
        world.admin(ask("PUT", "/users/user/profile").json(&wrong)).await.expect(422);
    }
    assert_eq!(told(world, "GET", &token).await.expect(200).text_of("email"), "new@example.com");
}

#[tokio::test]
async fn it_is_signed_for_clients_that_ask_for_it() {
    let provider = known().await;
    let world = &provider.world;
    let browser = world.cookie("user").await;
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        let id = algorithm.to_lowercase();
        let more = json!({
            "first_party": true, "redirect_uris": [CALLBACK], "userinfo_algorithm": algorithm,
        });
        let client = world.add_client(&id, "confidential", more).await;
        let code = provider.code(&browser, &[("client_id", &id), ("scope", "openid email")]).await;
        let redeemed = world.send(Provider::redemption(&code, &[]).basic(&client)).await;
        let token = redeemed.expect(200).text_of("access_token");
        let answer = told(world, "GET", &token).await.expect(200);
        assert_eq!(answer.headers["content-type"], "application/jwt");
        let (header, claims) = opened(world, &answer.text).await;
        assert_eq!((&header["alg"], &header["typ"]), (&json!(algorithm), &json!("JWT")));
        assert_eq!((&claims["iss"], &claims["aud"]), (&json!(ORIGIN), &json!(id)));
        assert_eq!(claims["email"], "user@example.com");
        // It is neither an ID token nor an access token.
        assert_eq!((&claims["exp"], &claims["client_id"]), (&Value::Null, &Value::Null));
        told(world, "GET", &answer.text).await.expect(401);
    }
}

#[tokio::test]
async fn scripts_of_listed_origins_may_ask() {
    let world = World::new().await;
    world.add_client("spa", "public", json!({ "origins": ["https://spa.example"] })).await;
    for (method, path) in [
        ("POST", "/oauth2/token"),
        ("GET", PATH),
        ("POST", "/oauth2/revoke"),
        ("GET", "/.well-known/openid-configuration"),
        ("GET", "/.well-known/jwks.json"),
    ] {
        for (origin, listed) in [("https://spa.example", true), ("https://evil.example", false)] {
            let preflight = ask("OPTIONS", path)
                .header("origin", origin)
                .header("access-control-request-method", method);
            let request = ask(method, path).header("origin", origin);
            for answer in [world.send(preflight).await, world.send(request).await] {
                let allowed = answer.headers.get("access-control-allow-origin");
                assert_eq!(allowed.map(|it| it.to_str().unwrap()), listed.then_some(origin));
                assert!(!answer.headers.contains_key("access-control-allow-credentials"));
            }
        }
    }
}

#[tokio::test]
async fn the_metadata_says_what_is_on() {
    for base in ["", "/auth"] {
        let url = format!("{ORIGIN}{base}");
        let world = World::with(|config| config.public_url = url.parse().unwrap()).await;
        let well_known = [
            format!("{base}/.well-known/openid-configuration"),
            format!("{base}/.well-known/oauth-authorization-server"),
            format!("/.well-known/oauth-authorization-server{base}"),
            format!("/.well-known/openid-configuration{base}"),
        ];
        let document = world.send(ask("GET", &well_known[0])).await.expect(200);
        for path in &well_known {
            let again = world.send(ask("GET", path)).await.expect(200);
            assert_eq!(again.text, document.text, "{path}");
        }
        let document = document.json();
        assert_eq!(document["issuer"], url);
        // Every address is that of a route.
        for (name, at) in document.as_object().unwrap() {
            if name.ends_with("_endpoint") || name.ends_with("_uri") {
                let path = at.as_str().unwrap().strip_prefix(&url).unwrap();
                assert!(ROUTES.iter().any(|route| route.path == path), "{name}");
            }
        }
        // Every grant is known, and no other.
        let robot = json!({ "grant_types": ["client_credentials"] });
        let robot = world.add_client("robot", "confidential", robot).await;
        let token = format!("{base}/oauth2/token");
        let grants = document["grant_types_supported"].as_array().unwrap();
        for grant in grants.iter().map(|grant| grant.as_str().unwrap()).chain(["password"]) {
            let asked = ask("POST", &token).form(&[("grant_type", grant)]).basic(&robot);
            let answer = world.send(asked).await;
            match grant {
                "client_credentials" => drop(answer.expect(200)),
                "password" => refused(&answer, 400, "unsupported_grant_type"),
                _ => refused(&answer, 400, "unauthorized_client"),
            }
        }
    }
}

#[tokio::test]
async fn required_metadata() {
    let world = World::new().await;
    let answer = world.send(ask("GET", "/.well-known/openid-configuration")).await.expect(200);
    assert_eq!(answer.headers["content-type"], "application/json");
    let document = answer.json();
    // OpenID Connect Discovery, section 3, and RFC 8414, section 2.
    for (name, has) in [
        ("response_types_supported", "code"),
        ("subject_types_supported", "public"),
        ("id_token_signing_alg_values_supported", "RS256"),
        ("id_token_signing_alg_values_supported", "EdDSA"),
        ("userinfo_signing_alg_values_supported", "ES256"),
        ("scopes_supported", "openid"),
        ("scopes_supported", "phone"),
        ("claims_supported", "sub"),
        ("claims_supported", "email_verified"),
        ("claims_supported", "preferred_username"),
        ("token_endpoint_auth_methods_supported", "client_secret_post"),
        ("code_challenge_methods_supported", "S256"),
    ] {
        let all = document[name].as_array().unwrap_or_else(|| panic!("{name}"));
        assert!(all.contains(&json!(has)), "{name}: {has}");
    }
}
