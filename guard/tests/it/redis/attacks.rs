//! What others write at our keys, servers that refuse, and what a session takes.

use std::{collections::BTreeMap, time::Duration};

use symbolon_guard::store::{
    Applied, Loaded, Opened, Opening, Part, Reason, SessionStore, What,
    redis::{Redis, Settings, Trouble},
};

use super::{
    NOW, delta, key, opening,
    server::{self, Server},
    trouble,
};

/// What somebody may have put where a session was.
fn garbage(good: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let set = |bytes: &[u8]| vec![b"SET".to_vec(), b"KEY".to_vec(), bytes.to_vec()];
    let words = |text: &str| text.split(' ').map(|word| word.as_bytes().to_vec()).collect();
    // The user of the record is five bytes long and begins at 33; its data follows.
    let mut bad_user = good.to_vec();
    bad_user[34] = 0xff;
    let mut alien = vec![words("RPUSH KEY a"), words("HSET KEY a b"), words("ZADD KEY 1 a")];
    alien.push(words("SADD KEY a"));
    let bytes = [
        b"x".to_vec(),
        b"{\"cookie\":{}}".to_vec(),
        [b"\x02", &good[1..]].concat(),
        good[..32].to_vec(),
        good[..36].to_vec(),
        vec![1; 40],
        vec![0; 3],
        bad_user,
    ];
    alien.extend(bytes.iter().map(|bytes| set(bytes)));
    alien
}

#[tokio::test]
async fn garbage_at_a_key_is_no_session_and_no_error() {
    let Some(server) = Server::start(&[]).await else { return };
    let settings = server.settings().deadline(server::DEADLINE).with_events(1000);
    let store = Redis::open(settings).await.unwrap();
    let first = opening(Some("user1"));
    store.create(&first, NOW).await.unwrap();
    let good: Vec<u8> = server.ask(&[b"GET", &key(first.id)]).await;
    let gone = Reason::Unreadable;
    for alien in garbage(&good) {
        for verb in 0..6 {
            let session = opening(Some("user1"));
            store.create(&session, NOW).await.unwrap();
            let key = key(session.id);
            let _: redis::Value = server.ask(&[b"DEL", &key]).await;
            let words: Vec<&[u8]> =
                alien.iter().map(|word| if word == b"KEY" { &key } else { &**word }).collect();
            let _: redis::Value = server.ask(&words).await;
            let next = opening(Some("user1"));
            match verb {
                0 => {}
                1 => assert!(store.end(session.id, Reason::Logout, NOW).await.is_ok()),
                2 => assert!(store.apply(session.id, &delta(&[("a", "1")]), NOW).await.is_ok()),
                3 => assert!(store.renew(session.id, &next, NOW).await.is_ok()),
                4 => store.touch(&[(session.id, NOW + Duration::from_secs(9))]).await.unwrap(),
                _ => assert!(store.list("user1", NOW).await.is_ok()),
            }
            for part in [Part::Record, Part::All, Part::Record] {
                let found = store.load(session.id, part, NOW).await.unwrap();
                match (&alien[..], verb) {
                    // A user that is no text is found by whoever reads it, not by the scripts.
                    (_, 1 | 3) if matches!(found, Loaded::Gone(_)) => {}
                    _ => assert_eq!(found, Loaded::Gone(gone), "{alien:?} {verb}"),
                }
            }
            // Its user can log in.
            let again = opening(Some("user1"));
            assert!(matches!(store.create(&again, NOW).await.unwrap(), Opened::Live(_)));
            store.end(again.id, Reason::Logout, NOW).await.unwrap();
        }
        let events = store.events(1000).await.unwrap();
        assert!(events.iter().any(|event| event.what == What::Ended(gone)));
        store.settle(&events.iter().map(|event| event.id).collect::<Vec<_>>()).await.unwrap();
    }
}

#[tokio::test]
async fn garbage_in_the_data_ends_who_asks_for_it() {
    let Some(server) = Server::start(&[]).await else { return };
    let store = server.store().await;
    for verb in 0..3 {
        let session = opening(Some("user1"));
        store.create(&session, NOW).await.unwrap();
        let _: u64 = server.ask(&[b"APPEND", &key(session.id), b"\x05\0\0"]).await;
        // The record is whole.
        let found = store.load(session.id, Part::Record, NOW).await.unwrap();
        assert!(matches!(found, Loaded::Live(..)));
        let (next, gone) = (opening(Some("user1")), Reason::Unreadable);
        match verb {
            0 => {
                let found = store.load(session.id, Part::All, NOW).await.unwrap();
                assert_eq!(found, Loaded::Gone(gone));
            }
            1 => {
                let applied = store.apply(session.id, &delta(&[("a", "1")]), NOW).await.unwrap();
                assert_eq!(applied, Applied::Gone(gone));
            }
            _ => {
                let opened = store.renew(session.id, &next, NOW).await.unwrap();
                assert_eq!(opened, Opened::Gone(gone));
            }
        }
        assert_eq!(store.load(next.id, Part::All, NOW).await.unwrap(), Loaded::Unknown);
        let found = store.load(session.id, Part::Record, NOW).await.unwrap();
        assert_eq!(found, Loaded::Gone(gone));
        assert_eq!(store.list("user1", NOW).await.unwrap(), vec![]);
    }
}

#[tokio::test]
async fn a_wrong_type_at_a_key_of_the_store_changes_nothing_and_is_named() {
    let Some(server) = Server::start(&[]).await else { return };
    let settings = server.settings().deadline(server::DEADLINE).with_events(1000);
    let store = Redis::open(settings).await.unwrap();
    let visitor = opening(None);
    for shared in ["index", "queue", "outbox"] {
        let _: () = server.ask(&[b"FLUSHALL"]).await;
        let login = opening(Some("user"));
        store.create(&visitor, NOW).await.unwrap();
        store.create(&login, NOW).await.unwrap();
        let mut keys: Vec<Vec<u8>> = server.ask(&[b"KEYS", b"{sessions}u*"]).await;
        let key = match shared {
            "index" => keys.pop().unwrap(),
            "queue" => b"{sessions}q".to_vec(),
            _ => b"{sessions}o".to_vec(),
        };
        let _: redis::Value = server.ask(&[b"SET", &key, b"alien"]).await;
        let next = opening(Some("user"));
        let wrong = trouble(store.create(&next, NOW).await);
        assert!(matches!(wrong, Trouble::WrongType(_)), "{shared}: {wrong:?}");
        let wrong = trouble(store.renew(visitor.id, &next, NOW).await);
        assert!(matches!(wrong, Trouble::WrongType(_)), "{shared}: {wrong:?}");
        assert_eq!(store.load(next.id, Part::All, NOW).await.unwrap(), Loaded::Unknown);
        let found = store.load(visitor.id, Part::All, NOW).await.unwrap();
        assert!(matches!(found, Loaded::Live(..)), "{shared}");
        // Whoever is live can still be ended, unless that could not be told.
        let ended = store.end(login.id, Reason::Logout, NOW).await;
        assert_eq!(ended.is_ok(), shared != "outbox", "{shared}");
        let _: u64 = server.ask(&[b"DEL", &key]).await;
        assert!(matches!(store.create(&next, NOW).await.unwrap(), Opened::Live(_)), "{shared}");
    }
}

#[tokio::test]
async fn a_server_that_will_not_do_says_why() {
    let Some(server) = Server::start(&[]).await else { return };
    let user = |rights: &'static str| {
        let server = &server;
        async move {
            let words: Vec<&[u8]> = format!("ACL SETUSER app reset on >secret {rights}")
                .leak()
                .split(' ')
                .map(str::as_bytes)
                .collect();
            let _: () = server.ask(&words).await;
            let url = format!("{}?user=app&pass=secret", server.url());
            Redis::open(Settings::new(&url).unwrap()).await
        }
    };
    // What the documentation says is enough.
    let enough = "~{sessions}* +@connection +@scripting +@read +@write +info";
    let store = user(enough).await.unwrap();
    store.create(&opening(Some("user")), NOW).await.unwrap();
    store.end_user("user", None, Reason::Logout, NOW).await.unwrap();
    for lacking in [
        "~{sessions}* +@connection +@read +@write +info",
        "~{sessions}* +@connection +@scripting +@read +info",
        "~other* +@connection +@scripting +@read +@write +info",
        "~{sessions}* +@connection +@scripting +@read +@write -setrange",
        "~{sessions}* +@connection +@scripting +@read +@write -hrandfield",
    ] {
        let trouble = user(lacking).await.unwrap_err();
        assert!(matches!(trouble, Trouble::Forbidden(_)), "{lacking}: {trouble:?}");
    }
    let open = |url: String| Redis::open(Settings::new(&url).unwrap());
    let trouble = open(format!("{}?user=app&pass=wrong", server.url())).await.unwrap_err();
    assert!(matches!(trouble, Trouble::Login(_)), "{trouble:?}");
    assert!(!trouble.to_string().contains("wrong\""), "{trouble}");
    let trouble = open(format!("{}.nowhere", server.url())).await.unwrap_err();
    assert!(matches!(trouble, Trouble::Unreachable(_)), "{trouble:?}");
    let _: () = server.ask(&[b"CONFIG", b"SET", b"requirepass", b"secret"]).await;
    let trouble = open(server.url()).await.unwrap_err();
    assert!(matches!(trouble, Trouble::Login(_)), "{trouble:?}");

    let Some(replica) = Server::start(&["--replicaof", "127.0.0.1", "1"]).await else { return };
    let trouble = Redis::open(replica.settings()).await.unwrap_err();
    assert!(matches!(trouble, Trouble::ReadOnly(_)), "{trouble:?}");
    // A listener that speaks something else, or nothing.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let settings = Settings::new(&format!("redis://127.0.0.1:{port}"));
    let silent = Redis::open(settings.unwrap().deadline(Duration::from_millis(50))).await;
    assert_eq!(silent.unwrap_err(), Trouble::Silent);
}

#[tokio::test]
async fn tls_to_a_server_that_is_not_the_one() {
    let names = ["localhost".to_owned()];
    let [ours, other] =
        [(); 2].map(|()| rcgen::generate_simple_self_signed(names.clone()).unwrap());
    let key = ours.signing_key.serialize_pem();
    let Some((_server, port)) = Server::with_tls(&ours.cert.pem(), &key).await else { return };
    let open = |host: &str, root: &rcgen::Certificate| {
        let settings = Settings::new(&format!("rediss://{host}:{port}")).unwrap();
        let settings = settings.root_certificates(root.pem().into_bytes());
        Redis::open(settings.deadline(server::DEADLINE))
    };
    let store = open("localhost", &ours.cert).await.unwrap();
    assert!(matches!(store.create(&opening(None), NOW).await.unwrap(), Opened::Live(_)));
    for (host, root) in [("localhost", &other.cert), ("127.0.0.1", &ours.cert)] {
        let trouble = open(host, root).await.unwrap_err();
        assert!(matches!(trouble, Trouble::Unreachable(_)), "{trouble:?}");
    }
}

#[tokio::test]
async fn a_server_without_memory_opens_nothing_and_ends_everything() {
    let arguments = ["--maxmemory", "3mb", "--maxmemory-policy", "noeviction"];
    let Some(server) = Server::start(&arguments).await else { return };
    let settings = server.settings().deadline(server::DEADLINE).with_events(100_000);
    let store = Redis::open(settings).await.unwrap();
    let mut opened = Vec::new();
    let full = loop {
        let session = Opening { delta: delta(&[("a", &"v".repeat(900))]), ..opening(Some("user")) };
        match store.create(&session, NOW).await {
            Ok(Opened::Live(_)) => opened.push(session.id),
            refused => break trouble(refused),
        }
    };
    assert!(matches!(full, Trouble::Full(_)), "{full:?}");
    let id = opened[0];
    let later = NOW + Duration::from_secs(60);
    let written = store.apply(id, &delta(&[("b", &"v".repeat(900))]), NOW).await;
    assert!(written.is_ok() || matches!(trouble(written), Trouble::Full(_)));
    store.touch(&[(id, later)]).await.unwrap();
    match store.load(id, Part::Record, NOW).await.unwrap() {
        Loaded::Live(record, _) => assert_eq!(record.seen_at, later),
        other => panic!("{other:?}"),
    }
    assert!(store.end(id, Reason::Logout, NOW).await.unwrap());
    let left = opened.len() as u64 - 1;
    assert_eq!(store.end_user("user", None, Reason::Revoked, NOW).await.unwrap(), left);
    assert_eq!(store.load(id, Part::All, NOW).await.unwrap(), Loaded::Gone(Reason::Logout));
}

/// How often each command was run, by scripts or by us.
async fn commands(server: &Server) -> BTreeMap<String, u64> {
    let info: redis::InfoDict = server.ask(&[b"INFO", b"commandstats"]).await;
    let calls = |text: &str| text.split(['=', ',']).nth(1).unwrap().parse().unwrap();
    ["getrange", "get", "evalsha", "pexpire", "setrange", "multi"]
        .into_iter()
        .filter_map(|name| {
            let text: String = info.get(&format!("cmdstat_{name}"))?;
            Some((name.to_owned(), calls(&text)))
        })
        .collect()
}

#[tokio::test]
async fn reading_is_one_plain_command_and_every_other_verb_one_script() {
    let Some(server) = Server::start(&[]).await else { return };
    let store = server.store().await;
    let [session, next] = [opening(Some("user")), opening(Some("user"))];
    // The server has seen every script.
    store.create(&opening(None), NOW).await.unwrap();
    store.apply(session.id, &delta(&[]), NOW).await.unwrap();
    store.touch(&[(session.id, NOW)]).await.unwrap();
    store.end(session.id, Reason::Logout, NOW).await.unwrap();
    store.end_user("other", None, Reason::Logout, NOW).await.unwrap();
    store.list("other", NOW).await.unwrap();
    let _: () = server.ask(&[b"CONFIG", b"RESETSTAT"]).await;

    store.create(&session, NOW).await.unwrap();
    for part in [Part::Record, Part::All] {
        for _ in 0..50 {
            store.load(session.id, part, NOW).await.unwrap();
        }
    }
    let counted = commands(&server).await;
    assert_eq!((counted["getrange"], counted["evalsha"]), (100, 1), "{counted:?}");
    store.apply(session.id, &delta(&[("a", "1")]), NOW).await.unwrap();
    store.touch(&[(session.id, NOW)]).await.unwrap();
    store.renew(session.id, &next, NOW).await.unwrap();
    store.list("user", NOW).await.unwrap();
    store.end(next.id, Reason::Logout, NOW).await.unwrap();
    store.end_user("user", None, Reason::Logout, NOW).await.unwrap();
    assert_eq!(commands(&server).await["evalsha"], 7);
}

#[tokio::test]
async fn everything_of_a_session_vanishes_by_itself() {
    let Some(server) = Server::start(&[]).await else { return };
    let store = server.store().await;
    let mut sessions = Vec::new();
    for _ in 0..50 {
        let session = opening(Some("user"));
        store.create(&session, NOW).await.unwrap();
        sessions.push(session.id);
    }
    store.end(sessions[0], Reason::Logout, NOW).await.unwrap();
    store.end_user("other", None, Reason::Logout, NOW).await.unwrap();
    let keys: Vec<Vec<u8>> = server.ask(&[b"KEYS", b"*"]).await;
    assert_eq!(keys.len(), 52);
    for key in keys {
        let left: i64 = server.ask(&[b"PTTL", &key]).await;
        assert!(left > 0, "{}", String::from_utf8_lossy(&key));
    }
    // Being seen makes it last longer.
    let left: i64 = server.ask(&[b"PTTL", &key(sessions[1])]).await;
    store.touch(&[(sessions[1], NOW + Duration::from_secs(1000))]).await.unwrap();
    let longer: i64 = server.ask(&[b"PTTL", &key(sessions[1])]).await;
    assert!(longer > left + 900_000, "{left} {longer}");
    // Sessions that ran out unnoticed leave the index while others come.
    for id in &sessions[1..] {
        let _: u64 = server.ask(&[b"DEL", &key(*id)]).await;
    }
    let mut live = Vec::new();
    for _ in 0..100 {
        let session = opening(Some("user"));
        store.create(&session, NOW).await.unwrap();
        live.push(session.id);
    }
    let index: Vec<Vec<u8>> = server.ask(&[b"KEYS", b"{sessions}u*"]).await;
    let entries: u64 = server.ask(&[b"HLEN", &index[0]]).await;
    assert!(entries < 149, "{entries}");
    // And all at once when somebody looks.
    assert_eq!(store.list("user", NOW).await.unwrap().len(), 100);
    let entries: u64 = server.ask(&[b"HLEN", &index[0]]).await;
    assert_eq!(entries, 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_small_session_of_a_user_takes_at_most_260_bytes() {
    const SESSIONS: u64 = 40_000;
    let Some(server) = Server::start(&[]).await else { return };
    let store = server.store().await;
    let used = async || {
        let info: redis::InfoDict = server.ask(&[b"INFO", b"memory"]).await;
        info.get::<u64>("used_memory").unwrap()
    };
    let before = used().await;
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in 0..SESSIONS / 8 {
                    let session = opening(Some(&format!("user-{}", task * 10_000 + n)));
                    store.create(&session, NOW).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let grown = (used().await - before) / SESSIONS;
    let sum = "local sum = 0 \
        for _, key in ipairs(redis.call('KEYS', '*')) do sum = sum + redis.call('MEMORY', 'USAGE', key) end \
        return sum";
    let sum: u64 = server.ask(&[b"EVAL", sum.as_bytes(), b"0"]).await;
    let each = sum / SESSIONS;
    println!(
        "a small session of a user: {each} bytes by MEMORY USAGE, {grown} of the server's memory"
    );
    assert!(each <= 260, "{each}");
}
