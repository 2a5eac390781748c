//! A server as one of many on a shared store: its gate, its decisions, its followers.
//!
//! What it acknowledges and how it waits for others is core's ([`Progress`], [`symbolon_core::node::Waiting`]), as is
//! what it does with followers. What is the server's own is modelled step by step: `renewal.rs` after
//! `server/src/store/nodes.rs`, `acts.rs` after `server/src/store/shared.rs`.

use std::collections::{BTreeMap, HashMap};

use symbolon_core::{
    id::{EntryId, KeyId, LogId, NodeId, SessionId},
    lease::Leases,
    log::Cursor,
    node::Progress,
    revocation::Ended,
    time::Tick,
};

use crate::{
    acts::{Act, Confirm, Confirming},
    decide,
    draw::span,
    facts::{Accepted, By},
    fault::Fault,
    renewal::Renewal,
    serving::{Logged, Serving},
    sql::{Query, Session, Tx},
    stage::{Check, Do, Event, ORIGIN, Pid, Stage, Token},
};

/// Everything is made with one key here.
pub(crate) const KEY: KeyId = KeyId::from_bytes([9; 16]);

/// What comes in at the door.
#[derive(Debug, Clone)]
pub(crate) enum Request {
    Cookie(SessionId),
    Token(Token),
    /// A guard asks about a session.
    Check {
        from: Pid,
        starts: u32,
        check: Check,
    },
    Login,
    End {
        sid: SessionId,
        confirm: bool,
    },
    Refresh {
        sid: SessionId,
        presented: u64,
    },
}

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) pid: Pid,
    /// How long its leases are.
    pub(crate) lease: u64,
    pub(crate) serving: Serving,
    pub(crate) log: Vec<Logged>,
    pub(crate) ended: Ended,
    /// When this process heard of an end, in true time.
    pub(crate) known: HashMap<EntryId, u64>,
    pub(crate) progress: Progress,
    /// Its row.
    pub(crate) id: Option<NodeId>,
    /// How often the row was renewed, at least.
    pub(crate) renewals: u64,
    pub(crate) lease_until: Tick,
    /// When leases are over of which the store may know nothing.
    pub(crate) earlier_until: Tick,
    /// Whether it has read the log.
    pub(crate) started: bool,
    pub(crate) renewal: Option<Renewal>,
    /// Whether there is a reason to renew once more.
    pub(crate) poked: bool,
    /// Requests that wait for a lease, with when they came and until when they wait.
    gate: Vec<(Request, u64, Tick)>,
    pub(crate) acts: BTreeMap<Tx, Act>,
    /// Confirmations that wait until the log was read.
    pub(crate) asked: Vec<Confirm>,
    pub(crate) confirming: Vec<Confirming>,
    /// Sessions that were alive, and when the store was asked.
    pub(crate) cache: HashMap<SessionId, Tick>,
}

impl Member {
    pub(crate) fn new(pid: Pid, stage: &mut Stage) -> Self {
        let lease = stage.plan.leases[usize::try_from(stage.hosts[pid].starts % 2).unwrap()];
        let start = Cursor::start(LogId::random(&mut stage.rng.0));
        let leases = Leases::new(span(lease), Tick::default(), stage.plan.followers_max);
        Self {
            pid,
            lease,
            serving: Serving::new(pid, start, leases, stage),
            log: Vec::new(),
            ended: Ended::new(&mut stage.rng.0),
            known: HashMap::new(),
            progress: Progress::default(),
            id: None,
            renewals: 0,
            lease_until: Tick::default(),
            earlier_until: Tick::default(),
            started: false,
            renewal: None,
            poked: false,
            gate: Vec::new(),
            acts: BTreeMap::new(),
            asked: Vec::new(),
            confirming: Vec::new(),
            cache: HashMap::new(),
        }
    }

    pub(crate) fn event(&mut self, event: Event, stage: &mut Stage) {
        match event {
            Event::Ask { from, starts, question, settled } if self.started => {
                let own = self.own(stage);
                self.serving.asked((from, starts), (question, settled), &self.log, own, stage);
                if self.serving.is_behind()
                    || self.progress.settle(&self.serving.leases, stage.tick(self.pid))
                {
                    self.poke(stage);
                }
            }
            Event::Ask { from, starts, question, .. } => {
                let refused = Event::Refused { question: question.question, why: None };
                stage.reply(self.pid, from, starts, refused);
            }
            Event::Check { from, starts, check } => {
                self.request(Request::Check { from, starts, check }, stage);
            }
            Event::Rows { tx, step, rows } => {
                if self.renewal.as_ref().is_some_and(|renewal| renewal.is(tx, step)) {
                    self.renewal_goes_on(rows, stage);
                } else if self.acts.get(&tx).is_some_and(|act| act.step == step) {
                    self.act_goes_on(tx, rows, stage);
                }
            }
            Event::Do(event) => self.does(event, stage),
            _ => {}
        }
    }

    fn does(&mut self, event: Do, stage: &mut Stage) {
        match event {
            Do::Begin | Do::Renew => self.poke(stage),
            Do::TimeOut(tx) if self.renewal.as_ref().is_some_and(|renewal| renewal.tx == tx) => {
                self.renewal_failed(stage);
            }
            Do::TimeOut(tx) => {
                if let Some(act) = self.acts.remove(&tx) {
                    self.query((tx, act.step + 1), Query::Close, stage);
                    self.confirming.retain(|confirming| !act.is_look_of(confirming));
                    // Ends wait for each other, so some are refused when many come at once: they are asked for again.
                    if let (true, Some(Request::End { sid, confirm })) = (stage.calm, act.request) {
                        stage.later(stage.plan.delay, self.pid, Do::End { sid, confirm });
                    }
                }
            }
            Do::Wake(number) => {
                let own = self.own(stage);
                self.serving.wake(number, &self.log, own, stage);
            }
            Do::Look(number) => self.look(number, stage),
            Do::Lookup(request, began) => self.lookup(request, began, stage),
            Do::Decide => self.decide(stage),
            Do::Login => self.request(Request::Login, stage),
            Do::End { sid, confirm } => self.request(Request::End { sid, confirm }, stage),
            Do::Refresh { sid, presented } => {
                self.request(Request::Refresh { sid, presented }, stage);
            }
            Do::ApplyLate(ids) => {
                ids.iter().for_each(|id| self.ended.insert(*id, stage.wall(self.pid)))
            }
            event => decide::issue(self.pid, &event, stage),
        }
    }

    /// Until when its followers may have leases from it.
    pub(crate) fn own(&self, stage: &Stage) -> Option<Tick> {
        (!stage.broken(Fault::NodeGrantsWhole)).then_some(self.lease_until)
    }

    pub(crate) fn stands(&self, stage: &Stage) -> bool {
        stage.tick(self.pid) < self.lease_until || (self.started && stage.broken(Fault::GateIsOpen))
    }

    /// Whether it has nothing to do for anybody.
    pub(crate) fn is_confirming(&self) -> bool {
        !self.asked.is_empty() || !self.confirming.is_empty()
    }

    pub(crate) fn query(&self, (tx, step): (Tx, u32), query: Query, stage: &mut Stage) {
        let (from, starts) = (self.pid, stage.hosts[self.pid].starts);
        stage.ask(self.pid, ORIGIN, Event::Query { from, starts, tx, step, query });
    }

    /// A request passes the gate under a lease, or waits for one.
    pub(crate) fn request(&mut self, request: Request, stage: &mut Stage) {
        let began = stage.now;
        if self.stands(stage) {
            return self.proceed(request, began, stage);
        }
        let until = stage.tick(self.pid) + span(stage.plan.timeout);
        self.gate.push((request, began, until));
        if self.renewal.is_none() {
            self.poke(stage);
        }
    }

    /// There is a lease.
    pub(crate) fn open_gate(&mut self, stage: &mut Stage) {
        let now = stage.tick(self.pid);
        for (request, began, until) in std::mem::take(&mut self.gate) {
            if now < until {
                self.proceed(request, began, stage);
            }
        }
    }

    fn proceed(&mut self, request: Request, began: u64, stage: &mut Stage) {
        match request {
            Request::Cookie(_) | Request::Token(_) | Request::Check { .. } => {
                let after = stage.rng.between(0, stage.plan.delay);
                stage.later(after, self.pid, Do::Lookup(request, began));
            }
            request => self.act(request, began, stage),
        }
    }

    /// Something comes in, often with what was ended.
    fn decide(&mut self, stage: &mut Stage) {
        if stage.rng.one_in(3)
            && let Some(token) = decide::some_token(stage)
        {
            return self.request(Request::Token(token), stage);
        }
        let sessions = stage.facts.all();
        if !sessions.is_empty() {
            let (some, _) = sessions[stage.rng.index(sessions.len())];
            let last = stage.facts.last_confirmed.filter(|_| stage.rng.one_in(2));
            self.request(Request::Cookie(last.unwrap_or(some)), stage);
        }
    }

    /// The gate was passed some time ago.
    fn lookup(&mut self, request: Request, began: u64, stage: &mut Stage) {
        let sid = match &request {
            Request::Token(token) => {
                let fits = decide::fits(token, stage.wall(self.pid), stage);
                if fits && !self.ended.contains(token.sid.entry()) {
                    let (sid, expires) = (token.sid, Some(token.expires));
                    self.accept(
                        Accepted { sid, began, by: By::Lease, expires, known: None },
                        stage,
                    );
                } else {
                    stage.facts.seen.refused += 1;
                }
                return;
            }
            Request::Cookie(sid) => *sid,
            Request::Check { check, .. } => check.sid,
            _ => return,
        };
        if self.ended.contains(sid.entry()) && !stage.broken(Fault::CacheSkipsSet) {
            return self.decided(&request, began, false, By::Lease, stage);
        }
        let (now, life) = (stage.tick(self.pid), span(stage.plan.token_life));
        if self.cache.get(&sid).is_some_and(|asked| now.since(*asked) <= life) {
            return self.decided(&request, began, true, By::Lease, stage);
        }
        self.act(request, began, stage);
    }

    /// What the store said of a session.
    pub(crate) fn loaded(
        &mut self,
        request: &Request,
        (began, asked): (u64, Tick),
        row: Option<Session>,
        stage: &mut Stage,
    ) {
        let (Request::Cookie(sid) | Request::Check { check: Check { sid, .. }, .. }) = *request
        else {
            return;
        };
        let alive = row.is_some_and(|row| !row.ended);
        if alive {
            self.cache.insert(sid, asked);
        }
        let alive = alive && !self.ended.contains(sid.entry());
        self.decided(request, began, alive, By::Asking, stage);
    }

    fn decided(&self, request: &Request, began: u64, alive: bool, by: By, stage: &mut Stage) {
        match *request {
            Request::Cookie(sid) if alive => {
                self.accept(Accepted { sid, began, by, expires: None, known: None }, stage);
            }
            Request::Check { from, starts, check } => {
                let leeway = span(stage.plan.leeway);
                let expired = check.expires.is_some_and(|at| stage.wall(self.pid) > at + leeway);
                let alive = (alive && !expired).then_some(KEY);
                stage.reply(self.pid, from, starts, Event::Checked { check, alive });
            }
            _ => stage.facts.seen.refused += 1,
        }
    }

    fn accept(&self, accepted: Accepted, stage: &mut Stage) {
        let known = self.known.get(&accepted.sid.entry()).copied();
        stage.facts.accepted(&Accepted { known, ..accepted }, &stage.plan, stage.now);
    }

    pub(crate) fn hears_of(&mut self, id: EntryId, at: symbolon_core::time::Time, now: u64) {
        self.ended.insert(id, at);
        self.known.entry(id).or_insert(now);
    }
}
