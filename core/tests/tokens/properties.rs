//! No change to a token verifies, and no text makes the verifier fall over.

use proptest::prelude::*;
use symbolon_core::{keys::*, token::*};

use crate::forge::*;

#[test]
fn no_flipped_bit_verifies() {
    for key in KEYS.iter() {
        let token = claims().issue(TokenType::AtJwt, key).unwrap();
        for at in 0..token.expose().len() {
            for bit in 0..7 {
                let mut bytes = token.expose().as_bytes().to_vec();
                bytes[at] ^= 1 << bit;
                let changed = String::from_utf8(bytes).unwrap();
                assert!(verifier().verify(&changed, NOW).is_err(), "byte {at}, bit {bit}");
            }
        }
    }
}

#[test]
fn no_cut_or_lengthened_token_verifies() {
    for key in KEYS.iter() {
        let token = claims().issue(TokenType::AtJwt, key).unwrap();
        let token = token.expose();
        for at in 0..token.len() {
            assert!(verifier().verify(&token[..at], NOW).is_err(), "cut at {at}");
            assert!(verifier().verify(&token[at + 1..], NOW).is_err(), "begun at {at}");
            let longer = format!("{}A{}", &token[..at], &token[at..]);
            assert!(verifier().verify(&longer, NOW).is_err(), "longer at {at}");
        }
    }
}

#[test]
fn no_mixture_of_tokens_verifies() {
    let tokens: Vec<_> = KEYS
        .iter()
        .flat_map(|key| [claims(), full_claims()].map(|claims| (claims, key)))
        .map(|(claims, key)| claims.issue(TokenType::AtJwt, key).unwrap())
        .collect();
    let parts: Vec<Vec<&str>> = tokens.iter().map(|t| t.expose().split('.').collect()).collect();
    let all = 0..parts.len();
    for head in all.clone() {
        for body in all.clone() {
            for signature in all.clone() {
                let text = [parts[head][0], parts[body][1], parts[signature][2]].join(".");
                let whole = tokens.iter().any(|token| token.expose() == text);
                let accepted = verifier().verify(&text, NOW).is_ok();
                assert_eq!(accepted, whole, "{head} {body} {signature}");
            }
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_refused(text in ".*", parts in "[A-Za-z0-9_-]{0,200}\\.[A-Za-z0-9_-]{0,200}\\.[A-Za-z0-9_-]{0,200}") {
        prop_assert!(verifier().verify(&text, NOW).is_err());
        prop_assert!(verifier().verify(&parts, NOW).is_err());
        prop_assert!(Header::parse(&text).is_err());
    }

    #[test]
    fn any_json_is_refused_as_key(text in "\\{\"kty\":\"(EC|OKP|RSA)\",\"x\":\".{0,50}\"\\}") {
        if let Ok(jwk) = serde_json::from_str::<Jwk>(&text) {
            prop_assert!(VerifyingKey::from_jwk(&jwk).is_err());
        }
    }
}
