//! Devices that wait for their users (RFC 8628): begun, decided in a browser, asked about again and again.

use symbolon_core::{
    client::{Client, ClientId},
    code::CodeDigest,
    limit::Limited,
    oauth::device::{Codes, Heard, Over, UserCode, Waiting},
    scope,
    secret::SecretText,
    session::Device,
    time::Time,
};

use super::{
    TRIES_MAX, Unavailable, apps, check,
    code::{self, Holder},
    issue::Tokens,
};
use crate::{
    app::{App, Os},
    live::Live,
    store::Outcome,
};

/// Why a device was not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotBegun {
    /// The client would get no tokens.
    #[error("the client has no such audience")]
    Audience,
    /// Too many of this client wait.
    #[error("too many devices of this client wait for their users")]
    TooMany,
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Takes a device of a client.
///
/// # Errors
/// [`NotBegun`].
pub async fn begin(
    app: &App,
    client: &Client,
    (asked, resource): (&str, Option<&str>),
    now: Time,
) -> Result<Codes, NotBegun> {
    let scope = client.scope(asked);
    // Said now, and not when somebody has typed the code.
    let for_userinfo = resource.is_none() && scope::has(&scope, scope::OPENID);
    if client.audience(resource).is_none() && !for_userinfo {
        return Err(NotBegun::Audience);
    }
    for _ in 0..TRIES_MAX {
        let what = (scope.clone(), resource.map(Into::into));
        let (change, codes) = Waiting::begin(&client.id, what, now, &mut Os);
        match app.store.commit(change).await.map_err(Unavailable::from)? {
            Outcome::Applied(_) => return Ok(codes),
            Outcome::Gone => return Err(NotBegun::TooMany),
            // Another device shows this user code.
            Outcome::Conflict => {}
        }
    }
    Err(Unavailable::contended().into())
}

/// Why nothing is decided about a device.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// No device that waits shows this code.
    #[error("no device that waits shows this code")]
    Unknown,
    /// The cookie proves no login that could allow something.
    #[error("the cookie proves no login of a browser")]
    Cookie,
    /// Too many codes were tried.
    #[error(transparent)]
    Limited(#[from] Limited),
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<check::Refused> for Refused {
    fn from(refused: check::Refused) -> Self {
        match refused {
            check::Refused::Unavailable(unavailable) => Self::Unavailable(unavailable),
            _ => Self::Cookie,
        }
    }
}

/// The device that shows this code, for who is logged in with this cookie. A code that nobody shows is a try less for
/// this session and this address.
///
/// # Errors
/// [`Refused`].
pub async fn find(
    app: &App,
    (cookie, typed): (&SecretText, &str),
    device: &Device,
    now: Time,
) -> Result<Waiting, Refused> {
    Ok(found(app, (cookie, typed), device, now).await?.1)
}

async fn found(
    app: &App,
    (cookie, typed): (&SecretText, &str),
    device: &Device,
    now: Time,
) -> Result<(Live, Waiting), Refused> {
    let live = check::cookie_at_store(app, cookie, now).await?;
    if live.session.login.is_none() || live.session.parent.is_some() {
        return Err(Refused::Cookie);
    }
    let charges = app.attempts.user_code(live.session.id, device.address, now)?;
    let code = UserCode::parse(typed).ok_or(Refused::Unknown)?;
    let waiting = app.store.device_of(code.digest()).await.map_err(Unavailable::from)?;
    let open = waiting.filter(|it| it.is_open(now) && app.client(&it.client).is_some());
    let waiting = open.ok_or(Refused::Unknown)?;
    app.attempts.refund(&charges);
    Ok((live, waiting))
}

/// Decides about the device that shows this code. Allowed, it gets its tokens under the browser's session when it asks
/// next.
///
/// # Errors
/// [`Refused`].
pub async fn decide(
    app: &App,
    (cookie, typed): (&SecretText, &str),
    allow: bool,
    device: &Device,
    now: Time,
) -> Result<(), Refused> {
    for _ in 0..TRIES_MAX {
        let (live, waiting) = found(app, (cookie, typed), device, now).await?;
        let change = if allow {
            let user = live.session.login.as_ref().ok_or(Refused::Cookie)?.user;
            let before = apps::of(app, user, &waiting.client).await?;
            let allowed = scope::only(&format!("{before} {}", waiting.scope), |_| true);
            waiting.approve(&live.session, allowed, now).ok_or(Refused::Unknown)?
        } else {
            waiting.deny(now)
        };
        match app.store.commit(change).await.map_err(Unavailable::from)? {
            Outcome::Applied(_) => return Ok(()),
            // Decided, renewed or ended meanwhile: the rows say which.
            Outcome::Conflict | Outcome::Gone => {}
        }
    }
    Err(Unavailable::contended().into())
}

/// What a device hears that has not got its tokens.
#[derive(Debug, thiserror::Error)]
pub enum NotYet {
    /// It goes on asking.
    #[error("it goes on asking")]
    Heard(Heard),
    /// It waits no longer.
    #[error(transparent)]
    Over(#[from] Over),
    /// Its user has decided, or there is no such device.
    #[error(transparent)]
    Code(#[from] code::Refused),
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// One question of a device of a client that has said or proven who it is.
///
/// # Errors
/// [`NotYet`]. A code that fits and was used before has ended the session that it got.
pub async fn poll(
    app: &App,
    device_code: &SecretText,
    holder: Holder<'_>,
    now: Time,
) -> Result<Tokens, NotYet> {
    let digest = CodeDigest::of(device_code);
    for _ in 0..TRIES_MAX {
        let waiting = app.store.device(&digest).await.map_err(Unavailable::from)?;
        let Some(waiting) = waiting else {
            return Ok(code::for_tokens(app, device_code, holder, ("", None), now).await?);
        };
        let (change, heard) = waiting.poll(&holder.client.id, now)?;
        match app.store.commit(change).await.map_err(Unavailable::from)? {
            Outcome::Applied(_) => return Err(NotYet::Heard(heard)),
            // Decided meanwhile, or asked about twice at once.
            Outcome::Conflict | Outcome::Gone => {}
        }
    }
    Err(Unavailable::contended().into())
}

/// What people call a client that asks.
pub fn title(app: &App, client: &ClientId) -> String {
    app.client(client).map_or_else(|| client.to_string(), |client| client.title().to_owned())
}
