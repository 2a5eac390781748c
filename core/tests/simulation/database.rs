//! The store that nodes share: PostgreSQL, as far as the server's statements see it.
//!
//! Transactions of many connections, at `READ COMMITTED`: a statement sees what was committed when it ran, rows that are
//! locked are waited for, and what a transaction wrote is seen once its commit, which may be slow, is durable. Nobody
//! stands in line: who finds a lock free takes it before those who wait. A transaction that is idle for too long, or
//! waits for too long, is given up.

use std::collections::{BTreeMap, VecDeque};

use symbolon_core::{
    id::{LogId, NodeId, SessionId},
    log::Cursor,
    node::Row,
};

use crate::{
    fault::Fault,
    serving::Logged,
    sql::{Query, Rows, Session, Tx},
    stage::{Do, Event, ORIGIN, Pid, Stage},
};

/// So many states of before a failover may go back to one of.
const RECENT_MAX: usize = 40;

/// What is on the disk.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    pub(crate) sessions: BTreeMap<SessionId, Session>,
    pub(crate) log: Vec<Logged>,
    /// The history, and how far the log goes.
    pub(crate) head: Cursor,
    pub(crate) nodes: BTreeMap<NodeId, Row>,
    pub(crate) longest: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Session(SessionId),
    Node(NodeId),
    Head,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Write {
    Open(SessionId, Option<SessionId>),
    End(SessionId),
    Save(SessionId, u64, u64),
    Entry(Logged),
    Node(Row),
    Remove(NodeId),
}

#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) from: Pid,
    starts: u32,
    step: u32,
    pub(crate) writes: Vec<Write>,
    /// Up to where it has read the log.
    pub(crate) read: u64,
    committing: bool,
}

#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) disk: Disk,
    recent: VecDeque<Disk>,
    backup: Option<Disk>,
    pub(crate) open: BTreeMap<Tx, Open>,
    /// Who holds what, and whether alone.
    pub(crate) locks: BTreeMap<Key, Vec<(Tx, bool)>>,
    parked: VecDeque<(Tx, Query)>,
    /// For [`Fault::NumberedOutsideLock`].
    pub(crate) numbered: u64,
}

impl Database {
    pub(crate) fn new(stage: &mut Stage) -> Self {
        let disk = Disk {
            sessions: BTreeMap::new(),
            log: Vec::new(),
            head: Cursor::start(LogId::random(&mut stage.rng.0)),
            nodes: BTreeMap::new(),
            longest: 0,
        };
        Self {
            disk,
            recent: VecDeque::new(),
            backup: None,
            open: BTreeMap::new(),
            locks: BTreeMap::new(),
            parked: VecDeque::new(),
            numbered: 0,
        }
    }

    /// The process starts anew. What was not committed is gone.
    pub(crate) fn restart(&mut self, stage: &mut Stage) {
        stage.hosts[ORIGIN].starts += 1;
        stage.facts.seen.restarts += 1;
        self.open.clear();
        self.locks.clear();
        self.parked.clear();
        if stage.broken(Fault::NotDurable) {
            let back = self.recent.len().saturating_sub(3);
            self.disk = self.recent.get(back).unwrap_or(&self.disk).clone();
        }
        self.recent.clear();
    }

    /// Another server takes over. One that may be behind has lost what came last.
    pub(crate) fn fail_over(&mut self, stage: &mut Stage) {
        if !stage.plan.fenced && !self.recent.is_empty() {
            self.disk = self.recent[stage.rng.index(self.recent.len())].clone();
            // An end that was confirmed must not come undone.
            self.went_back(false, stage);
        }
        self.rename(stage);
        self.restart(stage);
    }

    pub(crate) fn back_up(&mut self) {
        self.backup = Some(self.disk.clone());
    }

    /// An older copy is put in its place, while nodes run: under another name, or a disk as it was. It may not know the
    /// nodes.
    pub(crate) fn restore(&mut self, stage: &mut Stage) {
        let Some(backup) = self.backup.clone() else { return };
        self.disk = backup;
        if stage.rng.one_in(2) {
            self.disk.nodes.clear();
        }
        self.went_back(true, stage);
        if !stage.plan.log_keeps_name {
            self.rename(stage);
        }
        self.restart(stage);
    }

    fn rename(&mut self, stage: &mut Stage) {
        if !stage.broken(Fault::SequencesReused) {
            self.disk.head.log = LogId::random(&mut stage.rng.0);
        }
    }

    fn went_back(&self, confirmed_too: bool, stage: &mut Stage) {
        let sessions = &self.disk.sessions;
        let ended = |sid: &SessionId| sessions.get(sid).map(|row| row.ended);
        stage.facts.lost(confirmed_too, ended);
        stage.facts.clients_of(sessions);
    }

    pub(crate) fn event(&mut self, event: Event, stage: &mut Stage) {
        match event {
            Event::Query { from, starts, tx, step, query } => {
                self.hear((from, starts), (tx, step), query, stage);
            }
            Event::Do(Do::Durable(tx)) => self.durable(tx, stage),
            Event::Do(Do::Idle(tx, step)) => {
                let idle = |open: &Open| open.step == step && !open.committing;
                if self.open.get(&tx).is_some_and(idle) {
                    if self.parked.iter().any(|(parked, _)| *parked == tx) {
                        self.answer(tx, Rows::Failed, stage);
                    }
                    self.finish(tx, stage);
                }
            }
            _ => {}
        }
    }

    fn hear(
        &mut self,
        (from, starts): (Pid, u32),
        (tx, step): (Tx, u32),
        query: Query,
        stage: &mut Stage,
    ) {
        if step == 0 {
            let open = Open { from, starts, step, writes: Vec::new(), read: 0, committing: false };
            self.open.insert(tx, open);
        }
        match self.open.get_mut(&tx) {
            None => {
                let event = Event::Rows { tx, step, rows: Rows::Failed };
                stage.reply(ORIGIN, from, starts, event);
            }
            // Whatever was said before is done first.
            Some(open) if open.committing => {}
            Some(_) if matches!(query, Query::Close) => self.finish(tx, stage),
            Some(open) => {
                open.step = step;
                self.attempt(tx, query, stage);
            }
        }
    }

    /// Runs a statement, or lets it wait for a lock.
    fn attempt(&mut self, tx: Tx, query: Query, stage: &mut Stage) {
        let Some(open) = self.open.get_mut(&tx) else { return };
        let timeout = stage.plan.timeout;
        if matches!(query, Query::Commit) {
            open.committing = true;
            let delay = if stage.broken(Fault::NotDurable) { 0 } else { stage.store_delay() };
            return stage.later(delay.min(timeout * 2), ORIGIN, Do::Durable(tx));
        }
        let step = open.step;
        match self.execute(tx, &query, stage) {
            Some(rows) => {
                self.answer(tx, rows, stage);
                if matches!(query, Query::Load(_) | Query::Nodes | Query::Remove(_)) {
                    return self.durable(tx, stage);
                }
                let idle = timeout / 4 + stage.plan.delay * 2;
                stage.later(idle, ORIGIN, Do::Idle(tx, step));
            }
            None => {
                self.parked.push_back((tx, query));
                stage.later(timeout, ORIGIN, Do::Idle(tx, step));
            }
        }
    }

    /// It is committed: everybody can see it.
    fn durable(&mut self, tx: Tx, stage: &mut Stage) {
        let Some(open) = self.open.get_mut(&tx) else { return };
        let (writes, read) = (std::mem::take(&mut open.writes), open.read);
        if !writes.is_empty() {
            self.recent.push_back(self.disk.clone());
            if self.recent.len() > RECENT_MAX {
                self.recent.pop_front();
            }
        }
        let (mut writes, mut entries) = (writes, Vec::new());
        if stage.broken(Fault::EntriesApart) && read < u64::MAX {
            let (apart, rest) = writes.into_iter().partition(|it| matches!(it, Write::Entry(_)));
            (entries, writes) = (apart, rest);
        }
        for write in writes {
            self.apply(write, read, stage);
        }
        self.apart(entries, stage);
        if self.open.get(&tx).is_some_and(|open| open.committing) {
            self.answer(tx, Rows::Done, stage);
        }
        self.finish(tx, stage);
    }

    /// For [`Fault::EntriesApart`]: a transaction of their own.
    fn apart(&mut self, writes: Vec<Write>, stage: &mut Stage) {
        if !writes.is_empty() {
            let (tx, delay) = (stage.number(), stage.store_delay());
            let (step, read, committing) = (u32::MAX, u64::MAX, true);
            self.open.insert(tx, Open { from: ORIGIN, starts: 0, step, writes, read, committing });
            stage.later(delay, ORIGIN, Do::Durable(tx));
        }
    }

    fn apply(&mut self, write: Write, read: u64, stage: &mut Stage) {
        let disk = &mut self.disk;
        match write {
            Write::Open(sid, parent) => {
                let token = stage.number();
                let row = Session { parent, ended: false, generation: 0, token };
                disk.sessions.insert(sid, row);
                stage.facts.created(sid, parent);
            }
            Write::End(sid) => {
                if let Some(row) = disk.sessions.get_mut(&sid) {
                    row.ended = true;
                }
                stage.facts.ended(sid, stage.now);
            }
            Write::Save(sid, generation, token) => {
                if let Some(row) = disk.sessions.get_mut(&sid) {
                    (row.generation, row.token) = (generation, token);
                    stage.facts.saved(row.ended, stage.now);
                }
            }
            Write::Entry(mut logged) => {
                if stage.broken(Fault::EntriesApart) {
                    logged.entry.sequence = disk.head.sequence + 1;
                }
                let sequence = logged.entry.sequence;
                stage.facts.logged(disk.head.log, sequence, stage.now);
                if disk.head.sequence < sequence {
                    disk.head = Cursor::at(disk.head.log, &logged.entry);
                }
                disk.log.push(logged);
                disk.log.sort_by_key(|logged| logged.entry.sequence);
                let sid = SessionId::from_bytes(*logged.entry.id.as_bytes());
                stage.facts.published(sid, stage.now);
            }
            Write::Node(row) => {
                stage.facts.renewed(read, disk.head.sequence, stage.now);
                disk.nodes.insert(row.id, row);
            }
            Write::Remove(id) => drop(disk.nodes.remove(&id)),
        }
    }

    fn answer(&self, tx: Tx, rows: Rows, stage: &mut Stage) {
        let Some(open) = self.open.get(&tx) else { return };
        let (way, delay) = ((ORIGIN, open.from), stage.store_delay());
        stage.reply_after(delay, way, open.starts, Event::Rows { tx, step: open.step, rows });
    }

    /// It is over, and whoever waits for what it held goes on.
    fn finish(&mut self, tx: Tx, stage: &mut Stage) {
        self.open.remove(&tx);
        for holders in self.locks.values_mut() {
            holders.retain(|(holder, _)| *holder != tx);
        }
        self.locks.retain(|_, holders| !holders.is_empty());
        self.parked.retain(|(parked, _)| *parked != tx);
        for (tx, query) in std::mem::take(&mut self.parked) {
            self.attempt(tx, query, stage);
        }
    }

    pub(crate) fn is_live(&self, sid: SessionId) -> bool {
        self.disk.sessions.get(&sid).is_some_and(|row| !row.ended)
    }
}
