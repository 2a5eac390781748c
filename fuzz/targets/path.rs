//! Paths that forward-auth's rules go by. One that is accepted is read in the same way by a browser's URL parser, and by
//! a reader that decodes first and then resolves.
#![no_main]

// The file alone: the whole server would be built again for it.
#[path = "../../server/src/forward/path.rs"]
mod path;

use libfuzzer_sys::fuzz_target;
use url::Url;

fuzz_target!(|target: &str| {
    let Ok(strict) = path::StrictPath::parse(target) else { return };
    let sent = target.split_once('?').map_or(target, |(path, _)| path);
    assert_eq!(strict.as_str().to_ascii_lowercase(), sent.to_ascii_lowercase());
    // Parsed again, it is the same.
    assert_eq!(path::StrictPath::parse(strict.as_str()).as_ref(), Ok(&strict));
    assert!(strict.is_under("/") && strict.is_under(strict.as_str()));
    let url = Url::parse(&format!("https://shop.example{target}")).expect("a URL");
    assert_eq!(url.host_str(), Some("shop.example"), "{target}");
    assert_eq!(url.path().to_ascii_lowercase(), sent.to_ascii_lowercase(), "{target}");
    // No reader that decodes once finds another segment in it.
    let decoded: String = url::form_urlencoded::parse(
        format!("p={}", sent.replace('+', "%2B").replace('&', "%26")).as_bytes(),
    )
    .map(|(_, value)| value.into_owned())
    .collect();
    assert_eq!(decoded.matches('/').count(), sent.matches('/').count(), "{target}");
    assert!(decoded.split('/').all(|segment| segment != "." && segment != ".."), "{target}");
});
