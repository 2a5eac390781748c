//! Live sessions of an earlier system, which move here when their browsers first come back: so that a switch logs
//! nobody out.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use http::HeaderMap;
use symbolon_core::{id::SessionId, secret::SecretText, session::Limits, time::Time};

use super::{SessionError, Sessions};
use crate::store::{Answer, Delta, Loaded, Opening, Part};

/// How often a session is looked at again that the earlier system still writes while it moves.
const TRIES_MAX: usize = 4;

/// Knows the sessions of an earlier system. `store::redis::adopt::ConnectRedis` is one, for Express.
pub trait Arrivals: Send + Sync + fmt::Debug + 'static {
    /// What a request holds of an earlier session, if that system has signed it. It must be as hard to guess as a session
    /// cookie: the session here is found by it.
    fn recognise(&self, headers: &HeaderMap) -> Option<SecretText>;

    /// Looks at an earlier session that has not moved; `None` if there is none any more.
    fn find<'a>(&'a self, earlier: &'a SecretText) -> Answer<'a, Option<Arrival>>;

    /// Opens the session here and removes it there, in one step; not if its id is taken, or if it is not what was found
    /// any more.
    fn adopt<'a>(
        &'a self,
        earlier: &'a SecretText,
        arrival: &'a Arrival,
        opening: &'a Opening,
        now: Time,
    ) -> Answer<'a, Adopted>;
}

/// A session of an earlier system.
#[derive(Debug)]
pub struct Arrival {
    /// Who is logged in.
    pub user: Option<Arc<str>>,
    /// Whether its cookie outlives the browser.
    pub remembered: bool,
    /// Its data.
    pub data: Delta,
    /// By which it is known again.
    pub digest: String,
}

/// What became of an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adopted {
    /// It is here: moved by this request, or by another at the same time.
    Here,
    /// It is not what was found any more.
    Changed,
    /// It may not come: all sessions of its user were ended, the user has too many, or its data is too large.
    Refused,
}

/// How many sessions of an earlier system have moved here.
#[derive(Debug, Default)]
pub(super) struct Counter {
    users: AtomicU64,
    visitors: AtomicU64,
}

/// How many sessions of an earlier system have moved here through this process, as [`Sessions::arrived`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// Of users.
    pub users: u64,
    /// Without a user. Where they are all, the user stands at another place of an earlier session than was said.
    pub visitors: u64,
}

impl Counter {
    fn note(&self, has_user: bool) {
        (if has_user { &self.users } else { &self.visitors }).fetch_add(1, Ordering::Relaxed);
        let Arrived { users, visitors } = self.arrived();
        if (users + visitors).is_power_of_two() {
            tracing::info!(users, visitors, "sessions of the earlier system have moved here");
        }
    }

    fn arrived(&self) -> Arrived {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Arrived { users: read(&self.users), visitors: read(&self.visitors) }
    }
}

impl Sessions {
    /// How many sessions of an earlier system have moved here through this process. The log says so, too: at the first,
    /// the second, the fourth, and so on.
    pub fn arrived(&self) -> Arrived {
        self.arrived_here().arrived()
    }

    /// What the store knows of a session; of an earlier system's, once it has moved.
    pub(super) async fn look(
        &self,
        earlier: Option<&SecretText>,
        id: SessionId,
        part: Part,
        now: Time,
    ) -> Result<Loaded, SessionError> {
        let loaded = self.reach().ask(|store| store.load(id, part, now)).await?;
        match earlier {
            // Boxed, because it is rare and large: every request would carry its room.
            Some(earlier) if loaded == Loaded::Unknown => {
                Box::pin(self.arrive(earlier, id, part, now)).await
            }
            _ => Ok(loaded),
        }
    }

    async fn arrive(
        &self,
        earlier: &SecretText,
        id: SessionId,
        part: Part,
        now: Time,
    ) -> Result<Loaded, SessionError> {
        let settings = self.settings();
        let Some(arrivals) = settings.arrivals.as_deref() else { return Ok(Loaded::Unknown) };
        for _ in 0..TRIES_MAX {
            let found = self.reach().ask(|_| arrivals.find(earlier)).await?;
            let Some(mut arrival) = found else { break };
            let lifetimes = &settings.lifetimes;
            let (idle, absolute) = match (&arrival.user, arrival.remembered) {
                (None, _) => (lifetimes.visitor, lifetimes.visitor),
                (_, false) => (lifetimes.idle, lifetimes.absolute),
                (_, true) => (lifetimes.remembered_idle, lifetimes.remembered_absolute),
            };
            let none = Delta::new(settings.data_bytes_max);
            let mut delta = std::mem::replace(&mut arrival.data, none);
            delta.bytes_max = settings.data_bytes_max;
            let opening = Opening {
                id,
                user: arrival.user.clone(),
                label: None,
                remembered: arrival.remembered
                    && (arrival.user.is_some() || settings.remember_visitors),
                opened_at: now,
                limits: Limits { idle, ends_at: now + absolute },
                at_most: settings.at_most,
                // It was opened long ago: an end of all sessions of its user means it, too.
                began_at: Time::from_millis(0),
                delta,
            };
            let adopted = self.reach().ask(|_| arrivals.adopt(earlier, &arrival, &opening, now));
            match adopted.await? {
                Adopted::Here => {
                    self.arrived_here().note(arrival.user.is_some());
                    break;
                }
                Adopted::Refused => return Ok(Loaded::Unknown),
                Adopted::Changed => {}
            }
        }
        // Whoever moved it.
        self.reach().ask(|store| store.load(id, part, now)).await
    }
}
