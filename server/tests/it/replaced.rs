//! Halves that a change of privilege has replaced: whoever still holds one gets nothing new for it.

use std::{convert::Infallible, net::IpAddr};

use axum::body::{Body, Bytes};
use futures_util::{FutureExt, StreamExt, stream};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::world::{Answer, Ask, ORIGIN, PASSWORD, Tokens, World, ask};

const NEW: &str = "a quite different long password";

fn handover(to: &str) -> Ask {
    ask("POST", "/api/v1/handover").header("origin", ORIGIN).json(&json!({ "to": to }))
}

async fn change_password(world: &World, cookie: &str) -> Answer {
    let body = json!({ "current_password": PASSWORD, "new_password": NEW });
    world.send(ask("POST", "/api/v1/password").cookie(cookie).by_our_page().json(&body)).await
}

/// A script on a page of the user's can ask for an access token through the cookie that it cannot read. What it carries
/// off with it must not become a session cookie elsewhere: an `Origin` is easily written by hand.
#[tokio::test]
async fn an_access_token_from_a_cookie_never_becomes_a_cookie() {
    let world = World::new().await;
    let cookie = world.cookie("user").await;
    let answer = world.send(handover("token").cookie(&cookie)).await.expect(200);
    let stolen = answer.text_of("access_token");
    let traded = world.send(handover("session").bearer(&stolen)).await;
    assert!(traded.cookie("symbolon").is_none(), "{}", traded.text);
    assert_eq!(traded.expect(409).code(), "no_login");
    assert!(world.cookie_counts(&cookie).await, "the owner's cookie is the same");
}

/// Only the token that its refresh token gave last is traded for a cookie.
#[tokio::test]
async fn what_a_refresh_replaced_never_becomes_a_cookie() {
    let world = World::new().await;
    let first = world.tokens("user").await;
    let second = Tokens::from(&world.refresh(&first.refresh).await.expect(200));
    world.send(handover("session").bearer(&first.access)).await.expect(409);
    let cookie = world.send(handover("session").bearer(&second.access)).await.expect(200);
    assert!(world.cookie_counts(&cookie.cookie("symbolon").unwrap()).await);
}

/// Asks through a half that counts, and holds the body back until `meanwhile` is done: the guard has let it in.
async fn held_back<T>(
    world: &World,
    request: Ask,
    body: &Value,
    meanwhile: impl Future<Output = T>,
) -> (Answer, T) {
    let (let_in, is_in) = oneshot::channel();
    let (go, going) = oneshot::channel::<()>();
    let text = Bytes::from(body.to_string());
    let body = stream::once(async move {
        let_in.send(()).unwrap();
        going.await.unwrap();
        Ok::<_, Infallible>(text)
    });
    let request =
        request.header("content-type", "application/json").raw(Body::from_stream(body.boxed()));
    let acting = async {
        is_in.await.unwrap();
        let done = meanwhile.await;
        go.send(()).unwrap();
        done
    };
    tokio::join!(world.send(request), acting.boxed_local())
}

#[tokio::test]
async fn a_cookie_that_was_replaced_while_it_asked_gets_nothing() {
    for body in [json!({ "to": "token" }), json!({ "to": "token", "password": PASSWORD })] {
        let world = World::new().await;
        let stolen = world.cookie("user").await;
        let request = ask("POST", "/api/v1/handover").header("origin", ORIGIN).cookie(&stolen);
        let (answer, changed) =
            held_back(&world, request, &body, change_password(&world, &stolen)).await;
        let renewed = changed.expect(200).cookie("symbolon").unwrap();
        assert!(answer.cookie("symbolon").is_none(), "{body}: {}", answer.text);
        assert!(!answer.status.is_success(), "{body}: {}", answer.text);
        assert!(world.cookie_counts(&renewed).await, "the owner keeps what the change gave");
    }
}

#[tokio::test]
async fn a_token_that_was_replaced_while_it_asked_gets_nothing() {
    let world = World::new().await;
    let tokens = world.tokens("user").await;
    let given = world.send(handover("session").bearer(&tokens.access)).await.expect(200);
    let cookie = given.cookie("symbolon").unwrap();
    let request = ask("POST", "/api/v1/handover").header("origin", ORIGIN).bearer(&tokens.access);
    let body = json!({ "to": "session" });
    let (answer, changed) =
        held_back(&world, request, &body, change_password(&world, &cookie)).await;
    let renewed = changed.expect(200).cookie("symbolon").unwrap();
    assert!(answer.cookie("symbolon").is_none(), "{}", answer.text);
    assert!(world.cookie_counts(&renewed).await);
}

/// A password changed through an access token gives its holder no cookie: that is a handover, which asks for more.
#[tokio::test]
async fn a_token_that_changes_the_password_gets_no_cookie() {
    let world = World::new().await;
    let tokens = world.tokens("user").await;
    let given = world.send(handover("session").bearer(&tokens.access)).await.expect(200);
    let cookie = given.cookie("symbolon").unwrap();
    let body = json!({ "current_password": PASSWORD, "new_password": NEW });
    let change = ask("POST", "/api/v1/password").bearer(&tokens.access).json(&body);
    let changed = world.send(change).await.expect(200);
    assert!(!changed.headers.contains_key("set-cookie"), "{changed:?}");
    assert!(!world.cookie_counts(&cookie).await, "every half of before is dead");
}

/// Whatever was given out in the session before its password changed, by whichever way.
#[tokio::test]
async fn no_access_token_of_before_counts_after_a_changed_password() {
    let world = World::new().await;
    let cookie = world.cookie("user").await;
    let by_cookie = world.send(handover("token").cookie(&cookie)).await.expect(200);
    let body = json!({ "to": "token", "password": PASSWORD });
    let step_up = ask("POST", "/api/v1/handover").cookie(&cookie).by_our_page().json(&body);
    let step_up = world.send(step_up).await.expect(200);
    let first = Tokens::from(&step_up);
    let second = Tokens::from(&world.refresh(&first.refresh).await.expect(200));
    let before = [by_cookie.text_of("access_token"), first.access, second.access];
    for token in &before {
        assert!(world.access_counts(token).await);
    }
    let changed = change_password(&world, &step_up.cookie("symbolon").unwrap()).await.expect(200);
    for token in &before {
        assert!(!world.access_counts(token).await);
    }
    let renewed = changed.cookie("symbolon").unwrap();
    let after = world.send(handover("token").cookie(&renewed)).await.expect(200);
    assert!(world.access_counts(&after.text_of("access_token")).await);
    assert_eq!(changed.json()["ended"], 0, "no other session was there");
}

/// Everything at once: whatever came out of a half or a password of before is dead when the change has returned, also
/// what was answered while it went on.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_of_before_outlives_a_changed_password() {
    let world = World::new().await;
    for n in 0..crate::races() / 50 {
        let name = format!("racer{n}");
        world.add_user(&name).await;
        let cookie = world.cookie(&name).await;
        let body = json!({ "to": "token", "password": PASSWORD });
        let step_up = ask("POST", "/api/v1/handover").cookie(&cookie).by_our_page().json(&body);
        let step_up = world.send(step_up).await.expect(200);
        let (cookie, here) = (step_up.cookie("symbolon").unwrap(), Tokens::from(&step_up));
        let elsewhere = world.tokens(&name).await;
        let login = json!({ "username": name, "password": PASSWORD, "deliver": "token" });
        // Each round from elsewhere: what fails here, with the password of before, counts against its address.
        let address = IpAddr::from([10, 0, (n / 256) as u8, (n % 256) as u8]);
        let asks = |_| {
            let by_cookie = handover("token").cookie(&cookie);
            let again = ask("POST", "/api/v1/handover").cookie(&cookie).by_our_page().json(&body);
            let to_cookie = handover("session").bearer(&elsewhere.access);
            let login = ask("POST", "/api/v1/login").json(&login);
            [by_cookie, again, to_cookie, login].map(|ask| world.send(ask.at_address(address)))
        };
        let refreshes = [&here.refresh, &elsewhere.refresh].map(|token| world.refresh(token));
        let all = (0..6).flat_map(asks);
        let (changed, answers, refreshed) = tokio::join!(
            change_password(&world, &cookie),
            futures_util::future::join_all(all),
            futures_util::future::join_all(refreshes),
        );
        // A step-up may have been first: then the cookie that wanted to change the password was replaced.
        if changed.status != 200 {
            continue;
        }
        let renewed = changed.cookie("symbolon").unwrap();
        for answer in answers.iter().chain(&refreshed).filter(|a| a.status == 200) {
            let given = answer.json();
            if let Some(token) = given["access_token"].as_str() {
                assert!(!world.access_counts(token).await, "{answer:?}");
            }
            if let Some(token) = given["refresh_token"].as_str() {
                world.refresh(token).await.expect(400);
            }
            if let Some(cookie) = answer.cookie("symbolon") {
                assert!(!world.cookie_counts(&cookie).await, "{answer:?}");
            }
        }
        assert!(world.cookie_counts(&renewed).await);
    }
}
