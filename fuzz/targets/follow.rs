//! What goes over the wire between a follower and its server. Nothing that is heard makes a follower accept what it knows
//! to have ended, or hold a lease for longer than the bound.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use symbolon_core::{
    follower::{Answer, Follower, Question, Standing},
    id::EntryId,
    log::Cursor,
    time::Tick,
};

/// Always the same numbers: what is drawn does not matter here.
struct Fixed(u64);

impl rand_core::TryRng for Fixed {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        self.try_next_u64().map(|wide| (wide >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        Ok(self.0)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        for byte in bytes {
            *byte = (self.try_next_u64()? >> 56) as u8;
        }
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Fixed {}

const KNOWN: EntryId = EntryId::from_bytes([7; 16]);
const OTHER: EntryId = EntryId::from_bytes([8; 16]);

fuzz_target!(|bytes: &[u8]| {
    if let Ok(question) = serde_json::from_slice::<Question>(bytes) {
        let written = serde_json::to_vec(&question).expect("it was read");
        assert_eq!(serde_json::from_slice::<Question>(&written).ok(), Some(question));
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(cursor) = text.parse::<Cursor>()
    {
        assert_eq!(cursor.to_string(), text);
    }
    let Ok(answer) = serde_json::from_slice::<Answer>(bytes) else { return };
    let (start, mut rng) = (Tick::from_nanos(1 << 40), Fixed(1));
    let mut follower = Follower::new(&mut rng);
    let first = follower.ask(start, Vec::new(), &mut rng);
    let known =
        Answer { question: first.question, ended: vec![KNOWN], lease_ms: 0, ..answer.clone() };
    let knows = follower.hear(known).is_ok();
    let second = follower.ask(start, Vec::new(), &mut rng);
    let _ = follower.hear(Answer { question: second.question, ..answer.clone() });
    if knows {
        assert_eq!(follower.standing(&[OTHER, KNOWN], start), Standing::Ended);
    }
    for id in answer.ended.iter().filter(|id| *id.as_bytes() != [0; 16] && knows) {
        if follower.lease_until() > start {
            assert_eq!(follower.standing(&[*id], start), Standing::Ended);
        }
    }
    assert!(follower.lease_until() <= start + Duration::from_secs(60));
    let later = start + Duration::from_secs(61);
    assert!(!matches!(follower.standing(&[OTHER], later), Standing::Live(_)));
});
