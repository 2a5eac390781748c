//! The store and the server process in front of it: sessions, the log, and who confirms an end.

use std::collections::BTreeMap;

use symbolon_core::{
    id::{EntryId, KeyId, LogId, SessionId},
    lease::{Confirmation, Leases, waited},
    log::{Cursor, Entry},
    revocation::Ended,
    time::Tick,
};

use crate::{
    draw::span,
    fault::Fault,
    serving::{Logged, Serving},
    stage::{Check, Do, Event, ORIGIN, Pid, Stage},
};

#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) parent: Option<SessionId>,
    pub(crate) ended: bool,
}

/// What is on the disk.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    pub(crate) sessions: BTreeMap<SessionId, Row>,
    pub(crate) log: Vec<Logged>,
    pub(crate) log_id: LogId,
    /// What tokens and cookies are made with.
    pub(crate) key: KeyId,
    sequence: u64,
}

#[derive(Debug)]
struct Confirming {
    sids: Vec<SessionId>,
    confirmation: Confirmation,
    deadline: Tick,
}

#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) disk: Disk,
    pub(crate) serving: Serving,
    /// Every key that there has been: a backup does not know of the later ones, and one is restored more than once.
    keys: Vec<KeyId>,
    /// A copy of the disk that was made earlier.
    backup: Option<Disk>,
    /// The longest lease that was ever granted. A backup does not take it back: see the notes in `main.rs`.
    longest: u64,
    ended: Ended,
    confirming: Vec<Confirming>,
    /// When the writer will have done what it was given.
    writer_free: u64,
}

impl Origin {
    pub(crate) fn new(stage: &mut Stage) -> Self {
        let rng = &mut stage.rng.0;
        let disk = Disk {
            sessions: BTreeMap::new(),
            log: Vec::new(),
            log_id: LogId::random(rng),
            key: KeyId::random(rng),
            sequence: 0,
        };
        let length = stage.plan.leases[0];
        let leases = Leases::new(span(length), Tick::default(), stage.plan.followers_max);
        Self {
            serving: Serving::new(ORIGIN, Cursor::start(disk.log_id), leases, stage),
            keys: vec![disk.key],
            disk,
            backup: None,
            longest: length,
            ended: Ended::default(),
            confirming: Vec::new(),
            writer_free: 0,
        }
    }

    /// The process starts on what is on the disk.
    pub(crate) fn restart(&mut self, stage: &mut Stage) {
        stage.hosts[ORIGIN].starts += 1;
        stage.facts.seen.restarts += 1;
        let now = stage.tick(ORIGIN);
        if stage.broken(Fault::NotDurable) {
            self.lose_the_last();
        }
        if !stage.plan.log_keeps_name && !stage.broken(Fault::SequencesReused) {
            self.disk.log_id = LogId::random(&mut stage.rng.0);
        }
        let length = stage.plan.leases[1];
        let longest = match stage.plan.fault {
            Some(Fault::LongestLeaseForgotten) => length,
            _ => self.longest.max(length),
        };
        let earlier_until = match stage.plan.fault {
            Some(Fault::LeasesForgotten) => now,
            _ => now + waited(span(longest)),
        };
        let leases = Leases::new(span(length), earlier_until, stage.plan.followers_max);
        let start = Cursor::start(self.disk.log_id);
        let last = self.disk.log.last();
        let head = last.map_or(start, |last| Cursor::at(self.disk.log_id, &last.entry));
        self.serving = Serving::new(ORIGIN, head, leases, stage);
        self.ended = Ended::default();
        for logged in &self.disk.log {
            self.ended.insert(logged.entry.id, logged.at);
            stage.facts.published(SessionId::from_bytes(*logged.entry.id.as_bytes()), stage.now);
        }
        self.confirming.clear();
        self.writer_free = stage.now;
    }

    pub(crate) fn back_up(&mut self) {
        self.backup = Some(self.disk.clone());
    }

    /// An older copy of the disk is put in place. With the `restore` command, everything ends and keys are withdrawn;
    /// without, the server cannot know.
    pub(crate) fn restore(&mut self, by_command: bool, stage: &mut Stage) {
        let Some(backup) = self.backup.clone() else { return };
        let key = std::mem::replace(&mut self.disk, backup).key;
        if by_command {
            let sids: Vec<_> = self.disk.sessions.keys().copied().collect();
            let keys = self.keys.iter().map(|key| key.entry());
            let ids = sids.into_iter().map(SessionId::entry).chain(keys);
            for id in ids.collect::<Vec<_>>() {
                self.write(id, stage);
            }
            self.disk.sessions.values_mut().for_each(|row| row.ended = true);
            self.disk.sessions.keys().for_each(|sid| stage.facts.ended(*sid, stage.now));
            self.disk.key = KeyId::random(&mut stage.rng.0);
            self.keys.push(self.disk.key);
        } else {
            self.disk.key = key;
            let sessions = &self.disk.sessions;
            stage.facts.lost(true, |sid| sessions.get(sid).map(|row| row.ended));
        }
        self.restart(stage);
    }

    /// The last commits were acknowledged, but not yet on the disk.
    fn lose_the_last(&mut self) {
        let kept = self.disk.log.len().saturating_sub(2);
        for lost in self.disk.log.split_off(kept) {
            let sid = SessionId::from_bytes(*lost.entry.id.as_bytes());
            if let Some(row) = self.disk.sessions.get_mut(&sid) {
                row.ended = false;
            }
        }
    }

    pub(crate) fn event(&mut self, event: Event, stage: &mut Stage) {
        match event {
            Event::Ask { from, starts, question, settled } => {
                let asked = (question, settled);
                self.serving.asked((from, starts), asked, &self.disk.log, None, stage);
                self.settle(stage);
            }
            Event::Check { from, starts, check } => self.check(from, starts, check, stage),
            Event::Do(Do::Wake(number)) => {
                self.serving.wake(number, &self.disk.log, None, stage);
            }
            Event::Do(Do::Login) => self.login(stage),
            Event::Do(Do::End { sid, confirm }) => self.end(sid, confirm, stage),
            Event::Do(Do::Publish(written)) => self.publish(&written, stage),
            Event::Do(Do::Barrier { sids, deadline }) => self.confirm(sids, deadline, stage),
            Event::Do(Do::Settle) => self.settle(stage),
            _ => {}
        }
    }

    /// A new session: somebody's login, or a child under a session that lives, in one atomic step.
    fn login(&mut self, stage: &mut Stage) {
        let parents = self.disk.sessions.iter().filter(|(_, row)| {
            row.parent.is_none() && (!row.ended || stage.broken(Fault::ChildFromCache))
        });
        let parents: Vec<_> = parents.map(|(sid, _)| *sid).collect();
        let child = !parents.is_empty() && stage.rng.one_in(3);
        let parent = child.then(|| parents[stage.rng.index(parents.len())]);
        let sid = SessionId::random(&mut stage.rng.0);
        self.disk.sessions.insert(sid, Row { parent, ended: false });
        stage.facts.created(sid, parent);
    }

    /// One commit: the row, its children's, and their entries. Then, if asked, the confirmation.
    fn end(&mut self, sid: SessionId, confirm: bool, stage: &mut Stage) {
        let known = self.disk.sessions.get(&sid);
        let already = known.is_some_and(|row| row.ended);
        let (mut sids, mut published) = (vec![sid], stage.now);
        if !already {
            let children = self.disk.sessions.iter();
            let children = children.filter(|(_, row)| row.parent == Some(sid) && !row.ended);
            sids.extend(children.map(|(child, _)| *child));
            let gap = stage.broken(Fault::LogGap) && stage.rng.one_in(2);
            let written = sids.iter().map(|sid| self.commit(*sid, gap, stage)).collect();
            let delay = stage.store_delay().min(stage.plan.leases[0]);
            if gap {
                published = stage.now + delay * 8;
            } else {
                self.writer_free = self.writer_free.max(stage.now + delay);
                published = self.writer_free;
            }
            stage.later(published - stage.now, ORIGIN, Do::Publish(written));
        }
        if confirm && already && stage.broken(Fault::EndedAlreadyIsConfirmed) {
            stage.facts.confirmed(sid, stage.now);
        } else if confirm {
            // Through the one writer, after everything whose effect the asker can have seen.
            let at = match stage.plan.fault {
                Some(Fault::NoBarrier) => stage.now,
                _ => self.writer_free.max(published),
            };
            let deadline = stage.tick(ORIGIN) + span(stage.plan.leases[0] * 3);
            stage.later(at - stage.now, ORIGIN, Do::Barrier { sids, deadline });
        }
    }

    fn commit(&mut self, sid: SessionId, gap: bool, stage: &mut Stage) -> Logged {
        let row = Row { parent: None, ended: true };
        self.disk.sessions.entry(sid).or_insert(row).ended = true;
        stage.facts.ended(sid, stage.now);
        let written = self.write(sid.entry(), stage);
        if gap {
            self.disk.log.pop();
        }
        written
    }

    fn write(&mut self, id: EntryId, stage: &mut Stage) -> Logged {
        self.disk.sequence += 1;
        let mut tag = [0; 8];
        if !stage.broken(Fault::SequencesReused) {
            tag = stage.rng.between(1, u64::MAX).to_be_bytes();
        }
        let entry = Entry { sequence: self.disk.sequence, tag, id };
        let logged = Logged { entry, at: stage.wall(ORIGIN) };
        self.disk.log.push(logged);
        logged
    }

    /// It is durable: everybody hears of it.
    fn publish(&mut self, written: &[Logged], stage: &mut Stage) {
        for logged in written {
            self.serving.tail.push(logged.entry);
            self.ended.insert(logged.entry.id, logged.at);
            if stage.broken(Fault::LogGap)
                && !self.disk.log.iter().any(|other| other.entry == logged.entry)
            {
                self.disk.log.push(*logged);
                self.disk.log.sort_by_key(|logged| logged.entry.sequence);
            }
            stage.facts.published(SessionId::from_bytes(*logged.entry.id.as_bytes()), stage.now);
        }
        self.serving.news(&self.disk.log, None, stage);
    }

    /// Everything that had been committed when the confirmation was asked for is in the log now.
    fn confirm(&mut self, sids: Vec<SessionId>, deadline: Tick, stage: &mut Stage) {
        let sequence = self.serving.tail.head().sequence;
        let confirmation = self.serving.leases.confirm(sequence, stage.tick(ORIGIN));
        self.confirming.push(Confirming { sids, confirmation, deadline });
        self.settle(stage);
    }

    /// Whether somebody still waits for a confirmation.
    pub(crate) fn is_confirming(&self) -> bool {
        !self.confirming.is_empty()
    }

    fn settle(&mut self, stage: &mut Stage) {
        let now = stage.tick(ORIGIN);
        let leases = &self.serving.leases;
        let (mut look_again, mut confirmed): (Option<Tick>, _) = (None, false);
        self.confirming.retain_mut(|confirming| {
            let Confirming { confirmation, deadline, .. } = &mut *confirming;
            let waited_for = leases.keeps_waiting(confirmation, now).filter(|_| now < *deadline);
            let again = waited_for.or_else(|| leases.settle(confirmation, now));
            let Some(again) = again else {
                let seen = &mut stage.facts.seen;
                seen.acknowledged += u64::from(confirming.confirmation.acknowledged);
                seen.waited_out += u64::from(confirming.confirmation.waited_out);
                for sid in &confirming.sids {
                    stage.facts.confirmed(*sid, stage.now);
                }
                confirmed = true;
                return false;
            };
            look_again = look_again.max(Some(again));
            // Too late: the asker has been told that it is not confirmed.
            now < confirming.deadline
        });
        if confirmed {
            stage.everybody_decides();
        }
        if let Some(again) = look_again {
            let after = stage.hosts[ORIGIN].when(again).saturating_sub(stage.now).max(1);
            stage.later(after, ORIGIN, Do::Settle);
        }
    }

    /// Whether a session lives, read now; the answer may come much later.
    fn check(&self, from: Pid, starts: u32, check: Check, stage: &mut Stage) {
        let expired =
            check.expires.is_some_and(|at| stage.wall(ORIGIN) > at + span(stage.plan.leeway));
        let alive = (!expired && self.is_live(check.sid)).then_some(self.disk.key);
        let delay = stage.store_delay();
        stage.reply_after(delay, (ORIGIN, from), starts, Event::Checked { check, alive });
    }

    pub(crate) fn is_live(&self, sid: SessionId) -> bool {
        self.disk.sessions.get(&sid).is_some_and(|row| !row.ended)
            && !self.ended.contains(sid.entry())
    }

    /// The proof of life for a token, read now; the answer may come much later.
    pub(crate) fn prove(&self, prove: &Do, stage: &mut Stage) {
        let Do::Prove { minter, starts, sid, from, started } = *prove else { return };
        if self.is_live(sid) && stage.hosts[minter].starts == starts {
            let delay = stage.store_delay();
            let key = self.disk.key;
            stage.later(delay, minter, Do::Sign { sid, from, started, proven: stage.now, key });
        }
    }
}
