//! Tokens of any content, rightly signed.

use std::{sync::LazyLock, time::Duration};

use aws_lc_rs::{rand::SystemRandom, rsa, signature as s};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};
use symbolon_core::{id::*, keys::*, time::Time, token::*};

pub(crate) const ISSUER: &str = "https://auth.example:443";
pub(crate) const AUDIENCE: &str = "https://shop.example/api";
/// In the year 2096: whatever the clock of the machine says, no library takes these tokens for expired.
pub(crate) const NOW: Time = Time::from_secs(4_000_000_000);

/// One key of each algorithm.
pub(crate) static KEYS: LazyLock<[SigningKey; 3]> = LazyLock::new(|| {
    Algorithm::ALL.map(|algorithm| {
        let id = KeyId::from_bytes([algorithm as u8 + 1; 16]);
        SigningKey::generate(id, algorithm).unwrap()
    })
});

pub(crate) fn key(algorithm: Algorithm) -> &'static SigningKey {
    KEYS.iter().find(|key| key.verifying_key().algorithm() == algorithm).unwrap()
}

pub(crate) fn rules() -> Rules {
    let mut rules = Rules::new(ISSUER, ["other", AUDIENCE]);
    rules.types.push(TokenType::Jwt);
    rules
}

pub(crate) fn verifier() -> Verifier {
    Verifier::new(rules(), KEYS.iter().map(|key| key.verifying_key().clone()))
}

/// The claims that every token has, and no other.
pub(crate) fn claims() -> Claims {
    Claims {
        iss: ISSUER.into(),
        user: Some(UserId::from_bytes([0xa5; 16])),
        aud: AUDIENCE.into(),
        client_id: "shop".parse().unwrap(),
        iat: NOW,
        exp: NOW + Duration::from_secs(300),
        nbf: None,
        jti: TokenId::from_bytes([2; 16]),
        sid: SessionId::from_bytes([3; 16]),
        scope: None,
        roles: Vec::new(),
        auth_time: None,
        acr: None,
        amr: Vec::new(),
        act: None,
        key: None,
        more: Map::new(),
    }
}

/// Claims with everything in them.
pub(crate) fn full_claims() -> Claims {
    Claims {
        aud: Audience::try_from(vec![AUDIENCE.into(), "https://other.example".into()]).unwrap(),
        nbf: Some(NOW),
        scope: Some("cart:read cart:write".into()),
        roles: vec!["editor".into(), "관리자 \"\\\u{7}".into()],
        auth_time: Some(NOW - Duration::from_secs(60)),
        acr: Some("aal2".into()),
        amr: vec!["pwd".into(), "otp".into()],
        act: Some(Actor { sub: "orders".parse().unwrap(), act: None }),
        more: Map::from_iter([(
            "https://shop.example/groups".to_owned(),
            json!(["a", { "b": 1.5 }]),
        )]),
        ..claims()
    }
}

pub(crate) fn header(algorithm: Algorithm) -> Value {
    let kid = key(algorithm).verifying_key().id();
    json!({ "typ": "at+jwt", "alg": algorithm, "kid": kid })
}

/// Signs any two texts as a JWS, with the private key taken out of the type that would not do it.
pub(crate) fn sign(header: &str, claims: &str, algorithm: Algorithm) -> String {
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = encode(signature(signed.as_bytes(), algorithm));
    format!("{signed}.{signature}")
}

pub(crate) fn signature(message: &[u8], algorithm: Algorithm) -> Vec<u8> {
    let (rng, der) = (SystemRandom::new(), key(algorithm).to_pkcs8().unwrap());
    match algorithm {
        Algorithm::Es256 => {
            let pair = s::EcdsaKeyPair::from_pkcs8(&s::ECDSA_P256_SHA256_FIXED_SIGNING, &der);
            pair.unwrap().sign(&rng, message).unwrap().as_ref().to_vec()
        }
        Algorithm::Ed25519 => {
            s::Ed25519KeyPair::from_pkcs8(&der).unwrap().sign(message).as_ref().to_vec()
        }
        Algorithm::Rs256 => {
            let pair = rsa::KeyPair::from_pkcs8(&der).unwrap();
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(&s::RSA_PKCS1_SHA256, &rng, message, &mut signature).unwrap();
            signature
        }
    }
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
