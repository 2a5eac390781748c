//! A client proves who it is with a key (`private_key_jwt`: RFC 7523, OpenID Connect Core, section 9).
//!
//! An assertion counts once. Which ones were used is remembered in memory, until they are refused for their age, and not
//! in the database file: a client shows one with every request, and a commit for each would cost more than the whole
//! answer. (Where servers share a database there is no other way: it is written there, too.) So
//! a process does not know what the one before it has seen, and refuses every assertion that was made before it began,
//! to the second. Clients make a new one for each request. One that leaves out `iat` is dated as early as its `exp`
//! allows, and is refused for up to an hour after a start: such a client should say `iat`.

use std::sync::{Arc, Mutex, PoisonError};

use symbolon_core::{
    client::{AuthMethod, Client, ClientId},
    oauth::{
        assertion::{Assertion, InvalidAssertion, ProvenClient, Rules},
        jws::InvalidJws,
        once::{NotOnce, Once},
    },
    secret::SecretText,
    time::Time,
};

use super::Unavailable;
use crate::{
    app::{App, LEEWAY},
    key_sets::NoKeys,
    os::tick,
};

/// Assertions that are remembered at a time, about 50 bytes each.
const USED_MAX: usize = 1 << 20;

/// Which assertions were used.
#[derive(Debug)]
pub struct Used {
    began: Time,
    once: Mutex<Once>,
}

impl Used {
    /// Begins to remember.
    pub const fn new(now: Time) -> Self {
        Self { began: now, once: Mutex::new(Once::new(USED_MAX)) }
    }

    fn first(&self, proven: &ProvenClient, now: Time) -> Result<(), Refused> {
        if proven.made_at.secs() < self.began.secs() {
            return Err(Refused::Before);
        }
        let mut once = self.once.lock().unwrap_or_else(PoisonError::into_inner);
        let whose = proven.client.as_str().as_bytes();
        Ok(once.first(whose, &proven.jti, proven.forget_at, now)?)
    }
}

/// Why an assertion proves no client. To outsiders all but the last are `invalid_client`.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It does not count.
    #[error(transparent)]
    Assertion(#[from] InvalidAssertion),
    /// There is no such client, or it was removed.
    #[error("there is no such client")]
    Unknown,
    /// It is another client's than the request says.
    #[error("the assertion is another client's")]
    Other,
    /// The client does not prove itself with a key.
    #[error("the client has no keys")]
    NoKeys,
    /// It could have been used before this process began.
    #[error("made before the server started")]
    Before,
    /// It was used before.
    #[error("used before")]
    Replayed,
    /// Nobody can tell now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<NotOnce> for Refused {
    fn from(why: NotOnce) -> Self {
        match why {
            NotOnce::Replayed => Self::Replayed,
            NotOnce::Full => Unavailable::contended().into(),
        }
    }
}

impl From<NoKeys> for Refused {
    fn from(why: NoKeys) -> Self {
        match why {
            NoKeys::None => Self::NoKeys,
            why => {
                tracing::warn!(%why, "a client cannot be authenticated");
                Unavailable::contended().into()
            }
        }
    }
}

/// The client whose assertion this is; `named` is what the request says besides.
///
/// # Errors
/// [`Refused`].
pub async fn client(
    app: &App,
    text: &SecretText,
    named: Option<&str>,
    now: Time,
) -> Result<Arc<Client>, Refused> {
    let assertion = Assertion::parse(text.expose())?;
    if named.is_some_and(|named| named != assertion.client().as_str()) {
        return Err(Refused::Other);
    }
    let client = known(app, assertion.client())?;
    if !client.may_authenticate(AuthMethod::PrivateKeyJwt) {
        return Err(Refused::NoKeys);
    }
    let issuer = app.config.public_url.issuer();
    let token_endpoint = format!("{issuer}/oauth2/token");
    let rules = Rules {
        token_endpoint: client.token_endpoint_audience.then_some(&*token_endpoint),
        algorithm: client.token_endpoint_auth_signing_alg,
        leeway: LEEWAY,
        ..Rules::new(issuer)
    };
    let keys = app.key_sets.get(&client, None, &app.reach, tick()).await?;
    let proven = match assertion.clone().verify(&keys, &rules, now) {
        // The client may have a new key by now.
        Err(InvalidAssertion::Jws(InvalidJws::UnknownKey)) if client.jwks_uri.is_some() => {
            let keys = app.key_sets.get(&client, Some(&keys), &app.reach, tick()).await?;
            assertion.verify(&keys, &rules, now)?
        }
        proven => proven?,
    };
    if client.is_registered() {
        app.attempts.assertion(&client.id, now).map_err(|_| Unavailable::contended())?;
    }
    app.assertions.first(&proven, now)?;
    // Where there are more processes, one of them may have seen it.
    let digest = Once::digest(proven.client.as_str().as_bytes(), &proven.jti);
    match app.store.use_once(&digest, proven.forget_at + LEEWAY).await {
        Ok(true) => Ok(client),
        Ok(false) => Err(Refused::Replayed),
        Err(error) => Err(Unavailable::from(error).into()),
    }
}

fn known(app: &App, id: &ClientId) -> Result<Arc<Client>, Refused> {
    let client = app.client(id).ok_or(Refused::Unknown)?;
    if app.store.is_ended(&[id.entry()]) { Err(Refused::Unknown) } else { Ok(client) }
}
