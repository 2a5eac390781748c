//! The keys of clients that prove themselves with one: given at registration, or fetched from where the client says.
//!
//! A fetched set is kept for [`KEEP`]. A signature with a key that is not in it has it fetched anew, but not more often
//! than once per [`FETCH_EVERY`], whether or not that brought anything, and one client's fetches come one after the
//! other: whoever sends made-up key ids cannot have this server ask without end. What may be reached is
//! [`Reach`]'s to say; a set has [`JWKS_BYTES_MAX`] bytes at most.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use symbolon_core::{
    client::{Client, ClientId, JwksUri},
    oauth::jwk::{InvalidKeys, JWKS_BYTES_MAX, PublicKeys},
    time::Tick,
};
use tokio::sync::Semaphore;

use crate::reach::{Reach, Unreached};

/// How long a fetched set counts. A key that its owner removes is of use this much longer.
const KEEP: Duration = Duration::from_secs(600);
/// How often at most a client's set is fetched.
const FETCH_EVERY: Duration = Duration::from_secs(30);
/// How many fetches are under way at a time.
const FETCHES_MAX: usize = 16;
/// How many sets are kept.
const SETS_MAX: usize = 4096;

/// Why the keys of a client are not known now.
#[derive(Debug, thiserror::Error)]
pub enum NoKeys {
    /// It has none.
    #[error("the client has no keys")]
    None,
    /// Its set was asked for a moment ago, and there was no answer that can be used.
    #[error("its keys could not be fetched a moment ago")]
    Lately,
    /// Too many sets are being fetched.
    #[error("too many key sets are being fetched")]
    Busy,
    /// There is no answer.
    #[error("its keys cannot be fetched: {0}")]
    Unreached(#[from] Unreached),
    /// The answer is another one.
    #[error("its keys cannot be fetched: the server answered {0}")]
    Status(http::StatusCode),
    /// The answer is no set that can be used.
    #[error("its keys cannot be used: {0}")]
    Keys(#[from] InvalidKeys),
}

/// The sets that are known. See the module.
#[derive(Debug)]
pub struct KeySets {
    of: Mutex<HashMap<ClientId, Arc<Held>>>,
    free: Semaphore,
}

/// What is known of one client's set. Another place is another set.
#[derive(Debug)]
struct Held {
    at: JwksUri,
    last: Mutex<Option<Fetched>>,
    /// Whoever fetches has the turn. Those for whom the last set is good do not wait for it.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone)]
struct Fetched {
    tried_at: Tick,
    keys: Option<Arc<PublicKeys>>,
}

impl Default for KeySets {
    fn default() -> Self {
        Self { of: Mutex::default(), free: Semaphore::new(FETCHES_MAX) }
    }
}

impl KeySets {
    /// The keys of a client; others than `stale`, if there may be others by now.
    ///
    /// # Errors
    /// [`NoKeys`].
    pub async fn get(
        &self,
        client: &Client,
        stale: Option<&Arc<PublicKeys>>,
        reach: &Reach,
        now: Tick,
    ) -> Result<Arc<PublicKeys>, NoKeys> {
        let at = match (&client.jwks, &client.jwks_uri) {
            (Some(jwks), _) => return Ok(Arc::new(jwks.keys()?)),
            (None, Some(at)) => at,
            (None, None) => return Err(NoKeys::None),
        };
        let held = self.held(&client.id, at);
        if let Some(known) = held.known(stale, now) {
            return known;
        }
        let _turn = held.turn.lock().await;
        // Somebody else may have fetched it meanwhile.
        if let Some(known) = held.known(stale, now) {
            return known;
        }
        let fetched = self.fetch(at, reach).await;
        let keys = fetched.as_ref().ok().cloned();
        *held.last() = Some(Fetched { tried_at: now, keys });
        fetched
    }

    async fn fetch(&self, at: &JwksUri, reach: &Reach) -> Result<Arc<PublicKeys>, NoKeys> {
        let _place = self.free.try_acquire().map_err(|_| NoKeys::Busy)?;
        let accept = "application/jwk-set+json, application/json";
        let reply = reach.get(at.as_str(), accept, JWKS_BYTES_MAX).await?;
        if reply.status != http::StatusCode::OK {
            return Err(NoKeys::Status(reply.status));
        }
        let text = String::from_utf8(reply.body).map_err(|_| InvalidKeys::Malformed)?;
        Ok(Arc::new(PublicKeys::parse(&text)?))
    }

    fn held(&self, client: &ClientId, at: &JwksUri) -> Arc<Held> {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = of.get(client).filter(|held| held.at == *at) {
            return Arc::clone(held);
        }
        if of.len() >= SETS_MAX {
            of.clear();
        }
        let held =
            Held { at: at.clone(), last: Mutex::default(), turn: tokio::sync::Mutex::default() };
        let held = Arc::new(held);
        of.insert(client.clone(), Arc::clone(&held));
        held
    }
}

impl Held {
    fn last(&self) -> MutexGuard<'_, Option<Fetched>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What goes without asking: the last set while it counts, or whatever the last try brought while it is too early
    /// for another.
    fn known(
        &self,
        stale: Option<&Arc<PublicKeys>>,
        now: Tick,
    ) -> Option<Result<Arc<PublicKeys>, NoKeys>> {
        let Fetched { tried_at, keys } = self.last().clone()?;
        let age = now.since(tried_at);
        let is_stale = |keys| stale.is_some_and(|stale| Arc::ptr_eq(stale, keys));
        match keys {
            Some(keys) if age < FETCH_EVERY || (age < KEEP && !is_stale(&keys)) => Some(Ok(keys)),
            None if age < FETCH_EVERY => Some(Err(NoKeys::Lately)),
            _ => None,
        }
    }
}
