//! Keys of clients, and what they sign.

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::world::ORIGIN;

pub(crate) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A key of a client.
pub(crate) struct Key(EcdsaKeyPair);

impl Key {
    pub(crate) fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub(crate) fn jwk(&self) -> Value {
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        json!({ "kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y) })
    }

    /// The key under a name.
    pub(crate) fn named(&self, kid: &str) -> Value {
        with(self.jwk(), &json!({ "kid": kid, "alg": "ES256", "use": "sig" }))
    }

    pub(crate) fn thumbprint(&self) -> String {
        let jwk = symbolon_core::oauth::jwk::PublicKey::parse(&self.jwk().to_string());
        jwk.unwrap().thumbprint().to_string()
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", encode(signature))
    }

    /// A proof for a request, with a token at a resource server; `changes` replace claims.
    pub(crate) fn proof(
        &self,
        (method, path): (&str, &str),
        token: Option<&str>,
        changes: &Value,
    ) -> String {
        let claims = json!({
            "jti": unique(), "htm": method, "htu": format!("{ORIGIN}{path}"), "iat": now(),
            "ath": token.map(|token| encode(digest(&SHA256, token.as_bytes()))),
        });
        let header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk() });
        self.sign(&header, &with(claims, changes))
    }

    /// A proof for the token endpoint.
    pub(crate) fn at_token(&self) -> String {
        self.proof(("POST", "/oauth2/token"), None, &json!({}))
    }

    /// An assertion that this is the client; `changes` replace claims.
    pub(crate) fn assertion(&self, client: &str, kid: &str, changes: &Value) -> String {
        let claims = json!({
            "iss": client, "sub": client, "aud": ORIGIN, "jti": unique(), "iat": now(), "exp": now() + 60,
        });
        self.sign(&json!({ "alg": "ES256", "kid": kid }), &with(claims, changes))
    }
}

/// Members replaced, or removed where the new value is `null`.
fn with(mut object: Value, changes: &Value) -> Value {
    let members = object.as_object_mut().unwrap();
    members.extend(changes.as_object().unwrap().clone());
    members.retain(|_, value| !value.is_null());
    object
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn unique() -> String {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    encode(bytes)
}

pub(crate) fn now() -> i64 {
    symbolon::app::now().secs()
}
