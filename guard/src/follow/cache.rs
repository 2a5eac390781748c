//! What was proven lately: credentials that need not be verified, or asked about, a second time.
//!
//! Nothing here lets anybody in. A copy says whose a credential is, until when, and which ids to look up in the set of
//! ended ids; whoever finds one still does that ([`super::state`]).

use std::{
    collections::HashMap,
    fmt,
    hash::{Hash, Hasher, RandomState},
    hint::black_box,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quick_cache::{
    Equivalent, Weighter,
    sync::{Cache, DefaultLifecycle},
};
use symbolon_core::{
    id::EntryId,
    secret::SecretText,
    time::{Tick, Time},
};
use tokio::sync::OnceCell;

use crate::{error::Refusal, identity::Claims};

/// About what a copy takes besides its text.
const COPY_BYTES: usize = 400;
/// How often a session that is in use is said to be.
const SEEN_EVERY: Duration = Duration::from_secs(30);

/// What is known of one credential.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) claims: Arc<Claims>,
    /// Looked up at every use.
    pub(super) ids: Box<[EntryId]>,
    /// From when on this says nothing any more, by the server's clock.
    pub(super) until: Time,
    /// When the session was last said to be in use, in nanoseconds, and one more. Zero: never.
    seen: AtomicU64,
}

impl Known {
    pub(super) fn new(claims: Claims, ids: impl Into<Box<[EntryId]>>, until: Time) -> Self {
        Self { claims: Arc::new(claims), ids: ids.into(), until, seen: AtomicU64::new(0) }
    }

    /// Whether it is time to say that the session is in use.
    pub(super) fn wants_to_be_seen(&self, now: Tick) -> bool {
        match self.seen.load(Ordering::Relaxed) {
            0 => true,
            last => now.since(Tick::from_nanos(last)) >= SEEN_EVERY,
        }
    }

    pub(super) fn was_seen(&self, now: Tick) {
        self.seen.store(now.nanos().saturating_add(1), Ordering::Relaxed);
    }
}

/// A credential as a key: found by a keyed hash of all of it, compared whole, in constant time.
#[derive(Clone)]
struct Held(SecretText);

#[derive(Clone, Copy)]
struct Shown<'a>(&'a SecretText);

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held(…)")
    }
}

impl Hash for Held {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Shown(&self.0).hash(state);
    }
}

impl Hash for Shown<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.0.expose().as_bytes());
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        same(&self.0, &other.0)
    }
}

impl Eq for Held {}

impl Equivalent<Held> for Shown<'_> {
    fn equivalent(&self, key: &Held) -> bool {
        same(self.0, &key.0)
    }
}

/// Looks at every byte, many at a time.
fn same(one: &SecretText, other: &SecretText) -> bool {
    let (one, other) = (one.expose().as_bytes(), other.expose().as_bytes());
    let differing = one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
    one.len() == other.len() && black_box(differing) == 0
}

#[derive(Debug, Clone)]
struct Bytes;

impl Weighter<Held, Arc<Known>> for Bytes {
    fn weight(&self, key: &Held, known: &Arc<Known>) -> u64 {
        let Claims { roles, scopes, .. } = &*known.claims;
        let words = roles.iter().chain(scopes).map(|word| word.len() + size_of::<Box<str>>());
        (COPY_BYTES + key.0.expose().len() + words.sum::<usize>()) as u64
    }
}

/// Credentials that were proven, and questions that are under way.
pub(super) struct Credentials {
    copies: Cache<Held, Arc<Known>, Bytes, RandomState>,
    flights: Mutex<HashMap<Held, Arc<Flight>>>,
}

type Flight = OnceCell<Result<Arc<Known>, Refusal>>;

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("copies", &self.copies.len()).finish_non_exhaustive()
    }
}

impl Credentials {
    pub(super) fn new(bytes_max: usize) -> Self {
        let copies = Cache::with(
            bytes_max / (2 * COPY_BYTES),
            bytes_max as u64,
            Bytes,
            RandomState::new(),
            DefaultLifecycle::default(),
        );
        Self { copies, flights: Mutex::default() }
    }

    pub(super) fn get(&self, credential: &SecretText) -> Option<Arc<Known>> {
        self.copies.get(&Shown(credential))
    }

    pub(super) fn put(&self, credential: &SecretText, known: Arc<Known>) {
        self.copies.insert(Held(credential.clone()), known);
    }

    pub(super) fn forget(&self, credential: &SecretText) {
        self.copies.remove(&Shown(credential));
    }

    pub(super) fn len(&self) -> usize {
        self.copies.len()
    }

    #[cfg(test)]
    pub(super) fn under_way(&self) -> usize {
        self.flights().len()
    }

    /// Asks, or waits for somebody else's answer to the same question. What comes back may have been asked before the
    /// caller came: it must be judged by the set under a lease, or not be used.
    pub(super) async fn join<F>(
        &self,
        credential: &SecretText,
        ask: F,
    ) -> Result<Arc<Known>, Refusal>
    where
        F: Future<Output = Result<Arc<Known>, Refusal>>,
    {
        let flight = self.flights().entry(Held(credential.clone())).or_default().clone();
        let joined = Joined { all: self, credential, flight };
        joined.flight.get_or_init(|| ask).await.clone()
    }

    fn flights(&self) -> std::sync::MutexGuard<'_, HashMap<Held, Arc<Flight>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who waits. The first who leaves after the answer takes the flight out, so that the next asks anew; if all left
/// before, the last does.
struct Joined<'a> {
    all: &'a Credentials,
    credential: &'a SecretText,
    flight: Arc<Flight>,
}

impl Drop for Joined<'_> {
    fn drop(&mut self) {
        let mut flights = self.all.flights();
        // Two: this one, and the table's.
        if self.flight.initialized() || Arc::strong_count(&self.flight) == 2 {
            let held = Held(self.credential.clone());
            if flights.get(&held).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight)) {
                flights.remove(&held);
            }
        }
    }
}
