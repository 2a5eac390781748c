//! Authorization codes: the walk between two hosts, and every way to misuse it.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use symbolon::{
    os::Asked,
    store::{Found, Outcome},
};
use symbolon_core::{
    change::{Change, Write},
    code::{self, CodeDigest, LIFE},
    id::SessionId,
    secret::SecretText,
};

use crate::{
    races::{Tally, rounds},
    world::{Answer, ORIGIN, PASSWORD, World, ask},
};

pub(crate) const CALLBACK: &str = "https://shop.example/_symbolon/callback";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// A world with an application on another host.
struct Shop {
    world: World,
    shop: (String, String),
    /// Another application of ours, on a third host.
    blog: (String, String),
}

fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()))
}

/// The parameters of a request for a code, some of them changed; an empty one is left out.
fn query(changed: &[(&str, &str)]) -> String {
    let challenge = challenge(VERIFIER);
    let mut all = vec![
        ("response_type", "code"),
        ("client_id", "shop"),
        ("redirect_uri", CALLBACK),
        ("state", "a state"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    for (name, value) in changed {
        all.retain(|(own, _)| own != name);
        all.push((name, value));
    }
    all.retain(|(_, value)| !value.is_empty());
    serde_urlencoded::to_string(all).unwrap()
}

/// A parameter of where the browser is sent.
fn sent(location: &str, name: &str) -> Option<String> {
    let (_, query) = location.split_once('?')?;
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap();
    let mut values = pairs.into_iter().filter(|(own, _)| own == name).map(|(_, value)| value);
    let value = values.next();
    assert!(values.next().is_none(), "{name} twice in {location}");
    value
}

impl Shop {
    async fn new() -> Self {
        let world = World::new().await;
        let of = |uri: &str| json!({ "first_party": true, "redirect_uris": [uri] });
        let shop = world.add_client("shop", "confidential", of(CALLBACK)).await;
        let blog = world.add_client("blog", "confidential", of("https://blog.example/in")).await;
        Self { world, shop, blog }
    }

    async fn authorize(&self, cookie: Option<&str>, changed: &[(&str, &str)]) -> Answer {
        let request = ask("GET", &format!("/oauth2/authorize?{}", query(changed)));
        let request = match cookie {
            Some(cookie) => request.cookie(cookie),
            None => request,
        };
        self.world.send(request).await
    }

    /// A code for the browser that holds this cookie.
    async fn code(&self, cookie: &str) -> String {
        let answer = self.authorize(Some(cookie), &[]).await.expect(303);
        sent(answer.location(), "code").unwrap_or_else(|| panic!("{answer:?}"))
    }

    fn body(code: &str) -> Value {
        json!({ "code": code, "redirect_uri": CALLBACK, "code_verifier": VERIFIER })
    }

    async fn redeem(&self, code: &str) -> Answer {
        self.redeem_as(&self.shop, &Self::body(code)).await
    }

    async fn redeem_as(&self, client: &(String, String), body: &Value) -> Answer {
        self.world.send(ask("POST", "/api/v1/code").basic(client).json(body)).await
    }

    /// The cookie of a child session, and its id.
    async fn child(&self, cookie: &str) -> (String, String) {
        let answer = self.redeem(&self.code(cookie).await).await.expect(200);
        (answer.text_of("session_cookie"), answer.text_of("sid"))
    }

    /// What the shop hears about a cookie that its browser shows.
    async fn introspect_as(&self, client: &(String, String), cookie: &str) -> Value {
        let about = ask("POST", "/oauth2/introspect").basic(client).form(&[("token", cookie)]);
        self.world.send(about).await.expect(200).json()
    }

    async fn counts(&self, cookie: &str) -> bool {
        self.introspect_as(&self.shop, cookie).await["active"] == true
    }

    async fn log_out(&self, cookie: &str) {
        let logout = ask("POST", "/api/v1/logout").cookie(cookie).by_our_page();
        self.world.send(logout).await.expect(204);
    }
}

/// A code and what it gives: every secret of one walk.
pub(crate) async fn one_walk(world: &World, shop: &(String, String), cookie: &str) -> Vec<String> {
    let path = format!("/oauth2/authorize?{}", query(&[]));
    let answer = world.send(ask("GET", &path).cookie(cookie)).await.expect(303);
    let code = sent(answer.location(), "code").unwrap();
    let redeem = ask("POST", "/api/v1/code").basic(shop).json(&Shop::body(&code));
    let child = world.send(redeem).await.expect(200).text_of("session_cookie");
    vec![code, VERIFIER.to_owned(), child]
}

#[tokio::test]
async fn the_whole_walk() {
    let shop = Shop::new().await;
    let world = &shop.world;
    // The shop sends a browser that is not logged in; it comes to the login page, which leads back.
    let sent_to_login = shop.authorize(None, &[]).await.expect(303);
    let login = sent_to_login.location().to_owned();
    assert!(login.starts_with("/login?next="), "{login}");
    let next = sent(&login, "next").unwrap();
    let page = world.send(ask("GET", &login)).await.expect(200);
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.ends_with("form-action 'self' https://shop.example"), "{policy}");
    // The form of the page, sent as a browser does.
    let held = page.cookie("symbolon-form").unwrap();
    let token = page.text.split("name=\"csrf_token\" value=\"").nth(1).unwrap();
    let token = token.split('"').next().unwrap();
    let form = ask("POST", "/login")
        .by_our_page()
        .header("cookie", &format!("symbolon-form={held}"))
        .form(&[
            ("csrf_token", token),
            ("next", &next),
            ("username", "user"),
            ("password", PASSWORD),
        ]);
    let logged_in = world.send(form).await.expect(303);
    let browser = logged_in.cookie("symbolon").unwrap();
    assert_eq!(logged_in.location(), next);
    // Back at the very request, now with a cookie.
    let answer = world.send(ask("GET", &next).cookie(&browser)).await.expect(303);
    let location = answer.location();
    assert!(location.starts_with(&format!("{CALLBACK}?")), "{location}");
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(sent(location, "state").as_deref(), Some("a state"));
    assert_eq!(sent(location, "iss").as_deref(), Some(ORIGIN));
    let code = sent(location, "code").unwrap();
    assert!(code.starts_with("syma_") && code.len() == 5 + 43, "{code}");
    // Server to server.
    let redeemed = shop.redeem(&code).await.expect(200);
    assert_eq!(redeemed.headers["cache-control"], "no-store");
    assert!(redeemed.json()["max_age"].is_null(), "until the browser is closed");
    let (child, sid) = (redeemed.text_of("session_cookie"), redeemed.text_of("sid"));
    assert!(child.starts_with("syms_"));
    let told = shop.introspect_as(&shop.shop, &child).await;
    let parent = world.send(ask("GET", "/api/v1/session").cookie(&browser)).await.expect(200);
    assert_eq!(told["active"], true);
    assert_eq!(told["username"], "user");
    assert_eq!(told["sid"], sid.as_str());
    assert_eq!(told["parent"], parent.json()["sid"]);
    assert_eq!(told["client_id"], "shop");
    let ends = told["revoked_by"].as_array().unwrap();
    assert!(ends.contains(&told["parent"]) && ends.contains(&told["sid"]), "{told}");
    // The account page shows the one under the other.
    let account = world.send(ask("GET", "/account").cookie(&browser)).await.expect(200);
    assert!(account.text.contains(&sid) && account.text.contains("shop"), "{}", account.text);
    // It dies with its parent.
    shop.log_out(&browser).await;
    assert!(!shop.counts(&child).await);
}

#[tokio::test]
async fn one_session_for_a_client_under_a_browser_session() {
    let shop = Shop::new().await;
    let browser = shop.world.cookie("user").await;
    let (first, sid) = shop.child(&browser).await;
    let (second, same) = shop.child(&browser).await;
    assert_eq!(sid, same, "the id is stable");
    assert!(shop.counts(&second).await && !shop.counts(&first).await, "the old cookie is dead");
    let elsewhere = shop.world.cookie("user").await;
    let (_, other) = shop.child(&elsewhere).await;
    assert_ne!(sid, other, "another browser, another session");
    // The browser ends the one at the shop alone, and gets another one later.
    let end = ask("DELETE", &format!("/api/v1/sessions/{sid}")).cookie(&browser).by_our_page();
    shop.world.send(end).await.expect(204);
    assert!(!shop.counts(&second).await && shop.world.cookie_counts(&browser).await);
    let (third, fresh) = shop.child(&browser).await;
    assert!(shop.counts(&third).await);
    assert_ne!(sid, fresh, "ended stays ended");
}

#[tokio::test]
async fn who_uses_an_app_keeps_the_login_it_came_from() {
    let shop = Shop::new().await;
    let app = &shop.world.app;
    let browser = shop.world.cookie("user").await;
    let (child, sid) = shop.child(&browser).await;
    let parent =
        shop.introspect_as(&shop.shop, &child).await["parent"].as_str().unwrap().to_owned();
    let later = symbolon::app::now() + app.config.lifetimes.sessions().idle / 2;
    app.store.touch(vec![(sid.parse().unwrap(), later)]).await.unwrap();
    for id in [sid, parent] {
        let found = app.store.session(id.parse().unwrap()).await.unwrap();
        let Some(Found::Live(session, _)) = found else { panic!("{found:?}") };
        assert_eq!(session.seen_at, later);
    }
}

#[tokio::test]
async fn a_remembered_login_is_remembered_there() {
    let shop = Shop::new().await;
    let body = json!({ "username": "user", "password": PASSWORD, "remember": true });
    let login = shop.world.send(ask("POST", "/api/v1/login").json(&body)).await.expect(200);
    let browser = login.cookie("symbolon").unwrap();
    let redeemed = shop.redeem(&shop.code(&browser).await).await.expect(200).json();
    let most = shop.world.app.config.lifetimes.sessions().remembered_absolute.as_secs();
    let age = redeemed["max_age"].as_u64().unwrap();
    assert!(age <= most && age > most - 60, "it lives no longer than its parent: {age}");
}

#[tokio::test]
async fn what_does_not_fit_is_refused_without_effect() {
    let shop = Shop::new().await;
    let browser = shop.world.cookie("user").await;
    let code = shop.code(&browser).await;
    let with = |name: &str, value: &str| {
        let mut body = Shop::body(&code);
        body[name] = value.into();
        body
    };
    let stolen = &shop.blog;
    let cases = [
        ("the code of another client", stolen, Shop::body(&code)),
        ("another redirect URI", &shop.shop, with("redirect_uri", "https://shop.example/other")),
        ("a longer redirect URI", &shop.shop, with("redirect_uri", &format!("{CALLBACK}/"))),
        ("another verifier", &shop.shop, with("code_verifier", &VERIFIER.replace('d', "e"))),
        ("the challenge as verifier", &shop.shop, with("code_verifier", &challenge(VERIFIER))),
        ("no verifier", &shop.shop, with("code_verifier", "")),
        ("another code", &shop.shop, with("code", &code.replace("syma_", "syma_A"))),
        ("the code without its prefix", &shop.shop, with("code", &code[5..])),
        ("no code", &shop.shop, with("code", "")),
        ("a code without end", &shop.shop, with("code", &"a".repeat(100_000))),
    ];
    // Before it is used it is not spoilt; after it was used, what it got does not end.
    let mut child = None;
    for used in [false, true] {
        for (what, client, body) in &cases {
            let answer = shop.redeem_as(client, body).await.expect(400);
            assert_eq!(answer.code(), "invalid_grant", "{what}, used: {used}");
        }
        if !used {
            child = Some(shop.redeem(&code).await.expect(200).text_of("session_cookie"));
        }
    }
    assert!(shop.counts(&child.unwrap()).await);
    // Nobody redeems without the client's secret, and a member too many is refused.
    let wrong = (shop.shop.0.clone(), "symc_wrong".to_owned());
    let answer = shop.redeem_as(&wrong, &Shop::body(&code)).await.expect(401);
    assert_eq!(answer.code(), "invalid_client");
    shop.redeem_as(&shop.shop, &with("grant_type", "authorization_code")).await.expect(400);
}

#[tokio::test]
async fn a_code_used_twice_ends_what_it_got() {
    let shop = Shop::new().await;
    let browser = shop.world.cookie("user").await;
    let code = shop.code(&browser).await;
    let child = shop.redeem(&code).await.expect(200).text_of("session_cookie");
    assert!(shop.counts(&child).await);
    assert_eq!(shop.redeem(&code).await.expect(400).code(), "invalid_grant");
    assert!(!shop.counts(&child).await);
    assert!(shop.world.cookie_counts(&browser).await, "the browser's own login goes on");
    // A third time finds nothing to end; the browser comes back without a password.
    shop.redeem(&code).await.expect(400);
    let (again, _) = shop.child(&browser).await;
    assert!(shop.counts(&again).await);
    // Nor does the old code end what another one got.
    shop.redeem(&code).await.expect(400);
    assert!(shop.counts(&again).await);
}

/// Whoever gave up on a server that was stopped, and redeemed the code elsewhere, is no thief when that one goes on.
#[tokio::test]
async fn a_code_that_lay_too_long_is_not_judged() {
    let shop = Shop::new().await;
    let browser = shop.world.cookie("user").await;
    let code = shop.code(&browser).await;
    let body = Shop::body(&code);
    let late = async || {
        let late = ask("POST", "/api/v1/code").basic(&shop.shop).json(&body).late();
        shop.world.send(late).await.expect(503)
    };
    late().await;
    let child = shop.redeem(&code).await.expect(200).text_of("session_cookie");
    late().await;
    assert!(shop.counts(&child).await);
}

#[tokio::test]
async fn of_many_at_once_one_wins_and_nothing_is_left() {
    let shop = Shop::new().await;
    let browser = shop.world.cookie("user").await;
    let code = shop.code(&browser).await;
    let answers = join_all((0..16).map(|_| shop.redeem(&code))).await;
    let won: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(won.len(), 1, "{answers:?}");
    assert!(!shop.counts(&won[0].text_of("session_cookie")).await);
    // Many codes of one browser at once: one session, and one cookie of it counts.
    let mut codes = vec![];
    for _ in 0..8 {
        codes.push(shop.code(&browser).await);
    }
    let answers = join_all(codes.iter().map(|code| shop.redeem(code))).await;
    let mut alive = 0;
    for answer in &answers {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.text_of("sid"), answers[0].text_of("sid"));
        alive += u32::from(shop.counts(&answer.text_of("session_cookie")).await);
    }
    assert_eq!(alive, 1);
}

#[tokio::test]
async fn an_expired_code_is_refused() {
    let shop = Shop::new().await;
    let app = &shop.world.app;
    let browser = SecretText::new(shop.world.cookie("user").await);
    let client = app.client(&"shop".parse().unwrap()).unwrap();
    let request = symbolon_core::code::Request {
        client: &client.id,
        asked: code::Asked {
            redirect_uri: CALLBACK.into(),
            challenge: Some(challenge(VERIFIER).parse().unwrap()),
            ..code::Asked::default()
        },
        allowed: None,
        pushed: None,
    };
    let verifier = SecretText::new(VERIFIER.to_owned());
    let now = symbolon::app::now();
    let in_time = LIFE - std::time::Duration::from_millis(1);
    for (after, counts) in [(in_time, true), (LIFE, false), (LIFE * 2, false)] {
        let code = symbolon::ops::code::issue(app, &browser, &request, now).await.unwrap();
        let then = now + after;
        let presented = (&*client, &code);
        let redeemed = symbolon::ops::code::for_cookie(
            app,
            presented,
            CALLBACK,
            &verifier,
            &Asked::now(Default::default()),
            then,
        )
        .await;
        assert_eq!(redeemed.is_ok(), counts, "{after:?}: {redeemed:?}");
    }
}

#[tokio::test]
async fn what_ends_the_login_ends_its_codes() {
    let shop = Shop::new().await;
    let world = &shop.world;
    let browser = world.cookie("user").await;
    let code = shop.code(&browser).await;
    shop.log_out(&browser).await;
    assert_eq!(shop.redeem(&code).await.expect(400).code(), "invalid_grant");
    // "End all others" and a new password keep this browser, but not the codes that were on their way: they may be in
    // the hands of whoever is to be shut out.
    let browser = world.cookie("user").await;
    let code = shop.code(&browser).await;
    let others = ask("DELETE", "/api/v1/sessions?keep=current").cookie(&browser).by_our_page();
    world.send(others).await.expect(200);
    assert!(world.cookie_counts(&browser).await);
    shop.redeem(&code).await.expect(400);
    let (child, _) = shop.child(&browser).await;
    assert!(shop.counts(&child).await);
    let code = shop.code(&browser).await;
    let new = json!({ "current_password": PASSWORD, "new_password": "a quite different long one" });
    let change = ask("POST", "/api/v1/password").cookie(&browser).by_our_page().json(&new);
    let renewed = world.send(change).await.expect(200).cookie("symbolon").unwrap();
    shop.redeem(&code).await.expect(400);
    assert!(shop.counts(&child).await, "what is under the kept session stays");
    // The old cookie of the browser authorizes nothing.
    let answer = shop.authorize(Some(&browser), &[]).await.expect(303);
    assert!(answer.location().starts_with("/login?"), "{answer:?}");
    shop.code(&renewed).await;
}

#[tokio::test]
async fn no_child_lives_under_an_ended_parent() {
    let shop = Shop::new().await;
    let store = &shop.world.app.store;
    let tally = Tally::default();
    rounds(async |round| {
        let login = shop.world.login("user", "session").await;
        let (browser, parent) = (login.cookie("symbolon").unwrap(), login.text_of("sid"));
        let parent = parent.parse().unwrap();
        if round % 2 == 1 {
            // There is a child already: its cookie moves, or it ends with its parent.
            shop.child(&browser).await;
        }
        let code = shop.code(&browser).await;
        let end = async {
            // Some reads later each time, so that it meets the redemption at every step.
            for _ in 0..round / 2 % 8 {
                store.session(parent).await.unwrap();
            }
            let ended = symbolon::ops::end::session(
                &shop.world.app,
                parent,
                symbolon_core::session::Reason::Logout,
                symbolon::app::now(),
            );
            ended.await.unwrap();
        };
        let (redeemed, ()) = join(shop.redeem(&code), end).await;
        tally.count(redeemed.status == 200);
        if redeemed.status == 200 {
            assert!(!shop.counts(&redeemed.text_of("session_cookie")).await, "round {round}");
        } else {
            assert_eq!(redeemed.code(), "invalid_grant");
        }
        let child = store.child(parent, &"shop".parse().unwrap()).await.unwrap();
        assert!(child.is_none(), "round {round}: {child:?}");
    })
    .await;
    tally.assert_raced();
}

#[tokio::test]
async fn the_store_takes_a_code_once_and_in_time() {
    let shop = Shop::new().await;
    let browser = shop.world.cookie("user").await;
    let child = SessionId::from_bytes([1; 16]);
    let now = symbolon::app::now();
    for (uses, expected) in [
        ([now, now], [Outcome::Applied(vec![]), Outcome::Conflict]),
        ([now + LIFE * 2, now], [Outcome::Conflict, Outcome::Applied(vec![])]),
    ] {
        let digest = CodeDigest::of(&SecretText::new(shop.code(&browser).await));
        for (at, expected) in uses.into_iter().zip(expected) {
            let mut change = Change::at(at);
            change.write(Write::UseCode { digest, child });
            assert_eq!(shop.world.app.store.commit(change).await.unwrap(), expected);
        }
    }
}

#[tokio::test]
async fn a_planted_code_gains_nothing() {
    let shop = Shop::new().await;
    // The attacker logs in and keeps the code that his browser got. A victim's browser is sent to the shop with it: the
    // shop redeems it with the verifier that it keeps for *that* browser.
    let attacker = shop.world.cookie("other").await;
    let code = shop.code(&attacker).await;
    let mut planted = Shop::body(&code);
    planted["code_verifier"] = "another-verifier-of-another-browser-of-43-chars".into();
    assert_eq!(shop.redeem_as(&shop.shop, &planted).await.expect(400).code(), "invalid_grant");
}

#[tokio::test]
async fn an_apps_cookie_opens_nothing_here() {
    let shop = Shop::new().await;
    let world = &shop.world;
    let browser = world.cookie("user").await;
    let (child, sid) = shop.child(&browser).await;
    assert!(!world.cookie_counts(&child).await);
    assert_eq!(
        world.send(ask("GET", "/account").cookie(&child)).await.expect(303).location(),
        "/login?next=%2Faccount"
    );
    for (method, path, body) in [
        ("GET", "/api/v1/sessions", json!(null)),
        ("DELETE", "/api/v1/sessions", json!(null)),
        ("POST", "/api/v1/handover", json!({ "to": "token" })),
        ("POST", "/api/v1/password", json!({ "current_password": PASSWORD, "new_password": "x" })),
    ] {
        let request = ask(method, path).cookie(&child).by_our_page().json(&body);
        assert_eq!(world.send(request).await.expect(401).code(), "invalid_token", "{path}");
    }
    // It authorizes no other application, and no other application hears whose it is or takes it for tokens.
    let answer = shop.authorize(Some(&child), &[("prompt", "none")]).await.expect(303);
    assert_eq!(sent(answer.location(), "error").as_deref(), Some("login_required"));
    assert_eq!(shop.introspect_as(&shop.blog, &child).await, json!({ "active": false }));
    let relayed = |client| {
        ask("POST", "/api/v1/handover").basic(client).cookie(&child).json(&json!({ "to": "token" }))
    };
    world.send(relayed(&shop.blog)).await.expect(409);
    // A login with it in the browser leaves it alone.
    let body = json!({ "username": "other", "password": PASSWORD });
    world.send(ask("POST", "/api/v1/login").cookie(&child).json(&body)).await.expect(200);
    assert!(shop.counts(&child).await);
    // Another site ends nothing; its holder ends it, and nothing else.
    let foreign =
        ask("POST", "/api/v1/logout").cookie(&child).header("origin", "https://evil.example");
    world.send(foreign).await;
    assert!(shop.counts(&child).await);
    shop.log_out(&child).await;
    assert!(!shop.counts(&child).await, "{sid}");
    assert!(world.cookie_counts(&browser).await);
}

#[tokio::test]
async fn a_wrong_request_is_a_page_or_goes_back() {
    let shop = Shop::new().await;
    let more = json!({ "redirect_uris": ["https://third.example/in"] });
    shop.world.add_client("third", "confidential", more).await;
    let more = json!({ "first_party": true, "redirect_uris": ["https://api.example/in?x=1"] });
    shop.world.add_client("api", "resource", more).await;
    let browser = shop.world.cookie("user").await;
    // Nobody is sent anywhere before it is known where he may be sent.
    for (changed, named) in [
        (&[("client_id", "")][..], "client_id"),
        (&[("client_id", "nobody")], "client_id"),
        (&[("redirect_uri", "")], "redirect_uri"),
        (&[("redirect_uri", "https://evil.example/")], "redirect_uri"),
        (&[("redirect_uri", "https://shop.example/_symbolon/callback/../x")], "redirect_uri"),
        (&[("redirect_uri", "https://shop.example/_symbolon/callback?")], "redirect_uri"),
        (&[("redirect_uri", "HTTPS://shop.example/_symbolon/callback")], "redirect_uri"),
        (&[("redirect_uri", "https://blog.example/in")], "redirect_uri"),
        (&[("redirect_uri", "javascript:alert(1)")], "redirect_uri"),
    ] {
        let answer = shop.authorize(Some(&browser), changed).await.expect(400);
        let shown = format!("<code id=\"parameter\">{named}</code>");
        assert!(answer.text.contains(&shown), "{changed:?}: {}", answer.text);
        assert_eq!(answer.location(), "");
    }
    for twice in ["redirect_uri", "client_id", "state", "code_challenge"] {
        let path = format!("/oauth2/authorize?{}&{twice}=x", query(&[]));
        let answer = shop.world.send(ask("GET", &path).cookie(&browser)).await.expect(400);
        assert!(answer.text.contains(&format!("<code id=\"parameter\">{twice}</code>")), "{twice}");
    }
    for (changed, error) in [
        (&[("response_type", "")][..], "invalid_request"),
        (&[("response_type", "token")], "unsupported_response_type"),
        (&[("response_type", "code id_token")], "unsupported_response_type"),
        (&[("code_challenge", "")], "invalid_request"),
        (&[("code_challenge", "short")], "invalid_request"),
        (&[("code_challenge_method", "")], "invalid_request"),
        (&[("code_challenge_method", "plain")], "invalid_request"),
        (&[("response_mode", "fragment")], "invalid_request"),
        (&[("prompt", "create")], "invalid_request"),
        (&[("max_age", "soon")], "invalid_request"),
        (&[("request", "x")], "invalid_request_object"),
        (&[("request_uri", "https://evil.example")], "request_uri_not_supported"),
        (&[("state", "x".repeat(1025).as_str())], "invalid_request"),
        (
            &[("client_id", "api"), ("redirect_uri", "https://api.example/in?x=1")],
            "unauthorized_client",
        ),
    ] {
        for cookie in [None, Some(browser.as_str())] {
            let answer = shop.authorize(cookie, changed).await.expect(303);
            let location = answer.location();
            assert_eq!(sent(location, "error").as_deref(), Some(error), "{changed:?}: {location}");
            assert_eq!(sent(location, "iss").as_deref(), Some(ORIGIN));
            assert!(sent(location, "state").is_some() && sent(location, "code").is_none());
            let registered = [CALLBACK, "https://api.example/in?x=1"];
            assert!(registered.iter().any(|uri| location.starts_with(uri)), "{location}");
        }
    }
    let silent = shop.authorize(None, &[("prompt", "none")]).await.expect(303);
    assert_eq!(sent(silent.location(), "error").as_deref(), Some("login_required"));
    let silent = shop.authorize(Some(&browser), &[("prompt", "none")]).await.expect(303);
    assert!(sent(silent.location(), "code").is_some());
    let visitor =
        shop.world.send(ask("POST", "/api/v1/sessions").basic(&shop.shop).json(&json!({})));
    let visitor = visitor.await.expect(201).text_of("set_cookie");
    let visitor = visitor.strip_prefix("symbolon=").unwrap().split(';').next().unwrap().to_owned();
    let answer = shop.authorize(Some(&visitor), &[]).await.expect(303);
    assert!(answer.location().starts_with("/login?"), "{answer:?}");
}

#[tokio::test]
async fn codes_are_counted() {
    let shop = Shop::new().await;
    let browser = shop.world.cookie("user").await;
    let oldest = shop.code(&browser).await;
    for _ in 0..symbolon_core::code::CODES_MAX {
        shop.code(&browser).await;
    }
    shop.redeem(&oldest).await.expect(400);
    shop.child(&browser).await;
}

#[tokio::test]
async fn the_metadata_says_what_there_is() {
    let world = World::new().await;
    let path = "/.well-known/oauth-authorization-server";
    let metadata = world.send(ask("GET", path)).await.expect(200).json();
    let url = format!("{ORIGIN}/oauth2/authorize");
    assert_eq!(metadata["authorization_endpoint"], url.as_str());
    assert_eq!(metadata["code_challenge_methods_supported"], json!(["S256"]));
    assert_eq!(metadata["response_types_supported"], json!(["code"]));
    assert_eq!(metadata["authorization_response_iss_parameter_supported"], true);
}
