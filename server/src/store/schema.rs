//! Migrations: numbered texts, applied in order at start, each in one transaction.

use std::path::Path;

use super::{
    StoreError,
    engine::{Connection, sql},
};

/// The texts. The number of a text is its place, counted from one; a text is never changed once it was released.
const MIGRATIONS: &[&str] = &[include_str!("../../migrations/sqlite/0001.sql")];

/// Brings the schema up to date.
pub(super) async fn update(connection: &mut Connection) -> Result<(), StoreError> {
    let create = "CREATE TABLE IF NOT EXISTS schema_versions (version BIGINT NOT NULL PRIMARY KEY)";
    connection.run(create).await?;
    let query = "SELECT COALESCE(MAX(version), 0) AS version FROM schema_versions";
    let row = sql(query).fetch_optional(connection).await?;
    let found = row.map_or(Ok(0), |row| row.try_get("version"))?;
    let known = MIGRATIONS.len() as i64;
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    for (version, text) in (1..).zip(MIGRATIONS).skip(usize::try_from(found).unwrap_or(0)) {
        connection.run("BEGIN IMMEDIATE").await?;
        if let Err(error) = apply(connection, version, text).await {
            // SQLite may have been faster.
            let _ = connection.run("ROLLBACK").await;
            return Err(error);
        }
        connection.run("COMMIT").await?;
    }
    Ok(())
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
