//! Token exchange (RFC 8693): a service acts for a user with a token of its own.
//!
//! The new token is one more shadow of the user's session, which is loaded from the store; all that is committed is a word
//! in the audit trail. A presented token that is ended alone (RFC 7009) takes with it nothing that was exchanged for it: what
//! it led to lives no longer than it would have, and what ends it for good is the end of the session, the change of the
//! password, or the end of a service. To carry the ids of all tokens of a chain would cost each of its tokens more.

use symbolon_core::{
    audit::{Act, Event},
    change::Change,
    client::Client,
    mapped::Place,
    oauth::exchange::{self, Asked, Limits},
    secret::SecretText,
    time::Time,
};

use super::{
    Unavailable, check,
    issue::{self, Tokens, Who},
};
use crate::app::App;

/// Why a service gets no token.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The presented token does not count.
    #[error(transparent)]
    Token(check::Refused),
    /// It counts, and was decided against.
    #[error(transparent)]
    Exchange(#[from] exchange::Refused),
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<check::Refused> for Refused {
    fn from(refused: check::Refused) -> Self {
        match refused {
            check::Refused::Unavailable(unavailable) => Self::Unavailable(unavailable),
            refused => Self::Token(refused),
        }
    }
}

/// An access token on behalf of the user whose access token is presented, for a service that has authenticated.
///
/// # Errors
/// [`Refused`].
pub async fn tokens(
    app: &App,
    service: &Client,
    subject: &SecretText,
    asked: Asked<'_>,
    now: Time,
) -> Result<Tokens, Refused> {
    let verified = check::token(app, subject, now)?;
    let live = check::load(app, verified.claims.sid).await?;
    // Asked once more: it may have ended while the row was read.
    if app.store.is_ended(&verified.entries) || app.store.is_ended(&live.entries()) {
        return Err(check::Refused::Revoked.into());
    }
    check::stands(&live, now)?;
    let user = live.user.as_ref().ok_or(exchange::Refused::Subject)?;
    let limits = Limits {
        issuer: app.config.public_url.issuer(),
        lifetime: app.config.lifetimes.access_token,
    };
    let whose = (&live.session, user);
    let (mut issued, act) =
        exchange::exchange(&verified.claims, whose, service, asked, limits, now)?;
    let what = (service, &*issued.scope);
    issued.more = issue::mapped(app, Place::AccessToken, what, Some(user));
    let mut change = Change::at(now);
    let of_service = Some(service.id.clone());
    change.record(Event { client: of_service, ..Event::of_session(Act::Exchanged, &live.session) });
    app.store.commit(change).await.map_err(Unavailable::from)?;
    let who = Who { client: service, subject: verified.claims.user, act: Some(act) };
    Ok(issue::on_behalf(app, &live.session, &issued, who, now).await?)
}
