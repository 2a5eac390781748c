//! Ending: one session with all under it, all others, or everything of a user. One act ends both halves.

use symbolon_core::{
    change::{Change, Write},
    handle::{InvalidHandle, Kind},
    id::{SessionId, UserId},
    secret::SecretText,
    session::{Reason, Session},
    time::Time,
    user::{END_BATCH, User},
};

use super::{TRIES_MAX, Unavailable, check};
use crate::{
    app::App,
    store::{Found, Outcome},
};

/// Ends a session and every session under it. `false`: there is no such session, or it had ended.
///
/// # Errors
/// [`Unavailable`].
pub async fn session(
    app: &App,
    id: SessionId,
    reason: Reason,
    now: Time,
) -> Result<bool, Unavailable> {
    let Some(Found::Live(session, _)) = app.store.session(id).await? else { return Ok(false) };
    let outcome = app.store.commit(session.end(reason, now)).await?;
    app.live.forget(id);
    Ok(matches!(outcome, Outcome::Applied(_)))
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
) -> Result<bool, Unavailable> {
    let found = app.store.session(id).await?;
    let theirs = |session: &Session| session.login.as_ref().is_some_and(|login| login.user == user);
    match found {
        Some(Found::Live(found, _)) if theirs(&found) => session(app, id, reason, now).await,
        _ => Ok(false),
    }
}

/// Ends the session that a refresh token of `client` proves. A token that proves nothing is no error (RFC 7009,
/// section 2.2).
///
/// # Errors
/// [`Unavailable`].
pub async fn by_refresh_token(
    app: &App,
    text: &SecretText,
    now: Time,
) -> Result<Option<SessionId>, Unavailable> {
    let Ok(handle) = app.parse_handle(text, Kind::Refresh, now) else { return Ok(None) };
    let name = handle.name();
    let live = match check::load(app, name.session).await {
        Ok(live) => live,
        Err(check::Refused::Unavailable(unavailable)) => return Err(unavailable),
        Err(_) => return Ok(None),
    };
    let Some(family) = live.session.families.get(name.family) else { return Ok(None) };
    let keys = app.keys();
    let key = keys.ring.handle_key_by_short_id(handle.key(), now).ok_or(InvalidHandle::UnknownKey);
    // Any authentic generation may end its session: the holder of an old one wants it gone, too.
    if key.and_then(|key| handle.prove(key, &family.client, &live.session.salt)).is_err() {
        return Ok(None);
    }
    let ended = session(app, name.session, Reason::Logout, now).await?;
    Ok(ended.then_some(name.session))
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
    let (mut total, mut last) = (first, first);
    while last >= END_BATCH as usize {
        let mut change = Change::at(now);
        change.write(Write::EndSessionsOf { user, except, reason, most: END_BATCH });
        let Outcome::Applied(ended) = app.store.commit(change).await? else { break };
        last = ended.len();
        total += last;
    }
    app.live.forget_all();
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
