//! Connections to PostgreSQL: lent one by one, each answer under a deadline, and what an error means.

use std::{str::FromStr, sync::Arc, time::Duration};

use sqlx::{
    Connection as _, Executor, PgConnection, Postgres, Row as _,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgDatabaseError, PgListener, PgPool, PgPoolOptions},
};
use symbolon_core::secret::SecretText;
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    StoreError,
    engine::{Connection, Row, Statement},
};

/// A PostgreSQL database and how it is spoken to.
#[derive(Debug, Clone)]
pub struct Database {
    /// `postgres://user:password@host/name?sslmode=verify-full`.
    pub url: SecretText,
    /// What the servers on it are known by. All of them have one.
    pub public_url: Box<str>,
    /// Connections that read at a time, and as many that write.
    pub connections_max: u32,
    /// How long an act of the store may take, with all its tries.
    pub timeout: Duration,
}

/// Connections of one kind.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    pool: PgPool,
    pub(super) timeout: Duration,
}

/// What part of the time for an act a transaction may be idle between two of its statements.
const IDLE_PART: u128 = 4;

/// How long a connection is idle before it is tried first.
const IDLE_TRUSTED: Duration = Duration::from_secs(1);

impl Pool {
    /// Connects when the first connection is asked for.
    pub(super) fn new(database: &Database) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(database.url.expose())
            .map_err(StoreError::from)?
            .application_name("symbolon");
        let millis = database.timeout.as_millis();
        // Whoever is stopped in the middle of a transaction holds up others for a part of the time that they have.
        let idle = millis / IDLE_PART;
        let setup: Arc<str> = format!(
            "SET statement_timeout = {millis}; SET lock_timeout = {millis}; \
             SET idle_in_transaction_session_timeout = {idle}; \
             SET default_transaction_isolation = 'read committed'; SET client_min_messages = warning; \
             SELECT set_config('synchronous_commit', 'on', false) \
             WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write')"
        )
        .into();
        let pool = PgPoolOptions::new()
            .max_connections(database.connections_max)
            .acquire_timeout(database.timeout)
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for > IDLE_TRUSTED {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .after_connect(move |connection, _| {
                let setup = Arc::clone(&setup);
                Box::pin(async move {
                    connection.execute(sqlx::AssertSqlSafe(setup.to_string())).await?;
                    refuse_standby(connection).await
                })
            })
            .connect_lazy_with(options);
        Ok(Self { pool, timeout: database.timeout })
    }

    /// When what begins now must be over.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Lends a connection.
    pub(super) async fn lend(&self) -> Result<Lent, sqlx::Error> {
        Ok(Lent { connection: self.pool.acquire().await?, clean: false })
    }

    /// Calls `told` for every notification, and at the beginning, until the connection breaks.
    pub(super) async fn listen(&self, channel: &str, told: impl Fn()) -> Result<(), sqlx::Error> {
        let mut listener = PgListener::connect_with(&self.pool).await?;
        listener.listen(channel).await?;
        loop {
            told();
            if listener.try_recv().await?.is_none() {
                return Ok(());
            }
        }
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
        return Err(sqlx::Error::Configuration(
            "this server is a standby, which only follows".into(),
        ));
    }
    Ok(())
}

/// A connection that was lent. It goes back only if it is known that nothing is under way on it; otherwise it is closed,
/// and the database takes back what was not committed.
#[derive(Debug)]
pub(super) struct Lent {
    connection: PoolConnection<Postgres>,
    clean: bool,
}

impl Lent {
    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.clean {
            self.connection.close_on_drop();
        }
    }
}

impl Connection {
    /// Nothing is under way on it.
    pub(super) fn put_back(self) {
        if let Self::Postgres(mut lent) = self {
            lent.clean = true;
        }
    }
}

/// Tries under one deadline, with pauses that grow.
pub(super) struct Tries {
    deadline: Instant,
    pause: Duration,
}

impl Tries {
    pub(super) const fn until(deadline: Instant) -> Self {
        Self { deadline, pause: Duration::from_millis(1) }
    }

    /// One try.
    pub(super) async fn run<T, E: From<sqlx::Error>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        timeout_at(self.deadline, work).await.unwrap_or_else(|_| Err(timed_out().into()))
    }

    /// Waits a moment if it is worth while to try again.
    pub(super) async fn again(&mut self, error: &sqlx::Error) -> bool {
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
