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
            serving: Serving::new(pid, start, leases(stage), stage),
            serves: false,
            log: Vec::new(),
            staged: None,
            unsettled: VecDeque::new(),
            settled: None,
        }
    }

    pub(crate) fn event(&mut self, event: Event, stage: &mut Stage) {
        match event {
            Event::Ask { from, starts, question } if self.serves => {
                let own = self.own(stage);
                self.serving.asked((from, starts), question, &self.log, own, stage);
            }
            Event::Ask { from, starts, question } => {
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
                decide::token(&self.held, self.pid, stage);
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
        let mut question = self.held.ask(stage);
        if !stage.broken(Fault::NodeAcknowledgesAlone) && self.staged.is_none() {
            question.cursor = self.settled;
        }
        self.asked = Some(question.question);
        let patience = stage.plan.hold * 2 + stage.plan.delay * 4;
        stage.later(patience, self.pid, Do::GiveUp(question.question));
        let starts = stage.hosts[self.pid].starts;
        stage.ask(self.pid, ORIGIN, Event::Ask { from: self.pid, starts, question });
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
        if self.held.hear(answer, restart, stage).is_err() {
            return;
        }
        self.asked = None;
        let at = stage.wall(self.pid);
        let logged = entries.iter().map(|entry| Logged { entry: *entry, at });
        if restart {
            self.staged = Some(Vec::new());
            // To go on reading acknowledges what its followers may not know: so it does that as somebody else, and
            // whoever it granted leases to is waited for under its old identity.
            if !stage.broken(Fault::NodeKeepsIdentity) {
                self.held.follower.rename(&mut stage.rng.0);
            }
        }
        match &mut self.staged {
            Some(staged) => {
                staged.extend(logged);
                if !more || stage.broken(Fault::NodeServesPartialSnapshot) {
                    self.log = std::mem::take(staged);
                    self.staged = None;
                    self.serves = true;
                    self.unsettled.clear();
                    self.settled = Some(cursor);
                    self.serving.restart(cursor, leases(stage), stage);
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
        let pause = if self.unsettled.is_empty() { 0 } else { stage.plan.leases[0] / 8 };
        stage.later(pause, self.pid, Do::Begin);
    }
}

fn leases(stage: &Stage) -> Leases {
    Leases::new(span(stage.plan.leases[0]), Tick::default(), stage.plan.followers_max)
}
