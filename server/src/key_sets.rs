//! The keys of clients that prove themselves with one: given at registration, or fetched from where the client says.
//!
//! A fetched set is kept for [`KEEP`]. A signature with a key that is not in it has it fetched anew at once, because a
//! client may have changed its key just now, but not more often than once per [`FETCH_EVERY`], whether or not that brought
//! anything, and one client's fetches come one after the other: whoever sends made-up key ids cannot have this server ask
//! without end. What may be reached is
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
/// How often at most a client's set is fetched because a key was missed, or because there was no answer.
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
    /// When it was fetched last because a key was missed.
    missed_at: Option<Tick>,
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
        let mut last = held.last();
        let missed_at = match stale {
            Some(_) => Some(now),
            None => last.as_ref().and_then(|last| last.missed_at),
        };
        match (&fetched, &mut *last) {
            // Nobody takes a client's keys from it by missing another while its server does not answer.
            (Err(_), Some(last)) if stale.is_some() => last.missed_at = missed_at,
            _ => {
                let keys = fetched.as_ref().ok().cloned();
                *last = Some(Fetched { tried_at: now, keys, missed_at });
            }
        }
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
        let Fetched { tried_at, keys, missed_at } = self.last().clone()?;
        let age = now.since(tried_at);
        let is_stale = |keys| stale.is_some_and(|stale| Arc::ptr_eq(stale, keys));
        let lately = missed_at.is_some_and(|at| now.since(at) < FETCH_EVERY);
        match keys {
            Some(keys) if age < KEEP && (lately || !is_stale(&keys)) => Some(Ok(keys)),
            None if age < FETCH_EVERY => Some(Err(NoKeys::Lately)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::{Router, routing::get};
    use serde_json::json;

    use super::*;
    use crate::config::Outbound;

    const KEYS: [&str; 2] = [
        "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        "6kpsY-KcUgq-9VB7Ey7F-ZVHdq6-vnuSQh7qaRRG0iw",
    ];

    /// Answers the first key until the second one is put there.
    #[tokio::test]
    async fn when_a_set_is_fetched_again() {
        let (asked, which) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (count, key) = (Arc::clone(&asked), Arc::clone(&which));
        let answer = move || {
            count.fetch_add(1, Ordering::SeqCst);
            let x = KEYS[key.load(Ordering::SeqCst)];
            let jwks = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": x, "x": x }] });
            async move { jwks.to_string() }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = format!("http://{}/jwks", listener.local_addr().unwrap());
        let router = Router::new().route("/jwks", get(answer));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });

        let reach = Reach::new(&Outbound {
            allowed_networks: vec!["127.0.0.1".parse().unwrap()],
            ca_file: None,
            timeout: Duration::from_secs(60),
        });
        let client = json!({ "id": "app", "kind": "confidential", "jwks_uri": at });
        let client: Client = serde_json::from_value(client).unwrap();
        let sets = KeySets::default();
        let at = |secs: u64| Tick::from_nanos(secs * 1_000_000_000);
        let kid = |keys: &PublicKeys| keys.iter().next().unwrap().kid().unwrap().to_owned();

        let first = sets.get(&client, None, &reach, at(1000)).await.unwrap();
        which.store(1, Ordering::SeqCst);
        // What is asked with, whether a key is missed, what is known then, and how often was asked.
        for (secs, missed, known, times) in [
            (1001, false, 0, 1),
            (1599, false, 0, 1),
            (1599, true, 1, 2),
            (1600, true, 1, 2),
            (2198, false, 1, 2),
            (2199, false, 1, 3),
        ] {
            let stale = missed.then_some(&first);
            let keys = sets.get(&client, stale, &reach, at(secs)).await.unwrap();
            let found = (kid(&keys), asked.load(Ordering::SeqCst));
            assert_eq!(found, (KEYS[known].to_owned(), times), "{secs} {missed}");
        }
        // One that is missed, and missed again.
        let latest = sets.get(&client, None, &reach, at(2199)).await.unwrap();
        for (secs, times) in [(2200, 4), (2201, 4), (2229, 4), (2230, 5)] {
            let known = sets.get(&client, None, &reach, at(secs)).await.unwrap();
            sets.get(&client, Some(&known), &reach, at(secs)).await.unwrap();
            assert_eq!(asked.load(Ordering::SeqCst), times, "{secs}");
        }
        assert_eq!(kid(&latest), KEYS[1]);
        // Another place is another set.
        let moved = client.jwks_uri.as_ref().unwrap().as_str().replace("/jwks", "/gone");
        let moved = Client { jwks_uri: Some(moved.parse().unwrap()), ..client };
        let gone = |secs| sets.get(&moved, None, &reach, at(secs));
        assert!(matches!(gone(2301).await, Err(NoKeys::Status(_))));
        assert!(matches!(gone(2330).await, Err(NoKeys::Lately)));
        assert!(matches!(gone(2331).await, Err(NoKeys::Status(_))));
    }
}
