//! What each verb does when nobody else is about.

use std::time::Duration;

use symbolon_core::session::Limits;

use super::{Checked, Failed, LIFE, Suite, delta, id, is, live, pairs, user, version};
use crate::store::{Applied, Loaded, Opened, Opening, Part, Reason, Record, What};

pub(super) async fn what_was_opened_is_there_whole(suite: &Suite) -> Checked {
    let now = suite.at(7);
    let bytes = (0..=255).collect::<Vec<u8>>();
    let mut delta = delta(&[("a", ""), ("키 \"'%_:{}\0\\", "1"), ("A", "2")]);
    let _ = delta.set("bytes", bytes.clone());
    let opening = Opening {
        user: Some(format!("사용자 \"'%_:{{}}\\ {}", id()).into()),
        label: Some("Firefox on Linux, 집".into()),
        remembered: true,
        opened_at: suite.at(3),
        limits: Limits { idle: Duration::from_millis(1_234_567), ends_at: suite.at(9_000_001) },
        delta,
        ..suite.opening(None)
    };
    let record = suite.open(&opening, now).await?;
    is(record.clone(), opening.record(version(0), now))?;
    is(record.version, version(1))?;
    is(suite.load(opening.id, now).await?, Loaded::Live(record.clone(), None))?;
    let (again, values) = suite.all(opening.id, now).await?;
    is(again, record)?;
    is(values.get("bytes"), Some(&bytes[..]))?;
    let keys: Vec<_> = values.iter().map(|(key, _)| key).collect();
    is(keys, vec!["A", "a", "bytes", "키 \"'%_:{}\0\\"])?;

    let empty = suite.opening(None);
    is(suite.open(&empty, now).await?.version, version(0))?;
    let (record, values) = suite.all(empty.id, now).await?;
    is((record.user, record.label, values.bytes()), (None, None, 0))
}

pub(super) async fn an_id_is_used_once(suite: &Suite) -> Checked {
    let now = suite.began;
    let first = Opening { delta: delta(&[("a", "1")]), ..suite.opening(None) };
    suite.open(&first, now).await?;
    let user = user();
    let second =
        Opening { id: first.id, delta: delta(&[("a", "2")]), ..suite.opening(Some(&user)) };
    is(suite.store.create(&second, now).await?, Opened::Taken)?;
    let other = suite.visitor(&[]).await?;
    is(suite.store.renew(other, &second, now).await?, Opened::Taken)?;
    is(suite.store.renew(first.id, &second, now).await?, Opened::Taken)?;
    is(suite.data(first.id).await?, pairs(&[("a", "1")]))?;
    suite.all(other, now).await?;

    suite.store.end(first.id, Reason::Logout, now).await?;
    is(suite.store.create(&second, now).await?, Opened::Taken)?;
    is(suite.store.renew(other, &second, now).await?, Opened::Taken)?;
    is(suite.load(first.id, now).await?, Loaded::Gone(Reason::Logout))?;
    is(suite.listed(&user, now).await?, vec![])
}

pub(super) async fn what_nobody_has_heard_of_is_not_made_by_writing(suite: &Suite) -> Checked {
    let (unknown, now, user) = (id(), suite.began, user());
    let opening = suite.opening(Some(&user));
    is(suite.load(unknown, now).await?, Loaded::Unknown)?;
    is(suite.store.apply(unknown, &delta(&[("a", "1")]), now).await?, Applied::Unknown)?;
    let at_zero = delta(&[("a", "1")]).only_at(version(0));
    is(suite.store.apply(unknown, &at_zero, now).await?, Applied::Unknown)?;
    suite.store.touch(&[(unknown, suite.at(1))]).await?;
    suite.store.touch(&[]).await?;
    is(suite.store.renew(unknown, &opening, now).await?, Opened::Unknown)?;
    is(suite.store.end(unknown, Reason::Logout, now).await?, false)?;
    is(suite.store.end_user(&user, Some(unknown), Reason::Revoked, now).await?, 0)?;
    is(suite.load(unknown, now).await?, Loaded::Unknown)?;
    is(suite.load(opening.id, now).await?, Loaded::Unknown)?;
    is(suite.listed(&user, now).await?, vec![])
}

pub(super) async fn changes_merge_key_by_key(suite: &Suite) -> Checked {
    let (id, now) = (suite.visitor(&[("a", "1"), ("b", "2")]).await?, suite.at(1));
    let mut change = delta(&[("c", "3"), ("a", "4")]);
    let _ = change.remove("b");
    let _ = change.remove("nothing");
    is(suite.store.apply(id, &change, now).await?, Applied::Done(version(2)))?;
    is(suite.data(id).await?, pairs(&[("a", "4"), ("c", "3")]))?;
    let (record, _) = suite.all(id, now).await?;
    is((record.version, record.seen_at), (version(2), now))?;

    // Nothing is no write.
    is(suite.store.apply(id, &delta(&[]), suite.at(2)).await?, Applied::Done(version(2)))?;
    // Removing the last key leaves a session without data, and one of before does not come back.
    let mut change = delta(&[]);
    let _ = change.remove("a");
    let _ = change.remove("c");
    is(suite.store.apply(id, &change, now).await?, Applied::Done(version(3)))?;
    is(suite.data(id).await?, vec![])?;
    is(suite.store.apply(id, &delta(&[("a", "5")]), now).await?, Applied::Done(version(4)))?;
    is(suite.data(id).await?, pairs(&[("a", "5")]))
}

pub(super) async fn a_write_at_another_version_is_none(suite: &Suite) -> Checked {
    let (id, now) = (suite.visitor(&[]).await?, suite.began);
    let at = |number, value| delta(&[("a", value)]).only_at(version(number));
    is(suite.store.apply(id, &at(1, "x"), now).await?, Applied::Conflict(version(0)))?;
    is(suite.store.apply(id, &at(0, "1"), now).await?, Applied::Done(version(1)))?;
    is(suite.store.apply(id, &at(0, "x"), now).await?, Applied::Conflict(version(1)))?;
    is(suite.store.apply(id, &at(1, "2"), now).await?, Applied::Done(version(2)))?;
    let nothing = delta(&[]).only_at(version(1));
    is(suite.store.apply(id, &nothing, now).await?, Applied::Conflict(version(2)))?;
    is(suite.data(id).await?, pairs(&[("a", "2")]))
}

pub(super) async fn what_is_too_large_changes_nothing(suite: &Suite) -> Checked {
    let (id, now) = (suite.visitor(&[("a", "1")]).await?, suite.began);
    let sized = |bytes: usize, bytes_max| {
        let value = "v".repeat(bytes);
        let mut delta = delta(&[("b", &value)]);
        delta.bytes_max = bytes_max;
        delta
    };
    // One entry has 7 bytes, and the other 6 and its value.
    is(suite.store.apply(id, &sized(88, 100), now).await?, Applied::TooLarge)?;
    is(suite.data(id).await?, pairs(&[("a", "1")]))?;
    is(suite.all(id, now).await?.0.version, version(1))?;
    is(suite.store.apply(id, &sized(87, 100), now).await?, Applied::Done(version(2)))?;
    // Where a lower limit has made it too large, it can be made smaller.
    is(suite.store.apply(id, &sized(80, 50), now).await?, Applied::Done(version(3)))?;
    is(suite.store.apply(id, &sized(81, 50), now).await?, Applied::TooLarge)?;

    let user = user();
    let large = Opening { delta: sized(95, 100), ..suite.opening(Some(&user)) };
    is(suite.store.create(&large, now).await?, Opened::TooLarge)?;
    is(suite.load(large.id, now).await?, Loaded::Unknown)?;
    is(suite.listed(&user, now).await?, vec![])?;
    let small = Opening { delta: sized(94, 100), ..large };
    suite.open(&small, now).await.map(drop)
}

pub(super) async fn a_renewed_session_takes_everything_along(suite: &Suite) -> Checked {
    let (user, now) = (user(), suite.at(5));
    let old = suite.visitor(&[("cart", "tea"), ("seen", "1")]).await?;
    let mut change = delta(&[("name", "u")]);
    let _ = change.remove("seen");
    let login = Opening { delta: change, opened_at: now, ..suite.opening(Some(&user)) };
    let record = live(suite.store.renew(old, &login, now).await?)?;
    is(record.clone(), login.record(version(1), now))?;
    is(suite.load(old, now).await?, Loaded::Gone(Reason::Renewed))?;
    is(suite.all(login.id, now).await?.0, record)?;
    is(suite.data(login.id).await?, pairs(&[("cart", "tea"), ("name", "u")]))?;
    is(suite.listed(&user, now).await?, vec![login.id])?;

    // Without a change of the data the version stays.
    let next = suite.opening(Some(&user));
    is(live(suite.store.renew(login.id, &next, now).await?)?.version, version(2))?;
    is(suite.listed(&user, now).await?, vec![next.id])?;
    is(suite.data(next.id).await?, pairs(&[("cart", "tea"), ("name", "u")]))?;
    let again = suite.opening(None);
    is(suite.store.renew(old, &again, now).await?, Opened::Gone(Reason::Renewed))?;
    is(suite.load(again.id, now).await?, Loaded::Unknown)
}

pub(super) async fn what_is_another_users_stays_behind(suite: &Suite) -> Checked {
    let now = suite.at(5);
    let users = [user(), user()];
    let own = Opening { delta: delta(&[("cart", "tea")]), ..suite.opening(Some(&users[0])) };
    suite.open(&own, suite.began).await?;
    suite.drain().await?;
    // Another user, and then nobody.
    let other = Opening { delta: delta(&[("a", "1")]), ..suite.opening(Some(&users[1])) };
    let record = live(suite.store.renew(own.id, &other, now).await?)?;
    is(record, other.record(version(0), now))?;
    let nobody = suite.opening(None);
    is(live(suite.store.renew(other.id, &nobody, now).await?)?.version, version(0))?;
    for (id, user) in [(own.id, &users[0]), (other.id, &users[1])] {
        is(suite.load(id, now).await?, Loaded::Gone(Reason::Logout))?;
        is(suite.listed(user, now).await?, vec![])?;
    }
    is(suite.data(nobody.id).await?, vec![])?;
    let told: Vec<_> =
        suite.drain().await?.iter().map(|event| (event.session, event.what)).collect();
    let logout = What::Ended(Reason::Logout);
    let expected = [
        (own.id, logout),
        (other.id, What::Created),
        (other.id, logout),
        (nobody.id, What::Created),
    ];
    is(told, expected.to_vec())?;
    // Who may not log in leaves the other where they were.
    let stays = Opening { delta: delta(&[("a", "1")]), ..suite.opening(Some(&users[0])) };
    suite.open(&stays, now).await?;
    let large = "v".repeat(super::BYTES_MAX);
    let refused = Opening { delta: delta(&[("b", &large)]), ..suite.opening(Some(&users[1])) };
    is(suite.store.renew(stays.id, &refused, now).await?, Opened::TooLarge)?;
    is(suite.data(stays.id).await?, pairs(&[("a", "1")]))
}

pub(super) async fn a_refused_renewal_leaves_the_old_one(suite: &Suite) -> Checked {
    let (user, now) = (user(), suite.began);
    let old = Opening { delta: delta(&[("a", "1")]), ..suite.opening(Some(&user)) };
    let before: Record = suite.open(&old, now).await?;
    let large = "v".repeat(super::BYTES_MAX);
    let too_large = Opening { delta: delta(&[("b", &large)]), ..suite.opening(Some(&user)) };
    is(suite.store.renew(old.id, &too_large, now).await?, Opened::TooLarge)?;
    is(suite.load(too_large.id, now).await?, Loaded::Unknown)?;
    is(suite.store.load(old.id, Part::Record, now).await?, Loaded::Live(before, None))?;
    is(suite.data(old.id).await?, pairs(&[("a", "1")]))?;
    is(suite.listed(&user, now).await?, vec![old.id])?;
    // One that has run out is not renewed.
    let late = suite.began + LIFE;
    let new = suite.opening(Some(&user));
    is(suite.store.renew(old.id, &new, late).await?, Opened::Gone(Reason::Expired))?;
    match suite.load(new.id, now).await? {
        Loaded::Unknown => Ok(()),
        other => Err(Failed(format!("nothing was renewed: {other:?}"))),
    }
}
