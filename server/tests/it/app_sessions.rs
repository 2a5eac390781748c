//! Sessions that an application's own cookie stands for: opened under a name, read, merged and ended by its server side.

use std::time::Duration;

use serde_json::json;
use symbolon::{app, ops};
use symbolon_core::{client::ClientId, limit::Quota, secret::SecretText};

use crate::world::{World, ask};

const SESSIONS: &str = "/api/v1/sessions";

fn data(sid: &str) -> String {
    format!("{SESSIONS}/{sid}/data")
}

#[tokio::test]
async fn a_name_opens_one_session_and_its_id_can_be_computed() {
    let world = World::new().await;
    let shop = world.add_client("shop", "confidential", json!({})).await;
    let rival = world.add_client("rival", "confidential", json!({})).await;
    let open =
        |client, name: &str| ask("POST", SESSIONS).basic(client).json(&json!({ "name": name }));
    let opened = world.send(open(&shop, "a name")).await.expect(201);
    let sid = opened.text_of("sid");
    let computed = "shop".parse::<ClientId>().unwrap().session_named("a name");
    assert_eq!(sid, computed.to_string());
    assert!(opened.json().get("set_cookie").is_none(), "no browser gets a cookie of it");
    world
        .send(ask("PATCH", &data(&sid)).basic(&shop).json(&json!({ "cart": 1 })))
        .await
        .expect(200);

    let again = world.send(open(&shop, "a name")).await.expect(200);
    assert_eq!(again.text_of("sid"), sid);
    let read = world.send(ask("GET", &data(&sid)).basic(&shop)).await.expect(200);
    assert_eq!(read.json(), json!({ "cart": 1 }), "opening never overwrites");

    let theirs = world.send(open(&rival, "a name")).await.expect(201);
    assert_ne!(theirs.text_of("sid"), sid, "names are each client's own");
    for name in [String::new(), "x".repeat(257)] {
        world.send(open(&shop, &name)).await.expect(400);
    }
}

#[tokio::test]
async fn an_ended_session_is_not_brought_back_by_its_name_or_a_late_write() {
    let world = World::new().await;
    let shop = world.add_client("shop", "confidential", json!({})).await;
    let open = || ask("POST", SESSIONS).basic(&shop).json(&json!({ "name": "gone" }));
    let sid = world.send(open()).await.expect(201).text_of("sid");
    world.send(ask("DELETE", &format!("{SESSIONS}/{sid}")).basic(&shop)).await.expect(204);
    assert_eq!(world.send(open()).await.expect(404).code(), "session_gone");
    let late = ask("PATCH", &data(&sid)).basic(&shop).json(&json!({ "cart": 1 }));
    assert_eq!(world.send(late).await.expect(404).code(), "session_gone");
    world.send(ask("DELETE", &format!("{SESSIONS}/{sid}")).basic(&shop)).await.expect(404);
}

#[tokio::test]
async fn a_client_ends_no_session_of_others() {
    let world = World::new().await;
    let shop = world.add_client("shop", "confidential", json!({})).await;
    let rival = world.add_client("rival", "confidential", json!({})).await;
    let visitor = world.send(ask("POST", SESSIONS).basic(&shop).json(&json!({}))).await.expect(201);
    let cookie = world.cookie("user").await;
    let login = world.send(ask("GET", "/api/v1/session").cookie(&cookie)).await.expect(200);
    for (client, sid) in [(&rival, visitor.text_of("sid")), (&rival, login.text_of("sid"))] {
        let path = format!("{SESSIONS}/{sid}");
        assert_eq!(
            world.send(ask("DELETE", &path).basic(client)).await.expect(404).code(),
            "not_found"
        );
    }
    let wrong = ask("DELETE", &format!("{SESSIONS}/{}", login.text_of("sid")));
    world.send(wrong.basic(&("shop".into(), "no secret".into()))).await.expect(401);
    assert!(world.cookie_counts(&cookie).await);
    world.send(ask("GET", &data(&visitor.text_of("sid"))).basic(&shop)).await.expect(200);
}

#[tokio::test]
async fn processes_that_open_one_name_at_once_open_one_session() {
    let world = World::new().await;
    let shop = world.add_client("shop", "confidential", json!({})).await;
    for round in 0..20 {
        let open = || {
            let body = json!({ "name": format!("round {round}") });
            world.send(ask("POST", SESSIONS).basic(&shop).json(&body))
        };
        let answers = tokio::join!(open(), open(), open());
        let mut statuses = [answers.0.status, answers.1.status, answers.2.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 200, 201], "{round}: {answers:?}");
    }
}

#[tokio::test]
async fn names_are_opened_no_faster_than_configured() {
    let world = World::with(|config| {
        config.limits.visitors_per_address = Quota { burst: 1, every: Duration::from_hours(1) };
    })
    .await;
    let shop = world.add_client("shop", "confidential", json!({})).await;
    for (name, status) in [("one", 201), ("one", 200), ("two", 429), ("one", 200)] {
        let open = ask("POST", SESSIONS).basic(&shop).json(&json!({ "name": name }));
        assert_eq!(world.send(open).await.status, status, "{name}");
    }
}

/// Only who says that the user is there keeps the session from being silent, and only the client's server side is heard.
#[tokio::test]
async fn a_session_is_seen_where_its_user_is() {
    use ops::data::{Reader, read};
    let world = World::new().await;
    world.add_client("shop", "confidential", json!({})).await;
    let cookie = SecretText::new(world.cookie("user").await);
    let known = ops::check::cookie(&world.app, &cookie, app::now()).await.unwrap();
    let (sid, later) = (known.session(), app::now() + known.limits.idle / 2);
    let shop = world.app.client(&"shop".parse().unwrap()).unwrap();
    for (seen, at) in [(false, None), (true, Some(later))] {
        read(&world.app, sid, &shop, Reader::Client, seen, later).await.unwrap();
        assert_eq!(world.app.live.last_seen(sid), at);
    }
    let browser = ask("GET", &format!("{}?seen=true&client_id=shop", data(&sid.to_string())));
    world.send(browser.cookie(cookie.expose())).await.expect(200);
    assert_eq!(world.app.live.last_seen(sid), Some(later));
}
