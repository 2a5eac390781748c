//! The examples of the RFCs, and Project Wycheproof's hostile ones. Where they came from: `core/tests/oauth/data`.
//!
//! They are signed texts of any payload, so they meet the door before claims are read.

use serde_json::json;

use super::*;

fn refusal(keys: &PublicKeys, text: &str) -> Option<InvalidJws> {
    Jws::parse(text, 16 * 1024).and_then(|jws| jws.check_signature(keys)).err()
}

#[test]
fn examples_of_the_standards() {
    let all = include_str!("../../../tests/oauth/data/rfc.json");
    let all: Vec<Value> = serde_json::from_str(all).unwrap();
    for vector in &all {
        let set = json!({ "keys": [vector["key"]] }).to_string();
        let keys = PublicKeys::parse(&set);
        let taken = vector["jws"]
            .as_str()
            .map_or(keys.is_ok(), |text| keys.is_ok_and(|keys| refusal(&keys, text).is_none()));
        assert_eq!(json!(taken), vector["taken"], "{}", vector["of"]);
    }
    assert_eq!(all.len(), 7);
}

/// What a file of Wycheproof's labels valid and has one of our algorithms is accepted, and nothing else. But one: a key
/// whose modulus has the form of ROCA (CVE-2017-15361). Its owner is to be pitied, and can be taken for nobody else.
fn check(file: &str, accepted: usize, refused: usize) {
    let file: Value = serde_json::from_str(file).unwrap();
    let mut counts = (0, 0);
    for group in file["testGroups"].as_array().unwrap() {
        let key = group.get("public").unwrap_or(&group["private"]);
        let set = if key.get("keys").is_some() { key.clone() } else { json!({ "keys": [key] }) };
        let keys = PublicKeys::parse(&set.to_string());
        for test in group["tests"].as_array().unwrap() {
            // Those in JSON serialization are objects: no compact form.
            let text = test.get("jws").or(test.get("jwe")).unwrap();
            let text = text.as_str().map_or_else(|| text.to_string(), Into::into);
            let found = keys.as_ref().is_ok_and(|keys| refusal(keys, &text).is_none());
            let valid = test["result"] == "valid" || group["comment"] == "jws_rsa_roca_key";
            assert_eq!(found, valid && is_ours(&text), "{} {}", group["comment"], test["tcId"]);
            if found { counts.0 += 1 } else { counts.1 += 1 }
        }
    }
    assert_eq!(counts, (accepted, refused));
}

fn is_ours(text: &str) -> bool {
    let header = text.split('.').next().and_then(|header| URL_SAFE_NO_PAD.decode(header).ok());
    let header: Option<Value> = header.and_then(|json| serde_json::from_slice(&json).ok());
    let name = header.as_ref().and_then(|header| header["alg"].as_str());
    name.is_some_and(|name| SignatureAlgorithm::named(name).is_some())
}

#[test]
fn wycheproof_signatures() {
    check(include_str!("../../../tests/oauth/data/json_web_signature_test.json"), 16, 385);
}

#[test]
fn wycheproof_keys() {
    check(include_str!("../../../tests/oauth/data/json_web_key_test.json"), 2, 24);
}

#[test]
fn wycheproof_crypto() {
    check(include_str!("../../../tests/oauth/data/json_web_crypto_test.json"), 3, 80);
}
