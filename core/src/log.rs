//! The revocation log: ended ids in the order in which they ended, and how far a follower has read.

use std::{collections::VecDeque, fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::id::{EntryId, LogId};

/// Eight random bytes that belong to one entry: another history that has come to the same number has other ones.
pub type Tag = [u8; 8];

/// One entry of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its place. The first has 1; there is no gap.
    pub sequence: u64,
    /// What tells it from an entry of another history.
    pub tag: Tag,
    /// What was ended.
    pub id: EntryId,
}

/// How far somebody has read: everything up to an entry of one history. As text 43 characters of base64url.
///
/// ```
/// use symbolon_core::{id::LogId, log::Cursor};
/// let start = Cursor::start(LogId::from_bytes([5; 16]));
/// assert_eq!(start.to_string().parse(), Ok(start));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The history.
    pub log: LogId,
    /// The entry's place; 0 is before the first.
    pub sequence: u64,
    /// The entry's tag; zeros before the first.
    pub tag: Tag,
}

impl Cursor {
    /// Before the first entry.
    pub const fn start(log: LogId) -> Self {
        Self { log, sequence: 0, tag: [0; 8] }
    }

    /// After an entry.
    pub const fn at(log: LogId, entry: &Entry) -> Self {
        Self { log, sequence: entry.sequence, tag: entry.tag }
    }

    /// Whether what the log has from this place on, the entry of the cursor first if it is still kept, can follow it. A
    /// log that was put back from a copy has come to the same number with another entry.
    pub fn is_followed_by(&self, first: Option<&Entry>) -> bool {
        first.is_none_or(|first| first.sequence != self.sequence || first.tag == self.tag)
    }
}

/// The text is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a cursor is 43 characters of unpadded base64url, as the last answer gave it")]
pub struct InvalidCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(self.log.as_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[24..].copy_from_slice(&self.tag);
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let mut bytes = [0; 32];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
            Ok(32) => {}
            _ => return Err(InvalidCursor),
        }
        let (log, rest) = bytes.split_at(16);
        let (sequence, tag) = rest.split_at(8);
        Ok(Self {
            log: log.try_into().map_err(|_| InvalidCursor)?,
            sequence: u64::from_be_bytes(sequence.try_into().map_err(|_| InvalidCursor)?),
            tag: tag.try_into().map_err(|_| InvalidCursor)?,
        })
    }
}

impl serde::Serialize for Cursor {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Cursor {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The end of the log, in memory: what those who keep up are told from. Whoever is further behind reads the store.
///
/// ```
/// use symbolon_core::{id::{EntryId, LogId}, log::{After, Cursor, Entry, Tail}};
/// let log = LogId::from_bytes([5; 16]);
/// let mut tail = Tail::new(Cursor::start(log), 1024);
/// let before = tail.head();
/// tail.push(Entry { sequence: 1, tag: [9; 8], id: EntryId::from_bytes([1; 16]) });
/// assert!(matches!(tail.after(&before), After::Entries(entries) if entries.len() == 1));
/// assert!(matches!(tail.after(&tail.head()), After::Entries(entries) if entries.is_empty()));
/// ```
#[derive(Debug)]
pub struct Tail {
    /// Where the first of `entries` follows.
    base: Cursor,
    head: Cursor,
    entries: VecDeque<Entry>,
    entries_max: usize,
}

/// What comes after a cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    /// Everything up to the head, in order.
    Entries(Vec<Entry>),
    /// More than the tail remembers: ask the store, which also knows whether the cursor is of this history.
    Older,
    /// The cursor is of another history, or of none: whoever has it starts again, and acknowledges nothing.
    Restart,
    /// The cursor is ahead of this copy of the log. A copy catches up before it answers; if that did not bring it there,
    /// or at the log itself, the cursor is forged or of a history that was lost: as [`After::Restart`].
    Ahead,
}

impl Tail {
    /// A tail that begins after `head` and remembers up to `entries_max` entries.
    pub const fn new(head: Cursor, entries_max: usize) -> Self {
        Self { base: head, head, entries: VecDeque::new(), entries_max }
    }

    /// How far the log goes.
    pub const fn head(&self) -> Cursor {
        self.head
    }

    /// Adds the next entry. It must be durable. One that is there already is passed over, and not compared: a copy of
    /// the log reads what comes after its own head. If one was left out, what is remembered begins anew after this one,
    /// so that the store tells what is between.
    pub fn push(&mut self, entry: Entry) {
        let follows = self.head.sequence.checked_add(1);
        if entry.sequence <= self.head.sequence {
            return;
        }
        self.head = Cursor::at(self.head.log, &entry);
        if follows != Some(entry.sequence) {
            self.entries.clear();
            self.base = self.head;
            return;
        }
        self.entries.push_back(entry);
        if self.entries.len() > self.entries_max
            && let Some(oldest) = self.entries.pop_front()
        {
            self.base = Cursor::at(self.head.log, &oldest);
        }
    }

    /// What comes after `cursor`.
    pub fn after(&self, cursor: &Cursor) -> After {
        if cursor.log != self.head.log {
            return After::Restart;
        }
        if cursor.sequence > self.head.sequence {
            return After::Ahead;
        }
        let Some(from) = cursor.sequence.checked_sub(self.base.sequence) else {
            return After::Older;
        };
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let read = match from.checked_sub(1) {
            None => Some(self.base.tag),
            Some(last) => self.entries.get(last).map(|entry| entry.tag),
        };
        if read == Some(cursor.tag) {
            After::Entries(self.entries.range(from..).copied().collect())
        } else {
            After::Restart
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: LogId = LogId::from_bytes([5; 16]);

    fn entry(sequence: u64) -> Entry {
        let byte = u8::try_from(sequence).unwrap();
        Entry { sequence, tag: [byte; 8], id: EntryId::from_bytes([byte; 16]) }
    }

    #[test]
    fn a_cursor_goes_on_where_it_is_of_this_history() {
        let mut tail = Tail::new(Cursor::start(LOG), 4);
        (1..=9).for_each(|n| tail.push(entry(n)));
        tail.push(entry(3));
        let at = |sequence, tag: u8| Cursor { log: LOG, sequence, tag: [tag; 8] };
        let entries = |from: u64| After::Entries((from..=9).map(entry).collect());
        for (cursor, after) in [
            (tail.head(), entries(10)),
            (at(9, 9), entries(10)),
            (at(9, 8), After::Restart),
            (at(8, 8), entries(9)),
            (at(6, 6), entries(7)),
            (at(6, 5), After::Restart),
            (at(5, 5), entries(6)),
            (at(5, 0), After::Restart),
            // Its own entry is forgotten, so its tag cannot be looked at here.
            (at(4, 4), After::Older),
            (at(4, 0), After::Older),
            (at(0, 0), After::Older),
            (at(10, 10), After::Ahead),
            (at(u64::MAX, 0), After::Ahead),
            (Cursor { log: LogId::from_bytes([6; 16]), ..at(9, 9) }, After::Restart),
        ] {
            assert_eq!(tail.after(&cursor), after, "{cursor:?}");
        }
    }

    #[test]
    fn a_log_that_was_put_back_does_not_follow() {
        let cursor = Cursor::at(LOG, &entry(4));
        assert!(cursor.is_followed_by(None));
        assert!(cursor.is_followed_by(Some(&entry(4))));
        // Its own entry is so old that it has left.
        assert!(cursor.is_followed_by(Some(&entry(5))));
        assert!(!cursor.is_followed_by(Some(&Entry { tag: [9; 8], ..entry(4) })));
    }

    #[test]
    fn a_short_log_is_told_from_its_start() {
        let mut tail = Tail::new(Cursor::start(LOG), 4);
        assert_eq!(tail.after(&Cursor::start(LOG)), After::Entries(Vec::new()));
        tail.push(entry(1));
        assert_eq!(tail.after(&Cursor::start(LOG)), After::Entries(vec![entry(1)]));
        let forged = Cursor { tag: [1; 8], ..Cursor::start(LOG) };
        assert_eq!(tail.after(&forged), After::Restart);
    }

    #[test]
    fn hostile_text_is_no_cursor() {
        let good = Cursor { log: LOG, sequence: 77, tag: [1; 8] }.to_string();
        assert_eq!(good.len(), 43);
        for bad in
            ["", "A", &good[1..], &format!("{good}A"), &format!("{good}="), &good.replace('B', "+")]
        {
            assert_eq!(bad.parse::<Cursor>(), Err(InvalidCursor), "{bad}");
        }
    }
}
