//! Attacks on what is kept of a proven session: a copy must never let in what its row would not.

use serde_json::json;
use symbolon::store::Found;
use symbolon_core::{
    change::Change,
    handle::{FamilyNumber, Generation, Kind, Name},
    id::{EntryId, SessionId},
    session::{Reason, Session},
};

use crate::world::{PASSWORD, World, ask};

/// A login whose cookie was proven: its text and its row.
async fn proven(world: &World) -> (String, Session) {
    let answer = world.login("user", "session").await;
    let cookie = answer.cookie("symbolon").unwrap();
    assert!(world.cookie_counts(&cookie).await);
    let id: SessionId = answer.text_of("sid").parse().unwrap();
    assert!(is_kept(world, id), "the copy is what this is about");
    let Some(Found::Live(session, _)) = world.app.store.session(id).await.unwrap() else {
        panic!("it is alive")
    };
    (cookie, *session)
}

fn is_kept(world: &World, id: SessionId) -> bool {
    world.app.live.get(id, symbolon::app::now()).is_some()
}

#[tokio::test]
async fn a_cookie_that_differs_anywhere_is_refused() {
    let world = World::new().await;
    let (cookie, session) = proven(&world).await;
    for at in 0..cookie.len() {
        for other in ["A", "B", "s"].into_iter().filter(|other| cookie[at..=at] != **other) {
            let mut changed = cookie.clone();
            changed.replace_range(at..=at, other);
            assert!(!world.cookie_counts(&changed).await, "{at}: {changed}");
        }
        assert!(!world.cookie_counts(&cookie[..at]).await, "{at}");
    }
    let as_refresh_token = cookie.replace("syms_", "symr_");
    for changed in [format!("{cookie}A"), format!("{cookie}="), as_refresh_token] {
        assert!(!world.cookie_counts(&changed).await, "{changed}");
    }
    assert!(is_kept(&world, session.id), "a stranger cannot push out what was proven");
    assert!(world.cookie_counts(&cookie).await);
}

#[tokio::test]
async fn a_copy_counts_only_while_none_of_its_ids_has_ended() {
    type Id = fn(&Session) -> EntryId;
    let half = |session: &Session| {
        let (kind, family) = (Kind::Cookie, FamilyNumber::COOKIE);
        Name { kind, session: session.id, family, generation: Generation::FIRST }.id().entry()
    };
    let ids: [(&str, Id); 4] = [
        ("session", |session| session.id.entry()),
        ("half", half),
        ("client", |session| session.client.entry()),
        ("key", |session| session.cookie.unwrap().key.entry()),
    ];
    for (what, id) in ids {
        let world = World::new().await;
        let (cookie, session) = proven(&world).await;
        // At the store alone, as if the act had stopped before it forgot the copy.
        let mut change = Change::at(symbolon::app::now());
        change.end(id(&session));
        world.app.store.commit(change).await.unwrap();
        assert!(is_kept(&world, session.id), "{what}");
        assert!(!world.cookie_counts(&cookie).await, "{what}");
    }
}

#[tokio::test]
async fn a_session_that_ended_at_the_store_is_refused_whatever_is_kept() {
    let world = World::new().await;
    let (cookie, session) = proven(&world).await;
    let end = session.end(Reason::EndedByAdmin, symbolon::app::now());
    world.app.store.commit(end).await.unwrap();
    assert!(is_kept(&world, session.id));
    assert!(!world.cookie_counts(&cookie).await);
}

#[tokio::test]
async fn an_older_generation_is_refused_and_pushes_nothing_out() {
    let world = World::new().await;
    let (old, session) = proven(&world).await;
    let body = json!({ "to": "token", "password": PASSWORD });
    let step_up = ask("POST", "/api/v1/handover").cookie(&old).by_our_page().json(&body);
    let new = world.send(step_up).await.expect(200).cookie("symbolon").unwrap();
    for _ in 0..2 {
        let refused = world.send(ask("GET", "/api/v1/session").cookie(&old)).await.expect(401);
        assert_eq!(refused.code(), "renewed");
        assert!(world.cookie_counts(&new).await);
        assert!(is_kept(&world, session.id));
    }
}
