//! What goes on behind the requests: times of last use, a store that is down, sweeping, events.

use super::*;
use symbolon_guard::store::What;
use tokio::sync::mpsc;

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn reading_writes_nothing_until_it_is_worth_it_and_then_in_batches() {
    let spy = Spy::in_memory();
    let app = app(settings(), spy.clone());
    let mut browsers = Vec::new();
    // Of 30 minutes, 1/16 is 112 seconds.
    for (minutes, many) in [(1, 3), (2, 20)] {
        spy.set_back(minutes * MINUTE);
        for _ in 0..many {
            let mut browser = Browser::new(&app);
            browser.does("/login/user").await;
            browsers.push(browser);
        }
    }
    spy.set_back(Duration::ZERO);
    tokio::task::yield_now().await;
    spy.asked();
    for _ in 0..3 {
        for browser in &mut browsers {
            assert_eq!(browser.read("/who").await, "user");
        }
    }
    assert_eq!(spy.asked(), ["load"; 69]);
    tokio::time::sleep(2 * Duration::from_secs(1)).await;
    assert_eq!(spy.asked(), ["touch"]);
    // Now all are seen lately.
    for browser in &mut browsers {
        browser.read("/who").await;
    }
    tokio::time::sleep(2 * Duration::from_secs(1)).await;
    assert_eq!(spy.asked(), ["load"; 23]);
}

#[tokio::test(start_paused = true)]
async fn silence_and_age_end_a_session() {
    // Minutes of silence, whether it is remembered, whether it is live.
    for (minutes, path, live) in [
        (29, "/login/user", true),
        (30, "/login/user", false),
        (30, "/remember/user", true),
        (14 * 24 * 60, "/remember/user", false),
    ] {
        let spy = Spy::in_memory();
        let mut browser = Browser::new(&app(settings(), spy.clone()));
        spy.set_back(minutes * MINUTE);
        browser.does(path).await;
        spy.set_back(Duration::ZERO);
        let expected = if live { "user" } else { "nobody" };
        assert_eq!(browser.read("/who").await, expected, "{minutes} {path}");
    }
    // However much it is used, it ends.
    let spy = Spy::in_memory();
    let mut lifetimes = settings().lifetimes;
    lifetimes.idle = Duration::from_secs(1);
    lifetimes.absolute = Duration::from_secs(1);
    let mut browser = Browser::new(&app(Settings { lifetimes, ..settings() }, spy.clone()));
    spy.set_back(2 * MINUTE);
    browser.does("/login/user").await;
    for _ in 0..20 {
        browser.does("/cart/tea").await;
        browser.does("/renew").await;
    }
    spy.set_back(Duration::ZERO);
    let id = browser.read("/list").await;
    spy.set_back(2 * MINUTE);
    // The first to notice ended it: the clock that goes back does not bring it back.
    assert_eq!((id.as_str(), browser.read("/who").await.as_str()), ("", "nobody"));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_is_503_at_once_and_comes_back_by_itself() {
    let spy = Spy::in_memory();
    let mut browser = Browser::new(&app(settings(), spy.clone()));
    browser.does("/login/user").await;
    tokio::task::yield_now().await;
    spy.asked();
    spy.set_mood(HANGING);
    let start = tokio::time::Instant::now();
    let page = browser.get("/who").await;
    assert_eq!((page.status.as_u16(), page.code()), (503, "unavailable".to_owned()));
    assert_eq!(page.headers["retry-after"], "1");
    assert_eq!((start.elapsed(), spy.asked()), (Duration::from_secs(1), vec!["load"]));
    // Nobody else waits, and the store is left alone. What needs no session is served.
    for _ in 0..10 {
        assert_eq!(browser.get("/who").await.status, 503);
        assert_eq!(browser.post("/cart/tea").await.status, 503);
        assert_eq!(browser.read("/").await, "no session asked for");
    }
    assert_eq!((start.elapsed(), spy.asked()), (Duration::from_secs(1), vec![]));
    // After a second one request tries, while the others still do not wait.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut probe = browser.clone();
    let probe = tokio::spawn(async move { probe.get("/who").await.status });
    tokio::task::yield_now().await;
    assert_eq!(browser.get("/who").await.status, 503);
    assert_eq!((start.elapsed(), spy.asked()), (Duration::from_secs(2), vec!["load"]));
    assert_eq!(probe.await.unwrap(), 503);
    // It is back.
    spy.set_mood(WELL);
    tokio::time::sleep(Duration::from_secs(1)).await;
    for _ in 0..3 {
        assert_eq!(browser.read("/who").await, "user");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_lets_nobody_in_and_loses_nothing() {
    let spy = Spy::in_memory();
    let mut browser = Browser::new(&app(settings(), spy.clone()));
    browser.does("/login/user").await;
    spy.set_mood(FAILING);
    let held = browser.cookie();
    for path in ["/cart/tea", "/count", "/login/user", "/renew", "/others"] {
        let page = browser.post(path).await;
        assert_eq!((page.status.as_u16(), browser.cookie()), (503, held.clone()), "{path}");
    }
    // The browser forgets the session even so, and the answer says that it may live on.
    for path in ["/everywhere", "/logout"] {
        browser.cookie = Some(held.clone());
        let page = browser.post(path).await;
        assert_eq!((page.status.as_u16(), page.sets_a_cookie()), (503, true));
        assert_eq!(browser.cookie, None);
    }
    spy.set_mood(WELL);
    browser.cookie = Some(held);
    assert_eq!(
        (browser.read("/who").await, browser.read("/cart").await),
        ("user".into(), String::new())
    );
}

#[tokio::test(start_paused = true)]
async fn what_ran_out_is_swept_while_sessions_are_opened() {
    let spy = Spy::in_memory();
    let app = app(settings(), spy.clone());
    spy.set_back(24 * 60 * MINUTE);
    for _ in 0..20 {
        Browser::new(&app).does("/cart/tea").await;
    }
    tokio::task::yield_now().await;
    spy.set_back(Duration::ZERO);
    assert_eq!(spy.asked().iter().filter(|verb| **verb == "sweep").count(), 1);
    tokio::time::sleep(MINUTE).await;
    Browser::new(&app).does("/login/user").await;
    tokio::task::yield_now().await;
    assert_eq!(spy.asked(), ["create", "sweep"]);
    let ended = spy.store.events(1000).await.unwrap();
    let ended = ended.iter().filter(|event| event.what == What::Ended(Reason::Idle));
    assert_eq!(ended.count(), 20);
}

#[tokio::test(start_paused = true)]
async fn events_are_told_at_least_once_and_in_order() {
    let spy = Spy::in_memory();
    let sessions = Sessions::new(settings(), spy.clone()).unwrap();
    let mut browser = Browser::new(&routes().layer(sessions.clone()));
    browser.does("/cart/tea").await;
    browser.does("/login/user").await;
    browser.does("/logout").await;
    let (heard, mut told) = mpsc::unbounded_channel();
    let mut fails = 2;
    let task = tokio::spawn(async move {
        sessions
            .tell(|event| {
                // The second event fails twice.
                let failed = matches!(event.what, What::Renewed { .. }) && fails > 0;
                fails -= u32::from(failed);
                heard.send((event.session, event.what, failed)).unwrap();
                std::future::ready(if failed { Err("not now") } else { Ok(()) })
            })
            .await;
    });
    let mut all = Vec::new();
    while all.len() < 5 {
        all.push(told.recv().await.unwrap());
    }
    let (visitor, user) = (all[0].0, all[4].0);
    let renewed = What::Renewed { from: visitor };
    let expected = [
        (visitor, What::Created, false),
        (user, renewed, true),
        (user, renewed, true),
        (user, renewed, false),
        (user, What::Ended(Reason::Logout), false),
    ];
    assert_eq!(all, expected);
    // What was told is settled. A store that is down for a while is no end of telling.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(spy.store.events(10).await.unwrap().is_empty());
    spy.set_mood(FAILING);
    tokio::time::sleep(Duration::from_secs(3)).await;
    spy.set_mood(WELL);
    browser.does("/login/user").await;
    assert_eq!(told.recv().await.unwrap().1, What::Created);
    task.abort();
}
