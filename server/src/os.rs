//! The clock and the random source: read here and nowhere else.

use std::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};
use symbolon_core::time::Time;

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

/// The wall clock.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub fn now() -> Time {
    let since =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Time::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
