//! A server that dies, hangs, comes back, or has lost what it answered.

use std::{sync::Arc, time::Duration};

use symbolon_core::id::SessionId;
use symbolon_guard::store::{
    Loaded, Opened, Part, Reason, SessionStore,
    redis::{Redis, Trouble},
};

use super::{
    NOW,
    adopt::{World, cookie},
    opening,
    server::{Server, until},
    trouble,
};
use crate::load::{Acknowledged, Load};

async fn known(store: &Redis, id: SessionId) -> Loaded {
    store.load(id, Part::All, NOW).await.unwrap()
}

/// Has the server killed under load, once it has opened this many sessions.
async fn killed_under_load(server: &mut Server, opened_min: u64) -> Acknowledged {
    let store: Arc<dyn SessionStore> = Arc::new(server.store().await);
    let load = Load::start(&store, || opening(Some("user")), NOW);
    until("there are sessions", async || (load.opened() >= opened_min).then_some(())).await;
    server.kill();
    load.acknowledged().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_every_write_on_disk_a_killed_server_loses_nothing_it_answered() {
    let always = ["--appendonly", "yes", "--appendfsync", "always"];
    let Some(mut server) = Server::start(&always).await else { return };
    let acknowledged = killed_under_load(&mut server, 400).await;
    server.restart().await;
    acknowledged.check_all_there(&server.store().await, NOW).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_a_write_to_disk_each_second_a_killed_server_loses_an_end_of_its_history() {
    let each_second = ["--appendonly", "yes", "--appendfsync", "everysec"];
    let Some(mut server) = Server::start(&each_second).await else { return };
    // What has reached the operating system outlives the process.
    let store = server.store().await;
    let [kept, ended] = [opening(Some("user")), opening(Some("user"))];
    for opening in [&kept, &ended] {
        assert!(matches!(store.create(opening, NOW).await.unwrap(), Opened::Live(_)));
    }
    assert!(store.end(ended.id, Reason::Logout, NOW).await.unwrap());
    until("everything is written", async || {
        let info: redis::InfoDict = server.ask(&[b"INFO", b"persistence"]).await;
        (info.get::<u64>("aof_buffer_length") == Some(0)).then_some(())
    })
    .await;
    let acknowledged = killed_under_load(&mut server, 400).await;
    server.restart().await;
    let store = server.store().await;
    assert!(matches!(known(&store, kept.id).await, Loaded::Live(..)));
    assert_eq!(known(&store, ended.id).await, Loaded::Gone(Reason::Logout));
    // Whatever the last moments have lost, nothing is half there: each is whole, or as it was before its last step.
    for id in acknowledged.live {
        assert!(matches!(known(&store, id).await, Loaded::Live(..) | Loaded::Unknown));
    }
    for id in acknowledged.ended {
        let found = known(&store, id).await;
        let before = matches!(found, Loaded::Live(..) | Loaded::Unknown);
        assert!(before || found == Loaded::Gone(Reason::Logout), "{found:?}");
    }
    for record in store.list("user", NOW).await.unwrap() {
        assert!(matches!(known(&store, record.id).await, Loaded::Live(..)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_persistence_a_killed_server_loses_everything_and_the_store_goes_on() {
    let Some(mut server) = Server::start(&["--appendonly", "no"]).await else { return };
    let acknowledged = killed_under_load(&mut server, 400).await;
    server.restart().await;
    let store = server.store().await;
    for id in acknowledged.live.into_iter().chain(acknowledged.ended) {
        assert_eq!(known(&store, id).await, Loaded::Unknown);
    }
    assert_eq!(store.list("user", NOW).await.unwrap(), vec![]);
    let next = opening(Some("user"));
    assert!(matches!(store.create(&next, NOW).await.unwrap(), Opened::Live(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_went_away_is_found_again() {
    let Some(mut server) = Server::start(&["--appendonly", "yes"]).await else { return };
    let settings = server.settings().deadline(Duration::from_secs(5));
    let store = Redis::open(settings).await.unwrap();
    let session = opening(Some("user"));
    store.create(&session, NOW).await.unwrap();
    server.kill();
    // Every verb says so, and nothing was done.
    let unreachable = |trouble: Trouble| assert!(matches!(trouble, Trouble::Unreachable(_)));
    let other = opening(None);
    unreachable(trouble(store.load(session.id, Part::Record, NOW).await));
    unreachable(trouble(store.create(&other, NOW).await));
    unreachable(trouble(store.renew(session.id, &other, NOW).await));
    unreachable(trouble(store.apply(session.id, &other.delta, NOW).await));
    unreachable(trouble(store.touch(&[(session.id, NOW)]).await));
    unreachable(trouble(store.end(session.id, Reason::Logout, NOW).await));
    unreachable(trouble(store.end_user("user", None, Reason::Logout, NOW).await));
    unreachable(trouble(store.list("user", NOW).await));
    unreachable(trouble(store.events(1).await));
    server.restart().await;
    let found =
        until("the store is back", async || store.load(session.id, Part::Record, NOW).await.ok());
    assert!(matches!(found.await, Loaded::Live(..)));
    // The server has forgotten the scripts.
    assert!(store.end(session.id, Reason::Logout, NOW).await.unwrap());
    assert_eq!(known(&store, other.id).await, Loaded::Unknown);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cut_connection_costs_a_reader_nothing() {
    let Some(server) = Server::start(&[]).await else { return };
    let store = server.store().await;
    let session = opening(None);
    store.create(&session, NOW).await.unwrap();
    for _ in 0..20 {
        let _: u64 = server.ask(&[b"CLIENT", b"KILL", b"TYPE", b"normal", b"SKIPME", b"yes"]).await;
        assert!(matches!(known(&store, session.id).await, Loaded::Live(..)));
    }
    // Nor do scripts that somebody has flushed.
    let _: () = server.ask(&[b"SCRIPT", b"FLUSH"]).await;
    assert!(store.end(session.id, Reason::Logout, NOW).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_hangs_is_noticed_within_the_deadline_and_then_at_once() {
    let Some(server) = Server::start(&[]).await else { return };
    let settings = server.settings().deadline(Duration::from_millis(300));
    let store = Redis::open(settings).await.unwrap();
    let session = opening(None);
    until("it was opened", async || store.create(&session, NOW).await.ok()).await;
    server.signal("STOP");
    assert_eq!(trouble(store.load(session.id, Part::Record, NOW).await), Trouble::Silent);
    // While nothing answers, many ask without waiting: the order shows it. Each of these would take its deadline, one
    // after another, and a single timer is shorter than all of them.
    until("it is known to be away", async || {
        let asked = async {
            for _ in 0..200 {
                trouble(store.load(session.id, Part::Record, NOW).await);
            }
        };
        tokio::select! {
            biased;
            () = asked => Some(()),
            () = tokio::time::sleep(Duration::from_secs(20)) => None,
        }
    })
    .await;
    server.signal("CONT");
    until("the store is back", async || store.load(session.id, Part::Record, NOW).await.ok()).await;
    assert!(matches!(known(&store, session.id).await, Loaded::Live(..)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_application_says_503_while_its_server_hangs_or_is_away() {
    let Some(mut world) = World::that_waits(Duration::from_millis(500)).await else { return };
    let own = until("something is in the cart", async || {
        let (status, headers, _) = world.ask("POST", "/add/tea", "").await;
        (status == 200).then(|| cookie(&headers))
    })
    .await;
    let mut fails_and_recovers = async |fault: &str| {
        match fault {
            "hangs" => world.server.signal("STOP"),
            _ => world.server.kill(),
        }
        for _ in 0..20 {
            let (status, headers, _) = world.ask("GET", "/who", &own).await;
            assert_eq!((status, headers.contains_key("retry-after")), (503, true), "{fault}");
            assert!(!headers.contains_key("set-cookie"), "{fault}");
        }
        match fault {
            "hangs" => world.server.signal("CONT"),
            _ => world.server.restart().await,
        }
        until("it is back", async || {
            let (status, _, text) = world.ask("GET", "/who", &own).await;
            (status == 200).then_some(text)
        })
        .await
    };
    assert_eq!(fails_and_recovers("hangs").await, "nobody tea");
    // It kept nothing: that is a visitor without a session, and no error.
    assert_eq!(fails_and_recovers("is away").await, "nobody ");
}
