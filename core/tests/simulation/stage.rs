//! True time, the processes' clocks, the network, and what is to come.

use std::{cmp::Reverse, collections::BinaryHeap};

use symbolon_core::{
    follower::{Answer, Question},
    id::{KeyId, QuestionId, SessionId},
    lease::NotHeard,
    log::{Cursor, Entry},
    time::{Tick, Time},
};

use crate::{
    draw::Draw,
    facts::Facts,
    fault::Fault,
    host::Host,
    member::Request,
    plan::Plan,
    sql::{Query, Rows, Tx},
};

/// A process: 0 is the origin, then the nodes, then the guards.
pub(crate) type Pid = usize;
pub(crate) const ORIGIN: Pid = 0;
/// Who makes things happen. It is never frozen, and nothing is lost on the way to it.
pub(crate) const FATE: Pid = usize::MAX;

/// Something that arrives at a process.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// `POST /follow`. A guard acknowledges what it has read; a node, which writes its row into the store, less.
    Ask {
        from: Pid,
        starts: u32,
        question: Question,
        settled: Option<Cursor>,
    },
    /// Its answer. A node reads the store, so it sees the entries themselves, and whether it must start again.
    Answer {
        answer: Answer,
        entries: Vec<Entry>,
        restart: bool,
    },
    /// The question was not heard, or cannot be answered now.
    Refused {
        question: QuestionId,
        why: Option<NotHeard>,
    },
    /// Is this session alive? Asked of the store.
    Check {
        from: Pid,
        starts: u32,
        check: Check,
    },
    Checked {
        check: Check,
        alive: Option<KeyId>,
    },
    /// A statement to a store that nodes share, and what it answers.
    Query {
        from: Pid,
        starts: u32,
        tx: Tx,
        step: u32,
        query: Query,
    },
    Rows {
        tx: Tx,
        step: u32,
        rows: Rows,
    },
    Do(Do),
}

/// A question about one session, and what the asker remembers of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Check {
    pub(crate) sid: SessionId,
    pub(crate) asked_at: Tick,
    /// When the decision began for which it is asked.
    pub(crate) began: u64,
    pub(crate) expires: Option<Time>,
}

/// What a process does by itself when it is time.
#[derive(Debug, Clone)]
pub(crate) enum Do {
    Begin,
    /// No answer came to this question.
    GiveUp(QuestionId),
    /// This question has waited long enough for news, or the store has been read for it.
    Wake(u64),
    Login,
    End {
        sid: SessionId,
        confirm: bool,
    },
    /// Commits, that waited for it under a fault, and publishes up to this place.
    Publish(Vec<crate::serving::Logged>),
    Barrier {
        sids: Vec<SessionId>,
        deadline: Tick,
    },
    Settle,
    Mint,
    /// The store reads whether the session lives, for a token.
    Prove {
        minter: Pid,
        starts: u32,
        sid: SessionId,
        from: Time,
        started: Tick,
    },
    Sign {
        sid: SessionId,
        from: Time,
        started: Tick,
        proven: u64,
        key: KeyId,
    },
    /// A request comes in.
    Decide,
    /// The set learns what the cursor has passed already: see [`Fault::AcknowledgeBeforeApplying`].
    ApplyLate(Vec<symbolon_core::id::EntryId>),
    /// At a store that nodes share: a commit is durable, or a transaction has been idle since then.
    Durable(Tx),
    Idle(Tx, u32),
    /// At a node of it: what it does has taken too long; it is time to renew; to look at a confirmation; to go on with a
    /// request that has passed the gate then.
    TimeOut(Tx),
    Renew,
    Look(u64),
    Lookup(Request, u64),
    Refresh {
        sid: SessionId,
        presented: u64,
    },
    /// Many present one refresh token.
    Race,
    SomeEnd,
    Chaos,
    Calm,
    ConfirmAll,
    Finish,
}

#[derive(Debug)]
struct Queued {
    at: u64,
    order: u64,
    to: Pid,
    /// The process that it is meant for, if only that one.
    starts: Option<u32>,
    event: Box<Event>,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Queued {}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// An access token, as far as it matters here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token {
    pub(crate) sid: SessionId,
    pub(crate) key: KeyId,
    pub(crate) issued: Time,
    pub(crate) expires: Time,
}

/// Where everything happens.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) rng: Draw,
    pub(crate) now: u64,
    pub(crate) plan: Plan,
    pub(crate) hosts: Vec<Host>,
    pub(crate) facts: Facts,
    pub(crate) calm: bool,
    /// Whether everything that happens is printed.
    pub(crate) told: bool,
    pub(crate) tokens: Vec<Token>,
    queue: BinaryHeap<Reverse<Queued>>,
    orders: u64,
    numbers: u64,
}

impl Stage {
    pub(crate) fn new(rng: Draw, plan: Plan) -> Self {
        let mut stage = Self {
            rng,
            now: 0,
            hosts: Vec::new(),
            facts: Facts::default(),
            calm: false,
            told: false,
            tokens: Vec::new(),
            queue: BinaryHeap::new(),
            orders: 0,
            numbers: 0,
            plan,
        };
        for pid in 0..=stage.plan.nodes + stage.plan.guards {
            let host = stage.host(pid);
            stage.hosts.push(host);
        }
        stage
    }

    /// A machine. The extremes of what clocks do are more likely than what lies between.
    fn host(&mut self, pid: Pid) -> Host {
        let most = self.plan.rate_ppm;
        let rate_ppm = [-most, most, 0][self.rng.index(3)];
        let mut host = Host {
            rate_ppm,
            clock_from: self.rng.between(0, 1 << 40),
            wall_off_ms: 0,
            frozen_until: 0,
            frozen_since: 0,
            cut_until: 0,
            cut_from_store_until: 0,
            cut_from_others_until: 0,
            starts: 0,
        };
        host.wall_off_ms = self.wall_off(pid);
        host
    }

    /// How wrong a wall clock may be: servers within the leeway between two of them, others by anything.
    pub(crate) fn wall_off(&mut self, pid: Pid) -> i64 {
        let most = if pid <= self.plan.nodes { self.plan.leeway / 2 } else { self.plan.entry_life };
        let most = i64::try_from(most / crate::draw::MS).unwrap();
        i64::try_from(self.rng.between(0, 2 * u64::try_from(most).unwrap() + 1)).unwrap() - most
    }

    pub(crate) fn broken(&self, fault: Fault) -> bool {
        self.plan.fault == Some(fault)
    }

    /// Another one each time.
    pub(crate) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(crate) fn tick(&self, pid: Pid) -> Tick {
        self.hosts[pid].tick(self.now)
    }

    pub(crate) fn wall(&self, pid: Pid) -> Time {
        self.hosts[pid].wall(self.now)
    }

    /// Happens at a process, whichever process runs there then.
    pub(crate) fn at(&mut self, at: u64, to: Pid, event: Do) {
        self.queue(at, to, None, Event::Do(event));
    }

    /// Happens at the process that runs there now, or not at all.
    pub(crate) fn later(&mut self, after: u64, to: Pid, event: Do) {
        let starts = self.hosts[to].starts;
        self.queue(self.now + after, to, Some(starts), Event::Do(event));
    }

    fn queue(&mut self, at: u64, to: Pid, starts: Option<u32>, event: Event) {
        self.orders += 1;
        let order = self.orders;
        let (at, event) = (at.max(self.now), Box::new(event));
        self.queue.push(Reverse(Queued { at, order, to, starts, event }));
    }

    /// Sends a question to a server. It may arrive at a later process than the one that runs there now.
    pub(crate) fn ask(&mut self, from: Pid, to: Pid, event: Event) {
        self.send(from, to, None, event);
    }

    /// Answers over the connection of the question, which dies with the process that asked.
    pub(crate) fn reply(&mut self, from: Pid, to: Pid, starts: u32, event: Event) {
        self.send(from, to, Some(starts), event);
    }

    /// As [`Self::reply`], once the store has said what to answer.
    pub(crate) fn reply_after(&mut self, after: u64, way: (Pid, Pid), starts: u32, event: Event) {
        let (from, to) = way;
        let now = self.now;
        self.now += after;
        self.send(from, to, Some(starts), event);
        self.now = now;
    }

    /// Requests come in everywhere in a moment.
    pub(crate) fn everybody_decides(&mut self) {
        for pid in 1..self.hosts.len() {
            let after = self.rng.between(1, self.plan.delay);
            self.at(self.now + after, pid, Do::Decide);
        }
    }

    fn send(&mut self, from: Pid, to: Pid, starts: Option<u32>, event: Event) {
        let store = from == ORIGIN || to == ORIGIN;
        let cut = |pid: Pid| self.hosts[pid].is_cut(store, self.now);
        // What a connection carries comes once. That it breaks is rarer than that a question is lost.
        let statement = matches!(event, Event::Query { .. } | Event::Rows { .. });
        let (lost, twice) = match statement {
            true => (self.plan.lost.div_ceil(5), 0),
            false => (self.plan.lost, self.plan.twice),
        };
        if cut(from) || cut(to) || (!self.calm && self.rng.percent(lost)) {
            return;
        }
        if !self.calm && self.rng.percent(twice) {
            let delay = self.delay();
            self.queue(self.now + delay, to, starts, event.clone());
        }
        let delay = self.delay();
        self.queue(self.now + delay, to, starts, event);
    }

    /// How long a message takes.
    fn delay(&mut self) -> u64 {
        let usual = self.plan.delay;
        let late = !self.calm && self.rng.percent(self.plan.late);
        self.rng.between(usual / 10, if late { self.plan.leases[0] * 2 } else { usual })
    }

    /// How long the store takes: sometimes longer than any entry lives.
    pub(crate) fn store_delay(&mut self) -> u64 {
        let late = self.plan.late / 3;
        match self.calm {
            false if self.broken(Fault::RenewalOutsideLock) => {
                self.rng.between(0, self.plan.leases[0])
            }
            false if self.rng.percent(late) => self.rng.between(0, self.plan.entry_life * 3),
            false if self.rng.percent(late) => self.rng.between(0, self.plan.leases[0] * 2),
            _ => self.rng.between(0, self.plan.delay),
        }
    }

    /// The next thing that happens to a process that can notice it.
    pub(crate) fn next(&mut self) -> Option<(Pid, Event)> {
        loop {
            let Reverse(mut next) = self.queue.pop()?;
            self.now = next.at;
            let Some(host) = self.hosts.get(next.to) else {
                return Some((next.to, *next.event));
            };
            if next.starts.is_some_and(|starts| starts != host.starts) {
                continue;
            }
            if host.frozen_until > self.now {
                self.orders += 1;
                (next.at, next.order) = (host.frozen_until, self.orders);
                self.queue.push(Reverse(next));
                continue;
            }
            return Some((next.to, *next.event));
        }
    }
}
