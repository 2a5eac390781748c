//! The crate jsonwebtoken as oracle: we take what it signs, and of changed texts we accept none that it refuses.

use jsonwebtoken as jwt;
use proptest::prelude::*;
use serde_json::{Value, json};
use symbolon_core::oauth::{
    assertion::{Assertion, Rules},
    jwk::SignatureAlgorithm,
};

use crate::forge::*;

fn name(algorithm: SignatureAlgorithm) -> jwt::Algorithm {
    match algorithm {
        SignatureAlgorithm::Es256 => jwt::Algorithm::ES256,
        SignatureAlgorithm::Ed25519 => jwt::Algorithm::EdDSA,
        SignatureAlgorithm::Rs256 => jwt::Algorithm::RS256,
        SignatureAlgorithm::Ps256 => jwt::Algorithm::PS256,
    }
}

fn claims() -> Value {
    json!({ "iss": "shop", "sub": "shop", "aud": ISSUER, "exp": SECS + 60, "jti": "a" })
}

fn ours(text: &str, algorithm: SignatureAlgorithm) -> bool {
    let rules = Rules::new(ISSUER);
    let verify = |assertion: Assertion<'_>| assertion.verify(&keys(algorithm), &rules, NOW);
    Assertion::parse(text).and_then(verify).is_ok()
}

/// What a careful user of that library writes.
fn oracle(text: &str, algorithm: SignatureAlgorithm) -> bool {
    let jwk: jwt::jwk::Jwk = serde_json::from_value(jwk(algorithm)).unwrap();
    let mut rules = jwt::Validation::new(name(algorithm));
    rules.set_issuer(&["shop"]);
    rules.set_audience(&[ISSUER]);
    rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    jwt::decode::<Value>(text, &jwt::DecodingKey::from_jwk(&jwk).unwrap(), &rules).is_ok()
}

#[test]
fn we_take_what_it_signs() {
    for algorithm in SignatureAlgorithm::ALL {
        let der = key(algorithm).to_pkcs8().unwrap();
        let signing = match algorithm {
            SignatureAlgorithm::Es256 => jwt::EncodingKey::from_ec_der(&der),
            SignatureAlgorithm::Ed25519 => jwt::EncodingKey::from_ed_der(&der),
            // It takes PKCS #1: what stands inside of PKCS #8 after 26 bytes, for 2048 bits.
            _ => jwt::EncodingKey::from_rsa_der(&der[26..]),
        };
        let mut header = jwt::Header::new(name(algorithm));
        header.kid = Some(algorithm.name().into());
        let text = jwt::encode(&header, &claims(), &signing).unwrap();
        assert!(ours(&text, algorithm) && oracle(&text, algorithm), "{algorithm}");
    }
}

proptest! {
    #[test]
    fn what_it_refuses_we_refuse(at in 0_usize..400, byte in "[A-Za-z0-9_.=-]", which in 0_usize..4) {
        let algorithm = SignatureAlgorithm::ALL[which];
        let header = json!({ "alg": algorithm.name(), "kid": algorithm.name() }).to_string();
        let mut bytes = sign(&header, &claims().to_string(), algorithm).into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte.as_bytes()[0];
        let changed = String::from_utf8(bytes).unwrap();
        prop_assert!(!ours(&changed, algorithm) || oracle(&changed, algorithm));
    }
}
