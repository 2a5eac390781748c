//! Credentials that were proven lately, so that they need not be proven a second time.
//!
//! Nothing here lets anybody in: whoever finds a copy still looks at its times and looks its ids up in the set of ended
//! ids, at every use.

use std::{
    fmt,
    hash::{BuildHasher, Hash, Hasher, RandomState},
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
pub struct Proven<T>(Cache<Held, Arc<T>, Bytes, Keyed>);

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
            Keyed::new(),
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

impl<T: Weight> Weighter<Held, Arc<T>> for Bytes {
    fn weight(&self, key: &Held, value: &Arc<T>) -> u64 {
        (COPY_BYTES + key.0.expose().len() + value.bytes()) as u64
    }
}
