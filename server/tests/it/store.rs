//! The store's promises, on a real database file.

use std::{path::PathBuf, sync::Arc, time::Duration};

use rand_chacha::{ChaCha12Rng, rand_core::SeedableRng};
use serde_json::json;
use symbolon::store::{Database, Found, Leasing, Outcome, Store, StoreError};
use symbolon_core::{
    change::{Change, Write},
    data::DataVersion,
    id::{KeyId, SessionId, UserId},
    secret::SecretText,
    session::{Assurance, Device, Lifetimes, Login, Method, Opening, Reason, Session, Version},
    time::Time,
    user::{Epoch, User},
};

use crate::postgres;

/// A folder that goes away with the test.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        let name = format!("symbolon-test-{}", SessionId::random(&mut symbolon::app::Os));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
        postgres::drop_database_of(&self.0);
    }
}

const NOW: Time = Time::from_secs(1_700_000_000);
const DAY: Duration = Duration::from_secs(86_400);
const LIFETIMES: Lifetimes = Lifetimes {
    visitor: DAY,
    idle: DAY,
    absolute: DAY,
    remembered_idle: DAY,
    remembered_absolute: DAY,
};

const LEASING: Leasing = Leasing { lease: Duration::from_secs(1), followers_max: 10 };

struct World {
    folder: Folder,
    store: Arc<Store>,
    rng: ChaCha12Rng,
}

impl World {
    async fn new() -> Self {
        let folder = Folder::new();
        let store = Arc::new(open(&folder, NOW).await.unwrap());
        Self { folder, store, rng: ChaCha12Rng::seed_from_u64(1) }
    }

    async fn apply(&self, write: Write) -> Outcome {
        commit(&self.store, write).await
    }

    async fn user(&mut self, name: &str) -> User {
        let user = User {
            id: UserId::random(&mut self.rng),
            version: Version::FIRST,
            name: name.parse().unwrap(),
            password: SecretText::new("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA".into()),
            roles: ["buyer".parse().unwrap()].into(),
            profile: symbolon_core::profile::Profile::default(),
            epoch: Epoch(1),
            disabled_at: None,
            added_at: NOW,
        };
        assert_eq!(
            self.apply(Write::AddUser(Box::new(user.clone()))).await,
            Outcome::Applied(vec![])
        );
        user
    }

    fn session_of(&mut self, user: &User, parent: Option<SessionId>, at: Time) -> Session {
        let login = Login {
            user: user.id,
            epoch: user.epoch,
            at,
            methods: vec![Method::Pwd],
            assurance: Assurance::Aal1,
            remembered: false,
        };
        let device =
            Device { label: "test".into(), user_agent: "".into(), address: [127, 0, 0, 1].into() };
        let opening = Opening { client: "app".parse().unwrap(), parent, device };
        Session::authenticated(opening, login, &LIFETIMES, at, &mut self.rng)
    }

    async fn open(&mut self, user: &User, parent: Option<SessionId>, at: Time) -> Session {
        let mut session = self.session_of(user, parent, at);
        session.give_cookie(KeyId::from_bytes([1; 16]));
        let opened = self.apply(Write::OpenSession(Box::new(session.clone()))).await;
        assert_eq!(opened, Outcome::Applied(vec![]));
        session
    }

    async fn is_live(&self, session: &Session) -> bool {
        matches!(self.store.session(session.id).await.unwrap(), Some(Found::Live(..)))
    }
}

/// On the engine of this run.
async fn open(folder: &Folder, since: Time) -> Result<Store, StoreError> {
    if !postgres::is_asked_for() {
        return Store::open(&folder.0, since, LEASING).await;
    }
    let (url, timeout) = (postgres::database_of(&folder.0), Duration::from_secs(30));
    let public_url = "".into();
    let database = Database { url, public_url, connections_max: 4, timeout };
    Store::connect(&database, &folder.0, since, LEASING).await
}

async fn commit(store: &Store, write: Write) -> Outcome {
    let mut change = Change::at(NOW);
    change.write(write);
    store.commit(change).await.unwrap()
}

fn end(session: &Session) -> Write {
    Write::EndSession { id: session.id, reason: Reason::Logout }
}

#[tokio::test]
async fn what_is_written_is_what_is_read() {
    let mut world = World::new().await;
    let user = world.user("user@example.com").await;
    let session = world.open(&user, None, NOW).await;
    let Some(Found::Live(read, of)) = world.store.session(session.id).await.unwrap() else {
        panic!()
    };
    assert_eq!(*read, session);
    assert_eq!(*of.unwrap(), user);
    assert_eq!(world.store.user_by_name(&user.name).await.unwrap(), Some(user));
}

#[tokio::test]
async fn ending_ends_the_tree_and_stays() {
    let mut world = World::new().await;
    let user = world.user("a").await;
    let parent = world.open(&user, None, NOW).await;
    let child = world.open(&user, Some(parent.id), NOW).await;
    let Outcome::Applied(mut ended) = world.apply(end(&parent)).await else { panic!() };
    ended.sort();
    let mut expected = vec![parent.id.entry(), child.id.entry()];
    expected.sort();
    assert_eq!(ended, expected);
    for session in [&parent, &child] {
        assert!(!world.is_live(session).await);
        assert!(world.store.is_ended(&[session.id.entry()]));
        assert_eq!(world.apply(Write::SaveSession(Box::new(session.clone()))).await, Outcome::Gone);
        assert_eq!(world.apply(end(session)).await, Outcome::Gone);
    }
    let orphan = world.session_of(&user, Some(parent.id), NOW);
    assert_eq!(world.apply(Write::OpenSession(Box::new(orphan))).await, Outcome::Gone);
}

#[tokio::test]
async fn a_lower_epoch_or_a_disabled_user_opens_nothing() {
    let mut world = World::new().await;
    let user = world.user("a").await;
    let late = world.session_of(&user, None, NOW);
    let raised = User { epoch: user.epoch.next(), ..user.clone() };
    assert_eq!(
        world.apply(Write::SaveUser(Box::new(raised.clone()))).await,
        Outcome::Applied(vec![])
    );
    assert_eq!(world.apply(Write::OpenSession(Box::new(late))).await, Outcome::Gone);
    let disabled = User { version: user.version.next(), disabled_at: Some(NOW), ..raised };
    assert_eq!(
        world.apply(Write::SaveUser(Box::new(disabled.clone()))).await,
        Outcome::Applied(vec![])
    );
    let now = world.session_of(&disabled, None, NOW);
    assert_eq!(world.apply(Write::OpenSession(Box::new(now))).await, Outcome::Gone);
}

#[tokio::test]
async fn a_change_is_applied_whole_or_not_at_all() {
    let mut world = World::new().await;
    let user = world.user("a").await;
    let (one, two) = (world.open(&user, None, NOW).await, world.open(&user, None, NOW).await);
    world.apply(end(&two)).await;
    let mut change = Change::at(NOW);
    change.write(end(&one));
    change.write(end(&two));
    assert_eq!(world.store.commit(change).await.unwrap(), Outcome::Gone);
    assert!(world.is_live(&one).await);
    assert!(!world.store.is_ended(&[one.id.entry()]));
}

#[tokio::test]
async fn versions_conflict() {
    let mut world = World::new().await;
    let user = world.user("a").await;
    let session = world.open(&user, None, NOW).await;
    let save = Write::SaveSession(Box::new(session.clone()));
    assert_eq!(world.apply(save.clone()).await, Outcome::Applied(vec![]));
    assert_eq!(world.apply(save).await, Outcome::Conflict);
    let taken = User { id: UserId::from_bytes([9; 16]), ..user };
    assert_eq!(world.apply(Write::AddUser(Box::new(taken))).await, Outcome::Conflict);
}

#[tokio::test]
async fn all_others_end_in_bounded_batches_and_the_kept_tree_lives() {
    let mut world = World::new().await;
    let user = world.user("a").await;
    let keep = world.open(&user, None, NOW).await;
    let child = world.open(&user, Some(keep.id), NOW).await;
    let mut others = vec![];
    for _ in 0..7 {
        others.push(world.open(&user, None, NOW).await);
    }
    let (user_id, except, reason) = (user.id, Some(keep.id), Reason::EndedByUser);
    let write = Write::EndSessionsOf { user: user_id, except, reason, most: 5 };
    let mut batches = vec![];
    for _ in 0..3 {
        let Outcome::Applied(ended) = world.apply(write.clone()).await else { panic!() };
        batches.push(ended.len());
    }
    assert_eq!(batches, [5, 2, 0]);
    assert!(world.is_live(&keep).await && world.is_live(&child).await);
}

#[tokio::test]
async fn the_oldest_make_room() {
    let mut world = World::new().await;
    let user = world.user("a").await;
    let mut sessions = vec![];
    for n in 0..5 {
        sessions.push(world.open(&user, None, NOW + Duration::from_secs(n)).await);
    }
    world.apply(Write::KeepNewest { user: user.id, keep: 2 }).await;
    let mut live = vec![];
    for session in &sessions {
        live.push(world.is_live(session).await);
    }
    assert_eq!(live, [false, false, false, true, true]);
}

#[tokio::test]
async fn parallel_writes_to_different_keys_lose_nothing() {
    let mut world = World::new().await;
    let user = world.user("a").await;
    let session = world.open(&user, None, NOW).await.id;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..64 {
        let store = Arc::clone(&world.store);
        tasks.spawn(async move {
            loop {
                let client = "shop".parse().unwrap();
                let document = store.data(session, &client).await.unwrap();
                let patch = [(format!("key{n}"), json!(n))].into();
                let document = document.merge(patch, None, 65_536).unwrap();
                match commit(&store, Write::SaveData { session, client, document }).await {
                    Outcome::Applied(_) => break,
                    Outcome::Conflict => {}
                    Outcome::Gone => panic!("the session is alive"),
                }
            }
        });
    }
    tasks.join_all().await;
    let document = world.store.data(session, &"shop".parse().unwrap()).await.unwrap();
    assert_eq!((document.values.len(), document.version), (64, DataVersion(64)));
}

/// Readers that saw the session alive write after it ended: none brings it back.
#[tokio::test]
async fn ended_stays_ended_whatever_is_in_flight() {
    let mut world = World::new().await;
    let user = world.user("a").await;
    for _ in 0..crate::races() {
        let session = world.open(&user, None, NOW).await;
        let writers = [
            Write::SaveSession(Box::new(session.clone())),
            Write::SaveData {
                session: session.id,
                client: "shop".parse().unwrap(),
                document: symbolon_core::data::Document::default(),
            },
            end(&session),
            Write::SaveSession(Box::new(Session {
                version: session.version.next(),
                ..session.clone()
            })),
        ];
        let mut tasks = tokio::task::JoinSet::new();
        for write in writers {
            let store = Arc::clone(&world.store);
            tasks.spawn(async move { commit(&store, write).await });
        }
        let store = Arc::clone(&world.store);
        tasks.spawn(async move {
            store.touch(vec![(session.id, NOW + DAY)]).await.unwrap();
            Outcome::Gone
        });
        tasks.join_all().await;
        assert!(!world.is_live(&session).await);
    }
}

/// Each session is silent for a day at most, and ends in thirty.
#[tokio::test]
async fn what_was_silent_too_long_is_swept_and_nothing_else() {
    let mut world = World::new().await;
    let user = world.user("a").await;
    let over = NOW + DAY + DAY / 16;
    let tick = Duration::from_millis(1);
    let any = None;
    for (what, before, slice, stays) in [
        ("within the limit and what seen_at may be behind", over, any, true),
        ("silent", over + tick, any, false),
        ("silent, in another slice", over + tick, Some(1), true),
        ("seen", over + tick, any, true),
        ("seen", over + tick + DAY / 2, any, false),
        ("with a child", over + tick, any, true),
        ("with an ended child", over + tick, any, false),
        ("ended", over + tick, any, true),
        ("ended", over + DAY, any, false),
    ] {
        let mut session = world.session_of(&user, None, NOW);
        session.limits.ends_at = NOW + 30 * DAY;
        let id = session.id;
        world.apply(Write::OpenSession(Box::new(session.clone()))).await;
        let save = symbolon_core::data::Document::default();
        let client: symbolon_core::client::ClientId = "shop".parse().unwrap();
        let data = save.merge([("cart".to_owned(), json!(1))].into(), None, 100).unwrap();
        world.apply(Write::SaveData { session: id, client: client.clone(), document: data }).await;
        let child = world.session_of(&user, Some(id), NOW + DAY);
        match what {
            "seen" => world.store.touch(vec![(id, NOW + DAY / 2)]).await.unwrap(),
            "ended" => {
                let mut change = Change::at(over + 2 * tick);
                change.write(end(&session));
                world.store.commit(change).await.unwrap();
            }
            "with a child" | "with an ended child" => {
                world.apply(Write::OpenSession(Box::new(child.clone()))).await;
            }
            _ => {}
        }
        if what == "with an ended child" {
            world.apply(end(&child)).await;
        }
        let slice = slice.map_or(id.as_bytes()[0], |other| id.as_bytes()[0] ^ other);
        world.store.sweep(NOW, before, slice).await.unwrap();
        assert_eq!(world.store.session(id).await.unwrap().is_some(), stays, "{what} {before:?}");
        let kept = !world.store.data(id, &client).await.unwrap().values.is_empty();
        assert_eq!(kept, stays, "the data of: {what}");
        if !stays {
            let late = Write::SaveSession(Box::new(session));
            assert_eq!(world.apply(late).await, Outcome::Gone, "{what}");
        }
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let mut world = World::new().await;
    let user = world.user("a").await;
    let (live, ended) = (world.open(&user, None, NOW).await, world.open(&user, None, NOW).await);
    world.apply(end(&ended)).await;
    let World { folder, store, .. } = world;
    drop(store);
    let store = reopen(&folder).await.unwrap();
    assert!(matches!(store.session(live.id).await.unwrap(), Some(Found::Live(..))));
    assert!(matches!(
        store.session(ended.id).await.unwrap(),
        Some(Found::Ended(Reason::Logout, _))
    ));
    assert!(store.is_ended(&[ended.id.entry()]) && !store.is_ended(&[live.id.entry()]));
}

/// The writer of a store that was dropped closes its file a moment later.
async fn reopen(folder: &Folder) -> Result<Store, StoreError> {
    open(folder, NOW - DAY).await
}

/// A server that starts anew has forgotten neither who trusts expiry nor that leases may be out.
#[tokio::test]
async fn a_restart_forgets_neither_trust_nor_leases() {
    let world = World::new().await;
    let waits = |store: Arc<Store>| async move {
        let (at_once, _) = store.log().confirm(symbolon::os::tick()).await;
        !at_once
    };
    assert!(!waits(Arc::clone(&world.store)).await, "there was no process before the first");
    let now = symbolon::app::now();
    world.store.note_trust("cart-api", now, DAY).await.unwrap();
    let World { folder, store, .. } = world;
    drop(store);
    let store = Arc::new(open(&folder, now - DAY).await.unwrap());
    assert_eq!(store.trusting_expiry(DAY, now).await.unwrap(), [Box::<str>::from("cart-api")]);
    if store.is_shared() {
        // The row of the process before is waited for: see `nodes`.
        return;
    }
    assert!(waits(Arc::clone(&store)).await);
    let deadline = symbolon::os::tick() + Duration::from_secs(30);
    assert!(store.log().confirm(deadline).await.0, "until they must be over");
}

#[tokio::test]
async fn one_server_per_folder() {
    let world = World::new().await;
    assert!(matches!(reopen(&world.folder).await, Err(StoreError::Busy(_))));
}

#[tokio::test]
async fn a_newer_database_is_refused() {
    if postgres::is_asked_for() {
        return;
    }
    use sqlx::Connection;
    let world = World::new().await;
    let World { folder, store, .. } = world;
    let path = folder.0.join("symbolon.db");
    let url = format!("sqlite:{}", path.display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::query("INSERT INTO schema_versions VALUES (999)").execute(&mut connection).await.unwrap();
    drop(store);
    let error = reopen(&folder).await.unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 999, .. }), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    if postgres::is_asked_for() {
        return;
    }
    let folder = Folder::new();
    std::fs::write(folder.0.join("symbolon.db"), [0x42; 8192]).unwrap();
    assert!(matches!(reopen(&folder).await, Err(StoreError::Database(_))));
}
