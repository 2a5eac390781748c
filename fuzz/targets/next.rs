//! Places to go after a login. A browser resolves whatever is accepted to our own origin, or to
//! the listed one that it names: the `url` crate reads URLs as
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
    if let Some(next) = next::Next::parse(text) {
        assert_eq!((next.as_str(), next.origin()), (text, None));
        let place = PAGE.join(text).expect("a place that browsers can read");
        assert_eq!(place.origin(), PAGE.origin(), "{text}");
    }
    let listed =
        |origin: &str| origin == "https://shop.example" || origin == "http://localhost:8081";
    let Some(next) = next::Next::parse_listed(text, listed) else { return };
    let place = PAGE.join(text).expect("a place that browsers can read");
    let own = PAGE.origin().ascii_serialization();
    assert_eq!(place.origin().ascii_serialization(), next.origin().unwrap_or(&own), "{text}");
});
