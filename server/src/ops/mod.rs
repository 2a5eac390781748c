//! The acts, one file each: load, let core decide, commit. Nothing here knows HTTP; nothing here decides.

pub mod apps;
pub mod assertion;
pub mod check;
pub mod client_registration;
pub mod clients;
pub mod code;
pub mod confirm;
pub mod data;
pub mod device;
pub mod end;
pub mod exchange;
pub mod follow;
pub mod handover;
pub mod introspect;
pub mod issue;
pub mod keys;
pub mod login;
pub mod machine;
pub mod moving;
pub mod password;
pub mod push;
pub mod refresh;
pub mod register;
pub mod sessions;
pub mod signed_request;
pub mod tell;
pub mod userinfo;
pub mod users;
pub mod visitor;

use std::time::Duration;

use crate::{app::App, os::Asked, store::StoreError};

/// How often an act is decided anew because somebody else was faster. Each time somebody else has succeeded, so only
/// this many parallel writers of one row can make one of them give up.
const TRIES_MAX: usize = 256;

/// The act could not be done now. It says nothing about whether it is allowed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Unavailable {
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Too many wait for the same thing.
    #[error("too busy; try again in {} s", retry_after.as_secs())]
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// The request has waited here for longer than an act may take, so whoever sent it has asked elsewhere.
    #[error("the request had waited for too long")]
    Late,
    /// There is no key to make or sign something with.
    #[error("no key: {0}")]
    Key(String),
}

/// Refuses to go on with a request that nobody waits for any more: it has lain here for too long, because this process was
/// stopped, say. Whoever judges what comes a second time to be theft asks this after it has loaded what it judges by. What was
/// done elsewhere while the request lay here was done by whoever sent it. If it is stopped after that, its change meets
/// another version, and it loads and asks again.
async fn refuse_late(app: &App, asked: &Asked) -> Result<(), Unavailable> {
    asked.is_waited_for().await;
    let in_time = asked.passed() <= app.config.store.timeout;
    if in_time { Ok(()) } else { Err(Unavailable::Late) }
}

impl Unavailable {
    const fn contended() -> Self {
        Self::Busy { retry_after: Duration::from_secs(1) }
    }
}
