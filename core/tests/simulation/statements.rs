//! What each statement of a transaction does at the store that nodes share: what it waits for, what it sees, and what it
//! leaves for the commit.

use symbolon_core::{id::SessionId, log::Entry, node::Row};

use crate::{
    database::{Database, Key, Write},
    fault::Fault,
    serving::Logged,
    sql::{Query, Rows, Tx},
    stage::Stage,
};

impl Database {
    /// `None`: it waits for a lock.
    pub(crate) fn execute(&mut self, tx: Tx, query: &Query, stage: &mut Stage) -> Option<Rows> {
        let disk = &self.disk;
        match *query {
            Query::Hold => {
                let held =
                    stage.broken(Fault::RenewalSharesNoLock) || self.lock(tx, Key::Head, false);
                held.then_some(Rows::Head(self.disk.head))
            }
            Query::From(sequence) => {
                let page = stage.plan.page_max;
                let mut entries = from(&disk.log, sequence);
                let all = entries.len() <= page;
                entries.truncate(page);
                let before = sequence.min(disk.head.sequence);
                let read = entries.last().map_or(before, |last| last.entry.sequence);
                self.has_read(tx, read, stage);
                Some(Rows::Entries { entries, all })
            }
            Query::Snapshot(lease) => {
                let head = disk.head;
                let (entries, longest) = (disk.log.clone(), disk.longest);
                self.disk.longest = longest.max(lease);
                self.has_read(tx, head.sequence, stage);
                Some(Rows::Log { head, entries, longest })
            }
            Query::Update(row) => {
                let held = self.lock(tx, Key::Node(row.id), true);
                held.then(|| match self.disk.nodes.get(&row.id).copied() {
                    Some(before) if before.renewals >= row.renewals => {
                        let renewals = before.renewals + 1;
                        self.write(tx, Write::Node(Row { renewals, ..row }));
                        Rows::Count(1)
                    }
                    _ => Rows::Count(0),
                })
            }
            Query::Insert(row) => {
                self.write(tx, Write::Node(Row { renewals: 1, ..row }));
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
            self.numbered =
                if outside { self.numbered.max(self.disk.head.sequence) + 1 } else { 0 };
            let written = self.open.get(&tx)?.writes.iter();
            let before = written.filter(|write| matches!(write, Write::Entry(_))).count() as u64;
            let sequence =
                if outside { self.numbered } else { self.disk.head.sequence + before + 1 };
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
        stage.facts.read(self.disk.head.log, sequence);
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
}

fn from(log: &[Logged], sequence: u64) -> Vec<Logged> {
    log.iter().filter(|logged| logged.entry.sequence >= sequence).copied().collect()
}
