//! What was proven lately: credentials that need not be verified, or asked about, a second time.
//!
//! Nothing here lets anybody in. A copy says whose a credential is, until when, and which ids to look up in the set of
//! ended ids; whoever finds one still does that ([`super::state`]).

use std::{
    collections::HashMap,
    fmt,
    ops::Deref,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use symbolon_core::{
    id::EntryId,
    secret::SecretText,
    time::{Tick, Time},
};
use tokio::sync::OnceCell;

use crate::{
    error::Refusal,
    identity::Claims,
    proven::{Held, Proven, Weight},
};

/// About what it takes, without its words.
const KNOWN_BYTES: usize = 340;
/// The most ids that end one credential: there are session, parent, client, half, era, token and key.
pub(super) const IDS_MAX: usize = 8;
/// How often a session that is in use is said to be.
const SEEN_EVERY: Duration = Duration::from_secs(30);

/// What is known of one credential.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) claims: Arc<Claims>,
    /// Looked up at every use.
    pub(super) ids: Ids,
    /// From when on this says nothing any more, by the server's clock.
    pub(super) until: Time,
    /// When the session was last said to be in use, in nanoseconds, and one more. Zero: never.
    seen: AtomicU64,
}

impl Known {
    pub(super) fn new(claims: Claims, ids: Ids, until: Time) -> Self {
        Self { claims: Arc::new(claims), ids, until, seen: AtomicU64::new(0) }
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

/// The ids that end a credential. In place, because every use reads them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ids {
    all: [EntryId; IDS_MAX],
    len: usize,
}

impl Ids {
    /// Takes the first [`IDS_MAX`].
    pub(super) fn of(ids: &[EntryId]) -> Self {
        let mut all = [EntryId::from_bytes([0; 16]); IDS_MAX];
        let len = ids.len().min(IDS_MAX);
        all[..len].copy_from_slice(&ids[..len]);
        Self { all, len }
    }
}

impl Deref for Ids {
    type Target = [EntryId];

    fn deref(&self) -> &[EntryId] {
        &self.all[..self.len]
    }
}

impl Weight for Known {
    fn bytes(&self) -> usize {
        let Claims { roles, scopes, .. } = &*self.claims;
        let words = roles.iter().chain(scopes).map(|word| word.len() + size_of::<Box<str>>());
        KNOWN_BYTES + words.sum::<usize>()
    }
}

/// Credentials that were proven, and questions that are under way.
pub(super) struct Credentials {
    copies: Proven<Known>,
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
        Self { copies: Proven::new(bytes_max), flights: Mutex::default() }
    }

    pub(super) fn get(&self, credential: &SecretText) -> Option<Arc<Known>> {
        self.copies.get(credential)
    }

    pub(super) fn put(&self, credential: &SecretText, known: Arc<Known>) {
        self.copies.put(credential, known);
    }

    pub(super) fn forget(&self, credential: &SecretText) {
        self.copies.forget(credential);
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
        let _joined = Joined { all: self, credential, flight: Arc::downgrade(&flight) };
        // Whoever leaves lets go of the flight first.
        let flight = flight;
        flight.get_or_init(|| ask).await.clone()
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
    flight: Weak<Flight>,
}

impl Drop for Joined<'_> {
    fn drop(&mut self) {
        let held = Held(self.credential.clone());
        let mut flights = self.all.flights();
        let left = |flight: &Arc<Flight>| {
            let same = Weak::ptr_eq(&Arc::downgrade(flight), &self.flight);
            same && (flight.initialized() || Arc::strong_count(flight) == 1)
        };
        if flights.get(&held).is_some_and(left) {
            flights.remove(&held);
        }
    }
}
