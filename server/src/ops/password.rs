//! Change of the password: the others end, and in this session every half of before dies.

use std::sync::Arc;

use symbolon_core::{
    change::{Change, Write},
    limit::{Limited, Standing},
    password::{self, Password},
    secret::SecretText,
    session::{Reason, Session},
    time::Time,
    user::User,
};

use super::{TRIES_MAX, Unavailable, end, issue};
use crate::{
    app::App,
    live::Live,
    store::{Found, Outcome},
};

/// Why the password was not changed.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The current password is wrong, or this session has ended.
    #[error("the current password is wrong")]
    Credentials,
    /// The new one does not meet the policy.
    #[error(transparent)]
    Policy(#[from] password::Refused),
    /// Too many attempts.
    #[error(transparent)]
    Limited(#[from] Limited),
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// What is left of the session that asked.
#[derive(Debug)]
pub struct Changed {
    /// The session.
    pub session: Session,
    /// Its new cookie, if it had one.
    pub cookie: Option<SecretText>,
    /// How many other sessions ended.
    pub ended: usize,
}

/// Changes the password of the user of `live`, who types the current one again.
///
/// # Errors
/// [`Refused`].
pub async fn change(
    app: &App,
    live: &Live,
    current: &SecretText,
    new: &SecretText,
    now: Time,
) -> Result<Changed, Refused> {
    let user = live.user.as_ref().ok_or(Refused::Credentials)?;
    let new = Password::parse(new)?;
    app.password_policy().check(&new, &[user.name.as_str(), app.config.brand.name()])?;
    let standing = Standing::KnownDevice(live.session.id);
    let taken = app.attempts.login(&user.name, live.session.device.address, standing, now)?;
    let current = Password::parse(current).map_err(|_| Refused::Credentials)?;
    let verdict = app
        .verify_password(Some(user), &current)
        .await
        .inspect_err(|_| app.attempts.refund(&taken))?;
    if !verdict.ok {
        return Err(Refused::Credentials);
    }
    app.attempts.succeeded(&taken);
    let hash = app.hash_password(&new).await?;
    commit(app, live, hash, now).await
}

async fn commit(app: &App, live: &Live, hash: SecretText, now: Time) -> Result<Changed, Refused> {
    let key = app.keys().ring.handle_key(now).map(symbolon_core::handle::HandleKey::id);
    let key = key.ok_or_else(|| Unavailable::Key("no handle key is active".into()))?;
    for _ in 0..TRIES_MAX {
        let found = app.store.session(live.session.id).await.map_err(Unavailable::from)?;
        let Some(Found::Live(session, Some(user))) = found else {
            return Err(Refused::Credentials);
        };
        // Somebody else changed the password since the current one was checked.
        if live.user.as_ref().is_none_or(|checked| checked.password != user.password) {
            return Err(Refused::Credentials);
        }
        let id = user.id;
        let (change, keep) = user.change_password(hash.clone(), Some(*session), key, now);
        // Halves of the session that stays are no sessions that ended.
        let halves = change.entries.len();
        if let Outcome::Applied(ended) =
            app.store.commit(change).await.map_err(Unavailable::from)?
        {
            let except = Some(live.session.id);
            let ended = ended.len().saturating_sub(halves);
            let ended = end::finish(app, id, except, Reason::PasswordChanged, ended, now).await?;
            let session = keep.unwrap_or_else(|| live.session.clone());
            let cookie = issue::cookie(app, &session, now)?;
            return Ok(Changed { session, cookie, ended });
        }
    }
    Err(Unavailable::contended().into())
}

/// Replaces the hash of a password that was just checked, after the answer. If that fails, the next login tries again.
pub(super) fn rehash_later(app: &Arc<App>, user: User, password: Password) {
    let app = Arc::clone(app);
    tokio::spawn(async move {
        if let Err(error) = rehash(&app, &user, &password, crate::app::now()).await {
            tracing::warn!(%error, user = %user.id, "a password keeps its old parameters for now");
        }
    });
}

/// Replaces the hash of a password by one with today's parameters. If the row has changed, that is left to the next
/// login.
///
/// # Errors
/// [`Unavailable`].
pub async fn rehash(
    app: &App,
    user: &User,
    password: &Password,
    now: Time,
) -> Result<(), Unavailable> {
    let hash = app.hash_password(password).await?;
    let mut change = Change::at(now);
    change.write(Write::RehashPassword { user: user.id, version: user.version, hash });
    app.store.commit(change).await?;
    Ok(())
}
