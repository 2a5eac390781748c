//! What writes cost on each engine: logins, refreshes and ends, beside what the engine takes to make one row durable.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use sqlx::{
    ConnectOptions, Connection, Executor, PgConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use symbolon::app::Os;
use symbolon_core::id::SessionId;

use crate::{
    fleet::{CONNECTIONS, Cost, Fleet, Login, log_in, logins, spread, versions},
    harness::{Result, Rounds, clock},
    load::Walk,
    stores::Postgres,
    table::Table,
    world::{Folder, World},
};

const ROUNDS: usize = if cfg!(debug_assertions) { 2 } else { 5 };
/// How often each act is done in a round.
const ACTS: usize = CONNECTIONS * if cfg!(debug_assertions) { 3 } else { 30 };

/// The figure.
pub(crate) fn engines(table: &mut Table) -> Result<()> {
    let postgres = Postgres::counting()?;
    table.begin(
        &format!(
            "What writes cost, {CONNECTIONS} at once: {}. SQLite with `synchronous=FULL`, PostgreSQL as it is installed.",
            versions(postgres.as_ref())?
        ),
        &[
            "engine",
            "act",
            "per second",
            "of the engine's bare commits",
            "CPU of the node",
            "CPU of PostgreSQL",
        ],
    )?;
    of_engine(table, "SQLite", None)?;
    if let Some(postgres) = &postgres {
        of_engine(table, "PostgreSQL", Some(postgres))?;
    }
    table.end()?;
    Ok(())
}

fn of_engine(table: &mut Table, name: &str, postgres: Option<&Postgres>) -> Result<()> {
    let url = postgres.map(|postgres| postgres.create("engines")).transpose()?;
    let world = World::at(url.as_deref(), &[])?;
    let ended = logins(&world, 2 * ACTS * (ROUNDS + 1), "session")?;
    let refreshed = logins(&world, CONNECTIONS * (ROUNDS + 1), "token")?;
    let fleet = Fleet::start(world.close(), url.as_deref(), 1, &[])?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let bare = Bare::new(url)?;
    let acts = runtime.block_on(rounds(&fleet, postgres, &bare, (ended, refreshed)))?;
    table.line(&[name, "bare commit of one row", &acts.bare.to_string(), "", "", ""])?;
    for act in &acts.measured {
        let micros = |of: Duration| format!("{:.0} µs", act.cost.micros(of));
        let store =
            if postgres.is_some() { micros(act.cost.store) } else { "in the node's".into() };
        table.line(&[
            name,
            act.name,
            &act.per_sec.to_string(),
            &format!("{} %", act.per_sec.over(&acts.bare).times(100.0)),
            &micros(act.cost.node),
            &store,
        ])?;
    }
    Ok(())
}

struct Acts {
    bare: Rounds,
    measured: Vec<Act>,
}

struct Act {
    name: &'static str,
    per_sec: Rounds,
    cost: Cost,
}

const NAMES: [&str; 4] = ["login", "refresh", "end", "end, confirmed"];

async fn rounds(
    fleet: &Fleet,
    postgres: Option<&Postgres>,
    bare: &Bare,
    (mut ended, mut refreshed): (Vec<Login>, Vec<Login>),
) -> Result<Acts> {
    let act = |name| Act { name, per_sec: Rounds::default(), cost: Cost::default() };
    let mut acts = Acts { bare: Rounds::default(), measured: NAMES.map(act).into() };
    for round in 0..=ROUNDS {
        let rate = bare.per_sec().await?;
        let refreshed = refreshed.split_off(refreshed.len() - CONNECTIONS);
        let mut end = |query: &str| {
            let logins = ended.split_off(ended.len() - ACTS);
            spread(&logins.iter().map(|login| login.end(query)).collect::<Vec<_>>(), CONNECTIONS)
        };
        let walks: [Vec<Walk>; 4] = [
            spread(&(0..ACTS).map(log_in).collect::<Vec<_>>(), CONNECTIONS),
            refreshed.iter().map(|login| login.refreshes(ACTS / CONNECTIONS)).collect(),
            end(""),
            end("?confirm=5s"),
        ];
        let mut costs = Vec::new();
        for walks in walks {
            costs.push(Cost::of(fleet, postgres, vec![walks], None).await?);
        }
        // The first round warms up.
        if round > 0 {
            acts.bare.push(rate);
            for (act, cost) in acts.measured.iter_mut().zip(&costs) {
                act.per_sec.push(cost.per_sec());
                act.cost.add(cost);
            }
        }
    }
    Ok(acts)
}

/// One row of 16 random bytes, durable, as often as the engine can when so many want it at once: each in a transaction of
/// its own on PostgreSQL, all that wait in one on SQLite.
struct Bare {
    url: Option<String>,
    folder: Folder,
}

const TABLE: &str = "CREATE TABLE IF NOT EXISTS bare (id BYTEA NOT NULL PRIMARY KEY)";
const INSERT: &str = "INSERT INTO bare (id) VALUES ($1)";
const BARE_TIME: Duration = Duration::from_millis(if cfg!(debug_assertions) { 200 } else { 1000 });

impl Bare {
    fn new(url: Option<String>) -> Result<Self> {
        Ok(Self { url, folder: Folder::new()? })
    }

    async fn per_sec(&self) -> Result<f64> {
        let begin = clock();
        let count = match &self.url {
            Some(url) => {
                join_all((0..CONNECTIONS).map(|_| one_each(url, begin))).await.into_iter().sum()
            }
            None => all_in_one(&self.folder.0.join("bare.db"), begin).await,
        };
        Ok(count? / begin.elapsed().as_secs_f64())
    }
}

async fn one_each(url: &str, begin: Instant) -> Result<f64> {
    let mut connection = PgConnection::connect(url).await?;
    // Whoever is second to make it may be told that it is there.
    let _ = connection.execute(TABLE).await;
    let mut count = 0.0;
    while begin.elapsed() < BARE_TIME {
        let id = SessionId::random(&mut Os);
        sqlx::query(INSERT).bind(&id.as_bytes()[..]).execute(&mut connection).await?;
        count += 1.0;
    }
    Ok(count)
}

async fn all_in_one(path: &Path, begin: Instant) -> Result<f64> {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let options = options.journal_mode(SqliteJournalMode::Wal);
    let mut connection = options.synchronous(SqliteSynchronous::Full).connect().await?;
    connection.execute(TABLE).await?;
    let mut count = 0.0;
    while begin.elapsed() < BARE_TIME {
        connection.execute("BEGIN IMMEDIATE").await?;
        for _ in 0..CONNECTIONS {
            let id = SessionId::random(&mut Os);
            sqlx::query(INSERT).bind(&id.as_bytes()[..]).execute(&mut connection).await?;
        }
        connection.execute("COMMIT").await?;
        count += CONNECTIONS as f64;
    }
    Ok(count)
}
