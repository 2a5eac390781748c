//! Logout at an application's wish: the walk, the question, the frames, and every attack on it by its name.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use symbolon::app::now;
use symbolon_core::{
    id::{KeyId, SessionId, UserId},
    keys::{Algorithm, SigningKey},
    secret::SecretText,
    session::{Assurance, Login, Method},
    token::{IdToken, LogoutToken},
    user::Epoch,
};

use crate::{
    backchannel::{CALLBACK, sign_in},
    world::{Answer, ORIGIN, World, ask},
};

const GOODBYE: &str = "https://web.example/goodbye";

type Client = (String, String);

struct Shop {
    world: World,
    web: Client,
}

/// A browser that is logged in here and at the client.
struct Browser {
    cookie: String,
    hint: String,
    sid: String,
}

fn query(fields: &[(&str, &str)]) -> String {
    format!("/oauth2/logout?{}", serde_urlencoded::to_string(fields).unwrap())
}

/// The value of a hidden field.
fn field(page: &str, name: &str) -> String {
    let lead = format!("name=\"{name}\" value=\"");
    let rest = page.split(&lead).nth(1).unwrap_or_else(|| panic!("no {name} in {page}"));
    rest.split('"').next().unwrap().replace("&#38;", "&")
}

fn directive<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let policy = answer.headers["content-security-policy"].to_str().unwrap();
    policy.split("; ").find_map(|directive| directive.strip_prefix(name)).map(str::trim)
}

impl Shop {
    async fn new() -> Self {
        let world = World::new().await;
        let web = Self::client(&world, "web", json!({})).await;
        Self { world, web }
    }

    async fn client(world: &World, id: &str, more: Value) -> Client {
        let mut all = json!({
            "first_party": true, "redirect_uris": [CALLBACK, "https://web.example:8443/in"], "id_token_algorithm": "ES256",
            "post_logout_redirect_uris": [GOODBYE, "https://web.example/bye?from=here"],
        });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        world.add_client(id, "confidential", all).await
    }

    async fn browser(&self) -> Browser {
        let cookie = self.world.cookie("user").await;
        let answer = sign_in(&self.world, &cookie, &self.web, "openid").await;
        Browser { cookie, hint: answer.text_of("id_token"), sid: answer.text_of("sid") }
    }

    async fn get(&self, cookie: &str, fields: &[(&str, &str)]) -> Answer {
        let request = ask("GET", &query(fields)).header("accept", "text/html");
        self.world.send(request.cookie(cookie)).await
    }

    /// Asks, and expects that nobody is logged out.
    async fn harmless(&self, browser: &Browser, fields: &[(&str, &str)], status: u16) -> Answer {
        let answer = self.get(&browser.cookie, fields).await.expect(status);
        assert_eq!(answer.location(), "", "{fields:?}");
        assert!(answer.headers.get("set-cookie").is_none(), "{fields:?}");
        assert!(self.world.cookie_counts(&browser.cookie).await, "{fields:?}");
        answer
    }

    /// An ID token of this server as it could have been issued.
    async fn id_token(&self, of: &str, session: &str, issuer: &str, key: &SigningKey) -> String {
        let client = of.parse().unwrap();
        let login = Login {
            user: UserId::from_bytes([1; 16]),
            epoch: Epoch(1),
            at: now(),
            methods: vec![Method::Pwd],
            assurance: Assurance::Aal1,
            remembered: false,
        };
        let issued_at = now() - Duration::from_hours(48);
        let token = IdToken {
            issuer,
            client: &client,
            subject: login.user,
            login: &login,
            session: session.parse().unwrap(),
            issued_at,
            expires_at: issued_at + Duration::from_secs(60),
            nonce: None,
        };
        let access = SecretText::new("access".to_owned());
        token.issue(&access, key).unwrap().expose().to_owned()
    }

    fn key(&self) -> SigningKey {
        let keys = self.world.app.keys();
        let key = keys.ring.signing_key(Algorithm::Es256, now()).unwrap();
        let (id, secret) = (key.verifying_key().id(), key.to_pkcs8().unwrap());
        SigningKey::from_pkcs8(id, Algorithm::Es256, &secret).unwrap()
    }
}

#[tokio::test]
async fn a_hint_of_this_browser_logs_out_and_leads_back() {
    let shop = Shop::new().await;
    for (to, state, back) in [
        (GOODBYE, "a state & more", format!("{GOODBYE}?state=a+state+%26+more")),
        (GOODBYE, "", GOODBYE.to_owned()),
        (
            "https://web.example/bye?from=here",
            "s",
            "https://web.example/bye?from=here&state=s".into(),
        ),
    ] {
        let browser = shop.browser().await;
        let fields = [
            ("id_token_hint", browser.hint.as_str()),
            ("client_id", "web"),
            ("post_logout_redirect_uri", to),
            ("state", state),
            ("logout_hint", "user"),
            ("unknown", "parameter"),
        ];
        let answer = shop.get(&browser.cookie, &fields).await.expect(303);
        assert_eq!(answer.location(), back);
        let removed = answer.headers["set-cookie"].to_str().unwrap();
        assert!(removed.starts_with("symbolon=;") && removed.contains("Max-Age=0"), "{removed}");
        assert!(!shop.world.cookie_counts(&browser.cookie).await);
        // Once more, as a browser does that goes back a page.
        assert_eq!(shop.get(&browser.cookie, &fields).await.expect(303).location(), back);
    }
    // Without a way back there is a page.
    let browser = shop.browser().await;
    let answer = shop.get(&browser.cookie, &[("id_token_hint", &browser.hint)]).await.expect(200);
    assert!(answer.text.contains("You are logged out"));
    assert!(!shop.world.cookie_counts(&browser.cookie).await);
}

#[tokio::test]
async fn an_expired_hint_is_as_good() {
    let shop = Shop::new().await;
    let browser = shop.browser().await;
    let hint = shop.id_token("web", &browser.sid, ORIGIN, &shop.key()).await;
    let fields = [("id_token_hint", hint.as_str()), ("post_logout_redirect_uri", GOODBYE)];
    assert_eq!(shop.get(&browser.cookie, &fields).await.expect(303).location(), GOODBYE);
    assert!(!shop.world.cookie_counts(&browser.cookie).await);
}

#[tokio::test]
async fn a_form_of_another_site_becomes_a_question_to_this_browser() {
    let shop = Shop::new().await;
    let browser = shop.browser().await;
    // Browsers send no Lax cookie along; whoever sends one gets nothing by it.
    let fields = [("id_token_hint", browser.hint.as_str()), ("state", "s")];
    let post =
        || ask("POST", "/oauth2/logout").form(&fields).header("origin", "https://web.example");
    for post in [post(), post().cookie(&browser.cookie)] {
        let answer = shop.world.send(post).await.expect(303);
        assert_eq!(answer.location(), query(&fields));
        assert!(answer.headers.get("set-cookie").is_none());
    }
    assert!(shop.world.cookie_counts(&browser.cookie).await);
    let long = "x".repeat(20_000);
    let post =
        ask("POST", "/oauth2/logout").form(&[("state", &long)]).header("accept", "text/html");
    shop.world.send(post).await.expect(413);
}

#[tokio::test]
async fn open_redirect_on_logout() {
    let shop = Shop::new().await;
    let other = json!({ "post_logout_redirect_uris": ["https://other.example/out"] });
    Shop::client(&shop.world, "other", other).await;
    let browser = shop.browser().await;
    let hint = ("id_token_hint", browser.hint.as_str());
    for uri in [
        "https://evil.example/",
        "https://web.example/goodbye/",
        "https://web.example/goodbye?x=1",
        "https://web.example/goodbye#x",
        "https://web.example/Goodbye",
        "HTTPS://web.example/goodbye",
        "https://web.example:443/goodbye",
        "https://web.example/goodbye/../goodbye",
        "https://web.example/",
        "https://web.example@evil.example/goodbye",
        "http://web.example/goodbye",
        "//web.example/goodbye",
        "/login",
        "javascript:alert(1)",
        // Where codes go is no place to go to after a logout.
        CALLBACK,
        // Another client's.
        "https://other.example/out",
    ] {
        let asked = ("post_logout_redirect_uri", uri);
        for fields in [&[hint, asked][..], &[("client_id", "web"), asked], &[asked]] {
            let answer = shop.harmless(&browser, fields, 400).await;
            assert!(answer.text.contains("post_logout_redirect_uri"), "{uri}: {}", answer.text);
        }
    }
    // A registered one, and nobody who says whose it is.
    shop.harmless(&browser, &[("post_logout_redirect_uri", GOODBYE)], 400).await;
    // The same for who is not logged in, and for the answer to the question.
    let asked = [("client_id", "web"), ("post_logout_redirect_uri", "https://evil.example/")];
    shop.world.send(ask("GET", &query(&asked)).header("accept", "text/html")).await.expect(400);
    let form = ask("POST", "/oauth2/logout/confirm").form(&asked).by_our_page();
    shop.world.send(form.header("accept", "text/html")).await.expect(400);
    // None of these can be registered: in a frame it would be somebody else's.
    for uri in ["https://evil.example/", "https://web.example.evil.example/", "http://web.example/"]
    {
        let client = json!({
            "id": "x", "kind": "confidential", "redirect_uris": ["https://web.example/in"],
            "frontchannel_logout_uri": uri,
        });
        let answer = shop.world.admin(ask("POST", "/clients").json(&client)).await;
        assert!(answer.status.is_client_error(), "{uri}");
    }
    // Nor these.
    for uri in [
        "javascript:alert(1)",
        "data:text/html,x",
        "http://web.example/",
        "//web.example/",
        "https://a@b/",
    ] {
        let client = json!({ "id": "x", "kind": "public", "post_logout_redirect_uris": [uri] });
        let answer = shop.world.admin(ask("POST", "/clients").json(&client)).await;
        assert!(answer.status.is_client_error(), "{uri}");
    }
}

/// Apache's mod_auth_openidc does so: it revokes its refresh token, and then sends the browser with its ID token.
#[tokio::test]
async fn an_application_that_revoked_its_tokens_logs_out_without_a_question() {
    let shop = Shop::new().await;
    let cookie = shop.world.cookie("user").await;
    let tokens = sign_in(&shop.world, &cookie, &shop.web, "openid").await;
    let refresh_token = tokens.text_of("refresh_token");
    let revoke = ask("POST", "/oauth2/revoke").form(&[("token", refresh_token.as_str())]);
    shop.world.send(revoke.basic(&shop.web)).await.expect(200);
    assert!(shop.world.cookie_counts(&cookie).await);
    let hint = tokens.text_of("id_token");
    let fields = [("id_token_hint", hint.as_str()), ("post_logout_redirect_uri", GOODBYE)];
    let answer = shop.get(&cookie, &fields).await.expect(303);
    assert_eq!(answer.location(), GOODBYE);
    assert!(!shop.world.cookie_counts(&cookie).await);
}

#[tokio::test]
async fn logout_csrf_ends_nothing() {
    let shop = Shop::new().await;
    let victim = shop.browser().await;
    let attacker = shop.browser().await;
    let attackers = attacker.hint.as_str();
    let ended = shop.browser().await;
    shop.get(&ended.cookie, &[("id_token_hint", &ended.hint)]).await.expect(200);
    for fields in [
        &[][..],
        &[("client_id", "web")],
        &[("client_id", "web"), ("post_logout_redirect_uri", GOODBYE)],
        &[("logout_hint", "user")],
        &[("id_token_hint", attackers)],
        &[("id_token_hint", attackers), ("post_logout_redirect_uri", GOODBYE)],
        &[("id_token_hint", ended.hint.as_str())],
    ] {
        let answer = shop.harmless(&victim, fields, 200).await;
        assert!(answer.text.contains("id=\"logout-form\""), "{fields:?}");
    }
    let question = shop.harmless(&victim, &[], 200).await;
    let token = field(&question.text, "csrf_token");
    let others = shop.harmless(&attacker, &[], 200).await;
    let others = field(&others.text, "csrf_token");
    let form = |token: &str| ask("POST", "/oauth2/logout/confirm").form(&[("csrf_token", token)]);
    let victims = |form: crate::world::Ask| form.cookie(&victim.cookie);
    for post in [
        victims(form(&token).header("origin", "https://evil.example")),
        victims(form(&token)),
        victims(form(&others).by_our_page()),
        victims(form("").by_our_page()),
        form(&token).header("origin", "https://evil.example"),
    ] {
        let answer = shop.world.send(post).await.expect(403);
        assert!(answer.headers.get("set-cookie").is_none());
    }
    assert!(shop.world.cookie_counts(&victim.cookie).await);
    shop.world.send(victims(form(&token).by_our_page())).await.expect(200);
    assert!(!shop.world.cookie_counts(&victim.cookie).await);
}

#[tokio::test]
async fn the_question_leads_where_it_says_and_nowhere_else() {
    let shop = Shop::new().await;
    let browser = shop.browser().await;
    let fields = [
        ("client_id", "web"),
        ("post_logout_redirect_uri", GOODBYE),
        ("state", "\"><script>&"),
        ("ui_locales", "ko"),
    ];
    let question = shop.harmless_but_language(&browser, &fields).await;
    assert!(question.text.contains("web 앱에서 로그아웃을 요청했어요."), "{}", question.text);
    assert_eq!(directive(&question, "form-action"), Some("'self' https://web.example"));
    assert_eq!(directive(&question, "frame-ancestors"), Some("'none'"));
    assert!(!question.text.contains("<script"));
    let form: Vec<(&str, String)> = ["csrf_token", "client_id", "post_logout_redirect_uri"]
        .map(|name| (name, field(&question.text, name)))
        .into();
    let mut form: Vec<(&str, &str)> =
        form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    form.push(("state", "\"><script>&"));
    let post = ask("POST", "/oauth2/logout/confirm").form(&form).cookie(&browser.cookie);
    let answer = shop.world.send(post.by_our_page()).await.expect(303);
    assert_eq!(answer.location(), format!("{GOODBYE}?state=%22%3E%3Cscript%3E%26"));
    assert!(!shop.world.cookie_counts(&browser.cookie).await);
    // Without a target nothing but our own pages can be reached.
    let browser = shop.browser().await;
    let question = shop.harmless(&browser, &[], 200).await;
    assert_eq!(directive(&question, "form-action"), Some("'self'"));
}

impl Shop {
    /// As [`Self::harmless`], where the language that was asked for is remembered.
    async fn harmless_but_language(&self, browser: &Browser, fields: &[(&str, &str)]) -> Answer {
        let answer = self.get(&browser.cookie, fields).await.expect(200);
        let set = answer.headers["set-cookie"].to_str().unwrap();
        assert!(!set.starts_with("symbolon="), "{set}");
        assert!(self.world.cookie_counts(&browser.cookie).await);
        answer
    }
}

#[tokio::test]
async fn a_forged_or_foreign_hint_ends_nothing() {
    let shop = Shop::new().await;
    Shop::client(&shop.world, "other", json!({})).await;
    let browser = shop.browser().await;
    let parts: Vec<&str> = browser.hint.split('.').collect();
    let encode = |text: String| URL_SAFE_NO_PAD.encode(text);
    let decode = |part: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    let (header, claims) = (decode(parts[0]), decode(parts[1]));
    let joined = |header: &str, claims: &str, signature: &str| {
        format!("{}.{}.{signature}", encode(header.to_owned()), encode(claims.to_owned()))
    };
    let own = shop.key();
    let stranger = SigningKey::generate(own.verifying_key().id(), Algorithm::Es256).unwrap();
    let answer = sign_in(&shop.world, &browser.cookie, &shop.web, "openid").await;
    let logout = LogoutToken {
        issuer: ORIGIN,
        client: &"web".parse().unwrap(),
        subject: "somebody",
        session: browser.sid.parse().unwrap(),
        id: symbolon_core::id::TokenId::from_bytes([1; 16]),
        issued_at: now(),
    };
    let plain = json!({ "token_type": "JWT" });
    let plain = Shop::client(&shop.world, "plain", plain).await;
    let plain = sign_in(&shop.world, &browser.cookie, &plain, "openid").await;
    for (name, hint) in [
        ("algorithm none", joined(&header.replace("ES256", "none"), &claims, "")),
        ("algorithm none, no key", joined(r#"{"alg":"none"}"#, &claims, "")),
        ("another algorithm", joined(&header.replace("ES256", "EdDSA"), &claims, parts[2])),
        ("a shared secret", joined(&header.replace("ES256", "HS256"), &claims, parts[2])),
        ("changed claims", joined(&header, &claims.replace("web", "other"), parts[2])),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("our key id, another key", shop.id_token("web", &browser.sid, ORIGIN, &stranger).await),
        ("another issuer", shop.id_token("web", &browser.sid, "https://evil.example", &own).await),
        ("a removed client", shop.id_token("gone", &browser.sid, ORIGIN, &own).await),
        ("an access token", answer.text_of("access_token")),
        ("an access token of type JWT", plain.text_of("access_token")),
        ("a logout token", logout.issue(&own).unwrap().expose().to_owned()),
        ("a refresh token", answer.text_of("refresh_token")),
        ("nothing of the kind", "x".repeat(9000)),
    ] {
        let page = shop.harmless(&browser, &[("id_token_hint", &hint)], 400).await;
        let named = page.text.contains("id_token_hint") || page.text.contains("client_id");
        assert!(named, "{name}: {}", page.text);
    }
    // One of another client than the request names.
    let fields = [("id_token_hint", browser.hint.as_str()), ("client_id", "other")];
    assert!(shop.harmless(&browser, &fields, 400).await.text.contains("client_id"));
    shop.harmless(&browser, &[("client_id", "nobody")], 400).await;
    // Older than our keys: it says nothing, so somebody is asked.
    let old = SigningKey::generate(KeyId::from_bytes([9; 16]), Algorithm::Es256).unwrap();
    let hint = shop.id_token("web", &browser.sid, ORIGIN, &old).await;
    let page = shop.harmless(&browser, &[("id_token_hint", &hint)], 200).await;
    assert!(page.text.contains("id=\"logout-form\""));
    // A parameter that stands twice.
    for name in ["id_token_hint", "post_logout_redirect_uri", "client_id", "state", "x"] {
        shop.harmless(&browser, &[(name, "a"), (name, "a")], 400).await;
    }
    // A session that never was.
    let sid = SessionId::from_bytes([3; 16]).to_string();
    let hint = shop.id_token("web", &sid, ORIGIN, &own).await;
    shop.harmless(&browser, &[("id_token_hint", &hint)], 200).await;
}

#[tokio::test]
async fn nobody_who_is_not_logged_in_is_sent_on_without_a_hint_or_a_click() {
    let shop = Shop::new().await;
    let asked = [("client_id", "web"), ("post_logout_redirect_uri", GOODBYE)];
    let answer = shop.world.send(ask("GET", &query(&asked))).await.expect(200);
    assert!(answer.headers.get("refresh").is_none());
    assert!(answer.text.contains(&format!("id=\"back\" href=\"{GOODBYE}\"")), "{}", answer.text);
}

#[tokio::test]
async fn logout_csrf_takes_no_visitors_cart() {
    let shop = Shop::new().await;
    let open = ask("POST", "/api/v1/sessions").json(&json!({})).basic(&shop.web);
    let set = shop.world.send(open).await.expect(201).text_of("set_cookie");
    let visitor = set.strip_prefix("symbolon=").unwrap().split(';').next().unwrap().to_owned();
    shop.world.issued.lock().unwrap().push(visitor.clone());
    let hint = shop.browser().await.hint;
    for fields in [&[][..], &[("id_token_hint", hint.as_str())]] {
        let answer = shop.get(&visitor, fields).await.expect(200);
        assert!(answer.headers.get("set-cookie").is_none(), "{answer:?}");
        assert!(shop.world.cookie_counts(&visitor).await);
    }
}

#[tokio::test]
async fn each_application_that_asked_is_framed_with_its_own_session() {
    let shop = Shop::new().await;
    let world = &shop.world;
    let framed = |uri: &str| json!({ "frontchannel_logout_uri": uri });
    let blog = Shop::client(world, "blog", framed("https://web.example/out")).await;
    let wiki = Shop::client(world, "wiki", framed("https://web.example:8443/out?a=b")).await;
    let hint = ("post_logout_redirect_uri", GOODBYE);
    for by_our_page in [false, true] {
        let browser = shop.browser().await;
        let (cookie, other) = (&browser.cookie, shop.browser().await);
        let blogs = sign_in(world, cookie, &blog, "openid").await.text_of("sid");
        let wikis = sign_in(world, cookie, &wiki, "openid").await.text_of("sid");
        let elsewhere = sign_in(world, &other.cookie, &blog, "openid").await.text_of("sid");
        let answer = if by_our_page {
            let page = world.send(ask("GET", "/logout").cookie(cookie)).await.expect(200);
            let token = field(&page.text, "csrf_token");
            let form = ask("POST", "/logout").form(&[("csrf_token", &token)]).cookie(cookie);
            world.send(form.by_our_page()).await.expect(200)
        } else {
            let fields = [("id_token_hint", browser.hint.as_str()), hint, ("state", "s")];
            shop.get(cookie, &fields).await.expect(200)
        };
        let mut frames: Vec<String> = answer
            .text
            .split("<iframe src=\"")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap().replace("&#38;", "&"))
            .collect();
        frames.sort();
        let iss = "iss=http%3A%2F%2Flocalhost%3A8080";
        let expected = [
            format!("https://web.example/out?{iss}&sid={blogs}"),
            format!("https://web.example:8443/out?a=b&{iss}&sid={wikis}"),
        ];
        let mut expected = expected.to_vec();
        expected.sort();
        assert_eq!(frames, expected);
        assert!(!answer.text.contains(&elsewhere));
        let sources = directive(&answer, "frame-src").unwrap();
        assert_eq!(sources, "https://web.example https://web.example:8443");
        let refresh = answer.headers.get("refresh").map(|value| value.to_str().unwrap());
        let back = format!("2; url={GOODBYE}?state=s");
        assert_eq!(refresh, (!by_our_page).then_some(back.as_str()));
        assert!(!world.cookie_counts(cookie).await && world.cookie_counts(&other.cookie).await);
    }
}

#[tokio::test]
async fn frames_are_counted() {
    let shop = Shop::new().await;
    let cookie = shop.world.cookie("user").await;
    for number in 0..20 {
        let more = json!({ "frontchannel_logout_uri": "https://web.example/out" });
        let client = Shop::client(&shop.world, &format!("app{number}"), more).await;
        sign_in(&shop.world, &cookie, &client, "openid").await;
    }
    let question = shop.get(&cookie, &[]).await.expect(200);
    let token = field(&question.text, "csrf_token");
    let post = ask("POST", "/oauth2/logout/confirm").form(&[("csrf_token", &token)]);
    let answer = shop.world.send(post.cookie(&cookie).by_our_page()).await.expect(200);
    assert_eq!(answer.text.matches("<iframe").count(), 16);
}
