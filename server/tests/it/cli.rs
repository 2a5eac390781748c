//! The command line, as a process of its own.

use serde_json::json;
use sqlx::{Connection, SqliteConnection};

use crate::{
    postgres,
    process::{Server, free_port, refused, run},
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
