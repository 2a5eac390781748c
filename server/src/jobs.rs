//! What goes on behind: writing what was seen, making keys in time, sweeping what nobody needs any more.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use crate::{
    app::{App, entry_life, now},
    ops,
};

/// How much longer than its log entry a tombstone stays: longer than any request lives.
const TOMBSTONE_EXTRA: Duration = Duration::from_secs(600);

/// Runs the jobs until the task is dropped.
pub async fn run(app: Arc<App>) {
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ticks: u64 = 0;
    loop {
        second.tick().await;
        write_seen(&app).await;
        if ticks.is_multiple_of(10) {
            sweep(&app).await;
        }
        if ticks.is_multiple_of(600) {
            rotate_keys(&app).await;
        }
        ticks += 1;
    }
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

async fn sweep(app: &App) {
    let before = now() - entry_life(&app.config);
    if let Err(error) = app.store.sweep(before, before - TOMBSTONE_EXTRA).await {
        tracing::warn!(%error, "the sweep was not done");
    }
}

async fn rotate_keys(app: &App) {
    if let Err(error) = ops::keys::rotate_due(app, now()).await {
        tracing::error!(%error, "keys were not rotated");
    }
}
