//! The test vectors of the follow protocol (docs/protocol/vectors.json), run against our follower.

use std::collections::HashMap;

use rand_chacha::{ChaCha12Rng, rand_core::SeedableRng};
use serde_json::Value;
use symbolon_core::{
    client::ClientId,
    follower::{Answer, Follower, Standing},
    id::{SessionId, TokenId},
    time::Tick,
};

const VECTORS: &str = include_str!("../../../docs/protocol/vectors.json");

fn run(history: &Value) {
    let mut rng = ChaCha12Rng::seed_from_u64(7);
    let mut follower = Follower::new(&mut rng);
    let mut questions = HashMap::new();
    for (number, step) in history["steps"].as_array().unwrap().iter().enumerate() {
        let place = format!("{}, step {number}", history["name"]);
        let now = Tick::from_nanos(step["at"].as_u64().unwrap() * 1_000_000);
        if let Some(expected) = step.get("ask") {
            let question = follower.ask(now, Vec::new(), &mut rng);
            questions.insert(format!("$q{}", questions.len() + 1), question.question.to_string());
            let question = serde_json::to_value(question).unwrap();
            for name in ["cursor", "last_answer", "node"] {
                assert_eq!(
                    question.get(name),
                    expected.get(name).filter(|it| !it.is_null()),
                    "{place}"
                );
            }
        } else if let Some(answer) = step.get("hear") {
            let mut answer = answer.clone();
            answer["question"] = questions[answer["question"].as_str().unwrap()].clone().into();
            let answer: Answer = serde_json::from_value(answer).unwrap();
            let heard = if follower.hear(answer).is_ok() { "applied" } else { "dropped" };
            assert_eq!(heard, step["is"], "{place}");
        } else if let Some(ids) = step.get("check") {
            let ids: Vec<_> = serde_json::from_value(ids.clone()).unwrap();
            let (is, time) = match follower.standing(&ids, now) {
                Standing::Ended => ("ended", None),
                Standing::Live(time) => ("live", Some(time.millis())),
                Standing::NoLease => ("no-lease", None),
            };
            assert_eq!(is, step["is"], "{place}");
            assert_eq!(time, step.get("server_time_ms").map(|ms| ms.as_i64().unwrap()), "{place}");
        } else if let Some(times) = step.get("elsewhere") {
            (0..times.as_u64().unwrap()).for_each(|_| _ = follower.elsewhere());
        } else if step.get("unanswered").is_some() {
            follower.forget_node();
        } else {
            assert_eq!(step["rename"], true, "{place}");
            follower.rename(&mut rng);
        }
    }
}

#[test]
fn our_follower_does_what_the_vectors_say() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let histories = vectors["histories"].as_array().unwrap();
    assert!(histories.len() >= 8);
    histories.iter().for_each(run);
    for token in vectors["tokens"].as_array().unwrap() {
        let id = |name: &str| token[name].as_str().unwrap().to_owned();
        let (sid, jti): (SessionId, TokenId) =
            (id("sid").parse().unwrap(), id("jti").parse().unwrap());
        assert_eq!(jti.era(sid).to_string(), id("era"));
    }
    for client in vectors["clients"].as_array().unwrap() {
        let id: ClientId = client["client_id"].as_str().unwrap().parse().unwrap();
        assert_eq!(id.entry().to_string(), client["id"].as_str().unwrap());
    }
}
