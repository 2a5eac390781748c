//! Ending: one session with all under it, all others, or everything of a user. One act ends both halves.

use symbolon_core::{
    audit::{Act, Event},
    change::{Change, Write},
    client::Client,
    handle::{InvalidHandle, Kind},
    id::{SessionId, TokenId, UserId},
    secret::SecretText,
    session::Reason,
    time::Time,
    user::{END_BATCH, User},
};

use super::{TRIES_MAX, Unavailable, check};
use crate::{
    app::App,
    store::{Found, Outcome},
};

/// What became of a session that was to be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It has ended now, with every session under it.
    Now,
    /// It had ended before.
    Before,
    /// There is no such session, or it is none of the caller's.
    Unknown,
}

/// Ends a session and every session under it.
///
/// # Errors
/// [`Unavailable`].
pub async fn session(
    app: &App,
    id: SessionId,
    reason: Reason,
    now: Time,
) -> Result<Ending, Unavailable> {
    let found = app.store.session(id).await?;
    end(app, found, reason, now).await
}

async fn end(
    app: &App,
    found: Option<Found>,
    reason: Reason,
    now: Time,
) -> Result<Ending, Unavailable> {
    let session = match found {
        Some(Found::Live(session, _)) => session,
        Some(Found::Ended(..)) => return Ok(Ending::Before),
        None => return Ok(Ending::Unknown),
    };
    let id = session.id;
    let outcome = app.store.commit(session.end(reason, now)).await?;
    app.live.forget(id);
    Ok(if matches!(outcome, Outcome::Applied(_)) { Ending::Now } else { Ending::Before })
}

/// Ends a session of this user, and of nobody else.
///
/// # Errors
/// [`Unavailable`].
pub async fn session_of(
    app: &App,
    user: UserId,
    id: SessionId,
    reason: Reason,
    now: Time,
) -> Result<Ending, Unavailable> {
    let found = app.store.session(id).await?;
    let owner = match &found {
        Some(Found::Live(session, _)) => session.login.as_ref().map(|login| login.user),
        Some(Found::Ended(_, owner)) => *owner,
        None => None,
    };
    if owner == Some(user) { end(app, found, reason, now).await } else { Ok(Ending::Unknown) }
}

/// Ends the session that a refresh token proves. One that proves nothing is no error (RFC 7009, section 2.2).
///
/// # Errors
/// [`Unavailable`].
pub async fn by_refresh_token(app: &App, text: &SecretText, now: Time) -> Result<(), Unavailable> {
    end_proven(app, text, None, now).await
}

/// Ends what a client got: an access token, or the session behind a refresh token (RFC 7009). What is another client's,
/// or proves nothing, is left alone.
///
/// # Errors
/// [`Unavailable`].
pub async fn half(
    app: &App,
    client: &Client,
    text: &SecretText,
    now: Time,
) -> Result<(), Unavailable> {
    if text.expose().starts_with(Kind::Refresh.prefix()) {
        return end_proven(app, text, Some(client), now).await;
    }
    match check::token(app, text, now) {
        Ok(verified) if verified.claims.client_id == client.id => {
            token(app, verified.claims.jti, now).await
        }
        _ => Ok(()),
    }
}

/// Ends the session of an app whose cookie this is. One that proves nothing is no error.
///
/// # Errors
/// [`Unavailable`].
pub async fn by_child_cookie(app: &App, text: &SecretText, now: Time) -> Result<(), Unavailable> {
    match check::cookie_at_store(app, text, now).await {
        Ok(live) if live.session.parent.is_some() => {
            session(app, live.session.id, Reason::Logout, now).await.map(drop)
        }
        Err(check::Refused::Unavailable(unavailable)) => Err(unavailable),
        _ => Ok(()),
    }
}

/// Ends a session that was opened for this client: a visitor's, or the one that an application has under a login.
///
/// # Errors
/// [`Unavailable`].
pub async fn session_of_client(
    app: &App,
    client: &Client,
    id: SessionId,
    now: Time,
) -> Result<Ending, Unavailable> {
    match app.store.session(id).await? {
        Some(Found::Live(session, user)) if session.client == client.id => {
            end(app, Some(Found::Live(session, user)), Reason::Logout, now).await
        }
        _ => Ok(Ending::Unknown),
    }
}

async fn end_proven(
    app: &App,
    text: &SecretText,
    only: Option<&Client>,
    now: Time,
) -> Result<(), Unavailable> {
    let Ok(handle) = app.parse_handle(text, Kind::Refresh, now) else { return Ok(()) };
    let name = handle.name();
    let live = match check::load(app, name.session).await {
        Ok(live) => live,
        Err(check::Refused::Unavailable(unavailable)) => return Err(unavailable),
        Err(_) => return Ok(()),
    };
    let Some(family) = live.session.families.get(name.family) else { return Ok(()) };
    if only.is_some_and(|client| client.id != family.client) {
        return Ok(());
    }
    let keys = app.keys();
    let key = keys.ring.handle_key_by_short_id(handle.key(), now).ok_or(InvalidHandle::UnknownKey);
    // Any authentic generation may end its session: the holder of an old one wants it gone, too.
    if key.and_then(|key| handle.prove(key, &family.client, &live.session.salt)).is_ok() {
        session(app, name.session, Reason::Logout, now).await?;
    }
    Ok(())
}

/// Ends a session that the store does not know. If history was lost, it may live on in tokens.
///
/// # Errors
/// [`Unavailable`].
pub async fn unknown(app: &App, id: SessionId, now: Time) -> Result<(), Unavailable> {
    let mut change = Change::at(now);
    change.end(id.entry());
    app.store.commit(change).await?;
    Ok(())
}

/// Ends one access token; its session goes on.
///
/// # Errors
/// [`Unavailable`].
pub async fn token(app: &App, id: TokenId, now: Time) -> Result<(), Unavailable> {
    let mut change = Change::at(now);
    change.end(id.entry());
    change.record(Event::of_server(Act::TokenEnded));
    app.store.commit(change).await?;
    Ok(())
}

/// Ends all sessions of a user, or all but `keep` and those under it. Returns how many. When this returns, none of them
/// is accepted, and no login that was under way has slipped through.
///
/// # Errors
/// [`Unavailable`].
pub async fn sessions_of(
    app: &App,
    user: UserId,
    keep: Option<SessionId>,
    reason: Reason,
    now: Time,
) -> Result<usize, Unavailable> {
    for _ in 0..TRIES_MAX {
        let Some(user) = app.store.user(user).await? else { return Ok(0) };
        let keep = match keep {
            Some(id) => match app.store.session(id).await? {
                Some(Found::Live(session, _)) => Some(*session),
                // The session that asked has ended meanwhile: it may not end others any more.
                _ => return Ok(0),
            },
            None => None,
        };
        let kept = keep.as_ref().map(|session| session.id);
        let user_id = user.id;
        let change = user.end_sessions(keep, reason, now);
        if let Outcome::Applied(ended) = app.store.commit(change).await? {
            return finish(app, user_id, kept, reason, ended.len(), now).await;
        }
    }
    Err(Unavailable::contended())
}

/// Goes on until no batch finds another session. The epoch is raised already.
pub(super) async fn finish(
    app: &App,
    user: UserId,
    except: Option<SessionId>,
    reason: Reason,
    first: usize,
    now: Time,
) -> Result<usize, Unavailable> {
    // The rows have the new epoch: a copy must not outlast it, even if a later batch fails.
    app.live.forget_all();
    let (mut total, mut last) = (first, first);
    while last >= END_BATCH as usize {
        let mut change = Change::at(now);
        change.write(Write::EndSessionsOf { user, except, reason, most: END_BATCH });
        let Outcome::Applied(ended) = app.store.commit(change).await? else { break };
        last = ended.len();
        total += last;
    }
    Ok(total)
}

/// Disables a user: nobody logs in, and everything ends.
///
/// # Errors
/// [`Unavailable`].
pub async fn disable(app: &App, user: UserId, now: Time) -> Result<Option<usize>, Unavailable> {
    for _ in 0..TRIES_MAX {
        let Some(user) = app.store.user(user).await? else { return Ok(None) };
        let id = user.id;
        let disabled = User { disabled_at: user.disabled_at.or(Some(now)), ..user };
        let change = disabled.end_sessions(None, Reason::UserDisabled, now);
        if let Outcome::Applied(ended) = app.store.commit(change).await? {
            return finish(app, id, None, Reason::UserDisabled, ended.len(), now).await.map(Some);
        }
    }
    Err(Unavailable::contended())
}
