//! Whether a [`SessionStore`] keeps [what every store promises](super#what-every-store-promises). Made for tests: of
//! our stores, and of yours.
//!
//! ```
//! use symbolon_guard::store::{conformance, memory::Memory};
//! # #[tokio::main] async fn main() -> Result<(), conformance::Failures> {
//! let store = Memory::with_events(100_000, 100_000);
//! let report = conformance::run(store, 10).await?;
//! println!("{report}");
//! # Ok(())
//! # }
//! ```
//!
//! The store has to be empty, keep events, and be used by nobody else meanwhile. Races need a runtime with several
//! threads, and more than a few rounds: our own stores pass 10,000.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use rand_core::Rng;
use symbolon_core::{data::DataVersion, id::SessionId, session::Limits, time::Time};
use tokio::{
    sync::Barrier,
    task::{JoinError, JoinSet},
};

use super::{
    Delta, Event, Loaded, Opened, Opening, Part, Record, SessionStore, TOMBSTONE, Unavailable,
    Values, What,
};
use crate::os::{Os, now};

mod beside_memory;
mod ends;
mod races;
mod users;
mod verbs;

/// Runs every case, the races among them `rounds` times.
///
/// # Errors
/// [`Failures`]: each case that failed, with what was found and what was expected.
pub async fn run(store: impl SessionStore, rounds: usize) -> Result<Report, Failures> {
    let suite = Arc::new(Suite { store: Arc::new(store), rounds, began: now() });
    let (mut passed, mut failures) = (Vec::new(), Vec::new());
    for (name, case) in cases() {
        note(&mut passed, &mut failures, name, case(&suite).await);
    }
    for (name, race) in races() {
        note(&mut passed, &mut failures, name, repeat(&suite, race).await);
    }
    if failures.is_empty() { Ok(Report { passed, rounds }) } else { Err(Failures(failures)) }
}

fn note(
    passed: &mut Vec<&'static str>,
    failures: &mut Vec<Failure>,
    case: &'static str,
    checked: Checked,
) {
    match checked {
        Ok(()) => passed.push(case),
        Err(Failed(what)) => failures.push(Failure { case, what }),
    }
}

/// Rounds of a race after which the store is emptied, so that long runs stay small.
const ROUNDS_KEPT: usize = 100;
/// Rounds that run at a time, each on sessions and users of its own: while one waits, another goes on.
const SIDE_BY_SIDE: usize = 4;

/// Runs a race as often as the suite was told.
async fn repeat(suite: &Arc<Suite>, race: Case) -> Checked {
    let mut left = suite.rounds;
    while left > 0 {
        suite.empty().await?;
        let mut under_way = JoinSet::new();
        for _ in 0..left.min(ROUNDS_KEPT) {
            if under_way.len() == SIDE_BY_SIDE {
                over(under_way.join_next().await)?;
            }
            let suite = Arc::clone(suite);
            under_way.spawn(async move { race(&suite).await });
        }
        while !under_way.is_empty() {
            over(under_way.join_next().await)?;
        }
        left -= left.min(ROUNDS_KEPT);
    }
    Ok(())
}

fn over(round: Option<Result<Checked, JoinError>>) -> Checked {
    round.unwrap_or(Ok(Ok(()))).map_err(|error| Failed(error.to_string()))?
}

/// What passed.
#[derive(Debug, Clone)]
pub struct Report {
    /// The cases.
    pub passed: Vec<&'static str>,
    /// How often each race was run.
    pub rounds: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cases passed, races {} times", self.passed.len(), self.rounds)
    }
}

/// One case that failed.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The name of the case, which is the promise.
    pub case: &'static str,
    /// What was found instead.
    pub what: String,
}

/// The cases that failed.
#[derive(Debug, Clone, thiserror::Error)]
pub struct Failures(pub Vec<Failure>);

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Failure { case, what } in &self.0 {
            writeln!(f, "{case}: {what}")?;
        }
        Ok(())
    }
}

type Case = for<'s> fn(&'s Suite) -> Pin<Box<dyn Future<Output = Checked> + Send + 's>>;

macro_rules! cases {
    ($($room:ident::$case:ident,)*) => {
        vec![$((stringify!($case), |suite| Box::pin($room::$case(suite)))),*]
    };
}

fn cases() -> Vec<(&'static str, Case)> {
    cases![
        verbs::what_was_opened_is_there_whole,
        verbs::an_id_is_used_once,
        verbs::what_nobody_has_heard_of_is_not_made_by_writing,
        verbs::changes_merge_key_by_key,
        verbs::a_write_at_another_version_is_none,
        verbs::what_is_too_large_changes_nothing,
        verbs::a_renewed_session_takes_everything_along,
        verbs::what_is_another_users_stays_behind,
        verbs::a_refused_renewal_leaves_the_old_one,
        ends::being_seen_moves_the_idle_limit_and_nothing_else,
        ends::a_late_touch_moves_nothing,
        ends::what_ended_stays_ended,
        ends::what_ran_out_stays_ended_when_the_clock_goes_back,
        ends::a_sweep_ends_what_ran_out_and_forgets_what_ended,
        ends::events_tell_everything_once_until_they_are_settled,
        users::the_sessions_of_a_user_are_listed,
        users::all_of_a_user_end_but_one,
        users::a_login_that_began_before_the_end_of_all_opens_nothing,
        users::the_limit_of_sessions_counts_what_is_live,
        beside_memory::it_answers_as_the_store_in_memory_does,
    ]
}

fn races() -> Vec<(&'static str, Case)> {
    cases![
        races::an_ended_session_is_not_brought_back,
        races::parallel_writes_lose_nothing,
        races::one_of_many_writes_at_a_version_succeeds,
        races::one_of_many_renewals_succeeds,
        races::one_of_many_with_the_same_id_is_opened,
        races::a_limit_holds_for_parallel_logins,
        races::late_touches_only_move_forward,
        races::ending_all_leaves_no_login_behind,
        races::a_write_beside_a_renewal_is_kept_or_refused,
        races::an_end_is_told_once,
    ]
}

/// Why a case failed.
#[derive(Debug)]
struct Failed(String);

type Checked = Result<(), Failed>;

impl From<Unavailable> for Failed {
    fn from(error: Unavailable) -> Self {
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        Self(format!("{error}: {cause}"))
    }
}

#[track_caller]
fn is<T: PartialEq + fmt::Debug>(found: T, expected: T) -> Checked {
    let line = std::panic::Location::caller();
    match (found, expected) {
        (found, expected) if found == expected => Ok(()),
        (found, expected) => Err(Failed(format!(
            "{}:{}: found {found:?}, expected {expected:?}",
            line.file(),
            line.line(),
        ))),
    }
}

/// What the cases work with. All of them share one store, so each draws its own ids and users.
struct Suite {
    store: Arc<dyn SessionStore>,
    rounds: usize,
    began: Time,
}

const IDLE: Duration = Duration::from_secs(600);
const LIFE: Duration = Duration::from_secs(3600);
const BYTES_MAX: usize = 1000;
/// How many do something at once.
const PARALLEL: usize = 6;

impl Suite {
    /// The moment this many seconds after the suite began. Cases go ahead of the clock, never behind it, so that
    /// entries that vanish by themselves do not.
    fn at(&self, secs: u64) -> Time {
        self.began + Duration::from_secs(secs)
    }

    /// A session to be, opened when the suite began.
    fn opening(&self, user: Option<&str>) -> Opening {
        Opening {
            id: id(),
            user: user.map(Into::into),
            label: None,
            remembered: false,
            opened_at: self.began,
            limits: Limits { idle: IDLE, ends_at: self.began + LIFE },
            at_most: None,
            began_at: self.began,
            delta: Delta::new(BYTES_MAX),
        }
    }

    /// Opens a session, which must succeed.
    async fn open(&self, opening: &Opening, now: Time) -> Result<Record, Failed> {
        live(self.store.create(opening, now).await?)
    }

    /// Opens a session of nobody with this data.
    async fn visitor(&self, values: &[(&str, &str)]) -> Result<SessionId, Failed> {
        let opening = Opening { delta: delta(values), ..self.opening(None) };
        Ok(self.open(&opening, self.began).await?.id)
    }

    async fn load(&self, id: SessionId, now: Time) -> Result<Loaded, Failed> {
        Ok(self.store.load(id, Part::Record, now).await?)
    }

    /// The record and the data of a live session.
    async fn all(&self, id: SessionId, now: Time) -> Result<(Record, Values), Failed> {
        match self.store.load(id, Part::All, now).await? {
            Loaded::Live(record, Some(values)) => Ok((record, values)),
            other => Err(Failed(format!("a live session with its data was expected: {other:?}"))),
        }
    }

    /// The data of a live session as text.
    async fn data(&self, id: SessionId) -> Result<Vec<(String, String)>, Failed> {
        let (_, values) = self.all(id, self.began).await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(values.iter().map(|(key, value)| (key.to_owned(), text(value))).collect())
    }

    /// The ids of the user's live sessions, in the order of their list.
    async fn listed(&self, user: &str, now: Time) -> Result<Vec<SessionId>, Failed> {
        Ok(self.store.list(user, now).await?.into_iter().map(|record| record.id).collect())
    }

    /// Takes every event there is.
    async fn drain(&self) -> Result<Vec<Event>, Failed> {
        let mut drained = Vec::new();
        loop {
            let events = self.store.events(super::BATCH_MAX).await?;
            let ids: Vec<_> = events.iter().map(|event| event.id).collect();
            if ids.is_empty() {
                return Ok(drained);
            }
            self.store.settle(&ids).await?;
            drained.extend(events);
        }
    }

    /// Takes the events of one session.
    async fn told_of(&self, id: SessionId) -> Result<Vec<What>, Failed> {
        let mut events = self.store.events(super::BATCH_MAX).await?;
        events.retain(|event| event.session == id);
        let ids: Vec<_> = events.iter().map(|event| event.id).collect();
        self.store.settle(&ids).await?;
        Ok(events.into_iter().map(|event| event.what).collect())
    }

    /// Ends and forgets everything.
    async fn empty(&self) -> Checked {
        // Everything has run out by then, and a while later it is forgotten.
        let late = self.at(1_000_000);
        for now in [late, late + TOMBSTONE] {
            while self.store.sweep(super::BATCH_MAX, now).await? {}
        }
        self.drain().await.map(drop)
    }

    /// Lets all of these go at the same moment, each in a task of its own, and gives what they came back with.
    async fn at_once<T, F>(&self, acts: Vec<F>) -> Result<Vec<T>, Failed>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Unavailable>> + Send + 'static,
    {
        let barrier = Arc::new(Barrier::new(acts.len()));
        let tasks = acts.into_iter().map(|act| {
            let barrier = Arc::clone(&barrier);
            tokio::spawn(async move {
                barrier.wait().await;
                act.await
            })
        });
        let mut results = Vec::new();
        for task in tasks.collect::<Vec<_>>() {
            results.push(task.await.map_err(|error| Failed(error.to_string()))??);
        }
        Ok(results)
    }
}

fn id() -> SessionId {
    SessionId::random(&mut Os)
}

fn below(bound: usize) -> usize {
    // The bounds are small: the bias is nothing.
    usize::try_from(Os.next_u32()).unwrap_or(0) % bound
}

/// The name of a user that nobody else has.
fn user() -> String {
    format!("user-{}", id())
}

fn delta(values: &[(&str, &str)]) -> Delta {
    let mut delta = Delta::new(BYTES_MAX);
    for (key, value) in values {
        // The keys of the suite are short.
        let _ = delta.set(key, value.as_bytes().to_vec());
    }
    delta
}

fn pairs(values: &[(&str, &str)]) -> Vec<(String, String)> {
    values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn live(opened: Opened) -> Result<Record, Failed> {
    match opened {
        Opened::Live(record) => Ok(record),
        other => Err(Failed(format!("a live session was expected: {other:?}"))),
    }
}

const fn version(number: u64) -> DataVersion {
    DataVersion(number)
}
