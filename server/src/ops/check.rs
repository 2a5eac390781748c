//! The check of a presented half: which live session does it prove?

use std::sync::Arc;

use symbolon_core::{
    handle::{Handle, InvalidHandle, Kind, Proven},
    id::SessionId,
    secret::SecretText,
    session::{Lapse, Reason},
    time::Time,
    token::{AccessToken, InvalidToken},
};

use super::Unavailable;
use crate::{app::App, live::Live, store::Found};

/// Why a half proves nothing. Outsiders hear one answer for all but [`Self::Renewed`] and [`Self::Unavailable`].
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It is no half of ours.
    #[error(transparent)]
    Handle(#[from] InvalidHandle),
    /// It is no token of ours.
    #[error(transparent)]
    Token(#[from] InvalidToken),
    /// There is no such session.
    #[error("no such session")]
    Unknown,
    /// The session was ended.
    #[error("the session ended: {}", .0.as_str())]
    Ended(Reason),
    /// The id of the session, the half, the client or the key is in the revocation log.
    #[error("revoked")]
    Revoked,
    /// The session does not count now.
    #[error(transparent)]
    Lapsed(Lapse),
    /// A change of privilege gave this browser a newer cookie.
    #[error("the session cookie was renewed")]
    Renewed,
    /// Nobody can tell now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// The session that a cookie proves now. Where it was proven lately, no store is asked.
///
/// # Errors
/// [`Refused`].
pub async fn cookie(app: &App, text: &SecretText, now: Time) -> Result<Arc<Live>, Refused> {
    let handle = app.parse_handle(text, Kind::Cookie, now)?;
    let id = handle.name().session;
    if let Some(live) = app.live.get(id, now) {
        match verify(app, &live, handle.clone(), now) {
            // A copy may be behind the row: a lapse is only refused when the row says so.
            Err(Refused::Lapsed(_)) => app.live.forget(id),
            decided => {
                decided?;
                app.live.saw(&live, now);
                return Ok(live);
            }
        }
    }
    let mark = app.live.mark();
    let live = at_store(app, handle, now).await?;
    app.live.saw(&live, now);
    app.live.put(Arc::clone(&live), mark);
    Ok(live)
}

/// The session that a cookie proves by its row. Whoever gives out something new for a cookie asks this, and asks again
/// when the row has changed: a cookie that was replaced meanwhile gets nothing.
///
/// # Errors
/// [`Refused`].
pub async fn cookie_at_store(
    app: &App,
    text: &SecretText,
    now: Time,
) -> Result<Arc<Live>, Refused> {
    at_store(app, app.parse_handle(text, Kind::Cookie, now)?, now).await
}

async fn at_store(app: &App, handle: Handle, now: Time) -> Result<Arc<Live>, Refused> {
    let live = load(app, handle.name().session, now).await?;
    verify(app, &live, handle, now)?;
    Ok(live)
}

/// The session of this id, if it is alive at the store.
///
/// # Errors
/// [`Refused`].
pub async fn load(app: &App, id: SessionId, now: Time) -> Result<Arc<Live>, Refused> {
    match app.store.session(id).await.map_err(Unavailable::from)? {
        Some(Found::Live(mut session, user)) => {
            // What this process saw and has not written yet counts.
            session.seen_at =
                session.seen_at.max(app.live.last_seen(id).unwrap_or(session.seen_at));
            Ok(Arc::new(Live::new(*session, user.map(|user| *user), now)))
        }
        Some(Found::Ended(reason, _)) => Err(Refused::Ended(reason)),
        None => Err(Refused::Unknown),
    }
}

fn verify(app: &App, live: &Live, handle: Handle, now: Time) -> Result<(), Refused> {
    if app.store.is_ended(&live.entries()) {
        return Err(Refused::Revoked);
    }
    let generation = handle.name().id().entry();
    let proven = prove(app, live, handle, now)?;
    stands(live, now)?;
    match live.session.admits(proven) {
        // The copy does not know yet that this generation was replaced: ask the row.
        Ok(()) if app.store.is_ended(&[generation]) => Err(Refused::Lapsed(Lapse::Renewed)),
        Ok(()) => Ok(()),
        Err(Lapse::Renewed) => Err(Refused::Renewed),
        Err(lapse) => Err(Refused::Lapsed(lapse)),
    }
}

fn prove(app: &App, live: &Live, handle: Handle, now: Time) -> Result<Proven, Refused> {
    let keys = app.keys();
    let key =
        keys.ring.handle_key_by_short_id(handle.key(), now).ok_or(InvalidHandle::UnknownKey)?;
    Ok(handle.prove(key, &live.session.client, &live.session.salt)?)
}

/// Whether the session of a copy counts now.
///
/// # Errors
/// [`Refused::Lapsed`].
pub fn stands(live: &Live, now: Time) -> Result<(), Refused> {
    live.session.standing(live.seen_at(), live.user.as_ref(), now).map_err(Refused::Lapsed)
}

/// What an access token of ours says, if it counts now. No I/O.
///
/// # Errors
/// [`Refused`].
pub fn token(app: &App, text: &SecretText, now: Time) -> Result<AccessToken, Refused> {
    let keys = app.keys();
    let token = keys.verifier.verify(text.expose(), now)?;
    if app.store.is_ended(&token.entries()) { Err(Refused::Revoked) } else { Ok(token) }
}
