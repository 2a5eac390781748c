//! The store: some loads and one [`Store::commit`]. What may be written, and on what condition, is decided in core;
//! here it is applied, whole or not at all, and acknowledged only when it is durable.

mod engine;
mod log;
mod rows;
mod schema;
mod sweep;
mod told;
mod writer;
mod writes;

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use symbolon_core::{
    change::Change,
    client::{Client, ClientId},
    code::{Code, CodeDigest},
    data::Document,
    follower::ENTRIES_MAX,
    id::{EntryId, SessionId, UserId},
    keys::KeyRecord,
    log::{Cursor, Entry, Tag},
    oauth::{
        device::{UserCodeDigest, Waiting},
        pushed::{Pushed, PushedDigest},
    },
    revocation::Ended,
    secret::SecretText,
    session::{Device, Reason, Session},
    time::Time,
    user::{User, Username},
};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::os::tick;

use self::engine::{Connection, Readers, Row, Statement, sql};

pub use self::log::{Log, Told};

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

    /// SQLite's extended result code.
    fn sqlite_code(&self) -> Option<i32> {
        let Self::Database(cause) = self else { return None };
        cause.as_database_error()?.code()?.parse().ok()
    }
}

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

/// The embedded database of one data folder.
#[derive(Debug)]
pub struct Store {
    readers: Readers,
    writer: mpsc::Sender<writer::Job>,
    log: Arc<Log>,
    broken: watch::Receiver<Option<StoreError>>,
    due: Arc<Notify>,
    // Held for as long as the store is open: one server per data folder.
    _lock: File,
}

/// How long another process may hold a lock on the database, such as a tool that copies it, before changes are refused.
/// Those that come meanwhile wait once more, so nobody waits longer than twice as long.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(2);

/// How followers hold leases.
#[derive(Debug, Clone, Copy)]
pub struct Leasing {
    /// How long a lease is.
    pub lease: Duration,
    /// Followers at a time.
    pub followers_max: usize,
}

/// How many changes wait for the writer before callers wait, too.
const QUEUE_MAX: usize = 4096;

impl Store {
    /// Opens (or creates) the database in `folder` and brings its schema up to date. Ids that were ended at
    /// `ended_since` or later are in the set of [`Self::is_ended`] when this returns.
    ///
    /// # Errors
    /// [`StoreError`]; the folder is then as it was.
    pub async fn open(
        folder: &Path,
        ended_since: Time,
        leasing: Leasing,
    ) -> Result<Self, StoreError> {
        let lock = lock(folder)?;
        let path = folder.join("symbolon.db");
        schema::make_private(&path)?;
        let mut connection = engine::open_file(&path, LOCK_WAIT_MAX).await?;
        schema::update(&mut connection).await?;
        let ended = load_ended(&mut connection, ended_since).await?;
        let (sequence, tag) = load_head(&mut connection).await?;
        let before = raise_lease(&mut connection, leasing.lease).await?;
        let log = Arc::new(Log::new(ended, sequence, tag, &leasing, before));
        for client in load_trusting(&mut connection, ended_since).await? {
            log.trusts_expiry(&client);
        }
        let readers = engine::readers_of_file(&path, LOCK_WAIT_MAX);
        let (writer, jobs) = mpsc::channel(QUEUE_MAX);
        let (report, broken) = watch::channel(None);
        let due = Arc::new(Notify::new());
        let published = writer::Published { log: Arc::clone(&log), due: Arc::clone(&due) };
        tokio::spawn(writer::run(connection, jobs, published, report));
        Ok(Self { readers, writer, log, broken, due, _lock: lock })
    }

    /// Applies a change whole or not at all. When this returns [`Outcome::Applied`], it is durable, and every id that
    /// it ended is refused by [`Self::is_ended`].
    ///
    /// # Errors
    /// [`StoreError`]; if the disk failed at the last moment, the change may be there after a restart.
    pub async fn commit(&self, change: Change) -> Result<Outcome, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.writer
            .send(writer::Job::change(change, reply))
            .await
            .map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
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
        let (reply, answer) = oneshot::channel();
        let job = writer::Job::trusting(client, now, reply);
        self.writer.send(job).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)??;
        self.log.wrote_trust(client, began);
        Ok(())
    }

    /// Notes that sessions were seen. It only ever moves later, never brings one back, and may be lost.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn touch(&self, seen: Vec<(SessionId, Time)>) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.writer.send(writer::Job::touch(seen, reply)).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?.map(drop)
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
        let (reply, answer) = oneshot::channel();
        let lease_max = self.log.longest();
        let sweep = sweep::Sweep { entries_before, sessions_before, slice, lease_max };
        let job = writer::Job::sweep(sweep, reply);
        self.writer.send(job).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)??;
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

    /// Completes when the database is damaged or the writer died: the server must stop and say so.
    pub async fn broken(&self) -> StoreError {
        let mut broken = self.broken.clone();
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
                if writer::is_fatal(&error) {
                    let _ = self.writer.send(writer::Job::stop(error.clone())).await;
                }
                Err(error)
            }
        }
    }

    /// Waits for its turn at the writer. When this returns, everything that anybody can have read from the database was
    /// published before.
    ///
    /// # Errors
    /// [`StoreError`] if the database does not answer.
    pub async fn barrier(&self) -> Result<(), StoreError> {
        self.commit(Change::at(Time::from_millis(0))).await.map(drop)
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

    /// All clients.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn clients(&self) -> Result<Vec<Client>, StoreError> {
        let rows = self.read(sql("SELECT * FROM clients ORDER BY id")).await?;
        rows.iter().map(rows::client).collect()
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

fn lock(folder: &Path) -> Result<File, StoreError> {
    use std::os::unix::fs::OpenOptionsExt;
    let path = folder.join("lock");
    let file_error = |cause| StoreError::File { path: path.clone(), cause: Arc::new(cause) };
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        // Whoever can open it can hold it.
        .mode(0o600)
        .open(&path)
        .map_err(file_error)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Busy(folder.to_owned())),
        Err(TryLockError::Error(cause)) => Err(file_error(cause)),
    }
}

async fn load_ended(connection: &mut Connection, since: Time) -> Result<Ended, StoreError> {
    let query = sql("SELECT entry, at FROM revocations WHERE at >= $1").bind(since.millis());
    let mut ended = Ended::default();
    let insert = |row: &Row| {
        ended.insert(rows::id(row, "entry")?, Time::from_millis(row.try_get("at")?));
        Ok::<_, StoreError>(())
    };
    query.for_each(connection, insert).await?;
    Ok(ended)
}

/// How far the log goes.
async fn load_head(connection: &mut Connection) -> Result<(u64, Tag), StoreError> {
    let query = "SELECT sequence, tag, entry FROM revocations ORDER BY sequence DESC LIMIT 1";
    let Some(row) = sql(query).fetch_optional(connection).await? else {
        return Ok((0, Tag::default()));
    };
    rows::entry(&row).map(|entry| (entry.sequence, entry.tag))
}

/// Writes down how long leases will be, before the first is granted. Returns how long those of earlier processes were;
/// zero if there was none.
async fn raise_lease(connection: &mut Connection, lease: Duration) -> Result<Duration, StoreError> {
    let row = sql("SELECT longest_ms FROM leases").fetch_optional(connection).await?;
    let before = row.map(|row| row.try_get::<i64>("longest_ms")).transpose()?.unwrap_or(0);
    let millis = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
    let query = "INSERT INTO leases (id, longest_ms) VALUES (1, $1) \
                 ON CONFLICT (id) DO UPDATE SET longest_ms = excluded.longest_ms \
                 WHERE leases.longest_ms < excluded.longest_ms";
    sql(query).bind(millis).execute(connection).await?;
    Ok(Duration::from_millis(u64::try_from(before).unwrap_or(0)))
}

/// The clients that trusted expiry at this time or later.
async fn load_trusting(
    connection: &mut Connection,
    since: Time,
) -> Result<Vec<String>, StoreError> {
    let query = sql("SELECT client FROM trusting WHERE seen_at >= $1").bind(since.millis());
    let rows = query.fetch_all(connection).await?;
    rows.iter().map(|row| Ok(row.try_get("client")?)).collect()
}
