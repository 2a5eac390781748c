//! Refresh: one use of a refresh token.

use symbolon_core::{
    client::Client,
    family::{Binding, Family, Whence},
    handle::{Handle, InvalidHandle, Kind},
    oauth::{jwk::Thumbprint, resource::Resources},
    refresh::{self, Presented, Refresh},
    secret::SecretText,
    session::{Device, Lapse},
    time::Time,
};

use super::{
    TRIES_MAX, Unavailable, check,
    issue::{self, NoToken, Tokens},
};
use crate::{app::App, live::Live, os::Asked, store::Outcome};

/// A refresh token, and who presents it.
#[derive(Debug)]
pub struct Use<'a> {
    /// The refresh token.
    pub token: &'a SecretText,
    /// The client that presents it.
    pub client: &'a Client,
    /// What the client showed besides.
    pub shown: Binding,
    /// The key that the next access token shall be bound to.
    pub key: Option<Thumbprint>,
    /// What the next access token shall be good for; `None`: all that the client may do.
    pub scope: Option<&'a str>,
    /// For which of the granted resource servers the next access token shall be; empty: for all of them.
    pub resources: Resources,
    /// Where the request came from.
    pub device: &'a Device,
    /// The request.
    pub asked: &'a Asked,
}

/// Why there is no answer. To outsiders all but the last are `invalid_grant`.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It proves no live session.
    #[error(transparent)]
    Check(#[from] check::Refused),
    /// It was decided against.
    #[error(transparent)]
    Refresh(#[from] refresh::Refused),
    /// The client asks for more than it may do.
    #[error("the scope is more than was granted")]
    Scope,
    /// The client has no such audience, or lost it since.
    #[error(transparent)]
    Audience(#[from] NoToken),
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Rotates a refresh token, or gives the same answer again.
///
/// # Errors
/// [`Refused`].
pub async fn refresh(app: &App, used: Use<'_>, now: Time) -> Result<Tokens, Refused> {
    let handle = app.parse_handle(used.token, Kind::Refresh, now).map_err(check::Refused::from)?;
    for _ in 0..TRIES_MAX {
        // Always from the store: what is issued must not come from a copy.
        let live = check::load(app, handle.name().session).await?;
        super::refuse_late(app, used.asked).await?;
        let Refresh { change, answer } = decide(app, &live, handle.clone(), &used, now)?;
        if !change.is_empty() {
            match app.store.commit(change).await.map_err(Unavailable::from)? {
                Outcome::Applied(_) => app.live.forget(live.session.id),
                Outcome::Conflict => continue,
                Outcome::Gone => return Err(check::Refused::Revoked.into()),
            }
        }
        let (session, family) = answer?;
        return Ok(issue::family(app, &session, family, used.client, None, now).await?);
    }
    Err(Unavailable::contended().into())
}

/// What was granted, was asked for now, and is still the client's to have. `None` where that is nothing: a token without a
/// scope is not for nothing, but for nothing in particular.
fn scope_of(family: &Family, used: &Use<'_>) -> Option<Box<str>> {
    let granted = family.scope_of(used.scope)?;
    let left = used.client.scope(&granted);
    (granted.is_empty() || !left.is_empty()).then_some(left)
}

fn decide(
    app: &App,
    live: &Live,
    handle: Handle,
    used: &Use<'_>,
    now: Time,
) -> Result<Refresh, Refused> {
    let [session, parent, client] = live.entries();
    if app.store.is_ended(&[
        session,
        parent,
        client,
        used.client.id.entry(),
        handle.name().id().entry(),
    ]) {
        return Err(check::Refused::Revoked.into());
    }
    let session = &live.session;
    let name = handle.name();
    // A family from before its client was added is one of a removed client that had the same name.
    let family = session
        .families
        .get(name.family)
        .filter(|family| family.issued.at >= used.client.added_at)
        .ok_or(refresh::Refused::Closed)?;
    let keys = app.keys();
    let key = keys.ring.handle_key_by_short_id(handle.key(), now).ok_or(InvalidHandle::UnknownKey);
    let proven = key
        .and_then(|key| handle.prove(key, &family.client, &session.salt))
        .map_err(check::Refused::from)?;
    check::stands(live, now)?;
    let user = live.user.as_ref().ok_or(check::Refused::Lapsed(Lapse::User))?;
    let resources = family.resources.narrowed(&used.resources).ok_or(NoToken::Audience)?;
    let scope = scope_of(family, used).ok_or(Refused::Scope)?;
    let whose = (session.limits.ends_at, user, session.login.as_ref().map(|login| login.at));
    let issued = issue::issued(app, used.client, resources, scope, whose, used.key, now)?;
    let active = keys
        .ring
        .handle_key(now)
        .ok_or_else(|| Unavailable::Key("no handle key is active".into()))?;
    let presented = Presented {
        handle: proven,
        client: &used.client.id,
        shown: used.shown,
        whence: Whence::new(used.device.address, &used.device.user_agent),
        key: active.id(),
        issued,
    };
    Ok(refresh::refresh(session.clone(), presented, app.config.lifetimes.refresh_grace, now))
}
