//! Decisions about requests, and the issuing of tokens.

use symbolon_core::{follower::Standing, id::SessionId, time::Time};

use crate::{
    draw::span,
    facts::{Accepted, By},
    fault::Fault,
    held::Held,
    stage::{Do, FATE, Pid, Stage, Token},
};

/// What became of a token.
pub(crate) enum Decided {
    Done,
    /// It has no lease: the server must be asked.
    Ask(Token),
}

/// A request with some token, often one of a session that was ended.
pub(crate) fn token(held: &Held, stage: &mut Stage) -> Decided {
    let Some(token) = some_token(stage) else { return Decided::Done };
    let ids = [token.sid.entry(), token.key.entry()];
    match held.standing(&ids, stage) {
        Standing::Live(time) if fits(&token, time, stage) => {
            accept(held, token.sid, Some(token.expires), By::Lease, stage.now, stage);
        }
        Standing::NoLease => return Decided::Ask(token),
        Standing::Live(_) | Standing::Ended => stage.facts.seen.refused += 1,
    }
    Decided::Done
}

pub(crate) fn accept(
    held: &Held,
    sid: SessionId,
    expires: Option<Time>,
    by: By,
    began: u64,
    stage: &mut Stage,
) {
    let known = held.knew(&[sid.entry()]);
    let accepted = Accepted { sid, began, by, expires, known };
    stage.facts.accepted(&accepted, &stage.plan, stage.now);
}

pub(crate) fn some_token(stage: &mut Stage) -> Option<Token> {
    let tokens = stage.tokens.len();
    if tokens == 0 {
        return None;
    }
    let mut tries = (0..4).map(|_| stage.rng.index(tokens)).collect::<Vec<_>>().into_iter();
    let first = tries.next()?;
    let ended = tries.find(|at| stage.facts.is_ended(stage.tokens[*at].sid));
    Some(stage.tokens[ended.unwrap_or(first)])
}

pub(crate) fn fits(token: &Token, time: Time, stage: &Stage) -> bool {
    let leeway = span(stage.plan.leeway);
    time < token.expires + leeway
        && token.issued <= time + leeway
        && token.expires.since(token.issued) <= span(stage.plan.token_life)
}

/// A server makes a token: it reads the clock, has the session proven alive, and signs.
pub(crate) fn issue(minter: Pid, event: &Do, stage: &mut Stage) {
    match *event {
        Do::Mint => {
            let sessions = stage.facts.all();
            if sessions.is_empty() {
                return;
            }
            let (sid, _) = sessions[stage.rng.index(sessions.len())];
            let starts = stage.hosts[minter].starts;
            let (from, started) = (stage.wall(minter), stage.tick(minter));
            let after = stage.rng.between(0, stage.plan.delay);
            stage.at(stage.now + after, FATE, Do::Prove { minter, starts, sid, from, started });
        }
        Do::Sign { sid, from, started, proven, key } => {
            let age = stage.tick(minter).since(started);
            let (issued, too_old) = match stage.plan.fault {
                Some(Fault::PauseBeforeSignature) => (stage.wall(minter), false),
                _ => (from, age > span(stage.plan.leases[0])),
            };
            if !too_old {
                let expires = issued + span(stage.plan.token_life);
                stage.facts.issued(sid, proven, stage.now);
                stage.tokens.push(Token { sid, key, issued, expires });
            }
        }
        _ => {}
    }
}
