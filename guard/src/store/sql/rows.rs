//! Sessions as rows, and rows as sessions.

use std::{sync::Arc, time::Duration};

use symbolon_core::{data::DataVersion, id::SessionId, session::Limits, time::Time};

use super::engine::Row;
use crate::store::{Event, EventId, Reason, Record, Unreadable, Values, What};

/// The tables, for SQLite. `due_at`: when something has to be done about the row: it has run out, or can be forgotten.
/// Texts are bytes, so that every name is one and no collation takes one for another. The data stands last and is read
/// only when it is asked for; what is large both engines keep elsewhere by themselves.
pub(super) const SQLITE: [&str; 5] = [
    "CREATE TABLE IF NOT EXISTS symbolon_session (\
        id BLOB PRIMARY KEY, user_name BLOB, label BLOB, remembered BIGINT NOT NULL, \
        opened_at BIGINT NOT NULL, seen_at BIGINT NOT NULL, idle_ms BIGINT NOT NULL, \
        ends_at BIGINT NOT NULL, version BIGINT NOT NULL, due_at BIGINT NOT NULL, \
        ended_at BIGINT, reason BLOB, data BLOB)",
    "CREATE INDEX IF NOT EXISTS symbolon_session_due ON symbolon_session (due_at)",
    "CREATE INDEX IF NOT EXISTS symbolon_session_user ON symbolon_session (user_name) \
        WHERE ended_at IS NULL AND user_name IS NOT NULL",
    "CREATE TABLE IF NOT EXISTS symbolon_session_user_ended (\
        user_name BLOB PRIMARY KEY, ended_at BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS symbolon_session_event (\
        number INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL, user_name BLOB, \
        at BIGINT NOT NULL, reason BLOB, from_id BLOB)",
];

/// The same tables, for PostgreSQL.
pub(super) const POSTGRES: [&str; 5] = [
    "CREATE TABLE IF NOT EXISTS symbolon_session (\
        id BYTEA PRIMARY KEY, user_name BYTEA, label BYTEA, remembered BIGINT NOT NULL, \
        opened_at BIGINT NOT NULL, seen_at BIGINT NOT NULL, idle_ms BIGINT NOT NULL, \
        ends_at BIGINT NOT NULL, version BIGINT NOT NULL, due_at BIGINT NOT NULL, \
        ended_at BIGINT, reason BYTEA, data BYTEA)",
    "CREATE INDEX IF NOT EXISTS symbolon_session_due ON symbolon_session (due_at)",
    "CREATE INDEX IF NOT EXISTS symbolon_session_user ON symbolon_session (user_name) \
        WHERE ended_at IS NULL AND user_name IS NOT NULL",
    "CREATE TABLE IF NOT EXISTS symbolon_session_user_ended (\
        user_name BYTEA PRIMARY KEY, ended_at BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS symbolon_session_event (\
        number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id BYTEA NOT NULL, user_name BYTEA, \
        at BIGINT NOT NULL, reason BYTEA, from_id BYTEA)",
];

/// A row of sessions, read.
pub(super) enum Read {
    Live(Record),
    Gone(Reason),
}

/// Reads the columns `id, user_name, label, remembered, opened_at, seen_at, idle_ms, ends_at, version,
/// COALESCE(ended_at, -1), reason`.
pub(super) fn session(row: &Row) -> Result<Read, Unreadable> {
    if row.int(9).map_err(unreadable)? >= 0 {
        return Ok(Read::Gone(reason(row.bytes(10)).unwrap_or(Reason::Unreadable)));
    }
    let id = row.bytes(0).map_err(unreadable)?.ok_or(Unreadable)?;
    let millis = |column| row.int(column).map(Time::from_millis).map_err(unreadable);
    let number = |column| u64::try_from(row.int(column).map_err(unreadable)?).map_err(unreadable);
    Ok(Read::Live(Record {
        id: SessionId::try_from(&id[..]).map_err(unreadable)?,
        user: text(row.bytes(1))?,
        label: text(row.bytes(2))?,
        remembered: number(3)? != 0,
        opened_at: millis(4)?,
        seen_at: millis(5)?,
        limits: Limits { idle: Duration::from_millis(number(6)?), ends_at: millis(7)? },
        version: DataVersion(number(8)?),
    }))
}

/// The data in this column.
pub(super) fn values(row: &Row, column: usize) -> Result<Values, Unreadable> {
    Values::from_bytes(row.bytes(column).map_err(unreadable)?.unwrap_or_default())
}

/// Reads the columns `number, id, user_name, at, reason, from_id`.
pub(super) fn event(row: &Row) -> Result<Event, sqlx::Error> {
    let id = |bytes: Option<Vec<u8>>| SessionId::try_from(&bytes.unwrap_or_default()[..]).ok();
    let what = match (reason(row.bytes(4)), id(row.bytes(5)?)) {
        (Some(reason), _) => What::Ended(reason),
        (None, Some(from)) => What::Renewed { from },
        (None, None) => What::Created,
    };
    Ok(Event {
        id: EventId(u128::try_from(row.int(0)?).unwrap_or(0)),
        session: id(row.bytes(1)?).unwrap_or(SessionId::from_bytes([0; 16])),
        user: text(row.bytes(2)).unwrap_or(None),
        at: Time::from_millis(row.int(3)?),
        what,
    })
}

/// When something is to be done about a live session.
pub(super) fn due_at(record: &Record) -> i64 {
    (record.seen_at + record.limits.idle).min(record.limits.ends_at).millis()
}

fn text(bytes: Result<Option<Vec<u8>>, sqlx::Error>) -> Result<Option<Arc<str>>, Unreadable> {
    let Some(bytes) = bytes.map_err(unreadable)? else { return Ok(None) };
    Ok(Some(String::from_utf8(bytes).map_err(unreadable)?.into()))
}

fn reason(bytes: Result<Option<Vec<u8>>, sqlx::Error>) -> Option<Reason> {
    Reason::named(std::str::from_utf8(&bytes.ok()??).ok()?)
}

fn unreadable(_: impl std::error::Error) -> Unreadable {
    Unreadable
}
