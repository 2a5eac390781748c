//! The check of a presented half: which live session does it prove?

use std::sync::Arc;

use symbolon_core::{
    handle::{HandleKey, InvalidHandle, Kind, Proven, Unchecked},
    id::{KeyId, SessionId},
    secret::SecretText,
    session::{Lapse, Reason},
    time::Time,
    token::{self, AccessToken, InvalidToken},
};

use super::Unavailable;
use crate::{
    app::{App, Keys, Verified},
    live::{Known, Live},
    store::Found,
};

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

/// What a session cookie proves now. Where exactly this cookie was proven lately, no store is asked.
///
/// # Errors
/// [`Refused`].
pub async fn cookie(app: &App, text: &SecretText, now: Time) -> Result<Arc<Known>, Refused> {
    let cookie = Unchecked::read(text.expose())?;
    let known = app.live.get(cookie.session(), now);
    let known = known.filter(|known| known.is_of(&cookie) && counts(app, known, now));
    let known = match known {
        Some(known) => known,
        // What is known may be behind the row: only the row refuses.
        None => {
            let mark = app.live.mark(now);
            let (live, proven, key) = prove(app, &cookie, now).await?;
            app.live.keep(&live, cookie, proven, key, mark)
        }
    };
    app.live.saw(&known, now);
    Ok(known)
}

/// The session that a cookie proves by its row. Whoever gives out something new for a cookie asks this, and asks again
/// when the row has changed: a cookie that was replaced meanwhile gets nothing.
///
/// # Errors
/// [`Refused`].
pub async fn cookie_at_store(app: &App, text: &SecretText, now: Time) -> Result<Live, Refused> {
    Ok(prove(app, &Unchecked::read(text.expose())?, now).await?.0)
}

/// Whether what is known of a session still counts.
pub fn counts(app: &App, known: &Known, now: Time) -> bool {
    known.standing(now).is_ok() && !app.store.is_ended(&known.entries())
}

/// Holds a cookie against its session's row. A forged one ends before the store is asked.
async fn prove(app: &App, cookie: &Unchecked, now: Time) -> Result<(Live, Proven, KeyId), Refused> {
    if cookie.kind() != Kind::Cookie {
        return Err(InvalidHandle::Malformed.into());
    }
    let keys = app.keys();
    let key =
        keys.ring.handle_key_by_short_id(cookie.key(), now).ok_or(InvalidHandle::UnknownKey)?;
    let handle = cookie.check(key)?;
    let live = load(app, cookie.session()).await?;
    if app.store.is_ended(&live.entries()) || app.store.is_ended(&[key.id().entry()]) {
        return Err(Refused::Revoked);
    }
    let proven = handle.prove(key, &live.session.client, &live.session.salt)?;
    stands(&live, now)?;
    match live.session.admits(proven) {
        // The row was read before this generation was replaced.
        Ok(()) if app.store.is_ended(&[proven.name().id().entry()]) => {
            Err(Refused::Lapsed(Lapse::Renewed))
        }
        Ok(()) => Ok((live, proven, key.id())),
        Err(Lapse::Renewed) => Err(Refused::Renewed),
        Err(lapse) => Err(Refused::Lapsed(lapse)),
    }
}

/// The session of this id, if it is alive at the store.
///
/// # Errors
/// [`Refused`].
pub async fn load(app: &App, id: SessionId) -> Result<Live, Refused> {
    match app.store.session(id).await.map_err(Unavailable::from)? {
        Some(Found::Live(mut session, user)) => {
            // What this process saw and has not written yet counts.
            if let Some(seen_at) = app.live.last_seen(id) {
                session.see(seen_at);
            }
            if let Some(client) = app.client(&session.client) {
                // One text for all its sessions.
                session.client = client.id.clone();
            }
            Ok(Live { session: *session, user: user.map(|user| *user) })
        }
        Some(Found::Ended(reason, _)) => Err(Refused::Ended(reason)),
        None => Err(Refused::Unknown),
    }
}

/// Whether the session of these rows counts now.
///
/// # Errors
/// [`Refused::Lapsed`].
pub fn stands(live: &Live, now: Time) -> Result<(), Refused> {
    live.session.standing(live.session.seen_at, live.user.as_ref(), now).map_err(Refused::Lapsed)
}

/// What an access token of ours says, if it counts now. No I/O. Where it was verified lately, it is not verified again.
///
/// # Errors
/// [`Refused`].
pub fn token(app: &App, text: &SecretText, now: Time) -> Result<Arc<Verified>, Refused> {
    let keys = app.keys();
    let verified = match keys.verified.get(text) {
        Some(verified) => {
            keys.verifier.rules().check_times(&verified.claims, now)?;
            verified
        }
        None => {
            let verified = Arc::new(Verified::new(verify(&keys, text.expose(), now)?));
            keys.verified.put(text, Arc::clone(&verified));
            verified
        }
    };
    if app.store.is_ended(&verified.entries) { Err(Refused::Revoked) } else { Ok(verified) }
}

/// A token that its holder can read, or one that nobody else can.
fn verify(keys: &Keys, text: &str, now: Time) -> Result<AccessToken, InvalidToken> {
    if !token::opaque::is_opaque(text) {
        return keys.verifier.verify(text, now);
    }
    let named = |short| keys.ring.handle_key_by_short_id(short, now).map(HandleKey::sealing);
    token::open(text, named, keys.verifier.rules(), now)
}
