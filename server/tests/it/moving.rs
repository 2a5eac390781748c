//! Moving a store to another engine, backing it up and restoring it, by the real binary.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::Stdio,
};

use axum::http::Method;
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};

use crate::{
    followers::{Follower, Place, Secret},
    postgres,
    process::{Http, Server, binary, free_port, refused, run},
    store::Folder,
    world::PASSWORD,
};

/// What a client holds.
#[derive(Debug, Clone)]
struct Login {
    cookie: String,
    access: String,
    refresh: String,
}

const NONE: [u16; 3] = [401, 401, 400];
const ALL: [u16; 3] = [200, 200, 200];

/// A session by cookie, and one by tokens.
async fn log_in(http: &Http) -> Login {
    let body =
        |deliver: &str| json!({ "username": "load", "password": PASSWORD, "deliver": deliver });
    let by_cookie = http.post("/api/v1/login", &[], &body("session")).await.unwrap();
    let cookie = by_cookie.headers["set-cookie"].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let by_token = http.post("/api/v1/login", &[], &body("token")).await.unwrap();
    let text = |name: &str| by_token.json[name].as_str().unwrap().to_owned();
    Login { cookie, access: text("access_token"), refresh: text("refresh_token") }
}

/// What becomes of cookie, access token and refresh token.
async fn uses(http: &Http, login: &mut Login) -> [u16; 3] {
    let get = async |name: &str, value: &str| {
        let got = http.send(Method::GET, "/api/v1/session", &[(name, value)], None).await;
        got.unwrap().status.as_u16()
    };
    let cookie = get("cookie", &login.cookie).await;
    let access = get("authorization", &format!("Bearer {}", login.access)).await;
    let body = json!({ "refresh_token": login.refresh });
    let refreshed = http.post("/api/v1/refresh", &[], &body).await.unwrap();
    if refreshed.status == 200 {
        login.refresh = refreshed.json["refresh_token"].as_str().unwrap().to_owned();
        login.access = refreshed.json["access_token"].as_str().unwrap().to_owned();
    }
    [cookie, access, refreshed.status.as_u16()]
}

async fn end(http: &Http, login: &Login) {
    let body = json!({ "refresh_token": login.refresh });
    assert_eq!(http.post("/api/v1/logout", &[], &body).await.unwrap().status, 204);
    let origin = ("sec-fetch-site", "same-origin");
    let cookie = ("cookie", login.cookie.as_str());
    let ended =
        http.send(Method::POST, "/api/v1/logout", &[cookie, origin], Some(&json!({}))).await;
    assert_eq!(ended.unwrap().status, 204);
}

/// How the server is started on a database instead of the file in its folder.
fn on(url: &str) -> [String; 2] {
    ["env".to_owned(), format!("SYMBOLON_STORE__URL={url}")]
}

async fn start_on(url: &str, folder: &Path, port: u16) -> Server {
    let [env, url] = on(url);
    Server::start_by(&[&env, &url], folder, port, Stdio::inherit()).await
}

fn from(place: &Path) -> String {
    format!("sqlite:{}", place.display())
}

/// The arguments of a move.
fn store<'a>(from: &'a str, to: &'a str) -> [&'a str; 6] {
    ["migrate", "store", "--from", from, "--to", to]
}

/// A database as an argument: its URL in a file.
fn named(url: &str, folder: &Folder) -> String {
    let file = folder.0.join("url");
    fs::write(&file, url).unwrap();
    format!("file:{}", file.display())
}

fn key_of(from: &Folder, to: &Folder) {
    fs::copy(from.0.join("master.key"), to.0.join("master.key")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_live_on_in_another_engine_and_back() {
    // It begins in a file, whatever the others do.
    if postgres::is_asked_for() || postgres::shared().is_none() {
        return;
    }
    let (old, back) = (Folder::new(), Folder::new());
    let url = postgres::database_of(&old.0).expose().to_owned();
    let port = free_port();
    let mut server = Server::start(&old.0, port).await;
    run(&old.0, &["user", "add", "load"], PASSWORD);
    let (mut kept, mut ended) = (log_in(&server.http).await, log_in(&server.http).await);
    assert_eq!(uses(&server.http, &mut kept).await, ALL);
    end(&server.http, &ended).await;
    assert_eq!(uses(&server.http, &mut ended).await, NONE);

    let [env, to] = on(&url);
    let (here, there) = (from(&old.0), &named(&url, &old));
    let by = ["env"];
    // A server that runs is noticed, by the lock of its folder.
    let busy = refused(&by, &old.0, &store(&here, there));
    assert_eq!(busy, (4, "data_folder_busy".to_owned()));
    server.kill();
    let moved = migrated(&by, &old.0, &store(&here, there));
    assert!(moved.iter().any(|it| it["table"] == "sessions" && it["rows"].as_u64() >= Some(4)));
    // Servers do not start where it was.
    assert_eq!(refused(&[], &old.0, &["user", "list"]), (1, "store_moving".to_owned()));
    assert_eq!(refused(&by, &old.0, &store(&here, there)).1, "store_moving");

    let mut server = start_on(&url, &old.0, port).await;
    assert_eq!(uses(&server.http, &mut kept).await, ALL);
    assert_eq!(uses(&server.http, &mut ended).await, NONE);
    let mut later = log_in(&server.http).await;
    end(&server.http, &later).await;

    // Here one is noticed by its lease, which it goes on to renew.
    key_of(&old, &back);
    let (here, there) = (&named(&url, &back), from(&back.0));
    assert_eq!(refused(&by, &back.0, &store(here, &there)), (4, "store_in_use".to_owned()));
    assert!(!back.0.join("symbolon.db").exists(), "nothing was made where nothing went");
    assert_eq!(uses(&server.http, &mut kept).await, ALL, "it was not disturbed");
    server.kill();
    migrated(&by, &back.0, &store(here, &there));
    assert_eq!(refused(&[&env, &to], &old.0, &["user", "list"]).1, "store_moving");
    let server = Server::start(&back.0, port).await;
    assert_eq!(uses(&server.http, &mut kept).await, ALL);
    assert_eq!(uses(&server.http, &mut ended).await, NONE);
    assert_eq!(uses(&server.http, &mut later).await, NONE);
}

/// Runs a move to its end. Returns the tables.
fn migrated(by: &[&str], folder: &Path, arguments: &[&str]) -> Vec<Value> {
    let mut command = binary(by);
    command.args(["--json", "--set", &format!("data_dir={}", folder.display())]);
    let output = command.args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    answer["tables"].as_array().unwrap().clone()
}

/// Begins a move and kills it when it has said so many lines.
fn interrupt(by: &[&str], folder: &Path, arguments: &[&str], lines: usize) {
    let mut command = binary(by);
    command.args(["--json", "--set", &format!("data_dir={}", folder.display())]);
    let mut child =
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(child.stderr.take().unwrap());
    assert_eq!(said.lines().take(lines).count(), lines);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A folder whose store has many users, and rows of the other kinds.
async fn full() -> Folder {
    let folder = Folder::new();
    run(&folder.0, &["user", "add", "load"], PASSWORD);
    let url = format!("sqlite:{}", folder.0.join("symbolon.db").display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    for many in [
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9500) \
         INSERT INTO users SELECT randomblob(16), version, 'é+' || i || 'Z', password, roles, profile, epoch, \
         CASE i % 3 WHEN 0 THEN i END, added_at FROM users, n",
        "INSERT INTO session_data SELECT id, 'web-' || CASE WHEN name LIKE '%1%' THEN 'a' ELSE 'B' END, 1, '{\"k\":\"값\"}' FROM users",
        "INSERT INTO told SELECT id, CASE WHEN name LIKE '%2%' THEN 'é' ELSE 'z' END, name, NULL, NULL, 0 FROM users LIMIT 3000",
        "INSERT INTO devices SELECT randomblob(32), randomblob(32), 'tv', '', NULL, 5000, 0, i > 2, 9000000000000 \
         FROM (SELECT 1 AS i UNION SELECT 3)",
        "INSERT INTO revocations (tag, entry, at) SELECT randomblob(8), id, 1700000000000 FROM users LIMIT 2500",
    ] {
        sqlx::query(many).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
    folder
}

/// Whatever moment a kill finds, the next try goes on, and what arrives is the same.
#[tokio::test]
async fn a_killed_move_goes_on_and_nothing_is_missing() {
    if postgres::is_asked_for() || postgres::shared().is_none() {
        return;
    }
    let (old, other) = (full().await, Folder::new());
    let copy = Folder::new();
    for name in ["symbolon.db", "master.key"] {
        fs::copy(old.0.join(name), copy.0.join(name)).unwrap();
    }
    let urls = [&old, &other].map(|folder| postgres::database_of(&folder.0).expose().to_owned());
    let (by, a, b) = (["env"], &named(&urls[0], &old), &named(&urls[1], &other));
    let (here, same) = (from(&old.0), from(&copy.0));
    for lines in [1, 3, 6, 2, 9, 12] {
        interrupt(&by, &old.0, &store(&here, a), lines);
        // Half a store is none.
        let url = format!("SYMBOLON_STORE__URL={}", urls[0]);
        assert_eq!(refused(&["env", &url], &old.0, &["user", "list"]).1, "store_moving");
        assert_eq!(refused(&[], &old.0, &["user", "list"]).1, "store_moving");
    }
    // As if it had been killed when all was compared and handed over, a moment before the end.
    let url = format!("sqlite:{}", old.0.join("symbolon.db").display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    let hand_over =
        "UPDATE moving SET state = replace(state, '\"source\"', '\"moved\"') WHERE part = ''";
    assert_eq!(sqlx::query(hand_over).execute(&mut connection).await.unwrap().rows_affected(), 1);
    connection.close().await.unwrap();
    let killed = migrated(&by, &old.0, &store(&here, a));
    let whole = migrated(&by, &copy.0, &store(&same, b));
    assert_eq!(killed, whole);
    assert!(killed.iter().any(|table| table["table"] == "users" && table["rows"] == 9501));
    // And back, into a folder.
    key_of(&copy, &other);
    let place = from(&other.0);
    interrupt(&by, &other.0, &store(b, &place), 10);
    assert_eq!(migrated(&by, &other.0, &store(b, &place)), whole);
}

#[tokio::test]
async fn a_move_is_given_up() {
    if postgres::is_asked_for() {
        return;
    }
    let (old, one, other) = (full().await, Folder::new(), Folder::new());
    let (here, there) = (from(&old.0), from(&one.0));
    interrupt(&[], &old.0, &store(&here, &there), 3);
    run(&old.0, &["migrate", "abandon", "--from", "config"], "");
    run(&old.0, &["user", "add", "later"], PASSWORD);
    // What the first one has left counts for nothing.
    let moved = migrated(&[], &old.0, &store(&here, &there));
    assert!(moved.iter().any(|table| table["table"] == "users" && table["rows"] == 9502));
    for (arguments, code) in [
        (&store(&here, &from(&other.0))[..], "store_moving"),
        (&["migrate", "abandon", "--from", "config"], "store_moving"),
        (&["backup", "--to", "/dev/null/x"], "store_moving"),
        (&store(&from(&other.0.join("none")), &there), "no_store"),
    ] {
        assert_eq!(refused(&[], &old.0, arguments).1, code, "{arguments:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_moved() {
    if postgres::is_asked_for() {
        return;
    }
    let (old, other) = (Folder::new(), Folder::new());
    run(&old.0, &["user", "add", "load"], PASSWORD);
    run(&other.0, &["user", "add", "load"], PASSWORD);
    let (here, there, none) = (from(&old.0), from(&other.0), from(&other.0.join("none")));
    let missing = other.0.join("none").display().to_string();
    let no_key = ["--set", "keys.master_key_file=/nowhere/master.key"];
    let other_key = format!("keys.master_key_file={}", other.0.join("master.key").display());
    let aside = |more: &[&'static str], to| [more, &store(&here, to)].concat();
    for (arguments, code) in [
        (store(&here, &there).to_vec(), "target_not_empty"),
        (store(&here, &here).to_vec(), "data_folder_busy"),
        (store(&none, &there).to_vec(), "no_store"),
        (aside(&no_key, &none), "master_key"),
        ([&["--set", &other_key], &store(&here, &none)[..]].concat(), "master_key"),
        (store(&here, "file:/nowhere/url").to_vec(), "invalid_store"),
        (vec!["restore", "--from", &missing], "no_store"),
    ] {
        assert_eq!(refused(&[], &old.0, &arguments).1, code, "{arguments:?}");
    }
    // Nothing of that has left a trace.
    assert_eq!(run(&old.0, &["user", "list"], "").as_array().unwrap().len(), 1);
    assert_eq!(run(&other.0, &["user", "list"], "").as_array().unwrap().len(), 1);
    assert!(!other.0.join("none").exists());
}

/// A database to which a move was refused is as empty as before: no server takes it for a store.
#[tokio::test]
async fn a_refused_move_makes_nothing_in_a_database() {
    if postgres::is_asked_for() || postgres::shared().is_none() {
        return;
    }
    let (old, other) = (Folder::new(), Folder::new());
    run(&old.0, &["user", "add", "load"], PASSWORD);
    let url = postgres::database_of(&other.0).expose().to_owned();
    let to = named(&url, &other);
    let (here, none) = (from(&old.0), from(&other.0.join("none")));
    let no_key = ["--set", "keys.master_key_file=/nowhere/master.key"];
    let refusals = [
        ([&no_key[..], &store(&here, &to)].concat(), "master_key"),
        (store(&none, &to).to_vec(), "no_store"),
    ];
    for (arguments, code) in &refusals {
        assert_eq!(refused(&["env"], &old.0, arguments).1, *code);
    }
    let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    let (tables,): (i64,) = sqlx::query_as(tables).fetch_one(&mut connection).await.unwrap();
    assert_eq!(tables, 0);
    connection.close().await.unwrap();
}

/// A backup is made beside a server. What was ended after it stays ended, and so does all else that it cannot know.
#[tokio::test(flavor = "multi_thread")]
async fn what_ended_after_the_backup_stays_ended() {
    let folder = Folder::new();
    let (file, port) = (folder.0.join("backup"), free_port());
    let file = file.to_str().unwrap();
    let mut server = Server::start(&folder.0, port).await;
    run(&folder.0, &["user", "add", "load"], PASSWORD);
    run(&folder.0, &["user", "invite"], "");
    let mut before = log_in(&server.http).await;
    let mut ended = log_in(&server.http).await;
    run(&folder.0, &["backup", "--to", file], "");
    assert_eq!(refused(&[], &folder.0, &["backup", "--to", file]).1, "file_exists");
    end(&server.http, &ended).await;
    let mut after = log_in(&server.http).await;
    // Its keys are not in the backup.
    let rotated = run(&folder.0, &["key", "rotate", "ES256"], "");
    let restore = ["restore", "--from", file, "--overwrite"];
    let running = refused(&[], &folder.0, &restore).1;
    assert!(["data_folder_busy", "store_in_use"].contains(&running.as_str()), "{running}");
    assert_eq!(uses(&server.http, &mut before).await, ALL, "it was not disturbed");
    server.kill();
    let keep = [&restore[..], &["--keep-sessions"]].concat();
    assert_eq!(refused(&[], &folder.0, &keep).1, "ends_unknown");
    assert_eq!(refused(&[], &folder.0, &restore[..3]).1, "target_not_empty");
    let restored = run(&folder.0, &restore, "");
    assert!(restored["ended_sessions"].as_u64() >= Some(4), "{restored}");
    assert_eq!(restored["removed_invitations"], 1);

    let server = Server::start(&folder.0, port).await;
    for login in [&mut before, &mut ended, &mut after] {
        assert_eq!(uses(&server.http, login).await, NONE);
    }
    let keys = run(&folder.0, &["key", "list"], "");
    let keys: Vec<_> = keys.as_array().unwrap().iter().map(|key| &key["kid"]).collect();
    assert!(!keys.contains(&&rotated["kid"]), "{keys:?} {rotated}");
    let mut new = log_in(&server.http).await;
    assert_eq!(uses(&server.http, &mut new).await, ALL);
}

/// Services that follow live through a restore with what they hold. Their cursors are of no use any more, and nothing that
/// was made before is accepted by them.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_from_before_a_restore_accepts_nothing_of_before() {
    let folder = Folder::new();
    let (file, port) = (folder.0.join("backup"), free_port());
    let file = file.to_str().unwrap();
    let mut server = Server::start(&folder.0, port).await;
    run(&folder.0, &["user", "add", "load"], PASSWORD);
    let place = Place { folder: folder.0.clone(), issuer: format!("http://localhost:{port}") };
    let app = ["client", "add", "app", "--kind", "public", "--first-party", "--audience"];
    run(&folder.0, &[&app[..], &[&place.issuer]].concat(), "");
    let gate = ["client", "add", "gate", "--kind", "resource", "--audience", &place.issuer];
    let secret = run(&folder.0, &gate, "")["client_secret"].as_str().unwrap().to_owned();
    let key_file = folder.0.join("gate.secret");
    fs::write(&key_file, &secret).unwrap();
    let gate = Secret { client: "gate", secret, file: key_file };
    let followers = [
        Follower::process(&place, &gate, "beside", port, ""),
        Follower::here(&place, &gate, "within", port),
    ];
    for follower in &followers {
        follower.ready().await;
    }
    let login = async |http: &Http| {
        let body = json!({
            "username": "load", "password": PASSWORD, "deliver": "token", "client_id": "app",
        });
        let answer = http.post("/api/v1/login", &[], &body).await.unwrap();
        format!("Bearer {}", answer.json["access_token"].as_str().unwrap())
    };
    let accept = async |bearer: &str, expected: bool| {
        for follower in &followers {
            crate::nodes::until(async || {
                follower.door.accepts(("authorization", bearer)).await == expected
            })
            .await;
        }
    };
    let (before, ended) = (login(&server.http).await, login(&server.http).await);
    accept(&before, true).await;
    accept(&ended, true).await;
    run(&folder.0, &["backup", "--to", file], "");
    let logout = [("authorization", ended.as_str())];
    server.http.post("/api/v1/logout?confirm=20s", &logout, &json!({})).await.unwrap();
    accept(&ended, false).await;
    let after = login(&server.http).await;
    accept(&after, true).await;

    server.kill();
    run(&folder.0, &["restore", "--from", file, "--overwrite"], "");
    let server = Server::start(&folder.0, port).await;
    let new = login(&server.http).await;
    let refused = async |bearer: &str| {
        for follower in &followers {
            let accepted = follower.door.accepts(("authorization", bearer)).await;
            assert!(!accepted, "{}", follower.name);
        }
    };
    // At once, by what they hold: its end was confirmed.
    refused(&ended).await;
    // When they have asked again: a lease of before may still run.
    for bearer in [&before, &after] {
        accept(bearer, false).await;
    }
    accept(&new, true).await;
    for bearer in [&before, &ended, &after] {
        refused(bearer).await;
    }
    let logout = [("authorization", new.as_str())];
    let confirm = "/api/v1/logout?confirm=25s";
    let over = server.http.post(confirm, &logout, &json!({})).await.unwrap();
    assert!([200, 202].contains(&over.status.as_u16()), "{over:?}");
    accept(&new, false).await;
}

/// Nobody continues a cursor of before a restore, and leases of before are waited for, however long they were.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_begins_another_history_and_waits() {
    // In a file every start begins one.
    if !postgres::is_asked_for() && postgres::shared().is_none() {
        return;
    }
    let folder = Folder::new();
    let url = postgres::database_of(&folder.0);
    let mut connection = sqlx::PgConnection::connect(url.expose()).await.unwrap();
    let (file, port) = (folder.0.join("backup"), free_port());
    let file = file.to_str().unwrap();
    let mut server = start_on(url.expose(), &folder.0, port).await;
    run(&folder.0, &["user", "add", "load"], PASSWORD);
    let set = format!("SYMBOLON_STORE__URL={}", url.expose());
    let by = ["env", &set];
    migrated(&by, &folder.0, &["backup", "--to", file]);
    let login = log_in(&server.http).await;
    end(&server.http, &login).await;
    server.kill();
    let history = "SELECT 'log_head'::regclass::oid::bigint AS table_id, sequence FROM log_head";
    let (before, _): (i64, i64) = sqlx::query_as(history).fetch_one(&mut connection).await.unwrap();
    migrated(&by, &folder.0, &["restore", "--from", file, "--overwrite"]);
    let (after, head): (i64, i64) =
        sqlx::query_as(history).fetch_one(&mut connection).await.unwrap();
    assert_ne!(before, after);
    // The withdrawn keys are the end of the log.
    let last = "SELECT MAX(sequence) FROM revocations";
    let last: (i64,) = sqlx::query_as(last).fetch_one(&mut connection).await.unwrap();
    assert_eq!(head, last.0);
    let waits = "SELECT lease_ms, acknowledged FROM nodes";
    let waits: Vec<(i64, i64)> = sqlx::query_as(waits).fetch_all(&mut connection).await.unwrap();
    assert_eq!(waits, [(30_000, 0)]);
    connection.close().await.unwrap();
}

/// After the last backup of a store nothing can end in it, so its sessions may go on elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn only_after_the_last_backup_are_sessions_kept() {
    let (folder, other) = (Folder::new(), Folder::new());
    let (file, port) = (folder.0.join("backup"), free_port());
    let file = file.to_str().unwrap();
    let mut server = Server::start(&folder.0, port).await;
    run(&folder.0, &["user", "add", "load"], PASSWORD);
    let mut kept = log_in(&server.http).await;
    let mut ended = log_in(&server.http).await;
    end(&server.http, &ended).await;
    let last = ["backup", "--last", "--to", file];
    let running = refused(&[], &folder.0, &last).1;
    assert!(["data_folder_busy", "store_in_use"].contains(&running.as_str()), "{running}");
    server.kill();
    run(&folder.0, &last, "");
    assert_eq!(refused(&[], &folder.0, &["user", "list"]).1, "store_moving");
    key_of(&folder, &other);
    run(&other.0, &["restore", "--from", file, "--keep-sessions"], "");
    let server = Server::start(&other.0, port).await;
    assert_eq!(uses(&server.http, &mut kept).await, ALL);
    assert_eq!(uses(&server.http, &mut ended).await, NONE);
}

/// The master key rests in no backup, and no secret stands in it in clear.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_holds_no_secret() {
    let folder = Folder::new();
    let file = folder.0.join("backup");
    let server = Server::start(&folder.0, free_port()).await;
    run(&folder.0, &["user", "add", "load"], PASSWORD);
    let login = log_in(&server.http).await;
    run(&folder.0, &["backup", "--to", file.to_str().unwrap()], "");
    let bytes = fs::read(&file).unwrap();
    let holds = |text: &str| bytes.windows(text.len()).any(|it| it == text.as_bytes());
    assert!(holds("load"));
    let key = fs::read_to_string(folder.0.join("master.key")).unwrap();
    let cookie = login.cookie.split_once('=').unwrap().1;
    for secret in [key.trim(), PASSWORD, cookie, &login.access, &login.refresh] {
        assert!(!holds(secret));
    }
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}
