//! The tables that a store consists of, as its schema says, and their rows in a form that is the same in every engine.

use std::fmt::Write as _;

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};
use sqlx::{ConnectOptions, sqlite::SqliteConnectOptions};

use super::super::{
    StoreError,
    engine::{Connection, Row, Statement, sql, sql_of},
    schema,
};

/// Rows that one statement writes.
const ROWS_PER_STATEMENT: usize = 100;

/// What has no place in another store.
const OWN: [&str; 2] = ["schema_versions", "moving"];

/// A table that both engines have.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: String,
    columns: Vec<Column>,
    /// Places of the columns of the primary key, in its order.
    key: Vec<usize>,
}

#[derive(Debug)]
struct Column {
    name: String,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Int,
    Bool,
    Text,
    Bytes,
}

/// One value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Cell {
    Int(i64),
    Bool(bool),
    Text(String),
    Bytes(Vec<u8>),
}

/// The values of a row, in the order of the columns.
pub(super) type Cells = Vec<Option<Cell>>;

/// What a table holds: the same in two engines if its rows are the same, in whatever order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) rows: u64,
    /// The sum of the SHA-256 of every row.
    total: [u128; 2],
}

impl Sum {
    fn add(&mut self, row: &[Option<Cell>]) {
        let digest = digest::digest(&digest::SHA256, &encoded(row));
        for (total, part) in self.total.iter_mut().zip(digest.as_ref().as_chunks::<16>().0) {
            *total = total.wrapping_add(u128::from_be_bytes(*part));
        }
        self.rows += 1;
    }

    /// For people: 16 of its bytes.
    pub(super) fn text(&self) -> String {
        format!("{:032x}", self.total[0] ^ self.total[1])
    }
}

/// Each value begins with its kind, and with its length where that is not fixed: no two rows are written alike.
fn encoded(row: &[Option<Cell>]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512);
    for cell in row {
        let (kind, content): (u8, &[u8]) = match cell {
            None => (0, &[]),
            Some(Cell::Int(value)) => (1, &value.to_be_bytes()),
            Some(Cell::Bool(value)) => (2, &[u8::from(*value)]),
            Some(Cell::Text(text)) => (3, text.as_bytes()),
            Some(Cell::Bytes(value)) => (4, value),
        };
        bytes.push(kind);
        bytes.extend((content.len() as u64).to_be_bytes());
        bytes.extend(content);
    }
    bytes
}

/// Every table that a store of either engine has, as the schema of this version says.
pub(super) async fn all() -> Result<Vec<Table>, StoreError> {
    let mut memory = Connection::Sqlite(SqliteConnectOptions::new().connect().await?);
    schema::update(&mut memory).await?;
    let query = "SELECT m.name AS owner, c.name AS name, c.type AS type, c.pk AS pk \
                 FROM sqlite_master m, pragma_table_info(m.name) c \
                 WHERE m.type = 'table' ORDER BY m.name, c.cid";
    let mut tables: Vec<Table> = Vec::new();
    for row in sql(query).fetch_all(&mut memory).await? {
        let owner: String = row.try_get("owner")?;
        if OWN.contains(&owner.as_str()) || owner.starts_with("sqlite_") {
            continue;
        }
        if tables.last().is_none_or(|last| last.name != owner) {
            tables.push(Table { name: owner, columns: Vec::new(), key: Vec::new() });
        }
        let Some(table) = tables.last_mut() else { continue };
        // Keys are written in the order of the columns throughout.
        if row.try_get::<i64>("pk")? > 0 {
            table.key.push(table.columns.len());
        }
        table.columns.push(Column { name: row.try_get("name")?, kind: kind(&row)? });
    }
    Ok(tables)
}

fn kind(row: &Row) -> Result<Kind, StoreError> {
    Ok(match row.try_get::<&str>("type")? {
        "BIGINT" | "INTEGER" => Kind::Int,
        "BOOLEAN" => Kind::Bool,
        "TEXT" => Kind::Text,
        "BLOB" => Kind::Bytes,
        other => {
            return Err(StoreError::Damaged { table: "sqlite_master", what: other.to_owned() });
        }
    })
}

impl Table {
    fn names(&self, columns: impl Iterator<Item = usize>) -> String {
        columns.map(|at| self.columns[at].name.as_str()).collect::<Vec<_>>().join(", ")
    }

    fn read(&self, row: &Row) -> Result<Cells, sqlx::Error> {
        let cell = |column: &Column| {
            let name = column.name.as_str();
            Ok(match column.kind {
                Kind::Int => row.try_get::<Option<i64>>(name)?.map(Cell::Int),
                Kind::Bool => row.try_get::<Option<bool>>(name)?.map(Cell::Bool),
                Kind::Text => row.try_get::<Option<String>>(name)?.map(Cell::Text),
                Kind::Bytes => row.try_get::<Option<Vec<u8>>>(name)?.map(Cell::Bytes),
            })
        };
        self.columns.iter().map(cell).collect()
    }

    /// Up to so many rows after a key, in the order of the engine that is asked.
    pub(super) async fn page(
        &self,
        connection: &mut Connection,
        after: Option<&Cells>,
        rows_max: usize,
    ) -> Result<Vec<Cells>, StoreError> {
        let (all, key) = (self.names(0..self.columns.len()), self.names(self.key.iter().copied()));
        let condition = after.map_or_else(String::new, |after| {
            format!("WHERE ({key}) > ({})", placeholders(0, after.len()))
        });
        let text =
            format!("SELECT {all} FROM {} {condition} ORDER BY {key} LIMIT {rows_max}", self.name);
        let cells = after.into_iter().flatten();
        let query = cells.fold(sql_of(text), |query, cell| bind(query, cell.as_ref(), Kind::Int));
        let rows = query.fetch_all(connection).await?;
        Ok(rows.iter().map(|row| self.read(row)).collect::<Result<_, _>>()?)
    }

    /// The key of a row.
    pub(super) fn key_of(&self, row: &[Option<Cell>]) -> Cells {
        self.key.iter().map(|at| row[*at].clone()).collect()
    }

    /// Writes rows, except those whose key is there.
    pub(super) async fn write(
        &self,
        connection: &mut Connection,
        rows: &[Cells],
    ) -> Result<(), StoreError> {
        let (all, key) = (self.names(0..self.columns.len()), self.names(self.key.iter().copied()));
        for rows in rows.chunks(ROWS_PER_STATEMENT) {
            let width = self.columns.len();
            let values =
                (0..rows.len()).map(|row| format!("({})", placeholders(row * width, width)));
            let values = values.collect::<Vec<_>>().join(", ");
            let text = format!(
                "INSERT INTO {} ({all}) VALUES {values} ON CONFLICT ({key}) DO NOTHING",
                self.name
            );
            let cells = rows.iter().flat_map(|row| row.iter().zip(&self.columns));
            let query = cells.fold(sql_of(text), |query, (cell, column)| {
                bind(query, cell.as_ref(), column.kind)
            });
            query.execute(connection).await?;
        }
        Ok(())
    }

    /// How many rows there are.
    pub(super) async fn count(&self, connection: &mut Connection) -> Result<u64, StoreError> {
        let query = sql_of(format!("SELECT COUNT(*) AS n FROM {}", self.name));
        let row = query.fetch_optional(connection).await?;
        let count = row.map_or(Ok(0), |row| row.try_get::<i64>("n"))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Reads all of it.
    pub(super) async fn sum(&self, connection: &mut Connection) -> Result<Sum, StoreError> {
        let text = format!("SELECT {} FROM {}", self.names(0..self.columns.len()), self.name);
        let mut sum = Sum::default();
        let add = |row: &Row| {
            sum.add(&self.read(row)?);
            Ok::<_, StoreError>(())
        };
        sql_of(text).for_each(connection, add).await?;
        Ok(sum)
    }

    /// Removes all of it.
    pub(super) async fn clear(&self, connection: &mut Connection) -> Result<(), StoreError> {
        sql_of(format!("DELETE FROM {}", self.name)).execute(connection).await?;
        Ok(())
    }
}

fn placeholders(before: usize, count: usize) -> String {
    let mut text = String::new();
    for at in 1..=count {
        let _ = write!(text, "{}${}", if at == 1 { "" } else { ", " }, before + at);
    }
    text
}

/// What is not there has the kind of its column.
fn bind<'q>(query: Statement<'q>, cell: Option<&'q Cell>, kind: Kind) -> Statement<'q> {
    match (cell, kind) {
        (Some(Cell::Int(value)), _) => query.bind(*value),
        (Some(Cell::Bool(value)), _) => query.bind(*value),
        (Some(Cell::Text(text)), _) => query.bind(text.as_str()),
        (Some(Cell::Bytes(value)), _) => query.bind(value.as_slice()),
        (None, Kind::Int) => query.bind(None::<i64>),
        (None, Kind::Bool) => query.bind(None::<bool>),
        (None, Kind::Text) => query.bind(None::<&str>),
        (None, Kind::Bytes) => query.bind(None::<&[u8]>),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_rows_are_written_alike() {
        let text = |text: &str| Some(Cell::Text(text.to_owned()));
        for (one, other) in [
            (vec![text("ab"), text("c")], vec![text("a"), text("bc")]),
            (vec![None, text("")], vec![text(""), None]),
            (vec![Some(Cell::Bool(true))], vec![Some(Cell::Int(1))]),
            (vec![text("a")], vec![Some(Cell::Bytes(b"a".to_vec()))]),
            (vec![text("a")], vec![text("a"), None]),
        ] {
            assert_ne!(encoded(&one), encoded(&other), "{one:?}");
        }
    }

    #[test]
    fn a_sum_knows_rows_and_no_order() {
        let sum = |rows: &[i64]| {
            let mut sum = Sum::default();
            rows.iter().for_each(|row| sum.add(&[Some(Cell::Int(*row))]));
            sum
        };
        assert_eq!(sum(&[1, 2, 3]), sum(&[3, 1, 2]));
        // Two that are equal do not cancel each other.
        for other in [&[1, 2][..], &[1, 2, 4], &[1, 2, 3, 3, 3], &[1, 2, 3, 5, 5]] {
            assert_ne!(sum(&[1, 2, 3]), sum(other), "{other:?}");
        }
    }
}
