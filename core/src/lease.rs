//! Leases, seen from the side that grants them and waits them out.
//!
//! A follower that holds a lease decides alone. Whoever ends something knows every lease that is out, and waits until
//! its holder has acknowledged the end or cannot hold it any more. Only then is the end *confirmed*.
//!
//! | step | who | rule |
//! |---|---|---|
//! | a question arrives | [`Leases::hear`] | it acknowledges everything up to its cursor, and names the last answer |
//! | its answer leaves | [`Leases::grant`] | first written down here, counted from when the question arrived |
//! | something ended | [`Leases::confirm`] | who must acknowledge, or be waited for, and until when |
//! | later | [`Leases::settle`] | who of them is left |
//!
//! `hear`, `grant` and adding to the log happen under one lock: a lease that was granted after an end was published
//! came with the end in the same answer.
//!
//! What was acknowledged counts for one log. Who goes over to another (a node whose origin lost history) makes new
//! [`Leases`], whose `earlier_until` is when its own lease is over, and answers nobody before it has read all of it.

use std::{collections::HashMap, time::Duration};

use rand_core::CryptoRng;

use crate::{
    id::{AnswerId, FollowerId},
    time::Tick,
};

/// By how much two clocks may differ in rate, as a part of the time that passes: 1/1000, some twenty times what the
/// worst quartz does.
pub const DRIFT: u32 = 1000;

/// How long a lease of this length may seem to last to whoever measures it with another clock.
pub fn waited(lease: Duration) -> Duration {
    lease + lease / DRIFT + Duration::from_millis(1)
}

/// The longest lease that is over within `left`, whoever measures it.
fn within(left: Duration) -> Duration {
    left.saturating_sub(left / DRIFT + Duration::from_millis(1))
}

/// How often places are looked for when all are taken, per lease.
const FULL_PRUNES: u32 = 16;

/// A question, as far as leases are concerned.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// Who asks.
    pub follower: FollowerId,
    /// The client that it works for.
    pub name: &'a str,
    /// The last answer that it got.
    pub last: Option<AnswerId>,
    /// Up to where it has applied the log, if its cursor is of this log.
    pub acknowledges: Option<u64>,
    /// Whether it ever decides by expiry alone.
    pub trusts_expiry: bool,
}

/// Why a question gets no lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotHeard {
    /// Two processes use one identity, or an answer was lost. Whoever asked draws a new one; the old one is waited out.
    #[error("the identity was used by another process, or an answer was lost: draw a new one")]
    Identity,
    /// There are as many followers as may be.
    #[error("too many followers")]
    Full,
}

/// A right to decide alone that was written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// Names the answer that carries it.
    pub answer: AnswerId,
    /// How long, counted from when the question was sent. Zero: no lease.
    pub lease: Duration,
}

#[derive(Debug)]
struct Row {
    /// The answer that the next question must name. `None` while a question waits for its answer.
    expected: Option<AnswerId>,
    acknowledged: u64,
    until: Tick,
    /// Somebody else used the identity: it acknowledges nothing any more.
    shared: bool,
}

/// Every lease that is out.
///
/// ```
/// use std::time::Duration;
/// use symbolon_core::{id::FollowerId, lease::{Asking, Leases}, time::Tick};
/// # use rand_core::SeedableRng;
/// # let mut rng = rand_chacha::ChaCha20Rng::from_seed([0; 32]);
/// let start = Tick::default();
/// let mut leases = Leases::new(Duration::from_secs(1), start, 1000);
/// let asking = Asking {
///     follower: FollowerId::from_bytes([1; 16]),
///     name: "cart-api",
///     last: None,
///     acknowledges: None,
///     trusts_expiry: false,
/// };
/// leases.hear(&asking, start)?;
/// let grant = leases.grant(asking.follower, start, None, &mut rng);
///
/// // The seventh entry was written. It has not acknowledged it, so it is waited for ...
/// let mut confirmation = leases.confirm(7, start);
/// assert!(leases.settle(&mut confirmation, start).is_some());
/// // ... until it asks for what comes after it.
/// let next = Asking { last: Some(grant.answer), acknowledges: Some(7), ..asking };
/// leases.hear(&next, start)?;
/// assert_eq!(leases.settle(&mut confirmation, start), None);
/// assert_eq!(confirmation.acknowledged, 1);
/// # Ok::<(), symbolon_core::lease::NotHeard>(())
/// ```
#[derive(Debug)]
pub struct Leases {
    length: Duration,
    /// When every lease of the process before this one is over.
    earlier_until: Tick,
    rows: HashMap<FollowerId, Row>,
    rows_max: usize,
    trusting: HashMap<Box<str>, Tick>,
    pruned_at: Tick,
}

impl Leases {
    /// Grants leases of this length, to so many followers at most. Leases of an earlier process are over at
    /// `earlier_until`: [`waited`] of the longest that was ever granted, after the start.
    pub fn new(length: Duration, earlier_until: Tick, followers_max: usize) -> Self {
        Self {
            length,
            earlier_until,
            rows: HashMap::new(),
            rows_max: followers_max,
            trusting: HashMap::new(),
            pruned_at: Tick::default(),
        }
    }

    /// Begins anew with another log: nobody has acknowledged anything of it. Leases of before are over at
    /// `earlier_until`.
    pub fn restart(&mut self, earlier_until: Tick) {
        self.rows.clear();
        self.earlier_until = self.earlier_until.max(earlier_until);
    }

    /// How long a lease is.
    pub const fn length(&self) -> Duration {
        self.length
    }

    /// Whether every lease of an earlier process is over.
    pub fn earlier_are_over(&self, now: Tick) -> bool {
        now >= self.earlier_until
    }

    /// How many followers hold a lease now.
    pub fn held(&self, now: Tick) -> usize {
        self.rows.values().filter(|row| row.until > now).count()
    }

    /// A question has arrived. What it acknowledges counts; its answer is still to come. Returns what was acknowledged
    /// before.
    ///
    /// # Errors
    /// [`NotHeard`]; then it has acknowledged nothing.
    pub fn hear(&mut self, asking: &Asking<'_>, now: Tick) -> Result<u64, NotHeard> {
        self.prune(now);
        if asking.trusts_expiry {
            self.trusts_expiry(asking.name, now);
        }
        let full = self.rows.len() >= self.rows_max;
        let Some(row) = self.rows.get_mut(&asking.follower) else {
            if full {
                return Err(NotHeard::Full);
            }
            let acknowledged = asking.acknowledges.unwrap_or(0);
            let row = Row { expected: None, acknowledged, until: now, shared: false };
            self.rows.insert(asking.follower, row);
            return Ok(acknowledged);
        };
        if row.shared || row.expected.is_none() || row.expected != asking.last {
            row.shared = true;
            return Err(NotHeard::Identity);
        }
        row.expected = None;
        let before = row.acknowledged;
        row.acknowledged = before.max(asking.acknowledges.unwrap_or(0));
        Ok(before)
    }

    /// An answer is about to leave that brings its follower up to the head of the log: writes down the lease that goes
    /// with it. `asked_at` is when the question arrived, which is after it was sent. A node that itself holds a lease
    /// until `own` grants no more than what was left of that when the question arrived.
    pub fn grant(
        &mut self,
        follower: FollowerId,
        asked_at: Tick,
        own: Option<Tick>,
        rng: &mut impl CryptoRng,
    ) -> Grant {
        let lease = own.map_or(self.length, |own| self.length.min(within(own.since(asked_at))));
        let grant = self.answer(follower, rng);
        match self.rows.get_mut(&follower) {
            Some(row) if !row.shared && !lease.is_zero() => {
                row.until = row.until.max(asked_at + waited(lease));
                Grant { lease, ..grant }
            }
            // Forgotten while its question waited, or not alone: it asks again.
            _ => grant,
        }
    }

    /// An answer is about to leave that does not bring its follower up to the head: no lease goes with it.
    pub fn answer(&mut self, follower: FollowerId, rng: &mut impl CryptoRng) -> Grant {
        let answer = AnswerId::random(rng);
        if let Some(row) = self.rows.get_mut(&follower) {
            row.expected = Some(answer);
        }
        Grant { answer, lease: Duration::ZERO }
    }

    /// Begins to confirm everything up to `sequence`, which must be in the log already.
    pub fn confirm(&self, sequence: u64, now: Tick) -> Confirmation {
        let mut confirmation = Confirmation {
            sequence,
            earlier_until: self.earlier_until,
            waiting: Vec::new(),
            acknowledged: 0,
            waited_out: 0,
        };
        for (id, row) in &self.rows {
            if row.acknowledges(sequence) {
                confirmation.acknowledged += 1;
            } else if row.until > now {
                confirmation.waiting.push((*id, row.until));
            }
        }
        confirmation.waiting.sort_unstable_by_key(|(_, until)| *until);
        confirmation
    }

    /// Who has acknowledged meanwhile, or holds nothing any more. `None`: it is confirmed. Otherwise when to look again
    /// if nobody acknowledges before.
    pub fn settle(&self, confirmation: &mut Confirmation, now: Tick) -> Option<Tick> {
        let Confirmation { sequence, waiting, acknowledged, waited_out, .. } = confirmation;
        waiting.retain(|(id, until)| {
            if self.rows.get(id).is_some_and(|row| row.acknowledges(*sequence)) {
                *acknowledged += 1;
                return false;
            }
            *waited_out += u32::from(*until <= now);
            *until > now
        });
        let earlier = Some(confirmation.earlier_until).filter(|until| *until > now);
        confirmation.waiting.iter().map(|(_, until)| *until).chain(earlier).max()
    }

    /// What [`Self::settle`] would say, found by looking at one follower instead of all: whoever confirms looks again at
    /// every question. `None` if that one waits no more: settle. It counts nobody.
    pub fn keeps_waiting(&self, confirmation: &Confirmation, now: Tick) -> Option<Tick> {
        let Confirmation { sequence, earlier_until, waiting, .. } = confirmation;
        let (id, until) = waiting.last()?;
        let done = self.rows.get(id).is_some_and(|row| row.acknowledges(*sequence));
        (!done && *until > now).then(|| *until.max(earlier_until))
    }

    /// A follower of this client decides by expiry alone. After a start this is said of those that an earlier process
    /// heard of.
    pub fn trusts_expiry(&mut self, name: &str, now: Tick) {
        self.trusting.insert(name.into(), now);
    }

    /// The clients that decided by expiry alone within `span`: for them nothing is confirmed.
    pub fn trusting_expiry(&self, span: Duration, now: Tick) -> Vec<Box<str>> {
        let within = |seen: &Tick| now.since(*seen) <= span;
        let names = self.trusting.iter().filter(|(_, seen)| within(seen));
        let mut names: Vec<_> = names.map(|(name, _)| name.clone()).collect();
        names.sort_unstable();
        names
    }

    /// Forgets followers whose leases are over. Nobody waits for them, and whoever comes back is heard as new. When all
    /// places are taken, this is not put off: a flood of identities, or one follower that must draw a new one each time,
    /// keeps only those away who hold no lease.
    fn prune(&mut self, now: Tick) {
        let full = self.rows.len() >= self.rows_max;
        let (pause, silence) = match full {
            true => (self.length / FULL_PRUNES, Duration::ZERO),
            false => (self.length, self.length),
        };
        if now.since(self.pruned_at) > pause {
            self.rows.retain(|_, row| row.until > now || now.since(row.until) < silence);
            self.pruned_at = now;
        }
    }
}

impl Row {
    const fn acknowledges(&self, sequence: u64) -> bool {
        !self.shared && self.acknowledged >= sequence
    }
}

/// Everything up to one entry, on its way to being gone everywhere.
#[derive(Debug, Clone)]
pub struct Confirmation {
    sequence: u64,
    earlier_until: Tick,
    /// Whose lease is over last is the last.
    waiting: Vec<(FollowerId, Tick)>,
    /// How many followers have acknowledged it.
    pub acknowledged: u32,
    /// How many said nothing until their lease was over.
    pub waited_out: u32,
}

impl Confirmation {
    /// How many have neither acknowledged nor been waited out.
    pub const fn waiting(&self) -> usize {
        self.waiting.len()
    }
}
