//! The follower's clock: one that neither stops in sleep nor is slewed.
//!
//! The system has no such clock. One that counts sleep (`CLOCK_BOOTTIME`) is slewed by the time service; the raw one
//! (`CLOCK_MONOTONIC_RAW`) stops in sleep. Between two moments, the greater of what the two have counted is what has
//! passed at least. A question brings both to the same height, so from a question on this holds exactly.

use std::time::Duration;

use symbolon_core::time::Tick;

/// What the clocks say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    /// One that goes on in sleep.
    pub(super) boot: Duration,
    /// One that nobody slews.
    pub(super) raw: Duration,
}

/// What the system says. Tests bring their own.
pub(super) trait Source: Send + Sync + 'static {
    fn read(&self) -> Reading;

    /// Which process this is.
    fn process(&self) -> u32 {
        std::process::id()
    }
}

#[derive(Debug)]
pub(super) struct Clock {
    level: Reading,
    at: Tick,
}

impl Clock {
    pub(super) const fn new(reading: Reading) -> Self {
        Self { level: reading, at: Tick::from_nanos(0) }
    }

    pub(super) fn at(&self, reading: Reading) -> Tick {
        let boot = reading.boot.saturating_sub(self.level.boot);
        let raw = reading.raw.saturating_sub(self.level.raw);
        self.at + boot.max(raw)
    }

    /// From here on, whichever counts more counts.
    pub(super) fn level(&mut self, reading: Reading) -> Tick {
        self.at = self.at(reading);
        self.level = reading;
        self.at
    }
}

/// The clocks of this system.
#[derive(Debug, Clone, Copy)]
pub(super) struct System;

impl Source for System {
    #[cfg(target_os = "linux")]
    fn read(&self) -> Reading {
        use rustix::time::{ClockId, clock_gettime};
        let read = |id| {
            let now = clock_gettime(id);
            let secs = u64::try_from(now.tv_sec).unwrap_or_default();
            Duration::new(secs, u32::try_from(now.tv_nsec).unwrap_or_default())
        };
        Reading { boot: read(ClockId::Boottime), raw: read(ClockId::MonotonicRaw) }
    }

    #[cfg(not(target_os = "linux"))]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place of the guard that reads the clock"
    )]
    fn read(&self) -> Reading {
        static BEGAN: std::sync::LazyLock<std::time::Instant> =
            std::sync::LazyLock::new(std::time::Instant::now);
        let passed = BEGAN.elapsed();
        Reading { boot: passed, raw: passed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn reading(boot: u64, raw: u64) -> Reading {
        Reading { boot: Duration::from_secs(boot), raw: Duration::from_secs(raw) }
    }

    #[test]
    fn the_greater_of_both_counts_from_every_question_on() {
        let mut clock = Clock::new(reading(1000, 500));
        let secs = |tick: Tick| tick.since(Tick::default()).as_secs();
        // The one that counts sleep is slewed for days and falls behind by a minute ...
        assert_eq!(secs(clock.level(reading(101_000, 100_560))), 100_060);
        // ... and still no sleep is lost, nor what passes while it is slewed on.
        assert_eq!(secs(clock.at(reading(101_030, 100_565))), 100_090);
        assert_eq!(secs(clock.at(reading(101_004, 100_565))), 100_065);
        // Nothing goes backwards.
        assert_eq!(secs(clock.at(reading(0, 0))), 100_060);
    }

    #[test]
    fn the_system_has_clocks() {
        let (before, after) = (System.read(), System.read());
        assert!(after.boot >= before.boot && after.raw >= before.raw);
    }
}
