//! Limits, ends, sweeping, events.

use symbolon_core::{id::SessionId, time::Time};

use super::{Checked, Failed, IDLE, LIFE, Suite, delta, is, live, user, version};
use crate::store::{
    Applied, AtMost, BATCH_MAX, Loaded, Opened, Opening, Otherwise, Reason, TOMBSTONE, What,
};

/// Seconds of [`IDLE`] and [`LIFE`].
const IDLE_SECS: u64 = IDLE.as_secs();
const LIFE_SECS: u64 = LIFE.as_secs();

pub(super) async fn being_seen_moves_the_idle_limit_and_nothing_else(suite: &Suite) -> Checked {
    let id = suite.visitor(&[("a", "1")]).await?;
    let before = suite.all(id, suite.began).await?;
    let mut at = 0;
    while at + IDLE_SECS - 1 < LIFE_SECS {
        at += IDLE_SECS - 1;
        suite.store.touch(&[(id, suite.at(at))]).await?;
        let (record, values) = suite.all(id, suite.at(at)).await?;
        is(record.seen_at, suite.at(at))?;
        is((record.limits, record.version), (before.0.limits, version(1)))?;
        is(values, before.1.clone())?;
    }
    is(suite.load(id, suite.at(LIFE_SECS)).await?, Loaded::Gone(Reason::Expired))?;

    // A write is being seen, too; loading is not.
    let id = suite.visitor(&[]).await?;
    suite.store.apply(id, &delta(&[("a", "1")]), suite.at(500)).await?;
    suite.all(id, suite.at(500 + IDLE_SECS - 1)).await?;
    is(suite.load(id, suite.at(500 + IDLE_SECS)).await?, Loaded::Gone(Reason::Idle))
}

pub(super) async fn a_late_touch_moves_nothing(suite: &Suite) -> Checked {
    let id = suite.visitor(&[]).await?;
    let seen_at = async |now| Ok::<_, Failed>(suite.all(id, now).await?.0.seen_at);
    suite.store.touch(&[(id, suite.at(100))]).await?;
    suite.store.touch(&[(id, suite.at(50)), (super::id(), suite.at(60))]).await?;
    suite.store.touch(&[(id, suite.at(99))]).await?;
    is(seen_at(suite.at(100)).await?, suite.at(100))?;
    // A write by a clock that is behind does not move it back.
    is(
        suite.store.apply(id, &delta(&[("a", "1")]), suite.at(30)).await?,
        Applied::Done(version(1)),
    )?;
    is(seen_at(suite.at(100)).await?, suite.at(100))?;
    // Over a silence that has ended it, nothing is moved: neither by idling nor at its end.
    suite.store.touch(&[(id, suite.at(100 + IDLE_SECS))]).await?;
    suite.store.touch(&[(id, suite.at(LIFE_SECS))]).await?;
    is(seen_at(suite.at(100)).await?, suite.at(100))?;
    suite.store.touch(&[(id, suite.at(100 + IDLE_SECS - 1))]).await?;
    is(seen_at(suite.at(100)).await?, suite.at(100 + IDLE_SECS - 1))
}

/// Every verb that could bring a session back is tried, and none does.
async fn stays_gone(suite: &Suite, id: SessionId, reason: Reason, now: Time) -> Checked {
    let gone = Loaded::Gone(reason);
    is(suite.load(id, now).await?, gone.clone())?;
    is(suite.store.apply(id, &delta(&[("a", "1")]), now).await?, Applied::Gone(reason))?;
    is(suite.store.apply(id, &delta(&[]), now).await?, Applied::Gone(reason))?;
    suite.store.touch(&[(id, now + IDLE / 2)]).await?;
    let opening = suite.opening(None);
    is(suite.store.renew(id, &opening, now).await?, Opened::Gone(reason))?;
    is(suite.load(opening.id, now).await?, Loaded::Unknown)?;
    is(suite.store.end(id, Reason::Revoked, now).await?, false)?;
    is(suite.load(id, now).await?, gone)
}

pub(super) async fn what_ended_stays_ended(suite: &Suite) -> Checked {
    let (user, now) = (user(), suite.at(5));
    for reason in Reason::ALL {
        let opening = Opening { delta: delta(&[("a", "1")]), ..suite.opening(Some(&user)) };
        suite.open(&opening, now).await?;
        is(suite.store.end(opening.id, reason, now).await?, true)?;
        stays_gone(suite, opening.id, reason, now).await?;
        stays_gone(suite, opening.id, reason, suite.began).await?;
        is(suite.listed(&user, now).await?, vec![])?;
        is(suite.store.end_user(&user, None, Reason::Revoked, suite.began).await?, 0)?;
        is(suite.load(opening.id, now).await?, Loaded::Gone(reason))?;
    }
    Ok(())
}

pub(super) async fn what_ran_out_stays_ended_when_the_clock_goes_back(suite: &Suite) -> Checked {
    let silent = suite.at(IDLE_SECS);
    // Whoever notices it first.
    for first in 0..5 {
        let user = user();
        let opening = suite.opening(Some(&user));
        let id = suite.open(&opening, suite.began).await?.id;
        let gone = match first {
            0 => suite.load(id, silent).await? == Loaded::Gone(Reason::Idle),
            1 => {
                let applied = suite.store.apply(id, &delta(&[("a", "1")]), silent).await?;
                applied == Applied::Gone(Reason::Idle)
            }
            2 => {
                let opening = suite.opening(None);
                let renewed = suite.store.renew(id, &opening, silent).await?;
                renewed == Opened::Gone(Reason::Idle)
            }
            3 => !suite.store.end(id, Reason::Logout, silent).await?,
            _ => suite.store.end_user(&user, None, Reason::Revoked, silent).await? == 0,
        };
        is((first, gone), (first, true))?;
        stays_gone(suite, id, Reason::Idle, suite.began).await?;
        is(suite.listed(&user, suite.began).await?, vec![])?;
    }
    Ok(())
}

/// Sweeps until there is no more to do.
async fn sweep(suite: &Suite, most: usize, now: Time) -> Checked {
    for _ in 0..100_000 {
        if !suite.store.sweep(most, now).await? {
            return Ok(());
        }
    }
    Err(Failed("sweeping never ends".to_owned()))
}

pub(super) async fn a_sweep_ends_what_ran_out_and_forgets_what_ended(suite: &Suite) -> Checked {
    // Longer than anything that other cases have left.
    let now = suite.at(50_000);
    let (user, limits) =
        (user(), |secs| symbolon_core::session::Limits { idle: IDLE, ends_at: suite.at(secs) });
    let mut silent = Vec::new();
    for _ in 0..25 {
        let opening = Opening { limits: limits(60_000), ..suite.opening(Some(&user)) };
        silent.push(suite.open(&opening, now).await?.id);
    }
    let ended = Opening { limits: limits(60_000), ..suite.opening(Some(&user)) };
    suite.open(&ended, now).await?;
    suite.store.end(ended.id, Reason::Logout, now).await?;
    suite.drain().await?;

    let later = now + IDLE;
    let kept = Opening { limits: limits(60_000), ..suite.opening(Some(&user)) };
    suite.open(&kept, later).await?;
    sweep(suite, 10, later).await?;
    let told = suite.drain().await?;
    for id in &silent {
        let ends = told.iter().filter(|e| e.session == *id && e.what == What::Ended(Reason::Idle));
        is(ends.count(), 1)?;
        is(suite.load(*id, now).await?, Loaded::Gone(Reason::Idle))?;
    }
    is(suite.load(ended.id, now).await?, Loaded::Gone(Reason::Logout))?;
    is(suite.listed(&user, later).await?, vec![kept.id])?;

    // The reason may be forgotten; the session is not live.
    let much_later = later + TOMBSTONE;
    suite.store.touch(&[(kept.id, later + IDLE / 2)]).await?;
    suite.store.touch(&[(kept.id, later + IDLE)]).await?;
    suite.store.touch(&[(kept.id, later + IDLE + IDLE / 4)]).await?;
    sweep(suite, 10, much_later).await?;
    suite.all(kept.id, much_later).await?;
    for id in silent.into_iter().chain([ended.id]) {
        match suite.load(id, now).await? {
            Loaded::Live(..) => return Err(Failed("what was swept is live".to_owned())),
            Loaded::Gone(_) | Loaded::Unknown => {}
        }
    }
    suite.store.end(kept.id, Reason::Logout, much_later).await.map(drop).map_err(Into::into)
}

pub(super) async fn events_tell_everything_once_until_they_are_settled(suite: &Suite) -> Checked {
    suite.drain().await?;
    let (user, now) = (user(), suite.at(10));
    let visitor = suite.visitor(&[]).await?;
    let at_most =
        Some(AtMost { sessions: 1.try_into().map_err(failed)?, otherwise: Otherwise::EndOldest });
    let first = Opening { at_most, ..suite.opening(Some(&user)) };
    live(suite.store.renew(visitor, &first, now).await?)?;
    let second = Opening { at_most, ..suite.opening(Some(&user)) };
    suite.open(&second, now).await?;
    // None of these happened.
    let refuse = AtMost { sessions: 1.try_into().map_err(failed)?, otherwise: Otherwise::Refuse };
    let refused = Opening { at_most: Some(refuse), ..suite.opening(Some(&user)) };
    is(suite.store.create(&refused, now).await?, Opened::TooMany)?;
    is(suite.store.end(first.id, Reason::Logout, now).await?, false)?;
    suite.store.end_user(&user, None, Reason::Revoked, now).await?;
    let silent = suite.visitor(&[]).await?;
    let later = suite.at(IDLE_SECS);
    for _ in 0..2 {
        suite.load(silent, later).await?;
    }

    let all = [
        (visitor, None, suite.began, What::Created),
        (first.id, Some(&user), now, What::Renewed { from: visitor }),
        (first.id, Some(&user), now, What::Ended(Reason::TooMany)),
        (second.id, Some(&user), now, What::Created),
        (second.id, Some(&user), now, What::Ended(Reason::Revoked)),
        (silent, None, suite.began, What::Created),
        (silent, None, later, What::Ended(Reason::Idle)),
    ];
    let heard = suite.store.events(BATCH_MAX).await?;
    is(heard.len(), all.len())?;
    for session in [visitor, first.id, second.id, silent] {
        let heard = heard.iter().filter(|event| event.session == session);
        let heard = heard.map(|e| (e.session, e.user.as_deref(), e.at, e.what)).collect::<Vec<_>>();
        let told = all.iter().filter(|(own, ..)| *own == session);
        let told = told.map(|(s, u, at, what)| (*s, u.map(|u| &**u), *at, *what));
        is(heard, told.collect())?;
    }
    // What nobody settled comes again; what was settled does not.
    is(suite.store.events(BATCH_MAX).await?, heard.clone())?;
    is(suite.store.events(2).await?, heard[..2].to_vec())?;
    suite.store.settle(&[heard[1].id, heard[3].id]).await?;
    let left: Vec<_> = [0, 2, 4, 5, 6].map(|at| heard[at].clone()).into();
    is(suite.store.events(BATCH_MAX).await?, left)?;
    suite.store.settle(&heard.iter().map(|event| event.id).collect::<Vec<_>>()).await?;
    is(suite.store.events(BATCH_MAX).await?, vec![])?;
    Ok(())
}

fn failed(error: std::num::TryFromIntError) -> Failed {
    Failed(error.to_string())
}
