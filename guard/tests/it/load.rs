//! Sessions that are opened and ended until their server is gone.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use symbolon_core::{id::SessionId, time::Time};
use symbolon_guard::store::{Opened, Opening, Reason, SessionStore};
use tokio::task::JoinHandle;

/// What was acknowledged before the server was killed.
#[derive(Default)]
pub(crate) struct Acknowledged {
    pub(crate) live: Vec<SessionId>,
    pub(crate) ended: Vec<SessionId>,
}

pub(crate) struct Load {
    tasks: Vec<JoinHandle<Acknowledged>>,
    opened: Arc<AtomicU64>,
}

impl Load {
    /// Lets four clients go, which open what they are given.
    pub(crate) fn start(
        store: &Arc<dyn SessionStore>,
        opening: fn() -> Opening,
        now: Time,
    ) -> Self {
        let opened = Arc::new(AtomicU64::new(0));
        let client = |()| tokio::spawn(run(Arc::clone(store), opening, now, Arc::clone(&opened)));
        Self { tasks: [(); 4].map(client).into(), opened }
    }

    /// How many sessions were opened so far.
    pub(crate) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// What was acknowledged, once the server is gone.
    pub(crate) async fn acknowledged(self) -> Acknowledged {
        let mut all = Acknowledged::default();
        for task in self.tasks {
            let Acknowledged { live, ended } = task.await.unwrap();
            all.live.extend(live);
            all.ended.extend(ended);
        }
        assert!(!all.live.is_empty() && !all.ended.is_empty());
        all
    }
}

async fn run(
    store: Arc<dyn SessionStore>,
    opening: fn() -> Opening,
    now: Time,
    opened: Arc<AtomicU64>,
) -> Acknowledged {
    let mut acknowledged = Acknowledged::default();
    loop {
        for kept in [true, false] {
            let opening = opening();
            match store.create(&opening, now).await {
                Ok(Opened::Live(_)) => opened.fetch_add(1, Ordering::Relaxed),
                Err(_) => return acknowledged,
                other => panic!("{other:?}"),
            };
            if kept {
                acknowledged.live.push(opening.id);
                continue;
            }
            // Of one whose end had no answer nothing is known.
            match store.end(opening.id, Reason::Logout, now).await {
                Ok(true) => acknowledged.ended.push(opening.id),
                Err(_) => return acknowledged,
                other => panic!("{other:?}"),
            }
        }
    }
}
