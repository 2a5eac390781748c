//! Handover: a live login moves between cookie and tokens, without the password, and stays one session. It never loosens
//! what a half is bound to.

use symbolon_core::{
    audit::{Act, Event},
    change::{Change, Write},
    client::Client,
    family::{Binding, Family, NewFamily, Whence},
    id::SessionId,
    limit::{Limited, Standing},
    password::Password,
    secret::SecretText,
    session::{Assurance, Device, Method, Session},
    time::Time,
};

use super::{
    TRIES_MAX, Unavailable, check,
    issue::{self, NoToken, Tokens},
};
use crate::{app::App, live::Live, store::Outcome};

/// Why nothing was handed over.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The session is gone, or has no user.
    #[error("there is no login to hand over")]
    NoLogin,
    /// The access token is not what an unbound refresh token of the session gave last.
    #[error(
        "refresh first: the latest access token of a refresh token becomes a cookie, and no other"
    )]
    NotLatest,
    /// The typed password is wrong.
    #[error("the password is wrong")]
    Credentials,
    /// Too many attempts.
    #[error(transparent)]
    Limited(#[from] Limited),
    /// The client has no such audience.
    #[error(transparent)]
    Audience(#[from] NoToken),
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<check::Refused> for Refused {
    fn from(refused: check::Refused) -> Self {
        match refused {
            check::Refused::Unavailable(unavailable) => Self::Unavailable(unavailable),
            _ => Self::NoLogin,
        }
    }
}

/// What the tokens may be, for a login that a cookie carries.
#[derive(Debug, Clone, Copy)]
pub enum Ask<'a> {
    /// An access token alone.
    Access,
    /// A refresh token, too, bound to the client's own authentication.
    Bound,
    /// A refresh token that can be carried off: the user steps up by typing the password again.
    SteppedUp(&'a SecretText),
}

/// Cookie → tokens, for a client whose origin or authentication the edge has checked. Returns the cookie's successor
/// where the user stepped up.
///
/// # Errors
/// [`Refused`].
pub async fn to_tokens(
    app: &App,
    cookie: &SecretText,
    client: &Client,
    audience: Option<&str>,
    ask: Ask<'_>,
    device: &Device,
    now: Time,
) -> Result<(Tokens, Option<(Session, SecretText)>), Refused> {
    if let Ask::SteppedUp(password) = ask {
        let live = check::cookie_at_store(app, cookie, now).await?;
        prove_password(app, &live, password, device, now).await?;
    }
    for _ in 0..TRIES_MAX {
        // Each time anew: while the password was hashed, the cookie may have been replaced.
        let live = check::cookie_at_store(app, cookie, now).await?;
        // The cookie of an app's session is of use to that app alone.
        if live.session.parent.is_some() && live.session.client != client.id {
            return Err(Refused::NoLogin);
        }
        let (mut session, user) =
            (live.session.clone(), live.user.as_ref().ok_or(Refused::NoLogin)?);
        let auth_time = match ask {
            Ask::SteppedUp(_) => Some(now),
            Ask::Access | Ask::Bound => session.login.as_ref().map(|login| login.at),
        };
        let whose = (session.limits.ends_at, user, auth_time);
        let issued = issue::issued(app, client, audience, "".into(), whose, None, now)?;
        let binding = match ask {
            Ask::Access => {
                return Ok((issue::access_only(app, &session, &issued, client, now).await?, None));
            }
            Ask::Bound => Binding::Client,
            Ask::SteppedUp(_) => Binding::None,
        };
        let key = active_key(app, now)?;
        let whence = Whence::new(device.address, &device.user_agent);
        let new = NewFamily { client: client.id.clone(), key, binding, issued, whence };
        let family = session.open_family(new);
        let change = match ask {
            Ask::SteppedUp(_) => session.step_up(Method::Pwd, Assurance::Aal1, key, now),
            _ => save(session, now),
        };
        let Some(after) = saved(&change) else { return Err(Refused::NoLogin) };
        match app.store.commit(change).await.map_err(Unavailable::from)? {
            Outcome::Applied(_) => {
                app.live.forget(after.id);
                let tokens = issue::family(app, &after, family, client, None, now).await?;
                let cookie = match ask {
                    Ask::SteppedUp(_) => issue::cookie(app, &after, now)?,
                    _ => None,
                };
                return Ok((tokens, cookie.map(|cookie| (after, cookie))));
            }
            Outcome::Conflict => {}
            Outcome::Gone => return Err(Refused::NoLogin),
        }
    }
    Err(Unavailable::contended().into())
}

/// Tokens → cookie, for an origin that the edge has checked.
///
/// A cookie lives as long as the login, so an access token alone does not buy one: it must be what an unbound refresh
/// token of the session gave last. One that came from a cookie ([`Ask::Access`]) leads to no other cookie, and one of
/// before a change of the password leads nowhere.
///
/// # Errors
/// [`Refused`].
pub async fn to_cookie(
    app: &App,
    token: &SecretText,
    now: Time,
) -> Result<(Session, SecretText), Refused> {
    let verified = check::token(app, token, now)?;
    let claims = &verified.claims;
    for _ in 0..TRIES_MAX {
        let mut session = reload(app, claims.sid, now).await?;
        let gave = |family: &Family| {
            family.binding == Binding::None && session.token_of(family) == claims.jti
        };
        if !session.families.iter().any(gave) {
            return Err(Refused::NotLatest);
        }
        let mut change = Change::at(now);
        // Where a browser has a cookie already, it gets the next generation: one login has one cookie.
        change.end_handle(session.give_cookie(active_key(app, now)?));
        change.record(Event::of_session(Act::HandedOver, &session));
        change.write(Write::SaveSession(Box::new(session.clone())));
        match app.store.commit(change).await.map_err(Unavailable::from)? {
            Outcome::Applied(_) => {
                app.live.forget(session.id);
                let cookie = issue::cookie(app, &session, now)?.ok_or(Refused::NoLogin)?;
                return Ok((session, cookie));
            }
            Outcome::Conflict => {}
            Outcome::Gone => return Err(Refused::NoLogin),
        }
    }
    Err(Unavailable::contended().into())
}

fn active_key(app: &App, now: Time) -> Result<symbolon_core::id::KeyId, Unavailable> {
    let key = app.keys().ring.handle_key(now).map(symbolon_core::handle::HandleKey::id);
    key.ok_or_else(|| Unavailable::Key("no handle key is active".into()))
}

fn save(session: Session, now: Time) -> Change {
    let mut change = Change::at(now);
    change.record(Event::of_session(Act::HandedOver, &session));
    change.write(Write::SaveSession(Box::new(session)));
    change
}

fn saved(change: &Change) -> Option<Session> {
    change.writes.iter().find_map(|write| match write {
        Write::SaveSession(session) => Some((**session).clone()),
        _ => None,
    })
}

/// Always from the store: issuing never rests on a copy.
async fn reload(app: &App, id: SessionId, now: Time) -> Result<Session, Refused> {
    let live = check::load(app, id).await?;
    if app.store.is_ended(&live.entries()) || check::stands(&live, now).is_err() {
        return Err(Refused::NoLogin);
    }
    // What an app keeps after a logout is no login of a browser, and never becomes one.
    let session = Some(live.session).filter(|session| session.granted_by.is_none());
    session.filter(|session| session.login.is_some()).ok_or(Refused::NoLogin)
}

async fn prove_password(
    app: &App,
    live: &Live,
    password: &SecretText,
    device: &Device,
    now: Time,
) -> Result<(), Refused> {
    let user = live.user.as_ref().ok_or(Refused::NoLogin)?;
    let standing = Standing::KnownDevice(live.session.id);
    let taken = app.attempts.login(&user.name, device.address, standing, now)?;
    let password = Password::parse(password).map_err(|_| Refused::Credentials)?;
    let verdict = app
        .verify_password(Some(user), &password)
        .await
        .inspect_err(|_| app.attempts.refund(&taken))?;
    if !verdict.ok {
        return Err(Refused::Credentials);
    }
    app.attempts.succeeded(&taken);
    Ok(())
}
