//! What an attacker tries, and what requests do to each other.

use super::*;
use symbolon_guard::session::Csrf;
use tokio::sync::Notify;

#[tokio::test]
async fn forged_cookies_cost_no_look_into_the_store() {
    let spy = Spy::new().await;
    let ours = app(settings(), spy.clone());
    let stranger = app(Settings { keys: Keys::random(), ..settings() }, Spy::new().await);
    let other = app(Settings { name: "other".to_owned(), ..settings() }, Spy::new().await);
    let mut values = vec![String::new(), "a".repeat(4000), "syma_".to_owned(), "\"v\"".to_owned()];
    for app in [&stranger, &other] {
        let mut browser = Browser::new(app);
        browser.does("/login/admin").await;
        values.push(browser.cookie().split_once('=').unwrap().1.to_owned());
    }
    let mut genuine = Browser::new(&ours);
    genuine.does("/login/admin").await;
    let id = genuine.read("/list").await;
    // The public id opens nothing.
    values.extend([id.clone(), format!("syma_{id}")]);
    let genuine = genuine.cookie();
    values.push(genuine.split_once('=').unwrap().1.replace("syma_", "syms_"));
    for value in values {
        let mut browser = Browser::with(&ours, &format!("__Host-session={value}"));
        spy.asked_in_front();
        assert_eq!(browser.read("/who").await, "nobody", "{value}");
        assert_eq!(spy.asked_in_front(), Vec::<&str>::new(), "{value}");
        // It is not taken over either.
        browser.does("/cart/tea").await;
        assert_eq!(spy.asked_in_front(), ["create"], "{value}");
        assert!(!browser.cookie().contains(&value) || value.is_empty() || value == "syma_");
    }
}

#[tokio::test]
async fn an_unknown_id_is_never_adopted() {
    // Signed with our keys, but of a store that is gone.
    let mut browser = Browser::new(&app(settings(), Spy::new().await));
    browser.does("/login/user").await;
    let planted = browser.cookie();
    let spy = Spy::new().await;
    browser.app = app(settings(), spy.clone());
    assert_eq!(browser.read("/who").await, "nobody");
    browser.does("/cart/tea").await;
    assert_ne!(browser.cookie(), planted);
    assert_eq!(spy.asked_in_front(), ["load", "load", "create"]);
}

#[tokio::test]
async fn session_fixation() {
    let app = app(settings(), Spy::new().await);
    let mut attacker = Browser::new(&app);
    attacker.does("/cart/bait").await;
    let mut victim = Browser::with(&app, &attacker.cookie());
    victim.does("/login/victim").await;
    assert_eq!(attacker.read("/who").await, "nobody");
    // Nothing leads from the planted id to the login.
    assert_eq!(attacker.read("/cart").await, "");
    attacker.does("/renew").await;
    assert_eq!(attacker.read("/who").await, "nobody");
    assert_eq!(victim.read("/who").await, "victim");
}

#[tokio::test]
async fn a_planted_second_cookie_is_noticed() {
    let app = app(settings(), Spy::new().await);
    let [mut victim, mut attacker] = [(); 2].map(|()| Browser::new(&app));
    victim.does("/login/victim").await;
    attacker.does("/login/attacker").await;
    let (own, planted) = (victim.cookie(), attacker.cookie());
    for (sent, status) in [
        (format!("{own}; {planted}"), 400),
        (format!("{planted}; a=b; {own}"), 400),
        (format!("{own}; {own}"), 200),
        // What no key has signed is as good as nothing.
        (format!("__Host-session=x; {own}; __Host-session"), 200),
    ] {
        let page = Browser::with(&app, &sent).get("/who").await;
        assert_eq!(page.status, status, "{sent}");
        let expected =
            if status == 200 { "victim".to_owned() } else { "invalid_request".to_owned() };
        let found = if status == 200 { page.text } else { page.code() };
        assert_eq!(found, expected);
    }
    for flood in ["a=b;".repeat(101), format!("a={}", "b".repeat(16 * 1024))] {
        let page = Browser::with(&app, &format!("{flood};{own}")).get("/who").await;
        assert_eq!((page.status.as_u16(), page.code()), (431, "too_many_cookies".to_owned()));
    }
}

#[tokio::test]
async fn csrf() {
    const EVIL: (&str, &str) = ("origin", "https://evil.example");
    const OURS: (&str, &str) = ("origin", URL);
    const CROSS: (&str, &str) = ("sec-fetch-site", "cross-site");
    const SAME_SITE: (&str, &str) = ("sec-fetch-site", "same-site");
    let upgrade = ("upgrade", "websocket");
    // What is sent; whether it passes with a cookie, without one, and without one where every request is asked.
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], bool, bool, bool);
    let cases: &[Case<'_>] = &[
        ("GET", &[CROSS], true, true, true),
        ("GET", &[CROSS, EVIL, upgrade], false, true, false),
        ("POST", &[], false, true, false),
        ("POST", &[OWN], true, true, true),
        ("POST", &[OURS], true, true, true),
        ("POST", &[EVIL], false, true, false),
        ("POST", &[CROSS], false, true, false),
        ("POST", &[SAME_SITE], false, true, false),
        ("POST", &[OWN, EVIL], false, true, false),
        ("POST", &[("origin", "null")], false, true, false),
    ];
    let handler = || async |session: Session| session.user().await.map(|_| ());
    let routes = || Router::new().route("/", get(handler()).post(handler()));
    let spy = Spy::new().await;
    let carried = routes().layer(Sessions::new(settings(), spy.clone()).unwrap());
    let every = Settings { csrf: Csrf::Every, ..settings() };
    let every = routes().layer(Sessions::new(every, spy.clone()).unwrap());
    let mut user = Browser::new(&app(settings(), spy.clone()));
    user.does("/login/user").await;
    for (method, headers, with, without, in_every) in cases {
        let check = async |mut browser: Browser, passes: &bool| {
            spy.asked_in_front();
            let page = browser.send(method, "/", headers).await;
            assert_eq!(page.status, if *passes { 200 } else { 403 }, "{method} {headers:?}");
            if !passes {
                assert_eq!((page.code(), spy.asked_in_front()), ("cross_site".to_owned(), vec![]));
            }
        };
        check(Browser::with(&carried, &user.cookie()), with).await;
        check(Browser::with(&every, &user.cookie()), with).await;
        check(Browser::new(&carried), without).await;
        check(Browser::new(&every), in_every).await;
    }
}

#[tokio::test]
async fn form_tokens_belong_to_one_session() {
    let routes =
        routes().route("/token", get(async |session: Session| session.csrf_token().await)).route(
            "/form/{token}",
            post(async |session: Session, Path(token): Path<String>| {
                session.is_csrf_token(&token).await.map(|fits| fits.to_string())
            }),
        );
    let app = routes.layer(Sessions::new(settings(), Spy::new().await).unwrap());
    let [mut user, mut attacker] = [(); 2].map(|()| Browser::new(&app));
    // A visitor gets a session for it.
    let token = user.read("/token").await;
    assert_eq!(user.read("/token").await, token);
    let theirs = attacker.read("/token").await;
    for (sent, fits) in [(&token, "true"), (&theirs, "false"), (&"x".to_owned(), "false")] {
        assert_eq!(user.does(&format!("/form/{sent}")).await, fits);
    }
    user.does("/login/user").await;
    assert_eq!(user.does(&format!("/form/{token}")).await, "false");
    assert_eq!(Browser::new(&app).does(&format!("/form/{token}")).await, "false");
}

/// A handler that looks at its session, waits, and then does something with it.
fn slow(spy: &Spy) -> (Router, Arc<Notify>, Arc<Notify>) {
    let (looked, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let act = {
        let (looked, go) = (Arc::clone(&looked), Arc::clone(&go));
        async move |session: Session, Path(act): Path<String>| -> Done {
            session.user().await?;
            looked.notify_one();
            go.notified().await;
            match &*act {
                "set" => session.set(&NOTE, &"late".to_owned())?,
                "save" => {
                    session.set(&NOTE, &"late".to_owned())?;
                    session.save().await?;
                }
                "get" => drop(session.get(&NOTE).await?),
                "update" => drop(session.update(&COUNT, |n| n.unwrap_or(0) + 1).await?),
                "renew" => session.renew().await?,
                "token" => return session.csrf_token().await,
                _ => session.login(Login::new("user")).await?,
            }
            Ok("done".to_owned())
        }
    };
    let app = routes().route("/slow/{act}", post(act));
    (app.layer(Sessions::new(settings(), spy.clone()).unwrap()), looked, go)
}

#[tokio::test]
async fn what_ended_while_a_request_runs_is_not_brought_back() {
    for (act, status) in
        [("set", 200), ("save", 401), ("get", 401), ("update", 401), ("renew", 401)]
    {
        for end in ["/logout", "/everywhere", "/renew"] {
            let spy = Spy::new().await;
            let (app, looked, go) = slow(&spy);
            let mut browser = Browser::new(&app);
            browser.does("/login/user").await;
            let mut late = browser.clone();
            let page = tokio::spawn(async move { late.post(&format!("/slow/{act}")).await });
            looked.notified().await;
            let held = browser.cookie();
            browser.does(end).await;
            go.notify_one();
            let page = page.await.unwrap();
            // The answer is given, the write is not done, and the cookie is neither set nor removed: by now it may be
            // that of another login.
            assert_eq!(
                (page.status.as_u16(), page.sets_a_cookie()),
                (status, false),
                "{act} {end}"
            );
            if status != 200 {
                assert_eq!(page.code(), "session_ended");
            }
            assert_eq!(Browser::with(&app, &held).read("/who").await, "nobody", "{act} {end}");
            let live = usize::from(end == "/renew");
            assert_eq!(spy.store.list("user", Time::from_secs(0)).await.unwrap().len(), live);
            assert_eq!(browser.read("/note").await, "");
        }
    }
}

#[tokio::test]
async fn a_late_write_does_not_take_the_place_of_a_login() {
    let spy = Spy::new().await;
    let app = app(settings(), spy.clone());
    let mut browser = Browser::new(&app);
    browser.does("/cart/tea").await;
    let old = browser.cookie();
    browser.does("/login/user").await;
    // Requests that left before the new cookie came: a visitor's session would now be theirs instead of the login.
    for (method, path, status) in [
        ("POST", "/note/late", 200),
        ("POST", "/count", 401),
        ("GET", "/cart", 200),
        ("GET", "/who", 200),
    ] {
        let page = Browser::with(&app, &old).send(method, path, &[OWN]).await;
        assert_eq!((page.status.as_u16(), page.sets_a_cookie()), (status, false), "{path}");
        assert!(!page.text.contains("tea") && !page.text.contains("user"), "{page:?}");
    }
    assert_eq!(browser.read("/note").await, "");
    // Whose answer was lost on its way logs in again.
    let mut lost = Browser::with(&app, &old);
    lost.does("/login/user").await;
    assert_eq!(lost.read("/who").await, "user");
    assert_eq!(browser.read("/who").await, "user");
}

#[tokio::test]
async fn a_login_under_way_does_not_outlive_the_end_of_all() {
    let spy = Spy::new().await;
    let (app, looked, go) = slow(&spy);
    let mut browser = Browser::new(&app);
    browser.does("/cart/tea").await;
    let mut late = browser.clone();
    let page = tokio::spawn(async move { late.post("/slow/login").await });
    looked.notified().await;
    // The password changes, and all sessions end, in a later moment than that login began.
    spy.store
        .end_user("user", None, Reason::Revoked, Time::from_secs(i64::MAX / 2000))
        .await
        .unwrap();
    go.notify_one();
    let page = page.await.unwrap();
    assert_eq!((page.status.as_u16(), page.sets_a_cookie()), (401, false));
    assert_eq!(browser.read("/who").await, "nobody");
    assert_eq!(browser.read("/cart").await, "tea");
}

#[tokio::test]
async fn a_login_sent_twice_logs_in() {
    let spy = Spy::new().await;
    let (app, looked, go) = slow(&spy);
    let mut browser = Browser::new(&app);
    browser.does("/cart/tea").await;
    let mut late = browser.clone();
    let late = tokio::spawn(async move {
        late.does("/slow/login").await;
        late
    });
    looked.notified().await;
    browser.does("/login/user").await;
    go.notify_one();
    let mut late = late.await.unwrap();
    assert_eq!((late.read("/who").await, late.read("/cart").await), ("user".into(), String::new()));
    assert_eq!(
        (browser.read("/who").await, browser.read("/cart").await),
        ("user".into(), "tea".into())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_requests_lose_nothing() {
    let spy = Spy::new().await;
    let routes = routes().route(
        "/set/{n}",
        post(async |session: Session, Path(n): Path<usize>| {
            const KEYS: [Key<usize>; 8] = [
                Key::new("0"),
                Key::new("1"),
                Key::new("2"),
                Key::new("3"),
                Key::new("4"),
                Key::new("5"),
                Key::new("6"),
                Key::new("7"),
            ];
            session.set(&KEYS[n], &n)
        }),
    );
    let app = routes.layer(Sessions::new(settings(), spy.clone()).unwrap());
    let mut browser = Browser::new(&app);
    browser.does("/login/user").await;
    let mut tasks = Vec::new();
    for n in 0..100 {
        let mut browser = browser.clone();
        tasks.push(tokio::spawn(async move {
            browser.does("/count").await;
            browser.does(&format!("/set/{}", n % 8)).await;
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let record = spy.store.list("user", Time::from_secs(0)).await.unwrap().remove(0);
    let loaded = spy.store.load(record.id, Part::All, Time::from_secs(0)).await.unwrap();
    let Loaded::Live(_, Some(values)) = loaded else { panic!("{loaded:?}") };
    assert_eq!(values.get("count"), Some(&b"100"[..]));
    assert_eq!(values.iter().count(), 9);
}

#[tokio::test]
async fn too_much_is_413_and_changes_nothing() {
    let settings = Settings { data_bytes_max: 100, ..settings() };
    let mut browser = Browser::new(&app(settings, Spy::new().await));
    let large = "x".repeat(100);
    // Where there is no session yet, none is opened.
    for (first, expected) in [(true, ""), (false, "tea")] {
        if !first {
            browser.does("/cart/tea").await;
        }
        for path in [format!("/cart/{large}"), format!("/note/{large}")] {
            let page = browser.post(&path).await;
            assert_eq!((page.status.as_u16(), page.code()), (413, "session_too_large".to_owned()));
            assert!(page.text.contains("at most 100 bytes"), "{}", page.text);
            assert!(!page.sets_a_cookie());
        }
        assert_eq!(browser.read("/cart").await, expected);
        assert_eq!(browser.read("/note").await, "");
    }
}

#[tokio::test]
async fn nothing_prints_what_opens_a_session() {
    let spy = Spy::new().await;
    let printed = Arc::new(Mutex::new(String::new()));
    let routes = {
        let printed = Arc::clone(&printed);
        routes().route(
            "/print",
            get(async move |session: Session, headers: axum::extract::Request| {
                let record = session.record().await?;
                let values = session.get(&CART).await?.is_some();
                let text = format!("{session:?} {record:?} {values} {:?}", headers.extensions());
                *printed.lock().unwrap() = text;
                Ok::<_, SessionError>(())
            }),
        )
    };
    let sessions = Sessions::new(settings(), spy.clone()).unwrap();
    let mut browser = Browser::new(&routes.layer(sessions.clone()));
    browser.does("/cart/tea").await;
    browser.get("/print").await;
    let all = format!("{} {sessions:?} {spy:?}", printed.lock().unwrap());
    let secret = browser.cookie().split_once("syma_").unwrap().1.to_owned();
    assert!(all.contains("Session") && !all.contains(&secret[..12]) && !all.contains("tea"));
}
