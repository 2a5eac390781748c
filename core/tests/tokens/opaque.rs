//! Opaque tokens: what they are, and that nothing else is one.

use proptest::prelude::*;
use symbolon_core::{handle::HandleKey, id::*, secret::SecretBytes, time::Time, token::*};

use crate::forge::*;

fn handle_key(id: u8, secret: u8) -> HandleKey {
    HandleKey::new(KeyId::from_bytes([id; 16]), &SecretBytes::new([secret; 32]))
}

fn open_with(key: &HandleKey, text: &str, now: Time) -> Result<AccessToken, InvalidToken> {
    open(text, |short| (short == key.short_id()).then_some(key.sealing()), &rules(), now)
}

fn token() -> String {
    full_claims().seal(handle_key(1, 1).sealing()).unwrap().expose().to_owned()
}

#[test]
fn it_says_what_a_jwt_says_to_nobody_but_its_server() {
    let key = handle_key(1, 1);
    for claims in [claims(), full_claims()] {
        let token = claims.seal(key.sealing()).unwrap();
        let opened = open_with(&key, token.expose(), NOW).unwrap();
        assert_eq!((&opened.claims, opened.typ, opened.key), (&claims, None, key.id()));
        let jwt = claims.issue(TokenType::AtJwt, &KEYS[0]).unwrap();
        let verified = verifier().verify(jwt.expose(), NOW).unwrap();
        assert_eq!(verified.claims, opened.claims);
        // It is no JWT, and a JWT is none of these.
        assert_eq!(verifier().verify(token.expose(), NOW), Err(InvalidToken::Malformed));
        assert_eq!(open_with(&key, jwt.expose(), NOW), Err(InvalidToken::Malformed));
    }
    assert_eq!(
        format!("{:?}", key.sealing()),
        "SealingKey { id: KeyId(AQEBAQEBAQEBAQEBAQEBAQ), .. }"
    );
}

#[test]
fn the_same_again_is_the_same_text_and_another_is_another() {
    let key = handle_key(1, 1);
    let text = |claims: &Claims, key: &HandleKey| claims.seal(key.sealing()).unwrap();
    let first = text(&claims(), &key);
    assert_eq!(first.expose(), text(&claims(), &key).expose());
    let other = Claims { jti: TokenId::from_bytes([9; 16]), ..claims() };
    // Version and key are the same; from the nonce on nothing is.
    let (first, other) = (first.expose(), text(&other, &key));
    assert_eq!(first[..11], other.expose()[..11]);
    assert_ne!(first[13..44], other.expose()[13..44]);
}

#[test]
fn it_goes_by_the_rules_of_every_token() {
    let key = handle_key(1, 1);
    let check = |claims: Claims, expected: Result<(), InvalidToken>| {
        let Ok(token) = claims.seal(key.sealing()) else { panic!("{claims:?}") };
        assert_eq!(open_with(&key, token.expose(), NOW).map(drop), expected, "{claims:?}");
    };
    let hours = |n: u64| std::time::Duration::from_secs(3600 * n);
    check(claims(), Ok(()));
    check(Claims { iss: "https://other.example".into(), ..claims() }, Err(InvalidToken::Issuer));
    check(Claims { aud: "https://other.example".into(), ..claims() }, Err(InvalidToken::Audience));
    check(Claims { exp: NOW + hours(2), ..claims() }, Err(InvalidToken::Lifetime));
    check(Claims { nbf: Some(NOW + hours(1)), ..claims() }, Err(InvalidToken::NotYetValid));
    check(
        Claims { iat: NOW - hours(1), exp: NOW - hours(1) / 2, ..claims() },
        Err(InvalidToken::Expired),
    );
    let backwards = Claims { exp: NOW, ..claims() };
    assert_eq!(backwards.seal(key.sealing()).map(drop), Err(CannotIssue::Times));
    let long = Claims { scope: Some("x ".repeat(4096).into()), ..claims() };
    assert_eq!(long.seal(key.sealing()).map(drop), Err(CannotIssue::TooLong));
}

#[test]
fn another_key_opens_nothing() {
    // Another key; one whose short id is the same; the same secret under another id.
    let mut same_short = [1; 16];
    same_short[15] = 2;
    let same_secret = HandleKey::new(KeyId::from_bytes(same_short), &SecretBytes::new([1; 32]));
    for (key, refused) in [
        (handle_key(2, 2), InvalidToken::UnknownKey),
        (handle_key(1, 2), InvalidToken::Signature),
        (same_secret, InvalidToken::Signature),
    ] {
        assert_eq!(open_with(&key, &token(), NOW), Err(refused));
    }
}

#[test]
fn no_changed_character_is_accepted() {
    let (key, token) = (handle_key(1, 1), token());
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for at in 0..token.len() {
        for new in ALPHABET.iter().chain(b"=.+/ \n").filter(|new| **new != token.as_bytes()[at]) {
            let mut changed = token.clone().into_bytes();
            changed[at] = *new;
            let changed = String::from_utf8(changed).unwrap();
            assert!(open_with(&key, &changed, NOW).is_err(), "{at} {new}");
        }
        assert!(open_with(&key, &token[..at], NOW).is_err(), "cut at {at}");
        let longer = format!("{}A{}", &token[..at], &token[at..]);
        assert!(open_with(&key, &longer, NOW).is_err(), "longer at {at}");
    }
    assert!(open_with(&key, &format!("{token}A"), NOW).is_err());
    assert!(open_with(&key, &token, NOW).is_ok());
}

proptest! {
    #[test]
    fn any_text_is_refused(text in ".*", tail in "[A-Za-z0-9_-]{0,300}") {
        prop_assert!(open_with(&handle_key(1, 1), &text, NOW).is_err());
        for begin in ["symt_", &token()[..44]] {
            let text = format!("{begin}{tail}");
            prop_assert!(open_with(&handle_key(1, 1), &text, NOW).is_err());
        }
    }
}
