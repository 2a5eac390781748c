//! Token exchange (RFC 8693): a service that was called with a user's access token gets one for the next service, and acts
//! there on the user's behalf.
//!
//! Whatever happens on the way, the user, the session and the end stay the same, and everything else only shrinks:
//!
//! | of the new token | is |
//! |---|---|
//! | `sub`, `sid` | those of the presented token: what ends the session ends every token of the chain |
//! | `jti` | of the same era: a change of the password ends it, too |
//! | `exp` | not after that of the presented token |
//! | `scope` | no more than the presented token has, and no more than the service may have |
//! | `auth_time` | that of the presented token, however often the user has logged in since |
//! | `roles` | those of the presented token that the user still has |
//! | `aud` | one of the service's audiences, and never the server itself |
//! | `act` | the service, and before it who had exchanged the presented token |
//!
//! A service may exchange tokens that are for itself (its `exchange_audiences`), so that nobody gains by a token that went
//! to somebody else. It is no session's app: there is no refresh token, and it asks again with the user's next token.

use std::time::Duration;

use crate::{
    client::Client,
    family::Issued,
    oauth::jwk::Thumbprint,
    scope,
    session::Session,
    time::Time,
    token::{Actor, Claims},
    user::{Role, User},
};

/// The only type of token that is taken and given (RFC 8693, section 3).
pub const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// The most services in a chain. Every exchange makes the token longer.
pub const ACTORS_MAX: usize = 4;

/// What a service asks for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The scope; `None`: all that it may have of the presented token's.
    pub scope: Option<&'a str>,
    /// For whom; `None`: for the first of the service's audiences.
    pub audience: Option<&'a str>,
    /// The service's own key, that the new token shall be bound to (RFC 9449).
    pub key: Option<Thumbprint>,
}

/// Where the new token belongs, by the issuer's rules.
#[derive(Debug, Clone, Copy)]
pub struct Limits<'a> {
    /// The server itself: the one audience that a service never gets.
    pub issuer: &'a str,
    /// The longest life of an access token.
    pub lifetime: Duration,
}

/// Why nothing is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The presented token speaks for no user, or not for the one of this session, or was given before the password was
    /// changed.
    #[error("the token speaks for nobody whose session this is")]
    Subject,
    /// Only the holder of a key may use it, and that is not who was called with it.
    #[error("the token is bound to a key")]
    Bound,
    /// It is for others.
    #[error("the token is not for this service")]
    NotForClient,
    /// [`ACTORS_MAX`] services have exchanged it.
    #[error("too many services have exchanged the token")]
    TooLong,
    /// More than the presented token has, or than the service may have.
    #[error("the scope is more than the token has, or than the service may have")]
    Scope,
    /// The service has no such audience.
    #[error("the service has no such audience")]
    Audience,
}

/// What a service gets for a verified token of a user, whose live session and row these are: what the new access token says,
/// and who acts.
///
/// # Errors
/// [`Refused`].
pub fn exchange(
    subject: &Claims,
    (session, user): (&Session, &User),
    service: &Client,
    asked: Asked<'_>,
    limits: Limits<'_>,
    now: Time,
) -> Result<(Issued, Actor), Refused> {
    let of_user = session.login.as_ref().is_some_and(|login| login.user == user.id);
    // Whose token it is follows from its session: its `sub` may be one that only a client knows.
    if !of_user || subject.user.is_none() || subject.sid != session.id {
        return Err(Refused::Subject);
    }
    if !session.is_of_era(subject.jti) {
        return Err(Refused::Subject);
    }
    if subject.key.is_some() {
        return Err(Refused::Bound);
    }
    if !service.exchange_audiences.iter().any(|own| subject.aud.contains(own)) {
        return Err(Refused::NotForClient);
    }
    let act = Actor { sub: service.id.clone(), act: subject.act.clone().map(Box::new) };
    if act.count() > ACTORS_MAX {
        return Err(Refused::TooLong);
    }
    let audience = service.audience(asked.audience).filter(|audience| *audience != limits.issuer);
    let audience = audience.ok_or(Refused::Audience)?.into();
    let scope = scope_of(subject, service, asked.scope).ok_or(Refused::Scope)?;
    let kept = |role: &&Role| subject.roles.iter().any(|had| **had == *role.as_str());
    let roles = user.roles.iter().filter(kept).cloned().collect();
    let expires_at = subject.exp.min(now + limits.lifetime).min(session.limits.ends_at);
    // Within the leeway a token counts that has expired; nothing is given for its last moments.
    if expires_at < now + Duration::from_secs(1) {
        return Err(Refused::Subject);
    }
    let (auth_time, key) = (subject.auth_time, asked.key);
    Ok((Issued { at: now, expires_at, audience, scope, roles, auth_time, key }, act))
}

/// `None`: more was asked for, or nothing is left. A token without a scope is not for nothing, but for nothing in
/// particular: it must not come out of one that had some.
fn scope_of(subject: &Claims, service: &Client, asked: Option<&str>) -> Option<Box<str>> {
    let had = subject.scope.as_deref().unwrap_or_default();
    let may = service.scope(had);
    match asked {
        Some(asked) if scope::is_within(asked, &may) => Some(scope::only(asked, |_| true)),
        Some(_) => None,
        None if may.is_empty() && !had.is_empty() => None,
        None => Some(may),
    }
}
