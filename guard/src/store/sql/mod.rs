//! Sessions in an SQL database: SQLite, or PostgreSQL for several nodes.
//!
//! The tables are made at the start, where they are missing. A change is one transaction.
//!
//! # What a killed database loses
//!
//! A store keeps its promises as long as its database keeps what it has answered:
//!
//! | setting | what is lost |
//! |---|---|
//! | PostgreSQL, `fsync` and `synchronous_commit` on (its defaults) | nothing that was answered, but times of last use: they are written without waiting |
//! | PostgreSQL, `synchronous_commit` off | when it is killed, up to a second of writes |
//! | PostgreSQL, `fsync` off | at a power failure perhaps the database; when only the processes die, nothing |
//! | SQLite, `synchronous` FULL (what [`Sql::connect`] sets) | nothing that was answered |
//! | SQLite in WAL mode, `synchronous` NORMAL | at a power failure the last writes; when only the process dies, nothing |
//! | SQLite, `synchronous` OFF | at a power failure perhaps the file; when only the process dies, nothing |
//! | a replica takes over that had not everything | what it had not |
//!
//! What is lost may be an *end*: a session whose logout was answered is live again. Nothing is half there. The start
//! warns of these settings.

use symbolon_core::{id::SessionId, time::Time};

mod engine;
mod rows;
mod steps;

use engine::{Database, Value};
use rows::Read;
use steps::{Locked, live};

use super::{
    Answer, Applied, BATCH_MAX, Delta, Event, EventId, LIST_MAX, Loaded, Opened, Opening, Part,
    Reason, Record, SessionStore, Unavailable,
};

/// The columns of a session.
macro_rules! columns {
    () => {
        "s.id, s.user_name, s.label, s.remembered, s.opened_at, s.seen_at, s.idle_ms, s.ends_at, \
         s.version, COALESCE(s.ended_at, -1), s.reason"
    };
}

/// A statement that locks the rows it finds, for both engines.
macro_rules! locking {
    ($($text:expr),+) => {
        (concat!($($text),+), concat!($($text),+, " FOR UPDATE OF s"))
    };
}

/// Rows that one statement names.
const NAMED_MAX: usize = 16;

/// A statement that names as many rows; where there are fewer, it names some that do not exist.
macro_rules! named {
    ($text:literal) => {
        concat!($text, "($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)")
    };
}

use {columns, locking, named};

/// Times touched in one transaction: it locks as many rows.
const TOUCHES_MAX: usize = 100;

/// Sessions in an SQL database. See [the module](self).
#[derive(Debug)]
pub struct Sql {
    database: Database,
    events: bool,
}

impl Sql {
    /// Connects to `sqlite:sessions.db` or `postgres://user@host/database`, as far as the features `sqlite` and
    /// `postgres` are on, and makes the tables where they are missing. A file of SQLite is made, too.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn connect(url: &str) -> Result<Self, Unavailable> {
        Self::open(Database::connect(url).await.map_err(Unavailable::because)?).await
    }

    /// In a database that the application has open. Writers wait for each other as long as its `busy_timeout` says.
    ///
    /// # Errors
    /// [`Unavailable`].
    #[cfg(feature = "sqlite")]
    pub async fn sqlite(pool: sqlx::SqlitePool) -> Result<Self, Unavailable> {
        Self::open(Database::Sqlite(pool, std::sync::Arc::default())).await
    }

    /// In a database that the application has open.
    ///
    /// # Errors
    /// [`Unavailable`].
    #[cfg(feature = "postgres")]
    pub async fn postgres(pool: sqlx::PgPool) -> Result<Self, Unavailable> {
        Self::open(Database::Postgres(pool)).await
    }

    /// Keeps [events](SessionStore::events) from here on. Somebody has to settle them.
    #[must_use]
    pub fn with_events(self) -> Self {
        Self { events: true, ..self }
    }

    async fn open(database: Database) -> Result<Self, Unavailable> {
        let tables = if database.is_postgres() { rows::POSTGRES } else { rows::SQLITE };
        let mut tx = database.begin().await.map_err(Unavailable::because)?;
        // Nodes that start at once would make the same table twice.
        tx.lock_user(b"tables").await.map_err(Unavailable::because)?;
        for table in tables {
            tx.run(table, &[]).await.map_err(Unavailable::because)?;
        }
        tx.commit().await.map_err(Unavailable::because)?;
        // A database that does not let itself be asked is none the worse.
        if let Ok(Some(warning)) = database.warning().await {
            tracing::warn!("{warning}, ends of sessions among them");
        }
        Ok(Self { database, events: false })
    }
}

fn answer<'a, T: 'a>(
    act: impl Future<Output = Result<T, sqlx::Error>> + Send + 'a,
) -> Answer<'a, T> {
    Box::pin(async { act.await.map_err(Unavailable::because) })
}

impl SessionStore for Sql {
    fn create<'a>(&'a self, opening: &'a Opening, now: Time) -> Answer<'a, Opened> {
        answer(self.open_session(None, opening, now))
    }

    fn load(&self, id: SessionId, part: Part, now: Time) -> Answer<'_, Loaded> {
        answer(async move {
            let found = match part {
                Part::Record => {
                    concat!("SELECT ", columns!(), " FROM symbolon_session s WHERE s.id = $1")
                }
                Part::All => concat!(
                    "SELECT ",
                    columns!(),
                    ", s.data FROM symbolon_session s WHERE s.id = $1"
                ),
            };
            let found = self.database.run(found, &[id.as_bytes()[..].into()]).await?;
            let Some(row) = found.first() else { return Ok(Loaded::Unknown) };
            let values = match part {
                Part::Record => Ok(None),
                Part::All => rows::values(row, 11).map(Some),
            };
            let lapse = match (rows::session(row), values) {
                (Ok(Read::Gone(reason)), _) => return Ok(Loaded::Gone(reason)),
                (Ok(Read::Live(record)), Ok(values)) => match record.lapsed(now) {
                    None => return Ok(Loaded::Live(record, values)),
                    Some(reason) => reason,
                },
                _ => Reason::Unreadable,
            };
            self.end_lapsed(id, lapse, now).await
        })
    }

    fn apply<'a>(&'a self, id: SessionId, delta: &'a Delta, now: Time) -> Answer<'a, Applied> {
        answer(self.write(id, delta, now))
    }

    fn touch<'a>(&'a self, seen: &'a [(SessionId, Time)]) -> Answer<'a, ()> {
        answer(async move {
            let mut seen: Vec<_> = seen.iter().take(BATCH_MAX).copied().collect();
            seen.sort_unstable();
            for batch in seen.chunks(TOUCHES_MAX) {
                let mut tx = self.database.begin().await?;
                tx.need_not_last().await?;
                for (id, at) in batch {
                    tx.run(
                        "UPDATE symbolon_session SET seen_at = $2, due_at = CASE \
                         WHEN ends_at < $2 + idle_ms THEN ends_at ELSE $2 + idle_ms END \
                         WHERE id = $1 AND ended_at IS NULL AND seen_at < $2 AND ends_at > $2 \
                         AND seen_at + idle_ms > $2",
                        &[id.as_bytes()[..].into(), at.millis().into()],
                    )
                    .await?;
                }
                tx.commit().await?;
            }
            Ok(())
        })
    }

    fn renew<'a>(&'a self, old: SessionId, opening: &'a Opening, now: Time) -> Answer<'a, Opened> {
        answer(self.open_session(Some(old), opening, now))
    }

    fn end(&self, id: SessionId, reason: Reason, now: Time) -> Answer<'_, bool> {
        answer(async move {
            let mut tx = self.database.begin().await?;
            let live = match self.locked(&mut tx, id, now).await? {
                Locked::Live(record, _) => {
                    self.end_locked(&mut tx, id, Some(&record), reason, now).await?;
                    true
                }
                _ => false,
            };
            tx.commit().await?;
            Ok(live)
        })
    }

    fn end_user<'a>(
        &'a self,
        user: &'a str,
        but: Option<SessionId>,
        reason: Reason,
        now: Time,
    ) -> Answer<'a, u64> {
        answer(async move {
            let mut tx = self.database.begin().await?;
            tx.lock_user(user.as_bytes()).await?;
            tx.run(
                "INSERT INTO symbolon_session_user_ended AS u (user_name, ended_at) VALUES ($1, $2) \
                 ON CONFLICT (user_name) DO UPDATE SET ended_at = excluded.ended_at \
                 WHERE u.ended_at < excluded.ended_at",
                &[user.as_bytes().into(), now.millis().into()],
            )
            .await?;
            let mut ended = 0;
            for record in self.of_user(&mut tx, user, but).await? {
                let lapsed = record.lapsed(now);
                ended += u64::from(lapsed.is_none());
                let reason = lapsed.unwrap_or(reason);
                self.end_locked(&mut tx, record.id, Some(&record), reason, now).await?;
            }
            tx.commit().await?;
            Ok(ended)
        })
    }

    fn list<'a>(&'a self, user: &'a str, now: Time) -> Answer<'a, Vec<Record>> {
        answer(async move {
            let text = concat!(
                "SELECT ",
                columns!(),
                " FROM symbolon_session s WHERE s.user_name = $1 \
                 AND s.ended_at IS NULL AND s.due_at > $2 \
                 ORDER BY s.opened_at DESC, s.id DESC LIMIT $3"
            );
            let most = i64::try_from(LIST_MAX).unwrap_or(i64::MAX);
            let values = [user.as_bytes().into(), now.millis().into(), most.into()];
            let found = self.database.run(text, &values).await?;
            Ok(found.iter().filter_map(live).collect())
        })
    }

    fn sweep(&self, most: usize, now: Time) -> Answer<'_, bool> {
        answer(self.sweep_batch(most, now))
    }

    fn events(&self, most: usize) -> Answer<'_, Vec<Event>> {
        answer(async move {
            let most = i64::try_from(most.min(BATCH_MAX)).unwrap_or(0);
            let text = "SELECT number, id, user_name, at, reason, from_id \
                        FROM symbolon_session_event ORDER BY number LIMIT $1";
            self.database.run(text, &[most.into()]).await?.iter().map(rows::event).collect()
        })
    }

    fn settle<'a>(&'a self, heard: &'a [EventId]) -> Answer<'a, ()> {
        answer(async move {
            let mut tx = self.database.begin().await?;
            for batch in heard.chunks(NAMED_MAX) {
                // Numbers begin with 1.
                let mut named = [Value::from(0); NAMED_MAX];
                for (at, EventId(number)) in named.iter_mut().zip(batch) {
                    *at = i64::try_from(*number).unwrap_or(0).into();
                }
                let text = named!("DELETE FROM symbolon_session_event WHERE number IN ");
                tx.run(text, &named).await?;
            }
            tx.commit().await
        })
    }
}
