//! Authorization codes: a browser that is logged in here gets a session of its own at an application on another host.

use symbolon_core::{
    client::Client,
    code::{self, Code, CodeDigest, Presented, Request},
    handle::HandleKey,
    secret::SecretText,
    session::{Reason, Session},
    time::Time,
};

use super::{TRIES_MAX, Unavailable, check, end, issue};
use crate::{
    app::{App, Os},
    live::Live,
    store::Outcome,
};

/// Why there is no code, or nothing for it.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The cookie proves no login of a browser here.
    #[error(transparent)]
    Cookie(check::Refused),
    /// There is no such code.
    #[error("there is no such code")]
    Unknown,
    /// The code does not count.
    #[error(transparent)]
    Code(#[from] code::Refused),
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<check::Refused> for Refused {
    fn from(refused: check::Refused) -> Self {
        match refused {
            check::Refused::Unavailable(unavailable) => Self::Unavailable(unavailable),
            refused => Self::Cookie(refused),
        }
    }
}

/// A code for the browser that holds this session cookie. The edge has checked that the redirect URI is the client's.
///
/// # Errors
/// [`Refused`].
pub async fn issue(
    app: &App,
    cookie: &SecretText,
    request: Request<'_>,
    now: Time,
) -> Result<SecretText, Refused> {
    for _ in 0..TRIES_MAX {
        let live = check::cookie_at_store(app, cookie, now).await?;
        let (change, code) = Code::issue(&live.session, request, now, &mut Os)
            .ok_or(Refused::Code(code::Refused::NoLogin))?;
        match app.store.commit(change).await.map_err(Unavailable::from)? {
            Outcome::Applied(_) => return Ok(code),
            // The cookie may have been replaced meanwhile, or its session ended: it is asked again.
            Outcome::Conflict | Outcome::Gone => {}
        }
    }
    Err(Unavailable::contended().into())
}

/// Redeems a code for a client that has authenticated: its session under the browser's, and the cookie for its own host.
///
/// # Errors
/// [`Refused`]. A code that fits and was used before has ended the session that it got.
pub async fn redeem(
    app: &App,
    client: &Client,
    code: &SecretText,
    redirect_uri: &str,
    verifier: &SecretText,
    now: Time,
) -> Result<(Session, SecretText), Refused> {
    let digest = CodeDigest::of(code);
    let presented = Presented { client: &client.id, redirect_uri, verifier };
    for _ in 0..TRIES_MAX {
        let code = app.store.code(&digest).await.map_err(Unavailable::from)?;
        let code = code.ok_or(Refused::Unknown)?;
        if let Err(refused) = code.check(&presented, now) {
            if let code::Refused::Used(child) = refused {
                end::session(app, child, Reason::Theft, now).await?;
            }
            return Err(refused.into());
        }
        let parent = parent(app, &code, now).await?;
        let user = parent.user.as_ref().ok_or(code::Refused::NoLogin)?;
        let child = child(app, &code).await?;
        let key = app.keys().ring.handle_key(now).map(HandleKey::id);
        let key = key.ok_or_else(|| Unavailable::Key("no handle key is active".into()))?;
        let (change, child) = code.redeem((&parent.session, user), child, key, now, &mut Os)?;
        match app.store.commit(change).await.map_err(Unavailable::from)? {
            Outcome::Applied(_) => {
                app.live.forget(child.id);
                let cookie = issue::cookie(app, &child, now)?;
                return cookie.map(|cookie| (child, cookie)).ok_or(Refused::Unknown);
            }
            // Used, ended or changed meanwhile: the rows say which.
            Outcome::Conflict | Outcome::Gone => {}
        }
    }
    Err(Unavailable::contended().into())
}

/// The browser session of a code, if it counts now. Never from a copy.
async fn parent(app: &App, code: &Code, now: Time) -> Result<Live, Refused> {
    let live = match check::load(app, code.session).await {
        Ok(live) => live,
        Err(check::Refused::Unavailable(unavailable)) => return Err(unavailable.into()),
        Err(_) => return Err(code::Refused::NoLogin.into()),
    };
    if app.store.is_ended(&live.entries()) || check::stands(&live, now).is_err() {
        return Err(code::Refused::NoLogin.into());
    }
    Ok(live)
}

/// The session that the client has under the browser's already.
async fn child(app: &App, code: &Code) -> Result<Option<Session>, Unavailable> {
    let mut child = app.store.child(code.session, &code.client).await?;
    if let Some(child) = &mut child {
        // What this process saw and has not written yet counts.
        if let Some(seen_at) = app.live.last_seen(child.id) {
            child.see(seen_at);
        }
    }
    Ok(child)
}
