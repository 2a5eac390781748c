//! Sessions in an SQL database: SQLite, or PostgreSQL for several nodes.
//!
//! The tables are made at the start, where they are missing. A change is one transaction, as durable as the database is
//! set to make it; only times of last use may be lost in a crash of PostgreSQL.

use symbolon_core::{data::DataVersion, id::SessionId, time::Time};

mod engine;
mod rows;

use engine::{Database, Row, Tx};
use rows::Read;

use super::{
    Answer, Applied, AtMost, BATCH_MAX, Delta, Event, EventId, LIST_MAX, Loaded, Opened, Opening,
    Part, Reason, Record, SessionStore, TOMBSTONE, Unavailable, Values, What, too_many,
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
                    ", d.data FROM symbolon_session s \
                     LEFT JOIN symbolon_session_data d ON d.id = s.id WHERE s.id = $1"
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
            for EventId(number) in heard {
                let number = i64::try_from(*number).unwrap_or(-1);
                let text = "DELETE FROM symbolon_session_event WHERE number = $1";
                tx.run(text, &[number.into()]).await?;
            }
            tx.commit().await
        })
    }
}

/// A session whose row is locked.
enum Locked {
    Live(Record, Values),
    Gone(Reason),
    Unknown,
}

fn live(row: &Row) -> Option<Record> {
    match rows::session(row) {
        Ok(Read::Live(record)) => Some(record),
        _ => None,
    }
}

impl Sql {
    /// Looks at a session, and keeps everybody else from changing it. One that has run out, or cannot be read, ends.
    async fn locked(&self, tx: &mut Tx, id: SessionId, now: Time) -> Result<Locked, sqlx::Error> {
        let text = locking!(
            "SELECT ",
            columns!(),
            ", d.data FROM symbolon_session s \
             LEFT JOIN symbolon_session_data d ON d.id = s.id WHERE s.id = $1"
        );
        let Some(mut row) = tx.lock(text, &[id.as_bytes()[..].into()]).await?.pop() else {
            return Ok(Locked::Unknown);
        };
        let (found, mut values) = (rows::session(&row), rows::values(&row, 11));
        if self.database.is_postgres() && matches!(found, Ok(Read::Live(_))) {
            // Whoever waited for the lock has the new session with the data of before.
            let text = "SELECT data FROM symbolon_session_data WHERE id = $1";
            values = match tx.run(text, &[id.as_bytes()[..].into()]).await?.pop() {
                None => Ok(Values::default()),
                Some(data) => {
                    row = data;
                    rows::values(&row, 0)
                }
            };
        }
        let (record, reason) = match (found, values) {
            (Ok(Read::Gone(reason)), _) => return Ok(Locked::Gone(reason)),
            (Ok(Read::Live(record)), Ok(values)) => match record.lapsed(now) {
                None => return Ok(Locked::Live(record, values)),
                Some(reason) => (Some(record), reason),
            },
            (found, _) => {
                let record = found.ok().and_then(|found| match found {
                    Read::Live(record) => Some(record),
                    Read::Gone(_) => None,
                });
                (record, Reason::Unreadable)
            }
        };
        self.end_locked(tx, id, record.as_ref(), reason, now).await?;
        Ok(Locked::Gone(reason))
    }

    /// Ends a session that ran out while it was looked at, unless somebody has used it since.
    async fn end_lapsed(
        &self,
        id: SessionId,
        lapse: Reason,
        now: Time,
    ) -> Result<Loaded, sqlx::Error> {
        let mut tx = self.database.begin().await?;
        let loaded = match self.locked(&mut tx, id, now).await? {
            Locked::Live(record, values) => Loaded::Live(record, Some(values)),
            Locked::Gone(reason) => Loaded::Gone(reason),
            Locked::Unknown => Loaded::Gone(lapse),
        };
        tx.commit().await?;
        Ok(loaded)
    }

    async fn write(&self, id: SessionId, delta: &Delta, now: Time) -> Result<Applied, sqlx::Error> {
        let mut tx = self.database.begin().await?;
        let applied = match self.locked(&mut tx, id, now).await? {
            Locked::Gone(reason) => Applied::Gone(reason),
            Locked::Unknown => Applied::Unknown,
            Locked::Live(record, _) if delta.expected.is_some_and(|v| v != record.version) => {
                Applied::Conflict(record.version)
            }
            Locked::Live(record, _) if delta.is_empty() => Applied::Done(record.version),
            Locked::Live(mut record, values) => match values.merged(delta) {
                None => Applied::TooLarge,
                Some(values) => {
                    record.version = DataVersion(record.version.0 + 1);
                    record.seen_at = record.seen_at.max(now);
                    tx.run(
                        "UPDATE symbolon_session SET version = $2, seen_at = $3, due_at = $4 \
                         WHERE id = $1",
                        &[
                            id.as_bytes()[..].into(),
                            whole(record.version.0).into(),
                            record.seen_at.millis().into(),
                            rows::due_at(&record).into(),
                        ],
                    )
                    .await?;
                    put(&mut tx, id, &values).await?;
                    Applied::Done(record.version)
                }
            },
        };
        tx.commit().await?;
        Ok(applied)
    }

    /// Opens a session, in place of another where one is named. What is refused is rolled back.
    async fn open_session(
        &self,
        old: Option<SessionId>,
        opening: &Opening,
        now: Time,
    ) -> Result<Opened, sqlx::Error> {
        let mut tx = self.database.begin().await?;
        let user = opening.user.as_deref();
        if let Some(user) = user {
            tx.lock_user(user.as_bytes()).await?;
        }
        // Rows are locked in the order of their ids: with a limit, those of the user and the old one together.
        let others = match (user, opening.at_most) {
            (Some(user), Some(at_most)) => {
                Some((at_most, self.of_user_and(&mut tx, user, old).await?))
            }
            _ => None,
        };
        let (mut values, mut version) = (Values::default(), DataVersion(0));
        let mut claims_user = user.is_some();
        if let Some(old) = old {
            match self.locked(&mut tx, old, now).await? {
                Locked::Live(record, own) => {
                    claims_user &= record.user != opening.user;
                    (values, version) = (own, record.version);
                }
                Locked::Gone(reason) => {
                    // It may have ended just now.
                    tx.commit().await?;
                    return Ok(Opened::Gone(reason));
                }
                Locked::Unknown => return Ok(Opened::Unknown),
            }
        }
        let taken = "SELECT 1 FROM symbolon_session WHERE id = $1";
        if !tx.run(taken, &[opening.id.as_bytes()[..].into()]).await?.is_empty() {
            return Ok(Opened::Taken);
        }
        if claims_user && is_stale(&mut tx, opening).await? {
            return Ok(Opened::Stale);
        }
        let Some(values) = values.merged(&opening.delta) else { return Ok(Opened::TooLarge) };
        if let Some((at_most, others)) = others
            && !self.make_room(&mut tx, at_most, others, old, now).await?
        {
            return Ok(Opened::TooMany);
        }
        let record = opening.record(version, now);
        if !insert(&mut tx, &record).await? {
            // Somebody was faster.
            return Ok(Opened::Taken);
        }
        if values.bytes() > 0 {
            put(&mut tx, record.id, &values).await?;
        }
        if let Some(old) = old {
            self.bury(&mut tx, old, Reason::Renewed, now).await?;
        }
        let what = old.map_or(What::Created, |from| What::Renewed { from });
        self.tell(&mut tx, record.id, record.user.as_deref(), what, now).await?;
        tx.commit().await?;
        Ok(Opened::Live(record))
    }

    /// Ends those of the others who are too many. Returns whether the new one may be.
    async fn make_room(
        &self,
        tx: &mut Tx,
        at_most: AtMost,
        others: Vec<Record>,
        old: Option<SessionId>,
        now: Time,
    ) -> Result<bool, sqlx::Error> {
        let live = |record: &&Record| Some(record.id) != old && record.lapsed(now).is_none();
        let opened = others.iter().filter(live).map(|record| (record.opened_at, record.id));
        let Some(surplus) = too_many(opened.collect(), at_most) else { return Ok(false) };
        for record in others.iter().filter(|record| surplus.contains(&record.id)) {
            self.end_locked(tx, record.id, Some(record), Reason::TooMany, now).await?;
        }
        Ok(true)
    }

    /// The user's sessions that have not ended, locked, but for one.
    async fn of_user(
        &self,
        tx: &mut Tx,
        user: &str,
        but: Option<SessionId>,
    ) -> Result<Vec<Record>, sqlx::Error> {
        let text = locking!(
            "SELECT ",
            columns!(),
            " FROM symbolon_session s WHERE s.user_name = $1 \
             AND s.ended_at IS NULL ORDER BY s.id"
        );
        let found = tx.lock(text, &[user.as_bytes().into()]).await?;
        Ok(found.iter().filter_map(live).filter(|record| Some(record.id) != but).collect())
    }

    /// The user's sessions that have not ended, locked in one order with another one.
    async fn of_user_and(
        &self,
        tx: &mut Tx,
        user: &str,
        other: Option<SessionId>,
    ) -> Result<Vec<Record>, sqlx::Error> {
        let Some(other) = other else { return self.of_user(tx, user, None).await };
        let text = locking!(
            "SELECT ",
            columns!(),
            " FROM symbolon_session s \
             WHERE (s.user_name = $1 AND s.ended_at IS NULL) OR s.id = $2 ORDER BY s.id"
        );
        let found = tx.lock(text, &[user.as_bytes().into(), other.as_bytes()[..].into()]).await?;
        Ok(found.iter().filter_map(live).filter(|r| r.user.as_deref() == Some(user)).collect())
    }

    async fn sweep_batch(&self, most: usize, now: Time) -> Result<bool, sqlx::Error> {
        let mut tx = self.database.begin().await?;
        // Others sweep, too; nobody waits.
        let text = "SELECT s.id, COALESCE(s.ended_at, -1) FROM symbolon_session s \
                    WHERE s.due_at <= $1 ORDER BY s.due_at LIMIT $2";
        let skipping = "SELECT s.id, COALESCE(s.ended_at, -1) FROM symbolon_session s \
                        WHERE s.due_at <= $1 ORDER BY s.due_at LIMIT $2 FOR UPDATE SKIP LOCKED";
        let limit = i64::try_from(most).unwrap_or(i64::MAX);
        let due = tx.lock((text, skipping), &[now.millis().into(), limit.into()]).await?;
        for row in &due {
            let bytes = row.bytes(0)?.unwrap_or_default();
            match (SessionId::try_from(&bytes[..]), row.int(1)) {
                (Ok(id), Ok(ended_at)) if ended_at < 0 => {
                    self.locked(&mut tx, id, now).await?;
                }
                _ => {
                    let text = "DELETE FROM symbolon_session WHERE id = $1";
                    tx.run(text, &[bytes[..].into()]).await?;
                }
            }
        }
        let more = due.len() == most;
        if !more {
            let text = "DELETE FROM symbolon_session_user_ended WHERE ended_at <= $1";
            tx.run(text, &[(now - TOMBSTONE).millis().into()]).await?;
        }
        tx.commit().await?;
        Ok(more)
    }

    async fn end_locked(
        &self,
        tx: &mut Tx,
        id: SessionId,
        record: Option<&Record>,
        reason: Reason,
        now: Time,
    ) -> Result<(), sqlx::Error> {
        self.bury(tx, id, reason, now).await?;
        let user = record.and_then(|record| record.user.as_deref());
        self.tell(tx, id, user, What::Ended(reason), now).await
    }

    /// Leaves the tombstone.
    async fn bury(
        &self,
        tx: &mut Tx,
        id: SessionId,
        reason: Reason,
        now: Time,
    ) -> Result<(), sqlx::Error> {
        tx.run(
            "UPDATE symbolon_session SET ended_at = $2, reason = $3, due_at = $4, label = NULL \
             WHERE id = $1",
            &[
                id.as_bytes()[..].into(),
                now.millis().max(0).into(),
                reason.as_str().as_bytes().into(),
                (now + TOMBSTONE).millis().into(),
            ],
        )
        .await?;
        let text = "DELETE FROM symbolon_session_data WHERE id = $1";
        tx.run(text, &[id.as_bytes()[..].into()]).await.map(drop)
    }

    async fn tell(
        &self,
        tx: &mut Tx,
        id: SessionId,
        user: Option<&str>,
        what: What,
        at: Time,
    ) -> Result<(), sqlx::Error> {
        if !self.events {
            return Ok(());
        }
        let (reason, from) = match what {
            What::Created => (None, None),
            What::Renewed { from } => (None, Some(from)),
            What::Ended(reason) => (Some(reason.as_str().as_bytes()), None),
        };
        tx.run(
            "INSERT INTO symbolon_session_event (id, user_name, at, reason, from_id) \
             VALUES ($1, $2, $3, $4, $5)",
            &[
                id.as_bytes()[..].into(),
                user.map(str::as_bytes).into(),
                at.millis().into(),
                reason.into(),
                from.as_ref().map(|from| &from.as_bytes()[..]).into(),
            ],
        )
        .await
        .map(drop)
    }
}

async fn is_stale(tx: &mut Tx, opening: &Opening) -> Result<bool, sqlx::Error> {
    let Some(user) = &opening.user else { return Ok(false) };
    let text = "SELECT 1 FROM symbolon_session_user_ended WHERE user_name = $1 AND ended_at > $2";
    let values = [user.as_bytes().into(), opening.began_at.millis().into()];
    Ok(!tx.run(text, &values).await?.is_empty())
}

/// Returns whether nobody else had the id.
async fn insert(tx: &mut Tx, record: &Record) -> Result<bool, sqlx::Error> {
    let idle_ms = i64::try_from(record.limits.idle.as_millis()).unwrap_or(i64::MAX);
    let inserted = tx
        .run(
            "INSERT INTO symbolon_session (id, user_name, label, remembered, opened_at, seen_at, \
             idle_ms, ends_at, version, due_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
             ON CONFLICT (id) DO NOTHING RETURNING version",
            &[
                record.id.as_bytes()[..].into(),
                record.user.as_deref().map(str::as_bytes).into(),
                record.label.as_deref().map(str::as_bytes).into(),
                i64::from(record.remembered).into(),
                record.opened_at.millis().into(),
                record.seen_at.millis().into(),
                idle_ms.into(),
                record.limits.ends_at.millis().into(),
                whole(record.version.0).into(),
                rows::due_at(record).into(),
            ],
        )
        .await?;
    Ok(!inserted.is_empty())
}

/// Writes the data of a session whose row is locked.
async fn put(tx: &mut Tx, id: SessionId, values: &Values) -> Result<(), sqlx::Error> {
    tx.run(
        "INSERT INTO symbolon_session_data (id, data) VALUES ($1, $2) \
         ON CONFLICT (id) DO UPDATE SET data = excluded.data",
        &[id.as_bytes()[..].into(), values.as_bytes().into()],
    )
    .await
    .map(drop)
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
