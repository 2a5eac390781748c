//! Sessions that were proven lately, in memory, so that checking one again touches no store.
//!
//! A copy here is treated like a token: it is never older than the longest access token lives, counted from when its
//! question was sent, and at every hit its ids are looked up in the set of ended ids. That, and not the order in which
//! loads and ends happen, is what keeps an ended session from being served.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use quick_cache::sync::Cache;
use symbolon_core::{
    id::{EntryId, SessionId},
    session::Session,
    time::Time,
    user::User,
};

/// How many sessions seen by followers wait to be written. More are dropped: they are seen again.
const SEEN_MAX: usize = 100_000;

/// A session and its user, as they were when they were asked for.
#[derive(Debug)]
pub struct Live {
    /// The session's row. Its `seen_at` may be behind: see [`Self::session_seen`].
    pub session: Session,
    /// Its user's row.
    pub user: Option<User>,
    entries: [EntryId; 3],
    asked_at: Time,
    seen_ms: AtomicI64,
}

impl Live {
    /// A copy that was asked for at `asked_at`.
    pub fn new(session: Session, user: Option<User>, asked_at: Time) -> Self {
        let seen_ms = AtomicI64::new(session.seen_at.millis());
        let parent = session.parent.unwrap_or(session.id);
        let entries = [session.id.entry(), parent.entry(), session.client.entry()];
        Self { session, user, entries, asked_at, seen_ms }
    }

    /// When the session was last seen, by the row or by this process.
    pub fn seen_at(&self) -> Time {
        Time::from_millis(self.seen_ms.load(Ordering::Relaxed))
    }

    /// The ids that must not have ended, besides that of the handle: session, parent and client.
    pub const fn entries(&self) -> [EntryId; 3] {
        self.entries
    }
}

/// The copies, and what was seen since the last write.
#[derive(Debug)]
pub struct LiveSessions {
    copies: Cache<SessionId, Arc<Live>>,
    age_max: Duration,
    seen: Mutex<HashMap<SessionId, Time>>,
    forgotten: AtomicU64,
}

/// How often everything was forgotten, as it was before a copy was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark(u64);

impl LiveSessions {
    /// Room for `copies_max` sessions, none older than `age_max`.
    pub fn new(copies_max: usize, age_max: Duration) -> Self {
        let (copies, forgotten) = (Cache::new(copies_max), AtomicU64::new(0));
        Self { copies, age_max, seen: Mutex::default(), forgotten }
    }

    /// The copy of a session, if there is one that is young enough.
    pub fn get(&self, id: SessionId, now: Time) -> Option<Arc<Live>> {
        self.copies.get(&id).filter(|live| now.since(live.asked_at) < self.age_max)
    }

    /// Taken before a copy is asked for.
    pub fn mark(&self) -> Mark {
        Mark(self.forgotten.load(Ordering::SeqCst))
    }

    /// Keeps a copy that was asked for after `mark`, unless everything was forgotten meanwhile: it may be of before.
    pub fn put(&self, live: Arc<Live>, mark: Mark) {
        let id = live.session.id;
        self.copies.insert(id, live);
        // Looked at after the insertion: who forgets later clears it.
        if self.mark() != mark {
            self.copies.remove(&id);
        }
    }

    /// Forgets a session whose row was written.
    pub fn forget(&self, id: SessionId) {
        self.copies.remove(&id);
    }

    /// Forgets everything: a user's rights have changed.
    pub fn forget_all(&self) {
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        self.copies.clear();
    }

    /// Notes that a session was seen now, if that is worth a write.
    pub fn saw(&self, live: &Live, now: Time) {
        if now.since(live.seen_at()) >= live.session.limits.idle / 16 {
            live.seen_ms.fetch_max(now.millis(), Ordering::Relaxed);
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.insert(live.session.id, now);
        }
    }

    /// Notes that sessions were seen by a follower. Ids that are none are dropped when they are written.
    pub fn saw_elsewhere(&self, ids: &[SessionId], now: Time) {
        if !ids.is_empty() {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let room = SEEN_MAX.saturating_sub(seen.len());
            seen.extend(ids.iter().take(room).map(|id| (*id, now)));
        }
    }

    /// How many copies there are.
    pub fn len(&self) -> usize {
        self.copies.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.copies.is_empty()
    }

    /// What was seen since the last call.
    pub fn take_seen(&self) -> Vec<(SessionId, Time)> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *seen).into_iter().collect()
    }

    /// When this process has last seen a session, if that is not written yet.
    pub fn last_seen(&self, id: SessionId) -> Option<Time> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(&id).copied()
    }
}

#[cfg(test)]
mod tests {
    use symbolon_core::{
        id::KeyId,
        session::{Device, Lifetimes, Opening},
    };

    use super::*;
    use crate::os::Os;

    #[test]
    fn what_was_asked_for_before_everything_was_forgotten_is_not_kept() {
        let (now, day) = (Time::from_secs(1), Duration::from_secs(86_400));
        let device =
            Device { label: "".into(), user_agent: "".into(), address: [127, 0, 0, 1].into() };
        let opening = Opening { client: "shop".parse().unwrap(), parent: None, device };
        let lifetimes = Lifetimes {
            visitor: day,
            idle: day,
            absolute: day,
            remembered_idle: day,
            remembered_absolute: day,
        };
        let session =
            Session::visitor(opening, KeyId::from_bytes([1; 16]), &lifetimes, now, &mut Os);
        let (id, live) = (session.id, Arc::new(Live::new(session, None, now)));
        let sessions = LiveSessions::new(8, day);
        let before = sessions.mark();
        sessions.forget_all();
        sessions.put(Arc::clone(&live), before);
        assert!(sessions.get(id, now).is_none());
        sessions.put(live, sessions.mark());
        assert!(sessions.get(id, now).is_some());
    }
}
