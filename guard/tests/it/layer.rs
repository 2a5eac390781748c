//! The layers and extractors on a router.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    body::Body,
    extract::Form,
    http::{Request, Response, header, request::Parts},
    routing::{get, post},
};
use http_body_util::BodyExt;
use symbolon_core::{session::Assurance, time::Time};
use symbolon_guard::{
    Authority, Carried, Claims, Guard, Half, Identity, Refusal, Require, Rules,
    testing::{self, Known},
};
use tower::ServiceExt;

const COOKIE: (&str, &str) = ("cookie", "__Host-symbolon=syms_admin");
const ENDED: (&str, &str) = ("cookie", "__Host-symbolon=syms_ended");
const REPEATED: (&str, &str) = ("cookie", "__Host-symbolon=syms_a; __Host-symbolon=syms_b");
const TOKEN: (&str, &str) = ("authorization", "Bearer user");
const OLD: (&str, &str) = ("authorization", "Bearer old");
const BAD_TOKEN: (&str, &str) = ("authorization", "Bearer nobody");

const OWN: (&str, &str) = ("sec-fetch-site", "same-origin");

/// Later than any moment at which this runs.
const LATER: Time = Time::from_secs(32_503_680_000);

fn rules() -> Rules {
    Rules::new("https://shop.example").unwrap()
}

fn known() -> Known {
    Known::default()
        .with(
            "syms_admin",
            testing::claims().role("admin").assurance(Assurance::Aal2).logged_in_at(LATER),
        )
        .with("old", testing::claims().logged_in_at(Time::from_secs(1_000_000_000)))
        .with("user", testing::claims().scope("cart:read"))
        .with("machine", testing::claims().role("admin").without_user())
}

async fn who(identity: Option<Identity>, why: Option<Extension<Refusal>>) -> String {
    match (identity, why) {
        (Some(identity), None) => format!("{:?}", identity.half().unwrap()),
        (None, Some(Extension(refusal))) => format!("anonymous, {}", refusal.code()),
        (None, None) => "anonymous".to_owned(),
        (Some(_), Some(_)) => "both".to_owned(),
    }
}

async fn send(app: &Router, method: &str, path: &str, sent: &[(&str, &str)]) -> Response<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in sent {
        request = request.header(*name, *value);
    }
    app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The body of a good answer, the code of a refusal.
async fn outcome(response: Response<Body>) -> String {
    let ok = response.status().is_success();
    if !ok {
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        assert!(!response.headers().contains_key(header::SET_COOKIE));
    }
    let text = text(response).await;
    if ok {
        return text;
    }
    let problem: serde_json::Value = serde_json::from_str(&text).unwrap();
    problem["code"].as_str().unwrap().to_owned()
}

type Sent = &'static [(&'static str, &'static str)];

#[tokio::test]
async fn who_gets_through() {
    let routes = || Router::new().route("/", get(who).post(who));
    let required = routes().layer(Guard::required(rules(), known()));
    let optional = routes().layer(Guard::optional(rules(), known()));
    let cases: &[(&str, Sent, &str, &str)] = &[
        ("GET", &[], "unauthenticated", "anonymous"),
        ("GET", &[COOKIE], "SessionCookie", "SessionCookie"),
        ("GET", &[TOKEN], "Bearer", "Bearer"),
        ("GET", &[TOKEN, COOKIE], "Bearer", "Bearer"),
        ("GET", &[ENDED], "invalid_token", "anonymous, invalid_token"),
        // A header was sent on purpose.
        ("GET", &[BAD_TOKEN], "invalid_token", "invalid_token"),
        ("GET", &[BAD_TOKEN, COOKIE], "invalid_token", "invalid_token"),
        ("GET", &[REPEATED], "invalid_request", "invalid_request"),
        ("POST", &[COOKIE], "cross_site", "cross_site"),
        ("POST", &[COOKIE, OWN], "SessionCookie", "SessionCookie"),
        ("POST", &[ENDED], "cross_site", "cross_site"),
        ("POST", &[ENDED, OWN], "invalid_token", "anonymous, invalid_token"),
        ("POST", &[TOKEN], "Bearer", "Bearer"),
    ];
    for (method, sent, with_required, with_optional) in cases {
        let found = outcome(send(&required, method, "/", sent).await).await;
        assert_eq!(found, *with_required, "required: {method} {sent:?}");
        let found = outcome(send(&optional, method, "/", sent).await).await;
        assert_eq!(found, *with_optional, "optional: {method} {sent:?}");
    }
}

#[tokio::test]
async fn what_more_is_asked() {
    let app = Router::new()
        .route("/login", get(who).layer(Require::login()))
        .route("/role", get(who).layer(Require::role("admin")))
        .route("/scope", get(who).layer(Require::scope("cart:read")))
        .route("/aal2", get(who).layer(Require::assurance(Assurance::Aal2)))
        .route("/minutes", get(who).layer(Require::max_age(Duration::from_mins(5))))
        .route("/both", get(who).layer((Require::login(), Require::role("admin"))))
        .layer(Guard::optional(rules(), known()));
    let machine = ("authorization", "Bearer machine");
    for (path, sent, expected) in [
        ("/login", TOKEN, "Bearer"),
        ("/login", machine, "unauthenticated"),
        ("/login", ENDED, "invalid_token"),
        ("/role", COOKIE, "SessionCookie"),
        ("/role", machine, "Bearer"),
        ("/role", TOKEN, "forbidden"),
        ("/scope", TOKEN, "Bearer"),
        ("/scope", COOKIE, "insufficient_scope"),
        ("/aal2", COOKIE, "SessionCookie"),
        ("/aal2", TOKEN, "insufficient_user_authentication"),
        ("/aal2", machine, "insufficient_user_authentication"),
        ("/minutes", COOKIE, "SessionCookie"),
        // Nobody knows when.
        ("/minutes", TOKEN, "insufficient_user_authentication"),
        ("/minutes", OLD, "insufficient_user_authentication"),
        ("/minutes", machine, "insufficient_user_authentication"),
        ("/both", COOKIE, "SessionCookie"),
        ("/both", machine, "unauthenticated"),
        ("/both", ("accept", "*/*"), "unauthenticated"),
    ] {
        let found = outcome(send(&app, "GET", path, &[sent]).await).await;
        assert_eq!(found, expected, "{path} {sent:?}");
    }
}

#[tokio::test]
async fn a_route_without_a_guard_lets_nobody_in() {
    let app: Router = Router::new()
        .route("/extractor", get(|_: Identity| async {}))
        .route("/require", get(who).layer(Require::login()));
    for path in ["/extractor", "/require"] {
        let found = outcome(send(&app, "GET", path, &[COOKIE]).await).await;
        assert_eq!(found, "unauthenticated", "{path}");
    }
}

#[tokio::test]
async fn the_inner_of_two_guards_decides() {
    let app: Router = Router::new()
        .route("/", get(who))
        .layer(Guard::optional(rules(), Known::default()))
        .layer(Guard::optional(rules(), known()));
    let found = outcome(send(&app, "GET", "/", &[COOKIE]).await).await;
    assert_eq!(found, "anonymous, invalid_token");
}

#[derive(serde::Deserialize)]
struct Fields {
    csrf_token: String,
}

#[tokio::test]
async fn forms_carry_a_token() {
    async fn form(me: Identity, Form(fields): Form<Fields>) -> Result<&'static str, Refusal> {
        me.check_form_token(&fields.csrf_token)?;
        Ok("changed")
    }
    let app: Router = Router::new()
        .route("/", post(form))
        .route("/token", get(|me: Identity| async move { me.csrf_token() }))
        .layer(Guard::required(rules(), known()));
    let token = text(send(&app, "GET", "/token", &[COOKIE]).await).await;
    assert_eq!(text(send(&app, "GET", "/token", &[TOKEN]).await).await, "");
    for (credential, csrf_token, expected) in [
        (COOKIE, token.as_str(), "changed"),
        (COOKIE, "", "invalid_csrf_token"),
        (COOKIE, "syms_admin", "invalid_csrf_token"),
        // Nothing sends this header by itself.
        (TOKEN, "", "changed"),
    ] {
        let request = Request::post("/")
            .header(credential.0, credential.1)
            .header("origin", "https://shop.example")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(format!("csrf_token={csrf_token}")))
            .unwrap();
        let found = outcome(app.clone().oneshot(request).await.unwrap()).await;
        assert_eq!(found, expected, "{credential:?} {csrf_token}");
    }
}

/// Refuses everybody in one way.
struct Refuses(Refusal);

impl Authority for Refuses {
    async fn identify(&self, _: &Carried, _: &Parts) -> Result<Arc<Claims>, Refusal> {
        Err(self.0.clone())
    }
}

#[tokio::test]
async fn what_cannot_be_decided_is_never_anonymous() {
    for (refusal, expected) in [
        (Refusal::Unavailable { retry_after_secs: 1 }, "unavailable"),
        (Refusal::Forbidden, "forbidden"),
        (Refusal::Renewed, "anonymous, renewed"),
    ] {
        let guard = Guard::optional(rules(), Refuses(refusal));
        let app: Router = Router::new().route("/", get(who)).layer(guard);
        assert_eq!(outcome(send(&app, "GET", "/", &[COOKIE]).await).await, expected);
    }
}

#[tokio::test]
async fn one_answer_for_every_bad_credential() {
    let app: Router = Router::new().route("/", get(who)).layer(Guard::required(rules(), known()));
    let mut answers = Vec::new();
    for sent in [
        ENDED,
        BAD_TOKEN,
        ("cookie", "__Host-symbolon=symr_refresh"),
        ("cookie", "__Host-symbolon=\"\""),
        ("cookie", "__Host-symbolon-access=syms_admin"),
        ("authorization", "Bearer symr_refresh"),
        ("authorization", "Bearer syms_admin"),
        ("authorization", "Bearer a b"),
    ] {
        let response = send(&app, "GET", "/", &[sent]).await;
        let head = format!("{} {:?}", response.status(), response.headers());
        answers.push((head, text(response).await));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
}

#[test]
fn an_identity_prints_no_credential() {
    let identity = testing::claims().session_cookie("syms_s3cret");
    assert_eq!(identity.half(), Some(Half::SessionCookie));
    assert!(!format!("{identity:?}").contains("s3cret"));
}
