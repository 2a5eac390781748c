//! The path of a request, if there is only one way to read it.
//!
//! Rules go by paths, and the application behind the proxy reads the path once more, in its own way: it may resolve dot
//! segments, join slashes, decode twice, or cut off parameters. Whatever two readers could read differently is refused
//! here, not normalised: a proxy hands the application what the browser sent, and no rule may have judged another path.

/// The most bytes of a request target.
pub const TARGET_BYTES_MAX: usize = 8 * 1024;

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    /// It does not begin with a slash, or is longer than [`TARGET_BYTES_MAX`].
    #[error("a path begins with / and is of bounded length")]
    Form,
    /// It has bytes that a URI does not have: spaces, controls, backslashes, other alphabets unencoded.
    #[error("the path has characters that must be percent-encoded")]
    Character,
    /// `.` and `..` are resolved by some readers.
    #[error("the path has a segment . or ..")]
    DotSegment,
    /// `//` is joined by some readers, and taken for a host by others.
    #[error("the path has an empty segment")]
    EmptySegment,
    /// `;` begins parameters that some readers cut off.
    #[error("the path has parameters after ;")]
    Parameter,
    /// What is after `%` is no byte, needs no encoding, or would mean something else when it is decoded: `/ \ ; %` and
    /// controls.
    #[error("the path has percent-encoding that readers take differently")]
    Encoding,
}

/// A path that has one reading. Percent-encoding is in capital letters.
///
/// ```
/// use symbolon::forward::path::StrictPath;
/// let path = StrictPath::parse("/caf%c3%a9/menu?page=2")?;
/// assert_eq!(path.as_str(), "/caf%C3%A9/menu");
/// for tricky in ["/public/../admin", "/%61dmin", "//admin", "/public;/admin", "/public%2fadmin"] {
///     assert!(StrictPath::parse(tricky).is_err());
/// }
/// # Ok::<(), symbolon::forward::path::InvalidPath>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StrictPath(String);

impl StrictPath {
    /// Reads the path of a request target in origin form (RFC 9112, section 3.2.1). What begins with `?` is the query,
    /// which no rule looks at.
    ///
    /// # Errors
    /// [`InvalidPath`].
    pub fn parse(target: &str) -> Result<Self, InvalidPath> {
        if target.len() > TARGET_BYTES_MAX || !target.starts_with('/') {
            return Err(InvalidPath::Form);
        }
        let graphic = |b: u8| matches!(b, b'!'..=b'~') && !matches!(b, b'#' | b'\\');
        if !target.bytes().all(graphic) {
            return Err(InvalidPath::Character);
        }
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        if path.contains(['"', '<', '>', '^', '`', '{', '|', '}']) {
            return Err(InvalidPath::Character);
        }
        if path.contains(';') {
            return Err(InvalidPath::Parameter);
        }
        let mut segments = path[1..].split('/').peekable();
        while let Some(segment) = segments.next() {
            match segment {
                "" if segments.peek().is_some() => return Err(InvalidPath::EmptySegment),
                "." | ".." => return Err(InvalidPath::DotSegment),
                _ => {}
            }
        }
        encoded_once(path).map(Self)
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is this path or lies below it.
    pub fn is_under(&self, prefix: &str) -> bool {
        let prefix = prefix.trim_end_matches('/');
        self.0.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// The path with its percent-encoding in capital letters, if that is needed, and decodes to text.
fn encoded_once(path: &str) -> Result<String, InvalidPath> {
    let mut written = String::with_capacity(path.len());
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        let (plain, encoded) = rest.split_at(at);
        let digits = encoded.get(1..3).filter(|two| two.bytes().all(|b| b.is_ascii_hexdigit()));
        let digits = digits.ok_or(InvalidPath::Encoding)?.to_ascii_uppercase();
        let byte = u8::from_str_radix(&digits, 16).map_err(|_| InvalidPath::Encoding)?;
        let unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if unreserved || byte.is_ascii_control() || b"/\\;%".contains(&byte) {
            return Err(InvalidPath::Encoding);
        }
        written.push_str(plain);
        written.push('%');
        written.push_str(&digits);
        decoded.extend_from_slice(plain.as_bytes());
        decoded.push(byte);
        rest = &encoded[3..];
    }
    written.push_str(rest);
    // Overlong and broken sequences are read by some as slashes or dots.
    std::str::from_utf8(&decoded).map_err(|_| InvalidPath::Encoding)?;
    Ok(written)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_reading_or_none() {
        use InvalidPath::*;
        for (target, expected) in [
            ("/", Ok("/")),
            ("/a/b", Ok("/a/b")),
            ("/a/b/", Ok("/a/b/")),
            ("/a.b/..c/...", Ok("/a.b/..c/...")),
            ("/a?b=../c//d;e%2f%zz", Ok("/a")),
            ("/a%20b/%ed%95%9c", Ok("/a%20b/%ED%95%9C")),
            ("/@:!$&'()*+,=~", Ok("/@:!$&'()*+,=~")),
            ("", Err(Form)),
            ("*", Err(Form)),
            ("a/b", Err(Form)),
            ("https://shop.example/a", Err(Form)),
            ("//evil.example/a", Err(EmptySegment)),
            ("/a//b", Err(EmptySegment)),
            ("/a//", Err(EmptySegment)),
            ("/.", Err(DotSegment)),
            ("/..", Err(DotSegment)),
            ("/./a", Err(DotSegment)),
            ("/a/../b", Err(DotSegment)),
            ("/a/..", Err(DotSegment)),
            ("/public/..;/admin", Err(Parameter)),
            ("/admin;x=1", Err(Parameter)),
            ("/a\\..\\b", Err(Character)),
            ("/a b", Err(Character)),
            ("/a\tb", Err(Character)),
            ("/a\0", Err(Character)),
            ("/caf\u{e9}", Err(Character)),
            ("/a#b", Err(Character)),
            ("/a|b", Err(Character)),
            ("/a%", Err(Encoding)),
            ("/a%4", Err(Encoding)),
            ("/a%zz", Err(Encoding)),
            ("/a%+1", Err(Encoding)),
            ("/%2e%2e/admin", Err(Encoding)),
            ("/%2E./admin", Err(Encoding)),
            ("/%61dmin", Err(Encoding)),
            ("/a%2fb", Err(Encoding)),
            ("/a%5Cb", Err(Encoding)),
            ("/a%3Bb", Err(Encoding)),
            ("/a%252e", Err(Encoding)),
            ("/a%00", Err(Encoding)),
            ("/a%0d%0a", Err(Encoding)),
            ("/a%7f", Err(Encoding)),
            ("/a%c0%af", Err(Encoding)),
            ("/a%c0%ae%c0%ae/b", Err(Encoding)),
            ("/a%ff", Err(Encoding)),
        ] {
            let path = StrictPath::parse(target);
            assert_eq!(
                path.as_ref().map(StrictPath::as_str).map_err(|why| *why),
                expected,
                "{target:?}"
            );
        }
        let long = format!("/{}", "a".repeat(TARGET_BYTES_MAX));
        assert_eq!(StrictPath::parse(&long), Err(Form));
    }

    #[test]
    fn below_a_path_means_whole_segments() {
        for (path, prefix, expected) in [
            ("/admin", "/admin", true),
            ("/admin/", "/admin", true),
            ("/admin/users", "/admin", true),
            ("/admin/users", "/admin/", true),
            ("/administrators", "/admin", false),
            ("/Admin", "/admin", false),
            ("/", "/", true),
            ("/a", "/", true),
            ("/a", "/a/b", false),
        ] {
            assert_eq!(
                StrictPath::parse(path).unwrap().is_under(prefix),
                expected,
                "{path} {prefix}"
            );
        }
    }

    proptest! {
        /// What is accepted reads the same however often it is decoded, joined and resolved.
        #[test]
        fn lax_readers_agree(target in "/[ab./%2eEfF5cC;\\\\?]{0,24}") {
            let Ok(path) = StrictPath::parse(&target) else { return Ok(()) };
            let mut seen = path.as_str().to_owned();
            for _ in 0..3 {
                prop_assert!(!seen.contains("//") && !seen.contains('\\') && !seen.contains(';'));
                prop_assert!(seen.split('/').all(|segment| segment != "." && segment != ".."));
                seen = decode(&seen);
            }
        }
    }

    fn decode(text: &str) -> String {
        let mut bytes = Vec::new();
        let mut rest = text.as_bytes();
        while let Some((first, after)) = rest.split_first() {
            let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
            match digits.and_then(|two| u8::from_str_radix(two, 16).ok()) {
                Some(byte) if *first == b'%' => {
                    bytes.push(byte);
                    rest = &after[2..];
                }
                _ => {
                    bytes.push(*first);
                    rest = after;
                }
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
