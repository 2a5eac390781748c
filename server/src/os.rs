//! The clock and the random source: read here and nowhere else.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rand_core::{TryCryptoRng, TryRng};
use symbolon_core::time::{Tick, Time};

/// The operating system's random source, as aws-lc draws from it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Os;

impl TryRng for Os {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_ne_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        if aws_lc_rs::rand::fill(bytes).is_err() {
            // A server that cannot draw random bytes must not answer at all.
            std::process::abort();
        }
        Ok(())
    }
}

impl TryCryptoRng for Os {}

/// What this process calls itself among others: its host and its number.
pub fn process_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}:{}", host.trim(), std::process::id())
}

/// The wall clock.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub fn now() -> Time {
    let since =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Time::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A clock that nobody sets or slews, for whoever waits out a lease. It stands still while the machine sleeps, which
/// makes the wait longer and never shorter.
#[cfg(target_os = "linux")]
pub fn tick() -> Tick {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicRaw);
    let secs = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(now.tv_nsec).unwrap_or_default();
    Tick::from_nanos(secs.saturating_mul(1_000_000_000).saturating_add(nanos))
}

/// A moment, for whoever holds a lease: its clock must neither stop in sleep nor be slewed, and the system has none such.
/// Of two clocks of which each does one of these, the one that has counted more is right.
///
/// The default is when the machine started.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mark {
    raw: Tick,
    boot: Tick,
}

impl Mark {
    /// This moment.
    pub fn now() -> Self {
        Self { raw: tick(), boot: boot_tick() }
    }

    /// How much time has passed since, at least.
    pub fn passed(self) -> std::time::Duration {
        tick().since(self.raw).max(boot_tick().since(self.boot))
    }
}

#[cfg(target_os = "linux")]
fn boot_tick() -> Tick {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let secs = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(now.tv_nsec).unwrap_or_default();
    Tick::from_nanos(secs.saturating_mul(1_000_000_000).saturating_add(nanos))
}

#[cfg(not(target_os = "linux"))]
fn boot_tick() -> Tick {
    tick()
}

/// The monotonic clock, for whoever waits out a lease.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub fn tick() -> Tick {
    static BEGAN: std::sync::LazyLock<std::time::Instant> =
        std::sync::LazyLock::new(std::time::Instant::now);
    let span = std::time::Instant::now().duration_since(*BEGAN);
    Tick::from_nanos(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
}

/// A request that came in.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// When its head was read.
    at: Mark,
    /// That somebody wants to know whether its sender has hung up.
    wanted: Arc<AtomicBool>,
}

impl Asked {
    /// It has come now. `wanted` is shared with whoever reads from its sender.
    pub fn now(wanted: Arc<AtomicBool>) -> Self {
        Self { at: Mark::now(), wanted }
    }

    /// How long ago that was.
    pub fn passed(&self) -> std::time::Duration {
        self.at.passed()
    }

    /// Goes on unless its sender has hung up: then whoever polls this drops it.
    pub async fn is_waited_for(&self) {
        self.wanted.store(true, Ordering::Release);
        tokio::task::yield_now().await;
    }
}
