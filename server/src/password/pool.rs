//! The threads that run Argon2id, and their memory.

use std::{
    collections::VecDeque,
    fmt,
    hint::black_box,
    io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use argon2::{Algorithm, Argon2, Block, Version};
use tokio::sync::oneshot;

use super::{Busy, Cost};

/// After this long without work a thread gives its memory back to the system.
const IDLE: Duration = Duration::from_secs(30);

type Job = Box<dyn FnOnce(&mut Memory) + Send>;

/// A fixed number of threads, each with one piece of memory, and a bounded queue before them.
pub(super) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    queue_max: usize,
    counters: Counters,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

/// What the pool did since it began.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Runs of Argon2id.
    pub(super) runs: AtomicU64,
    /// Blocks of 1 KiB computed in them.
    pub(super) blocks: AtomicU64,
    /// How often memory was taken from the system.
    pub(super) allocations: AtomicU64,
}

impl Pool {
    pub(super) fn start(threads: usize, queue_max: usize) -> io::Result<Self> {
        let pool = Self {
            shared: Arc::new(Shared {
                queue: Mutex::default(),
                wake: Condvar::new(),
                queue_max,
                counters: Counters::default(),
            }),
        };
        for number in 0..threads.max(1) {
            let shared = Arc::clone(&pool.shared);
            thread::Builder::new()
                .name(format!("password-{number}"))
                .spawn(move || shared.work())?;
        }
        Ok(pool)
    }

    /// Queues `work`, or says at once that there is too much already. Work whose receiver is gone when its turn comes is
    /// dropped.
    pub(super) fn submit<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Memory) -> T + Send + 'static,
    ) -> Result<oneshot::Receiver<T>, Busy> {
        let (answer, receiver) = oneshot::channel();
        let job: Job = Box::new(move |memory| {
            if !answer.is_closed() {
                // Whoever left meanwhile needs no answer.
                let _ = answer.send(work(memory));
            }
        });
        let mut queue = self.shared.lock();
        if queue.jobs.len() >= self.shared.queue_max {
            return Err(Busy::NOW);
        }
        queue.jobs.push_back(job);
        drop(queue);
        self.shared.wake.notify_one();
        Ok(receiver)
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Jobs that wait.
    pub(super) fn queued(&self) -> usize {
        self.shared.lock().jobs.len()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.closed = true;
        queue.jobs.clear();
        drop(queue);
        self.shared.wake.notify_all();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("queue_max", &self.shared.queue_max).finish_non_exhaustive()
    }
}

enum Next {
    Work(Job),
    GiveBackMemory,
    Stop,
}

impl Shared {
    /// What each thread does.
    fn work(&self) {
        yield_to_requests();
        let mut memory = Memory { blocks: Vec::new(), used: 0, counters: &self.counters };
        loop {
            // Under load the next hash overwrites what the last one left; otherwise it is wiped now, after the answer
            // has gone.
            let next = self.ready().unwrap_or_else(|| {
                memory.wipe(0);
                self.wait(!memory.blocks.is_empty())
            });
            match next {
                Next::Work(job) => job(&mut memory),
                Next::GiveBackMemory => memory.blocks = Vec::new(),
                Next::Stop => return,
            }
        }
    }

    fn ready(&self) -> Option<Next> {
        self.lock().jobs.pop_front().map(Next::Work)
    }

    fn wait(&self, holds_memory: bool) -> Next {
        let mut queue = self.lock();
        loop {
            if queue.closed {
                return Next::Stop;
            }
            if let Some(job) = queue.jobs.pop_front() {
                return Next::Work(job);
            }
            if !holds_memory {
                queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let (back, timeout) =
                self.wake.wait_timeout(queue, IDLE).unwrap_or_else(PoisonError::into_inner);
            if timeout.timed_out() && back.jobs.is_empty() && !back.closed {
                return Next::GiveBackMemory;
            }
            queue = back;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // No step under the lock can leave the queue half changed.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread of this pool computes for milliseconds without a pause. At lower priority it takes whatever the cores have
/// to give, and a request that arrives meanwhile does not wait for its time slice to end.
#[cfg(target_os = "linux")]
fn yield_to_requests() {
    // On Linux this concerns the calling thread alone. Without it everything works, only less smoothly.
    if let Err(error) = rustix::process::nice(10) {
        tracing::debug!(%error, "hashing threads keep the usual priority");
    }
}

#[cfg(not(target_os = "linux"))]
fn yield_to_requests() {}

/// The memory of one thread. It grows to the dearest cost that was asked for and is used again and again: pages fresh
/// from the system would cost more than half of a dear hash.
pub(super) struct Memory<'a> {
    blocks: Vec<Block>,
    /// So many blocks, the first ones, hold what a hash left. All others are zero.
    used: usize,
    counters: &'a Counters,
}

impl Memory<'_> {
    /// One run of Argon2id, version 19. It overwrites what the last one left, and leaves what the next one overwrites
    /// or [`Memory::wipe`] wipes.
    pub(super) fn run(
        &mut self,
        cost: &Cost,
        password: &[u8],
        salt: &[u8],
        output: &mut [u8],
    ) -> argon2::Result<()> {
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, cost.params(output.len())?);
        let needed = argon2.params().block_count();
        self.wipe(needed);
        if self.blocks.len() < needed {
            // The old blocks go first, so that both are never there together.
            self.wipe(0);
            self.blocks = Vec::new();
            self.blocks = vec![Block::new(); needed];
            self.counters.allocations.fetch_add(1, Relaxed);
        }
        self.used = needed;
        self.counters.runs.fetch_add(1, Relaxed);
        self.counters.blocks.fetch_add(cost.blocks(), Relaxed);
        argon2.hash_password_into_with_memory(password, salt, output, &mut self.blocks[..needed])
    }

    /// Wipes all but the first `kept` blocks.
    ///
    /// A plain fill runs at the speed of memory: some 0.5 ms for 19 MiB, beside 14 ms for the hash. The blocks live on
    /// and are shown to `black_box`, so the compiler cannot leave it out.
    fn wipe(&mut self, kept: usize) {
        if let Some(left) = self.blocks.get_mut(kept..self.used) {
            left.fill(Block::new());
            black_box(left);
            self.used = kept;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_taken_once_and_wiped() {
        let counters = Counters::default();
        let mut memory = Memory { blocks: Vec::new(), used: 0, counters: &counters };
        let zeros_from = |memory: &Memory<'_>| {
            let zero = |block: &Block| block.as_ref().iter().all(|word| *word == 0);
            memory.blocks.iter().rposition(|block| !zero(block)).map_or(0, |last| last + 1)
        };
        for (memory_kib, lanes) in [(256, 1), (64, 2), (256, 4), (128, 1)] {
            let cost = Cost::new(memory_kib, 2, lanes).unwrap();
            let mut output = [0; 32];
            memory.run(&cost, b"password", b"somesalt", &mut output).unwrap();
            assert_ne!(output, [0; 32]);
            // Nothing is left of a dearer hash before.
            assert_eq!(zeros_from(&memory), memory_kib as usize);
        }
        memory.wipe(0);
        assert_eq!(zeros_from(&memory), 0);
        assert_eq!(memory.blocks.len(), 256);
        assert_eq!(counters.allocations.load(Relaxed), 1);
        assert_eq!(counters.runs.load(Relaxed), 4);
        assert_eq!(counters.blocks.load(Relaxed), 2 * (256 + 64 + 256 + 128));
    }
}
