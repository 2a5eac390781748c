//! The conformance suite on each of our stores, and what is particular to some.

use std::{sync::Arc, time::Duration};

use sqlx::{ConnectOptions, sqlite::SqliteConnectOptions};
use symbolon_core::{id::SessionId, session::Limits, time::Time};
use symbolon_guard::store::{
    Delta, Loaded, Opened, Opening, Part, Reason, SessionStore, conformance, memory::Memory,
    sql::Sql,
};

use crate::{
    load::{Acknowledged, Load},
    postgres::{Folder, Postgres},
    redis::{id, server::until},
};

/// How often each race is run, unless the caller says so. `./test all` runs them by the thousand, optimized.
#[expect(clippy::disallowed_methods, reason = "how long the tests may take is the caller's choice")]
pub(crate) fn rounds(usual: usize) -> usize {
    std::env::var("SYMBOLON_TEST_STORE_RACES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(usual)
}

pub(crate) async fn conforms(store: impl SessionStore, usual: usize) {
    told(conformance::run(store, rounds(usual)).await);
}

fn told(outcome: Result<conformance::Report, conformance::Failures>) {
    match outcome {
        Ok(report) => println!("{report}"),
        Err(failures) => panic!("\n{failures}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_conforms() {
    conforms(Memory::with_events(100_000, 100_000), 500).await;
}

fn sqlite_options(folder: &Folder) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(folder.0.join("sessions.db"))
}

/// A database that does not wait for the disk: what requests do to each other is the same.
async fn sqlite(folder: &Folder) -> Sql {
    let options = sqlite_options(folder)
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
        .synchronous(sqlx::sqlite::SqliteSynchronous::Off);
    Sql::sqlite(sqlx::SqlitePool::connect_with(options).await.unwrap()).await.unwrap().with_events()
}

/// Writers of a database take turns, so several databases share the rounds.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sqlite_conforms() {
    const DATABASES: usize = 4;
    let mut runs = tokio::task::JoinSet::new();
    for _ in 0..DATABASES {
        runs.spawn(async {
            let folder = Folder::in_memory();
            conformance::run(sqlite(&folder).await, rounds(200).div_ceil(DATABASES)).await
        });
    }
    runs.join_all().await.into_iter().for_each(told);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgres_conforms() {
    let Some(server) = Postgres::start_in_memory() else { return };
    conforms(Sql::connect(&server.url()).await.unwrap().with_events(), 100).await;
}

fn opening(n: u8, user: Option<&str>) -> Opening {
    let mut delta = Delta::new(1000);
    delta.set("cart", b"[\"tea\"]".to_vec()).unwrap();
    Opening {
        id: SessionId::from_bytes([n; 16]),
        user: user.map(Into::into),
        label: Some("Firefox on Linux".into()),
        remembered: false,
        opened_at: Time::from_secs(0),
        limits: Limits { idle: Duration::from_secs(60), ends_at: Time::from_secs(600) },
        at_most: None,
        began_at: Time::from_secs(0),
        delta,
    }
}

const NOW: Time = Time::from_secs(1);

/// Garbage in a row is no session, and tells so; its user can log in at once, and everybody else is served.
async fn garbage_is_no_session(store: &Sql, spoil: impl AsyncFn(String)) {
    let spoilt = ["data = ''", "data = 'garbage'", "data = 'ffffffff00'"]
        .map(|set| format!("UPDATE symbolon_session SET {set}"));
    let rows = ["user_name = 'ff'", "idle_ms = -1", "version = -5", "label = 'c328'"];
    let rows = rows.map(|set| format!("UPDATE symbolon_session SET {set}"));
    for (n, statement) in spoilt[1..].iter().chain(&rows).enumerate() {
        let n = 2 * u8::try_from(n).unwrap();
        let (broken, whole) = (opening(n, Some("user")), opening(n + 1, Some("user")));
        for opening in [&broken, &whole] {
            assert!(matches!(store.create(opening, NOW).await, Ok(Opened::Live(_))));
        }
        let id: String = broken.id.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        spoil(format!("{statement} WHERE id = '{id}'")).await;
        let loaded = store.load(broken.id, Part::All, NOW).await.unwrap();
        assert_eq!(loaded, Loaded::Gone(Reason::Unreadable), "{statement}");
        assert!(matches!(
            store.load(whole.id, Part::All, NOW).await.unwrap(),
            Loaded::Live(_, Some(values)) if values.get("cart").is_some()
        ));
        let events = store.events(10).await.unwrap();
        let ended = symbolon_guard::store::What::Ended(Reason::Unreadable);
        assert!(events.iter().any(|event| (event.session, event.what) == (broken.id, ended)));
        store.settle(&events.iter().map(|event| event.id).collect::<Vec<_>>()).await.unwrap();
        assert_eq!(store.list("user", NOW).await.unwrap().len(), 1, "{statement}");
        store.end_user("user", None, Reason::Revoked, Time::from_secs(0)).await.unwrap();
    }
}

#[tokio::test]
async fn garbage_in_sqlite_is_no_session() {
    let folder = Folder::in_memory();
    let store = sqlite(&folder).await;
    garbage_is_no_session(&store, async |statement| {
        // Text where bytes belong, and bytes that are none of ours.
        let mut connection = sqlite_options(&folder).connect().await.unwrap();
        let (set, id) = statement.split_once(" WHERE id = ").unwrap();
        let (column, value) = set.rsplit_once(" = ").unwrap();
        let value = value.replace('\'', "");
        let is_hex = value.len().is_multiple_of(2) && value.bytes().all(|b| b.is_ascii_hexdigit());
        let value = match value.parse::<i64>() {
            Ok(_) => value,
            Err(_) if is_hex => format!("x'{value}'"),
            Err(_) => format!("'{value}'"),
        };
        let text = format!("{column} = {value} WHERE id = x{id}");
        sqlx::query(sqlx::AssertSqlSafe(text)).execute(&mut connection).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn garbage_in_postgres_is_no_session() {
    let Some(server) = Postgres::start_in_memory() else { return };
    let store = Sql::connect(&server.url()).await.unwrap().with_events();
    garbage_is_no_session(&store, async |statement| {
        let (set, id) = statement.split_once(" WHERE id = '").unwrap();
        let (column, value) = set.rsplit_once(" = ").unwrap();
        let is_hex = value.replace('\'', "").bytes().all(|b| b.is_ascii_hexdigit());
        let value = if is_hex { value.replacen('\'', "'\\x", 1) } else { value.to_owned() };
        server.sql(&format!("{column} = {value} WHERE id = '\\x{id}"));
    })
    .await;
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let Some(mut server) = Postgres::start(&[]) else { return };
    let folder = Folder::new();
    let file = format!("sqlite:{}", folder.0.join("sessions.db").display());
    for url in [server.url(), file] {
        let [live, ended] = [1, 2].map(|n| opening(n, Some("user")));
        let store = Sql::connect(&url).await.unwrap();
        store.create(&live, NOW).await.unwrap();
        store.create(&ended, NOW).await.unwrap();
        store.end(ended.id, Reason::Logout, NOW).await.unwrap();
        if url.starts_with("postgres") {
            server.stop();
            assert!(store.load(live.id, Part::Record, NOW).await.is_err());
            server.run();
            // The connections of before come back by themselves.
            assert!(matches!(store.load(live.id, Part::Record, NOW).await, Ok(Loaded::Live(..))));
        }
        drop(store);
        let store = Sql::connect(&url).await.unwrap();
        assert!(matches!(store.load(live.id, Part::All, NOW).await, Ok(Loaded::Live(..))));
        let loaded = store.load(ended.id, Part::All, NOW).await.unwrap();
        assert_eq!(loaded, Loaded::Gone(Reason::Logout));
    }
}

/// Kills a server of these settings under load. Says what it had acknowledged and, started again, what it knows of each:
/// by the store that was there before and by another.
async fn killed_under_load(server: &mut Postgres) -> (Acknowledged, Arc<dyn SessionStore>) {
    let store: Arc<dyn SessionStore> = Arc::new(Sql::connect(&server.url()).await.unwrap());
    let any = || Opening { id: id(), ..opening(0, Some("user")) };
    let load = Load::start(&store, any, NOW);
    until("there are sessions", async || (load.opened() >= 200).then_some(())).await;
    server.kill();
    let acknowledged = load.acknowledged().await;
    server.run();
    // It goes on by itself.
    let first = acknowledged.live[0];
    until("it is back", async || store.load(first, Part::Record, NOW).await.ok()).await;
    (acknowledged, store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_killed_postgres_loses_nothing_it_answered() {
    let Some(mut server) = Postgres::start(&[]) else { return };
    let (acknowledged, store) = killed_under_load(&mut server).await;
    acknowledged.check_all_there(&*store, NOW).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_killed_postgres_that_does_not_wait_for_its_log_loses_an_end_of_its_history() {
    let Some(mut server) = Postgres::start(&["synchronous_commit=off"]) else { return };
    let (acknowledged, store) = killed_under_load(&mut server).await;
    // Nothing is half there: each is whole, or as it was before its last step.
    for id in acknowledged.live {
        let found = store.load(id, Part::All, NOW).await.unwrap();
        match found {
            Loaded::Live(_, Some(values)) => {
                assert_eq!(values.get("cart"), Some(&b"[\"tea\"]"[..]))
            }
            other => assert_eq!(other, Loaded::Unknown),
        }
    }
    for id in acknowledged.ended {
        let found = store.load(id, Part::All, NOW).await.unwrap();
        let before = matches!(found, Loaded::Live(..) | Loaded::Unknown);
        assert!(before || found == Loaded::Gone(Reason::Logout), "{found:?}");
    }
    for record in store.list("user", NOW).await.unwrap() {
        assert!(matches!(store.load(record.id, Part::All, NOW).await, Ok(Loaded::Live(..))));
    }
}

#[tokio::test]
async fn a_wrong_url_is_said_to_be_wrong() {
    let folder = Folder::new();
    let directory = format!("sqlite:{}", folder.0.display());
    for url in ["", "mysql://localhost", "redis://localhost", "sessions.db", &directory] {
        assert!(Sql::connect(url).await.is_err(), "{url}");
    }
}
