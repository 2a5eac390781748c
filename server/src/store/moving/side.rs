//! One side of a move: a connection that nobody else has.

use std::{
    fs::{self, File},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sqlx::{ConnectOptions, Connection as _, sqlite::SqliteConnectOptions};
use symbolon_core::{id::NodeId, keys::KeyRecord};

use super::{
    super::{
        StoreError,
        engine::{self, Connection, sql, sql_of},
        open,
        pool::{Pool, Tries},
        rows, schema,
    },
    MoveError, Place,
    marks::{self, Mark},
    tables::Table,
};
use crate::os::{Os, now};

/// How long a tool may hold a lock on a database file.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Side {
    pub(super) connection: Connection,
    // A server does not get it.
    _lock: Option<File>,
}

impl Side {
    /// A store that nobody else may work on. It is made if it `may_be_new`.
    pub(super) async fn of(place: &Place, may_be_new: bool) -> Result<Self, MoveError> {
        match place {
            Place::Folder(folder) => {
                let path = folder.join("symbolon.db");
                if !may_be_new {
                    existing(&path)?;
                }
                make_folder(folder)?;
                let lock = Some(open::lock(folder)?);
                schema::make_private(&path)?;
                let mut connection = engine::open_file(&path, LOCK_WAIT_MAX).await?;
                schema::update(&mut connection).await?;
                Ok(Self { connection, _lock: lock })
            }
            Place::Database(_) => {
                let mut side = Self::beside(place).await;
                if let (Err(MoveError::NoStore(_)), true) = (&side, may_be_new) {
                    side = Self::database(place).await;
                }
                let mut side = side?;
                schema::update(&mut side.connection).await?;
                Ok(side)
            }
        }
    }

    /// A store on which servers may work: it is only read.
    pub(super) async fn beside(place: &Place) -> Result<Self, MoveError> {
        if let Place::Folder(folder) = place {
            let path = existing(&folder.join("symbolon.db"))?;
            let connection = engine::open_file(&path, LOCK_WAIT_MAX).await?;
            return Self { connection, _lock: None }.fits().await;
        }
        let mut side = Self::database(place).await?;
        let query = sql("SELECT to_regclass('schema_versions') IS NOT NULL AS there");
        let row = query.fetch_optional(&mut side.connection).await?;
        if !row.map_or(Ok(false), |row| row.try_get("there"))? {
            return Err(MoveError::NoStore("this database".to_owned()));
        }
        side.fits().await
    }

    /// A backup, which is left as it is.
    pub(super) async fn of_backup(file: &Path) -> Result<Self, MoveError> {
        let options = SqliteConnectOptions::new().filename(existing(file)?).read_only(true);
        let connection = Connection::Sqlite(options.connect().await?);
        Self { connection, _lock: None }.fits().await
    }

    async fn fits(mut self) -> Result<Self, MoveError> {
        if schema::is_current(&mut self.connection).await? {
            Ok(self)
        } else {
            Err(MoveError::Schema)
        }
    }

    async fn database(place: &Place) -> Result<Self, MoveError> {
        let Place::Database(database) = place else {
            return Err(MoveError::Unfit("this is no database"));
        };
        let pool = Pool::new(database)?;
        let mut tries = Tries::until(pool.deadline());
        let mut connection = loop {
            match tries.run(pool.lend()).await {
                Ok(lent) => break Connection::Postgres(lent),
                Err(error) if tries.again(&error).await => {}
                Err(error) => return Err(error.into()),
            }
        };
        // A table may be read for long, and the other side may be slow.
        let text = "SET statement_timeout = 0; SET lock_timeout = 0; \
                    SET idle_in_transaction_session_timeout = 0";
        connection.run(text).await?;
        Ok(Self { connection, _lock: None })
    }

    /// A new file that will be a backup.
    pub(super) async fn new_file(path: &Path) -> Result<Self, MoveError> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(file_error(path, error).into());
            }
            _ => {}
        }
        schema::make_private(path)?;
        // One file, without a log beside it. It counts only when it is complete and in its place.
        let options = SqliteConnectOptions::new().filename(path);
        let mut connection = Connection::Sqlite(options.connect().await?);
        schema::update(&mut connection).await?;
        Ok(Self { connection, _lock: None })
    }

    /// Closes a file, so that all of it is on the disk.
    pub(super) async fn close(self) -> Result<(), MoveError> {
        if let Connection::Sqlite(connection) = self.connection {
            connection.close().await?;
        }
        Ok(())
    }

    pub(super) async fn keys(&mut self) -> Result<Vec<KeyRecord>, StoreError> {
        let found = sql("SELECT * FROM keys").fetch_all(&mut self.connection).await?;
        found.iter().map(rows::key).collect()
    }

    /// Whether no server has ever worked on it.
    pub(super) async fn is_empty(&mut self, tables: &[Table]) -> Result<bool, StoreError> {
        for table in tables {
            if table.count(&mut self.connection).await? > 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes what was there before, once, and what is known of how far it was filled.
    pub(super) async fn clear(&mut self, tables: &[Table], mark: &Mark) -> Result<(), StoreError> {
        let to = &mut self.connection;
        if mark.cleared {
            return Ok(());
        }
        to.run("BEGIN").await?;
        for table in tables {
            table.clear(to).await?;
        }
        if matches!(to, Connection::Postgres(_)) {
            to.run("DELETE FROM jobs; DELETE FROM used").await?;
        }
        marks::remove(to).await?;
        marks::write(to, "", &Mark { cleared: true, ..mark.clone() }).await?;
        to.run("COMMIT").await?;
        Ok(())
    }

    /// From now on all is read as it is at this moment.
    pub(super) async fn look(&mut self) -> Result<(), StoreError> {
        let text = match self.connection {
            Connection::Sqlite(_) => "BEGIN",
            Connection::Postgres(_) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        Ok(self.connection.run(text).await?)
    }

    /// The same, and nobody writes until it is over: a process that slept when its lease ran out may try to.
    pub(super) async fn hold(&mut self, tables: &[Table]) -> Result<(), StoreError> {
        if matches!(self.connection, Connection::Sqlite(_)) {
            return self.look().await;
        }
        self.connection.run("BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
        let names = tables.iter().map(|table| table.name.as_str()).collect::<Vec<_>>().join(", ");
        let lock = sql_of(format!("LOCK TABLE {names} IN SHARE MODE"));
        lock.execute(&mut self.connection).await?;
        Ok(())
    }

    /// What a complete copy has of its own, then it is an ordinary store.
    pub(super) async fn settle(&mut self) -> Result<(), StoreError> {
        self.connection.run("BEGIN").await?;
        self.settle_within().await?;
        self.connection.run("COMMIT").await?;
        Ok(())
    }

    pub(super) async fn settle_within(&mut self) -> Result<(), StoreError> {
        let to = &mut self.connection;
        if matches!(to, Connection::Postgres(_)) {
            // Another table, so another history: no cursor of before is continued.
            to.run(
                "ALTER TABLE log_head RENAME TO log_head_before; \
                 CREATE TABLE log_head (LIKE log_head_before INCLUDING ALL); \
                 INSERT INTO log_head SELECT 1, GREATEST(sequence, (SELECT MAX(sequence) FROM revocations)), \
                 COALESCE((SELECT tag FROM revocations ORDER BY sequence DESC LIMIT 1), tag), settings + 1 \
                 FROM log_head_before; \
                 DROP TABLE log_head_before; \
                 SELECT setval(pg_get_serial_sequence('audit', 'sequence'), \
                 (SELECT COALESCE(MAX(sequence), 0) + 1 FROM audit), false)",
            )
            .await?;
            // Followers may still hold leases of before: whoever confirms an end waits for this row, and removes it.
            let query = "INSERT INTO nodes (id, name, public_url, version, started_at, seen_at, acknowledged, \
                         lease_ms, renewals, followers) SELECT $1, $2, '', $3, $4, $4, 0, longest_ms, 0, 0 FROM leases";
            let id = NodeId::random(&mut Os);
            let query = sql(query).bind(&id.as_bytes()[..]).bind("before the move");
            let query = query.bind(env!("CARGO_PKG_VERSION")).bind(now().millis());
            query.execute(to).await?;
        }
        marks::remove(to).await
    }
}

fn existing(path: &Path) -> Result<PathBuf, MoveError> {
    if path.is_file() {
        Ok(path.to_owned())
    } else {
        Err(MoveError::NoStore(path.display().to_string()))
    }
}

fn make_folder(folder: &Path) -> Result<(), StoreError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|cause| file_error(folder, cause))
}

fn file_error(path: &Path, cause: std::io::Error) -> StoreError {
    StoreError::File { path: path.to_owned(), cause: Arc::new(cause) }
}

/// Where a file is written before it is complete.
pub(super) fn part_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// Puts a complete file in its place, which must be free.
pub(super) fn put_in_place(part: &Path, file: &Path) -> Result<(), StoreError> {
    let placed = fs::hard_link(part, file).and_then(|()| fs::remove_file(part));
    let synced = placed.and_then(|()| {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    });
    synced.map_err(|cause| file_error(file, cause))
}
