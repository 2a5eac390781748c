//! The command line, as a process of its own.

use std::process::Stdio;

use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};

use crate::{
    postgres,
    process::{Server, binary, free_port, refused, run},
    store::Folder,
    world::PASSWORD,
};

#[tokio::test]
async fn all_users_are_listed_however_many_there_are() {
    // Many are put into the file by hand.
    if postgres::is_asked_for() {
        return;
    }
    let folder = Folder::new();
    run(&folder.0, &["user", "add", "user@example.com"], PASSWORD);
    let url = format!("sqlite:{}", folder.0.join("symbolon.db").display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    // Names that must be escaped in a query are among them.
    let copies = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) \
                  INSERT INTO users SELECT randomblob(16), version, 'a+' || i || '@example.com', password, roles, profile, epoch, \
                  disabled_at, added_at FROM users, n";
    sqlx::query(copies).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let names = || {
        let users = run(&folder.0, &["user", "list"], "");
        let users = users.as_array().unwrap().iter();
        users.map(|user| user["username"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let here = names();
    assert_eq!(here.len(), 2501);
    assert!(here.is_sorted() && here.windows(2).all(|pair| pair[0] != pair[1]));
    let _server = Server::start(&folder.0, free_port()).await;
    // The users of the demo come with it.
    let through_the_server = names().into_iter().filter(|name| name.contains('@'));
    assert!(through_the_server.eq(here), "a server answers as the folder does");
}

#[test]
fn what_is_said_of_users_and_clients_is_stored() {
    let folder = Folder::new();
    let at = &folder.0;
    run(at, &["user", "add", "user@example.com"], PASSWORD);
    let claims = ["email=user@example.com", "email_verified=true", "address.country=KR"];
    let set = [&["user", "profile", "user@example.com"], &claims[..]].concat();
    let told = json!({
        "email": "user@example.com", "email_verified": true, "address": { "country": "KR" },
    });
    assert_eq!(run(at, &set, "")["profile"], told);
    assert_eq!(run(at, &["user", "show", "user@example.com"], "")["profile"], told);
    let wrong = ["user", "profile", "user@example.com", "sub=admin"];
    assert_eq!(refused(&[], at, &wrong), (2, "invalid_claims".to_owned()));

    let grants =
        ["--grant-type", "client_credentials", "--scope", "read", "--browser", "cart=read"];
    let add = [&["client", "add", "robot", "--kind", "confidential"], &grants[..]].concat();
    run(at, &add, "");
    let robot = run(at, &["client", "show", "robot"], "");
    for (member, value) in [
        ("grant_types", json!(["client_credentials"])),
        ("scopes", json!(["read"])),
        ("browser", json!({ "cart": "read" })),
        ("id_token_algorithm", json!("RS256")),
        ("userinfo_algorithm", json!(null)),
    ] {
        assert_eq!(robot[member], value, "{member}");
    }
    let wrong = ["client", "add", "x", "--kind", "public", "--grant-type", "password"];
    assert_eq!(refused(&[], at, &wrong), (2, "invalid_client_settings".to_owned()));
}

#[tokio::test]
async fn declared_clients_that_the_file_has_otherwise_by_now_are_shown() {
    let folder = Folder::new();
    let at = &folder.0;
    let file = at.join("clients.toml");
    let write = |toml: &str| std::fs::write(&file, toml).unwrap();
    let declare = |id: &str, more: &str| format!("[client.{id}]\nkind = 'public'\n{more}\n");
    write(&[declare("same", ""), declare("other", ""), declare("gone", "")].concat());
    let set = format!("SYMBOLON_CONFIG={}", file.display());
    let _server = Server::start_by(&["env", &set], at, free_port(), Stdio::inherit()).await;
    run(at, &["client", "add", "web", "--kind", "public"], "");
    let drift = || {
        let list = run(at, &["client", "list"], "");
        let of = |item: &Value| {
            Some((item["id"].as_str()?.to_owned(), item["drift"].as_str()?.to_owned()))
        };
        list.as_array().unwrap().iter().filter_map(of).collect::<Vec<_>>()
    };
    assert_eq!(drift(), []);
    write(&[declare("same", ""), declare("other", "name = 'Other'"), declare("new", "")].concat());
    let expected = [
        ("gone", "gone from the configuration"),
        ("new", "new in the configuration"),
        ("other", "changed in the configuration"),
    ];
    assert_eq!(drift(), expected.map(|(id, how)| (id.to_owned(), how.to_owned())));
    let other = run(at, &["client", "show", "other"], "");
    assert_eq!((&other["drift"], &other["name"]), (&json!(expected[2].1), &json!(null)));
    let check = ["--config", &file.display().to_string(), "config", "check"].map(str::to_owned);
    let data = format!("data_dir={}", at.display());
    let url = "public_url=http://localhost:8080";
    let checked = binary(&[]).args(["--set", &data, "--set", url]).args(check).output().unwrap();
    let says = String::from_utf8(checked.stderr).unwrap();
    let warned = "warning[client_drift]: client.other: changed in the configuration";
    assert!(says.contains(warned), "{says}");
    write("[client.same]\nkind = 'toy'\n");
    assert!(drift().iter().all(|(_, how)| how == "the configuration has mistakes"));
    assert!(!drift().is_empty());
}

#[test]
fn every_field_of_a_client_can_be_given() {
    let folder = Folder::new();
    let at = &folder.0;
    let jwks = at.join("jwks.json");
    let key = crate::keys::Key::new();
    std::fs::write(&jwks, json!({ "keys": [key.named("1")] }).to_string()).unwrap();
    let jwks = jwks.display().to_string();
    let add = "client add shop --kind confidential --name Shop --name-in ko=가게 --application-type native \
               --redirect-uri com.example.shop:/in --require-par --pkce-required=false --dpop-bound-access-tokens \
               --backchannel-logout-session-required --frontchannel-logout-session-required --default-max-age 60 \
               --require-auth-time --token-endpoint-auth-method private_key_jwt --token-endpoint-audience \
               --token-endpoint-auth-signing-alg ES256 --request-object-signing-alg ES256 --contact admin@shop.example \
               --client-uri https://shop.example/ --policy-uri https://shop.example/p --tos-uri https://shop.example/t";
    let mut words: Vec<&str> = add.split_whitespace().collect();
    words.extend(["--jwks", &jwks]);
    run(at, &words, "");
    let shop = run(at, &["client", "show", "shop"], "");
    for (member, value) in [
        ("name", json!("Shop")),
        ("application_type", json!("native")),
        ("pkce_required", json!(false)),
        ("require_pushed_authorization_requests", json!(true)),
        ("dpop_bound_access_tokens", json!(true)),
        ("backchannel_logout_session_required", json!(true)),
        ("frontchannel_logout_session_required", json!(true)),
        ("default_max_age", json!(60)),
        ("require_auth_time", json!(true)),
        ("token_endpoint_auth_method", json!("private_key_jwt")),
        ("token_endpoint_auth_signing_alg", json!("ES256")),
        ("request_object_signing_alg", json!("ES256")),
        ("token_endpoint_audience", json!(true)),
        ("registered", json!(false)),
    ] {
        assert_eq!(shop[member], value, "{member}");
    }
    assert_eq!(shop["jwks"]["keys"][0]["kid"], "1");
    assert_eq!(shop["about"]["names"]["ko"], "가게");
    assert_eq!(shop["about"]["policy_uri"], "https://shop.example/p");
    for wrong in [
        &["--redirect-uri", "javascript:alert(1)"][..],
        &["--jwks", "/nowhere"],
        &["--jwks-uri", "https://a.example/keys"],
        &["--policy-uri", "http://a.example/"],
    ] {
        let words = [&["client", "add", "x", "--kind", "public"], wrong].concat();
        assert_eq!(
            refused(&[], at, &words),
            (2, "invalid_client_settings".to_owned()),
            "{wrong:?}"
        );
    }
}

/// One id of 64 begins like a flag.
#[tokio::test]
async fn an_id_may_begin_with_a_hyphen() {
    let folder = Folder::new();
    run(&folder.0, &["user", "add", "user@example.com"], PASSWORD);
    for command in [
        &["session", "show", "-AAAAAAAAAAAAAAAAAAAAA"][..],
        &["session", "end", "-AAAAAAAAAAAAAAAAAAAAA", "--confirm=1s"],
        &["token", "end", "--confirm=1s", "-AAAAAAAAAAAAAAAAAAAAA"],
        &["key", "withdraw", "-AAAAAAAAAAAAAAAAAAAAA"],
    ] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_symbolon"))
            .args(command)
            .env_clear()
            .env("SYMBOLON_DATA_DIR", &folder.0)
            .output()
            .unwrap();
        let says = String::from_utf8_lossy(&output.stderr);
        // 2 is what a command line is answered that cannot be read.
        assert_ne!(output.status.code(), Some(2), "{command:?}: {says}");
        assert!(!says.contains("unexpected argument"), "{command:?}: {says}");
    }
}
