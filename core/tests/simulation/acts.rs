//! What a server on a shared store is asked to do there, after `server/src/store/shared.rs`: each a transaction of its
//! own, statement by statement, under a deadline. Once that has passed the answer is 503, whatever becomes of it. And
//! how it confirms: it reads the log to its end, then waits for its followers and for the rows of the others.

use symbolon_core::{
    id::{NodeId, SessionId},
    lease::Confirmation,
    node::{Row, Waiting},
    time::Tick,
};

use crate::{
    draw::span,
    fault::Fault,
    member::{Member, Request},
    sql::{Query, Rows, Session, Tx},
    stage::{Do, Stage},
};

#[derive(Debug)]
pub(crate) struct Act {
    pub(crate) step: u32,
    pub(crate) request: Option<Request>,
    began: u64,
    asked: Tick,
    /// How often clients had been told that history was lost.
    losses: u64,
    doing: Doing,
}

#[derive(Debug)]
enum Doing {
    Loading,
    Opening {
        sid: SessionId,
    },
    Ending {
        ids: Vec<SessionId>,
    },
    Saving {
        successor: u64,
    },
    /// The rows of the others are read, for this confirmation.
    Looking(u64),
    Removing,
}

/// Somebody wants to hear when what has ended is over everywhere.
#[derive(Debug)]
pub(crate) struct Confirm {
    pub(crate) sid: SessionId,
    pub(crate) deadline: Tick,
    /// When it was asked for: only for [`Fault::WaitsFromAsking`].
    began: Tick,
    losses: u64,
}

#[derive(Debug)]
pub(crate) struct Confirming {
    number: u64,
    confirm: Confirm,
    /// The row of this node.
    own: Option<NodeId>,
    followers: Confirmation,
    others: Waiting,
    others_done: bool,
    looking: bool,
}

impl Act {
    pub(crate) fn is_look_of(&self, confirming: &Confirming) -> bool {
        matches!(self.doing, Doing::Looking(number) if number == confirming.number)
    }
}

impl Member {
    pub(crate) fn act(&mut self, request: Request, began: u64, stage: &mut Stage) {
        let sid = match &request {
            Request::Cookie(sid) | Request::End { sid, .. } | Request::Refresh { sid, .. } => *sid,
            Request::Check { check, .. } => check.sid,
            Request::Login => return self.login(began, stage),
            Request::Token(_) => return,
        };
        self.begin_act(Some(request), began, Doing::Loading, Query::Load(sid), stage);
    }

    fn begin_act(
        &mut self,
        request: Option<Request>,
        began: u64,
        doing: Doing,
        query: Query,
        stage: &mut Stage,
    ) {
        let (tx, asked, losses) = (stage.number(), stage.tick(self.pid), stage.facts.losses());
        self.acts.insert(tx, Act { step: 0, request, began, asked, losses, doing });
        stage.later(stage.plan.timeout, self.pid, Do::TimeOut(tx));
        self.query((tx, 0), query, stage);
    }

    /// A new session, or one under a session that this node believes to live.
    fn login(&mut self, began: u64, stage: &mut Stage) {
        let sid = SessionId::random(&mut stage.rng.0);
        let mut known: Vec<_> = self.cache.keys().copied().collect();
        known.sort_unstable();
        let child = !known.is_empty() && stage.rng.one_in(3);
        let parent = child.then(|| known[stage.rng.index(known.len())]);
        let parent = parent.filter(|parent| !stage.facts.is_child(*parent));
        let doing = Doing::Opening { sid };
        self.begin_act(None, began, doing, Query::Open { sid, parent }, stage);
    }

    pub(crate) fn act_goes_on(&mut self, tx: Tx, rows: Rows, stage: &mut Stage) {
        let Some(mut act) = self.acts.remove(&tx) else { return };
        match (&mut act.doing, rows) {
            (Doing::Loading, Rows::Session(row)) => self.loaded_for(act, row, stage),
            // Now the end of the log is locked, or this transaction ends nothing.
            (Doing::Ending { ids }, Rows::Ended(sids)) => {
                *ids = sids;
                self.goes_on(tx, act, Query::Number, stage);
            }
            (Doing::Ending { .. }, Rows::Gone) => {
                self.query((tx, act.step + 1), Query::Close, stage);
                self.ended(&act, stage);
            }
            (Doing::Saving { .. }, Rows::Conflict) => {
                self.query((tx, act.step + 1), Query::Close, stage);
                if let Some(request) = act.request {
                    self.act(request, act.began, stage);
                }
            }
            (_, Rows::Gone) => self.query((tx, act.step + 1), Query::Close, stage),
            (
                Doing::Ending { .. } | Doing::Opening { .. } | Doing::Saving { .. },
                Rows::Count(_),
            ) => {
                self.goes_on(tx, act, Query::Commit, stage);
            }
            // The end of the log is this transaction's.
            (Doing::Ending { .. }, Rows::Done) if act.step == 1 => {
                self.goes_on(tx, act, Query::Commit, stage);
            }
            (_, Rows::Done) => self.committed(&act, stage),
            (Doing::Looking(number), Rows::Nodes(rows)) => {
                let number = *number;
                self.looked(number, rows, stage);
            }
            _ => {}
        }
    }

    fn goes_on(&mut self, tx: Tx, mut act: Act, query: Query, stage: &mut Stage) {
        act.step += 1;
        self.query((tx, act.step), query, stage);
        self.acts.insert(tx, act);
    }

    fn loaded_for(&mut self, act: Act, row: Option<Session>, stage: &mut Stage) {
        let Act { request: Some(request), began, asked, .. } = act else { return };
        match (&request, row) {
            (Request::End { .. }, Some(Session { ended: true, .. })) => {
                self.ended(&Act { request: Some(request), ..act }, stage);
            }
            (Request::End { .. }, None) if stage.broken(Fault::UnknownIsGone) => {
                self.ended(&Act { request: Some(request), ..act }, stage);
            }
            (Request::End { sid, .. }, _) => {
                let (sid, doing) = (*sid, Doing::Ending { ids: Vec::new() });
                self.begin_act(Some(request), began, doing, Query::End(sid), stage);
            }
            (Request::Refresh { sid, presented }, Some(row)) => {
                let (sid, presented) = (*sid, *presented);
                if row.ended && !stage.broken(Fault::RefreshWithoutLife) {
                    stage.facts.seen.refused += 1;
                } else if row.generation == presented + 1 {
                    // The same answer again.
                    let told = (sid, presented, row.token);
                    stage.facts.told_refreshed(told, act.losses, stage.now);
                } else if row.generation <= presented {
                    let successor = stage.number();
                    // One of a history that was lost is gone on with.
                    let (at, next) = (row.generation, presented + 1);
                    let query = Query::Save { sid, at, next, token: successor };
                    let doing = Doing::Saving { successor };
                    self.begin_act(Some(request), began, doing, query, stage);
                }
            }
            _ => self.loaded(&request, (began, asked), row, stage),
        }
    }

    fn committed(&mut self, act: &Act, stage: &mut Stage) {
        match (&act.doing, &act.request) {
            (Doing::Opening { sid }, _) => stage.facts.told_opened(*sid, act.losses),
            (Doing::Ending { ids }, _) => {
                for id in ids {
                    self.hears_of(id.entry(), stage.wall(self.pid), stage.now);
                    stage.facts.told_ended(*id, act.losses);
                }
                self.poke(stage);
                self.ended(act, stage);
            }
            (Doing::Saving { successor }, Some(Request::Refresh { sid, presented })) => {
                let told = (*sid, *presented, *successor);
                stage.facts.told_refreshed(told, act.losses, stage.now);
            }
            _ => {}
        }
    }

    /// It is ended, by this request or before. If asked for, that is confirmed.
    fn ended(&mut self, act: &Act, stage: &mut Stage) {
        let Some(Request::End { sid, confirm: true }) = act.request else { return };
        let deadline = stage.tick(self.pid) + span(stage.plan.leases[0] * 3);
        let confirm = Confirm { sid, deadline, began: act.asked, losses: act.losses };
        if stage.broken(Fault::EndedAlreadyIsConfirmed) && matches!(act.doing, Doing::Loading) {
            return stage.facts.confirmed(sid, stage.now);
        }
        if stage.broken(Fault::NoBarrier) {
            return self.confirm(confirm, stage);
        }
        self.asked.push(confirm);
        self.poke(stage);
    }

    /// The log was read to its end after it was asked for.
    pub(crate) fn confirm(&mut self, confirm: Confirm, stage: &mut Stage) {
        // Where a failover may lose it, nothing is confirmed.
        if !stage.plan.fenced && !stage.broken(Fault::UnfencedConfirms) {
            return;
        }
        let (number, now) = (stage.number(), stage.tick(self.pid));
        let sequence = self.serving.tail.head().sequence;
        let followers = self.serving.leases.confirm(sequence, now);
        let began = if stage.broken(Fault::WaitsFromAsking) { confirm.began } else { now };
        let others = Waiting::new(sequence, began, self.earlier_until);
        let (own, others_done, looking) = (self.id, false, false);
        let confirming =
            Confirming { number, confirm, own, followers, others, others_done, looking };
        self.confirming.push(confirming);
        self.look(number, stage);
    }

    /// Who has acknowledged meanwhile?
    pub(crate) fn look(&mut self, number: u64, stage: &mut Stage) {
        let Some(at) = self.confirming.iter().position(|one| one.number == number) else { return };
        let (now, leases) = (stage.tick(self.pid), &self.serving.leases);
        let one = &mut self.confirming[at];
        let followers_done = leases.settle(&mut one.followers, now).is_none();
        if followers_done && one.others_done {
            let done = self.confirming.swap_remove(at);
            stage.facts.seen.acknowledged += u64::from(done.followers.acknowledged);
            stage.facts.seen.waited_out += u64::from(done.followers.waited_out);
            stage.facts.told_confirmed(done.confirm.sid, done.confirm.losses, stage.now);
            return stage.everybody_decides();
        }
        if now >= one.confirm.deadline {
            self.confirming.swap_remove(at);
            return;
        }
        let ask = !one.others_done && !one.looking;
        one.looking |= ask;
        if ask {
            self.begin_act(None, stage.now, Doing::Looking(number), Query::Nodes, stage);
        }
        stage.later(self.lease / 50, self.pid, Do::Look(number));
    }

    fn looked(&mut self, number: u64, rows: Vec<Row>, stage: &mut Stage) {
        let now = stage.tick(self.pid);
        let Some(one) = self.confirming.iter_mut().find(|one| one.number == number) else { return };
        one.looking = false;
        let rows = rows.into_iter().filter(|row| Some(row.id) != one.own).collect();
        let mut others = one.others.look(rows, now);
        if stage.broken(Fault::SilentIsGone) {
            others.done = true;
        }
        one.others_done |= others.done;
        stage.facts.seen.acknowledged +=
            u64::from(others.acknowledged) * u64::from(one.others_done);
        stage.facts.seen.waited_out += u64::from(others.waited_out);
        for row in others.silent {
            self.begin_act(None, stage.now, Doing::Removing, Query::Remove(row), stage);
        }
    }
}
