//! `offline_access`: tokens that outlive the login, and what ends them.

use serde_json::{Value, json};
use symbolon::ops;

use crate::{
    oauth::{CALLBACK, Provider, opened, refused},
    world::{Answer, ORIGIN, ask},
};

const OFFLINE: &[(&str, &str)] = &[("scope", "openid offline_access")];

async fn tokens(provider: &Provider, browser: &str) -> Answer {
    let code = provider.code(browser, OFFLINE).await;
    let redeemed = Provider::redemption(&code, &[]).basic(&provider.web);
    provider.world.send(redeemed).await.expect(200)
}

/// The app's session that an ID token names.
async fn named(provider: &Provider, answer: &Answer) -> Value {
    opened(&provider.world, &answer.text_of("id_token")).await.1["sid"].clone()
}

async fn session(provider: &Provider, sid: &str) -> Value {
    let path = format!("/sessions/{sid}");
    provider.world.admin(ask("GET", &path)).await.expect(200).json()
}

#[tokio::test]
async fn they_outlive_the_login_and_the_apps_session_does_not() {
    let provider = Provider::new().await;
    let browser = provider.world.cookie("user").await;
    let first = tokens(&provider, &browser).await;
    assert_eq!(first.text_of("scope"), "openid offline_access");
    let child = named(&provider, &first).await;
    assert_ne!(child, first.text_of("sid"));
    let detached = session(&provider, &first.text_of("sid")).await;
    assert_eq!((&detached["granted_by"], &detached["cookie"]), (&child, &json!(false)));
    // Without it the tokens are of the app's session itself.
    assert_eq!(provider.tokens(&browser).await.text_of("sid"), child);

    provider.log_out(&browser).await;
    let child = child.as_str().unwrap();
    assert_eq!(session(&provider, child).await["ended"], "logout");
    assert!(provider.is_active(&first.text_of("access_token")).await);
    let token = first.text_of("refresh_token");
    let next = provider.refresh(&provider.web, &token, &[]).await.expect(200);
    assert_eq!(named(&provider, &next).await, child, "the login that it was");
    assert!(provider.is_active(&next.text_of("access_token")).await);
}

#[tokio::test]
async fn the_account_page_shows_them_beside_their_app() {
    let provider = Provider::new().await;
    let world = &provider.world;
    let browser = world.cookie("user").await;
    let kept = tokens(&provider, &browser).await.text_of("sid");
    let page = async |cookie: &str| {
        let get = ask("GET", "/account").cookie(cookie).header("accept-language", "en");
        world.send(get).await.expect(200).text
    };
    // One list of browsers, and one of the apps under this one: the app's session, and what it keeps.
    let text = page(&browser).await;
    let apps = "aria-label=\"Apps let in by this browser\"";
    let (browsers, apps) = text.split_once(apps).unwrap_or_else(|| panic!("{text}"));
    let name = format!("id=\"name-{kept}\"");
    assert!(!browsers.contains(&name) && apps.contains(&name), "{text}");
    assert_eq!(text.matches("Stays after logout").count(), 1);
    // The browser is logged out: what is kept stands alone, named as its app.
    provider.log_out(&browser).await;
    let other = world.cookie("user").await;
    let text = page(&other).await;
    assert!(text.contains(&format!("{name}>web<")), "{text}");
    assert!(!text.contains("aria-label=\"Apps let in"), "{text}");
}

#[tokio::test]
async fn one_session_for_an_app_of_a_browser() {
    let provider = Provider::new().await;
    let world = &provider.world;
    let (here, there) = (world.cookie("user").await, world.cookie("user").await);
    let (first, second) = (tokens(&provider, &here).await, tokens(&provider, &here).await);
    assert_eq!(first.text_of("sid"), second.text_of("sid"));
    assert_ne!(first.text_of("sid"), tokens(&provider, &there).await.text_of("sid"));
    for answer in [&first, &second] {
        let token = answer.text_of("refresh_token");
        provider.refresh(&provider.web, &token, &[]).await.expect(200);
    }
}

#[tokio::test]
async fn what_ends_everything_ends_them() {
    for what in ["end-all", "end-others", "disable", "password", "client", "consent", "session"] {
        let provider = Provider::new().await;
        let world = &provider.world;
        let browser = world.cookie("user").await;
        let answer = tokens(&provider, &browser).await;
        let (token, sid) = (answer.text_of("access_token"), answer.text_of("sid"));
        let watcher = world.add_client("watcher", "resource", json!({})).await;
        match what {
            "end-all" => drop(world.admin(ask("DELETE", "/sessions?user=user")).await.expect(200)),
            "end-others" => {
                let other = world.cookie("user").await;
                let end = ask("DELETE", "/api/v1/sessions").cookie(&other).by_our_page();
                world.send(end).await.expect(200);
            }
            "disable" => drop(world.admin(ask("POST", "/users/user/disable")).await.expect(200)),
            "password" => {
                let new = json!({ "password": "a quite different long one" });
                world.admin(ask("POST", "/users/user/password").json(&new)).await.expect(200);
            }
            "client" => drop(world.admin(ask("DELETE", "/clients/web")).await),
            "consent" => {
                let user = ops::users::by_name(&world.app, "user").await.unwrap().id;
                let client = "web".parse().unwrap();
                let now = symbolon::app::now();
                ops::apps::forbid(&world.app, user, &client, now).await.unwrap();
            }
            _ => drop(world.admin(ask("DELETE", &format!("/sessions/{sid}"))).await.expect(200)),
        }
        let about = ask("POST", "/oauth2/introspect").basic(&watcher).form(&[("token", &token)]);
        assert_eq!(world.send(about).await.expect(200).json()["active"], false, "{what}");
        let late = provider.refresh(&provider.web, &answer.text_of("refresh_token"), &[]).await;
        assert!(late.status.is_client_error(), "{what}: {late:?}");
    }
}

#[tokio::test]
async fn revocation_and_replay_end_them() {
    let provider = Provider::new().await;
    let world = &provider.world;
    let browser = world.cookie("user").await;
    let answer = tokens(&provider, &browser).await;
    let refresh = answer.text_of("refresh_token");
    let revoke = ask("POST", "/oauth2/revoke").basic(&provider.web).form(&[("token", &refresh)]);
    world.send(revoke).await.expect(200);
    assert!(!provider.is_active(&answer.text_of("access_token")).await);
    // A code that comes again.
    let code = provider.code(&browser, OFFLINE).await;
    let redeemed = || Provider::redemption(&code, &[]).basic(&provider.web);
    let answer = world.send(redeemed()).await.expect(200);
    refused(&world.send(redeemed()).await, 400, "invalid_grant");
    assert!(!provider.is_active(&answer.text_of("access_token")).await);
    // A refresh token of long ago.
    let answer = tokens(&provider, &browser).await;
    let mut token = answer.text_of("refresh_token");
    for _ in 0..2 {
        let next = provider.refresh(&provider.web, &token, &[]).await.expect(200);
        token = next.text_of("refresh_token");
    }
    let old = provider.refresh(&provider.web, &answer.text_of("refresh_token"), &[]).await;
    refused(&old, 400, "invalid_grant");
    refused(&provider.refresh(&provider.web, &token, &[]).await, 400, "invalid_grant");
    assert!(world.cookie_counts(&browser).await, "the login goes on");
}

#[tokio::test]
async fn they_never_become_a_cookie() {
    let provider = Provider::new().await;
    let world = &provider.world;
    let browser = world.cookie("user").await;
    // Even where the app is ours, keeps no secret and gets tokens for this server.
    let more = json!({
        "first_party": true, "redirect_uris": [CALLBACK], "audiences": [ORIGIN],
        "origins": ["https://ours.example"],
    });
    world.add_client("ours", "public", more).await;
    let own = [("client_id", "ours")];
    let code = provider.code(&browser, &[own[0], OFFLINE[0]]).await;
    let answer = world.send(Provider::redemption(&code, &own)).await.expect(200);
    let token = answer.text_of("access_token");
    assert!(world.access_counts(&token).await);
    let handover = ask("POST", "/api/v1/handover")
        .bearer(&token)
        .header("origin", "https://ours.example")
        .json(&json!({ "to": "session" }));
    let answer = world.send(handover).await;
    assert!(answer.status.is_client_error() && answer.cookie("symbolon").is_none(), "{answer:?}");
}

#[tokio::test]
async fn without_refresh_tokens_there_is_nothing_to_keep() {
    let provider = Provider::new().await;
    let world = &provider.world;
    let browser = world.cookie("user").await;
    let more = json!({
        "first_party": true, "redirect_uris": [CALLBACK], "grant_types": ["authorization_code"],
    });
    let once = world.add_client("once", "confidential", more).await;
    let code = provider.code(&browser, &[("client_id", "once"), OFFLINE[0]]).await;
    let answer = world.send(Provider::redemption(&code, &[]).basic(&once)).await.expect(200);
    assert_eq!(answer.text_of("scope"), "openid");
    assert_eq!(named(&provider, &answer).await, answer.text_of("sid"));
}
