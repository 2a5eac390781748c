//! Authorization codes: a browser that is logged in here gets a session of its own at an application on another host.

use symbolon_core::{
    change::Change,
    client::Client,
    code::{self, Code, CodeDigest, Gives, Presented, Redeemed, Request},
    family::{Binding, NewFamily, Whence},
    handle::HandleKey,
    id::{KeyId, SessionId},
    oauth::{jwk::Thumbprint, resource::Resources},
    scope,
    secret::SecretText,
    session::{Device, Reason, Session},
    time::Time,
    user::User,
};

use super::{
    TRIES_MAX, Unavailable, check, end,
    issue::{self, NoToken, Tokens},
};
use crate::{
    app::{App, Os},
    live::Live,
    os::Asked,
    store::Outcome,
};

/// Why there is no code, or nothing for it.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The cookie proves no login of a browser here.
    #[error(transparent)]
    Cookie(check::Refused),
    /// There is no such code.
    #[error("there is no such code")]
    Unknown,
    /// The code does not count.
    #[error(transparent)]
    Code(#[from] code::Refused),
    /// The client gets no tokens.
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
            refused => Self::Cookie(refused),
        }
    }
}

/// A code for the browser that holds this session cookie. The edge has checked that the redirect URI is the client's.
///
/// # Errors
/// [`Refused`].
pub async fn issue(
    app: &App,
    cookie: &SecretText,
    request: &Request<'_>,
    now: Time,
) -> Result<SecretText, Refused> {
    for _ in 0..TRIES_MAX {
        let live = check::cookie_at_store(app, cookie, now).await?;
        if let Some(pushed) = request.pushed {
            super::push::load(app, pushed, now).await?.ok_or(Refused::Unknown)?;
        }
        let (change, code) = Code::issue(&live.session, request.clone(), now, &mut Os)
            .ok_or(Refused::Code(code::Refused::NoLogin))?;
        match app.store.commit(change).await.map_err(Unavailable::from)? {
            Outcome::Applied(_) => return Ok(code),
            // The cookie may have been replaced meanwhile, its session ended, or a pushed request used: it is asked again.
            Outcome::Conflict | Outcome::Gone => {}
        }
    }
    Err(Unavailable::contended().into())
}

/// Redeems a code for a client that has authenticated: its session under the browser's, and the cookie for its own host.
///
/// # Errors
/// [`Refused`]. A code that fits and was used before has ended the session that it got.
pub async fn for_cookie(
    app: &App,
    (client, code): (&Client, &SecretText),
    redirect_uri: &str,
    verifier: &SecretText,
    asked: &Asked,
    now: Time,
) -> Result<(Session, SecretText), Refused> {
    let verifier = Some(verifier);
    let presented = Presented { client: &client.id, redirect_uri, verifier, key: None };
    let gives = |key, _: &Code, _: &Rows| Ok(Gives::Cookie(key));
    let (_, redeemed) = redeem(app, code, presented, gives, (asked, now)).await?;
    let cookie = issue::cookie(app, &redeemed.session, now)?.ok_or(Refused::Unknown)?;
    Ok((redeemed.session, cookie))
}

/// Who redeems a code for tokens.
#[derive(Debug)]
pub struct Holder<'a> {
    /// The client.
    pub client: &'a Client,
    /// What it showed besides its name.
    pub shown: Binding,
    /// The key that the access token shall be bound to.
    pub key: Option<Thumbprint>,
    /// For which of the granted resource servers the access token shall be; empty: for all of them.
    pub resources: Resources,
    /// Where the request came from.
    pub device: &'a Device,
    /// The request.
    pub asked: &'a Asked,
}

/// Redeems a code for tokens: a family of the app's session under the browser's.
///
/// The refresh token is one of a session that ends with the browser's, so it is worth no more than the login. With the
/// scope `offline_access` it is one of a session beside it, which outlives the login.
///
/// # Errors
/// [`Refused`]. A code that fits and was used before has ended the session that it got.
pub async fn for_tokens(
    app: &App,
    code: &SecretText,
    holder: Holder<'_>,
    (redirect_uri, verifier): (&str, Option<&SecretText>),
    now: Time,
) -> Result<Tokens, Refused> {
    let Holder { client, shown, key: bound_to, resources: wanted, device, asked } = holder;
    let presented = Presented { client: &client.id, redirect_uri, verifier, key: bound_to };
    let gives = |key, code: &Code, rows: &Rows| {
        let (asked, lifetimes) = (&code.asked, app.config.lifetimes.sessions());
        let offline = scope::has(&asked.scope, scope::OFFLINE);
        let ends_at = match &rows.detached {
            Some(held) if offline => held.limits.ends_at,
            None if offline => lifetimes.detached(now).ends_at,
            _ => rows.parent.limits.ends_at,
        };
        let scope = asked.scope.clone();
        let narrowed = asked.resources.narrowed(&wanted).ok_or(NoToken::Audience)?;
        let auth_time = rows.parent.login.as_ref().map(|login| login.at);
        let whose = (ends_at, &rows.user, auth_time);
        let issued = issue::issued(app, client, narrowed, scope, whose, bound_to, now)?;
        let whence = Whence::new(device.address, &device.user_agent);
        let (resources, claims) = (asked.resources.clone(), asked.claims.clone());
        let (client, binding) = (client.id.clone(), shown);
        let new = NewFamily { client, key, binding, resources, claims, issued, whence };
        Ok(if offline {
            Gives::Offline(new, rows.detached.clone().map(Box::new), lifetimes)
        } else {
            Gives::Tokens(new)
        })
    };
    let (code, redeemed) = redeem(app, code, presented, gives, (asked, now)).await?;
    let family = redeemed.family.ok_or(Refused::Unknown)?;
    let nonce = code.asked.nonce.as_deref();
    Ok(issue::family(app, &redeemed.session, family, client, nonce, now).await?)
}

/// What a code is redeemed under, as it is at the store now.
struct Rows {
    parent: Session,
    user: User,
    /// The session that the client has under the browser's already.
    child: Option<Session>,
    /// The one beside it, of tokens that outlive the login.
    detached: Option<Session>,
}

async fn redeem(
    app: &App,
    code: &SecretText,
    presented: Presented<'_>,
    gives: impl Fn(KeyId, &Code, &Rows) -> Result<Gives, Refused>,
    (asked, now): (&Asked, Time),
) -> Result<(Code, Redeemed), Refused> {
    let digest = CodeDigest::of(code);
    for _ in 0..TRIES_MAX {
        let code = app.store.code(&digest).await.map_err(Unavailable::from)?;
        let code = code.ok_or(Refused::Unknown)?;
        super::refuse_late(app, asked).await?;
        if let Err(refused) = code.check(&presented, now) {
            if let code::Refused::Used(child) = refused {
                if let Some(again) = again(app, &code, child, &presented, now).await? {
                    return Ok((code, again));
                }
                end::session(app, child, Reason::Theft, now).await?;
            }
            return Err(refused.into());
        }
        let rows = rows(app, &code, now).await?;
        let key = app.keys().ring.handle_key(now).map(HandleKey::id);
        let key = key.ok_or_else(|| Unavailable::Key("no handle key is active".into()))?;
        let gives = gives(key, &code, &rows)?;
        let under = (&rows.parent, &rows.user);
        let redeemed = code.redeem(under, rows.child, gives, now, &mut Os)?;
        match app.store.commit(redeemed.change.clone()).await.map_err(Unavailable::from)? {
            Outcome::Applied(_) => {
                app.live.forget(redeemed.session.id);
                return Ok((code, redeemed));
            }
            // Used, ended or changed meanwhile: the rows say which.
            Outcome::Conflict | Outcome::Gone => {}
        }
    }
    Err(Unavailable::contended().into())
}

/// What a device gets that asks once more because the answer was lost: the same.
async fn again(
    app: &App,
    code: &Code,
    child: SessionId,
    presented: &Presented<'_>,
    now: Time,
) -> Result<Option<Redeemed>, Refused> {
    let live = match check::load(app, child).await {
        Ok(live) => live,
        Err(check::Refused::Unavailable(unavailable)) => return Err(unavailable.into()),
        Err(_) => return Ok(None),
    };
    if app.store.is_ended(&live.entries()) || check::stands(&live, now).is_err() {
        return Ok(None);
    }
    let grace = app.config.lifetimes.refresh_grace;
    let family = code.again(&live.session, presented.key, grace, now);
    let session = live.session;
    Ok(family.map(|family| Redeemed { change: Change::at(now), session, family: Some(family) }))
}

async fn rows(app: &App, code: &Code, now: Time) -> Result<Rows, Refused> {
    let Live { session: parent, user } = parent(app, code, now).await?;
    let user = user.ok_or(code::Refused::NoLogin)?;
    let child = app.store.child(code.session, &code.client).await.map_err(Unavailable::from)?;
    let child = child.map(|child| seen(app, child));
    let detached = match &child {
        Some(child) => app.store.detached(child.id).await.map_err(Unavailable::from)?,
        None => None,
    };
    Ok(Rows { parent, user, child, detached: detached.map(|session| seen(app, session)) })
}

/// What this process saw and has not written yet counts.
fn seen(app: &App, mut session: Session) -> Session {
    if let Some(seen_at) = app.live.last_seen(session.id) {
        session.see(seen_at);
    }
    session
}

/// The browser session of a code, if it counts now. Never from a copy.
async fn parent(app: &App, code: &Code, now: Time) -> Result<Live, Refused> {
    let live = match check::load(app, code.session).await {
        Ok(live) => live,
        Err(check::Refused::Unavailable(unavailable)) => return Err(unavailable.into()),
        Err(_) => return Err(code::Refused::NoLogin.into()),
    };
    if app.store.is_ended(&live.entries()) || check::stands(&live, now).is_err() {
        return Err(code::Refused::NoLogin.into());
    }
    Ok(live)
}
