//! Clients: added, shown, given a new secret, removed; and those that the configuration declares.

use std::sync::Arc;

use symbolon_core::{
    audit::{Act, Event},
    change::{Change, Write},
    client::{Client, ClientId, Fault, SecretDigest, faults_text, new_secret},
    secret::SecretText,
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
    /// It has no secret.
    #[error("a public client, and one that proves itself with a key, has no secret")]
    NoSecret,
    /// It cannot be as it is.
    #[error("{}", faults_text(.0))]
    Settings(Vec<Fault>),
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
/// Why not; nothing for strangers.
pub async fn check_sector(app: &App, client: &Client) -> Result<(), String> {
    let Some(uri) = &client.sector_identifier_uri else { return Ok(()) };
    let reply = app.reach.get(uri.as_str(), "application/json", SECTOR_BYTES_MAX).await;
    let reply = reply.map_err(|error| error.to_string())?;
    if reply.status != http::StatusCode::OK {
        return Err(format!("the server answered {}", reply.status));
    }
    let listed: Vec<String> = serde_json::from_slice(&reply.body)
        .map_err(|_| "the server answered no list of URIs".to_owned())?;
    let missing =
        client.redirect_uris.iter().any(|uri| !listed.iter().any(|it| it == uri.as_str()));
    if missing { Err("its list lacks one of the redirect_uris".to_owned()) } else { Ok(()) }
}

/// Says which of the declared clients are not in the lists of their sectors. Whoever writes the configuration vouches for
/// them, so they work all the same, and a start waits for nobody's server.
pub async fn check_sectors(app: &App) {
    for client in &app.config.clients {
        if let Err(why) = check_sector(app, client).await {
            tracing::warn!(client = %client.id, %why, "a client may be in a sector that is not its own");
        }
    }
}

/// Adds a client. One that can keep a secret and brings no keys gets one, told this once.
///
/// # Errors
/// [`Refused`].
pub async fn add(app: &App, mut client: Client, now: Time) -> Result<Option<SecretText>, Refused> {
    client.check(Some(app.config.public_url.issuer())).map_err(Refused::Settings)?;
    let secret = client.keeps_secret().then(|| new_secret(&mut Os));
    client.secret = secret.as_ref().map(SecretDigest::of);
    client.declared = false;
    client.added_at = now;
    let sector = check_sector(app, &client).await;
    sector.map_err(|why| {
        let why = format!("it is not of a list of all of the redirect_uris: {why}");
        Refused::Settings(vec![Fault::new("sector_identifier_uri", why)])
    })?;
    let id = client.id.clone();
    if app.store.is_ended(&[id.entry()]) {
        return Err(Refused::RemovedLately);
    }
    match commit(app, id, Write::AddClient(Box::new(client)), false, now).await? {
        Outcome::Applied(_) => {
            make_keys(app, now).await;
            Ok(secret)
        }
        _ => Err(Refused::Taken),
    }
}

/// Makes the keys that a new client needs, if there are none. It is there already; they are made at the latest when they
/// are first needed.
pub(super) async fn make_keys(app: &App, now: Time) {
    if let Err(error) = super::keys::rotate_due(app, now).await {
        tracing::error!(%error, "keys for a new client were not made");
    }
}

/// Gives a client a new secret; the old one is void at once.
///
/// # Errors
/// [`Refused`].
pub async fn rotate_secret(app: &App, id: &ClientId, now: Time) -> Result<SecretText, Refused> {
    for _ in 0..TRIES_MAX {
        let mut client = Client::clone(&*own(app, id)?);
        if !client.keeps_secret() {
            return Err(Refused::NoSecret);
        }
        let secret = new_secret(&mut Os);
        client.secret = Some(SecretDigest::of(&secret));
        match commit(app, id.clone(), Write::SaveClient(Box::new(client)), false, now).await? {
            Outcome::Applied(_) => return Ok(secret),
            Outcome::Gone => return Err(Refused::Unknown),
            // The client itself was faster, and is loaded now.
            Outcome::Conflict => {}
        }
    }
    Err(Unavailable::contended().into())
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

fn own(app: &App, id: &ClientId) -> Result<Arc<Client>, Refused> {
    let client = app.client(id).ok_or(Refused::Unknown)?;
    if client.declared { Err(Refused::Declared) } else { Ok(client) }
}

/// How often a change is decided anew when somebody else was faster.
pub(super) const TRIES_MAX: usize = 8;

/// A change of one client, which may end it.
pub(super) fn change(id: ClientId, write: Write, end: bool, now: Time) -> Change {
    let mut change = Change::at(now);
    if end {
        change.end(id.entry());
    }
    change.record(Event::of_client(Act::ClientChanged, id));
    change.write(write);
    change
}

async fn commit(
    app: &App,
    id: ClientId,
    write: Write,
    end: bool,
    now: Time,
) -> Result<Outcome, Unavailable> {
    apply(app, change(id, write, end, now)).await
}

/// Commits a change of clients, and loads them anew.
pub(super) async fn apply(app: &App, change: Change) -> Result<Outcome, Unavailable> {
    let outcome = app.store.commit(change).await?;
    app.live.forget_all();
    app.load_clients().await?;
    Ok(outcome)
}

/// Where the configuration is another by now than it was at start, by client: declared clients are applied at start. If it
/// cannot be read any more, that is said of each of them.
pub async fn drift(app: &Arc<App>) -> Vec<(Client, &'static str)> {
    let again = Arc::clone(app);
    // Files are read.
    let read = tokio::task::spawn_blocking(move || again.config.read_again()).await;
    let applied = &app.config.clients;
    let now = match read {
        Ok(Some(Ok(config))) => config.clients,
        Ok(Some(Err(_))) => {
            let unread = |client: &Client| (client.clone(), "the configuration has mistakes");
            return applied.iter().map(unread).collect();
        }
        Ok(None) | Err(_) => return Vec::new(),
    };
    let same = |client: &Client, other: &Client| client.id == other.id;
    let gone = applied
        .iter()
        .filter(|client| !now.iter().any(|other| same(client, other)))
        .map(|client| (client.clone(), "gone from the configuration"));
    let other =
        now.iter().filter_map(|client| match applied.iter().find(|other| same(client, other)) {
            None => Some((client.clone(), "new in the configuration")),
            Some(applied) if applied != client => {
                Some((client.clone(), "changed in the configuration"))
            }
            Some(_) => None,
        });
    gone.chain(other).collect()
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
                let (added_at, version) = (stored.added_at, stored.version);
                let client = Client { added_at, version, ..client.clone() };
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
