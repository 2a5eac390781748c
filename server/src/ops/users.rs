//! Users, as an administrator sees them.

use std::collections::BTreeSet;

use symbolon_core::{
    audit::{Act, Event},
    change::{Change, Write},
    password::{self, Password},
    profile::Profile,
    secret::SecretText,
    session::Reason,
    time::Time,
    user::{InvalidUsername, ROLES_MAX, Role, User, Username},
};

use super::{TRIES_MAX, Unavailable, end, register};
use crate::{app::App, store::Outcome};

/// Why a user was not added or changed.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// This is no name.
    #[error(transparent)]
    Username(#[from] InvalidUsername),
    /// The name is taken.
    #[error("there is a user of this name")]
    Taken,
    /// There is no such user.
    #[error("there is no such user")]
    Unknown,
    /// More roles than a token may carry.
    #[error("a user has at most {ROLES_MAX} roles")]
    Roles,
    /// The password does not meet the policy.
    #[error(transparent)]
    Policy(#[from] password::Refused),
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Adds a user.
///
/// # Errors
/// [`Refused`].
pub async fn add(
    app: &App,
    name: &str,
    password: &SecretText,
    roles: BTreeSet<Role>,
    now: Time,
) -> Result<Username, Refused> {
    let name: Username = name.parse()?;
    if roles.len() > ROLES_MAX {
        return Err(Refused::Roles);
    }
    let hash = hash(app, &name, password).await?;
    let mut change = register::add(name.clone(), hash, now);
    for write in &mut change.writes {
        if let Write::AddUser(user) = write {
            user.roles.clone_from(&roles);
        }
    }
    match app.store.commit(change).await.map_err(Unavailable::from)? {
        Outcome::Applied(_) => Ok(name),
        Outcome::Conflict | Outcome::Gone => Err(Refused::Taken),
    }
}

async fn hash(app: &App, name: &Username, password: &SecretText) -> Result<SecretText, Refused> {
    let password = Password::parse(password)?;
    app.password_policy().check(&password, &[name.as_str(), app.config.brand.name()])?;
    Ok(app.hash_password(&password).await?)
}

/// The user of this name.
///
/// # Errors
/// [`Refused::Unknown`], [`Refused::Unavailable`].
pub async fn by_name(app: &App, name: &str) -> Result<User, Refused> {
    let name: Username = name.parse().map_err(|_| Refused::Unknown)?;
    app.store.user_by_name(&name).await.map_err(Unavailable::from)?.ok_or(Refused::Unknown)
}

/// Gives a user exactly these roles. Tokens that were issued keep what they say until they expire.
///
/// # Errors
/// [`Refused`].
pub async fn set_roles(
    app: &App,
    name: &str,
    roles: &BTreeSet<Role>,
    now: Time,
) -> Result<User, Refused> {
    if roles.len() > ROLES_MAX {
        return Err(Refused::Roles);
    }
    save(app, name, now, |user| user.roles.clone_from(roles)).await
}

/// Sets what applications are told about a user: exactly this.
///
/// # Errors
/// [`Refused`].
pub async fn set_profile(
    app: &App,
    name: &str,
    profile: &Profile,
    now: Time,
) -> Result<User, Refused> {
    save(app, name, now, |user| user.profile.clone_from(profile)).await
}

/// Lets a disabled user log in again. What was ended stays ended.
///
/// # Errors
/// [`Refused`].
pub async fn enable(app: &App, name: &str, now: Time) -> Result<User, Refused> {
    save(app, name, now, |user| user.disabled_at = None).await
}

async fn save(app: &App, name: &str, now: Time, edit: impl Fn(&mut User)) -> Result<User, Refused> {
    for _ in 0..TRIES_MAX {
        let mut user = by_name(app, name).await?;
        edit(&mut user);
        let mut change = Change::at(now);
        change.record(Event::of_user(Act::UserChanged, user.id));
        change.write(Write::SaveUser(Box::new(user.clone())));
        if let Outcome::Applied(_) = app.store.commit(change).await.map_err(Unavailable::from)? {
            app.live.forget_all();
            return Ok(user);
        }
    }
    Err(Unavailable::contended().into())
}

/// Sets a new password and ends every session of the user. Returns how many.
///
/// # Errors
/// [`Refused`].
pub async fn reset_password(
    app: &App,
    name: &str,
    password: &SecretText,
    now: Time,
) -> Result<usize, Refused> {
    let hash = hash(app, &by_name(app, name).await?.name, password).await?;
    for _ in 0..TRIES_MAX {
        let user = by_name(app, name).await?;
        let id = user.id;
        let changed = User { password: hash.clone(), ..user };
        let mut change = changed.end_sessions(None, Reason::PasswordChanged, now);
        change.record(Event::of_user(Act::PasswordChanged, id));
        if let Outcome::Applied(ended) =
            app.store.commit(change).await.map_err(Unavailable::from)?
        {
            return Ok(end::finish(app, id, None, Reason::PasswordChanged, ended.len(), now).await?);
        }
    }
    Err(Unavailable::contended().into())
}
