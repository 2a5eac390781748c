//! The same verbs in a random order at a store and at the one in memory: whatever is asked, they answer alike.

use std::time::Duration;

use symbolon_core::{id::SessionId, session::Limits, time::Time};

use super::{Checked, Suite, below, delta, id, is, user, version};
use crate::store::{
    AtMost, Delta, Event, Opening, Otherwise, Part, Reason, SessionStore, memory::Memory,
};

/// Verbs in one history.
const STEPS: usize = 60;

pub(super) async fn it_answers_as_the_store_in_memory_does(suite: &Suite) -> Checked {
    suite.drain().await?;
    for _ in 0..(suite.rounds / 10).clamp(5, 100) {
        let memory = Memory::with_events(10_000, 10_000);
        let mut history = History {
            users: [user(), user()],
            ids: [(); 6].map(|()| id()),
            at: suite.began,
            log: Vec::new(),
        };
        for _ in 0..STEPS {
            let act = history.draw();
            history.log.push(format!("{act:?}"));
            let (found, expected) = (act.ask(&*suite.store).await?, act.ask(&memory).await?);
            if found != expected {
                history.log.push(format!("memory says {expected}"));
                is(found, history.log.join("\n"))?;
            }
        }
        let told = |events: Vec<Event>| {
            let mut told: Vec<_> =
                events.into_iter().map(|e| (e.session, e.user, e.at, e.what)).collect();
            // In order for each session.
            told.sort_by_key(|(session, ..)| *session);
            told
        };
        let (found, expected) = (suite.drain().await?, memory.events(10_000).await?);
        is(told(found), told(expected))?;
    }
    Ok(())
}

/// What has happened so far, and what may happen next: few ids, users and keys, so that they meet.
struct History {
    users: [String; 2],
    ids: [SessionId; 6],
    at: Time,
    log: Vec<String>,
}

#[derive(Debug)]
enum Act {
    Create(Opening, Time),
    Load(SessionId, Part, Time),
    Apply(SessionId, Delta, Time),
    Touch(Vec<(SessionId, Time)>),
    Renew(SessionId, Opening, Time),
    End(SessionId, Reason, Time),
    EndUser(String, Option<SessionId>, Time),
    List(String, Time),
}

impl Act {
    /// What the store says, as text.
    async fn ask(&self, store: &dyn SessionStore) -> Result<String, super::Failed> {
        Ok(match self {
            Self::Create(opening, now) => format!("{:?}", store.create(opening, *now).await?),
            Self::Load(id, part, now) => match store.load(*id, *part, *now).await? {
                super::Loaded::Live(record, Some(values)) => {
                    format!("{record:?} {:?}", values.iter().collect::<Vec<_>>())
                }
                other => format!("{other:?}"),
            },
            Self::Apply(id, delta, now) => format!("{:?}", store.apply(*id, delta, *now).await?),
            Self::Touch(seen) => format!("{:?}", store.touch(seen).await?),
            Self::Renew(old, opening, now) => {
                format!("{:?}", store.renew(*old, opening, *now).await?)
            }
            Self::End(id, reason, now) => format!("{:?}", store.end(*id, *reason, *now).await?),
            Self::EndUser(user, but, now) => {
                format!("{:?}", store.end_user(user, *but, Reason::Revoked, *now).await?)
            }
            Self::List(user, now) => format!("{:?}", store.list(user, *now).await?),
        })
    }
}

impl History {
    fn draw(&mut self) -> Act {
        // Clocks mostly go forward, and all stays within what entries that vanish by themselves live.
        let millis = Duration::from_millis(below(40_000) as u64);
        self.at = if below(10) == 0 { self.at - millis / 4 } else { self.at + millis };
        let (id, now) = (self.ids[below(6)], self.at);
        match below(16) {
            0..=3 => Act::Create(self.opening(), now),
            4 => Act::Load(id, Part::Record, now),
            5 | 6 => Act::Load(id, Part::All, now),
            7 | 8 => Act::Apply(id, self.delta(), now),
            9 | 10 => {
                let earlier = now - Duration::from_millis(below(50_000) as u64);
                let mut seen = vec![(id, now), (self.ids[below(6)], earlier)];
                // Each stands in a batch once.
                seen.dedup_by_key(|(id, _)| *id);
                Act::Touch(seen)
            }
            11 | 12 => Act::Renew(id, self.opening(), now),
            13 => Act::End(id, Reason::Logout, now),
            14 if below(3) == 0 => {
                let but = (below(2) == 0).then_some(id);
                Act::EndUser(self.users[below(2)].clone(), but, now)
            }
            _ => Act::List(self.users[below(2)].clone(), now),
        }
    }

    /// Ids are drawn anew now and then, so that there is always something to open.
    fn opening(&mut self) -> Opening {
        let at = below(6);
        if below(2) == 0 {
            self.ids[at] = id();
        }
        let user = (below(4) > 0).then(|| self.users[below(2)].as_str().into());
        let at_most = (below(3) == 0).then(|| AtMost {
            sessions: if below(2) == 0 { ONE } else { TWO },
            otherwise: if below(2) == 0 { Otherwise::Refuse } else { Otherwise::EndOldest },
        });
        let idle = Duration::from_secs(60 + below(60) as u64);
        Opening {
            id: self.ids[at],
            user,
            label: (below(3) == 0).then(|| "label".into()),
            remembered: below(2) == 0,
            opened_at: self.at - Duration::from_millis(below(5000) as u64),
            limits: Limits { idle, ends_at: self.at + Duration::from_secs(400) },
            at_most,
            began_at: self.at - Duration::from_millis(below(5000) as u64),
            delta: self.delta(),
        }
    }

    fn delta(&self) -> Delta {
        let value = "v".repeat(below(40));
        let mut drawn = delta(&[]);
        for key in ["a", "b", "c"] {
            // The keys are short.
            let _ = match below(3) {
                0 => drawn.set(key, value.clone().into_bytes()),
                1 => drawn.remove(key),
                _ => Ok(()),
            };
        }
        drawn.expected = (below(4) == 0).then(|| version(below(3) as u64));
        drawn.bytes_max = 60 + below(60);
        drawn
    }
}

const ONE: std::num::NonZeroU32 = std::num::NonZeroU32::MIN;
const TWO: std::num::NonZeroU32 = ONE.saturating_add(1);
