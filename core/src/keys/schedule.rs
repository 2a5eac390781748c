//! When a key is made, used, kept and removed: arithmetic on times, nothing else.

use std::time::Duration;

use super::{KeyRecord, Usage};
use crate::{id::KeyId, time::Time};

/// How keys follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How long a key is used before the next one takes over.
    pub active_for: Duration,
    /// How long a key is published before it is used. It must be longer than any copy of the JWKS or of the ring may
    /// be old: the JWKS's `max-age`, and the time in which every node loads the ring anew.
    pub publish_ahead: Duration,
    /// How long a signing key is kept after its last use: the longest life of a token, in this and in any earlier
    /// configuration whose tokens still live, plus leeway.
    pub keep_tokens: Duration,
    /// How long a handle key is kept after its last use: the longest absolute life of a handle, likewise.
    pub keep_handles: Duration,
}

impl Policy {
    const fn keep_after(&self, usage: Usage) -> Duration {
        match usage {
            Usage::Sign(_) => self.keep_tokens,
            Usage::Handle => self.keep_handles,
        }
    }
}

/// Where a key stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// Published, not yet used.
    Upcoming,
    /// Used, and the only one of its usage that is.
    Active,
    /// Not used any more, but things made with it may live.
    Retired,
    /// Lost: never used, never published. Its row stays for as long as somebody may have to hear of it.
    Withdrawn,
    /// Nobody needs it: its row can go.
    Removed,
}

/// The times of a key's life that follow from its own record and those of its fellows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// From when on it is used.
    pub activates_at: Time,
    /// When the next key of its usage takes over, if there is one yet.
    pub retires_at: Option<Time>,
    /// When nobody needs it any more, if that is known yet.
    pub removed_at: Option<Time>,
    /// Whether it was declared lost.
    pub withdrawn: bool,
}

impl Life {
    /// Where the key stands at this moment.
    pub fn state(&self, now: Time) -> KeyState {
        let reached = |moment: Option<Time>| moment.is_some_and(|moment| moment <= now);
        match () {
            () if reached(self.removed_at) => KeyState::Removed,
            () if self.withdrawn => KeyState::Withdrawn,
            () if now < self.activates_at => KeyState::Upcoming,
            () if reached(self.retires_at) => KeyState::Retired,
            () => KeyState::Active,
        }
    }
}

/// The life of every record, in the order of the records.
pub fn lives(records: &[KeyRecord], policy: &Policy) -> Vec<Life> {
    records.iter().map(|record| life(record, records, policy)).collect()
}

fn life(record: &KeyRecord, records: &[KeyRecord], policy: &Policy) -> Life {
    // Nodes that plan at once may make two keys for one moment; the id decides between them.
    let order = |record: &KeyRecord| (record.activates_at, record.id);
    let retires_at = records
        .iter()
        .filter(|next| next.usage == record.usage && order(next) > order(record))
        .filter(|next| next.withdrawn_at.is_none_or(|at| at > next.activates_at))
        .map(|next| next.activates_at)
        .min();
    let last_needed = record.withdrawn_at.or(retires_at);
    Life {
        activates_at: record.activates_at,
        retires_at,
        removed_at: last_needed.map(|moment| moment + policy.keep_after(record.usage)),
        withdrawn: record.withdrawn_at.is_some(),
    }
}

/// A key that should be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewKey {
    /// What it is for.
    pub usage: Usage,
    /// From when on it is used.
    pub activates_at: Time,
}

/// What has to happen to the ring now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyAct {
    /// Make this key and store its record.
    Create(NewKey),
    /// Delete the record of this key.
    Remove(KeyId),
}

/// What has to happen to the ring now, so that every wanted usage has a key and its next one in time.
///
/// A usage without an active key (the first start, the active key withdrawn) gets one that is used at once; every other
/// key is published for at least [`Policy::publish_ahead`] first, however late this is called. Usages that are not
/// wanted keep the keys they have.
pub fn plan(records: &[KeyRecord], wanted: &[Usage], now: Time, policy: &Policy) -> Vec<KeyAct> {
    let lives = lives(records, policy);
    let activation = |usage: Usage, state: KeyState| {
        records
            .iter()
            .zip(&lives)
            .find(|(record, life)| record.usage == usage && life.state(now) == state)
            .map(|(_, life)| life.activates_at)
    };
    let create = wanted.iter().filter_map(|&usage| {
        let activates_at = match activation(usage, KeyState::Active) {
            None => now,
            Some(since) => {
                let due = since + policy.active_for;
                let ahead = now + policy.publish_ahead;
                if due > ahead || activation(usage, KeyState::Upcoming).is_some() {
                    return None;
                }
                ahead
            }
        };
        Some(KeyAct::Create(NewKey { usage, activates_at }))
    });
    let remove = records
        .iter()
        .zip(&lives)
        .filter(|(_, life)| life.state(now) == KeyState::Removed)
        .map(|(record, _)| KeyAct::Remove(record.id));
    create.chain(remove).collect()
}
