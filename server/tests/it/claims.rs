//! Claims that are asked for by name (OpenID Connect Core, section 5.5), and those that the configuration adds.

use serde_json::{Value, json};
use symbolon::config::Config;
use symbolon_core::mapped::{MappedClaim, Place, Source};

use crate::{
    oauth::{CALLBACK, Provider, opened, sent},
    world::{Answer, World, ask},
};

/// A server where something is known about the user.
async fn known(edit: impl FnOnce(&mut Config)) -> Provider {
    let mut provider = Provider::new().await;
    provider.world = World::with(edit).await;
    let more =
        json!({ "first_party": true, "redirect_uris": [CALLBACK], "scopes": ["cart", "groups"] });
    provider.web = provider.world.add_client("web", "confidential", more).await;
    let profile = json!({
        "name": "A User", "email": "user@example.com", "email_verified": true,
        "phone_number": "+8225550100", "address": { "country": "KR" },
    });
    let world = &provider.world;
    world.admin(ask("PUT", "/users/user/profile").json(&profile)).await.expect(200);
    world
        .admin(ask("PUT", "/users/user/roles").json(&json!(["admin", "editor"])))
        .await
        .expect(200);
    provider
}

struct Told {
    answer: Answer,
    id: Value,
    userinfo: Value,
    access: Value,
}

async fn told(provider: &Provider, browser: &str, fields: &[(&str, &str)]) -> Told {
    let code = provider.code(browser, fields).await;
    let world = &provider.world;
    let redeemed = Provider::redemption(&code, &[]).basic(&provider.web);
    after(world, world.send(redeemed).await.expect(200)).await
}

async fn after(world: &World, answer: Answer) -> Told {
    let token = answer.text_of("access_token");
    let (_, id) = opened(world, &answer.text_of("id_token")).await;
    let (_, access) = opened(world, &token).await;
    let userinfo = world.send(ask("GET", "/oauth2/userinfo").bearer(&token)).await.expect(200);
    Told { answer, id, userinfo: userinfo.json(), access }
}

/// The members of these names.
fn only(object: &Value, names: &[&str]) -> Value {
    names.iter().filter_map(|name| Some((*name, object.get(*name)?.clone()))).collect()
}

const STANDARD: [&str; 6] =
    ["name", "email", "email_verified", "phone_number", "address", "preferred_username"];

#[tokio::test]
async fn each_claim_is_told_where_it_is_asked_for() {
    let provider = known(|_| ()).await;
    let browser = provider.world.cookie("user").await;
    for (claims, id, userinfo) in [
        (json!({}), json!({}), json!({})),
        (
            json!({ "id_token": { "email": null } }),
            json!({ "email": "user@example.com" }),
            json!({}),
        ),
        (
            json!({ "userinfo": { "name": { "essential": true }, "nickname": { "essential": true } } }),
            json!({}),
            json!({ "name": "A User" }),
        ),
        (
            json!({
                "id_token": { "preferred_username": null, "auth_time": { "essential": true } },
                "userinfo": { "phone_number": null, "address": null, "https://example.com/x": null },
                "other": 1,
            }),
            json!({ "preferred_username": "user" }),
            json!({ "phone_number": "+8225550100", "address": { "country": "KR" } }),
        ),
        // A value that the user has not is not told as if they had it.
        (
            json!({ "userinfo": {
                "email": { "value": "user@example.com" }, "name": { "values": ["A", "B"] },
                "email_verified": { "values": [false, true] },
            } }),
            json!({}),
            json!({ "email": "user@example.com", "email_verified": true }),
        ),
    ] {
        let fields = [("scope", "openid"), ("claims", &claims.to_string())];
        let said = told(&provider, &browser, &fields).await;
        assert_eq!(only(&said.id, &STANDARD), id, "{claims}");
        // What was asked for by an earlier request of this login is still told at userinfo.
        for (name, value) in userinfo.as_object().unwrap() {
            assert_eq!(&said.userinfo[name], value, "{claims}");
        }
        assert!(said.id["auth_time"].is_i64());
        assert_eq!(said.access.get("claims"), None);
        // With the next tokens, too.
        let next = said.answer.text_of("refresh_token");
        let next = provider.refresh(&provider.web, &next, &[]).await.expect(200);
        let next = after(&provider.world, next).await;
        assert_eq!(only(&next.id, &STANDARD), id, "{claims}");
        assert_eq!(next.userinfo, said.userinfo, "{claims}");
    }
    let metadata = ask("GET", "/.well-known/openid-configuration");
    let metadata = provider.world.send(metadata).await.json();
    assert_eq!(metadata["claims_parameter_supported"], true);
}

#[tokio::test]
async fn what_is_no_claims_parameter_goes_back_to_the_client() {
    let provider = known(|_| ()).await;
    let browser = provider.world.cookie("user").await;
    let long = format!(r#"{{"userinfo":{{"name":{{"value":"{}"}}}}}}"#, "x".repeat(2048));
    for (claims, error) in [
        ("no json", "invalid_request"),
        ("[]", "invalid_request"),
        (r#"{"id_token":[]}"#, "invalid_request"),
        (r#"{"id_token":{"email":true}}"#, "invalid_request"),
        (r#"{"id_token":{"email":{"essential":"yes"}}}"#, "invalid_request"),
        (r#"{"id_token":{"email":{"values":"x"}}}"#, "invalid_request"),
        (r#"{"id_token":{"email":{"values":[]}}}"#, "invalid_request"),
        (r#"{"id_token":{"email":{"value":1,"values":[1]}}}"#, "invalid_request"),
        (r#"{"id_token":{"email":null,"email":null}}"#, "invalid_request"),
        (&long, "invalid_request"),
        (r#"{"id_token":{"sub":{"value":"nobody"}}}"#, "login_required"),
        (r#"{"userinfo":{"sub":{"values":["nobody",1]}}}"#, "login_required"),
    ] {
        let fields = [("claims", claims), ("prompt", "none")];
        let answer = provider.authorize(&browser, &fields).await.expect(303);
        assert_eq!(sent(answer.location(), "error").as_deref(), Some(error), "{claims}");
    }
}

#[tokio::test]
async fn a_subject_that_is_asked_for_is_the_one_who_is_here() {
    let provider = known(|_| ()).await;
    let world = &provider.world;
    let (browser, other) = (world.cookie("user").await, world.cookie("other").await);
    let sub = told(&provider, &browser, &[]).await.id["sub"].as_str().unwrap().to_owned();
    for claims in [
        json!({ "id_token": { "sub": { "value": sub } } }),
        json!({ "id_token": { "sub": { "values": ["nobody", sub] } } }),
        json!({ "id_token": { "sub": { "value": sub } }, "userinfo": { "sub": { "value": sub } } }),
    ] {
        let claims = claims.to_string();
        let fields = [("claims", claims.as_str()), ("prompt", "none")];
        let answer = provider.authorize(&browser, &fields).await.expect(303);
        assert!(sent(answer.location(), "code").is_some(), "{claims} {answer:?}");
        let answer = provider.authorize(&other, &fields).await.expect(303);
        assert_eq!(sent(answer.location(), "error").as_deref(), Some("login_required"));
        // Without that, they may log in as who is meant.
        let answer = provider.authorize(&other, &fields[..1]).await.expect(303);
        assert!(answer.location().contains("/login"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_claim_by_name_needs_the_permission_for_its_scope() {
    let provider = known(|_| ()).await;
    let world = &provider.world;
    let more = json!({ "redirect_uris": [CALLBACK] });
    let theirs = world.add_client("theirs", "confidential", more).await;
    let browser = world.cookie("user").await;
    let claims = json!({ "userinfo": { "email": null }, "id_token": { "phone_number": null } });
    let claims = claims.to_string();
    let plain = [("client_id", "theirs"), ("scope", "openid"), ("prompt", "none")];
    let by_name = [&plain[..], &[("claims", claims.as_str())]].concat();
    let error = async |fields: &[(&str, &str)]| {
        let answer = provider.authorize(&browser, fields).await.expect(303);
        sent(answer.location(), "error").unwrap_or_default()
    };
    // The user allows the scope, and not what is asked for besides.
    allow(&provider, &browser, &plain[..2], &["openid"], &["email", "phone"]).await;
    assert_eq!(error(&plain).await, "");
    assert_eq!(error(&by_name).await, "consent_required");
    // The page names what the claims are of, and then it is allowed.
    let asked = [("client_id", "theirs"), ("scope", "openid"), ("claims", claims.as_str())];
    let code =
        allow(&provider, &browser, &asked, &["openid", "email", "phone"], &["address"]).await;
    assert_eq!(error(&by_name).await, "");
    let answer = world.send(Provider::redemption(&code, &[]).basic(&theirs)).await.expect(200);
    assert_eq!(answer.text_of("scope"), "openid", "the scope has not grown");
    let said = after(world, answer).await;
    assert_eq!(only(&said.id, &STANDARD), json!({ "phone_number": "+8225550100" }));
    assert_eq!(only(&said.userinfo, &STANDARD), json!({ "email": "user@example.com" }));
}

/// Allows what the consent page asks for, which names these scopes and not those. Returns the code.
async fn allow(
    provider: &Provider,
    browser: &str,
    fields: &[(&str, &str)],
    named: &[&str],
    unnamed: &[&str],
) -> String {
    let page = provider.authorize(browser, fields).await.expect(200);
    let has = |scope: &str| page.text.contains(&format!("id=\"scope-{scope}\""));
    assert!(named.iter().all(|scope| has(scope)), "{}", page.text);
    assert!(!unnamed.iter().any(|scope| has(scope)), "{}", page.text);
    let field = |name: &str| {
        let (_, rest) = page.text.split_once(&format!("name=\"{name}\" value=\"")).unwrap();
        rest.split_once('"').unwrap().0.replace("&amp;", "&").replace("&#38;", "&")
    };
    let (csrf_token, request) = (field("csrf_token"), field("request"));
    let form =
        [("csrf_token", csrf_token.as_str()), ("request", request.as_str()), ("decision", "allow")];
    let answer = ask("POST", "/oauth2/consent").cookie(browser).by_our_page().form(&form);
    let answer = provider.world.send(answer).await.expect(303);
    let code = sent(answer.location(), "code").unwrap_or_else(|| panic!("{answer:?}"));
    provider.world.issued.lock().unwrap().push(code.clone());
    code
}

fn mapped(name: &str, source: Source, places: &[Place]) -> MappedClaim {
    let places = places.to_vec();
    MappedClaim { name: name.into(), source, places, scope: None, clients: Vec::new() }
}

#[tokio::test]
async fn claims_that_the_configuration_adds() {
    const EVERYWHERE: [Place; 3] = [Place::IdToken, Place::Userinfo, Place::AccessToken];
    let provider = known(|config| {
        config.claims = vec![
            mapped("https://example.com/roles", Source::Roles, &EVERYWHERE),
            MappedClaim {
                scope: Some("groups".parse().unwrap()),
                ..mapped("groups", Source::Roles, &[Place::IdToken])
            },
            mapped("email", Source::Profile("email".into()), &[Place::IdToken]),
            mapped("mail", Source::Profile("email".into()), &[Place::AccessToken]),
            MappedClaim {
                clients: vec!["other".parse().unwrap()],
                ..mapped("tenant", Source::Constant("other".into()), &EVERYWHERE)
            },
            mapped(
                "realm",
                Source::Constant("example".into()),
                &[Place::AccessToken, Place::Userinfo],
            ),
        ];
    })
    .await;
    let world = &provider.world;
    let names = ["https://example.com/roles", "groups", "email", "mail", "tenant", "realm"];
    let roles = json!(["admin", "editor"]);
    let browser = world.cookie("user").await;
    let said = told(&provider, &browser, &[("scope", "openid")]).await;
    let id = json!({ "https://example.com/roles": roles, "email": "user@example.com" });
    assert_eq!(only(&said.id, &names), id);
    let userinfo = json!({ "https://example.com/roles": roles, "realm": "example" });
    assert_eq!(only(&said.userinfo, &names), userinfo);
    let access = json!({
        "https://example.com/roles": roles, "mail": "user@example.com", "realm": "example",
    });
    assert_eq!(only(&said.access, &names), access);
    // Introspection tells what the token says.
    let introspected = provider.introspect(&said.answer.text_of("access_token")).await;
    assert_eq!(only(&introspected, &names), access);
    // A scope asks for one; and what was refreshed says the same again.
    let said = told(&provider, &browser, &[("scope", "openid groups")]).await;
    assert_eq!(said.id["groups"], roles);
    let refresh = said.answer.text_of("refresh_token");
    let first = provider.refresh(&provider.web, &refresh, &[]).await.expect(200);
    world.admin(ask("PUT", "/users/user/roles").json(&json!(["guest"]))).await.expect(200);
    let again = provider.refresh(&provider.web, &refresh, &[]).await.expect(200);
    let (_, first) = opened(world, &first.text_of("access_token")).await;
    let (_, again) = opened(world, &again.text_of("access_token")).await;
    assert_eq!(first, again);
    // A machine has what is the same for everybody.
    let more = json!({ "grant_types": ["client_credentials"], "access_token_format": "opaque" });
    let robot = world.add_client("robot", "confidential", more).await;
    let asked = ask("POST", "/oauth2/token").form(&[("grant_type", "client_credentials")]);
    let token = world.send(asked.basic(&robot)).await.expect(200).text_of("access_token");
    let about = ask("POST", "/oauth2/introspect").basic(&robot).form(&[("token", &token)]);
    let said = world.send(about).await.expect(200).json();
    assert_eq!(only(&said, &names), json!({ "realm": "example" }));
}

/// What the server says by itself can be added by no configuration, or a claim would stand twice.
#[tokio::test]
async fn no_claim_of_the_protocol_can_be_added() {
    let provider = known(|_| ()).await;
    let browser = provider.world.cookie("user").await;
    let said = told(&provider, &browser, &[("scope", "openid")]).await;
    let introspected = provider.introspect(&said.answer.text_of("access_token")).await;
    for object in [&said.id, &said.userinfo, &said.access, &introspected] {
        for name in object.as_object().unwrap().keys() {
            let claim = mapped(name, Source::Constant("x".into()), &[Place::AccessToken]);
            assert!(claim.check().is_err(), "{name}");
        }
    }
}
