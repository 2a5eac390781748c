//! A guard: a follower that decides about requests, asks the store once about cookies, and keeps the answers.

use std::collections::{BTreeMap, HashMap};

use symbolon_core::{
    follower::{Follower, Standing},
    id::{KeyId, QuestionId, SessionId},
    lease::NotHeard,
    time::{Tick, Time},
};

use crate::{
    decide::{self, Decided},
    draw::{Draw, span},
    facts::By,
    fault::Fault,
    held::Held,
    stage::{Check, Do, Event, ORIGIN, Pid, Stage},
};

/// A positive answer about a cookie.
#[derive(Debug)]
struct Cached {
    asked_at: Tick,
    key: KeyId,
}

/// A question about a session that is under way, and decisions that wait for it.
#[derive(Debug)]
struct Flight {
    asked: u64,
    joined: Vec<u64>,
}

#[derive(Debug)]
pub(crate) struct Guard {
    pid: Pid,
    pub(crate) held: Held,
    asked: Option<QuestionId>,
    /// The server that it asks always, unless it is behind a load balancer.
    server: Option<Pid>,
    cache: HashMap<SessionId, Cached>,
    flights: BTreeMap<SessionId, Flight>,
}

impl Guard {
    /// A new process. Those with the same identity had drawn it before they were copied.
    pub(crate) fn new(pid: Pid, identity: Option<u64>, stage: &mut Stage) -> Self {
        let follower = match identity {
            Some(seed) => Follower::new(&mut Draw::new(seed).0),
            None => Follower::new(&mut stage.rng.0),
        };
        let balanced = stage.broken(Fault::TakenBackwards) || stage.rng.one_in(3);
        let server = (!balanced).then(|| some_server(stage));
        Self {
            pid,
            held: Held::new(pid, follower),
            asked: None,
            server,
            cache: HashMap::new(),
            flights: BTreeMap::new(),
        }
    }

    pub(crate) fn event(&mut self, event: Event, stage: &mut Stage) {
        match event {
            Event::Answer { mut answer, restart, .. } => {
                if stage.broken(Fault::CoalescedQuestions)
                    && let Some(asked) = self.asked
                {
                    answer.question = asked;
                }
                if self.held.hear(answer, restart, stage).is_ok() {
                    self.try_at_the_end_of_the_lease(stage);
                    self.ask(stage);
                }
            }
            Event::Refused { question, why } if self.asked == Some(question) => {
                let mut pause = stage.plan.hold;
                if why == Some(NotHeard::Identity) {
                    self.held.follower.rename(&mut stage.rng.0);
                    pause = 0;
                }
                stage.later(pause, self.pid, Do::Begin);
            }
            Event::Checked { check, alive } => self.checked(check, alive, stage),
            Event::Do(Do::Begin) => self.ask(stage),
            Event::Do(Do::GiveUp(question)) if self.asked == Some(question) => self.ask(stage),
            Event::Do(Do::Decide) => self.decide(stage),
            Event::Do(Do::ApplyLate(ids)) => self.held.apply_late(&ids, stage),
            _ => {}
        }
    }

    fn ask(&mut self, stage: &mut Stage) {
        let question = self.held.ask(stage);
        self.asked = Some(question.question);
        let patience = stage.plan.hold * 2 + stage.plan.delay * 4;
        stage.later(patience, self.pid, Do::GiveUp(question.question));
        let server = self.server.unwrap_or_else(|| some_server(stage));
        let starts = stage.hosts[self.pid].starts;
        let settled = question.cursor;
        stage.ask(self.pid, server, Event::Ask { from: self.pid, starts, question, settled });
    }

    /// A request comes in at the last moment of a lease, and one at the first after it.
    fn try_at_the_end_of_the_lease(&self, stage: &mut Stage) {
        let end = stage.hosts[self.pid].when(self.held.follower.lease_until());
        if end > stage.now && stage.rng.one_in(4) {
            stage.at(end - 3, self.pid, Do::Decide);
        }
    }

    fn decide(&mut self, stage: &mut Stage) {
        if stage.rng.one_in(3) {
            return self.decide_cookie(stage);
        }
        if let Decided::Ask(token) = decide::token(&self.held, stage) {
            self.check(token.sid, Some(token.expires), stage);
        }
    }

    fn decide_cookie(&mut self, stage: &mut Stage) {
        let sessions = stage.facts.all();
        if sessions.is_empty() {
            return;
        }
        let (mut sid, _) = sessions[stage.rng.index(sessions.len())];
        // Often one that others wait for.
        if !self.flights.is_empty() && stage.rng.one_in(2) {
            let at = stage.rng.index(self.flights.len());
            sid = *self.flights.keys().nth(at).unwrap();
        }
        let now = stage.tick(self.pid);
        let life = span(stage.plan.token_life);
        self.cache.retain(|_, cached| now.since(cached.asked_at) <= life);
        let Some(cached) = self.cache.get(&sid) else {
            return self.check(sid, None, stage);
        };
        let ids = [sid.entry(), cached.key.entry()];
        let looked_up = if stage.broken(Fault::CacheSkipsSet) { &[][..] } else { &ids[..] };
        match self.held.standing(looked_up, stage) {
            Standing::Live(_) => decide::accept(&self.held, sid, None, By::Lease, stage.now, stage),
            Standing::Ended => stage.facts.seen.refused += 1,
            Standing::NoLease => self.check(sid, None, stage),
        }
    }

    /// Asks the store, or joins who asks already.
    fn check(&mut self, sid: SessionId, expires: Option<Time>, stage: &mut Stage) {
        let began = stage.now;
        let patience = stage.plan.leases[0] * 3;
        if expires.is_none() {
            if let Some(flight) = self.flights.get_mut(&sid)
                && flight.asked + patience > stage.now
            {
                return flight.joined.push(began);
            }
            self.flights.insert(sid, Flight { asked: stage.now, joined: Vec::new() });
        }
        let check = Check { sid, asked_at: stage.tick(self.pid), began, expires };
        let starts = stage.hosts[self.pid].starts;
        let server = if stage.plan.shared { some_server(stage) } else { ORIGIN };
        stage.ask(self.pid, server, Event::Check { from: self.pid, starts, check });
    }

    fn checked(&mut self, check: Check, alive: Option<KeyId>, stage: &mut Stage) {
        let joined = match check.expires {
            None => self.flights.remove(&check.sid).map(|flight| flight.joined),
            Some(_) => None,
        };
        let Some(key) = alive else { return };
        let sid = check.sid;
        let ids = [sid.entry(), key.entry()];
        if check.expires.is_none() {
            let asked_at = match stage.plan.fault {
                Some(Fault::CacheAgeFromArrival) => stage.tick(self.pid),
                _ => check.asked_at,
            };
            self.cache.insert(sid, Cached { asked_at, key });
        }
        let standing = self.held.standing(&ids, stage);
        if standing == Standing::Ended {
            return;
        }
        decide::accept(&self.held, sid, check.expires, By::Asking, check.began, stage);
        // It was asked before these came: it counts for them only as a cached answer does, under a lease.
        let young = stage.tick(self.pid).since(check.asked_at) <= span(stage.plan.token_life);
        for began in joined.into_iter().flatten() {
            if stage.broken(Fault::LoadIsShared) {
                decide::accept(&self.held, sid, None, By::Asking, began, stage);
            } else if young && matches!(standing, Standing::Live(_)) {
                decide::accept(&self.held, sid, None, By::Lease, began, stage);
            }
        }
    }
}

fn some_server(stage: &mut Stage) -> Pid {
    let first = usize::from(stage.plan.behind_nodes);
    first + stage.rng.index(stage.plan.nodes + 1 - first)
}
