//! Removing what nobody needs any more, a little at a time.

use std::time::Duration;

use symbolon_core::{id::SessionId, time::Time};

use super::{
    StoreError,
    engine::{Connection, Row, sql},
    told,
    writes::ids,
};

/// How long the audit trail goes back.
const AUDIT_KEPT: Duration = Duration::from_hours(24 * 400);

/// The most rows of each kind that one sweep removes, so that nobody waits long behind it.
const SWEEP_MAX: i64 = 2000;

/// What nobody needs any more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sweep {
    /// Log entries of before then.
    pub(super) entries_before: Time,
    /// Sessions that ended or ran out before then.
    pub(super) sessions_before: Time,
    /// The first byte of the ids among which sessions are looked for that were silent too long.
    pub(super) slice: u8,
    /// No longer lease than this can be out any more.
    pub(super) lease_max: Option<Duration>,
}

impl Sweep {
    /// Removes some of it. Says whether a client became due to hear of the end of a session.
    pub(super) async fn run(&self, connection: &mut Connection) -> Result<bool, StoreError> {
        let mut made_due = false;
        if let Some(lease) = self.lease_max {
            let query = "UPDATE leases SET longest_ms = $1 WHERE longest_ms > $1";
            let millis = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
            sql(query).bind(millis).execute(connection).await?;
        }
        let query = "DELETE FROM revocations WHERE sequence IN \
                     (SELECT sequence FROM revocations WHERE at < $1 ORDER BY at LIMIT $2)";
        sql(query).bind(self.entries_before.millis()).bind(SWEEP_MAX).execute(connection).await?;
        let query = "DELETE FROM sessions WHERE id IN \
                     (SELECT id FROM sessions WHERE ended_at < $1 OR ends_at < $1 LIMIT $2) \
                     AND (ended_at < $1 OR ends_at < $1) RETURNING id";
        let mut rows = sql(query)
            .bind(self.sessions_before.millis())
            .bind(SWEEP_MAX)
            .fetch_all(connection)
            .await?;
        rows.extend(sweep_silent(connection, self).await?);
        let swept = ids(&rows)?;
        for id in &swept {
            let query = sql("DELETE FROM session_data WHERE session = $1").bind(&id.as_bytes()[..]);
            query.execute(connection).await?;
        }
        // Those that ran out end here.
        let swept: Vec<_> = swept.into_iter().map(SessionId::entry).collect();
        made_due |= told::make_due(connection, &swept, crate::os::now()).await?;
        let query =
            sql("DELETE FROM trusting WHERE seen_at < $1").bind(self.entries_before.millis());
        query.execute(connection).await?;
        let query =
            sql("DELETE FROM invitations WHERE expires_at < $1").bind(self.entries_before.millis());
        query.execute(connection).await?;
        let query = sql("DELETE FROM registration_tokens WHERE expires_at < $1 OR uses <= 0")
            .bind(self.entries_before.millis());
        query.execute(connection).await?;
        let query = "DELETE FROM codes WHERE digest IN \
                     (SELECT digest FROM codes WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";
        sql(query).bind(self.entries_before.millis()).bind(SWEEP_MAX).execute(connection).await?;
        let query = "DELETE FROM pushed WHERE digest IN \
                     (SELECT digest FROM pushed WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";
        let query = sql(query).bind(self.entries_before.millis()).bind(SWEEP_MAX);
        query.execute(connection).await?;
        let query = "DELETE FROM devices WHERE digest IN \
                     (SELECT digest FROM devices WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";
        let query = sql(query).bind(self.entries_before.millis()).bind(SWEEP_MAX);
        query.execute(connection).await?;
        // The trail is in the order of time: only its beginning is looked at.
        let query = "DELETE FROM audit WHERE sequence IN (SELECT sequence FROM \
                     (SELECT sequence, at FROM audit ORDER BY sequence LIMIT $2) AS oldest WHERE at < $1)";
        let before = (self.entries_before - AUDIT_KEPT).millis();
        sql(query).bind(before).bind(SWEEP_MAX).execute(connection).await?;
        Ok(made_due)
    }
}

/// Removes sessions that were silent too long. Every use moves that moment, so no index is in its order: it would move
/// with every refresh. Instead one slice of the ids is looked through, which are random.
async fn sweep_silent(connection: &mut Connection, sweep: &Sweep) -> Result<Vec<Row>, StoreError> {
    // `seen_at` may be behind by 1/16 of the limit. A session is not removed from over those under it: who ends it must
    // find them.
    let query = "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions AS s WHERE id >= $1 AND id < $2 \
                 AND ended_at IS NULL AND seen_at + idle_ms + idle_ms / 16 < $3 \
                 AND NOT EXISTS (SELECT 1 FROM sessions AS c WHERE c.parent = s.id AND c.ended_at IS NULL) \
                 LIMIT $4) AND ended_at IS NULL AND seen_at + idle_ms + idle_ms / 16 < $3 RETURNING id";
    let first = [sweep.slice];
    // Longer than an id, so that every id of the slice stands before it.
    let mut end = [0xFF; 17];
    end[0] = sweep.slice;
    let query = sql(query).bind(&first[..]).bind(&end[..]);
    let query = query.bind(sweep.sessions_before.millis()).bind(SWEEP_MAX);
    Ok(query.fetch_all(connection).await?)
}
