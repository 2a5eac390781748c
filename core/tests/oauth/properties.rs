//! No text makes a reader fall over, and no change to a signed text is accepted.

use proptest::prelude::*;
use serde_json::json;
use symbolon_core::oauth::{
    assertion::{Assertion, Rules},
    dpop::{self, Nonces, Proof, Target},
    jwk::{PublicKey, PublicKeys, SignatureAlgorithm},
    request_object::{self, RequestObject},
    uri::{ApplicationType, RedirectUri, Uri},
};

use crate::forge::*;

const ES256: SignatureAlgorithm = SignatureAlgorithm::Es256;
const HTU: &str = "https://auth.example/oauth2/token";
const TARGET: Target<'_> =
    Target { method: "POST", uri: HTU, access_token: None, nonces: Nonces::None };

fn proof() -> String {
    let header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": bare_jwk(ES256) });
    let claims = json!({ "jti": "a", "htm": "POST", "htu": HTU, "iat": SECS });
    sign(&header.to_string(), &claims.to_string(), ES256)
}

fn is_proof(text: &str) -> bool {
    Proof::verify(text, &TARGET, &dpop::Rules::default(), NOW).is_ok()
}

#[test]
fn no_flipped_bit_and_no_cut_is_a_proof() {
    let proof = proof();
    assert!(is_proof(&proof));
    for at in 0..proof.len() {
        for bit in 0..7 {
            let mut bytes = proof.as_bytes().to_vec();
            bytes[at] ^= 1 << bit;
            assert!(!is_proof(&String::from_utf8(bytes).unwrap()), "byte {at}, bit {bit}");
        }
        assert!(!is_proof(&proof[..at]), "cut at {at}");
        assert!(!is_proof(&proof[at + 1..]), "begun at {at}");
        assert!(!is_proof(&format!("{}A{}", &proof[..at], &proof[at..])), "longer at {at}");
    }
}

proptest! {
    #[test]
    fn any_text_is_refused(text in "\\PC*", parts in "[A-Za-z0-9_-]{0,200}\\.[A-Za-z0-9_-]{0,200}\\.[A-Za-z0-9_-]{0,200}") {
        let client = "shop".parse().unwrap();
        for text in [&text, &parts] {
            prop_assert!(!is_proof(text));
            prop_assert!(Assertion::parse(text).is_err());
            prop_assert!(RequestObject::verify(
                text, &client, &keys(ES256), &request_object::Rules::new(ISSUER), NOW,
            ).is_err());
            prop_assert!(PublicKeys::parse(text).is_err());
            prop_assert!(PublicKey::parse(text).is_err());
        }
    }

    #[test]
    fn any_claims_are_read_or_refused(header in any_json(), claims in any_json()) {
        let text = format!("{}.{}.{}", encode(header), encode(claims), encode([7; 64]));
        let rules = Rules::new(ISSUER);
        let verify = |assertion: Assertion<'_>| assertion.verify(&keys(ES256), &rules, NOW);
        prop_assert!(Assertion::parse(&text).and_then(verify).is_err());
        prop_assert!(!is_proof(&text));
    }

    #[test]
    fn readers_of_small_texts_stand(text in "[a-z0-9:/?#@%.\\[\\]\\\\ é_-]{0,60}") {
        for text in [text.clone(), format!("http://127.0.0.1{text}"), format!("https://{text}")] {
            if let Ok(uri) = Uri::parse(&text)
                && let Some(normal) = uri.normal_target()
            {
                let again = Uri::parse(&normal).unwrap().normal_target();
                prop_assert_eq!(again.as_deref(), Some(&*normal));
            }
            for application in [ApplicationType::Web, ApplicationType::Native] {
                if let Ok(uri) = RedirectUri::parse(&text, application) {
                    prop_assert!(uri.admits(&text));
                    let longer = text.clone() + "#";
                    prop_assert!(!uri.admits(&longer));
                }
            }
        }
    }

    /// Whatever a loopback URI admits leads to the same machine, path and query.
    #[test]
    fn only_the_port_differs(presented in "http://(127\\.0\\.0\\.1|localhost|\\[::1\\])[:0-9@./a-z?#]{0,14}/in") {
        let registered = RedirectUri::parse("http://127.0.0.1/in", ApplicationType::Native).unwrap();
        if registered.admits(&presented) {
            let uri = Uri::parse(&presented).unwrap();
            prop_assert_eq!((uri.host, uri.path, uri.query, uri.fragment), (Some("127.0.0.1"), "/in", None, None));
        }
    }
}

/// JSON of the names that matter, with values of any kind.
fn any_json() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "alg", "typ", "kid", "jwk", "crit", "iss", "sub", "aud", "exp", "iat", "jti", "htm", "htu",
        "kty",
    ]);
    let value = prop::sample::select(vec![
        "\"ES256\"",
        "\"dpop+jwt\"",
        "\"shop\"",
        "1",
        "-1",
        "1e400",
        "null",
        "[]",
        "{}",
        "[[[]]]",
        "\"\\u0000\"",
        "4000000060",
        "true",
        "\"https://auth.example\"",
        "\"a\"",
        "{\"kty\":\"EC\"}",
    ]);
    prop::collection::vec((name, value), 0..10).prop_map(|members| {
        let members: Vec<_> = members.iter().map(|(n, v)| format!("\"{n}\":{v}")).collect();
        format!("{{{}}}", members.join(","))
    })
}
