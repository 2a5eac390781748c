//! Sessions that were proven lately, in memory, so that checking one again touches no store and computes no MAC.
//!
//! What is kept here is treated like a token: it is never older than the longest access token lives, counted from when
//! its question was sent, and at every hit its ids are looked up in the set of ended ids. That, and not the order in
//! which loads and ends happen, is what keeps an ended session from being served.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use quick_cache::sync::Cache;
use symbolon_core::{
    client::ClientId,
    handle::{Proven, Unchecked},
    id::{EntryId, HandleId, KeyId, SessionId, UserId},
    session::{Assurance, Lapse, Limits, Session},
    time::Time,
    user::User,
};

/// How many sessions seen by followers wait to be written. More are dropped: they are seen again.
const SEEN_MAX: usize = 100_000;

/// A session and its user, as the store knew them.
#[derive(Debug)]
pub struct Live {
    /// The session's row.
    pub session: Session,
    /// Its user's row.
    pub user: Option<User>,
}

impl Live {
    /// The ids that must not have ended, besides those of the handle and its key: session, parent and client.
    pub fn entries(&self) -> [EntryId; 3] {
        let session = &self.session;
        let parent = session.parent.unwrap_or(session.id);
        [session.id.entry(), parent.entry(), session.client.entry()]
    }
}

/// What a session cookie proved when it was last held against its session's row. There are many of these: it holds what
/// a check and its answers need, and no rows.
#[derive(Debug)]
pub struct Known {
    /// The session that authorised it.
    pub parent: Option<SessionId>,
    /// The client that it was opened for.
    pub client: ClientId,
    /// Who logged in; `None` for a visitor.
    pub login: Option<KnownLogin>,
    /// When it was opened.
    pub opened_at: Time,
    /// How long it lives.
    pub limits: Limits,
    cookie: Unchecked,
    half: HandleId,
    key: KeyId,
    client_entry: EntryId,
    asked_at: Time,
    seen_ms: AtomicI64,
}

/// See [`Known::login`].
#[derive(Debug)]
pub struct KnownLogin {
    /// The user.
    pub user: UserId,
    /// How sure we are who it is.
    pub assurance: Assurance,
    /// When they proved it.
    pub at: Time,
    /// Their login name.
    pub name: Box<str>,
    /// Their roles: one list for all who have the same.
    pub roles: Arc<[Box<str>]>,
}

impl Known {
    /// The session.
    pub fn session(&self) -> SessionId {
        self.cookie.session()
    }

    /// Whether exactly this cookie was proven.
    pub fn is_of(&self, cookie: &Unchecked) -> bool {
        self.cookie == *cookie
    }

    /// When the session was last seen, by the row or by this process.
    pub fn seen_at(&self) -> Time {
        Time::from_millis(self.seen_ms.load(Ordering::Relaxed))
    }

    /// The ids that must not have ended: session, parent (the session itself if it has none), client, half, key.
    pub fn entries(&self) -> [EntryId; 5] {
        let session = self.session();
        let parent = self.parent.unwrap_or(session);
        let (half, key) = (self.half.entry(), self.key.entry());
        [session.entry(), parent.entry(), self.client_entry, half, key]
    }

    /// Whether the session is within its limits, as far as is known here: the row may have been seen later.
    ///
    /// # Errors
    /// The [`Lapse`].
    pub fn standing(&self, now: Time) -> Result<(), Lapse> {
        self.limits.standing(self.seen_at(), now)
    }
}

/// What is known, and what was seen since the last write.
#[derive(Debug)]
pub struct LiveSessions {
    known: Cache<SessionId, Arc<Known>>,
    age_max: Duration,
    seen: Mutex<HashMap<SessionId, Time>>,
    roles: Mutex<HashSet<Arc<[Box<str>]>>>,
    forgotten: AtomicU64,
}

/// How many lists of roles are shared; with more, sharing begins anew.
const ROLES_MAX: usize = 1024;

/// When rows were asked for, and how often everything was forgotten before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    asked_at: Time,
    forgotten: u64,
}

impl LiveSessions {
    /// Room for `sessions_max` sessions, none known for longer than `age_max`.
    pub fn new(sessions_max: usize, age_max: Duration) -> Self {
        Self {
            known: Cache::new(sessions_max),
            age_max,
            seen: Mutex::default(),
            roles: Mutex::default(),
            forgotten: AtomicU64::new(0),
        }
    }

    /// What is known of a session, if that is young enough. Whoever goes by it looks up its [`Known::entries`].
    pub fn get(&self, id: SessionId, now: Time) -> Option<Arc<Known>> {
        self.known.get(&id).filter(|known| now.since(known.asked_at) < self.age_max)
    }

    /// Taken before rows are asked for.
    pub fn mark(&self, now: Time) -> Mark {
        Mark { asked_at: now, forgotten: self.forgotten.load(Ordering::SeqCst) }
    }

    /// Keeps what `cookie`, made with `key`, proved against the rows of `live`, which were asked for after `mark`; not if
    /// everything was forgotten meanwhile: they may be of before.
    pub fn keep(
        &self,
        live: &Live,
        cookie: Unchecked,
        proven: Proven,
        key: KeyId,
        mark: Mark,
    ) -> Arc<Known> {
        let session = &live.session;
        let login =
            session.login.as_ref().zip(live.user.as_ref()).map(|(login, user)| KnownLogin {
                user: user.id,
                assurance: login.assurance,
                at: login.at,
                name: user.name.as_str().into(),
                roles: self.shared(user.roles.iter().map(|role| role.as_str().into()).collect()),
            });
        let known = Arc::new(Known {
            parent: session.parent,
            client: session.client.clone(),
            login,
            opened_at: session.opened_at,
            limits: session.limits,
            cookie,
            half: proven.name().id(),
            key,
            client_entry: session.client.entry(),
            asked_at: mark.asked_at,
            seen_ms: AtomicI64::new(session.seen_at.millis()),
        });
        self.known.insert(session.id, Arc::clone(&known));
        // Looked at after the insertion: who forgets later clears it.
        if self.mark(mark.asked_at) != mark {
            self.known.remove(&session.id);
        }
        known
    }

    fn shared(&self, roles: Arc<[Box<str>]>) -> Arc<[Box<str>]> {
        let mut all = self.roles.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(same) = all.get(&roles) {
            return Arc::clone(same);
        }
        if all.len() >= ROLES_MAX {
            all.clear();
        }
        all.insert(Arc::clone(&roles));
        roles
    }

    /// Forgets a session whose row was written.
    pub fn forget(&self, id: SessionId) {
        self.known.remove(&id);
    }

    /// Forgets everything: a user's rights have changed.
    pub fn forget_all(&self) {
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        self.known.clear();
    }

    /// Notes that a session was seen now, if that is worth a write.
    pub fn saw(&self, known: &Known, now: Time) {
        if now.since(known.seen_at()) >= known.limits.idle / 16 {
            known.seen_ms.fetch_max(now.millis(), Ordering::Relaxed);
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.insert(known.session(), now);
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

    /// How many sessions are known.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
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
        handle::HandleKey,
        secret::SecretBytes,
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
        let key = HandleKey::new(KeyId::from_bytes([1; 16]), &SecretBytes::new([2; 32]));
        let session = Session::visitor(opening, key.id(), &lifetimes, now, &mut Os);
        let text = key.mint(&session.cookie_name().unwrap(), &session.client, &session.salt);
        let cookie = Unchecked::read(text.expose()).unwrap();
        let handle = cookie.check(&key).unwrap();
        let proven = handle.prove(&key, &session.client, &session.salt).unwrap();
        let (id, live) = (session.id, Live { session, user: None });
        let sessions = LiveSessions::new(8, day);
        let before = sessions.mark(now);
        sessions.forget_all();
        sessions.keep(&live, cookie.clone(), proven, key.id(), before);
        assert!(sessions.get(id, now).is_none());
        sessions.keep(&live, cookie, proven, key.id(), sessions.mark(now));
        assert!(sessions.get(id, now).is_some());
    }
}
