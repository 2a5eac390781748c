//! What a server does with questions, around core's tail and leases. The origin and the nodes share it.

use std::collections::HashMap;

use symbolon_core::{
    follower::{Answer, Question},
    id::{AnswerId, FollowerId},
    lease::{Asking, Leases, NotHeard},
    log::{After, Cursor, Entry, Tail},
    time::{Tick, Time},
};

use crate::{
    draw::span,
    fault::Fault,
    stage::{Do, Event, Pid, Stage},
};

/// An entry as it rests: with when it was written, by the wall clock of who wrote it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Logged {
    pub(crate) entry: Entry,
    pub(crate) at: Time,
}

/// A question that waits: for news, for the store, or for this copy of the log to come as far as its cursor.
#[derive(Debug)]
struct Parked {
    number: u64,
    from: Pid,
    starts: u32,
    question: Question,
    settled: Option<Cursor>,
    asked_at: Tick,
    waits: Waits,
}

#[derive(Debug)]
enum Waits {
    News,
    CatchUp,
    /// What the store said when it was read: up to this cursor, and whether the reader starts again.
    Store {
        read: Vec<Entry>,
        up_to: Cursor,
        restart: bool,
    },
}

/// What the log says after a cursor.
enum Read {
    Memory(Vec<Entry>),
    Store(Vec<Entry>),
    Restart(Vec<Entry>),
    Ahead,
}

/// The end of the log, the leases, and who waits.
#[derive(Debug)]
pub(crate) struct Serving {
    pid: Pid,
    pub(crate) tail: Tail,
    pub(crate) leases: Leases,
    parked: Vec<Parked>,
    numbers: u64,
    /// When this copy of the log last heard how far the log goes.
    grew_at: Tick,
    /// For [`Fault::SharedIdentity`].
    last_given: HashMap<FollowerId, AnswerId>,
}

impl Serving {
    pub(crate) fn new(pid: Pid, head: Cursor, leases: Leases, stage: &Stage) -> Self {
        Self {
            pid,
            tail: Tail::new(head, stage.plan.tail_max),
            leases,
            parked: Vec::new(),
            numbers: 0,
            grew_at: Tick::default(),
            last_given: HashMap::new(),
        }
    }

    /// Another history from here on. Leases that were granted are over at `earlier_until`.
    pub(crate) fn restart(&mut self, head: Cursor, leases: Leases, stage: &Stage) {
        self.tail = Tail::new(head, stage.plan.tail_max);
        if !stage.broken(Fault::NodeKeepsAcknowledgements) {
            self.leases = leases;
        }
    }

    /// A question has arrived.
    pub(crate) fn asked(
        &mut self,
        (from, starts): (Pid, u32),
        (question, settled): (Question, Option<Cursor>),
        log: &[Logged],
        own: Option<Tick>,
        stage: &mut Stage,
    ) {
        self.numbers += 1;
        let asked_at = stage.tick(self.pid);
        let waits = Waits::News;
        let number = self.numbers;
        let parked = Parked { number, from, starts, question, settled, asked_at, waits };
        self.consider(parked, log, own, stage);
    }

    /// Reads, lets the leases hear, and answers or parks.
    fn consider(
        &mut self,
        mut parked: Parked,
        log: &[Logged],
        own: Option<Tick>,
        stage: &mut Stage,
    ) {
        let read = self.read(parked.question.cursor.as_ref(), log, stage);
        let sequence = parked.settled.map(|cursor| cursor.sequence);
        let acknowledges = match &read {
            Read::Memory(_) | Read::Store(_) => sequence,
            Read::Restart(_) => None,
            Read::Ahead if stage.broken(Fault::TakenBackwards) => sequence,
            Read::Ahead => {
                parked.waits = Waits::CatchUp;
                return self.park(parked, stage.plan.hold, stage);
            }
        };
        if let Err(why) = self.hear(&parked.question, acknowledges, stage) {
            let refused = Event::Refused { question: parked.question.question, why: Some(why) };
            return stage.reply(self.pid, parked.from, parked.starts, refused);
        }
        let up_to = self.tail.head();
        match read {
            Read::Memory(entries) if entries.is_empty() => {
                self.park(parked, stage.plan.hold, stage);
            }
            Read::Memory(read) if stage.broken(Fault::RenewalOutsideLock) => {
                parked.waits = Waits::Store { read, up_to, restart: false };
                let delay = stage.store_delay();
                self.park(parked, delay, stage);
            }
            Read::Memory(entries) => self.answer(&parked, entries, false, own, stage),
            Read::Ahead => self.answer(&parked, Vec::new(), false, own, stage),
            Read::Store(read) => {
                parked.waits = Waits::Store { read, up_to, restart: false };
                let delay = stage.store_delay();
                self.park(parked, delay, stage);
            }
            Read::Restart(read) => {
                parked.waits = Waits::Store { read, up_to, restart: true };
                let delay = stage.store_delay();
                self.park(parked, delay, stage);
            }
        }
    }

    fn park(&mut self, parked: Parked, wait: u64, stage: &mut Stage) {
        stage.later(wait, self.pid, Do::Wake(parked.number));
        self.parked.push(parked);
    }

    fn hear(
        &mut self,
        question: &Question,
        acknowledges: Option<u64>,
        stage: &mut Stage,
    ) -> Result<(), NotHeard> {
        let mut last = question.last_answer;
        if stage.broken(Fault::SharedIdentity) {
            if self.parked.iter().any(|parked| parked.question.follower == question.follower) {
                let given = self.leases.answer(question.follower, &mut stage.rng.0);
                self.last_given.insert(question.follower, given.answer);
            }
            last = self.last_given.get(&question.follower).copied();
        }
        let asking = Asking {
            follower: question.follower,
            name: "guard",
            last,
            acknowledges,
            trusts_expiry: false,
        };
        self.leases.hear(&asking, stage.tick(self.pid)).map(|_| ())
    }

    fn read(&self, cursor: Option<&Cursor>, log: &[Logged], stage: &Stage) -> Read {
        let live = || live(log, stage.wall(self.pid), stage);
        let Some(cursor) = cursor else {
            return Read::Restart(live());
        };
        match self.tail.after(cursor) {
            After::Entries(entries) => Read::Memory(entries),
            After::Ahead if self.pid != 0 => Read::Ahead,
            After::Ahead | After::Restart => Read::Restart(live()),
            After::Older => match is_in(log, cursor) {
                true => Read::Store(after(log, cursor.sequence)),
                false => Read::Restart(live()),
            },
        }
    }

    /// Whether somebody waits until this copy of the log has come as far as its cursor.
    pub(crate) fn is_behind(&self) -> bool {
        self.parked.iter().any(|parked| matches!(parked.waits, Waits::CatchUp))
    }

    /// A question has waited long enough, or the store was read for it.
    pub(crate) fn wake(
        &mut self,
        number: u64,
        log: &[Logged],
        own: Option<Tick>,
        stage: &mut Stage,
    ) {
        let Some(at) = self.parked.iter().position(|parked| parked.number == number) else {
            return;
        };
        let mut parked = self.parked.swap_remove(at);
        match std::mem::replace(&mut parked.waits, Waits::News) {
            Waits::News if stage.broken(Fault::RenewalOutsideLock) => {
                let (read, up_to) = (Vec::new(), self.tail.head());
                parked.waits = Waits::Store { read, up_to, restart: false };
                let delay = stage.store_delay();
                self.park(parked, delay, stage);
            }
            Waits::News => self.answer(&parked, Vec::new(), false, own, stage),
            // Not even what was heard since then goes as far: it is of a history that was lost.
            Waits::CatchUp if self.grew_at >= parked.asked_at => {
                parked.question.cursor = None;
                self.consider(parked, log, own, stage);
            }
            Waits::CatchUp => {
                let refused = Event::Refused { question: parked.question.question, why: None };
                stage.reply(self.pid, parked.from, parked.starts, refused);
            }
            Waits::Store { mut read, up_to, restart } => {
                if stage.broken(Fault::RenewalOutsideLock) {
                    return self.answer_up_to(up_to, &parked, read, restart, own, stage);
                }
                // What was written since the store was read.
                match self.tail.after(&up_to) {
                    After::Entries(entries) => read.extend(entries),
                    // The number alone proves nothing: this copy may have gone over to another history meanwhile.
                    After::Older if is_in(log, &up_to) => read.extend(after(log, up_to.sequence)),
                    After::Older | After::Restart | After::Ahead => return,
                }
                self.answer(&parked, read, restart, own, stage);
            }
        }
    }

    /// The log has grown: tells everybody who waits.
    pub(crate) fn news(&mut self, log: &[Logged], own: Option<Tick>, stage: &mut Stage) {
        self.grew_at = stage.tick(self.pid);
        for parked in std::mem::take(&mut self.parked) {
            match &parked.waits {
                Waits::Store { .. } => self.parked.push(parked),
                Waits::CatchUp => self.consider(parked, log, own, stage),
                Waits::News => {
                    let cursor = parked.question.cursor.as_ref();
                    let (entries, restart) = match self.read(cursor, log, stage) {
                        Read::Memory(entries) | Read::Store(entries) => (entries, false),
                        Read::Restart(entries) => (entries, true),
                        // It was not when it was asked, so this copy went back since then.
                        Read::Ahead => (live(log, stage.wall(self.pid), stage), true),
                    };
                    self.answer(&parked, entries, restart, own, stage);
                }
            }
        }
    }

    fn answer(
        &mut self,
        parked: &Parked,
        entries: Vec<Entry>,
        restart: bool,
        own: Option<Tick>,
        stage: &mut Stage,
    ) {
        self.answer_up_to(self.tail.head(), parked, entries, restart, own, stage);
    }

    /// One page. Only the last, which goes up to the head, brings a lease.
    fn answer_up_to(
        &mut self,
        head: Cursor,
        parked: &Parked,
        mut entries: Vec<Entry>,
        restart: bool,
        own: Option<Tick>,
        stage: &mut Stage,
    ) {
        let follower = parked.question.follower;
        let page = if stage.calm { usize::MAX } else { stage.plan.page_max };
        let more = entries.len() > page;
        entries.truncate(page);
        let all = !more || stage.broken(Fault::PartialPageIsComplete);
        let rng = &mut stage.rng.0;
        let (grant, cursor) = match entries.last() {
            Some(last) if !all => (self.leases.answer(follower, rng), Cursor::at(head.log, last)),
            _ => (self.leases.grant(follower, parked.asked_at, own, rng), head),
        };
        self.last_given.insert(follower, grant.answer);
        let answer = Answer {
            question: parked.question.question,
            answer: grant.answer,
            node: None,
            cursor,
            ended: entries.iter().map(|entry| entry.id).collect(),
            more: !all,
            lease_ms: u64::try_from(grant.lease.as_millis()).unwrap(),
            now_ms: stage.wall(self.pid),
            entry_life_ms: entry_life(stage) / crate::draw::MS,
        };
        let event = Event::Answer { answer, entries, restart };
        stage.reply(self.pid, parked.from, parked.starts, event);
    }
}

fn entry_life(stage: &Stage) -> u64 {
    stage.plan.entry_life / if stage.broken(Fault::EntryLeavesEarly) { 4 } else { 1 }
}

/// The entries that a token may still carry.
fn live(log: &[Logged], wall: Time, stage: &Stage) -> Vec<Entry> {
    let since = wall - span(entry_life(stage));
    log.iter().filter(|logged| logged.at >= since).map(|logged| logged.entry).collect()
}

fn after(log: &[Logged], sequence: u64) -> Vec<Entry> {
    log.iter()
        .filter(|logged| logged.entry.sequence > sequence)
        .map(|logged| logged.entry)
        .collect()
}

/// Whether a cursor is of this history.
fn is_in(log: &[Logged], cursor: &Cursor) -> bool {
    log.iter().any(|logged| Cursor::at(cursor.log, &logged.entry) == *cursor)
}
