//! Texts that say they are handles. Only what the key made is one.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use symbolon_core::{
    handle::{FamilyNumber, Generation, Handle, HandleKey, Kind, Name, Salt},
    id::{KeyId, SessionId},
    secret::SecretBytes,
};

static KEY: LazyLock<HandleKey> =
    LazyLock::new(|| HandleKey::new(KeyId::from_bytes([1; 16]), &SecretBytes::new([2; 32])));

static GENUINE: LazyLock<String> = LazyLock::new(|| {
    let name = Name {
        kind: Kind::Refresh,
        session: SessionId::from_bytes([3; 16]),
        family: FamilyNumber(4),
        generation: Generation(5),
    };
    let client = "shop".parse().expect("a client's name");
    KEY.mint(&name, &client, &Salt::new([6; 16])).expose().to_owned()
});

fn check(text: &str) {
    let parsed = Handle::parse(text, |short| (short == KEY.short_id()).then_some(&KEY));
    assert_eq!(parsed.is_ok(), text == *GENUINE, "{text}: {parsed:?}");
}

fuzz_target!(|data: &[u8]| {
    check(&String::from_utf8_lossy(data));
    // The genuine one with bits flipped, as far as the input reaches.
    let mut flipped = GENUINE.clone().into_bytes();
    flipped.iter_mut().zip(data).for_each(|(byte, flips)| *byte ^= flips);
    check(&String::from_utf8_lossy(&flipped));
});
