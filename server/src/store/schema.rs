//! Migrations: numbered texts, applied in order at start, each in one transaction.

use std::path::Path;

use sqlx::{
    ConnectOptions, Connection, Executor, Row, SqliteConnection, sqlite::SqliteConnectOptions,
};

use super::StoreError;

/// The texts. The number of a text is its place, counted from one; a text is never changed once it was released.
const MIGRATIONS: &[&str] = &[include_str!("../../migrations/sqlite/0001.sql")];

/// Opens the database file (readable by its owner alone) and brings its schema up to date.
pub(super) async fn open(
    path: &Path,
    options: SqliteConnectOptions,
) -> Result<SqliteConnection, StoreError> {
    make_private(path)?;
    let mut connection = options.connect().await?;
    let create = "CREATE TABLE IF NOT EXISTS schema_versions (version BIGINT NOT NULL PRIMARY KEY)";
    connection.execute(create).await?;
    let row = sqlx::query("SELECT COALESCE(MAX(version), 0) FROM schema_versions")
        .fetch_one(&mut connection)
        .await?;
    let (found, known) = (row.try_get::<i64, _>(0)?, MIGRATIONS.len() as i64);
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    for (version, text) in (1..).zip(MIGRATIONS).skip(usize::try_from(found).unwrap_or(0)) {
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        (&mut *transaction).execute(*text).await?;
        sqlx::query("INSERT INTO schema_versions VALUES ($1)")
            .bind::<i64>(version)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
    }
    Ok(connection)
}

// SQLite gives its -wal and -shm files the mode of the database file.
fn make_private(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let opened = options.create(true).truncate(false).write(true).mode(0o600).open(path);
    opened
        .map(drop)
        .map_err(|cause| StoreError::File { path: path.to_owned(), cause: cause.into() })
}
