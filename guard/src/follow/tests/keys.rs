//! The keys: fetched within bounds, dropped when withdrawn, never exchanged.

use super::*;

const OTHER: KeyId = KeyId::from_bytes([8; 16]);

#[tokio::test]
async fn an_unknown_key_is_fetched_once_for_all_who_need_it() {
    let world = World::ready().await;
    let new = key(OTHER, Algorithm::Ed25519);
    world.fake.publishes(&[&world.key, &new]);
    let closed = world.fake.gate.acquire().await.unwrap();
    let token = token(&new, &claims());
    let seen: Vec<_> = (0..50)
        .map(|_| {
            let (following, token) = (world.following.clone(), token.clone());
            tokio::spawn(async move { see(&following, &token).await })
        })
        .collect();
    until(|| world.fetches() == 2).await;
    drop(closed);
    for seen in seen {
        assert_eq!(within(seen).await.unwrap(), Ok(SID));
    }
    assert_eq!(world.fetches(), 2);
}

#[tokio::test]
async fn a_flood_of_unknown_keys_makes_few_fetches() {
    let world = World::ready().await;
    let made_up = |n: u8| {
        let key = key(KeyId::from_bytes([n; 16]), Algorithm::Ed25519);
        token(&key, &claims())
    };
    for n in 100..200 {
        let seen = world.sees(&made_up(n)).await;
        let expected = if n < 104 { Refusal::InvalidToken } else { UNAVAILABLE };
        assert_eq!(seen, Err(expected), "{n}");
    }
    assert_eq!(world.fetches(), 1 + 4);
    // What is known is not touched by that; nothing else was asked; and time brings more.
    assert_eq!(world.sees(&world.token()).await, Ok(SID));
    assert_eq!(world.introspections(), 0);
    world.clock.advance(Duration::from_secs(10));
    until(|| world.following.status().ready).await;
    let new = key(OTHER, Algorithm::Ed25519);
    world.fake.publishes(&[&world.key, &new]);
    assert_eq!(world.sees(&token(&new, &claims())).await, Ok(SID));
    assert_eq!(world.sees(&made_up(201)).await, Err(UNAVAILABLE));
    assert_eq!(world.fetches(), 1 + 5);
}

#[tokio::test]
async fn a_bad_set_leaves_the_keys_as_they_are() {
    let deadline = |settings: &mut Settings| settings.remote.deadline = Duration::from_millis(300);
    let exchanged = key(KID, Algorithm::Es256);
    let replaced = key(KID, Algorithm::Ed25519);
    let other = key(OTHER, Algorithm::Ed25519);
    let set = |keys: &[&SigningKey]| {
        let keys: Vec<_> = keys.iter().map(|key| key.verifying_key().jwk()).collect();
        json!({ "keys": keys }).to_string()
    };
    let long = format!("{}{}", " ".repeat(70_000), set(&[&other]));
    let many: Vec<_> =
        (0..65).map(|n| key(KeyId::from_bytes([n; 16]), Algorithm::Ed25519)).collect();
    let many = set(&many.iter().collect::<Vec<_>>());
    for (status, answer) in [
        (200, long),
        (200, many),
        (200, "{".to_owned()),
        (200, r#"{"keys":[]}"#.to_owned()),
        (200, r#"{"keys":[{"kty":"oct","kid":"AAAAAAAAAAAAAAAAAAAAAA"}]}"#.to_owned()),
        (200, set(&[&exchanged])),
        (200, set(&[&replaced])),
        (500, set(&[&other])),
        (302, set(&[&other])),
    ] {
        let mut world = World::with(deadline).await;
        world.follow().await;
        *world.fake.jwks.lock().unwrap() = (StatusCode::from_u16(status).unwrap(), answer.clone());
        let shared = &world.following.shared;
        let _ = shared.keys.as_ref().unwrap().refresh(&shared.asking.link, &shared.state).await;
        assert_eq!(world.sees(&world.token()).await, Ok(SID), "{answer:.60}");
        assert_eq!(world.following.status().keys, 1);
        for key in [&exchanged, &replaced] {
            let seen = world.sees(&token(key, &claims())).await;
            assert_eq!(seen, Err(Refusal::InvalidToken), "{answer:.60}");
        }
    }
    // A server that does not answer holds nobody for long.
    let mut world = World::with(deadline).await;
    world.follow().await;
    let _closed = world.fake.gate.acquire().await.unwrap();
    assert_eq!(world.sees(&token(&other, &claims())).await, Err(UNAVAILABLE));
    assert_eq!(world.sees(&world.token()).await, Ok(SID));
}

#[tokio::test]
async fn a_withdrawn_key_is_never_taken_in_again() {
    let world = World::ready().await;
    assert_eq!(world.sees(&world.token()).await, Ok(SID));
    let new = key(OTHER, Algorithm::Ed25519);
    world.fake.publishes(&[&world.key, &new]);
    // A fetch is under way while the end of the key comes.
    let closed = world.fake.gate.acquire().await.unwrap();
    let shared = world.following.shared.clone();
    let fetch = tokio::spawn(async move {
        shared.keys.as_ref().unwrap().refresh(&shared.asking.link, &shared.state).await
    });
    until(|| world.fetches() == 2).await;
    world.end(KID.entry()).await;
    until(|| world.following.status().keys == 0).await;
    drop(closed);
    assert_eq!(within(fetch).await.unwrap(), Ok(()));
    assert_eq!(world.following.status().keys, 1);
    assert_eq!(world.sees(&token(&new, &claims())).await, Ok(SID));
    // Neither what was known, nor another token of it, nor after the log has forgotten; and nobody fetches for it.
    let mut later = claims();
    later.jti = TokenId::from_bytes([44; 16]);
    world.fake.jumped.store(3_600_000, SeqCst);
    let forget = |n: u8| world.end(EntryId::from_bytes([n; 16]));
    for n in 100..170 {
        forget(n).await;
    }
    (later.iat, later.exp) = (world.fake.now(), world.fake.now() + Duration::from_secs(300));
    assert!(!world.following.shared.state.is_ended(KID.entry()));
    for claims in [claims(), later] {
        assert_eq!(world.sees(&token(&world.key, &claims)).await, Err(Refusal::InvalidToken));
    }
    assert_eq!(world.fetches(), 2);
}

#[tokio::test]
async fn tokens_of_others_are_refused_and_kept_nowhere() {
    let world = World::ready().await;
    let changed = |change: fn(&mut token::Claims)| {
        let mut claims = claims();
        change(&mut claims);
        token(&world.key, &claims)
    };
    let stranger = key(KID, Algorithm::Ed25519);
    let other_type = claims().issue(TokenType::Jwt, &world.key).unwrap().expose().to_owned();
    for text in [
        changed(|claims| claims.iss = "https://evil.example".into()),
        changed(|claims| claims.aud = "https://other.example".into()),
        changed(|claims| claims.exp = NOW + Duration::from_secs(86_400)),
        changed(|claims| {
            (claims.iat, claims.exp) =
                (NOW - Duration::from_secs(400), NOW - Duration::from_secs(100))
        }),
        token(&stranger, &claims()),
        other_type,
        "a.b.c".to_owned(),
        format!("{}.x.y", "a".repeat(9000)),
    ] {
        assert_eq!(world.sees(&text).await, Err(Refusal::InvalidToken), "{text:.80}");
    }
    assert_eq!((world.introspections(), world.fetches()), (0, 1));
    assert_eq!(world.following.status().credentials, 0);
}
