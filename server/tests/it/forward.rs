//! The forward-auth service at its door: what a proxy asks and what it is answered; logging in where the server is on
//! another host, with a server of the test's own.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use http_body_util::BodyExt;
use symbolon::{
    config::{Config, Forwarded, Sources, forward::ForwardConfig},
    forward::{self, connect::Connector, identity::TOLD},
    listen::{Certificates, Front, Listener, Peer, Proxies, Stop},
};
use symbolon_guard::testing::{self, Known};
use tower::ServiceExt;

use crate::store::Folder;

const SHOP: &str = "https://shop.example";
const COOKIE: &str = "__Host-symbolon=syms_user";
const RULES: &str = r#"
[[rule]]
host = "shop.example"
path = "/open"
access = "public"
[[rule]]
path_exact = "/hook"
methods = ["POST"]
scope = "hook"
access = "session"
[[rule]]
path = "/admin/deep"
role = "owner"
[[rule]]
path = "/admin"
role = "admin"
assurance = "aal2"
[[rule]]
path = "/visit"
access = "session"
[[rule]]
path = "/pay"
max_age = "5m"
"#;

/// A service in front of `https://shop.example` and `https://other.example`, with the server at `server`.
fn service(server: &str, issuer: &str, more: &str) -> Router {
    trusting(server, issuer, more, None)
}

fn trusting(server: &str, issuer: &str, more: &str, ca_file: Option<&Path>) -> Router {
    let toml = format!(
        "origins = ['{SHOP}', 'https://other.example']\n{more}\n[server]\nurl = '{server}'\npublic_url = '{issuer}'\n\
         client_id = 'shop'\nclient_secret_file = '/secret'\n{RULES}"
    );
    let sources = Sources { file: Some(("f.toml".into(), toml)), ..Sources::default() };
    let config = ForwardConfig::load(&sources, &|_| Ok("s3cret:&".to_owned())).unwrap();
    let authority = Known::default()
        .with("syms_user", testing::claims())
        .with("syms_visitor", testing::claims().without_user())
        .with("a.user.token", testing::claims().role("admin"))
        .with("a.hook.token", testing::claims().without_user().scope("hook"));
    let connector = Connector::to(server, ca_file).unwrap();
    forward::router(config, |_| authority.clone(), connector, Box::new(|| None)).unwrap()
}

fn same_host() -> Router {
    service("http://127.0.0.1:9/auth", "https://shop.example/auth", "")
}

async fn send(to: &Router, mut request: Request<Body>) -> Response {
    let from = request.headers_mut().remove("from-address");
    let from = from.map_or("127.0.0.1", |from| Box::leak(from.to_str().unwrap().into()));
    request.extensions_mut().insert(Peer { address: from.parse().unwrap(), secure: false });
    to.clone().oneshot(request).await.unwrap()
}

/// A check about a request to `shop.example`.
async fn ask(to: &Router, method: &str, target: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = Request::get("/check")
        .header("x-original-method", method)
        .header("x-original-uri", target)
        .header("x-original-host", "shop.example");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(to, request.body(Body::empty()).unwrap()).await
}

fn text<'r>(response: &'r Response, name: &str) -> &'r str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

/// Method, target, headers; status and reason.
type Case<'a> = (&'a str, &'a str, Sent<'a>, u16, &'a str);
type Sent<'a> = &'a [(&'a str, &'a str)];

#[tokio::test]
async fn a_check_answers_200_401_or_403() {
    const USER: (&str, &str) = ("cookie", COOKIE);
    const VISITOR: (&str, &str) = ("cookie", "__Host-symbolon=syms_visitor");
    const DEAD: (&str, &str) = ("cookie", "__Host-symbolon=syms_dead");
    const TOKEN: (&str, &str) = ("authorization", "Bearer a.user.token");
    const HOOK: (&str, &str) = ("authorization", "Bearer a.hook.token");
    const BAD: (&str, &str) = ("authorization", "Bearer another");
    const OWN: (&str, &str) = ("origin", SHOP);
    const FOREIGN: (&str, &str) = ("origin", "https://evil.example");
    let many = vec![("cookie", "a=1"); 101];
    let cases: &[Case<'_>] = &[
        ("GET", "/", &[], 401, "unauthenticated"),
        ("GET", "/", &[USER], 200, ""),
        ("GET", "/", &[TOKEN], 200, ""),
        ("GET", "/", &[VISITOR], 401, "unauthenticated"),
        ("GET", "/", &[DEAD], 401, "invalid_token"),
        ("GET", "/", &[BAD], 401, "invalid_token"),
        // A token beside a cookie: only it counts.
        ("GET", "/", &[USER, BAD], 401, "invalid_token"),
        ("GET", "/", &[TOKEN, TOKEN], 403, "invalid_request"),
        ("GET", "/", &[USER, USER], 403, "invalid_request"),
        ("GET", "/", &many, 403, "too_many_cookies"),
        ("POST", "/", &[USER], 403, "cross_site"),
        ("POST", "/", &[USER, FOREIGN], 403, "cross_site"),
        ("POST", "/", &[USER, OWN], 200, ""),
        ("POST", "/", &[TOKEN, FOREIGN], 200, ""),
        (
            "GET",
            "/",
            &[USER, FOREIGN, ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==")],
            403,
            "cross_site",
        ),
        ("GET", "/", &[USER, OWN, ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==")], 200, ""),
        ("GET", "/open", &[], 200, ""),
        ("GET", "/open/a", &[DEAD], 200, ""),
        ("GET", "/open", &[BAD], 401, "invalid_token"),
        ("POST", "/open", &[USER, FOREIGN], 403, "cross_site"),
        ("POST", "/open", &[FOREIGN], 200, ""),
        ("GET", "/opener", &[], 401, "unauthenticated"),
        ("GET", "/Open", &[], 401, "unauthenticated"),
        ("GET", "/open/../admin", &[USER], 403, "ambiguous_path"),
        ("GET", "/%6fpen", &[USER], 403, "ambiguous_path"),
        ("POST", "/hook", &[HOOK], 200, ""),
        ("POST", "/hook/", &[HOOK], 200, ""),
        ("POST", "/hook", &[TOKEN], 403, "insufficient_scope"),
        ("GET", "/hook", &[HOOK], 401, "unauthenticated"),
        ("POST", "/hook/a", &[HOOK], 401, "unauthenticated"),
        // The first rule that fits decides.
        ("GET", "/admin/deep/a", &[TOKEN], 403, "forbidden"),
        ("GET", "/admin", &[USER], 403, "forbidden"),
        ("GET", "/admin", &[TOKEN], 401, "insufficient_user_authentication"),
        ("GET", "/visit", &[VISITOR], 200, ""),
        ("GET", "/visit", &[], 401, "unauthenticated"),
        ("GET", "/", &[USER, ("x-original-uri", "/open")], 403, "unclear_request"),
        ("GET", "/", &[USER, ("x-original-host", "other.example")], 403, "unclear_request"),
        ("", "/", &[USER], 403, "unclear_request"),
        ("GET", "/", &[USER, ("from-address", "192.0.2.1")], 403, "untrusted_proxy"),
    ];
    let service = same_host();
    for (method, target, headers, status, reason) in cases {
        let answer = ask(&service, method, target, headers).await;
        let what = format!("{method} {target} {headers:?}");
        assert_eq!(
            (answer.status().as_u16(), text(&answer, "x-symbolon-reason")),
            (*status, *reason),
            "{what}"
        );
        assert_eq!(text(&answer, "cache-control"), "no-store", "{what}");
        let told = TOLD.iter().filter(|name| answer.headers().contains_key(**name)).count();
        assert_eq!(told, if *status == 200 { TOLD.len() } else { 0 }, "{what}");
        assert!(*status != 401 || answer.headers().contains_key("www-authenticate"), "{what}");
        assert!(!answer.headers().contains_key("x-symbolon-login"), "no browser: {what}");
    }
}

#[tokio::test]
async fn rules_hold_for_their_host() {
    let service = same_host();
    for (host, status) in [("shop.example", 200), ("other.example", 401), ("evil.example", 403)] {
        let request = Request::get("/check")
            .header("x-original-method", "GET")
            .header("x-original-uri", "/open")
            .header("x-original-host", host);
        let answer = send(&service, request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status(), status, "{host}");
    }
}

#[tokio::test]
async fn browsers_on_their_way_to_a_page_are_told_where_to_log_in() {
    const PAGE: (&str, &str) = ("accept", "text/html,application/xhtml+xml");
    const NAVIGATE: (&str, &str) = ("sec-fetch-mode", "navigate");
    let same = "https://shop.example/auth/login?next=";
    let other = "https://shop.example/_symbolon/login?next=";
    let elsewhere = service("http://127.0.0.1:9", "https://auth.example", "");
    // An origin that only begins like ours is another host.
    let alike = service("http://127.0.0.1:9", "https://shop.example.evil.example", "");
    let long = format!("/{}", "a".repeat(7000));
    for (service, method, target, headers, login) in [
        (
            &same_host(),
            "GET",
            "/cart?a=1&b=2",
            &[PAGE][..],
            format!("{same}%2Fcart%3Fa%3D1%26b%3D2"),
        ),
        (&same_host(), "GET", "/cart", &[NAVIGATE], format!("{same}%2Fcart")),
        (&elsewhere, "GET", "/cart", &[NAVIGATE], format!("{other}%2Fcart")),
        (&alike, "GET", "/cart", &[NAVIGATE], format!("{other}%2Fcart")),
        (&same_host(), "GET", &*long, &[NAVIGATE], format!("{same}%2F")),
        (&same_host(), "GET", "/a?\"><script>", &[NAVIGATE], format!("{same}%2F")),
        (&same_host(), "GET", "/cart", &[PAGE, ("sec-fetch-mode", "cors")], String::new()),
        (&same_host(), "POST", "/cart", &[NAVIGATE], String::new()),
        (&same_host(), "GET", "/cart", &[NAVIGATE, ("authorization", "Basic x")], String::new()),
        // It is logged in, too long ago.
        (
            &same_host(),
            "GET",
            "/pay?a=1",
            &[NAVIGATE, ("cookie", COOKIE)],
            format!("{same}%2Fpay%3Fa%3D1&again=1"),
        ),
        (
            &elsewhere,
            "GET",
            "/pay",
            &[NAVIGATE, ("cookie", COOKIE)],
            format!("{other}%2Fpay&max_age=300"),
        ),
        (&elsewhere, "GET", "/pay", &[NAVIGATE], format!("{other}%2Fpay")),
        // It is logged in, and would come back at once.
        (&same_host(), "GET", "/admin", &[NAVIGATE, ("cookie", COOKIE)], String::new()),
    ] {
        let answer = ask(service, method, target, headers).await;
        assert_eq!(text(&answer, "x-symbolon-login"), login, "{method} {target} {headers:?}");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert_eq!(
            body.contains(&format!("url={}", login.replace('&', "&amp;"))),
            !login.is_empty()
        );
        assert!(!body.contains("<script"));
    }
}

/// A server as `/oauth2/authorize` and `/api/v1/code` describe it.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Vec<(HeaderMap, String)>>>);

impl Server {
    async fn start(&self, answer: (StatusCode, &'static str)) -> String {
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", socket.local_addr().unwrap());
        let seen = self.0.clone();
        let take = move |headers: HeaderMap, body: String| async move {
            seen.lock().unwrap().push((headers, body));
            answer.into_response()
        };
        let routes = Router::new()
            .route("/api/v1/code", post(take.clone()))
            .route("/api/v1/logout", post(take));
        tokio::spawn(async { axum::serve(socket, routes).await });
        url
    }

    fn seen(&self) -> Vec<(HeaderMap, String)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

const REDEEMED: (StatusCode, &str) = (
    StatusCode::OK,
    r#"{"session_cookie":"syms_child","max_age":60,"sid":"AAAAAAAAAAAAAAAAAAAAAA"}"#,
);
const ISSUER: &str = "https://auth.example";

async fn visit(to: &Router, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = Request::builder().method(method).uri(path).header("host", "shop.example");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(to, request.body(Body::empty()).unwrap()).await
}

fn set_cookies(response: &Response) -> Vec<&str> {
    response
        .headers()
        .get_all(header::SET_COOKIE)
        .iter()
        .map(|value| value.to_str().unwrap())
        .collect()
}

/// Begins a login: the cookie of the attempt, and the parameters for the server.
async fn begin(service: &Router, path: &str, cookies: &str) -> (String, Vec<(String, String)>) {
    let left = visit(service, Method::GET, path, &[("cookie", cookies)]).await;
    assert_eq!(left.status(), StatusCode::SEE_OTHER);
    let location = text(&left, "location");
    let query = location.strip_prefix("https://auth.example/oauth2/authorize?").unwrap();
    let [cookie] = set_cookies(&left)[..] else { panic!("{:?}", set_cookies(&left)) };
    assert!(cookie.starts_with("__Host-symbolon-login-"), "{cookie}");
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=600"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    (cookie, serde_urlencoded::from_str(query).unwrap())
}

fn of<'q>(query: &'q [(String, String)], name: &str) -> &'q str {
    &query.iter().find(|(own, _)| own == name).unwrap().1
}

fn callback(state: &str, iss: &str) -> String {
    format!(
        "/_symbolon/callback?code=c0de&state={state}&iss={}",
        iss.replace(':', "%3A").replace('/', "%2F")
    )
}

#[tokio::test]
async fn a_code_becomes_a_cookie_of_this_host() {
    let server = Server::default();
    let service = service(&server.start(REDEEMED).await, ISSUER, "");
    let (cookie, query) = begin(&service, "/_symbolon/login?next=%2Fcart%3Fa%3D1", "").await;
    assert_eq!(of(&query, "response_type"), "code");
    assert_eq!(of(&query, "client_id"), "shop");
    assert_eq!(of(&query, "redirect_uri"), "https://shop.example/_symbolon/callback");
    assert_eq!(of(&query, "code_challenge_method"), "S256");

    let back = visit(
        &service,
        Method::GET,
        &callback(of(&query, "state"), ISSUER),
        &[("cookie", &cookie)],
    )
    .await;
    assert_eq!((back.status(), text(&back, "location")), (StatusCode::SEE_OTHER, "/cart?a=1"));
    assert_eq!(
        (text(&back, "cache-control"), text(&back, "referrer-policy")),
        ("no-store", "no-referrer")
    );
    let [own, forgotten] = set_cookies(&back)[..] else { panic!("{back:?}") };
    assert_eq!(
        own,
        "__Host-symbolon=syms_child; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=60"
    );
    let name = cookie.split('=').next().unwrap();
    assert!(
        forgotten.starts_with(&format!("{name}=;")) && forgotten.ends_with("Max-Age=0"),
        "{forgotten}"
    );

    let [(headers, body)] = &server.seen()[..] else { panic!("one code is redeemed once") };
    // `shop` and `s3cret:&`, each form-encoded.
    assert_eq!(headers["authorization"], "Basic c2hvcDpzM2NyZXQlM0ElMjY=");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["code"], "c0de");
    assert_eq!(body["redirect_uri"], "https://shop.example/_symbolon/callback");
    let verifier = body["code_verifier"].as_str().unwrap();
    assert_eq!(verifier.len(), 43);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes());
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    assert_eq!(of(&query, "code_challenge"), URL_SAFE_NO_PAD.encode(digest));
    assert!(!cookie.contains("cart"), "only what the browser may see stands in clear");
}

/// Whoever did not begin here, or brings something else back, redeems nothing and gets no cookie.
#[tokio::test]
async fn another_browsers_code_is_not_redeemed() {
    let server = Server::default();
    let service = service(&server.start(REDEEMED).await, ISSUER, "");
    let (cookie, query) = begin(&service, "/_symbolon/login", "").await;
    let (foreign, _) = begin(&service, "/_symbolon/login", "").await;
    let state = of(&query, "state");
    let right = callback(state, ISSUER);
    let twice = format!("{cookie}; {cookie}");
    let other_slot = format!("{}x{}", "3.", &state[2..]);
    let empty = cookie.split('=').next().unwrap().to_owned() + "=..";
    for (path, cookie) in [
        (&*right, ""),
        (&right, &*foreign),
        (&right, &*twice),
        (&right, &*empty),
        (&callback("0.", ISSUER), &*empty),
        (&callback(&other_slot, ISSUER), &cookie),
        (&callback("99.x", ISSUER), &cookie),
        (&callback("", ISSUER), &cookie),
        (&callback(state, "https://evil.example"), &cookie),
        (&callback(state, "https://auth.example/"), &cookie),
        (&format!("{right}&state={state}"), &cookie),
        (&format!("{right}&code=another"), &cookie),
        (&format!("{right}&iss=https%3A%2F%2Fauth.example"), &cookie),
        (&right.replace("&iss=", "&is="), &cookie),
        (&right.replace("code=c0de", "error=access_denied"), &cookie),
        (&*right.replace("_symbolon/callback?", "_symbolon/callback"), &cookie),
    ] {
        let back = visit(&service, Method::GET, path, &[("cookie", cookie)]).await;
        assert!([403, 404].contains(&back.status().as_u16()), "{path} {cookie}: {}", back.status());
        assert!(
            set_cookies(&back).iter().all(|set| !set.starts_with("__Host-symbolon=")),
            "{path}"
        );
    }
    assert!(server.seen().is_empty());
    let back = visit(&service, Method::GET, &right, &[("cookie", &cookie)]).await;
    assert_eq!(back.status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn what_the_server_does_not_redeem_gives_no_cookie() {
    for (answer, status) in [
        ((StatusCode::BAD_REQUEST, r#"{"code":"invalid_grant"}"#), 403),
        ((StatusCode::INTERNAL_SERVER_ERROR, ""), 503),
        ((StatusCode::OK, "nonsense"), 503),
        ((StatusCode::OK, r#"{"session_cookie":"a; Domain=evil","max_age":60}"#), 503),
        ((StatusCode::OK, r#"{"session_cookie":"","max_age":60}"#), 503),
        ((StatusCode::FOUND, ""), 503),
    ] {
        let server = Server::default();
        let service = service(&server.start(answer).await, ISSUER, "");
        let (cookie, query) = begin(&service, "/_symbolon/login", "").await;
        let path = callback(of(&query, "state"), ISSUER);
        let back = visit(&service, Method::GET, &path, &[("cookie", &cookie)]).await;
        assert_eq!(back.status().as_u16(), status, "{answer:?}");
        let [forgotten] = set_cookies(&back)[..] else { panic!("{answer:?}") };
        assert!(forgotten.ends_with("Max-Age=0"), "an attempt is one attempt");
    }
}

#[tokio::test]
async fn nobody_is_sent_elsewhere() {
    let server = Server::default();
    let service = service(&server.start(REDEEMED).await, ISSUER, "");
    for next in
        ["https://evil.example/", "//evil.example", "/\\evil.example", "evil", "", "/a%0d%0ab"]
    {
        let path = format!("/_symbolon/login?next={}", next.replace('\\', "%5C"));
        let (cookie, query) = begin(&service, &path, "").await;
        let path = callback(of(&query, "state"), ISSUER);
        let back = visit(&service, Method::GET, &path, &[("cookie", &cookie)]).await;
        assert_eq!(text(&back, "location"), "/", "{next}");
    }
    // Also when the browser's own cookie says so.
    let (cookie, query) = begin(&service, "/_symbolon/login", "").await;
    let evil = format!("{}.Ly9ldmlsLmV4YW1wbGU", cookie.rsplit_once('.').unwrap().0);
    let path = callback(of(&query, "state"), ISSUER);
    let back = visit(&service, Method::GET, &path, &[("cookie", &evil)]).await;
    assert_eq!(text(&back, "location"), "/");
}

#[tokio::test]
async fn attempts_have_places_and_a_bound() {
    let service = service("http://127.0.0.1:9", ISSUER, "");
    let mut jar: Vec<String> = Vec::new();
    for attempt in 0..20 {
        let (cookie, _) = begin(&service, "/_symbolon/login", &jar.join("; ")).await;
        let name = |cookie: &str| cookie.split('=').next().unwrap().to_owned();
        let replaced = jar.iter().position(|own| name(own) == name(&cookie));
        assert_eq!(replaced.is_some(), attempt >= 8, "a free place is taken first");
        match replaced {
            Some(at) => jar[at] = cookie,
            None => jar.push(cookie),
        }
    }
    assert_eq!(jar.len(), 8);
    // All of them go through a proxy that takes 8 KiB of one header.
    for bytes in [511, 512] {
        let path = format!("/_symbolon/login?next=/{}", "a".repeat(bytes));
        let (cookie, _) = begin(&service, &path, "").await;
        assert!(cookie.len() < 8 * 1024 / 8 && (cookie.len() > 700) == (bytes == 511), "{cookie}");
    }
}

#[tokio::test]
async fn logging_out_ends_the_session_at_the_server() {
    let server = Server::default();
    let service = service(&server.start((StatusCode::NO_CONTENT, "")).await, ISSUER, "");
    let out = async |headers: &[(&str, &str)]| {
        visit(&service, Method::POST, "/_symbolon/logout?next=%2Fbye", headers).await
    };
    for foreign in
        [&[("cookie", COOKIE)][..], &[("cookie", COOKIE), ("origin", "https://evil.example")]]
    {
        assert_eq!(out(foreign).await.status(), StatusCode::FORBIDDEN);
    }
    let get =
        visit(&service, Method::GET, "/_symbolon/logout", &[("cookie", COOKIE), ("origin", SHOP)])
            .await;
    assert_eq!(get.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert!(server.seen().is_empty());

    let left = out(&[("cookie", COOKIE), ("origin", SHOP)]).await;
    assert_eq!((left.status(), text(&left, "location")), (StatusCode::SEE_OTHER, "/bye"));
    assert!(set_cookies(&left)[0].starts_with("__Host-symbolon=; Path=/;"));
    let [(headers, _)] = &server.seen()[..] else { panic!("it is ended once") };
    assert_eq!(
        (&headers["cookie"], &headers["origin"]),
        (&"__Host-symbolon=syms_user".parse().unwrap(), &ISSUER.parse().unwrap())
    );
}

#[tokio::test]
async fn a_logout_that_did_not_happen_is_not_told() {
    let service = service("http://127.0.0.1:9", ISSUER, "");
    let headers = [("cookie", COOKIE), ("origin", SHOP)];
    let left = visit(&service, Method::POST, "/_symbolon/logout", &headers).await;
    assert_eq!(left.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(set_cookies(&left).is_empty());
}

#[tokio::test]
async fn only_the_proxy_reaches_the_pages() {
    let service = service("http://127.0.0.1:9", ISSUER, "");
    for path in ["/_symbolon/login", "/_symbolon/callback"] {
        for headers in [&[("from-address", "192.0.2.1")][..], &[("host", "other.example")]] {
            let answer = visit(&service, Method::GET, path, headers).await;
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{path} {headers:?}");
        }
    }
    for (path, status) in
        [("/healthz", 200), ("/readyz", 200), ("/metrics", 404), ("/jwks.json", 200), ("/", 404)]
    {
        assert_eq!(
            visit(&service, Method::GET, path, &[]).await.status().as_u16(),
            status,
            "{path}"
        );
    }
}

/// Envoy sends the request itself, below `/check`.
#[tokio::test]
async fn the_check_can_be_the_request_itself() {
    let service = service("http://127.0.0.1:9", ISSUER, "headers = 'request'");
    for (method, path, cookie, status) in [
        (Method::GET, "/check/cart?a", COOKIE, 200),
        (Method::GET, "/check/open", "", 200),
        (Method::GET, "/check/", "", 401),
        (Method::POST, "/check/cart", COOKIE, 403),
        (Method::GET, "/check/open/../admin", COOKIE, 403),
        (Method::GET, "/check//open", COOKIE, 403),
        (Method::GET, "/check", COOKIE, 403),
    ] {
        let told = [("cookie", cookie), ("x-original-uri", "/open"), ("x-forwarded-uri", "/open")];
        let answer = visit(&service, method.clone(), path, &told).await;
        assert_eq!(answer.status().as_u16(), status, "{method} {path}");
        // Envoy cannot rename a header.
        let cookie = answer.headers().get("cookie").map(|value| value.as_bytes());
        assert_eq!(cookie, (status == 200).then_some(&b""[..]), "{method} {path}");
    }
}

/// A server that speaks TLS for `localhost`; its certificate is in `folder`.
async fn start_tls(folder: &Path) -> String {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| folder.join(name));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let certificates = Certificates::open(&cert, &key).unwrap();
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", socket.local_addr().unwrap().port());
    let redeem = post(async || REDEEMED);
    let config = Config::load(&Sources::default(), &|_| Ok(String::new())).unwrap();
    let proxies = Proxies::new(Vec::new(), Forwarded::XForwarded);
    let front =
        Front::new(Router::new().route("/api/v1/code", redeem), proxies, (&config.listen).into());
    tokio::spawn(async move {
        let (_stopper, stop) = Stop::new();
        front.serve(Listener::Tcp(socket, Some(certificates)), stop).await
    });
    url
}

#[tokio::test]
async fn the_server_is_reached_over_tls_if_it_is_the_right_one() {
    let [right, wrong] = [Folder::new(), Folder::new()];
    let url = start_tls(&right.0).await;
    start_tls(&wrong.0).await;
    let by_address = url.replace("localhost", "127.0.0.1");
    for (url, folder, status) in
        [(&url, &right, 303), (&url, &wrong, 503), (&by_address, &right, 503)]
    {
        let service = trusting(url, ISSUER, "", Some(&folder.0.join("cert.pem")));
        let (cookie, query) = begin(&service, "/_symbolon/login", "").await;
        let path = callback(of(&query, "state"), ISSUER);
        let back = visit(&service, Method::GET, &path, &[("cookie", &cookie)]).await;
        assert_eq!(back.status().as_u16(), status, "{url}");
    }
    let empty = right.0.join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    assert!(Connector::to(&url, Some(&empty)).is_err());
    assert!(Connector::to(&url, Some(&right.0.join("missing.pem"))).is_err());
}
