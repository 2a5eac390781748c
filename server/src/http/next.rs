//! Where to go after a login: a place on this origin, and nowhere else.

/// A path (with query) of this origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next(Box<str>);

impl Next {
    /// Reads a place: an absolute path of printable ASCII, at most 1024 bytes, that no browser takes for another host.
    ///
    /// ```
    /// use symbolon::http::next::Next;
    /// assert!(Next::parse("/cart?step=2").is_some());
    /// for elsewhere in ["//evil.example", "/\\evil.example", "https://evil.example", "/\tx", "cart", ""] {
    ///     assert_eq!(Next::parse(elsewhere), None);
    /// }
    /// ```
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = text.bytes();
        let local = bytes.next() == Some(b'/')
            && !matches!(bytes.next(), Some(b'/' | b'\\'))
            && text.len() <= 1024
            // Browsers read a backslash as a slash and drop tabs and line ends.
            && text.bytes().all(|b| matches!(b, b'!'..=b'~') && !matches!(b, b'\\' | b'"' | b'<' | b'>' | b'`'));
        local.then(|| Self(text.into()))
    }

    /// The place as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
