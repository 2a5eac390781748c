//! Texts that say they are access tokens: as they come, and as claims and headers that the right key signed.
#![no_main]

use std::{sync::LazyLock, time::Duration};

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use libfuzzer_sys::fuzz_target;
use symbolon_core::{
    id::KeyId,
    keys::{Algorithm, SigningKey},
    time::Time,
    token::{Header, Rules, TokenType, Verifier},
};

const ISSUER: &str = "https://auth.example";
const AUDIENCE: &str = "https://api.example";
const NOW: Time = Time::from_secs(1_800_000_000);
/// What the seeds name as `kid`.
const KEY_ID: KeyId = KeyId::from_bytes([0; 16]);

static KEY: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::generate(KEY_ID, Algorithm::Ed25519).expect("a key"));

/// The same key without the rules of the type that keeps it.
static PAIR: LazyLock<Ed25519KeyPair> = LazyLock::new(|| {
    let der = KEY.to_pkcs8().expect("a key in PKCS #8");
    Ed25519KeyPair::from_pkcs8(&der).expect("the same key")
});

static VERIFIER: LazyLock<Verifier> =
    LazyLock::new(|| Verifier::new(Rules::new(ISSUER, [AUDIENCE]), [KEY.verifying_key().clone()]));

fn sign(header: &[u8], claims: &[u8]) -> String {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = encode(PAIR.sign(signed.as_bytes()).as_ref());
    format!("{signed}.{signature}")
}

/// Whatever is accepted keeps the rules, and says the same when we say it ourselves.
fn check(text: &str) {
    let Ok(mut token) = VERIFIER.verify(text, NOW) else { return };
    assert_eq!(
        (&*token.claims.iss, token.key, token.typ),
        (ISSUER, KEY_ID, Some(TokenType::AtJwt))
    );
    assert!(token.claims.aud.contains(AUDIENCE));
    assert!(token.claims.exp.since(token.claims.iat) <= Duration::from_secs(3600));
    // Numbers that no claim of ours is may be rounded.
    token.claims.more.clear();
    let Ok(again) = token.claims.issue(TokenType::AtJwt, &KEY) else { return };
    assert_eq!(VERIFIER.verify(again.expose(), NOW).map(|again| again.claims), Ok(token.claims));
}

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    // A signature of this key cannot be guessed: without signing, no text may pass.
    assert!(VERIFIER.verify(&text, NOW).is_err(), "{text}");
    let _ = Header::parse(&text);

    // The first line is the header, the rest the claims.
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (header, claims) = (&data[..at], data.get(at + 1..).unwrap_or_default());
    check(&sign(header, claims));
});
