//! A follower in its process: core's, and the ways to use it wrongly.

use std::collections::HashMap;

use symbolon_core::{
    follower::{Answer, Dropped, Follower, Question, Standing},
    id::EntryId,
    log::Cursor,
    revocation::Ended,
    time::Tick,
};

use crate::{
    draw::MS,
    fault::Fault,
    stage::{Do, Pid, Stage},
};

#[derive(Debug)]
pub(crate) struct Held {
    pid: Pid,
    pub(crate) follower: Follower,
    asked_at: Tick,
    cursor: Option<Cursor>,
    /// For [`Fault::AcknowledgeBeforeApplying`].
    late: Ended,
    /// When this process heard of an end, in true time.
    known: HashMap<EntryId, u64>,
}

impl Held {
    pub(crate) fn new(pid: Pid, follower: Follower) -> Self {
        let (asked_at, cursor, late) = (Tick::default(), None, Ended::default());
        Self { pid, follower, asked_at, cursor, late, known: HashMap::new() }
    }

    pub(crate) fn ask(&mut self, stage: &mut Stage) -> Question {
        self.asked_at = stage.tick(self.pid);
        self.follower.ask(self.asked_at, Vec::new(), &mut stage.rng.0)
    }

    pub(crate) fn hear(
        &mut self,
        mut answer: Answer,
        restart: bool,
        stage: &mut Stage,
    ) -> Result<(), Dropped> {
        if stage.broken(Fault::LeaseFromAnswer) && answer.lease_ms > 0 {
            let since = stage.tick(self.pid).since(self.asked_at).as_millis();
            answer.lease_ms = (answer.lease_ms + u64::try_from(since).unwrap()).min(60_000);
        }
        let mut ended = answer.ended.clone();
        if stage.broken(Fault::AcknowledgeBeforeApplying) {
            answer.ended.clear();
            let delay = stage.rng.between(0, stage.plan.leases[0]);
            stage.later(delay, self.pid, Do::ApplyLate(std::mem::take(&mut ended)));
        }
        let (cursor, before) = (answer.cursor, self.cursor);
        let other_log = before.is_some_and(|before| before.log != cursor.log) || restart;
        let back = before.is_some_and(|before| cursor.sequence < before.sequence);
        let replaces = (stage.broken(Fault::SnapshotReplaces) && other_log)
            || (stage.broken(Fault::TakenBackwards) && back && !other_log);
        if replaces {
            self.hear_as_new(answer, stage)?;
        } else {
            self.follower.hear(answer)?;
        }
        self.cursor = Some(cursor);
        for id in ended {
            self.known.entry(id).or_insert(stage.now);
        }
        Ok(())
    }

    /// Forgets everything first.
    fn hear_as_new(&mut self, mut answer: Answer, stage: &mut Stage) -> Result<(), Dropped> {
        let rng = &mut stage.rng.0;
        let mut fresh = Follower::new(rng);
        answer.question = fresh.ask(self.asked_at, Vec::new(), rng).question;
        fresh.hear(answer)?;
        self.follower = fresh;
        Ok(())
    }

    pub(crate) fn apply_late(&mut self, ids: &[EntryId], stage: &Stage) {
        ids.iter().for_each(|id| self.late.insert(*id, stage.wall(self.pid)));
    }

    pub(crate) fn standing(&self, ids: &[EntryId], stage: &Stage) -> Standing {
        if self.late.contains_any(ids) {
            return Standing::Ended;
        }
        let host = &stage.hosts[self.pid];
        let asleep_lately = stage.now < host.frozen_until + 20 * MS;
        let now = match stage.plan.fault {
            Some(Fault::CachedNow) if asleep_lately => host.tick(host.frozen_since),
            _ => stage.tick(self.pid),
        };
        match self.follower.standing(ids, now) {
            Standing::Live(_) if stage.broken(Fault::LocalWallClock) => {
                Standing::Live(stage.wall(self.pid))
            }
            standing => standing,
        }
    }

    /// When this process heard first that one of these was ended.
    pub(crate) fn knew(&self, ids: &[EntryId]) -> Option<u64> {
        ids.iter().filter_map(|id| self.known.get(id)).min().copied()
    }
}
