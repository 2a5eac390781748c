//! Rounds, medians, clocks.

use std::{
    fmt,
    hint::black_box,
    time::{Duration, Instant},
};

use rustix::{
    param::clock_ticks_per_second,
    thread::{CpuSet, sched_setaffinity},
    time::{ClockId, clock_gettime},
};

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// The clock of a stopwatch.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
pub(crate) fn clock() -> Instant {
    Instant::now()
}

/// What one figure was in each round.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rounds(Vec<f64>);

impl Rounds {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The ratio to another figure, round by round: what disturbs a round disturbs both.
    pub(crate) fn over(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a / b).collect())
    }

    /// What is above another figure, round by round.
    pub(crate) fn minus(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a - b).collect())
    }

    /// The same in another unit.
    pub(crate) fn times(&self, factor: f64) -> Self {
        Self(self.0.iter().map(|value| value * factor).collect())
    }

    pub(crate) fn median(&self) -> f64 {
        self.at(0.5)
    }

    /// The value below which this share of them lies.
    pub(crate) fn at(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        sorted.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
    }
}

/// The median, and the least and the most in brackets.
impl fmt::Display for Rounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = match self.median() {
            small if small < 10.0 => 2,
            medium if medium < 100.0 => 1,
            _ => 0,
        };
        let (least, median, most) = (self.at(0.0), self.median(), self.at(1.0));
        write!(f, "{median:.digits$} ({least:.digits$}–{most:.digits$})")
    }
}

/// The CPU time of this process, its threads and the kernel's work for them included.
pub(crate) fn process_cpu() -> Duration {
    read(ClockId::ProcessCPUTime)
}

/// The CPU time of this thread.
pub(crate) fn thread_cpu() -> Duration {
    read(ClockId::ThreadCPUTime)
}

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Keeps this thread, and those that it starts, on one core. Without it everything works, only less evenly.
pub(crate) fn pin(core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core);
    let _ = sched_setaffinity(None, &cores);
}

/// Microseconds of CPU time per call of each function, round by round, alternating.
pub(crate) fn micros_each<const N: usize>(
    rounds: usize,
    calls: u32,
    mut functions: [&mut dyn FnMut(); N],
) -> [Rounds; N] {
    let mut all = [const { Rounds(Vec::new()) }; N];
    for round in 0..=rounds {
        for (function, samples) in functions.iter_mut().zip(&mut all) {
            let before = thread_cpu();
            for _ in 0..calls {
                black_box(&mut *function)();
            }
            let spent = thread_cpu().saturating_sub(before);
            // The first round warms up.
            if round > 0 {
                samples.push(spent.as_secs_f64() * 1e6 / f64::from(calls));
            }
        }
    }
    all
}

/// The CPU time of another process, in steps of 10 ms.
pub(crate) fn cpu_of(process: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name of the program is in parentheses and may hold anything.
    let (_, fields) = stat.rsplit_once(')').ok_or("no fields")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    let ticks = ticks.sum::<std::result::Result<u64, _>>()?;
    Ok(Duration::from_secs(ticks) / u32::try_from(clock_ticks_per_second())?)
}

/// The memory of a process that is in RAM.
pub(crate) fn resident_bytes(process: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).ok_or("no VmRSS")?;
    Ok(kib.parse::<u64>()? * 1024)
}
