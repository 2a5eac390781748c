//! The authorization endpoint: what clients can ask for, what people are asked, and every way to get around it.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use symbolon_core::oauth::pushed::LIFE;

use crate::keys::Key;
use crate::world::{Answer, Ask, ORIGIN, PASSWORD, World, ask};

const CALLBACK: &str = "https://theirs.example/in";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

pub(crate) type Fields<'a> = &'a [(&'a str, &'a str)];

/// A world with a client of ours and one of others.
pub(crate) struct Provider {
    pub(crate) world: World,
    pub(crate) ours: (String, String),
    theirs: (String, String),
}

/// These fields with some of them changed; an empty one is left out.
fn fields<'a>(usual: Fields<'a>, changes: Fields<'a>) -> Vec<(&'a str, &'a str)> {
    let kept = usual.iter().filter(|(name, _)| changes.iter().all(|(own, _)| own != name));
    kept.chain(changes).copied().filter(|(_, value)| !value.is_empty()).collect()
}

fn request(changes: Fields<'_>) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, VERIFIER.as_bytes()));
    let usual = [
        ("response_type", "code"),
        ("client_id", "ours"),
        ("redirect_uri", CALLBACK),
        ("scope", "openid"),
        ("state", "a state"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    serde_urlencoded::to_string(fields(&usual, changes)).unwrap()
}

pub(crate) fn said(answer: &Answer, name: &str) -> Option<String> {
    let (_, query) = answer.location().split_once('?')?;
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap();
    pairs.into_iter().find(|(own, _)| own == name).map(|(_, value)| value)
}

/// The value of a hidden field of a page.
fn hidden(answer: &Answer, name: &str) -> String {
    let marked = format!("name=\"{name}\" value=\"");
    let at = answer.text.find(&marked).unwrap_or_else(|| panic!("no {name}: {answer:?}"));
    let rest = &answer.text[at + marked.len()..];
    rest[..rest.find('"').unwrap()].replace("&amp;", "&").replace("&#38;", "&")
}

impl Provider {
    pub(crate) async fn new() -> Self {
        let world = World::new().await;
        let ours = json!({ "first_party": true, "redirect_uris": [CALLBACK] });
        let theirs =
            json!({ "name": "Their Shop", "redirect_uris": [CALLBACK], "scopes": ["cart"] });
        let ours = world.add_client("ours", "confidential", ours).await;
        let theirs = world.add_client("theirs", "confidential", theirs).await;
        Self { world, ours, theirs }
    }

    async fn get(&self, cookie: &str, query: &str) -> Answer {
        let page = ask("GET", &format!("/oauth2/authorize?{query}"));
        self.world.send(page.header("accept", "text/html").cookie(cookie)).await
    }

    pub(crate) async fn authorize(&self, cookie: &str, changes: Fields<'_>) -> Answer {
        self.get(cookie, &request(changes)).await
    }

    /// What the page asks, answered.
    fn decide(page: &Answer, cookie: &str, decision: &str) -> Ask {
        let (csrf, request) = (hidden(page, "csrf_token"), hidden(page, "request"));
        let form = [("csrf_token", &*csrf), ("request", &*request), ("decision", decision)];
        ask("POST", "/oauth2/consent").by_our_page().cookie(cookie).form(&form)
    }

    pub(crate) async fn redeem(&self, client: &(String, String), code: &str) -> Answer {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ];
        self.world.send(ask("POST", "/oauth2/token").basic(client).form(&form)).await
    }

    /// Logs in once more through the page, as somebody who was sent there.
    pub(crate) async fn log_in_again(&self, cookie: &str, to_login: &Answer) -> (String, String) {
        let login = to_login.location().to_owned();
        assert!(login.starts_with("/login?next=") && login.contains("again=1"), "{login}");
        let page = self.world.send(ask("GET", &login).cookie(cookie)).await.expect(200);
        let form_cookie = page.cookie("symbolon-form").unwrap();
        let (csrf, next) = (hidden(&page, "csrf_token"), hidden(&page, "next"));
        let form = [
            ("csrf_token", &*csrf),
            ("next", &*next),
            ("again", "1"),
            ("username", "user"),
            ("password", PASSWORD),
        ];
        let jar = format!("symbolon={cookie}; symbolon-form={form_cookie}");
        let login = ask("POST", "/login").by_our_page().header("cookie", &jar).form(&form);
        let answer = self.world.send(login).await.expect(303);
        (answer.cookie("symbolon").unwrap(), answer.location().to_owned())
    }
}

#[tokio::test]
async fn others_ask_once_per_scope_and_are_sent_away_at_once() {
    let provider = Provider::new().await;
    let world = &provider.world;
    let browser = world.cookie("user").await;
    let theirs = [("client_id", "theirs"), ("scope", "openid cart")];

    let page = provider.authorize(&browser, &theirs).await.expect(200);
    for part in ["Their Shop", "id=\"scope-openid\"", "id=\"scope-cart\"", "https://theirs.example"]
    {
        assert!(page.text.contains(part), "{part} is not in {}", page.text);
    }
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.ends_with("form-action 'self' https://theirs.example"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'"), "clickjacking: {policy}");

    // Without the page nobody allows anything.
    let silent = [&theirs[..], &[("prompt", "none")]].concat();
    let answer = provider.authorize(&browser, &silent).await.expect(303);
    assert_eq!(said(&answer, "error").as_deref(), Some("consent_required"));

    let denied = world.send(Provider::decide(&page, &browser, "deny")).await.expect(303);
    assert_eq!(said(&denied, "error").as_deref(), Some("access_denied"));
    assert_eq!(said(&denied, "state").as_deref(), Some("a state"));
    assert_eq!(said(&denied, "iss").as_deref(), Some(ORIGIN));

    let allowed = world.send(Provider::decide(&page, &browser, "allow")).await.expect(303);
    let code = said(&allowed, "code").unwrap();
    let tokens = provider.redeem(&provider.theirs, &code).await.expect(200);
    assert_eq!(tokens.text_of("scope"), "openid cart");

    // Not asked again, for this or less.
    for scope in ["openid cart", "openid"] {
        let again = [("client_id", "theirs"), ("scope", scope), ("prompt", "none")];
        let answer = provider.authorize(&browser, &again).await.expect(303);
        assert!(said(&answer, "code").is_some(), "{answer:?}");
    }
    provider
        .authorize(&browser, &[("client_id", "theirs"), ("scope", "openid profile")])
        .await
        .expect(200);
    let wished = [&theirs[..], &[("prompt", "consent")]].concat();
    provider.authorize(&browser, &wished).await.expect(200);
    // Another user is asked for themselves.
    let other = world.cookie("other").await;
    provider.authorize(&other, &theirs).await.expect(200);

    // On the account page it is listed, and taken back: its tokens are dead, and it has to ask anew.
    let list = world.send(ask("GET", "/account/apps").cookie(&browser)).await.expect(200);
    assert!(list.text.contains("id=\"app-theirs\""), "{}", list.text);
    let late = provider.authorize(&browser, &silent).await.expect(303);
    let late = said(&late, "code").unwrap();
    let csrf = hidden(&list, "csrf_token");
    let forbid = ask("POST", "/account/apps/theirs/forbid").by_our_page().cookie(&browser);
    let done = world.send(forbid.form(&[("csrf_token", &csrf)])).await.expect(303);
    assert!(done.location().starts_with("/account/apps?done=forbidden&ms="), "{done:?}");
    let about = ask("POST", "/oauth2/introspect").basic(&provider.theirs);
    let about = about.form(&[("token", &tokens.text_of("access_token"))]);
    assert_eq!(world.send(about).await.expect(200).json()["active"], false);
    let refused = provider.redeem(&provider.theirs, &late).await.expect(400);
    assert_eq!(refused.text_of("error"), "invalid_grant", "what was not redeemed yet is void, too");
    provider.authorize(&browser, &theirs).await.expect(200);
    assert!(world.cookie_counts(&browser).await, "the browser's own login goes on");
}

#[tokio::test]
async fn csrf_on_consent() {
    let provider = Provider::new().await;
    let world = &provider.world;
    let browser = world.cookie("user").await;
    let theirs = [("client_id", "theirs")];
    let page = provider.authorize(&browser, &theirs).await.expect(200);
    let other = world.cookie("other").await;
    let of_other = provider.authorize(&other, &theirs).await.expect(200);
    let request = hidden(&page, "request");
    for (csrf, status) in [("", 403), (&*hidden(&of_other, "csrf_token"), 403)] {
        let form = [("csrf_token", csrf), ("request", &*request), ("decision", "allow")];
        let post = ask("POST", "/oauth2/consent").by_our_page().cookie(&browser).form(&form);
        world.send(post).await.expect(status);
    }
    let csrf = hidden(&page, "csrf_token");
    let form = [("csrf_token", &*csrf), ("request", &*request), ("decision", "allow")];
    let elsewhere = ask("POST", "/oauth2/consent").cookie(&browser).form(&form);
    world.send(elsewhere.header("origin", "https://evil.example")).await.expect(403);
    let answer = provider.authorize(&browser, &[("client_id", "theirs"), ("prompt", "none")]).await;
    assert_eq!(said(&answer, "error").as_deref(), Some("consent_required"));
}

#[tokio::test]
async fn a_new_login_is_a_new_login() {
    let provider = Provider::new().await;
    let world = &provider.world;
    let browser = world.cookie("user").await;
    for wish in [("prompt", "login"), ("max_age", "0")] {
        let to_login = provider.authorize(&browser, &[wish]).await.expect(303);
        // Who comes back without having logged in is sent there again.
        let login = to_login.location().to_owned();
        let page = world.send(ask("GET", &login).cookie(&browser)).await.expect(200);
        let next = hidden(&page, "next");
        let back = world.send(ask("GET", &next).cookie(&browser)).await.expect(303);
        assert!(back.location().starts_with("/login?"), "{back:?}");
    }
    let to_login = provider.authorize(&browser, &[("prompt", "login")]).await.expect(303);
    let sid = world.send(ask("GET", "/api/v1/session").cookie(&browser)).await.text_of("sid");
    let (fresh, next) = provider.log_in_again(&browser, &to_login).await;
    let answer = world.send(ask("GET", &next).cookie(&fresh)).await.expect(303);
    let code = said(&answer, "code").unwrap_or_else(|| panic!("{answer:?}"));
    provider.redeem(&provider.ours, &code).await.expect(200);
    // It is one login that goes on: the same session, with a new cookie.
    let after = world.send(ask("GET", "/api/v1/session").cookie(&fresh)).await.text_of("sid");
    assert_eq!(after, sid);
    assert!(!world.cookie_counts(&browser).await);

    // The mark belongs to one request, and nobody can make it.
    let stamp = next.split_once("symbolon_asked=").unwrap().1;
    let other =
        format!("{}&symbolon_asked={stamp}", request(&[("prompt", "login"), ("state", "b")]));
    let long_ago =
        format!("{}&symbolon_asked=0.AAAAAAAAAAAAAAAAAAAAAA", request(&[("prompt", "login")]));
    for forged in [other, long_ago] {
        let answer = provider.get(&fresh, &forged).await.expect(303);
        assert!(answer.location().starts_with("/login?"), "{answer:?}");
    }
    // With `prompt=none` nobody is asked for anything.
    let silent = [("prompt", "none"), ("max_age", "0")];
    let answer = provider.authorize(&fresh, &silent).await.expect(303);
    assert_eq!(said(&answer, "error").as_deref(), Some("login_required"));
}

#[tokio::test]
async fn an_id_token_says_whom_the_client_means() {
    let provider = Provider::new().await;
    let world = &provider.world;
    let browser = world.cookie("user").await;
    let code = said(&provider.authorize(&browser, &[]).await, "code").unwrap();
    let tokens = provider.redeem(&provider.ours, &code).await.expect(200);
    let hint = tokens.text_of("id_token");
    let hinted = [("id_token_hint", &*hint), ("prompt", "none")];
    let answer = provider.authorize(&browser, &hinted).await.expect(303);
    assert!(said(&answer, "code").is_some(), "{answer:?}");
    let other = world.cookie("other").await;
    let answer = provider.authorize(&other, &hinted).await.expect(303);
    assert_eq!(said(&answer, "error").as_deref(), Some("login_required"));
    let answer = provider.authorize(&other, &hinted[..1]).await.expect(303);
    assert!(answer.location().contains("again=1"), "{answer:?}");
    // Another client's, an access token, a forged one.
    let forged = format!("{}AAAA", &hint[..hint.len() - 4]);
    let access = tokens.text_of("access_token");
    let theirs = [("client_id", "theirs"), ("id_token_hint", &*hint)];
    for wrong in [&theirs[..], &[("id_token_hint", &*access)], &[("id_token_hint", &*forged)]] {
        let answer = provider.authorize(&browser, wrong).await.expect(303);
        assert_eq!(said(&answer, "error").as_deref(), Some("invalid_request"), "{wrong:?}");
    }
}

#[tokio::test]
async fn an_account_can_be_chosen() {
    let provider = Provider::new().await;
    let browser = provider.world.cookie("user").await;
    let page = provider.authorize(&browser, &[("prompt", "select_account")]).await.expect(200);
    assert!(page.text.contains("id=\"account\"") && !page.text.contains("id=\"scope-openid\""));
    let switch = Provider::decide(&page, &browser, "switch");
    let to_login = provider.world.send(switch).await.expect(303);
    let (fresh, next) = provider.log_in_again(&browser, &to_login).await;
    let answer = provider.world.send(ask("GET", &next).cookie(&fresh)).await.expect(303);
    assert!(said(&answer, "code").is_some(), "{answer:?}");
    let page = provider.authorize(&fresh, &[("prompt", "select_account")]).await.expect(200);
    let go_on = provider.world.send(Provider::decide(&page, &fresh, "allow")).await.expect(303);
    assert!(said(&go_on, "code").is_some(), "{go_on:?}");
}

#[tokio::test]
async fn the_login_page_knows_who_is_expected() {
    let provider = Provider::new().await;
    let hinted = [("login_hint", "user"), ("ui_locales", "ko")];
    let query = request(&hinted);
    let page = ask("GET", &format!("/oauth2/authorize?{query}"));
    let answer = provider.world.send(page).await.expect(303);
    let login = provider.world.send(ask("GET", answer.location())).await.expect(200);
    assert!(login.text.contains("value=\"user\"") && login.text.contains("lang=\"ko\""));
}

#[tokio::test]
async fn what_nobody_asks_for_changes_nothing() {
    let provider = Provider::new().await;
    let browser = provider.world.cookie("user").await;
    let long = "n".repeat(384);
    for changes in [
        &[("display", "page")][..],
        &[("display", "popup")],
        &[("claims_locales", "se")],
        &[("extra", "foobar")],
        &[("acr_values", "1 2")],
        &[("scope", "profile openid")],
        &[("state", "")],
        &[("nonce", &long[..64])],
        &[("nonce", &long)],
    ] {
        // The same in another order.
        let sent = request(changes);
        let turned: Vec<&str> = sent.split('&').rev().collect();
        for query in [turned.join("&"), sent] {
            let answer = provider.get(&browser, &query).await.expect(303);
            let code = said(&answer, "code").unwrap_or_else(|| panic!("{changes:?}: {answer:?}"));
            let without_state = changes[0].0 == "state";
            assert_eq!(said(&answer, "state").is_none(), without_state);
            let tokens = provider.redeem(&provider.ours, &code).await.expect(200);
            let claims = tokens.text_of("id_token").split('.').nth(1).unwrap().to_owned();
            let claims = URL_SAFE_NO_PAD.decode(claims).unwrap();
            let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
            assert_eq!(claims["acr"], "aal1");
            let nonce = changes.iter().find(|(name, _)| *name == "nonce").map(|(_, value)| *value);
            assert_eq!(claims["nonce"].as_str(), nonce);
        }
    }
}

#[tokio::test]
async fn a_redirect_uri_keeps_its_query() {
    let provider = Provider::new().await;
    let world = &provider.world;
    let browser = world.cookie("user").await;
    let registered = "https://query.example/in?tenant=a&b=c";
    let query = json!({ "first_party": true, "redirect_uris": [registered] });
    world.add_client("query", "confidential", query).await;
    let to = |uri| [("client_id", "query"), ("redirect_uri", uri)];
    let answer = provider.authorize(&browser, &to(registered)).await.expect(303);
    assert!(answer.location().starts_with(&format!("{registered}&code=")), "{answer:?}");
    for evil in [
        "https://query.example/in",
        "https://query.example/in?tenant=b&b=c",
        "https://query.example/in?b=c&tenant=a",
        "https://query.example/in?tenant=a&b=c&d=e",
    ] {
        provider.authorize(&browser, &to(evil)).await.expect(400);
    }
}

#[tokio::test]
async fn an_answer_by_form() {
    let provider = Provider::new().await;
    let browser = provider.world.cookie("user").await;
    let page = provider.authorize(&browser, &[("response_mode", "form_post")]).await.expect(200);
    assert!(page.text.contains(&format!("action=\"{CALLBACK}\"")), "{}", page.text);
    assert_eq!(hidden(&page, "state"), "a state");
    assert_eq!(hidden(&page, "iss"), ORIGIN);
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("form-action 'self' https://theirs.example"), "{policy}");
    assert!(policy.ends_with("script-src 'self'"), "{policy}");
    assert_eq!(page.headers["cache-control"], "no-store");
    let code = hidden(&page, "code");
    provider.redeem(&provider.ours, &code).await.expect(200);
    // Markup in what is sent back stays text.
    let evil = [("response_mode", "form_post"), ("state", "\"><script>alert(1)</script>")];
    let page = provider.authorize(&browser, &evil).await.expect(200);
    assert!(!page.text.contains("<script>alert"), "{}", page.text);
    // Errors take the same way.
    let wrong = [("response_mode", "form_post"), ("prompt", "create")];
    let page = provider.authorize(&browser, &wrong).await.expect(200);
    assert_eq!(hidden(&page, "error"), "invalid_request");
}

#[tokio::test]
async fn a_request_by_form_comes_again_by_link() {
    let provider = Provider::new().await;
    let world = &provider.world;
    let browser = world.cookie("user").await;
    let form = request(&[]);
    let post = ask("POST", "/oauth2/authorize").raw(form).cookie(&browser);
    let post = post.header("content-type", "application/x-www-form-urlencoded");
    let answer = world.send(post.header("origin", "https://theirs.example")).await.expect(303);
    let answer = world.send(ask("GET", answer.location()).cookie(&browser)).await.expect(303);
    assert!(said(&answer, "code").is_some(), "{answer:?}");
}

#[tokio::test]
async fn pushed_requests() {
    let provider = Provider::new().await;
    let world = &provider.world;
    let browser = world.cookie("user").await;
    let pushing = json!({
        "first_party": true, "redirect_uris": [CALLBACK],
        "require_pushed_authorization_requests": true,
    });
    let pushing = world.add_client("pushing", "confidential", pushing).await;
    let push = async |changes: Fields<'_>| {
        let body = request(&[&[("client_id", "pushing")], changes].concat());
        let post = ask("POST", "/oauth2/par").basic(&pushing).raw(body);
        world.send(post.header("content-type", "application/x-www-form-urlencoded")).await
    };
    let link = |client: &str, uri: &str| {
        serde_urlencoded::to_string([("client_id", client), ("request_uri", uri)]).unwrap()
    };
    let pushed = push(&[]).await.expect(201);
    assert_eq!(pushed.json()["expires_in"], 540);
    let uri = pushed.text_of("request_uri");
    assert!(uri.starts_with("urn:ietf:params:oauth:request_uri:"), "{uri}");

    // What stands beside it in the link counts for nothing.
    let beside = format!(
        "{}&scope=cart&state=evil&redirect_uri=https://evil.example",
        link("pushing", &uri)
    );
    let answer = provider.get(&browser, &beside).await.expect(303);
    assert!(answer.location().starts_with(CALLBACK), "{answer:?}");
    assert_eq!(said(&answer, "state").as_deref(), Some("a state"));
    let code = said(&answer, "code").unwrap();
    assert_eq!(provider.redeem(&pushing, &code).await.expect(200).text_of("scope"), "openid");

    // Stale: it was used. Stolen: it is another client's. Forged: there is none.
    let fresh = push(&[]).await.expect(201).text_of("request_uri");
    let none = format!("urn:ietf:params:oauth:request_uri:{}", "A".repeat(43));
    for link in [link("pushing", &uri), link("ours", &fresh), link("pushing", &none)] {
        let page = provider.get(&browser, &link).await.expect(400);
        assert!(page.text.contains("request_uri"), "{}", page.text);
    }
    // One that waits for a login is not used up by that.
    let to_login = provider.get("", &link("pushing", &fresh)).await.expect(303);
    assert!(to_login.location().starts_with("/login?next="), "{to_login:?}");
    let answer = provider.get(&browser, &link("pushing", &fresh)).await.expect(303);
    assert!(said(&answer, "code").is_some());

    // A client that has to push cannot do without, and nobody sends a browser to a URI from elsewhere.
    let plain = provider.authorize(&browser, &[("client_id", "pushing")]).await.expect(303);
    assert_eq!(said(&plain, "error").as_deref(), Some("invalid_request"));
    let by_reference = [("request_uri", "https://theirs.example/request.jwt")];
    let answer = provider.authorize(&browser, &by_reference).await.expect(303);
    assert_eq!(said(&answer, "error").as_deref(), Some("request_uri_not_supported"));

    // What is wrong is said to the client at once, and rests nowhere.
    for (change, error) in [
        (("redirect_uri", "https://evil.example/in"), "invalid_request"),
        (("redirect_uri", ""), "invalid_request"),
        (("prompt", "create"), "invalid_request"),
        (("response_type", "token"), "unsupported_response_type"),
        (("request_uri", "urn:x"), "invalid_request"),
    ] {
        assert_eq!(push(&[change]).await.expect(400).text_of("error"), error, "{change:?}");
    }
    let stranger = ("pushing".to_owned(), "symc_wrong".to_owned());
    let post = ask("POST", "/oauth2/par").basic(&stranger).raw(request(&[]));
    let post = post.header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(world.send(post).await.expect(401).text_of("error"), "invalid_client");
}

/// The requests of one client that rest are bounded; who only says its name must not use them up.
#[tokio::test]
async fn a_flood_of_requests_in_a_public_clients_name() {
    let world = World::new().await;
    let ours = json!({ "first_party": true, "redirect_uris": [CALLBACK] });
    let web = world.add_client("ours", "confidential", ours.clone()).await;
    let app = world.add_client("app", "public", ours).await;
    let push = |id: &str| {
        let post = ask("POST", "/oauth2/par").raw(request(&[("client_id", id)]));
        post.header("content-type", "application/x-www-form-urlencoded")
    };
    let mut taken = 0;
    let refused = loop {
        let answer = world.send(push(&app.0)).await;
        if answer.status != 201 {
            break answer.expect(429);
        }
        taken += 1;
    };
    assert_eq!(refused.text_of("error"), "temporarily_unavailable");
    assert!((300..symbolon_core::oauth::pushed::PUSHED_MAX).contains(&taken), "{taken}");
    world.send(push(&web.0).basic(&web)).await.expect(201);
}

#[tokio::test]
async fn a_stale_pushed_request() {
    let provider = Provider::new().await;
    let world = &provider.world;
    let browser = world.cookie("user").await;
    let client = "ours".parse().unwrap();
    let now = symbolon::app::now();
    for (ago, counts) in [(LIFE - Duration::from_secs(30), true), (LIFE, false)] {
        let pushed = symbolon::ops::push::push(&world.app, &client, request(&[]), now - ago);
        let uri = pushed.await.unwrap();
        let link = [("client_id", "ours"), ("request_uri", &*uri)];
        let answer = provider.get(&browser, &serde_urlencoded::to_string(link).unwrap()).await;
        if counts {
            assert!(said(&answer.expect(303), "code").is_some());
        } else {
            let page = answer.expect(400);
            assert!(page.text.contains("request_uri"), "{}", page.text);
        }
    }
}

#[tokio::test]
async fn a_pushed_request_gives_one_code_however_many_ask() {
    let provider = Provider::new().await;
    let world = &provider.world;
    let browser = world.cookie("user").await;
    for _ in 0..crate::races() / 50 + 1 {
        let post = ask("POST", "/oauth2/par").basic(&provider.ours).raw(request(&[]));
        let post = post.header("content-type", "application/x-www-form-urlencoded");
        let uri = world.send(post).await.expect(201).text_of("request_uri");
        let link = [("client_id", "ours"), ("request_uri", &*uri)];
        let link = serde_urlencoded::to_string(link).unwrap();
        let asks = (0..8).map(|_| provider.get(&browser, &link));
        let answers = futures_util::future::join_all(asks).await;
        let codes = answers.iter().filter(|answer| said(answer, "code").is_some()).count();
        assert_eq!(codes, 1, "{answers:?}");
    }
}

#[tokio::test]
async fn signed_requests() {
    let provider = Provider::new().await;
    let world = &provider.world;
    let browser = world.cookie("user").await;
    let (key, stranger) = (Key::new(), Key::new());
    let more = json!({
        "first_party": true, "redirect_uris": [CALLBACK], "jwks": { "keys": [key.named("1")] },
    });
    world.add_client("signing", "confidential", more).await;
    let object = |key: &Key, changes: &Value| {
        let header = json!({ "typ": "oauth-authz-req+jwt", "alg": "ES256", "kid": "1" });
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, VERIFIER.as_bytes()));
        let mut claims = json!({
            "iss": "signing", "aud": ORIGIN, "exp": symbolon::app::now().secs() + 60,
            "client_id": "signing", "response_type": "code", "redirect_uri": CALLBACK,
            "scope": "openid", "state": "signed", "code_challenge": challenge,
            "code_challenge_method": "S256",
        });
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        key.sign(&header, &claims)
    };
    let link = |object: &str, more: Fields<'_>| {
        let fields = [&[("client_id", "signing"), ("request", object)], more].concat();
        serde_urlencoded::to_string(fields).unwrap()
    };
    // Nothing beside the object counts.
    let good = object(&key, &json!({}));
    let beside =
        [("state", "evil"), ("scope", "openid profile"), ("redirect_uri", "https://evil.example/")];
    let answer = provider.get(&browser, &link(&good, &beside)).await.expect(303);
    assert!(answer.location().starts_with(CALLBACK), "{answer:?}");
    assert_eq!(said(&answer, "state").as_deref(), Some("signed"));
    assert!(said(&answer, "code").is_some(), "{answer:?}");

    // A login takes longer than an object lives; what was seen in time counts, marked by nobody but this server.
    let wants_login = object(&key, &json!({ "prompt": "login" }));
    let to_login = provider.get(&browser, &link(&wants_login, &[])).await.expect(303);
    let (fresh, next) = provider.log_in_again(&browser, &to_login).await;
    let answer = world.send(ask("GET", &next).cookie(&fresh)).await.expect(303);
    assert!(said(&answer, "code").is_some(), "{answer:?}");

    // Forged, unsigned, expired, another client's, for another server, one within another: with a redirect URI of the
    // client's beside it the client hears of it, without one the person.
    let unsigned = good.rsplit_once('.').unwrap().0.to_owned() + ".";
    let none = format!(
        "{}.{}.",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#),
        good.split('.').nth(1).unwrap()
    );
    for wrong in [
        object(&stranger, &json!({})),
        unsigned,
        none,
        object(&key, &json!({ "exp": symbolon::app::now().secs() - 60 })),
        object(&key, &json!({ "iss": "ours" })),
        object(&key, &json!({ "client_id": "ours" })),
        object(&key, &json!({ "aud": "https://other.example" })),
        object(&key, &json!({ "request": good })),
    ] {
        let page = provider.get(&fresh, &link(&wrong, &[])).await.expect(400);
        assert!(page.text.contains("<code id=\"parameter\">request</code>"), "{}", page.text);
        let told = provider.get(&fresh, &link(&wrong, &[("redirect_uri", CALLBACK)])).await;
        assert_eq!(said(&told.expect(303), "error").as_deref(), Some("invalid_request_object"));
    }
    // What is in it is judged as anything else.
    let evil = object(&key, &json!({ "redirect_uri": "https://evil.example/" }));
    provider.get(&fresh, &link(&evil, &[("redirect_uri", CALLBACK)])).await.expect(400);
    let by_other =
        serde_urlencoded::to_string([("client_id", "ours"), ("request", &good)]).unwrap();
    provider.get(&fresh, &by_other).await.expect(400);

    // Pushed: what rests is what was signed.
    let assertion = key.assertion("signing", "1", &json!({}));
    let form = [
        ("request", &*good),
        ("client_assertion_type", crate::keys::ASSERTION_TYPE),
        ("client_assertion", &assertion),
    ];
    let pushed = world.send(ask("POST", "/oauth2/par").form(&form)).await.expect(201);
    let uri = pushed.text_of("request_uri");
    let by_name = [("client_id", "signing"), ("request_uri", &*uri)];
    let by_name = serde_urlencoded::to_string(by_name).unwrap();
    let answer = provider.get(&fresh, &by_name).await.expect(303);
    assert_eq!(said(&answer, "state").as_deref(), Some("signed"));
}

#[tokio::test]
async fn pkce_is_asked_for_unless_the_client_needs_none() {
    let provider = Provider::new().await;
    let world = &provider.world;
    let browser = world.cookie("user").await;
    let old = json!({ "first_party": true, "redirect_uris": [CALLBACK], "pkce_required": false });
    let old = world.add_client("old", "confidential", old).await;
    let without = [("code_challenge", ""), ("code_challenge_method", "")];
    let refused = provider.authorize(&browser, &without).await.expect(303);
    assert_eq!(said(&refused, "error").as_deref(), Some("invalid_request"));

    let code = async |changes: Fields<'_>| {
        let changes = fields(&[("client_id", "old")], changes);
        // An empty one is left out of the request, and must stay in the list.
        let all: Vec<_> = changes.into_iter().chain(without).collect();
        let answer = provider.authorize(&browser, &all).await.expect(303);
        said(&answer, "code").unwrap_or_else(|| panic!("{answer:?}"))
    };
    let form = |code: &str, more: Fields<'_>| {
        let usual =
            [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", CALLBACK)];
        ask("POST", "/oauth2/token").basic(&old).form(&fields(&usual, more))
    };
    let plain = code(&[]).await;
    // PKCE downgrade: a verifier where there was no challenge shows that somebody took the challenge away.
    let spoilt = world.send(form(&plain, &[("code_verifier", VERIFIER)])).await.expect(400);
    assert_eq!(spoilt.text_of("error"), "invalid_grant");
    world.send(form(&plain, &[])).await.expect(200);
    // Who sent a challenge is held to it.
    let answer = provider.authorize(&browser, &[("client_id", "old")]).await.expect(303);
    let bound = said(&answer, "code").unwrap();
    let refused = world.send(form(&bound, &[])).await.expect(400);
    assert_eq!(refused.text_of("error"), "invalid_grant");
}

#[tokio::test]
async fn a_native_app_comes_back_to_any_port() {
    let provider = Provider::new().await;
    let world = &provider.world;
    let browser = world.cookie("user").await;
    let native = json!({
        "first_party": true, "redirect_uris": ["http://127.0.0.1/done"], "application_type": "native",
    });
    world.add_client("native", "public", native).await;
    let to = |uri| [("client_id", "native"), ("redirect_uri", uri)];
    let answer = provider.authorize(&browser, &to("http://127.0.0.1:49152/done")).await.expect(303);
    assert!(answer.location().starts_with("http://127.0.0.1:49152/done?code="), "{answer:?}");
    for evil in [
        "http://127.0.0.1:49152/other",
        "http://127.0.0.1:80@evil.example/done",
        "http://127.0.0.1.evil.example/done",
        "https://127.0.0.1:49152/done",
        "http://localhost:49152/done",
    ] {
        provider.authorize(&browser, &to(evil)).await.expect(400);
    }
}
