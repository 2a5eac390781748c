//! The promises hold in every history; with a rule broken, some history shows it.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use crate::{
    cluster,
    draw::MS,
    facts::{Broken, Seen},
    fault::{self, Fault},
    world::{self, History},
};

/// Something that can happen in a history, and how often it did.
type Counted = (&'static str, fn(&Seen) -> u64);

/// What must have happened in many histories.
const HAPPENED: &[Counted] = &[
    ("let in under a lease", |seen| seen.by_lease),
    ("let in by asking", |seen| seen.by_asking),
    ("refused", |seen| seen.refused),
    ("confirmed", |seen| seen.confirmed),
    ("acknowledged", |seen| seen.acknowledged),
    ("waited out", |seen| seen.waited_out),
    ("restarted", |seen| seen.restarts),
];

/// How many histories are run where nobody asks for more. Those of nodes that share a store are three times as long.
const USUAL: u64 = 2000;

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

/// Runs the history of a seed, with a fault or without, and tells it if asked to.
type Run = fn(u64, Option<Fault>, bool) -> History;

/// Runs a history in which nothing is broken on purpose.
fn sound(run: Run, seed: u64, told: bool) -> Seen {
    let history = run(seed, None, told);
    if let Some((at, broken)) = history.broken {
        let (ms, plan) = (at / MS, history.plan);
        panic!("{broken:?} after {ms} ms; SYMBOLON_TEST_SEED={seed} tells this history\n{plan:#?}");
    }
    history.seen
}

/// Runs many, or tells one. A world in which nothing happens keeps every promise: these must have happened.
fn all_sound(run: Run, usual: u64, happened: &[Counted]) {
    if let Some(seed) = asked("SYMBOLON_TEST_SEED") {
        println!("{:#?}", sound(run, seed, true));
        return;
    }
    let count = asked("SYMBOLON_TEST_RACES").map_or(usual, |races| races * usual / USUAL);
    let all = on_all_cores(count, |seed| sound(run, seed, false));
    for (what, of) in happened {
        let sum: u64 = all.iter().map(of).sum();
        assert!(sum > count / 2, "{what}: only {sum} times in {count} histories");
    }
}

#[test]
fn the_promises_hold_in_every_history() {
    all_sound(world::run, USUAL, HAPPENED);
}

#[test]
fn the_promises_hold_where_nodes_share_a_store() {
    let kept: [Counted; 2] = [("kept", |seen| seen.kept), ("refreshed", |seen| seen.raced)];
    all_sound(cluster::run, 700, &[HAPPENED, &kept].concat());
}
#[test]
fn every_planted_fault_is_caught() {
    all_caught(world::run, fault::ALL);
}

#[test]
fn every_fault_of_nodes_that_share_a_store_is_caught() {
    all_caught(cluster::run, fault::SHARED);
}

fn all_caught(run: Run, faults: &[Fault]) {
    let caught = on_all_cores(faults.len() as u64, |at| {
        let fault = faults[usize::try_from(at).unwrap()];
        let caught = (0..fault::HISTORIES_MAX).find_map(|seed| {
            let (_, broken) = run(seed, Some(fault), false).broken?;
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
    for run in [world::run, cluster::run] {
        for seed in 0..20 {
            let (one, other) = (run(seed, None, false), run(seed, None, false));
            assert_eq!(one.seen, other.seen, "{seed}");
        }
    }
}
