//! "Client C was told of session S": whoever got an ID token and wants it, hears of the end of that login (OpenID
//! Connect Back-Channel Logout 1.0, section 2.3).
//!
//! A row says so from the moment the ID token is issued. Whatever ends the session makes the row due in the same commit;
//! from then on it is delivered again and again, across restarts and long after every token has expired, until the
//! client has acknowledged it. Delivery is at least once, never exactly once.

use std::time::Duration;

use crate::{
    audit::{Act, Event},
    change::{Change, Write},
    client::ClientId,
    id::SessionId,
    time::Time,
};

/// After this long nobody tries any more; the audit trail says so. A client that was away for longer has lost its own
/// sessions, too.
pub const GIVE_UP_AFTER: Duration = Duration::from_hours(24 * 7);

/// The longest time between two tries.
const PAUSE_MAX: Duration = Duration::from_hours(1);

/// A client that is to hear of the end of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The session, as the client knows it.
    pub session: SessionId,
    /// The client.
    pub client: ClientId,
    /// Who logged in, as the client knows it.
    pub subject: Box<str>,
    /// When the session ended.
    pub ended_at: Time,
    /// How often it was tried.
    pub tries: u32,
}

/// What became of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// The client has acknowledged it.
    Yes,
    /// The client answered, and did not want this one (400, 501).
    Refused,
    /// The client did not answer, or says that it cannot now: it will not answer the others either.
    Away,
    /// There is no such client any more, or it does not want to hear.
    Nobody,
}

impl Notice {
    /// What follows from a try at `now`.
    ///
    /// The first pause is a second, and each is twice as long as the one before, up to an hour. A client that is away
    /// gets a pause as a whole: everything that is due to it waits, so that it costs no more than one that is there.
    pub fn after(&self, heard: Heard, now: Time) -> Change {
        let mut change = Change::at(now);
        let (session, client) = (self.session, self.client.clone());
        let over = now.since(self.ended_at) >= GIVE_UP_AFTER;
        match heard {
            Heard::Yes | Heard::Nobody => change.write(Write::Told { session, client }),
            Heard::Refused | Heard::Away if over => {
                change.record(Event {
                    act: Act::LogoutNotDelivered,
                    user: None,
                    session: Some(session),
                    client: Some(client.clone()),
                });
                change.write(Write::Told { session, client });
            }
            Heard::Refused | Heard::Away => {
                let at = now + self.pause();
                let all = heard == Heard::Away;
                let tries = self.tries.saturating_add(1);
                change.write(Write::TellLater { session, client, tries, at, all });
            }
        }
        change
    }

    fn pause(&self) -> Duration {
        Duration::from_secs(1 << self.tries.min(30)).min(PAUSE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_secs(1_000_000);

    fn notice(tries: u32) -> Notice {
        Notice {
            session: SessionId::from_bytes([1; 16]),
            client: "shop".parse().unwrap(),
            subject: "somebody".into(),
            ended_at: NOW,
            tries,
        }
    }

    fn pause_after(tries: u32) -> u64 {
        let change = notice(tries).after(Heard::Away, NOW);
        let [Write::TellLater { at, all: true, .. }] = &change.writes[..] else {
            panic!("{change:?}")
        };
        at.since(NOW).as_secs()
    }

    #[test]
    fn pauses_grow_up_to_an_hour() {
        let pauses: Vec<u64> = (0..13).map(pause_after).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600]);
        assert_eq!(pause_after(u32::MAX), 3600);
    }

    #[test]
    fn it_is_told_until_it_is_heard_or_a_week_is_over() {
        let told = |heard, now| {
            let change = notice(3).after(heard, now);
            (matches!(change.writes[..], [Write::Told { .. }]), change.events.len())
        };
        let late = NOW + GIVE_UP_AFTER;
        assert_eq!(told(Heard::Yes, late), (true, 0));
        assert_eq!(told(Heard::Nobody, NOW), (true, 0));
        for heard in [Heard::Refused, Heard::Away] {
            assert_eq!(told(heard, late - Duration::from_secs(1)), (false, 0));
            // Given up, and the audit trail says so.
            assert_eq!(told(heard, late), (true, 1));
        }
    }

    #[test]
    fn one_refusal_makes_nothing_else_wait() {
        let change = notice(0).after(Heard::Refused, NOW);
        assert!(matches!(change.writes[..], [Write::TellLater { all: false, .. }]));
    }
}
