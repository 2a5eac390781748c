//! What is done to a store that was filled from a backup, which is older than what it replaces: nothing that has ended
//! since may live again, and the backup does not know what that is. So everything ends that could let anybody in.

use rand_core::Rng;
use symbolon_core::{id::EntryId, log::Entry, session::Reason, time::Time};

use super::{
    super::{
        StoreError,
        engine::{Connection, sql},
        open, rows, writes,
    },
    Restoring,
    marks::Mark,
    side::Side,
};
use crate::os::{Os, now};

/// What a restore has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// When the backup was made.
    pub made_at: Time,
    /// Sessions.
    pub sessions: u64,
    /// Keys that made cookies and tokens.
    pub keys: u64,
    /// What users had allowed to applications.
    pub consents: u64,
    /// Invitations and tokens to register clients with.
    pub invitations: u64,
}

pub(super) async fn settle(
    target: &mut Side,
    mark: &Mark,
    how: Restoring,
) -> Result<Ended, StoreError> {
    target.connection.run("BEGIN").await?;
    let to = &mut target.connection;
    let made_at = Time::from_millis(mark.made_at);
    let ended = if how.keep_sessions {
        Ended { made_at, sessions: 0, keys: 0, consents: 0, invitations: 0 }
    } else {
        end_all(to, mark, made_at).await?
    };
    // A longer lease may have been granted after the backup than it knows of.
    open::raise_lease(to, how.lease_max).await?;
    target.settle_within().await?;
    target.connection.run("COMMIT").await?;
    Ok(ended)
}

async fn end_all(to: &mut Connection, mark: &Mark, made_at: Time) -> Result<Ended, StoreError> {
    let at = now();
    // Used since then, they could be used again; and a withdrawn consent would be back.
    to.run("DELETE FROM codes; DELETE FROM pushed; DELETE FROM devices").await?;
    let mut invitations = 0;
    for table in ["DELETE FROM invitations", "DELETE FROM registration_tokens"] {
        invitations += sql(table).execute(to).await?;
    }
    let consents = sql("DELETE FROM allowed").execute(to).await?;
    let query = "UPDATE told SET ended_at = $1, due_at = $1 WHERE ended_at IS NULL";
    sql(query).bind(at.millis()).execute(to).await?;
    sql("UPDATE users SET epoch = epoch + 1, version = version + 1").execute(to).await?;
    let query = "UPDATE sessions SET ended_at = $1, end_reason = $2, version = version + 1 \
                 WHERE ended_at IS NULL";
    let query = sql(query).bind(at.millis()).bind(Reason::Restored.as_str());
    let sessions = query.execute(to).await?;
    let keys = withdraw_keys(to, mark, at).await?;
    let query = "INSERT INTO audit (at, act, reason) VALUES ($1, 'store.restored', $2)";
    sql(query).bind(at.millis()).bind(Reason::Restored.as_str()).execute(to).await?;
    Ok(Ended { made_at, sessions, keys, consents, invitations })
}

/// What was made with a key dies with it, wherever it is verified: also what the backup does not know.
async fn withdraw_keys(to: &mut Connection, mark: &Mark, at: Time) -> Result<u64, StoreError> {
    let found = sql("SELECT * FROM keys").fetch_all(to).await?;
    let known = found.iter().map(rows::key).collect::<Result<Vec<_>, _>>()?;
    let mut ids: Vec<[u8; 16]> = known.iter().map(|key| *key.id.as_bytes()).collect();
    ids.extend(&mark.keys);
    ids.sort_unstable();
    ids.dedup();
    let (head, _) = open::load_head(to).await?;
    let query = "SELECT COALESCE(MAX(sequence), 0) AS sequence FROM revocations";
    let last = sql(query).fetch_optional(to).await?;
    let last = last.map_or(Ok(0), |row| rows::count(&row, "sequence"))?.max(head);
    let entries = (last + 1..).zip(&ids).map(|(sequence, id)| {
        let mut tag = [0; 8];
        Os.fill_bytes(&mut tag);
        Entry { sequence, tag, id: EntryId::from_bytes(*id) }
    });
    writes::insert_entries(to, &entries.collect::<Vec<_>>(), at).await?;
    let query = "UPDATE keys SET withdrawn_at = $1 WHERE withdrawn_at IS NULL";
    sql(query).bind(at.millis()).execute(to).await?;
    Ok(ids.len() as u64)
}
