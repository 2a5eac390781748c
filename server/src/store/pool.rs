//! Connections to PostgreSQL: lent one by one, each answer under a deadline, and what an error means.

use std::{
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sqlx::{
    Connection as _, Executor, PgConnection, Row as _,
    postgres::{PgConnectOptions, PgDatabaseError, PgListener, PgPoolOptions},
};
use symbolon_core::secret::SecretText;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{
    StoreError,
    engine::{Connection, Row, Statement},
};

/// A PostgreSQL database and how it is spoken to.
#[derive(Debug, Clone)]
pub struct Database {
    /// `postgres://user:password@host/name?sslmode=verify-full`.
    pub url: SecretText,
    /// Connections that read at a time, and as many that write.
    pub connections_max: u32,
    /// How long an act of the store may take, with all its tries.
    pub timeout: Duration,
}

/// Connections of one kind. (That of sqlx asks the database whether it is still there whenever a connection comes back:
/// one round trip more for each load and each transaction.)
#[derive(Debug, Clone)]
pub(super) struct Pool {
    shared: Arc<Connections>,
    pub(super) timeout: Duration,
}

#[derive(Debug)]
struct Connections {
    options: PgConnectOptions,
    setup: String,
    /// One for each connection that is lent.
    permits: Arc<Semaphore>,
    /// Those that nobody has. The one that came back last is lent first.
    idle: Mutex<Vec<Kept>>,
}

/// A connection on which nothing is under way.
#[derive(Debug)]
struct Kept {
    connection: PgConnection,
    made_at: Instant,
    idle_since: Instant,
}

/// What part of the time for an act a transaction may be idle between two of its statements.
const IDLE_PART: u128 = 4;

/// How long a connection is idle before it is tried first.
const IDLE_TRUSTED: Duration = Duration::from_secs(1);

/// How long one is kept that nobody needs, and how long any.
const IDLE_MAX: Duration = Duration::from_secs(600);
const AGE_MAX: Duration = Duration::from_secs(1800);

impl Pool {
    /// Connects when the first connection is asked for.
    pub(super) fn new(database: &Database) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(database.url.expose())
            .map_err(StoreError::from)?
            .application_name("symbolon")
            // We read no fractions; and a pool in front of the database refuses settings that it does not know.
            .extra_float_digits(None);
        let millis = database.timeout.as_millis();
        // Whoever is stopped in the middle of a transaction holds up others for a part of the time that they have.
        let idle = millis / IDLE_PART;
        let setup = format!(
            "SET statement_timeout = {millis}; SET lock_timeout = {millis}; \
             SET idle_in_transaction_session_timeout = {idle}; \
             SET default_transaction_isolation = 'read committed'; SET client_min_messages = warning; \
             SELECT set_config('synchronous_commit', 'on', false) \
             WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write')"
        );
        let permits = Arc::new(Semaphore::new(database.connections_max as usize));
        let shared = Connections { options, setup, permits, idle: Mutex::default() };
        Ok(Self { shared: Arc::new(shared), timeout: database.timeout })
    }

    /// When what begins now must be over.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Lends a connection.
    pub(super) async fn lend(&self) -> Result<Lent, sqlx::Error> {
        let lent = timeout(self.timeout, async {
            let permits = Arc::clone(&self.shared.permits);
            let permit = permits.acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?;
            let (connection, made_at) = match self.shared.take().await {
                Some(kept) => (kept.connection, kept.made_at),
                None => (self.shared.connect().await?, Instant::now()),
            };
            Ok(Lent { connection, made_at, pool: Arc::clone(&self.shared), _permit: permit })
        });
        lent.await.map_err(|_| sqlx::Error::PoolTimedOut)?
    }

    /// Calls `told` with the text of every notification, and at the beginning, until the connection breaks.
    pub(super) async fn listen(
        &self,
        channel: &str,
        told: impl Fn(&str),
    ) -> Result<(), sqlx::Error> {
        let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(self.timeout);
        let pool = pool.connect_lazy_with(self.shared.options.clone());
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen(channel).await?;
        told("");
        while let Some(notification) = listener.try_recv().await? {
            told(notification.payload());
        }
        Ok(())
    }

    /// All rows of a statement that only reads. While the database does not answer it is tried again, until the
    /// deadline.
    pub(super) async fn read(&self, statement: &Statement<'_>) -> Result<Vec<Row>, sqlx::Error> {
        let mut tries = Tries::until(self.deadline());
        loop {
            let read = async {
                let mut connection = Connection::Postgres(self.lend().await?);
                let rows = statement.fetch_all(&mut connection).await?;
                connection.put_back();
                Ok(rows)
            };
            match tries.run(read).await {
                Err(error) if tries.again(&error).await => {}
                answer => return answer,
            }
        }
    }
}

/// A copy that follows another server may be behind it: what it says of an ended session was true once.
async fn refuse_standby(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let row = connection.fetch_one("SELECT pg_is_in_recovery()").await?;
    if row.try_get(0)? {
        return Err(Unfit::Standby.into());
    }
    Ok(())
}

/// What is reached, but cannot be worked on as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    #[error("this server is a standby, which only follows")]
    Standby,
    #[error("it takes no writes")]
    ReadOnly,
    #[error("its disk is full")]
    Full,
    #[error("no encrypted connection came about")]
    Tls,
    #[error("something before the database gives one of its sessions to several connections")]
    Pooled,
}

impl Unfit {
    pub(super) fn of(error: &sqlx::Error) -> Option<Self> {
        match error {
            sqlx::Error::Configuration(cause) => cause.downcast_ref().copied(),
            sqlx::Error::Tls(_) => Some(Self::Tls),
            // What is wrong with a certificate comes like this.
            sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                Some(Self::Tls)
            }
            error => match code_of(error)? {
                "25006" => Some(Self::ReadOnly),
                "53100" => Some(Self::Full),
                _ => None,
            },
        }
    }
}

impl From<Unfit> for sqlx::Error {
    fn from(unfit: Unfit) -> Self {
        Self::Configuration(unfit.into())
    }
}

/// Settings, locks and notifications belong to a session of the database. A pool in front of it that lends sessions for
/// a transaction would lose them, the one that makes commits durable, too. It lends the one that was used last: so two
/// connections of ours that are told the same number share it.
pub(super) async fn refuse_pooled(one: &mut Lent, other: &mut Lent) -> Result<(), sqlx::Error> {
    let mut last = None;
    for _ in 0..3 {
        for lent in [&mut *one, &mut *other] {
            let row = lent.connection.fetch_one("SELECT pg_backend_pid()").await?;
            let session: i32 = row.try_get(0)?;
            if last.replace(session) == Some(session) {
                return Err(Unfit::Pooled.into());
            }
        }
    }
    Ok(())
}

impl Connections {
    /// One that is there, and answers.
    async fn take(&self) -> Option<Kept> {
        loop {
            let mut kept = self.idle().pop()?;
            let trusted = kept.idle_since.elapsed() <= IDLE_TRUSTED;
            if trusted || kept.connection.ping().await.is_ok() {
                return Some(kept);
            }
        }
    }

    async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let mut connection = PgConnection::connect_with(&self.options).await?;
        connection.execute(sqlx::AssertSqlSafe(self.setup.clone())).await?;
        refuse_standby(&mut connection).await?;
        Ok(connection)
    }

    /// Keeps it for the next one, and closes what nobody has needed for long.
    fn keep(&self, connection: PgConnection, made_at: Instant) {
        if made_at.elapsed() > AGE_MAX {
            return;
        }
        let mut idle = self.idle();
        idle.push(Kept { connection, made_at, idle_since: Instant::now() });
        if idle.first().is_some_and(|oldest| oldest.idle_since.elapsed() > IDLE_MAX) {
            drop(idle.remove(0));
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Kept>> {
        // Nobody panics with it, and what is in it would be whole.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that was lent. It goes back only if it is known that nothing is under way on it; otherwise it is closed,
/// and the database takes back what was not committed.
#[derive(Debug)]
pub(super) struct Lent {
    connection: PgConnection,
    made_at: Instant,
    pool: Arc<Connections>,
    _permit: OwnedSemaphorePermit,
}

impl Lent {
    pub(super) const fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

impl Connection {
    /// Nothing is under way on it.
    pub(super) fn put_back(self) {
        if let Self::Postgres(Lent { connection, made_at, pool, _permit }) = self {
            // Before its permit: whoever gets that finds it.
            pool.keep(connection, made_at);
        }
    }
}

/// Tries under one deadline, with pauses that grow.
pub(super) struct Tries {
    deadline: Instant,
    pause: Duration,
    /// What was in the way at the last try, if it says more than that time is up.
    unfit: Option<Unfit>,
}

impl Tries {
    pub(super) const fn until(deadline: Instant) -> Self {
        Self { deadline, pause: Duration::from_millis(1), unfit: None }
    }

    /// One try.
    pub(super) async fn run<T, E: From<sqlx::Error>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let late = |_| Err(self.unfit.map_or_else(timed_out, sqlx::Error::from).into());
        timeout_at(self.deadline, work).await.unwrap_or_else(late)
    }

    /// Waits a moment if it is worth while to try again.
    pub(super) async fn again(&mut self, error: &sqlx::Error) -> bool {
        self.unfit = Unfit::of(error);
        let next = Instant::now() + self.pause;
        if next >= self.deadline || !(is_away(error) || is_contended(error)) {
            return false;
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(Duration::from_millis(100));
        true
    }
}

/// The deadline has passed.
pub(super) fn timed_out() -> sqlx::Error {
    sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())
}

/// Whether the database was not there: the next connection may find it, or another one in its place.
pub(super) fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::Tls(_) => true,
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Configuration(_) => true,
        error => code_of(error).is_some_and(|code| {
            // Connections, resources, an operator's hand; a server that only reads has stepped back; the transaction was
            // idle for too long; a newer version has changed a table under a prepared statement.
            code.starts_with("08")
                || code.starts_with("53")
                || code.starts_with("57P")
                || ["25006", "25P03", "0A000"].contains(&code)
        }),
    }
}

/// Whether another transaction was in the way. Nothing was written.
pub(super) fn is_contended(error: &sqlx::Error) -> bool {
    code_of(error).is_some_and(|code| ["40001", "40P01"].contains(&code))
}

fn code_of(error: &sqlx::Error) -> Option<&str> {
    Some(error.as_database_error()?.try_downcast_ref::<PgDatabaseError>()?.code())
}
