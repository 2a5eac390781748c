//! What rows weigh where they rest: tables with their indexes, filled through the store as logins and ends fill them.

use std::{collections::BTreeMap, path::Path};

use futures_util::future::join_all;
use sqlx::{ConnectOptions, Connection, Row, sqlite::SqliteConnectOptions};
use symbolon::app::{self, Os};
use symbolon_core::{
    audit::{Act, Event},
    change::{Change, Write},
    client::ClientId,
    id::EntryId,
};

use crate::{
    fleet::versions, harness::Result, memory::a_login, stores::Postgres, table::Table, world::World,
};

const ROWS: usize = if cfg!(debug_assertions) { 4_000 } else { 100_000 };
/// Logins in one transaction: how many they are changes no row.
const BATCH: usize = 100;
const TABLES: [(&str, &str); 4] = [
    ("sessions", "a session of a desktop browser, two user agents' length of JSON included"),
    ("users", "a user: name of 20 bytes, one role, an Argon2id hash"),
    ("audit", "a row of the audit trail, as a login writes it"),
    ("revocations", "an entry of the revocation log"),
];

/// The figure.
pub(crate) fn bytes(table: &mut Table) -> Result<()> {
    let postgres = Postgres::counting()?;
    table.begin(
        &format!(
            "Bytes of a row with its indexes, {ROWS} of each: {}.",
            versions(postgres.as_ref())?
        ),
        &["row", "PostgreSQL", "of it indexes", "SQLite", "of it indexes", "what"],
    )?;
    let in_postgres = match &postgres {
        Some(postgres) => of_postgres(postgres)?,
        None => BTreeMap::new(),
    };
    let in_sqlite = of_sqlite()?;
    for (name, what) in TABLES {
        let mut cells = vec![name.to_owned()];
        for sizes in [&in_postgres, &in_sqlite] {
            match sizes.get(name) {
                Some([all, indexes]) => {
                    cells.extend([format!("{all:.0}"), format!("{indexes:.0}")]);
                }
                None => cells.extend(["not installed".to_owned(), String::new()]),
            }
        }
        cells.push(what.to_owned());
        table.line(&cells.iter().map(String::as_str).collect::<Vec<_>>())?;
    }
    table.end()?;
    Ok(())
}

/// By table, bytes of a row with its indexes, and of these alone.
type Sizes = BTreeMap<&'static str, [f64; 2]>;

fn fill(world: &World) -> Result<()> {
    let client: ClientId = "symbolon".parse()?;
    let mut changes = Vec::new();
    for first in (0..ROWS).step_by(BATCH) {
        let mut change = Change::at(app::now());
        for number in first..first + BATCH {
            let (session, user) = a_login(number, &client, app::now())?;
            change.record(Event::of_session(Act::LoggedIn, &session));
            change.write(Write::AddUser(Box::new(user)));
            change.write(Write::OpenSession(Box::new(session)));
            change.end(EntryId::random(&mut Os));
        }
        changes.push(change);
    }
    while !changes.is_empty() {
        let some = changes.split_off(changes.len().saturating_sub(8));
        let commits = some.into_iter().map(|change| world.app.store.commit(change));
        for outcome in world.runtime.block_on(join_all(commits)) {
            if !matches!(outcome?, symbolon::store::Outcome::Applied(_)) {
                return Err("a login was refused".into());
            }
        }
    }
    Ok(())
}

fn of_postgres(postgres: &Postgres) -> Result<Sizes> {
    let url = postgres.create("bytes")?;
    let world = World::at(Some(&url), &[])?;
    fill(&world)?;
    drop(world.close());
    let size = |function: &str, name: &str| {
        let size = postgres.ask_in("bytes", &format!("SELECT {function}('{name}')"))?;
        Ok::<_, crate::harness::Error>(size as f64 / ROWS as f64)
    };
    let sizes = TABLES.iter().map(|(name, _)| {
        Ok((*name, [size("pg_total_relation_size", name)?, size("pg_indexes_size", name)?]))
    });
    sizes.collect()
}

fn of_sqlite() -> Result<Sizes> {
    let world = World::at(None, &[])?;
    fill(&world)?;
    let folder = world.close();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(pages(&folder.0.join("symbolon.db")))
}

async fn pages(path: &Path) -> Result<Sizes> {
    let mut connection = SqliteConnectOptions::new().filename(path).connect().await?;
    let query = "SELECT SUM(d.pgsize) AS everything, SUM(CASE WHEN d.name <> $1 THEN d.pgsize ELSE 0 END) AS indexes \
                 FROM dbstat d JOIN sqlite_schema s ON s.name = d.name WHERE s.tbl_name = $1";
    let mut sizes = Sizes::new();
    for (name, _) in TABLES {
        let row = sqlx::query(query).bind(name).fetch_one(&mut connection).await?;
        let each = |column: &str| {
            Ok::<_, sqlx::Error>(row.try_get::<i64, _>(column)? as f64 / ROWS as f64)
        };
        sizes.insert(name, [each("everything")?, each("indexes")?]);
    }
    connection.close().await?;
    Ok(sizes)
}
