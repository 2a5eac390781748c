//! The store in Redis against a real server.

mod adopt;
mod attacks;
mod cluster;
mod faults;
pub(crate) mod server;

use std::time::Duration;

use symbolon_core::{id::SessionId, session::Limits, time::Time};
use symbolon_guard::store::{
    Delta, Opening,
    redis::{Redis, Trouble},
};

use self::server::Server;
use crate::stores::conforms;

/// Any moment: the server's clock is not asked.
const NOW: Time = Time::from_secs(1_800_000_000);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn redis_conforms() {
    let Some(server) = Server::start(&[]).await else { return };
    let settings = server.settings().deadline(server::DEADLINE).with_events(100_000);
    conforms(Redis::open(settings).await.unwrap(), 500).await;
}

pub(crate) fn id() -> SessionId {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    SessionId::from_bytes(bytes)
}

fn delta(values: &[(&str, &str)]) -> Delta {
    let mut delta = Delta::new(1000);
    for (key, value) in values {
        delta.set(key, value.as_bytes().to_vec()).unwrap();
    }
    delta
}

/// A session to be, with a little data.
fn opening(user: Option<&str>) -> Opening {
    Opening {
        id: id(),
        user: user.map(Into::into),
        label: None,
        remembered: false,
        opened_at: NOW,
        limits: Limits {
            idle: Duration::from_secs(1800),
            ends_at: NOW + Duration::from_secs(43_200),
        },
        at_most: None,
        began_at: NOW,
        delta: delta(&[("name", "\"User 12345\""), ("roles", "[\"user\",\"editor\"]")]),
    }
}

/// The key of a session.
fn key(id: SessionId) -> Vec<u8> {
    [b"{sessions}s", &id.as_bytes()[..]].concat()
}

/// Why the store is unavailable.
fn trouble<T: std::fmt::Debug>(answer: Result<T, symbolon_guard::store::Unavailable>) -> Trouble {
    let error = answer.unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    source.downcast_ref::<Trouble>().unwrap().clone()
}
