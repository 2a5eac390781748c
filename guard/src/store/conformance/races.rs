//! What parallel requests must not do to each other. Each case is one round; the suite runs
//! them as often as it was told, several at a time.

use std::{collections::BTreeSet, sync::Arc};

use symbolon_core::{id::SessionId, time::Time};

use super::{Checked, Failed, PARALLEL, Suite, below, delta, id, is, pairs, user, version};
use crate::store::{
    Applied, AtMost, Delta, Loaded, Opened, Opening, Otherwise, Part, Reason, Unavailable, What,
};

/// What became of an act beside others of another kind.
#[derive(Debug)]
enum Became {
    Ended(bool),
    Applied(Applied),
    Opened(Opened),
    Nothing,
}

type Acting = std::pin::Pin<Box<dyn Future<Output = Result<Became, Unavailable>> + Send>>;

fn ending(suite: &Suite, id: SessionId, now: Time) -> Acting {
    let store = Arc::clone(&suite.store);
    Box::pin(async move { store.end(id, Reason::Logout, now).await.map(Became::Ended) })
}

fn ending_all(suite: &Suite, user: &str, now: Time) -> Acting {
    let (store, user) = (Arc::clone(&suite.store), user.to_owned());
    Box::pin(async move {
        store.end_user(&user, None, Reason::Revoked, now).await?;
        Ok(Became::Nothing)
    })
}

fn applying(suite: &Suite, id: SessionId, delta: Delta, now: Time) -> Acting {
    let store = Arc::clone(&suite.store);
    Box::pin(async move { store.apply(id, &delta, now).await.map(Became::Applied) })
}

fn touching(suite: &Suite, id: SessionId, seen_at: Time) -> Acting {
    let store = Arc::clone(&suite.store);
    Box::pin(async move { store.touch(&[(id, seen_at)]).await.map(|()| Became::Nothing) })
}

fn loading(suite: &Suite, id: SessionId, now: Time) -> Acting {
    let store = Arc::clone(&suite.store);
    Box::pin(async move { store.load(id, Part::All, now).await.map(|_| Became::Nothing) })
}

fn renewing(suite: &Suite, old: SessionId, opening: Opening, now: Time) -> Acting {
    let store = Arc::clone(&suite.store);
    Box::pin(async move { store.renew(old, &opening, now).await.map(Became::Opened) })
}

fn creating(suite: &Suite, opening: Opening, now: Time) -> Acting {
    let store = Arc::clone(&suite.store);
    Box::pin(async move { store.create(&opening, now).await.map(Became::Opened) })
}

pub(super) async fn an_ended_session_is_not_brought_back(suite: &Suite) -> Checked {
    let now = suite.at(60);
    let user = user();
    let old = suite.open(&suite.opening(Some(&user)), suite.began).await?.id;
    // The requests have seen it alive; then it ends while they write.
    suite.all(old, now).await?;
    let renewed = suite.opening(Some(&user));
    let became = suite
        .at_once(vec![
            applying(suite, old, delta(&[("a", "1")]), now),
            touching(suite, old, now),
            ending(suite, old, now),
            renewing(suite, old, renewed.clone(), now),
            loading(suite, old, now),
        ])
        .await?;
    let ended = became.iter().any(|one| matches!(one, Became::Ended(true)));
    let moved = became.iter().any(|one| matches!(one, Became::Opened(Opened::Live(_))));
    // Either it was ended, or it had moved already. Never both, never neither.
    is((ended, moved), (ended, !ended))?;
    let reason = if ended { Reason::Logout } else { Reason::Renewed };
    suite.store.touch(&[(old, suite.at(61))]).await?;
    is(suite.store.apply(old, &delta(&[("a", "2")]), now).await?, Applied::Gone(reason))?;
    is(suite.load(old, now).await?, Loaded::Gone(reason))?;
    let left = if moved { vec![renewed.id] } else { vec![] };
    is(suite.listed(&user, now).await?, left)?;
    is(matches!(suite.load(renewed.id, now).await?, Loaded::Live(..)), moved)?;
    Ok(())
}

pub(super) async fn parallel_writes_lose_nothing(suite: &Suite) -> Checked {
    let keys: Vec<String> = (0..PARALLEL).map(|n| format!("key{n}")).collect();
    let id = suite.visitor(&[("a", "1")]).await?;
    let writes = keys.iter().map(|key| applying(suite, id, delta(&[(key, "1")]), suite.began));
    suite.at_once(writes.collect()).await?;
    let mut expected = pairs(&[("a", "1")]);
    expected.extend(keys.iter().map(|key| (key.clone(), "1".to_owned())));
    is(suite.data(id).await?, expected)?;
    is(suite.all(id, suite.began).await?.0.version, version(1 + PARALLEL as u64))?;
    Ok(())
}

pub(super) async fn one_of_many_writes_at_a_version_succeeds(suite: &Suite) -> Checked {
    let id = suite.visitor(&[]).await?;
    let values: Vec<String> = (0..PARALLEL).map(|n| n.to_string()).collect();
    let at_zero = |value: &str| delta(&[("a", value)]).only_at(version(0));
    let writes = values.iter().map(|value| applying(suite, id, at_zero(value), suite.began));
    let became = suite.at_once(writes.collect()).await?;
    let done = |one: &Became| matches!(one, Became::Applied(Applied::Done(_)));
    let winners: Vec<_> = (0..PARALLEL).filter(|n| done(&became[*n])).collect();
    is(winners.len(), 1)?;
    is(suite.data(id).await?, pairs(&[("a", &values[winners[0]])]))?;
    Ok(())
}

pub(super) async fn one_of_many_renewals_succeeds(suite: &Suite) -> Checked {
    let user = user();
    let old = suite.visitor(&[("cart", "tea")]).await?;
    let logins: Vec<Opening> = (0..PARALLEL)
        .map(|n| {
            let delta = delta(&[("by", &n.to_string())]);
            Opening { delta, ..suite.opening(Some(&user)) }
        })
        .collect();
    let acts = logins.iter().map(|login| renewing(suite, old, login.clone(), suite.began));
    let became = suite.at_once(acts.collect()).await?;
    let mut winner = None;
    for (n, one) in became.into_iter().enumerate() {
        match one {
            Became::Opened(Opened::Live(_)) if winner.is_none() => winner = Some(n),
            Became::Opened(Opened::Gone(Reason::Renewed)) => {
                is(suite.load(logins[n].id, suite.began).await?, Loaded::Unknown)?;
            }
            other => return Err(Failed(format!("{n} of {winner:?}: {other:?}"))),
        }
    }
    let winner = winner.ok_or_else(|| Failed("nobody renewed it".to_owned()))?;
    let expected = pairs(&[("by", &winner.to_string()), ("cart", "tea")]);
    is(suite.data(logins[winner].id).await?, expected)?;
    is(suite.listed(&user, suite.began).await?, vec![logins[winner].id])?;
    is(suite.load(old, suite.began).await?, Loaded::Gone(Reason::Renewed))?;
    Ok(())
}

pub(super) async fn one_of_many_with_the_same_id_is_opened(suite: &Suite) -> Checked {
    let (same, users) = (id(), [(); PARALLEL].map(|()| user()));
    let opening = |user: &String| Opening {
        id: same,
        delta: delta(&[("of", user)]),
        ..suite.opening(Some(user))
    };
    // Some arrive as renewals of other sessions.
    let mut acts = Vec::new();
    for (n, user) in users.iter().enumerate() {
        acts.push(if n % 2 == 0 {
            creating(suite, opening(user), suite.began)
        } else {
            let old = suite.visitor(&[]).await?;
            renewing(suite, old, opening(user), suite.began)
        });
    }
    let became = suite.at_once(acts).await?;
    let opened = |one: &Became| matches!(one, Became::Opened(Opened::Live(_)));
    let taken = |one: &Became| matches!(one, Became::Opened(Opened::Taken));
    is(became.iter().filter(|one| opened(one)).count(), 1)?;
    is(became.iter().filter(|one| taken(one)).count(), PARALLEL - 1)?;
    let (record, _) = suite.all(same, suite.began).await?;
    for (user, became) in users.iter().zip(&became) {
        let own = record.user.as_deref() == Some(user);
        is(own, opened(became))?;
        is(suite.listed(user, suite.began).await?.len(), usize::from(own))?;
    }
    is(suite.data(same).await?[0].1.as_str(), record.user.as_deref().unwrap_or_default())?;
    Ok(())
}

pub(super) async fn a_limit_holds_for_parallel_logins(suite: &Suite) -> Checked {
    let user = user();
    let (sessions, otherwise) = match below(4) {
        0 => (1, Otherwise::Refuse),
        1 => (3, Otherwise::Refuse),
        2 => (1, Otherwise::EndOldest),
        _ => (3, Otherwise::EndOldest),
    };
    let most = sessions.try_into().map_err(|_| Failed("not zero".to_owned()))?;
    let at_most = Some(AtMost { sessions: most, otherwise });
    let mut acts = Vec::new();
    for n in 0..PARALLEL {
        let login = Opening { at_most, ..suite.opening(Some(&user)) };
        acts.push(if n % 2 == 0 {
            creating(suite, login, suite.began)
        } else {
            renewing(suite, suite.visitor(&[]).await?, login, suite.began)
        });
    }
    let became = suite.at_once(acts).await?;
    let opened: Vec<_> = became
        .iter()
        .filter_map(|one| match one {
            Became::Opened(Opened::Live(record)) => Some(record.id),
            _ => None,
        })
        .collect();
    let most = usize::try_from(sessions).unwrap_or(0);
    let live: BTreeSet<_> = suite.listed(&user, suite.began).await?.into_iter().collect();
    is((otherwise, live.len()), (otherwise, most))?;
    match otherwise {
        Otherwise::Refuse => is(live, opened.into_iter().collect())?,
        Otherwise::EndOldest => {
            is(opened.len(), PARALLEL)?;
            for id in opened {
                let gone = suite.load(id, suite.began).await? == Loaded::Gone(Reason::TooMany);
                is(gone, !live.contains(&id))?;
            }
        }
    }
    Ok(())
}

pub(super) async fn late_touches_only_move_forward(suite: &Suite) -> Checked {
    let id = suite.visitor(&[]).await?;
    let times = [90, 30, 70, 50, 110, 10].map(|secs| suite.at(secs));
    let mut acts: Vec<_> = times.iter().map(|at| touching(suite, id, *at)).collect();
    acts.push(applying(suite, id, delta(&[("a", "1")]), suite.at(60)));
    suite.at_once(acts).await?;
    let (record, values) = suite.all(id, suite.at(110)).await?;
    is((record.seen_at, record.version), (suite.at(110), version(1)))?;
    is(values.get("a"), Some(&b"1"[..]))?;
    Ok(())
}

pub(super) async fn ending_all_leaves_no_login_behind(suite: &Suite) -> Checked {
    let user = user();
    let now = suite.at(5);
    let own = suite.open(&suite.opening(Some(&user)), suite.began).await?.id;
    let visitor = suite.visitor(&[]).await?;
    let renewed = suite.opening(Some(&user));
    let became = suite
        .at_once(vec![
            creating(suite, suite.opening(Some(&user)), now),
            ending_all(suite, &user, now),
            renewing(suite, visitor, suite.opening(Some(&user)), now),
            renewing(suite, own, renewed.clone(), now),
            creating(suite, suite.opening(Some(&user)), now),
        ])
        .await?;
    // Whatever was opened was opened before the end, and ended with it.
    is(suite.listed(&user, now).await?, vec![])?;
    for one in became {
        if let Became::Opened(Opened::Live(record)) = one {
            is(suite.load(record.id, now).await?, Loaded::Gone(Reason::Revoked))?;
        }
    }
    let after = Opening { began_at: now, ..suite.opening(Some(&user)) };
    suite.open(&after, now).await?;
    Ok(())
}

pub(super) async fn a_write_beside_a_renewal_is_kept_or_refused(suite: &Suite) -> Checked {
    let old = suite.visitor(&[("cart", "tea")]).await?;
    let new = Opening { delta: delta(&[("name", "u")]), ..suite.opening(None) };
    let became = suite
        .at_once(vec![
            renewing(suite, old, new.clone(), suite.began),
            applying(suite, old, delta(&[("a", "1")]), suite.began),
            applying(suite, old, delta(&[("b", "2")]), suite.began),
        ])
        .await?;
    let written = |one: &Became| matches!(one, Became::Applied(Applied::Done(_)));
    let mut expected = vec![];
    expected.extend(written(&became[1]).then_some(("a", "1")));
    expected.extend(written(&became[2]).then_some(("b", "2")));
    expected.extend([("cart", "tea"), ("name", "u")]);
    is(suite.data(new.id).await?, pairs(&expected))?;
    let versions = 2 + u64::from(written(&became[1])) + u64::from(written(&became[2]));
    is(suite.all(new.id, suite.began).await?.0.version, version(versions))?;
    Ok(())
}

pub(super) async fn an_end_is_told_once(suite: &Suite) -> Checked {
    let user = user();
    let id = suite.open(&suite.opening(Some(&user)), suite.began).await?.id;
    let now = suite.at(1);
    let silent = suite.began + super::IDLE;
    let became = suite
        .at_once(vec![
            ending(suite, id, now),
            ending_all(suite, &user, now),
            ending(suite, id, now),
            loading(suite, id, silent),
        ])
        .await?;
    let ended = became.iter().filter(|one| matches!(one, Became::Ended(true))).count();
    let told = suite.told_of(id).await?;
    let ended_as = |what: &What| match what {
        What::Ended(reason) => Some(*reason),
        _ => None,
    };
    let reasons: Vec<_> = told.iter().filter_map(ended_as).collect();
    is(reasons.len(), 1)?;
    is(ended, usize::from(reasons[0] == Reason::Logout))?;
    is(suite.load(id, now).await?, Loaded::Gone(reasons[0]))?;
    Ok(())
}
