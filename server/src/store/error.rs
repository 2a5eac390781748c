//! Why the store did not answer.

use std::{path::PathBuf, sync::Arc, time::Duration};

use sqlx::{error::DatabaseError, postgres::PgDatabaseError, sqlite::SqliteError};

use super::pool;

/// The store could not answer. Nothing was changed, or it is not known whether it was.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Another server works on this data folder.
    #[error("another process uses the data folder {0}")]
    Busy(PathBuf),
    /// The database was written by a newer version of Symbolon.
    #[error("the database has schema {found}, this version knows up to {known}")]
    Newer { found: i64, known: i64 },
    /// A file or folder cannot be used.
    #[error("{path}: {cause}")]
    File { path: PathBuf, cause: Arc<std::io::Error> },
    /// The database says no: full disk, lock, damaged file.
    #[error("the database: {0}")]
    Database(Arc<sqlx::Error>),
    /// A row does not say what it should.
    #[error("a row of {table} is damaged: {what}")]
    Damaged { table: &'static str, what: String },
    /// Times that this process writes would not be those of others.
    #[error("the clock of this host and that of the database differ by {} s", .0.as_secs())]
    Clock(Duration),
    /// Servers of another installation work on it.
    #[error("the server {name} works on this database, too, and its public_url is {public_url}")]
    OtherCluster { name: Box<str>, public_url: Box<str> },
    /// It is being filled from another store, or moved to one.
    #[error("{0}")]
    Marked(&'static str),
    /// The writer has stopped.
    #[error("the store is closed")]
    Closed,
}

impl From<sqlx::Error> for StoreError {
    fn from(cause: sqlx::Error) -> Self {
        Self::Database(Arc::new(cause))
    }
}

impl StoreError {
    /// Whether another process holds a lock on the database.
    pub fn is_locked(&self) -> bool {
        const BUSY: i32 = 5;
        self.sqlite_code().is_some_and(|code| code & 0xff == BUSY)
    }

    /// Whether there was no room for what was to be written. SQLite took it back; the next try may find room.
    pub fn is_full(&self) -> bool {
        const FULL: i32 = 13;
        // A quota or a limit of file sizes looks like this instead, and so does a full disk when the index of the
        // write-ahead log grows.
        const IOERR_WRITE: i32 = 10 | 3 << 8;
        const IOERR_SHMSIZE: i32 = 10 | 19 << 8;
        self.sqlite_code().is_some_and(|code| [FULL, IOERR_WRITE, IOERR_SHMSIZE].contains(&code))
    }

    /// Whether the PostgreSQL server does not speak TLS as it should.
    fn is_of_tls(&self) -> bool {
        matches!(self, Self::Database(cause) if matches!(**cause, sqlx::Error::Tls(_)))
    }

    /// Whether the PostgreSQL server is not there, or another one should be in its place.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Database(cause) if pool::is_away(cause))
    }

    /// PostgreSQL's code of what it refused.
    pub fn sqlstate(&self) -> Option<String> {
        let Self::Database(cause) = self else { return None };
        let error = cause.as_database_error()?.try_downcast_ref::<PgDatabaseError>()?;
        Some(error.code().to_owned())
    }

    /// The stable code, and what to do.
    pub fn advice(&self) -> (&'static str, &'static str) {
        match self {
            Self::Busy(_) => (
                "data_folder_busy",
                "stop the server that uses it, or name another folder with data_dir",
            ),
            Self::Newer { .. } => {
                ("database_newer", "use the version of Symbolon that wrote it, or a newer one")
            }
            Self::Marked(_) => (
                "store_moving",
                "let `symbolon migrate store` or `symbolon restore` finish, or use the store that it was moved to",
            ),
            _ if self.is_locked() => {
                ("database_locked", "end the process that holds a lock on the database file")
            }
            _ if self.is_full() => {
                ("disk_full", "make room for the data folder, or raise the quota of its owner")
            }
            Self::Clock(_) => {
                ("clock_skew", "set the clocks of this host and of the database by a time service")
            }
            Self::OtherCluster { .. } => (
                "other_public_url",
                "give all servers on one database one public_url, and each installation a database of its own",
            ),
            _ if self.is_of_tls() => (
                "database_tls",
                "give the database a certificate that sslrootcert vouches for, or choose another sslmode",
            ),
            _ if self.is_away() => (
                "database_away",
                "start the database, and see that store.url leads there; it must take writes",
            ),
            _ if self.sqlstate().is_some() => (
                "database_refuses",
                "let the user of store.url log in, create tables in its database and write to them",
            ),
            Self::Database(_) => (
                "database_damaged",
                "check the disk and restore a backup; the file was left as it is",
            ),
            _ => ("store", "see that the data folder exists and is yours"),
        }
    }

    /// SQLite's extended result code.
    pub(super) fn sqlite_code(&self) -> Option<i32> {
        let Self::Database(cause) = self else { return None };
        let error = cause.as_database_error()?.try_downcast_ref::<SqliteError>()?;
        error.code()?.parse().ok()
    }
}
