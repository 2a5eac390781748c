//! The server's public keys, kept: fetched ahead, again when a token names an unknown one, and dropped when withdrawn.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use http::{Method, StatusCode};
use symbolon_core::{
    id::{EntryId, KeyId},
    keys::{Jwk, Jwks, VerifyingKey},
    time::{Tick, Time},
    token::{AccessToken, Header, InvalidToken, Rules, Verifier},
};
use tokio::sync::{Mutex, Semaphore};

use super::state::State;
use crate::{
    error::Refusal,
    link::{Link, Query, Unanswered},
    remote::UNAVAILABLE,
};

/// The most bytes of a JWKS that are read, and the most keys.
const JWKS_BYTES_MAX: usize = 64 * 1024;
const KEYS_MAX: usize = 64;
/// Unknown `kid`s make so many fetches at once, and one more per so long.
const FETCHES_MAX: u32 = 4;
const FETCH_EVERY: Duration = Duration::from_secs(10);
/// So many requests wait for a fetch.
const WAITING_MAX: usize = 256;

#[derive(Debug)]
pub(super) struct Keys {
    ring: RwLock<Ring>,
    fetching: Mutex<Fetches>,
    waiting: Semaphore,
    deadline: Duration,
}

#[derive(Debug)]
struct Ring {
    /// Knows `keys`, and no others.
    verifier: Arc<Verifier>,
    keys: BTreeMap<KeyId, VerifyingKey>,
    /// Never taken in again: a stale copy of the JWKS may name them for longer than the log does. Each was a key of the
    /// server, so they are few.
    withdrawn: BTreeSet<KeyId>,
    /// How many fetches have come to an end.
    fetches: u64,
}

impl Keys {
    pub(super) fn new(rules: Rules, deadline: Duration) -> Self {
        let ring = Ring {
            verifier: Arc::new(Verifier::new(rules, [])),
            keys: BTreeMap::new(),
            withdrawn: BTreeSet::new(),
            fetches: 0,
        };
        Self {
            ring: RwLock::new(ring),
            fetching: Mutex::new(Fetches {
                left: FETCHES_MAX,
                filled_at: Tick::default(),
                succeeded: false,
            }),
            waiting: Semaphore::new(WAITING_MAX),
            deadline,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.ring().keys.len()
    }

    /// Verifies a token; when its key is not known, after fetching the keys once, if that is not asked too often.
    ///
    /// # Errors
    /// [`Refusal::InvalidToken`], or [`Refusal::Unavailable`] when its key may exist and cannot be fetched now.
    pub(super) async fn verify(
        &self,
        text: &str,
        time: Time,
        link: &Link,
        state: &State,
    ) -> Result<AccessToken, Refusal> {
        let (verifier, fetches) = self.verifier();
        let unknown = match verifier.verify(text, time) {
            Err(InvalidToken::UnknownKey) => kid(text).ok_or(Refusal::InvalidToken)?,
            known => return known.map_err(refused),
        };
        if self.ring().withdrawn.contains(&unknown) || state.is_ended(unknown.entry()) {
            return Err(Refusal::InvalidToken);
        }
        let _place = self.waiting.try_acquire().map_err(|_| UNAVAILABLE)?;
        let mut fetching = self.fetching.lock().await;
        // Somebody else may have fetched meanwhile, for all who waited.
        let fetched = if self.ring().fetches == fetches {
            if !fetching.take(state.now()) {
                return Err(UNAVAILABLE);
            }
            self.fetch(link, state).await.is_ok()
        } else {
            fetching.succeeded
        };
        fetching.succeeded = fetched;
        drop(fetching);
        match self.verifier().0.verify(text, time) {
            Err(InvalidToken::UnknownKey) if !fetched => Err(UNAVAILABLE),
            known => known.map_err(refused),
        }
    }

    /// Fetches the keys, whoever else does.
    pub(super) async fn refresh(&self, link: &Link, state: &State) -> Result<(), Unanswered> {
        let mut fetching = self.fetching.lock().await;
        let fetched = self.fetch(link, state).await;
        fetching.succeeded = fetched.is_ok();
        fetched
    }

    /// Drops keys that are among these ids, for good. What was verified with them is refused for their id.
    pub(super) fn withdraw(&self, ended: &[EntryId]) {
        let gone = |ring: &Ring| {
            let ids = ended.iter().map(|id| KeyId::from_bytes(*id.as_bytes()));
            ids.filter(|id| ring.keys.contains_key(id)).collect::<Vec<_>>()
        };
        if gone(&self.ring()).is_empty() {
            return;
        }
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        for id in gone(&ring) {
            tracing::info!(kid = %id, "a key was withdrawn");
            ring.keys.remove(&id);
            ring.withdrawn.insert(id);
        }
        ring.renew();
    }

    async fn fetch(&self, link: &Link, state: &State) -> Result<(), Unanswered> {
        let fetched = jwks(link, self.deadline).await.and_then(|jwks| self.install(&jwks, state));
        if let Err(why) = &fetched {
            tracing::warn!(server = link.base(), %why, "cannot fetch the keys; those that are known stay");
        }
        self.ring.write().unwrap_or_else(PoisonError::into_inner).fetches += 1;
        fetched
    }

    /// Takes what was fetched for the keys. A set without any usable key is a mistake of somebody's, and changes
    /// nothing.
    fn install(&self, jwks: &Jwks, state: &State) -> Result<(), Unanswered> {
        if jwks.keys.len() > KEYS_MAX {
            return Err(Unanswered::Garbled);
        }
        // Whoever withdraws a key first writes down that it ended, then waits for this lock: either it is seen here, or
        // taken out after.
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        let mut keys = BTreeMap::new();
        for key in jwks.verifying_keys().filter_map(Result::ok) {
            let id = key.id();
            if ring.withdrawn.contains(&id) || state.is_ended(id.entry()) {
                continue;
            }
            let known = ring.keys.get(&id).filter(|known| !is_same(known.jwk(), key.jwk()));
            if known.is_some() {
                tracing::warn!(kid = %id, "the server names another key by a known id; it is not taken");
            }
            keys.entry(id).or_insert(known.cloned().unwrap_or(key));
        }
        if keys.is_empty() {
            return Err(Unanswered::Garbled);
        }
        ring.keys = keys;
        ring.renew();
        Ok(())
    }

    fn verifier(&self) -> (Arc<Verifier>, u64) {
        let ring = self.ring();
        (ring.verifier.clone(), ring.fetches)
    }

    fn ring(&self) -> std::sync::RwLockReadGuard<'_, Ring> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn renew(&mut self) {
        let rules = self.verifier.rules().clone();
        self.verifier = Arc::new(Verifier::new(rules, self.keys.values().cloned()));
    }
}

/// What is left of the fetches that unknown `kid`s may cause.
#[derive(Debug)]
struct Fetches {
    left: u32,
    filled_at: Tick,
    /// Whether the last fetch brought keys.
    succeeded: bool,
}

impl Fetches {
    fn take(&mut self, now: Tick) -> bool {
        let more = now.since(self.filled_at).as_nanos() / FETCH_EVERY.as_nanos();
        if more > 0 {
            let left = u128::from(self.left) + more;
            self.left = u32::try_from(left).unwrap_or(u32::MAX).min(FETCHES_MAX);
            self.filled_at = now;
        }
        let taken = self.left > 0;
        self.left = self.left.saturating_sub(1);
        taken
    }
}

async fn jwks(link: &Link, deadline: Duration) -> Result<Jwks, Unanswered> {
    let query = Query {
        method: Method::GET,
        path: "/.well-known/jwks.json",
        content_type: "application/json",
        body: String::new(),
        deadline,
        answer_bytes_max: JWKS_BYTES_MAX,
    };
    let response = link.ask(query).await?;
    if response.status != StatusCode::OK {
        return Err(Unanswered::Status(response.status));
    }
    serde_json::from_slice(&response.body).map_err(|_| Unanswered::Garbled)
}

/// Whether two descriptions are of one key.
fn is_same(one: &Jwk, other: &Jwk) -> bool {
    let of = |jwk: &Jwk| {
        let Jwk { kty, crv, x, y, n, e, .. } = jwk.clone();
        (kty, crv, x, y, n, e)
    };
    of(one) == of(other)
}

fn kid(text: &str) -> Option<KeyId> {
    let (header, _) = text.split_once('.')?;
    Header::parse(header).ok().map(|header| header.kid)
}

fn refused(why: InvalidToken) -> Refusal {
    tracing::debug!(%why, "refused an access token");
    Refusal::InvalidToken
}
