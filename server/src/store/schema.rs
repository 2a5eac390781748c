//! Migrations: numbered texts, applied in order at start, each in one transaction. A server of the release before goes on
//! beside the one that migrates, so a text adds (*expand*), and takes nothing away before a release whose servers do not
//! need it any more (*contract*).

use std::path::Path;

use super::{
    StoreError,
    engine::{Connection, Row, sql},
};

/// One step of the schema. Its number is its place, counted from one; it is never changed once it was released.
#[derive(Debug, Clone, Copy)]
struct Migration {
    text: &'static str,
    /// The oldest schema whose programs still work on it: they know nothing of later steps and need nothing of what
    /// these took away. It stands in the database, because a program that is older than this text cannot know it.
    works_from: i64,
}

const SQLITE: &[Migration] =
    &[Migration { text: include_str!("../../migrations/sqlite/0001.sql"), works_from: 1 }];
const POSTGRES: &[Migration] =
    &[Migration { text: include_str!("../../migrations/postgres/0001.sql"), works_from: 1 }];

const fn own(connection: &Connection) -> &'static [Migration] {
    match connection {
        Connection::Sqlite(_) => SQLITE,
        Connection::Postgres(_) => POSTGRES,
    }
}

/// Brings the schema up to date, unless it is newer and works with this program as it is. Whoever does so at the same
/// time waits.
///
/// # Errors
/// [`StoreError::Newer`] if this program does not work on it.
pub(super) async fn update(connection: &mut Connection) -> Result<(), StoreError> {
    let texts = own(connection);
    update_by(connection, texts).await
}

async fn update_by(
    connection: &mut Connection,
    texts: &'static [Migration],
) -> Result<(), StoreError> {
    while let Some((version, migration)) = next(connection, texts).await? {
        // Found and applied in one transaction.
        if let Err(error) = apply(connection, version, migration).await {
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
    texts: &'static [Migration],
) -> Result<Option<(i64, Migration)>, StoreError> {
    connection
        .run(match connection {
            Connection::Sqlite(_) => "BEGIN IMMEDIATE",
            // The number is nobody else's: it begins with "symbolon".
            Connection::Postgres(_) => "BEGIN; SELECT pg_advisory_xact_lock(8320802056087301998)",
        })
        .await?;
    // Whoever may not make tables may work on those that are there.
    if !is_made(connection).await? {
        let create = "CREATE TABLE IF NOT EXISTS schema_versions \
                      (version BIGINT NOT NULL PRIMARY KEY, works_from BIGINT NOT NULL)";
        connection.run(create).await?;
    }
    let (found, known) = (version(connection, texts).await?, texts.len() as i64);
    if found > known {
        tracing::warn!(found, known, "the schema is newer than this version, which works on it");
    }
    let text = usize::try_from(found).ok().and_then(|found| texts.get(found));
    Ok(text.map(|text| (found + 1, *text)))
}

/// The latest step that was taken, if this program works on it.
async fn version(connection: &mut Connection, texts: &[Migration]) -> Result<i64, StoreError> {
    let query = "SELECT COALESCE(MAX(version), 0) AS version, MAX(works_from) AS works_from \
                 FROM schema_versions";
    let row = sql(query).fetch_optional(connection).await?.ok_or(StoreError::Closed)?;
    refuse_newer(&row, texts)?;
    Ok(row.try_get("version")?)
}

fn refuse_newer(row: &Row, texts: &[Migration]) -> Result<(), StoreError> {
    let known = texts.len() as i64;
    match row.try_get::<Option<i64>>("works_from")? {
        Some(needed) if needed > known => Err(StoreError::Newer { needed, known }),
        _ => Ok(()),
    }
}

/// The same while a server works: a later one may have changed the schema meanwhile.
pub(super) fn refuse_newer_database(row: &Row) -> Result<(), StoreError> {
    refuse_newer(row, POSTGRES)
}

/// Whether there is a store.
///
/// # Errors
/// [`StoreError::Newer`] if this program does not work on it.
pub(super) async fn is_there(connection: &mut Connection) -> Result<bool, StoreError> {
    if !is_made(connection).await? {
        return Ok(false);
    }
    let texts = own(connection);
    version(connection, texts).await.map(|_| true)
}

/// Whether there is a store, of whatever version.
pub(super) async fn is_made(connection: &mut Connection) -> Result<bool, StoreError> {
    let query = match connection {
        Connection::Sqlite(_) => {
            "SELECT COUNT(*) > 0 AS there FROM sqlite_master WHERE name = 'schema_versions'"
        }
        Connection::Postgres(_) => "SELECT to_regclass('schema_versions') IS NOT NULL AS there",
    };
    let row = sql(query).fetch_optional(connection).await?;
    Ok(row.map_or(Ok(false), |row| row.try_get("there"))?)
}

async fn apply(
    connection: &mut Connection,
    version: i64,
    migration: Migration,
) -> Result<(), StoreError> {
    connection.run(migration.text).await?;
    let query = sql("INSERT INTO schema_versions (version, works_from) VALUES ($1, $2)");
    query.bind(version).bind(migration.works_from).execute(connection).await?;
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
    let known = own(connection).len();
    let query = sql("SELECT MAX(version) AS version FROM schema_versions");
    let row = query.fetch_optional(connection).await?;
    let found: Option<i64> = row.map_or(Ok(None), |row| row.try_get("version"))?;
    Ok(found == Some(known as i64))
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, time::Duration};

    use super::{super::engine, *};

    const fn migration(text: &'static str, works_from: i64) -> Migration {
        Migration { text, works_from }
    }

    /// A program, a later one that adds, and one that takes away what the first one used.
    const FIRST: Migration = migration("CREATE TABLE things (name TEXT, old TEXT)", 1);
    const EXPAND: Migration = migration(
        "ALTER TABLE things ADD COLUMN new TEXT; INSERT INTO things (name) VALUES ('made once')",
        1,
    );
    const CONTRACT: Migration = migration("ALTER TABLE things DROP COLUMN old", 2);

    struct File(PathBuf);

    impl File {
        fn new() -> Self {
            let id = symbolon_core::id::NodeId::random(&mut crate::os::Os);
            Self(std::env::temp_dir().join(format!("symbolon-schema-{id}.db")))
        }

        async fn open(&self) -> Connection {
            engine::open_file(&self.0, Duration::from_secs(60)).await.unwrap()
        }

        async fn count(&self) -> i64 {
            let query = sql("SELECT COUNT(*) AS things FROM things");
            let row = query.fetch_optional(&mut self.open().await).await.unwrap();
            row.unwrap().try_get("things").unwrap()
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            for end in ["", "-wal", "-shm"] {
                let _ = std::fs::remove_file(format!("{}{end}", self.0.display()));
            }
        }
    }

    /// Programs of three releases meet on one database.
    #[tokio::test]
    async fn who_works_on_which_schema() {
        const ONE: &[Migration] = &[FIRST];
        const TWO: &[Migration] = &[FIRST, EXPAND];
        const THREE: &[Migration] = &[FIRST, EXPAND, CONTRACT];
        let file = File::new();
        for (texts, works) in [
            (ONE, true),
            // The release after it, and back: nothing was taken away.
            (TWO, true),
            (ONE, true),
            (THREE, true),
            (TWO, true),
            (ONE, false),
        ] {
            let updated = update_by(&mut file.open().await, texts).await;
            let newer = matches!(updated, Err(StoreError::Newer { needed: 2, known: 1 }));
            assert!(if works { updated.is_ok() } else { newer }, "{} texts", texts.len());
        }
        assert_eq!(file.count().await, 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn two_that_migrate_at_once_do_it_once() {
        const TWO: &[Migration] = &[FIRST, EXPAND];
        for _ in 0..20 {
            let file = File::new();
            update_by(&mut file.open().await, &TWO[..1]).await.unwrap();
            let (mut one, mut other) = (file.open().await, file.open().await);
            let (one, other) = tokio::join!(update_by(&mut one, TWO), update_by(&mut other, TWO));
            one.and(other).unwrap();
            assert_eq!(file.count().await, 1);
        }
    }

    /// What fails in the middle is as if it had not begun.
    #[tokio::test]
    async fn a_migration_that_fails_leaves_nothing() {
        const BROKEN: Migration = migration("CREATE TABLE more (x TEXT); SELECT nothing", 1);
        let file = File::new();
        update_by(&mut file.open().await, &[FIRST, BROKEN]).await.unwrap_err();
        update_by(&mut file.open().await, &[FIRST, EXPAND]).await.unwrap();
        assert_eq!(file.count().await, 1);
    }

    #[test]
    fn both_engines_have_the_same_steps() {
        let works_from = |texts: &[Migration]| texts.iter().map(|it| it.works_from).collect();
        let (sqlite, postgres): (Vec<_>, Vec<_>) = (works_from(SQLITE), works_from(POSTGRES));
        assert_eq!(sqlite, postgres);
        for (at, works_from) in (1..).zip(sqlite) {
            // The release before works on it.
            assert!(works_from <= (at - 1).max(1), "step {at} shuts out the release before it");
        }
    }
}
