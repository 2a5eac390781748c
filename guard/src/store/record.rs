//! What is known of a session without its data, and the decisions about it. Pure: `now` is a parameter.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use symbolon_core::{
    data::DataVersion,
    id::SessionId,
    session::{Lapse, Limits},
    time::Time,
};

use super::values::Delta;

/// The longest name of a user in bytes.
pub const USER_BYTES_MAX: usize = 256;
/// The longest label in bytes.
pub const LABEL_BYTES_MAX: usize = 128;

/// The fixed small part of a session: what a check reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Public: it names the session in logs and lists, and opens nothing.
    pub id: SessionId,
    /// Who is logged in, as the application names its users; `None` for a visitor.
    pub user: Option<Arc<str>>,
    /// What its user knows it by, such as `Firefox on Linux`.
    pub label: Option<Arc<str>>,
    /// Whether its user asked to be remembered when the browser closes.
    pub remembered: bool,
    /// When it was opened: for a login, when the user logged in.
    pub opened_at: Time,
    /// When it was last seen; written only when that moved by 1/16 of the idle limit.
    pub seen_at: Time,
    /// How long it may be silent, and when it ends in any case.
    pub limits: Limits,
    /// How often its data was written.
    pub version: DataVersion,
}

impl Record {
    /// Why it has run out by now, if it has.
    pub fn lapsed(&self, now: Time) -> Option<Reason> {
        match self.limits.standing(self.seen_at, now) {
            Ok(()) => None,
            Err(Lapse::Idle) => Some(Reason::Idle),
            Err(_) => Some(Reason::Expired),
        }
    }

    /// Whether being seen at `now` is worth a write: it moved by 1/16 of the idle limit.
    pub fn touch_is_due(&self, now: Time) -> bool {
        let quantum = (self.limits.idle / 16).max(Duration::from_millis(1));
        now.since(self.seen_at) >= quantum
    }

    /// Whether a session that was silent until it was seen at `seen_at` may be moved there: only ever later, and never
    /// over a silence that has ended it.
    pub fn may_be_touched(&self, seen_at: Time) -> bool {
        seen_at > self.seen_at && self.lapsed(seen_at).is_none()
    }
}

/// Why a session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// Its user logged out of it.
    Logout,
    /// It was ended from elsewhere: another session of the user, an administrator, a changed password.
    Revoked,
    /// The user has opened more sessions than the limit, and this one was the oldest.
    TooMany,
    /// It has a new id. Nothing leads there from the old one.
    Renewed,
    /// It was silent too long.
    Idle,
    /// It reached its absolute limit.
    Expired,
    /// The store could not read it.
    Unreadable,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Logout,
        Self::Revoked,
        Self::TooMany,
        Self::Renewed,
        Self::Idle,
        Self::Expired,
        Self::Unreadable,
    ];

    /// Its stable name, for stores and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::Revoked => "revoked",
            Self::TooMany => "too_many",
            Self::Renewed => "renewed",
            Self::Idle => "idle",
            Self::Expired => "expired",
            Self::Unreadable => "unreadable",
        }
    }

    /// The reason of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

/// How many sessions a user may have at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AtMost {
    /// This many, the new one included.
    pub sessions: NonZeroU32,
    /// What happens when there are more.
    pub otherwise: Otherwise,
}

/// What happens when a user has too many sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Otherwise {
    /// The new one is refused.
    Refuse,
    /// Those that were opened first end.
    EndOldest,
}

/// A session to be: as new, or in place of an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// Its id. Nobody has it yet.
    pub id: SessionId,
    /// Who is logged in; at most [`USER_BYTES_MAX`] bytes.
    pub user: Option<Arc<str>>,
    /// What its user knows it by; at most [`LABEL_BYTES_MAX`] bytes.
    pub label: Option<Arc<str>>,
    /// Whether its user asked to be remembered.
    pub remembered: bool,
    /// When it was, or counts as, opened.
    pub opened_at: Time,
    /// How long it lives.
    pub limits: Limits,
    /// How many sessions its user may have.
    pub at_most: Option<AtMost>,
    /// When the request began that opens it. If all sessions of this user were ended since then, whatever it has proven
    /// may not be true any more.
    pub began_at: Time,
    /// Data that it begins with; in place of an earlier session, what changes of that one's.
    pub delta: Delta,
}

impl Opening {
    /// Whether it takes over the data of a session of this user: a visitor's, and its own user's. What was another user's
    /// stays behind.
    pub fn inherits(&self, from: Option<&str>) -> bool {
        from.is_none() || from == self.user.as_deref()
    }

    /// The record of the session when it is opened at `now` with the data of version `before`.
    pub fn record(&self, before: DataVersion, now: Time) -> Record {
        let written = u64::from(!self.delta.is_empty());
        Record {
            id: self.id,
            user: self.user.clone(),
            label: self.label.clone(),
            remembered: self.remembered,
            opened_at: self.opened_at,
            seen_at: now,
            limits: self.limits,
            version: DataVersion(before.0 + written),
        }
    }
}

/// Decides about the limit of concurrent sessions: which of the user's live sessions, given as when each was opened and
/// its id, have to end for one more; `None` when that one is refused.
///
/// ```
/// # use symbolon_core::{id::SessionId, time::Time};
/// use symbolon_guard::store::{AtMost, Otherwise, too_many};
/// let [old, new] = [1, 2].map(|n| (Time::from_secs(n.into()), SessionId::from_bytes([n; 16])));
/// let at_most = |otherwise| AtMost { sessions: 2.try_into().unwrap(), otherwise };
/// assert_eq!(too_many(vec![new, old], at_most(Otherwise::EndOldest)), Some(vec![old.1]));
/// assert_eq!(too_many(vec![new, old], at_most(Otherwise::Refuse)), None);
/// assert_eq!(too_many(vec![new], at_most(Otherwise::Refuse)), Some(vec![]));
/// ```
pub fn too_many(mut live: Vec<(Time, SessionId)>, at_most: AtMost) -> Option<Vec<SessionId>> {
    let kept = usize::try_from(at_most.sessions.get() - 1).unwrap_or(usize::MAX);
    let surplus = live.len().saturating_sub(kept);
    if surplus > 0 && at_most.otherwise == Otherwise::Refuse {
        return None;
    }
    live.sort_unstable();
    Some(live.into_iter().take(surplus).map(|(_, id)| id).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(seen_ms: i64) -> Record {
        Record {
            id: SessionId::from_bytes([1; 16]),
            user: None,
            label: None,
            remembered: false,
            opened_at: Time::from_millis(0),
            seen_at: Time::from_millis(seen_ms),
            limits: Limits { idle: Duration::from_millis(160), ends_at: Time::from_millis(1000) },
            version: DataVersion(0),
        }
    }

    #[test]
    fn limits_and_touches() {
        // seen at, now: has it lapsed, is a touch due, may it be touched
        for (seen, now, lapsed, due, may) in [
            (0, 0, None, false, false),
            (0, 9, None, false, true),
            (0, 10, None, true, true),
            (0, 159, None, true, true),
            (0, 160, Some(Reason::Idle), true, false),
            (900, 999, None, true, true),
            (900, 1000, Some(Reason::Expired), true, false),
            (500, 400, None, false, false),
        ] {
            let (record, now) = (record(seen), Time::from_millis(now));
            assert_eq!(record.lapsed(now), lapsed, "{seen} {now:?}");
            assert_eq!(record.touch_is_due(now), due, "{seen} {now:?}");
            assert_eq!(record.may_be_touched(now), may, "{seen} {now:?}");
        }
    }

    #[test]
    fn reasons_keep_their_names() {
        for reason in Reason::ALL {
            assert_eq!(Reason::named(reason.as_str()), Some(reason));
        }
        assert_eq!(Reason::named("theft"), None);
    }
}
