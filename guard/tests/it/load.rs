//! Sessions that are opened and ended until their server is gone.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use symbolon_core::{id::SessionId, time::Time};
use symbolon_guard::store::{Delta, Loaded, Opened, Opening, Part, Reason, SessionStore};
use tokio::task::JoinHandle;

/// What was acknowledged before the server was killed.
#[derive(Default)]
pub(crate) struct Acknowledged {
    pub(crate) live: Vec<SessionId>,
    pub(crate) ended: Vec<SessionId>,
    /// The old id and the new one.
    pub(crate) renewed: Vec<(SessionId, SessionId)>,
    /// The same of renewals that had no answer: each was done or was not.
    pub(crate) unsure: Vec<(SessionId, SessionId)>,
}

impl Acknowledged {
    /// After a server that keeps all that it has answered was killed: nothing is missing, and of what had no answer
    /// nothing is half done.
    pub(crate) async fn check_all_there(self, store: &dyn SessionStore, now: Time) {
        let known = async |id| store.load(id, Part::All, now).await.unwrap();
        for id in self.live {
            assert!(matches!(known(id).await, Loaded::Live(_, Some(data)) if data.bytes() > 0));
        }
        for id in self.ended {
            assert_eq!(known(id).await, Loaded::Gone(Reason::Logout));
        }
        for (old, new) in self.renewed {
            assert_eq!(known(old).await, Loaded::Gone(Reason::Renewed));
            assert!(matches!(known(new).await, Loaded::Live(_, Some(data)) if data.bytes() > 0));
        }
        for (old, new) in self.unsure {
            match known(old).await {
                Loaded::Live(..) => assert_eq!(known(new).await, Loaded::Unknown),
                gone => {
                    assert_eq!(gone, Loaded::Gone(Reason::Renewed));
                    assert!(matches!(known(new).await, Loaded::Live(..)));
                }
            }
        }
    }
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
            let one = task.await.unwrap();
            all.live.extend(one.live);
            all.ended.extend(one.ended);
            all.renewed.extend(one.renewed);
            all.unsure.extend(one.unsure);
        }
        assert!(!all.live.is_empty() && !all.ended.is_empty() && !all.renewed.is_empty());
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
        for fate in ["live", "ended", "renewed"] {
            let first = opening();
            match store.create(&first, now).await {
                Ok(Opened::Live(_)) => opened.fetch_add(1, Ordering::Relaxed),
                Err(_) => return acknowledged,
                other => panic!("{other:?}"),
            };
            match fate {
                "live" => acknowledged.live.push(first.id),
                // Of one whose end had no answer nothing is known.
                "ended" => match store.end(first.id, Reason::Logout, now).await {
                    Ok(true) => acknowledged.ended.push(first.id),
                    Err(_) => return acknowledged,
                    other => panic!("{other:?}"),
                },
                _ => {
                    let next = Opening { delta: Delta::new(1000), ..opening() };
                    match store.renew(first.id, &next, now).await {
                        Ok(Opened::Live(_)) => acknowledged.renewed.push((first.id, next.id)),
                        Err(_) => {
                            acknowledged.unsure.push((first.id, next.id));
                            return acknowledged;
                        }
                        other => panic!("{other:?}"),
                    }
                }
            }
        }
    }
}
