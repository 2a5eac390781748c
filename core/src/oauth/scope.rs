//! Scopes (RFC 6749, section 3.3): what a client asks to be allowed.

use std::{collections::BTreeSet, fmt, str::FromStr};

/// The most scopes of one request.
pub const SCOPES_MAX: usize = 32;
/// The longest name of a scope, in bytes.
pub const SCOPE_BYTES_MAX: usize = 128;

/// Why a text is no scope. To the client it is `invalid_scope` (RFC 6749, section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidScope {
    /// Something other than printable ASCII, or `"` or `\`.
    #[error("a scope is made of printable ASCII characters other than space, \" and \\")]
    Character,
    /// A name of more than [`SCOPE_BYTES_MAX`] bytes.
    #[error("a scope is longer than {SCOPE_BYTES_MAX} bytes")]
    TooLong,
    /// More than [`SCOPES_MAX`], repetitions included.
    #[error("more than {SCOPES_MAX} scopes")]
    TooMany,
}

/// A set of scopes, in which order and repetition mean nothing. It is written in the order of its bytes.
///
/// The grammar wants one space between two names. More of them, before, between and after, mean nothing else here:
/// programs that put scopes together write them.
///
/// ```
/// use symbolon_core::oauth::scope::Scope;
///
/// let granted: Scope = "openid profile cart:write".parse()?;
/// let asked: Scope = "cart:write openid".parse()?;
/// assert!(asked.is_subset(&granted) && asked.contains("openid"));
/// assert_eq!(asked.to_string(), "cart:write openid");
/// # Ok::<(), symbolon_core::oauth::scope::InvalidScope>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Scope(BTreeSet<Box<str>>);

impl Scope {
    /// Whether it allows nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this name is in it.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// Each name, in the order of their bytes.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// Whether `granted` has all of these: a refresh may narrow what was granted, and never widen it (RFC 6749,
    /// section 6).
    #[must_use]
    pub fn is_subset(&self, granted: &Self) -> bool {
        self.0.is_subset(&granted.0)
    }

    /// What both allow.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).cloned().collect())
    }
}

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        let mut set = BTreeSet::new();
        for (count, name) in text.split(' ').filter(|name| !name.is_empty()).enumerate() {
            if count == SCOPES_MAX {
                return Err(InvalidScope::TooMany);
            }
            if name.len() > SCOPE_BYTES_MAX {
                return Err(InvalidScope::TooLong);
            }
            if !name.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)) {
                return Err(InvalidScope::Character);
            }
            set.insert(name.into());
        }
        Ok(Self(set))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (count, name) in self.iter().enumerate() {
            if count > 0 {
                f.write_str(" ")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}
