//! Client assertions: what is accepted, and each attack by its name.

use serde_json::{Value, json};
use symbolon_core::{
    oauth::{
        assertion::{Assertion, InvalidAssertion as No, ProvenClient, Rules},
        jwk::{PublicKeys, SignatureAlgorithm},
        jws::InvalidJws,
    },
    time::Time,
};

use crate::forge::*;

const ES256: SignatureAlgorithm = SignatureAlgorithm::Es256;
const TOKEN_ENDPOINT: &str = "https://auth.example/oauth2/token";

fn header() -> Value {
    json!({ "alg": "ES256", "kid": "ES256" })
}

fn claims() -> Value {
    json!({ "iss": "shop", "sub": "shop", "aud": ISSUER, "exp": SECS + 60, "iat": SECS, "jti": "a" })
}

fn verify(text: &str, rules: &Rules<'_>, now: Time) -> Result<ProvenClient, No> {
    Assertion::parse(text)?.verify(&keys(ES256), rules, now)
}

fn present(header: &Value, claims: &Value) -> Result<ProvenClient, No> {
    let text = sign(&header.to_string(), &claims.to_string(), ES256);
    verify(&text, &Rules::new(ISSUER), NOW)
}

fn check_claims(changes: &Value, expected: Result<(), No>) {
    let found = present(&header(), &with(&claims(), changes)).map(drop);
    assert_eq!(found, expected, "{changes}");
}

fn check_header(changes: &Value, expected: Result<(), No>) {
    let found = present(&with(&header(), changes), &claims()).map(drop);
    assert_eq!(found, expected, "{changes}");
}

#[test]
fn every_algorithm_proves_its_client() {
    for algorithm in SignatureAlgorithm::ALL {
        let header = json!({ "alg": algorithm.name(), "typ": "JWT" }).to_string();
        let text = sign(&header, &claims().to_string(), algorithm);
        let assertion = Assertion::parse(&text).unwrap();
        assert_eq!(assertion.client().as_str(), "shop");
        let proven = assertion.verify(&keys(algorithm), &Rules::new(ISSUER), NOW).unwrap();
        assert_eq!((proven.client.as_str(), &*proven.jti), ("shop", "a"));
        assert_eq!(proven.forget_at, Time::from_secs(SECS + 90));
    }
}

#[test]
fn audience_injection() {
    for aud in [
        json!([ISSUER]),
        json!(TOKEN_ENDPOINT),
        json!([ISSUER, TOKEN_ENDPOINT]),
        json!([ISSUER, ISSUER]),
        json!([ISSUER, "https://evil.example"]),
        json!([]),
        json!("https://auth.example/"),
        json!("HTTPS://auth.example"),
    ] {
        check_claims(&json!({ "aud": aud }), Err(No::Audience));
    }
    check_claims(&json!({ "aud": Value::Null }), Err(No::Audience));
    check_claims(&json!({ "aud": { "is": ISSUER } }), Err(No::Jws(InvalidJws::Claims)));
    check_claims(&json!({ "aud": [1] }), Err(No::Jws(InvalidJws::Claims)));
}

#[test]
fn the_token_endpoint_only_for_clients_that_need_it() {
    let rules = Rules { token_endpoint: Some(TOKEN_ENDPOINT), ..Rules::new(ISSUER) };
    for (aud, good) in [
        (json!(TOKEN_ENDPOINT), true),
        (json!([TOKEN_ENDPOINT]), true),
        (json!(ISSUER), true),
        (json!([ISSUER]), true),
        (json!([ISSUER, TOKEN_ENDPOINT]), false),
    ] {
        let claims = with(&claims(), &json!({ "aud": aud })).to_string();
        let text = sign(&header().to_string(), &claims, ES256);
        assert_eq!(verify(&text, &rules, NOW).is_ok(), good, "{claims}");
    }
}

#[test]
fn a_client_speaks_for_itself_alone() {
    check_claims(&json!({ "iss": "other" }), Err(No::Subject));
    check_claims(&json!({ "sub": "other" }), Err(No::Subject));
    for changes in [
        json!({ "iss": Value::Null }),
        json!({ "sub": Value::Null }),
        json!({ "sub": 1, "iss": 1 }),
        json!({ "sub": "Not A Client", "iss": "Not A Client" }),
    ] {
        check_claims(&changes, Err(No::Jws(InvalidJws::Claims)));
    }
}

#[test]
fn times() {
    let late = Err(No::Jws(InvalidJws::Expired));
    for (changes, expected) in [
        (json!({ "exp": SECS - 29 }), Ok(())),
        (json!({ "exp": SECS - 30 }), late),
        (json!({ "exp": SECS + 3630 }), Ok(())),
        (json!({ "exp": SECS + 3631 }), Err(No::Jws(InvalidJws::Lifetime))),
        (json!({ "exp": 9_000_000_000_i64 }), Err(No::Jws(InvalidJws::Lifetime))),
        (json!({ "iat": SECS + 30 }), Ok(())),
        (json!({ "iat": SECS + 31 }), Err(No::Jws(InvalidJws::NotYetValid))),
        (json!({ "iat": Value::Null }), Ok(())),
        (json!({ "nbf": SECS + 30 }), Ok(())),
        (json!({ "nbf": SECS + 31 }), Err(No::Jws(InvalidJws::NotYetValid))),
        (json!({ "exp": SECS as f64 + 60.5 }), Ok(())),
    ] {
        check_claims(&changes, expected);
    }
    for exp in
        [json!(null), json!("4000000060"), json!(-1), json!(1e300), json!(i64::MAX), json!([1])]
    {
        check_claims(&json!({ "exp": exp }), Err(No::Jws(InvalidJws::Claims)));
    }
}

#[test]
fn when_it_was_made() {
    for (changes, made_at) in [
        (json!({ "iat": SECS - 7 }), SECS - 7),
        (json!({ "iat": null }), SECS + 60 - 3600),
        (json!({ "iat": null, "exp": SECS + 3600 }), SECS),
    ] {
        let proven = present(&header(), &with(&claims(), &changes)).unwrap();
        assert_eq!(proven.made_at, Time::from_secs(made_at), "{changes}");
    }
}

#[test]
fn the_id_is_bounded_and_required() {
    check_claims(&json!({ "jti": "j".repeat(128) }), Ok(()));
    for jti in [json!(null), json!(""), json!("j".repeat(129)), json!(7)] {
        check_claims(&json!({ "jti": jti }), Err(No::Jws(InvalidJws::Claims)));
    }
}

#[test]
fn algorithm_confusion() {
    let jws = |error| Err(No::Jws(error));
    for alg in ["none", "None", "HS256", "ES384", "RS512", "es256", "RS1", ""] {
        check_header(&json!({ "alg": alg }), jws(InvalidJws::Algorithm));
    }
    // The key's id with an algorithm that is another key's.
    for alg in ["EdDSA", "Ed25519", "RS256", "PS256"] {
        check_header(&json!({ "alg": alg }), jws(InvalidJws::Algorithm));
    }
    check_header(&json!({ "alg": Value::Null }), jws(InvalidJws::Header));
    check_header(&json!({ "alg": ["ES256"] }), jws(InvalidJws::Header));

    // One RSA key, registered for one padding.
    let (rs256, ps256) = (SignatureAlgorithm::Rs256, SignatureAlgorithm::Ps256);
    for (registered, used) in [(rs256, ps256), (ps256, rs256)] {
        let header = json!({ "alg": used.name(), "kid": registered.name() }).to_string();
        let text = sign(&header, &claims().to_string(), used);
        let found =
            Assertion::parse(&text).unwrap().verify(&keys(registered), &Rules::new(ISSUER), NOW);
        assert_eq!(found, Err(No::Jws(InvalidJws::Algorithm)));
    }

    // The public key as an HMAC key, and no signature at all.
    for header in [json!({ "alg": "none" }), json!({ "alg": "HS256", "kid": "ES256" })] {
        let text = format!("{}.{}.", encode(header.to_string()), encode(claims().to_string()));
        let found = verify(&text, &Rules::new(ISSUER), NOW);
        assert_eq!(found, Err(No::Jws(InvalidJws::Algorithm)));
    }
}

#[test]
fn keys_that_come_along_are_refused() {
    for changes in [
        json!({ "jwk": jwk(ES256) }),
        json!({ "jku": "https://evil.example/jwks" }),
        json!({ "x5u": "https://evil.example/x5" }),
        json!({ "x5c": ["AAAA"] }),
        json!({ "crit": ["exp"], "exp": 1 }),
        json!({ "crit": [] }),
        json!({ "b64": false }),
        json!({ "enc": "A128GCM" }),
        json!({ "zip": "DEF" }),
        json!({ "kid": 7 }),
        json!({ "kid": "k".repeat(257) }),
        json!({ "typ": 7 }),
    ] {
        check_header(&changes, Err(No::Jws(InvalidJws::Header)));
    }
    // Known to nobody, and no danger (RFC 7515, section 4).
    check_header(&json!({ "x5t#S256": "AAAA", "anything": { "a": 1 } }), Ok(()));
}

#[test]
fn other_kinds_of_tokens_are_no_assertions() {
    for typ in ["JWT", "jwt", "client-authentication+jwt", "application/Client-Authentication+JWT"]
    {
        check_header(&json!({ "typ": typ }), Ok(()));
    }
    for typ in ["at+jwt", "dpop+jwt", "oauth-authz-req+jwt", "logout+jwt", "", "application/", "é"]
    {
        check_header(&json!({ "typ": typ }), Err(No::Jws(InvalidJws::Type)));
    }
}

#[test]
fn which_key() {
    check_header(&json!({ "kid": Value::Null }), Ok(()));
    check_header(&json!({ "kid": "other" }), Err(No::Jws(InvalidJws::UnknownKey)));

    // Two keys of one algorithm and no id: nothing is tried.
    let other = SignatureAlgorithm::Ed25519;
    let mut second = jwk(other);
    second["kid"] = json!("second");
    second["x"] = json!("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    let keys = json!({ "keys": [jwk(other), second, jwk(ES256)] }).to_string();
    let keys = PublicKeys::parse(&keys).unwrap();
    for (header, algorithm, expected) in [
        (json!({ "alg": "EdDSA" }), other, Err(No::Jws(InvalidJws::UnknownKey))),
        (json!({ "alg": "EdDSA", "kid": "second" }), other, Err(No::Jws(InvalidJws::Signature))),
        (json!({ "alg": "Ed25519", "kid": "EdDSA" }), other, Ok(())),
        (json!({ "alg": "ES256" }), ES256, Ok(())),
    ] {
        let text = sign(&header.to_string(), &claims().to_string(), algorithm);
        let found = Assertion::parse(&text).unwrap().verify(&keys, &Rules::new(ISSUER), NOW);
        assert_eq!(found.map(drop), expected, "{header}");
    }
}

#[test]
fn what_stands_twice_is_refused() {
    let (header, claims) = (header().to_string(), claims().to_string());
    let twice = |text: &str, member: &str| text.replacen('{', &format!("{{{member},"), 1);
    for (header, claims, expected) in [
        (twice(&header, r#""alg":"none""#), claims.clone(), InvalidJws::Header),
        (header.clone(), twice(&claims, r#""sub":"other""#), InvalidJws::Claims),
        (header.clone(), twice(&claims, r#""\u0073ub":"shop""#), InvalidJws::Claims),
        (header.clone(), twice(&claims, r#""x":{"a":1,"a":2}"#), InvalidJws::Claims),
        (header.clone(), format!("[{claims}]"), InvalidJws::Claims),
        (header.clone(), format!("{claims}{claims}"), InvalidJws::Claims),
        ("null".into(), claims.clone(), InvalidJws::Header),
    ] {
        let text = sign(&header, &claims, ES256);
        let found = verify(&text, &Rules::new(ISSUER), NOW);
        assert_eq!(found, Err(No::Jws(expected)), "{header} {claims}");
    }
}

#[test]
fn what_is_no_compact_jws() {
    let text = sign(&header().to_string(), &claims().to_string(), ES256);
    let check = |text: &str, expected| {
        assert_eq!(verify(text, &Rules::new(ISSUER), NOW), Err(No::Jws(expected)), "{text}");
    };
    for bad in [
        "".into(),
        ".".into(),
        "..".into(),
        text.replacen('.', "", 1),
        format!("{text}."),
        format!("{text}="),
        format!("{text} "),
        format!(" {text}"),
        text.replacen('.', "..", 1),
        format!("{text}.{text}"),
        format!("{text}{}", "A".repeat(700)),
    ] {
        let expected = if bad == ".." { InvalidJws::Header } else { InvalidJws::Malformed };
        check(&bad, expected);
    }
    check(&"A".repeat(8 * 1024 + 1), InvalidJws::TooLong);
    let (signed, _) = text.rsplit_once('.').unwrap();
    check(&format!("{signed}."), InvalidJws::Signature);
    check(&format!("{signed}.{}", encode([0; 64])), InvalidJws::Signature);
}
