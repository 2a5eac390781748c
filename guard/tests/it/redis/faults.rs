//! A server that dies, hangs, comes back, or has lost what it answered.

use std::time::Duration;

use symbolon_core::{id::SessionId, time::Time};
use symbolon_guard::store::{
    Applied, Loaded, Opened, Part, Reason, SessionStore,
    redis::{Redis, Trouble},
};

use super::{
    delta, opening,
    server::{Server, until},
};

const NOW: Time = Time::from_secs(1_800_000_000);

/// Why the store is unavailable.
fn trouble<T: std::fmt::Debug>(answer: Result<T, symbolon_guard::store::Unavailable>) -> Trouble {
    let error = answer.unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    source.downcast_ref::<Trouble>().unwrap().clone()
}

async fn is_live(store: &Redis, id: SessionId) -> bool {
    matches!(store.load(id, Part::All, NOW).await, Ok(Loaded::Live(..)))
}

/// Opens, writes and ends sessions from several tasks while the server is killed. Gives what was acknowledged: sessions
/// that are live, and sessions that were ended.
async fn under_load(server: &mut Server, settled: &str) -> (Vec<SessionId>, Vec<SessionId>) {
    let store = server.store().await;
    let task = |store: Redis| async move {
        let (mut live, mut ended) = (Vec::new(), Vec::new());
        loop {
            let [first, second] = [opening(Some("user")), opening(None)];
            for opening in [&first, &second] {
                match store.create(opening, NOW).await {
                    Ok(Opened::Live(_)) => live.push(opening.id),
                    Err(_) => return (live, ended),
                    other => panic!("{other:?}"),
                }
            }
            match store.end(first.id, Reason::Logout, NOW).await {
                Ok(true) => {
                    live.pop();
                    live.pop();
                    live.push(second.id);
                    ended.push(first.id);
                }
                Err(_) => {
                    // Nobody knows about this one.
                    live.retain(|id| *id != first.id);
                    return (live, ended);
                }
                other => panic!("{other:?}"),
            }
        }
    };
    let tasks: Vec<_> = [(); 4].map(|()| tokio::spawn(task(store.clone()))).into();
    until("there are sessions", async || {
        let keys: u64 = server.ask(&[b"DBSIZE"]).await;
        (keys > 400).then_some(())
    })
    .await;
    if !settled.is_empty() {
        until("the file is written", async || {
            let info: redis::InfoDict = server.ask(&[b"INFO", b"persistence"]).await;
            let number = |name| info.get::<u64>(name).unwrap();
            let written = number("aof_current_size") > 50_000;
            written.then_some(())
        })
        .await;
    }
    server.kill();
    let (mut live, mut ended) = (Vec::new(), Vec::new());
    for task in tasks {
        let (more_live, more_ended) = task.await.unwrap();
        live.extend(more_live);
        ended.extend(more_ended);
    }
    assert!(!live.is_empty() && !ended.is_empty());
    (live, ended)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_every_write_on_disk_a_killed_server_loses_nothing_it_answered() {
    let arguments = ["--appendonly", "yes", "--appendfsync", "always"];
    let Some(mut server) = Server::start(&arguments).await else { return };
    let (live, ended) = under_load(&mut server, "").await;
    server.restart().await;
    let store = server.store().await;
    for id in live {
        assert!(is_live(&store, id).await, "lost");
    }
    for id in ended {
        assert_eq!(
            store.load(id, Part::All, NOW).await.unwrap(),
            Loaded::Gone(Reason::Logout)
        );
    }
}
