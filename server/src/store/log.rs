//! The revocation log of this store: what has ended, who knows of it, and who may decide alone meanwhile.
//!
//! One lock covers the end of the log and the leases, so that a lease which is granted after an end came with that end
//! in the same answer.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use symbolon_core::{
    follower::ENTRIES_MAX,
    id::{EntryId, FollowerId, NodeId},
    lease::{Asking, Confirmation, Grant, Leases, NotHeard, waited},
    log::{After, Cursor, Entry, Tail},
    node::Progress,
    revocation::Ended,
    time::{Tick, Time},
};
use tokio::sync::{Notify, futures::Notified, watch};

use crate::os::{Mark, Os, tick};

/// For how many publications it is known when they were made, to measure how long followers take.
const PUBLISHED_MAX: usize = 1024;

/// What an answer to a follower is made of.
#[derive(Debug)]
pub enum Told {
    /// Everything after its cursor, and a lease.
    All {
        /// In order.
        entries: Vec<Entry>,
        /// Up to where this goes.
        cursor: Cursor,
        /// The lease.
        grant: Grant,
    },
    /// It is too far behind for what is in memory.
    Older,
    /// It is ahead of this copy of the log: catch up first.
    Ahead,
    /// Its cursor is not of this history, or forged.
    Restart,
}

/// The log in memory.
#[derive(Debug)]
pub struct Log {
    ended: RwLock<Ended>,
    own: Option<OwnLease>,
    state: Mutex<State>,
    head: watch::Sender<u64>,
    heard: Notify,
}

/// Until when this process may decide alone, where others write to the same store, and what followers know it by.
#[derive(Debug)]
struct OwnLease {
    node: NodeId,
    /// From when on, and for how long.
    held: RwLock<Option<(Mark, Duration)>>,
}

impl OwnLease {
    fn left(&self) -> Duration {
        let held = *self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.map_or(Duration::ZERO, |(asked, lease)| lease.saturating_sub(asked.passed()))
    }
}

#[derive(Debug)]
struct State {
    tail: Tail,
    leases: Leases,
    published: VecDeque<(u64, Tick)>,
    /// When it was last written down of a client that it trusts expiry.
    trusting: HashMap<Box<str>, Tick>,
}

impl Log {
    /// The log after a start. `ended` is what it holds, up to `head`. Leases of an earlier process were at most
    /// `lease_before`.
    pub(super) fn new(
        ended: Ended,
        head: Cursor,
        leases: &super::Leasing,
        lease_before: Duration,
    ) -> Self {
        Self::make(ended, head, leases, lease_before, None)
    }

    /// A copy of a log that others write to, too. It grants leases under one of its own, so those of its process before
    /// count as that one's.
    pub(super) fn copy(ended: Ended, head: Cursor, leases: &super::Leasing) -> Self {
        let own = OwnLease { node: NodeId::random(&mut Os), held: RwLock::default() };
        Self::make(ended, head, leases, Duration::ZERO, Some(own))
    }

    fn make(
        ended: Ended,
        head: Cursor,
        leases: &super::Leasing,
        lease_before: Duration,
        own: Option<OwnLease>,
    ) -> Self {
        let earlier = if lease_before.is_zero() { tick() } else { tick() + waited(lease_before) };
        let state = State {
            tail: Tail::new(head, ENTRIES_MAX),
            leases: Leases::new(leases.lease, earlier, leases.followers_max),
            published: VecDeque::new(),
            trusting: HashMap::new(),
        };
        Self {
            ended: RwLock::new(ended),
            own,
            state: Mutex::new(state),
            head: watch::Sender::new(head.sequence),
            heard: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panicked has left whole entries: each change below is one assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client of which an earlier process heard that it trusts expiry.
    pub(super) fn trusts_expiry(&self, client: &str) {
        self.state().leases.trusts_expiry(client, tick());
    }

    /// Whether it was written down within `span` that a client trusts expiry.
    pub(super) fn is_written_trust(&self, client: &str, span: Duration) -> bool {
        let now = tick();
        self.state().trusting.get(client).is_some_and(|at| now.since(*at) < span)
    }

    /// It is written down now.
    pub(super) fn wrote_trust(&self, client: &str, began: Tick) {
        self.state().trusting.insert(client.into(), began);
    }

    /// Whether the log names one of the ids. No I/O.
    pub fn is_ended(&self, ids: &[EntryId]) -> bool {
        self.ended.read().unwrap_or_else(PoisonError::into_inner).contains_any(ids)
    }

    /// How many ids [`Self::is_ended`] knows.
    pub fn len(&self) -> usize {
        self.ended.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes durable entries known: to every check of this process, then to whoever follows.
    pub(super) fn publish(&self, entries: &[(Entry, Time)]) {
        let Some((last, _)) = entries.last() else { return };
        {
            let mut ended = self.ended.write().unwrap_or_else(PoisonError::into_inner);
            entries.iter().for_each(|(entry, at)| ended.insert(entry.id, *at));
        }
        {
            let mut state = self.state();
            entries.iter().for_each(|(entry, _)| state.tail.push(*entry));
            if state.published.len() == PUBLISHED_MAX {
                state.published.pop_front();
            }
            state.published.push_back((last.sequence, tick()));
        }
        self.head.send_replace(last.sequence);
    }

    /// Makes the ends of a commit known to every check of this process. Their places in the log follow with
    /// [`Self::publish`].
    pub(super) fn note_ended(&self, ids: &[EntryId], at: Time) {
        if !ids.is_empty() {
            let mut ended = self.ended.write().unwrap_or_else(PoisonError::into_inner);
            ids.iter().for_each(|id| ended.insert(*id, at));
        }
    }

    /// Drops ids of before then, bit by bit, so that no check waits long.
    pub(super) fn forget_before(&self, before: Time) {
        for _ in 0..64 {
            let mut ended = self.ended.write().unwrap_or_else(PoisonError::into_inner);
            ended.forget_some_before(before);
        }
    }

    /// How far the log goes.
    pub fn head(&self) -> Cursor {
        self.state().tail.head()
    }

    /// How long a lease is.
    pub fn lease(&self) -> Duration {
        self.state().leases.length()
    }

    /// How long leases are that may be out, if those of an earlier process are over.
    pub(super) fn longest(&self) -> Option<Duration> {
        let state = self.state();
        state.leases.earlier_are_over(tick()).then(|| state.leases.length())
    }

    /// How many followers hold a lease.
    pub fn followers(&self) -> usize {
        self.state().leases.held(tick())
    }

    /// What followers know this process by, if it is one of several.
    pub fn node(&self) -> Option<NodeId> {
        self.own.as_ref().map(|own| own.node)
    }

    /// A question has arrived: what its cursor acknowledges counts from now on. Says whether there is nothing to tell
    /// yet.
    ///
    /// # Errors
    /// [`NotHeard`].
    pub fn hear(&self, asking: Asking<'_>, cursor: Option<&Cursor>) -> Result<bool, NotHeard> {
        let now = tick();
        let mut state = self.state();
        let (mut acknowledges, mut has_all) = (None, false);
        // A cursor that cannot be looked at here acknowledges nothing yet.
        if let Some(cursor) = cursor
            && let After::Entries(entries) = state.tail.after(cursor)
        {
            (acknowledges, has_all) = (Some(cursor.sequence), entries.is_empty());
        }
        let before = state.leases.hear(&Asking { acknowledges, ..asking }, now)?;
        let acknowledged = acknowledges.unwrap_or(0);
        state.measure(before, acknowledged, now);
        drop(state);
        if acknowledged > before {
            self.heard.notify_waiters();
        }
        Ok(has_all)
    }

    /// Waits until there is something after this place in the log, but not longer than `most`.
    pub async fn wait_after(&self, sequence: u64, most: Duration) {
        let mut head = self.head.subscribe();
        let _ = tokio::time::timeout(most, head.wait_for(|head| *head > sequence)).await;
    }

    /// What follows a cursor. If that is all there is, a lease goes with it, counted from `asked_at`.
    pub fn tell(&self, follower: FollowerId, cursor: &Cursor, asked_at: Tick) -> Told {
        let mut state = self.state();
        match state.tail.after(cursor) {
            After::Entries(entries) => {
                let own = self.own.as_ref().map(|own| tick() + own.left());
                let grant = state.leases.grant(follower, asked_at, own, &mut Os);
                Told::All { entries, cursor: state.tail.head(), grant }
            }
            After::Older => Told::Older,
            After::Ahead => Told::Ahead,
            After::Restart => Told::Restart,
        }
    }

    /// Names an answer that does not bring its follower up to the head: no lease goes with it.
    pub fn tell_part(&self, follower: FollowerId) -> Grant {
        self.state().leases.answer(follower, &mut Os)
    }

    /// Whether this process may decide by what it holds.
    pub fn stands(&self) -> bool {
        self.own.as_ref().is_none_or(|own| !own.left().is_zero())
    }

    /// This process may decide alone for a lease from this moment on: when it asked for all that it holds now.
    pub(super) fn renewed(&self, asked: Mark) {
        if let Some(own) = &self.own {
            let lease = self.lease();
            *own.held.write().unwrap_or_else(PoisonError::into_inner) = Some((asked, lease));
        }
    }

    /// Everything that is in the log is applied here. Who holds a lease has yet to acknowledge that.
    pub(super) fn note_applied(&self, progress: &mut Progress) {
        let state = self.state();
        progress.apply(state.tail.head().sequence, &state.leases, tick());
    }

    /// Whether this process and its followers acknowledge more than before.
    pub(super) fn settle(&self, progress: &mut Progress) -> bool {
        progress.settle(&self.state().leases, tick())
    }

    /// Completes when a follower has acknowledged something.
    pub(super) fn heard(&self) -> Notified<'_> {
        self.heard.notified()
    }

    /// Goes over to another history. What was known to be ended stays. Leases of before are over at `earlier_until`.
    pub(super) fn restart(&self, head: Cursor, ended: Vec<(EntryId, Time)>, earlier_until: Tick) {
        {
            let mut known = self.ended.write().unwrap_or_else(PoisonError::into_inner);
            ended.into_iter().for_each(|(id, at)| known.insert(id, at));
        }
        let mut state = self.state();
        state.tail = Tail::new(head, ENTRIES_MAX);
        state.leases.restart(earlier_until);
        state.published.clear();
        drop(state);
        self.head.send_replace(head.sequence);
    }

    /// Waits until everything that is in the log now is acknowledged by every follower, or its lease is over. The flag
    /// says whether that came about before `deadline`.
    pub async fn confirm(&self, deadline: Tick) -> (bool, Confirmation) {
        let mut confirmation = {
            let state = self.state();
            state.leases.confirm(state.tail.head().sequence, tick())
        };
        loop {
            let mut heard = std::pin::pin!(self.heard.notified());
            // Whoever acknowledges between the look and the wait is not missed.
            heard.as_mut().enable();
            let now = tick();
            let later = {
                let leases = &self.state().leases;
                let waited_for = leases.keeps_waiting(&confirmation, now);
                // At the deadline everybody is counted.
                let waited_for = waited_for.filter(|_| now < deadline);
                waited_for.or_else(|| leases.settle(&mut confirmation, now))
            };
            let Some(later) = later else { return (true, confirmation) };
            if now >= deadline {
                return (false, confirmation);
            }
            let wait = later.min(deadline).since(now).max(Duration::from_micros(100));
            let _ = tokio::time::timeout(wait, heard).await;
        }
    }

    /// The clients that decided by expiry alone within `span`.
    pub fn trusting_expiry(&self, span: Duration) -> Vec<Box<str>> {
        self.state().leases.trusting_expiry(span, tick())
    }
}

impl State {
    /// How long it took from when an entry was published until a follower acknowledged it.
    fn measure(&self, before: u64, after: u64, now: Tick) {
        let first = self.published.partition_point(|(sequence, _)| *sequence <= before);
        for (_, at) in self.published.range(first..).take_while(|(sequence, _)| *sequence <= after)
        {
            metrics::histogram!("revocation_acknowledged_seconds").record(now.since(*at));
        }
    }
}
