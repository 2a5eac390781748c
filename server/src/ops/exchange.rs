//! Token exchange (RFC 8693): a service acts for a user with a token of its own.
//!
//! Nothing is committed: the new token is one more shadow of the user's session, which is loaded from the store.

use symbolon_core::{
    client::Client,
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
    let (issued, act) = exchange::exchange(&verified.claims, whose, service, asked, limits, now)?;
    let who = Who { client: service, subject: verified.claims.user, act: Some(act) };
    Ok(issue::on_behalf(app, &live.session, &issued, who, now).await?)
}
