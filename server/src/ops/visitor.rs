//! Visitors: a session for somebody who has not logged in, because there is a cart to keep.

use symbolon_core::{
    audit::{Act, Event},
    change::{Change, Write},
    client::Client,
    limit::Limited,
    secret::SecretText,
    session::{Device, Opening, Session},
    time::Time,
};

use super::{Unavailable, issue};
use crate::app::{App, Os};

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
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
    let key = app.keys().ring.handle_key(now).map(symbolon_core::handle::HandleKey::id);
    let key = key.ok_or_else(|| Unavailable::Key("no handle key is active".into()))?;
    let opening = Opening { client: client.id.clone(), parent: None, device };
    let session = Session::visitor(opening, key, &app.config.lifetimes.sessions(), now, &mut Os);
    let mut change = Change::at(now);
    change.record(Event::of_session(Act::VisitorOpened, &session));
    change.write(Write::OpenSession(Box::new(session.clone())));
    app.store.commit(change).await.map_err(Unavailable::from)?;
    let cookie = issue::cookie(app, &session, now)?;
    Ok((session, cookie))
}
