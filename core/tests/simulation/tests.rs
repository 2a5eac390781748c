//! The rules hold in every history; with each of them broken, some history shows it.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use crate::{facts::{Broken, Seen}, fault, world};

/// A number from the environment.
fn asked(variable: &str) -> Option<u64> {
    std::env::var_os(variable).and_then(|text| text.to_str()?.parse().ok())
}

/// Runs `work` on every number below `count`, on all cores.
fn on_all_cores(count: u64, work: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(0);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    work(number);
                }
            });
        }
    });
}

#[test]
fn the_promises_hold_in_every_history() {
    let check = |seed| {
        let history = world::run(seed, None);
        if let Some((at, broken)) = history.broken {
            panic!(
                "{broken:?} after {} ms; run it alone with SYMBOLON_TEST_SEED={seed}\n{:#?}",
                at / crate::draw::MS,
                history.plan
            );
        }
        history.seen
    };
    if let Some(seed) = asked("SYMBOLON_TEST_SEED") {
        let seen: Seen = check(seed);
        println!("{seen:?}");
        return;
    }
    let count = asked("SYMBOLON_TEST_RACES").unwrap_or(500) * 4;
    on_all_cores(count, |seed| {
        check(seed);
    });
}

#[test]
fn every_planted_fault_is_caught() {
    let only = std::env::var("F").ok();
    for (fault, within) in fault::ALL {
        if only.as_ref().is_some_and(|only| !only.split(',').any(|o| o == format!("{fault:?}"))) { continue; }
        let caught = (0..*within).find_map(|seed| {
            let broken = world::run(seed, Some(*fault)).broken?.1;
            (!matches!(broken, Broken::NotLive(_))).then_some((seed, broken))
        });
        println!("{fault:?}: {caught:?}");
    }
}
