//! The store: some loads and one [`Store::commit`]. What may be written, and on what condition, is decided in core;
//! here it is applied, whole or not at all, and acknowledged only when it is durable.

mod clients;
mod cluster;
mod engine;
mod error;
mod log;
pub mod moving;
mod nodes;
mod open;
mod pool;
mod rows;
mod schema;
mod shared;
mod skew;
mod sweep;
mod told;
mod writer;
mod writes;

use std::{
    fs::File,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use symbolon_core::{
    change::Change,
    client::ClientId,
    code::{Code, CodeDigest},
    data::Document,
    follower::ENTRIES_MAX,
    id::{EntryId, NodeId, SessionId, UserId},
    keys::KeyRecord,
    log::{Cursor, Entry},
    node::Others,
    oauth::{
        device::{UserCodeDigest, Waiting},
        pushed::{Pushed, PushedDigest},
    },
    secret::SecretText,
    session::{Device, Reason, Session},
    time::{Tick, Time},
    user::{User, Username},
};
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    task::JoinHandle,
};

use self::{
    engine::{Readers, Row, Statement, sql},
    shared::Shared,
    writer::Job,
    writes::Work,
};
use crate::os::tick;

pub use self::{
    cluster::Cluster,
    error::StoreError,
    log::{Log, Told},
    nodes::Node,
    pool::Database,
};

/// What became of a [`Change`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All of it is durable. Carries the ids that the revocation log gained.
    Applied(Vec<EntryId>),
    /// Nothing was written: something that had to be alive is not.
    Gone,
    /// Nothing was written: something has changed since it was loaded. Load again and decide again.
    Conflict,
}

/// A session as the store knows it.
#[derive(Debug, Clone)]
pub enum Found {
    /// It is alive, and this is its user.
    Live(Box<Session>, Option<Box<User>>),
    /// It was ended. Whose it was is kept, so that who ended it can ask again whether it is over.
    Ended(Reason, Option<UserId>),
}

/// What a user allows to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// The client.
    pub client: ClientId,
    /// What it may do.
    pub scope: Box<str>,
    /// Since when it may do some of it.
    pub since: Time,
}

/// The database of one data folder, or one that many processes share.
#[derive(Debug)]
pub struct Store {
    readers: Readers,
    writing: Writing,
    log: Arc<Log>,
    due: Arc<Notify>,
    /// Who claims jobs.
    holder: NodeId,
    _tasks: Tasks,
    // Held for as long as the store is open: one server per data folder.
    _lock: File,
}

/// How it is written.
#[derive(Debug)]
enum Writing {
    /// By one connection, which takes all that waits in one transaction.
    Queue { jobs: mpsc::Sender<Job>, broken: watch::Receiver<Option<StoreError>> },
    /// By many, in a transaction of its own each.
    Shared(Arc<Shared>),
}

/// What goes on behind for as long as the store is open.
#[derive(Debug, Default)]
struct Tasks(Vec<JoinHandle<()>>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// How far everything that has ended is over everywhere.
#[derive(Debug)]
pub struct Confirming {
    /// Whether it is.
    pub confirmed: bool,
    /// How many followers and nodes have acknowledged it.
    pub acknowledged: u32,
    /// How many were silent until they could not decide alone any more.
    pub waited_out: u32,
    /// How many have done neither.
    pub waiting: usize,
}

/// How followers hold leases.
#[derive(Debug, Clone, Copy)]
pub struct Leasing {
    /// How long a lease is.
    pub lease: Duration,
    /// Followers at a time.
    pub followers_max: usize,
}

impl Store {
    /// Applies a change whole or not at all. When this returns [`Outcome::Applied`], it is durable, and every id that
    /// it ended is refused by [`Self::is_ended`].
    ///
    /// # Errors
    /// [`StoreError`]; if the disk failed at the last moment, the change may be there after a restart.
    pub async fn commit(&self, change: Change) -> Result<Outcome, StoreError> {
        self.write(Work::Change(change)).await
    }

    async fn write(&self, work: Work) -> Result<Outcome, StoreError> {
        match &self.writing {
            Writing::Queue { jobs, .. } => {
                let (reply, answer) = oneshot::channel();
                jobs.send(Job { work, reply }).await.map_err(|_| StoreError::Closed)?;
                answer.await.map_err(|_| StoreError::Closed)?
            }
            Writing::Shared(shared) => shared.write(work).await,
        }
    }

    /// Writes down that a follower of this client trusts expiry, unless that was done within `span`: what this server
    /// confirms after a restart must name it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_trust(
        &self,
        client: &str,
        now: Time,
        span: Duration,
    ) -> Result<(), StoreError> {
        if self.log.is_written_trust(client, span) {
            return Ok(());
        }
        let began = tick();
        self.write(Work::Trusting(client.into(), now)).await?;
        self.log.wrote_trust(client, began);
        Ok(())
    }

    /// Notes that sessions were seen. It only ever moves later, never brings one back, and may be lost.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn touch(&self, seen: Vec<(SessionId, Time)>) -> Result<(), StoreError> {
        self.write(Work::Touch(seen)).await.map(drop)
    }

    /// Removes, in a bounded batch, log entries from before `entries_before`, and sessions (with their data) that ended
    /// or ran out before `sessions_before`; those that were silent too long only where the id begins with `slice`.
    /// Entries leave only by age.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sweep(
        &self,
        entries_before: Time,
        sessions_before: Time,
        slice: u8,
    ) -> Result<(), StoreError> {
        // Of the leases that others grant nothing is known here.
        let alone = matches!(self.writing, Writing::Queue { .. });
        let lease_max = self.log.longest().filter(|_| alone);
        let sweep = sweep::Sweep { entries_before, sessions_before, slice, lease_max };
        self.write(Work::Sweep(sweep)).await?;
        self.log.forget_before(entries_before);
        Ok(())
    }

    /// The revocation log.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Whether the revocation log of this store names one of the ids. No I/O.
    pub fn is_ended(&self, ids: &[EntryId]) -> bool {
        self.log.is_ended(ids)
    }

    /// Up to [`ENTRIES_MAX`] entries of the log after a place, and up to where they go. `None`: the cursor is not of this
    /// history, or older than what is kept.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn entries_after(
        &self,
        cursor: &Cursor,
    ) -> Result<Option<(Vec<Entry>, Cursor)>, StoreError> {
        // What is durable but not published yet is told with the next answer.
        let head = self.log.head();
        let query = "SELECT sequence, tag, entry FROM revocations WHERE sequence >= $1 AND sequence <= $2 \
                     ORDER BY sequence LIMIT $3";
        let query = sql(query)
            .bind(rows::int(cursor.sequence))
            .bind(rows::int(head.sequence))
            .bind(rows::int(ENTRIES_MAX as u64));
        let rows = self.read(query).await?;
        let full = rows.len() == ENTRIES_MAX;
        let mut entries = rows.iter().map(rows::entry).collect::<Result<Vec<_>, _>>()?;
        if cursor.sequence > 0 {
            // The cursor's own entry comes first and shows whether it is the one that is meant.
            let own = entries.first().filter(|entry| entry.sequence == cursor.sequence);
            if cursor.log != head.log || own.is_none_or(|entry| entry.tag != cursor.tag) {
                return Ok(None);
            }
            entries.remove(0);
        }
        let reached =
            entries.last().filter(|_| full).map_or(head, |last| Cursor::at(head.log, last));
        Ok(Some((entries, reached)))
    }

    /// Completes when the database file is damaged or its writer died: the server must stop and say so. A database
    /// elsewhere is waited for.
    pub async fn broken(&self) -> StoreError {
        let Writing::Queue { broken, .. } = &self.writing else {
            return std::future::pending().await;
        };
        let mut broken = broken.clone();
        loop {
            if let Some(error) = broken.borrow_and_update().clone() {
                return error;
            }
            if broken.changed().await.is_err() {
                return StoreError::Closed;
            }
        }
    }

    /// Every load goes through here: damage that is met while reading stops the server, too.
    async fn read(&self, query: Statement<'_>) -> Result<Vec<Row>, StoreError> {
        match query.read(&self.readers).await {
            Ok(rows) => Ok(rows),
            Err(cause) => {
                let error = StoreError::from(cause);
                if let Writing::Queue { jobs, .. } = &self.writing
                    && writer::is_fatal(&error)
                {
                    // Nobody waits for the answer.
                    let (reply, _) = oneshot::channel();
                    let _ = jobs.send(Job { work: Work::Stop(error.clone()), reply }).await;
                }
                Err(error)
            }
        }
    }

    /// Waits until everything that has ended so far is acknowledged by everybody who decides alone, or they may not do so
    /// any more; but not longer than until `deadline`.
    ///
    /// It does not matter who ended what: whatever the caller can have seen to be ended was published before the barrier.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn confirm(&self, deadline: Tick) -> Result<Confirming, StoreError> {
        self.barrier().await?;
        let sequence = self.log.head().sequence;
        let own = self.log.confirm(deadline);
        let ((own, confirmation), (all, others)) = match &self.writing {
            Writing::Queue { .. } => (own.await, (true, Others::default())),
            Writing::Shared(shared) => {
                let (own, others) = tokio::join!(own, shared.confirm_others(sequence, deadline));
                (own, others?)
            }
        };
        Ok(Confirming {
            confirmed: own && all,
            acknowledged: confirmation.acknowledged + others.acknowledged,
            waited_out: confirmation.waited_out + others.waited_out,
            waiting: confirmation.waiting() + others.waiting,
        })
    }

    /// The clients of which a follower decided by expiry alone within `span`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn trusting_expiry(
        &self,
        span: Duration,
        now: Time,
    ) -> Result<Vec<Box<str>>, StoreError> {
        if matches!(self.writing, Writing::Queue { .. }) {
            return Ok(self.log.trusting_expiry(span));
        }
        // Those of other nodes, too. Each was written down before it trusted, and a little less often than it asks.
        let query = "SELECT client FROM trusting WHERE seen_at >= $1 ORDER BY client";
        let rows = self.read(sql(query).bind((now - span - span / 8).millis())).await?;
        rows.iter().map(|row| Ok(row.try_get::<&str>("client")?.into())).collect()
    }

    /// Whether other processes write to it, too.
    pub const fn is_shared(&self) -> bool {
        matches!(self.writing, Writing::Shared(_))
    }

    /// Waits until this process may decide by what it holds. Under a lease that costs nothing.
    ///
    /// # Errors
    /// [`StoreError`] if the database does not answer in time.
    pub async fn stand(&self) -> Result<(), StoreError> {
        match &self.writing {
            Writing::Queue { .. } => Ok(()),
            Writing::Shared(shared) => shared.stand().await,
        }
    }

    /// A number that is another one after clients or keys were changed by another process.
    pub fn settings(&self) -> u64 {
        match &self.writing {
            Writing::Queue { .. } => 0,
            Writing::Shared(shared) => shared.settings.load(Ordering::Acquire),
        }
    }

    /// Takes a job upon this process, for so long or until it claims it again. Not if another one has it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn claim(
        &self,
        job: &'static str,
        now: Time,
        span: Duration,
    ) -> Result<bool, StoreError> {
        let query = "INSERT INTO jobs (name, holder, held_until) VALUES ($1, $2, $3) \
                     ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, \
                     held_until = excluded.held_until \
                     WHERE jobs.held_until <= $4 OR jobs.holder = excluded.holder";
        let query = sql(query).bind(job).bind(&self.holder.as_bytes()[..]);
        self.claims(query.bind((now + span).millis()).bind(now.millis())).await
    }

    /// Takes note at all processes that something is used now, by its digest. Not if it was used before; alone a process
    /// remembers that by itself.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn use_once(&self, digest: &[u8; 16], forget_at: Time) -> Result<bool, StoreError> {
        let query = "INSERT INTO used (digest, forget_at) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        self.claims(sql(query).bind(&digest[..]).bind(forget_at.millis())).await
    }

    /// Whether a statement that claims something has. Where nobody else is, nothing has to be claimed.
    async fn claims(&self, query: Statement<'_>) -> Result<bool, StoreError> {
        match &self.writing {
            Writing::Queue { .. } => Ok(true),
            Writing::Shared(shared) => shared.run(&query).await.map(|rows| rows == 1),
        }
    }

    /// Whether standbys follow the database and none of them has every commit: if one of them takes its place, the last
    /// commits are lost.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn has_asynchronous_standbys(&self) -> Result<bool, StoreError> {
        if !self.is_shared() {
            return Ok(false);
        }
        let query = "SELECT current_setting('synchronous_standby_names') = '' \
                     AND EXISTS (SELECT 1 FROM pg_stat_replication) AS lags";
        let rows = self.read(sql(query)).await?;
        Ok(rows.first().map_or(Ok(false), |row| row.try_get("lags"))?)
    }

    /// The processes that share it, and how far each has come. None where there can be but one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        match &self.writing {
            Writing::Queue { .. } => Ok(Vec::new()),
            Writing::Shared(shared) => shared.nodes().await,
        }
    }

    /// When this returns, everything that anybody can have read from the database before was published. With one writer it
    /// takes waiting for its turn; otherwise the log is read.
    ///
    /// # Errors
    /// [`StoreError`] if the database does not answer.
    pub async fn barrier(&self) -> Result<(), StoreError> {
        match &self.writing {
            Writing::Queue { .. } => self.commit(Change::at(Time::from_millis(0))).await.map(drop),
            Writing::Shared(shared) => shared.renew().await,
        }
    }

    /// The session of this id, with its user.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn session(&self, id: SessionId) -> Result<Option<Found>, StoreError> {
        let query = "SELECT s.*, u.id AS u_id, u.version AS u_version, u.name, u.password, u.roles, u.profile, u.epoch AS u_epoch, \
                     u.disabled_at, u.added_at FROM sessions s LEFT JOIN users u ON u.id = s.user_id WHERE s.id = $1";
        let rows = self.read(sql(query).bind(&id.as_bytes()[..])).await?;
        rows.first().map(rows::found).transpose()
    }

    /// The live sessions of a user, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sessions_of(&self, user: UserId) -> Result<Vec<Session>, StoreError> {
        let query = "SELECT * FROM sessions WHERE user_id = $1 AND ended_at IS NULL ORDER BY opened_at DESC LIMIT 1000";
        let rows = self.read(sql(query).bind(&user.as_bytes()[..])).await?;
        rows.iter().map(rows::session).collect()
    }

    /// The live session of a client under a browser session.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn child(
        &self,
        parent: SessionId,
        client: &ClientId,
    ) -> Result<Option<Session>, StoreError> {
        let query = "SELECT * FROM sessions WHERE parent = $1 AND client = $2 AND ended_at IS NULL";
        let query = sql(query).bind(&parent.as_bytes()[..]).bind(client.as_str());
        self.read(query).await?.first().map(rows::session).transpose()
    }

    /// Whether a session, live or ended, is or was under this one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn is_child(&self, id: SessionId, parent: SessionId) -> Result<bool, StoreError> {
        let query = sql("SELECT 1 FROM sessions WHERE id = $1 AND parent = $2");
        let query = query.bind(&id.as_bytes()[..]).bind(&parent.as_bytes()[..]);
        Ok(!self.read(query).await?.is_empty())
    }

    /// Whether a session has not ended.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn is_live(&self, session: SessionId) -> Result<bool, StoreError> {
        let query = sql("SELECT 1 FROM sessions WHERE id = $1 AND ended_at IS NULL");
        Ok(!self.read(query.bind(&session.as_bytes()[..])).await?.is_empty())
    }

    /// The live session of the tokens that outlive the login of an app's session.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn detached(&self, child: SessionId) -> Result<Option<Session>, StoreError> {
        let query = "SELECT * FROM sessions WHERE granted_by = $1 AND ended_at IS NULL";
        let query = sql(query).bind(&child.as_bytes()[..]);
        self.read(query).await?.first().map(rows::session).transpose()
    }

    /// The live session of a machine client.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn machine(&self, client: &ClientId) -> Result<Option<Session>, StoreError> {
        let query = "SELECT * FROM sessions WHERE client = $1 AND user_id IS NULL AND parent IS NULL \
                     AND cookie_generation IS NULL AND ended_at IS NULL";
        let query = sql(query).bind(client.as_str());
        self.read(query).await?.first().map(rows::session).transpose()
    }

    /// The authorization code of this digest, used or not.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn code(&self, digest: &CodeDigest) -> Result<Option<Code>, StoreError> {
        let query = sql("SELECT * FROM codes WHERE digest = $1").bind(&digest.as_bytes()[..]);
        self.read(query).await?.first().map(rows::code).transpose()
    }

    /// The device of this device code that waits, or waits in vain. Not one that was allowed: that has a code.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn device(&self, digest: &CodeDigest) -> Result<Option<Waiting>, StoreError> {
        let query = sql("SELECT * FROM devices WHERE digest = $1").bind(&digest.as_bytes()[..]);
        self.read(query).await?.first().map(rows::device_waiting).transpose()
    }

    /// The same by the code that it shows.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn device_of(&self, code: UserCodeDigest) -> Result<Option<Waiting>, StoreError> {
        let query = sql("SELECT * FROM devices WHERE user_code = $1").bind(&code.as_bytes()[..]);
        self.read(query).await?.first().map(rows::device_waiting).transpose()
    }

    /// The live sessions under a browser session, the oldest first, up to `most`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn children(&self, parent: SessionId, most: u32) -> Result<Vec<Session>, StoreError> {
        let query = "SELECT * FROM sessions WHERE parent = $1 AND ended_at IS NULL ORDER BY opened_at LIMIT $2";
        let query = sql(query).bind(&parent.as_bytes()[..]).bind(i64::from(most));
        self.read(query).await?.iter().map(rows::session).collect()
    }

    /// The pushed request of this digest, used up or not there: `None`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn pushed(&self, digest: PushedDigest) -> Result<Option<Pushed>, StoreError> {
        let query = "SELECT client, form, expires_at FROM pushed WHERE digest = $1";
        let rows = self.read(sql(query).bind(&digest.as_bytes()[..])).await?;
        rows.first().map(|row| rows::pushed(row, digest)).transpose()
    }

    /// What a user allows to clients, by their names.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn allowed(&self, user: UserId) -> Result<Vec<Allowed>, StoreError> {
        let query = "SELECT client, scope, since FROM allowed WHERE user_id = $1 ORDER BY client";
        let rows = self.read(sql(query).bind(&user.as_bytes()[..])).await?;
        rows.iter().map(rows::allowed).collect()
    }

    /// Where the latest sessions of a user are that count at `now`: few, so that the question takes as long for a user
    /// with many sessions as for nobody.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn devices_of(&self, user: UserId, now: Time) -> Result<Vec<Device>, StoreError> {
        let query = "SELECT device FROM sessions WHERE user_id = $1 AND ended_at IS NULL AND ends_at > $2 \
                     ORDER BY opened_at DESC LIMIT 16";
        let query = sql(query).bind(&user.as_bytes()[..]).bind(now.millis());
        self.read(query).await?.iter().map(rows::device).collect()
    }

    /// The user of this id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        let query = concat!(
            "SELECT ",
            "id AS u_id, version AS u_version, name, password, roles, profile, epoch AS u_epoch, \
                     disabled_at, added_at FROM users WHERE id = $1"
        );
        let rows = self.read(sql(query).bind(&id.as_bytes()[..])).await?;
        rows.first().map(rows::user).transpose()
    }

    /// The user of this name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn user_by_name(&self, name: &Username) -> Result<Option<User>, StoreError> {
        let query = "SELECT id AS u_id, version AS u_version, name, password, roles, profile, epoch AS u_epoch, disabled_at, \
                     added_at FROM users WHERE name = $1";
        let rows = self.read(sql(query).bind(name.as_str())).await?;
        rows.first().map(rows::user).transpose()
    }

    /// Up to `most` users after `after`, by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn users(&self, after: &str, most: u32) -> Result<Vec<User>, StoreError> {
        let query = "SELECT id AS u_id, version AS u_version, name, password, roles, profile, epoch AS u_epoch, disabled_at, \
                     added_at FROM users WHERE name > $1 ORDER BY name LIMIT $2";
        let rows = self.read(sql(query).bind(after).bind(i64::from(most))).await?;
        rows.iter().map(rows::user).collect()
    }

    /// The session data of one client, empty where there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn data(
        &self,
        session: SessionId,
        client: &ClientId,
    ) -> Result<Document, StoreError> {
        let query = "SELECT version, document FROM session_data WHERE session = $1 AND client = $2";
        let query = sql(query).bind(&session.as_bytes()[..]).bind(client.as_str());
        let rows = self.read(query).await?;
        rows.first().map_or(Ok(Document::default()), rows::document)
    }

    /// All keys, as they rest.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn keys(&self) -> Result<Vec<KeyRecord>, StoreError> {
        let rows = self.read(sql("SELECT * FROM keys ORDER BY created_at")).await?;
        rows.iter().map(rows::key).collect()
    }

    /// One password hash of each set of Argon2id parameters that rests.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn password_samples(&self) -> Result<Vec<SecretText>, StoreError> {
        // A PHC string is $argon2id$v=19$m=…,t=…,p=…$salt$hash: the parameters begin at character 16.
        // The salt is what is left of it without what parameters are made of.
        let query = "SELECT MIN(password) AS password FROM users GROUP BY replace(substr(password, 16), \
                     ltrim(substr(password, 16), 'mtp=,0123456789'), '')";
        let rows = self.read(sql(query)).await?;
        rows.iter().map(|row| Ok(SecretText::new(row.try_get("password")?))).collect()
    }
}
