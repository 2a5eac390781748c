//! Resource indicators (RFC 8707): for which resource servers an access token is asked.

use std::collections::BTreeSet;

/// The most resource servers of one request.
pub const RESOURCES_MAX: usize = 8;

/// More than [`RESOURCES_MAX`], or more than one where one is all that counts. To the client both are `invalid_target`
/// (RFC 8707, section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many resources")]
pub struct TooMany;

/// The `resource` parameters of one request, or what was granted: a set, in which order and repetition mean nothing.
/// Empty: none was named, and the client's default applies.
///
/// A name counts only if it is one of the client's audiences, so nothing else is asked of it. Names are compared byte by
/// byte (RFC 3986, section 6.2.1), as verifiers of `aud` do.
///
/// ```
/// use symbolon_core::oauth::resource::Resources;
///
/// let granted = Resources::named(["https://api.example", "urn:example:calendar"])?;
/// let calendar = Resources::named(["urn:example:calendar"])?;
/// let other = Resources::named(["https://other.example"])?;
/// assert_eq!(granted.narrowed(&calendar), Some(&calendar));
/// assert_eq!(granted.narrowed(&Resources::default()), Some(&granted));
/// assert_eq!(granted.narrowed(&other), None);
/// # Ok::<(), symbolon_core::oauth::resource::TooMany>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Resources(BTreeSet<Box<str>>);

impl Resources {
    /// Takes the values of every `resource` parameter of a request.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn named<'a>(values: impl IntoIterator<Item = &'a str>) -> Result<Self, TooMany> {
        let mut set = BTreeSet::new();
        for (count, value) in values.into_iter().enumerate() {
            if count == RESOURCES_MAX {
                return Err(TooMany);
            }
            set.insert(value.into());
        }
        Ok(Self(set))
    }

    /// Whether none was named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them, in the order of their bytes.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// The only one, where no more can be asked for.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn only(&self) -> Result<Option<&str>, TooMany> {
        if self.0.len() > 1 { Err(TooMany) } else { Ok(self.iter().next()) }
    }

    /// What of a grant a token request wants (section 2.2): all of it without a wish, and never more. Where the grant
    /// names none, any of the client's own may be asked for. `None`: one was not granted.
    pub fn narrowed<'a>(&'a self, asked: &'a Self) -> Option<&'a Self> {
        if asked.is_empty() {
            return Some(self);
        }
        (self.is_empty() || asked.0.is_subset(&self.0)).then_some(asked)
    }
}

impl From<Option<&str>> for Resources {
    fn from(one: Option<&str>) -> Self {
        Self(one.into_iter().map(Into::into).collect())
    }
}
