//! Places to go after a login. A browser resolves whatever is accepted to our own origin: the `url` crate reads URLs as
//! browsers do (WHATWG).
#![no_main]

// The file alone: the whole server would be built again for it.
#[path = "../../server/src/http/next.rs"]
mod next;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use url::Url;

static PAGE: LazyLock<Url> =
    LazyLock::new(|| Url::parse("https://auth.example/base/login").expect("a URL"));

fuzz_target!(|text: &str| {
    let Some(next) = next::Next::parse(text) else { return };
    assert_eq!(next.as_str(), text);
    let place = PAGE.join(text).expect("a place that browsers can read");
    assert_eq!(place.origin(), PAGE.origin(), "{text}");
});
