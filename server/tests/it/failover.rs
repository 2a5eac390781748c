//! Another PostgreSQL server takes over. What leads the servers there (an address that moves, a name, a proxy) is a relay.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::json;
use symbolon::config::DatabaseUrl;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use crate::{
    nodes::until,
    postgres::Cluster,
    world::{PASSWORD, Tokens, World, ask},
};

/// An address behind which one server is at a time.
struct Relay {
    port: u16,
    to: watch::Sender<u16>,
}

impl Relay {
    async fn new(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (to, target) = watch::channel(to);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut target = target.clone();
                tokio::spawn(async move {
                    let port = *target.borrow_and_update();
                    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else {
                        return;
                    };
                    // Connections end when the address moves.
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        _ = target.changed() => {}
                    }
                });
            }
        });
        Self { port, to }
    }
}

async fn world(relay: &Relay, fenced: bool) -> World {
    let url = Cluster::url_at(relay.port, "symbolon", "symbolon");
    World::with(|config| {
        config.store.url = Some(DatabaseUrl(url));
        config.store.timeout = Duration::from_secs(2);
        config.store.fenced = fenced;
        config.limits.sessions_per_user_max = 10_000;
    })
    .await
}

/// What clients were told.
#[derive(Default)]
struct Told {
    alive: Vec<Tokens>,
    ended: Vec<Tokens>,
    confirmed: usize,
}

/// Logs in and ends every other session, until somebody says that it is over. What was not answered counts for nothing.
async fn load(world: &World, told: &Mutex<Told>, over: &watch::Receiver<bool>) {
    let mut ends = false;
    while !*over.borrow() {
        let body = json!({ "username": "user", "password": PASSWORD, "deliver": "token" });
        let login = world.send(ask("POST", "/api/v1/login").json(&body)).await;
        if login.status != 200 {
            assert_eq!(login.status, 503, "{login:?}");
            continue;
        }
        let tokens = Tokens::from(&login);
        ends = !ends;
        if !ends {
            told.lock().unwrap().alive.push(tokens);
            continue;
        }
        let path = "/api/v1/logout?confirm=1s";
        let ended = world.send(ask("POST", path).bearer(&tokens.access)).await;
        if [200, 202].contains(&ended.status.as_u16()) {
            let mut told = told.lock().unwrap();
            told.confirmed += usize::from(ended.status == 200);
            told.ended.push(tokens);
        }
    }
}

/// With synchronous replication the standby has every commit that was acknowledged: nothing is lost, whatever moment the
/// kill finds, and confirmations go on.
#[tokio::test(flavor = "multi_thread")]
async fn with_synchronous_replication_nothing_that_was_acknowledged_is_lost() {
    let Some(mut primary) = Cluster::start(&["fsync=off"]) else { return };
    primary.create("symbolon");
    let standby = primary.standby();
    primary.set(&["synchronous_standby_names = '*'"]);
    let relay = Relay::new(primary.port).await;
    let one = Arc::new(world(&relay, true).await);
    one.tokens("user").await;
    let other = Arc::new(one.beside().await);
    let told = Arc::new(Mutex::new(Told::default()));
    let (over, is_over) = watch::channel(false);
    let mut loads = JoinSet::new();
    for at in 0..6 {
        let world = Arc::clone(if at % 2 == 0 { &one } else { &other });
        let (told, over) = (Arc::clone(&told), is_over.clone());
        loads.spawn(async move { load(&world, &told, &over).await });
    }
    let enough = |told: &Mutex<Told>, more: usize| {
        let told = told.lock().unwrap();
        told.alive.len() >= more && told.ended.len() >= more && told.confirmed >= more
    };
    until(async || enough(&told, 10)).await;
    assert!(!one.app.store.has_asynchronous_standbys().await.unwrap());
    let history = one.app.store.log().head().log;
    primary.kill();
    standby.sql("postgres", "SELECT pg_promote()");
    let before = {
        let told = told.lock().unwrap();
        told.alive.len() + told.ended.len()
    };
    relay.to.send_replace(standby.port);
    // All goes on by itself, and confirmations do.
    let confirmed = told.lock().unwrap().confirmed;
    until(async || {
        let told = told.lock().unwrap();
        told.alive.len() + told.ended.len() > before + 20 && told.confirmed > confirmed + 5
    })
    .await;
    over.send_replace(true);
    loads.join_all().await;
    for world in [&one, &other] {
        assert_ne!(world.app.store.log().head().log, history, "followers begin anew");
    }
    let told = std::mem::take(&mut *told.lock().unwrap());
    for (at, tokens) in told.alive.iter().enumerate() {
        assert!(other.access_counts(&tokens.access).await, "login {at} is lost");
        one.refresh(&tokens.refresh).await.expect(200);
    }
    for (at, tokens) in told.ended.iter().enumerate() {
        assert!(!one.access_counts(&tokens.access).await, "end {at} is lost");
        other.refresh(&tokens.refresh).await.expect(400);
    }
}

/// Without it the last commits are lost, and `store.fenced = false` says so: nothing is confirmed. What this process knows
/// to be over stays so all the same, and a client whose last refresh was lost is no thief.
#[tokio::test(flavor = "multi_thread")]
async fn with_asynchronous_replication_nothing_is_confirmed() {
    let Some(mut primary) = Cluster::start(&["fsync=off"]) else { return };
    primary.create("symbolon");
    let standby = primary.standby();
    let relay = Relay::new(primary.port).await;
    let world = world(&relay, false).await;
    assert!(world.app.store.has_asynchronous_standbys().await.unwrap());
    let (kept, ended) = (world.tokens("user").await, world.tokens("user").await);
    // The standby has it all, and nothing of what comes now.
    let all = "SELECT 1 / (CASE WHEN count(*) >= 2 THEN 1 ELSE 0 END) FROM sessions";
    until(async || standby.try_sql("symbolon", all)).await;
    standby.signal("-STOP");
    let refreshed = Tokens::from(&world.refresh(&kept.refresh).await.expect(200));
    let path = "/api/v1/logout?confirm=20s";
    let answer = world.send(ask("POST", path).bearer(&ended.access)).await.expect(202);
    assert!(answer.text_of("refused").contains("store.fenced"), "{answer:?}");
    primary.kill();
    standby.signal("-CONT");
    standby.sql("postgres", "SELECT pg_promote()");
    relay.to.send_replace(standby.port);
    until(async || world.access_counts(&refreshed.access).await).await;
    assert!(!world.access_counts(&ended.access).await, "it is known here to be over");
    let next = Tokens::from(&world.refresh(&refreshed.refresh).await.expect(200));
    assert!(world.access_counts(&next.access).await);
    let again = world.send(ask("POST", path).bearer(&next.access)).await.expect(202);
    assert!(again.text_of("refused").contains("store.fenced"));
}
