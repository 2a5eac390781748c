//! A server node: a follower of the log that has followers of its own (rule 16).

use std::collections::VecDeque;

use symbolon_core::{
    follower::{Answer, Follower},
    id::{LogId, QuestionId},
    lease::{Confirmation, Leases, NotHeard},
    log::{Cursor, Entry},
    time::Tick,
};

use crate::{
    decide,
    draw::span,
    fault::Fault,
    held::Held,
    serving::{Logged, Serving},
    stage::{Do, Event, ORIGIN, Pid, Stage},
};

#[derive(Debug)]
pub(crate) struct Node {
    pid: Pid,
    pub(crate) held: Held,
    asked: Option<QuestionId>,
    serving: Serving,
    /// Whether `serving` is of any log yet.
    serves: bool,
    log: Vec<Logged>,
    /// Another log, of which not all pages have come yet.
    staged: Option<Vec<Logged>>,
    /// What its followers have not all acknowledged yet.
    unsettled: VecDeque<(Cursor, Confirmation)>,
    /// Up to where it may acknowledge.
    settled: Option<Cursor>,
}

impl Node {
    pub(crate) fn new(pid: Pid, stage: &mut Stage) -> Self {
        let follower = Follower::new(&mut stage.rng.0);
        let start = Cursor::start(LogId::random(&mut stage.rng.0));
        Self {
            pid,
            held: Held::new(pid, follower),
            asked: None,
            serving: Serving::new(pid, start, leases(Tick::default(), stage), stage),
            serves: false,
            log: Vec::new(),
            staged: None,
            unsettled: VecDeque::new(),
            settled: None,
        }
    }

    pub(crate) fn event(&mut self, event: Event, stage: &mut Stage) {
        match event {
            Event::Ask { from, starts, question, settled } if self.serves => {
                let (own, asked) = (self.own(stage), (question, settled));
                self.serving.asked((from, starts), asked, &self.log, own, stage);
            }
            Event::Ask { from, starts, question, .. } => {
                let refused = Event::Refused { question: question.question, why: None };
                stage.reply(self.pid, from, starts, refused);
            }
            Event::Answer { answer, entries, restart } => {
                self.hear(answer, &entries, restart, stage);
            }
            Event::Refused { question, why } if self.asked == Some(question) => {
                if why == Some(NotHeard::Identity) {
                    self.held.follower.rename(&mut stage.rng.0);
                }
                stage.later(stage.plan.delay, self.pid, Do::Begin);
            }
            Event::Do(Do::Begin) => self.ask(stage),
            Event::Do(Do::GiveUp(question)) if self.asked == Some(question) => self.ask(stage),
            Event::Do(Do::Wake(number)) => {
                let own = self.own(stage);
                self.serving.wake(number, &self.log, own, stage);
            }
            Event::Do(Do::Decide) => {
                decide::token(&self.held, stage);
            }
            Event::Do(Do::ApplyLate(ids)) => self.held.apply_late(&ids, stage),
            Event::Do(event) => decide::issue(self.pid, &event, stage),
            _ => {}
        }
    }

    fn own(&self, stage: &Stage) -> Option<Tick> {
        (!stage.broken(Fault::NodeGrantsWhole)).then(|| self.held.follower.lease_until())
    }

    fn ask(&mut self, stage: &mut Stage) {
        self.settle(stage);
        let question = self.held.ask(stage);
        let settled = match stage.plan.fault {
            Some(Fault::NodeAcknowledgesAlone) => question.cursor,
            _ => self.settled,
        };
        self.asked = Some(question.question);
        let patience = stage.plan.hold * 2 + stage.plan.delay * 4;
        stage.later(patience, self.pid, Do::GiveUp(question.question));
        let starts = stage.hosts[self.pid].starts;
        stage.ask(self.pid, ORIGIN, Event::Ask { from: self.pid, starts, question, settled });
    }

    fn settle(&mut self, stage: &Stage) {
        let now = stage.tick(self.pid);
        while let Some((cursor, confirmation)) = self.unsettled.front_mut() {
            if self.serving.leases.settle(confirmation, now).is_some() {
                return;
            }
            self.settled = Some(*cursor);
            self.unsettled.pop_front();
        }
    }

    fn hear(&mut self, answer: Answer, entries: &[Entry], restart: bool, stage: &mut Stage) {
        let (cursor, more) = (answer.cursor, answer.more);
        let lease_before = self.held.follower.lease_until();
        if self.held.hear(answer, restart, stage).is_err() {
            return;
        }
        self.asked = None;
        let at = stage.wall(self.pid);
        let logged = entries.iter().map(|entry| Logged { entry: *entry, at });
        if restart {
            self.staged = Some(Vec::new());
            self.settled = None;
        }
        match &mut self.staged {
            Some(staged) => {
                staged.extend(logged);
                if !more || stage.broken(Fault::NodeServesPartialSnapshot) {
                    self.log = std::mem::take(staged);
                    self.staged = None;
                    self.serves = true;
                    self.unsettled.clear();
                    // Whatever it has granted is over when its own lease of before is.
                    let mut earlier_until = lease_before;
                    if stage.broken(Fault::NodeAcknowledgesSnapshot) {
                        earlier_until = Tick::default();
                    }
                    self.serving.restart(cursor, leases(earlier_until, stage), stage);
                }
            }
            None => {
                let head = self.serving.tail.head().sequence;
                for logged in logged.filter(|logged| logged.entry.sequence > head) {
                    self.serving.tail.push(logged.entry);
                    self.log.push(logged);
                }
            }
        }
        if self.staged.is_none() {
            let sequence = self.serving.tail.head().sequence;
            let confirmation = self.serving.leases.confirm(sequence, stage.tick(self.pid));
            self.unsettled.push_back((self.serving.tail.head(), confirmation));
            let own = self.own(stage);
            self.serving.news(&self.log, own, stage);
            self.settle(stage);
        }
        self.ask(stage);
    }
}

fn leases(earlier_until: Tick, stage: &Stage) -> Leases {
    Leases::new(span(stage.plan.leases[0]), earlier_until, stage.plan.followers_max)
}
