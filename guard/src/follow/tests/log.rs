//! Following: the states, the answers, what is said to the server.

use super::{
    task::{Failed, pause},
    *,
};

#[tokio::test]
async fn it_decides_from_the_first_lease_on() {
    let mut world = World::new().await;
    let refusing = world.following.without_lease(Without::Refuse);
    let unavailable = Err(UNAVAILABLE);
    // Nothing is followed: the server decides, or nobody.
    for credential in [COOKIE, OPAQUE, &world.token()] {
        world.fake.says(credential, said(if credential == COOKIE { "session" } else { "Bearer" }));
        let before = world.introspections();
        assert_eq!(world.sees(credential).await, Ok(SID));
        assert_eq!(world.sees(credential).await, Ok(SID));
        assert_eq!(world.introspections(), before + 2);
        assert_eq!(see(&refusing, credential).await, unavailable);
        assert_eq!(world.introspections(), before + 2);
    }
    assert!(!world.following.status().ready && world.following.status().stale_for.is_none());
    world.follow().await;
    let status = world.following.status();
    assert!(status.lease_left <= LEASE && status.stale_for == Some(Duration::ZERO));
    assert_eq!((status.keys, status.ended_ids, status.credentials), (1, 0, 0));
    // Whatever is seen again, is known. A token is known at once.
    for (credential, asked) in [(COOKIE, 1), (OPAQUE, 1), (&world.token(), 0)] {
        let before = world.introspections();
        for _ in 0..3 {
            assert_eq!(world.sees(credential).await, Ok(SID));
            assert_eq!(see(&refusing, credential).await, Ok(SID));
        }
        assert_eq!(world.introspections(), before + asked);
    }
    assert_eq!(world.following.status().credentials, 3);
}

#[tokio::test]
async fn a_long_log_is_read_before_anything_is_decided() {
    let mut world = World::new().await;
    world.fake.page.store(3, SeqCst);
    world.fake.end(SID.entry());
    (101..110).for_each(|n| world.fake.end(EntryId::from_bytes([n; 16])));
    world.follow().await;
    assert_eq!(world.following.status().ended_ids, 10);
    let questions: Vec<_> = world.fake.log().questions.iter().take(4).cloned().collect();
    let read = questions.iter().map(|q| q.cursor.map_or(0, |cursor| cursor.sequence));
    assert_eq!(read.collect::<Vec<_>>(), [0, 3, 6, 9]);
    // All of them were ended before this process was there.
    assert_eq!(world.sees(COOKIE).await, Err(Refusal::InvalidToken));
}

#[tokio::test]
async fn what_is_known_stays_when_the_log_is_another() {
    let world = World::ready().await;
    world.end(SID.entry()).await;
    let lost = Tail::new(Cursor::start(LogId::from_bytes([9; 16])), 10);
    world.fake.log().tail = lost;
    world.end(HALF).await;
    assert_eq!(world.following.status().ended_ids, 2);
    assert_eq!(world.sees(&world.token()).await, Err(Refusal::InvalidToken));
}

#[tokio::test]
async fn a_lost_answer_costs_an_identity_and_no_more() {
    let world = World::ready().await;
    let asked = |world: &World| world.fake.log().questions.last().unwrap().follower;
    let first = asked(&world);
    world.fake.behaves(Manner::Losing);
    let before = world.fake.log().questions.len();
    until(|| world.fake.log().questions.len() > before + 1).await;
    world.fake.behaves(Manner::Honest);
    world.end(SID.entry()).await;
    assert_ne!(asked(&world), first);
    // The lease of the new one is its own.
    world.clock.advance(LEASE * 2);
    until(|| world.following.status().ready).await;
    assert_eq!(world.sees(&world.token()).await, Err(Refusal::InvalidToken));
}

/// What a proxy gives to the wrong node is asked again at once, and after that whoever gets it will do.
#[tokio::test]
async fn a_node_is_asked_for_until_it_is_gone() {
    let mut world = World::new().await;
    world.fake.behaves(Manner::Forging(|answer| answer.node = Some(NODE)));
    world.follow().await;
    let asked = |world: &World| world.fake.log().questions.last().and_then(|asked| asked.node);
    until(|| asked(&world) == Some(NODE)).await;
    let before = world.fake.log().questions.len();
    world.fake.behaves(Manner::Refusing(412));
    until(|| asked(&world).is_none()).await;
    let questions = world.fake.log().questions.split_off(before);
    let named = questions.iter().filter(|asked| asked.node.is_some()).count();
    assert!((63..=65).contains(&named), "{named}");
    world.fake.behaves(Manner::Honest);
    world.end(SID.entry()).await;
    assert_eq!(world.sees(&world.token()).await, Err(Refusal::InvalidToken));
}

#[tokio::test]
async fn answers_that_no_server_gives_are_dropped() {
    for forge in [
        (|answer| answer.question = symbolon_core::id::QuestionId::from_bytes([0; 16]))
            as fn(&mut Answer),
        |answer| answer.lease_ms = 3_600_000,
        |answer| answer.lease_ms = u64::MAX,
        |answer| answer.entry_life_ms = u64::MAX,
        |answer| answer.ended = vec![HALF; 4097],
    ] {
        let mut world = World::new().await;
        world.fake.behaves(Manner::Forging(forge));
        tokio::spawn(world.task.take().unwrap());
        until(|| world.fake.log().questions.len() > 2).await;
        let status = world.following.status();
        assert!(status.lease_left.is_zero() && status.ended_ids == 0, "{status:?}");
        world.fake.behaves(Manner::Honest);
        within(world.following.ready()).await;
    }
}

#[tokio::test]
async fn a_server_that_answers_wrongly_is_asked_again() {
    for (status, questions) in
        [(401, 1), (403, 1), (409, 4), (412, 2), (503, 2), (404, 2), (500, 2)]
    {
        let mut world = World::new().await;
        world.fake.behaves(Manner::Refusing(status));
        tokio::spawn(world.task.take().unwrap());
        until(|| world.fake.log().questions.len() >= questions).await;
        assert!(!world.following.status().ready);
    }
}

#[test]
fn it_is_asked_less_and_less_often() {
    use crate::link::Unanswered::{Late, Status};
    let busy = Failed::Unanswered(Status(StatusCode::SERVICE_UNAVAILABLE));
    for (failed, failures, pause_ms) in [
        (Failed::Identity, 0, 0),
        (Failed::Identity, 1, 100),
        (Failed::Unanswered(Late), 0, 50),
        (busy, 3, 400),
        (busy, 7, 5000),
        (busy, u32::MAX, 5000),
        (Failed::Stranger, 0, 10_000),
        (Failed::Stranger, 9, 10_000),
    ] {
        assert_eq!(pause(failed, failures), Duration::from_millis(pause_ms), "{failed} {failures}");
    }
}

#[tokio::test]
async fn it_says_which_sessions_are_in_use() {
    let world = World::ready().await;
    let said = |world: &World| {
        let log = world.fake.log();
        log.questions.iter().flat_map(|question| question.seen.clone()).collect::<Vec<_>>()
    };
    for _ in 0..3 {
        assert_eq!(world.sees(COOKIE).await, Ok(SID));
        assert_eq!(world.sees(&world.token()).await, Ok(SID));
    }
    until(|| !said(&world).is_empty()).await;
    // Not again before half a minute has passed.
    assert_eq!(world.sees(COOKIE).await, Ok(SID));
    let before = world.fake.log().questions.len();
    until(|| world.fake.log().questions.len() > before + 1).await;
    assert_eq!(said(&world), [SID]);
    world.clock.advance(Duration::from_secs(31));
    until(|| world.following.status().ready).await;
    assert_eq!(world.sees(COOKIE).await, Ok(SID));
    until(|| said(&world).len() == 2).await;

    // One question says so many, the next one the rest.
    let shared = &world.following.shared;
    world.fake.behaves(Manner::Silent);
    let fits = (0..2000_u32).filter(|n| {
        let mut bytes = [7; 16];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        shared.saw(SessionId::from_bytes(bytes))
    });
    assert!(fits.count() <= 2 * SEEN_MAX);
    assert!(shared.take_seen().len() <= SEEN_MAX);
}

#[tokio::test]
async fn whoever_trusts_expiry_has_said_so() {
    let mut world = World::new().await;
    world.follow().await;
    assert_eq!(world.sees(COOKIE).await, Ok(SID));
    world.fake.behaves(Manner::Silent);
    until(|| world.fake.log().questions.len() > 1).await;
    // It was handed out, and the server does not know yet.
    let trusting = world.following.dial(Dial::UntilExpiry);
    world.clock.advance(LEASE * 2);
    let before = world.introspections();
    assert_eq!(see(&trusting, COOKIE).await, Ok(SID));
    assert_eq!(world.introspections(), before + 1);

    let mut world = World::new().await;
    let trusting = [
        world.following.dial(Dial::UntilExpiry),
        world.following.without_lease(Without::TrustExpiry),
    ];
    world.follow().await;
    assert!(world.fake.log().questions.iter().all(|question| question.trusts_expiry));
    for credential in [COOKIE, &world.token()] {
        assert_eq!(world.sees(credential).await, Ok(SID));
    }
    world.end(JTI.entry()).await;
    world.cut_off();
    let before = world.introspections();
    for following in &trusting {
        assert_eq!(see(following, COOKIE).await, Ok(SID));
        // What is known to have ended, has.
        assert_eq!(see(following, &world.token()).await, Err(Refusal::InvalidToken));
    }
    assert_eq!(world.introspections(), before);
    // The server forgets that it was told; from then on it is asked.
    world.clock.advance(ENTRY_LIFE);
    world.fake.says(COOKIE, json!({ "active": false }));
    assert_eq!(see(&trusting[0], COOKIE).await, Err(Refusal::InvalidToken));
    assert_eq!(world.introspections(), before + 1);
}

#[tokio::test]
async fn dropping_the_task_stops_following() {
    let mut world = World::new().await;
    let task = tokio::spawn(world.task.take().unwrap());
    within(world.following.ready()).await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    world.clock.advance(LEASE * 2);
    assert!(!world.following.status().ready);
    assert_eq!(world.following.status().stale_for, Some(LEASE * 2));
}

#[tokio::test]
async fn a_forked_process_starts_anew() {
    let world = World::ready().await;
    world.end(SID.entry()).await;
    let parent = world.fake.log().questions.last().unwrap().follower;
    // The questions of the new one are lost: it is left with what it has of its own.
    world.fake.behaves(Manner::Refusing(503));
    world.clock.1.fetch_add(1, SeqCst);
    let asked = |world: &World| world.fake.log().questions.last().unwrap().clone();
    until(|| asked(&world).follower != parent).await;
    assert_eq!((asked(&world).cursor, asked(&world).last_answer), (None, None));
    let status = world.following.status();
    assert!(!status.ready && status.stale_for.is_none() && status.ended_ids == 0, "{status:?}");
    world.fake.behaves(Manner::Honest);
    within(world.following.ready()).await;
    assert_eq!(world.sees(COOKIE).await, Err(Refusal::InvalidToken));
}
