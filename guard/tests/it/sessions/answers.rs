//! Whatever becomes of a request and its answer, the session and its cookie stay right.

use std::convert::Infallible;

use axum::response::{IntoResponse, Redirect};

use super::*;
use tokio::sync::Notify;

#[tokio::test]
async fn an_error_after_a_new_id_logs_nobody_out() {
    let spy = Spy::new().await;
    let routes = routes()
        .route(
            "/renews-and-fails",
            post(async |session: Session| {
                session.renew().await.unwrap();
                StatusCode::INTERNAL_SERVER_ERROR
            }),
        )
        .route(
            "/logs-in-and-fails",
            post(async |session: Session| {
                session.login(Login::new("user")).await.unwrap();
                StatusCode::BAD_GATEWAY
            }),
        );
    let mut browser = Browser::new(&routes.layer(Sessions::new(settings(), spy.clone()).unwrap()));
    browser.does("/cart/tea").await;
    for (path, status) in [("/logs-in-and-fails", 502), ("/renews-and-fails", 500)] {
        let before = browser.cookie();
        let page = browser.post(path).await;
        assert_eq!((page.status.as_u16(), page.sets_a_cookie()), (status, true));
        assert_eq!(browser.read("/who").await, "user");
        assert_eq!(browser.read("/cart").await, "tea");
        assert_eq!(Browser::with(&browser.app, &before).read("/who").await, "nobody");
    }
}

#[tokio::test]
async fn the_cookie_goes_before_the_body_whatever_the_answer() {
    async fn answer(session: Session, Path(kind): Path<String>) -> Response<Body> {
        session.set(&NOTE, &kind).unwrap();
        match kind.as_str() {
            "no-content" => StatusCode::NO_CONTENT.into_response(),
            "not-modified" => StatusCode::NOT_MODIFIED.into_response(),
            "redirect" => Redirect::to("/").into_response(),
            "own-cookie" => [(header::SET_COOKIE, "theme=dark")].into_response(),
            "stream" => {
                // Its first byte comes when somebody asks, and its end never.
                let first = futures_util::stream::once(async { Ok::<_, Infallible>("first") });
                let rest = futures_util::StreamExt::chain(first, futures_util::stream::pending());
                Body::from_stream(rest).into_response()
            }
            _ => ().into_response(),
        }
    }
    let spy = Spy::new().await;
    let routes = routes().route("/answer/{kind}", get(answer).post(answer));
    let app = routes.layer(Sessions::new(settings(), spy.clone()).unwrap());
    for kind in ["no-content", "not-modified", "redirect", "own-cookie", "stream", "nothing"] {
        for method in ["GET", "HEAD", "POST"] {
            let request = Request::builder().method(method).uri(format!("/answer/{kind}"));
            let request = request.header(OWN.0, OWN.1).body(Body::empty()).unwrap();
            let response = app.clone().oneshot(request).await.unwrap();
            // It is written before the first byte goes out.
            assert_eq!(spy.asked_in_front(), ["create"], "{method} {kind}");
            let set = response.headers().get_all(header::SET_COOKIE).iter();
            let set: Vec<_> = set.map(|value| value.to_str().unwrap()).collect();
            assert_eq!(set.len(), 1 + usize::from(kind == "own-cookie"), "{set:?}");
            let own = set.iter().find(|value| value.starts_with("__Host-session=syma_")).unwrap();
            let cookie = own.split(';').next().unwrap();
            assert_eq!(Browser::with(&app, cookie).read("/note").await, kind, "{method}");
            spy.asked();
        }
    }
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing_half() {
    let spy = Spy::new().await;
    let reached = Arc::new(Notify::new());
    let here = Arc::clone(&reached);
    let routes = routes().route(
        "/never",
        post(async move |session: Session| -> Done {
            session.set(&NOTE, &"unsaved".to_owned())?;
            session.get(&CART).await?;
            here.notify_one();
            std::future::pending().await
        }),
    );
    let mut browser = Browser::new(&routes.layer(Sessions::new(settings(), spy.clone()).unwrap()));
    browser.does("/cart/tea").await;
    let mut late = browser.clone();
    let request = tokio::spawn(async move { late.post("/never").await });
    reached.notified().await;
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    // No lock is left, and of what was not saved nothing.
    assert_eq!(browser.does("/cart/cup").await, "tea,cup");
    assert_eq!(browser.read("/note").await, "");
}

#[tokio::test]
async fn counting_after_a_write_of_another_request_loses_nothing() {
    let spy = Spy::new().await;
    let other = spy.store.clone();
    let routes = routes().route(
        "/counts",
        post(async move |session: Session| -> Done {
            session.get(&COUNT).await?;
            // Another request counts, and this one writes something else, so that both know of the same version.
            let id = session.record().await?.map(|record| record.id).unwrap();
            let mut delta = Delta::new(1000);
            delta.set("count", b"41".to_vec()).unwrap();
            let now = session.record().await?.map(|record| record.seen_at).unwrap();
            other.apply(id, &delta, now).await.unwrap();
            session.set(&NOTE, &"hello".to_owned())?;
            session.save().await?;
            let count = session.update(&COUNT, |count| count.unwrap_or(0) + 1).await?;
            Ok(count.to_string())
        }),
    );
    let mut browser = Browser::new(&routes.layer(Sessions::new(settings(), spy.clone()).unwrap()));
    browser.does("/count").await;
    assert_eq!(browser.does("/counts").await, "42");
    assert_eq!(browser.read("/note").await, "hello");
}

#[tokio::test]
async fn an_end_counts_on_every_node_at_once() {
    let spy = Spy::new().await;
    // Three nodes share a store and keys; none holds a copy.
    let nodes = [(); 3].map(|()| app(settings(), spy.clone()));
    let mut browser = Browser::new(&nodes[0]);
    for end in ["/logout", "/everywhere", "/renew"] {
        browser.does("/login/user").await;
        let held = browser.cookie();
        for node in &nodes {
            assert_eq!(Browser::with(node, &held).read("/who").await, "user");
        }
        Browser::with(&nodes[1], &held).does(end).await;
        for node in &nodes {
            assert_eq!(Browser::with(node, &held).read("/who").await, "nobody", "{end}");
        }
    }
}

#[tokio::test]
async fn what_a_proxy_or_somebody_in_its_name_says_changes_no_cookie() {
    let app = app(settings(), Spy::new().await);
    for headers in [
        &[("x-forwarded-proto", "http")][..],
        &[("forwarded", "proto=http;host=evil.example")],
        &[("x-forwarded-host", "evil.example"), ("host", "evil.example")],
        &[("x-forwarded-for", "127.0.0.1"), ("x-forwarded-ssl", "off")],
    ] {
        let mut all = vec![OWN];
        all.extend(headers);
        let page = Browser::new(&app).send("POST", "/cart/tea", &all).await;
        let cookie = page.headers["set-cookie"].to_str().unwrap();
        assert!(cookie.starts_with("__Host-session=syma_"), "{cookie}");
        assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
    }
}
