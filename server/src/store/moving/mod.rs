//! Moving a store: to another engine, into a backup, and back out of one. It is copied table by table in small
//! transactions, so that whatever interrupts it, the next try goes on; and no server works on either side meanwhile.
//!
//! | step | source | target |
//! |---|---|---|
//! | begin | nobody works on it; mark *source* | empty; mark *filling*, under the same id |
//! | copy | one snapshot | rows after the last key, and that key, in one transaction |
//! | verify | count and checksum of every table | the same |
//! | hand over | mark *moved* | what is its own: the log's history, a place for every lease that is out |
//! | end | | no mark |
//!
//! So there is no moment in which servers start on both, and none in which one starts on half a copy.

mod marks;
mod restored;
mod side;
mod tables;

use std::path::PathBuf;

use rand_core::Rng;
use serde::{Deserialize, Serialize};
use symbolon_core::keys::KeyRecord;

use self::{
    marks::Mark,
    side::Side,
    tables::{Sum, Table},
};
use super::{Database, StoreError};
use crate::os::{Os, now};

pub(super) use self::marks::refuse_marked;
pub use self::restored::Ended;

/// Rows that one transaction copies.
const BATCH: usize = 1000;

/// Where a store is.
#[derive(Debug, Clone)]
pub enum Place {
    /// In a data folder, in a file of SQLite.
    Folder(PathBuf),
    /// In a PostgreSQL database.
    Database(Database),
}

/// What a store is while it is no ordinary one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Role {
    /// It is being copied from.
    Source,
    /// It is not complete.
    Filling,
    /// Another one has taken its place.
    Moved,
    /// Nothing but a copy.
    Backup,
}

impl Role {
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Source => "this store is being moved to another one",
            Self::Filling => "this store is not complete: it is being filled from another one",
            Self::Moved => "this store was moved: another one has taken its place",
            Self::Backup => "this is a backup",
        }
    }
}

/// Why nothing was moved, or not all.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// One of the stores does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A server works on it.
    #[error("the server {0} works on this store")]
    Running(String),
    /// There is none.
    #[error("there is no store in {0}")]
    NoStore(String),
    /// The target holds something else.
    #[error("the target is not empty")]
    NotEmpty,
    /// What it is does not fit.
    #[error("{0}")]
    Unfit(&'static str),
    /// A table has other rows than its source.
    #[error("the table {0} differs from its source after it was copied")]
    Differs(String),
    /// The keys do not open.
    #[error("{0}")]
    MasterKey(String),
    /// A backup of another schema.
    #[error("the backup was made by a version of Symbolon with another schema")]
    Schema,
    /// What was ended after the backup would be alive again.
    #[error("nobody knows what was ended after this backup was made")]
    EndsUnknown,
}

impl From<sqlx::Error> for MoveError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// How far it is.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// What is done: copying or verifying.
    pub step: &'static str,
    /// The table.
    pub table: &'a str,
    /// Its rows until now.
    pub rows: u64,
    /// All of its rows.
    pub of: u64,
}

/// A table that has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The table.
    pub table: String,
    /// Its rows.
    pub rows: u64,
    /// A checksum of them, the same in every engine.
    pub checksum: String,
}

/// What a move calls: how far it is, and whether these are keys that the master key opens.
pub struct Watch<'a> {
    /// Told now and then.
    pub progress: &'a mut (dyn FnMut(Progress<'_>) + Send),
    /// Says what is wrong.
    pub keys: &'a (dyn Fn(&[KeyRecord]) -> Result<(), String> + Sync),
}

impl std::fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watch")
    }
}

/// Moves everything that `from` holds to `to`, which must be empty, or what an interrupted move has left of it. Logins
/// stay what they are. Afterwards no server starts on `from` any more.
///
/// # Errors
/// [`MoveError`]. Until the target is complete, the same call goes on where it stopped.
pub async fn migrate(from: &Place, to: &Place, watch: Watch<'_>) -> Result<Vec<Moved>, MoveError> {
    let tables = tables::all().await?;
    let mut source = Side::of(from, false).await?;
    (watch.keys)(&source.keys().await?).map_err(MoveError::MasterKey)?;
    let found = marks::read(&mut source.connection).await?;
    // Where there is nothing yet, nothing is made before it is known that there will be a move.
    let mut target = match Side::of(to, false).await {
        Ok(side) => Some(side),
        Err(MoveError::NoStore(_)) => None,
        Err(error) => return Err(error),
    };
    let (there, is_empty) = match &mut target {
        Some(side) => (marks::read(&mut side.connection).await?, side.is_empty(&tables).await?),
        None => (None, true),
    };
    let mark = match (&found, &there) {
        (Some(Mark { role: Role::Filling | Role::Backup, .. }), _) => {
            return Err(MoveError::Unfit(Role::Filling.text()));
        }
        (Some(from), Some(to)) if to.role == Role::Filling && from.id == to.id => to.clone(),
        (Some(Mark { role: Role::Moved, .. }), _) => {
            return Err(MoveError::Unfit(Role::Moved.text()));
        }
        // What another move has left there is of no use.
        (_, Some(Mark { role: Role::Filling, made_at: 0, .. })) => Mark::new(Role::Filling),
        (_, None) if is_empty => Mark::new(Role::Filling),
        _ => return Err(MoveError::NotEmpty),
    };
    let role = found.as_ref().map_or(Role::Source, |found| found.role);
    marks::take(&mut source.connection, &Mark { role, ..mark.clone() }).await?;
    let mut target = match target {
        Some(side) => side,
        None => match Side::of(to, true).await {
            Ok(side) => side,
            Err(error) => {
                marks::remove(&mut source.connection).await?;
                return Err(error);
            }
        },
    };
    marks::take(&mut target.connection, &mark).await?;
    target.clear(&tables, &mark).await?;
    source.hold(&tables).await?;
    copy(&mut source, &mut target, &tables, watch.progress).await?;
    let moved = verify(&mut source, &mut target, &tables, watch.progress).await?;
    source.connection.run("COMMIT").await?;
    marks::take(&mut source.connection, &Mark { role: Role::Moved, ..mark }).await?;
    target.settle().await?;
    Ok(moved)
}

/// Makes ordinary again what an interrupted move was copying from.
///
/// # Errors
/// [`MoveError`].
pub async fn abandon(from: &Place) -> Result<(), MoveError> {
    let mut source = Side::of(from, false).await?;
    match marks::read(&mut source.connection).await? {
        Some(Mark { role: Role::Source, .. }) => Ok(marks::remove(&mut source.connection).await?),
        Some(mark) => Err(MoveError::Unfit(mark.role.text())),
        None => Ok(()),
    }
}

/// Copies a store into a file, as it was at one moment, while servers work on it. If this is the `last` backup, no server
/// may work on it, and none starts on it any more: so nothing can be ended that the backup knows to be alive.
///
/// # Errors
/// [`MoveError`]; there is no file then.
pub async fn backup(
    from: &Place,
    file: &std::path::Path,
    last: bool,
    watch: Watch<'_>,
) -> Result<Vec<Moved>, MoveError> {
    let tables = tables::all().await?;
    let mut source = if last { Side::of(from, false).await? } else { Side::beside(from).await? };
    match marks::read(&mut source.connection).await? {
        // The last backup, which was interrupted.
        Some(mark) if last && mark.role == Role::Source => {}
        Some(mark) => return Err(MoveError::Unfit(mark.role.text())),
        None => {}
    }
    (watch.keys)(&source.keys().await?).map_err(MoveError::MasterKey)?;
    let mark = Mark { made_at: now().millis(), last, ..Mark::new(Role::Backup) };
    if last {
        marks::take(&mut source.connection, &Mark { role: Role::Source, ..mark.clone() }).await?;
    }
    let part = side::part_of(file);
    let mut target = Side::new_file(&part).await?;
    marks::write(&mut target.connection, "", &mark).await?;
    if last {
        source.hold(&tables).await?;
    } else {
        source.look().await?;
    }
    copy(&mut source, &mut target, &tables, watch.progress).await?;
    let moved = verify(&mut source, &mut target, &tables, watch.progress).await?;
    source.connection.run("COMMIT").await?;
    target.close().await?;
    side::put_in_place(&part, file)?;
    if last {
        marks::take(&mut source.connection, &Mark { role: Role::Moved, ..mark }).await?;
    }
    Ok(moved)
}

/// What is restored, and how.
#[derive(Debug, Clone, Copy)]
pub struct Restoring {
    /// Whether what the target holds is replaced.
    pub overwrite: bool,
    /// Whether logins go on: only after the last backup of a store.
    pub keep_sessions: bool,
    /// The longest lease that may be out.
    pub lease_max: std::time::Duration,
}

/// Fills a store from a backup. Unless `keep_sessions`, everything ends that could let anybody in: sessions, keys,
/// codes, invitations.
///
/// # Errors
/// [`MoveError`]. Until the target is complete, the same call goes on where it stopped.
pub async fn restore(
    file: &std::path::Path,
    to: &Place,
    how: Restoring,
    watch: Watch<'_>,
) -> Result<(Vec<Moved>, Ended), MoveError> {
    let tables = tables::all().await?;
    let mut source = Side::of_backup(file).await?;
    let Some(backup) = marks::read(&mut source.connection).await? else {
        return Err(MoveError::Unfit("this is a store and no backup"));
    };
    if backup.role != Role::Backup {
        return Err(MoveError::Unfit(backup.role.text()));
    }
    if how.keep_sessions && !backup.last {
        return Err(MoveError::EndsUnknown);
    }
    (watch.keys)(&source.keys().await?).map_err(MoveError::MasterKey)?;
    let mut target = Side::of(to, true).await?;
    let there = marks::read(&mut target.connection).await?;
    let is_rest = |mark: &Mark| mark.role == Role::Filling && mark.id == backup.id;
    let mark = match there {
        Some(mark) if is_rest(&mark) => mark,
        there => {
            let is_free = there.is_none() && target.is_empty(&tables).await?;
            if !(is_free || how.overwrite) {
                return Err(MoveError::NotEmpty);
            }
            let keys = target.keys().await?;
            let keys = keys.iter().map(|key| *key.id.as_bytes()).collect();
            Mark { role: Role::Filling, keys, cleared: false, ..backup }
        }
    };
    marks::take(&mut target.connection, &mark).await?;
    target.clear(&tables, &mark).await?;
    copy(&mut source, &mut target, &tables, watch.progress).await?;
    let moved = verify(&mut source, &mut target, &tables, watch.progress).await?;
    let ended = restored::settle(&mut target, &mark, how).await?;
    Ok((moved, ended))
}

impl Mark {
    fn new(role: Role) -> Self {
        let mut id = [0; 16];
        Os.fill_bytes(&mut id);
        Self { id, role, made_at: 0, last: false, cleared: false, keys: Vec::new() }
    }
}

/// Copies what is not there yet.
async fn copy(
    source: &mut Side,
    target: &mut Side,
    tables: &[Table],
    progress: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<(), MoveError> {
    for table in tables {
        let to = &mut target.connection;
        let of = table.count(&mut source.connection).await?;
        let mut filled = marks::filled(to, &table.name).await?;
        while !filled.done {
            let rows = table.page(&mut source.connection, filled.after.as_ref(), BATCH).await?;
            filled.rows += rows.len() as u64;
            filled.done = rows.len() < BATCH;
            filled.after = rows.last().map(|row| table.key_of(row)).or(filled.after);
            to.run("BEGIN").await?;
            table.write(to, &rows).await?;
            marks::write(to, &table.name, &filled).await?;
            to.run("COMMIT").await?;
            let rows = filled.rows;
            progress(Progress { step: "copied", table: &table.name, rows, of });
        }
    }
    Ok(())
}

/// Compares all that was copied.
async fn verify(
    source: &mut Side,
    target: &mut Side,
    tables: &[Table],
    progress: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<Vec<Moved>, MoveError> {
    let mut moved = Vec::new();
    for table in tables {
        let before = table.sum(&mut source.connection).await?;
        let after = table.sum(&mut target.connection).await?;
        if before != after {
            return Err(MoveError::Differs(table.name.clone()));
        }
        let Sum { rows, .. } = after;
        progress(Progress { step: "verified", table: &table.name, rows, of: rows });
        moved.push(Moved { table: table.name.clone(), rows, checksum: after.text() });
    }
    Ok(moved)
}
