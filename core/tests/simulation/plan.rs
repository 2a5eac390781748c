//! What one history is like: drawn once, from its seed.

use symbolon_core::revocation::entry_life;

use crate::{
    draw::{Draw, MS, span},
    fault::Fault,
};

/// Everything that does not change during a history. Times are nanoseconds of true time.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) fault: Option<Fault>,
    /// The nodes share a store; otherwise one server has it, and the others follow that one.
    pub(crate) shared: bool,
    pub(crate) nodes: usize,
    pub(crate) guards: usize,
    /// No guard asks the origin.
    pub(crate) behind_nodes: bool,
    /// Guards 0 and 1 are copies of one process that had drawn its identity.
    pub(crate) twins: bool,
    /// The lease of the first server process, and the one of those after it.
    pub(crate) leases: [u64; 2],
    /// How long a question waits for news.
    pub(crate) hold: u64,
    pub(crate) token_life: u64,
    pub(crate) leeway: u64,
    pub(crate) entry_life: u64,
    /// How long faults happen.
    pub(crate) length: u64,
    pub(crate) page_max: usize,
    pub(crate) tail_max: usize,
    pub(crate) followers_max: usize,
    /// Of a message, usually.
    pub(crate) delay: u64,
    /// Percent of messages that are lost, come twice, or come late.
    pub(crate) lost: u64,
    pub(crate) twice: u64,
    pub(crate) late: u64,
    /// How often something happens to a process, per lease.
    pub(crate) chaos: u64,
    /// How many sessions are ended, per lease.
    pub(crate) ends: u64,
    /// What happens, by weight: see [`crate::chaos`].
    pub(crate) weights: [u64; 8],
    /// Per mille that a clock's rate may be off, each way.
    pub(crate) rate_ppm: i64,
    /// How long an act at a shared store may take.
    pub(crate) timeout: u64,
    /// Its failover loses nothing.
    pub(crate) fenced: bool,
    /// The log keeps its name when the server starts anew, as that of a cluster does.
    pub(crate) log_keeps_name: bool,
}

impl Plan {
    pub(crate) fn draw(rng: &mut Draw, fault: Option<Fault>) -> Self {
        // Long histories see entries leave; they need lives far over the minute to which a set is exact.
        let long = fault.is_none_or(wants_long) && (fault.is_some() || rng.one_in(32));
        let crowd = !long && fault.is_none() && rng.one_in(300);
        let lease = if long { 30_000 * MS } else { rng.between(200, 5_000) * MS };
        let token_life = if long { 240_000 * MS } else { lease * rng.between(4, 20) };
        let leeway = lease / 2;
        let entry_life = entry_life(span(token_life), span(leeway), span(lease));
        let entry_life = u64::try_from(entry_life.as_nanos()).unwrap();
        let mut weights = [0; 8];
        for weight in &mut weights {
            *weight = if rng.one_in(3) { 0 } else { rng.between(1, 6) };
        }
        let other_lease = if rng.one_in(2) { lease } else { lease / rng.between(2, 4) };
        let mut plan = Self {
            fault,
            shared: false,
            timeout: 0,
            fenced: true,
            nodes: if fault.is_some_and(wants_nodes) { 2 } else { pick(rng, &[0, 0, 1, 2, 3]) },
            guards: if crowd { 120 } else { pick(rng, &[1, 2, 2, 3, 4, 6]) },
            behind_nodes: fault.is_some_and(wants_nodes),
            twins: rng.one_in(4) || fault == Some(Fault::SharedIdentity),
            leases: [lease, other_lease],
            // A lease goes on without a gap only if two questions, or three behind a node, fit into it.
            hold: other_lease / if long { 10 } else { rng.between(5, 7) },
            token_life,
            leeway,
            entry_life,
            length: if long {
                entry_life * 3
            } else {
                lease * if crowd { 3 } else { rng.between(6, 11) }
            },
            page_max: pick(rng, &[1, 2, 3, 1000]),
            tail_max: pick(rng, &[0, 1, 3, 1000]),
            followers_max: if rng.one_in(20) { 3 } else { 1000 },
            delay: other_lease / pick(rng, &[40, 100]) as u64,
            lost: pick(rng, &[0, 0, 3, 15]) as u64,
            twice: pick(rng, &[0, 0, 3]) as u64,
            late: pick(rng, &[0, 3, 15]) as u64,
            chaos: pick(rng, &[0, 1, 2, 4]) as u64,
            ends: pick(rng, &[1, 1, 3]) as u64,
            weights,
            rate_ppm: if fault == Some(Fault::ClocksBeyondAllowance) { 20_000 } else { 490 },
            log_keeps_name: rng.one_in(2),
        };
        plan.focus();
        plan
    }

    /// One of nodes that share a store.
    pub(crate) fn draw_shared(rng: &mut Draw, fault: Option<Fault>) -> Self {
        let mut plan = Self::draw(rng, fault);
        let lease = plan.leases[0];
        (plan.shared, plan.behind_nodes) = (true, true);
        plan.nodes = pick(rng, &[2, 3, 3, 4]);
        plan.guards = pick(rng, &[0, 1, 2, 4]);
        // A lease goes on without a gap only if a renewal, with an answer or two to wait for, fits into it.
        plan.delay = plan.leases[1] / pick(rng, &[60, 100, 400]) as u64;
        plan.timeout = (lease / pick(rng, &[1, 2, 4]) as u64).max(plan.delay * 25);
        plan.fenced = !rng.one_in(6);
        plan.page_max = pick(rng, &[2, 5, 1000]);
        plan.focus_shared();
        plan
    }

    fn focus_shared(&mut self) {
        use Fault::*;
        let Some(fault) = self.fault else { return };
        match fault {
            UnfencedConfirms => {
                (self.fenced, self.chaos, self.weights) = (false, 4, [0, 0, 0, 0, 1, 0, 0, 0]);
            }
            // Somebody is silent when something ends.
            SilentIsGone | WaitsFromAsking | ClocksBeyondAllowance => {
                (self.fenced, self.guards, self.chaos, self.ends) = (true, 0, 3, 3);
                (self.lost, self.timeout) = (0, self.leases[0]);
                self.weights = [0, 0, 0, 0, 0, 0, 1, 0];
                self.late = if fault == ClocksBeyondAllowance { 0 } else { 10 };
                if fault == ClocksBeyondAllowance {
                    (self.rate_ppm, self.delay) = (60_000, self.leases[0] / 400);
                }
            }
            // Somebody freezes while it renews.
            NodeLeaseFromCommit => {
                (self.fenced, self.guards, self.chaos, self.ends) = (true, 0, 4, 4);
                (self.late, self.lost, self.delay) = (0, 0, self.leases[0] / 40);
                self.weights = [1, 0, 0, 0, 0, 0, 0, 0];
            }
            RenewsWithoutRow => {
                (self.fenced, self.chaos, self.ends) = (true, 4, 3);
                self.weights = [2, 0, 0, 0, 0, 0, 3, 0];
            }
            // Nodes hold leases that are not in the backup.
            HistoryNotWaitedFor | StartNotWaitedFor | EntryNotCompared => {
                (self.fenced, self.chaos, self.ends) = (true, 6, 3);
                (self.late, self.lost, self.delay) = (0, 0, self.leases[0] / 200);
                self.weights = [0, 0, 0, 0, 0, 3, 1, 0];
                self.log_keeps_name = fault == EntryNotCompared;
            }
            // A copy in which nothing is missing but nodes.
            RowGoneNotWaitedFor => {
                (self.fenced, self.chaos, self.ends, self.log_keeps_name) = (true, 6, 1, true);
                (self.late, self.lost, self.delay) = (0, 0, self.leases[0] / 200);
                self.weights = [0, 0, 0, 0, 0, 3, 1, 0];
            }
            // A node that has come since the copy was made.
            OlderRowIsOwn => {
                (self.fenced, self.chaos, self.ends, self.log_keeps_name) = (true, 6, 1, true);
                (self.late, self.lost, self.delay) = (0, 0, self.leases[0] / 200);
                self.weights = [0, 0, 2, 0, 0, 3, 0, 0];
            }
            ProgressKept => {
                (self.fenced, self.chaos, self.ends) = (true, 2, 3);
                (self.late, self.lost, self.delay) = (0, 0, self.leases[0] / 100);
                self.weights = [0, 0, 0, 0, 0, 2, 1, 0];
                self.log_keeps_name = false;
            }
            SequencesReused => self.weights = [0, 0, 0, 0, 0, 1, 0, 0],
            SharedIdentity => {
                (self.fenced, self.nodes, self.guards, self.ends) = (true, 1, 4, 3);
                (self.chaos, self.weights) = (2, [1, 0, 0, 0, 0, 0, 1, 0]);
            }
            _ => {}
        }
    }

    /// Some faults need something that is rare otherwise.
    fn focus(&mut self) {
        match self.fault {
            Some(Fault::NodeServesPartialSnapshot) => {
                (self.page_max, self.chaos, self.weights) = (1, 4, [0, 2, 0, 1, 0, 0, 0, 0]);
            }
            Some(Fault::NodeAcknowledgesSnapshot) => {
                (self.page_max, self.tail_max, self.chaos) = (1, 0, 0);
            }
            Some(Fault::NodeKeepsAcknowledgements) => {
                (self.chaos, self.weights, self.log_keeps_name) =
                    (4, [0, 0, 0, 0, 1, 0, 1, 0], true);
                (self.ends, self.nodes, self.guards) = (6, 1, 4);
                (self.twins, self.lost, self.twice) = (false, 0, 0);
            }
            Some(Fault::LoadIsShared | Fault::CacheAgeFromArrival) => self.late = 30,
            Some(Fault::LongestLeaseForgotten) => {
                (self.chaos, self.weights) = (2, [0, 0, 0, 1, 0, 0, 2, 0]);
                self.leases[1] = self.leases[0] / 3;
            }
            _ => {}
        }
    }

    /// The longest lease that is ever granted.
    pub(crate) fn lease_max(&self) -> u64 {
        self.leases[0].max(self.leases[1])
    }

    /// How long an entry is kept at least, however the servers' clocks are set meanwhile.
    pub(crate) fn remembered(&self) -> u64 {
        self.entry_life - 2 * self.leeway
    }
}

fn pick(rng: &mut Draw, of: &[usize]) -> usize {
    of[rng.index(of.len())]
}

fn wants_long(fault: Fault) -> bool {
    use Fault::*;
    matches!(fault, PauseBeforeSignature | CacheAgeFromArrival | EntryLeavesEarly | LocalWallClock)
}

fn wants_nodes(fault: Fault) -> bool {
    use Fault::*;
    matches!(
        fault,
        TakenBackwards
            | NodeGrantsWhole
            | NodeAcknowledgesAlone
            | NodeServesPartialSnapshot
            | NodeAcknowledgesSnapshot
            | NodeKeepsAcknowledgements
    )
}
