//! What clients of nodes that share a store were told, and what was read there: seen by somebody who sees everything.

use std::collections::{BTreeMap, BTreeSet};

use symbolon_core::id::{LogId, SessionId};

use crate::{
    facts::{Broken, Facts},
    sql::Session,
};

/// What was acknowledged, since history was lost last.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    opened: BTreeSet<SessionId>,
    ended: BTreeSet<SessionId>,
    /// The generation of which a client has the refresh token.
    generations: BTreeMap<SessionId, u64>,
    /// What each refresh token was exchanged for.
    successors: BTreeMap<(SessionId, u64), u64>,
    /// Up to where somebody has read each log.
    read: BTreeMap<LogId, u64>,
    losses: u64,
}

impl Facts {
    pub(crate) fn losses(&self) -> u64 {
        self.clients.losses
    }

    /// The store has gone back to this.
    pub(crate) fn clients_of(&mut self, sessions: &BTreeMap<SessionId, Session>) {
        let clients = &mut self.clients;
        clients.losses += 1;
        // What was read may have its numbers once more.
        clients.read.clear();
        clients.opened.retain(|sid| sessions.contains_key(sid));
        clients.ended.retain(|sid| sessions.get(sid).is_some_and(|row| row.ended));
        let rows = sessions.iter();
        clients.generations = rows.map(|(sid, row)| (*sid, row.generation)).collect();
        clients.successors.clear();
    }

    pub(crate) fn told_opened(&mut self, sid: SessionId, losses: u64) {
        if losses == self.clients.losses {
            self.clients.opened.insert(sid);
        }
    }

    pub(crate) fn told_ended(&mut self, sid: SessionId, losses: u64) {
        if losses == self.clients.losses {
            self.clients.ended.insert(sid);
        }
    }

    /// An end that history has lost meanwhile is not there any more, whatever somebody is told of it.
    pub(crate) fn told_confirmed(&mut self, sid: SessionId, losses: u64, now: u64) {
        if losses == self.clients.losses {
            self.confirmed(sid, now);
        }
    }

    /// The refresh token of a generation was exchanged for this successor.
    pub(crate) fn told_refreshed(
        &mut self,
        (sid, generation, successor): (SessionId, u64, u64),
        losses: u64,
        now: u64,
    ) {
        if losses != self.clients.losses {
            return;
        }
        self.seen.raced += 1;
        let known = self.clients.successors.entry((sid, generation)).or_insert(successor);
        if *known != successor {
            self.breaks(now, Broken::TwoGenerations);
        }
        let held = self.clients.generations.entry(sid).or_default();
        *held = (*held).max(generation + 1);
    }

    /// The generation whose refresh token is held.
    pub(crate) fn generation(&self, sid: SessionId) -> u64 {
        self.clients.generations.get(&sid).copied().unwrap_or(0)
    }

    /// A refresh is on the disk.
    pub(crate) fn saved(&mut self, ended: bool, now: u64) {
        if ended {
            self.breaks(now, Broken::RefreshedAfterEnd);
        }
    }

    pub(crate) fn read(&mut self, log: LogId, sequence: u64) {
        let read = self.clients.read.entry(log).or_default();
        *read = (*read).max(sequence);
    }

    /// An entry can be seen from now on.
    pub(crate) fn logged(&mut self, log: LogId, sequence: u64, now: u64) {
        if self.clients.read.get(&log).is_some_and(|read| *read >= sequence) {
            self.breaks(now, Broken::EntrySkipped);
        }
    }

    /// A node that has read the log up to a place has taken a lease, while it went up to `head`.
    pub(crate) fn renewed(&mut self, read: u64, head: u64, now: u64) {
        if read < head {
            self.breaks(now, Broken::RenewedPastEnd);
        }
    }

    /// In the end, everything must be there of which somebody was told.
    pub(crate) fn all_is_kept(&mut self, sessions: &BTreeMap<SessionId, Session>, now: u64) {
        let clients = &self.clients;
        let row = |sid: &SessionId| sessions.get(sid);
        let mut lost = None;
        if !clients.opened.iter().all(|sid| row(sid).is_some()) {
            lost = Some("a session");
        }
        if !clients.ended.iter().all(|sid| row(sid).is_none_or(|row| row.ended)) {
            lost = Some("an end");
        }
        let kept =
            |(sid, held): (&SessionId, &u64)| row(sid).is_some_and(|row| row.generation >= *held);
        if !clients.generations.iter().all(kept) {
            lost = Some("a refresh");
        }
        self.seen.kept += (clients.opened.len() + clients.ended.len()) as u64;
        if let Some(lost) = lost {
            self.breaks(now, Broken::LostWrite(lost));
        }
    }
}
