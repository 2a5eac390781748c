//! What happens to processes, clocks and disks.

use crate::{
    stage::{Do, ORIGIN, Stage},
    world::World,
};

impl World {
    /// One thing, by the weights of the plan.
    pub(crate) fn chaos(&mut self) {
        let stage = &mut self.stage;
        let what = stage.by_weight();
        let pid = stage.rng.index(stage.hosts.len());
        match what {
            Some(0) => stage.freeze(pid),
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

impl Stage {
    /// What happens next.
    pub(crate) fn by_weight(&mut self) -> Option<usize> {
        let weights = self.plan.weights;
        let mut left = self.rng.between(0, weights.iter().sum::<u64>().max(1));
        weights.iter().position(|weight| {
            let here = left < *weight;
            left = left.saturating_sub(*weight);
            here
        })
    }

    /// For some time, sometimes for longer than any entry lives. Requests wait for it to wake.
    pub(crate) fn freeze(&mut self, pid: usize) {
        let lease = self.plan.leases[0];
        let most = if self.rng.one_in(8) { self.plan.entry_life * 2 } else { lease * 3 };
        let until = (self.now + self.rng.between(0, most)).min(self.plan.length);
        let host = &mut self.hosts[pid];
        host.frozen_since = self.now;
        host.frozen_until = until;
        if pid != ORIGIN {
            (0..3).for_each(|_| self.at(until, pid, Do::Decide));
        }
    }
}
