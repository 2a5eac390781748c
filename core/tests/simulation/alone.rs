//! Each piece alone, where no history of the simulation reaches: bounds, arithmetic, and what is forgotten.

use std::time::Duration;

use proptest::prelude::*;
use symbolon_core::{
    follower::{Answer, Dropped, ENTRIES_MAX, Follower, Standing},
    id::{AnswerId, EntryId, FollowerId, LogId, QuestionId},
    lease::{Asking, DRIFT, Leases, NotHeard, waited},
    log::{After, Cursor, Entry, Tail},
    time::{Tick, Time},
};

use crate::draw::Draw;

const LOG: LogId = LogId::from_bytes([5; 16]);
const MS: u64 = 1_000_000;

fn entry(sequence: u64, history: u8) -> Entry {
    let mut tag = sequence.to_be_bytes();
    tag[0] = history;
    Entry { sequence, tag, id: EntryId::from_bytes([7; 16]) }
}

fn asking(number: u8, last: Option<AnswerId>, acknowledges: Option<u64>) -> Asking<'static> {
    let follower = FollowerId::from_bytes([number; 16]);
    Asking { follower, name: "guard", last, acknowledges, trusts_expiry: false }
}

fn ms(ms: u64) -> Tick {
    Tick::from_nanos(ms * MS)
}

fn answer(question: QuestionId, now: Time) -> Answer {
    Answer {
        question,
        answer: AnswerId::from_bytes([2; 16]),
        node: None,
        cursor: Cursor::start(LOG),
        ended: Vec::new(),
        more: false,
        lease_ms: 1000,
        now_ms: now,
        entry_life_ms: 420_000,
    }
}

proptest! {
    /// The tail against the whole log: it says everything after a cursor, or sends to the store, and believes no tag
    /// that it cannot see.
    #[test]
    fn a_tail_tells_all_or_sends_to_the_store(
        entries_max in 0_usize..6,
        left_out in prop::collection::vec(0_u8..8, 0..30),
        asked in 0_u64..40,
        history in 0_u8..3,
    ) {
        let mut tail = Tail::new(Cursor::start(LOG), entries_max);
        let (mut head, mut gap) = (0, 0);
        for left_out in left_out {
            // Seldom one was left out; often one comes twice.
            head += if left_out == 7 { 2 } else { 1 };
            if left_out == 7 {
                gap = head;
            }
            tail.push(entry(head, 1));
            tail.push(entry(head - u64::from(left_out == 3), 2));
        }
        let cursor = match asked {
            0 => Cursor::start(LOG),
            _ => Cursor::at(LOG, &entry(asked, history)),
        };
        let its_own = cursor.sequence == 0 || history == 1;
        let told = head.saturating_sub(entries_max as u64).max(gap);
        let expected = match asked {
            _ if asked > head => After::Ahead,
            _ if asked < told => After::Older,
            _ if !its_own => After::Restart,
            _ => After::Entries((asked + 1..=head).map(|n| entry(n, 1)).collect()),
        };
        prop_assert_eq!(tail.after(&cursor), expected);
        prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
    }

    /// Whoever waits for a lease by its own clock waits long enough, and a node's grant ends before its own lease,
    /// however the clocks drift.
    #[test]
    fn waiting_covers_drift(lease_us in 1_u64..60_000_000, left_us in 0_u64..60_000_000) {
        let lease = Duration::from_micros(lease_us);
        prop_assert!(waited(lease) > lease + lease / DRIFT);

        let rng = &mut Draw::new(1).0;
        let (start, own) = (ms(5), ms(5) + Duration::from_micros(left_us));
        let mut leases = Leases::new(lease, Tick::default(), 10);
        leases.hear(&asking(1, None, None), start).unwrap();
        let grant = leases.grant(asking(1, None, None).follower, start, Some(own), rng);
        prop_assert!(grant.lease <= lease);
        if !grant.lease.is_zero() {
            prop_assert!(start + grant.lease + grant.lease / DRIFT < own);
            let mut confirmation = leases.confirm(1, start);
            let again = leases.settle(&mut confirmation, start).unwrap();
            prop_assert!(again >= start + waited(grant.lease) && again <= own.max(again));
            prop_assert!(again <= start + waited(grant.lease));
        }
    }

    /// However many come, a lease that runs is never forgotten, and those who are told "full" are told so only while
    /// that many others hold one or wait.
    #[test]
    fn no_running_lease_is_forgotten(
        acts in prop::collection::vec((0_u8..40, 0_u64..400, any::<bool>()), 1..200),
        followers_max in 1_usize..8,
    ) {
        let rng = &mut Draw::new(2).0;
        let length = Duration::from_millis(1000);
        let mut leases = Leases::new(length, Tick::default(), followers_max);
        let (mut now, mut held) = (ms(10_000), std::collections::HashMap::new());
        for (number, passed, answered) in acts {
            now = now + Duration::from_millis(passed);
            held.retain(|_, (_, until)| *until > now);
            let last = held.get(&number).map(|(answer, _)| *answer);
            match leases.hear(&asking(number, last, None), now) {
                Ok(_) if answered => {
                    let grant = leases.grant(asking(number, None, None).follower, now, None, rng);
                    prop_assert_eq!(grant.lease, length);
                    held.insert(number, (grant.answer, now + waited(length)));
                }
                Ok(_) | Err(_) => {}
            }
            let mut confirmation = leases.confirm(1, now);
            let one = leases.keeps_waiting(&confirmation, now);
            let again = leases.settle(&mut confirmation, now);
            prop_assert_eq!(one, again.filter(|_| confirmation.waiting() > 0));
            prop_assert!(again >= held.values().map(|(_, until)| *until).max());
            prop_assert!(confirmation.waiting() >= held.len());
            prop_assert!(leases.held(now) <= followers_max);
        }
    }

    /// A follower's idea of the server's clock is never behind it, follows it over a month although the two drift, and
    /// goes back by no more than drift explains, even if the server's clock was set back.
    #[test]
    fn the_servers_clock_is_followed_but_not_back(
        ppm in -900_i64..900,
        every_ms in 50_u64..2000,
        set_back_secs in 0_i64..7200,
    ) {
        let rng = &mut Draw::new(3).0;
        let mut follower = Follower::new(rng);
        let mut last: Option<(Tick, Time)> = None;
        let wall = |at_ms: u64, set_back: i64| {
            Time::from_millis(1_800_000_000_000 + i64::try_from(at_ms).unwrap() - set_back * 1000)
        };
        let tick = |at_ms: u64| {
            let ns = i64::try_from(at_ms * MS).unwrap();
            Tick::from_nanos(u64::try_from(ns + ns / 1_000_000 * ppm).unwrap())
        };
        // A month, in which few questions are really asked; and then the server's clock is set back.
        let month = 30 * 24 * 3_600_000_u64;
        let early = (0..100).map(|n| n * every_ms);
        let asked = early.chain((1..100).map(|n| month / 100 * n)).chain((0..50).map(|n| month + n * every_ms));
        for at in asked {
            let set_back = if at > month { set_back_secs } else { 0 };
            let question = follower.ask(tick(at), Vec::new(), rng);
            let server = wall(at, set_back);
            follower.hear(answer(question.question, server)).unwrap();
            let known = follower.server_time(tick(at)).unwrap();
            prop_assert!(known >= server);
            if set_back == 0 && at >= month / 100 {
                prop_assert!(known.since(server) <= Duration::from_millis(3), "{:?}", known.since(server));
            }
            if let Some((before, then)) = last {
                let passed = tick(at).since(before);
                let least = then + (passed - passed / (DRIFT / 2)) - Duration::from_millis(2);
                prop_assert!(known >= least, "{known:?} {least:?}");
            }
            last = Some((tick(at), known));
        }
    }
}

#[test]
fn what_no_server_says_changes_nothing() {
    let rng = &mut Draw::new(4).0;
    let now = Time::from_secs(1_800_000_000);
    let id = EntryId::from_bytes([9; 16]);
    let mut follower = Follower::new(rng);
    let spoils: [fn(&mut Answer); 4] = [
        |answer| answer.question = QuestionId::from_bytes([0; 16]),
        |answer| answer.lease_ms = 60_001,
        |answer| answer.entry_life_ms = 7 * 24 * 3_600_000 + 1,
        |answer| answer.ended = vec![EntryId::from_bytes([9; 16]); ENTRIES_MAX + 1],
    ];
    for (spoil, why) in spoils.iter().zip([
        Dropped::OtherQuestion,
        Dropped::OutOfBounds,
        Dropped::OutOfBounds,
        Dropped::OutOfBounds,
    ]) {
        let mut bad = answer(follower.ask(ms(1), Vec::new(), rng).question, now);
        bad.ended = vec![id];
        spoil(&mut bad);
        assert_eq!(follower.hear(bad), Err(why));
        assert_eq!(follower.standing(&[id], ms(1)), Standing::NoLease);
        assert_eq!(follower.server_time(ms(1)), None);
        assert_eq!(follower.ask(ms(1), Vec::new(), rng).cursor, None);
    }
}

#[test]
fn only_the_last_page_brings_a_lease_and_only_its_question_is_heard() {
    let rng = &mut Draw::new(5).0;
    let now = Time::from_secs(1_800_000_000);
    let (id, other) = (EntryId::from_bytes([9; 16]), EntryId::from_bytes([8; 16]));
    let mut follower = Follower::new(rng);
    let first = follower.ask(ms(1), Vec::new(), rng).question;
    let second = follower.ask(ms(2), Vec::new(), rng).question;
    assert_eq!(follower.hear(answer(first, now)), Err(Dropped::OtherQuestion));
    let page = Answer { more: true, ended: vec![id], ..answer(second, now) };
    assert_eq!(follower.hear(page.clone()), Ok(vec![id]));
    assert_eq!(follower.hear(page), Err(Dropped::OtherQuestion), "it came twice");
    assert_eq!(follower.standing(&[other], ms(3)), Standing::NoLease);
    assert_eq!(follower.standing(&[id], ms(3)), Standing::Ended, "that holds without a lease");
    let third = follower.ask(ms(10), Vec::new(), rng).question;
    follower.hear(answer(third, now)).unwrap();
    assert!(matches!(follower.standing(&[other], ms(1009)), Standing::Live(_)));
    assert_eq!(
        follower.standing(&[other], ms(1010)),
        Standing::NoLease,
        "counted from the question"
    );
}

#[test]
fn a_flood_keeps_out_only_those_who_hold_no_lease() {
    let rng = &mut Draw::new(6).0;
    let mut leases = Leases::new(Duration::from_millis(1000), Tick::default(), 3);
    for number in 0..3 {
        leases.hear(&asking(number, None, None), ms(5000)).unwrap();
    }
    let grant = leases.grant(asking(0, None, None).follower, ms(5000), None, rng);
    let flood = leases.hear(&asking(9, None, None), ms(5001));
    assert_eq!(flood, Err(NotHeard::Full), "places are looked for only now and then");
    let next = asking(0, Some(grant.answer), Some(4));
    leases.hear(&next, ms(5500)).unwrap();
    assert_eq!(leases.hear(&asking(9, None, None), ms(5600)), Ok(0), "two had been silent");
    let mut confirmation = leases.confirm(4, ms(5600));
    assert_eq!(leases.settle(&mut confirmation, ms(5600)), None);
    assert_eq!(confirmation.acknowledged, 1, "the one that holds a lease was kept");
}
