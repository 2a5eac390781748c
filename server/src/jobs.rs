//! What goes on behind: writing what was seen, making keys in time, sweeping what nobody needs any more, telling clients
//! of logouts.

pub mod deliver;

use std::{sync::Arc, time::Duration};

use symbolon_core::time::Time;
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    app::{App, entry_life, now},
    ops,
};

/// How much longer than its log entry a tombstone stays: longer than any request lives.
const TOMBSTONE_EXTRA: Duration = Duration::from_secs(600);

/// For how long a process tends the store that others share, unless it goes on.
const TENDING: Duration = Duration::from_secs(30);

/// Runs the jobs until the task is dropped.
pub async fn run(app: Arc<App>) {
    tokio::join!(tend(&app), deliver::run(Arc::clone(&app)));
}

async fn tend(app: &App) {
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ticks: u64 = 0;
    loop {
        second.tick().await;
        write_seen(app).await;
        if ticks.is_multiple_of(10) && is_ours(app).await {
            // One slice of the ids each time: all of them in some 43 minutes.
            sweep(app, (ticks / 10) as u8, now()).await;
        }
        if ticks.is_multiple_of(600) && is_ours(app).await {
            rotate_keys(app).await;
        }
        ticks += 1;
    }
}

/// Whether this process tends the store now. If two do, each does what is left.
async fn is_ours(app: &App) -> bool {
    app.store.claim("tend", now(), TENDING).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "who tends the store is not known now");
        false
    })
}

/// Writes when sessions were last seen.
pub async fn write_seen(app: &App) {
    let seen = app.live.take_seen();
    if seen.is_empty() {
        return;
    }
    if let Err(error) = app.store.touch(seen).await {
        // The idle limit of these sessions counts from an older moment: the safe direction.
        tracing::warn!(%error, "what was seen was not written");
    }
}

/// Removes what nobody needs any more; sessions that were silent too long, those whose ids begin with `slice`.
pub async fn sweep(app: &App, slice: u8, now: Time) {
    let entries_before = now - entry_life(&app.config);
    let sessions_before = entries_before - TOMBSTONE_EXTRA;
    if let Err(error) = app.store.sweep(entries_before, sessions_before, slice).await {
        tracing::warn!(%error, "the sweep was not done");
    }
}

async fn rotate_keys(app: &App) {
    if let Err(error) = ops::keys::rotate_due(app, now()).await {
        tracing::error!(%error, "keys were not rotated");
    }
}
