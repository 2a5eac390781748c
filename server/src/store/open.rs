//! Opening a store: the schema, then what must be known before the first request.

use std::{
    fs::{self, File, TryLockError},
    path::Path,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use symbolon_core::{
    id::{EntryId, LogId, NodeId},
    lease::waited,
    log::{Cursor, Tag},
    revocation::Ended,
    time::Time,
};
use tokio::sync::{Notify, mpsc, watch};

use super::{
    Cluster, Database, Leasing, Log, Store, StoreError, Tasks, Writing,
    engine::{self, Connection, Readers, Row, sql},
    moving,
    nodes::Place,
    pool::{self, Pool, Tries},
    rows, schema,
    shared::Shared,
    skew::Skew,
    writer,
};
use crate::os::{Os, now, tick};

/// How long another process may hold a lock on the database file, such as a tool that copies it, before changes are
/// refused. Those that come meanwhile wait once more, so nobody waits longer than twice as long.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(2);

/// How many changes wait for the writer before callers wait, too.
const QUEUE_MAX: usize = 4096;

impl Store {
    /// Opens (or creates) the database file in `folder` and brings its schema up to date. Ids that were ended at
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
        moving::refuse_marked(&mut connection).await?;
        // Nobody continues a cursor into a restored backup.
        let id = LogId::random(&mut Os);
        let (ended, head) = load(&mut connection, id, ended_since).await?;
        let before = raise_lease(&mut connection, leasing.lease).await?;
        let log = Arc::new(Log::new(ended, head, &leasing, before));
        for client in load_trusting(&mut connection, ended_since).await? {
            log.trusts_expiry(&client);
        }
        let readers = engine::readers_of_file(&path, LOCK_WAIT_MAX);
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        let (report, broken) = watch::channel(None);
        let due = Arc::new(Notify::new());
        let published = writer::Published { log: Arc::clone(&log), due: Arc::clone(&due) };
        tokio::spawn(writer::run(connection, queue, published, report));
        let writing = Writing::Queue { jobs, broken };
        let (holder, tasks) = (NodeId::random(&mut Os), Tasks::default());
        Ok(Self { readers, writing, log, due, holder, _tasks: tasks, _lock: lock })
    }

    /// Opens a PostgreSQL database and brings its schema up to date; several processes may do so at the same time.
    /// `folder` is this process's alone, `cluster` what it shares with others.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn connect(
        database: &Database,
        folder: &Path,
        ended_since: Time,
        leasing: Leasing,
        cluster: Cluster,
    ) -> Result<Self, StoreError> {
        let lock = lock(folder)?;
        let (readers, writers) = (Pool::new(database)?, Pool::new(database)?);
        let listeners = Pool::new(&Database { connections_max: 1, ..database.clone() })?;
        let mut tries = Tries::until(writers.deadline());
        let mut connection = loop {
            let lent = tries.run(async {
                let (mut lent, mut other) = (writers.lend().await?, readers.lend().await?);
                pool::refuse_pooled(&mut lent, &mut other).await?;
                Connection::Postgres(other).put_back();
                Ok(lent)
            });
            match lent.await {
                Ok(lent) => break Connection::Postgres(lent),
                // It would not speak another way the next time.
                Err(error @ sqlx::Error::Tls(_)) => return Err(error.into()),
                Err(error) if tries.again(&error).await => {}
                Err(error) => return Err(error.into()),
            }
        };
        // What is done once may take its time. The connection is not put back.
        connection.run("SET statement_timeout = 0; SET lock_timeout = 0").await?;
        // Whoever came to the wrong database leaves it as it is.
        if schema::is_there(&mut connection).await? {
            moving::refuse_marked(&mut connection).await?;
            cluster.join(&mut connection).await?;
        }
        schema::update(&mut connection).await?;
        let (history, _) = history(&mut connection).await?;
        cluster.join(&mut connection).await?;
        let (ended, head) = load(&mut connection, history, ended_since).await?;
        // Before the first is granted.
        let longest = raise_lease(&mut connection, leasing.lease).await?;
        // The database may have been put back from a copy that does not know who holds leases.
        let earlier = if longest.is_zero() { longest } else { waited(longest.max(leasing.lease)) };
        let earlier_until = tick() + earlier;
        // It may be the only one.
        drop(connection);
        let log = Arc::new(Log::copy(ended, head, &leasing));
        let due = Arc::new(Notify::new());
        let started_at = now();
        let shared = Arc::new(Shared {
            pool: writers,
            log: Arc::clone(&log),
            due: Arc::clone(&due),
            cluster,
            entry_life: started_at.since(ended_since),
            name: crate::os::process_name().into(),
            started_at,
            place: tokio::sync::Mutex::new(Place::at(head.sequence, earlier_until)),
            poked: Notify::new(),
            settings: AtomicU64::new(0),
        });
        shared.renew().await?;
        let tasks = Tasks(vec![
            tokio::spawn(Arc::clone(&shared).keep_renewed()),
            tokio::spawn(Arc::clone(&shared).listen(listeners)),
        ]);
        let (readers, writing) = (Readers::Postgres(readers), Writing::Shared(shared));
        let holder = NodeId::random(&mut Os);
        Ok(Self { readers, writing, log, due, holder, _tasks: tasks, _lock: lock })
    }
}

pub(super) fn lock(folder: &Path) -> Result<File, StoreError> {
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

/// What must be known of the log.
async fn load(
    connection: &mut Connection,
    log: LogId,
    ended_since: Time,
) -> Result<(Ended, Cursor), StoreError> {
    // Where others write meanwhile, what comes after the head is read again.
    let (sequence, tag) = load_head(connection).await?;
    let mut ended = Ended::default();
    each_ended(connection, ended_since, |id, at| ended.insert(id, at)).await?;
    Ok((ended, Cursor { log, sequence, tag }))
}

/// Names the history that a PostgreSQL server tells: another one after a restored backup, and after a failover, which may
/// have lost what was committed last. A process whose clock is wrong has no part in it.
pub(super) async fn history(connection: &mut Connection) -> Result<(LogId, Skew), StoreError> {
    let query = "SELECT concat_ws(' ', (SELECT system_identifier FROM pg_control_system()), \
                 substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), \
                 (SELECT oid FROM pg_database WHERE datname = current_database()), \
                 'log_head'::regclass::oid) AS history, \
                 CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) AS clock";
    let asked = now();
    let row = sql(query).fetch_optional(connection).await?.ok_or(StoreError::Closed)?;
    let skew = Skew::of(asked, rows::time(&row, "clock")?, now());
    if let Some(span) = skew.excess() {
        return Err(StoreError::Clock(span));
    }
    let text: &str = row.try_get("history")?;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    let mut id = [0; 16];
    id.copy_from_slice(&digest.as_ref()[..16]);
    Ok((LogId::from_bytes(id), skew))
}

/// What was ended at this time or later.
pub(super) async fn each_ended(
    connection: &mut Connection,
    since: Time,
    mut take: impl FnMut(EntryId, Time),
) -> Result<(), StoreError> {
    let query = sql("SELECT entry, at FROM revocations WHERE at >= $1").bind(since.millis());
    let take = |row: &Row| {
        take(rows::id(row, "entry")?, rows::time(row, "at")?);
        Ok::<_, StoreError>(())
    };
    query.for_each(connection, take).await
}

/// How far the log goes.
pub(super) async fn load_head(connection: &mut Connection) -> Result<(u64, Tag), StoreError> {
    let query = match connection {
        Connection::Sqlite(_) => {
            "SELECT sequence, tag FROM revocations ORDER BY sequence DESC LIMIT 1"
        }
        // What it names may have been swept: numbers go on.
        Connection::Postgres(_) => "SELECT sequence, tag FROM log_head WHERE id = 1",
    };
    let Some(row) = sql(query).fetch_optional(connection).await? else {
        return Ok((0, Tag::default()));
    };
    Ok((rows::count(&row, "sequence")?, rows::tag(&row)?))
}

/// Writes down how long leases will be, before the first is granted. Returns how long those of earlier processes were;
/// zero if there was none.
pub(super) async fn raise_lease(
    connection: &mut Connection,
    lease: Duration,
) -> Result<Duration, StoreError> {
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
