//! Clients that register themselves (RFC 7591), and change and remove themselves (RFC 7592).
//!
//! The registration access token is drawn with the client and goes with it. It is kept when the client changes itself
//! (RFC 7592, section 5, leaves that open): only its digest rests, so that a client whose answer was lost would else be
//! without one for good.

use std::{net::IpAddr, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use symbolon_core::{
    audit::{Act, Event},
    change::{Change, Write},
    client::{Client, ClientId, SecretDigest, new_secret},
    limit::Limited,
    oauth::registration::{self, Refused as Metadata},
    secret::{SecretBytes, SecretText},
    time::Time,
};

use super::{
    Unavailable,
    clients::{self, TRIES_MAX},
};
use crate::{
    app::{App, Os},
    config::ClientRegistration,
    store::Outcome,
};

/// How often an initial access token can be of use at most.
pub const USES_MAX: u32 = 1000;
/// How long one lives at most.
pub const LIFE_MAX: Duration = Duration::from_hours(24 * 90);

/// What a client is told when it has registered itself, or has changed itself.
#[derive(Debug)]
pub struct Registered {
    /// The client.
    pub client: Client,
    /// Its new secret, if it got one: told this once.
    pub secret: Option<SecretText>,
    /// What it proves itself with where it is registered.
    pub token: SecretText,
}

/// Why nothing was registered, told, changed or removed.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// No token, or one that lets nobody do this.
    #[error("the token is missing, or is none for this")]
    Token,
    /// The client cannot be as it wants to be.
    #[error(transparent)]
    Metadata(#[from] Metadata),
    /// Too many clients have registered themselves.
    #[error("too many clients have registered themselves")]
    Full,
    /// Too often from this address.
    #[error(transparent)]
    Limited(#[from] Limited),
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Registers a client.
///
/// # Errors
/// [`Refused`]. A use of the initial access token is gone only with the client that it made.
pub async fn register(
    app: &App,
    json: &[u8],
    token: Option<&SecretText>,
    address: IpAddr,
    now: Time,
) -> Result<Registered, Refused> {
    let settings = &app.config.client_registration;
    app.attempts.client(address, now)?;
    let initial = match (settings.mode, token) {
        (ClientRegistration::Open, _) => None,
        (ClientRegistration::Off, _) | (_, None) => return Err(Refused::Token),
        (ClientRegistration::Token, Some(token)) => Some(SecretDigest::of(token)),
    };
    if let Some(digest) = &initial {
        let counts = app.store.registration_token_counts(digest, now).await;
        if !counts.map_err(Unavailable::from)? {
            return Err(Refused::Token);
        }
    }
    let asked = registration::client(&ClientId::random(&mut Os), json, &settings.policy())?;
    check_sector(app, &asked).await?;
    let secret = asked.keeps_secret().then(|| new_secret(&mut Os));
    let token = new_token("symg_");
    let client = Client {
        secret: secret.as_ref().map(SecretDigest::of),
        registration: Some(SecretDigest::of(&token)),
        added_at: now,
        ..asked
    };
    let write =
        Write::RegisterClient { client: Box::new(client.clone()), most: settings.clients_max };
    let mut change = clients::change(client.id.clone(), write, false, now);
    if let Some(digest) = initial {
        // First of all: without a token nobody learns whether there is room.
        change.writes.insert(0, Write::UseRegistrationToken(digest));
    }
    match app.store.commit(change).await.map_err(Unavailable::from)? {
        Outcome::Applied(_) => {}
        Outcome::Gone => return Err(Refused::Token),
        Outcome::Conflict => return Err(Refused::Full),
    }
    app.load_clients().await?;
    clients::make_keys(app, now).await;
    Ok(Registered { client, secret, token })
}

/// As for every client. Strangers do not hear why: they would learn what this server reaches.
async fn check_sector(app: &App, client: &Client) -> Result<(), Refused> {
    clients::check_sector(app, client).await.map_err(|why| {
        tracing::debug!(%why, "a client that registers itself is in no such sector");
        let says = "sector_identifier_uri: it is not of a list of all of the redirect_uris";
        Refused::Metadata(Metadata::Metadata(says.to_owned()))
    })
}

/// The client whose registration access token this is. There is no telling a wrong token from a client that is not there
/// (RFC 7592, section 2.1).
///
/// # Errors
/// [`Refused::Token`].
pub fn load(app: &App, id: &ClientId, token: &SecretText) -> Result<Arc<Client>, Refused> {
    let live = !app.store.is_ended(&[id.entry()]);
    let own = |client: &Arc<Client>| client.registration.is_some_and(|own| own.matches(token));
    app.client(id).filter(|_| live).filter(own).ok_or(Refused::Token)
}

/// Replaces all metadata of a client. Whoever is slower decides again on what is there then; what was removed stays
/// removed.
///
/// # Errors
/// [`Refused`].
pub async fn update(
    app: &App,
    id: &ClientId,
    token: SecretText,
    json: &[u8],
    address: IpAddr,
    now: Time,
) -> Result<Registered, Refused> {
    app.attempts.client(address, now)?;
    let policy = app.config.client_registration.policy();
    for _ in 0..TRIES_MAX {
        let old = load(app, id, &token)?;
        let mut client = registration::update(&old, json, &policy)?;
        check_sector(app, &client).await?;
        let needs = client.keeps_secret() && client.secret.is_none();
        let secret = needs.then(|| new_secret(&mut Os));
        client.secret = client.secret.or(secret.as_ref().map(SecretDigest::of));
        let write = Write::SaveClient(Box::new(client.clone()));
        let change = clients::change(id.clone(), write, false, now);
        match clients::apply(app, change).await? {
            Outcome::Applied(_) => {
                clients::make_keys(app, now).await;
                return Ok(Registered { client, secret, token });
            }
            Outcome::Gone => return Err(Refused::Token),
            Outcome::Conflict => {}
        }
    }
    Err(Unavailable::contended().into())
}

/// Removes a client, with its sessions and tokens.
///
/// # Errors
/// [`Refused`].
pub async fn remove(
    app: &App,
    id: &ClientId,
    token: &SecretText,
    address: IpAddr,
    now: Time,
) -> Result<(), Refused> {
    app.attempts.client(address, now)?;
    load(app, id, token)?;
    match clients::remove(app, id, now).await {
        Ok(()) => Ok(()),
        Err(clients::Refused::Unavailable(error)) => Err(error.into()),
        // Somebody was faster.
        Err(_) => Err(Refused::Token),
    }
}

/// Makes an initial access token that is of use so often, for so long. Only its digest rests.
///
/// # Errors
/// [`Unavailable`].
pub async fn invite(
    app: &App,
    uses: u32,
    life: Duration,
    now: Time,
) -> Result<SecretText, Unavailable> {
    let token = new_token("symi_");
    let mut change = Change::at(now);
    change.record(Event::of_server(Act::InvitationChanged));
    change.write(Write::AddRegistrationToken {
        digest: SecretDigest::of(&token),
        uses: uses.min(USES_MAX),
        expires_at: now + life.min(LIFE_MAX),
    });
    app.store.commit(change).await?;
    Ok(token)
}

/// 256 random bits, with a prefix that secret scanners know, and that no other kind of secret has.
fn new_token(prefix: &str) -> SecretText {
    let bytes = SecretBytes::<32>::random(&mut Os);
    SecretText::new(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes.expose())))
}
