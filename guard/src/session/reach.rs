//! The way to the store: never longer than a request may wait, and what is due behind the requests.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use symbolon_core::{id::SessionId, time::Time};
use tokio::{
    runtime::Handle,
    time::{Instant, sleep, timeout},
};

use super::SessionError;
use crate::store::{Answer, BATCH_MAX, SessionStore};

/// Times of last use are collected this long before they are written, all in one batch.
const TOUCH_EVERY: Duration = Duration::from_secs(1);
/// Sweeping is due this long after the last time.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// A store that did not answer in time is asked again after this long, by one request.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// The store, as requests get at it.
#[derive(Debug)]
pub(super) struct Reach {
    pub(super) store: Arc<dyn SessionStore>,
    wait_max: Duration,
    /// Until when nobody asks, because the store did not answer in time.
    quiet_until: Mutex<Option<Instant>>,
    touches: Mutex<HashMap<SessionId, Time>>,
    swept_at: Mutex<Option<Instant>>,
}

impl Reach {
    pub(super) fn new(store: Arc<dyn SessionStore>, wait_max: Duration) -> Self {
        Self {
            store,
            wait_max,
            quiet_until: Mutex::new(None),
            touches: Mutex::default(),
            swept_at: Mutex::new(None),
        }
    }

    /// Asks the store, unless it did not answer just now.
    pub(super) async fn ask<'a, T>(
        &'a self,
        question: impl FnOnce(&'a dyn SessionStore) -> Answer<'a, T>,
    ) -> Result<T, SessionError> {
        let probes = self.may_ask()?;
        match timeout(self.wait_max, question(&*self.store)).await {
            Ok(answer) => {
                if probes {
                    *lock(&self.quiet_until) = None;
                }
                answer.map_err(|error| {
                    let cause = std::error::Error::source(&error);
                    tracing::warn!(cause = cause.map(tracing::field::display), "{error}");
                    SessionError::Unavailable
                })
            }
            Err(_) => {
                tracing::warn!("the session store does not answer in time");
                let until = Instant::now() + PROBE_EVERY;
                *lock(&self.quiet_until) = Some(until);
                Err(SessionError::Unavailable)
            }
        }
    }

    /// Whether this request is the one that tries again.
    fn may_ask(&self) -> Result<bool, SessionError> {
        let mut quiet_until = lock(&self.quiet_until);
        let Some(until) = *quiet_until else { return Ok(false) };
        let now = Instant::now();
        if now < until {
            return Err(SessionError::Unavailable);
        }
        *quiet_until = Some(now + self.wait_max + PROBE_EVERY);
        Ok(true)
    }

    /// Notes that a session was seen. Whoever is the first to note one has the batch written after a while.
    pub(super) fn seen(self: &Arc<Self>, id: SessionId, at: Time) {
        let first = {
            let mut touches = lock(&self.touches);
            let first = touches.is_empty();
            touches.insert(id, at);
            first
        };
        if first && let Ok(runtime) = Handle::try_current() {
            let reach = Arc::clone(self);
            runtime.spawn(async move {
                sleep(TOUCH_EVERY).await;
                reach.write_touches().await;
            });
        }
    }

    async fn write_touches(&self) {
        let touches = {
            let mut touches = lock(&self.touches);
            std::mem::take(&mut *touches)
        };
        let touches: Vec<_> = touches.into_iter().collect();
        for batch in touches.chunks(BATCH_MAX) {
            // A batch that is lost costs its sessions a sixteenth of their idle limit.
            let _ = self.ask(|store| store.touch(batch)).await;
        }
    }

    /// Has the store swept, if that was long ago. Asked for whenever a session is opened: without new ones there is
    /// nothing that could pile up.
    pub(super) fn sweep_if_due(self: &Arc<Self>, now: Time) {
        let due = {
            let (mut swept_at, instant) = (lock(&self.swept_at), Instant::now());
            let due = swept_at.is_none_or(|at| instant.duration_since(at) >= SWEEP_EVERY);
            if due {
                *swept_at = Some(instant);
            }
            due
        };
        if due && let Ok(runtime) = Handle::try_current() {
            let reach = Arc::clone(self);
            runtime.spawn(async move {
                while let Ok(true) = reach.ask(|store| store.sweep(BATCH_MAX, now)).await {
                    tokio::task::yield_now().await;
                }
            });
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
