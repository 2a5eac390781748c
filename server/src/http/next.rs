//! Where to go after a login: a place on this origin, or on an origin that a first-party client lists, and nowhere else.

/// A path (with query) of this origin, or of one that is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next {
    text: Box<str>,
    origin_bytes: usize,
}

impl Next {
    /// Reads a place on this origin: an absolute path of printable ASCII, at most 4096 bytes, that no browser takes for
    /// another host.
    ///
    /// ```
    /// use symbolon::http::next::Next;
    /// assert!(Next::parse("/cart?step=2").is_some());
    /// for elsewhere in ["//evil.example", "/\\evil.example", "https://evil.example", "/\tx", "cart", ""] {
    ///     assert_eq!(Next::parse(elsewhere), None);
    /// }
    /// ```
    pub fn parse(text: &str) -> Option<Self> {
        is_path(text).then(|| Self { text: text.into(), origin_bytes: 0 })
    }

    /// Reads a place on this origin, or an absolute URL whose origin is `listed`, exactly as browsers write origins.
    ///
    /// ```
    /// use symbolon::http::next::Next;
    /// let listed = |origin: &str| origin == "https://shop.example";
    /// let next = Next::parse_listed("https://shop.example/cart", listed).unwrap();
    /// assert_eq!(next.origin(), Some("https://shop.example"));
    /// for evil in ["https://shop.example.evil.example/", "https://shop.example@evil.example/", "//shop.example/"] {
    ///     assert_eq!(Next::parse_listed(evil, listed), None);
    /// }
    /// ```
    pub fn parse_listed(text: &str, listed: impl FnOnce(&str) -> bool) -> Option<Self> {
        let scheme = ["https://", "http://"].into_iter().find(|scheme| text.starts_with(scheme));
        let Some(scheme) = scheme else { return Self::parse(text) };
        let host_bytes = text[scheme.len()..].find('/')?;
        let (origin, path) = text.split_at(scheme.len() + host_bytes);
        (is_path(path) && listed(origin))
            .then(|| Self { text: text.into(), origin_bytes: origin.len() })
    }

    /// The place as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The origin, if it is another than this.
    pub fn origin(&self) -> Option<&str> {
        Some(&self.text[..self.origin_bytes]).filter(|origin| !origin.is_empty())
    }
}

fn is_path(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next() == Some(b'/')
        && !matches!(bytes.next(), Some(b'/' | b'\\'))
        && text.len() <= 4096
        // Browsers read a backslash as a slash and drop tabs and line ends.
        && text.bytes().all(|b| matches!(b, b'!'..=b'~') && !matches!(b, b'\\' | b'"' | b'<' | b'>' | b'`'))
}
