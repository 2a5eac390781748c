//! The sessions of a user: their list, their end, their limit.

use super::{Checked, Failed, IDLE, LIFE, Suite, is, live, user};
use crate::store::{AtMost, LIST_MAX, Loaded, Opened, Opening, Otherwise, Reason};

pub(super) async fn the_sessions_of_a_user_are_listed(suite: &Suite) -> Checked {
    let (base, now) = (user(), suite.at(300));
    // Names that a careless key or pattern takes for one another.
    let names = ["", "a", "ab", "a:b", "a%", "a_", "a*", "A", "a ", "a\0"];
    let names = names.map(|end| format!("{base}{end}"));
    let mut ids = Vec::new();
    for name in &names {
        ids.push(suite.open(&suite.opening(Some(name)), suite.began).await?.id);
    }
    for (name, id) in names.iter().zip(&ids) {
        is(suite.listed(name, now).await?, vec![*id])?;
    }
    is(suite.store.end_user(&names[4], None, Reason::Revoked, now).await?, 1)?;
    for (at, name) in names.iter().enumerate() {
        is(suite.listed(name, now).await?.len(), usize::from(at != 4))?;
    }

    // Those opened last first, and what has run out is not among them.
    let user = user();
    let mut expected = Vec::new();
    for secs in [3, 1, 2] {
        let opening = Opening { opened_at: suite.at(secs), ..suite.opening(Some(&user)) };
        let record = suite.open(&opening, suite.at(10 * secs)).await?;
        expected.push(record);
    }
    expected.sort_by_key(|record| std::cmp::Reverse(record.opened_at));
    is(suite.store.list(&user, now).await?, expected.clone())?;
    expected.retain(|record| record.opened_at != suite.at(1));
    is(suite.store.list(&user, suite.at(10) + IDLE).await?, expected)?;
    is(suite.store.list(&user, suite.began + LIFE).await?, vec![])
}

pub(super) async fn all_of_a_user_end_but_one(suite: &Suite) -> Checked {
    let (user, other, now) = (user(), user(), suite.at(1));
    let mut ids = Vec::new();
    for secs in 0..LIST_MAX as u64 + 20 {
        let opening = Opening { opened_at: suite.at(secs), ..suite.opening(Some(&user)) };
        ids.push(suite.open(&opening, suite.began).await?.id);
    }
    let theirs = suite.open(&suite.opening(Some(&other)), suite.began).await?;
    // A list is bounded, an end is not.
    let newest: Vec<_> = ids.iter().rev().take(LIST_MAX).copied().collect();
    is(suite.listed(&user, now).await?, newest)?;
    let all = ids.len() as u64;
    is(suite.store.end_user(&user, Some(ids[7]), Reason::Revoked, now).await?, all - 1)?;
    is(suite.listed(&user, now).await?, vec![ids[7]])?;
    is(suite.load(ids[8], now).await?, Loaded::Gone(Reason::Revoked))?;
    // Another's session is not spared by naming it.
    is(suite.store.end_user(&user, Some(theirs.id), Reason::Logout, now).await?, 1)?;
    is(suite.load(ids[7], now).await?, Loaded::Gone(Reason::Logout))?;
    is(suite.listed(&other, now).await?, vec![theirs.id])?;
    is(suite.store.end_user(&user, None, Reason::Revoked, now).await?, 0)
}

pub(super) async fn a_login_that_began_before_the_end_of_all_opens_nothing(
    suite: &Suite,
) -> Checked {
    let (user, now) = (user(), suite.at(20));
    let kept = suite.open(&suite.opening(Some(&user)), suite.began).await?.id;
    let visitor = suite.visitor(&[]).await?;
    // There need not be a session to end.
    suite.store.end_user(&user, Some(kept), Reason::Revoked, suite.at(10)).await?;
    suite.store.end_user(&user, Some(kept), Reason::Revoked, suite.at(9)).await?;
    let login = |secs| Opening { began_at: suite.at(secs), ..suite.opening(Some(&user)) };
    let (before, after) = (login(9), login(10));
    is(suite.store.create(&before, now).await?, Opened::Stale)?;
    is(suite.store.renew(visitor, &before, now).await?, Opened::Stale)?;
    is(suite.load(before.id, now).await?, Loaded::Unknown)?;
    suite.all(visitor, now).await?;
    // Who was spared may renew: nothing new is claimed.
    live(suite.store.renew(kept, &before, now).await?)?;
    live(suite.store.renew(visitor, &after, now).await?)?;
    suite.open(&login(11), now).await?;
    is(suite.listed(&user, now).await?.len(), 3)?;
    // Nobody else is concerned.
    let other = Opening { user: Some(self::user().into()), ..login(1) };
    suite.open(&other, now).await.map(drop)
}

pub(super) async fn the_limit_of_sessions_counts_what_is_live(suite: &Suite) -> Checked {
    for otherwise in [Otherwise::Refuse, Otherwise::EndOldest] {
        let user = user();
        let sessions = 2.try_into().map_err(|_| Failed("two is not zero".to_owned()))?;
        let at_most = Some(AtMost { sessions, otherwise });
        let login =
            |secs| Opening { opened_at: suite.at(secs), at_most, ..suite.opening(Some(&user)) };
        let now = suite.at(10);
        let [first, second, third] = [1, 2, 3].map(login);
        suite.open(&first, now).await?;
        suite.open(&second, now).await?;
        let opened = suite.store.create(&third, now).await?;
        let (refused, live_now) = match otherwise {
            Otherwise::Refuse => (true, [second.id, first.id]),
            Otherwise::EndOldest => (false, [third.id, second.id]),
        };
        is(opened == Opened::TooMany, refused)?;
        is(suite.listed(&user, now).await?, live_now.to_vec())?;
        let gone = if refused { Loaded::Unknown } else { Loaded::Gone(Reason::TooMany) };
        is(suite.load(if refused { third.id } else { first.id }, now).await?, gone)?;

        // A session that is renewed does not count beside itself, and a visitor's does not at all.
        let visitor = suite.visitor(&[]).await?;
        let again = login(4);
        live(suite.store.renew(live_now[0], &again, now).await?)?;
        is(suite.listed(&user, now).await?, vec![again.id, live_now[1]])?;
        if refused {
            is(suite.store.renew(visitor, &login(5), now).await?, Opened::TooMany)?;
            suite.all(visitor, now).await?;
        }
        // What has ended or run out does not count.
        suite.store.end(again.id, Reason::Logout, now).await?;
        suite.open(&login(5), now).await?;
        let later = now + IDLE;
        let (five, six) = (login(6), login(7));
        suite.open(&five, later).await?;
        suite.open(&six, later).await?;
        is(suite.listed(&user, later).await?, vec![six.id, five.id])?;
        // Where no limit is asked for there is none; a lower one ends several.
        for secs in 20..25 {
            suite.open(&Opening { at_most: None, ..login(secs) }, later).await?;
        }
        let last = login(30);
        let opened = suite.store.create(&last, later).await?;
        is(opened == Opened::TooMany, refused)?;
        is(suite.listed(&user, later).await?.len(), if refused { 7 } else { 2 })?;
    }
    Ok(())
}
