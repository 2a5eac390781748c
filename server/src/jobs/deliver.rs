//! Telling clients that sessions are over: as soon as they are due, a few at a time, for as long as it takes.

use std::{collections::HashSet, sync::Arc, time::Duration};

use symbolon_core::{client::ClientId, id::SessionId};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use crate::{
    app::{App, now},
    ops,
};

/// Clients are told this many at a time,
const AT_ONCE_MAX: usize = 64;

/// and one client this many: one that hangs keeps nobody else waiting.
const AT_ONCE_OF_ONE_MAX: u32 = 2;

/// How much longer than it may take a delivery is its node's.
const CLAIMED_EXTRA: Duration = Duration::from_secs(10);

/// Delivers until the task is dropped. What was on its way then is due still.
pub async fn run(app: Arc<App>) {
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut on_the_way = JoinSet::new();
    let mut told: HashSet<(SessionId, ClientId)> = HashSet::new();
    loop {
        start(&app, &mut on_the_way, &mut told).await;
        tokio::select! {
            Some(done) = on_the_way.join_next() => match done {
                Ok(done) => { told.remove(&done); }
                Err(error) => {
                    // Nobody knows any more which one it was.
                    tracing::error!(%error, "a delivery broke");
                    on_the_way.shutdown().await;
                    told.clear();
                }
            },
            () = app.store.became_due() => {}
            _ = second.tick() => {}
        }
    }
}

async fn start(
    app: &Arc<App>,
    on_the_way: &mut JoinSet<(SessionId, ClientId)>,
    told: &mut HashSet<(SessionId, ClientId)>,
) {
    if on_the_way.len() >= AT_ONCE_MAX {
        return;
    }
    let due = match app.store.due(now(), AT_ONCE_OF_ONE_MAX, AT_ONCE_MAX as u32).await {
        Ok(due) => due,
        Err(error) => {
            tracing::warn!(%error, "whom to tell of a logout is not known now");
            return;
        }
    };
    for notice in due {
        let key = (notice.session, notice.client.clone());
        let of_client = told.iter().filter(|(_, client)| *client == key.1).count();
        let full = on_the_way.len() >= AT_ONCE_MAX || of_client >= AT_ONCE_OF_ONE_MAX as usize;
        if full || !told.insert(key.clone()) {
            continue;
        }
        let app = Arc::clone(app);
        on_the_way.spawn(async move {
            // Another node may be faster, or may have begun.
            let until = now() + app.config.outbound.timeout * 2 + CLAIMED_EXTRA;
            if !app.store.claim_notice(&notice, now(), until).await.unwrap_or_default() {
                return key;
            }
            if let Err(error) = ops::tell::deliver(&app, &notice).await {
                tracing::warn!(%error, "a logout token was not sent, or that it was heard was not written");
                // It is due still: not at once, if the disk is full.
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            key
        });
    }
}
