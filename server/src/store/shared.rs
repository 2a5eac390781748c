//! PostgreSQL, where many write at a time: every change is a transaction of its own, and the log is read back in the
//! order in which it was committed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use rand_core::Rng;
use symbolon_core::{
    change::{Change, Write},
    log::{Entry, Tag},
    time::Time,
};
use tokio::sync::{Mutex, Notify};

use super::{
    Cluster, Outcome, StoreError,
    engine::{Connection, Statement, sql},
    log::Log,
    nodes::{self, Place},
    pool::{Pool, Tries},
    rows,
    writes::{self, Done, Refused, Work},
};
use crate::os::now;

/// What the transactions of a process share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) pool: Pool,
    pub(super) log: Arc<Log>,
    pub(super) due: Arc<Notify>,
    /// What it shares with all other servers of the database.
    pub(super) cluster: Cluster,
    /// How long an entry of the log is kept.
    pub(super) entry_life: Duration,
    /// What this process calls itself.
    pub(super) name: Box<str>,
    pub(super) started_at: Time,
    pub(super) place: Mutex<Place>,
    /// That there is a reason to renew the lease now.
    pub(super) poked: Notify,
    /// How often clients and keys have changed, as far as is known here.
    pub(super) settings: AtomicU64,
}

/// Sessions whose last-seen times are written together.
const TOUCHED_MAX: usize = 64;

/// Where nodes tell each other that there is something to read. They would find it all the same, a little later.
const CHANNEL: &str = "symbolon";

impl Shared {
    /// What this process signs with when it tells others, so that it does not listen to itself.
    fn signature(&self) -> String {
        self.log.node().map_or_else(String::new, |node| node.to_string())
    }

    /// Listens for ends at other nodes, for as long as the store is open.
    pub(super) async fn listen(self: Arc<Self>, pool: Pool) {
        let own = self.signature();
        let told = |signature: &str| {
            if signature != own {
                self.poked.notify_one();
            }
        };
        loop {
            if let Err(error) = pool.listen(CHANNEL, told).await {
                tracing::debug!(%error, "nobody tells of ends at other nodes now");
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
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
                Work::Sweep(sweep) => {
                    let query = sql("DELETE FROM used WHERE forget_at < $1").bind(now().millis());
                    shared.run(&query).await?;
                    shared.forget_silent().await?;
                    shared.tend(&Work::Sweep(sweep)).await
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
        if !done.ended.is_empty() {
            if let Err(error) = self.catch_up().await {
                tracing::warn!(%error, "the log was not read; followers learn of an end a little later");
            }
            // Others may wait for this node to acknowledge it.
            self.poked.notify_one();
        } else if is_of_settings(change) {
            self.poked.notify_one();
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
        self.number(&mut connection, &done, is_of_settings(change)).await?;
        committing.store(true, Ordering::Relaxed);
        connection.run("COMMIT").await?;
        connection.put_back();
        Ok(done)
    }

    /// Numbers the entries of a transaction and writes them, as the last thing before its commit: whoever ends something
    /// else waits from here on, so that numbers become visible in their order. The others hear of it with the commit.
    async fn number(
        &self,
        connection: &mut Connection,
        done: &Done,
        settings: bool,
    ) -> Result<(), StoreError> {
        let Done { ended, at, .. } = done;
        if ended.is_empty() && !settings {
            return Ok(());
        }
        let mut tags = vec![Tag::default(); ended.len()];
        tags.iter_mut().for_each(|tag| crate::os::Os.fill_bytes(tag));
        let query = "UPDATE log_head SET sequence = sequence + $1, settings = settings + $2, \
                     tag = COALESCE($3, tag) WHERE id = 1 RETURNING sequence, pg_notify($4, $5)";
        let query = sql(query).bind(rows::int(ended.len() as u64)).bind(i64::from(settings));
        let query = query.bind(tags.last().map(|tag| &tag[..]));
        let query = query.bind(CHANNEL).bind(self.signature());
        let row = query.fetch_optional(connection).await?.ok_or_else(|| StoreError::Damaged {
            table: "log_head",
            what: "its row is missing".to_owned(),
        })?;
        let first = rows::count(&row, "sequence")? - ended.len() as u64 + 1;
        let entries = (first..).zip(tags).zip(ended);
        let entries = entries.map(|((sequence, tag), id)| Entry { sequence, tag, id: *id });
        writes::insert_entries(connection, &entries.collect::<Vec<_>>(), *at).await
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

    /// One statement that may be run again. Says how many rows it wrote.
    pub(super) async fn run(&self, statement: &Statement<'_>) -> Result<u64, StoreError> {
        let mut tries = Tries::until(self.pool.deadline());
        loop {
            let ran = tries.run(async {
                let mut connection = Connection::Postgres(self.pool.lend().await?);
                let rows = statement.execute(&mut connection).await?;
                connection.put_back();
                Ok(rows)
            });
            match ran.await {
                Err(error) if tries.again(&error).await => {}
                ran => return ran.map_err(StoreError::from),
            }
        }
    }

    /// Reads what the log has gained, without holding anybody up.
    async fn catch_up(&self) -> Result<(), StoreError> {
        let mut place = self.place.lock().await;
        let read = self.pool.read(&nodes::entries_from(self.log.head().sequence)).await?;
        // What does not follow is for the next renewal.
        self.apply(&mut place, &read).map(drop)
    }
}

/// Whether other nodes must load their clients or keys anew.
fn is_of_settings(change: &Change) -> bool {
    change.writes.iter().any(|write| {
        matches!(
            write,
            Write::AddClient(_)
                | Write::RegisterClient { .. }
                | Write::SaveClient(_)
                | Write::RemoveClient(_)
                | Write::AddKey(_)
                | Write::WithdrawKey(_)
                | Write::RemoveKey(_)
        )
    })
}
