//! The check of a session on one, two and three nodes of one PostgreSQL database: cold, where a node has never met the
//! session, and warm, where it decides under its lease.

use crate::{
    fleet::{CONNECTIONS, Cost, Fleet, Login, logins, spread, versions},
    harness::Result,
    load::{Step, Walk},
    stores::Postgres,
    table::{Row, Table},
    world::World,
};

const NODES_MAX: usize = 3;
/// Sessions; each node meets each of them once.
const SESSIONS: usize = if cfg!(debug_assertions) { 320 } else { 6400 };
const WARM_MS: u64 = if cfg!(debug_assertions) { 1000 } else { 6000 };

/// The figure.
pub(crate) fn nodes(table: &mut Table) -> Result<()> {
    let Some(postgres) = Postgres::counting()? else {
        let measured = "PostgreSQL is not installed".to_owned();
        table.row(&Row { figure: "session check at nodes", measured, budget: "", how: "" })?;
        return Ok(());
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    table.begin(
        &format!("Session check at nodes of one database: {}.", versions(Some(&postgres))?),
        &[
            "nodes",
            "check",
            "CPU of the node per request",
            "CPU of PostgreSQL per request",
            "statements on sessions per request",
            "all statements per second",
            "requests/s together",
        ],
    )?;
    let mut first = None;
    for count in 1..=NODES_MAX {
        let database = format!("nodes{count}");
        let url = postgres.create(&database)?;
        let world = World::at(Some(&url), &[])?;
        let logins = logins(&world, SESSIONS, "session")?;
        let fleet = Fleet::start(world.close(), Some(&url), count, &[])?;
        let statements = Statements { postgres: &postgres, database: &database };
        let [cold, warm] = runtime.block_on(checks(&fleet, &statements, &logins))?;
        for (name, check, beside) in [("cold", &cold, 0), ("warm", &warm, 1)] {
            let all = first.get_or_insert((cold.cost, warm.cost));
            let one = [all.0, all.1][beside];
            let times = |of: f64, one: f64| format!("{of:.1} µs ({:.2} ×)", of / one);
            table.line(&[
                &count.to_string(),
                name,
                &times(check.cost.micros(check.cost.node), one.micros(one.node)),
                &format!("{:.1} µs", check.cost.micros(check.cost.store)),
                &format!(
                    "{:.3} ({})",
                    check.on_sessions as f64 / check.cost.answers,
                    check.on_sessions
                ),
                &format!("{:.0}", check.all as f64 / check.cost.secs),
                &format!(
                    "{:.0} ({:.2} ×)",
                    check.cost.per_sec(),
                    check.cost.per_sec() / one.per_sec()
                ),
            ])?;
        }
    }
    table.end()?;
    Ok(())
}

struct Check {
    cost: Cost,
    /// Statements that name sessions, and all of them.
    on_sessions: u64,
    all: u64,
}

async fn checks(
    fleet: &Fleet,
    statements: &Statements<'_>,
    logins: &[Login],
) -> Result<[Check; 2]> {
    let nodes = fleet.addresses.len();
    let steps: Vec<Step> = logins.iter().map(Login::check).collect();
    let at_each =
        || -> Vec<Vec<Walk>> { (0..nodes).map(|_| spread(&steps, CONNECTIONS / nodes)).collect() };
    let mut done = Vec::new();
    // Each walk is gone once, by nodes that have met none of these; then again and again.
    for for_ms in [None, Some(WARM_MS)] {
        let before = (statements.on_sessions()?, statements.all()?);
        let cost = Cost::of(fleet, Some(statements.postgres), at_each(), for_ms).await?;
        let after = (statements.on_sessions()?, statements.all()?);
        done.push(Check { cost, on_sessions: after.0 - before.0, all: after.1 - before.1 });
    }
    done.try_into().map_err(|_| "there are two".into())
}

/// What PostgreSQL has counted for a database.
struct Statements<'a> {
    postgres: &'a Postgres,
    database: &'a str,
}

impl Statements<'_> {
    fn all(&self) -> Result<u64> {
        self.count("true")
    }

    fn on_sessions(&self) -> Result<u64> {
        self.count("query ILIKE '%sessions%'")
    }

    fn count(&self, which: &str) -> Result<u64> {
        self.postgres.ask("CREATE EXTENSION IF NOT EXISTS pg_stat_statements; SELECT 1")?;
        let database = self.database;
        self.postgres.ask(&format!(
            "SELECT COALESCE(SUM(calls), 0)::bigint FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid \
             WHERE datname = '{database}' AND {which}"
        ))
    }
}
