//! Back-channel logout: whoever was told of a session hears of its end, whatever ends it, whatever the receiver does.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use symbolon::{app::now, jobs, ops};
use symbolon_core::{
    keys::{Jwk, VerifyingKey},
    notice::{GIVE_UP_AFTER, Notice},
};
use tokio::task::JoinHandle;

use crate::{
    process::{self, Server, free_port},
    receiver::{Receiver, Reply},
    store::Folder,
    world::{Answer, ORIGIN, PASSWORD, World, ask},
};

pub(crate) const CALLBACK: &str = "https://web.example/callback";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

type Client = (String, String);

/// A server whose clients live on this machine, and a client that wants to hear.
struct Shop {
    world: World,
    receiver: Receiver,
    web: Client,
    /// The job that delivers, where the test lets it run.
    job: Option<JoinHandle<()>>,
}

impl Drop for Shop {
    fn drop(&mut self) {
        if let Some(job) = &self.job {
            job.abort();
        }
    }
}

/// What the browser asks, and what the client posts.
pub(crate) fn authorization(client: &str, scope: &str) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, VERIFIER.as_bytes()));
    let fields = [
        ("response_type", "code"),
        ("client_id", client),
        ("redirect_uri", CALLBACK),
        ("scope", scope),
        ("nonce", "a nonce"),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
    ];
    format!("/oauth2/authorize?{}", serde_urlencoded::to_string(fields).unwrap())
}

pub(crate) fn redemption(location: &str) -> Vec<(&'static str, String)> {
    let (_, query) = location.split_once('?').unwrap();
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap();
    let code = pairs.into_iter().find(|(name, _)| name == "code").unwrap().1;
    vec![
        ("grant_type", "authorization_code".to_owned()),
        ("code", code),
        ("redirect_uri", CALLBACK.to_owned()),
        ("code_verifier", VERIFIER.to_owned()),
    ]
}

/// Logs in at a client whose name and secret these are, by the browser of this cookie.
pub(crate) async fn sign_in(world: &World, cookie: &str, client: &Client, scope: &str) -> Answer {
    let there = world.send(ask("GET", &authorization(&client.0, scope)).cookie(cookie)).await;
    let fields = redemption(there.expect(303).location());
    world.issued.lock().unwrap().push(fields[1].1.clone());
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, it)| (*name, it.as_str())).collect();
    world.send(ask("POST", "/oauth2/token").form(&fields).basic(client)).await.expect(200)
}

/// The logout token of a request, as a receiver reads it.
fn token(request: &str) -> String {
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /out"), "{head}");
    assert!(head.to_ascii_lowercase().contains("content-type: application/x-www-form-urlencoded"));
    assert!(!head.to_ascii_lowercase().contains("authorization"), "{head}");
    let fields: Vec<(String, String)> = serde_urlencoded::from_str(body).unwrap();
    let [(name, token)] = &fields[..] else { panic!("{body}") };
    assert_eq!(name, "logout_token");
    token.clone()
}

fn decoded(part: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn claims(request: &str) -> Value {
    decoded(token(request).split('.').nth(1).unwrap())
}

impl Shop {
    async fn new() -> Self {
        Self::with(&["127.0.0.1"]).await
    }

    async fn with(allowed: &[&str]) -> Self {
        let world = World::with(|config| {
            config.outbound.timeout = Duration::from_secs(60);
            config.outbound.allowed_networks =
                allowed.iter().map(|network| network.parse().unwrap()).collect();
        })
        .await;
        let receiver = Receiver::start().await;
        let web = Self::client(&world, "web", &receiver, "ES256").await;
        Self { world, receiver, web, job: None }
    }

    /// The job delivers from now on.
    async fn delivering() -> Self {
        let mut shop = Self::new().await;
        shop.job = Some(tokio::spawn(jobs::deliver::run(Arc::clone(&shop.world.app))));
        shop
    }

    async fn client(world: &World, id: &str, receiver: &Receiver, algorithm: &str) -> Client {
        let more = json!({
            "first_party": true, "redirect_uris": [CALLBACK], "id_token_algorithm": algorithm,
            "backchannel_logout_uri": receiver.url("/out"),
        });
        world.add_client(id, "confidential", more).await
    }

    /// A browser that is logged in here and at the client: its cookie, and the client's answer.
    async fn browser(&self) -> (String, Answer) {
        let cookie = self.world.cookie("user").await;
        let answer = sign_in(&self.world, &cookie, &self.web, "openid").await;
        (cookie, answer)
    }

    async fn log_out(&self, cookie: &str) {
        let logout = ask("POST", "/api/v1/logout").cookie(cookie).by_our_page();
        self.world.send(logout).await.expect(204);
    }

    /// Who is to be told, once every pause is over.
    async fn due(&self) -> Vec<Notice> {
        self.world.app.store.due(now() + Duration::from_hours(2), 100, 100).await.unwrap()
    }

    /// Tells everybody who is due once.
    async fn deliver(&self) {
        for notice in self.due().await {
            ops::tell::deliver(&self.world.app, &notice).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_logout_token_is_signed_for_its_client_and_is_nothing_else() {
    let shop = Shop::new().await;
    let world = &shop.world;
    let cookie = world.cookie("user").await;
    for algorithm in ["ES256", "EdDSA", "RS256"] {
        let id = algorithm.to_lowercase();
        let client = Shop::client(world, &id, &shop.receiver, algorithm).await;
        sign_in(world, &cookie, &client, "openid").await;
    }
    let session = world.send(ask("GET", "/api/v1/session").cookie(&cookie)).await.json();
    shop.log_out(&cookie).await;
    shop.deliver().await;
    let jwks = world.send(ask("GET", "/.well-known/jwks.json")).await.json();
    let heard = shop.receiver.heard();
    assert_eq!(heard.len(), 3);
    for request in heard {
        let token = token(&request);
        let parts: Vec<&str> = token.split('.').collect();
        let (header, claims) = (decoded(parts[0]), decoded(parts[1]));
        let keys = jwks["keys"].as_array().unwrap();
        let jwk = keys.iter().find(|key| key["kid"] == header["kid"]).unwrap();
        let key: Jwk = serde_json::from_value(jwk.clone()).unwrap();
        let signed = format!("{}.{}", parts[0], parts[1]);
        let signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
        assert!(VerifyingKey::from_jwk(&key).unwrap().verifies(signed.as_bytes(), &signature));
        assert_eq!(header["typ"], "logout+jwt");
        assert_eq!(header["alg"].as_str().unwrap().to_lowercase(), claims["aud"].as_str().unwrap());
        let (issued, expires) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
        assert!((1..=120).contains(&(expires - issued)));
        assert_eq!(claims["events"], json!({ EVENT: {} }));
        assert_eq!((&claims["iss"], &claims["sub"]), (&json!(ORIGIN), &session["sub"]));
        let mut names: Vec<&String> = claims.as_object().unwrap().keys().collect();
        names.sort();
        assert_eq!(names, ["aud", "events", "exp", "iat", "iss", "jti", "sid", "sub"]);
        // Whoever gets hold of one can do nothing with it here.
        assert!(!world.access_counts(&token).await);
        let about = ask("POST", "/oauth2/introspect").basic(&shop.web).form(&[("token", &token)]);
        assert_eq!(world.send(about).await.json(), json!({ "active": false }));
        world.issued.lock().unwrap().push(token);
    }
}

#[tokio::test]
async fn every_end_is_told() {
    let shop = Shop::new().await;
    let (world, web) = (&shop.world, &shop.web);
    let form = |path: &str, fields: &[(&str, &str)]| ask("POST", path).form(fields).basic(web);
    for (way, status) in [
        ("logout", 204),
        ("child ended by an administrator", 200),
        ("all ended by an administrator", 200),
        ("ended by its client", 200),
        ("stolen", 400),
        ("ended by the user elsewhere", 200),
        ("password changed", 200),
        ("user disabled", 200),
    ] {
        let (cookie, answer) = shop.browser().await;
        let sid = answer.text_of("sid");
        let refresh = answer.text_of("refresh_token");
        assert_eq!(shop.due().await, [], "before: {way}");
        let ended = match way {
            "logout" => {
                world.send(ask("POST", "/api/v1/logout").cookie(&cookie).by_our_page()).await
            }
            "child ended by an administrator" => {
                world.admin(ask("DELETE", &format!("/sessions/{sid}?confirm=true"))).await
            }
            "all ended by an administrator" => {
                world.admin(ask("DELETE", "/sessions?user=user")).await
            }
            "ended by its client" => {
                world.send(form("/oauth2/revoke", &[("token", &refresh)])).await
            }
            "stolen" => {
                let fields = [("grant_type", "refresh_token"), ("refresh_token", refresh.as_str())];
                let next = world.send(form("/oauth2/token", &fields)).await.expect(200);
                let next = next.text_of("refresh_token");
                let fields_next =
                    [("grant_type", "refresh_token"), ("refresh_token", next.as_str())];
                world.send(form("/oauth2/token", &fields_next)).await.expect(200);
                world.send(form("/oauth2/token", &fields)).await
            }
            "ended by the user elsewhere" => {
                let other = world.cookie("user").await;
                let path = "/api/v1/sessions?confirm=true";
                world.send(ask("DELETE", path).cookie(&other).by_our_page()).await
            }
            "password changed" => {
                let other = world.cookie("user").await;
                let body = json!({ "current_password": PASSWORD, "new_password": PASSWORD });
                let change = ask("POST", "/api/v1/password").json(&body);
                world.send(change.cookie(&other).by_our_page()).await
            }
            _ => world.admin(ask("POST", "/users/user/disable")).await,
        };
        assert_eq!(ended.status, status, "{way}: {}", ended.text);
        let due: Vec<String> =
            shop.due().await.iter().map(|notice| notice.session.to_string()).collect();
        assert_eq!(due, std::slice::from_ref(&sid), "{way}");
        shop.deliver().await;
        assert_eq!(claims(shop.receiver.heard().last().unwrap())["sid"], sid, "{way}");
        assert_eq!(shop.due().await, [], "after: {way}");
    }
}

#[tokio::test]
async fn a_session_that_runs_out_is_told_when_it_is_swept() {
    let shop = Shop::new().await;
    let (_, answer) = shop.browser().await;
    let later = now() + shop.world.app.config.lifetimes.session_absolute + Duration::from_hours(24);
    for slice in 0..=255 {
        jobs::sweep(&shop.world.app, slice, later).await;
    }
    shop.deliver().await;
    let [request] = &shop.receiver.heard()[..] else { panic!("one is told") };
    assert_eq!(claims(request)["sid"], answer.text_of("sid"));
}

#[tokio::test]
async fn an_id_token_that_crosses_the_end_is_told_of_it() {
    let shop = Shop::new().await;
    let (cookie, answer) = shop.browser().await;
    shop.log_out(&cookie).await;
    shop.deliver().await;
    // The process that issues it was slow: the session has ended meanwhile.
    let session = answer.text_of("sid").parse().unwrap();
    let client = shop.world.app.client(&"web".parse().unwrap()).unwrap();
    ops::tell::note(&shop.world.app, session, &client, "somebody", now()).await.unwrap();
    assert_eq!(shop.due().await.len(), 1);
}

/// What outlives the login was told of under the login's name, and says nothing new when it goes on.
#[tokio::test]
async fn tokens_that_outlive_the_login_tell_once_of_its_end() {
    let shop = Shop::new().await;
    let (world, receiver) = (&shop.world, &shop.receiver);
    let cookie = world.cookie("user").await;
    let answer = sign_in(world, &cookie, &shop.web, "openid offline_access").await;
    shop.log_out(&cookie).await;
    shop.deliver().await;
    let [request] = &receiver.heard()[..] else { panic!("one is told: {:?}", receiver.heard()) };
    let id_token = answer.text_of("id_token");
    let login = decoded(id_token.split('.').nth(1).unwrap())["sid"].clone();
    assert_eq!(claims(request)["sid"], login);
    let refresh = answer.text_of("refresh_token");
    let fields = [("grant_type", "refresh_token"), ("refresh_token", refresh.as_str())];
    let refreshed = world.send(ask("POST", "/oauth2/token").form(&fields).basic(&shop.web)).await;
    assert_ne!(refreshed.expect(200).text_of("id_token"), "");
    assert_eq!(shop.due().await, []);
}

#[tokio::test]
async fn nobody_hears_of_what_they_were_not_told() {
    let shop = Shop::new().await;
    let (world, receiver) = (&shop.world, &shop.receiver);
    let other = Shop::client(world, "other", receiver, "ES256").await;
    let cookie = world.cookie("user").await;
    // Another user's login at the same client; a login without an ID token; a client that does not want to hear.
    let others = world.cookie("other").await;
    sign_in(world, &others, &shop.web, "openid").await;
    sign_in(world, &cookie, &other, "profile").await;
    let deaf = json!({ "first_party": true, "redirect_uris": [CALLBACK] });
    let deaf = world.add_client("deaf", "confidential", deaf).await;
    sign_in(world, &cookie, &deaf, "openid").await;
    let answer = sign_in(world, &cookie, &shop.web, "openid").await;
    shop.log_out(&cookie).await;
    shop.deliver().await;
    let [request] = &receiver.heard()[..] else { panic!("one is told: {:?}", receiver.heard()) };
    assert_eq!(
        (&claims(request)["sid"], &claims(request)["aud"]),
        (&json!(answer.text_of("sid")), &json!("web"))
    );

    // A client that was removed hears nothing any more, and no other in its place.
    world.admin(ask("DELETE", "/clients/web")).await.expect(204);
    assert_eq!(shop.due().await, []);
}

#[tokio::test]
async fn a_client_is_told_until_it_has_heard() {
    let shop = Shop::new().await;
    let elsewhere = Receiver::start().await;
    let replies = [
        Reply::Status(503),
        Reply::Drop,
        Reply::Status(400),
        Reply::Status(501),
        Reply::Redirect(elsewhere.url("/out")),
        Reply::Status(204),
    ];
    let count = replies.len();
    shop.receiver.answer(replies);
    let (cookie, answer) = shop.browser().await;
    shop.log_out(&cookie).await;
    let mut ids = std::collections::BTreeSet::new();
    for tries in 0..count {
        let due = shop.due().await;
        let [notice] = &due[..] else { panic!("{tries}: {due:?}") };
        assert_eq!(notice.tries as usize, tries);
        // Not before its pause is over.
        let at_once = shop.world.app.store.due(notice.ended_at, 9, 9).await.unwrap();
        assert_eq!(at_once.is_empty(), tries > 0);
        shop.deliver().await;
        let claims = claims(shop.receiver.heard().last().unwrap());
        assert_eq!(claims["sid"], answer.text_of("sid"));
        assert!(ids.insert(claims["jti"].to_string()), "a receiver may refuse what it has seen");
    }
    assert_eq!((shop.due().await, shop.receiver.heard().len()), (Vec::new(), count));
    assert_eq!(elsewhere.heard(), Vec::<String>::new(), "no redirect is followed");
}

#[tokio::test]
async fn a_client_that_is_away_is_left_alone_as_a_whole() {
    let shop = Shop::new().await;
    let world = &shop.world;
    let other = Shop::client(world, "other", &shop.receiver, "ES256").await;
    for _ in 0..3 {
        let (cookie, _) = shop.browser().await;
        sign_in(world, &cookie, &other, "openid").await;
        shop.log_out(&cookie).await;
    }
    shop.receiver.answer([Reply::Status(503)]);
    let due = world.app.store.due(now(), 9, 9).await.unwrap();
    assert_eq!(due.len(), 6);
    let away = due.iter().find(|notice| notice.client.as_str() == "web").unwrap();
    ops::tell::deliver(&world.app, away).await.unwrap();
    let still = world.app.store.due(away.ended_at, 9, 9).await.unwrap();
    assert!(still.iter().all(|notice| notice.client.as_str() == "other"), "{still:?}");
    shop.deliver().await;
    assert_eq!(shop.receiver.heard().len(), 7);
}

#[tokio::test]
async fn a_client_that_is_away_for_a_week_is_given_up() {
    let shop = Shop::new().await;
    shop.receiver.always(Reply::Status(503));
    let (cookie, _) = shop.browser().await;
    shop.log_out(&cookie).await;
    let [notice] = &shop.due().await[..] else { panic!("one is due") };
    let ended_at = now() - GIVE_UP_AFTER;
    let old = Notice { ended_at, ..notice.clone() };
    ops::tell::deliver(&shop.world.app, &old).await.unwrap();
    assert_eq!(shop.due().await, []);
}

#[tokio::test]
async fn ssrf_through_a_backchannel_uri_reaches_nothing() {
    let shop = Shop::with(&[]).await;
    let (cookie, _) = shop.browser().await;
    shop.log_out(&cookie).await;
    shop.deliver().await;
    assert_eq!(shop.receiver.heard(), Vec::<String>::new());
    assert_eq!(shop.due().await.len(), 1, "an operator may allow it yet");
    for uri in ["ftp://127.0.0.1/", "https://user@shop.example/", "file:///etc/passwd", "/out"] {
        let client = json!({ "id": "bad", "kind": "confidential", "backchannel_logout_uri": uri });
        let refused = shop.world.admin(ask("POST", "/clients").json(&client)).await;
        assert!(refused.status.is_client_error(), "{uri}: {refused:?}");
    }
}

#[tokio::test]
async fn a_receiver_that_hangs_or_answers_megabytes_keeps_nobody_waiting() {
    let shop = Shop::delivering().await;
    let world = &shop.world;
    let other = Receiver::start().await;
    let blog = Shop::client(world, "blog", &other, "ES256").await;
    shop.receiver.always(Reply::Hang);
    other.always(Reply::Long(50_000_000));
    for _ in 0..5 {
        let (cookie, _) = shop.browser().await;
        shop.log_out(&cookie).await;
    }
    // All that it may have at once, and it holds them.
    shop.receiver.hears(2).await;
    for _ in 0..3 {
        let cookie = world.cookie("user").await;
        sign_in(world, &cookie, &blog, "openid").await;
        shop.log_out(&cookie).await;
    }
    other.hears(3).await;
    assert_eq!(shop.receiver.heard().len(), 2);
}

#[tokio::test]
async fn the_job_tells_at_once_and_only_once_where_nothing_fails() {
    let shop = Shop::delivering().await;
    let mut sids = Vec::new();
    for _ in 0..20 {
        let (cookie, answer) = shop.browser().await;
        sids.push(json!(answer.text_of("sid")));
        shop.log_out(&cookie).await;
    }
    let heard = shop.receiver.hears(20).await;
    let mut told: Vec<Value> = heard.iter().map(|request| claims(request)["sid"].clone()).collect();
    let by_text = |sid: &Value| sid.to_string();
    told.sort_by_key(by_text);
    sids.sort_by_key(by_text);
    assert_eq!(told, sids);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_tells_after_its_restart() {
    let receiver = Receiver::start().await;
    let folder = Folder::new();
    let port = free_port();
    let by = ["env", "SYMBOLON_OUTBOUND__ALLOWED_NETWORKS=127.0.0.1"];
    let start = || Server::start_by(&by, &folder.0, port, std::process::Stdio::inherit());
    let mut server = start().await;
    process::run(&folder.0, &["user", "add", "told"], PASSWORD);
    let out = receiver.url("/out");
    let added = process::run(
        &folder.0,
        &[
            "client",
            "add",
            "web",
            "--kind",
            "confidential",
            "--first-party",
            "--redirect-uri",
            CALLBACK,
            "--audience",
            "https://api.example",
            "--id-token-algorithm",
            "ES256",
            "--backchannel-logout-uri",
            &out,
        ],
        "",
    );
    let login = json!({ "username": "told", "password": PASSWORD, "deliver": "session" });
    let login = server.http.post("/api/v1/login", &[], &login).await.unwrap();
    let cookie =
        login.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let browser = [("cookie", cookie.as_str())];
    let there = authorization("web", "openid");
    let there = server.http.send(axum::http::Method::GET, &there, &browser, None).await.unwrap();
    let mut fields = redemption(there.headers["location"].to_str().unwrap());
    fields.push(("client_id", "web".to_owned()));
    fields.push(("client_secret", added["client_secret"].as_str().unwrap().to_owned()));
    let tokens = server.http.form("/oauth2/token", &fields).await.unwrap();
    assert_eq!(tokens.status, 200, "{tokens:?}");

    // The receiver has got it and says nothing; the server dies before it can know.
    receiver.answer([Reply::Hang]);
    let origin = format!("http://localhost:{port}");
    let headers = [("cookie", cookie.as_str()), ("origin", origin.as_str())];
    let logout = server.http.post("/api/v1/logout", &headers, &json!({})).await.unwrap();
    assert_eq!(logout.status, 204, "{logout:?}");
    receiver.hears(1).await;
    server.kill();
    let _server = start().await;
    let heard = receiver.hears(2).await;
    let sids: Vec<Value> = heard.iter().map(|request| claims(request)["sid"].clone()).collect();
    assert_eq!(sids, [tokens.json["sid"].clone(), tokens.json["sid"].clone()]);
}
