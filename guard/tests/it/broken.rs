//! The conformance suite notices what it is there for: each promise, broken on purpose.

use symbolon_core::{data::DataVersion, id::SessionId, time::Time};
use symbolon_guard::store::{
    Answer, Applied, Delta, Event, EventId, Loaded, Opened, Opening, Part, Reason, Record,
    SessionStore, conformance, memory::Memory,
};

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// None.
    Nothing,
    /// A write after the end is said to be done.
    WritesAfterTheEnd,
    /// All data is read, changed and written back.
    LastWriterWins,
    /// A write at an earlier version is done.
    IgnoresVersions,
    /// Sessions are counted, and then one is opened.
    CountsFirst,
    /// The data is copied, and then the old session ends.
    RenewsInSteps,
    /// Whoever began to log in before the end of all is logged in after it.
    ForgetsEnds,
    /// Whatever is seen was seen a minute later.
    TouchesAhead,
    /// What ran out is gone for those who look late, and not ended.
    RevivesByClock,
    /// Whoever ends what has ended is told that it was live.
    EndsTwice,
}

#[derive(Debug)]
struct Broken {
    memory: Memory,
    fault: Fault,
}

impl Broken {
    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    /// Another task may run now.
    async fn pause(&self) {
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
    }
}

impl SessionStore for Broken {
    fn create<'a>(&'a self, opening: &'a Opening, now: Time) -> Answer<'a, Opened> {
        Box::pin(async move {
            let mut opening = opening.clone();
            if self.is(Fault::ForgetsEnds) {
                opening.began_at = Time::from_millis(i64::MAX);
            }
            if self.is(Fault::CountsFirst)
                && let (Some(user), Some(at_most)) = (&opening.user, opening.at_most)
            {
                let live = self.memory.list(user, now).await?;
                let opened = live.iter().map(|record| (record.opened_at, record.id)).collect();
                let Some(surplus) = symbolon_guard::store::too_many(opened, at_most) else {
                    return Ok(Opened::TooMany);
                };
                self.pause().await;
                for id in surplus {
                    self.memory.end(id, Reason::TooMany, now).await?;
                }
                opening.at_most = None;
            }
            self.memory.create(&opening, now).await
        })
    }

    fn load(&self, id: SessionId, part: Part, now: Time) -> Answer<'_, Loaded> {
        Box::pin(async move {
            // Seen from the beginning of time nothing has run out.
            let early = Time::from_millis(0);
            if self.is(Fault::RevivesByClock)
                && let Loaded::Live(record, _) = self.memory.load(id, part, early).await?
                && let Some(reason) = record.lapsed(now)
            {
                return Ok(Loaded::Gone(reason));
            }
            self.memory.load(id, part, now).await
        })
    }

    fn apply<'a>(&'a self, id: SessionId, delta: &'a Delta, now: Time) -> Answer<'a, Applied> {
        Box::pin(async move {
            let mut delta = delta.clone();
            if self.is(Fault::IgnoresVersions) {
                delta.expected = None;
            }
            if self.is(Fault::LastWriterWins)
                && let Loaded::Live(_, Some(values)) = self.memory.load(id, Part::All, now).await?
            {
                self.pause().await;
                let Loaded::Live(_, Some(late)) = self.memory.load(id, Part::All, now).await?
                else {
                    return self.memory.apply(id, &delta, now).await;
                };
                for (key, _) in late.iter() {
                    if values.get(key).is_none() && delta.get(key).is_none() {
                        delta.remove(key).unwrap();
                    }
                }
            }
            match self.memory.apply(id, &delta, now).await? {
                Applied::Gone(_) if self.is(Fault::WritesAfterTheEnd) => {
                    Ok(Applied::Done(DataVersion(1)))
                }
                applied => Ok(applied),
            }
        })
    }

    fn touch<'a>(&'a self, seen: &'a [(SessionId, Time)]) -> Answer<'a, ()> {
        Box::pin(async move {
            for (id, at) in seen {
                let fresh = self.is(Fault::TouchesAhead)
                    && matches!(self.memory.load(*id, Part::Record, *at).await?, Loaded::Live(..));
                let at = if fresh { *at + std::time::Duration::from_secs(60) } else { *at };
                self.memory.touch(&[(*id, at)]).await?;
            }
            Ok(())
        })
    }

    fn renew<'a>(&'a self, old: SessionId, opening: &'a Opening, now: Time) -> Answer<'a, Opened> {
        Box::pin(async move {
            if !self.is(Fault::RenewsInSteps) {
                return self.memory.renew(old, opening, now).await;
            }
            let values = match self.memory.load(old, Part::All, now).await? {
                Loaded::Live(_, values) => values.unwrap_or_default(),
                Loaded::Gone(reason) => return Ok(Opened::Gone(reason)),
                Loaded::Unknown => return Ok(Opened::Unknown),
            };
            self.pause().await;
            let mut copy = opening.clone();
            for (key, value) in values.iter() {
                if copy.delta.get(key).is_none() {
                    copy.delta.set(key, value.to_vec()).unwrap();
                }
            }
            let opened = self.memory.create(&copy, now).await?;
            if matches!(opened, Opened::Live(_)) {
                self.memory.end(old, Reason::Renewed, now).await?;
            }
            Ok(opened)
        })
    }

    fn end(&self, id: SessionId, reason: Reason, now: Time) -> Answer<'_, bool> {
        Box::pin(
            async move { Ok(self.memory.end(id, reason, now).await? || self.is(Fault::EndsTwice)) },
        )
    }

    fn end_user<'a>(
        &'a self,
        user: &'a str,
        but: Option<SessionId>,
        reason: Reason,
        now: Time,
    ) -> Answer<'a, u64> {
        self.memory.end_user(user, but, reason, now)
    }

    fn list<'a>(&'a self, user: &'a str, now: Time) -> Answer<'a, Vec<Record>> {
        self.memory.list(user, now)
    }

    fn sweep(&self, most: usize, now: Time) -> Answer<'_, bool> {
        self.memory.sweep(most, now)
    }

    fn events(&self, most: usize) -> Answer<'_, Vec<Event>> {
        self.memory.events(most)
    }

    fn settle<'a>(&'a self, heard: &'a [EventId]) -> Answer<'a, ()> {
        self.memory.settle(heard)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_broken_is_noticed() {
    // The fault, and a case that must fail with it.
    for (fault, case) in [
        (Fault::Nothing, None),
        (Fault::WritesAfterTheEnd, Some("what_ended_stays_ended")),
        (Fault::LastWriterWins, Some("parallel_writes_lose_nothing")),
        (Fault::IgnoresVersions, Some("one_of_many_writes_at_a_version_succeeds")),
        (Fault::CountsFirst, Some("a_limit_holds_for_parallel_logins")),
        (Fault::RenewsInSteps, Some("one_of_many_renewals_succeeds")),
        (Fault::ForgetsEnds, Some("ending_all_leaves_no_login_behind")),
        (Fault::TouchesAhead, Some("late_touches_only_move_forward")),
        (Fault::RevivesByClock, Some("what_ran_out_stays_ended_when_the_clock_goes_back")),
        (Fault::EndsTwice, Some("an_end_is_told_once")),
    ] {
        let store = Broken { memory: Memory::with_events(100_000, 100_000), fault };
        let failed = match conformance::run(store, 200).await {
            Ok(_) => Vec::new(),
            Err(failures) => failures.0.iter().map(|failure| failure.case).collect(),
        };
        match case {
            None => assert_eq!(failed, Vec::<&str>::new()),
            Some(case) => assert!(failed.contains(&case), "{fault:?} fails only {failed:?}"),
        }
    }
}
