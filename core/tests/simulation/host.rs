//! What a process stands on: its clocks, and what happens to it.

use symbolon_core::time::{Tick, Time};

use crate::draw::MS;

/// True time when a history begins, on a wall clock that is right.
pub(crate) const EPOCH_MS: i64 = 1_800_000_000_000;

#[derive(Debug)]
pub(crate) struct Host {
    /// How much faster than true time its clock runs, in parts per million.
    pub(crate) rate_ppm: i64,
    /// What its clock said when the history began.
    pub(crate) clock_from: u64,
    /// How wrong its wall clock is.
    pub(crate) wall_off_ms: i64,
    /// Until when it is frozen, and since when it was, the last time.
    pub(crate) frozen_until: u64,
    pub(crate) frozen_since: u64,
    /// Until when nothing reaches it or leaves it.
    pub(crate) cut_until: u64,
    /// The same, of the store alone, and of everybody else alone.
    pub(crate) cut_from_store_until: u64,
    pub(crate) cut_from_others_until: u64,
    /// How often it was started: what was meant for an earlier process is lost.
    pub(crate) starts: u32,
}

impl Host {
    pub(crate) const fn is_cut(&self, store: bool, now: u64) -> bool {
        let way = if store { self.cut_from_store_until } else { self.cut_from_others_until };
        self.cut_until > now || way > now
    }

    /// Its monotonic clock.
    pub(crate) fn tick(&self, now: u64) -> Tick {
        let off = i128::from(now) * i128::from(self.rate_ppm) / 1_000_000;
        Tick::from_nanos(u64::try_from(i128::from(self.clock_from + now) + off).unwrap())
    }

    /// When its clock will have come to `tick`.
    pub(crate) fn when(&self, tick: Tick) -> u64 {
        let passed = i128::from(tick.nanos()) - i128::from(self.clock_from);
        let when = passed * 1_000_000 / i128::from(1_000_000 + self.rate_ppm);
        u64::try_from(when.max(0)).unwrap() + 1
    }

    pub(crate) fn wall(&self, now: u64) -> Time {
        Time::from_millis(EPOCH_MS + self.wall_off_ms + i64::try_from(now / MS).unwrap())
    }
}
