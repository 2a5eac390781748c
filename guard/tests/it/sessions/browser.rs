//! What a browser sees when nobody means harm.

use super::*;
use symbolon_guard::{
    session::{Csrf, SameSite, Transport},
    store::{AtMost, Otherwise},
};

#[tokio::test]
async fn a_request_that_does_not_ask_costs_nothing() {
    let spy = Spy::new().await;
    let mut browser = Browser::new(&app(settings(), spy.clone()));
    browser.does("/cart/tea").await;
    spy.asked();
    let page = browser.get("/").await;
    assert_eq!((page.text.as_str(), spy.asked()), ("no session asked for", vec![]));
    assert!(!page.headers.contains_key("vary") && !page.sets_a_cookie());
}

#[tokio::test]
async fn a_session_is_opened_when_there_is_something_to_keep() {
    let spy = Spy::new().await;
    let mut browser = Browser::new(&app(settings(), spy.clone()));
    // Reading is no reason, nor is taking away what is not there.
    let page = browser.get("/cart").await;
    assert!(!page.sets_a_cookie());
    assert_eq!(page.headers["vary"], "cookie");
    assert_eq!(browser.read("/note").await, "");
    assert_eq!(spy.asked_in_front(), Vec::<&str>::new());

    let page = browser.post("/cart/tea").await;
    assert_eq!(spy.asked_in_front(), ["create"]);
    let cookie = page.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("__Host-session=syma_"), "{cookie}");
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
    assert_eq!(page.headers["cache-control"], "no-store");

    // One look for a read; one look and one write for a change, which sends no cookie.
    assert_eq!(browser.read("/cart").await, "tea");
    assert_eq!(spy.asked_in_front(), ["load"]);
    let page = browser.post("/cart/cup").await;
    assert_eq!((page.text.as_str(), page.sets_a_cookie()), ("tea,cup", false));
    assert_eq!(spy.asked_in_front(), ["load", "apply"]);
    assert_eq!(browser.read("/cart").await, "tea,cup");
}

#[tokio::test]
async fn a_message_is_shown_once() {
    let mut browser = Browser::new(&app(settings(), Spy::new().await));
    browser.does("/note/saved").await;
    assert_eq!(browser.read("/note").await, "saved");
    assert_eq!(browser.read("/note").await, "");
}

#[tokio::test]
async fn a_login_keeps_the_cart_under_a_new_id() {
    let mut browser = Browser::new(&app(settings(), Spy::new().await));
    browser.does("/cart/tea").await;
    let mut before = vec![browser.cookie()];
    for path in ["/login/user", "/login/user", "/remember/user", "/renew"] {
        browser.does(path).await;
        assert!(!before.contains(&browser.cookie()), "{path}");
        before.push(browser.cookie());
        assert_eq!(browser.read("/who").await, "user", "{path}");
        assert_eq!(browser.read("/cart").await, "tea", "{path}");
    }
    for old in &before[..before.len() - 1] {
        let mut old = Browser::with(&browser.app, old);
        assert_eq!((old.read("/who").await.as_str(), &*old.read("/cart").await), ("nobody", ""));
    }
    // Nothing of one account reaches another.
    browser.does("/login/admin").await;
    assert_eq!(browser.read("/who").await, "admin");
    assert_eq!(browser.read("/cart").await, "");
    let mut old = Browser::with(&browser.app, before.last().unwrap());
    assert_eq!(old.read("/who").await, "nobody");
}

#[tokio::test]
async fn cookies_live_as_long_as_was_asked_for() {
    let mut browser = Browser::new(&app(settings(), Spy::new().await));
    let max_age = |page: &Page| {
        let set = page.headers["set-cookie"].to_str().unwrap();
        set.split_once("Max-Age=").map(|(_, age)| age.parse::<u64>().unwrap())
    };
    assert_eq!(max_age(&browser.post("/login/user").await), None);
    let remembered = max_age(&browser.post("/remember/user").await).unwrap();
    let thirty_days = 30 * 86_400;
    assert!((thirty_days - 60..=thirty_days).contains(&remembered), "{remembered}");
    // A renewal does not make it live longer, and a session that is not remembered goes with the browser.
    assert!(max_age(&browser.post("/renew").await).unwrap() <= remembered);
    assert_eq!(max_age(&browser.post("/login/user").await), None);
    assert_eq!(max_age(&browser.post("/renew").await), None);
}

#[tokio::test]
async fn a_visitors_cookie_outlives_the_browser_if_that_was_asked_for() {
    for remember_visitors in [true, false] {
        let mut settings = Settings { remember_visitors, ..settings() };
        settings.lifetimes.visitor = Duration::from_secs(30 * 86_400);
        let mut browser = Browser::new(&app(settings, Spy::new().await));
        let page = browser.post("/cart/tea").await;
        let cookie = page.headers["set-cookie"].to_str().unwrap();
        let max_age = cookie.split_once("; Max-Age=").map(|(_, secs)| secs.parse::<u64>().unwrap());
        // Some time has passed since it was opened.
        let lives = max_age.is_some_and(|secs| (2_591_000..=2_592_000).contains(&secs));
        assert_eq!((max_age.is_some(), lives), (remember_visitors, remember_visitors), "{cookie}");
        // A login says for itself.
        let page = browser.post("/login/user").await;
        assert!(page.headers["set-cookie"].to_str().unwrap().ends_with("; Secure"));
    }
}

#[tokio::test]
async fn logging_out_here_there_and_everywhere() {
    let app = app(settings(), Spy::new().await);
    let mut browsers = Vec::new();
    for _ in 0..4 {
        let mut browser = Browser::new(&app);
        browser.does("/login/user").await;
        browsers.push(browser);
    }
    let [a, b, c, d] = browsers.get_disjoint_mut([0, 1, 2, 3]).unwrap();
    let ids: Vec<String> = a.read("/list").await.split(',').map(str::to_owned).collect();
    assert_eq!(ids.len(), 4);

    let held = a.cookie();
    let page = a.post("/logout").await;
    assert_eq!(
        page.headers["set-cookie"],
        "__Host-session=; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=0"
    );
    assert_eq!(Browser::with(&app, &held).read("/who").await, "nobody");
    assert_eq!(a.read("/list").await, "");
    // A second time, and by nobody, nothing happens.
    assert!(!a.post("/logout").await.sets_a_cookie());

    assert_eq!(b.does("/others").await, "2");
    assert_eq!((b.read("/who").await, c.read("/who").await), ("user".into(), "nobody".into()));
    // Whose session has ended and who logs in again gets a new one.
    c.does("/login/user").await;
    d.does("/login/user").await;
    assert_eq!(c.does("/everywhere").await, "3");
    for browser in [b, c, d] {
        assert_eq!(browser.read("/who").await, "nobody");
    }
}

#[tokio::test]
async fn a_user_ends_a_session_from_the_list() {
    let app = app(settings(), Spy::new().await);
    let [mut here, mut there, mut other] = [(); 3].map(|()| Browser::new(&app));
    here.does("/login/user").await;
    let own = here.read("/list").await;
    there.does("/login/user").await;
    other.does("/login/other").await;
    let list = here.read("/list").await;
    let theirs = other.read("/list").await;
    let another = list.split(',').find(|id| *id != own).unwrap();
    for (id, ended) in [(&*theirs, "false"), (another, "true"), (another, "false")] {
        assert_eq!(here.does(&format!("/end/{id}")).await, ended);
    }
    assert_eq!(there.read("/who").await, "nobody");
    assert_eq!(
        (here.read("/who").await, other.read("/who").await),
        ("user".into(), "other".into())
    );
    // A visitor has no list and ends nothing.
    let mut visitor = Browser::new(&app);
    visitor.does("/cart/tea").await;
    assert_eq!(visitor.does(&format!("/end/{theirs}")).await, "false");
}

#[tokio::test]
async fn a_user_has_as_many_sessions_as_allowed() {
    for (otherwise, status, left) in [(Otherwise::Refuse, 409, 2), (Otherwise::EndOldest, 200, 1)] {
        let at_most = Some(AtMost { sessions: 2.try_into().unwrap(), otherwise });
        let app = app(Settings { at_most, ..settings() }, Spy::new().await);
        let [mut a, mut b, mut c] = [(); 3].map(|()| Browser::new(&app));
        a.does("/login/user").await;
        b.does("/login/user").await;
        c.does("/cart/tea").await;
        let page = c.post("/login/user").await;
        assert_eq!(page.status, status);
        if status == 409 {
            assert_eq!((page.code().as_str(), page.sets_a_cookie()), ("too_many_sessions", false));
            assert_eq!(c.read("/cart").await, "tea");
        }
        // Which of the two is older, they may not know themselves: they may be of the same millisecond.
        let users = [a.read("/who").await, b.read("/who").await];
        assert_eq!(users.iter().filter(|who| *who == "user").count(), left);
    }
}

#[tokio::test]
async fn keys_rotate_and_log_nobody_out() {
    let spy = Spy::new().await;
    let with = |keys| app(Settings { keys, ..settings() }, spy.clone());
    let old = with(keys("a"));
    let both = with(keys("b").or(&SecretText::new("a".repeat(32))).unwrap());
    let new = with(keys("b"));
    let mut browser = Browser::new(&old);
    browser.does("/login/user").await;
    browser.app = both.clone();
    assert_eq!(browser.read("/who").await, "user");
    let mut stayed = browser.clone();
    // What is set from now on is of the new key.
    browser.does("/renew").await;
    browser.app = new.clone();
    assert_eq!(browser.read("/who").await, "user");
    stayed.app = new;
    assert_eq!(stayed.read("/who").await, "nobody");
    browser.app = old;
    assert_eq!(browser.read("/who").await, "nobody");
}

#[tokio::test]
async fn a_session_travels_in_a_header() {
    let name = header::HeaderName::from_static("x-session");
    let app = app(
        Settings { transport: Transport::HeaderOrCookie(name), ..settings() },
        Spy::new().await,
    );
    let mut browser = Browser::new(&app);
    // The empty header says that the client wants one.
    let page = browser.send("POST", "/login/user", &[("x-session", "")]).await;
    let session = page.headers["x-session"].to_str().unwrap().to_owned();
    assert!(!page.sets_a_cookie() && session.starts_with("syma_"));
    // No browser sends it by itself: no proof of the same origin is asked for, not even of another's page.
    let elsewhere = ("sec-fetch-site", "cross-site");
    let page = browser.send("POST", "/cart/tea", &[("x-session", &session), elsewhere]).await;
    assert_eq!((page.status.as_u16(), page.text.as_str()), (200, "tea"));
    let page = browser.send("GET", "/who", &[("x-session", &session)]).await;
    assert_eq!(
        (page.text.as_str(), &page.headers["vary"]),
        ("user", &"x-session".parse().unwrap())
    );
    let page = browser.send("POST", "/logout", &[("x-session", &session)]).await;
    assert_eq!(page.headers["x-session"], "");
    let page = browser.send("GET", "/who", &[("x-session", &session)]).await;
    assert_eq!(page.text, "nobody");
    // Twice is ambiguous; beside a cookie only the header counts.
    browser.does("/login/admin").await;
    let page = browser.send("GET", "/who", &[("x-session", "a"), ("x-session", "b")]).await;
    assert_eq!((page.status.as_u16(), page.code()), (400, "invalid_request".to_owned()));
    assert_eq!(browser.send("GET", "/who", &[("x-session", "")]).await.text, "nobody");
    assert_eq!(browser.read("/who").await, "admin");
}

#[tokio::test]
async fn sessions_of_several_names_are_apart() {
    async fn both(request: axum::extract::Request) -> Done {
        let named = |name| Session::named(name, request.extensions()).unwrap();
        let (cart, admin) = (named("cart"), named("admin"));
        admin.set(&NOTE, &"admin".to_owned())?;
        cart.set(&NOTE, &"cart".to_owned())?;
        assert!(Session::named("other", request.extensions()).is_none());
        Ok(String::new())
    }
    let spy = Spy::new().await;
    let layer = |name: &str, path: &str| {
        let (name, path) = (name.to_owned(), path.to_owned());
        Sessions::new(Settings { name, path, ..settings() }, spy.clone()).unwrap()
    };
    let (cart, admin) = (layer("cart", "/"), layer("admin", "/admin"));
    let app: Router = Router::new()
        .route("/admin/both", post(both))
        .route("/admin/note", get(taken))
        .layer(admin)
        .route("/note", get(taken))
        // Twice is once.
        .layer(cart.clone())
        .layer(cart);
    let mut browser = Browser::new(&app);
    let page = browser.post("/admin/both").await;
    let set: Vec<_> =
        page.headers.get_all("set-cookie").iter().map(|v| v.to_str().unwrap()).collect();
    assert_eq!(set.len(), 2, "{set:?}");
    assert!(set[0].starts_with("__Secure-admin=") && set[0].contains("; Path=/admin;"));
    assert!(set[1].starts_with("__Host-cart=") && set[1].contains("; Path=/;"));
    let pairs = set.iter().map(|set| set.split_once(';').unwrap().0).collect::<Vec<_>>();
    // The extractor is that of the nearest layer, and neither cookie stands in for the other.
    let swapped = format!("__Secure-admin={}", pairs[1].split_once('=').unwrap().1);
    assert_eq!(Browser::with(&app, &swapped).read("/admin/note").await, "");
    assert_eq!(Browser::with(&app, &pairs.join("; ")).read("/admin/note").await, "admin");
    assert_eq!(Browser::with(&app, &pairs.join("; ")).read("/note").await, "cart");
}

#[tokio::test]
async fn a_value_of_another_type_counts_as_absent() {
    const OTHER: Key<u64> = Key::new("cart");
    let spy = Spy::new().await;
    let routes = routes().route(
        "/other",
        get(async |session: Session| session.get(&OTHER).await.map(|value| format!("{value:?}"))),
    );
    let mut browser = Browser::new(&routes.layer(Sessions::new(settings(), spy).unwrap()));
    browser.does("/cart/tea").await;
    assert_eq!(browser.read("/other").await, "None");
}

#[tokio::test]
async fn an_embedded_page_can_have_one() {
    let settings =
        Settings { same_site: SameSite::None, partitioned: true, csrf: Csrf::Every, ..settings() };
    let mut browser = Browser::new(&app(settings, Spy::new().await));
    let page = browser.post("/cart/tea").await;
    let set = page.headers["set-cookie"].to_str().unwrap();
    assert!(set.ends_with("; HttpOnly; SameSite=None; Secure; Partitioned"), "{set}");
}

#[tokio::test]
async fn without_a_layer_the_application_is_told() {
    let page = Browser::new(&routes()).get("/who").await;
    assert_eq!((page.status.as_u16(), page.code()), (500, "internal".to_owned()));
}

#[tokio::test]
async fn values_come_back_as_they_were() {
    const NUMBERS: Key<Vec<f64>> = Key::new("numbers");
    let numbers =
        [0.1 + 0.2, 0.148_035_810_011_365_45, 5.863_592_005_613_204e140, f64::MIN, 5e-324];
    let routes = Router::new()
        .route("/set", post(async move |s: Session| s.set(&NUMBERS, &numbers.to_vec())))
        .route("/get", get(async |s: Session| Done::Ok(format!("{:?}", s.get(&NUMBERS).await?))));
    let mut browser =
        Browser::new(&routes.layer(Sessions::new(settings(), Spy::new().await).unwrap()));
    browser.does("/set").await;
    assert_eq!(browser.read("/get").await, format!("{:?}", Some(numbers)));
}
