//! A database that is not as it should be: killed, frozen, cut off, another installation's, full, read-only, reached in a
//! way that does not do.

use std::{
    fs::{self, File},
    io::Write,
    process::Stdio,
    time::Duration,
};

use serde_json::json;
use sqlx::Executor;
use symbolon::{
    config::DatabaseUrl,
    store::{Cluster as Common, Database, Store, StoreError},
};
use symbolon_core::{secret::SecretText, time::Time};

use crate::{
    nodes::{
        LEASING, cluster, connection, counts, database, login, processes, store_on, until, world_on,
    },
    postgres::{self, Bouncer, Cluster},
    process::{Server, free_port, refused},
    store::Folder,
    world::{PASSWORD, Tokens, World, ask},
};

/// What the binary says of a database when it is to start on it: its exit code and the code of the error.
fn start_on(url: &str, more: &[&str]) -> (i32, String) {
    let folder = Folder::new();
    let url = format!("SYMBOLON_STORE__URL={url}");
    let by = [&["env", &url, "SYMBOLON_STORE__TIMEOUT=3s"], more].concat();
    refused(&by, &folder.0, &["user", "list"])
}

/// Servers of one installation, and one of another that was led to their database by mistake.
#[tokio::test(flavor = "multi_thread")]
async fn two_installations_on_one_database() {
    if postgres::shared().is_none() {
        return;
    }
    let Some(cluster) = Cluster::start(&["fsync=off"]) else { return };
    let folders = [Folder::new(), Folder::new(), Folder::new()];
    let mut servers = processes(&cluster, &folders[..1]).await;
    let body = json!({ "username": "load", "password": PASSWORD });
    servers[0].http.post("/api/v1/register", &[], &body).await.unwrap();
    let (bearer, _) = login(&servers[0].http).await;
    let url = format!("SYMBOLON_STORE__URL={}", cluster.url("symbolon").expose());
    let key = folders[0].0.join("master.key").display().to_string();
    let key = format!("SYMBOLON_KEYS__MASTER_KEY_FILE={key}");
    let (same, other) =
        ("SYMBOLON_PUBLIC_URL=http://localhost:7", "SYMBOLON_PUBLIC_URL=http://localhost:8");
    let other_url = ["env", &url, &key, other];
    // It changes nothing there: not even the clients that its configuration declares.
    let other_key = ["env", &url, same];
    for (by, code) in [(&other_url[..], "other_public_url"), (&other_key[..], "master_key")] {
        for arguments in [&["user", "list"][..], &["client", "list"][..]] {
            assert_eq!(refused(by, &folders[1].0, arguments), (1, code.to_owned()));
        }
    }
    assert_eq!(counts(&servers[0].http, &bearer).await, 200, "it was not disturbed");
    // Where all have stopped, the URL may be another one from now on, and the master key may not.
    servers[0].kill();
    assert_eq!(refused(&other_key, &folders[1].0, &["user", "list"]).1, "master_key");
    let renamed = Server::start_by(&other_url, &folders[1].0, free_port(), Stdio::inherit()).await;
    let by = ["env", &url, &key, same];
    assert_eq!(refused(&by, &folders[2].0, &["user", "list"]).1, "other_public_url");
    assert!(!login(&renamed.http).await.0.is_empty());
}

/// Two that begin on an empty database at the same moment: one of them has it.
#[tokio::test(flavor = "multi_thread")]
async fn two_installations_that_start_at_once() {
    let Some((_folder, url)) = database() else { return };
    let connect = async |common: Common| {
        let folder = Folder::new();
        let database =
            Database { url: url.clone(), connections_max: 4, timeout: Duration::from_secs(20) };
        let store =
            Store::connect(&database, &folder.0, Time::from_millis(0), LEASING, common).await;
        (store, folder)
    };
    let renamed = Common { issuer: "https://other.example".to_owned(), ..cluster() };
    let other_key = Common { master: [8; 8], ..cluster() };
    for round in 0..12 {
        let other = if round % 2 == 0 { &renamed } else { &other_key };
        let both = tokio::join!(connect(cluster()), connect(other.clone()));
        let refused = match (&both.0.0, &both.1.0) {
            (Ok(_), Err(refused)) | (Err(refused), Ok(_)) => refused,
            (one, other) => panic!("round {round}: {one:?} {other:?}"),
        };
        let fits = match round % 2 {
            0 => matches!(refused, StoreError::OtherUrl { .. }),
            _ => matches!(refused, StoreError::OtherMasterKey),
        };
        assert!(fits, "round {round}: {refused:?}");
        drop(both);
        let empty = "DROP SCHEMA public CASCADE; CREATE SCHEMA public";
        connection(&url).await.execute(empty).await.unwrap();
    }
}

/// Rights that are missing at the start, and what is no database to work on.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_may_not_is_said_at_its_start() {
    let Some((folder, url)) = database() else { return };
    let cluster = postgres::shared().unwrap();
    let name = folder.0.file_name().unwrap().to_str().unwrap();
    let at = |user: &str| Cluster::url_at(cluster.port, user, name).expose().to_owned();
    let (reader, writer) = (format!("{name}-reader"), format!("{name}-writer"));
    let sql = |text: &str| cluster.sql(name, text);
    sql(&format!("CREATE ROLE \"{reader}\" LOGIN; CREATE ROLE \"{writer}\" LOGIN"));
    let refuses = (1, "database_refuses".to_owned());
    assert_eq!(start_on(&at(&writer), &[]), refuses, "it may not make tables");
    let own = store_on(&url, &Folder::new()).await.unwrap();
    drop(own);
    sql(&format!(
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO \"{reader}\"; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO \"{writer}\""
    ));
    assert_eq!(start_on(&at(&reader), &[]), refuses, "it may not write");
    // Whoever may only work on the tables that are there works on them.
    let writer_url = symbolon_core::secret::SecretText::new(at(&writer));
    let working = store_on(&writer_url, &Folder::new()).await.unwrap();
    working.barrier().await.unwrap();
    drop(working);
    // By way of another database, where writing is allowed.
    let take_writes = |value: &str| {
        let text = format!("ALTER DATABASE \"{name}\" SET default_transaction_read_only = {value}");
        cluster.sql("postgres", &text);
    };
    take_writes("on");
    assert_eq!(start_on(&at("symbolon"), &[]), (1, "database_read_only".to_owned()));
    assert_eq!(start_on(&at("symbolon").replace(name, "no-such"), &[]), refuses);
    let nobody = Cluster::url_at(free_port(), "symbolon", name);
    assert_eq!(start_on(nobody.expose(), &[]), (4, "database_away".to_owned()));
    let several = "postgres://symbolon@one.example,two.example/symbolon";
    assert_eq!(start_on(several, &[]), (2, "config_invalid_value".to_owned()));
    take_writes("off");
    sql(&format!("DROP OWNED BY \"{reader}\", \"{writer}\"; DROP ROLE \"{reader}\", \"{writer}\""));
}

/// A copy that only follows is no place to write to.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_refused() {
    let Some(primary) = Cluster::start(&["fsync=off"]) else { return };
    primary.create("symbolon");
    let standby = primary.standby();
    until(async || standby.try_sql("symbolon", "SELECT 1")).await;
    let url = Cluster::url_at(standby.port, "symbolon", "symbolon");
    assert_eq!(start_on(url.expose(), &[]), (1, "database_read_only".to_owned()));
}

/// The database takes no writes for a while, because somebody has said so, or because a right was taken away.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_takes_no_writes_is_waited_for() {
    let Some(cluster) = Cluster::start(&["fsync=off"]) else { return };
    cluster.create("symbolon");
    cluster.sql("symbolon", "CREATE ROLE other LOGIN; GRANT ALL ON SCHEMA public TO other");
    let world = World::with(|config| {
        let url = Cluster::url_at(cluster.port, "other", "symbolon");
        config.store.url = Some(DatabaseUrl(url));
        config.store.timeout = Duration::from_secs(2);
    })
    .await;
    let mut tokens = world.tokens("user").await;
    let ended = world.tokens("user").await;
    world.send(ask("POST", "/api/v1/logout").bearer(&ended.access)).await;
    let as_owner = |text: &str| cluster.sql("symbolon", text);
    for (begin, end) in [
        (
            "ALTER SYSTEM SET default_transaction_read_only = on",
            "ALTER SYSTEM RESET default_transaction_read_only",
        ),
        ("REVOKE UPDATE ON sessions FROM other", "GRANT UPDATE ON sessions TO other"),
        ("REVOKE UPDATE ON nodes FROM other", "GRANT UPDATE ON nodes TO other"),
    ] {
        as_owner(begin);
        as_owner("SELECT pg_reload_conf()");
        let mut last = None;
        until(async || {
            let answer = world.refresh(&tokens.refresh).await;
            if answer.status == 200 {
                tokens = Tokens::from(&answer);
            }
            let refused = answer.status == 503;
            last = Some(answer);
            refused
        })
        .await;
        let refused = last.unwrap();
        assert!(refused.headers.contains_key("retry-after"), "{begin}: {refused:?}");
        as_owner(end);
        as_owner("SELECT pg_reload_conf()");
        until(async || {
            let answer = world.refresh(&tokens.refresh).await;
            let again = answer.status == 200;
            if again {
                tokens = Tokens::from(&answer);
            } else {
                assert_eq!(answer.status, 503, "{begin}: {answer:?}");
            }
            again
        })
        .await;
        until(async || world.access_counts(&tokens.access).await).await;
        assert!(!world.access_counts(&ended.access).await, "{begin}");
    }
}

/// The disk of the database is full (that of its log is not: then PostgreSQL stops, as if it were killed).
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_the_database_refuses_writes_until_there_is_room_again() {
    let Some((cluster, small)) = Cluster::start_with_small_disk(32) else { return };
    cluster.sql("postgres", "CREATE DATABASE symbolon TABLESPACE small");
    cluster.sql("postgres", "CREATE DATABASE empty TABLESPACE small");
    // Whoever connects first writes a file there.
    cluster.sql("empty", "SELECT 1");
    let world = World::with(|config| {
        config.store.url = Some(DatabaseUrl(cluster.url("symbolon")));
        config.store.timeout = Duration::from_secs(2);
        config.limits.sessions_per_user_max = 10_000;
    })
    .await;
    let mut alive = vec![world.tokens("user").await];
    let ended = world.tokens("user").await;
    world.send(ask("POST", "/api/v1/logout").bearer(&ended.access)).await;
    let filler = small.join("filler");
    let fill = || {
        let mut file = File::options().append(true).create(true).open(&filler).unwrap();
        while file.write(&[0; 4096]).is_ok_and(|bytes| bytes > 0) {}
    };
    fill();
    let body = json!({ "username": "user", "password": PASSWORD, "deliver": "token" });
    let mut refused = None;
    // What its files still have room for goes through.
    until(async || {
        let answer = world.send(ask("POST", "/api/v1/login").json(&body)).await;
        if answer.status == 200 {
            alive.push(Tokens::from(&answer));
            return false;
        }
        refused = Some(answer);
        true
    })
    .await;
    let refused = refused.unwrap().expect(503);
    assert!(refused.headers.contains_key("retry-after"), "{refused:?}");
    assert_eq!(refused.code(), "unavailable");
    assert_eq!(start_on(cluster.url("empty").expose(), &[]), (1, "disk_full".to_owned()));
    // Nothing of what was acknowledged is gone meanwhile, and what only reads goes on.
    assert!(world.access_counts(&alive[0].access).await);
    fs::remove_file(&filler).unwrap();
    until(async || world.send(ask("POST", "/api/v1/login").json(&body)).await.status == 200).await;
    for tokens in &alive {
        assert!(world.access_counts(&tokens.access).await);
        world.refresh(&tokens.refresh).await.expect(200);
    }
    assert!(!world.access_counts(&ended.access).await);
}

/// The connection to the database is encrypted, with who it says it is.
#[tokio::test(flavor = "multi_thread")]
async fn tls_to_the_database() {
    let Some(cluster) = Cluster::start(&["fsync=off"]) else { return };
    cluster.create("symbolon");
    let base = Cluster::url_at(cluster.port, "symbolon", "symbolon").expose().to_owned();
    let plain = start_on(&format!("{base}?sslmode=require"), &[]);
    assert_eq!(plain, (1, "database_tls".to_owned()), "the server speaks no TLS");
    let [ours, other] = [(); 2].map(|()| authority());
    let key = rcgen::KeyPair::generate().unwrap();
    let names = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = names.signed_by(&key, &ours.1).unwrap();
    let folder = Folder::new();
    for (name, authority) in [("ours.pem", &ours), ("other.pem", &other)] {
        fs::write(folder.0.join(name), &authority.0).unwrap();
    }
    let certificate = cluster.put("server.crt", &certificate.pem());
    let key = cluster.put("server.key", &key.serialize_pem());
    cluster.put("data/pg_hba.conf", "local all all trust\nhostssl all all 127.0.0.1/32 trust\n");
    cluster.set(&[
        &format!("ssl_cert_file = '{}'", certificate.display()),
        &format!("ssl_key_file = '{}'", key.display()),
        "ssl = on",
    ]);
    let at = |host: &str, mode: &str, ca: &str| {
        let ca = folder.0.join(ca);
        format!("{}?sslmode={mode}&sslrootcert={}", base.replace("127.0.0.1", host), ca.display())
    };
    let encrypted =
        symbolon_core::secret::SecretText::new(at("127.0.0.1", "verify-full", "ours.pem"));
    let mut store = None;
    until(async || {
        store = store_on(&encrypted, &folder).await.ok();
        store.is_some()
    })
    .await;
    store.unwrap().barrier().await.unwrap();
    for (host, mode, ca, code) in [
        ("127.0.0.1", "verify-full", "other.pem", "database_tls"),
        ("127.0.0.1", "verify-ca", "other.pem", "database_tls"),
        // The certificate does not say so.
        ("localhost", "verify-full", "ours.pem", "database_tls"),
        ("127.0.0.1", "disable", "ours.pem", "database_refuses"),
    ] {
        assert_eq!(start_on(&at(host, mode, ca), &[]), (1, code.to_owned()), "{host} {mode} {ca}");
    }
}

/// An authority: its certificate, and what signs with it.
fn authority() -> (String, rcgen::Issuer<'static, rcgen::KeyPair>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut made = rcgen::CertificateParams::new(Vec::new()).unwrap();
    made.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = made.self_signed(&key).unwrap();
    (certificate.pem(), rcgen::Issuer::new(made, key))
}

/// Behind PgBouncer with a session for each connection all is as without it. With a session for each transaction, settings
/// and notifications would be lost: that is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_in_front_of_the_database() {
    let Some(cluster) = Cluster::start(&["fsync=off"]) else { return };
    cluster.create("symbolon");
    let Some(sessions) = Bouncer::start(&cluster, "session") else { return };
    let url = Cluster::url_at(sessions.port, "symbolon", "symbolon");
    let one = world_on(&url).await;
    let other = one.beside().await;
    let tokens = one.tokens("user").await;
    assert!(other.access_counts(&tokens.access).await);
    let next = Tokens::from(&other.refresh(&tokens.refresh).await.expect(200));
    let path = "/api/v1/logout?confirm=20s";
    let ended = one.send(ask("POST", path).bearer(&next.access)).await;
    assert_eq!(ended.json()["confirmed"], true, "{ended:?}");
    assert!(!other.access_counts(&next.access).await);
    for mode in ["transaction", "statement"] {
        let bouncer = Bouncer::start(&cluster, mode).unwrap();
        let url = Cluster::url_at(bouncer.port, "symbolon", "symbolon");
        assert_eq!(start_on(url.expose(), &[]), (1, "database_pooled".to_owned()), "{mode}");
    }
}

/// The clock of the database goes wrong while servers work, and is set again.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_goes_wrong_is_shown_and_then_refused() {
    let Some((folder, url)) = database() else { return };
    let mut database = connection(&url).await;
    let wrong = "CREATE TABLE wrong (ms BIGINT); INSERT INTO wrong VALUES (0); \
                 CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql AS \
                 $$ SELECT pg_catalog.clock_timestamp() + ms * interval '1 millisecond' FROM wrong $$";
    database.execute(wrong).await.unwrap();
    let name = folder.0.file_name().unwrap().to_str().unwrap();
    let first = format!("ALTER DATABASE \"{name}\" SET search_path = public, pg_catalog");
    database.execute(sqlx::AssertSqlSafe(first)).await.unwrap();
    let world = world_on(&url).await;
    let tokens = world.tokens("user").await;
    for (ms, works) in
        [(3000, true), (-3000, true), (9000, false), (0, true), (-9000, false), (0, true)]
    {
        let set = format!("UPDATE wrong SET ms = {ms}");
        database.execute(sqlx::AssertSqlSafe(set)).await.unwrap();
        until(async || world.access_counts(&tokens.access).await == works).await;
        if works {
            // Ours is ahead of one that is behind.
            until(async || {
                let status = world.admin(ask("GET", "/cluster")).await.expect(200).json();
                let skew = status[0]["clock_skew_ms"].as_i64().unwrap();
                if ms == 0 { skew == 0 } else { (skew + ms).abs() < 1000 }
            })
            .await;
        } else {
            let refused = world.refresh(&tokens.refresh).await.expect(503);
            assert!(refused.headers.contains_key("retry-after"), "{refused:?}");
        }
    }
}

/// Rows of servers that are gone do not stay for ever, and no living one loses its own.
#[tokio::test]
async fn rows_of_dead_servers_are_swept() {
    let Some((_folder, url)) = database() else { return };
    let (own, others) = (Folder::new(), Folder::new());
    let node = store_on(&url, &own).await.unwrap();
    let living = store_on(&url, &Folder::new()).await.unwrap();
    drop(store_on(&url, &others).await.unwrap());
    assert_eq!(node.nodes().await.unwrap().len(), 3);
    let id =
        |nodes: &[symbolon::store::Node]| nodes.iter().find(|node| node.own).map(|node| node.id);
    let before = id(&living.nodes().await.unwrap());
    until(async || {
        node.sweep(Time::from_millis(0), Time::from_millis(0), 0).await.unwrap();
        node.nodes().await.unwrap().len() == 2
    })
    .await;
    assert_eq!(id(&living.nodes().await.unwrap()), before);
}

/// The database is killed under the server: nobody waits for ever, nothing that was acknowledged is lost, and all goes on
/// by itself.
#[tokio::test]
async fn a_killed_database_loses_nothing_and_is_found_again() {
    let Some(mut cluster) = Cluster::start(&[]) else { return };
    cluster.create("symbolon");
    let world = World::with(|config| {
        config.store.url = Some(DatabaseUrl(cluster.url("symbolon")));
        config.store.timeout = Duration::from_secs(1);
    })
    .await;
    let kept = world.tokens("user").await;
    let ended = world.tokens("user").await;
    world.send(ask("POST", "/api/v1/logout").bearer(&ended.access)).await;
    cluster.kill();
    // Sooner or later its lease is over.
    until(async || {
        let answer = world.send(ask("GET", "/api/v1/session").bearer(&kept.access)).await;
        assert!([200, 503].contains(&answer.status.as_u16()), "{answer:?}");
        answer.status == 503 && answer.headers.contains_key("retry-after")
    })
    .await;
    let refreshed = world.refresh(&kept.refresh).await.expect(503);
    assert!(refreshed.headers.contains_key("retry-after"), "{refreshed:?}");
    cluster.run();
    until(async || world.access_counts(&kept.access).await).await;
    let kept = Tokens::from(&world.refresh(&kept.refresh).await.expect(200));
    assert!(world.access_counts(&kept.access).await && !world.access_counts(&ended.access).await);
    world.refresh(&ended.refresh).await.expect(400);
}

/// The database stops in the middle of whatever it does.
#[tokio::test]
async fn a_frozen_database_hangs_nobody() {
    let Some(cluster) = Cluster::start(&["fsync=off"]) else { return };
    cluster.create("symbolon");
    let world = World::with(|config| {
        config.store.url = Some(DatabaseUrl(cluster.url("symbolon")));
        config.store.timeout = Duration::from_millis(500);
    })
    .await;
    let tokens = world.tokens("user").await;
    cluster.signal("-STOP");
    let refused = world.refresh(&tokens.refresh).await.expect(503);
    assert!(refused.headers.contains_key("retry-after"));
    until(async || !world.access_counts(&tokens.access).await).await;
    cluster.signal("-CONT");
    until(async || world.refresh(&tokens.refresh).await.status == 200).await;
    assert!(world.access_counts(&tokens.access).await);
}

/// Its connections are cut, again and again.
#[tokio::test]
async fn cut_connections_are_made_anew() {
    let Some((_folder, url)) = database() else { return };
    let world = world_on(&url).await;
    let mut tokens = world.tokens("user").await;
    for _ in 0..10 {
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        connection(&url).await.execute(cut).await.unwrap();
        tokens = Tokens::from(&world.refresh(&tokens.refresh).await.expect(200));
        assert!(world.access_counts(&tokens.access).await);
    }
}

/// A lock that somebody holds by hand, such as a tool or an open console, is waited for until the deadline.
#[tokio::test]
async fn a_held_lock_is_answered_with_503() {
    let Some((_folder, url)) = database() else { return };
    let world = World::with(|config| {
        config.store.url = Some(DatabaseUrl(url.clone()));
        config.store.timeout = Duration::from_millis(500);
    })
    .await;
    let tokens = world.tokens("user").await;
    let mut holder = connection(&url).await;
    holder.execute("BEGIN; LOCK TABLE sessions, log_head").await.unwrap();
    let refused = world.refresh(&tokens.refresh).await.expect(503);
    assert!(refused.headers.contains_key("retry-after"));
    holder.execute("ROLLBACK").await.unwrap();
    until(async || world.refresh(&tokens.refresh).await.status == 200).await;
}

#[tokio::test]
async fn what_is_wrong_with_a_database_is_said() {
    let Some((_folder, url)) = database() else { return };
    let folder = Folder::new();
    connection(&url).await.execute("CREATE TABLE schema_versions (version BIGINT, works_from BIGINT); INSERT INTO schema_versions VALUES (999, 999)").await.unwrap();
    let newer = store_on(&url, &folder).await;
    assert!(matches!(newer, Err(StoreError::Newer { needed: 999, .. })), "{newer:?}");
    let other = SecretText::new(url.expose().replace("/symbolon-test-", "/no-such-"));
    let missing = store_on(&other, &folder).await.unwrap_err();
    assert_eq!(missing.sqlstate().as_deref(), Some("3D000"));
    let away = SecretText::new("postgres://symbolon:hush-hush@127.0.0.1:1/x".to_owned());
    let away = Database { url: away, connections_max: 1, timeout: Duration::from_millis(300) };
    let error = Store::connect(&away, &folder.0, Time::from_millis(0), LEASING, cluster())
        .await
        .unwrap_err();
    assert!(error.is_away(), "{error:?}");
    assert!(!format!("{error} {error:?} {away:?}").contains("hush-hush"));
}

#[tokio::test]
async fn a_server_whose_clock_is_wrong_has_no_part() {
    let Some((folder, url)) = database() else { return };
    let mut database = connection(&url).await;
    let wrong = "CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql AS \
                 $$ SELECT now() + interval '5 minutes' $$";
    database.execute(wrong).await.unwrap();
    let name = folder.0.file_name().unwrap().to_str().unwrap();
    let first = format!("ALTER DATABASE \"{name}\" SET search_path = public, pg_catalog");
    database.execute(sqlx::AssertSqlSafe(first)).await.unwrap();
    let error = store_on(&url, &Folder::new()).await.unwrap_err();
    assert!(matches!(error, StoreError::Clock(_)), "{error:?}");
}
