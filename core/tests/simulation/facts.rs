//! What is true, seen by somebody who sees everything at once; and what must never happen.

use std::collections::BTreeMap;

use symbolon_core::{id::SessionId, time::Time};

use crate::{clients::Clients, draw::MS, host::EPOCH_MS, plan::Plan};

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Broken {
    /// A decision that began after a confirmed end had returned let its session in.
    AcceptedAfterConfirmed,
    /// A decision under a lease let a session in later than a lease after its end.
    AcceptedAfterBound,
    /// A process that had heard of an end let its session in.
    AcceptedWhatItKnewEnded,
    /// A token was taken for valid after it had expired.
    AcceptedAfterExpiry,
    /// A token was issued on a proof of life that began after the end.
    IssuedAfterEnd,
    /// An entry was committed after somebody had read past its number.
    EntrySkipped,
    /// A node took a lease without an end that had been committed.
    RenewedPastEnd,
    /// Something is not there of which a client was told that it is.
    LostWrite(&'static str),
    /// A refresh token has two successors.
    TwoGenerations,
    /// A session that had ended was refreshed.
    RefreshedAfterEnd,
    /// In calm weather something does not work that should.
    NotLive(&'static str),
}

#[derive(Debug, Default)]
struct Fact {
    parent: Option<SessionId>,
    ended: Option<u64>,
    published: Option<u64>,
    confirmed: Option<u64>,
}

/// How a decision was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Lease,
    Asking,
}

/// A session was let in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Accepted {
    pub(crate) sid: SessionId,
    pub(crate) began: u64,
    pub(crate) by: By,
    pub(crate) expires: Option<Time>,
    /// When this process heard that it was ended.
    pub(crate) known: Option<u64>,
}

/// Everything that is true, and the first promise that was broken.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    sessions: BTreeMap<SessionId, Fact>,
    pub(crate) clients: Clients,
    pub(crate) last_confirmed: Option<SessionId>,
    pub(crate) broken: Option<(u64, Broken)>,
    pub(crate) seen: Seen,
}

/// What a history has contained, so that a simulation in which nothing happens is found out.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) by_lease: u64,
    pub(crate) by_asking: u64,
    pub(crate) refused: u64,
    pub(crate) confirmed: u64,
    pub(crate) acknowledged: u64,
    pub(crate) waited_out: u64,
    pub(crate) restarts: u64,
    /// Acknowledged writes that were still there in the end, and answers to refresh races.
    pub(crate) kept: u64,
    pub(crate) raced: u64,
}

impl Facts {
    pub(crate) fn created(&mut self, sid: SessionId, parent: Option<SessionId>) {
        self.sessions.insert(sid, Fact { parent, ..Fact::default() });
    }

    pub(crate) fn ended(&mut self, sid: SessionId, now: u64) {
        self.sessions.entry(sid).or_default().ended.get_or_insert(now);
    }

    pub(crate) fn published(&mut self, sid: SessionId, now: u64) {
        // An entry may also name a key.
        if let Some(fact) = self.sessions.get_mut(&sid) {
            fact.published.get_or_insert(now);
        }
    }

    /// A confirmed end of this session returned.
    pub(crate) fn confirmed(&mut self, sid: SessionId, now: u64) {
        self.sessions.entry(sid).or_default().confirmed.get_or_insert(now);
        self.last_confirmed = Some(sid);
        self.seen.confirmed += 1;
    }

    /// The store went back to an older disk, which says of these whether they were ended. Of an end that it forgot
    /// nothing is promised until they are ended again, except that whoever heard of it remembers; and a session that
    /// it forgot does not end with its parent. But where that can happen by itself, nothing may have been confirmed.
    pub(crate) fn lost(
        &mut self,
        confirmed_too: bool,
        on_disk: impl Fn(&SessionId) -> Option<bool>,
    ) {
        for (sid, fact) in &mut self.sessions {
            let confirmed = fact.confirmed.filter(|_| !confirmed_too);
            match on_disk(sid) {
                Some(true) => {}
                Some(false) => {
                    (fact.ended, fact.published, fact.confirmed) = (None, None, confirmed)
                }
                None => *fact = Fact { confirmed, ..Fact::default() },
            }
        }
    }

    pub(crate) fn is_child(&self, sid: SessionId) -> bool {
        self.sessions.get(&sid).is_some_and(|fact| fact.parent.is_some())
    }

    pub(crate) fn is_ended(&self, sid: SessionId) -> bool {
        self.when(sid, |fact| fact.ended).is_some()
    }

    /// Sessions with whether they were ended.
    pub(crate) fn all(&self) -> Vec<(SessionId, bool)> {
        self.sessions.keys().map(|sid| (*sid, self.is_ended(*sid))).collect()
    }

    /// Sessions whose own end was published then or later.
    pub(crate) fn ended_since(&self, when: u64) -> Vec<SessionId> {
        let late = |fact: &Fact| fact.published.is_some_and(|published| published > when);
        self.sessions.iter().filter(|(_, fact)| late(fact)).map(|(sid, _)| *sid).collect()
    }

    pub(crate) fn issued(&mut self, sid: SessionId, proof_began: u64, now: u64) {
        if self.when(sid, |fact| fact.ended).is_some_and(|ended| ended < proof_began) {
            self.breaks(now, Broken::IssuedAfterEnd);
        }
    }

    pub(crate) fn accepted(&mut self, accepted: &Accepted, plan: &Plan, now: u64) {
        let Accepted { sid, began, by, expires, known } = *accepted;
        let bound = plan.lease_max() + plan.lease_max() / 1000 + 2 * MS;
        let after = |moment: Option<u64>, more: u64| moment.is_some_and(|at| began > at + more);
        if after(self.when(sid, |fact| fact.confirmed), 0) {
            self.breaks(now, Broken::AcceptedAfterConfirmed);
        }
        if by == By::Lease && after(self.when(sid, |fact| fact.published), bound) {
            self.breaks(now, Broken::AcceptedAfterBound);
        }
        if known.is_some_and(|heard| began > heard && began < heard + plan.remembered()) {
            self.breaks(now, Broken::AcceptedWhatItKnewEnded);
        }
        let wall = Time::from_millis(EPOCH_MS + i64::try_from(began / MS).unwrap());
        let skew = std::time::Duration::from_nanos(2 * plan.leeway);
        if expires.is_some_and(|expires| wall > expires + skew) {
            self.breaks(now, Broken::AcceptedAfterExpiry);
        }
        match by {
            By::Lease => self.seen.by_lease += 1,
            By::Asking => self.seen.by_asking += 1,
        }
    }

    pub(crate) fn breaks(&mut self, now: u64, broken: Broken) {
        self.broken.get_or_insert((now, broken));
    }

    /// The earlier of when something happened to a session and to its parent.
    fn when(&self, sid: SessionId, what: impl Fn(&Fact) -> Option<u64>) -> Option<u64> {
        let fact = self.sessions.get(&sid)?;
        let parent = fact.parent.and_then(|parent| self.sessions.get(&parent));
        [what(fact), parent.and_then(what)].into_iter().flatten().min()
    }
}
