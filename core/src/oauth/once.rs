//! What may be used once: the ids of assertions and proofs that were presented.

use std::collections::BTreeSet;

use crate::{secret::sha256, time::Time};

/// Why something does not count as used for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotOnce {
    /// It was presented before.
    #[error("presented a second time")]
    Replayed,
    /// Nobody can tell: there is no room to remember it.
    #[error("no room to remember that it was presented")]
    Full,
}

/// Remembers what was used until it is refused anyway, within a bound. What does not fit is refused: forgetting
/// something else instead would let that be used again.
///
/// What counts is the id and who signed, not the text: of one ECDSA signature anybody can make a second one.
///
/// ```
/// use symbolon_core::{oauth::once::{NotOnce, Once}, time::Time};
///
/// let mut once = Once::new(1000);
/// let (now, forget_at) = (Time::from_secs(100), Time::from_secs(160));
/// assert_eq!(once.first(b"shop", "a", forget_at, now), Ok(()));
/// assert_eq!(once.first(b"shop", "a", forget_at, now), Err(NotOnce::Replayed));
/// assert_eq!(once.first(b"other", "a", forget_at, now), Ok(()));
/// ```
#[derive(Debug)]
pub struct Once {
    used: BTreeSet<(Time, [u8; 16])>,
    entries_max: usize,
}

impl Once {
    /// Remembers this many at a time, about 50 bytes each.
    pub const fn new(entries_max: usize) -> Self {
        Self { used: BTreeSet::new(), entries_max }
    }

    /// Takes note that what `whose` signed under this id is used now. From `forget_at` on it must be refused for its age.
    ///
    /// # Errors
    /// [`NotOnce`].
    pub fn first(
        &mut self,
        whose: &[u8],
        id: &str,
        forget_at: Time,
        now: Time,
    ) -> Result<(), NotOnce> {
        while self.used.first().is_some_and(|(forget_at, _)| *forget_at <= now) {
            self.used.pop_first();
        }
        let name = (forget_at, Self::digest(whose, id));
        if self.used.contains(&name) {
            return Err(NotOnce::Replayed);
        }
        if self.used.len() >= self.entries_max {
            return Err(NotOnce::Full);
        }
        self.used.insert(name);
        Ok(())
    }

    /// What names it where it is remembered.
    pub fn digest(whose: &[u8], id: &str) -> [u8; 16] {
        let text = [&(whose.len() as u64).to_be_bytes()[..], whose, id.as_bytes()].concat();
        let mut short = [0; 16];
        short.copy_from_slice(&sha256(&text)[..16]);
        short
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Time {
        Time::from_secs(secs)
    }

    #[test]
    fn once_and_forgotten_by_age_alone() {
        let mut once = Once::new(3);
        for (whose, id, forget_at, now, expected) in [
            ("a", "1", 10, 0, Ok(())),
            ("a", "1", 10, 9, Err(NotOnce::Replayed)),
            // Where one name ends and the other begins counts.
            ("a1", "", 10, 9, Ok(())),
            ("", "a1", 20, 9, Ok(())),
            ("b", "1", 30, 9, Err(NotOnce::Full)),
            // A flood does not make it forget.
            ("a", "1", 10, 9, Err(NotOnce::Replayed)),
            ("b", "1", 30, 10, Ok(())),
            ("", "a1", 20, 19, Err(NotOnce::Replayed)),
            ("c", "1", 30, 19, Ok(())),
            ("c", "2", 30, 19, Err(NotOnce::Full)),
        ] {
            let found = once.first(whose.as_bytes(), id, at(forget_at), at(now));
            assert_eq!(found, expected, "{whose} {id} at {now}");
        }
    }
}
