//! One login, two halves: what the server promises, through the door.

use serde_json::json;

use crate::{
    races::rounds,
    world::{ORIGIN, PASSWORD, Tokens, World, ask},
};

#[tokio::test]
async fn one_act_ends_both_halves() {
    let world = World::new().await;
    let cookie = world.cookie("user").await;
    let answer = world
        .send(
            ask("POST", "/api/v1/handover")
                .cookie(&cookie)
                .by_our_page()
                .json(&json!({ "to": "token", "password": PASSWORD })),
        )
        .await
        .expect(200);
    let tokens = Tokens::from(&answer);
    // The step-up gave the browser a new cookie; the old one is dead and leads nowhere.
    let stepped_up = answer.cookie("symbolon").unwrap();
    let old = world.send(ask("GET", "/api/v1/session").cookie(&cookie)).await.expect(401);
    assert!(old.cookie("symbolon").is_none());
    assert_eq!(old.code(), "renewed", "who is still in flight learns why, and nothing else");
    assert!(world.cookie_counts(&stepped_up).await && world.access_counts(&tokens.access).await);
    world.send(ask("POST", "/api/v1/logout").cookie(&stepped_up).by_our_page()).await.expect(204);
    assert!(!world.cookie_counts(&stepped_up).await);
    assert!(!world.access_counts(&tokens.access).await);
    assert_eq!(world.refresh(&tokens.refresh).await.expect(400).code(), "invalid_grant");
}

#[tokio::test]
async fn a_token_ends_the_cookie_of_its_login() {
    let world = World::new().await;
    let tokens = world.tokens("user").await;
    let handover =
        ask("POST", "/api/v1/handover").bearer(&tokens.access).json(&json!({ "to": "session" }));
    world.send(handover).await.expect(403);
    let handover = ask("POST", "/api/v1/handover")
        .bearer(&tokens.access)
        .header("origin", ORIGIN)
        .json(&json!({ "to": "session" }));
    let answer = world.send(handover).await.expect(200);
    assert_eq!(answer.text_of("sid"), tokens.sid, "it stays one session");
    let cookie = answer.cookie("symbolon").unwrap();
    assert!(world.cookie_counts(&cookie).await);
    world
        .send(ask("POST", "/api/v1/logout").json(&json!({ "refresh_token": tokens.refresh })))
        .await
        .expect(204);
    assert!(!world.cookie_counts(&cookie).await && !world.access_counts(&tokens.access).await);
}

#[tokio::test]
async fn a_client_that_authenticates_gets_a_bound_half() {
    let world = World::new().await;
    let shop = world.add_client("shop", "confidential", json!({ "first_party": true })).await;
    let rival = world.add_client("rival", "confidential", json!({})).await;
    let cookie = world.cookie("user").await;
    let handover = |client| {
        ask("POST", "/api/v1/handover")
            .basic(client)
            .cookie(&cookie)
            .json(&json!({ "to": "token" }))
    };
    world.send(handover(&rival)).await.expect(403);
    let tokens = Tokens::from(&world.send(handover(&shop)).await.expect(200));
    let refresh = |client: Option<&(String, String)>| {
        let ask = ask("POST", "/api/v1/refresh").json(&json!({ "refresh_token": tokens.refresh }));
        match client {
            Some(client) => ask.basic(client),
            None => ask,
        }
    };
    // Without its client's authentication it is nothing, and nothing happens to the session.
    world.send(refresh(None)).await.expect(400);
    world.send(refresh(Some(&rival))).await.expect(400);
    world.send(refresh(Some(&shop))).await.expect(200);
    assert!(world.cookie_counts(&cookie).await);
    let nobody = ask("POST", "/api/v1/handover").basic(&shop).json(&json!({ "to": "token" }));
    world.send(nobody).await.expect(409);
}

#[tokio::test]
async fn sixty_four_at_once_advance_one_generation() {
    let world = World::new().await;
    let tokens = world.tokens("user").await;
    let asks = (0..64).map(|_| world.refresh(&tokens.refresh));
    let mut answers = std::collections::HashSet::new();
    for answer in futures_util::future::join_all(asks).await {
        let answer = answer.expect(200);
        let claims = claims(&answer.text_of("access_token"));
        answers.insert((
            answer.text_of("refresh_token"),
            claims["jti"].to_string(),
            claims["exp"].to_string(),
        ));
    }
    assert_eq!(answers.len(), 1, "one refresh token, one jti, one exp");
    let (refresh, ..) = answers.into_iter().next().unwrap();
    world.refresh(&refresh).await.expect(200);
}

fn claims(token: &str) -> serde_json::Value {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

#[tokio::test]
async fn an_old_refresh_token_is_theft_and_ends_everything() {
    let world = World::new().await;
    let first = world.tokens("user").await;
    let second = Tokens::from(&world.refresh(&first.refresh).await.expect(200));
    let third = Tokens::from(&world.refresh(&second.refresh).await.expect(200));
    assert!(world.access_counts(&third.access).await);
    assert_eq!(world.refresh(&first.refresh).await.expect(400).code(), "invalid_grant");
    for tokens in [&first, &second, &third] {
        assert!(!world.access_counts(&tokens.access).await);
        world.refresh(&tokens.refresh).await.expect(400);
    }
    // The user's other logins are nobody's business.
    assert!(world.access_counts(&world.tokens("user").await.access).await);
}

/// Whoever gave up on a server that was stopped, and refreshed twice elsewhere, is no thief when that one goes on.
#[tokio::test]
async fn a_refresh_that_lay_too_long_is_not_judged() {
    let world = World::new().await;
    let first = world.tokens("user").await;
    let late = async || {
        let body = json!({ "refresh_token": first.refresh });
        let refused =
            world.send(ask("POST", "/api/v1/refresh").json(&body).late()).await.expect(503);
        assert!(refused.headers.contains_key("retry-after"));
    };
    late().await;
    let second = Tokens::from(&world.refresh(&first.refresh).await.expect(200));
    let third = Tokens::from(&world.refresh(&second.refresh).await.expect(200));
    late().await;
    assert!(world.access_counts(&third.access).await);
    // In time it is judged as ever.
    assert_eq!(world.refresh(&first.refresh).await.expect(400).code(), "invalid_grant");
    assert!(!world.access_counts(&third.access).await);
}

#[tokio::test]
async fn each_half_counts_only_in_its_place() {
    let world = World::new().await;
    let (cookie, tokens) = (world.cookie("user").await, world.tokens("user").await);
    for (wrong, ask) in [
        ("refresh token as cookie", ask("GET", "/api/v1/session").cookie(&tokens.refresh)),
        ("access token as cookie", ask("GET", "/api/v1/session").cookie(&tokens.access)),
        ("refresh token as bearer", ask("GET", "/api/v1/session").bearer(&tokens.refresh)),
        ("cookie as bearer", ask("GET", "/api/v1/session").bearer(&cookie)),
        (
            "dressed up",
            ask("GET", "/api/v1/session").cookie(&tokens.refresh.replace("symr_", "syms_")),
        ),
    ] {
        assert_eq!(world.check(ask).await, 401, "{wrong}");
    }
    for wrong in [&cookie, &tokens.access, &cookie.replace("syms_", "symr_")] {
        world.refresh(wrong).await.expect(400);
    }
    // None of that had an effect on the sessions.
    assert!(world.cookie_counts(&cookie).await && world.access_counts(&tokens.access).await);
    world.refresh(&tokens.refresh).await.expect(200);
}

#[tokio::test]
async fn a_planted_cookie_gains_nothing() {
    let world = World::new().await;
    let shop = world.add_client("shop", "confidential", json!({})).await;
    let visitor =
        world.send(ask("POST", "/api/v1/sessions").basic(&shop).json(&json!({}))).await.expect(201);
    let planted = visitor.text_of("set_cookie");
    let planted = planted.strip_prefix("symbolon=").unwrap().split(';').next().unwrap().to_owned();
    for planted in [planted, world.cookie("other").await] {
        let body = json!({ "username": "user", "password": PASSWORD });
        let login =
            world.send(ask("POST", "/api/v1/login").cookie(&planted).json(&body)).await.expect(200);
        let fresh = login.cookie("symbolon").unwrap();
        assert_ne!(login.text_of("sid"), login.text_of("replaced_sid"));
        assert!(world.cookie_counts(&fresh).await);
        let dead = world.send(ask("GET", "/api/v1/session").cookie(&planted)).await.expect(401);
        assert!(dead.cookie("symbolon").is_none(), "the old half never leads to the new one");
    }
}

#[tokio::test]
async fn a_cart_survives_login_and_nobody_else_reads_it() {
    let world = World::new().await;
    let shop = world
        .add_client(
            "shop",
            "confidential",
            json!({ "browser": { "theme": "write", "seen": "read" } }),
        )
        .await;
    let rival = world.add_client("rival", "confidential", json!({})).await;
    let visitor =
        world.send(ask("POST", "/api/v1/sessions").basic(&shop).json(&json!({}))).await.expect(201);
    let cookie = visitor.text_of("set_cookie");
    let cookie = cookie.strip_prefix("symbolon=").unwrap().split(';').next().unwrap().to_owned();
    let data = |sid: &str| format!("/api/v1/sessions/{sid}/data");
    let sid = visitor.text_of("sid");
    let patch = json!({ "cart": ["tea"], "seen": 1, "gone": null });
    world.send(ask("PATCH", &data(&sid)).basic(&shop).json(&patch)).await.expect(200);
    let body = json!({ "username": "user", "password": PASSWORD });
    let login =
        world.send(ask("POST", "/api/v1/login").cookie(&cookie).json(&body)).await.expect(200);
    let (new, cookie) = (login.text_of("sid"), login.cookie("symbolon").unwrap());
    let read = world.send(ask("GET", &data(&new)).basic(&shop)).await.expect(200);
    assert_eq!(read.json(), json!({ "cart": ["tea"], "seen": 1 }));
    assert_eq!(read.headers["etag"], "\"1\"");
    world.send(ask("GET", &data(&sid)).basic(&shop)).await.expect(404);
    assert_eq!(
        world.send(ask("GET", &data(&new)).basic(&rival)).await.expect(200).json(),
        json!({})
    );

    // Compare and set.
    let stale =
        ask("PATCH", &data(&new)).basic(&shop).header("if-match", "\"0\"").json(&json!({ "a": 1 }));
    assert_eq!(world.send(stale).await.expect(412).code(), "version_mismatch");
    let fresh =
        ask("PATCH", &data(&new)).basic(&shop).header("if-match", "\"1\"").json(&json!({ "a": 1 }));
    assert_eq!(world.send(fresh).await.expect(200).headers["etag"], "\"2\"");

    // The limit is named, and nothing was written.
    let large = json!({ "a": "x".repeat(70_000) });
    let refused = world.send(ask("PATCH", &data(&new)).basic(&shop).json(&large)).await.expect(413);
    assert!(refused.text_of("detail").contains("65536"));

    // A browser reaches what was declared.
    let of_shop = format!("{}?client_id=shop", data(&new));
    let browser = world.send(ask("GET", &of_shop).cookie(&cookie)).await.expect(200);
    assert_eq!(browser.json(), json!({ "seen": 1 }));
    let write = |patch| ask("PATCH", &of_shop).cookie(&cookie).by_our_page().json(&patch);
    world.send(write(json!({ "theme": "dark" }))).await.expect(200);
    assert_eq!(
        world.send(write(json!({ "cart": [] }))).await.expect(403).code(),
        "key_not_declared"
    );
    let others = world.cookie("other").await;
    world.send(ask("GET", &of_shop).cookie(&others)).await.expect(404);
}

#[tokio::test]
async fn a_changed_password_ends_the_others_and_renews_this() {
    let world = World::new().await;
    let (here, elsewhere) = (world.cookie("user").await, world.tokens("user").await);
    let new = "a quite different long password";
    let change = |current: &str, cookie: &str| {
        let body = json!({ "current_password": current, "new_password": new });
        ask("POST", "/api/v1/password").cookie(cookie).by_our_page().json(&body)
    };
    assert_eq!(
        world.send(change("wrong wrong wrong", &here)).await.expect(401).code(),
        "invalid_credentials"
    );
    let changed = world.send(change(PASSWORD, &here)).await.expect(200);
    let renewed = changed.cookie("symbolon").unwrap();
    assert!(!world.cookie_counts(&here).await && world.cookie_counts(&renewed).await);
    assert!(!world.access_counts(&elsewhere.access).await);
    world.refresh(&elsewhere.refresh).await.expect(400);
    let old = json!({ "username": "user", "password": PASSWORD });
    world.send(ask("POST", "/api/v1/login").json(&old)).await.expect(401);
    let login = json!({ "username": "user", "password": new });
    world.send(ask("POST", "/api/v1/login").json(&login)).await.expect(200);
}

#[tokio::test]
async fn sessions_are_listed_and_ended() {
    let world = World::new().await;
    let (cookie, phone, stranger) =
        (world.cookie("user").await, world.tokens("user").await, world.tokens("other").await);
    let list = world.send(ask("GET", "/api/v1/sessions").cookie(&cookie)).await.expect(200).json();
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert_eq!(list.as_array().unwrap().iter().filter(|item| item["current"] == true).count(), 1);
    let end =
        |sid: &str| ask("DELETE", &format!("/api/v1/sessions/{sid}")).cookie(&cookie).by_our_page();
    world.send(end(&stranger.sid)).await.expect(404);
    assert!(world.access_counts(&stranger.access).await);
    world.send(end(&phone.sid)).await.expect(204);
    assert!(!world.access_counts(&phone.access).await);
    let third = world.tokens("user").await;
    let others = ask("DELETE", "/api/v1/sessions?keep=current").cookie(&cookie).by_our_page();
    assert_eq!(world.send(others).await.expect(200).json()["ended"], 1);
    assert!(world.cookie_counts(&cookie).await && !world.access_counts(&third.access).await);
    let all = ask("DELETE", "/api/v1/sessions").cookie(&cookie).by_our_page();
    world.send(all).await.expect(200);
    assert!(!world.cookie_counts(&cookie).await);
}

#[tokio::test]
async fn token_cookies_need_their_csrf_token() {
    let world = World::new().await;
    let login = world.login("user", "token-cookie").await;
    let (access, refresh) =
        (login.cookie("symbolon-access").unwrap(), login.cookie("symbolon-refresh").unwrap());
    let csrf = login.text_of("csrf_token");
    let with = |method: &str, path: &str, access: &str| {
        ask(method, path)
            .header("cookie", &format!("symbolon-access={access}; symbolon-refresh={refresh}"))
    };
    world.send(with("GET", "/api/v1/session", &access)).await.expect(200);
    let logout = || with("POST", "/api/v1/logout", &access);
    world.send(logout().by_our_page()).await.expect(403);
    world.send(logout().header("x-csrf-token", &csrf)).await.expect(403);
    // The refresh cookie rotates with a same-origin proof alone.
    world.send(with("POST", "/api/v1/refresh", &access)).await.expect(403);
    let refreshed =
        world.send(with("POST", "/api/v1/refresh", &access).by_our_page()).await.expect(200);
    let access = refreshed.cookie("symbolon-access").unwrap();
    let csrf = refreshed.text_of("csrf_token");
    let logout =
        with("POST", "/api/v1/logout", &access).by_our_page().header("x-csrf-token", &csrf);
    world.send(logout).await.expect(204);
    world.send(with("GET", "/api/v1/session", &access)).await.expect(401);
}

#[tokio::test]
async fn a_page_whose_access_cookie_expired_still_logs_out() {
    let world = World::new().await;
    let login = world.login("user", "token-cookie").await;
    let (access, refresh) =
        (login.cookie("symbolon-access").unwrap(), login.cookie("symbolon-refresh").unwrap());
    let end = || {
        ask("DELETE", "/api/v1/refresh").header("cookie", &format!("symbolon-refresh={refresh}"))
    };
    world.send(end()).await.expect(403);
    world.send(end().header("origin", "https://evil.example")).await.expect(403);
    assert!(world.access_counts(&access).await);
    let ended = world.send(end().by_our_page()).await.expect(204);
    assert!(ended.headers.contains_key("set-cookie"));
    assert!(!world.access_counts(&access).await);
    assert_eq!(world.refresh(&refresh).await.expect(400).code(), "invalid_grant");
}

#[tokio::test]
async fn a_page_whose_access_cookie_expired_finds_its_way_back() {
    let world = World::new().await;
    let login = world.login("user", "token-cookie").await;
    let refresh = login.cookie("symbolon-refresh").unwrap();
    let go = |next: &str, site: &str| {
        ask("GET", &format!("/api/v1/refresh/continue?next={next}"))
            .header("cookie", &format!("symbolon-refresh={refresh}"))
            .header("sec-fetch-site", site)
    };
    let back = world.send(go("/cart", "same-origin")).await.expect(303);
    assert_eq!(back.location(), "/cart");
    assert!(back.cookie("symbolon-access").is_some());
    // Another site can make the browser ask, not rotate.
    let page = world.send(go("/cart", "cross-site")).await.expect(200);
    assert!(page.cookie("symbolon-access").is_none());
    assert!(page.text.contains("<form"));
    assert_eq!(world.send(go("//evil.example", "same-origin")).await.expect(303).location(), "/");
}

#[tokio::test]
async fn introspection_tells_the_truth_at_once_and_only_to_clients() {
    let world = World::new().await;
    let api = world.add_client("cart-api", "resource", json!({ "audiences": [ORIGIN] })).await;
    let rival = world
        .add_client("rival", "resource", json!({ "audiences": ["https://rival.example"] }))
        .await;
    let tokens = world.tokens("user").await;
    let cookie = world.cookie("user").await;
    let about = |half: &str| ask("POST", "/oauth2/introspect").form(&[("token", half)]);
    world.send(about(&tokens.access)).await.expect(401);
    let active = world.send(about(&tokens.access).basic(&api)).await.expect(200).json();
    assert_eq!((&active["active"], &active["sid"]), (&json!(true), &json!(tokens.sid)));
    assert_eq!(
        world.send(about(&tokens.access).basic(&rival)).await.json(),
        json!({ "active": false })
    );
    let session = world.send(about(&cookie).basic(&api)).await.json();
    assert_eq!((&session["active"], &session["token_type"]), (&json!(true), &json!("session")));
    assert_eq!(
        world.send(about(&tokens.refresh).basic(&api)).await.json(),
        json!({ "active": false })
    );
    world.send(ask("POST", "/api/v1/logout").bearer(&tokens.access)).await.expect(204);
    assert_eq!(
        world.send(about(&tokens.access).basic(&api)).await.json(),
        json!({ "active": false })
    );
}

#[tokio::test]
async fn a_removed_client_takes_its_sessions_along() {
    let world = World::new().await;
    world.add_client("app", "public", json!({ "first_party": true, "audiences": [ORIGIN] })).await;
    let login =
        json!({ "username": "user", "password": PASSWORD, "deliver": "token", "client_id": "app" });
    let login = world.send(ask("POST", "/api/v1/login").json(&login)).await.expect(200);
    let tokens = Tokens::from(&login);
    assert!(world.access_counts(&tokens.access).await);
    let handover = json!({ "to": "token", "client_id": "app", "password": PASSWORD });
    let cookie = world.cookie("user").await;
    let handover = ask("POST", "/api/v1/handover").cookie(&cookie).by_our_page().json(&handover);
    let handed_over = world.send(handover).await.expect(200);
    let cookie = handed_over.cookie("symbolon").unwrap();
    let handed_over = Tokens::from(&handed_over);
    let now = symbolon::app::now();
    symbolon::ops::clients::remove(&world.app, &"app".parse().unwrap(), now).await.unwrap();
    assert!(!world.access_counts(&tokens.access).await);
    let refresh = json!({ "refresh_token": tokens.refresh, "client_id": "app" });
    world.send(ask("POST", "/api/v1/refresh").json(&refresh)).await.expect(401);
    // A client of the same name is another client: it may come when no token of the first can live.
    let client = json!({ "id": "app", "kind": "public", "audiences": [ORIGIN] });
    let client = serde_json::from_value(client).unwrap();
    let client: symbolon_core::client::Client = client;
    let again = symbolon::ops::clients::add(&world.app, client.clone(), now).await;
    assert!(matches!(again, Err(symbolon::ops::clients::Refused::RemovedLately)));
    // Then it does not inherit the refresh tokens that the first got in sessions of others.
    let later = now + std::time::Duration::from_secs(3600);
    world.app.store.sweep(later, now, 0).await.unwrap();
    symbolon::ops::clients::add(&world.app, client, later).await.unwrap();
    assert!(world.cookie_counts(&cookie).await);
    let refresh = json!({ "refresh_token": handed_over.refresh, "client_id": "app" });
    let refused = world.send(ask("POST", "/api/v1/refresh").json(&refresh)).await.expect(400);
    assert_eq!(refused.code(), "invalid_grant");
}

#[tokio::test]
async fn refused_logins_are_alike() {
    let world = World::new().await;
    let attempt = |name: &str, password: &str| {
        let body = json!({ "username": name, "password": password });
        ask("POST", "/api/v1/login").json(&body)
    };
    let runs = || world.app.passwords.stats().runs;
    let mut bodies = std::collections::HashSet::new();
    for name in ["user", "nobody"] {
        let before = runs();
        let answer = world.send(attempt(name, "wrong wrong wrong wrong")).await.expect(401);
        assert_eq!(runs() - before, 1, "exactly one password hash");
        bodies.insert(answer.text);
    }
    assert_eq!(bodies.len(), 1);
    let mut limited = None;
    for _ in 0..200 {
        let answer = world.send(attempt("user", "wrong wrong wrong wrong")).await;
        if answer.status == 429 {
            limited = Some(answer);
            break;
        }
    }
    let limited = limited.expect("attempts are limited");
    assert!(limited.headers.contains_key("retry-after"));
    // The owner, elsewhere, gets in.
    let owner = attempt("user", PASSWORD).at_address([192, 0, 2, 7].into());
    world.send(owner).await.expect(200);
}

#[tokio::test]
async fn registering_a_taken_name_looks_like_any_other() {
    let world = World::new().await;
    let register = |name: &str| {
        let body = json!({ "username": name, "password": "another long enough password" });
        ask("POST", "/api/v1/register").json(&body)
    };
    let (free, taken) = (
        world.send(register("fresh")).await.expect(202),
        world.send(register("user")).await.expect(202),
    );
    assert_eq!(free.text, taken.text);
    assert!(
        world.cookie("user").await.starts_with("syms_"),
        "the password of the taken name is unchanged"
    );
    let weak = json!({ "username": "weak", "password": "password" });
    assert_eq!(
        world.send(ask("POST", "/api/v1/register").json(&weak)).await.expect(422).code(),
        "password_refused"
    );
}

/// A request that proved the session before it ended, and writes after it.
#[tokio::test]
async fn no_write_brings_an_ended_session_back() {
    let world = World::new().await;
    let shop = world.add_client("shop", "confidential", json!({})).await;
    rounds(async |round| {
        // Visitors of one address are limited: these come from many.
        let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(round).unwrap());
        let visitor = world
            .send(ask("POST", "/api/v1/sessions").basic(&shop).json(&json!({ "address": address })))
            .await
            .expect(201);
        let sid = visitor.text_of("sid");
        let data = format!("/api/v1/sessions/{sid}/data");
        let cookie = visitor.text_of("set_cookie");
        let cookie =
            cookie.strip_prefix("symbolon=").unwrap().split(';').next().unwrap().to_owned();
        let (logout, write, seen) = tokio::join!(
            world.send(ask("POST", "/api/v1/logout").cookie(&cookie).by_our_page()),
            world.send(ask("PATCH", &data).basic(&shop).json(&json!({ "a": 1 }))),
            world.send(ask("GET", "/api/v1/session").cookie(&cookie)),
        );
        logout.expect(204);
        assert!(
            [200, 404].contains(&write.status.as_u16())
                && [200, 401].contains(&seen.status.as_u16())
        );
        assert!(!world.cookie_counts(&cookie).await);
        world.send(ask("GET", &data).basic(&shop)).await.expect(404);
    })
    .await;
}

#[tokio::test]
async fn a_login_on_the_way_to_a_client_looks_like_that_client() {
    let shop = "https://shop.example";
    let brand =
        symbolon::ui::Brand::new("Corner Shop", None, "#b00020".parse().unwrap(), vec![]).unwrap();
    let world = World::with(|config| {
        config.client_brands.insert("shop".parse().unwrap(), brand);
    })
    .await;
    world
        .add_client("shop", "confidential", json!({ "first_party": true, "origins": [shop] }))
        .await;
    let plain = world.send(ask("GET", "/login")).await.expect(200);
    assert!(!plain.text.contains("Corner Shop"));
    let branded = world.send(ask("GET", &format!("/login?next={shop}/cart"))).await.expect(200);
    assert!(branded.text.contains("Corner Shop"));
    let policy = branded.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains(&format!("form-action 'self' {shop}")), "{policy}");
    let style = branded.text.split("href=\"").find(|part| part.contains("/assets/brand-")).unwrap();
    world.send(ask("GET", style.split('"').next().unwrap())).await.expect(200);
}

/// Verifiers that keep a copy of the key set look again only now and then: a key is there before the first token.
#[tokio::test]
async fn keys_are_published_before_a_client_gets_its_first_token() {
    let world = World::new().await;
    let uris = json!(["https://app.example/in"]);
    for (id, fields, algorithm) in [
        ("plain", json!({}), "ES256"),
        ("edwards", json!({ "algorithm": "EdDSA" }), "EdDSA"),
        ("oidc", json!({ "redirect_uris": uris }), "RS256"),
    ] {
        world.add_client(id, "confidential", fields).await;
        let jwks = world.send(ask("GET", "/.well-known/jwks.json")).await.expect(200).json();
        let keys = jwks["keys"].as_array().unwrap();
        assert_eq!(keys.iter().filter(|key| key["alg"] == algorithm).count(), 1, "{jwks}");
    }
}
