//! Request objects: what becomes of claims, and what is refused.

use serde_json::{Value, json};
use symbolon_core::oauth::{
    jwk::SignatureAlgorithm,
    jws::InvalidJws,
    request_object::{InvalidRequestObject as No, RequestObject, Rules},
};

use crate::forge::*;

const ES256: SignatureAlgorithm = SignatureAlgorithm::Es256;

fn claims() -> Value {
    json!({
        "iss": "shop", "aud": ISSUER, "exp": SECS + 60, "client_id": "shop",
        "response_type": "code", "redirect_uri": "https://shop.example/in", "state": "s",
    })
}

fn present(header: &Value, claims: &Value) -> Result<RequestObject, No> {
    let text = sign(&header.to_string(), &claims.to_string(), ES256);
    let client = "shop".parse().unwrap();
    RequestObject::verify(&text, &client, &keys(ES256), &Rules::new(ISSUER), NOW)
}

fn read(changes: &Value) -> Result<RequestObject, No> {
    present(&json!({ "alg": "ES256", "typ": "oauth-authz-req+jwt" }), &with(&claims(), changes))
}

fn check(changes: &Value, expected: Result<(), No>) {
    assert_eq!(read(changes).map(drop), expected, "{changes}");
}

#[test]
fn claims_become_parameters() {
    let request = read(&json!({
        "max_age": 60, "flag": true, "claims": { "id_token": { "acr": null } }, "jti": "x",
        "resource": ["urn:b", "urn:a"], "nbf": SECS, "iat": SECS, "sub": "somebody",
    }));
    let request = request.unwrap();
    let expected = [
        ("claims", r#"{"id_token":{"acr":null}}"#),
        ("client_id", "shop"),
        ("flag", "true"),
        ("max_age", "60"),
        ("redirect_uri", "https://shop.example/in"),
        ("resource", "urn:b"),
        ("resource", "urn:a"),
        ("response_type", "code"),
        ("state", "s"),
    ];
    assert_eq!(request.iter().collect::<Vec<_>>(), expected);
    assert_eq!((request.get("state"), request.get("iss")), (Some("s"), None));
}

#[test]
fn of_this_client_for_us() {
    check(&json!({ "aud": [ISSUER, "https://other.example"] }), Ok(()));
    check(&json!({ "client_id": null }), Ok(()));
    for changes in [
        json!({ "iss": "other" }),
        json!({ "client_id": "other" }),
        // Or it could be presented as an assertion.
        json!({ "sub": "shop" }),
    ] {
        check(&changes, Err(No::Client));
    }
    check(&json!({ "iss": null }), Err(No::Jws(InvalidJws::Claims)));
    for aud in [json!(null), json!([]), json!("https://other.example"), json!("shop")] {
        check(&json!({ "aud": aud }), Err(No::Audience));
    }
}

#[test]
fn stale_requests() {
    for (changes, expected) in [
        (json!({ "exp": SECS - 29 }), Ok(())),
        (json!({ "exp": SECS - 30 }), Err(No::Jws(InvalidJws::Expired))),
        (json!({ "exp": SECS + 3630 }), Ok(())),
        (json!({ "exp": SECS + 3631 }), Err(No::Jws(InvalidJws::Lifetime))),
        (json!({ "nbf": SECS + 31 }), Err(No::Jws(InvalidJws::NotYetValid))),
        (json!({ "iat": SECS + 31 }), Err(No::Jws(InvalidJws::NotYetValid))),
        (json!({ "exp": null }), Err(No::Jws(InvalidJws::Claims))),
    ] {
        check(&changes, expected);
    }
}

#[test]
fn what_no_parameter_can_be() {
    check(&json!({ "request": "a.b.c" }), Err(No::Nested));
    check(&json!({ "request_uri": "https://evil.example" }), Err(No::Nested));
    for value in [json!([1]), json!([["a"]]), json!([null]), json!([{}])] {
        check(&json!({ "resource": value }), Err(No::Parameter));
    }
    // Else two readers could each take another one.
    check(
        &json!({ "redirect_uri": ["https://shop.example/in", "https://evil.example"] }),
        Err(No::Parameter),
    );
    check(&json!({ "scope": ["openid"] }), Err(No::Parameter));
    check(&json!({ "resource": vec!["urn:a"; 60] }), Ok(()));
    check(&json!({ "resource": vec!["urn:a"; 61] }), Err(No::Parameter));
    check(&json!({ "state": "s".repeat(16 * 1024) }), Err(No::Jws(InvalidJws::TooLong)));
}

#[test]
fn types_and_keys() {
    for (header, expected) in [
        (json!({ "alg": "ES256" }), Ok(())),
        (json!({ "alg": "ES256", "typ": "JWT" }), Ok(())),
        (json!({ "alg": "ES256", "typ": "at+jwt" }), Err(InvalidJws::Type)),
        (json!({ "alg": "ES256", "typ": "client-authentication+jwt" }), Err(InvalidJws::Type)),
        (json!({ "alg": "none" }), Err(InvalidJws::Algorithm)),
        (json!({ "alg": "ES256", "jwk": jwk(ES256) }), Err(InvalidJws::Header)),
        (json!({ "alg": "ES256", "kid": "other" }), Err(InvalidJws::UnknownKey)),
    ] {
        let found = present(&header, &claims()).map(drop);
        assert_eq!(found, expected.map_err(No::Jws), "{header}");
    }
}
