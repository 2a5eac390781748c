//! The `claims` parameter: what of it counts, and what it costs to read it.

use proptest::prelude::*;
use serde_json::json;
use symbolon_core::{oauth::claims::*, session::Assurance};

fn read(text: &str) -> Asked {
    Asked::read(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn what_counts_of_it() {
    let asked = read(
        r#"{
            "userinfo": {
                "given_name": { "essential": true },
                "nickname": null,
                "email": { "value": "user@example.com", "unknown": [1] },
                "email_verified": { "values": [true, false] },
                "picture": null,
                "http://example.info/claims/groups": null
            },
            "id_token": { "auth_time": { "essential": true }, "acr": { "values": ["aal2"] }, "name": {} },
            "access_token": { "x": null }
        }"#,
    );
    let claims = serde_json::to_value(&asked.claims).unwrap();
    let userinfo = json!({
        "given_name": [], "nickname": [], "email": ["user@example.com"], "email_verified": [true, false],
        "picture": [],
    });
    assert_eq!(claims, json!({ "id_token": { "name": [] }, "userinfo": userinfo }));
    assert_eq!((&asked.subjects, asked.assurance()), (&None, Ok(None)));
    let mut scopes: Vec<_> = asked.claims.scopes().collect();
    scopes.sort_unstable();
    scopes.dedup();
    assert_eq!(scopes, ["email", "profile"]);
    // As it rests.
    let again: ClaimsRequest = serde_json::from_value(claims).unwrap();
    assert_eq!(again, asked.claims);
    assert!(ClaimsRequest::default().is_empty() && read("{}").claims.is_empty());
}

#[test]
fn what_is_insisted_on() {
    let acr = |text: &str| read(&format!(r#"{{"id_token":{{"acr":{text}}}}}"#)).assurance();
    assert_eq!(acr(r#"{"essential":true,"value":"aal2"}"#), Ok(Some(Assurance::Aal2)));
    assert_eq!(acr(r#"{"essential":true,"values":["aal2","aal1"]}"#), Ok(Some(Assurance::Aal1)));
    assert_eq!(acr(r#"{"essential":true,"values":["other"]}"#), Err(Unmet));
    assert_eq!(acr(r#"{"essential":false,"values":["other"]}"#), Ok(None));
    assert_eq!(acr(r#"{"essential":true}"#), Ok(None));
    let subjects = |text: &str| read(text).subjects.map(|all| all.join(" "));
    let of = |text: &str| Some(text.to_owned());
    assert_eq!(subjects(r#"{"id_token":{"sub":null}}"#), None);
    assert_eq!(subjects(r#"{"id_token":{"sub":{"value":"a"}}}"#), of("a"));
    assert_eq!(subjects(r#"{"id_token":{"sub":{"values":["a","b",1]}}}"#), of("a b"));
    // Both must hold.
    let both =
        r#"{"id_token":{"sub":{"values":["a","b"]}},"userinfo":{"sub":{"values":["b","c"]}}}"#;
    assert_eq!(subjects(both), of("b"));
    let none = r#"{"id_token":{"sub":{"value":"a"}},"userinfo":{"sub":{"value":"b"}}}"#;
    assert_eq!(subjects(none), of(""));
}

#[test]
fn what_is_none() {
    let long = format!("{{{}}}", " ".repeat(CLAIMS_BYTES_MAX));
    for text in [
        "",
        "null",
        "1",
        "[]",
        "\"x\"",
        r#"{"id_token":1}"#,
        r#"{"userinfo":{"name":1}}"#,
        r#"{"userinfo":{"name":{"essential":1}}}"#,
        r#"{"userinfo":{"name":{"values":{}}}}"#,
        r#"{"userinfo":{},"userinfo":{}}"#,
        r#"{"id_token":{"acr":{"essential":true,"value":1}}}"#,
        &long,
    ] {
        assert_eq!(Asked::read(text), Err(InvalidClaims), "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_fall_over(text in "[\\[\\]{}:,\"a-z0-9. ]{0,200}", any in ".*") {
        let _ = Asked::read(&text);
        let _ = Asked::read(&any);
    }
}
