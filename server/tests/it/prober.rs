//! Who uses every credential at every follower all the time, and notes each acceptance with its times.

use std::{
    fmt,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
    time::{Instant, MissedTickBehavior},
};

use crate::followers::{Door, Follower};

/// How often each follower is asked about one of the credentials.
const EVERY: Duration = Duration::from_millis(100);
/// Questions to one follower that may be unanswered: it may be frozen.
const UNANSWERED_MAX: usize = 16;

/// The number of a credential.
pub(crate) type Id = usize;

/// A header that carries a half.
#[derive(Debug)]
struct Credential {
    header: &'static str,
    value: String,
}

/// A credential was accepted.
#[derive(Debug, Clone)]
pub(crate) struct Accepted {
    credential: Id,
    follower: String,
    pub(crate) client: &'static str,
    began: Instant,
    ended: Instant,
}

/// Credentials ended, and somebody was told that this is over everywhere but where the clients of `except` follow.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) credentials: Vec<Id>,
    pub(crate) confirmed_at: Instant,
    pub(crate) except: Vec<String>,
}

impl fmt::Display for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { credential, follower, began, ended, .. } = self;
        write!(f, "{follower} accepted {credential}: asked at {began:?}, answered at {ended:?}")
    }
}

impl End {
    /// The same, if everybody had been promised to refuse.
    pub(crate) fn without_exceptions(&self) -> Self {
        let (credentials, confirmed_at) = (self.credentials.clone(), self.confirmed_at);
        Self { credentials, confirmed_at, except: Vec::new() }
    }
}

/// Acceptances of what had been confirmed to be over before they began.
pub(crate) fn broken<'a>(ends: &[End], accepted: &'a [Accepted]) -> Vec<&'a Accepted> {
    let breaks = |accepted: &Accepted, end: &End| {
        end.credentials.contains(&accepted.credential)
            && accepted.began > end.confirmed_at
            && !end.except.iter().any(|client| client == accepted.client)
    };
    accepted.iter().filter(|accepted| ends.iter().any(|end| breaks(accepted, end))).collect()
}

/// What is asked, and what was answered. Clones of the `Arc` share it.
#[derive(Debug, Default)]
pub(crate) struct Book {
    credentials: RwLock<Vec<Arc<Credential>>>,
    accepted: Mutex<Vec<Accepted>>,
    pub(crate) asked: AtomicUsize,
}

impl Book {
    pub(crate) fn enter(&self, header: &'static str, value: String) -> Id {
        let mut credentials = self.credentials.write().unwrap();
        credentials.push(Arc::new(Credential { header, value }));
        credentials.len() - 1
    }

    pub(crate) fn accepted(&self) -> Vec<Accepted> {
        self.accepted.lock().unwrap().clone()
    }

    /// Asks a follower whether it accepts a credential, and notes if it does.
    pub(crate) async fn probe(&self, credential: Id, name: &str, door: &Door) -> bool {
        let sent = Arc::clone(&self.credentials.read().unwrap()[credential]);
        self.asked.fetch_add(1, Ordering::Relaxed);
        let began = Instant::now();
        let accepts = door.accepts((sent.header, &sent.value)).await;
        let ended = Instant::now();
        if accepts {
            let (follower, client) = (name.to_owned(), door.client);
            let accepted = Accepted { credential, follower, client, began, ended };
            self.accepted.lock().unwrap().push(accepted);
        }
        accepts
    }

    /// Begins to ask each of these followers about each of these credentials, at once.
    pub(crate) fn probe_all<'a>(
        self: &Arc<Self>,
        credentials: &[Id],
        followers: impl Iterator<Item = &'a Follower>,
    ) -> JoinSet<bool> {
        let mut probes = JoinSet::new();
        for follower in followers {
            for credential in credentials.iter().copied() {
                let (book, name) = (Arc::clone(self), follower.name.clone());
                let door = follower.door.clone();
                probes.spawn(async move { book.probe(credential, &name, &door).await });
            }
        }
        probes
    }

    /// Asks a follower for ever about one credential after another, whether it answers or not.
    pub(crate) fn keep_probing(self: &Arc<Self>, follower: &Follower) -> JoinHandle<()> {
        let (book, name, door) = (Arc::clone(self), follower.name.clone(), follower.door.clone());
        let unanswered = Arc::new(Semaphore::new(UNANSWERED_MAX));
        let mut often = tokio::time::interval(EVERY);
        often.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::spawn(async move {
            for turn in 0_usize.. {
                often.tick().await;
                let known = book.credentials.read().unwrap().len();
                let Ok(place) = Arc::clone(&unanswered).try_acquire_owned() else { continue };
                if known > 0 {
                    let (book, name, door) = (Arc::clone(&book), name.clone(), door.clone());
                    tokio::spawn(async move {
                        book.probe(turn % known, &name, &door).await;
                        drop(place);
                    });
                }
            }
        })
    }
}
