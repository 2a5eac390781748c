//! Deciding: what lets somebody in, what ends that, what may be kept.

use super::*;

#[tokio::test]
async fn what_ended_is_refused_at_once_without_asking() {
    let client = "shop".parse::<ClientId>().unwrap();
    let (era, client) = (JTI.era(SID), client.entry());
    let ended = [SID.entry(), PARENT.entry(), HALF, client, era, JTI.entry(), KID.entry()];
    let [sid, parent, half, client, era, jti, kid] = ended;
    for (which, ends_it) in [
        ("cookie", vec![sid, parent, half, client]),
        ("opaque", vec![sid, parent, half, client]),
        ("token", vec![sid, era, jti, client, kid]),
    ] {
        for id in ended {
            let world = World::ready().await;
            let token = world.token();
            let credential = match which {
                "cookie" => COOKIE,
                "opaque" => OPAQUE,
                _ => &token,
            };
            assert_eq!(world.sees(credential).await, Ok(SID));
            let asked = world.introspections();
            world.end(id).await;
            let expected = if ends_it.contains(&id) { Err(Refusal::InvalidToken) } else { Ok(SID) };
            for dial in [Dial::Lease, Dial::UntilExpiry] {
                assert_eq!(
                    see(&world.following.dial(dial), credential).await,
                    expected,
                    "{which} {id}"
                );
            }
            assert_eq!(world.introspections(), asked);
            // Nor without a lease, whatever the server still says.
            if expected.is_err() {
                world.cut_off();
                assert_eq!(world.sees(credential).await, expected);
            }
        }
    }
}

#[tokio::test]
async fn every_dial_with_and_without_a_lease() {
    const ASKED: (Result<SessionId, Refusal>, usize) = (Ok(SID), 1);
    const HERE: (Result<SessionId, Refusal>, usize) = (Ok(SID), 0);
    const NOBODY: (Result<SessionId, Refusal>, usize) = (Err(UNAVAILABLE), 0);
    for (dial, without, leased, lapsed) in [
        (Dial::Strict, Without::Ask, ASKED, ASKED),
        (Dial::Strict, Without::Refuse, ASKED, ASKED),
        (Dial::Lease, Without::Ask, HERE, ASKED),
        (Dial::Lease, Without::Refuse, HERE, NOBODY),
        (Dial::Lease, Without::TrustExpiry, HERE, HERE),
        (Dial::UntilExpiry, Without::Refuse, HERE, HERE),
    ] {
        let mut world = World::new().await;
        let following = world.following.dial(dial).without_lease(without);
        world.follow().await;
        let token = world.token();
        world.fake.says(&token, said("Bearer"));
        for credential in [COOKIE, OPAQUE, &token] {
            assert_eq!(world.sees(credential).await, Ok(SID));
        }
        let look = async |credential| {
            let before = world.introspections();
            let seen = see(&following, credential).await;
            (seen, world.introspections() - before)
        };
        for credential in [COOKIE, OPAQUE, &token] {
            assert_eq!(look(credential).await, leased, "{dial:?} {without:?} {credential}");
        }
        world.cut_off();
        for credential in [COOKIE, OPAQUE, &token] {
            assert_eq!(look(credential).await, lapsed, "{dial:?} {without:?} {credential} lapsed");
        }
    }
}

#[tokio::test]
async fn a_true_answer_that_comes_after_the_end_lets_nobody_in() {
    for (credential, id) in [(COOKIE, SID.entry()), (COOKIE, HALF), (OPAQUE, PARENT.entry())] {
        let world = World::ready().await;
        let closed = world.fake.gate.acquire().await.unwrap();
        let following = world.following.clone();
        let under_way = tokio::spawn(async move { see(&following, credential).await });
        until(|| world.introspections() == 1).await;
        world.end(id).await;
        drop(closed);
        assert_eq!(within(under_way).await.unwrap(), Err(Refusal::InvalidToken));
        assert_eq!(world.following.status().credentials, 0);
    }
}

#[tokio::test]
async fn an_answer_to_somebody_else_counts_only_under_a_lease() {
    let world = World::ready().await;
    let closed = world.fake.gate.acquire().await.unwrap();
    let spawn = || {
        let following = world.following.clone();
        tokio::spawn(async move { see(&following, COOKIE).await })
    };
    let before = spawn();
    until(|| world.introspections() == 1).await;
    let after = spawn();
    tokio::task::yield_now().await;
    // It ended and that was confirmed, by waiting until the lease was over.
    world.cut_off();
    world.fake.says(COOKIE, json!({ "active": false }));
    drop(closed);
    for seen in [before, after] {
        assert_eq!(within(seen).await.unwrap(), Err(Refusal::InvalidToken));
    }
}

#[tokio::test]
async fn many_ask_once() {
    let world = World::ready().await;
    let closed = world.fake.gate.acquire().await.unwrap();
    let spawn = || {
        let following = world.following.clone();
        tokio::spawn(async move { see(&following, COOKIE).await })
    };
    // The first goes away while it asks.
    let first = spawn();
    until(|| world.introspections() == 1).await;
    let others: Vec<_> = (0..50).map(|_| spawn()).collect();
    tokio::task::yield_now().await;
    first.abort();
    until(|| world.introspections() == 2).await;
    drop(closed);
    for seen in others {
        assert_eq!(within(seen).await.unwrap(), Ok(SID));
    }
    assert_eq!(world.introspections(), 2);
    assert_eq!(world.following.shared.credentials.under_way(), 0);
}

#[tokio::test]
async fn a_flood_of_made_up_credentials_is_bounded() {
    let mut world = World::with(|settings| settings.remote.in_flight_max = 8).await;
    world.follow().await;
    let closed = world.fake.gate.acquire().await.unwrap();
    let flood: Vec<_> = (0..100)
        .map(|n| {
            let following = world.following.clone();
            tokio::spawn(async move { see(&following, &format!("syms_{n}")).await })
        })
        .collect();
    until(|| flood.iter().filter(|seen| seen.is_finished()).count() == 92).await;
    drop(closed);
    let mut refusals = Vec::new();
    for seen in flood {
        refusals.push(within(seen).await.unwrap().unwrap_err());
    }
    assert_eq!(refusals.iter().filter(|refusal| **refusal == UNAVAILABLE).count(), 92);
    assert_eq!(world.introspections(), 8);
    assert_eq!(world.following.status().credentials, 0);
}

#[tokio::test]
async fn only_what_can_be_ended_is_kept() {
    let world = World::ready().await;
    let without = |name: &str| {
        let mut said = said("session");
        said.as_object_mut().unwrap().remove(name);
        said
    };
    let with = |name: &str, value: Value| {
        let mut said = said("session");
        said[name] = value;
        said
    };
    let inactive = json!({ "active": false });
    let many: Vec<_> = (0..100).map(|n| EntryId::from_bytes([n; 16])).collect();
    for (said, expected, kept) in [
        (inactive, Err(Refusal::InvalidToken), false),
        (without("revoked_by"), Ok(SID), false),
        (without("exp"), Ok(SID), false),
        (with("exp", json!(NOW.secs())), Ok(SID), false),
        (with("revoked_by", json!(many)), Ok(SID), false),
        (with("revoked_by", json!(["?"])), Err(UNAVAILABLE), false),
        (with("token_type", json!("Bearer")), Err(Refusal::InvalidToken), false),
        (with("revoked_by", json!([])), Ok(SID), true),
        (with("exp", json!(i64::MAX)), Ok(SID), true),
    ] {
        world.following.shared.credentials.forget(&SecretText::new(COOKIE.to_owned()));
        world.fake.says(COOKIE, said.clone());
        assert_eq!(world.sees(COOKIE).await, expected, "{said}");
        let before = world.introspections();
        assert_eq!(world.sees(COOKIE).await, expected, "{said}");
        assert_eq!(world.introspections() == before, kept, "{said}");
    }
    // A login makes the same cookie count at once.
    world.fake.says("syms_new", json!({ "active": false }));
    assert_eq!(world.sees("syms_new").await, Err(Refusal::InvalidToken));
    world.fake.says("syms_new", super::said("session"));
    assert_eq!(world.sees("syms_new").await, Ok(SID));
}

#[tokio::test]
async fn nothing_outlives_its_expiry() {
    let mut session = said("session");
    session["exp"] = json!(i64::MAX);
    let mut long = claims();
    long.exp = NOW + Duration::from_secs(3600);
    for (credential, life) in [
        // As the server says; as the token says, and 30 s; as old as a copy may be; as the log remembers.
        ("syms_short", 300),
        ("token", 330),
        ("syms_long", 330),
        ("long token", 330),
    ] {
        let world = World::ready().await;
        let text = match credential {
            "token" => world.token(),
            "long token" => token(&world.key, &long),
            cookie => cookie.to_owned(),
        };
        world.fake.says("syms_short", said("session"));
        world.fake.says("syms_long", session.clone());
        assert_eq!(world.sees(&text).await, Ok(SID));
        let asked = world.introspections();
        world.fake.says(&text, json!({ "active": false }));
        world.clock.advance(Duration::from_secs(life - 1));
        until(|| world.following.status().ready).await;
        assert_eq!(world.sees(&text).await, Ok(SID), "{credential}");
        assert_eq!(world.introspections(), asked);
        world.clock.advance(Duration::from_secs(1));
        until(|| world.following.status().ready).await;
        assert_eq!(world.sees(&text).await, Err(Refusal::InvalidToken), "{credential}");
    }
}

#[tokio::test]
async fn a_jump_of_the_servers_clock_outdates_copies() {
    let world = World::ready().await;
    let mut session = said("session");
    session["exp"] = json!(i64::MAX);
    world.fake.says(COOKIE, session);
    assert_eq!(world.sees(COOKIE).await, Ok(SID));
    // The log forgets by the same clock.
    world.fake.jumped.store(3_600_000, SeqCst);
    world.end(SID.entry()).await;
    world.fake.says(COOKIE, json!({ "active": false }));
    assert_eq!(world.sees(COOKIE).await, Err(Refusal::InvalidToken));
    assert_eq!(world.sees(&world.token()).await, Err(Refusal::InvalidToken));
}

#[tokio::test]
async fn what_a_token_says_is_what_is_seen() {
    let world = World::ready().await;
    let credential = SecretText::new(world.token());
    let seen = world.following.recognise(Half::Bearer, &credential, Use::Request).await.unwrap();
    let expected = Claims {
        subject: Some(UserId::from_bytes([1; 16])),
        session: SID,
        parent: None,
        client: "shop".parse().unwrap(),
        scopes: vec!["cart".into()],
        roles: Arc::from(vec!["editor".into()]),
        assurance: Some(Assurance::Aal2),
        auth_time: Some(NOW),
        act: None,
        key: None,
    };
    assert_eq!(*seen, expected);
    assert_eq!(world.introspections(), 0);
}

#[tokio::test]
async fn without_an_audience_the_server_judges_tokens() {
    let mut world = World::with(|settings| settings.remote.audience = None).await;
    world.follow().await;
    let token = world.token();
    world.fake.says(&token, said("Bearer"));
    for _ in 0..3 {
        assert_eq!(world.sees(&token).await, Ok(SID));
    }
    assert_eq!((world.introspections(), world.fetches()), (1, 0));
}

#[tokio::test]
async fn the_cache_has_its_limit() {
    let mut world = World::with(|settings| settings.cache_bytes_max = 100_000).await;
    world.follow().await;
    for n in 0..1000 {
        let mut claims = claims();
        claims.sid = SessionId::random(&mut Os);
        assert_eq!(world.sees(&token(&world.key, &claims)).await, Ok(claims.sid), "{n}");
    }
    assert!((20..200).contains(&world.following.status().credentials));
}

#[tokio::test]
async fn nothing_prints_a_credential() {
    let world = World::ready().await;
    assert_eq!(world.sees(COOKIE).await, Ok(SID));
    let Shared { credentials, state, keys, .. } = &*world.following.shared;
    let printed = format!("{:?} {credentials:?} {state:?} {keys:?}", world.following);
    for secret in [COOKIE, "symc_secret"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

fn identity(credential: &str) -> Identity {
    let carried = match credential.starts_with("syms_") {
        true => Carried::SessionCookie(SecretText::new(credential.to_owned())),
        false => Carried::Bearer(SecretText::new(credential.to_owned())),
    };
    Identity::new(Arc::new(crate::testing::claims().build()), carried)
}

#[tokio::test]
async fn a_life_is_over_when_its_identity_is() {
    for id in [SID.entry(), HALF] {
        let world = World::ready().await;
        let life = world.following.life(&identity(COOKIE));
        let over = tokio::spawn({
            let life = life.clone();
            async move { life.over().await }
        });
        assert!(life.stands().await);
        world.end(EntryId::from_bytes([77; 16])).await;
        assert!(life.stands().await && !over.is_finished());
        world.end(id).await;
        within(over).await.unwrap();
        assert!(!life.stands().await);
    }
    // Looking is not using.
    let world = World::ready().await;
    let life = world.following.life(&identity(COOKIE));
    assert!(life.stands().await && world.following.shared.take_seen().is_empty());
    // It expires, or there is no lease.
    for (dial, without) in [
        (Dial::Lease, Without::Refuse),
        (Dial::Strict, Without::Refuse),
        (Dial::Lease, Without::Ask),
    ] {
        let world = World::ready().await;
        let following = world.following.dial(dial).without_lease(without);
        let life = following.life(&identity(COOKIE));
        assert!(life.stands().await);
        world.fake.says(COOKIE, json!({ "active": false }));
        world.cut_off();
        within(life.over()).await;
        assert!(!life.stands().await);
    }
}
