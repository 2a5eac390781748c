use std::sync::{Arc, mpsc};

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use symbolon_core::secret::SecretText;

use super::*;

const SMALL: Cost = match Cost::new(64, 2, 1) {
    Ok(cost) => cost,
    Err(_) => Cost::DEFAULT,
};

fn passwords(cost: Cost, threads: usize, queue_max: usize) -> Passwords {
    Passwords::start(Bounds { cost, threads, queue_max }).unwrap()
}

fn password(text: &str) -> Password {
    Password::parse(&SecretText::new(text.to_owned())).unwrap()
}

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::from_seed([1; 32])
}

/// Runs and blocks that `verify` took.
async fn price(passwords: &Passwords, stored: Option<&PhcString>) -> (u64, u64) {
    let before = passwords.stats();
    passwords.verify(stored, &password("whatever it is")).await.unwrap();
    let after = passwords.stats();
    (after.runs - before.runs, after.blocks - before.blocks)
}

/// The reference implementation's answers (its `src/test.c`).
#[tokio::test]
async fn known_answers() {
    let passwords = passwords(Cost::DEFAULT, 1, 8);
    for (text, stored) in [
        ("password", "m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"),
        ("password", "m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc"),
        ("password", "m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"),
        (
            "differentpassword",
            "m=65536,t=2,p=1$c29tZXNhbHQ$C4TWUs9rDEvq7w3+J4umqA32aWKB1+DSiRuBfYxFj94",
        ),
        ("password", "m=65536,t=2,p=1$ZGlmZnNhbHQ$vfMrBczELrFdWP0ZsfhWsRPaHppYdP3MVEMIVlqoFBw"),
    ] {
        let stored: PhcString = format!("$argon2id$v=19${stored}").parse().unwrap();
        let verdict = passwords.verify(Some(&stored), &password(text)).await.unwrap();
        assert_eq!(verdict, Verdict { ok: true, needs_rehash: true }, "{text}");
        let wrong = passwords.verify(Some(&stored), &password("Password")).await.unwrap();
        assert_eq!(wrong, Verdict { ok: false, needs_rehash: false });
    }
}

/// RFC 9106, section 5.3. It has a secret and associated data, which our hashes have not: this checks the crate, in the
/// way in which it is used here.
#[test]
fn rfc_9106() {
    use argon2::{Algorithm, Argon2, AssociatedData, Block, ParamsBuilder, Version};
    let data = AssociatedData::new(&[4; 12]).unwrap();
    let params = ParamsBuilder::new().m_cost(32).t_cost(3).p_cost(4).data(data).build().unwrap();
    let argon2 =
        Argon2::new_with_secret(&[3; 8], Algorithm::Argon2id, Version::V0x13, params).unwrap();
    let mut output = [0; 32];
    let mut blocks = vec![Block::new(); 32];
    argon2.hash_password_into_with_memory(&[1; 32], &[2; 16], &mut output, &mut blocks).unwrap();
    let hex: String = output.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659");
}

#[tokio::test]
async fn what_was_hashed_is_recognised() {
    let passwords = passwords(Cost::DEFAULT, 1, 8);
    let mut rng = rng();
    let stored = passwords.hash(&password("한강 evening 🦊"), &mut rng).await.unwrap();
    assert!(stored.text().expose().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    let again = passwords.hash(&password("한강 evening 🦊"), &mut rng).await.unwrap();
    assert_ne!(stored, again);
    let read: PhcString = stored.text().expose().parse().unwrap();
    for (text, ok) in [("한강 evening 🦊", true), ("한강 evening", false), ("x", false)] {
        let verdict = passwords.verify(Some(&read), &password(text)).await.unwrap();
        assert_eq!(verdict, Verdict { ok, needs_rehash: false }, "{text}");
    }
}

#[tokio::test]
async fn a_check_costs_the_same_whoever_is_asked_for() {
    let hash = async |cost| passwords(cost, 1, 8).hash(&password("x"), &mut rng()).await.unwrap();
    let configured = Cost::new(128, 2, 1).unwrap();
    let (same, cheaper) = (hash(configured).await, hash(SMALL).await);
    let dearer = hash(Cost::new(256, 3, 2).unwrap()).await;

    let passwords = passwords(configured, 1, 8);
    assert_eq!(price(&passwords, None).await, (1, 256));
    assert_eq!(price(&passwords, Some(&same)).await, (1, 256));
    assert_eq!(price(&passwords, Some(&cheaper)).await, (2, 256));
    // From the moment a dearer hash is known, everything costs as much as that.
    passwords.saw(dearer.cost());
    assert_eq!(price(&passwords, None).await, (1, 768));
    assert_eq!(price(&passwords, Some(&dearer)).await, (1, 768));
    assert_eq!(price(&passwords, Some(&same)).await, (2, 768));
    // Three passes over a third of 768 - 128 blocks, rounded down.
    assert_eq!(price(&passwords, Some(&cheaper)).await, (2, 767));
    // Looking does not make it cheaper again.
    passwords.saw(SMALL);
    assert_eq!(price(&passwords, None).await, (1, 768));
}

#[tokio::test]
async fn memory_is_taken_once_per_thread() {
    let passwords = Arc::new(passwords(SMALL, 2, 64));
    let stored = passwords.hash(&password("right"), &mut rng()).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..32 {
        let (passwords, stored) = (Arc::clone(&passwords), stored.clone());
        tasks.spawn(async move {
            let typed = password(if n % 2 == 0 { "right" } else { "wrong" });
            let verdict = passwords.verify(Some(&stored), &typed).await.unwrap();
            assert_eq!(verdict.ok, n % 2 == 0);
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let stats = passwords.stats();
    assert_eq!(stats.runs, 33);
    assert!(stats.allocations <= 2, "{stats:?}");
}

#[tokio::test]
async fn over_the_bound_the_answer_is_busy_at_once() {
    let passwords = passwords(SMALL, 1, 2);
    let (started, has_started) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let blocking = passwords.pool.submit(move |_| {
        started.send(()).unwrap();
        released.recv().unwrap();
    });
    has_started.recv().unwrap();
    let waiting = [passwords.pool.submit(|_| 1), passwords.pool.submit(|_| 2)];
    assert_eq!(passwords.stats().queued, 2);

    assert_eq!(passwords.verify(None, &password("x")).await, Err(Busy::NOW));
    assert_eq!(passwords.hash(&password("x"), &mut rng()).await, Err(Busy::NOW));
    assert_eq!(passwords.stats().runs, 0);

    release.send(()).unwrap();
    blocking.unwrap().await.unwrap();
    for (n, job) in [1, 2].into_iter().zip(waiting) {
        assert_eq!(job.unwrap().await, Ok(n));
    }
    assert!(passwords.verify(None, &password("x")).await.is_ok());
}

#[tokio::test]
async fn nobody_computes_for_who_has_left() {
    let passwords = passwords(SMALL, 1, 8);
    let (started, has_started) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let blocking = passwords.pool.submit(move |_| {
        started.send(()).unwrap();
        released.recv().unwrap();
    });
    has_started.recv().unwrap();
    let left = passwords.pool.submit(|memory| memory.run(&SMALL, b"x", b"somesalt", &mut [0; 32]));
    drop(left);
    release.send(()).unwrap();
    blocking.unwrap().await.unwrap();
    passwords.verify(None, &password("x")).await.unwrap();
    assert_eq!(passwords.stats().runs, 1);
}
