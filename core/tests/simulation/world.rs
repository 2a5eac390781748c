//! One history, from its seed to the first promise that is broken, or to its end.

use symbolon_core::{follower::Standing, id::SessionId};

use crate::{
    decide,
    draw::Draw,
    facts::{Broken, Seen},
    fault::Fault,
    guard::Guard,
    node::Node,
    origin::Origin,
    plan::Plan,
    stage::{Do, Event, FATE, ORIGIN, Stage},
};

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) stage: Stage,
    pub(crate) origin: Origin,
    pub(crate) nodes: Vec<Node>,
    pub(crate) guards: Vec<Guard>,
}

/// What a history came to.
#[derive(Debug)]
pub(crate) struct History {
    pub(crate) broken: Option<(u64, Broken)>,
    pub(crate) seen: Seen,
    pub(crate) plan: Plan,
}

/// Runs the history of this seed, and tells all of it if asked to.
pub(crate) fn run(seed: u64, fault: Option<Fault>, told: bool) -> History {
    let mut rng = Draw::new(seed);
    let plan = Plan::draw(&mut rng, fault);
    let mut stage = Stage::new(rng, plan);
    stage.told = told;
    let origin = Origin::new(&mut stage);
    let mut world = World { stage, origin, nodes: Vec::new(), guards: Vec::new() };
    world.begin();
    while world.stage.facts.broken.is_none() {
        let Some((pid, event)) = world.stage.next() else { break };
        if matches!(event, Event::Do(Do::Finish)) {
            world.finish();
            break;
        }
        world.event(pid, event);
    }
    let Stage { facts, plan, .. } = world.stage;
    History { broken: facts.broken, seen: facts.seen, plan }
}

impl World {
    fn begin(&mut self) {
        let stage = &mut self.stage;
        (0..4).for_each(|_| stage.at(0, ORIGIN, Do::Login));
        let (length, lease) = (stage.plan.length, stage.plan.leases[0]);
        let leases = length / lease;
        let crowd = stage.plan.guards > 20;
        for (event, pid, times) in [
            (Do::Login, ORIGIN, leases * stage.plan.ends),
            (Do::SomeEnd, FATE, leases * stage.plan.ends),
            (Do::Chaos, FATE, leases * stage.plan.chaos / 2),
        ] {
            for _ in 0..times {
                let at = stage.rng.between(0, length);
                stage.at(at, pid, event.clone());
            }
        }
        for _ in 0..leases * 3 {
            let (at, pid) = (stage.rng.between(0, length), stage.rng.index(stage.plan.nodes + 1));
            stage.at(at, pid, Do::Mint);
        }
        let decisions = if crowd { leases } else { leases * 4 };
        for pid in 1..stage.hosts.len() {
            for _ in 0..decisions {
                let at = stage.rng.between(0, length);
                stage.at(at, pid, Do::Decide);
            }
        }
        stage.at(length, FATE, Do::Calm);
        stage.at(length + lease * 3, FATE, Do::ConfirmAll);
        stage.at(length + lease * 5, FATE, Do::Finish);
        self.start_all();
    }

    fn start_all(&mut self) {
        let (nodes, guards) = (self.stage.plan.nodes, self.stage.plan.guards);
        for at in 0..nodes {
            let node = Node::new(at + 1, &mut self.stage);
            self.nodes.push(node);
            self.stage.later(0, at + 1, Do::Begin);
        }
        for at in 0..guards {
            let pid = nodes + 1 + at;
            let identity = (self.stage.plan.twins && at < 2).then_some(1);
            let guard = Guard::new(pid, identity, &mut self.stage);
            self.guards.push(guard);
            let after = self.stage.rng.between(0, self.stage.plan.leases[0]);
            self.stage.later(after, pid, Do::Begin);
        }
    }

    pub(crate) fn start_guard(&mut self, at: usize, identity: Option<u64>) {
        let pid = self.nodes.len() + 1 + at;
        self.stage.hosts[pid].starts += 1;
        self.guards[at] = Guard::new(pid, identity, &mut self.stage);
        self.stage.later(0, pid, Do::Begin);
        self.stage.later(self.stage.plan.delay * 4, pid, Do::Decide);
    }

    pub(crate) fn start_node(&mut self, at: usize) {
        self.stage.hosts[at + 1].starts += 1;
        self.nodes[at] = Node::new(at + 1, &mut self.stage);
        self.stage.later(0, at + 1, Do::Begin);
    }

    fn event(&mut self, pid: usize, event: Event) {
        if self.stage.told {
            println!("{:>12} us, at {pid}: {event:?}", self.stage.now / 1000);
        }
        let stage = &mut self.stage;
        if pid == FATE {
            return self.fate(&event);
        }
        if pid == ORIGIN {
            if let Event::Do(event @ (Do::Mint | Do::Sign { .. })) = event {
                return decide::issue(ORIGIN, &event, stage);
            }
            return self.origin.event(event, stage);
        }
        match self.nodes.get_mut(pid - 1) {
            Some(node) => node.event(event, stage),
            None => self.guards[pid - 1 - self.nodes.len()].event(event, stage),
        }
    }

    fn fate(&mut self, event: &Event) {
        let stage = &mut self.stage;
        let Event::Do(event) = event else { return };
        match event {
            Do::Chaos if stage.now < stage.plan.length => self.chaos(),
            Do::Prove { .. } => self.origin.prove(event, stage),
            Do::SomeEnd => {
                let sessions = stage.facts.all();
                let live: Vec<_> = sessions.iter().filter(|(_, ended)| !ended).collect();
                let again = live.is_empty() || stage.rng.one_in(4);
                let sid = match (again, sessions.is_empty()) {
                    (_, true) => SessionId::random(&mut stage.rng.0),
                    (true, _) => sessions[stage.rng.index(sessions.len())].0,
                    (false, _) => live[stage.rng.index(live.len())].0,
                };
                let confirm = !stage.rng.one_in(3);
                stage.at(stage.now, ORIGIN, Do::End { sid, confirm });
                // Somebody who sees it ended asks to have that confirmed.
                if stage.rng.one_in(3) {
                    let after = stage.rng.between(0, stage.plan.delay * 2);
                    stage.at(stage.now + after, ORIGIN, Do::End { sid, confirm: true });
                }
            }
            Do::Calm => stage.calm = true,
            Do::ConfirmAll => {
                for (sid, _) in stage.facts.all().into_iter().filter(|(_, ended)| *ended) {
                    stage.at(stage.now, ORIGIN, Do::End { sid, confirm: true });
                }
            }
            _ => {}
        }
    }

    /// The weather has been calm for some leases: everything works.
    fn finish(&mut self) {
        let stage = &mut self.stage;
        let nobody = SessionId::random(&mut stage.rng.0).entry();
        let held = self.nodes.iter().map(|node| &node.held);
        let all: Vec<_> = held.chain(self.guards.iter().map(|guard| &guard.held)).collect();
        if stage.plan.followers_max < 1000 {
            return;
        }
        let ready = |standing| matches!(standing, Standing::Live(_));
        let mut wrong = None;
        if !all.iter().all(|held| ready(held.standing(&[nobody], stage))) {
            wrong = Some("a connected follower has no lease");
        }
        let recent = stage.now.saturating_sub(stage.plan.remembered());
        for sid in stage.facts.ended_since(recent) {
            if !all.iter().all(|held| held.standing(&[sid.entry()], stage) == Standing::Ended) {
                wrong = Some("a connected follower does not know of an end");
            }
        }
        if self.origin.is_confirming() {
            wrong = Some("a confirmation does not return");
        }
        if let Some(wrong) = wrong {
            stage.facts.breaks(stage.now, Broken::NotLive(wrong));
        }
    }
}
