//! What things weigh: the memory of a process of its own before and after.

use std::{io::Write, net::IpAddr, process::Command, time::Duration};

use symbolon::{
    app::Os,
    live::{Live, LiveSessions},
};
use symbolon_core::{
    client::ClientId,
    follower::{Answer, ENTRIES_MAX, Follower},
    handle::{HandleKey, Unchecked},
    id::{AnswerId, EntryId, KeyId, LogId, SessionId, UserId},
    log::Cursor,
    revocation::Ended,
    secret::{SecretBytes, SecretText},
    session::{Assurance, Device, Lifetimes, Login, Method, Opening, Session, Version},
    time::{Tick, Time},
    user::{Epoch, User},
};

use crate::{
    harness::{Result, resident_bytes},
    table::{Row, Table},
};

const SESSIONS: usize = 100_000;
const ENTRIES: usize = 1_000_000;
const NOW: Time = Time::from_secs(1_800_000_000);

/// The figures of memory. That of a whole server comes with its start.
pub(crate) fn all(table: &mut Table) -> Result<()> {
    table.row(&Row {
        figure: "memory of a cached session",
        measured: format!("{:.0} bytes", per_thing("sessions")?),
        budget: "≤ 400 bytes",
        how: "the growth of a process that fills `LiveSessions` with 100 000 logins of as many users (user agent of 111 bytes, one role, a password hash), by those",
    })?;
    for (figure, what, how) in [
        (
            "memory of 1 M revocations in a follower",
            "follower",
            "the growth of a process whose `follower::Follower` hears answers with 1 000 000 random ids, 4096 each",
        ),
        (
            "memory of 1 M revocations in the set alone",
            "entries",
            "the growth of a process that adds 1 000 000 random ids to `revocation::Ended`",
        ),
    ] {
        let entry = per_thing(what)?;
        let measured = format!("{:.1} MB ({entry:.1} bytes each)", entry * ENTRIES as f64 / 1e6);
        table.row(&Row { figure, measured, budget: "≤ 24 MB", how })?;
    }
    Ok(())
}

fn per_thing(what: &str) -> Result<f64> {
    let output = Command::new(std::env::current_exe()?).args(["weigh", what]).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// The side of the process that grows: prints bytes per thing.
pub(crate) fn weigh(what: &str) -> Result<()> {
    let before = resident_bytes("self")?;
    let (grown, count) = match what {
        "sessions" => sessions()?,
        "follower" => follower()?,
        _ => entries()?,
    };
    let bytes = grown.saturating_sub(before) as f64 / count as f64;
    writeln!(std::io::stdout(), "{bytes}")?;
    Ok(())
}

fn sessions() -> Result<(u64, usize)> {
    let live = LiveSessions::new(SESSIONS, Duration::from_secs(300));
    let key = HandleKey::new(KeyId::from_bytes([1; 16]), &SecretBytes::random(&mut Os));
    let client: ClientId = "symbolon".parse()?;
    let mut ids = Vec::with_capacity(SESSIONS);
    for number in 0..SESSIONS {
        let (session, user) = a_login(number, &client, NOW)?;
        ids.push(session.id);
        keep(&live, session, user, &key)?;
    }
    let kept = ids.iter().filter(|id| live.get(**id, NOW).is_some()).count();
    Ok((resident_bytes("self")?.saturating_sub((ids.len() * size_of::<SessionId>()) as u64), kept))
}

/// Proves the cookie of a login and keeps what a server would keep of it.
fn keep(kept: &LiveSessions, session: Session, user: User, key: &HandleKey) -> Result<()> {
    let name = session.cookie_name().ok_or("no cookie")?;
    let cookie = Unchecked::read(key.mint(&name, &session.client, &session.salt).expose())?;
    let proven = cookie.check(key)?.prove(key, &session.client, &session.salt)?;
    let live = Live { session, user: Some(user) };
    kept.keep(&live, cookie, proven, key.id(), kept.mark(NOW));
    Ok(())
}

/// A login of a desktop browser, and its user.
pub(crate) fn a_login(number: usize, client: &ClientId, now: Time) -> Result<(Session, User)> {
    let user = User {
        id: UserId::random(&mut Os),
        version: Version::FIRST,
        name: format!("user{number}@example.com").parse()?,
        password: SecretText::new(
            "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned(),
        ),
        roles: ["editor".parse()?].into(),
        profile: symbolon_core::profile::Profile::default(),
        epoch: Epoch(1),
        disabled_at: None,
        added_at: now,
    };
    let login = Login {
        user: user.id,
        epoch: user.epoch,
        at: now,
        methods: vec![Method::Pwd],
        assurance: Assurance::Aal1,
        remembered: false,
    };
    let device = Device {
        label: "Chrome · Windows".into(),
        user_agent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/149.0.0.0 Safari/537.36".into(),
        address: IpAddr::from([203, 0, 113, 7]),
    };
    let opening = Opening { client: client.clone(), parent: None, device };
    let day = Duration::from_secs(86_400);
    let lifetimes = Lifetimes {
        visitor: day,
        idle: day,
        absolute: day,
        remembered_idle: day,
        remembered_absolute: day,
    };
    let mut session = Session::authenticated(opening, login, &lifetimes, now, &mut Os);
    session.give_cookie(KeyId::from_bytes([1; 16]));
    Ok((session, user))
}

fn entries() -> Result<(u64, usize)> {
    let mut ended = Ended::default();
    for _ in 0..ENTRIES {
        ended.insert(EntryId::random(&mut Os), NOW);
    }
    Ok((resident_bytes("self")?, ended.len()))
}

fn follower() -> Result<(u64, usize)> {
    let mut follower = Follower::new(&mut Os);
    while follower.len() < ENTRIES {
        let question = follower.ask(Tick::default(), Vec::new(), &mut Os);
        follower.hear(Answer {
            question: question.question,
            answer: AnswerId::random(&mut Os),
            node: None,
            cursor: Cursor::start(LogId::from_bytes([1; 16])),
            ended: (0..ENTRIES_MAX).map(|_| EntryId::random(&mut Os)).collect(),
            more: true,
            lease_ms: 0,
            now_ms: NOW,
            entry_life_ms: 420_000,
        })?;
    }
    Ok((resident_bytes("self")?, follower.len()))
}
