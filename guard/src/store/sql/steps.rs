//! The steps of a change, each within its transaction.

use symbolon_core::{data::DataVersion, id::SessionId, time::Time};

use super::{
    NAMED_MAX, Sql, columns,
    engine::{Row, Tx, Value},
    locking, named,
    rows::{self, Read},
};
use crate::store::{
    Applied, AtMost, Delta, Loaded, Opened, Opening, Reason, Record, TOMBSTONE, Values, What,
    too_many,
};

/// A session whose row is locked.
pub(super) enum Locked {
    Live(Record, Values),
    Gone(Reason),
    Unknown,
}

pub(super) fn live(row: &Row) -> Option<Record> {
    match rows::session(row) {
        Ok(Read::Live(record)) => Some(record),
        _ => None,
    }
}

impl Sql {
    /// Looks at a session, and keeps everybody else from changing it. One that has run out, or cannot be read, ends.
    pub(super) async fn locked(
        &self,
        tx: &mut Tx,
        id: SessionId,
        now: Time,
    ) -> Result<Locked, sqlx::Error> {
        let text =
            locking!("SELECT ", columns!(), ", s.data FROM symbolon_session s WHERE s.id = $1");
        let Some(row) = tx.lock(text, &[id.as_bytes()[..].into()]).await?.pop() else {
            return Ok(Locked::Unknown);
        };
        let (found, values) = (rows::session(&row), rows::values(&row, 11));
        let (record, reason) = match (found, values) {
            (Ok(Read::Gone(reason)), _) => return Ok(Locked::Gone(reason)),
            (Ok(Read::Live(record)), Ok(values)) => match record.lapsed(now) {
                None => return Ok(Locked::Live(record, values)),
                Some(reason) => (Some(record), reason),
            },
            (found, _) => {
                let record = found.ok().and_then(|found| match found {
                    Read::Live(record) => Some(record),
                    Read::Gone(_) => None,
                });
                (record, Reason::Unreadable)
            }
        };
        self.end_locked(tx, id, record.as_ref(), reason, now).await?;
        Ok(Locked::Gone(reason))
    }

    /// Ends a session that ran out while it was looked at, unless somebody has used it since.
    pub(super) async fn end_lapsed(
        &self,
        id: SessionId,
        lapse: Reason,
        now: Time,
    ) -> Result<Loaded, sqlx::Error> {
        let mut tx = self.database.begin().await?;
        let loaded = match self.locked(&mut tx, id, now).await? {
            Locked::Live(record, values) => Loaded::Live(record, Some(values)),
            Locked::Gone(reason) => Loaded::Gone(reason),
            Locked::Unknown => Loaded::Gone(lapse),
        };
        tx.commit().await?;
        Ok(loaded)
    }

    pub(super) async fn write(
        &self,
        id: SessionId,
        delta: &Delta,
        now: Time,
    ) -> Result<Applied, sqlx::Error> {
        let mut tx = self.database.begin().await?;
        let applied = match self.locked(&mut tx, id, now).await? {
            Locked::Gone(reason) => Applied::Gone(reason),
            Locked::Unknown => Applied::Unknown,
            Locked::Live(record, _) if delta.expected.is_some_and(|v| v != record.version) => {
                Applied::Conflict(record.version)
            }
            Locked::Live(record, _) if delta.is_empty() => Applied::Done(record.version),
            Locked::Live(mut record, values) => match values.merged(delta) {
                None => Applied::TooLarge,
                Some(values) => {
                    record.version = DataVersion(record.version.0 + 1);
                    record.seen_at = record.seen_at.max(now);
                    tx.run(
                        "UPDATE symbolon_session SET version = $2, seen_at = $3, due_at = $4, \
                         data = $5 WHERE id = $1",
                        &[
                            id.as_bytes()[..].into(),
                            whole(record.version.0).into(),
                            record.seen_at.millis().into(),
                            rows::due_at(&record).into(),
                            values.as_bytes().into(),
                        ],
                    )
                    .await?;
                    Applied::Done(record.version)
                }
            },
        };
        tx.commit().await?;
        Ok(applied)
    }

    /// Opens a session, in place of another where one is named. What is refused is rolled back.
    pub(super) async fn open_session(
        &self,
        old: Option<SessionId>,
        opening: &Opening,
        now: Time,
    ) -> Result<Opened, sqlx::Error> {
        let mut tx = self.database.begin().await?;
        let user = opening.user.as_deref();
        if let Some(user) = user {
            tx.lock_user(user.as_bytes()).await?;
        }
        // Rows are locked in the order of their ids: with a limit, those of the user and the old one together.
        let others = match (user, opening.at_most) {
            (Some(user), Some(at_most)) => {
                Some((at_most, self.of_user_and(&mut tx, user, old).await?))
            }
            _ => None,
        };
        let (mut values, mut version) = (Values::default(), DataVersion(0));
        let (mut claims_user, mut others_own) = (user.is_some(), None);
        if let Some(old) = old {
            match self.locked(&mut tx, old, now).await? {
                Locked::Live(record, own) => {
                    claims_user &= record.user != opening.user;
                    if opening.inherits(record.user.as_deref()) {
                        (values, version) = (own, record.version);
                    } else {
                        others_own = Some(record);
                    }
                }
                Locked::Gone(reason) => {
                    // It may have ended just now.
                    tx.commit().await?;
                    return Ok(Opened::Gone(reason));
                }
                Locked::Unknown => return Ok(Opened::Unknown),
            }
        }
        match hindrance(&mut tx, opening).await? {
            Some(Opened::Stale) if !claims_user => {}
            Some(hindrance) => return Ok(hindrance),
            None => {}
        }
        let Some(values) = values.merged(&opening.delta) else { return Ok(Opened::TooLarge) };
        if let Some((at_most, others)) = others
            && !self.make_room(&mut tx, at_most, others, old, now).await?
        {
            return Ok(Opened::TooMany);
        }
        let record = opening.record(version, now);
        if !insert(&mut tx, &record, &values).await? {
            // Somebody was faster.
            return Ok(Opened::Taken);
        }
        let what = match (old, others_own) {
            (None, _) => What::Created,
            (Some(old), Some(record)) => {
                self.end_locked(&mut tx, old, Some(&record), Reason::Logout, now).await?;
                What::Created
            }
            (Some(from), None) => {
                self.bury(&mut tx, from, Reason::Renewed, now).await?;
                What::Renewed { from }
            }
        };
        self.tell(&mut tx, record.id, record.user.as_deref(), what, now).await?;
        tx.commit().await?;
        Ok(Opened::Live(record))
    }

    /// Ends those of the others who are too many. Returns whether the new one may be.
    async fn make_room(
        &self,
        tx: &mut Tx,
        at_most: AtMost,
        others: Vec<Record>,
        old: Option<SessionId>,
        now: Time,
    ) -> Result<bool, sqlx::Error> {
        let live = |record: &&Record| Some(record.id) != old && record.lapsed(now).is_none();
        let opened = others.iter().filter(live).map(|record| (record.opened_at, record.id));
        let Some(surplus) = too_many(opened.collect(), at_most) else { return Ok(false) };
        for record in others.iter().filter(|record| surplus.contains(&record.id)) {
            self.end_locked(tx, record.id, Some(record), Reason::TooMany, now).await?;
        }
        Ok(true)
    }

    /// The user's sessions that have not ended, locked, but for one.
    pub(super) async fn of_user(
        &self,
        tx: &mut Tx,
        user: &str,
        but: Option<SessionId>,
    ) -> Result<Vec<Record>, sqlx::Error> {
        let text = locking!(
            "SELECT ",
            columns!(),
            " FROM symbolon_session s WHERE s.user_name = $1 \
             AND s.ended_at IS NULL ORDER BY s.id"
        );
        let found = tx.lock(text, &[user.as_bytes().into()]).await?;
        Ok(found.iter().filter_map(live).filter(|record| Some(record.id) != but).collect())
    }

    /// The user's sessions that have not ended, locked in one order with another one.
    async fn of_user_and(
        &self,
        tx: &mut Tx,
        user: &str,
        other: Option<SessionId>,
    ) -> Result<Vec<Record>, sqlx::Error> {
        let Some(other) = other else { return self.of_user(tx, user, None).await };
        let text = locking!(
            "SELECT ",
            columns!(),
            " FROM symbolon_session s \
             WHERE (s.user_name = $1 AND s.ended_at IS NULL) OR s.id = $2 ORDER BY s.id"
        );
        let found = tx.lock(text, &[user.as_bytes().into(), other.as_bytes()[..].into()]).await?;
        Ok(found.iter().filter_map(live).filter(|r| r.user.as_deref() == Some(user)).collect())
    }

    pub(super) async fn sweep_batch(&self, most: usize, now: Time) -> Result<bool, sqlx::Error> {
        let mut tx = self.database.begin().await?;
        // Others sweep, too; nobody waits.
        let text = concat!(
            "SELECT ",
            columns!(),
            " FROM symbolon_session s WHERE s.due_at <= $1 ORDER BY s.due_at LIMIT $2"
        );
        let skipping = concat!(
            "SELECT ",
            columns!(),
            " FROM symbolon_session s WHERE s.due_at <= $1 ORDER BY s.due_at LIMIT $2 \
             FOR UPDATE SKIP LOCKED"
        );
        let limit = i64::try_from(most).unwrap_or(i64::MAX);
        let due = tx.lock((text, skipping), &[now.millis().into(), limit.into()]).await?;
        let mut forgotten = Vec::new();
        for row in &due {
            let bytes = row.bytes(0)?.unwrap_or_default();
            match (SessionId::try_from(&bytes[..]), rows::session(row)) {
                (Ok(id), Ok(Read::Live(record))) => {
                    if let Some(reason) = record.lapsed(now) {
                        self.end_locked(&mut tx, id, Some(&record), reason, now).await?;
                    }
                }
                (Ok(id), Err(_)) => {
                    self.end_locked(&mut tx, id, None, Reason::Unreadable, now).await?;
                }
                _ => forgotten.push(bytes),
            }
        }
        for batch in forgotten.chunks(NAMED_MAX) {
            let mut named = [Value::Bytes(None); NAMED_MAX];
            for (at, id) in named.iter_mut().zip(batch) {
                *at = id[..].into();
            }
            tx.run(named!("DELETE FROM symbolon_session WHERE id IN "), &named).await?;
        }
        let more = due.len() == most;
        if !more {
            let text = "DELETE FROM symbolon_session_user_ended WHERE ended_at <= $1";
            tx.run(text, &[(now - TOMBSTONE).millis().into()]).await?;
        }
        tx.commit().await?;
        Ok(more)
    }

    pub(super) async fn end_locked(
        &self,
        tx: &mut Tx,
        id: SessionId,
        record: Option<&Record>,
        reason: Reason,
        now: Time,
    ) -> Result<(), sqlx::Error> {
        self.bury(tx, id, reason, now).await?;
        let user = record.and_then(|record| record.user.as_deref());
        self.tell(tx, id, user, What::Ended(reason), now).await
    }

    /// Leaves the tombstone.
    async fn bury(
        &self,
        tx: &mut Tx,
        id: SessionId,
        reason: Reason,
        now: Time,
    ) -> Result<(), sqlx::Error> {
        tx.run(
            "UPDATE symbolon_session SET ended_at = $2, reason = $3, due_at = $4, label = NULL, \
             data = NULL WHERE id = $1",
            &[
                id.as_bytes()[..].into(),
                now.millis().max(0).into(),
                reason.as_str().as_bytes().into(),
                (now + TOMBSTONE).millis().into(),
            ],
        )
        .await
        .map(drop)
    }

    async fn tell(
        &self,
        tx: &mut Tx,
        id: SessionId,
        user: Option<&str>,
        what: What,
        at: Time,
    ) -> Result<(), sqlx::Error> {
        if !self.events {
            return Ok(());
        }
        let (reason, from) = match what {
            What::Created => (None, None),
            What::Renewed { from } => (None, Some(from)),
            What::Ended(reason) => (Some(reason.as_str().as_bytes()), None),
        };
        tx.run(
            "INSERT INTO symbolon_session_event (id, user_name, at, reason, from_id) \
             VALUES ($1, $2, $3, $4, $5)",
            &[
                id.as_bytes()[..].into(),
                user.map(str::as_bytes).into(),
                at.millis().into(),
                reason.into(),
                from.as_ref().map(|from| &from.as_bytes()[..]).into(),
            ],
        )
        .await
        .map(drop)
    }
}

/// Whether the id is another's, or all sessions of the user were ended since the request began.
async fn hindrance(tx: &mut Tx, opening: &Opening) -> Result<Option<Opened>, sqlx::Error> {
    let text = "SELECT COALESCE((SELECT CAST(1 AS BIGINT) FROM symbolon_session WHERE id = $1), 0), \
                COALESCE((SELECT CAST(1 AS BIGINT) FROM symbolon_session_user_ended \
                WHERE user_name = $2 AND ended_at > $3), 0)";
    let user = opening.user.as_deref().map(str::as_bytes);
    let id = opening.id.as_bytes()[..].into();
    let found = tx.run(text, &[id, user.into(), opening.began_at.millis().into()]).await?;
    let is =
        |column| found.first().map_or(Ok(false), |row| Ok::<_, sqlx::Error>(row.int(column)? == 1));
    Ok(if is(0)? {
        Some(Opened::Taken)
    } else if is(1)? {
        Some(Opened::Stale)
    } else {
        None
    })
}

/// Returns whether nobody else had the id.
async fn insert(tx: &mut Tx, record: &Record, values: &Values) -> Result<bool, sqlx::Error> {
    let idle_ms = i64::try_from(record.limits.idle.as_millis()).unwrap_or(i64::MAX);
    let inserted = tx
        .run(
            "INSERT INTO symbolon_session (id, user_name, label, remembered, opened_at, seen_at, \
             idle_ms, ends_at, version, due_at, data) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
             ON CONFLICT (id) DO NOTHING RETURNING version",
            &[
                record.id.as_bytes()[..].into(),
                record.user.as_deref().map(str::as_bytes).into(),
                record.label.as_deref().map(str::as_bytes).into(),
                i64::from(record.remembered).into(),
                record.opened_at.millis().into(),
                record.seen_at.millis().into(),
                idle_ms.into(),
                record.limits.ends_at.millis().into(),
                whole(record.version.0).into(),
                rows::due_at(record).into(),
                values.as_bytes().into(),
            ],
        )
        .await?;
    Ok(!inserted.is_empty())
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
