//! DPoP proofs: RFC 9449's examples, and each attack by its name.

use std::time::Duration;

use serde_json::{Value, json};
use symbolon_core::{
    oauth::{
        dpop::{InvalidProof as No, NonceKey, Nonces, Proof, Rules, Target},
        jwk::{PublicKey, SignatureAlgorithm},
        jws::InvalidJws,
    },
    secret::SecretBytes,
    time::Time,
};

use crate::{forge::*, vectors};

const ES256: SignatureAlgorithm = SignatureAlgorithm::Es256;
const TOKEN: Target<'_> = Target {
    method: "POST",
    uri: "https://auth.example/oauth2/token",
    access_token: None,
    nonces: Nonces::None,
};

fn header() -> Value {
    json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": bare_jwk(ES256) })
}

fn claims() -> Value {
    json!({ "jti": "a", "htm": "POST", "htu": TOKEN.uri, "iat": SECS })
}

fn present(header: &Value, claims: &Value, target: &Target<'_>) -> Result<Proof, No> {
    let text = sign(&header.to_string(), &claims.to_string(), ES256);
    Proof::verify(&text, target, &Rules::default(), NOW)
}

fn check_claims(changes: &Value, target: &Target<'_>, expected: Result<(), No>) {
    let found = present(&header(), &with(&claims(), changes), target).map(drop);
    assert_eq!(found, expected, "{changes}");
}

fn check_header(changes: &Value, expected: Result<(), InvalidJws>) {
    let found = present(&with(&header(), changes), &claims(), &TOKEN).map(drop);
    assert_eq!(found, expected.map_err(No::Jws), "{changes}");
}

#[test]
fn the_examples_of_the_standard() {
    let jkt = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    let at_token = Target { uri: "https://server.example.com/token", ..TOKEN };
    let at = Time::from_secs(1_562_262_616);
    let proof = Proof::verify(vectors::DPOP_TOKEN, &at_token, &Rules::default(), at).unwrap();
    assert_eq!((&*proof.jti, proof.key.to_string().as_str()), ("-BwC3ESc6acc2lTc", jkt));
    assert_eq!(proof.forget_at, at + Duration::from_secs(60));

    let resource = Target {
        method: "GET",
        uri: "https://resource.example.org/protectedresource",
        access_token: Some("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"),
        nonces: Nonces::None,
    };
    let verify = |target: &Target<'_>| {
        let found = Proof::verify(vectors::DPOP_RESOURCE, target, &Rules::default(), at);
        found.map(|proof| proof.key.to_string())
    };
    assert_eq!(verify(&resource), Ok(jkt.into()));
    assert_eq!(verify(&Target { access_token: Some("stolen"), ..resource }), Err(No::Token));
    assert_eq!(verify(&Target { method: "POST", ..resource }), Err(No::Method));
    assert_eq!(verify(&at_token), Err(No::Method));
}

#[test]
fn every_algorithm_proves_its_key() {
    for algorithm in SignatureAlgorithm::ALL {
        for jwk in [bare_jwk(algorithm), jwk(algorithm)] {
            let thumbprint = PublicKey::parse(&jwk.to_string()).unwrap().thumbprint();
            let header = json!({ "typ": "dpop+jwt", "alg": algorithm.name(), "jwk": jwk });
            let text = sign(&header.to_string(), &claims().to_string(), algorithm);
            let proof = Proof::verify(&text, &TOKEN, &Rules::default(), NOW).unwrap();
            assert_eq!(proof.key, thumbprint);
        }
    }
}

#[test]
fn a_proof_fits_one_url() {
    for htu in [
        "https://auth.example/oauth2/token?a=b",
        "https://auth.example/oauth2/token#f",
        "HTTPS://AUTH.example:443/oauth2/token",
        "https://auth.example/oauth2/./x/../token",
        "https://auth.example/oauth2/%74oken",
    ] {
        check_claims(&json!({ "htu": htu }), &TOKEN, Ok(()));
    }
    for htu in [
        "",
        "/oauth2/token",
        "https://auth.example/oauth2/token/",
        "https://auth.example/oauth2/Token",
        "https://auth.example:8443/oauth2/token",
        "http://auth.example/oauth2/token",
        "https://evil.example/oauth2/token",
        "https://auth.example@evil.example/oauth2/token",
        "https://auth.example/oauth2%2Ftoken",
        "ftp://auth.example/oauth2/token",
        "https://auth.example\\oauth2/token",
    ] {
        check_claims(&json!({ "htu": htu }), &TOKEN, Err(No::Uri));
    }
    // A server that does not know its own URL accepts nothing, not even the same nonsense.
    let nowhere = Target { uri: "nonsense", ..TOKEN };
    check_claims(&json!({ "htu": "nonsense" }), &nowhere, Err(No::Uri));
}

#[test]
fn a_proof_fits_one_method() {
    for htm in ["GET", "post", "", "POST "] {
        check_claims(&json!({ "htm": htm }), &TOKEN, Err(No::Method));
    }
}

#[test]
fn what_a_proof_says_besides() {
    // Other JWTs have these. A proof has an age instead.
    for more in [
        json!({ "nbf": SECS, "exp": SECS + 60 }),
        json!({ "nbf": SECS - 5 }),
        json!({ "exp": SECS + 5 }),
        json!({ "more": ["x"] }),
    ] {
        check_claims(&more, &TOKEN, Ok(()));
    }
}

#[test]
fn a_stale_proof() {
    for (iat, expected) in [
        (SECS - 59, Ok(())),
        (SECS - 60, Err(No::Time)),
        (SECS + 30, Ok(())),
        (SECS + 31, Err(No::Time)),
        (0, Err(No::Time)),
    ] {
        check_claims(&json!({ "iat": iat }), &TOKEN, expected);
    }
    // What may be forgotten is refused from then on.
    let text = sign(&header().to_string(), &claims().to_string(), ES256);
    let verify = |at| Proof::verify(&text, &TOKEN, &Rules::default(), at);
    let forget_at = verify(NOW).unwrap().forget_at;
    assert!(verify(forget_at - Duration::from_millis(1)).is_ok());
    assert_eq!(verify(forget_at), Err(No::Time));
}

#[test]
fn a_proof_of_another_token() {
    let target = Target { access_token: Some("token"), ..TOKEN };
    // SHA-256 of `token`, and of nothing.
    let (own, empty) = (
        "PEaenWxYddN6Q_NT1PiOYfz4EsZu7jRXRlpAsNpBU-A",
        "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU",
    );
    check_claims(&json!({ "ath": own }), &target, Ok(()));
    check_claims(&json!({ "ath": empty }), &target, Err(No::Token));
    check_claims(&json!({ "ath": &own[..42] }), &target, Err(No::Token));
    check_claims(&json!({}), &target, Err(No::Token));
    check_claims(&json!({ "ath": 1 }), &target, Err(No::Jws(InvalidJws::Claims)));
}

#[test]
fn a_nonce_if_one_is_demanded() {
    let target = Target { nonces: Nonces::Each(["new", "old"]), ..TOKEN };
    for (nonce, expected) in [
        (json!("new"), Ok(())),
        (json!("old"), Ok(())),
        (json!("older"), Err(No::Nonce)),
        (json!(""), Err(No::Nonce)),
        (json!(null), Err(No::Nonce)),
        (json!(1), Err(No::Jws(InvalidJws::Claims))),
    ] {
        check_claims(&json!({ "nonce": nonce }), &target, expected);
    }
    // Only who would get in otherwise is told that a nonce is missing.
    check_claims(&json!({ "htm": "GET" }), &target, Err(No::Method));
    check_claims(&json!({ "nonce": "unasked" }), &TOKEN, Ok(()));
}

/// What was used before this process began is not remembered by it.
#[test]
fn a_proof_from_before_needs_a_nonce() {
    let began = NOW + Duration::from_millis(700);
    let target = Target { nonces: Nonces::Before(began, ["new", "old"]), ..TOKEN };
    check_claims(&json!({}), &target, Ok(()));
    check_claims(&json!({ "iat": SECS - 1 }), &target, Err(No::Nonce));
    check_claims(&json!({ "iat": SECS - 1, "nonce": "old" }), &target, Ok(()));
    check_claims(&json!({ "iat": SECS - 1, "nonce": "other" }), &target, Err(No::Nonce));
}

#[test]
fn nonces_pass_away() {
    let [one, other] = [1, 2].map(|byte| NonceKey::new(SecretBytes::new([byte; 32])));
    let [current, before] = one.nonces(NOW);
    assert_ne!(current, before);
    assert!(!other.nonces(NOW).contains(&current));
    let later = |secs| one.nonces(NOW + Duration::from_secs(secs));
    assert!(later(300).contains(&current) && !later(300).contains(&before));
    assert!(!later(600).contains(&current));
}

#[test]
fn required_claims() {
    for name in ["jti", "htm", "htu", "iat"] {
        check_claims(&json!({ name: null }), &TOKEN, Err(No::Jws(InvalidJws::Claims)));
        check_claims(&json!({ name: [] }), &TOKEN, Err(No::Jws(InvalidJws::Claims)));
    }
    check_claims(&json!({ "jti": "j".repeat(129) }), &TOKEN, Err(No::Jws(InvalidJws::Claims)));
}

#[test]
fn only_proofs_are_proofs() {
    check_header(&json!({ "typ": "DPoP+JWT" }), Ok(()));
    for typ in [json!(null), json!("JWT"), json!("at+jwt"), json!("dpop")] {
        check_header(&json!({ "typ": typ }), Err(InvalidJws::Type));
    }
}

#[test]
fn the_key_in_the_header() {
    let other = bare_jwk(SignatureAlgorithm::Ed25519);
    let mut off_curve = bare_jwk(ES256);
    off_curve["y"] = json!(encode([7; 32]));
    let foreign = json!({ "kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0" });
    for (jwk, expected) in [
        (json!(null), InvalidJws::Header),
        (json!("key"), InvalidJws::Header),
        (json!({}), InvalidJws::Key),
        (with(&bare_jwk(ES256), &json!({ "d": "AAAA" })), InvalidJws::Key),
        (with(&bare_jwk(ES256), &json!({ "use": "enc" })), InvalidJws::Key),
        (with(&bare_jwk(ES256), &json!({ "alg": "ES384" })), InvalidJws::Key),
        (json!({ "kty": "oct", "k": "AAAA" }), InvalidJws::Key),
        (other, InvalidJws::Key),
        (off_curve, InvalidJws::Key),
        (foreign, InvalidJws::Signature),
    ] {
        check_header(&json!({ "jwk": jwk }), Err(expected));
    }
    check_header(&json!({ "alg": "none" }), Err(InvalidJws::Algorithm));
    check_header(&json!({ "alg": "HS256" }), Err(InvalidJws::Algorithm));
    check_header(&json!({ "alg": "EdDSA" }), Err(InvalidJws::Key));
    check_header(&json!({ "jku": "https://evil.example" }), Err(InvalidJws::Header));
    check_header(&json!({ "crit": ["nonce"] }), Err(InvalidJws::Header));
}
