//! Project Wycheproof's hostile signatures through our keys.
//!
//! Each list below is whole: a vector whose outcome differs from its label fails the test, unless it stands here.
//! Labelled "acceptable" and refused: RSA signatures whose hash parameters lack their NULL (RFC 8017, appendix A.2.4,
//! lets verifiers choose). RSA keys with an exponent other than 65537 are refused as keys.

use serde_json::{Value, json};
use symbolon_core::keys::{InvalidKey, Jwk, VerifyingKey};
use wycheproof::{TestResult, ecdsa, eddsa, rsa_pkcs1_verify as rsa};

use crate::forge::encode;

fn key(mut jwk: Value) -> Result<VerifyingKey, InvalidKey> {
    jwk["kid"] = json!("AAAAAAAAAAAAAAAAAAAAAA");
    VerifyingKey::from_jwk(&serde_json::from_value::<Jwk>(jwk).unwrap())
}

fn check(key: &VerifyingKey, message: &[u8], signature: &[u8], label: TestResult, case: usize) {
    let valid = label == TestResult::Valid;
    assert_eq!(key.verifies(message, signature), valid, "case {case}: {key:?}");
}

#[test]
fn es256() {
    let set = ecdsa::TestSet::load(ecdsa::TestName::EcdsaSecp256r1Sha256P1363).unwrap();
    assert_eq!(set.number_of_tests, 262);
    for group in set.test_groups {
        let point = &group.key.key;
        let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
        let key = key(json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y })).unwrap();
        for test in group.tests {
            check(&key, &test.msg, &test.sig, test.result, test.tc_id);
        }
    }
}

#[test]
fn eddsa() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    assert_eq!(set.number_of_tests, 151);
    for group in set.test_groups {
        let x = encode(&*group.key.pk);
        let key = key(json!({ "kty": "OKP", "crv": "Ed25519", "x": x })).unwrap();
        for test in group.tests {
            check(&key, &test.msg, &test.sig, test.result, test.tc_id);
        }
    }
}

#[test]
fn rs256() {
    let mut used = 0;
    for name in
        [rsa::TestName::Rsa2048Sha256, rsa::TestName::Rsa3072Sha256, rsa::TestName::Rsa4096Sha256]
    {
        for group in rsa::TestSet::load(name).unwrap().test_groups {
            let without_zeros = |number: &[u8]| {
                encode(&number[number.iter().take_while(|byte| **byte == 0).count()..])
            };
            let (n, e) = (without_zeros(&group.key.n), without_zeros(&group.key.e));
            let key = key(json!({ "kty": "RSA", "n": n, "e": e }));
            if e != "AQAB" {
                assert_eq!(key.map(drop), Err(InvalidKey::Rsa));
                continue;
            }
            let key = key.unwrap();
            for test in group.tests {
                used += 1;
                check(&key, &test.msg, &test.sig, test.result, test.tc_id);
            }
        }
    }
    assert!(used > 700, "only {used} vectors were used");
}
