//! Where an application's own sessions rest: the trait [`SessionStore`], what passes through it, and the stores.
//!
//! | store | feature | for |
//! |---|---|---|
//! | [`memory::Memory`] | `sessions` | one process; everything is gone with it |
//! | `redis::Redis` | `redis` | many processes that share a Redis or Valkey server |
//! | `sql::Sql` | `sqlite` | processes of one machine |
//! | `sql::Sql` | `postgres` | several nodes |
//!
//! A store of your own implements [`SessionStore`]; [`conformance`] says whether it keeps the promises.
//!
//! # What every store promises
//!
//! 1. *Each verb is one atomic step*, also beside verbs of other processes.
//! 2. *There is no upsert.* Only [`create`](SessionStore::create) and [`renew`](SessionStore::renew) make a session,
//!    under an id that nobody has had; every other verb finds a live session or changes nothing. So no late write, touch
//!    or renewal brings an ended session back.
//! 3. *Ended is for good.* For [`TOMBSTONE`] the store can say why; after that the id is unknown, which is as dead.
//! 4. *A session that has run out has ended.* Every verb holds a session to its limits at the `now` it is given, and the
//!    one that notices first ends it: a clock that goes back later changes nothing.
//! 5. *Data lies apart from the record*, and changes merge key by key.
//!
//! `now` is the wall clock of whoever asks. Clocks of several nodes should agree to the second: an idle limit is as exact
//! as they are.

use std::{error::Error, fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use symbolon_core::{data::DataVersion, id::SessionId, time::Time};

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod memory;
mod record;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub mod sql;
mod values;

pub use record::{
    AtMost, LABEL_BYTES_MAX, Opening, Otherwise, Reason, Record, USER_BYTES_MAX, too_many,
};
pub use values::{Delta, InvalidKey, Unreadable, Values};

/// How long a store knows why a session ended, and that all sessions of a user were ended. It is longer than a request
/// may live that still logs somebody in.
pub const TOMBSTONE: Duration = Duration::from_secs(15 * 60);
/// The most sessions that [`SessionStore::list`] names.
pub const LIST_MAX: usize = 100;
/// The most sessions that one call touches, sweeps, or takes events of.
pub const BATCH_MAX: usize = 1000;

/// The store cannot be asked now, or it answered what no store answers. Nothing is known about what was asked for: it
/// may have been done.
#[derive(Debug, thiserror::Error)]
#[error("the session store does not answer")]
pub struct Unavailable(#[source] Box<dyn Error + Send + Sync>);

impl Unavailable {
    /// For this reason, which goes to the log and to nobody else.
    pub fn because(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(cause.into())
    }
}

/// What a verb comes back with.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Unavailable>> + Send + 'a>>;

/// Keeps sessions. See [what every store promises](self#what-every-store-promises).
///
/// A verb is made of `async` code with `Box::pin(async move { … })`.
pub trait SessionStore: Send + Sync + fmt::Debug + 'static {
    /// Opens a session that takes no other's place.
    ///
    /// In this order: an id that a session has, or had within [`TOMBSTONE`], is [`Taken`](Opened::Taken), and nothing
    /// is overwritten. If all sessions of this user were ended *after* `opening.began_at`, it is
    /// [`Stale`](Opened::Stale). If its data is over the limit, it is [`TooLarge`](Opened::TooLarge). If the user has
    /// too many live sessions, it is refused, or the oldest end, in the same step.
    fn create<'a>(&'a self, opening: &'a Opening, now: Time) -> Answer<'a, Opened>;

    /// Looks at a session. With [`Part::All`] the data comes along, of the same moment.
    ///
    /// A session that the store cannot read (garbage, another program's key) is ended in this step and is
    /// [`Gone`](Loaded::Gone) as [`Unreadable`](Reason::Unreadable): never an error, which would lock its user out for
    /// as long as it rests.
    fn load(&self, id: SessionId, part: Part, now: Time) -> Answer<'_, Loaded>;

    /// Changes data of a live session, key by key, and moves its version by one; being written is being seen. With
    /// `delta.expected` only at that version. An empty delta is no write: the version stays.
    fn apply<'a>(&'a self, id: SessionId, delta: &'a Delta, now: Time) -> Answer<'a, Applied>;

    /// Moves when sessions were last seen, only ever later, and never over a silence that has ended one
    /// ([`Record::may_be_touched`]). What is unknown, ended or later already stays as it is; that is no error. A
    /// session stands in a batch once, and at most [`BATCH_MAX`] do; a longer batch may be cut.
    fn touch<'a>(&'a self, seen: &'a [(SessionId, Time)]) -> Answer<'a, ()>;

    /// Opens a session in place of a live one: it takes over the data, and the old id ends as
    /// [`Renewed`](Reason::Renewed) in the same step. Nothing leads from the old id to the new one. Of many renewals of
    /// one session at once, one succeeds and the others find it [`Gone`](Opened::Gone), or
    /// [`Unknown`](Opened::Unknown) if the store never had it.
    ///
    /// Where the old session is another user's ([`Opening::inherits`]) the new one begins without its data, as one that
    /// was created, and the old id ends as [`Logout`](Reason::Logout).
    ///
    /// Taken ids, data over the limit and too many sessions are as in [`create`](Self::create), and the old session does
    /// not count among its user's. [`Stale`](Opened::Stale) is asked only if the user changes: who was spared by an end
    /// of all others may renew. Whatever is refused leaves the old session as it was.
    fn renew<'a>(&'a self, old: SessionId, opening: &'a Opening, now: Time) -> Answer<'a, Opened>;

    /// Ends a session. Returns whether it was live: for one that has ended before, its first reason stays.
    fn end(&self, id: SessionId, reason: Reason, now: Time) -> Answer<'_, bool>;

    /// Ends all sessions of a user, but for one, and returns how many were live. A login of this user that began before
    /// `now` and has not opened its session yet will not ([`Opened::Stale`]); this is known for [`TOMBSTONE`].
    fn end_user<'a>(
        &'a self,
        user: &'a str,
        but: Option<SessionId>,
        reason: Reason,
        now: Time,
    ) -> Answer<'a, u64>;

    /// The live sessions of a user, those opened last first, at most [`LIST_MAX`] of them.
    fn list<'a>(&'a self, user: &'a str, now: Time) -> Answer<'a, Vec<Record>>;

    /// Ends sessions that have run out and forgets what ended longer than [`TOMBSTONE`] ago. It looks at no more than
    /// about `most` sessions and says whether there may be more to do. Stores whose entries vanish by themselves have
    /// nothing to forget, but may owe [events](Self::events) of what ran out.
    fn sweep(&self, most: usize, now: Time) -> Answer<'_, bool>;

    /// The oldest events that nobody has [settled](Self::settle), at most `most`, the events of one session in their
    /// order. They are written in the same step as what they tell of, if the store was told to keep events; otherwise
    /// there are none.
    fn events(&self, most: usize) -> Answer<'_, Vec<Event>>;

    /// Forgets events, because they were heard. Unknown ids are no error.
    fn settle<'a>(&'a self, heard: &'a [EventId]) -> Answer<'a, ()>;
}

/// How much of a session is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The record alone.
    Record,
    /// Record and data.
    All,
}

/// What is known of an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loaded {
    /// A live session, with its data if that was asked for.
    Live(Record, Option<Values>),
    /// It has ended.
    Gone(Reason),
    /// Nobody has heard of it, or it ended long ago.
    Unknown,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It is written; this is the version now.
    Done(DataVersion),
    /// Nothing is written: the session has ended.
    Gone(Reason),
    /// Nothing is written: nobody has heard of the session, or it ended long ago.
    Unknown,
    /// Nothing is written: the data is at this version.
    Conflict(DataVersion),
    /// Nothing is written: it would be more than `delta.bytes_max`.
    TooLarge,
}

/// What became of a session to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// It is live.
    Live(Record),
    /// The id is another's.
    Taken,
    /// All sessions of this user were ended after the request began.
    Stale,
    /// The user has as many as may be.
    TooMany,
    /// Its data would be more than `delta.bytes_max`.
    TooLarge,
    /// The session whose place it should take has ended.
    Gone(Reason),
    /// Nobody has heard of the session whose place it should take.
    Unknown,
}

/// The name of an event in its store. Later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(pub u128);

/// Something that happened to a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Under this name it can be settled.
    pub id: EventId,
    /// The session.
    pub session: SessionId,
    /// Whose it was, as far as that can be read.
    pub user: Option<Arc<str>>,
    /// When.
    pub at: Time,
    /// What.
    pub what: What,
}

/// What happened to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// It was opened.
    Created,
    /// It was opened in place of this one, which has ended with that. There is no other event of that end.
    Renewed {
        /// The id that it had.
        from: SessionId,
    },
    /// It has ended.
    Ended(Reason),
}
