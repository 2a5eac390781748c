//! The sessions of machine clients that the store gave lately, so that a token for a machine costs a signature and no
//! read.
//!
//! A proof of life is good for one lease and no longer, and at every use the session is looked up in the set of ended
//! ids: what ended before is in it, and what ends later ends the token that was given meanwhile.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use symbolon_core::{client::ClientId, session::Session, time::Time};

/// See the [module](self).
#[derive(Debug)]
pub struct Machines {
    proven: Mutex<HashMap<ClientId, (Arc<Session>, Time)>>,
    age_max: Duration,
}

impl Machines {
    /// Remembers sessions for `age_max`.
    pub fn new(age_max: Duration) -> Self {
        Self { proven: Mutex::default(), age_max }
    }

    /// The session of a client, if it was proven a moment ago.
    pub fn get(&self, client: &ClientId, now: Time) -> Option<Arc<Session>> {
        let proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = |(_, at): &&(Arc<Session>, Time)| self.is_fresh(*at, now);
        proven.get(client).filter(fresh).map(|(session, _)| Arc::clone(session))
    }

    /// Keeps a session that the store gave when it was asked at `asked_at`; forgets those of long ago.
    pub fn put(&self, session: Arc<Session>, asked_at: Time) {
        let mut proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        proven.retain(|_, (_, at)| self.is_fresh(*at, asked_at));
        proven.insert(session.client.clone(), (session, asked_at));
    }

    fn is_fresh(&self, at: Time, now: Time) -> bool {
        at <= now && now.since(at) < self.age_max
    }
}
