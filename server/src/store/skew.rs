//! Clocks of servers and of their database. Times that one process writes are read by others: when an entry of the log
//! may be forgotten, when a token is over. The database's clock is what they are measured by, at each renewal.

use std::time::Duration;

use symbolon_core::time::Time;

/// By how much the clock of a server and that of the database may differ. A server beyond it has no part. An entry of the
/// log lives longer than tokens by the leeway of 30 s, and in the worst case four wrong clocks add up: of the server that
/// gave the token, the one that verifies it, the one that ended it and the one that forgets the end.
const MAX: Duration = Duration::from_millis(7500);

/// Beyond this it is worth a word: a time service keeps clocks within milliseconds.
const NOTABLE: Duration = Duration::from_secs(1);

/// How far the clock of this process is ahead of the database's (negative: behind it), at least, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Skew(i64);

impl Skew {
    /// Of a question: `there` is what the clock of the database said, at some moment between when it was `asked` and when
    /// it was `answered`. A slow answer is no wrong clock.
    pub(super) fn of(asked: Time, there: Time, answered: Time) -> Self {
        let (asked, there, answered) = (asked.millis(), there.millis(), answered.millis());
        Self(
            asked
                .saturating_sub(there)
                .max(0)
                .saturating_add(answered.saturating_sub(there).min(0)),
        )
    }

    pub(super) const fn millis(self) -> i64 {
        self.0
    }

    const fn span(self) -> Duration {
        Duration::from_millis(self.0.unsigned_abs())
    }

    /// By how much, if that is too much.
    pub(super) fn excess(self) -> Option<Duration> {
        Some(self.span()).filter(|span| *span > MAX)
    }

    /// Whether an operator should look at it.
    pub(super) fn is_notable(self) -> bool {
        self.span() > NOTABLE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_answer_is_no_wrong_clock() {
        for (asked, there, answered, skew) in [
            (1000, 1000, 1000, 0),
            (1000, 1003, 1005, 0),
            (1000, 4999, 60_000, 0),
            (1000, 900, 1005, 100),
            (1000, 1105, 1005, -100),
            (1000, i64::MIN, 1005, i64::MAX),
            (1000, i64::MAX, 1005, 1005 - i64::MAX),
        ] {
            let [asked, there, answered] = [asked, there, answered].map(Time::from_millis);
            assert_eq!(Skew::of(asked, there, answered), Skew(skew));
        }
    }

    #[test]
    fn bounds() {
        for (skew, notable, excess) in [
            (0, false, false),
            (-1000, false, false),
            (1001, true, false),
            (-7500, true, false),
            (7501, true, true),
            (-7501, true, true),
            (i64::MIN, true, true),
        ] {
            let skew = Skew(skew);
            assert_eq!((skew.is_notable(), skew.excess().is_some()), (notable, excess), "{skew:?}");
        }
    }
}
