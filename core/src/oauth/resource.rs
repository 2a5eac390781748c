//! Resource indicators (RFC 8707): for which resource servers an access token is asked.

use std::collections::BTreeSet;

use super::uri::{AbsoluteUri, InvalidUri};

/// The most resource servers of one request.
pub const RESOURCES_MAX: usize = 8;

/// Why resources are refused. To the client both are `invalid_target` (RFC 8707, section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidResource {
    /// One is no absolute URI without fragment.
    #[error("a resource is an absolute URI without fragment: {0}")]
    Uri(#[from] InvalidUri),
    /// More than [`RESOURCES_MAX`].
    #[error("more than {RESOURCES_MAX} resources")]
    TooMany,
}

/// The `resource` parameters of one request: a set, in which order and repetition mean nothing. Empty: none was named,
/// and the client's default applies.
///
/// Names are compared byte by byte (RFC 3986, section 6.2.1), as verifiers of `aud` do.
///
/// ```
/// use symbolon_core::oauth::resource::Resources;
///
/// let granted = Resources::parse(["https://api.example", "urn:example:calendar"])?;
/// let asked = Resources::parse(["https://api.example"])?;
/// assert!(asked.is_subset(&granted));
/// assert!(Resources::parse(["https://api.example#part"]).is_err());
/// assert!(Resources::parse(["/api"]).is_err());
/// # Ok::<(), symbolon_core::oauth::resource::InvalidResource>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources(BTreeSet<AbsoluteUri>);

impl Resources {
    /// Reads the values of every `resource` parameter of a request.
    pub fn parse<'a>(values: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidResource> {
        let mut set = BTreeSet::new();
        for (count, value) in values.into_iter().enumerate() {
            if count == RESOURCES_MAX {
                return Err(InvalidResource::TooMany);
            }
            set.insert(value.parse()?);
        }
        Ok(Self(set))
    }

    /// Whether none was named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them, in the order of their bytes.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AbsoluteUri::as_str)
    }

    /// Whether `granted` has all of these: a token request may narrow what was granted, and never widen it.
    #[must_use]
    pub fn is_subset(&self, granted: &Self) -> bool {
        self.0.is_subset(&granted.0)
    }
}
