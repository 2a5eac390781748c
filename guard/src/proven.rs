//! Credentials that were proven lately, so that they need not be proven a second time.
//!
//! Nothing here lets anybody in: whoever finds a copy still looks at its times and looks its ids up in the set of ended
//! ids, at every use.

use std::{
    fmt,
    hash::{Hash, Hasher, RandomState},
    hint::black_box,
    sync::Arc,
};

use quick_cache::{
    Equivalent, Weighter,
    sync::{Cache, DefaultLifecycle},
};
use symbolon_core::secret::SecretText;

/// About what a copy takes besides its text and its value.
const COPY_BYTES: usize = 128;

/// How much memory a value takes, about.
pub trait Weight {
    /// In bytes.
    fn bytes(&self) -> usize;
}

/// What credentials have proven, within a bound of memory; those that were used least go first.
pub struct Proven<T>(Cache<Held, Arc<T>, Bytes, RandomState>);

impl<T> fmt::Debug for Proven<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proven(…)")
    }
}

impl<T: Weight> Proven<T> {
    /// Room for about this much.
    pub fn new(bytes_max: usize) -> Self {
        Self(Cache::with(
            bytes_max / 1024,
            bytes_max as u64,
            Bytes,
            RandomState::new(),
            DefaultLifecycle::default(),
        ))
    }

    /// What this credential has proven.
    pub fn get(&self, credential: &SecretText) -> Option<Arc<T>> {
        self.0.get(&Shown(credential))
    }

    /// Keeps what it has proven.
    pub fn put(&self, credential: &SecretText, value: Arc<T>) {
        self.0.insert(Held(credential.clone()), value);
    }

    /// Forgets it.
    pub fn forget(&self, credential: &SecretText) {
        self.0.remove(&Shown(credential));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A credential as a key: found by a keyed hash of all of it, compared whole, in constant time.
#[derive(Clone)]
pub(crate) struct Held(pub(crate) SecretText);

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

impl<T: Weight> Weighter<Held, Arc<T>> for Bytes {
    fn weight(&self, key: &Held, value: &Arc<T>) -> u64 {
        (COPY_BYTES + key.0.expose().len() + value.bytes()) as u64
    }
}
