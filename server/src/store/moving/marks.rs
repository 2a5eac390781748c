//! What a store says of itself while it is moved, so that no server works on it and an interrupted move goes on.

use serde::{Deserialize, Serialize};
use symbolon_core::lease::waited;
use tokio::time::sleep;

use std::time::Duration;

use super::{
    super::{
        StoreError,
        engine::{Connection, Row, sql},
        rows,
    },
    MoveError, Role,
    tables::Cells,
};

/// What stands in a store that is no ordinary one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// Drawn when it began; the same on both sides.
    pub(super) id: [u8; 16],
    pub(super) role: Role,
    /// Of a backup and of what is restored from it: when it was made, in milliseconds since 1970.
    pub(super) made_at: i64,
    /// Of a backup and of what is restored from it: whether nothing can have happened after it.
    pub(super) last: bool,
    /// Of what is filled: whether nothing is left of what was there before.
    pub(super) cleared: bool,
    /// Of what is restored: the keys that the store had before.
    pub(super) keys: Vec<[u8; 16]>,
}

/// How far a table is filled.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Filled {
    pub(super) after: Option<Cells>,
    pub(super) rows: u64,
    pub(super) done: bool,
}

/// A server that finds a mark does not start.
pub(in super::super) async fn refuse_marked(connection: &mut Connection) -> Result<(), StoreError> {
    match read(connection).await? {
        None => Ok(()),
        Some(mark) => Err(StoreError::Marked(mark.role.text())),
    }
}

pub(super) async fn read(connection: &mut Connection) -> Result<Option<Mark>, StoreError> {
    state(connection, "").await
}

/// How far a table is filled.
pub(super) async fn filled(connection: &mut Connection, part: &str) -> Result<Filled, StoreError> {
    Ok(state(connection, part).await?.unwrap_or_default())
}

async fn state<T: for<'de> Deserialize<'de>>(
    connection: &mut Connection,
    part: &str,
) -> Result<Option<T>, StoreError> {
    let query = sql("SELECT state FROM moving WHERE part = $1").bind(part);
    let Some(row) = query.fetch_optional(connection).await? else { return Ok(None) };
    let damaged =
        |error: serde_json::Error| StoreError::Damaged { table: "moving", what: error.to_string() };
    serde_json::from_str(row.try_get("state")?).map(Some).map_err(damaged)
}

/// Writes a mark, or how far a table is filled.
pub(super) async fn write(
    connection: &mut Connection,
    part: &str,
    state: &impl Serialize,
) -> Result<(), StoreError> {
    let state = serde_json::to_string(state).unwrap_or_default();
    let query = "INSERT INTO moving (part, state) VALUES ($1, $2) \
                 ON CONFLICT (part) DO UPDATE SET state = excluded.state";
    sql(query).bind(part).bind(state).execute(connection).await?;
    Ok(())
}

/// Makes an ordinary store of it again.
pub(super) async fn remove(connection: &mut Connection) -> Result<(), StoreError> {
    sql("DELETE FROM moving").execute(connection).await?;
    Ok(())
}

/// Writes the mark of a store that no server works on. Servers of a database that were killed have left a row: it is
/// waited until none of them can decide alone any more.
///
/// # Errors
/// [`MoveError::Running`] if one is alive.
pub(super) async fn take(connection: &mut Connection, mark: &Mark) -> Result<(), MoveError> {
    if matches!(connection, Connection::Sqlite(_)) {
        // Whoever has the lock of the folder is alone.
        return Ok(write(connection, "", mark).await?);
    }
    let before = nodes(connection).await?;
    if let Some(lease) = before.iter().map(|node| node.lease).max() {
        sleep(waited(lease)).await;
    }
    connection.run("BEGIN").await?;
    // A server that renews its lease waits here, and finds the mark.
    connection.run("SELECT 1 FROM log_head WHERE id = 1 FOR UPDATE").await?;
    let alive = nodes(connection).await?.into_iter().find(|node| !before.contains(node));
    if let Some(node) = alive {
        connection.run("ROLLBACK").await?;
        return Err(MoveError::Running(node.name));
    }
    connection.run("DELETE FROM nodes").await?;
    write(connection, "", mark).await?;
    connection.run("COMMIT").await?;
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
struct Node {
    id: Vec<u8>,
    name: String,
    renewals: u64,
    lease: Duration,
}

async fn nodes(connection: &mut Connection) -> Result<Vec<Node>, StoreError> {
    let query = sql("SELECT id, name, renewals, lease_ms FROM nodes");
    let rows = query.fetch_all(connection).await?;
    let node = |row: &Row| {
        Ok(Node {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            renewals: rows::count(row, "renewals")?,
            lease: Duration::from_millis(rows::count(row, "lease_ms")?),
        })
    };
    rows.iter().map(node).collect()
}
