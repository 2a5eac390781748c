//! Foreign keys: which are taken, which are passed over, and which make a set be refused.

use serde_json::{Value, json};
use symbolon_core::{
    keys::InvalidKey,
    oauth::jwk::{InvalidKeys, KEYS_MAX, PublicKey, PublicKeys, SignatureAlgorithm, Thumbprint},
};

use crate::forge::*;

const ES256: SignatureAlgorithm = SignatureAlgorithm::Es256;
const ED25519: SignatureAlgorithm = SignatureAlgorithm::Ed25519;
const RS256: SignatureAlgorithm = SignatureAlgorithm::Rs256;
const PS256: SignatureAlgorithm = SignatureAlgorithm::Ps256;

fn check(
    algorithm: SignatureAlgorithm,
    changes: &Value,
    expected: Result<SignatureAlgorithm, InvalidKey>,
) {
    let key = PublicKey::parse(&with(&bare_jwk(algorithm), changes).to_string());
    assert_eq!(key.map(|key| key.algorithm()), expected, "{algorithm} {changes}");
}

#[test]
fn the_algorithm_is_that_of_the_key() {
    for (algorithm, changes, expected) in [
        (ES256, json!({}), ES256),
        (ED25519, json!({}), ED25519),
        (RS256, json!({}), RS256),
        (PS256, json!({ "alg": "PS256" }), PS256),
        (ED25519, json!({ "alg": "Ed25519" }), ED25519),
        (ES256, json!({ "use": "sig", "key_ops": ["verify"], "x5t": "?", "new": [1] }), ES256),
    ] {
        check(algorithm, &changes, Ok(expected));
    }
    for (algorithm, alg) in [
        (ES256, "ES384"),
        (ES256, "EdDSA"),
        (ES256, "RS256"),
        (ES256, "none"),
        (ES256, "HS256"),
        (RS256, "RS512"),
        (RS256, "ES256"),
        (RS256, "RSA-OAEP"),
        (ED25519, "ES256"),
    ] {
        check(algorithm, &json!({ "alg": alg }), Err(InvalidKey::Unsupported));
    }
}

#[test]
fn other_curves_and_kinds() {
    for (algorithm, changes) in [
        (ES256, json!({ "crv": "P-384" })),
        (ES256, json!({ "crv": "secp256k1" })),
        (ES256, json!({ "crv": null })),
        (ES256, json!({ "kty": "OKP" })),
        (ES256, json!({ "kty": "RSA" })),
        (ED25519, json!({ "crv": "X25519" })),
        (ED25519, json!({ "kty": "EC" })),
        (RS256, json!({ "crv": "P-256" })),
        (RS256, json!({ "kty": "rsa" })),
    ] {
        check(algorithm, &changes, Err(InvalidKey::Unsupported));
    }
}

#[test]
fn weak_and_malformed_keys() {
    let modulus = bare_jwk(RS256)["n"].as_str().unwrap().to_owned();
    let number = |bytes: usize| {
        let mut number = vec![0xff; bytes];
        number[0] = 0x80;
        encode(number)
    };
    for changes in [
        json!({ "n": number(128) }),
        json!({ "n": number(255) }),
        json!({ "n": number(513) }),
        json!({ "e": "AQ" }),
        json!({ "e": "Aw" }),
        json!({ "e": "AAEAAQ" }),
        json!({ "e": "AQAA" }),
        json!({ "e": "" }),
    ] {
        check(RS256, &changes, Err(InvalidKey::Rsa));
    }
    for (algorithm, changes) in [
        (RS256, json!({ "n": format!("AA{modulus}") })),
        (RS256, json!({ "n": format!("{modulus}=") })),
        (RS256, json!({ "n": null })),
        (RS256, json!({ "e": null })),
        (RS256, json!({ "kty": null })),
        (RS256, json!({ "e": 65537 })),
        (ES256, json!({ "x": encode([7; 32]) })),
        (ES256, json!({ "x": encode([0; 32]), "y": encode([0; 32]) })),
        (ES256, json!({ "x": encode([255; 32]) })),
        (ES256, json!({ "y": encode([7; 31]) })),
        (ES256, json!({ "y": encode([7; 33]) })),
        (ES256, json!({ "y": null })),
        (ED25519, json!({ "x": encode([7; 31]) })),
        (ED25519, json!({ "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURp" })),
    ] {
        check(algorithm, &changes, Err(InvalidKey::Malformed));
    }
    check(ES256, &json!({ "kid": "k".repeat(257) }), Err(InvalidKey::Id));
    let twice = bare_jwk(ES256).to_string().replacen('{', r#"{"kty":"EC","#, 1);
    assert_eq!(PublicKey::parse(&twice).map(drop), Err(InvalidKey::Malformed));
}

#[test]
fn private_and_shared_keys_are_nobodys() {
    let not = Err(InvalidKey::NotForVerifying);
    for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        check(RS256, &json!({ name: "AAAA" }), not);
        check(ES256, &json!({ name: [] }), not);
    }
    let shared = r#"{"kty":"oct","k":"AAAA"}"#;
    assert_eq!(PublicKey::parse(shared).map(drop), Err(InvalidKey::NotForVerifying));
    let no_value = bare_jwk(ES256).to_string().replacen('{', r#"{"d":null,"#, 1);
    assert_eq!(PublicKey::parse(&no_value).map(drop), Err(InvalidKey::NotForVerifying));
    for changes in [json!({ "use": "enc" }), json!({ "use": "" }), json!({ "key_ops": ["sign"] })] {
        check(ES256, &changes, not);
    }
    check(ES256, &json!({ "key_ops": [] }), not);
}

#[test]
fn a_thumbprint_sees_only_the_key() {
    for algorithm in SignatureAlgorithm::ALL {
        let plain = PublicKey::parse(&bare_jwk(algorithm).to_string()).unwrap();
        let named = PublicKey::parse(&jwk(algorithm).to_string()).unwrap();
        assert_eq!(plain.thumbprint(), named.thumbprint());
        assert_eq!(named.kid(), Some(algorithm.name()));
        assert_eq!(
            format!("{plain:?}"),
            format!("PublicKey({}, {})", plain.algorithm(), plain.thumbprint())
        );
    }
    let text = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    assert_eq!(text.parse::<Thumbprint>().unwrap().to_string(), text);
    for bad in [
        "",
        &text[1..],
        &format!("{text}="),
        &format!("{text}A"),
        &text.replace('I', "J"),
        &text.replace('-', "+"),
    ] {
        assert!(bad.parse::<Thumbprint>().is_err(), "{bad}");
    }
}

fn set(keys: &[Value]) -> Result<usize, InvalidKeys> {
    PublicKeys::parse(&json!({ "keys": keys }).to_string()).map(|keys| keys.iter().count())
}

#[test]
fn sets() {
    let (es256, eddsa, rs256) = (jwk(ES256), jwk(ED25519), jwk(RS256));
    let encrypting = with(&es256, &json!({ "use": "enc", "alg": "ECDH-ES", "kid": "e" }));
    let p384 = with(&es256, &json!({ "crv": "P-384", "alg": "ES384", "kid": "p" }));
    let post_quantum = json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA" });
    let private = with(&rs256, &json!({ "d": "AAAA" }));
    let weak = with(&rs256, &json!({ "n": encode([0xff; 128]) }));
    let renamed = with(&es256, &json!({ "kid": "again" }));
    let same_id = with(&eddsa, &json!({ "kid": "ES256" }));

    assert_eq!(set(&[es256.clone(), eddsa.clone(), rs256.clone()]), Ok(3));
    assert_eq!(
        set(&[encrypting.clone(), p384.clone(), post_quantum.clone(), es256.clone()]),
        Ok(1)
    );
    assert_eq!(set(&[]), Err(InvalidKeys::Empty));
    assert_eq!(set(&[encrypting, p384, post_quantum]), Err(InvalidKeys::Empty));
    assert_eq!(set(&[es256.clone(), weak]), Err(InvalidKeys::Key(1, InvalidKey::Rsa)));
    let not = InvalidKey::NotForVerifying;
    assert_eq!(set(&[private]), Err(InvalidKeys::Key(0, not)));
    let private_for_encryption = with(&es256, &json!({ "use": "enc", "d": "AAAA" }));
    assert_eq!(set(&[private_for_encryption]), Err(InvalidKeys::Key(0, not)));
    let shared = json!({ "kty": "oct", "k": "AAAA", "kid": "shared" });
    assert_eq!(set(&[es256.clone(), shared]), Err(InvalidKeys::Key(1, not)));
    assert_eq!(set(&[es256.clone(), renamed]), Err(InvalidKeys::Twice));
    assert_eq!(set(&[es256.clone(), same_id]), Err(InvalidKeys::Twice));
    assert_eq!(set(&vec![es256.clone(); KEYS_MAX + 1]), Err(InvalidKeys::TooMany));

    let refused = |text: &str| PublicKeys::parse(text).map(drop).unwrap_err();
    for text in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[1]}"#, r#"{"keys":[],"keys":[]}"#] {
        assert_eq!(refused(text), InvalidKeys::Malformed, "{text}");
    }
    let twice =
        json!({ "keys": [es256] }).to_string().replacen(r#"{"alg""#, r#"{"kid":"x","alg""#, 1);
    assert_eq!(refused(&twice), InvalidKeys::Malformed);
    assert_eq!(refused(&" ".repeat(32 * 1024 + 1)), InvalidKeys::TooLong);
}
