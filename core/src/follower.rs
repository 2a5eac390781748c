//! A follower of the revocation log: what it holds, when it may decide alone, and what it says.
//!
//! ```text
//!            ask ──► question ──► (server) ──► answer ──► hear
//! starting ──────── every answer: entries applied, cursor moved ────────► ready: it holds a lease
//!    ▲                                                                      │
//!    └── the log is another one: what it holds stays, it reads from the start
//! ```

use std::time::Duration;

use rand_core::CryptoRng;

use crate::{
    id::{AnswerId, EntryId, FollowerId, NodeId, QuestionId, SessionId},
    lease::DRIFT,
    log::Cursor,
    revocation::Ended,
    time::{Tick, Time},
};

/// The most entries in one answer.
pub const ENTRIES_MAX: usize = 4096;
/// The most sessions that one question says were seen.
pub const SEEN_MAX: usize = 1024;
/// The longest lease and the longest life of an entry that a follower believes.
const LEASE_MAX: Duration = Duration::from_secs(60);
const ENTRY_LIFE_MAX: Duration = Duration::from_hours(24 * 7);
/// How often another node may answer in the place of the one that was asked for, before any will do.
const ELSEWHERE_MAX: u32 = 64;
/// Over how long drift is taken back at once. Times are whole milliseconds, so shorter steps would take back too much.
const DRIFT_STEP: Duration = Duration::from_secs(1);

/// What a follower asks: everything after its cursor. By asking, it acknowledges everything up to it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Who asks: drawn by this process.
    pub follower: FollowerId,
    /// Names this question; the answer repeats it.
    pub question: QuestionId,
    /// The last answer that was heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_answer: Option<AnswerId>,
    /// The node that gave the last answer, while its lease runs: no other hears this question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// Up to where the log was applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
    /// Whether this process ever decides by `exp` alone, without a lease.
    #[serde(default)]
    pub trusts_expiry: bool,
    /// Sessions that were used here since the last question, so that they do not fall idle.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seen: Vec<SessionId>,
}

/// What the server answers.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Answer {
    /// The question that this answers.
    pub question: QuestionId,
    /// Names this answer; the next question says it.
    pub answer: AnswerId,
    /// Which of several nodes answers; the next question says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// Up to where the log is known once `ended` is applied.
    pub cursor: Cursor,
    /// The ids that were ended.
    pub ended: Vec<EntryId>,
    /// Whether there is more: ask again at once. There is no lease before the last.
    #[serde(default)]
    pub more: bool,
    /// How long to decide alone, counted from when the question was sent. Zero: not at all.
    #[serde(default)]
    pub lease_ms: u64,
    /// The server's clock.
    pub now_ms: Time,
    /// How long an entry must be kept.
    pub entry_life_ms: u64,
}

/// Why an answer is dropped. Nothing of it was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Dropped {
    /// It answers another question than the last.
    #[error("it answers another question")]
    OtherQuestion,
    /// It says something that no server says.
    #[error("its times or its size are out of bounds")]
    OutOfBounds,
}

/// What a follower says about ids that were looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// One of them was ended. This holds with or without a lease.
    Ended,
    /// None of them was ended, and there is a lease: decide, by the server's clock.
    Live(Time),
    /// There is no lease: ask the server, refuse, or trust the expiry, as configured.
    NoLease,
}

/// One process that follows the log.
///
/// ```
/// use symbolon_core::{follower::{Answer, Follower, Standing}, id::*, log::Cursor, time::{Tick, Time}};
/// # use rand_core::SeedableRng;
/// # let mut rng = rand_chacha::ChaCha20Rng::from_seed([0; 32]);
/// let (sid, start) = (SessionId::from_bytes([1; 16]).entry(), Tick::default());
/// let mut follower = Follower::new(&mut rng);
/// assert_eq!(follower.standing(&[sid], start), Standing::NoLease);
///
/// let question = follower.ask(start, Vec::new(), &mut rng);
/// // ... POST /follow ...
/// let answer = Answer {
///     question: question.question,
///     answer: AnswerId::from_bytes([2; 16]),
///     node: None,
///     cursor: Cursor::start(LogId::from_bytes([3; 16])),
///     ended: vec![],
///     more: false,
///     lease_ms: 1000,
///     now_ms: Time::from_secs(1_700_000_000),
///     entry_life_ms: 420_000,
/// };
/// follower.hear(answer)?;
/// assert_eq!(follower.standing(&[sid], start), Standing::Live(Time::from_secs(1_700_000_000)));
/// # Ok::<(), symbolon_core::follower::Dropped>(())
/// ```
#[derive(Debug)]
pub struct Follower {
    id: FollowerId,
    cursor: Option<Cursor>,
    last_answer: Option<AnswerId>,
    node: Option<NodeId>,
    /// How often another node has answered since.
    elsewhere: u32,
    asked: Option<(QuestionId, Tick)>,
    ended: Ended,
    lease_until: Tick,
    clock: Option<(Time, Tick)>,
    /// Whether anybody here may decide by expiry alone. Declared with every question.
    pub trusts_expiry: bool,
}

impl Follower {
    /// A follower that knows nothing yet. Draw it after the process forked: two that share an identity are found out.
    pub fn new(rng: &mut impl CryptoRng) -> Self {
        Self {
            id: FollowerId::random(rng),
            cursor: None,
            last_answer: None,
            node: None,
            elsewhere: 0,
            asked: None,
            ended: Ended::new(rng),
            lease_until: Tick::default(),
            clock: None,
            trusts_expiry: false,
        }
    }

    /// The next question. `now` is read *before* it is sent: the lease counts from here. Only the last question's answer
    /// is heard.
    pub fn ask(&mut self, now: Tick, seen: Vec<SessionId>, rng: &mut impl CryptoRng) -> Question {
        let question = QuestionId::random(rng);
        self.asked = Some((question, now));
        Question {
            follower: self.id,
            question,
            last_answer: self.last_answer,
            // Where its lease is over nobody waits for it any more.
            node: self.node.filter(|_| now < self.lease_until),
            cursor: self.cursor,
            trusts_expiry: self.trusts_expiry,
            seen,
        }
    }

    /// Applies an answer: the entries first, then the cursor (which the next question acknowledges), then the lease.
    /// What is known stays, even if the log is another one now. Returns what was ended.
    ///
    /// # Errors
    /// [`Dropped`]: ask again.
    pub fn hear(&mut self, answer: Answer) -> Result<Vec<EntryId>, Dropped> {
        let Some((_, asked_at)) = self.asked.filter(|(asked, _)| *asked == answer.question) else {
            return Err(Dropped::OtherQuestion);
        };
        let (lease, entry_life) =
            (Duration::from_millis(answer.lease_ms), Duration::from_millis(answer.entry_life_ms));
        if lease > LEASE_MAX || entry_life > ENTRY_LIFE_MAX || answer.ended.len() > ENTRIES_MAX {
            return Err(Dropped::OutOfBounds);
        }
        self.asked = None;
        self.set_clock(answer.now_ms, asked_at);
        for id in &answer.ended {
            self.ended.insert(*id, answer.now_ms);
        }
        self.ended.forget_some_before(answer.now_ms - entry_life);
        self.cursor = Some(answer.cursor);
        self.last_answer = Some(answer.answer);
        (self.node, self.elsewhere) = (answer.node, 0);
        if !answer.more && !lease.is_zero() {
            self.lease_until = self.lease_until.max(asked_at + lease);
        }
        Ok(answer.ended)
    }

    /// The last question came to another node than the one that it named. Says whether the next is to be sent at once: it
    /// may come to the right one, and else is soon heard by any.
    pub fn elsewhere(&mut self) -> bool {
        let named = self.node.is_some();
        self.elsewhere += 1;
        if self.elsewhere >= ELSEWHERE_MAX {
            self.forget_node();
        }
        named
    }

    /// The last question was not answered: whoever hears the next will do.
    pub const fn forget_node(&mut self) {
        (self.node, self.elsewhere) = (None, 0);
    }

    /// Takes a new identity, because the server says that the old one is shared. What is held stays.
    pub fn rename(&mut self, rng: &mut impl CryptoRng) {
        (self.id, self.last_answer, self.asked) = (FollowerId::random(rng), None, None);
        self.forget_node();
    }

    /// Whether it may decide alone, and whether any of these ids was ended. Read the clock *after* the request was read.
    pub fn standing(&self, ids: &[EntryId], now: Tick) -> Standing {
        if self.ended.contains_any(ids) {
            return Standing::Ended;
        }
        match self.server_time(now) {
            Some(time) if now < self.lease_until => Standing::Live(time),
            _ => Standing::NoLease,
        }
    }

    /// The server's clock now, at the latest: it was told after the question was sent.
    pub fn server_time(&self, now: Tick) -> Option<Time> {
        self.clock.map(|(time, at)| time + now.since(at))
    }

    /// When the lease is over. In the past: there is none.
    pub const fn lease_until(&self) -> Tick {
        self.lease_until
    }

    /// How many ended ids are held.
    pub fn len(&self) -> usize {
        self.ended.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.ended.is_empty()
    }

    /// Back only by as much as this clock may have run too fast: a server whose clock was set back would give expired
    /// tokens new life. But a follower that never went back would be ahead by days' worth of drift in the end.
    fn set_clock(&mut self, time: Time, at: Tick) {
        let Some((known, since)) = self.clock else {
            self.clock = Some((time, at));
            return;
        };
        let passed = at.since(since);
        if time >= known + passed {
            self.clock = Some((time, at));
        } else if passed >= DRIFT_STEP {
            self.clock = Some((time.max(known + (passed - passed / DRIFT)), at));
        }
    }
}
