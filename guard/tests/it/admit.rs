//! Promises 7 and 8: one function decides which half a request carries, and an unsafe request carried by a cookie shows
//! who asked.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use proptest::prelude::*;
use symbolon_core::csrf;
use symbolon_guard::{Carried, Half, Refusal, Rules, admit};

const SESSION: &str = "syms_c2Vzc2lvbg";
const TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.e30.c2ln";
const REFRESH: &str = "symr_cmVmcmVzaA";
const OWN: &str = "https://shop.example";
const LISTED: &str = "https://app.shop.example";

fn rules() -> Rules {
    Rules::new("https://shop.example/auth").unwrap().also_from(|origin| origin == LISTED)
}

fn headers<'a>(pairs: impl IntoIterator<Item = &'a (&'a str, String)>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

/// What a request sends as credentials, and what comes of it when every CSRF check is met.
struct Credentials {
    sent: Vec<(&'static str, String)>,
    outcome: Result<Option<(Half, &'static str)>, Refusal>,
    /// Whether a cookie carries the request, so that the origin is looked at first.
    by_cookie: bool,
}

fn credentials() -> Vec<Credentials> {
    let bearer = |text: &str| ("authorization", format!("Bearer {text}"));
    let session = |text: &str| ("cookie", format!("__Host-symbolon={text}"));
    let access = |text: &str| ("cookie", format!("__Host-symbolon-access={text}"));
    let flood = || ("cookie", "a=b; ".repeat(200));
    let by_session = Ok(Some((Half::SessionCookie, SESSION)));
    let by_access = Ok(Some((Half::TokenCookie, TOKEN)));
    let by_bearer = Ok(Some((Half::Bearer, TOKEN)));
    let (bad, twice) = (Err(Refusal::InvalidToken), Err(Refusal::InvalidRequest));
    let case = |sent, outcome, by_cookie| Credentials { sent, outcome, by_cookie };
    vec![
        case(vec![], Ok(None), false),
        case(vec![session(SESSION)], by_session.clone(), true),
        case(vec![access(TOKEN)], by_access.clone(), true),
        case(vec![bearer(TOKEN)], by_bearer.clone(), false),
        // A cookie beside a token is ignored, whatever it is.
        case(vec![bearer(TOKEN), session(SESSION)], by_bearer.clone(), false),
        case(vec![bearer(TOKEN), access(TOKEN)], by_bearer.clone(), false),
        case(vec![bearer(TOKEN), session(SESSION), session(SESSION)], by_bearer.clone(), false),
        case(vec![bearer(TOKEN), flood()], by_bearer.clone(), false),
        // A bad token beside a good cookie is a bad token.
        case(vec![bearer(""), session(SESSION)], bad.clone(), false),
        case(vec![bearer("a b"), session(SESSION)], bad.clone(), false),
        case(vec![bearer("é"), session(SESSION)], bad.clone(), false),
        case(vec![("authorization", "Bearer".into()), session(SESSION)], bad.clone(), false),
        case(vec![bearer(&"a".repeat(9000)), session(SESSION)], bad.clone(), false),
        case(vec![bearer(TOKEN), bearer(TOKEN)], twice.clone(), false),
        case(vec![bearer(TOKEN), bearer("other"), session(SESSION)], twice.clone(), false),
        case(vec![("authorization", format!("bearer   {TOKEN}"))], by_bearer, false),
        case(
            vec![("authorization", "Basic dTpw".into()), session(SESSION)],
            Err(Refusal::LoginRequired),
            false,
        ),
        case(
            vec![("authorization", format!("Bearer{TOKEN}")), session(SESSION)],
            Err(Refusal::LoginRequired),
            false,
        ),
        case(vec![("authorization", String::new())], Err(Refusal::LoginRequired), false),
        // Of two cookies the session's counts, and there is no falling back.
        case(vec![session(SESSION), access(TOKEN)], by_session.clone(), true),
        case(vec![access(TOKEN), session(SESSION)], by_session.clone(), true),
        case(vec![session("ended"), access(TOKEN)], bad.clone(), true),
        case(vec![session(""), access(TOKEN)], bad.clone(), true),
        // Never choose.
        case(vec![session(SESSION), session(SESSION)], twice.clone(), false),
        case(vec![session("planted"), session(SESSION)], twice.clone(), false),
        case(vec![access(TOKEN), access("planted")], twice, false),
        case(vec![session(SESSION), flood()], Err(Refusal::TooManyCookies), false),
        // One half in the other's place.
        case(vec![session(REFRESH)], bad.clone(), true),
        case(vec![session(TOKEN)], bad.clone(), true),
        case(vec![access(REFRESH)], bad.clone(), true),
        case(vec![access(SESSION)], bad.clone(), true),
        case(vec![bearer(REFRESH)], bad.clone(), false),
        case(vec![bearer(SESSION)], bad.clone(), false),
        // Not our names, under https.
        case(vec![("cookie", format!("symbolon={SESSION}"))], Ok(None), false),
        case(vec![("cookie", format!("__host-symbolon={SESSION}"))], Ok(None), false),
        // A refresh token reaches the refresh route alone; elsewhere it is nothing.
        case(vec![("cookie", format!("__Secure-symbolon-refresh={REFRESH}"))], Ok(None), false),
        case(vec![("cookie", format!("theme=dark; __Host-symbolon={SESSION}"))], by_session, true),
        case(vec![("cookie", "lang=ko".into()), access(TOKEN)], by_access, true),
    ]
}

/// What a request shows of who asked, and whether that is a proof.
fn evidence() -> Vec<(Vec<(&'static str, String)>, bool)> {
    let site = |value: &str| ("sec-fetch-site", value.to_owned());
    let origin = |value: &str| ("origin", value.to_owned());
    vec![
        (vec![], false),
        (vec![site("same-origin")], true),
        (vec![site("same-origin"), origin(OWN)], true),
        (vec![site("same-origin"), origin("null")], true),
        (vec![origin(OWN)], true),
        (vec![origin(LISTED)], true),
        (vec![site("cross-site"), origin(LISTED)], true),
        (vec![site("none"), origin(OWN)], true),
        (vec![site("none")], false),
        (vec![site("same-site")], false),
        (vec![site("cross-site")], false),
        (vec![site("cross-site"), origin(OWN)], false),
        (vec![site("same-origin"), origin("https://evil.example")], false),
        (vec![site("same-origin"), site("cross-site")], false),
        (vec![origin("null")], false),
        (vec![origin("https://evil.example")], false),
        (vec![origin(OWN), origin(OWN)], false),
        (vec![origin("https://shop.example/auth")], false),
        (vec![("referer", format!("{OWN}/auth/login"))], false),
    ]
}

/// What a request sends as CSRF token, and whether that is the access token's.
fn csrf_headers() -> Vec<(Vec<(&'static str, String)>, bool)> {
    let token = |text: &str| ("x-csrf-token", csrf::token(text));
    vec![
        (vec![], false),
        (vec![token(TOKEN)], true),
        (vec![token(SESSION)], false),
        (vec![token(TOKEN), token(TOKEN)], false),
        (vec![("x-csrf-token", TOKEN.to_owned())], false),
        (vec![("x-csrf-token", String::new())], false),
    ]
}

fn check(carried: Result<Carried, Refusal>) -> Result<Option<(Half, String)>, Refusal> {
    carried.map(|c| c.credential().map(|(half, text)| (half, text.expose().to_owned())))
}

#[test]
fn every_credential_method_and_evidence() {
    let rules = rules();
    for Credentials { sent, outcome, by_cookie } in credentials() {
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::POST, Method::DELETE] {
            for (shown, proven) in evidence() {
                for (csrf, fits) in csrf_headers() {
                    let is_unsafe = matches!(method, Method::POST | Method::DELETE);
                    let expected = match &outcome {
                        _ if is_unsafe && by_cookie && !proven => Err(Refusal::CrossSite),
                        Ok(Some((Half::TokenCookie, _))) if is_unsafe && !fits => {
                            Err(Refusal::InvalidCsrfToken)
                        }
                        outcome => outcome.clone(),
                    };
                    let expected = expected.map(|c| c.map(|(half, text)| (half, text.to_owned())));
                    let headers = headers(sent.iter().chain(&shown).chain(&csrf));
                    let found = check(admit(&rules, &method, &headers));
                    assert_eq!(found, expected, "{method} {sent:?} {shown:?} {csrf:?}");
                }
            }
        }
    }
}

#[test]
fn a_websocket_is_opened_by_our_pages_only() {
    for upgrade in ["websocket", "WebSocket", "h2c, websocket"] {
        for (origin, passes) in [(OWN, true), (LISTED, true), ("https://evil.example", false)] {
            for (cookie, half) in [
                (format!("__Host-symbolon={SESSION}"), Half::SessionCookie),
                (format!("__Host-symbolon-access={TOKEN}"), Half::TokenCookie),
            ] {
                let sent = [
                    ("upgrade", upgrade.to_owned()),
                    ("origin", origin.to_owned()),
                    ("cookie", cookie),
                ];
                let found = check(admit(&rules(), &Method::GET, &headers(&sent)));
                let found = found.map(|c| c.map(|(half, _)| half));
                let expected = if passes { Ok(Some(half)) } else { Err(Refusal::CrossSite) };
                assert_eq!(found, expected, "{sent:?}");
            }
        }
    }
}

#[test]
fn on_this_machine_the_names_have_no_prefix() {
    let rules = Rules::new("http://localhost:8080").unwrap();
    for (cookie, half) in [
        (format!("symbolon={SESSION}"), Some(Half::SessionCookie)),
        (format!("symbolon-access={TOKEN}"), Some(Half::TokenCookie)),
        (format!("__Host-symbolon={SESSION}"), None),
    ] {
        let found = check(admit(&rules, &Method::GET, &headers(&[("cookie", cookie)]))).unwrap();
        assert_eq!(found.map(|(half, _)| half), half);
    }
}

#[test]
fn a_login_form_needs_no_cookie_but_an_origin() {
    let rules = rules();
    for (shown, proven) in evidence() {
        let checked = rules.check_origin(&Method::POST, &headers(&shown));
        assert_eq!(checked.is_ok(), proven, "{shown:?}");
    }
}

#[test]
fn nothing_carried_is_printed() {
    let sent = [("authorization", format!("Bearer {TOKEN}"))];
    let carried = admit(&rules(), &Method::GET, &headers(&sent)).unwrap();
    assert!(!format!("{carried:?}").contains(TOKEN));
}

/// Bytes that a header can have, beginning or ending like one of ours more often than chance would.
fn header_value() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        proptest::sample::select(vec![
            "Bearer ",
            "Basic ",
            "__Host-symbolon=",
            "__Host-symbolon-access=",
            "__Secure-symbolon-refresh=",
            SESSION,
            TOKEN,
            REFRESH,
            "; ",
            "=",
            " ",
            "same-origin",
            OWN,
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        proptest::collection::vec(prop_oneof![0x20..=0x7e_u8, 0x80..=0xff_u8, Just(b'\t')], 0..40),
    ];
    proptest::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

fn arbitrary_headers() -> impl Strategy<Value = HeaderMap> {
    let name = proptest::sample::select(vec![
        header::AUTHORIZATION,
        header::COOKIE,
        header::COOKIE,
        header::ORIGIN,
        header::UPGRADE,
        HeaderName::from_static("sec-fetch-site"),
        HeaderName::from_static("x-csrf-token"),
    ]);
    proptest::collection::vec((name, header_value()), 0..6).prop_map(|pairs| {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, HeaderValue::from_bytes(&value).unwrap());
        }
        headers
    })
}

fn contains(headers: &HeaderMap, name: &HeaderName, text: &str) -> bool {
    let has = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    headers.get_all(name).iter().any(|value| has(value.as_bytes()))
}

proptest! {
    #[test]
    fn no_headers_yield_two_halves(headers in arbitrary_headers(), post: bool) {
        let method = if post { Method::POST } else { Method::GET };
        let found = check(admit(&rules(), &method, &headers));

        let mut without_cookies = headers.clone();
        without_cookies.remove(header::COOKIE);
        if headers.contains_key(header::AUTHORIZATION) {
            prop_assert_eq!(&found, &check(admit(&rules(), &method, &without_cookies)));
        } else {
            prop_assert_eq!(check(admit(&rules(), &method, &without_cookies)), Ok(None));
        }
        match found {
            Ok(Some((Half::Bearer, text))) => {
                prop_assert!(contains(&headers, &header::AUTHORIZATION, &text));
            }
            Ok(Some((half, text))) => {
                prop_assert!(!headers.contains_key(header::AUTHORIZATION));
                prop_assert!(contains(&headers, &header::COOKIE, &text));
                prop_assert_eq!(text.starts_with("syms_"), half == Half::SessionCookie);
                prop_assert!(!post || rules().check_origin(&method, &headers).is_ok());
            }
            Ok(None) | Err(_) => {}
        }
    }
}
