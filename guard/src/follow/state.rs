//! What a follower holds, when it may decide alone, and what it does when it may not.

use std::{
    fmt,
    sync::{
        PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use symbolon_core::{
    follower::{Answer, Dropped, Follower, Question, Standing},
    id::{EntryId, SessionId},
    time::{Tick, Time},
};

use super::{
    Dial, Without,
    clock::{Clock, Source},
};
use crate::os::Os;

/// How a layer decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) dial: Dial,
    pub(super) without: Without,
}

impl Policy {
    pub(super) fn trusts_expiry(self) -> bool {
        self.dial == Dial::UntilExpiry || self.without == Without::TrustExpiry
    }
}

/// What a decision about some ids stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ground {
    /// One of them was ended.
    Ended,
    /// None was, and it may be decided here, by this clock of the server's.
    Here(Time),
    /// The server decides.
    Ask,
    /// Nobody does.
    Refuse,
}

/// What an answer brought.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) ended: Vec<EntryId>,
    /// Whether to ask again at once.
    pub(super) more: bool,
    pub(super) lease: Duration,
    /// Whether there was no lease before.
    pub(super) regained: bool,
}

/// How things stand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standings {
    pub(super) lease_left: Duration,
    pub(super) stale_for: Option<Duration>,
    pub(super) ended_ids: usize,
}

pub(super) struct State {
    source: Box<dyn Source>,
    /// Whether anybody here may ever decide by expiry alone.
    trusts_expiry: AtomicBool,
    leeway: Duration,
    held: RwLock<Held>,
}

#[derive(Debug)]
struct Held {
    clock: Clock,
    /// Drawn with the first question, so that it belongs to one process.
    follower: Option<Follower>,
    process: u32,
    /// The last question: when it was asked, and whether it declared that expiry is trusted.
    asked: (Tick, bool),
    /// When the last question was asked that brought a lease.
    heard: Option<Tick>,
    /// Until when expiry may be trusted: for as long as the server remembers that this was declared.
    trusted_until: Tick,
    /// How old what is known of a credential may be.
    copy_age_max: Duration,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

impl State {
    pub(super) fn new(source: Box<dyn Source>, leeway: Duration) -> Self {
        let held = Held {
            clock: Clock::new(source.read()),
            follower: None,
            process: 0,
            asked: (Tick::default(), false),
            heard: None,
            trusted_until: Tick::default(),
            copy_age_max: Duration::ZERO,
        };
        Self { source, trusts_expiry: AtomicBool::new(false), leeway, held: RwLock::new(held) }
    }

    /// From the next question on the server is told. Nothing is trusted before it has answered that.
    pub(super) fn declare_trust_in_expiry(&self) {
        self.trusts_expiry.store(true, Ordering::SeqCst);
    }

    /// The next question. Its lease counts from here.
    pub(super) fn ask(&self, seen: Vec<SessionId>) -> Question {
        let process = self.source.process();
        let mut held = self.write();
        if held.process != process {
            // Two processes that share an identity would be taken for one: a copy starts anew.
            (held.process, held.follower, held.heard) = (process, None, None);
            held.trusted_until = Tick::default();
        }
        let now = held.clock.level(self.source.read());
        let trusts = self.trusts_expiry.load(Ordering::SeqCst);
        held.asked = (now, trusts);
        let follower = held.follower.get_or_insert_with(|| Follower::new(&mut Os));
        follower.trusts_expiry = trusts;
        follower.ask(now, seen, &mut Os)
    }

    /// Applies an answer.
    pub(super) fn hear(&self, answer: Answer) -> Result<Heard, Dropped> {
        let (more, lease) = (answer.more, Duration::from_millis(answer.lease_ms));
        let entry_life = Duration::from_millis(answer.entry_life_ms);
        let mut held = self.write();
        let now = held.clock.at(self.source.read());
        let follower = held.follower.as_mut().ok_or(Dropped::OtherQuestion)?;
        let before = follower.lease_until();
        let ended = follower.hear(answer)?;
        let regained = before <= now && now < follower.lease_until();
        let (asked_at, declared) = held.asked;
        if !more && !lease.is_zero() {
            held.heard = Some(asked_at);
            // What the end of a token may be younger than its entry, and a lease under which a node made the answer.
            held.copy_age_max = entry_life.saturating_sub(self.leeway + lease);
        }
        if declared {
            held.trusted_until = asked_at + held.copy_age_max;
        }
        Ok(Heard { ended, more, lease, regained })
    }

    /// The last question came to another node than it named. Says whether to ask again at once.
    pub(super) fn elsewhere(&self) -> bool {
        self.write().follower.as_mut().is_some_and(Follower::elsewhere)
    }

    /// The last question was not answered.
    pub(super) fn forget_node(&self) {
        if let Some(follower) = &mut self.write().follower {
            follower.forget_node();
        }
    }

    /// Takes a new identity.
    pub(super) fn rename(&self) {
        if let Some(follower) = &mut self.write().follower {
            follower.rename(&mut Os);
        }
    }

    /// What a decision about these ids stands on. Call it after the request was read: the clock is read here.
    pub(super) fn ground(&self, ids: &[EntryId], policy: Policy) -> (Ground, Tick) {
        let held = self.read();
        let now = held.clock.at(self.source.read());
        let (standing, time) = match &held.follower {
            None => (Standing::NoLease, None),
            Some(follower) => (follower.standing(ids, now), follower.server_time(now)),
        };
        let trusted = policy.trusts_expiry() && now < held.trusted_until;
        let ground = match (standing, policy, time) {
            (Standing::Ended, ..) => Ground::Ended,
            (_, Policy { dial: Dial::Strict, .. }, _) => Ground::Ask,
            (Standing::Live(time), ..) => Ground::Here(time),
            (Standing::NoLease, _, Some(time)) if trusted => Ground::Here(time),
            (Standing::NoLease, Policy { without: Without::Refuse, .. }, _) => Ground::Refuse,
            (Standing::NoLease, ..) => Ground::Ask,
        };
        (ground, now)
    }

    /// Whether an id is known to have ended, lease or not.
    pub(super) fn is_ended(&self, id: EntryId) -> bool {
        let held = self.read();
        let standing = |follower: &Follower| follower.standing(&[id], Tick::default());
        held.follower.as_ref().map(standing) == Some(Standing::Ended)
    }

    pub(super) fn now(&self) -> Tick {
        self.read().clock.at(self.source.read())
    }

    /// Until when an answer may be kept that is asked for now. `None`: the server's clock is not known yet.
    pub(super) fn copy_until(&self) -> Option<Time> {
        let held = self.read();
        let now = held.clock.at(self.source.read());
        held.follower.as_ref()?.server_time(now).map(|time| time + held.copy_age_max)
    }

    /// Until when a token that was issued then may be kept.
    pub(super) fn copy_until_of(&self, issued_at: Time) -> Time {
        issued_at + self.read().copy_age_max
    }

    pub(super) fn standings(&self) -> Standings {
        let held = self.read();
        let now = held.clock.at(self.source.read());
        let follower = held.follower.as_ref();
        Standings {
            lease_left: follower.map_or(Duration::ZERO, |f| f.lease_until().since(now)),
            stale_for: held.heard.map(|heard| now.since(heard)),
            ended_ids: follower.map_or(0, Follower::len),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Held> {
        self.held.write().unwrap_or_else(PoisonError::into_inner)
    }
}
