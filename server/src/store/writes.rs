//! What is written, inside a transaction of whoever calls.
//!
//! Where many write at a time, a row that decides is locked before it is read: what must hold then is written down in
//! `docs/adr/0012-many-writers-on-postgresql.md`, write by write.

use symbolon_core::{
    audit::Event,
    change::{Change, Write},
    client::Client,
    code::{CODES_MAX, Code},
    id::{EntryId, SessionId, UserId},
    log::Entry,
    session::{Reason, Session, Version},
    time::Time,
    user::User,
};

use super::{
    StoreError,
    engine::{Connection, Row, in_powers_of_two, placeholders, sql, sql_of},
    rows,
    sweep::Sweep,
    told,
};

/// Something to write.
#[derive(Debug)]
pub(super) enum Work {
    Change(Change),
    /// When sessions were last seen.
    Touch(Vec<(SessionId, Time)>),
    Sweep(Sweep),
    /// That a client trusts expiry.
    Trusting(Box<str>, Time),
    /// A reader met damage: nothing more is acknowledged.
    Stop(StoreError),
}

/// Does work that decides nothing and ends nothing. Says whether a client became due to hear of an end.
pub(super) async fn tend(connection: &mut Connection, work: &Work) -> Result<bool, StoreError> {
    match work {
        Work::Touch(seen) => touch(connection, seen).await.map(|()| false),
        Work::Sweep(what) => what.run(connection).await,
        Work::Trusting(client, at) => trusting(connection, client, *at).await.map(|()| false),
        Work::Change(_) | Work::Stop(_) => Ok(false),
    }
}

/// Why a change was not done.
pub(super) enum Refused {
    Gone,
    Conflict,
    Store(StoreError),
}

impl<E: Into<StoreError>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self::Store(error.into())
    }
}

/// What a change has done, but for the log.
pub(super) struct Done {
    /// What the log must name.
    pub(super) ended: Vec<EntryId>,
    /// When it ended. A change may have waited for the disk or for another: its entries live their whole life from now
    /// on, because until now tokens were given.
    pub(super) at: Time,
    /// Whether a client became due to hear of an end.
    pub(super) made_due: bool,
}

/// Writes everything but the entries of the log. If it is refused, what it wrote before must be taken back.
pub(super) async fn apply(connection: &mut Connection, change: &Change) -> Result<Done, Refused> {
    let mut ended = change.entries.clone();
    for write in &change.writes {
        write_one(connection, write, change.at, &mut ended).await?;
    }
    let at = crate::os::now().max(change.at);
    let made_due = told::make_due(connection, &ended, at).await?;
    for event in &change.events {
        audit(connection, event, change.at).await?;
    }
    Ok(Done { ended, at, made_due })
}

/// Writes entries of the log, many with one statement.
pub(super) async fn insert_entries(
    connection: &mut Connection,
    entries: &[Entry],
    at: Time,
) -> Result<(), StoreError> {
    for entries in in_powers_of_two(entries) {
        let text = "INSERT INTO revocations (sequence, tag, entry, at) VALUES ";
        let rows = (0..entries.len()).map(|row| placeholders(row * 4 + 1..=row * 4 + 4));
        let mut query = sql_of(format!("{text}{}", rows.collect::<Vec<_>>().join(",")));
        for entry in entries {
            query = query.bind(rows::int(entry.sequence)).bind(&entry.tag[..]);
            query = query.bind(&entry.id.as_bytes()[..]).bind(at.millis());
        }
        query.execute(connection).await?;
    }
    Ok(())
}

async fn touch(connection: &mut Connection, seen: &[(SessionId, Time)]) -> Result<(), StoreError> {
    for (id, at) in seen {
        // Not even being seen brings back a session that was silent too long. Who uses an app is seen at the browser
        // session that authorised it, too: it does not run out under them.
        let query = "UPDATE sessions SET seen_at = $2 \
                     WHERE id IN ($1, (SELECT parent FROM sessions WHERE id = $1)) AND seen_at < $2 \
                     AND seen_at + idle_ms > $2 AND ended_at IS NULL";
        sql(query).bind(&id.as_bytes()[..]).bind(at.millis()).execute(connection).await?;
    }
    Ok(())
}

async fn trusting(connection: &mut Connection, client: &str, at: Time) -> Result<(), StoreError> {
    let query = "INSERT INTO trusting (client, seen_at) VALUES ($1, $2) \
                 ON CONFLICT (client) DO UPDATE SET seen_at = excluded.seen_at \
                 WHERE trusting.seen_at < excluded.seen_at";
    sql(query).bind(client).bind(at.millis()).execute(connection).await?;
    Ok(())
}

async fn audit(connection: &mut Connection, event: &Event, at: Time) -> Result<(), StoreError> {
    let query = "INSERT INTO audit (at, act, reason, user_id, session, client) VALUES ($1, $2, $3, $4, $5, $6)";
    sql(query)
        .bind(at.millis())
        .bind(event.act.code())
        .bind(event.act.reason().map(Reason::as_str))
        .bind(event.user.as_ref().map(|id| &id.as_bytes()[..]))
        .bind(event.session.as_ref().map(|id| &id.as_bytes()[..]))
        .bind(event.client.as_ref().map(symbolon_core::client::ClientId::as_str))
        .execute(connection)
        .await?;
    Ok(())
}

async fn write_one(
    connection: &mut Connection,
    write: &Write,
    at: Time,
    log: &mut Vec<EntryId>,
) -> Result<(), Refused> {
    match write {
        Write::OpenSession(session) => open_session(connection, session).await,
        Write::SaveSession(session) => save_session(connection, session).await,
        Write::EndSession { id, reason } => {
            let ended = end_tree(connection, *id, *reason, at).await?;
            log.extend(ended.iter().map(|id| id.entry()));
            if ended.contains(id) { Ok(()) } else { Err(Refused::Gone) }
        }
        Write::EndSessionsOf { user, except, reason, most } => {
            log.extend(end_sessions_of(connection, *user, *except, *reason, *most, at).await?);
            Ok(())
        }
        Write::KeepNewest { user, keep } => {
            log.extend(keep_newest(connection, *user, *keep, at).await?);
            Ok(())
        }
        Write::CarryData { from, to } => {
            // Nobody puts more beside it.
            hold_session(connection, *from).await?;
            let query = sql("UPDATE session_data SET session = $2 WHERE session = $1");
            query.bind(&from.as_bytes()[..]).bind(&to.as_bytes()[..]).execute(connection).await?;
            Ok(())
        }
        Write::SaveData { session, client, document } => {
            save_data(connection, *session, client.as_str(), document).await
        }
        Write::AddUser(user) => insert(rows::insert_user(user)?.execute(connection).await),
        Write::SaveUser(user) => save_user(connection, user).await,
        Write::RehashPassword { user, version, hash } => {
            let query = "UPDATE users SET password = $3, version = version + 1 WHERE id = $1 AND version = $2";
            let query = sql(query)
                .bind(&user.as_bytes()[..])
                .bind(rows::int(version.0))
                .bind(hash.expose());
            one(query.execute(connection).await?, Refused::Conflict)
        }
        Write::IssueCode { code, version } => issue_code(connection, code, *version).await,
        Write::UseCode { digest, child } => {
            let query = "UPDATE codes SET child = $2 WHERE digest = $1 AND child IS NULL AND expires_at > $3";
            let query = sql(query)
                .bind(&digest.as_bytes()[..])
                .bind(&child.as_bytes()[..])
                .bind(at.millis());
            one(query.execute(connection).await?, Refused::Conflict)
        }
        Write::AllowScope { user, client, scope } => {
            let query = "INSERT INTO allowed (user_id, client, scope, since) VALUES ($1, $2, $3, $4) \
                         ON CONFLICT (user_id, client) DO UPDATE SET scope = excluded.scope";
            let query = sql(query).bind(&user.as_bytes()[..]).bind(client.as_str());
            query.bind(&**scope).bind(at.millis()).execute(connection).await?;
            Ok(())
        }
        Write::ForbidClient { user, client } => {
            log.extend(forbid(connection, *user, client.as_str(), at).await?);
            Ok(())
        }
        Write::Push(pushed) => {
            let inserted = rows::insert_pushed(pushed).execute(connection).await?;
            one(inserted, Refused::Gone)
        }
        Write::UsePushed(digest) => {
            let query = sql("DELETE FROM pushed WHERE digest = $1 AND expires_at > $2");
            let query = query.bind(&digest.as_bytes()[..]).bind(at.millis());
            one(query.execute(connection).await?, Refused::Conflict)
        }
        Write::BeginDevice(waiting) => {
            match rows::insert_device(waiting, at).execute(connection).await {
                Ok(inserted) => one(inserted, Refused::Gone),
                Err(error) => insert(Err::<(), _>(error)),
            }
        }
        Write::PollDevice { digest, before, next: (next_at, interval) } => {
            let query = "UPDATE devices SET next_at = $3, interval_ms = $4 \
                         WHERE digest = $1 AND next_at = $2";
            let query = sql(query).bind(&digest.as_bytes()[..]).bind(before.millis());
            let query = query.bind(next_at.millis()).bind(rows::millis(*interval));
            one(query.execute(connection).await?, Refused::Conflict)
        }
        Write::DenyDevice(digest) => {
            let query = "UPDATE devices SET denied = TRUE \
                         WHERE digest = $1 AND NOT denied AND expires_at > $2";
            let query = sql(query).bind(&digest.as_bytes()[..]).bind(at.millis());
            one(query.execute(connection).await?, Refused::Conflict)
        }
        Write::EndDevice(digest) => {
            let query = "DELETE FROM devices WHERE digest = $1 AND NOT denied AND expires_at > $2";
            let query = sql(query).bind(&digest.as_bytes()[..]).bind(at.millis());
            one(query.execute(connection).await?, Refused::Conflict)
        }
        Write::AddClient(client) => insert(rows::insert_client(client)?.execute(connection).await),
        Write::RegisterClient { client, most } => {
            let inserted = rows::insert_registered(client, *most)?.execute(connection).await?;
            one(inserted, Refused::Conflict)
        }
        Write::SaveClient(client) => save_client(connection, client).await,
        Write::RemoveClient(id) => {
            let query = sql("DELETE FROM clients WHERE id = $1").bind(id.as_str());
            one(query.execute(connection).await?, Refused::Gone)?;
            // Another client of this name asks anew.
            let query = sql("DELETE FROM allowed WHERE client = $1").bind(id.as_str());
            query.execute(connection).await?;
            told::remove_client(connection, id).await?;
            log.extend(end_sessions_for(connection, id.as_str(), at).await?);
            Ok(())
        }
        Write::Tell { session, client, subject } => {
            // Its end waits, and tells this one, too; or was before.
            hold_session(connection, *session).await?;
            let live = is_live(connection, *session).await?;
            let ended_at = (!live).then_some(at);
            Ok(told::insert(connection, *session, client, subject, ended_at).await?)
        }
        Write::Told { session, client } => Ok(told::remove(connection, *session, client).await?),
        Write::TellLater { session, client, tries, at: later, all } => {
            told::put_off(connection, *session, client, *tries, *later).await?;
            if *all {
                told::put_off_all(connection, client, (at, *later)).await?;
            }
            Ok(())
        }
        Write::AddKey(key) => insert(rows::insert_key(key).execute(connection).await),
        Write::WithdrawKey(id) => {
            let query = "UPDATE keys SET withdrawn_at = $2 WHERE id = $1 AND withdrawn_at IS NULL";
            let query = sql(query).bind(&id.as_bytes()[..]).bind(at.millis());
            one(query.execute(connection).await?, Refused::Gone)
        }
        Write::RemoveKey(id) => {
            let query = sql("DELETE FROM keys WHERE id = $1").bind(&id.as_bytes()[..]);
            one(query.execute(connection).await?, Refused::Gone)
        }
        Write::AddRegistrationToken { digest, uses, expires_at } => {
            let query =
                "INSERT INTO registration_tokens (digest, uses, expires_at) VALUES ($1, $2, $3)";
            let query = sql(query).bind(&digest.as_bytes()[..]).bind(i64::from(*uses));
            insert(query.bind(expires_at.millis()).execute(connection).await)
        }
        Write::UseRegistrationToken(digest) => {
            let query = "UPDATE registration_tokens SET uses = uses - 1 \
                         WHERE digest = $1 AND uses > 0 AND expires_at > $2";
            let query = sql(query).bind(&digest.as_bytes()[..]).bind(at.millis());
            one(query.execute(connection).await?, Refused::Gone)
        }
        Write::AddInvitation { digest, expires_at } => {
            let query = sql("INSERT INTO invitations (digest, expires_at) VALUES ($1, $2)");
            insert(query.bind(&digest[..]).bind(expires_at.millis()).execute(connection).await)
        }
        Write::UseInvitation { digest } => {
            let query = sql("DELETE FROM invitations WHERE digest = $1 AND expires_at > $2");
            let query = query.bind(&digest[..]).bind(at.millis());
            one(query.execute(connection).await?, Refused::Gone)
        }
    }
}

fn one(rows: u64, otherwise: Refused) -> Result<(), Refused> {
    if rows == 1 { Ok(()) } else { Err(otherwise) }
}

fn insert<T>(result: Result<T, sqlx::Error>) -> Result<(), Refused> {
    match result {
        Ok(_) => Ok(()),
        Err(error)
            if error.as_database_error().is_some_and(|error| error.is_unique_violation()) =>
        {
            Err(Refused::Conflict)
        }
        Err(error) => Err(Refused::Store(error.into())),
    }
}

async fn open_session(connection: &mut Connection, session: &Session) -> Result<(), Refused> {
    // Neither the user nor the parent changes before this is there to be ended with them.
    if let Some(login) = &session.login {
        hold_user(connection, login.user).await?;
    }
    if let Some(parent) = session.parent {
        hold_session(connection, parent).await?;
    }
    match rows::insert_session(session)?.execute(connection).await {
        Ok(inserted) => one(inserted, Refused::Gone),
        Err(error) => insert(Err::<(), _>(error)),
    }
}

async fn issue_code(
    connection: &mut Connection,
    code: &Code,
    version: Version,
) -> Result<(), Refused> {
    hold_session(connection, code.session).await?;
    if rows::insert_code(code, version)?.execute(connection).await? == 0 {
        let live = is_live(connection, code.session).await?;
        return Err(if live { Refused::Conflict } else { Refused::Gone });
    }
    let query = "DELETE FROM codes WHERE session = $1 AND digest NOT IN \
                 (SELECT digest FROM codes WHERE session = $1 ORDER BY expires_at DESC LIMIT $2)";
    let query = sql(query).bind(&code.session.as_bytes()[..]).bind(i64::from(CODES_MAX));
    query.execute(connection).await?;
    Ok(())
}

async fn save_session(connection: &mut Connection, session: &Session) -> Result<(), Refused> {
    if rows::update_session(session)?.execute(connection).await? == 1 {
        return Ok(());
    }
    Err(if is_live(connection, session.id).await? { Refused::Conflict } else { Refused::Gone })
}

async fn save_client(connection: &mut Connection, client: &Client) -> Result<(), Refused> {
    if rows::update_client(client)?.execute(connection).await? == 1 {
        return Ok(());
    }
    let query = sql("SELECT 1 FROM clients WHERE id = $1").bind(client.id.as_str());
    let there = query.fetch_optional(connection).await?.is_some();
    Err(if there { Refused::Conflict } else { Refused::Gone })
}

/// Until this transaction is over, nobody else ends or changes the session.
async fn hold_session(connection: &mut Connection, id: SessionId) -> Result<(), StoreError> {
    let query = "SELECT 1 FROM sessions WHERE id = $1 FOR UPDATE";
    Ok(sql(query).bind(&id.as_bytes()[..]).lock(connection).await?)
}

/// Until this transaction is over, nobody else changes the user, or opens a session of theirs.
async fn hold_user(connection: &mut Connection, id: UserId) -> Result<(), StoreError> {
    let query = "SELECT 1 FROM users WHERE id = $1 FOR UPDATE";
    Ok(sql(query).bind(&id.as_bytes()[..]).lock(connection).await?)
}

async fn is_live(connection: &mut Connection, id: SessionId) -> Result<bool, StoreError> {
    let query =
        sql("SELECT 1 FROM sessions WHERE id = $1 AND ended_at IS NULL").bind(&id.as_bytes()[..]);
    Ok(query.fetch_optional(connection).await?.is_some())
}

/// Ends a session and those under it; returns the ids of those that were alive.
async fn end_tree(
    connection: &mut Connection,
    id: SessionId,
    reason: Reason,
    at: Time,
) -> Result<Vec<SessionId>, StoreError> {
    // What a tombstone does not need is not kept: tokens and devices of ended sessions are nobody's business.
    let own = "UPDATE sessions SET ended_at = $2, end_reason = $3, families = '', device = '' \
               WHERE id = $1 AND ended_at IS NULL RETURNING id";
    let under = "UPDATE sessions SET ended_at = $2, end_reason = $3, families = '', device = '' \
                 WHERE parent = $1 AND ended_at IS NULL RETURNING id";
    let mut ended = Vec::new();
    // In this order: nothing is opened under a session whose row has ended. Under one that had ended before, nothing lives.
    for query in [own, under] {
        let query = sql(query).bind(&id.as_bytes()[..]).bind(at.millis()).bind(reason.as_str());
        ended.extend(ids(&query.fetch_all(connection).await?)?);
        if ended.is_empty() {
            break;
        }
    }
    Ok(ended)
}

pub(super) fn ids(rows: &[Row]) -> Result<Vec<SessionId>, StoreError> {
    rows.iter().map(|row| rows::id(row, "id")).collect()
}

async fn end_sessions_of(
    connection: &mut Connection,
    user: UserId,
    except: Option<SessionId>,
    reason: Reason,
    most: u32,
    at: Time,
) -> Result<Vec<EntryId>, StoreError> {
    hold_user(connection, user).await?;
    // No session has the empty id.
    let except = except.as_ref().map_or(&[][..], |id| &id.as_bytes()[..]);
    let live = "SELECT 1 FROM sessions WHERE user_id = $1 AND ended_at IS NULL AND id <> $2 \
                AND (parent IS NULL OR parent <> $2) LIMIT 1";
    let live = sql(live).bind(&user.as_bytes()[..]).bind(except);
    let end = "UPDATE sessions SET ended_at = $3, end_reason = $4, families = '', device = '' WHERE id IN \
               (SELECT id FROM sessions WHERE user_id = $1 AND ended_at IS NULL AND id <> $2 \
                AND (parent IS NULL OR parent <> $2) ORDER BY opened_at LIMIT $5) \
               AND ended_at IS NULL RETURNING id";
    let mut ended = Vec::new();
    let left = |ended: &Vec<_>| i64::from(most) - i64::try_from(ended.len()).unwrap_or(i64::MAX);
    // Others may end some of them in the same moment. Fewer than `most` must mean that none is left.
    while left(&ended) > 0 && live.fetch_optional(connection).await?.is_some() {
        let end = sql(end).bind(&user.as_bytes()[..]).bind(except).bind(at.millis());
        let end = end.bind(reason.as_str()).bind(left(&ended));
        ended.extend(ids(&end.fetch_all(connection).await?)?);
    }
    // The version moves, too: who has loaded a child before must not write the lower epoch back.
    let lift = "UPDATE sessions SET epoch = (SELECT epoch FROM users WHERE id = $1), version = version + 1 \
                WHERE parent = $2 AND ended_at IS NULL";
    sql(lift).bind(&user.as_bytes()[..]).bind(except).execute(connection).await?;
    Ok(ended.into_iter().map(SessionId::entry).collect())
}

/// Ends what a user allowed a client: also what it has not redeemed yet.
async fn forbid(
    connection: &mut Connection,
    user: UserId,
    client: &str,
    at: Time,
) -> Result<Vec<EntryId>, Refused> {
    hold_user(connection, user).await?;
    let query = sql("DELETE FROM allowed WHERE user_id = $1 AND client = $2");
    let query = query.bind(&user.as_bytes()[..]).bind(client);
    let forgotten = query.execute(connection).await?;
    let query = "DELETE FROM codes WHERE client = $2 AND child IS NULL \
                 AND session IN (SELECT id FROM sessions WHERE user_id = $1 AND ended_at IS NULL)";
    let query = sql(query).bind(&user.as_bytes()[..]).bind(client);
    query.execute(connection).await?;
    let query = "UPDATE sessions SET ended_at = $3, end_reason = $4, families = '', device = '' \
                 WHERE ended_at IS NULL AND user_id = $1 AND client = $2 \
                 AND (parent IS NOT NULL OR granted_by IS NOT NULL) RETURNING id";
    let query = sql(query).bind(&user.as_bytes()[..]).bind(client).bind(at.millis());
    let ended = query.bind(Reason::EndedByUser.as_str()).fetch_all(connection).await?;
    if forgotten == 0 && ended.is_empty() {
        return Err(Refused::Gone);
    }
    Ok(ids(&ended)?.into_iter().map(SessionId::entry).collect())
}

async fn end_sessions_for(
    connection: &mut Connection,
    client: &str,
    at: Time,
) -> Result<Vec<EntryId>, StoreError> {
    let own = "UPDATE sessions SET ended_at = $2, end_reason = $3, families = '', device = '' \
               WHERE ended_at IS NULL AND client = $1 RETURNING id";
    // As in `end_tree`, in this order.
    let under = "UPDATE sessions SET ended_at = $2, end_reason = $3, families = '', device = '' \
                 WHERE ended_at IS NULL AND parent IN (SELECT id FROM sessions WHERE client = $1) \
                 RETURNING id";
    let mut ended = Vec::new();
    for query in [own, under] {
        let query = sql(query).bind(client).bind(at.millis()).bind(Reason::ClientRemoved.as_str());
        ended.extend(ids(&query.fetch_all(connection).await?)?);
    }
    Ok(ended.into_iter().map(SessionId::entry).collect())
}

async fn keep_newest(
    connection: &mut Connection,
    user: UserId,
    keep: u32,
    at: Time,
) -> Result<Vec<EntryId>, StoreError> {
    let mut ended = Vec::new();
    // What apps keep after a logout pushes out no login, nor the other way round.
    let query = "SELECT id FROM (SELECT id, ROW_NUMBER() OVER (PARTITION BY granted_by IS NOT NULL \
                 ORDER BY opened_at DESC) AS place FROM sessions WHERE user_id = $1 \
                 AND ended_at IS NULL AND parent IS NULL) AS newest WHERE place > $2 LIMIT 1000";
    let query = sql(query).bind(&user.as_bytes()[..]).bind(i64::from(keep));
    for id in ids(&query.fetch_all(connection).await?)? {
        ended.extend(end_tree(connection, id, Reason::TooMany, at).await?);
    }
    Ok(ended.into_iter().map(SessionId::entry).collect())
}

async fn save_data(
    connection: &mut Connection,
    session: SessionId,
    client: &str,
    document: &symbolon_core::data::Document,
) -> Result<(), Refused> {
    hold_session(connection, session).await?;
    let query = if document.version.0 == 0 {
        "INSERT INTO session_data (session, client, version, document) SELECT $1, $2, $3 + 1, $4 \
         WHERE EXISTS (SELECT 1 FROM sessions WHERE id = $1 AND ended_at IS NULL) ON CONFLICT DO NOTHING"
    } else {
        "UPDATE session_data SET version = version + 1, document = $4 WHERE session = $1 AND client = $2 \
         AND version = $3 AND EXISTS (SELECT 1 FROM sessions WHERE id = $1 AND ended_at IS NULL)"
    };
    let query =
        sql(query).bind(&session.as_bytes()[..]).bind(client).bind(rows::int(document.version.0));
    if query.bind(document.to_json()).execute(connection).await? == 1 {
        return Ok(());
    }
    Err(if is_live(connection, session).await? { Refused::Conflict } else { Refused::Gone })
}

async fn save_user(connection: &mut Connection, user: &User) -> Result<(), Refused> {
    let query = "UPDATE users SET version = version + 1, password = $3, roles = $4, epoch = $5, disabled_at = $6, \
                 profile = $7 \
                 WHERE id = $1 AND version = $2";
    let query = sql(query)
        .bind(&user.id.as_bytes()[..])
        .bind(rows::int(user.version.0))
        .bind(user.password.expose())
        .bind(rows::json(&user.roles)?)
        .bind(rows::int(user.epoch.0))
        .bind(user.disabled_at.map(Time::millis))
        .bind(rows::json(&user.profile)?);
    one(query.execute(connection).await?, Refused::Conflict)
}
