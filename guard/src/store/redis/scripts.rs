//! The scripts, which are files of their own, put together from their parts.

use redis::Script;

use super::{
    super::{Reason, TOMBSTONE},
    WHOLE_BYTES_MAX,
    codec::{self, RECORD_BYTES_MAX},
};

/// With events a session stays this much longer than it may live, so that what runs out can still say whose it was when
/// nobody sweeps for a while.
const UNSWEPT_MS: u64 = 24 * 60 * 60 * 1000;

const PRELUDE: &str = include_str!("scripts/prelude.lua");
const USERS: &str = include_str!("scripts/users.lua");
const DATA: &str = include_str!("scripts/data.lua");

pub(super) struct Scripts {
    pub(super) open: Script,
    pub(super) load: Script,
    pub(super) apply: Script,
    pub(super) touch: Script,
    pub(super) end: Script,
    pub(super) end_user: Script,
    pub(super) list: Script,
    pub(super) sweep: Script,
    pub(super) probe: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        let script =
            |parts: &[&str]| Script::new(&[&[&*constants(), PRELUDE], parts].concat().join("\n"));
        Self {
            open: script(&[USERS, DATA, include_str!("scripts/open.lua")]),
            load: script(&[include_str!("scripts/load.lua")]),
            apply: script(&[DATA, include_str!("scripts/apply.lua")]),
            touch: script(&[include_str!("scripts/touch.lua")]),
            end: script(&[include_str!("scripts/end.lua")]),
            end_user: script(&[USERS, include_str!("scripts/end_user.lua")]),
            list: script(&[USERS, include_str!("scripts/list.lua")]),
            sweep: script(&[include_str!("scripts/sweep.lua")]),
            probe: script(&[include_str!("scripts/probe.lua")]),
        }
    }
}

/// What the scripts share with the rest of the store.
fn constants() -> String {
    let tombstone_ms = TOMBSTONE.as_millis();
    let reasons = [
        ("LOGOUT", Reason::Logout),
        ("TOO_MANY", Reason::TooMany),
        ("RENEWED", Reason::Renewed),
        ("IDLE", Reason::Idle),
        ("EXPIRED", Reason::Expired),
        ("UNREADABLE", Reason::Unreadable),
    ];
    let reasons: String =
        reasons.map(|(name, reason)| format!("local {name} = {}\n", codec::code(reason))).concat();
    format!(
        "local TOMBSTONE_MS, UNSWEPT_MS = {tombstone_ms}, {UNSWEPT_MS}\n\
         local WHOLE_BYTES_MAX, RECORD_BYTES_MAX = {WHOLE_BYTES_MAX}, {RECORD_BYTES_MAX}\n{reasons}"
    )
}
