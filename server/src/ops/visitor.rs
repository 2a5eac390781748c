//! Visitors: a session for somebody who has not logged in, because there is a cart to keep.

use symbolon_core::{
    audit::{Act, Event},
    change::{Change, Write},
    client::Client,
    id::{KeyId, SessionId},
    limit::Limited,
    secret::SecretText,
    session::{Device, Opening, Session},
    time::Time,
};

use super::{Unavailable, data, issue};
use crate::{
    app::{App, Os},
    store::Outcome,
};

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The session of this name has ended, and stays ended.
    #[error("the session is gone")]
    Gone,
    /// Too many from this address.
    #[error(transparent)]
    Limited(#[from] Limited),
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Opens a visitor's session for a client and returns the cookie to relay.
///
/// # Errors
/// [`Refused`].
pub async fn open(
    app: &App,
    client: &Client,
    device: Device,
    now: Time,
) -> Result<(Session, Option<SecretText>), Refused> {
    app.attempts.visitor(&client.id, device.address, now)?;
    let key = handle_key(app, now)?;
    let opening = Opening { client: client.id.clone(), parent: None, device };
    let session = Session::visitor(opening, key, &app.config.lifetimes.sessions(), now, &mut Os);
    let mut change = Change::at(now);
    change.record(Event::of_session(Act::VisitorOpened, &session));
    change.write(Write::OpenSession(Box::new(session.clone())));
    app.store.commit(change).await.map_err(Unavailable::from)?;
    let cookie = issue::cookie(app, &session, now)?;
    Ok((session, cookie))
}

/// Opens the visitor's session of this name for a client, or finds it open: then the second is false.
///
/// # Errors
/// [`Refused`].
pub async fn open_named(
    app: &App,
    client: &Client,
    name: &str,
    device: Device,
    now: Time,
) -> Result<(SessionId, bool), Refused> {
    let id = client.id.session_named(name);
    if app.store.session(id).await.map_err(Unavailable::from)?.is_none() {
        app.attempts.visitor(&client.id, device.address, now)?;
        let key = handle_key(app, now)?;
        let opening = Opening { client: client.id.clone(), parent: None, device };
        let lifetimes = app.config.lifetimes.sessions();
        let session = Session::visitor_named(name, opening, key, &lifetimes, now, &mut Os);
        let mut change = Change::at(now);
        change.record(Event::of_session(Act::VisitorOpened, &session));
        change.write(Write::OpenSession(Box::new(session)));
        // Another process of the client may have been faster.
        if let Outcome::Applied(_) = app.store.commit(change).await.map_err(Unavailable::from)? {
            return Ok((id, true));
        }
    }
    match data::live(app, id, true, now).await {
        Ok(()) => Ok((id, false)),
        Err(data::Refused::Unavailable(unavailable)) => Err(unavailable.into()),
        Err(_) => Err(Refused::Gone),
    }
}

fn handle_key(app: &App, now: Time) -> Result<KeyId, Unavailable> {
    let key = app.keys().ring.handle_key(now).map(symbolon_core::handle::HandleKey::id);
    key.ok_or_else(|| Unavailable::Key("no handle key is active".into()))
}
