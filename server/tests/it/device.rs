//! Devices without a browser: the walk of one, and every way to get in through it.

use std::time::Duration;

use serde_json::json;
use symbolon::{
    app::now,
    ops::{self, code::Holder, device::NotYet},
};
use symbolon_core::{
    family::Binding,
    oauth::{
        device::{LIFE, Over},
        resource::Resources,
    },
    secret::SecretText,
    session::Device,
};

use crate::{
    oauth::{CALLBACK, opened, refused},
    world::{Answer, Ask, ORIGIN, World, ask},
};

type Client = (String, String);

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// A server with a public client of ours on televisions.
struct Room {
    world: World,
    tv: Client,
}

/// What a device has been told.
struct Codes {
    device: String,
    user: String,
}

/// The value of a hidden field of a page.
fn hidden(answer: &Answer, name: &str) -> String {
    let marked = format!("name=\"{name}\" value=\"");
    let at = answer.text.find(&marked).unwrap_or_else(|| panic!("no {name}: {answer:?}"));
    let rest = &answer.text[at + marked.len()..];
    rest[..rest.find('"').unwrap()].to_owned()
}

fn named(ask: Ask, client: &Client, fields: &[(&str, &str)]) -> Ask {
    if client.1.is_empty() {
        ask.form(&[fields, &[("client_id", client.0.as_str())]].concat())
    } else {
        ask.form(fields).basic(client)
    }
}

impl Room {
    async fn new() -> Self {
        let world = World::new().await;
        let more = json!({
            "name": "Big Screen", "first_party": true, "scopes": ["cart"],
            "grant_types": [GRANT, "refresh_token"],
        });
        let tv = world.add_client("tv", "public", more).await;
        Self { world, tv }
    }

    async fn begun(&self, client: &Client, fields: &[(&str, &str)]) -> Answer {
        let ask = ask("POST", "/oauth2/device_authorization");
        self.world.send(named(ask, client, fields)).await
    }

    async fn begin(&self) -> Codes {
        let answer = self.begun(&self.tv, &[("scope", "openid cart")]).await.expect(200);
        let codes =
            Codes { device: answer.text_of("device_code"), user: answer.text_of("user_code") };
        self.world.issued.lock().unwrap().push(codes.device.clone());
        codes
    }

    async fn poll_as(&self, client: &Client, code: &str) -> Answer {
        let fields = [("grant_type", GRANT), ("device_code", code)];
        self.world.send(named(ask("POST", "/oauth2/token"), client, &fields)).await
    }

    async fn poll(&self, code: &str) -> Answer {
        self.poll_as(&self.tv, code).await
    }

    /// The page in this browser.
    async fn page(&self, cookie: &str) -> Answer {
        self.world.send(ask("GET", "/device").cookie(cookie)).await.expect(200)
    }

    async fn post(&self, cookie: &str, csrf: &str, more: &[(&str, &str)]) -> Answer {
        let fields = [&[("csrf_token", csrf)], more].concat();
        let post = ask("POST", "/device").cookie(cookie).by_our_page();
        self.world.send(post.header("accept", "text/html").form(&fields)).await
    }

    async fn types(&self, cookie: &str, user_code: &str) -> Answer {
        let csrf = hidden(&self.page(cookie).await, "csrf_token");
        self.post(cookie, &csrf, &[("user_code", user_code)]).await
    }

    async fn decides(&self, cookie: &str, user_code: &str, decision: &str) -> Answer {
        let csrf = hidden(&self.page(cookie).await, "csrf_token");
        self.post(cookie, &csrf, &[("user_code", user_code), ("decision", decision)]).await
    }

    async fn log_out(&self, cookie: &str) {
        let logout = ask("POST", "/api/v1/logout").cookie(cookie).by_our_page();
        self.world.send(logout).await.expect(204);
    }

    async fn refresh(&self, token: &str) -> Answer {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token)];
        self.world.send(named(ask("POST", "/oauth2/token"), &self.tv, &fields)).await
    }
}

#[tokio::test]
async fn the_whole_walk_of_a_device() {
    let room = Room::new().await;
    let answer = room.begun(&room.tv, &[("scope", "openid cart admin")]).await.expect(200);
    assert_eq!(answer.headers["cache-control"], "no-store");
    let body = answer.json();
    let user_code = answer.text_of("user_code");
    assert_eq!((&body["expires_in"], &body["interval"]), (&json!(600), &json!(5)));
    assert_eq!(body["verification_uri"], format!("{ORIGIN}/device"));
    let complete = format!("{ORIGIN}/device?user_code={user_code}");
    assert_eq!(body["verification_uri_complete"], complete);
    let device_code = answer.text_of("device_code");
    refused(&room.poll(&device_code).await, 400, "authorization_pending");
    refused(&room.poll(&device_code).await, 400, "slow_down");

    // The link of the device leads to the login, and from there to the page with the code in its field.
    let here = complete.strip_prefix(ORIGIN).unwrap();
    let to_login = room.world.send(ask("GET", here)).await.expect(303);
    assert!(to_login.location().starts_with("/login?next=%2Fdevice%3Fuser_code%3D"));
    let browser = room.world.cookie("user").await;
    let page = room.world.send(ask("GET", here).cookie(&browser)).await.expect(200);
    assert!(page.text.contains(&format!("value=\"{user_code}\"")), "{}", page.text);
    // A code is taken as people type it, and even our own application asks.
    let typed = user_code.to_lowercase().replace('-', " ");
    let question = room.types(&browser, &typed).await.expect(200);
    for said in ["Big Screen", user_code.as_str(), "id=\"warning\"", "id=\"scope-cart\""] {
        assert!(question.text.contains(said), "{said}: {}", question.text);
    }
    assert!(!question.text.contains("scope-admin"));
    refused(&room.poll(&device_code).await, 400, "slow_down");
    let decided = room.decides(&browser, &hidden(&question, "user_code"), "allow").await;
    assert_eq!(decided.expect(303).location(), "/device?decided=allow");

    let tokens = room.poll(&device_code).await.expect(200);
    assert_eq!(tokens.text_of("scope"), "openid cart");
    assert!(tokens.json()["id_token"].is_string());
    let refreshed = room.refresh(&tokens.text_of("refresh_token")).await.expect(200);
    // It is a session under that of the browser, and ends with it.
    room.log_out(&browser).await;
    let late = room.refresh(&refreshed.text_of("refresh_token")).await;
    refused(&late, 400, "invalid_grant");
}

#[tokio::test]
async fn csrf_on_a_device() {
    let room = Room::new().await;
    let codes = room.begin().await;
    let (browser, other) = (room.world.cookie("user").await, room.world.cookie("other").await);
    let of_other = hidden(&room.page(&other).await, "csrf_token");
    let allow = [("user_code", codes.user.as_str()), ("decision", "allow")];
    for csrf in ["", &of_other] {
        room.post(&browser, csrf, &allow).await.expect(403);
        room.post(&browser, csrf, &allow[..1]).await.expect(403);
    }
    let own = hidden(&room.page(&browser).await, "csrf_token");
    let fields = [&allow[..], &[("csrf_token", own.as_str())]].concat();
    let foreign = ask("POST", "/device").cookie(&browser).form(&fields);
    let foreign = foreign.header("origin", "https://evil.example");
    room.world.send(foreign.header("sec-fetch-site", "cross-site")).await.expect(403);
    // A link decides nothing, and pages of others cannot frame ours.
    let link = format!("/device?user_code={}&decision=allow", codes.user);
    let page = room.world.send(ask("GET", &link).cookie(&browser)).await.expect(200);
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("frame-ancestors 'none'"));
    refused(&room.poll(&codes.device).await, 400, "authorization_pending");
}

#[tokio::test]
async fn another_clients_device_code() {
    let room = Room::new().await;
    let world = &room.world;
    let more = json!({
        "first_party": true, "redirect_uris": [CALLBACK], "pkce_required": false,
        "grant_types": [GRANT, "authorization_code", "refresh_token"],
    });
    let radio = world.add_client("radio", "confidential", more).await;
    let codes = room.begin().await;
    let browser = world.cookie("user").await;
    refused(&room.poll_as(&radio, &codes.device).await, 400, "invalid_grant");
    room.decides(&browser, &codes.user, "allow").await.expect(303);
    refused(&room.poll_as(&radio, &codes.device).await, 400, "invalid_grant");
    // A device code is no authorization code, nor one a device code, even where the client may use both.
    let own = room.begun(&radio, &[]).await.expect(200);
    room.decides(&browser, &own.text_of("user_code"), "allow").await.expect(303);
    let code = own.text_of("device_code");
    for uri in ["", CALLBACK] {
        let fields = [("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", uri)];
        let answer = world.send(ask("POST", "/oauth2/token").form(&fields).basic(&radio)).await;
        answer.expect(400);
    }
    let query = [("response_type", "code"), ("client_id", "radio"), ("redirect_uri", CALLBACK)];
    let query = serde_urlencoded::to_string(query).unwrap();
    let link = format!("/oauth2/authorize?{query}");
    let sent = world.send(ask("GET", &link).cookie(&browser)).await.expect(303);
    let (_, rest) = sent.location().split_once("code=").unwrap();
    let code = rest.split('&').next().unwrap();
    refused(&room.poll_as(&radio, code).await, 400, "invalid_grant");
    // Nothing of this spoiled anything.
    room.poll_as(&radio, &own.text_of("device_code")).await.expect(200);
    room.poll(&codes.device).await.expect(200);
}

#[tokio::test]
async fn user_code_guessing() {
    let room = Room::new().await;
    let codes = room.begin().await;
    for _ in 0..5 {
        let browser = room.world.cookie("user").await;
        let csrf = hidden(&room.page(&browser).await, "csrf_token");
        for _ in 0..10 {
            let guess = [("user_code", "BBBB-BBBB"), ("decision", "allow")];
            room.post(&browser, &csrf, &guess).await.expect(422);
        }
        // Now not even the right one counts in this session.
        let right = [("user_code", codes.user.as_str()), ("decision", "allow")];
        room.post(&browser, &csrf, &right).await.expect(429);
    }
    // Nor in another one from there; but elsewhere it does, and what is found costs nothing.
    let browser = room.world.cookie("user").await;
    room.types(&browser, &codes.user).await.expect(429);
    let csrf = hidden(&room.page(&browser).await, "csrf_token");
    for _ in 0..20 {
        let fields = [("csrf_token", csrf.as_str()), ("user_code", codes.user.as_str())];
        let elsewhere = ask("POST", "/device").cookie(&browser).by_our_page().form(&fields);
        room.world.send(elsewhere.at_address([192, 0, 2, 1].into())).await.expect(200);
    }
    refused(&room.poll(&codes.device).await, 400, "authorization_pending");
}

/// The answer was lost, and the device asks again; also many times at once.
#[tokio::test]
async fn a_device_that_asks_again_gets_the_same_answer() {
    let room = Room::new().await;
    let browser = room.world.cookie("user").await;
    for scope in ["openid", "openid offline_access"] {
        let codes = room.begun(&room.tv, &[("scope", scope)]).await.expect(200);
        let device = codes.text_of("device_code");
        room.decides(&browser, &codes.text_of("user_code"), "allow").await.expect(303);
        let answers = futures_util::future::join_all((0..8).map(|_| room.poll(&device))).await;
        let claims =
            async |answer: &Answer| opened(&room.world, &answer.text_of("access_token")).await.1;
        let first = claims(&answers[0]).await;
        for answer in answers {
            let answer = answer.expect(200);
            assert_eq!(answer.text_of("scope"), scope);
            assert_eq!(claims(&answer).await, first);
        }
        let [one, other] = [room.poll(&device).await, room.poll(&device).await];
        assert_eq!(one.text_of("refresh_token"), other.text_of("refresh_token"));
        room.refresh(&one.text_of("refresh_token")).await.expect(200);
    }
}

#[tokio::test]
async fn a_device_code_used_twice_ends_what_it_got() {
    let room = Room::new().await;
    let browser = room.world.cookie("user").await;
    let app = &room.world.app;
    let grace = app.config.lifetimes.refresh_grace;
    // After the device has used what it got; and too late.
    for (refreshes, after) in [(true, Duration::ZERO), (false, grace + Duration::from_secs(1))] {
        let codes = room.begin().await;
        room.decides(&browser, &codes.user, "allow").await.expect(303);
        let tokens = room.poll(&codes.device).await.expect(200);
        let mut refresh = tokens.text_of("refresh_token");
        if refreshes {
            refresh = room.refresh(&refresh).await.expect(200).text_of("refresh_token");
        }
        let client = app.client(&"tv".parse().unwrap()).unwrap();
        let device =
            Device { label: "".into(), user_agent: "".into(), address: [127, 0, 0, 1].into() };
        let holder = Holder {
            client: &client,
            shown: Binding::None,
            key: None,
            device: &device,
            resources: Resources::default(),
            asked: &symbolon::os::Asked::now(Default::default()),
        };
        let code = SecretText::new(codes.device);
        let stolen = ops::device::poll(app, &code, holder, now() + after).await;
        assert!(matches!(stolen, Err(NotYet::Code(_))), "{stolen:?}");
        refused(&room.refresh(&refresh).await, 400, "invalid_grant");
        assert!(room.world.cookie_counts(&browser).await, "the browser's login goes on");
    }
}

#[tokio::test]
async fn a_login_that_ends_while_the_device_polls() {
    let room = Room::new().await;
    let codes = room.begin().await;
    refused(&room.poll(&codes.device).await, 400, "authorization_pending");
    let browser = room.world.cookie("user").await;
    let csrf = hidden(&room.page(&browser).await, "csrf_token");
    room.decides(&browser, &codes.user, "allow").await.expect(303);
    room.log_out(&browser).await;
    refused(&room.poll(&codes.device).await, 400, "invalid_grant");
    // Nor does an ended session decide anything.
    let codes = room.begin().await;
    let allow = [("user_code", codes.user.as_str()), ("decision", "allow")];
    assert_ne!(room.post(&browser, &csrf, &allow).await.location(), "/device?decided=allow");
    refused(&room.poll(&codes.device).await, 400, "authorization_pending");
    // What ends all sessions of the user ends what they allowed and nobody has fetched.
    let browser = room.world.cookie("user").await;
    room.decides(&browser, &codes.user, "allow").await.expect(303);
    let end = ask("DELETE", "/api/v1/sessions").cookie(&browser).by_our_page();
    assert!(room.world.send(end).await.status.is_success());
    refused(&room.poll(&codes.device).await, 400, "invalid_grant");
}

#[tokio::test]
async fn what_is_taken_back_before_the_device_asks() {
    let room = Room::new().await;
    let codes = room.begin().await;
    let browser = room.world.cookie("user").await;
    room.decides(&browser, &codes.user, "allow").await.expect(303);
    let list = room.world.send(ask("GET", "/account/apps").cookie(&browser)).await.expect(200);
    let csrf = hidden(&list, "csrf_token");
    let forbid = ask("POST", "/account/apps/tv/forbid").cookie(&browser).by_our_page();
    room.world.send(forbid.form(&[("csrf_token", &csrf)])).await.expect(303);
    refused(&room.poll(&codes.device).await, 400, "invalid_grant");
}

#[tokio::test]
async fn a_device_is_decided_about_once() {
    let room = Room::new().await;
    let codes = room.begin().await;
    let (browser, other) = (room.world.cookie("user").await, room.world.cookie("other").await);
    room.decides(&browser, &codes.user, "deny").await.expect(303);
    for _ in 0..2 {
        refused(&room.poll(&codes.device).await, 400, "access_denied");
    }
    room.decides(&other, &codes.user, "allow").await.expect(422);
    // Of many at once one decides.
    let codes = room.begin().await;
    let csrf = hidden(&room.page(&browser).await, "csrf_token");
    let csrf_of_other = hidden(&room.page(&other).await, "csrf_token");
    let allow = [("user_code", codes.user.as_str()), ("decision", "allow")];
    let deny = [("user_code", codes.user.as_str()), ("decision", "deny")];
    let answers = tokio::join!(
        room.post(&browser, &csrf, &allow),
        room.post(&other, &csrf_of_other, &allow),
        room.post(&browser, &csrf, &deny),
        room.post(&other, &csrf_of_other, &allow),
    );
    let answers = [answers.0, answers.1, answers.2, answers.3].map(|it| it.status.as_u16());
    assert_eq!(answers.iter().filter(|status| **status == 303).count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|status| **status == 422).count(), 3, "{answers:?}");
}

#[tokio::test]
async fn a_device_that_waits_too_long() {
    let room = Room::new().await;
    let app = &room.world.app;
    let (waiting, allowed) = (room.begin().await, room.begin().await);
    let browser = room.world.cookie("user").await;
    room.decides(&browser, &allowed.user, "allow").await.expect(303);
    let late = now() + LIFE + Duration::from_secs(1);
    let client = app.client(&"tv".parse().unwrap()).unwrap();
    let device = Device { label: "".into(), user_agent: "".into(), address: [127, 0, 0, 1].into() };
    let poll = async |code: &str| {
        let (shown, resources) = (Binding::None, Default::default());
        let asked = &symbolon::os::Asked::now(Default::default());
        let holder =
            Holder { client: &client, shown, key: None, resources, device: &device, asked };
        ops::device::poll(app, &SecretText::new(code.to_owned()), holder, late).await.unwrap_err()
    };
    assert!(matches!(poll(&waiting.device).await, NotYet::Over(Over::Expired)));
    assert!(matches!(poll(&allowed.device).await, NotYet::Code(_)));
    let whose = (&SecretText::new(browser), waiting.user.as_str());
    let decided = ops::device::decide(app, whose, true, &device, late).await;
    assert!(matches!(decided, Err(ops::device::Refused::Unknown)));
}

#[tokio::test]
async fn who_may_begin_and_for_what() {
    let room = Room::new().await;
    let world = &room.world;
    let web = world.add_client("web", "confidential", json!({})).await;
    refused(&room.begun(&web, &[]).await, 400, "unauthorized_client");
    let more = json!({ "grant_types": [GRANT] });
    let box_ = world.add_client("box", "confidential", more).await;
    let only_named = (box_.0.clone(), String::new());
    refused(&room.begun(&only_named, &[]).await, 401, "invalid_client");
    refused(&room.begun(&("none".into(), String::new()), &[]).await, 401, "invalid_client");
    room.begun(&box_, &[("resource", "https://api.example")]).await.expect(200);
    let elsewhere = [("resource", "https://evil.example")];
    refused(&room.begun(&box_, &elsewhere).await, 400, "invalid_target");
    refused(&room.poll("").await, 400, "invalid_request");
    refused(&room.poll("symd_none").await, 400, "invalid_grant");
    // Who only says a name fills no table with it.
    for _ in 0..30 {
        room.begun(&room.tv, &[]).await.expect(200);
    }
    refused(&room.begun(&room.tv, &[]).await, 429, "temporarily_unavailable");
    room.begun(&box_, &[]).await.expect(200);
}
