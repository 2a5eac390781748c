//! Clients: added, shown, given a new secret, removed; and those that the configuration declares.

use symbolon_core::{
    audit::{Act, Event},
    change::{Change, Write},
    client::{Client, ClientId, ClientKind, SecretDigest, new_secret},
    secret::SecretText,
    subject::{self, NoSector},
    time::Time,
};

use super::Unavailable;
use crate::{
    app::{App, Os},
    store::Outcome,
};

/// Why a client was not added or changed.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The name is taken.
    #[error("there is a client of this name")]
    Taken,
    /// A client of this name was removed, and tokens of it may still live somewhere.
    #[error("a client of this name was removed a moment ago; wait an hour, or choose another name")]
    RemovedLately,
    /// There is no such client.
    #[error("there is no such client")]
    Unknown,
    /// The configuration declares it.
    #[error("the configuration declares this client; change it there")]
    Declared,
    /// What it loads in frames is not of its own pages.
    #[error(
        "frontchannel_logout_uri must have the scheme, host and port of one of its redirect_uris"
    )]
    Frame,
    /// It has no secret.
    #[error("a public client, and one that proves itself with a key, has no secret")]
    NoSecret,
    /// It would prove itself in two ways, or keep a key though it is public.
    #[error("give jwks or jwks_uri, and to no public client")]
    Keys,
    /// It cannot have pairwise subjects.
    #[error(transparent)]
    Subject(#[from] NoSector),
    /// The list of its sector does not have all of its redirect URIs.
    #[error("sector_identifier_uri is not of a list of all of its redirect_uris: {0}")]
    Sector(Box<str>),
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// The longest list of the redirect URIs of a sector.
const SECTOR_BYTES_MAX: usize = 64 * 1024;

/// Whether the list of a client's sector has all of its redirect URIs (OpenID Connect Core, section 8.1): only who
/// controls that host lets a client into its sector.
///
/// # Errors
/// [`Refused::Sector`] says why not.
pub async fn check_sector(app: &App, client: &Client) -> Result<(), Refused> {
    let Some(uri) = &client.sector_identifier_uri else { return Ok(()) };
    let refused = |why: &dyn std::fmt::Display| Refused::Sector(why.to_string().into());
    let reply = app.reach.get(uri.as_str(), "application/json", SECTOR_BYTES_MAX).await;
    let reply = reply.map_err(|error| refused(&error))?;
    if reply.status != http::StatusCode::OK {
        return Err(refused(&format_args!("the server answered {}", reply.status)));
    }
    let listed: Vec<String> =
        serde_json::from_slice(&reply.body).map_err(|_| refused(&"it is no list of URIs"))?;
    let missing = client.redirect_uris.iter().any(|uri| !listed.contains(uri));
    if missing { Err(refused(&"one is missing")) } else { Ok(()) }
}

/// Adds a client. One that can keep a secret and brings no keys gets one, told this once.
///
/// # Errors
/// [`Refused`].
pub async fn add(app: &App, mut client: Client, now: Time) -> Result<Option<SecretText>, Refused> {
    if !client.is_consistent() {
        return Err(Refused::Keys);
    }
    let keeps_secret = client.kind != ClientKind::Public && !client.has_keys();
    let secret = keeps_secret.then(|| new_secret(&mut Os));
    client.secret = secret.as_ref().map(SecretDigest::of);
    client.declared = false;
    client.added_at = now;
    if !client.may_be_framed() {
        return Err(Refused::Frame);
    }
    subject::check(&client, app.config.public_url.issuer())?;
    check_sector(app, &client).await?;
    let id = client.id.clone();
    if app.store.is_ended(&[id.entry()]) {
        return Err(Refused::RemovedLately);
    }
    match commit(app, id, Write::AddClient(Box::new(client)), false, now).await? {
        Outcome::Applied(_) => {
            if let Err(error) = super::keys::rotate_due(app, now).await {
                // The client is there. Its keys are made when they are first needed.
                tracing::error!(%error, "keys for a new client were not made");
            }
            Ok(secret)
        }
        _ => Err(Refused::Taken),
    }
}

/// Gives a client a new secret; the old one is void at once.
///
/// # Errors
/// [`Refused`].
pub async fn rotate_secret(app: &App, id: &ClientId, now: Time) -> Result<SecretText, Refused> {
    let mut client = Client::clone(&*own(app, id)?);
    if client.kind == ClientKind::Public || client.has_keys() {
        return Err(Refused::NoSecret);
    }
    let secret = new_secret(&mut Os);
    client.secret = Some(SecretDigest::of(&secret));
    commit(app, id.clone(), Write::SaveClient(Box::new(client)), false, now).await?;
    Ok(secret)
}

/// Removes a client: its sessions, tokens and refresh tokens are refused from now on.
///
/// # Errors
/// [`Refused`].
pub async fn remove(app: &App, id: &ClientId, now: Time) -> Result<(), Refused> {
    own(app, id)?;
    match commit(app, id.clone(), Write::RemoveClient(id.clone()), true, now).await? {
        Outcome::Applied(_) => Ok(()),
        _ => Err(Refused::Unknown),
    }
}

fn own(app: &App, id: &ClientId) -> Result<std::sync::Arc<Client>, Refused> {
    let client = app.client(id).ok_or(Refused::Unknown)?;
    if client.declared { Err(Refused::Declared) } else { Ok(client) }
}

async fn commit(
    app: &App,
    id: ClientId,
    write: Write,
    end: bool,
    now: Time,
) -> Result<Outcome, Unavailable> {
    let mut change = Change::at(now);
    if end {
        change.end(id.entry());
    }
    change.record(Event::of_client(Act::ClientChanged, id));
    change.write(write);
    let outcome = app.store.commit(change).await?;
    app.live.forget_all();
    app.load_clients().await?;
    Ok(outcome)
}

/// Brings the stored clients in line with those that the configuration declares.
///
/// # Errors
/// [`Unavailable`].
pub async fn apply_declared(app: &App, declared: &[Client], now: Time) -> Result<(), Unavailable> {
    let stored = app.store.clients().await?;
    for client in declared {
        let write = match stored.iter().find(|stored| stored.id == client.id) {
            None => {
                if app.store.is_ended(&[client.id.entry()]) {
                    tracing::warn!(client = %client.id, "removed a moment ago: it is refused for up to an hour");
                }
                Write::AddClient(Box::new(Client { added_at: now, ..client.clone() }))
            }
            Some(stored) => {
                let client = Client { added_at: stored.added_at, ..client.clone() };
                if client == *stored {
                    continue;
                }
                Write::SaveClient(Box::new(client))
            }
        };
        commit(app, client.id.clone(), write, false, now).await?;
    }
    for stored in stored.iter().filter(|stored| stored.declared) {
        if declared.iter().all(|client| client.id != stored.id) {
            commit(app, stored.id.clone(), Write::RemoveClient(stored.id.clone()), true, now)
                .await?;
        }
    }
    app.load_clients().await
}
