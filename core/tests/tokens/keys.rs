//! The ring: keys follow each other so that nobody ever meets one that it cannot find, and rest sealed.

use std::time::Duration;

use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use symbolon_core::{id::*, keys::*, secret::SecretBytes, time::Time, token::*};

use crate::forge::{ISSUER, NOW, claims};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const POLICY: Policy = Policy {
    active_for: Duration::from_secs(30 * 86_400),
    publish_ahead: DAY,
    keep_tokens: HOUR,
    keep_handles: Duration::from_secs(90 * 86_400),
};
const ES256: Usage = Usage::Sign(Algorithm::Es256);

fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

/// Does what the plan says.
fn run(records: &mut Vec<KeyRecord>, master: &MasterKey, now: Time, rng: &mut ChaCha20Rng) {
    let wanted = [ES256, Usage::Sign(Algorithm::Ed25519), Usage::Handle];
    for act in plan(records, &wanted, now, &POLICY) {
        match act {
            KeyAct::Create(key) => records.push(key.make(records, master, now, rng).unwrap()),
            KeyAct::Remove(id) => records.retain(|record| record.id != id),
        }
    }
    assert_eq!(plan(records, &wanted, now, &POLICY), [], "a plan that was carried out is empty");
}

#[test]
fn keys_follow_each_other() {
    let (mut records, rng) = (Vec::new(), &mut rng(1));
    let master = MasterKey::new(&SecretBytes::random(rng));
    let states = |records: &[KeyRecord], now| -> Vec<_> {
        let lives = lives(records, &POLICY);
        let es256 = records.iter().zip(lives).filter(|(record, _)| record.usage == ES256);
        es256.map(|(_, life)| life.state(now)).collect()
    };
    use KeyState::*;
    for (after, expected) in [
        (Duration::ZERO, vec![Active]),
        (DAY * 28, vec![Active]),
        (DAY * 29, vec![Active, Upcoming]),
        (DAY * 30, vec![Retired, Active]),
        (DAY * 30 + HOUR, vec![Active]),
        // Nobody ran it for a year: the key goes on, and its next is still published ahead.
        (DAY * 400, vec![Active, Upcoming]),
        (DAY * 401, vec![Retired, Active]),
    ] {
        run(&mut records, &master, NOW + after, rng);
        assert_eq!(states(&records, NOW + after), expected, "{after:?}");
    }
}

#[test]
fn a_withdrawn_key_is_replaced_at_once() {
    let (mut records, rng) = (Vec::new(), &mut rng(2));
    let master = MasterKey::new(&SecretBytes::random(rng));
    run(&mut records, &master, NOW, rng);
    for usage in [ES256, Usage::Handle] {
        let lost = records.iter_mut().find(|record| record.usage == usage).unwrap();
        lost.withdrawn_at = Some(NOW + DAY);
        let lost = lost.id;
        run(&mut records, &master, NOW + DAY, rng);
        let ring = KeyRing::open(&records, &master, &POLICY).unwrap();
        let now = NOW + DAY;
        assert!(ring.withdrawn().contains(&lost));
        assert!(ring.verifying_keys(now).all(|key| key.id() != lost));
        assert!(ring.handle_key_by_id(lost, now).is_none());
        assert_ne!(ring.signing_key(Algorithm::Es256, now).unwrap().verifying_key().id(), lost);
        assert_ne!(ring.handle_key(now).unwrap().id(), lost);
    }
}

#[test]
fn a_retired_key_stays_retired() {
    let (mut records, rng) = (Vec::new(), &mut rng(8));
    let master = MasterKey::new(&SecretBytes::random(rng));
    for days in [0, 29, 30] {
        run(&mut records, &master, NOW + DAY * days, rng);
    }
    let (first, second) = {
        let mut es256 = records.iter_mut().filter(|record| record.usage == ES256);
        (es256.next().unwrap().id, es256.next().unwrap())
    };
    let lost_at = NOW + DAY * 30 + HOUR / 2;
    second.withdrawn_at = Some(lost_at);
    let second = second.id;
    let state = |records: &[KeyRecord], id, now| {
        let at = records.iter().position(|record| record.id == id).unwrap();
        lives(records, &POLICY)[at].state(now)
    };
    // Its successor is lost, but others may have forgotten it already.
    assert_eq!(state(&records, first, lost_at), KeyState::Retired);
    assert_eq!(state(&records, second, lost_at), KeyState::Withdrawn);
    // Lost after it was retired: the news of it stays for as long as any other.
    records.iter_mut().find(|record| record.id == first).unwrap().withdrawn_at = Some(lost_at);
    let almost = lost_at + HOUR - Duration::from_millis(1);
    assert_eq!(state(&records, first, almost), KeyState::Withdrawn);
    assert_eq!(state(&records, first, lost_at + HOUR), KeyState::Removed);
}

#[test]
fn handle_keys_are_found_by_their_short_id() {
    let (mut records, rng) = (Vec::new(), &mut rng(3));
    let master = MasterKey::new(&SecretBytes::random(rng));
    for days in [0, 29, 59, 89, 119] {
        run(&mut records, &master, NOW + DAY * days, rng);
    }
    let now = NOW + DAY * 119;
    let ring = KeyRing::open(&records, &master, &POLICY).unwrap();
    let handle_keys: Vec<_> = records.iter().filter(|r| r.usage == Usage::Handle).collect();
    assert_eq!(handle_keys.len(), 5, "handles live for 90 days");
    for record in handle_keys {
        let short: [u8; 4] = record.id.as_bytes()[..4].try_into().unwrap();
        assert_eq!(ring.handle_key_by_short_id(short, now).unwrap().id(), record.id);
        assert_eq!(ring.handle_key_by_id(record.id, now).unwrap().id(), record.id);
    }
    assert!(ring.handle_key_by_short_id([0; 4], now).is_none());
}

#[test]
fn short_ids_are_unique() {
    let rng = &mut rng(4);
    let master = MasterKey::new(&SecretBytes::random(rng));
    let new = NewKey { usage: Usage::Handle, activates_at: NOW };
    let first = new.make(&[], &master, NOW, &mut self::rng(5)).unwrap();
    // The same random bytes again: the id is taken, so another is drawn.
    let second = new.make(std::slice::from_ref(&first), &master, NOW, &mut self::rng(5)).unwrap();
    assert_ne!(first.id.as_bytes()[..4], second.id.as_bytes()[..4]);
}

#[test]
fn a_sealed_key_belongs_to_its_row() {
    let rng = &mut rng(6);
    let (ours, other) =
        (MasterKey::new(&SecretBytes::random(rng)), MasterKey::new(&SecretBytes::random(rng)));
    let usages = Algorithm::ALL.map(Usage::Sign).into_iter().chain([Usage::Handle]);
    let records: Vec<_> = usages
        .map(|usage| NewKey { usage, activates_at: NOW }.make(&[], &ours, NOW, rng).unwrap())
        .collect();
    let open = |records: &[KeyRecord], master| KeyRing::open(records, master, &POLICY).map(drop);
    let refused = |record: &KeyRecord, error| Err(OpenRingError::Sealed(record.id, error));
    assert_eq!(open(&records, &ours), Ok(()));
    assert_eq!(open(&records, &other), refused(&records[0], OpenError::WrongMasterKey));
    for (a, b) in (0..records.len()).flat_map(|a| (0..records.len()).map(move |b| (a, b))) {
        let mut moved = records[a].clone();
        moved.sealed = records[b].sealed.clone();
        let expected = if a == b { Ok(()) } else { refused(&moved, OpenError::Damaged) };
        assert_eq!(open(&[moved], &ours), expected, "the secret of {b} in row {a}");
        let mut renamed = records[a].clone();
        renamed.usage = records[b].usage;
        let expected = if a == b { Ok(()) } else { refused(&renamed, OpenError::Damaged) };
        assert_eq!(open(&[renamed], &ours), expected, "row {a} used as {b}");
    }
}

#[test]
fn usages_have_names() {
    for usage in Algorithm::ALL.map(Usage::Sign).into_iter().chain([Usage::Handle]) {
        assert_eq!(usage.to_string().parse(), Ok(usage));
    }
    for bad in ["", "none", "es256", "Handle", "HS256", "Ed25519"] {
        assert!(bad.parse::<Usage>().is_err(), "{bad}");
    }
}

#[test]
fn nothing_prints_a_secret() {
    let rng = &mut rng(7);
    let master = MasterKey::new(&SecretBytes::random(rng));
    let mut records = Vec::new();
    run(&mut records, &master, NOW, rng);
    let ring = KeyRing::open(&records, &master, &POLICY).unwrap();
    let secret = ring.signing_key(Algorithm::Es256, NOW).unwrap().to_pkcs8().unwrap();
    let secret = format!("{:?}", &secret[36..44]);
    let secret = secret.trim_matches(['[', ']']);
    assert!(!format!("{ring:?} {master:?}").contains(secret));
    let jwks = serde_json::to_value(ring.jwks(NOW)).unwrap();
    for jwk in jwks["keys"].as_array().unwrap() {
        for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            assert!(jwk.get(private).is_none());
        }
    }
}

/// One step of a server's life.
#[derive(Debug, Clone)]
enum Step {
    /// Time passes, and the plan is carried out.
    Plan(Duration),
    /// Time passes, and nothing happens.
    Pass(Duration),
    /// A token is issued that lives for so long.
    Issue(Duration),
    /// The active key is declared lost, and the plan carried out.
    Withdraw,
}

fn step() -> impl Strategy<Value = Step> {
    let span = prop_oneof![
        (0..7200_u64).prop_map(Duration::from_secs),
        (0..40_u64 * 24).prop_map(|hours| HOUR * u32::try_from(hours).unwrap()),
    ];
    prop_oneof![
        4 => span.clone().prop_map(Step::Plan),
        2 => span.prop_map(Step::Pass),
        6 => (1..=3600_u64).prop_map(Duration::from_secs).prop_map(Step::Issue),
        1 => Just(Step::Withdraw),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_verifier_meets_a_key_that_it_cannot_find(
        steps in prop::collection::vec(step(), 1..60),
        seed in any::<u8>(),
    ) {
        let (rng, mut now) = (&mut rng(seed), NOW);
        let master = MasterKey::new(&SecretBytes::random(rng));
        let mut records = Vec::new();
        run(&mut records, &master, now, rng);
        // Keys that had to be used at once, because there was no other: the first and those after a withdrawal.
        let mut at_once: Vec<KeyId> = records.iter().map(|record| record.id).collect();
        let mut live: Vec<(String, KeyId, Time)> = Vec::new();
        for step in steps {
            match step {
                Step::Pass(span) => now = now + span,
                Step::Plan(span) => {
                    now = now + span;
                    run(&mut records, &master, now, rng);
                }
                Step::Issue(lifetime) => {
                    let ring = KeyRing::open(&records, &master, &POLICY).unwrap();
                    let key = ring.signing_key(Algorithm::Es256, now).unwrap();
                    let id = key.verifying_key().id();
                    let made = records.iter().find(|record| record.id == id).unwrap().created_at;
                    prop_assert!(now.since(made) >= POLICY.publish_ahead || at_once.contains(&id));
                    // Whole seconds, as in the token: the last fraction is what leeway is for.
                    let iat = Time::from_secs(now.secs());
                    let claims = Claims { iat, exp: iat + lifetime, ..claims() };
                    let token = claims.issue(TokenType::AtJwt, key).unwrap();
                    live.push((token.expose().to_owned(), id, claims.exp));
                }
                Step::Withdraw => {
                    let ring = KeyRing::open(&records, &master, &POLICY).unwrap();
                    let id = ring.signing_key(Algorithm::Es256, now).unwrap().verifying_key().id();
                    records.iter_mut().find(|r| r.id == id).unwrap().withdrawn_at = Some(now);
                    live.retain(|(_, key, _)| *key != id);
                    let before: Vec<_> = records.iter().map(|record| record.id).collect();
                    run(&mut records, &master, now, rng);
                    at_once.extend(records.iter().map(|r| r.id).filter(|id| !before.contains(id)));
                }
            }
            live.retain(|(_, _, exp)| *exp > now);
            let ring = KeyRing::open(&records, &master, &POLICY).unwrap();
            prop_assert!(ring.handle_key(now).is_some());
            prop_assert!(records.len() <= 40, "the ring grows: {} keys", records.len());
            let jwks = ring.jwks(now);
            let keys: Vec<_> = jwks.verifying_keys().collect::<Result<_, _>>().unwrap();
            let verifier = Verifier::new(Rules::new(ISSUER, [crate::forge::AUDIENCE]), keys);
            for (token, _, _) in &live {
                let verdict = verifier.verify(token, now).map(drop);
                prop_assert_eq!(verdict, Ok(()));
            }
        }
    }
}
