//! Clients that register themselves (RFC 7591, RFC 7592), and every attack on it by its name.

use std::{io::ErrorKind, time::Duration};

use serde_json::{Value, json};
use symbolon::{
    app::now,
    config::{ClientRegistration, Config, sections::RegisterClient},
    ops::client_registration,
};
use symbolon_core::limit::Quota;

use crate::{
    assertion::Site,
    keys::{ASSERTION_TYPE, Key},
    oauth::{VERIFIER, s256, sent},
    world::{Answer, Ask, ORIGIN, World, ask},
};

pub(crate) const PATH: &str = "/oauth2/register";
pub(crate) const CALLBACK: &str = "https://theirs.example/in";

/// A registration that nobody holds up for how often they come.
pub(crate) fn on(mode: ClientRegistration) -> impl FnOnce(&mut Config) {
    move |config| {
        let scopes = vec!["cart".parse().unwrap()];
        let audiences = vec!["https://api.example".to_owned()];
        let policy = config.client_registration.clone();
        config.client_registration = RegisterClient { mode, scopes, audiences, ..policy };
        let endless = Quota { burst: 1_000_000, every: Duration::from_millis(1) };
        config.limits.client_registrations_per_address = endless;
    }
}

pub(crate) async fn open() -> World {
    World::with(on(ClientRegistration::Open)).await
}

/// What a client is told that has registered itself.
pub(crate) struct Registered(pub(crate) Value);

impl Registered {
    pub(crate) fn text(&self, member: &str) -> String {
        self.0[member].as_str().unwrap_or_else(|| panic!("no {member}: {}", self.0)).to_owned()
    }

    pub(crate) fn id(&self) -> String {
        self.text("client_id")
    }

    pub(crate) fn token(&self) -> String {
        self.text("registration_access_token")
    }

    pub(crate) fn basic(&self) -> (String, String) {
        (self.id(), self.text("client_secret"))
    }

    /// A request at the place where it is registered.
    pub(crate) fn ask(&self, method: &str) -> Ask {
        ask(method, &format!("{PATH}/{}", self.id())).bearer(&self.token())
    }

    pub(crate) fn put(&self, more: &Value) -> Ask {
        let mut body = json!({ "client_id": self.id(), "redirect_uris": [CALLBACK] });
        extend(&mut body, more);
        self.ask("PUT").json(&body)
    }
}

fn extend(object: &mut Value, more: &Value) {
    object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
}

/// A registration with these members besides a redirect URI.
pub(crate) fn registration(more: &Value) -> Ask {
    let mut body = json!({ "redirect_uris": [CALLBACK] });
    extend(&mut body, more);
    ask("POST", PATH).json(&body)
}

pub(crate) async fn register(world: &World, more: &Value) -> Registered {
    Registered(world.send(registration(more)).await.expect(201).json())
}

#[track_caller]
pub(crate) fn refused(answer: &Answer, status: u16, error: &str) {
    let found = (answer.status.as_u16(), answer.text_of("error"));
    assert_eq!(found, (status, error.to_owned()), "{answer:?}");
    assert_eq!(answer.headers["cache-control"], "no-store");
}

fn hidden(answer: &Answer, name: &str) -> String {
    let marked = format!("name=\"{name}\" value=\"");
    let at = answer.text.find(&marked).unwrap_or_else(|| panic!("no {name}: {answer:?}"));
    let rest = &answer.text[at + marked.len()..];
    rest[..rest.find('"').unwrap()].replace("&amp;", "&").replace("&#38;", "&")
}

/// The consent page of a client.
pub(crate) async fn asked(world: &World, id: &str, cookie: &str, scope: &str) -> Answer {
    let challenge = s256(VERIFIER);
    let query = [
        ("response_type", "code"),
        ("client_id", id),
        ("redirect_uri", CALLBACK),
        ("scope", scope),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    let query = serde_urlencoded::to_string(query).unwrap();
    let page = ask("GET", &format!("/oauth2/authorize?{query}"));
    world.send(page.header("accept", "text/html").cookie(cookie)).await
}

/// The tokens that a client gets, after its user has allowed it.
pub(crate) async fn logged_in(world: &World, client: &Registered, scope: &str) -> Answer {
    let cookie = world.cookie("user").await;
    let page = asked(world, &client.id(), &cookie, scope).await.expect(200);
    let (csrf, request) = (hidden(&page, "csrf_token"), hidden(&page, "request"));
    let form = [("csrf_token", &*csrf), ("request", &*request), ("decision", "allow")];
    let allow = ask("POST", "/oauth2/consent").by_our_page().cookie(&cookie).form(&form);
    let back = world.send(allow).await.expect(303);
    let code = sent(back.location(), "code").unwrap_or_else(|| panic!("no code: {back:?}"));
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &*code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    world.send(ask("POST", "/oauth2/token").basic(&client.basic()).form(&form)).await.expect(200)
}

#[tokio::test]
async fn a_client_registers_itself_logs_somebody_in_and_removes_itself() {
    let world = open().await;
    let discovery = world.send(ask("GET", "/.well-known/openid-configuration")).await.json();
    assert_eq!(discovery["registration_endpoint"], format!("{ORIGIN}{PATH}"));
    let metadata = json!({
        "client_name": "Their Shop", "client_name#ko": "남의 가게", "scope": "openid cart",
        "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
        "policy_uri": "https://theirs.example/policy", "tos_uri": "https://theirs.example/terms",
        "logo_uri": "https://theirs.example/logo.png", "contacts": ["admin@theirs.example"],
        "id_token_signed_response_alg": "ES256", "software_id": "shop", "subject_type": "public",
        "something_else": { "that": "nobody knows" },
    });
    let answer = world.send(registration(&metadata)).await.expect(201);
    assert_eq!(answer.headers["cache-control"], "no-store");
    let client = Registered(answer.json());
    for (name, value) in metadata.as_object().unwrap() {
        let told = &client.0[name];
        match name.as_str() {
            "something_else" => assert!(told.is_null()),
            "scope" => assert_eq!(told, "openid profile email address phone offline_access cart"),
            name => assert_eq!(told, value, "{name}"),
        }
    }
    assert_eq!(client.0["token_endpoint_auth_method"], "client_secret_basic");
    assert_eq!(client.0["application_type"], "web");
    assert_eq!(client.0["client_secret_expires_at"], 0);
    assert!(client.0["client_id_issued_at"].as_i64().unwrap() > 0);
    let place = format!("{ORIGIN}{PATH}/{}", client.id());
    assert_eq!(client.0["registration_client_uri"], place);

    // Consent is asked, and both pages on the way lead to what the client says of itself. Nothing is loaded from it.
    let cookie = world.cookie("other").await;
    let consent = asked(&world, &client.id(), &cookie, "openid cart").await.expect(200);
    assert!(consent.text.contains("Their Shop"), "{}", consent.text);
    assert!(consent.text.contains("id=\"app-policy\" href=\"https://theirs.example/policy\""));
    assert!(consent.text.contains("id=\"app-terms\" href=\"https://theirs.example/terms\""));
    assert!(!consent.text.contains("logo.png"));
    let to_login = asked(&world, &client.id(), "none", "openid cart").await.expect(303);
    let login = ask("GET", &format!("{}&ui_locales=ko", to_login.location()));
    let login = world.send(login).await.expect(200);
    assert!(login.text.contains("남의 가게") && login.text.contains("theirs.example/policy"));

    let tokens = logged_in(&world, &client, "openid cart").await;
    let access = tokens.text_of("access_token");
    assert_eq!(tokens.text_of("scope"), "openid cart");

    // What rests is a digest, so a secret is told once.
    let shown = world.send(client.ask("GET")).await.expect(200).json();
    assert!(shown["client_secret"].is_null() && shown["client_secret_expires_at"].is_null());
    assert_eq!(shown["registration_access_token"], client.token());
    assert!(client.token().starts_with("symg_"), "no other secret begins like this one");
    assert_eq!(shown["client_name"], "Their Shop");

    // Whoever runs the server sees it, and what it is.
    let list = world.admin(ask("GET", "/clients")).await.expect(200).json();
    let item = list.as_array().unwrap().iter().find(|item| item["id"] == client.id()).unwrap();
    assert_eq!((&item["registered"], &item["first_party"]), (&json!(true), &json!(false)));

    world.send(client.ask("DELETE")).await.expect(204);
    assert!(!world.access_counts(&access).await);
    let refresh =
        [("grant_type", "refresh_token"), ("refresh_token", &tokens.text_of("refresh_token"))];
    let refresh = ask("POST", "/oauth2/token").basic(&client.basic()).form(&refresh);
    refused(&world.send(refresh).await, 401, "invalid_client");
    for method in ["GET", "DELETE"] {
        refused(&world.send(client.ask(method)).await, 401, "invalid_token");
    }
    asked(&world, &client.id(), &cookie, "openid").await.expect(400);
}

#[tokio::test]
async fn there_is_no_registration_unless_it_is_on() {
    let world = World::new().await;
    let discovery = world.send(ask("GET", "/.well-known/openid-configuration")).await.json();
    assert!(discovery["registration_endpoint"].is_null());
    for (method, path) in [
        ("POST", PATH),
        ("GET", "/oauth2/register/a"),
        ("PUT", "/oauth2/register/a"),
        ("DELETE", "/oauth2/register/a"),
    ] {
        let request =
            ask(method, path).bearer("symg_x").json(&json!({ "redirect_uris": [CALLBACK] }));
        world.send(request).await.expect(404);
    }
    let invite = ask("POST", "/client-invitations").json(&json!({ "uses": 1, "life": "1d" }));
    world.admin(invite).await.expect(409);
}

#[tokio::test]
async fn registration_without_or_with_a_wrong_expired_or_overused_initial_token() {
    let world = World::with(on(ClientRegistration::Token)).await;
    let answer = world.send(registration(&json!({}))).await;
    refused(&answer, 401, "invalid_token");
    assert_eq!(answer.headers["www-authenticate"], "Bearer");

    let hour = Duration::from_hours(1);
    let expired = client_registration::invite(&world.app, 5, hour, now() - hour).await.unwrap();
    for wrong in ["nonsense", "symi_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", expired.expose()]
    {
        let answer = world.send(registration(&json!({})).bearer(wrong)).await;
        refused(&answer, 401, "invalid_token");
        assert_eq!(answer.headers["www-authenticate"], "Bearer error=\"invalid_token\"");
    }
    let invite = ask("POST", "/client-invitations").json(&json!({ "uses": 2, "life": "1h" }));
    let invited = world.admin(invite).await.expect(200);
    let token = invited.text_of("initial_access_token");
    // Like no other secret, for those who look for leaked ones.
    assert!(token.starts_with("symi_"), "{token}");
    assert_eq!(invited.text_of("registration_endpoint"), format!("{ORIGIN}{PATH}"));
    world.issued.lock().unwrap().push(token.clone());
    // It is no bearer token of anything else, and what is refused costs no use.
    assert!(!world.access_counts(&token).await);
    let wrong = registration(&json!({ "redirect_uris": ["javascript:alert(1)"] })).bearer(&token);
    refused(&world.send(wrong).await, 400, "invalid_redirect_uri");
    for _ in 0..2 {
        world.send(registration(&json!({})).bearer(&token)).await.expect(201);
    }
    refused(&world.send(registration(&json!({})).bearer(&token)).await, 401, "invalid_token");

    for body in [
        json!({ "uses": 0, "life": "1h" }),
        json!({ "uses": 1001, "life": "1h" }),
        json!({ "uses": 1, "life": "91d" }),
        json!({ "uses": 1, "life": "0s" }),
        json!({ "uses": 1, "life": "soon" }),
    ] {
        world.admin(ask("POST", "/client-invitations").json(&body)).await.expect(400);
    }
}

#[tokio::test]
async fn one_use_of_an_initial_token_makes_one_client_however_many_ask() {
    let world = World::with(on(ClientRegistration::Token)).await;
    let token =
        client_registration::invite(&world.app, 3, Duration::from_hours(1), now()).await.unwrap();
    let all = (0..16).map(|_| world.send(registration(&json!({})).bearer(token.expose())));
    let answers = futures_util::future::join_all(all).await;
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(made, 3);
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        refused(answer, 401, "invalid_token");
    }
}

#[tokio::test]
async fn somebody_elses_redirect() {
    let world = open().await;
    let check = async |uris: Value, application: &str| {
        let body = json!({ "redirect_uris": uris, "application_type": application });
        let answer = world.send(ask("POST", PATH).json(&body)).await;
        refused(&answer, 400, "invalid_redirect_uri");
    };
    for uri in [
        "javascript:alert(1)",
        "data:text/html,x",
        "http://theirs.example/in",
        "http://127.0.0.1.evil.example/",
        "https://theirs.example/#part",
        "https://*.theirs.example/in",
        "https://user@theirs.example/",
        "https://ours.example\\@evil.example/",
        "myapp:/in",
        "//theirs.example/in",
        "",
    ] {
        for application in ["web", "native"] {
            check(json!([uri]), application).await;
            check(json!([CALLBACK, uri]), application).await;
        }
    }
    check(json!(["com.example.app:/in"]), "web").await;
    check(json!([]), "web").await;
    check(json!("https://theirs.example/in"), "web").await;
    let none = ask("POST", PATH).json(&json!({ "client_name": "Shop" }));
    refused(&world.send(none).await, 400, "invalid_redirect_uri");
    for uri in ["com.example.app:/in", "http://127.0.0.1/in", "https://theirs.example/in"] {
        let body = json!({ "redirect_uris": [uri], "application_type": "native" });
        world.send(ask("POST", PATH).json(&body)).await.expect(201);
    }
}

#[tokio::test]
async fn what_is_wrong_is_told_by_member() {
    let world = open().await;
    for (more, member) in [
        (json!({ "grant_types": ["implicit"] }), "grant_types"),
        (json!({ "grant_types": ["client_credentials"] }), "grant_types"),
        (json!({ "response_types": ["token"] }), "response_types"),
        (json!({ "response_types": ["code", "code id_token"] }), "response_types"),
        (json!({ "response_types": [] }), "response_types"),
        (json!({ "response_types": "code" }), "response_types"),
        (json!({ "grant_types": ["refresh_token"], "response_types": ["code"] }), "response_types"),
        (
            json!({ "token_endpoint_auth_method": "client_secret_jwt" }),
            "token_endpoint_auth_method",
        ),
        (json!({ "token_endpoint_auth_method": "private_key_jwt" }), "token_endpoint_auth_method"),
        (
            json!({ "token_endpoint_auth_method": "none", "jwks_uri": "https://a.example/" }),
            "jwks_uri",
        ),
        (json!({ "jwks_uri": "file:///etc/passwd" }), "jwks_uri"),
        (json!({ "jwks": { "keys": [{ "kty": "oct", "k": "AAAA" }] } }), "jwks"),
        (json!({ "id_token_signed_response_alg": "none" }), "id_token_signed_response_alg"),
        (json!({ "id_token_signed_response_alg": "HS256" }), "id_token_signed_response_alg"),
        (json!({ "userinfo_signed_response_alg": "none" }), "userinfo_signed_response_alg"),
        (json!({ "request_object_signing_alg": "none" }), "request_object_signing_alg"),
        (
            json!({ "id_token_encrypted_response_alg": "RSA-OAEP" }),
            "id_token_encrypted_response_alg",
        ),
        (json!({ "require_signed_request_object": true }), "require_signed_request_object"),
        (json!({ "subject_type": "none" }), "subject_type"),
        (json!({ "scope": "openid admin" }), "scope"),
        (json!({ "scope": ["openid"] }), "scope"),
        (json!({ "default_max_age": -1 }), "default_max_age"),
        (json!({ "default_max_age": "soon" }), "default_max_age"),
        (json!({ "client_name": "bank\u{202e}knab" }), "client_name"),
        (json!({ "client_name": "x".repeat(200) }), "client_name"),
        (json!({ "client_name#ko\n": "x" }), "client_name"),
        (json!({ "policy_uri": "javascript:alert(1)" }), "policy_uri"),
        (json!({ "tos_uri": "http://theirs.example/" }), "tos_uri"),
        (json!({ "contacts": vec!["x"; 17] }), "contacts"),
        (json!({ "application_type": "toy" }), "application_type"),
        (json!({ "backchannel_logout_uri": "file:///x" }), "backchannel_logout_uri"),
        (json!({ "frontchannel_logout_uri": "https://evil.example/" }), "frontchannel_logout_uri"),
        (json!({ "post_logout_redirect_uris": ["javascript:x"] }), "post_logout_redirect_uris"),
        (json!({ "dpop_bound_access_tokens": "yes" }), "dpop_bound_access_tokens"),
    ] {
        let answer = world.send(registration(&more)).await;
        refused(&answer, 400, "invalid_client_metadata");
        let told = answer.text_of("error_description");
        assert!(told.starts_with(&format!("{member}: ")), "{more}: {told}");
    }
    // Several at once, each by its name.
    let several = json!({ "default_max_age": -1, "tos_uri": 1, "contacts": [""] });
    let told = world.send(registration(&several)).await.text_of("error_description");
    for member in ["default_max_age", "tos_uri", "contacts"] {
        assert!(told.contains(&format!("{member}: ")), "{told}");
    }
    // What is null or empty is not there.
    let empty = json!({ "client_name": null, "tos_uri": "", "jwks": null });
    let client = register(&world, &empty).await;
    assert!(client.0["client_name"].is_null() && client.0["tos_uri"].is_null());
}

#[tokio::test]
async fn bodies_that_are_no_metadata() {
    let world = open().await;
    let many: Vec<_> = (0..300).map(|n| format!("https://theirs.example/{n}")).collect();
    let long = format!("{{\"redirect_uris\":[\"{CALLBACK}\"],\"x\":\"{}\"}}", "x".repeat(70_000));
    let deep = format!("{{\"x\":{}1{}}}", "[".repeat(1000), "]".repeat(1000));
    let members: Vec<_> = (0..100).map(|n| format!("\"m{n}\":1")).collect();
    let members = format!("{{{}}}", members.join(","));
    let twice =
        format!("{{\"redirect_uris\":[\"{CALLBACK}\"],\"redirect_uris\":[\"{CALLBACK}\"]}}");
    for body in ["", "[]", "null", "\"x\"", "{", &long, &deep, &members, &twice] {
        let request = ask("POST", PATH).header("content-type", "application/json");
        let answer = world.send(request.raw(body.to_owned())).await;
        refused(&answer, 400, "invalid_client_metadata");
    }
    let answer = world.send(ask("POST", PATH).json(&json!({ "redirect_uris": many }))).await;
    refused(&answer, 400, "invalid_redirect_uri");
    let form = ask("POST", PATH).form(&[("redirect_uris", CALLBACK)]);
    refused(&world.send(form).await, 400, "invalid_client_metadata");
}

#[tokio::test]
async fn privilege_growth_by_registration() {
    let world = open().await;
    let wants = json!({
        "id": "symbolon", "client_id": "symbolon", "kind": "resource", "first_party": true,
        "audiences": [ORIGIN], "exchange_audiences": [ORIGIN], "origins": ["https://evil.example"],
        "browser": { "cart": "write" }, "declared": true, "pkce_required": false,
        "scopes": ["admin"], "token_type": "JWT", "token_endpoint_audience": true,
        "client_secret": "chosen-by-the-client-itself-0123456789",
    });
    let client = register(&world, &wants).await;
    assert!(client.id().starts_with("dyn-") && client.text("client_secret").starts_with("symc_"));
    let shown = world.admin(ask("GET", &format!("/clients/{}", client.id()))).await.json();
    assert_eq!((&shown["kind"], &shown["first_party"]), (&json!("confidential"), &json!(false)));
    assert_eq!(shown["audiences"], json!(["https://api.example"]));
    for nothing in ["exchange_audiences", "origins"] {
        assert_eq!(shown[nothing], json!([]), "{nothing}");
    }
    assert_eq!((&shown["pkce_required"], &shown["declared"]), (&json!(true), &json!(false)));
    assert_eq!((&shown["scopes"], &shown["browser"]), (&json!(["cart"]), &json!({})));

    // Nothing that takes trust is open to it.
    let basic = client.basic();
    let password =
        json!({ "username": "user", "password": crate::world::PASSWORD, "deliver": "token" });
    let login = ask("POST", "/api/v1/login").basic(&basic).json(&password);
    world.send(login).await.expect(403);
    world.send(ask("POST", "/api/v1/sessions").basic(&basic).json(&json!({}))).await.expect(403);
    let browser = world.cookie("user").await;
    let session = world.send(ask("GET", "/api/v1/session").cookie(&browser)).await.expect(200);
    let data = format!("/api/v1/sessions/{}/data", session.text_of("sid"));
    let patch = ask("PATCH", &data).json(&json!({ "note": "was here" }));
    for touch in [patch, ask("GET", &format!("{data}?seen=true"))] {
        world.send(touch.basic(&basic)).await.expect(403);
    }
    let question = ask("POST", "/follow").basic(&basic).json(&json!({}));
    assert!([400, 403].contains(&world.send(question).await.status.as_u16()));
    let cookie = world.cookie("user").await;
    let about = ask("POST", "/oauth2/introspect").basic(&basic).form(&[("token", &*cookie)]);
    assert_eq!(world.send(about).await.expect(200).json(), json!({ "active": false }));
    for grant in ["client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"] {
        let form = [("grant_type", grant), ("subject_token", "x")];
        let answer = world.send(ask("POST", "/oauth2/token").basic(&basic).form(&form)).await;
        refused(&answer, 400, "unauthorized_client");
    }
    // Consent is asked, whatever it says; and again for more.
    for scope in ["openid", "openid cart"] {
        asked(&world, &client.id(), &cookie, scope).await.expect(200);
    }
    // Growing afterwards is as far away.
    let more = json!({ "first_party": true, "kind": "resource", "scope": "openid admin" });
    refused(&world.send(client.put(&more)).await, 400, "invalid_client_metadata");
    let more = json!({ "first_party": true, "kind": "resource", "audiences": [ORIGIN] });
    world.send(client.put(&more)).await.expect(200);
    let after = world.admin(ask("GET", &format!("/clients/{}", client.id()))).await.json();
    assert_eq!((&after["first_party"], &after["audiences"]), (&json!(false), &shown["audiences"]));
}

#[tokio::test]
async fn keys_from_where_a_client_registered_them() {
    let (key, thief) = (Key::new(), Key::new());
    let site = Site::new(json!({ "keys": [key.named("1")] })).await;
    let world = World::with(|config| {
        on(ClientRegistration::Open)(config);
        config.outbound.allowed_networks = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    let uri = format!("http://{}/jwks", site.address);
    let wants = json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": uri });
    let client = register(&world, &wants).await;
    let about = |key: &Key| {
        let assertion = key.assertion(&client.id(), "1", &json!({}));
        let form = [
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", &*assertion),
            ("token", "x"),
        ];
        ask("POST", "/oauth2/introspect").form(&form)
    };
    world.send(about(&key)).await.expect(200);
    refused(&world.send(about(&thief)).await, 401, "invalid_client");
}

#[tokio::test]
async fn a_sector_lists_the_redirect_uris() {
    let site = Site::new(json!([CALLBACK, "https://other.example/in"])).await;
    let world = World::with(|config| {
        on(ClientRegistration::Open)(config);
        config.outbound.allowed_networks = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    let uri = format!("http://{}/jwks", site.address);
    let wants = |uris: Value| json!({ "subject_type": "pairwise", "sector_identifier_uri": uri, "redirect_uris": uris });
    let client = register(&world, &wants(json!([CALLBACK, "https://other.example/in"]))).await;
    assert_eq!(client.0["subject_type"], "pairwise");
    let third = "https://third.example/in";
    for uris in [json!([CALLBACK, third]), json!([third])] {
        let answer = world.send(registration(&wants(uris.clone()))).await;
        refused(&answer, 400, "invalid_client_metadata");
        // Nor later.
        refused(&world.send(client.put(&wants(uris))).await, 400, "invalid_client_metadata");
    }
    // Without a list the redirect URIs have one host.
    let hosts = json!([CALLBACK, "https://other.example/in"]);
    let two = json!({ "subject_type": "pairwise", "redirect_uris": hosts });
    refused(&world.send(registration(&two)).await, 400, "invalid_client_metadata");
    register(&world, &json!({ "subject_type": "pairwise" })).await;
}

#[tokio::test]
async fn ssrf_by_registration() {
    let world = open().await;
    let inside = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    inside.set_nonblocking(true).unwrap();
    let port = inside.local_addr().unwrap().port();
    let key = Key::new();
    for host in ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"] {
        let uri = format!("http://{host}:{port}/jwks");
        let wants = json!({
            "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": uri,
            "backchannel_logout_uri": uri, "logo_uri": null, "request_uris": [uri],
        });
        let sector = json!({ "subject_type": "pairwise", "sector_identifier_uri": uri });
        let refusal = world.send(registration(&sector)).await;
        refused(&refusal, 400, "invalid_client_metadata");
        // Nobody learns what this server reaches.
        let says = "sector_identifier_uri: it is not of a list of all of the redirect_uris";
        assert_eq!(refusal.text_of("error_description"), says);
        let client = register(&world, &wants).await;
        let assertion = key.assertion(&client.id(), "1", &json!({}));
        let form = [
            ("grant_type", "authorization_code"),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", &*assertion),
        ];
        let answer = world.send(ask("POST", "/oauth2/token").form(&form)).await;
        refused(&answer, 503, "temporarily_unavailable");
    }
    let nobody = inside.accept().map(drop).map_err(|error| error.kind());
    assert_eq!(nobody, Err(ErrorKind::WouldBlock), "something inside was asked");
}

#[tokio::test]
async fn registrations_are_bounded() {
    let world = World::with(|config| {
        on(ClientRegistration::Open)(config);
        config.client_registration.clients_max = 2;
        let burst = 6;
        let every = Duration::from_hours(1);
        config.limits.client_registrations_per_address = Quota { burst, every };
    })
    .await;
    // Clients of an administrator do not count.
    world.add_client("web", "confidential", json!({})).await;
    let first = register(&world, &json!({})).await;
    register(&world, &json!({})).await;
    let full = world.send(registration(&json!({}))).await;
    refused(&full, 503, "temporarily_unavailable");
    assert!(full.headers.contains_key("retry-after"));
    world.send(first.ask("DELETE")).await.expect(204);
    register(&world, &json!({})).await;
    // From one address there are so many tries, whatever becomes of them; from others there are more.
    world.send(registration(&json!({ "scope": 1 }))).await.expect(400);
    let limited = world.send(registration(&json!({}))).await;
    refused(&limited, 429, "temporarily_unavailable");
    assert!(limited.headers.contains_key("retry-after"));
    let elsewhere = registration(&json!({})).at_address([192, 0, 2, 1].into());
    refused(&world.send(elsewhere).await, 503, "temporarily_unavailable");
}
