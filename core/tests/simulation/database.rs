//! The store that nodes share: PostgreSQL, as far as the server's statements see it.
//!
//! Transactions of many connections, at `READ COMMITTED`: a statement sees what was committed when it ran, rows that are
//! locked are waited for, and what a transaction wrote is seen once its commit, which may be slow, is durable. Nobody
//! stands in line: who finds a lock free takes it before those who wait. A transaction that is idle for too long, or
//! waits for too long, is given up.

use std::collections::{BTreeMap, VecDeque};

use symbolon_core::{
    id::{LogId, NodeId, SessionId},
    log::{Cursor, Entry},
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
    pub(crate) name: LogId,
    head: u64,
    nodes: BTreeMap<NodeId, Row>,
    longest: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Session(SessionId),
    Node(NodeId),
    Head,
}

#[derive(Debug)]
enum Write {
    Open(SessionId, Option<SessionId>),
    End(SessionId),
    Save(SessionId, u64, u64),
    Entry(Logged),
    Node(Row),
    Remove(NodeId),
}

#[derive(Debug)]
struct Open {
    from: Pid,
    starts: u32,
    step: u32,
    writes: Vec<Write>,
    /// Up to where it has read the log.
    read: u64,
    committing: bool,
}

#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) disk: Disk,
    recent: VecDeque<Disk>,
    backup: Option<Disk>,
    open: BTreeMap<Tx, Open>,
    /// Who holds what, and whether alone.
    locks: BTreeMap<Key, Vec<(Tx, bool)>>,
    parked: VecDeque<(Tx, Query)>,
    /// For [`Fault::NumberedOutsideLock`].
    numbered: u64,
}

impl Database {
    pub(crate) fn new(stage: &mut Stage) -> Self {
        let disk = Disk {
            sessions: BTreeMap::new(),
            log: Vec::new(),
            name: LogId::random(&mut stage.rng.0),
            head: 0,
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

    /// An older copy is put in its place, while nodes run.
    pub(crate) fn restore(&mut self, stage: &mut Stage) {
        let Some(backup) = self.backup.clone() else { return };
        self.disk = backup;
        self.went_back(true, stage);
        self.rename(stage);
        self.restart(stage);
    }

    fn rename(&mut self, stage: &mut Stage) {
        if !stage.broken(Fault::SequencesReused) {
            self.disk.name = LogId::random(&mut stage.rng.0);
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

    /// `None`: it waits for a lock.
    fn execute(&mut self, tx: Tx, query: &Query, stage: &mut Stage) -> Option<Rows> {
        let disk = &self.disk;
        match *query {
            Query::Hold => {
                let held =
                    stage.broken(Fault::RenewalSharesNoLock) || self.lock(tx, Key::Head, false);
                held.then_some(Rows::Head(self.disk.name))
            }
            Query::After(sequence) => {
                let page = stage.plan.page_max;
                let mut entries = after(&disk.log, sequence);
                let all = entries.len() <= page;
                entries.truncate(page);
                let read = entries.last().map_or(sequence, |last| last.entry.sequence);
                self.has_read(tx, read, stage);
                Some(Rows::Entries { entries, all })
            }
            Query::Snapshot(lease) => {
                let log = disk.name;
                let last = disk.log.last();
                let mut head = last.map_or(Cursor::start(log), |last| Cursor::at(log, &last.entry));
                head.sequence = disk.head;
                let (entries, longest) = (disk.log.clone(), disk.longest);
                self.disk.longest = longest.max(lease);
                self.has_read(tx, head.sequence, stage);
                Some(Rows::Log { head, entries, longest })
            }
            Query::Update(row) => {
                let held = self.lock(tx, Key::Node(row.id), true);
                held.then(|| match self.disk.nodes.get(&row.id).copied() {
                    Some(before) => {
                        let renewals = before.renewals + 1;
                        self.write(tx, Write::Node(Row { renewals, ..row }));
                        Rows::Count(1)
                    }
                    None => Rows::Count(0),
                })
            }
            Query::Insert(row) => {
                self.write(tx, Write::Node(row));
                Some(Rows::Count(1))
            }
            Query::Nodes => Some(Rows::Nodes(disk.nodes.values().copied().collect())),
            Query::Remove(row) => {
                let held = self.lock(tx, Key::Node(row.id), true);
                held.then(|| {
                    let same = self.disk.nodes.get(&row.id) == Some(&row);
                    if same {
                        self.write(tx, Write::Remove(row.id));
                    }
                    Rows::Count(usize::from(same))
                })
            }
            Query::Load(sid) => Some(Rows::Session(disk.sessions.get(&sid).copied())),
            Query::Open { sid, parent } => self.open_session(tx, sid, parent, stage),
            Query::End(sid) => self.end(tx, sid),
            Query::Save { sid, at, next, token } => {
                let held = self.lock(tx, Key::Session(sid), true);
                held.then(|| self.save(tx, (sid, at), Write::Save(sid, next, token), stage))
            }
            Query::Number => self.number(tx, stage),
            Query::Commit | Query::Close => None,
        }
    }

    fn open_session(
        &mut self,
        tx: Tx,
        sid: SessionId,
        parent: Option<SessionId>,
        stage: &Stage,
    ) -> Option<Rows> {
        if let Some(parent) = parent
            && !stage.broken(Fault::ChildFromCache)
        {
            if !self.lock(tx, Key::Session(parent), true) {
                return None;
            }
            if self.disk.sessions.get(&parent).is_none_or(|row| row.ended) {
                return Some(Rows::Gone);
            }
        }
        self.write(tx, Write::Open(sid, parent));
        Some(Rows::Count(1))
    }

    /// A session that nobody knows may still be alive in tokens, if history was lost: its entry is written, too.
    fn end(&mut self, tx: Tx, sid: SessionId) -> Option<Rows> {
        if !self.lock(tx, Key::Session(sid), true) {
            return None;
        }
        if self.disk.sessions.get(&sid).is_some_and(|row| row.ended) {
            return Some(Rows::Gone);
        }
        let under = self.disk.sessions.iter();
        let under = under.filter(|(_, row)| row.parent == Some(sid) && !row.ended);
        let mut sids: Vec<_> = under.map(|(sid, _)| *sid).collect();
        sids.insert(0, sid);
        if !sids.iter().all(|sid| self.lock(tx, Key::Session(*sid), true)) {
            return None;
        }
        sids.iter().for_each(|sid| self.write(tx, Write::End(*sid)));
        Some(Rows::Ended(sids))
    }

    fn save(&mut self, tx: Tx, (sid, at): (SessionId, u64), save: Write, stage: &Stage) -> Rows {
        match self.disk.sessions.get(&sid) {
            None => return Rows::Gone,
            Some(row) if row.ended && !stage.broken(Fault::RefreshWithoutLife) => {
                return Rows::Gone;
            }
            Some(row) if row.generation != at && !stage.broken(Fault::RefreshWithoutVersion) => {
                return Rows::Conflict;
            }
            Some(_) => {}
        }
        self.write(tx, save);
        Rows::Count(1)
    }

    /// The last thing before a commit: whoever ends something else waits from here on.
    fn number(&mut self, tx: Tx, stage: &mut Stage) -> Option<Rows> {
        let outside = stage.broken(Fault::NumberedOutsideLock);
        if !outside && !self.lock(tx, Key::Head, true) {
            return None;
        }
        let open = self.open.get(&tx)?;
        let ended = open.writes.iter().filter_map(|write| match write {
            Write::End(sid) => Some(*sid),
            _ => None,
        });
        for sid in ended.collect::<Vec<_>>() {
            self.numbered = if outside { self.numbered.max(self.disk.head) + 1 } else { 0 };
            let written = self.open.get(&tx)?.writes.iter();
            let before = written.filter(|write| matches!(write, Write::Entry(_))).count() as u64;
            let sequence = if outside { self.numbered } else { self.disk.head + before + 1 };
            let mut tag = [0; 8];
            if !stage.broken(Fault::SequencesReused) {
                tag = stage.rng.between(1, u64::MAX).to_be_bytes();
            }
            let at = stage.wall(self.open.get(&tx)?.from);
            let entry = Entry { sequence, tag, id: sid.entry() };
            self.write(tx, Write::Entry(Logged { entry, at }));
        }
        Some(Rows::Done)
    }

    fn has_read(&mut self, tx: Tx, sequence: u64, stage: &mut Stage) {
        stage.facts.read(self.disk.name, sequence);
        if let Some(open) = self.open.get_mut(&tx) {
            open.read = sequence;
        }
    }

    fn write(&mut self, tx: Tx, write: Write) {
        if let Some(open) = self.open.get_mut(&tx) {
            open.writes.push(write);
        }
    }

    fn lock(&mut self, tx: Tx, key: Key, alone: bool) -> bool {
        let holders = self.locks.entry(key).or_default();
        if holders.iter().any(|(holder, theirs)| *holder != tx && (alone || *theirs)) {
            return false;
        }
        holders.push((tx, alone));
        true
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
                    logged.entry.sequence = disk.head + 1;
                }
                let sequence = logged.entry.sequence;
                stage.facts.logged(disk.name, sequence, stage.now);
                disk.head = disk.head.max(sequence);
                disk.log.push(logged);
                disk.log.sort_by_key(|logged| logged.entry.sequence);
                let sid = SessionId::from_bytes(*logged.entry.id.as_bytes());
                stage.facts.published(sid, stage.now);
            }
            Write::Node(row) => {
                stage.facts.renewed(read, disk.head, stage.now);
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

fn after(log: &[Logged], sequence: u64) -> Vec<Logged> {
    log.iter().filter(|logged| logged.entry.sequence > sequence).copied().collect()
}
