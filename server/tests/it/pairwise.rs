//! Pairwise subjects (OpenID Connect Core, section 8): what a client hears of a user says nothing to clients of another
//! sector.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Router, response::Redirect, routing::get};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use symbolon::{app::now, ops};

use crate::{
    oauth::{Client, Provider, sent},
    receiver::Receiver,
    world::{Answer, Ask, ORIGIN, World, ask},
};

/// A client of one host; `more` members.
async fn client(world: &World, id: &str, host: &str, more: Value) -> Client {
    let mut all = json!({
        "first_party": true, "redirect_uris": [format!("https://{host}/{id}")], "scopes": ["cart"],
        "subject_type": "pairwise",
    });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    world.add_client(id, "confidential", all).await
}

/// What a client and its resource servers have heard.
#[derive(Default)]
struct Heard(String);

impl Heard {
    /// Takes an answer, and every JWT in it as it reads.
    fn note(&mut self, answer: Answer) -> Answer {
        let parts = answer.text.split(['"', '.', '&', '=', '\n']);
        for text in parts.filter_map(|part| URL_SAFE_NO_PAD.decode(part).ok()) {
            self.0.push_str(&String::from_utf8_lossy(&text));
        }
        self.0.push_str(&answer.text);
        self.0.push_str(&format!("{:?}", answer.headers));
        answer
    }
}

/// One client's walk.
struct Walk<'a> {
    provider: &'a Provider,
    client: &'a Client,
    uri: String,
    heard: Heard,
}

impl<'a> Walk<'a> {
    fn new(provider: &'a Provider, client: &'a Client, host: &str) -> Self {
        let uri = format!("https://{host}/{}", client.0);
        Self { provider, client, uri, heard: Heard::default() }
    }

    fn own<'b>(&'b self, more: &[(&'b str, &'b str)]) -> Vec<(&'b str, &'b str)> {
        let own = [("client_id", self.client.0.as_str()), ("redirect_uri", self.uri.as_str())];
        [&own, more].concat()
    }

    async fn send(&mut self, ask: Ask) -> Answer {
        let answer = self.provider.world.send(ask).await;
        self.heard.note(answer)
    }

    async fn tokens(&mut self, browser: &str) -> Answer {
        let code = self.provider.code(browser, &self.own(&[])).await;
        let redeemed = Provider::redemption(&code, &[("redirect_uri", &self.uri)]);
        self.send(redeemed.basic(self.client)).await.expect(200)
    }

    async fn introspect(&mut self, asker: &Client, token: &str) -> Value {
        let about = ask("POST", "/oauth2/introspect").basic(asker).form(&[("token", token)]);
        self.send(about).await.expect(200).json()
    }
}

fn payload(token: &str) -> Value {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}

async fn public_sub(world: &World, browser: &str) -> String {
    world.send(ask("GET", "/api/v1/session").cookie(browser)).await.expect(200).text_of("sub")
}

async fn provider() -> Provider {
    let mut provider = Provider::new().await;
    provider.world = World::with(|config| {
        config.outbound.allowed_networks = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    provider
}

#[tokio::test]
async fn no_answer_has_the_subject_that_others_know() {
    let provider = provider().await;
    let (world, receiver) = (&provider.world, Receiver::start().await);
    let grant = "urn:ietf:params:oauth:grant-type:token-exchange";
    let api = world.add_client("api", "resource", json!({})).await;
    let more = json!({
        "grant_types": [grant], "exchange_audiences": ["https://api.example"],
        "audiences": ["https://stock.example"], "scopes": ["cart"],
    });
    let orders = world.add_client("orders", "confidential", more).await;
    let browser = world.cookie("user").await;
    let public = public_sub(world, &browser).await;
    let mut subjects = Vec::new();
    for (id, host, more) in [
        ("one", "a.example", json!({})),
        ("two", "a.example", json!({ "userinfo_algorithm": "ES256" })),
        ("other", "b.example", json!({ "access_token_format": "opaque" })),
    ] {
        let mut more = more;
        more["backchannel_logout_uri"] = json!(receiver.url("/out"));
        let client = client(world, id, host, more).await;
        let mut walk = Walk::new(&provider, &client, host);
        let answer = walk.tokens(&browser).await;
        let (token, id_token) = (answer.text_of("access_token"), answer.text_of("id_token"));
        let sub = payload(&id_token)["sub"].as_str().unwrap().to_owned();
        // The same in every answer.
        for asker in [&client, &api] {
            assert_eq!(walk.introspect(asker, &token).await["sub"], sub, "{id}");
        }
        let told = walk.send(ask("GET", "/oauth2/userinfo").bearer(&token)).await.expect(200);
        let told = if id == "two" { payload(&told.text) } else { told.json() };
        assert_eq!((&told["sub"], &told["preferred_username"]), (&json!(sub), &json!("user")));
        let fields =
            [("grant_type", "refresh_token"), ("refresh_token", &*answer.text_of("refresh_token"))];
        let refresh = ask("POST", "/oauth2/token").form(&fields).basic(&client);
        let refreshed = walk.send(refresh).await.expect(200);
        assert_eq!(payload(&refreshed.text_of("id_token"))["sub"], sub);
        // A service acts for whom it was told.
        let fields = [
            ("grant_type", grant),
            ("subject_token", token.as_str()),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ];
        let exchange = ask("POST", "/oauth2/token").form(&fields).basic(&orders);
        let given = walk.send(exchange).await.expect(200).text_of("access_token");
        assert_eq!(walk.introspect(&orders, &given).await["sub"], sub);
        // A cookie of the application's own session, as a guard beside it asks about it.
        let code = provider.code(&browser, &walk.own(&[])).await;
        let verifier = crate::oauth::VERIFIER;
        let body = json!({ "code": code, "redirect_uri": walk.uri, "code_verifier": verifier });
        let redeem = ask("POST", "/api/v1/code").basic(&client).json(&body);
        let answer = walk.send(redeem).await.expect(200);
        let cookie = answer.text_of("session_cookie");
        world.issued.lock().unwrap().push(cookie.clone());
        let said = walk.introspect(&client, &cookie).await;
        assert_eq!((&said["sub"], said.get("username")), (&json!(sub), None));
        // It comes back as a hint, and means the user who is here.
        let own = walk.own(&[("id_token_hint", &id_token), ("prompt", "none")]);
        let answer = provider.authorize(&browser, &own).await.expect(303);
        assert!(sent(answer.location(), "code").is_some(), "{answer:?}");
        walk.heard.note(answer);
        assert!(!walk.heard.0.contains(&public), "{id}: {}", walk.heard.0);
        subjects.push(sub);
    }
    // One sector, one subject; another sector, another; and none is the user's id.
    assert_eq!(subjects[0], subjects[1]);
    assert_ne!(subjects[0], subjects[2]);
    // The logout token names whom the client knows.
    let logout = ask("POST", "/api/v1/logout").cookie(&browser).by_our_page();
    world.send(logout).await.expect(204);
    let later = now() + std::time::Duration::from_secs(7200);
    for notice in world.app.store.due(later, 100, 100).await.unwrap() {
        ops::tell::deliver(&world.app, &notice).await.unwrap();
    }
    let mut told: Vec<String> = Vec::new();
    for request in receiver.hears(3).await {
        let token = request.split("logout_token=").nth(1).unwrap();
        world.issued.lock().unwrap().push(token.to_owned());
        told.push(payload(token)["sub"].as_str().unwrap().to_owned());
    }
    told.sort();
    subjects.sort();
    assert_eq!(told, subjects);
}

#[tokio::test]
async fn a_hint_of_another_user_or_of_the_public_subject_means_somebody_else() {
    let provider = provider().await;
    let world = &provider.world;
    let shop = client(world, "shop", "a.example", json!({})).await;
    let (browser, other) = (world.cookie("user").await, world.cookie("other").await);
    let mut walk = Walk::new(&provider, &shop, "a.example");
    let hint = walk.tokens(&other).await.text_of("id_token");
    let own = walk.own(&[("id_token_hint", &hint), ("prompt", "none")]);
    let answer = provider.authorize(&browser, &own).await.expect(303);
    assert_eq!(sent(answer.location(), "error").as_deref(), Some("login_required"));
    let answer = provider.authorize(&other, &own).await.expect(303);
    assert!(sent(answer.location(), "code").is_some(), "{answer:?}");
}

#[tokio::test]
async fn a_pairwise_subject_opens_nothing_and_nobody() {
    let provider = provider().await;
    let world = &provider.world;
    let shop = client(world, "shop", "a.example", json!({})).await;
    let browser = world.cookie("user").await;
    let token =
        Walk::new(&provider, &shop, "a.example").tokens(&browser).await.text_of("access_token");
    assert!(!world.access_counts(&token).await);
    // A user who is gone, or whose session is over, is told of to nobody.
    let userinfo = || ask("GET", "/oauth2/userinfo").bearer(&token);
    assert_eq!(world.check(userinfo()).await, 200);
    provider.log_out(&browser).await;
    assert_eq!(world.check(userinfo()).await, 401);
}

/// Adds a client through the admin API and returns the status and the error.
async fn added(world: &World, more: Value) -> (u16, String) {
    let mut body = json!({ "id": "app", "kind": "confidential", "subject_type": "pairwise" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = world.admin(ask("POST", "/clients").json(&body)).await;
    (answer.status.as_u16(), answer.text)
}

#[tokio::test]
async fn a_sector_is_one_host() {
    let world = World::new().await;
    for (more, says) in [
        (json!({}), "sector_identifier_uri"),
        (json!({ "redirect_uris": ["https://a.example/in", "https://b.example/in"] }), "one host"),
        (json!({ "redirect_uris": ["https://a.example/in"], "audiences": [ORIGIN] }), "own id"),
        (json!({ "sector_identifier_uri": "ftp://a.example/" }), ""),
        (json!({ "subject_type": "both" }), ""),
    ] {
        let (status, text) = added(&world, more.clone()).await;
        assert!((400..500).contains(&status), "{more}: {text}");
        assert!(text.contains(says), "{more}: {text}");
    }
    let (status, text) = added(&world, json!({ "redirect_uris": ["https://a.example/in"] })).await;
    assert_eq!(status, 201, "{text}");
    let metadata = world.send(ask("GET", "/.well-known/openid-configuration")).await.json();
    assert_eq!(metadata["subject_types_supported"], json!(["public", "pairwise"]));
}

/// The host of a sector: what it lists, and how often it was asked.
struct Sector {
    url: String,
    asked: Arc<AtomicUsize>,
    list: Arc<Mutex<String>>,
}

impl Sector {
    async fn new() -> Self {
        let (asked, list) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(String::new())));
        let (count, says) = (Arc::clone(&asked), Arc::clone(&list));
        let answer = move || {
            count.fetch_add(1, Ordering::SeqCst);
            let says = says.lock().unwrap().clone();
            async move { says }
        };
        let moved = || async { Redirect::temporary("/list") };
        let router = Router::new().route("/list", get(answer)).route("/moved", get(moved));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, asked, list }
    }

    fn client(&self, path: &str) -> Value {
        json!({
            "redirect_uris": ["https://a.example/in", "https://b.example/in"],
            "sector_identifier_uri": format!("{}{path}", self.url),
        })
    }
}

#[tokio::test]
async fn a_sector_lists_the_redirect_uris_of_its_clients() {
    let world = provider().await.world;
    let sector = Sector::new().await;
    for (list, taken) in [
        ("", false),
        ("{}", false),
        (r#"["https://a.example/in"]"#, false),
        (r#"["https://a.example/in", "https://b.example/in/"]"#, false),
        (r#"["https://a.example/in", 1, "https://b.example/in"]"#, false),
        (r#"["https://a.example/in", "https://b.example/in", "https://c.example"]"#, true),
    ] {
        *sector.list.lock().unwrap() = list.to_owned();
        let (status, text) = added(&world, sector.client("/list")).await;
        assert_eq!(status == 201, taken, "{list}: {text}");
    }
    // A list that is somewhere else is none of this host, and one without an end is not read.
    let (status, _) = added(&world, sector.client("/moved")).await;
    assert_eq!(status, 400);
    *sector.list.lock().unwrap() = format!("[{}]", vec!["\"x\""; 40_000].join(","));
    let (status, _) = added(&world, sector.client("/list")).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn ssrf_through_sector_identifier_uri() {
    let (world, sector) = (World::new().await, Sector::new().await);
    let port = sector.url.rsplit_once(':').unwrap().1;
    for host in ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"] {
        for scheme in ["http", "https"] {
            let mut more = sector.client("/list");
            more["sector_identifier_uri"] = json!(format!("{scheme}://{host}:{port}/list"));
            let (status, text) = added(&world, more).await;
            assert!(status == 400 && text.contains("not of a list"), "{scheme}://{host}: {text}");
        }
    }
    assert_eq!(sector.asked.load(Ordering::SeqCst), 0);
}
