//! One node of many that share a store: what it acknowledges there for itself and its followers, and how long it waits
//! for the others.
//!
//! The others are known by their rows alone. A node renews its lease in a transaction that shares the lock on the end of
//! the log, reads what is new, applies it, and writes its row; so whoever does not know of an end has a row that was
//! there before the end was committed.

use std::{collections::VecDeque, time::Duration};

use crate::{
    id::NodeId,
    lease::{Confirmation, Leases, waited},
    time::Tick,
};

/// How far a node has come, for itself and for everybody who holds a lease from it.
#[derive(Debug, Default)]
pub struct Progress {
    /// Places in the log, with those who have yet to acknowledge them.
    unsettled: VecDeque<(u64, Confirmation)>,
    settled: u64,
}

impl Progress {
    /// Of a process that has read the log up to here and granted nothing.
    pub fn at(sequence: u64) -> Self {
        Self { settled: sequence, ..Self::default() }
    }

    /// Up to where it acknowledges the log.
    pub const fn acknowledged(&self) -> u64 {
        self.settled
    }

    /// Everything up to here is applied. Whoever holds a lease from this node has yet to acknowledge it.
    pub fn apply(&mut self, sequence: u64, leases: &Leases, now: Tick) {
        self.unsettled.push_back((sequence, leases.confirm(sequence, now)));
    }

    /// Looks who has acknowledged meanwhile, or holds nothing any more. Says whether more is acknowledged than before.
    pub fn settle(&mut self, leases: &Leases, now: Tick) -> bool {
        let before = self.settled;
        while let Some((sequence, confirmation)) = self.unsettled.front_mut() {
            if leases.settle(confirmation, now).is_some() {
                break;
            }
            self.settled = *sequence;
            self.unsettled.pop_front();
        }
        self.settled > before
    }
}

/// What the row of a node says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Whose it is.
    pub id: NodeId,
    /// Up to where it acknowledges the log.
    pub acknowledged: u64,
    /// How often it has renewed its lease.
    pub renewals: u64,
    /// How long that is.
    pub lease: Duration,
}

/// Somebody waits until every other node has acknowledged the log up to some place, or may not decide alone any more.
#[derive(Debug)]
pub struct Waiting {
    sequence: u64,
    began: Tick,
    earlier_until: Tick,
    known: Option<Vec<Row>>,
}

/// How far the others have come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Others {
    /// How many have acknowledged it.
    pub acknowledged: u32,
    /// How many said nothing until they could not decide alone any more.
    pub waited_out: u32,
    /// How many may still decide alone without having acknowledged it.
    pub waiting: usize,
    /// Whether it is over.
    pub done: bool,
    /// Those that have been silent all the while, once it is over. Nobody has to wait for them again: their rows are
    /// removed, if they still say the same.
    pub silent: Vec<Row>,
}

impl Waiting {
    /// Everything up to `sequence` was committed before `began`. Nodes of which the store may know nothing, because it was
    /// put back from a copy before this process started, hold leases until `earlier_until`.
    pub const fn new(sequence: u64, began: Tick, earlier_until: Tick) -> Self {
        Self { sequence, began, earlier_until, known: None }
    }

    /// The rows of all others, read at or after `began`, say this `now`. No clock but one's own is looked at: whoever
    /// took a lease without knowing had begun to before the commit.
    pub fn look(&mut self, mut rows: Vec<Row>, now: Tick) -> Others {
        let known = self.known.get_or_insert_with(|| rows.clone());
        // Whoever has come since came with everything.
        rows.retain(|row| known.iter().any(|known| known.id == row.id));
        rows.retain(|row| row.acknowledged < self.sequence);
        let acknowledged = (known.len() - rows.len()) as u32;
        let over = rows.iter().map(|row| self.began + waited(row.lease)).max();
        if over.is_some_and(|over| now < over) || now < self.earlier_until {
            return Others { acknowledged, waiting: rows.len(), ..Others::default() };
        }
        let waited_out = rows.len() as u32;
        rows.retain(|row| known.contains(row));
        Others { acknowledged, waited_out, waiting: 0, done: true, silent: rows }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(1);

    fn row(id: u8, acknowledged: u64, renewals: u64) -> Row {
        Row { id: NodeId::from_bytes([id; 16]), acknowledged, renewals, lease: LEASE }
    }

    #[test]
    fn who_acknowledges_is_waited_for_and_who_is_silent_once() {
        let began = Tick::from_nanos(7);
        let mut waiting = Waiting::new(5, began, began);
        let first = vec![row(1, 4, 9), row(2, 5, 9), row(3, 4, 9), row(4, 4, 9)];
        let looked = waiting.look(first, began);
        assert_eq!((looked.acknowledged, looked.waiting), (1, 3));
        // One acknowledges, one only renews, one comes, one is removed by somebody else.
        let later = vec![row(1, 5, 10), row(2, 5, 9), row(3, 4, 10), row(4, 4, 9), row(5, 0, 0)];
        let looked = waiting.look(later.clone(), began + LEASE);
        assert_eq!((looked.acknowledged, looked.waiting, looked.done), (2, 2, false));
        assert_eq!(looked.silent, []);
        let looked = waiting.look(later, began + waited(LEASE));
        assert_eq!((looked.acknowledged, looked.waited_out, looked.done), (2, 2, true));
        assert_eq!(looked.silent, [row(4, 4, 9)]);
    }

    #[test]
    fn alone_nobody_is_waited_for() {
        let start = Tick::default();
        let looked = Waiting::new(5, start, start).look(Vec::new(), start);
        assert_eq!(looked, Others { done: true, ..Others::default() });
    }

    #[test]
    fn after_a_start_those_without_a_row_are_waited_for() {
        let (start, over) = (Tick::default(), Tick::default() + waited(LEASE));
        let mut waiting = Waiting::new(5, start, over);
        assert!(!waiting.look(vec![row(1, 5, 9)], start + LEASE).done);
        assert!(waiting.look(vec![row(1, 5, 9)], over).done);
    }
}
