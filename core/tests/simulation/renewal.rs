//! How a server on a shared store takes its lease, after `server/src/store/nodes.rs`: one transaction that holds the end
//! of the log against ends, reads what is new, applies it, and writes down what is acknowledged.

use symbolon_core::{
    id::NodeId,
    lease::waited,
    log::{Cursor, Tail},
    node::{Progress, Row},
    revocation::Ended,
    time::Tick,
};

use crate::{
    acts::Confirm,
    draw::{MS, span},
    fault::Fault,
    member::Member,
    serving::Logged,
    sql::{Query, Rows, Tx},
    stage::{Do, Stage},
};

/// Renewals per lease.
const RENEWALS: u64 = 5;

#[derive(Debug)]
pub(crate) struct Renewal {
    pub(crate) tx: Tx,
    step: u32,
    /// From when the lease counts.
    asked: Tick,
    doing: Doing,
    /// Who asked before it began.
    confirms: Vec<Confirm>,
}

#[derive(Debug)]
enum Doing {
    Holding,
    /// Up to there, it was said.
    Reading(Option<Cursor>),
    Writing,
    Beginning,
    /// At the end of it: whether there is more to read, or another history, which is gone over to.
    Committing {
        all: bool,
    },
    Restarting {
        head: Cursor,
        entries: Vec<Logged>,
        longest: u64,
    },
}

impl Renewal {
    pub(crate) fn is(&self, tx: Tx, step: u32) -> bool {
        (self.tx, self.step) == (tx, step)
    }
}

impl Member {
    /// There is a reason to renew.
    pub(crate) fn poke(&mut self, stage: &mut Stage) {
        if self.renewal.is_some() {
            self.poked = true;
            return;
        }
        self.poked = false;
        let (tx, asked) = (stage.number(), stage.tick(self.pid));
        let (doing, query) = match self.started {
            true if stage.broken(Fault::RenewalReadsFirst) => {
                (Doing::Reading(None), Query::From(self.serving.tail.head().sequence))
            }
            true => (Doing::Holding, Query::Hold),
            false => (Doing::Beginning, Query::Snapshot(self.lease)),
        };
        let confirms = std::mem::take(&mut self.asked);
        self.renewal = Some(Renewal { tx, step: 0, asked, doing, confirms });
        stage.later(stage.plan.timeout, self.pid, Do::TimeOut(tx));
        self.query((tx, 0), query, stage);
    }

    pub(crate) fn renewal_failed(&mut self, stage: &mut Stage) {
        let Some(renewal) = self.renewal.take() else { return };
        let now = stage.tick(self.pid);
        self.asked.extend(renewal.confirms.into_iter().filter(|confirm| now < confirm.deadline));
        self.query((renewal.tx, renewal.step + 1), Query::Close, stage);
        stage.later(self.lease / 50, self.pid, Do::Renew);
    }

    fn says(&mut self, doing: Doing, query: Query, stage: &mut Stage) {
        let Some(renewal) = &mut self.renewal else { return };
        renewal.step += 1;
        renewal.doing = doing;
        let at = (renewal.tx, renewal.step);
        self.query(at, query, stage);
    }

    pub(crate) fn renewal_goes_on(&mut self, rows: Rows, stage: &mut Stage) {
        let Some(renewal) = &mut self.renewal else { return };
        let doing = std::mem::replace(&mut renewal.doing, Doing::Holding);
        match (doing, rows) {
            (Doing::Holding, Rows::Head(end)) => self.held(end, stage),
            (Doing::Reading(end), Rows::Entries { entries, all }) => {
                let follows = self.apply(entries, stage);
                let short = all && end.is_some_and(|end| end != self.serving.tail.head());
                if (!follows || short) && !self.ignores_history(stage) {
                    return self.says(Doing::Beginning, Query::Snapshot(self.lease), stage);
                }
                if !all {
                    return self.says(Doing::Committing { all }, Query::Commit, stage);
                }
                let row = self.row(stage);
                let insert = self.id.is_none();
                self.id.get_or_insert(row.id);
                let query = if insert { Query::Insert(row) } else { Query::Update(row) };
                self.says(Doing::Writing, query, stage);
            }
            (Doing::Writing, Rows::Count(0)) if !stage.broken(Fault::RenewsWithoutRow) => {
                (self.id, self.renewals) = (None, 0);
                let row = self.row(stage);
                self.id = Some(row.id);
                // Others that hold leases may have no row, either.
                if !stage.broken(Fault::RowGoneNotWaitedFor) {
                    let over = stage.tick(self.pid) + waited(span(self.lease));
                    self.earlier_until = self.earlier_until.max(over);
                }
                self.says(Doing::Writing, Query::Insert(row), stage);
            }
            (Doing::Writing, Rows::Count(_)) => {
                self.says(Doing::Committing { all: true }, Query::Commit, stage);
            }
            (Doing::Beginning, Rows::Log { head, entries, longest }) if self.started => {
                let doing = Doing::Restarting { head, entries, longest };
                self.says(doing, Query::Commit, stage);
            }
            (Doing::Beginning, Rows::Log { head, entries, longest }) => {
                self.begin(head, entries, longest, stage);
                self.renewed(false, stage);
            }
            (Doing::Restarting { head, entries, longest }, Rows::Done) => {
                self.restart(head, entries, longest, stage);
                self.renewed(false, stage);
            }
            (Doing::Committing { all }, Rows::Done) => self.renewed(all, stage),
            _ => self.renewal_failed(stage),
        }
    }

    fn held(&mut self, end: Cursor, stage: &mut Stage) {
        let head = self.serving.tail.head();
        if end.log != head.log && !stage.broken(Fault::HistoryIgnored) {
            self.says(Doing::Beginning, Query::Snapshot(self.lease), stage);
        } else {
            self.says(Doing::Reading(Some(end)), Query::From(head.sequence), stage);
        }
    }

    fn ignores_history(&self, stage: &Stage) -> bool {
        stage.broken(Fault::HistoryIgnored)
            || stage.broken(Fault::EntryNotCompared)
            || stage.broken(Fault::NumberedOutsideLock)
            || stage.broken(Fault::RenewalSharesNoLock)
    }

    fn row(&mut self, stage: &mut Stage) -> Row {
        let head = self.serving.tail.head().sequence;
        let acknowledged = match stage.plan.fault {
            Some(Fault::NodeAcknowledgesAlone) => head,
            _ => self.progress.acknowledged(),
        };
        let id = match self.id {
            _ if stage.broken(Fault::NodesShareIdentity) => NodeId::from_bytes([1; 16]),
            Some(id) => id,
            None => NodeId::random(&mut stage.rng.0),
        };
        let known = !stage.broken(Fault::OlderRowIsOwn);
        let renewals = if known { self.renewals } else { 0 };
        Row { id, acknowledged, renewals, lease: span(self.lease / MS * MS) }
    }

    /// Applied first, acknowledged then; but not what does not follow.
    fn apply(&mut self, mut entries: Vec<Logged>, stage: &mut Stage) -> bool {
        let (now, head) = (stage.tick(self.pid), self.serving.tail.head());
        let first = entries.first().map(|logged| logged.entry);
        if !head.is_followed_by(first.as_ref()) && !self.ignores_history(stage) {
            return false;
        }
        entries.retain(|logged| logged.entry.sequence > head.sequence);
        let mut late = Vec::new();
        for logged in &entries {
            if stage.broken(Fault::AcknowledgeBeforeApplying) {
                late.push(logged.entry.id);
            } else {
                self.hears_of(logged.entry.id, logged.at, stage.now);
            }
            self.serving.tail.push(logged.entry);
            self.log.push(*logged);
        }
        if !late.is_empty() {
            let delay = stage.rng.between(0, self.lease);
            stage.later(delay, self.pid, Do::ApplyLate(late));
        }
        if !entries.is_empty() {
            let head = self.serving.tail.head().sequence;
            self.progress.apply(head, &self.serving.leases, now);
        }
        if !entries.is_empty() || self.serving.is_behind() {
            let own = self.own(stage);
            self.serving.news(&self.log, own, stage);
        }
        self.progress.settle(&self.serving.leases, now);
        true
    }

    fn begin(&mut self, head: Cursor, entries: Vec<Logged>, longest: u64, stage: &mut Stage) {
        self.progress = Progress::at(head.sequence);
        let now = stage.tick(self.pid);
        if longest > 0 && !stage.broken(Fault::StartNotWaitedFor) {
            self.earlier_until = now + waited(span(longest.max(self.lease)));
        }
        self.take_over(head, entries, now, stage);
        self.started = true;
    }

    /// Another history. Nobody knows who held leases then.
    fn restart(&mut self, head: Cursor, entries: Vec<Logged>, longest: u64, stage: &mut Stage) {
        let now = stage.tick(self.pid);
        if stage.broken(Fault::SnapshotReplaces) {
            self.ended = Ended::new(&mut stage.rng.0);
        }
        let earlier = match stage.plan.fault {
            Some(Fault::HistoryNotWaitedFor) => now,
            _ => now + waited(span(longest.max(self.lease))),
        };
        self.take_over(head, entries, earlier, stage);
        if !stage.broken(Fault::ProgressKept) {
            self.progress = Progress::default();
            self.id = None;
        }
        self.progress.apply(head.sequence, &self.serving.leases, now);
        let own = self.own(stage);
        self.serving.news(&self.log, own, stage);
    }

    fn take_over(&mut self, head: Cursor, entries: Vec<Logged>, earlier: Tick, stage: &Stage) {
        for logged in &entries {
            self.hears_of(logged.entry.id, logged.at, stage.now);
        }
        self.log = entries;
        self.serving.tail = Tail::new(head, stage.plan.tail_max);
        self.serving.leases.restart(earlier);
    }

    /// Committed. If that was all there is to read, there is a lease.
    fn renewed(&mut self, all: bool, stage: &mut Stage) {
        let Some(renewal) = self.renewal.take() else { return };
        if !all {
            self.asked.extend(renewal.confirms);
            return self.poke(stage);
        }
        self.renewals += 1;
        let now = stage.tick(self.pid);
        let from = match stage.plan.fault {
            Some(Fault::NodeLeaseFromCommit) => now,
            _ => renewal.asked,
        };
        self.lease_until = from + span(self.lease);
        if self.stands(stage) {
            self.open_gate(stage);
        }
        for confirm in renewal.confirms {
            self.confirm(confirm, stage);
        }
        if self.poked || !self.asked.is_empty() {
            self.poke(stage);
        } else {
            stage.later(self.lease / RENEWALS, self.pid, Do::Renew);
        }
    }
}
