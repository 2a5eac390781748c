//! Session data: read and merged for the server side of one client, and for a browser what that client declared.

use std::collections::BTreeMap;

use serde_json::Value;
use symbolon_core::{
    change::{Change, Write},
    client::{BrowserAccess, Client},
    data::{DataVersion, Document, Refused as Unfit},
    id::SessionId,
    time::Time,
};
use tokio::sync::{Mutex, MutexGuard};

use super::{TRIES_MAX, Unavailable, check};
use crate::{app::App, store::Outcome};

/// Why session data was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is no such session, or it ended.
    #[error("the session is gone")]
    Gone,
    /// The client did not declare these keys for browsers.
    #[error("the browser may not reach the key {0:?}")]
    Undeclared(String),
    /// The patch does not fit.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// The client's server side: all of its namespace.
    Client,
    /// A browser that holds the session: what the client declared.
    Browser,
}

/// Whose turn it is to write the data of a session, in this process. Of many that load the same version all but one begin
/// anew, and their work would grow with the square of their number.
#[derive(Debug)]
pub struct Turns(Box<[Mutex<()>]>);

impl Default for Turns {
    fn default() -> Self {
        Self((0..1024).map(|_| Mutex::new(())).collect())
    }
}

impl Turns {
    /// Ids are random: seldom do two sessions wait for each other.
    async fn of(&self, session: SessionId) -> MutexGuard<'_, ()> {
        let [a, b, ..] = *session.as_bytes();
        self.0[usize::from(u16::from_le_bytes([a, b])) % self.0.len()].lock().await
    }
}

/// The session data of a client. With `seen`, its user is there: the session is not silent.
///
/// # Errors
/// [`Refused`].
pub async fn read(
    app: &App,
    session: SessionId,
    client: &Client,
    reader: Reader,
    seen: bool,
    now: Time,
) -> Result<Document, Refused> {
    live(app, session, seen, now).await?;
    let mut document = app.store.data(session, &client.id).await.map_err(Unavailable::from)?;
    if reader == Reader::Browser {
        document.values.retain(|key, _| client.browser.contains_key(key));
    }
    Ok(document)
}

/// Merges a patch per key; `null` removes a key. Parallel patches of different keys do not lose each other.
///
/// # Errors
/// [`Refused`].
pub async fn merge(
    app: &App,
    session: SessionId,
    client: &Client,
    reader: Reader,
    patch: &BTreeMap<String, Value>,
    expected: Option<DataVersion>,
    now: Time,
) -> Result<DataVersion, Refused> {
    if reader == Reader::Browser {
        let writable = |key: &str| client.browser.get(key) == Some(&BrowserAccess::Write);
        if let Some(key) = patch.keys().find(|key| !writable(key)) {
            return Err(Refused::Undeclared(key.clone()));
        }
    }
    live(app, session, false, now).await?;
    let _turn = app.turns.of(session).await;
    for _ in 0..TRIES_MAX {
        let document = app.store.data(session, &client.id).await.map_err(Unavailable::from)?;
        let document =
            document.merge(patch.clone(), expected, app.config.limits.session_data_bytes_max)?;
        let written = DataVersion(document.version.0 + 1);
        let mut change = Change::at(now);
        change.write(Write::SaveData { session, client: client.id.clone(), document });
        match app.store.commit(change).await.map_err(Unavailable::from)? {
            Outcome::Applied(_) => return Ok(written),
            Outcome::Conflict => {}
            Outcome::Gone => return Err(Refused::Gone),
        }
    }
    Err(Unavailable::contended().into())
}

/// Refuses a session that does not count now.
pub(super) async fn live(
    app: &App,
    session: SessionId,
    seen: bool,
    now: Time,
) -> Result<(), Refused> {
    if let Some(known) = app.live.get(session, now).filter(|it| check::counts(app, it, now)) {
        if seen {
            app.live.saw(&known, now);
        }
        return Ok(());
    }
    let live = match check::load(app, session).await {
        Ok(live) => live,
        Err(check::Refused::Unavailable(unavailable)) => return Err(unavailable.into()),
        Err(_) => return Err(Refused::Gone),
    };
    if app.store.is_ended(&live.entries()) || check::stands(&live, now).is_err() {
        return Err(Refused::Gone);
    }
    if seen && now.since(live.session.seen_at) >= live.session.limits.idle / 16 {
        app.live.saw_elsewhere(&[session], now);
    }
    Ok(())
}
