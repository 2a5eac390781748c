//! Tokens for machine clients: they act for themselves (RFC 6749, section 4.4).
//!
//! A machine has one session, which is opened when it is first needed. Ending it ends the tokens that it gave, and the
//! next request opens another. Who wants to stop a machine removes its client or changes its secret.

use std::sync::Arc;

use symbolon_core::{
    audit::{Act, Event},
    change::{Change, Write},
    client::Client,
    oauth::{jwk::Thumbprint, resource::Resources},
    session::{Device, Session},
    time::Time,
};

use super::{
    TRIES_MAX, Unavailable,
    issue::{self, NoToken, Tokens},
};
use crate::{
    app::{App, Os},
    store::Outcome,
};

/// Why a machine gets no token.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It asks for more than it may do.
    #[error("the scope is more than the client may have")]
    Scope,
    /// It has no such audience.
    #[error(transparent)]
    Audience(#[from] NoToken),
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// An access token for the client itself, which has authenticated. Without `scope` it may do all that the client may;
/// without `resources` it is for the client's first audience (RFC 8707). `key` is what it is bound to.
///
/// # Errors
/// [`Refused`].
pub async fn tokens(
    app: &App,
    client: &Client,
    (scope, resources): (Option<&str>, &Resources),
    key: Option<Thumbprint>,
    device: &Device,
    now: Time,
) -> Result<Tokens, Refused> {
    let scope = client.scope_of_machine(scope).ok_or(Refused::Scope)?;
    let issued = issue::issued_to_machine(app, client, resources, scope, key, now)?;
    let session = session(app, client, device, now).await?;
    Ok(issue::access_only(app, &session, &issued, client, now).await?)
}

/// The one live session of a machine.
async fn session(
    app: &App,
    client: &Client,
    device: &Device,
    now: Time,
) -> Result<Arc<Session>, Unavailable> {
    let lives = |session: &Session| !app.store.is_ended(&[session.id.entry()]);
    if let Some(session) = app.machines.get(&client.id, now).filter(|session| lives(session)) {
        return Ok(session);
    }
    for _ in 0..TRIES_MAX {
        let session = match app.store.machine(&client.id).await? {
            Some(session) if lives(&session) => session,
            // It has ended while it was read.
            Some(_) => continue,
            None => {
                let device = device.clone();
                let session = Session::machine(client.id.clone(), device, now, &mut Os);
                let mut change = Change::at(now);
                change.record(Event::of_session(Act::MachineOpened, &session));
                change.write(Write::OpenSession(Box::new(session.clone())));
                match app.store.commit(change).await? {
                    Outcome::Applied(_) => session,
                    // Somebody else was faster.
                    Outcome::Conflict | Outcome::Gone => continue,
                }
            }
        };
        let session = Arc::new(session);
        app.machines.put(Arc::clone(&session), now);
        return Ok(session);
    }
    Err(Unavailable::contended())
}
