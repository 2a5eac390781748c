//! The one writer. It takes every change that waits, applies them in one transaction, and acknowledges each only when
//! that transaction is durable: many logins share one `fsync`.

use std::sync::Arc;

use rand_core::Rng;
use symbolon_core::{change::Change, id::EntryId, log::Entry, time::Time};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::{
    Outcome, StoreError,
    engine::Connection,
    log::Log,
    writes::{self, Refused, Work},
};

/// The most changes in one transaction.
const BATCH_MAX: usize = 256;

/// Something to write, and who waits for it.
pub(super) struct Job {
    pub(super) work: Work,
    pub(super) reply: oneshot::Sender<Result<Outcome, StoreError>>,
}

/// Where others learn what has become durable.
pub(super) struct Published {
    pub(super) log: Arc<Log>,
    /// That a client is due to hear of the end of a session.
    pub(super) due: Arc<Notify>,
}

/// The entries that a transaction adds to the log.
struct Added {
    head: u64,
    entries: Vec<(Entry, Time)>,
    /// Whether it made a client due to hear of an end.
    made_due: bool,
}

impl Added {
    fn add(&mut self, id: EntryId, at: Time) -> Entry {
        let mut tag = [0; 8];
        crate::os::Os.fill_bytes(&mut tag);
        // Only this writer adds, so there is no gap: a transaction that fails takes its numbers with it.
        let entry = Entry { sequence: self.head + 1, tag, id };
        self.head = entry.sequence;
        self.entries.push((entry, at));
        entry
    }
}

/// Runs until every sender is gone, or the database is damaged.
pub(super) async fn run(
    mut connection: Connection,
    mut jobs: mpsc::Receiver<Job>,
    published: Published,
    broken: watch::Sender<Option<StoreError>>,
) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while jobs.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let Published { log, due } = &published;
        let mut added = Added { head: log.head().sequence, entries: Vec::new(), made_due: false };
        match apply(&mut connection, &batch, &mut added).await {
            Ok(outcomes) => {
                // Durable first, then visible to every check and follower, then acknowledged.
                log.publish(&added.entries);
                if added.made_due {
                    due.notify_one();
                }
                for (job, outcome) in batch.drain(..).zip(outcomes) {
                    // A caller that has gone away gets no answer; the change stands.
                    let _ = job.reply.send(Ok(outcome));
                }
            }
            Err(error) => {
                tracing::error!(%error, changes = batch.len(), "the store refused a transaction; nothing of it was written");
                let fatal = is_fatal(&error);
                for job in batch.drain(..) {
                    let _ = job.reply.send(Err(error.clone()));
                }
                if fatal {
                    broken.send_replace(Some(error));
                    return;
                }
            }
        }
    }
}

/// A damaged file or a failing disk: what is on it is not known any more, so nothing may be acknowledged.
pub(super) fn is_fatal(error: &StoreError) -> bool {
    const IOERR: i32 = 10;
    const CORRUPT: i32 = 11;
    const NOTADB: i32 = 26;
    !error.is_full()
        && error.sqlite_code().is_some_and(|code| [IOERR, CORRUPT, NOTADB].contains(&(code & 0xff)))
}

/// One transaction. SQLite itself rolls back when the disk is full, so the way back is taken by hand: what the driver
/// thinks of transactions would not fit any more.
async fn apply(
    connection: &mut Connection,
    batch: &[Job],
    added: &mut Added,
) -> Result<Vec<Outcome>, StoreError> {
    connection.run("BEGIN IMMEDIATE").await?;
    let applied = apply_all(connection, batch, added).await;
    let committed = match applied {
        Ok(outcomes) => connection.run("COMMIT").await.map(|_| outcomes).map_err(StoreError::from),
        Err(error) => Err(error),
    };
    if committed.is_err() {
        // It fails where SQLite was faster; then nothing is left to undo.
        let _ = connection.run("ROLLBACK").await;
    }
    committed
}

async fn apply_all(
    connection: &mut Connection,
    batch: &[Job],
    added: &mut Added,
) -> Result<Vec<Outcome>, StoreError> {
    let mut outcomes = Vec::with_capacity(batch.len());
    for job in batch {
        let outcome = match &job.work {
            Work::Change(change) => apply_change(connection, change, added).await?,
            Work::Stop(error) => return Err(error.clone()),
            other => {
                added.made_due |= writes::tend(connection, other).await?;
                Outcome::Applied(Vec::new())
            }
        };
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

async fn apply_change(
    connection: &mut Connection,
    change: &Change,
    added: &mut Added,
) -> Result<Outcome, StoreError> {
    // One refused write alone has written nothing: only more than one needs a way back.
    let savepoint = change.writes.len() > 1;
    if savepoint {
        connection.run("SAVEPOINT change").await?;
    }
    let outcome = match writes::apply(connection, change).await {
        Ok(done) => {
            let entries = done.ended.iter().map(|id| added.add(*id, done.at));
            let entries: Vec<_> = entries.collect();
            writes::insert_entries(connection, &entries, done.at).await?;
            added.made_due |= done.made_due;
            Outcome::Applied(done.ended)
        }
        Err(Refused::Gone) => Outcome::Gone,
        Err(Refused::Conflict) => Outcome::Conflict,
        Err(Refused::Store(error)) => return Err(error),
    };
    if savepoint {
        if !matches!(outcome, Outcome::Applied(_)) {
            connection.run("ROLLBACK TO change").await?;
        }
        connection.run("RELEASE change").await?;
    }
    Ok(outcome)
}
