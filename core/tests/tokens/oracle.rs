//! The crate jsonwebtoken as oracle: it takes what we issue, we take what it issues, and of changed tokens we accept
//! none that it refuses.

use std::collections::HashSet;

use jsonwebtoken as jwt;
use proptest::prelude::*;
use serde_json::{Value, json};
use symbolon_core::{keys::*, token::*};

use crate::forge::*;

/// What a careful user of that library writes.
fn oracle(token: &str) -> jwt::errors::Result<jwt::TokenData<Value>> {
    let refused = || jwt::errors::ErrorKind::InvalidToken.into();
    let head = jwt::decode_header(token)?;
    let key = KEYS
        .iter()
        .map(SigningKey::verifying_key)
        .find(|key| Some(key.id().to_string()) == head.kid)
        .ok_or_else(refused)?;
    if !matches!(head.typ.as_deref(), Some("at+jwt" | "JWT")) || head.alg != name(key.algorithm()) {
        return Err(refused());
    }
    let jwk: jwt::jwk::Jwk = serde_json::from_value(serde_json::to_value(key.jwk())?)?;
    let mut rules = jwt::Validation::new(name(key.algorithm()));
    rules.set_issuer(&[ISSUER]);
    rules.set_audience(&["other", AUDIENCE]);
    rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    jwt::decode(token, &jwt::DecodingKey::from_jwk(&jwk)?, &rules)
}

fn name(algorithm: Algorithm) -> jwt::Algorithm {
    match algorithm {
        Algorithm::Es256 => jwt::Algorithm::ES256,
        Algorithm::Ed25519 => jwt::Algorithm::EdDSA,
        Algorithm::Rs256 => jwt::Algorithm::RS256,
    }
}

#[test]
fn it_takes_what_we_issue() {
    for key in KEYS.iter() {
        for claims in [claims(), full_claims()] {
            for typ in [TokenType::AtJwt, TokenType::Jwt] {
                let token = claims.issue(typ, key).unwrap();
                let read = oracle(token.expose()).unwrap();
                assert_eq!(read.claims, serde_json::to_value(&claims).unwrap());
                assert_eq!(read.header.typ.as_deref(), Some(typ.name()));
                assert_eq!(read.header.kid, Some(key.verifying_key().id().to_string()));
            }
        }
    }
}

#[test]
fn we_take_what_it_issues() {
    for key in KEYS.iter() {
        let public = key.verifying_key();
        let der = key.to_pkcs8().unwrap();
        let signer = match public.algorithm() {
            Algorithm::Es256 => jwt::EncodingKey::from_ec_der(&der),
            Algorithm::Ed25519 => jwt::EncodingKey::from_ed_der(&der),
            // It wants the PKCS #1 key, which stands at the end of the PKCS #8 one, behind a header of 26 bytes.
            Algorithm::Rs256 => jwt::EncodingKey::from_rsa_der(&der[26..]),
        };
        let mut header = jwt::Header::new(name(public.algorithm()));
        header.typ = Some("at+jwt".into());
        header.kid = Some(public.id().to_string());
        for claims in [claims(), full_claims()] {
            let token = jwt::encode(&header, &claims, &signer).unwrap();
            assert_eq!(verifier().verify(&token, NOW).unwrap().claims, claims);
        }
    }
}

/// Texts of members as an attacker would set them.
fn member() -> impl Strategy<Value = (&'static str, Value)> {
    let name = prop::sample::select(vec![
        "iss",
        "sub",
        "aud",
        "client_id",
        "iat",
        "exp",
        "nbf",
        "jti",
        "sid",
        "scope",
        "roles",
        "nonce",
        "cnf",
        "x",
        "typ",
        "alg",
        "kid",
        "crit",
        "jwk",
        "b64",
    ]);
    let value = prop::sample::select(vec![
        Value::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(4_000_000_100_u64),
        json!(4e9),
        json!(1e300),
        json!("4000000100"),
        json!(""),
        json!("shop"),
        json!("none"),
        json!("HS256"),
        json!("RS256"),
        json!("JWT"),
        json!(ISSUER),
        json!(AUDIENCE),
        json!([]),
        json!([AUDIENCE]),
        json!([AUDIENCE, 1]),
        json!({"a": 1}),
        json!("AAAAAAAAAAAAAAAAAAAAAA"),
    ]);
    (name, value)
}

#[derive(Debug, Clone)]
enum Edit {
    Set(&'static str, Value),
    Remove(&'static str),
    /// Puts a second member of that name in front.
    Double(&'static str, Value),
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        member().prop_map(|(name, value)| Edit::Set(name, value)),
        member().prop_map(|(name, _)| Edit::Remove(name)),
        member().prop_map(|(name, value)| Edit::Double(name, value)),
    ]
}

fn apply(mut object: Value, edits: &[Edit]) -> String {
    let mut front = String::new();
    for edit in edits {
        match edit {
            Edit::Set(name, value) => object[*name] = value.clone(),
            Edit::Remove(name) => drop(object.as_object_mut().unwrap().remove(*name)),
            Edit::Double(name, value) => front += &format!(r#""{name}":{value},"#),
        }
    }
    object.to_string().replacen('{', &format!("{{{front}"), 1).replace(",}", "}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn of_edited_and_rightly_signed_tokens_we_accept_none_that_it_refuses(
        head in prop::collection::vec(edit(), 0..2),
        body in prop::collection::vec(edit(), 0..3),
    ) {
        let body_text = apply(serde_json::to_value(full_claims()).unwrap(), &body);
        let head_text = apply(header(Algorithm::Ed25519), &head);
        let token = sign(&head_text, &body_text, Algorithm::Ed25519);
        if let Ok(ours) = verifier().verify(&token, NOW) {
            let theirs = oracle(&token);
            prop_assert!(theirs.is_ok(), "{head_text} {body_text}: {theirs:?}");
            // What we read is what anybody reads: known claims have one meaning, and none stands twice.
            let theirs = theirs.unwrap().claims;
            for (name, value) in serde_json::to_value(&ours.claims).unwrap().as_object().unwrap() {
                let alone = |value: &Value| match value {
                    Value::Array(all) if all.len() == 1 && name == "aud" => all[0].clone(),
                    value => value.clone(),
                };
                prop_assert_eq!(alone(&theirs[name]), alone(value));
            }
        }
    }

    #[test]
    fn of_garbled_tokens_we_accept_none_that_it_refuses(
        edits in prop::collection::vec((0..3_u8, any::<prop::sample::Index>(), "[A-Za-z0-9_.=-]"), 1..4),
    ) {
        let good = full_claims().issue(TokenType::AtJwt, key(Algorithm::Ed25519)).unwrap();
        let mut token = good.expose().to_owned();
        for (act, at, text) in &edits {
            let at = at.index(token.len());
            match act {
                0 => token.insert_str(at, text),
                1 => token.replace_range(at..=at, text),
                _ => drop(token.remove(at)),
            }
        }
        if verifier().verify(&token, NOW).is_ok() {
            prop_assert!(oracle(&token).is_ok());
            prop_assert_eq!(&token, good.expose());
        }
    }
}

#[test]
fn where_we_are_stricter() {
    // The traps that the oracle walks into, so that nobody takes it for a verifier of ours.
    let es256 = Algorithm::Es256;
    let wire = serde_json::to_value(claims()).unwrap();
    let mut refused_by_us = HashSet::new();
    for (name, value) in [("crit", json!(["x"])), ("crit", json!([])), ("jku", json!("https://x"))]
    {
        let mut head = header(es256);
        head[name] = value;
        let token = sign(&head.to_string(), &wire.to_string(), es256);
        assert!(verifier().verify(&token, NOW).is_err());
        if oracle(&token).is_ok() {
            refused_by_us.insert(name);
        }
    }
    assert_eq!(refused_by_us, HashSet::from(["crit", "jku"]));
}
