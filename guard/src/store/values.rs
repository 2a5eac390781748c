//! Application data of a session as it rests, and what a request changes of it.

use std::collections::BTreeMap;

use symbolon_core::data::{DataVersion, KEY_BYTES_MAX};

/// What a key costs beside its own bytes and those of its value.
const ENTRY_BYTES: usize = 5;

/// Keys and values of one session, sorted by key, in one piece of memory. A value is bytes; the layer puts JSON there.
///
/// As bytes it is one entry after another, in ascending order of the keys: the length of the key (1 byte), the length
/// of the value (4 bytes, little endian), the key, the value.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Values(Box<[u8]>);

/// The bytes are no [`Values`]: whatever they belong to was not written by a store of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the data of the session cannot be read")]
pub struct Unreadable;

impl std::fmt::Debug for Values {
    /// The keys; a value may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter().map(|(key, _)| key)).finish()
    }
}

impl Values {
    /// Reads what [`as_bytes`](Self::as_bytes) gave.
    ///
    /// # Errors
    /// [`Unreadable`], if a single byte is out of place.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, Unreadable> {
        let (mut rest, mut before) = (&bytes[..], "");
        while !rest.is_empty() {
            let (key, _, tail) = first(rest).ok_or(Unreadable)?;
            if key <= before || key.len() > KEY_BYTES_MAX {
                return Err(Unreadable);
            }
            (rest, before) = (tail, key);
        }
        Ok(Self(bytes.into()))
    }

    /// All of it, in its one form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What counts for the limit: of each entry the bytes of key and value, and 5.
    pub fn bytes(&self) -> usize {
        self.0.len()
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.iter().find_map(|(own, value)| (own == key).then_some(value))
    }

    /// Everything, in ascending order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            let (key, value, tail) = first(rest)?;
            rest = tail;
            Some((key, value))
        })
    }

    /// These values with the changes of `delta` in them, key by key. The version is the caller's to compare.
    ///
    /// ```
    /// use symbolon_guard::store::{Delta, Values};
    /// let mut delta = Delta::new(100);
    /// delta.set("cart", b"[\"tea\"]".to_vec())?;
    /// let values = Values::default().merged(&delta).unwrap();
    /// assert_eq!(values.get("cart"), Some(&b"[\"tea\"]"[..]));
    /// # Ok::<(), symbolon_guard::store::InvalidKey>(())
    /// ```
    ///
    /// Returns `None` when the result is larger than `delta.bytes_max` *and* larger than before: what a lower limit has
    /// made too large can still be made smaller.
    pub fn merged(&self, delta: &Delta) -> Option<Self> {
        let kept = self.iter().filter(|(key, _)| !delta.values.contains_key(*key));
        let set = delta.values.iter().filter_map(|(key, new)| Some((&**key, new.as_deref()?)));
        let mut merged: Vec<(&str, &[u8])> = kept.chain(set).collect();
        merged.sort_unstable_by_key(|(key, _)| *key);
        let bytes: usize = merged.iter().map(|(k, v)| ENTRY_BYTES + k.len() + v.len()).sum();
        if bytes > delta.bytes_max && bytes > self.bytes() {
            return None;
        }
        let mut packed = Vec::with_capacity(bytes);
        for (key, value) in merged {
            // A key has at most 128 bytes, and no limit lets a value of 4 GiB through.
            packed.push(u8::try_from(key.len()).ok()?);
            packed.extend(u32::try_from(value.len()).ok()?.to_le_bytes());
            packed.extend(key.as_bytes());
            packed.extend(value);
        }
        Some(Self(packed.into()))
    }
}

/// The first entry, and what comes after it.
pub(super) fn first(bytes: &[u8]) -> Option<(&str, &[u8], &[u8])> {
    let (&[key_bytes, a, b, c, d], rest) = bytes.split_first_chunk()?;
    let value_bytes = usize::try_from(u32::from_le_bytes([a, b, c, d])).ok()?;
    let (key, rest) = rest.split_at_checked(usize::from(key_bytes))?;
    let (value, rest) = rest.split_at_checked(value_bytes)?;
    Some((std::str::from_utf8(key).ok()?, value, rest))
}

/// A key of session data is empty or too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key of session data has 1 to {KEY_BYTES_MAX} bytes")]
pub struct InvalidKey;

/// What a request changes: some keys, and no others.
#[derive(Clone, PartialEq, Eq)]
pub struct Delta {
    values: BTreeMap<Box<str>, Option<Vec<u8>>>,
    /// Only if the data is at this version.
    pub expected: Option<DataVersion>,
    /// How large the data may become, as [`Values::bytes`] counts.
    pub bytes_max: usize,
}

impl std::fmt::Debug for Delta {
    /// The keys; a value may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<_> = self.values.keys().collect();
        f.debug_struct("Delta").field("keys", &keys).field("expected", &self.expected).finish()
    }
}

impl Delta {
    /// Changes nothing yet.
    pub const fn new(bytes_max: usize) -> Self {
        Self { values: BTreeMap::new(), expected: None, bytes_max }
    }

    /// Only if the data is at this version.
    #[must_use]
    pub fn only_at(self, version: DataVersion) -> Self {
        Self { expected: Some(version), ..self }
    }

    /// Gives a key a value.
    ///
    /// # Errors
    /// [`InvalidKey`].
    pub fn set(&mut self, key: &str, value: Vec<u8>) -> Result<(), InvalidKey> {
        self.put(key, Some(value))
    }

    /// Takes a key away, if it is there.
    ///
    /// # Errors
    /// [`InvalidKey`].
    pub fn remove(&mut self, key: &str) -> Result<(), InvalidKey> {
        self.put(key, None)
    }

    fn put(&mut self, key: &str, value: Option<Vec<u8>>) -> Result<(), InvalidKey> {
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(InvalidKey);
        }
        self.values.insert(key.into(), value);
        Ok(())
    }

    /// What it does to each key: its new value, or `None` where the key goes.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        self.values.iter().map(|(key, value)| (&**key, value.as_deref()))
    }

    /// What it does to this key; `None` when it leaves it alone.
    pub fn get(&self, key: &str) -> Option<Option<&[u8]>> {
        self.values.get(key).map(Option::as_deref)
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delta(bytes_max: usize, changes: &[(&str, Option<&str>)]) -> Delta {
        let mut delta = Delta::new(bytes_max);
        for (key, value) in changes {
            delta.put(key, value.map(|value| value.as_bytes().to_vec())).unwrap();
        }
        delta
    }

    #[test]
    fn changes_merge_key_by_key() {
        let none = Values::default();
        let both = none.merged(&delta(99, &[("b", Some("2")), ("a", Some("1"))])).unwrap();
        assert_eq!(both.iter().collect::<Vec<_>>(), [("a", &b"1"[..]), ("b", &b"2"[..])]);
        let other = both.merged(&delta(99, &[("a", None), ("c", Some("")), ("x", None)])).unwrap();
        assert_eq!(other.iter().collect::<Vec<_>>(), [("b", &b"2"[..]), ("c", &b""[..])]);
        assert_eq!(format!("{other:?}"), r#"{"b", "c"}"#);
    }

    #[test]
    fn the_limit_counts_every_byte_and_lets_shrink() {
        let none = Values::default();
        assert_eq!(none.merged(&delta(7, &[("k", Some("v"))])).unwrap().bytes(), 7);
        assert_eq!(none.merged(&delta(6, &[("k", Some("v"))])), None);
        let large = none.merged(&delta(99, &[("k", Some("vvvvv")), ("l", Some("v"))])).unwrap();
        assert!(large.merged(&delta(6, &[("k", Some("vvvv"))])).is_some());
        assert_eq!(large.merged(&delta(6, &[("m", Some("v"))])), None);
    }

    #[test]
    fn keys_have_a_length() {
        for (key, fits) in [("", false), (&*"k".repeat(128), true), (&*"k".repeat(129), false)] {
            assert_eq!(Delta::new(0).remove(key).is_ok(), fits, "{}", key.len());
        }
    }

    #[test]
    fn what_is_out_of_place_is_unreadable() {
        let values = Values::default();
        let values = values.merged(&delta(99, &[("a", Some("1")), ("b", Some("22"))])).unwrap();
        let good = values.as_bytes().to_vec();
        assert_eq!(Values::from_bytes(good.clone()), Ok(values));
        for end in 1..good.len() {
            let whole = end == 7;
            assert_eq!(Values::from_bytes(good[..end].to_vec()).is_ok(), whole, "{end}");
        }
        let (a, b) = good.split_at(7);
        assert_eq!(Values::from_bytes([b, a].concat()), Err(Unreadable));
        assert_eq!(Values::from_bytes([a, a].concat()), Err(Unreadable));
        assert_eq!(Values::from_bytes(b"\x01\0\0\0\0\xff".to_vec()), Err(Unreadable));
        assert_eq!(Values::from_bytes(b"\0\0\0\0\0".to_vec()), Err(Unreadable));
        assert_eq!(Values::from_bytes(b"\x01\xff\xff\xff\xffa".to_vec()), Err(Unreadable));
    }
}
