//! Drawing from the one seeded source, and spans of true time.

use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

/// A millisecond of true time.
pub(crate) const MS: u64 = 1_000_000;

/// The only source of chance in a history.
#[derive(Debug)]
pub(crate) struct Draw(pub(crate) ChaCha20Rng);

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha20Rng::seed_from_u64(seed))
    }

    /// From `least` up to and without `over`.
    pub(crate) fn between(&mut self, least: u64, over: u64) -> u64 {
        least + self.0.next_u64() % (over - least).max(1)
    }

    pub(crate) fn index(&mut self, of: usize) -> usize {
        usize::try_from(self.between(0, of as u64)).unwrap()
    }

    pub(crate) fn one_in(&mut self, of: u64) -> bool {
        self.between(0, of) == 0
    }

    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        percent > 0 && self.between(0, 100) < percent
    }
}

pub(crate) const fn span(ns: u64) -> Duration {
    Duration::from_nanos(ns)
}
