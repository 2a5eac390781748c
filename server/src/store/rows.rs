//! Rows to values and back. What does not parse is [`StoreError::Damaged`], never a guess.

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};
use symbolon_core::{
    client::{Client, SecretDigest},
    code::{Code, CodeDigest},
    data::{DataVersion, Document},
    handle::{Generation, Salt},
    id::InvalidId,
    keys::KeyRecord,
    log::{Entry, Tag},
    notice::Notice,
    oauth::{
        device::{DEVICES_MAX, UserCodeDigest, Waiting},
        pushed::{PUSHED_MAX, Pushed, PushedDigest},
    },
    secret::SecretText,
    session::{Assurance, Cookie, Device, Limits, Login, Reason, Session, Version},
    time::Time,
    user::{Epoch, User},
};

use super::{
    Allowed, Found, StoreError,
    engine::{Row, Statement, sql},
};

fn damaged(table: &'static str, what: impl std::fmt::Display) -> StoreError {
    StoreError::Damaged { table, what: what.to_string() }
}

/// A count as the engine knows it. Versions and generations never come near the limit.
pub(super) fn int(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(super) fn count(row: &Row, column: &'static str) -> Result<u64, StoreError> {
    u64::try_from(row.try_get::<i64>(column)?).map_err(|error| damaged(column, error))
}

pub(super) fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn time(row: &Row, column: &'static str) -> Result<Time, StoreError> {
    Ok(Time::from_millis(row.try_get(column)?))
}

/// An id column.
pub(super) fn id<T>(row: &Row, column: &'static str) -> Result<T, StoreError>
where
    T: for<'a> TryFrom<&'a [u8], Error = InvalidId>,
{
    T::try_from(row.try_get::<&[u8]>(column)?).map_err(|error| damaged(column, error))
}

fn optional_id<T>(row: &Row, column: &'static str) -> Result<Option<T>, StoreError>
where
    T: for<'a> TryFrom<&'a [u8], Error = InvalidId>,
{
    let bytes = row.try_get::<Option<&[u8]>>(column)?;
    bytes.map(|bytes| T::try_from(bytes).map_err(|error| damaged(column, error))).transpose()
}

/// The JSON text of a value.
pub(super) fn json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| damaged("a value to write", error))
}

fn parse_json<T: DeserializeOwned>(row: &Row, column: &'static str) -> Result<T, StoreError> {
    serde_json::from_str(row.try_get(column)?).map_err(|error| damaged(column, error))
}

pub(super) fn found(row: &Row) -> Result<Found, StoreError> {
    if let Some(reason) = row.try_get::<Option<&str>>("end_reason")? {
        let reason = Reason::parse(reason).ok_or_else(|| damaged("sessions", reason))?;
        return Ok(Found::Ended(reason, optional_id(row, "user_id")?));
    }
    let user = row.try_get::<Option<&[u8]>>("u_id")?.is_some();
    Ok(Found::Live(
        Box::new(session(row)?),
        if user { Some(Box::new(self::user(row)?)) } else { None },
    ))
}

pub(super) fn session(row: &Row) -> Result<Session, StoreError> {
    let salt: &[u8] = row.try_get("salt")?;
    let client: &str = row.try_get("client")?;
    let idle_ms = count(row, "idle_ms")?;
    Ok(Session {
        id: id(row, "id")?,
        version: Version(count(row, "version")?),
        parent: optional_id(row, "parent")?,
        granted_by: optional_id(row, "granted_by")?,
        client: client.parse().map_err(|error| damaged("sessions", error))?,
        login: login(row)?,
        device: device(row)?,
        opened_at: time(row, "opened_at")?,
        seen_at: time(row, "seen_at")?,
        limits: Limits { idle: Duration::from_millis(idle_ms), ends_at: time(row, "ends_at")? },
        salt: Salt::new(salt.try_into().map_err(|error| damaged("sessions", error))?),
        cookie: cookie(row)?,
        families: parse_json(row, "families")?,
    })
}

pub(super) fn device(row: &Row) -> Result<Device, StoreError> {
    parse_json(row, "device")
}

fn login(row: &Row) -> Result<Option<Login>, StoreError> {
    let Some(user) = optional_id(row, "user_id")? else { return Ok(None) };
    let assurance = match row.try_get("assurance")? {
        "aal1" => Assurance::Aal1,
        "aal2" => Assurance::Aal2,
        other => return Err(damaged("sessions", other)),
    };
    Ok(Some(Login {
        user,
        epoch: Epoch(count(row, "epoch")?),
        at: time(row, "auth_at")?,
        methods: parse_json(row, "methods")?,
        assurance,
        remembered: row.try_get("remembered")?,
    }))
}

fn cookie(row: &Row) -> Result<Option<Cookie>, StoreError> {
    let Some(key) = optional_id(row, "cookie_key")? else { return Ok(None) };
    let generation = u32::try_from(count(row, "cookie_generation")?)
        .map_err(|error| damaged("sessions", error))?;
    Ok(Some(Cookie { generation: Generation(generation), key }))
}

pub(super) fn insert_session(session: &Session) -> Result<Statement<'_>, StoreError> {
    let query = "INSERT INTO sessions (id, parent, client, user_id, epoch, auth_at, methods, assurance, remembered, \
                 device, opened_at, seen_at, idle_ms, ends_at, salt, cookie_generation, cookie_key, families, granted_by, \
                 version) \
                 SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, 1 \
                 WHERE ($2 IS NULL OR EXISTS (SELECT 1 FROM sessions WHERE id = $2 AND ended_at IS NULL)) \
                 AND ($4 IS NULL OR EXISTS \
                 (SELECT 1 FROM users WHERE id = $4 AND epoch <= $5 AND disabled_at IS NULL))";
    let login = session.login.as_ref();
    Ok(sql(query)
        .bind(&session.id.as_bytes()[..])
        .bind(session.parent.as_ref().map(|id| &id.as_bytes()[..]))
        .bind(session.client.as_str())
        .bind(login.map(|login| &login.user.as_bytes()[..]))
        .bind(login.map(|login| int(login.epoch.0)))
        .bind(login.map(|login| login.at.millis()))
        .bind(login.map(|login| json(&login.methods)).transpose()?)
        .bind(login.map(|login| login.assurance.as_str()))
        .bind(login.map(|login| login.remembered))
        .bind(json(&session.device)?)
        .bind(session.opened_at.millis())
        .bind(session.seen_at.millis())
        .bind(millis(session.limits.idle))
        .bind(session.limits.ends_at.millis())
        .bind(&session.salt.expose()[..])
        .bind(session.cookie.map(|cookie| i64::from(cookie.generation.0)))
        .bind(session.cookie.as_ref().map(|cookie| &cookie.key.as_bytes()[..]))
        .bind(json(&session.families)?)
        .bind(session.granted_by.as_ref().map(|id| &id.as_bytes()[..])))
}

/// What can change of a live session. Its id, parent, client, user, limits and salt cannot.
pub(super) fn update_session(session: &Session) -> Result<Statement<'_>, StoreError> {
    let query = "UPDATE sessions SET version = version + 1, epoch = $3, auth_at = $4, methods = $5, assurance = $6, \
                 device = $7, seen_at = CASE WHEN seen_at < $8 THEN $8 ELSE seen_at END, cookie_generation = $9, cookie_key = $10, families = $11, \
                 remembered = $12, idle_ms = $13, ends_at = $14 \
                 WHERE id = $1 AND version = $2 AND ended_at IS NULL";
    let login = session.login.as_ref();
    Ok(sql(query)
        .bind(&session.id.as_bytes()[..])
        .bind(int(session.version.0))
        .bind(login.map(|login| int(login.epoch.0)))
        .bind(login.map(|login| login.at.millis()))
        .bind(login.map(|login| json(&login.methods)).transpose()?)
        .bind(login.map(|login| login.assurance.as_str()))
        .bind(json(&session.device)?)
        .bind(session.seen_at.millis())
        .bind(session.cookie.map(|cookie| i64::from(cookie.generation.0)))
        .bind(session.cookie.as_ref().map(|cookie| &cookie.key.as_bytes()[..]))
        .bind(json(&session.families)?)
        .bind(login.map(|login| login.remembered))
        .bind(millis(session.limits.idle))
        .bind(session.limits.ends_at.millis()))
}

pub(super) fn user(row: &Row) -> Result<User, StoreError> {
    let name: &str = row.try_get("name")?;
    Ok(User {
        id: id(row, "u_id")?,
        version: Version(count(row, "u_version")?),
        name: name.parse().map_err(|error| damaged("users", error))?,
        password: SecretText::new(row.try_get("password")?),
        roles: parse_json(row, "roles")?,
        profile: parse_json(row, "profile")?,
        epoch: Epoch(count(row, "u_epoch")?),
        disabled_at: row.try_get::<Option<i64>>("disabled_at")?.map(Time::from_millis),
        added_at: time(row, "added_at")?,
    })
}

pub(super) fn insert_user(user: &User) -> Result<Statement<'_>, StoreError> {
    let query = "INSERT INTO users (id, version, name, password, roles, epoch, disabled_at, added_at, profile) \
                 VALUES ($1, 1, $2, $3, $4, $5, $6, $7, $8)";
    Ok(sql(query)
        .bind(&user.id.as_bytes()[..])
        .bind(user.name.as_str())
        .bind(user.password.expose())
        .bind(json(&user.roles)?)
        .bind(int(user.epoch.0))
        .bind(user.disabled_at.map(Time::millis))
        .bind(user.added_at.millis())
        .bind(json(&user.profile)?))
}

pub(super) fn document(row: &Row) -> Result<Document, StoreError> {
    Ok(Document {
        version: DataVersion(count(row, "version")?),
        values: parse_json(row, "document")?,
    })
}

pub(super) fn client(row: &Row) -> Result<Client, StoreError> {
    let secret = row.try_get::<Option<&[u8]>>("secret")?;
    let digest = |bytes: &[u8]| {
        bytes.try_into().map(SecretDigest::from_bytes).map_err(|error| damaged("clients", error))
    };
    Ok(Client { secret: secret.map(digest).transpose()?, ..parse_json(row, "document")? })
}

pub(super) fn insert_client(client: &Client) -> Result<Statement<'_>, StoreError> {
    client_statement("INSERT INTO clients (id, secret, document) VALUES ($1, $2, $3)", client)
}

pub(super) fn update_client(client: &Client) -> Result<Statement<'_>, StoreError> {
    client_statement("UPDATE clients SET secret = $2, document = $3 WHERE id = $1", client)
}

fn client_statement<'q>(
    query: &'static str,
    client: &'q Client,
) -> Result<Statement<'q>, StoreError> {
    let secret = client.secret.as_ref().map(|digest| &digest.as_bytes()[..]);
    Ok(sql(query).bind(client.id.as_str()).bind(secret).bind(json(client)?))
}

pub(super) fn code(row: &Row) -> Result<Code, StoreError> {
    let client: &str = row.try_get("client")?;
    Ok(Code {
        digest: CodeDigest::from_bytes(digest(row, "digest")?),
        client: client.parse().map_err(|error| damaged("codes", error))?,
        asked: parse_json(row, "asked")?,
        session: id(row, "session")?,
        epoch: Epoch(count(row, "epoch")?),
        expires_at: time(row, "expires_at")?,
        child: optional_id(row, "child")?,
    })
}

fn digest(row: &Row, column: &'static str) -> Result<[u8; 32], StoreError> {
    let bytes = row.try_get::<&[u8]>(column)?;
    bytes.try_into().map_err(|error| damaged(column, error))
}

/// Inserts a code while its session is alive and at this version.
pub(super) fn insert_code(code: &Code, version: Version) -> Result<Statement<'_>, StoreError> {
    let query = "INSERT INTO codes (digest, client, asked, session, epoch, expires_at) \
                 SELECT $1, $2, $3, $4, $5, $6 \
                 WHERE EXISTS (SELECT 1 FROM sessions WHERE id = $4 AND version = $7 AND ended_at IS NULL)";
    Ok(sql(query)
        .bind(&code.digest.as_bytes()[..])
        .bind(code.client.as_str())
        .bind(json(&code.asked)?)
        .bind(&code.session.as_bytes()[..])
        .bind(int(code.epoch.0))
        .bind(code.expires_at.millis())
        .bind(int(version.0)))
}

/// Inserts a waiting device, unless too many of its client wait at `now`.
pub(super) fn insert_device(waiting: &Waiting, now: Time) -> Statement<'_> {
    let query = "INSERT INTO devices (digest, user_code, client, scope, resource, interval_ms, next_at, denied, expires_at) \
                 SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9 \
                 WHERE (SELECT COUNT(*) FROM devices WHERE client = $3 AND expires_at > $10) < $11";
    sql(query)
        .bind(&waiting.digest.as_bytes()[..])
        .bind(&waiting.user_code.as_bytes()[..])
        .bind(waiting.client.as_str())
        .bind(&*waiting.scope)
        .bind(waiting.resource.as_deref())
        .bind(millis(waiting.interval))
        .bind(waiting.next_at.millis())
        .bind(waiting.denied)
        .bind(waiting.expires_at.millis())
        .bind(now.millis())
        .bind(i64::from(DEVICES_MAX))
}

pub(super) fn device_waiting(row: &Row) -> Result<Waiting, StoreError> {
    let client: &str = row.try_get("client")?;
    let interval_ms = count(row, "interval_ms")?;
    Ok(Waiting {
        digest: CodeDigest::from_bytes(digest(row, "digest")?),
        user_code: UserCodeDigest::from_bytes(digest(row, "user_code")?),
        client: client.parse().map_err(|error| damaged("devices", error))?,
        scope: row.try_get::<&str>("scope")?.into(),
        resource: row.try_get::<Option<&str>>("resource")?.map(Into::into),
        expires_at: time(row, "expires_at")?,
        interval: Duration::from_millis(interval_ms),
        next_at: time(row, "next_at")?,
        denied: row.try_get("denied")?,
    })
}

/// Inserts a pushed request, unless too many of its client rest.
pub(super) fn insert_pushed(pushed: &Pushed) -> Statement<'_> {
    let query = "INSERT INTO pushed (digest, client, form, expires_at) SELECT $1, $2, $3, $4 \
                 WHERE (SELECT COUNT(*) FROM pushed WHERE client = $2) < $5";
    sql(query)
        .bind(&pushed.digest.as_bytes()[..])
        .bind(pushed.client.as_str())
        .bind(&*pushed.form)
        .bind(pushed.expires_at.millis())
        .bind(i64::from(PUSHED_MAX))
}

pub(super) fn pushed(row: &Row, digest: PushedDigest) -> Result<Pushed, StoreError> {
    let client: &str = row.try_get("client")?;
    Ok(Pushed {
        digest,
        client: client.parse().map_err(|error| damaged("pushed", error))?,
        form: row.try_get::<&str>("form")?.into(),
        expires_at: time(row, "expires_at")?,
    })
}

pub(super) fn allowed(row: &Row) -> Result<Allowed, StoreError> {
    let client: &str = row.try_get("client")?;
    Ok(Allowed {
        client: client.parse().map_err(|error| damaged("allowed", error))?,
        scope: row.try_get::<&str>("scope")?.into(),
        since: time(row, "since")?,
    })
}

pub(super) fn key(row: &Row) -> Result<KeyRecord, StoreError> {
    let usage: &str = row.try_get("usage")?;
    Ok(KeyRecord {
        id: id(row, "id")?,
        usage: usage.parse().map_err(|error| damaged("keys", error))?,
        sealed: row.try_get::<Vec<u8>>("sealed")?.into(),
        created_at: time(row, "created_at")?,
        activates_at: time(row, "activates_at")?,
        withdrawn_at: row.try_get::<Option<i64>>("withdrawn_at")?.map(Time::from_millis),
    })
}

pub(super) fn insert_key(key: &KeyRecord) -> Statement<'_> {
    let query = "INSERT INTO keys (id, usage, sealed, created_at, activates_at, withdrawn_at) \
                 VALUES ($1, $2, $3, $4, $5, $6)";
    sql(query)
        .bind(&key.id.as_bytes()[..])
        .bind(key.usage.to_string())
        .bind(&key.sealed[..])
        .bind(key.created_at.millis())
        .bind(key.activates_at.millis())
        .bind(key.withdrawn_at.map(Time::millis))
}

pub(super) fn notice(row: &Row) -> Result<Notice, StoreError> {
    let client: &str = row.try_get("client")?;
    Ok(Notice {
        session: id(row, "session")?,
        client: client.parse().map_err(|error| damaged("told", error))?,
        subject: row.try_get::<&str>("subject")?.into(),
        ended_at: time(row, "ended_at")?,
        tries: u32::try_from(count(row, "tries")?).unwrap_or(u32::MAX),
    })
}

pub(super) fn entry(row: &Row) -> Result<Entry, StoreError> {
    Ok(Entry { sequence: count(row, "sequence")?, tag: tag(row)?, id: id(row, "entry")? })
}

pub(super) fn tag(row: &Row) -> Result<Tag, StoreError> {
    let bytes = row.try_get::<&[u8]>("tag")?;
    bytes.try_into().map_err(|_| damaged("revocations", "a tag has 8 bytes"))
}
