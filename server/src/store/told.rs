//! Which clients were told of which sessions, and have yet to hear of the end.

use symbolon_core::{
    client::ClientId,
    id::{EntryId, SessionId},
    notice::Notice,
    time::Time,
};

use super::{
    Store, StoreError,
    engine::{Connection, in_powers_of_two, placeholders, sql, sql_of},
    rows,
};

impl Store {
    /// Whether it is noted that a client was told of a session.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn is_told(&self, session: SessionId, client: &ClientId) -> Result<bool, StoreError> {
        let query = "SELECT 1 FROM told WHERE session = $1 AND client = $2";
        let query = sql(query).bind(&session.as_bytes()[..]).bind(client.as_str());
        Ok(!self.read(query).await?.is_empty())
    }

    /// Clients that are due at `now` to hear of the end of a session: up to `most` of them, and for each client those
    /// that are due longest, up to `each`. Nobody's many keep out another's few.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn due(&self, now: Time, each: u32, most: u32) -> Result<Vec<Notice>, StoreError> {
        let query = "SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY client ORDER BY due_at) AS place \
                     FROM told WHERE due_at <= $1) AS due WHERE place <= $2 ORDER BY place, due_at LIMIT $3";
        let query = sql(query).bind(now.millis());
        let query = query.bind(i64::from(each)).bind(i64::from(most));
        self.read(query).await?.iter().map(rows::notice).collect()
    }

    /// Takes it upon this process to tell a client, until then. Not if another one was faster.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn claim_notice(
        &self,
        notice: &Notice,
        now: Time,
        until: Time,
    ) -> Result<bool, StoreError> {
        let query =
            "UPDATE told SET due_at = $4 WHERE session = $1 AND client = $2 AND due_at <= $3";
        let query = sql(query).bind(&notice.session.as_bytes()[..]).bind(notice.client.as_str());
        self.claims(query.bind(now.millis()).bind(until.millis())).await
    }

    /// Completes when a client may have become due since it completed last.
    pub async fn became_due(&self) {
        self.due.notified().await;
    }
}

pub(super) async fn insert(
    connection: &mut Connection,
    session: SessionId,
    client: &ClientId,
    subject: &str,
    ended_at: Option<Time>,
) -> Result<(), StoreError> {
    let query = "INSERT INTO told (session, client, subject, ended_at, due_at) \
                 VALUES ($1, $2, $3, $4, $4) ON CONFLICT DO NOTHING";
    let query = sql(query).bind(&session.as_bytes()[..]).bind(client.as_str());
    query.bind(subject).bind(ended_at.map(Time::millis)).execute(connection).await?;
    Ok(())
}

/// Whoever was told of sessions hears of their end. An id of anything else is none of a session. Says whether there is
/// somebody.
pub(super) async fn make_due(
    connection: &mut Connection,
    ended: &[EntryId],
    at: Time,
) -> Result<bool, StoreError> {
    let mut made_due = false;
    for ended in in_powers_of_two(ended) {
        let text =
            "UPDATE told SET ended_at = $1, due_at = $1 WHERE ended_at IS NULL AND session IN ";
        let query = sql_of(format!("{text}{}", placeholders(2..=ended.len() + 1)));
        let query = query.bind(at.millis());
        let query = ended.iter().fold(query, |query, id| query.bind(&id.as_bytes()[..]));
        made_due |= query.execute(connection).await? > 0;
    }
    Ok(made_due)
}

pub(super) async fn remove(
    connection: &mut Connection,
    session: SessionId,
    client: &ClientId,
) -> Result<(), StoreError> {
    let query = sql("DELETE FROM told WHERE session = $1 AND client = $2");
    query.bind(&session.as_bytes()[..]).bind(client.as_str()).execute(connection).await?;
    Ok(())
}

/// Nobody is left to be told.
pub(super) async fn remove_client(
    connection: &mut Connection,
    client: &ClientId,
) -> Result<(), StoreError> {
    let query = sql("DELETE FROM told WHERE client = $1").bind(client.as_str());
    query.execute(connection).await?;
    Ok(())
}

pub(super) async fn put_off(
    connection: &mut Connection,
    session: SessionId,
    client: &ClientId,
    tries: u32,
    later: Time,
) -> Result<(), StoreError> {
    let query = "UPDATE told SET due_at = $3, tries = $4 WHERE session = $1 AND client = $2";
    let query = sql(query).bind(&session.as_bytes()[..]).bind(client.as_str());
    query.bind(later.millis()).bind(i64::from(tries)).execute(connection).await?;
    Ok(())
}

/// What is due to a client now is due later. What was put off already keeps its time.
pub(super) async fn put_off_all(
    connection: &mut Connection,
    client: &ClientId,
    (now, later): (Time, Time),
) -> Result<(), StoreError> {
    let query = "UPDATE told SET due_at = $3, tries = tries + 1 WHERE client = $1 AND due_at <= $2";
    let query = sql(query).bind(client.as_str()).bind(now.millis()).bind(later.millis());
    query.execute(connection).await?;
    Ok(())
}
