//! One history of servers that share a store, from its seed to the first promise that is broken, or to its end.

use symbolon_core::{follower::Standing, id::SessionId};

use crate::{
    database::Database,
    draw::Draw,
    facts::Broken,
    fault::Fault,
    guard::Guard,
    member::{KEY, Member},
    plan::Plan,
    stage::{Do, Event, FATE, ORIGIN, Pid, Stage},
    world::History,
};

#[derive(Debug)]
struct Cluster {
    stage: Stage,
    database: Database,
    members: Vec<Member>,
    guards: Vec<Guard>,
    /// Confirmations that were asked for when all was calm, and how many there had been before.
    asked_in_calm: u64,
    confirmed_before: u64,
}

/// Runs the history of this seed, and tells all of it if asked to.
pub(crate) fn run(seed: u64, fault: Option<Fault>, told: bool) -> History {
    let mut rng = Draw::new(seed);
    let plan = Plan::draw_shared(&mut rng, fault);
    let mut stage = Stage::new(rng, plan);
    stage.told = told;
    let database = Database::new(&mut stage);
    let mut cluster = Cluster {
        stage,
        database,
        members: Vec::new(),
        guards: Vec::new(),
        asked_in_calm: 0,
        confirmed_before: 0,
    };
    cluster.begin();
    while cluster.stage.facts.broken.is_none() {
        let Some((pid, event)) = cluster.stage.next() else { break };
        if matches!(event, Event::Do(Do::Finish)) {
            cluster.finish();
            break;
        }
        cluster.event(pid, event);
    }
    let Stage { facts, plan, .. } = cluster.stage;
    History { broken: facts.broken, seen: facts.seen, plan }
}

impl Cluster {
    fn begin(&mut self) {
        let stage = &mut self.stage;
        let (nodes, guards) = (stage.plan.nodes, stage.plan.guards);
        let (length, lease) = (stage.plan.length, stage.plan.leases[0]);
        let leases = length / lease;
        for pid in 1..=nodes {
            self.members.push(Member::new(pid, stage));
            stage.later(0, pid, Do::Begin);
        }
        for at in 0..guards {
            let pid = nodes + 1 + at;
            let identity = (stage.plan.twins && at < 2).then_some(1);
            self.guards.push(Guard::new(pid, identity, stage));
            let after = stage.rng.between(0, lease);
            stage.later(after, pid, Do::Begin);
        }
        (0..4).for_each(|_| some_node(lease / 4, Do::Login, stage));
        for (event, times) in [
            (Do::SomeEnd, leases * stage.plan.ends),
            (Do::Race, leases),
            (Do::Chaos, leases * stage.plan.chaos / 2),
        ] {
            for _ in 0..times {
                let at = stage.rng.between(0, length);
                stage.at(at, FATE, event.clone());
            }
        }
        for _ in 0..leases * stage.plan.ends * 2 {
            let at = stage.rng.between(0, length);
            some_node(at, Do::Login, stage);
        }
        for _ in 0..leases * 2 {
            let at = stage.rng.between(0, length);
            some_node(at, Do::Mint, stage);
        }
        for pid in 1..stage.hosts.len() {
            for _ in 0..leases * 4 {
                let at = stage.rng.between(0, length);
                stage.at(at, pid, Do::Decide);
            }
        }
        stage.at(length, FATE, Do::Calm);
        stage.at(length + lease * 3, FATE, Do::ConfirmAll);
        stage.at(length + lease * 5, FATE, Do::Finish);
    }

    fn event(&mut self, pid: Pid, event: Event) {
        if self.stage.told {
            println!("{:>12} us, at {pid}: {event:?}", self.stage.now / 1000);
        }
        let stage = &mut self.stage;
        match (pid, event) {
            (FATE, Event::Do(event)) => self.fate(&event),
            (ORIGIN, event) => self.database.event(event, stage),
            (pid, event) => match self.members.get_mut(pid - 1) {
                Some(member) => member.event(event, stage),
                None => self.guards[pid - 1 - self.members.len()].event(event, stage),
            },
        }
    }

    fn fate(&mut self, event: &Do) {
        let stage = &mut self.stage;
        match *event {
            Do::Chaos if stage.now < stage.plan.length => self.chaos(),
            Do::Prove { minter, starts, sid, from, started }
                if self.database.is_live(sid) && stage.hosts[minter].starts == starts =>
            {
                let (delay, proven) = (stage.store_delay(), stage.now);
                stage.later(delay, minter, Do::Sign { sid, from, started, proven, key: KEY });
            }
            Do::SomeEnd => some_end(stage),
            Do::Race => race(stage),
            Do::Calm => stage.calm = true,
            Do::ConfirmAll => {
                self.confirmed_before = stage.facts.seen.confirmed;
                for (sid, _) in stage.facts.all().into_iter().filter(|(_, ended)| *ended) {
                    self.asked_in_calm += 1;
                    some_node(stage.now, Do::End { sid, confirm: true }, stage);
                }
            }
            _ => {}
        }
    }

    /// One thing that happens to processes, clocks and disks, by the weights of the plan.
    fn chaos(&mut self) {
        let stage = &mut self.stage;
        let what = stage.by_weight();
        let pid = stage.rng.index(stage.hosts.len());
        let node = stage.rng.index(self.members.len());
        match what {
            Some(0) => stage.freeze(pid),
            Some(1) if !self.guards.is_empty() => {
                let at = stage.rng.index(self.guards.len());
                let pid = self.members.len() + 1 + at;
                stage.hosts[pid].starts += 1;
                self.guards[at] = Guard::new(pid, None, stage);
                stage.later(0, pid, Do::Begin);
                stage.later(stage.plan.delay * 4, pid, Do::Decide);
            }
            Some(1 | 2) => {
                stage.hosts[node + 1].starts += 1;
                self.members[node] = Member::new(node + 1, stage);
                stage.later(0, node + 1, Do::Begin);
            }
            Some(3) => self.database.restart(stage),
            Some(4) => self.database.fail_over(stage),
            Some(5) if stage.rng.one_in(3) => self.went_back(node + 1),
            Some(5) if stage.rng.one_in(2) => self.database.back_up(),
            Some(6) => cut(stage),
            Some(7) => stage.hosts[pid].wall_off_ms = stage.wall_off(pid),
            _ => {}
        }
    }

    /// An older copy is put in place. Those who notice it first go on, while others still hold leases of before.
    fn went_back(&mut self, pid: Pid) {
        let stage = &mut self.stage;
        self.database.restore(stage);
        let lease = stage.plan.leases[0];
        if stage.rng.one_in(2) {
            stage.hosts[pid].cut_from_store_until = (stage.now + lease).min(stage.plan.length);
        }
        let other = 1 + stage.rng.index(stage.plan.nodes);
        if stage.rng.one_in(2) && other != pid {
            stage.hosts[other].starts += 1;
            self.members[other - 1] = Member::new(other, stage);
            stage.later(0, other, Do::Begin);
        }
        for _ in 0..3 {
            let after = stage.rng.between(0, lease / 2);
            stage.at(stage.now + after, FATE, Do::SomeEnd);
        }
    }

    /// The weather has been calm for some leases: everything works, and nothing was lost.
    fn finish(&mut self) {
        let stage = &mut self.stage;
        stage.facts.all_is_kept(&self.database.disk.sessions, stage.now);
        if stage.plan.followers_max < 1000 {
            return;
        }
        let nobody = SessionId::random(&mut stage.rng.0).entry();
        let guards = || self.guards.iter().map(|guard| &guard.held);
        let mut wrong = None;
        if !self.members.iter().all(|member| member.stands(stage)) {
            wrong = Some("a node has no lease");
        }
        if !guards().all(|held| matches!(held.standing(&[nobody], stage), Standing::Live(_))) {
            wrong = Some("a connected follower has no lease");
        }
        let recent = stage.now.saturating_sub(stage.plan.remembered());
        for sid in stage.facts.ended_since(recent) {
            let id = sid.entry();
            if !self.members.iter().all(|member| member.ended.contains(id)) {
                wrong = Some("a node does not know of an end");
            }
            if !guards().all(|held| held.standing(&[id], stage) == Standing::Ended) {
                wrong = Some("a connected follower does not know of an end");
            }
        }
        let confirmed = stage.facts.seen.confirmed - self.confirmed_before;
        let late = stage.plan.fenced && confirmed < self.asked_in_calm;
        if late || self.members.iter().any(Member::is_confirming) {
            wrong = Some("a confirmation does not return");
        }
        if let Some(wrong) = wrong {
            stage.facts.breaks(stage.now, Broken::NotLive(wrong));
        }
    }
}

/// It comes in at one of the nodes.
fn some_node(at: u64, event: Do, stage: &mut Stage) {
    let pid = 1 + stage.rng.index(stage.plan.nodes);
    stage.at(at, pid, event);
}

fn some_end(stage: &mut Stage) {
    let sessions = stage.facts.all();
    let live: Vec<_> = sessions.iter().filter(|(_, ended)| !ended).collect();
    if sessions.is_empty() {
        return;
    }
    let again = live.is_empty() || stage.rng.one_in(4);
    let sid = match again {
        true => sessions[stage.rng.index(sessions.len())].0,
        false => live[stage.rng.index(live.len())].0,
    };
    let confirm = !stage.rng.one_in(3);
    some_node(stage.now, Do::End { sid, confirm }, stage);
    // Somebody who was told 503, or who sees it ended, asks to have that confirmed.
    if stage.rng.one_in(2) {
        let after = stage.rng.between(0, stage.plan.delay * 4);
        some_node(stage.now + after, Do::End { sid, confirm: true }, stage);
    }
}

/// A client whose answers are late or lost presents one refresh token at several nodes.
fn race(stage: &mut Stage) {
    let sessions = stage.facts.all();
    if sessions.is_empty() {
        return;
    }
    let (sid, _) = sessions[stage.rng.index(sessions.len())];
    let presented = stage.facts.generation(sid);
    for _ in 0..stage.rng.between(2, 5) {
        let after = stage.rng.between(0, stage.plan.delay * 3);
        some_node(stage.now + after, Do::Refresh { sid, presented }, stage);
    }
}

/// A machine is cut off from the store, from everybody else, or from both.
fn cut(stage: &mut Stage) {
    let until = stage.now + stage.rng.between(0, stage.plan.leases[0] * 4);
    let (until, pid) = (until.min(stage.plan.length), stage.rng.index(stage.hosts.len()));
    let way = stage.rng.index(3);
    let host = &mut stage.hosts[pid];
    match way {
        0 => host.cut_from_store_until = until,
        1 => host.cut_from_others_until = until,
        _ => host.cut_until = until,
    }
}
