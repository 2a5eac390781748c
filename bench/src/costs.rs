//! What acts cost at the store: statements, commits, round trips and bytes on the wire, act by act, with nobody else about.

use std::{collections::BTreeMap, sync::Arc, sync::atomic::Ordering::Relaxed, time::Duration};

use crate::{
    fleet::{Fleet, Login, log_in, logins, versions},
    harness::Result,
    load::{Step, Walk},
    stores::Postgres,
    table::Table,
    wire::{Passed, tap},
    world::{Folder, World},
};

/// How often each act is done, one after the other; and before that, so that statements are prepared.
const ACTS: usize = 50;
const WARM_UP: usize = 20;
/// How long what an act leaves behind may take.
const AFTER: Duration = Duration::from_millis(700);
/// Between two ends at another node, so that each is heard of by itself.
const BETWEEN: Duration = Duration::from_millis(30);
const REST: Duration = Duration::from_secs(10);
/// Each statement is a line of the log.
const SAYING: [&str; 2] = ["log.format=json", "log.level=warn,sqlx::query=debug"];
/// So seldom does a node renew its lease that it does not while an act is counted.
const SETTINGS: [&str; 2] = ["revocation.lease=20s", "store.connections_max=1"];
/// A session is seen anew after 1/16 of its idle limit; that is written within a second.
const IDLE: &str = "4m";
const SEEN_AFTER: Duration = Duration::from_secs(16);
const WRITTEN_AFTER: Duration = Duration::from_secs(3);

/// The figure.
pub(crate) fn costs(table: &mut Table) -> Result<()> {
    let postgres = Postgres::counting()?;
    table.begin(
        &format!("What each act costs at the store: {}.", versions(postgres.as_ref())?),
        &["engine", "act", "statements", "of them", "commits", "round trips", "bytes on the wire"],
    )?;
    if let Some(postgres) = &postgres {
        of_engine(table, Some(postgres))?;
        at_rest(table, postgres)?;
    }
    of_engine(table, None)?;
    table.end()?;
    Ok(())
}

/// What is counted, and where.
struct Counter<'a> {
    fleet: &'a Fleet,
    /// Between the node and PostgreSQL.
    passed: Option<Arc<Passed>>,
}

/// What was counted.
#[derive(Debug, Default)]
struct Counts {
    kinds: BTreeMap<String, u64>,
    round_trips: u64,
    bytes: u64,
}

impl Counter<'_> {
    fn now(&self) -> Result<Counts> {
        let mut counts = Counts { kinds: said(self.fleet)?, ..Counts::default() };
        if let Some(passed) = &self.passed {
            counts.round_trips = passed.round_trips.load(Relaxed);
            counts.bytes = passed.bytes.load(Relaxed);
        }
        Ok(counts)
    }

    /// A row: what this came to, divided by `acts`.
    async fn count(
        &self,
        table: &mut Table,
        act: &str,
        acts: f64,
        doing: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        let before = self.now()?;
        doing.await?;
        tokio::time::sleep(AFTER).await;
        let after = self.now()?;
        let each = |count: u64| count as f64 / acts;
        let less = |kind: &String| before.kinds.get(kind).copied().unwrap_or_default();
        let kinds = after.kinds.iter().map(|(kind, count)| (kind, each(count - less(kind))));
        let kinds: Vec<_> = kinds.filter(|(_, count)| *count > 0.0).collect();
        let all: f64 = kinds.iter().map(|(_, count)| count).sum();
        let commits: f64 = kinds.iter().filter(|it| *it.0 == "COMMIT").map(|it| it.1).sum();
        let of_them = kinds.iter().map(|(kind, count)| format!("{kind} {}", short(*count)));
        let of_them = of_them.collect::<Vec<_>>().join(", ");
        let (trips, bytes) = match self.passed {
            None => ("none".to_owned(), "none".to_owned()),
            Some(_) => (
                short(each(after.round_trips - before.round_trips)),
                format!("{:.0}", each(after.bytes - before.bytes)),
            ),
        };
        let engine = if self.passed.is_some() { "PostgreSQL" } else { "SQLite" };
        table.line(&[engine, act, &short(all), &of_them, &short(commits), &trips, &bytes])?;
        Ok(())
    }
}

/// At most two digits after the point.
fn short(count: f64) -> String {
    let text = format!("{count:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The statements that a server has written into its log, by their first word.
fn said(fleet: &Fleet) -> Result<BTreeMap<String, u64>> {
    let mut kinds = BTreeMap::new();
    for line in std::fs::read_to_string(fleet.folder.0.join("said0"))?.lines() {
        let line: serde_json::Value = serde_json::from_str(line)?;
        if line["target"] == "sqlx::query"
            && let Some(statement) = line["summary"].as_str()
        {
            let first = statement.split_whitespace().next().unwrap_or_default();
            *kinds.entry(first.to_uppercase()).or_default() += 1;
        }
    }
    Ok(kinds)
}

fn of_engine(table: &mut Table, postgres: Option<&Postgres>) -> Result<()> {
    const DATABASE: &str = "costs";
    let url = postgres.map(|postgres| postgres.create(DATABASE)).transpose()?;
    let world = World::at(url.as_deref(), &[("lifetimes.session_idle", IDLE)])?;
    let sessions = logins(&world, 3 * (ACTS + WARM_UP), "session")?;
    let tokens = logins(&world, 2, "token")?;
    let folder = world.close();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let settings = [&SETTINGS[..], &SAYING[..]].concat();
        let (passed, url) = match postgres {
            None => (None, None),
            Some(postgres) => {
                let (port, passed) = tap(postgres.port).await?;
                (Some(passed), Some(through(port, DATABASE)))
            }
        };
        let fleet = Fleet::start(folder, url.as_deref(), 1, &settings)?;
        acts(table, &Counter { fleet: &fleet, passed }, &sessions, &tokens).await
    })
}

fn through(port: u16, database: &str) -> String {
    format!("postgres://symbolon@127.0.0.1:{port}/{database}?sslmode=disable")
}

async fn acts(
    table: &mut Table,
    counter: &Counter<'_>,
    sessions: &[Login],
    tokens: &[Login],
) -> Result<()> {
    let go = async |steps: Vec<Step>| go(counter.fleet, steps).await;
    let (warm_up, sessions) = sessions.split_at(3 * WARM_UP);
    let (plain, confirmed) = warm_up.split_at(WARM_UP);
    go((0..WARM_UP).map(log_in).collect()).await?;
    go(plain.iter().chain(confirmed).map(Login::check).collect()).await?;
    go(plain.iter().map(|it| it.end("")).collect()).await?;
    // It has just started, and lets a lease pass first.
    go(confirmed.iter().map(|it| it.end("?confirm=25s")).collect()).await?;
    for (token, times) in tokens.iter().zip([WARM_UP, 0]) {
        if times > 0 {
            goes(counter.fleet, token.refreshes(times)).await?;
        }
    }
    let each = ACTS as f64;
    let [seen, plain, confirmed] = [0, 1, 2].map(|at| &sessions[at * ACTS..(at + 1) * ACTS]);
    counter.count(table, "login by password", each, go((0..ACTS).map(log_in).collect())).await?;
    let check = || sessions.iter().map(Login::check).collect::<Vec<_>>();
    counter.count(table, "check, cold", 3.0 * each, go(check())).await?;
    counter.count(table, "check, warm", 3.0 * each, go(check())).await?;
    let refreshes = goes(counter.fleet, tokens[1].refreshes(ACTS));
    counter.count(table, "refresh", each, refreshes).await?;
    let ends = plain.iter().map(|it| it.end("")).collect();
    counter.count(table, "end", each, go(ends)).await?;
    let ends = confirmed.iter().map(|it| it.end("?confirm=20s")).collect();
    counter.count(table, "end, confirmed", each, go(ends)).await?;
    tokio::time::sleep(SEEN_AFTER).await;
    let again = async {
        go(seen.iter().map(Login::check).collect()).await?;
        tokio::time::sleep(WRITTEN_AFTER).await;
        Ok(())
    };
    counter.count(table, &format!("last seen, of {ACTS} sessions at once"), each, again).await
}

/// One request after the other.
async fn go(fleet: &Fleet, steps: Vec<Step>) -> Result<()> {
    goes(fleet, Walk { steps, taken: String::new() }).await
}

async fn goes(fleet: &Fleet, walk: Walk) -> Result<()> {
    fleet.drive(vec![vec![walk]], None).await.map(drop)
}

/// What a node does by itself: each second, and for each end at another one.
fn at_rest(table: &mut Table, postgres: &Postgres) -> Result<()> {
    const DATABASE: &str = "rest";
    let url = postgres.create(DATABASE)?;
    let world = World::at(Some(&url), &[])?;
    let logins = logins(&world, ACTS, "session")?;
    let folder = world.close();
    let beside = Folder::new()?;
    std::fs::copy(folder.0.join("master.key"), beside.0.join("master.key"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (port, passed) = tap(postgres.port).await?;
        let fleet = Fleet::start(folder, Some(&through(port, DATABASE)), 1, &SAYING)?;
        let counter = Counter { fleet: &fleet, passed: Some(passed) };
        let rest = async {
            tokio::time::sleep(REST - AFTER).await;
            Ok(())
        };
        let secs = REST.as_secs_f64();
        counter.count(table, "a node at rest, per second (lease of 1 s)", secs, rest).await?;
        // Its lease is long, and so is that of the other one: they renew it for ends alone.
        drop(counter);
        let (port, passed) = tap(postgres.port).await?;
        let settings = [&SETTINGS[..], &SAYING[..]].concat();
        let folder = fleet.stop();
        let fleet = Fleet::start(folder, Some(&through(port, DATABASE)), 1, &settings)?;
        let other = Fleet::start(beside, Some(&url), 1, &SETTINGS)?;
        let counter = Counter { fleet: &fleet, passed: Some(passed) };
        go(&other, vec![log_in(0)]).await?;
        tokio::time::sleep(WRITTEN_AFTER).await;
        let ends = async {
            for login in &logins {
                go(&other, vec![login.end("")]).await?;
                tokio::time::sleep(BETWEEN).await;
            }
            Ok(())
        };
        counter.count(table, "a node, for each end at another one", ACTS as f64, ends).await
    })
}
