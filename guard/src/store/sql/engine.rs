//! One text of SQL for both engines: statements with `$1` placeholders, whole numbers and bytes.
//!
//! A change is a transaction. In SQLite it has the database to itself; in PostgreSQL it locks the rows that it changes,
//! in ascending order of their ids, and before them the user whose sessions it counts.

use std::str::FromStr as _;

#[cfg(feature = "postgres")]
use aws_lc_rs::digest;
#[cfg(feature = "postgres")]
use sqlx::postgres::{PgPool, PgPoolOptions, PgRow};
#[cfg(feature = "sqlite")]
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
};
use sqlx::{Error, Row as _, Transaction};
#[cfg(feature = "sqlite")]
use tokio::sync::{Mutex, OwnedMutexGuard};

/// A value on its way into a statement.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'v> {
    Int(i64),
    Bytes(Option<&'v [u8]>),
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl<'v> From<&'v [u8]> for Value<'v> {
    fn from(value: &'v [u8]) -> Self {
        Self::Bytes(Some(value))
    }
}

impl<'v> From<Option<&'v [u8]>> for Value<'v> {
    fn from(value: Option<&'v [u8]>) -> Self {
        Self::Bytes(value)
    }
}

/// Connections to a database.
#[derive(Debug)]
pub(super) enum Database {
    #[cfg(feature = "sqlite")]
    /// Writers of one process take turns here: waiting for the file's lock means sleeping.
    Sqlite(SqlitePool, std::sync::Arc<Mutex<()>>),
    #[cfg(feature = "postgres")]
    Postgres(PgPool),
}

/// A transaction.
pub(super) enum Tx {
    #[cfg(feature = "sqlite")]
    Sqlite(Transaction<'static, sqlx::Sqlite>, OwnedMutexGuard<()>),
    #[cfg(feature = "postgres")]
    Postgres(Transaction<'static, sqlx::Postgres>),
}

/// A row of an answer. Columns are read by their place.
pub(super) enum Row {
    #[cfg(feature = "sqlite")]
    Sqlite(SqliteRow),
    #[cfg(feature = "postgres")]
    Postgres(PgRow),
}

/// Runs a statement on whatever executes it, for each engine.
macro_rules! rows {
    ($kind:ident, $text:expr, $values:expr, $on:expr) => {{
        let mut query = sqlx::query($text);
        for value in $values {
            query = match value {
                Value::Int(value) => query.bind(*value),
                Value::Bytes(value) => query.bind(*value),
            };
        }
        Ok(query.fetch_all($on).await?.into_iter().map(Row::$kind).collect())
    }};
}

impl Database {
    /// Connects to `sqlite:…` or `postgres://…`, as far as the features go.
    pub(super) async fn connect(url: &str) -> Result<Self, Error> {
        #[cfg(feature = "sqlite")]
        if url.starts_with("sqlite:") {
            let options = SqliteConnectOptions::from_str(url)?
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal);
            let pool = SqlitePoolOptions::new().max_connections(8).connect_with(options).await?;
            return Ok(Self::Sqlite(pool, std::sync::Arc::default()));
        }
        #[cfg(feature = "postgres")]
        if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            let options = sqlx::postgres::PgConnectOptions::from_str(url)?;
            let pool = PgPoolOptions::new().max_connections(16).connect_with(options).await?;
            return Ok(Self::Postgres(pool));
        }
        Err(Error::Configuration("the URL of a database begins with sqlite: or postgres:".into()))
    }

    /// Whether this is PostgreSQL.
    pub(super) const fn is_postgres(&self) -> bool {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(..) => false,
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => true,
        }
    }

    /// What the database may lose of what it has acknowledged, if it is set so.
    pub(super) async fn warning(&self) -> Result<Option<&'static str>, Error> {
        // Of SQLite 0 is OFF, 1 NORMAL.
        let text = if self.is_postgres() {
            "SELECT CASE WHEN current_setting('fsync') = 'off' THEN CAST(2 AS BIGINT) \
             WHEN current_setting('synchronous_commit') = 'off' THEN 3 ELSE 4 END"
        } else {
            "PRAGMA synchronous"
        };
        let found = self.run(text, &[]).await?;
        Ok(match (self.is_postgres(), found.first().map_or(Ok(-1), |row| row.int(0))?) {
            (false, 0) => {
                Some("SQLite's synchronous is OFF: a power failure may cost the whole file")
            }
            (false, 1) => {
                Some("SQLite's synchronous is NORMAL: a power failure costs the last writes")
            }
            (true, 2) => Some("PostgreSQL's fsync is off: a power failure may cost the database"),
            (true, 3) => Some(
                "PostgreSQL's synchronous_commit is off: a crash costs up to a second of writes",
            ),
            _ => None,
        })
    }

    /// Rows of one statement by itself.
    pub(super) async fn run(
        &self,
        text: &'static str,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool, _) => rows!(Sqlite, text, values, pool),
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => rows!(Postgres, text, values, pool),
        }
    }

    pub(super) async fn begin(&self) -> Result<Tx, Error> {
        Ok(match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool, turn) => {
                let turn = std::sync::Arc::clone(turn).lock_owned().await;
                Tx::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await?, turn)
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => Tx::Postgres(pool.begin().await?),
        })
    }
}

impl Tx {
    pub(super) async fn run(
        &mut self,
        text: &'static str,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(tx, _) => rows!(Sqlite, text, values, &mut **tx),
            #[cfg(feature = "postgres")]
            Self::Postgres(tx) => rows!(Postgres, text, values, &mut **tx),
        }
    }

    /// The same, and the rows stay as they are until this transaction is over: for statements that PostgreSQL wants to
    /// hear more of.
    pub(super) async fn lock(
        &mut self,
        texts: (&'static str, &'static str),
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(tx, _) => rows!(Sqlite, texts.0, values, &mut **tx),
            #[cfg(feature = "postgres")]
            Self::Postgres(tx) => rows!(Postgres, texts.1, values, &mut **tx),
        }
    }

    /// Nobody else opens sessions of this user, or ends all of them, until this transaction is over.
    pub(super) async fn lock_user(&mut self, user: &[u8]) -> Result<(), Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(..) => {
                // Nobody else writes at all.
                let _ = user;
                Ok(())
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => {
                // Users who share a lock wait for each other, and that is all.
                let mut hash = digest::Context::new(&digest::SHA256);
                hash.update(b"symbolon application sessions\0");
                hash.update(user);
                let hash = hash.finish();
                let number =
                    hash.as_ref().first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes));
                let text = "SELECT 1 FROM (SELECT pg_advisory_xact_lock($1)) AS locked";
                self.run(text, &[number.into()]).await.map(drop)
            }
        }
    }

    /// Says that losing this transaction in a crash loses nothing of worth.
    pub(super) async fn need_not_last(&mut self) -> Result<(), Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(..) => Ok(()),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => {
                self.run("SET LOCAL synchronous_commit = off", &[]).await.map(drop)
            }
        }
    }

    pub(super) async fn commit(self) -> Result<(), Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(tx, turn) => {
                let committed = tx.commit().await;
                drop(turn);
                committed
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(tx) => tx.commit().await,
        }
    }
}

impl Row {
    pub(super) fn int(&self, column: usize) -> Result<i64, Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(row) => row.try_get(column),
            #[cfg(feature = "postgres")]
            Self::Postgres(row) => row.try_get(column),
        }
    }

    pub(super) fn bytes(&self, column: usize) -> Result<Option<Vec<u8>>, Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(row) => row.try_get(column),
            #[cfg(feature = "postgres")]
            Self::Postgres(row) => row.try_get(column),
        }
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn settings_that_may_lose_something_are_told() {
        use sqlx::sqlite::SqliteSynchronous::{Full, Normal, Off};
        for (synchronous, warns) in [(Full, false), (Normal, true), (Off, true)] {
            let options = SqliteConnectOptions::new().in_memory(true).synchronous(synchronous);
            let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options);
            let database = Database::Sqlite(pool.await.unwrap(), std::sync::Arc::default());
            assert_eq!(database.warning().await.unwrap().is_some(), warns, "{synchronous:?}");
        }
    }
}
