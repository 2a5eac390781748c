//! What rows weigh where they rest: tables with their indexes, filled through the store's own commits.

use std::{collections::BTreeMap, path::Path};

use axum::http::Request;
use futures_util::future::join_all;
use sqlx::{ConnectOptions, Connection, Row, sqlite::SqliteConnectOptions};
use symbolon::{
    app::{self, Os},
    store::{Found, Outcome},
};
use symbolon_core::{
    audit::{Act, Event},
    change::{Change, Write},
    id::EntryId,
    session::Session,
};

use crate::{
    fleet::versions,
    harness::{Error, Result},
    memory::a_login,
    stores::Postgres,
    table::Table,
    world::{self, World},
};

const ROWS: usize = if cfg!(debug_assertions) { 4_000 } else { 50_000 };
/// Logins in one transaction: how many they are changes no row.
const BATCH: usize = 100;
/// Transactions at a time.
const AT_ONCE: usize = 4;
/// What is weighed, of logins of which kind, in which table.
const ROWS_OF: [(&str, &str, &str); 5] = [
    ("a session with a cookie", "session", "sessions"),
    ("a session with tokens, refreshed once", "token", "sessions"),
    ("a user", "session", "users"),
    ("a row of the audit trail", "session", "audit"),
    ("an entry of the revocation log", "session", "revocations"),
];

/// The figure.
pub(crate) fn bytes(table: &mut Table) -> Result<()> {
    let postgres = Postgres::counting()?;
    table.begin(
        &format!(
            "Bytes of a row with its indexes, of {ROWS}: {}. Copies of a login of a desktop browser, with ids of their own.",
            versions(postgres.as_ref())?
        ),
        &["row", "PostgreSQL", "of it indexes", "SQLite", "of it indexes"],
    )?;
    let mut sizes = Sizes::new();
    for deliver in ["session", "token"] {
        if let Some(postgres) = &postgres {
            of_postgres(postgres, deliver, &mut sizes)?;
        }
        of_sqlite(deliver, &mut sizes)?;
    }
    for (what, deliver, name) in ROWS_OF {
        let mut cells = vec![what.to_owned()];
        for engine in ["PostgreSQL", "SQLite"] {
            match sizes.get(&(engine, deliver, name)) {
                Some(each) => cells.extend(each.map(|bytes| format!("{bytes:.0}"))),
                None => cells.extend(["not installed".to_owned(), String::new()]),
            }
        }
        table.line(&cells.iter().map(String::as_str).collect::<Vec<_>>())?;
    }
    table.end()?;
    Ok(())
}

/// By engine, kind of login and table: bytes of a row with its indexes, and of these alone.
type Sizes = BTreeMap<(&'static str, &'static str, &'static str), [f64; 2]>;

/// A session as it rests after a login, with the user agent of a desktop browser.
fn a_session(world: &World, deliver: &str) -> Result<Session> {
    let answer = world.login(deliver)?.1;
    if let Some(token) = answer["refresh_token"].as_str() {
        let body = serde_json::json!({ "refresh_token": token }).to_string();
        let request = Request::post("/api/v1/refresh").header("content-type", "application/json");
        world.runtime.block_on(world::answer(&world.router, request.body(body.into())?))?;
    }
    let id = answer["sid"].as_str().ok_or("no session")?.parse()?;
    match world.runtime.block_on(world.app.store.session(id))? {
        Some(Found::Live(session, _)) => Ok(*session),
        _ => Err("the login is not there".into()),
    }
}

fn fill(world: &World, deliver: &str) -> Result<()> {
    let model = a_session(world, deliver)?;
    let now = app::now();
    let mut changes = Vec::new();
    for first in (0..ROWS).step_by(BATCH) {
        let mut change = Change::at(now);
        for number in first..first + BATCH {
            let (drawn, user) = a_login(number, &model.client, now)?;
            let login = drawn.login.clone();
            let Session { id, salt, device, .. } = drawn;
            let session = Session { id, salt, device, login, ..model.clone() };
            change.record(Event::of_session(Act::LoggedIn, &session));
            change.write(Write::AddUser(Box::new(user)));
            change.write(Write::OpenSession(Box::new(session)));
            change.end(EntryId::random(&mut Os));
        }
        changes.push(change);
    }
    while !changes.is_empty() {
        let some = changes.split_off(changes.len().saturating_sub(AT_ONCE));
        let commits = some.into_iter().map(|change| world.app.store.commit(change));
        for outcome in world.runtime.block_on(join_all(commits)) {
            if !matches!(outcome?, Outcome::Applied(_)) {
                return Err("a login was refused".into());
            }
        }
    }
    Ok(())
}

fn of_postgres(postgres: &Postgres, deliver: &'static str, sizes: &mut Sizes) -> Result<()> {
    let database = format!("bytes_{deliver}");
    let url = postgres.create(&database)?;
    let world = World::at(Some(&url), &[])?;
    fill(&world, deliver)?;
    drop(world.close());
    for (_, _, name) in ROWS_OF {
        let each = |function: &str| {
            let bytes = postgres.ask_in(&database, &format!("SELECT {function}('{name}')"))?;
            Ok::<_, Error>(bytes as f64 / ROWS as f64)
        };
        let both = [each("pg_total_relation_size")?, each("pg_indexes_size")?];
        sizes.insert(("PostgreSQL", deliver, name), both);
    }
    Ok(())
}

fn of_sqlite(deliver: &'static str, sizes: &mut Sizes) -> Result<()> {
    let world = World::at(None, &[])?;
    fill(&world, deliver)?;
    let folder = world.close();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let pages = runtime.block_on(pages(&folder.0.join("symbolon.db")))?;
    sizes.extend(pages.into_iter().map(|(name, both)| (("SQLite", deliver, name), both)));
    Ok(())
}

async fn pages(path: &Path) -> Result<Vec<(&'static str, [f64; 2])>> {
    let mut connection = SqliteConnectOptions::new().filename(path).connect().await?;
    let query = "SELECT SUM(d.pgsize) AS everything, SUM(CASE WHEN d.name <> $1 THEN d.pgsize ELSE 0 END) AS indexes \
                 FROM dbstat d JOIN sqlite_schema s ON s.name = d.name WHERE s.tbl_name = $1";
    let mut sizes = Vec::new();
    for (_, _, name) in ROWS_OF {
        let row = sqlx::query(query).bind(name).fetch_one(&mut connection).await?;
        let each = |column: &str| {
            Ok::<_, sqlx::Error>(row.try_get::<i64, _>(column)? as f64 / ROWS as f64)
        };
        sizes.push((name, [each("everything")?, each("indexes")?]));
    }
    connection.close().await?;
    Ok(sizes)
}
