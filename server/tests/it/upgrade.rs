//! Programs of two releases on one database.

use std::process::Stdio;

use axum::http::Method;
use serde_json::json;
use sqlx::Executor;
use symbolon::store::StoreError;

use crate::{
    nodes::{connection, counts, database, login, store_on, until, world_on},
    postgres::Cluster,
    process::{Server, free_port},
    store::Folder,
    world::{PASSWORD, Tokens, ask},
};

/// As a later release does it: under the lock of all that migrate, in one transaction.
const EXPAND: &str = "BEGIN; SELECT pg_advisory_xact_lock(8320802056087301998); \
    ALTER TABLE sessions ADD COLUMN made_up TEXT; ALTER TABLE users ADD COLUMN made_up BIGINT DEFAULT 7; \
    ALTER TABLE log_head ADD COLUMN made_up TEXT; CREATE TABLE made_up (id BIGINT PRIMARY KEY); \
    INSERT INTO schema_versions VALUES (1000, 1); COMMIT";
/// It takes away what releases before that needed.
const CONTRACT: &str = "BEGIN; SELECT pg_advisory_xact_lock(8320802056087301998); \
    INSERT INTO schema_versions VALUES (1001, 1000); COMMIT";

/// A later release migrates while this one serves: it goes on, and others of it may start. Once the schema says that it
/// is too old, it stops answering within a lease, and does not start.
#[tokio::test(flavor = "multi_thread")]
async fn a_later_release_migrates_under_a_server_that_serves() {
    let Some((_folder, url)) = database() else { return };
    let world = world_on(&url).await;
    let mut tokens = world.tokens("user").await;
    let (mut later, mut other) = (connection(&url).await, connection(&url).await);
    for round in 0..40 {
        // In the middle of whatever happens.
        let migrates = async {
            if round == 20 {
                later.execute(EXPAND).await.unwrap();
            }
        };
        let (refreshed, ()) = tokio::join!(world.refresh(&tokens.refresh), migrates);
        tokens = Tokens::from(&refreshed.expect(200));
        assert!(world.access_counts(&tokens.access).await, "round {round}");
    }
    let ended = world.tokens("user").await;
    let path = "/api/v1/logout?confirm=20s";
    let answer = world.send(ask("POST", path).bearer(&ended.access)).await;
    assert_eq!(answer.json()["confirmed"], true, "{answer:?}");
    // It can be gone back to.
    let beside = world.beside().await;
    assert!(beside.access_counts(&tokens.access).await);
    drop(beside);

    later.execute(CONTRACT).await.unwrap();
    until(async || {
        let answer = world.send(ask("GET", "/api/v1/session").bearer(&tokens.access)).await;
        assert!([200, 503].contains(&answer.status.as_u16()), "{answer:?}");
        answer.status == 503 && answer.headers.contains_key("retry-after")
    })
    .await;
    world.refresh(&tokens.refresh).await.expect(503);
    let refused = store_on(&url, &Folder::new()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Newer { needed: 1000, .. }), "{refused:?}");
    let (code, fix) = refused.advice();
    assert!(code == "database_newer" && fix.contains("newer version"), "{fix}");
    // Whoever takes that back finds it at work again.
    other.execute("DELETE FROM schema_versions WHERE version = 1001").await.unwrap();
    until(async || world.access_counts(&tokens.access).await).await;
}

/// Half a migration is none: whoever comes next begins with it.
#[tokio::test]
async fn a_migration_that_was_killed_is_done_again() {
    let Some((_folder, url)) = database() else { return };
    let mut killed = connection(&url).await;
    let half = "BEGIN; SELECT pg_advisory_xact_lock(8320802056087301998); \
                CREATE TABLE schema_versions (version BIGINT PRIMARY KEY, works_from BIGINT); \
                CREATE TABLE users (id BIGINT)";
    killed.execute(half).await.unwrap();
    let folder = Folder::new();
    let waiting = store_on(&url, &folder);
    let cut = async {
        let mut other = connection(&url).await;
        let waits = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
                     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        until(async || !other.fetch_all(waits).await.unwrap().is_empty()).await;
        let end = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted \
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        other.execute(end).await.unwrap();
    };
    let (store, ()) = tokio::join!(waiting, cut);
    store.unwrap().barrier().await.unwrap();
}

/// The release before this one and this one, side by side on one database: `SYMBOLON_OLD` names the binary of the former.
/// Until there was a release, and where none is named, this program takes both parts: then the walk is the same, and
/// says nothing of other versions.
#[tokio::test(flavor = "multi_thread")]
async fn the_release_before_and_this_one_side_by_side() {
    let Some(cluster) = Cluster::start(&["fsync=off"]) else { return };
    let old = std::env::var_os("SYMBOLON_OLD").map(|path| path.into_string().unwrap());
    if old.is_none() {
        println!("SYMBOLON_OLD names no older binary: both parts are played by this one");
    }
    let old = old.unwrap_or_else(|| env!("CARGO_BIN_EXE_symbolon").to_owned());
    cluster.create("symbolon");
    let folders = [Folder::new(), Folder::new()];
    let url = format!("SYMBOLON_STORE__URL={}", cluster.url("symbolon").expose());
    let key = folders[0].0.join("master.key").display().to_string();
    let key = format!("SYMBOLON_KEYS__MASTER_KEY_FILE={key}");
    let new = ["env", &url, &key, "SYMBOLON_PUBLIC_URL=http://localhost:7"];
    // The words after it begin with this program, which makes way for the other.
    let script = "old=$1; shift 2; exec \"$old\" \"$@\"";
    let old = [&new[..], &["sh", "-c", script, "sh", &old]].concat();
    let start = async |by: &[&str], folder: &Folder| {
        Server::start_by(by, &folder.0, free_port(), Stdio::inherit()).await
    };
    // One after the other is exchanged, and then it is gone back.
    let mut servers = [start(&old, &folders[0]).await, start(&old, &folders[1]).await];
    let body = json!({ "username": "load", "password": PASSWORD });
    servers[0].http.post("/api/v1/register", &[], &body).await.unwrap();
    let (mut bearer, mut refresh) = login(&servers[0].http).await;
    for (at, by) in [(0, &new[..]), (1, &new[..]), (0, &old[..]), (1, &old[..])] {
        servers[at].kill();
        servers[at] = start(by, &folders[at]).await;
        for server in &servers {
            assert_eq!(counts(&server.http, &bearer).await, 200);
            let body = json!({ "refresh_token": refresh });
            let answer = server.http.post("/api/v1/refresh", &[], &body).await.unwrap();
            assert_eq!(answer.status, 200, "{answer:?}");
            let text = |name: &str| answer.json[name].as_str().unwrap().to_owned();
            (bearer, refresh) = (format!("Bearer {}", text("access_token")), text("refresh_token"));
        }
        // What one ends the other refuses.
        let (one, other) = (&servers[at].http, &servers[1 - at].http);
        for (begins, ends) in [(one, other), (other, one)] {
            let (over, _) = login(begins).await;
            let path = "/api/v1/logout?confirm=20s";
            let headers = [("authorization", &*over)];
            let ended = ends.send(Method::POST, path, &headers, Some(&json!({}))).await.unwrap();
            assert_eq!(ended.json["confirmed"], true, "{ended:?}");
            assert_eq!(counts(begins, &over).await, 401);
        }
    }
}
