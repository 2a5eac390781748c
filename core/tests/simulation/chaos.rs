//! What happens to processes, clocks and disks.

use crate::{
    stage::{Do, ORIGIN, Stage},
    world::World,
};

impl World {
    /// One thing, by the weights of the plan.
    pub(crate) fn chaos(&mut self) {
        let stage = &mut self.stage;
        let weights = stage.plan.weights;
        let mut left = stage.rng.between(0, weights.iter().sum::<u64>().max(1));
        let what = weights.iter().position(|weight| {
            let here = left < *weight;
            left = left.saturating_sub(*weight);
            here
        });
        let pid = stage.rng.index(stage.hosts.len());
        match what {
            Some(0) => freeze(pid, stage),
            Some(1) => self.restart_guard(),
            Some(2) => self.restart_node(),
            Some(3) => self.origin.restart(stage),
            Some(4) if stage.rng.one_in(2) => self.origin.restore(false, stage),
            Some(5) if stage.rng.one_in(4) => self.origin.restore(true, stage),
            Some(4 | 5) => self.origin.back_up(),
            Some(6) => {
                let (now, most) = (stage.now, stage.plan.leases[0] * 4);
                let until = now + stage.rng.between(0, most);
                stage.hosts[pid].cut_until = until.min(stage.plan.length);
            }
            Some(7) => stage.hosts[pid].wall_off_ms = stage.wall_off(pid),
            _ => {}
        }
    }

    fn restart_guard(&mut self) {
        let at = self.stage.rng.index(self.guards.len());
        // A process whose identity was stored comes back with it.
        let identity = self.stage.rng.one_in(4).then_some(1);
        self.start_guard(at, identity);
    }

    fn restart_node(&mut self) {
        if !self.nodes.is_empty() {
            let at = self.stage.rng.index(self.nodes.len());
            self.start_node(at);
        }
    }
}

/// For some time, sometimes for longer than any entry lives. Requests wait for it to wake.
fn freeze(pid: usize, stage: &mut Stage) {
    let lease = stage.plan.leases[0];
    let most = if stage.rng.one_in(8) { stage.plan.entry_life * 2 } else { lease * 3 };
    let until = (stage.now + stage.rng.between(0, most)).min(stage.plan.length);
    let host = &mut stage.hosts[pid];
    host.frozen_since = stage.now;
    host.frozen_until = until;
    if pid != ORIGIN {
        (0..3).for_each(|_| stage.at(until, pid, Do::Decide));
    }
}
