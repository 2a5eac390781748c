//! Registration: a stranger becomes a user. A name that is taken looks the same from outside.

use symbolon_core::{
    audit::{Act, Event},
    change::{Change, Write},
    id::UserId,
    limit::Limited,
    password::{self, Password},
    secret::{SecretBytes, SecretText},
    session::Version,
    time::Time,
    user::{Epoch, InvalidUsername, User, Username},
};

use super::Unavailable;
use crate::{
    app::{App, Os},
    config::Registration,
    store::Outcome,
};

/// What was typed.
#[derive(Debug)]
pub struct Application<'a> {
    /// The name.
    pub username: &'a str,
    /// The password.
    pub password: &'a SecretText,
    /// The invitation, where one is needed.
    pub invitation: Option<&'a SecretText>,
    /// From where.
    pub address: std::net::IpAddr,
}

/// Why nobody was registered. A stranger is never told that a name is taken; who was invited is.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Nobody may register.
    #[error("registration is closed")]
    Closed,
    /// There is no such invitation, or it was used.
    #[error("the invitation is not valid")]
    Invitation,
    /// The name is taken. Only said to who holds an invitation, which is still good.
    #[error("the name is taken")]
    Taken,
    /// This is no name.
    #[error(transparent)]
    Username(#[from] InvalidUsername),
    /// The password does not meet the policy.
    #[error(transparent)]
    Policy(#[from] password::Refused),
    /// Too many from this address.
    #[error(transparent)]
    Limited(#[from] Limited),
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Registers a user, if the name is free. The answer and the work are the same if it is not; only who holds an
/// invitation is told, some names per hour.
///
/// # Errors
/// [`Refused`].
pub async fn register(app: &App, application: Application<'_>, now: Time) -> Result<(), Refused> {
    let invitation = match (app.config.registration, application.invitation) {
        (Registration::Closed, _) => return Err(Refused::Closed),
        (Registration::Open, _) => None,
        (Registration::Invitation, None) => return Err(Refused::Invitation),
        (Registration::Invitation, Some(code)) => Some(digest(code)),
    };
    app.attempts.registration(application.address, now)?;
    let name: Username = application.username.parse()?;
    let password = Password::parse(application.password)?;
    app.password_policy().check(&password, &[name.as_str(), app.config.brand.name()])?;
    if let Some(digest) = &invitation {
        app.attempts.invitation(digest, now)?;
    }
    let hash = app.hash_password(&password).await?;
    let mut change = add(name, hash, now);
    if let Some(digest) = invitation {
        // First of all: without an invitation nobody learns whether the name is free.
        change.writes.insert(0, Write::UseInvitation { digest });
    }
    match app.store.commit(change).await.map_err(Unavailable::from)? {
        Outcome::Applied(_) => Ok(()),
        Outcome::Gone => Err(Refused::Invitation),
        Outcome::Conflict if invitation.is_some() => Err(Refused::Taken),
        // The name is taken. Whoever has it is not named to a stranger, who waits for the disk as for a free name.
        Outcome::Conflict => {
            let mut change = Change::at(now);
            change.record(Event::of_server(Act::NameTaken));
            app.store.commit(change).await.map_err(Unavailable::from)?;
            Ok(())
        }
    }
}

/// The decision to add a user.
pub(super) fn add(name: Username, password: SecretText, now: Time) -> Change {
    let id = UserId::random(&mut Os);
    let mut change = Change::at(now);
    change.record(Event::of_user(Act::UserAdded, id));
    change.write(Write::AddUser(Box::new(User {
        id,
        version: Version::FIRST,
        name,
        password,
        roles: std::collections::BTreeSet::new(),
        profile: symbolon_core::profile::Profile::default(),
        epoch: Epoch(1),
        disabled_at: None,
        added_at: now,
    })));
    change
}

/// Makes an invitation and returns its code, of which only the digest rests.
///
/// # Errors
/// [`Unavailable`].
pub async fn invite(app: &App, now: Time) -> Result<SecretText, Unavailable> {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let bytes = SecretBytes::<32>::random(&mut Os);
    let code = SecretText::new(format!("symi_{}", URL_SAFE_NO_PAD.encode(bytes.expose())));
    let mut change = Change::at(now);
    change.record(Event::of_server(Act::InvitationChanged));
    let expires_at = now + app.config.lifetimes.invitation;
    change.write(Write::AddInvitation { digest: digest(&code), expires_at });
    app.store.commit(change).await?;
    Ok(code)
}

fn digest(code: &SecretText) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, code.expose().as_bytes());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    bytes
}
