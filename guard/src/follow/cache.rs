//! What was proven lately: credentials that need not be verified, or asked about, a second time.
//!
//! Nothing here lets anybody in. A copy says whose a credential is, until when, and which ids to look up in the set of
//! ended ids; whoever finds one still does that ([`super::state`]).

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, Hash, Hasher, RandomState},
    hint::black_box,
    ops::Deref,
    sync::{
        Arc, Mutex, PoisonError, Weak,
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
/// The most ids that end one credential: there are session, parent, client, half or token, and key.
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

/// A keyed hash that is some five times as fast as the standard library's over the length of a token. Whoever does not
/// know the key cannot make two texts meet; and if two did, the one would be verified at every use, and no more.
#[derive(Debug, Clone)]
struct Keyed([u64; 2]);

impl Keyed {
    fn new() -> Self {
        let random = RandomState::new();
        Self([random.hash_one(1_u8), random.hash_one(2_u8)])
    }
}

impl BuildHasher for Keyed {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        let Self(key) = *self;
        Folded { key, all: key[0] }
    }
}

struct Folded {
    key: [u64; 2],
    all: u64,
}

impl Hasher for Folded {
    fn write(&mut self, bytes: &[u8]) {
        let (pairs, rest) = bytes.as_chunks::<16>();
        for pair in pairs {
            self.fold(*pair);
        }
        let mut last = [0; 16];
        last[..rest.len()].copy_from_slice(rest);
        self.fold(last);
        self.fold((bytes.len() as u128).to_le_bytes());
    }

    fn finish(&self) -> u64 {
        self.all
    }
}

impl Folded {
    fn fold(&mut self, pair: [u8; 16]) {
        let pair = u128::from_le_bytes(pair);
        let low = |wide: u128| wide & u128::from(u64::MAX);
        let one = low(pair) ^ u128::from(self.key[0] ^ self.all);
        let other = (pair >> 64) ^ u128::from(self.key[1]);
        let product = one.wrapping_mul(other);
        self.all = u64::try_from(low(product ^ (product >> 64))).unwrap_or_default();
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
    copies: Cache<Held, Arc<Known>, Bytes, Keyed>,
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
            Keyed::new(),
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
