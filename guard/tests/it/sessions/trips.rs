//! What each kind of request asks of the store. Every verb is one round trip to Redis, where a cold session is read with
//! one plain command (`redis::attacks`).

use super::*;

/// Asks the store, and says what for.
async fn asked(spy: &Spy, browser: &mut Browser, method: &str, path: &str) -> Vec<&'static str> {
    spy.asked();
    let page = browser.send(method, path, &[OWN]).await;
    assert_eq!(page.status, 200, "{path}: {page:?}");
    spy.asked_in_front()
}

#[tokio::test(start_paused = true)]
async fn a_write_is_one_question_and_so_is_a_login() {
    // Who comes, what they ask for, what that asks of the store.
    for (who, method, path, expected) in [
        ("nobody", "GET", "/", &[][..]),
        ("nobody", "GET", "/who", &[]),
        ("nobody", "GET", "/cart", &[]),
        ("nobody", "POST", "/note/hello", &["create"]),
        ("nobody", "POST", "/login/user", &["create"]),
        ("visitor", "GET", "/", &[]),
        ("visitor", "GET", "/who", &["load"]),
        ("visitor", "GET", "/cart", &["load"]),
        ("visitor", "POST", "/note/hello", &["apply"]),
        ("visitor", "POST", "/count", &["load", "apply"]),
        ("visitor", "POST", "/login/user", &["renew"]),
        ("visitor", "POST", "/logout", &["end"]),
        ("user", "GET", "/who", &["load"]),
        ("user", "GET", "/cart", &["load"]),
        ("user", "POST", "/note/hello", &["apply"]),
        ("user", "POST", "/cart/tea", &["load", "apply"]),
        ("user", "POST", "/login/user", &["renew"]),
        ("user", "POST", "/login/other", &["renew"]),
        ("user", "POST", "/renew", &["load", "renew"]),
        ("user", "GET", "/list", &["load", "list"]),
        ("user", "POST", "/logout", &["end"]),
        // What has ended costs one more, and only where there is something to keep.
        ("ended", "GET", "/who", &["load"]),
        ("ended", "POST", "/note/hello", &["apply", "create"]),
        ("ended", "GET", "/note", &["load"]),
        ("ended", "POST", "/login/user", &["renew", "create"]),
    ] {
        let spy = Spy::in_memory();
        let mut browser = Browser::new(&app(settings(), spy.clone()));
        match who {
            "visitor" => drop(browser.does("/cart/tea").await),
            "user" => drop(browser.does("/login/user").await),
            "ended" => {
                browser.does("/login/user").await;
                browser.clone().does("/logout").await;
            }
            _ => {}
        }
        let found = asked(&spy, &mut browser, method, path).await;
        assert_eq!(found, expected, "{who} {method} {path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_of_its_own_accord_is_seen_by_the_rest_of_the_request() {
    let spy = Spy::in_memory();
    let ender = spy.store.clone();
    let routes = routes().route(
        "/twice",
        post(async move |session: Session| -> Done {
            session.set(&NOTE, &"one".to_owned())?;
            session.save().await?;
            let now = session.get(&NOTE).await?.unwrap_or_default();
            let id = session.record().await?.map(|record| record.id).unwrap();
            ender.end(id, Reason::Revoked, Time::from_millis(0)).await.unwrap();
            session.set(&NOTE, &"two".to_owned())?;
            let late = session.save().await;
            assert!(matches!(late, Err(SessionError::Ended(Reason::Revoked))), "{late:?}");
            Ok(now)
        }),
    );
    let mut browser = Browser::new(&routes.layer(Sessions::new(settings(), spy.clone()).unwrap()));
    browser.does("/login/user").await;
    assert_eq!(asked(&spy, &mut browser.clone(), "POST", "/note/zero").await, ["apply"]);
    assert_eq!(browser.does("/twice").await, "one");
    assert_eq!(spy.asked(), ["apply", "load", "apply"]);
    // It has ended between two writes of one request: the second opens nothing.
    assert_eq!(browser.read("/who").await, "nobody");
    assert_eq!(browser.read("/note").await, "");
}
