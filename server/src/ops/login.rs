//! Login: a name and a password become a session with the halves that were asked for.

use std::sync::Arc;

use symbolon_core::{
    audit::{Act, Event},
    change::{Change, Write},
    client::Client,
    family::{Binding, NewFamily, Whence},
    handle::FamilyNumber,
    id::{SessionId, UserId},
    limit::{AddressGroup, Limited, Standing},
    password::Password,
    secret::SecretText,
    session::{Assurance, Device, Login, Method, Opening, Reason, Session},
    time::Time,
    user::{User, Username},
};

use super::{
    TRIES_MAX, Unavailable,
    issue::{self, NoToken, Tokens},
};
use crate::{
    app::{App, Os},
    live::Live,
    store::Outcome,
};

/// Which halves the caller wants.
#[derive(Debug, Clone)]
pub enum Deliver {
    /// A session cookie.
    Cookie,
    /// An access token and a refresh token.
    Tokens {
        /// The audience; the client's first if not said.
        audience: Option<String>,
        /// What the refresh token is bound to.
        binding: Binding,
    },
}

/// A try to log in.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// The first-party client at which the password was typed.
    pub client: Arc<Client>,
    /// What was typed as the name.
    pub username: &'a str,
    /// What was typed as the password.
    pub password: &'a SecretText,
    /// Whether somebody who is logged in shows once more who they are: then their login goes on, and no other begins.
    pub again: bool,
    /// Whether this device should be remembered.
    pub remember: bool,
    /// The session cookie that came with the request, whoever planted it.
    pub presented: Option<SecretText>,
    /// Where the request came from.
    pub device: Device,
    /// Which halves are wanted.
    pub deliver: Deliver,
}

/// A login that is durable.
#[derive(Debug)]
pub struct LoggedIn {
    /// The new session.
    pub session: Session,
    /// Its user.
    pub user: User,
    /// The session that it replaced; its data came along if it was a visitor's.
    pub replaced: Option<SessionId>,
    /// The session cookie, if it was asked for.
    pub cookie: Option<SecretText>,
    /// The tokens, if they were asked for.
    pub tokens: Option<Tokens>,
}

/// Why nobody was logged in.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// No such user, another password, or a disabled user: nobody can tell which.
    #[error("the name or the password is wrong")]
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

/// Logs a user in. The half that came with the request dies and never leads to the new one. The session has a new id,
/// unless the same user is asked [once more](Attempt::again).
///
/// # Errors
/// [`Refused`].
pub async fn login(app: &Arc<App>, attempt: Attempt<'_>, now: Time) -> Result<LoggedIn, Refused> {
    let presented = presented(app, attempt.presented.as_ref(), now).await?;
    let user = authenticate(app, &attempt, presented.as_ref(), now).await?;
    let presented = presented.filter(|live| takes_place(&attempt, live));
    let (session, replaced) = open(app, &attempt, &user, presented, now).await?;
    let cookie = issue::cookie(app, &session, now)?;
    let tokens = match &attempt.deliver {
        Deliver::Cookie => None,
        Deliver::Tokens { .. } => {
            Some(issue::family(app, &session, FIRST_FAMILY, &attempt.client, None, now).await?)
        }
    };
    Ok(LoggedIn { session, user, replaced, cookie, tokens })
}

const FIRST_FAMILY: FamilyNumber = FamilyNumber(1);

/// The live session whose cookie came along. Whatever else came along is ignored: it proves nothing.
async fn presented(
    app: &App,
    text: Option<&SecretText>,
    now: Time,
) -> Result<Option<Live>, Unavailable> {
    let Some(text) = text else { return Ok(None) };
    match super::check::cookie_at_store(app, text, now).await {
        // An app's own session is not the browser's here.
        Ok(live) => Ok(Some(live).filter(|live| live.session.parent.is_none())),
        Err(super::check::Refused::Unavailable(unavailable)) => Err(unavailable),
        Err(_) => Ok(None),
    }
}

/// One password hash, whether or not there is such a user.
async fn authenticate(
    app: &Arc<App>,
    attempt: &Attempt<'_>,
    presented: Option<&Live>,
    now: Time,
) -> Result<User, Refused> {
    let name: Username = attempt.username.parse().map_err(|_| Refused::Credentials)?;
    let password = Password::parse(attempt.password).map_err(|_| Refused::Credentials)?;
    let user = app.store.user_by_name(&name).await.map_err(Unavailable::from)?;
    let standing = standing(app, attempt, presented, user.as_ref(), now).await?;
    let taken = app.attempts.login(&name, attempt.device.address, standing, now)?;
    let verdict = app
        .verify_password(user.as_ref(), &password)
        .await
        .inspect_err(|_| app.attempts.refund(&taken))?;
    let user =
        user.filter(|user| verdict.ok && user.disabled_at.is_none()).ok_or(Refused::Credentials)?;
    app.attempts.succeeded(&taken);
    if verdict.needs_rehash {
        super::password::rehash_later(app, user.clone(), password);
    }
    Ok(user)
}

/// What tells the owner from a stranger before the password is known.
async fn standing(
    app: &App,
    attempt: &Attempt<'_>,
    presented: Option<&Live>,
    user: Option<&User>,
    now: Time,
) -> Result<Standing, Unavailable> {
    // A name that nobody has costs the same question.
    let user = user.map_or_else(|| UserId::random(&mut Os), |user| user.id);
    let devices = app.store.devices_of(user, now).await?;
    let is_of = |live: &&Live| live.user.as_ref().is_some_and(|of| of.id == user);
    if let Some(live) = presented.filter(is_of) {
        return Ok(Standing::KnownDevice(live.session.id));
    }
    let group = AddressGroup::from(attempt.device.address);
    let here = |device: &Device| AddressGroup::from(device.address) == group;
    Ok(if devices.iter().any(here) { Standing::KnownAddress } else { Standing::Stranger })
}

async fn open(
    app: &App,
    attempt: &Attempt<'_>,
    user: &User,
    mut presented: Option<Live>,
    now: Time,
) -> Result<(Session, Option<SessionId>), Refused> {
    for _ in 0..TRIES_MAX {
        if let Some(text) = attempt.presented.as_ref().filter(|_| presented.is_some()) {
            presented = self::presented(app, Some(text), now)
                .await?
                .filter(|live| takes_place(attempt, live));
        }
        let session = new_session(app, attempt, user, now)?;
        let (change, session) = decide(app, attempt.again, session, presented.as_ref(), now);
        match app.store.commit(change).await.map_err(Unavailable::from)? {
            Outcome::Applied(_) => {
                app.live.forget(session.id);
                let replaced = presented.map(|live| live.session.id);
                let replaced = replaced.filter(|old| *old != session.id);
                return Ok((session, replaced));
            }
            Outcome::Conflict => {}
            // Either the presented session ended meanwhile, then it needs no end; or the user's epoch was raised while
            // the password was hashed, then this password may not count any more.
            Outcome::Gone if presented.is_some() => presented = None,
            Outcome::Gone => return Err(Refused::Credentials),
        }
    }
    Err(Unavailable::contended().into())
}

fn new_session(
    app: &App,
    attempt: &Attempt<'_>,
    user: &User,
    now: Time,
) -> Result<Session, Refused> {
    let keys = app.keys();
    let key = keys
        .ring
        .handle_key(now)
        .ok_or_else(|| Unavailable::Key("no handle key is active".into()))?
        .id();
    let opening =
        Opening { client: attempt.client.id.clone(), parent: None, device: attempt.device.clone() };
    let login = Login {
        user: user.id,
        epoch: user.epoch,
        at: now,
        methods: vec![Method::Pwd],
        assurance: Assurance::Aal1,
        remembered: attempt.remember,
    };
    let mut session =
        Session::authenticated(opening, login, &app.config.lifetimes.sessions(), now, &mut Os);
    match &attempt.deliver {
        Deliver::Cookie => {
            session.give_cookie(key);
        }
        Deliver::Tokens { audience, binding } => {
            let client = attempt.client.id.clone();
            let issued = issue::issued(
                app,
                &attempt.client,
                audience.as_deref(),
                "".into(),
                (session.limits.ends_at, user, Some(now)),
                None,
                now,
            )?;
            let whence = Whence::new(attempt.device.address, &attempt.device.user_agent);
            session.open_family(NewFamily { client, key, binding: *binding, issued, whence });
        }
    }
    Ok(session)
}

/// A cookie takes the place of the cookie that was there. Tokens take only a visitor's place: the browser's own login is
/// another session and stays.
fn takes_place(attempt: &Attempt<'_>, presented: &Live) -> bool {
    matches!(attempt.deliver, Deliver::Cookie) || presented.session.login.is_none()
}

/// What becomes of the new session and the one that came along. Who is asked once more goes on with the session that was
/// theirs, with its id and the apps under it.
fn decide(
    app: &App,
    again: bool,
    session: Session,
    presented: Option<&Live>,
    now: Time,
) -> (Change, Session) {
    let user = session.login.as_ref().map(|login| login.user);
    let of_user =
        |live: &&Live| again && live.session.login.as_ref().map(|login| login.user) == user;
    let (again, key) = (presented.filter(of_user), session.cookie.map(|cookie| cookie.key));
    if let (Some(again), Some(login), Some(key)) = (again, &session.login, key) {
        let lifetimes = app.config.lifetimes.sessions();
        return again.session.clone().log_in_again(login.clone(), &lifetimes, key, now);
    }
    let mut change = match presented {
        Some(old) => old.session.end(Reason::Replaced, now),
        None => Change::at(now),
    };
    change.record(Event::of_session(Act::LoggedIn, &session));
    change.write(Write::OpenSession(Box::new(session.clone())));
    // A visitor's cart comes along. What another user left does not.
    if let Some(visitor) = presented.filter(|live| live.session.login.is_none()) {
        change.write(Write::CarryData { from: visitor.session.id, to: session.id });
    }
    if let Some(user) = user {
        change.write(Write::KeepNewest { user, keep: app.config.limits.sessions_per_user_max });
    }
    (change, session)
}
