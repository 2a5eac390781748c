//! Machine clients: tokens for clients that act for themselves.

use serde_json::{Value, json};

use crate::{
    oauth::{opened, refused},
    world::{Answer, ORIGIN, World, ask},
};

type Client = (String, String);

async fn machine(world: &World) -> Client {
    let more = json!({
        "grant_types": ["client_credentials"], "scopes": ["read", "write"],
        "audiences": ["https://api.example", "https://files.example"],
    });
    world.add_client("robot", "confidential", more).await
}

async fn asked(world: &World, client: &Client, more: &[(&str, &str)]) -> Answer {
    let fields = [&[("grant_type", "client_credentials")], more].concat();
    world.send(ask("POST", "/oauth2/token").form(&fields).basic(client)).await
}

async fn is_active(world: &World, client: &Client, token: &str) -> bool {
    let about = ask("POST", "/oauth2/introspect").basic(client).form(&[("token", token)]);
    world.send(about).await.expect(200).json()["active"] == true
}

#[tokio::test]
async fn a_machine_acts_for_itself() {
    let world = World::new().await;
    let robot = machine(&world).await;
    let answer = asked(&world, &robot, &[]).await.expect(200);
    let body = answer.json();
    for absent in ["refresh_token", "id_token", "authorization_expires_in"] {
        assert_eq!(body[absent], Value::Null, "{absent}");
    }
    assert_eq!(body["scope"], "read write");
    let (header, claims) = opened(&world, &answer.text_of("access_token")).await;
    assert_eq!(header["typ"], "at+jwt");
    assert_eq!(
        claims,
        json!({
            "iss": ORIGIN, "sub": "robot", "client_id": "robot", "aud": "https://api.example",
            "scope": "read write", "sid": answer.text_of("sid"), "jti": claims["jti"],
            "iat": claims["iat"], "exp": claims["exp"],
        })
    );
}

#[tokio::test]
async fn scope_and_audience_are_its_own() {
    let world = World::new().await;
    let robot = machine(&world).await;
    for (scope, given) in [
        ("read", Some("read")),
        ("write read write", Some("write read")),
        ("read admin", None),
        ("openid", None),
        ("offline_access", None),
    ] {
        let answer = asked(&world, &robot, &[("scope", scope)]).await;
        match given {
            Some(given) => assert_eq!(answer.expect(200).text_of("scope"), given),
            None => refused(&answer, 400, "invalid_scope"),
        }
    }
    for (resource, counts) in [
        ("https://files.example", true),
        ("https://files.example/", false),
        ("https://evil.example", false),
        (ORIGIN, false),
    ] {
        let answer = asked(&world, &robot, &[("resource", resource)]).await;
        if counts {
            let (_, claims) = opened(&world, &answer.text_of("access_token")).await;
            assert_eq!(claims["aud"], resource);
        } else {
            refused(&answer, 400, "invalid_target");
        }
    }
    let two = [("resource", "https://api.example"), ("resource", "https://files.example")];
    let answer = asked(&world, &robot, &two).await.expect(200);
    let (_, claims) = opened(&world, &answer.text_of("access_token")).await;
    assert_eq!(claims["aud"], json!(["https://api.example", "https://files.example"]));
    let more = [two[0], ("resource", "https://evil.example")];
    refused(&asked(&world, &robot, &more).await, 400, "invalid_target");
    let many = [("resource", "https://api.example"); 9];
    refused(&asked(&world, &robot, &many).await, 400, "invalid_target");
    let nowhere = json!({ "grant_types": ["client_credentials"], "audiences": [] });
    let nowhere = world.add_client("nowhere", "confidential", nowhere).await;
    refused(&asked(&world, &nowhere, &[]).await, 400, "invalid_target");
}

#[tokio::test]
async fn only_those_who_may_act_for_themselves() {
    let world = World::new().await;
    let web = world.add_client("web", "confidential", json!({})).await;
    refused(&asked(&world, &web, &[]).await, 400, "unauthorized_client");
    let more = json!({ "grant_types": ["client_credentials"] });
    world.add_client("spa", "public", more).await;
    let fields = [("grant_type", "client_credentials"), ("client_id", "spa")];
    let named = world.send(ask("POST", "/oauth2/token").form(&fields)).await;
    refused(&named, 400, "unauthorized_client");
    let robot = machine(&world).await;
    let wrong = (robot.0.clone(), "symc_wrong".to_owned());
    refused(&asked(&world, &wrong, &[]).await, 401, "invalid_client");
    // And a machine does nothing else.
    for grant in ["authorization_code", "refresh_token"] {
        let fields = [("grant_type", grant), ("code", "x"), ("refresh_token", "x")];
        let answer = world.send(ask("POST", "/oauth2/token").form(&fields).basic(&robot)).await;
        refused(&answer, 400, "unauthorized_client");
    }
}

#[tokio::test]
async fn a_machine_has_one_session() {
    let world = World::new().await;
    let robot = machine(&world).await;
    let tokens = tokio::join!(
        asked(&world, &robot, &[]),
        asked(&world, &robot, &[]),
        asked(&world, &robot, &[]),
        asked(&world, &robot, &[]),
    );
    let sids = [&tokens.0, &tokens.1, &tokens.2, &tokens.3].map(|answer| answer.text_of("sid"));
    assert!(sids.iter().all(|sid| *sid == sids[0]), "{sids:?}");
    let ids = [&tokens.0, &tokens.1].map(|answer| answer.text_of("access_token"));
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn ending_it_ends_the_tokens_and_removing_it_the_machine() {
    let world = World::new().await;
    let robot = machine(&world).await;
    let watcher = world.add_client("watcher", "resource", json!({})).await;
    let first = asked(&world, &robot, &[]).await.expect(200);
    let (token, sid) = (first.text_of("access_token"), first.text_of("sid"));
    assert!(is_active(&world, &watcher, &token).await);
    world.admin(ask("DELETE", &format!("/sessions/{sid}"))).await.expect(200);
    assert!(!is_active(&world, &watcher, &token).await);
    // The next request is answered by another session, at once.
    let second = asked(&world, &robot, &[]).await.expect(200);
    assert_ne!(second.text_of("sid"), sid);
    let token = second.text_of("access_token");
    assert!(is_active(&world, &watcher, &token).await);
    // Another secret stops who has the old one, and no token.
    world.admin(ask("POST", "/clients/robot/secret")).await.expect(200);
    refused(&asked(&world, &robot, &[]).await, 401, "invalid_client");
    assert!(is_active(&world, &watcher, &token).await);
    world.admin(ask("DELETE", "/clients/robot")).await;
    assert!(!is_active(&world, &watcher, &token).await);
}

#[tokio::test]
async fn a_machine_is_no_user() {
    let world = World::new().await;
    // Even where its token is for this server.
    let more = json!({ "grant_types": ["client_credentials"], "audiences": [ORIGIN] });
    let robot = world.add_client("robot", "confidential", more).await;
    let token = asked(&world, &robot, &[]).await.expect(200).text_of("access_token");
    for (method, path) in [("GET", "/api/v1/sessions"), ("DELETE", "/api/v1/sessions")] {
        let answer = world.send(ask(method, path).bearer(&token)).await;
        assert!([401, 403].contains(&answer.status.as_u16()), "{answer:?}");
    }
    let to = json!({ "to": "session" });
    let origin = ("origin", ORIGIN);
    let answer = ask("POST", "/api/v1/handover").bearer(&token).header(origin.0, origin.1);
    let answer = world.send(answer.json(&to)).await;
    assert!(answer.status.is_client_error() && answer.cookie("symbolon").is_none(), "{answer:?}");
}
