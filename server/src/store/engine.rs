//! One text of SQL for every engine: statements with `$1` placeholders, typed values, rows that are read by name.

use std::{borrow::Cow, ops::RangeInclusive, path::Path, time::Duration};

use futures_util::TryStreamExt;
use sqlx::{
    AssertSqlSafe, ConnectOptions, Decode, Executor, Postgres, Row as _, Sqlite, SqliteConnection,
    SqlitePool, Type,
    postgres::{PgArguments, PgRow},
    query::Query,
    sqlite::{
        SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow,
        SqliteSynchronous,
    },
};

use super::pool::{Lent, Pool};

/// A value on its way into a statement. What is not there still has a type: not every engine guesses it.
#[derive(Debug)]
pub(super) enum Value<'q> {
    Int(Option<i64>),
    Bool(Option<bool>),
    Text(Option<Cow<'q, str>>),
    Bytes(Option<&'q [u8]>),
}

/// `From` for a type and for its `Option`.
macro_rules! values {
    ($($type:ty => $variant:ident($convert:expr)),* $(,)?) => {$(
        impl<'q> From<$type> for Value<'q> {
            fn from(value: $type) -> Self {
                Self::$variant(Some($convert(value)))
            }
        }

        impl<'q> From<Option<$type>> for Value<'q> {
            fn from(value: Option<$type>) -> Self {
                Self::$variant(value.map($convert))
            }
        }
    )*};
}

values! {
    i64 => Int(i64::from),
    bool => Bool(bool::from),
    &'q str => Text(Cow::Borrowed),
    String => Text(Cow::Owned),
    &'q [u8] => Bytes(<&[u8]>::from),
}

/// A statement with its values.
#[derive(Debug)]
pub(super) struct Statement<'q> {
    text: Cow<'static, str>,
    values: Vec<Value<'q>>,
}

/// A statement without values yet.
pub(super) const fn sql<'q>(text: &'static str) -> Statement<'q> {
    Statement { text: Cow::Borrowed(text), values: Vec::new() }
}

/// The same of a text that was put together, of nothing but names of the schema.
pub(super) fn sql_of<'q>(text: String) -> Statement<'q> {
    Statement { text: text.into(), values: Vec::new() }
}

/// `($2,$3,$4)`.
pub(super) fn placeholders(numbers: RangeInclusive<usize>) -> String {
    let all = numbers.map(|number| format!("${number}")).collect::<Vec<_>>();
    format!("({})", all.join(","))
}

/// Pieces of which there are few lengths, so that few texts are prepared for them.
pub(super) fn in_powers_of_two<T>(mut all: &[T]) -> impl Iterator<Item = &[T]> {
    const MOST: usize = 64;
    std::iter::from_fn(move || {
        let length = 1 << all.len().min(MOST).checked_ilog2()?;
        let (piece, rest) = all.split_at(length);
        all = rest;
        Some(piece)
    })
}

impl<'q> Statement<'q> {
    /// The value of the next placeholder.
    pub(super) fn bind(mut self, value: impl Into<Value<'q>>) -> Self {
        self.values.push(value.into());
        self
    }

    /// How many rows it wrote.
    pub(super) async fn execute(&self, connection: &mut Connection) -> Result<u64, sqlx::Error> {
        Ok(match connection {
            Connection::Sqlite(to) => self.for_sqlite()?.execute(to).await?.rows_affected(),
            Connection::Postgres(to) => {
                self.for_postgres()?.execute(to.connection()).await?.rows_affected()
            }
        })
    }

    /// All rows.
    pub(super) async fn fetch_all(
        &self,
        connection: &mut Connection,
    ) -> Result<Vec<Row>, sqlx::Error> {
        Ok(match connection {
            Connection::Sqlite(to) => {
                self.for_sqlite()?.fetch_all(to).await?.into_iter().map(Row::Sqlite).collect()
            }
            Connection::Postgres(to) => {
                let rows = self.for_postgres()?.fetch_all(to.connection()).await?;
                rows.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    /// The first row, if there is one.
    pub(super) async fn fetch_optional(
        &self,
        connection: &mut Connection,
    ) -> Result<Option<Row>, sqlx::Error> {
        Ok(match connection {
            Connection::Sqlite(to) => self.for_sqlite()?.fetch_optional(to).await?.map(Row::Sqlite),
            Connection::Postgres(to) => {
                self.for_postgres()?.fetch_optional(to.connection()).await?.map(Row::Postgres)
            }
        })
    }

    /// One row after the other: many of them at once take ten times what is kept.
    pub(super) async fn for_each<E: From<sqlx::Error>>(
        &self,
        connection: &mut Connection,
        mut take: impl FnMut(&Row) -> Result<(), E>,
    ) -> Result<(), E> {
        match connection {
            Connection::Sqlite(to) => {
                let mut rows = self.for_sqlite()?.fetch(to);
                while let Some(row) = rows.try_next().await? {
                    take(&Row::Sqlite(row))?;
                }
            }
            Connection::Postgres(to) => {
                let mut rows = self.for_postgres()?.fetch(to.connection());
                while let Some(row) = rows.try_next().await? {
                    take(&Row::Postgres(row))?;
                }
            }
        }
        Ok(())
    }

    /// All rows, by a connection that only reads.
    pub(super) async fn read(&self, readers: &Readers) -> Result<Vec<Row>, sqlx::Error> {
        match readers {
            Readers::Sqlite(pool) => {
                let rows = self.for_sqlite()?.fetch_all(pool).await?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
            Readers::Postgres(pool) => pool.read(self).await,
        }
    }

    /// Locks the row that this reads until the transaction ends. Where one connection writes alone, nothing is to be
    /// locked, and nothing is asked.
    pub(super) async fn lock(&self, connection: &mut Connection) -> Result<(), sqlx::Error> {
        if matches!(connection, Connection::Postgres(_)) {
            self.execute(connection).await?;
        }
        Ok(())
    }

    fn for_sqlite(&self) -> Result<Query<'static, Sqlite, SqliteArguments>, sqlx::Error> {
        use sqlx::Arguments;
        let mut arguments = SqliteArguments::default();
        for value in &self.values {
            match value {
                Value::Int(value) => arguments.add(*value),
                Value::Bool(value) => arguments.add(*value),
                Value::Text(value) => arguments.add(value.as_deref()),
                Value::Bytes(value) => arguments.add(*value),
            }
            .map_err(sqlx::Error::Encode)?;
        }
        Ok(sqlx::query_with(AssertSqlSafe(self.text.clone()), arguments))
    }

    fn for_postgres(&self) -> Result<Query<'static, Postgres, PgArguments>, sqlx::Error> {
        use sqlx::Arguments;
        let mut arguments = PgArguments::default();
        for value in &self.values {
            match value {
                Value::Int(value) => arguments.add(*value),
                Value::Bool(value) => arguments.add(*value),
                Value::Text(value) => arguments.add(value.as_deref()),
                Value::Bytes(value) => arguments.add(*value),
            }
            .map_err(sqlx::Error::Encode)?;
        }
        Ok(sqlx::query_with(AssertSqlSafe(self.text.clone()), arguments))
    }
}

/// A row of an answer.
#[derive(Debug)]
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// The value of a column.
    pub(super) fn try_get<'r, T>(&'r self, column: &str) -> Result<T, sqlx::Error>
    where
        T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>,
    {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }
}

/// A connection that writes.
#[derive(Debug)]
pub(super) enum Connection {
    Sqlite(SqliteConnection),
    Postgres(Lent),
}

impl Connection {
    /// Runs statements without values.
    pub(super) async fn run(&mut self, text: &'static str) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(connection) => connection.execute(AssertSqlSafe(text)).await.map(drop),
            Self::Postgres(lent) => lent.connection().execute(AssertSqlSafe(text)).await.map(drop),
        }
    }
}

/// Connections that only read.
#[derive(Debug)]
pub(super) enum Readers {
    Sqlite(SqlitePool),
    Postgres(Pool),
}

/// How to open a database file.
fn options(path: &Path, lock_wait: Duration) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(lock_wait)
}

/// Opens a database file, or makes it: the one connection that writes.
pub(super) async fn open_file(path: &Path, lock_wait: Duration) -> Result<Connection, sqlx::Error> {
    let options = options(path, lock_wait).create_if_missing(true);
    Ok(Connection::Sqlite(options.connect().await?))
}

/// Those that read the same file. The first connects when it is asked.
pub(super) fn readers_of_file(path: &Path, lock_wait: Duration) -> Readers {
    let pool = SqlitePoolOptions::new()
        .max_connections(4)
        .acquire_timeout(Duration::from_secs(5))
        .connect_lazy_with(options(path, lock_wait).read_only(true));
    Readers::Sqlite(pool)
}
