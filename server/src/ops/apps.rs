//! What a user allows to applications that are not ours.

use symbolon_core::{
    audit::{Act, Event},
    change::{Change, Write},
    client::ClientId,
    id::UserId,
    time::Time,
};

use super::Unavailable;
use crate::{
    app::App,
    store::{Allowed, Outcome},
};

/// Everything that a user allows, by the names of the clients.
///
/// # Errors
/// [`Unavailable`].
pub async fn all(app: &App, user: UserId) -> Result<Vec<Allowed>, Unavailable> {
    Ok(app.store.allowed(user).await?)
}

/// What a user allows to one client; nothing, if they were never asked.
///
/// # Errors
/// [`Unavailable`].
pub async fn of(app: &App, user: UserId, client: &ClientId) -> Result<Box<str>, Unavailable> {
    let all = app.store.allowed(user).await?;
    let own = all.into_iter().find(|allowed| allowed.client == *client);
    Ok(own.map(|allowed| allowed.scope).unwrap_or_default())
}

/// Takes back what a user allows to a client. Its sessions of this user end, and their tokens.
///
/// # Errors
/// [`Unavailable`].
pub async fn forbid(
    app: &App,
    user: UserId,
    client: &ClientId,
    now: Time,
) -> Result<(), Unavailable> {
    let mut change = Change::at(now);
    let event = Event { client: Some(client.clone()), ..Event::of_user(Act::AppForbidden, user) };
    change.record(event);
    change.write(Write::ForbidClient { user, client: client.clone() });
    match app.store.commit(change).await? {
        // Nothing is allowed: that is what was wanted.
        Outcome::Applied(_) | Outcome::Gone => Ok(()),
        Outcome::Conflict => Err(Unavailable::contended()),
    }
}
