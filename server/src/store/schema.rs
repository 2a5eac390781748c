//! Migrations: numbered texts, applied in order at start, each in one transaction.

use std::path::Path;

use super::{
    StoreError,
    engine::{Connection, sql},
};

/// The texts. The number of a text is its place, counted from one; a text is never changed once it was released.
const SQLITE: &[&str] = &[include_str!("../../migrations/sqlite/0001.sql")];
const POSTGRES: &[&str] = &[include_str!("../../migrations/postgres/0001.sql")];

/// Brings the schema up to date. Whoever does so at the same time waits.
pub(super) async fn update(connection: &mut Connection) -> Result<(), StoreError> {
    let texts = match connection {
        Connection::Sqlite(_) => SQLITE,
        Connection::Postgres(_) => POSTGRES,
    };
    while let Some((version, text)) = next(connection, texts).await? {
        // Found and applied in one transaction.
        if let Err(error) = apply(connection, version, text).await {
            // SQLite may have been faster.
            let _ = connection.run("ROLLBACK").await;
            return Err(error);
        }
        connection.run("COMMIT").await?;
    }
    connection.run("ROLLBACK").await?;
    Ok(())
}

/// Begins a transaction that alone changes the schema, and says which text is next.
async fn next(
    connection: &mut Connection,
    texts: &'static [&'static str],
) -> Result<Option<(i64, &'static str)>, StoreError> {
    connection
        .run(match connection {
            Connection::Sqlite(_) => "BEGIN IMMEDIATE",
            // The number is nobody else's: it begins with "symbolon".
            Connection::Postgres(_) => "BEGIN; SELECT pg_advisory_xact_lock(8320802056087301998)",
        })
        .await?;
    let create = "CREATE TABLE IF NOT EXISTS schema_versions (version BIGINT NOT NULL PRIMARY KEY)";
    connection.run(create).await?;
    let query = "SELECT COALESCE(MAX(version), 0) AS version FROM schema_versions";
    let row = sql(query).fetch_optional(connection).await?;
    let found: i64 = row.map_or(Ok(0), |row| row.try_get("version"))?;
    let known = texts.len() as i64;
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    let text = usize::try_from(found).ok().and_then(|found| texts.get(found));
    Ok(text.map(|text| (found + 1, *text)))
}

async fn apply(
    connection: &mut Connection,
    version: i64,
    text: &'static str,
) -> Result<(), StoreError> {
    connection.run(text).await?;
    sql("INSERT INTO schema_versions VALUES ($1)").bind(version).execute(connection).await?;
    Ok(())
}

/// Makes the database file readable by its owner alone. SQLite gives its -wal and -shm files the same mode.
pub(super) fn make_private(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let opened = options.create(true).truncate(false).write(true).mode(0o600).open(path);
    opened
        .map(drop)
        .map_err(|cause| StoreError::File { path: path.to_owned(), cause: cause.into() })
}

/// Whether the schema is that of this version.
pub(super) async fn is_current(connection: &mut Connection) -> Result<bool, StoreError> {
    let known = match connection {
        Connection::Sqlite(_) => SQLITE.len(),
        Connection::Postgres(_) => POSTGRES.len(),
    };
    let query = sql("SELECT MAX(version) AS version FROM schema_versions");
    let row = query.fetch_optional(connection).await?;
    let found: Option<i64> = row.map_or(Ok(None), |row| row.try_get("version"))?;
    Ok(found == Some(known as i64))
}
