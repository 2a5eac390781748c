//! PostgreSQL, where many write at a time: every change is a transaction of its own, and the log is read back in the
//! order in which it was committed.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use rand_core::Rng;
use symbolon_core::{
    change::Change,
    follower::ENTRIES_MAX,
    id::EntryId,
    log::{Entry, Tag},
    time::Time,
};
use tokio::sync::{Mutex, Notify};

use super::{
    Outcome, StoreError,
    engine::{Connection, sql},
    log::Log,
    pool::{Pool, Tries},
    rows,
    writes::{self, Done, Refused, Work},
};

/// What the transactions of a process share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) pool: Pool,
    pub(super) log: Arc<Log>,
    pub(super) due: Arc<Notify>,
    /// Whoever reads the log has the turn: what it reads is published in order.
    reading: Mutex<()>,
}

/// Sessions whose last-seen times are written together.
const TOUCHED_MAX: usize = 64;

impl Shared {
    pub(super) fn new(pool: Pool, log: Arc<Log>, due: Arc<Notify>) -> Self {
        Self { pool, log, due, reading: Mutex::default() }
    }

    /// Writes it, whole or not at all. It goes on if whoever asked for it has gone away.
    pub(super) async fn write(self: &Arc<Self>, work: Work) -> Result<Outcome, StoreError> {
        let shared = Arc::clone(self);
        let writing = tokio::spawn(async move {
            match work {
                Work::Change(change) => shared.commit(&change).await,
                Work::Touch(mut seen) => {
                    seen.sort_unstable();
                    for seen in seen.chunks(TOUCHED_MAX) {
                        shared.tend(&Work::Touch(seen.into())).await?;
                    }
                    Ok(Outcome::Applied(Vec::new()))
                }
                other => shared.tend(&other).await,
            }
        });
        writing.await.map_err(|_| StoreError::Closed)?
    }

    async fn commit(&self, change: &Change) -> Result<Outcome, StoreError> {
        let committing = AtomicBool::new(false);
        let mut tries = Tries::until(self.pool.deadline());
        let done = loop {
            committing.store(false, Ordering::Relaxed);
            match tries.run(self.try_commit(change, &committing)).await {
                Ok(done) => break done,
                // Once the commit is on its way, nobody but the database knows what became of it.
                Err(Refused::Store(StoreError::Database(error)))
                    if !committing.load(Ordering::Relaxed) && tries.again(&error).await => {}
                Err(Refused::Store(error)) => return Err(error),
                Err(Refused::Gone) => return Ok(Outcome::Gone),
                Err(Refused::Conflict) => return Ok(Outcome::Conflict),
            }
        };
        // Every check of this process refuses them from now on, whoever else was faster to end something.
        self.log.note_ended(&done.ended, done.at);
        if !done.ended.is_empty()
            && let Err(error) = self.catch_up().await
        {
            tracing::warn!(%error, "the log was not read; followers learn of an end a little later");
        }
        if done.made_due {
            self.due.notify_one();
        }
        Ok(Outcome::Applied(done.ended))
    }

    async fn try_commit(&self, change: &Change, committing: &AtomicBool) -> Result<Done, Refused> {
        let mut connection = Connection::Postgres(self.pool.lend().await?);
        connection.run("BEGIN").await?;
        let done = match writes::apply(&mut connection, change).await {
            Ok(done) => done,
            Err(refused) => {
                if !matches!(refused, Refused::Store(_)) {
                    connection.run("ROLLBACK").await?;
                    connection.put_back();
                }
                return Err(refused);
            }
        };
        number(&mut connection, &done.ended, done.at).await?;
        committing.store(true, Ordering::Relaxed);
        connection.run("COMMIT").await?;
        connection.put_back();
        Ok(done)
    }

    /// What decides nothing may be done again, whatever became of it.
    async fn tend(&self, work: &Work) -> Result<Outcome, StoreError> {
        let mut tries = Tries::until(self.pool.deadline());
        loop {
            match tries.run(self.try_tend(work)).await {
                Ok(made_due) => {
                    if made_due {
                        self.due.notify_one();
                    }
                    return Ok(Outcome::Applied(Vec::new()));
                }
                Err(StoreError::Database(error)) if tries.again(&error).await => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn try_tend(&self, work: &Work) -> Result<bool, StoreError> {
        let mut connection = Connection::Postgres(self.pool.lend().await?);
        connection.run("BEGIN").await?;
        if matches!(work, Work::Touch(_)) {
            // It may be lost.
            connection.run("SET LOCAL synchronous_commit = off").await?;
        }
        let made_due = writes::tend(&mut connection, work).await?;
        connection.run("COMMIT").await?;
        connection.put_back();
        Ok(made_due)
    }

    /// Reads what the log has gained. When this returns, everything is published that was committed when it was called.
    pub(super) async fn catch_up(&self) -> Result<(), StoreError> {
        let _turn = self.reading.lock().await;
        loop {
            let head = self.log.head().sequence;
            let query = "SELECT sequence, tag, entry, at FROM revocations WHERE sequence > $1 \
                         ORDER BY sequence LIMIT $2";
            let query = sql(query).bind(rows::int(head)).bind(rows::int(ENTRIES_MAX as u64));
            let rows = self.pool.read(&query).await?;
            let entries = rows
                .iter()
                .map(|row| Ok((rows::entry(row)?, Time::from_millis(row.try_get("at")?))));
            self.log.publish(&entries.collect::<Result<Vec<_>, StoreError>>()?);
            if rows.len() < ENTRIES_MAX {
                return Ok(());
            }
        }
    }
}

/// Numbers the entries of a transaction and writes them, as the last thing before its commit: whoever ends something
/// else waits from here on, so that numbers become visible in their order.
async fn number(
    connection: &mut Connection,
    ended: &[EntryId],
    at: Time,
) -> Result<(), StoreError> {
    let mut tags = vec![Tag::default(); ended.len()];
    tags.iter_mut().for_each(|tag| crate::os::Os.fill_bytes(tag));
    let Some(last) = tags.last() else { return Ok(()) };
    let query =
        "UPDATE log_head SET sequence = sequence + $1, tag = $2 WHERE id = 1 RETURNING sequence";
    let query = sql(query).bind(rows::int(ended.len() as u64)).bind(&last[..]);
    let row = query.fetch_optional(connection).await?.ok_or_else(|| StoreError::Damaged {
        table: "log_head",
        what: "its row is missing".to_owned(),
    })?;
    let first = rows::count(&row, "sequence")? - ended.len() as u64 + 1;
    for ((sequence, tag), id) in (first..).zip(tags).zip(ended) {
        writes::insert_entry(connection, &Entry { sequence, tag, id: *id }, at).await?;
    }
    Ok(())
}
