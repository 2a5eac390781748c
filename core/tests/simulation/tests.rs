//! The promises hold in every history; with a rule broken, some history shows it.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use crate::{
    draw::MS,
    facts::{Broken, Seen},
    fault, world,
};

/// A number from the environment.
fn asked(variable: &str) -> Option<u64> {
    std::env::var_os(variable).and_then(|text| text.to_str()?.parse().ok())
}

/// Does `work` for every number below `count`, on all cores.
fn on_all_cores<T: Send>(count: u64, work: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let next = AtomicU64::new(0);
    let take = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|number| *number < count);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let run = || std::iter::from_fn(take).map(&work).collect::<Vec<_>>();
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(run)).collect();
        let done = threads.into_iter().map(|thread| thread.join());
        done.flat_map(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

/// Runs a history in which nothing is broken on purpose.
fn sound(seed: u64, told: bool) -> Seen {
    let history = world::run(seed, None, told);
    if let Some((at, broken)) = history.broken {
        let (ms, plan) = (at / MS, history.plan);
        panic!("{broken:?} after {ms} ms; SYMBOLON_TEST_SEED={seed} tells this history\n{plan:#?}");
    }
    history.seen
}

#[test]
fn the_promises_hold_in_every_history() {
    if let Some(seed) = asked("SYMBOLON_TEST_SEED") {
        println!("{:#?}", sound(seed, true));
        return;
    }
    let count = asked("SYMBOLON_TEST_RACES").unwrap_or(2000);
    let all = on_all_cores(count, |seed| sound(seed, false));
    // A world in which nothing happens keeps every promise.
    let count_of = |what, of: fn(&Seen) -> u64| {
        let sum: u64 = all.iter().map(of).sum();
        assert!(sum > count / 2, "{what}: only {sum} times in {count} histories");
    };
    count_of("let in under a lease", |seen| seen.by_lease);
    count_of("let in by asking", |seen| seen.by_asking);
    count_of("refused", |seen| seen.refused);
    count_of("confirmed", |seen| seen.confirmed);
    count_of("acknowledged", |seen| seen.acknowledged);
    count_of("waited out", |seen| seen.waited_out);
    count_of("restarted", |seen| seen.restarts);
}

#[test]
fn every_planted_fault_is_caught() {
    let caught = on_all_cores(fault::ALL.len() as u64, |at| {
        let fault = fault::ALL[usize::try_from(at).unwrap()];
        let caught = (0..fault::HISTORIES_MAX).find_map(|seed| {
            let (_, broken) = world::run(seed, Some(fault), false).broken?;
            // That something does not work is no breach of a promise.
            (!matches!(broken, Broken::NotLive(_))).then_some((seed, broken))
        });
        (fault, caught)
    });
    for (fault, caught) in &caught {
        println!("{fault:?}: {caught:?}");
    }
    let missed: Vec<_> = caught.iter().filter(|(_, caught)| caught.is_none()).collect();
    assert!(missed.is_empty(), "the simulation is too weak for {missed:?}");
}

#[test]
fn a_seed_is_one_history() {
    for seed in 0..20 {
        let (one, other) = (world::run(seed, None, false), world::run(seed, None, false));
        assert_eq!(one.seen, other.seen, "{seed}");
    }
}
