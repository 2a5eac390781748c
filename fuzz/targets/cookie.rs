//! `Cookie` headers, one for each line of the input.
#![no_main]

use std::sync::LazyLock;

use http::{HeaderMap, HeaderValue, header::COOKIE};
use libfuzzer_sys::fuzz_target;
use symbolon_guard::cookie::{COOKIES_BYTES_MAX, CREDENTIAL_BYTES_MAX, Cookie, Layout};

static LAYOUT: LazyLock<Layout> =
    LazyLock::new(|| Layout::of("https://shop.example/auth").expect("a public URL"));

fuzz_target!(|data: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(200) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(COOKIE, value);
        }
    }
    let Ok(cookies) = LAYOUT.read(&headers) else { return };
    let bytes: usize = headers.values().map(HeaderValue::len).sum();
    assert!(bytes <= COOKIES_BYTES_MAX);
    for cookie in Cookie::ALL {
        let Some(value) = cookies.get(cookie) else { continue };
        assert!(cookies.is_present(cookie) && value.expose().len() <= CREDENTIAL_BYTES_MAX);
        // Whatever is read can be set again, and its header is one cookie and no more.
        let set = LAYOUT.set(cookie, &value, None).expect("a value that was read");
        let set = set.to_str().expect("ASCII");
        let expected = format!("{}={}; Path=/", LAYOUT.name(cookie), value.expose());
        assert!(set.starts_with(&expected) && set.ends_with("; HttpOnly; SameSite=Lax; Secure"));
    }
});
