//! The store that is behind the requests: in memory, or the one that `SYMBOLON_TEST_SESSION_STORE` names (`sqlite`,
//! `postgres`, `redis`). Nobody sees a difference.

use std::{
    any::Any,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU32, Ordering},
    },
};

use symbolon_guard::store::{SessionStore, memory::Memory, redis::Redis, sql::Sql};

use crate::{
    postgres::{Folder, Postgres},
    redis::server::{DEADLINE, Server},
};

/// A store of its own, and what it rests in for as long.
pub(super) type Place = (Arc<dyn SessionStore>, Option<Arc<dyn Any + Send + Sync>>);

pub(super) fn in_memory() -> Place {
    (Arc::new(Memory::with_events(1000, 1000)), None)
}

#[expect(clippy::disallowed_methods, reason = "which store the tests try is the caller's choice")]
pub(super) async fn chosen() -> Place {
    match std::env::var("SYMBOLON_TEST_SESSION_STORE").as_deref() {
        Err(_) | Ok("memory") => in_memory(),
        Ok("sqlite") => {
            let folder = Folder::in_memory();
            let url = format!("sqlite:{}", folder.0.join("sessions.db").display());
            (Arc::new(Sql::connect(&url).await.unwrap().with_events()), Some(Arc::new(folder)))
        }
        Ok("postgres") => {
            static SERVER: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
            let server = shared(&SERVER, || Postgres::start_in_memory().unwrap());
            static SCHEMAS: AtomicU32 = AtomicU32::new(0);
            let name = format!("tests{}", SCHEMAS.fetch_add(1, Ordering::Relaxed));
            server.sql(&format!("CREATE SCHEMA {name}"));
            let url = format!("{}&options[search_path]={name}", server.url());
            (Arc::new(Sql::connect(&url).await.unwrap().with_events()), Some(server))
        }
        Ok("redis") => {
            let server = Server::start(&[]).await.unwrap();
            let settings = server.settings().deadline(DEADLINE).with_events(1000);
            (Arc::new(Redis::open(settings).await.unwrap()), Some(Arc::new(server)))
        }
        Ok(other) => panic!("there is no store {other}"),
    }
}

/// The one that another test has started, or a new one.
fn shared<T>(place: &Mutex<Weak<T>>, start: impl FnOnce() -> T) -> Arc<T> {
    let mut weak = place.lock().unwrap();
    weak.upgrade().unwrap_or_else(|| {
        let new = Arc::new(start());
        *weak = Arc::downgrade(&new);
        new
    })
}
