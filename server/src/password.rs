//! Password hashes: Argon2id (RFC 9106) on a few threads of their own, with bounded queue and memory.
//!
//! *As many runs in flight as there are threads, one per core by default.* Each thread keeps one piece of memory, uses it
//! again, and wipes it when no other hash waits to overwrite it. The threads have a lower priority than those that answer requests, so that a flood
//! of logins uses every idle core and slows nobody. Over the queue's bound the answer is [`Busy`] at once.
//!
//! *A check costs the same whoever is asked for.* It costs as much as the dearest parameters that rest anywhere, be it
//! those of the configuration or of an older, dearer hash:
//!
//! * no such user: one run at the dearest cost;
//! * a hash at the dearest cost, which is nearly always: one run;
//! * a cheaper hash, which lasts from a change of the configuration until the user's next login: its own run, then
//!   one whose blocks make up the difference. Time goes with the number of blocks to within a few per cent.
//!
//! The new hash after such a login is made later, as a job, by [`Passwords::hash`]; if the pool is busy then, the job is
//! dropped and the next login tries again.

mod phc;
mod pool;

use std::{
    io,
    num::NonZero,
    sync::{Mutex, PoisonError, atomic::Ordering::Relaxed},
    thread,
    time::Duration,
};

use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use symbolon_core::password::Password;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

pub use self::phc::{Cost, InvalidCost, InvalidPhcString, PhcString};
use self::pool::Pool;

const SALT_BYTES: usize = 16;
const OUTPUT_BYTES: usize = 32;

/// Too many hashes wait already: 503 with `Retry-After` (RFC 9110, section 15.6.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many password checks are waiting")]
pub struct Busy {
    /// When to try again.
    pub retry_after: Duration,
}

impl Busy {
    const NOW: Self = Self { retry_after: Duration::from_secs(1) };
}

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The password is the right one.
    pub ok: bool,
    /// It is, and its hash should be made again because the configured cost is another.
    pub needs_rehash: bool,
}

/// The bounds of [`Passwords`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// What a new hash costs.
    pub cost: Cost,
    /// Runs in flight at most.
    pub threads: usize,
    /// Hashes that wait at most.
    pub queue_max: usize,
}

impl Default for Bounds {
    /// One thread per core, and as many waiting as take about a second.
    fn default() -> Self {
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        Self { cost: Cost::DEFAULT, threads, queue_max: 64 * threads }
    }
}

/// Makes and checks password hashes.
#[derive(Debug)]
pub struct Passwords {
    cost: Cost,
    dearest: Mutex<Cost>,
    pool: Pool,
}

/// What [`Passwords`] did since it began, for the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Runs of Argon2id.
    pub runs: u64,
    /// Blocks of 1 KiB that were computed in them.
    pub blocks: u64,
    /// How often memory was taken from the system.
    pub allocations: u64,
    /// Hashes that wait now.
    pub queued: usize,
}

impl Passwords {
    /// Starts the threads. They take their memory when they first need it and end when this value is dropped.
    pub fn start(bounds: Bounds) -> io::Result<Self> {
        Ok(Self {
            cost: bounds.cost,
            dearest: Mutex::new(bounds.cost),
            pool: Pool::start(bounds.threads, bounds.queue_max)?,
        })
    }

    /// Says that hashes of this cost rest in the store. Told at start, an unknown user costs from the first check on as
    /// much as any other. (A check learns the cost of what it checks by itself.)
    pub fn saw(&self, cost: Cost) {
        let mut dearest = self.dearest.lock().unwrap_or_else(PoisonError::into_inner);
        if cost.blocks() > dearest.blocks() {
            *dearest = cost;
        }
    }

    /// The hash of a password, at the configured cost, with a new salt.
    pub async fn hash(
        &self,
        password: &Password,
        rng: &mut impl CryptoRng,
    ) -> Result<PhcString, Busy> {
        let (password, cost) = (password.clone(), self.cost);
        let mut salt = vec![0; SALT_BYTES];
        rng.fill_bytes(&mut salt);
        let hash = self.pool.submit(move |memory| {
            let mut output = Zeroizing::new(vec![0; OUTPUT_BYTES]);
            memory.run(&cost, password.expose().as_bytes(), &salt, &mut output)?;
            Ok(PhcString { cost, salt, output })
        })?;
        answer(hash).await
    }

    /// Whether this is the password whose hash is `stored`; `None` stands for a user that does not exist or has none.
    pub async fn verify(
        &self,
        stored: Option<&PhcString>,
        password: &Password,
    ) -> Result<Verdict, Busy> {
        let (password, stored, cost) = (password.clone(), stored.cloned(), self.cost);
        if let Some(stored) = &stored {
            self.saw(stored.cost);
        }
        let dearest = *self.dearest.lock().unwrap_or_else(PoisonError::into_inner);
        let verdict = self.pool.submit(move |memory| {
            let password = password.expose().as_bytes();
            let mut output = Zeroizing::new(vec![0; OUTPUT_BYTES]);
            let Some(stored) = stored else {
                memory.run(&dearest, password, &[0; SALT_BYTES], &mut output)?;
                return Ok(Verdict { ok: false, needs_rehash: false });
            };
            let mut spent = output.clone();
            output.resize(stored.output.len(), 0);
            memory.run(&stored.cost, password, &stored.salt, &mut output)?;
            if let Some(rest) = dearest.beyond(&stored.cost) {
                memory.run(&rest, password, &stored.salt, &mut spent)?;
            }
            let ok = bool::from(output.ct_eq(&stored.output));
            Ok(Verdict { ok, needs_rehash: ok && stored.cost != cost })
        })?;
        answer(verdict).await
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        let counters = self.pool.counters();
        Stats {
            runs: counters.runs.load(Relaxed),
            blocks: counters.blocks.load(Relaxed),
            allocations: counters.allocations.load(Relaxed),
            queued: self.pool.queued(),
        }
    }
}

async fn answer<T>(receiver: oneshot::Receiver<argon2::Result<T>>) -> Result<T, Busy> {
    match receiver.await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            // A `Cost` and a `Password` are within Argon2's own bounds: this is a mistake of ours.
            tracing::error!(%error, "a password hash failed");
            Err(Busy::NOW)
        }
        // The pool is going down.
        Err(_) => Err(Busy::NOW),
    }
}

#[cfg(test)]
mod tests;
