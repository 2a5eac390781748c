//! Clients' keys, and texts of any content that they rightly signed.

use std::sync::LazyLock;

use aws_lc_rs::{rand::SystemRandom, rsa, signature as s};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use symbolon_core::{
    id::KeyId,
    keys::{Algorithm, SigningKey},
    oauth::jwk::{PublicKeys, SignatureAlgorithm},
    time::Time,
};

pub(crate) const ISSUER: &str = "https://auth.example";
/// In the year 2096: whatever the clock of the machine says, no library takes these texts for expired.
pub(crate) const SECS: i64 = 4_000_000_000;
pub(crate) const NOW: Time = Time::from_secs(SECS);

static KEYS: LazyLock<[SigningKey; 3]> = LazyLock::new(|| {
    Algorithm::ALL.map(|algorithm| {
        let id = KeyId::from_bytes([algorithm as u8 + 1; 16]);
        SigningKey::generate(id, algorithm).unwrap()
    })
});

/// The key behind each algorithm; both of RSA have the same.
pub(crate) fn key(algorithm: SignatureAlgorithm) -> &'static SigningKey {
    let own = match algorithm {
        SignatureAlgorithm::Es256 => Algorithm::Es256,
        SignatureAlgorithm::Ed25519 => Algorithm::Ed25519,
        SignatureAlgorithm::Rs256 | SignatureAlgorithm::Ps256 => Algorithm::Rs256,
    };
    KEYS.iter().find(|key| key.verifying_key().algorithm() == own).unwrap()
}

/// A public key without anything that says what it is for.
pub(crate) fn bare_jwk(algorithm: SignatureAlgorithm) -> Value {
    let mut jwk = serde_json::to_value(key(algorithm).verifying_key().jwk()).unwrap();
    for name in ["kid", "alg", "use"] {
        jwk.as_object_mut().unwrap().remove(name);
    }
    jwk
}

/// A client's key of this algorithm, under the algorithm's name.
pub(crate) fn jwk(algorithm: SignatureAlgorithm) -> Value {
    let mut jwk = bare_jwk(algorithm);
    jwk["alg"] = json!(algorithm.name());
    jwk["kid"] = json!(algorithm.name());
    jwk
}

/// A client with one key.
pub(crate) fn keys(algorithm: SignatureAlgorithm) -> PublicKeys {
    PublicKeys::parse(&json!({ "keys": [jwk(algorithm)] }).to_string()).unwrap()
}

/// Signs any two texts as a JWS.
pub(crate) fn sign(header: &str, claims: &str, algorithm: SignatureAlgorithm) -> String {
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = encode(signature(signed.as_bytes(), algorithm));
    format!("{signed}.{signature}")
}

pub(crate) fn signature(message: &[u8], algorithm: SignatureAlgorithm) -> Vec<u8> {
    let (rng, der) = (SystemRandom::new(), key(algorithm).to_pkcs8().unwrap());
    let rsa = |padding: &'static dyn s::RsaEncoding| {
        let pair = rsa::KeyPair::from_pkcs8(&der).unwrap();
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(padding, &rng, message, &mut signature).unwrap();
        signature
    };
    match algorithm {
        SignatureAlgorithm::Es256 => {
            let pair = s::EcdsaKeyPair::from_pkcs8(&s::ECDSA_P256_SHA256_FIXED_SIGNING, &der);
            pair.unwrap().sign(&rng, message).unwrap().as_ref().to_vec()
        }
        SignatureAlgorithm::Ed25519 => {
            s::Ed25519KeyPair::from_pkcs8(&der).unwrap().sign(message).as_ref().to_vec()
        }
        SignatureAlgorithm::Rs256 => rsa(&s::RSA_PKCS1_SHA256),
        SignatureAlgorithm::Ps256 => rsa(&s::RSA_PSS_SHA256),
    }
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The object with each of these members set, or removed where the new value is `null`.
pub(crate) fn with(object: &Value, changes: &Value) -> Value {
    let mut changed = object.clone();
    for (name, value) in changes.as_object().unwrap() {
        let members = changed.as_object_mut().unwrap();
        match value {
            Value::Null => drop(members.remove(name)),
            value => drop(members.insert(name.clone(), value.clone())),
        }
    }
    changed
}
