//! Strict mode against a server that answers as told.

use std::time::Duration;

use axum::{Router, body::Body, http::HeaderMap, http::StatusCode, routing::get, routing::post};
use symbolon_core::{
    id::{SessionId, UserId},
    secret::SecretText,
    session::Assurance,
    time::Time,
};
use symbolon_guard::{
    Claims, Guard, Identity, Refusal, Rules,
    remote::{InvalidServer, Remote, Settings},
};
use tokio::net::TcpListener;

const SID: &str = "AgICAgICAgICAgICAgICAg";
const SUB: &str = "AQEBAQEBAQEBAQEBAQEBAQ";

fn settings(server: String) -> Settings {
    Settings::new(server, "cart-api".parse().unwrap(), SecretText::new("symc_a+b".to_owned()))
}

async fn serve(routes: Router) -> String {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", socket.local_addr().unwrap());
    tokio::spawn(async { axum::serve(socket, routes).await });
    server
}

/// A server that gives one answer to whoever asks correctly.
async fn answering(status: u16, answer: String) -> String {
    let status = StatusCode::from_u16(status).unwrap();
    let handler = move |headers: HeaderMap, body: String| async move {
        assert_eq!(headers["authorization"], "Basic Y2FydC1hcGk6c3ltY19hJTJCYg==");
        assert_eq!(headers["content-type"], "application/x-www-form-urlencoded");
        assert!(["token=a%2Bb%3D", "token=syms_a"].contains(&body.as_str()), "{body}");
        (status, answer)
    };
    serve(Router::new().route("/auth/oauth2/introspect", post(handler))).await + "/auth"
}

const TOKEN: (&str, &str) = ("authorization", "Bearer a+b=");
const COOKIE: (&str, &str) = ("cookie", "__Host-symbolon=syms_a");

async fn ask(settings: Settings, sent: (&str, &str)) -> Result<Claims, Refusal> {
    let rules = Rules::new("https://shop.example").unwrap();
    let guard = Guard::required(rules, Remote::new(settings).unwrap());
    let (parts, ()) = http::Request::get("/").header(sent.0, sent.1).body(()).unwrap().into_parts();
    guard.identify(&parts).await.map(|identity: Option<Identity>| (*identity.unwrap()).clone())
}

fn claims() -> Claims {
    Claims {
        subject: None,
        session: SessionId::from_bytes([2; 16]),
        parent: None,
        client: "app".parse().unwrap(),
        scopes: Vec::new(),
        roles: [].into(),
        assurance: None,
        auth_time: None,
        act: None,
        key: None,
    }
}

#[tokio::test]
async fn answers() {
    let user = Claims {
        subject: Some(UserId::from_bytes([1; 16])),
        parent: Some(SessionId::from_bytes([3; 16])),
        scopes: vec!["cart:read".into(), "cart:write".into()],
        roles: ["admin".into()].into(),
        assurance: Some(Assurance::Aal2),
        auth_time: Some(Time::from_secs(1000)),
        act: None,
        key: None,
        ..claims()
    };
    let of_user = format!(
        r#""client_id":"app","sid":"{SID}","sub":"{SUB}","parent":"AwMDAwMDAwMDAwMDAwMDAw","iat":1,"exp":2,
           "scope":"cart:read cart:write","roles":["admin"],"acr":"aal2","auth_time":1000"#
    );
    let least = format!(r#""client_id":"app","sid":"{SID}""#);
    let unavailable = Err(Refusal::Unavailable { retry_after_secs: 1 });
    let bad = Err(Refusal::InvalidToken);
    let bearer = |rest: &str| format!(r#"{{"active":true,"token_type":"Bearer",{rest}}}"#);
    let session = |rest: &str| format!(r#"{{"active":true,"token_type":"session",{rest}}}"#);
    for (sent, status, answer, expected) in [
        (TOKEN, 200, bearer(&of_user), Ok(user.clone())),
        (COOKIE, 200, session(&of_user), Ok(user)),
        (TOKEN, 200, bearer(&least), Ok(claims())),
        (TOKEN, 200, bearer(&format!(r#"{least},"sub":"app""#)), Ok(claims())),
        (TOKEN, 200, r#"{"active":false}"#.to_owned(), bad.clone()),
        // What the server says of one half is not said of the other.
        (TOKEN, 200, session(&least), bad.clone()),
        (COOKIE, 200, bearer(&least), bad.clone()),
        (TOKEN, 200, format!(r#"{{"active":true,{least}}}"#), bad.clone()),
        // A server that is none.
        (TOKEN, 200, bearer(r#""client_id":"app""#), unavailable.clone()),
        (TOKEN, 200, bearer(&format!(r#"{least},"sub":"somebody""#)), unavailable.clone()),
        (TOKEN, 200, bearer(&format!(r#"{least},"acr":"aal9""#)), unavailable.clone()),
        (TOKEN, 200, r#"{"active":"true"}"#.to_owned(), unavailable.clone()),
        (TOKEN, 200, "{}".to_owned(), unavailable.clone()),
        (TOKEN, 200, "<html>".to_owned(), unavailable.clone()),
        (TOKEN, 200, format!("{}{}", " ".repeat(70_000), bearer(&least)), unavailable.clone()),
        (TOKEN, 401, bearer(&least), unavailable.clone()),
        (TOKEN, 302, bearer(&least), unavailable.clone()),
        (TOKEN, 503, bearer(&least), unavailable),
    ] {
        let server = answering(status, answer.clone()).await;
        assert_eq!(ask(settings(server), sent).await, expected, "{status} {answer:.200}");
    }
}

#[tokio::test]
async fn a_token_for_another_audience_is_refused() {
    for (aud, passes) in [
        (r#""https://cart.example""#, true),
        (r#"["https://x.example","https://cart.example"]"#, true),
        (r#""https://x.example""#, false),
        ("[]", false),
    ] {
        let answer = format!(
            r#"{{"active":true,"token_type":"Bearer","client_id":"app","sid":"{SID}","aud":{aud}}}"#
        );
        let mut settings = settings(answering(200, answer).await);
        settings.audience = Some("https://cart.example".to_owned());
        assert_eq!(ask(settings, TOKEN).await.is_ok(), passes, "{aud}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_lets_nobody_in() {
    let unavailable = Err(Refusal::Unavailable { retry_after_secs: 1 });
    let closed = {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", socket.local_addr().unwrap())
    };
    assert_eq!(ask(settings(closed), TOKEN).await, unavailable);

    let silent = post(|| async { std::future::pending::<()>().await });
    let silent = serve(Router::new().route("/oauth2/introspect", silent)).await;
    let impatient = Settings { deadline: Duration::from_millis(20), ..settings(silent) };
    assert_eq!(ask(impatient, TOKEN).await, unavailable);

    let full = Settings { in_flight_max: 0, ..settings(answering(200, String::new()).await) };
    assert_eq!(ask(full, TOKEN).await, unavailable);
}

#[tokio::test]
async fn what_is_ended_is_refused_from_the_next_request_on() {
    use std::sync::atomic::{AtomicBool, Ordering};
    static ACTIVE: AtomicBool = AtomicBool::new(true);
    let introspect = post(|| async {
        let active = ACTIVE.load(Ordering::SeqCst);
        format!(r#"{{"active":{active},"token_type":"Bearer","client_id":"app","sid":"{SID}"}}"#)
    });
    let server = serve(Router::new().route("/oauth2/introspect", introspect)).await;
    let rules = Rules::new("https://shop.example").unwrap();
    let app: Router = Router::new()
        .route("/", get(|me: Identity| async move { me.session.to_string() }))
        .layer(Guard::required(rules, Remote::new(settings(server)).unwrap()));
    for (active, expected) in [(true, 200), (false, 401)] {
        ACTIVE.store(active, Ordering::SeqCst);
        let request = http::Request::get("/").header(TOKEN.0, TOKEN.1).body(Body::empty()).unwrap();
        let response = tower::ServiceExt::oneshot(app.clone(), request).await.unwrap();
        assert_eq!(response.status(), expected);
    }
}

#[tokio::test]
async fn servers_that_cannot_be_asked() {
    for (server, expected) in [
        ("http://127.0.0.1:8080", None),
        ("http://localhost:8080/auth/", None),
        ("http://[::1]:8080", None),
        ("https://shop.example", Some(InvalidServer::Tls)),
        ("http://10.0.0.7:8080", Some(InvalidServer::Insecure)),
        ("http://localhost.evil.example", Some(InvalidServer::Insecure)),
        ("http://localhost/auth?x", Some(InvalidServer::Path)),
        ("http://localhost/a b", Some(InvalidServer::Path)),
        ("localhost:8080", Some(InvalidServer::Origin(symbolon_core::csrf::InvalidOrigin))),
    ] {
        let made = Remote::new(settings(server.to_owned()));
        assert_eq!(made.err(), expected, "{server}");
    }
    let trusted = Settings { trust_network: true, ..settings("http://10.0.0.7".to_owned()) };
    let remote = Remote::new(trusted).unwrap();
    assert_eq!(format!("{remote:?}"), r#"Remote { server: "http://10.0.0.7", .. }"#);
}
