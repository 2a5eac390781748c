//! Revocation: which ids were ended lately.
//!
//! Everything that can be ended is named by 16 bytes of one set ([`EntryId`]): a session, one access token, one
//! generation of a handle, a client, a key. An entry is needed only until the last access token that could carry the
//! id has expired.

use std::{collections::HashMap, time::Duration};

use crate::{id::EntryId, time::Time};

/// How long an entry must be kept, *D* of the protocol: the longest life of an access token, and the allowance that a
/// verifier makes for clocks.
pub fn entry_life(token_life_max: Duration, leeway: Duration) -> Duration {
    token_life_max + leeway * 2
}

/// The ids that were ended within the last [`entry_life`]: what every check looks at, whatever a cache says.
///
/// ```
/// use symbolon_core::{id::SessionId, revocation::Ended, time::Time};
/// let (mut ended, sid) = (Ended::default(), SessionId::from_bytes([1; 16]));
/// ended.insert(sid.entry(), Time::from_secs(100));
/// assert!(ended.contains(sid.entry()));
/// ended.forget_before(Time::from_secs(101));
/// assert!(!ended.contains(sid.entry()));
/// ```
#[derive(Debug, Default)]
pub struct Ended {
    logged_at: HashMap<EntryId, Time>,
}

impl Ended {
    /// Adds an id that was ended. Adding it again keeps the later time.
    pub fn insert(&mut self, id: EntryId, at: Time) {
        let entry = self.logged_at.entry(id).or_insert(at);
        *entry = at.max(*entry);
    }

    /// Whether the id was ended.
    pub fn contains(&self, id: EntryId) -> bool {
        self.logged_at.contains_key(&id)
    }

    /// Drops entries that no live token can carry any more. Entries leave only by age.
    pub fn forget_before(&mut self, before: Time) {
        self.logged_at.retain(|_, at| *at >= before);
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.logged_at.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.logged_at.is_empty()
    }
}
