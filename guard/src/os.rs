//! The wall clock and the random source: the guard reads them here, and the monotonic clock in `follow/clock.rs`.

#[cfg(any(feature = "remote", feature = "sessions"))]
use std::convert::Infallible;

#[cfg(any(feature = "remote", feature = "sessions"))]
use rand_core::{TryCryptoRng, TryRng};
use symbolon_core::time::Time;

/// The wall clock.
#[expect(clippy::disallowed_methods, reason = "where the guard reads it")]
pub(crate) fn now() -> Time {
    let since =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Time::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The operating system's random source, as aws-lc draws from it.
#[cfg(any(feature = "remote", feature = "sessions"))]
pub(crate) struct Os;

#[cfg(any(feature = "remote", feature = "sessions"))]
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
            // As aws-lc itself does: nobody can go on without random bytes.
            std::process::abort();
        }
        Ok(())
    }
}

#[cfg(any(feature = "remote", feature = "sessions"))]
impl TryCryptoRng for Os {}
