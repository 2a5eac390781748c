//! What rests in Redis and what the scripts are told, as bytes. All numbers but those of data entries are big endian.
//!
//! ```text
//! session:   flags 1 │ seen 6 │ ends 6 │ idle 5 │ opened 6 │ version 6 │ user bytes 2 │ label bytes 1 │ user │ label │ data
//! tombstone: 0 │ reason 1
//! event:     session 16 │ at 6 │ c, or r and the earlier id 16, or e and the reason 1 │ u and the user, if there is one
//! ```
//!
//! Every byte counts: a small session just fits into 96 bytes, which is a size that servers give out.

use std::{sync::Arc, time::Duration};

use symbolon_core::{data::DataVersion, id::SessionId, session::Limits, time::Time};

use super::super::{
    Delta, Event, EventId, LABEL_BYTES_MAX, Reason, Record, USER_BYTES_MAX, Unreadable, Values,
    What,
};

/// The longest head, user and label.
pub(super) const RECORD_BYTES_MAX: usize = HEAD_BYTES + USER_BYTES_MAX + LABEL_BYTES_MAX;

const HEAD_BYTES: usize = 33;
const LIVE: u8 = 1;
const ENDED: u8 = 0;
const REMEMBERED: u8 = 2;
const HAS_USER: u8 = 4;
const HAS_LABEL: u8 = 8;
/// What six bytes hold: milliseconds until the year 10889.
const NUMBER_MAX: u64 = (1 << 48) - 1;
/// What five bytes hold: milliseconds of 34 years.
const IDLE_MAX_MS: u64 = (1 << 40) - 1;
/// Instead of the length of a value that goes.
const REMOVED: [u8; 4] = [0xff; 4];

/// What rests under an id.
pub(super) enum Resting<'a> {
    Live(Record, &'a [u8]),
    Ended(Reason),
}

/// A reason as one byte.
pub(super) fn code(reason: Reason) -> u8 {
    match reason {
        Reason::Logout => 1,
        Reason::Revoked => 2,
        Reason::TooMany => 3,
        Reason::Renewed => 4,
        Reason::Idle => 5,
        Reason::Expired => 6,
        Reason::Unreadable => 7,
    }
}

/// The reason of this byte. One that a later version has written is none that we can read.
pub(super) fn reason(byte: u64) -> Reason {
    let known = |reason: &Reason| u64::from(code(*reason)) == byte;
    Reason::ALL.into_iter().find(known).unwrap_or(Reason::Unreadable)
}

/// A record without data; `None` if its user or label is too long.
pub(super) fn encode(record: &Record) -> Option<Vec<u8>> {
    let (user, label) = (record.user.as_deref(), record.label.as_deref());
    let flags = [
        (true, LIVE),
        (record.remembered, REMEMBERED),
        (user.is_some(), HAS_USER),
        (label.is_some(), HAS_LABEL),
    ];
    let (user, label) = (user.unwrap_or_default(), label.unwrap_or_default());
    if user.len() > USER_BYTES_MAX || label.len() > LABEL_BYTES_MAX {
        return None;
    }
    let mut bytes = Vec::with_capacity(HEAD_BYTES + user.len() + label.len());
    bytes.push(flags.iter().filter(|(is, _)| *is).map(|(_, bit)| bit).sum());
    bytes.extend(time(record.seen_at));
    bytes.extend(time(record.limits.ends_at));
    bytes.extend(&number(idle_ms(record))[1..]);
    bytes.extend(time(record.opened_at));
    bytes.extend(number(record.version.0));
    bytes.extend(u16::try_from(user.len()).ok()?.to_be_bytes());
    bytes.push(u8::try_from(label.len()).ok()?);
    bytes.extend(user.as_bytes());
    bytes.extend(label.as_bytes());
    Some(bytes)
}

/// The record as it rests: with times that six bytes hold.
pub(super) fn rounded(record: Record) -> Record {
    let time = |at| Time::from_millis(i64::try_from(read(&time(at))).unwrap_or(0));
    let idle = Duration::from_millis(idle_ms(&record));
    Record {
        opened_at: time(record.opened_at),
        seen_at: time(record.seen_at),
        limits: Limits { ends_at: time(record.limits.ends_at), idle },
        ..record
    }
}

/// Reads what rests under an id. What follows the record is its data, or the beginning of it.
pub(super) fn decode(id: SessionId, bytes: &[u8]) -> Result<Resting<'_>, Unreadable> {
    if let &[ENDED, byte] = bytes {
        return Ok(Resting::Ended(reason(byte.into())));
    }
    let Some((head, rest)) = bytes.split_at_checked(HEAD_BYTES) else { return Err(Unreadable) };
    let flags = head[0];
    if flags & !(REMEMBERED | HAS_USER | HAS_LABEL) != LIVE {
        return Err(Unreadable);
    }
    let at = |from| Time::from_millis(i64::try_from(read(&head[from..from + 6])).unwrap_or(0));
    let [.., user_high, user_low, label_bytes] = *head else { return Err(Unreadable) };
    let user_bytes = u16::from_be_bytes([user_high, user_low]);
    let (user, rest) = text(rest, user_bytes.into(), flags & HAS_USER != 0)?;
    let (label, data) = text(rest, label_bytes.into(), flags & HAS_LABEL != 0)?;
    let record = Record {
        id,
        user,
        label,
        remembered: flags & REMEMBERED != 0,
        seen_at: at(1),
        opened_at: at(18),
        limits: Limits { ends_at: at(7), idle: Duration::from_millis(read(&head[13..18])) },
        version: DataVersion(read(&head[24..30])),
    };
    Ok(Resting::Live(record, data))
}

/// Reads data, whose entries rest in any order.
pub(super) fn values(data: &[u8]) -> Result<Values, Unreadable> {
    if let Ok(values) = Values::from_bytes(data.to_vec()) {
        return Ok(values);
    }
    let (mut all, mut rest, mut entries) = (Delta::new(usize::MAX), data, 0);
    while let Some((key, value, tail)) = super::super::values::first(rest) {
        all.set(key, value.to_vec()).map_err(|_| Unreadable)?;
        (rest, entries) = (tail, entries + 1);
    }
    let whole = rest.is_empty() && all.iter().count() == entries;
    Values::default().merged(&all).filter(|_| whole).ok_or(Unreadable)
}

/// What changes, for the scripts; `None` if a value is too long for any limit.
pub(super) fn changes(delta: &Delta) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for (key, value) in delta.iter() {
        bytes.push(u8::try_from(key.len()).ok()?);
        bytes.extend(match value {
            None => REMOVED,
            Some(value) => u32::try_from(value.len()).ok()?.to_le_bytes(),
        });
        bytes.extend(key.as_bytes());
        bytes.extend(value.unwrap_or_default());
    }
    Some(bytes)
}

/// Sessions and when they were seen, for the scripts.
pub(super) fn touches(seen: &[(SessionId, Time)]) -> Vec<u8> {
    seen.iter().flat_map(|(id, at)| id.as_bytes().iter().copied().chain(time(*at))).collect()
}

/// Reads an event of this name.
pub(super) fn event(id: EventId, bytes: &[u8]) -> Option<Event> {
    let (session, rest) = bytes.split_first_chunk::<16>()?;
    let (at, rest) = rest.split_first_chunk::<6>()?;
    let (what, user) = match rest {
        [b'c', user @ ..] => (What::Created, user),
        [b'e', byte, user @ ..] => (What::Ended(reason((*byte).into())), user),
        [b'r', rest @ ..] => {
            let (from, user) = rest.split_first_chunk::<16>()?;
            (What::Renewed { from: SessionId::from_bytes(*from) }, user)
        }
        _ => return None,
    };
    let user = match user {
        [] => None,
        // Of a session that could not be read the user may be no text.
        [b'u', user @ ..] => std::str::from_utf8(user).ok().map(Into::into),
        _ => return None,
    };
    let at = Time::from_millis(i64::try_from(read(at)).ok()?);
    Some(Event { id, session: SessionId::from_bytes(*session), user, at, what })
}

fn idle_ms(record: &Record) -> u64 {
    u64::try_from(record.limits.idle.as_millis()).map_or(IDLE_MAX_MS, |ms| ms.min(IDLE_MAX_MS))
}

fn time(at: Time) -> [u8; 6] {
    number(u64::try_from(at.millis()).unwrap_or(0))
}

fn number(number: u64) -> [u8; 6] {
    let [_, _, bytes @ ..] = number.min(NUMBER_MAX).to_be_bytes();
    bytes
}

fn read(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The text at the beginning, and what comes after it.
fn text(bytes: &[u8], length: usize, is: bool) -> Result<(Option<Arc<str>>, &[u8]), Unreadable> {
    let (text, rest) = bytes.split_at_checked(length).ok_or(Unreadable)?;
    let text = std::str::from_utf8(text).map_err(|_| Unreadable)?;
    Ok((is.then(|| text.into()), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(user: Option<&str>, label: Option<&str>) -> Record {
        Record {
            id: SessionId::from_bytes([7; 16]),
            user: user.map(Into::into),
            label: label.map(Into::into),
            remembered: label.is_some(),
            opened_at: Time::from_millis(1_800_000_000_001),
            seen_at: Time::from_millis(1_800_000_000_002),
            limits: Limits {
                idle: Duration::from_millis(1_234_567),
                ends_at: Time::from_millis(1_900_000_000_003),
            },
            version: DataVersion(0x0102_0304_0506),
        }
    }

    #[test]
    fn records_come_back_and_every_cut_is_noticed() {
        let (longest_user, longest_label) = ("u".repeat(USER_BYTES_MAX), "l".repeat(128));
        for (user, label) in [
            (None, None),
            (Some(""), None),
            (Some("사용자"), Some("")),
            (None, Some("집")),
            (Some(&*longest_user), Some(&*longest_label)),
        ] {
            let record = record(user, label);
            let mut bytes = encode(&record).unwrap();
            assert!(bytes.len() <= RECORD_BYTES_MAX);
            for cut in 0..bytes.len() {
                assert!(decode(record.id, &bytes[..cut]).is_err(), "{cut}");
            }
            bytes.extend(b"data");
            match decode(record.id, &bytes) {
                Ok(Resting::Live(again, b"data")) => assert_eq!(again, record),
                _ => panic!("{user:?} {label:?}"),
            }
        }
        assert_eq!(encode(&record(Some(&"u".repeat(257)), None)), None);
        assert_eq!(encode(&record(None, Some(&"l".repeat(129)))), None);
    }

    #[test]
    fn reasons_have_a_byte_each() {
        for own in Reason::ALL {
            assert_eq!(reason(code(own).into()), own);
        }
        assert_eq!(reason(99), Reason::Unreadable);
    }

    #[test]
    fn data_rests_in_any_order_but_whole_and_once() {
        let entry = |key: &str| {
            let mut delta = Delta::new(99);
            delta.set(key, b"1".to_vec()).unwrap();
            changes(&delta).unwrap()
        };
        let (a, b) = (entry("a"), entry("b"));
        let sorted = values(&[&*a, &*b].concat()).unwrap();
        assert_eq!(values(&[&*b, &*a].concat()), Ok(sorted));
        assert_eq!(values(&[]), Ok(Values::default()));
        for bad in [[&*b, &*a, &*b].concat(), [&*b, &a[..6]].concat(), vec![0; 5], vec![9]] {
            assert_eq!(values(&bad), Err(Unreadable), "{bad:?}");
        }
    }
}
