//! Scopes, resources and PKCE: the small texts of a request.

use symbolon_core::oauth::{
    pkce::{self, InvalidPkce},
    resource::{InvalidResource, RESOURCES_MAX, Resources},
    scope::{InvalidScope, SCOPES_MAX, Scope},
    uri::InvalidUri,
};

#[test]
fn scopes() {
    let check = |text: &str, expected: Result<&str, InvalidScope>| {
        let found = text.parse::<Scope>().map(|scope| scope.to_string());
        assert_eq!(found, expected.map(Into::into), "{text:?}");
    };
    check("openid", Ok("openid"));
    check("b a b", Ok("a b"));
    check("", Ok(""));
    check("  a  b ", Ok("a b"));
    // Every character that RFC 6749, appendix A.4, allows, and each that it does not.
    let allowed = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    for byte in (0..=255_u8).filter(|byte| *byte != b' ') {
        let text = format!("a{}b", char::from(byte));
        check(&text, if allowed(byte) { Ok(&text) } else { Err(InvalidScope::Character) });
    }
    check("a\tb", Err(InvalidScope::Character));
    check("a\u{3000}b", Err(InvalidScope::Character));
    check(&"s".repeat(129), Err(InvalidScope::TooLong));
    assert!("s".repeat(128).parse::<Scope>().is_ok());
    let many = |count: usize| vec!["s"; count].join(" ");
    check(&many(SCOPES_MAX), Ok("s"));
    check(&many(SCOPES_MAX + 1), Err(InvalidScope::TooMany));
}

#[test]
fn scope_growth() {
    let scope = |text: &str| text.parse::<Scope>().unwrap();
    let granted = scope("openid cart:read");
    for (asked, narrower) in [
        ("", true),
        ("openid", true),
        ("cart:read openid", true),
        ("openid cart:write", false),
        ("OPENID", false),
        ("cart", false),
        ("cart:read:all", false),
    ] {
        assert_eq!(scope(asked).is_subset(&granted), narrower, "{asked}");
    }
    assert_eq!(scope("a b c").intersection(&scope("c b x")), scope("b c"));
}

#[test]
fn resources() {
    let check = |text: &str, expected: Result<(), InvalidUri>| {
        let found = Resources::parse([text]).map(drop);
        assert_eq!(found, expected.map_err(InvalidResource::Uri), "{text}");
    };
    for good in
        ["https://api.example", "https://api.example/a?b=c", "urn:example:api", "api:calendar"]
    {
        check(good, Ok(()));
    }
    check("https://api.example#", Err(InvalidUri::Fragment));
    check("https://api.example/#part", Err(InvalidUri::Fragment));
    check("https://user@api.example", Err(InvalidUri::Authority));
    check("https://", Err(InvalidUri::Authority));
    for bad in [
        "",
        "api",
        "/api",
        "//api.example",
        "urn:",
        "https:// api.example",
        "https:\\\\api.example",
    ] {
        assert!(Resources::parse([bad]).is_err(), "{bad}");
    }
    let many = Resources::parse(vec!["urn:a"; RESOURCES_MAX + 1]);
    assert_eq!(many, Err(InvalidResource::TooMany));

    // Byte by byte: whoever checks `aud` compares nothing else.
    let granted = Resources::parse(["https://api.example/", "urn:a"]).unwrap();
    for (asked, narrower) in [
        ("https://api.example/", true),
        ("https://api.example", false),
        ("HTTPS://api.example/", false),
    ] {
        assert_eq!(Resources::parse([asked]).unwrap().is_subset(&granted), narrower, "{asked}");
    }
    assert_eq!(granted.iter().collect::<Vec<_>>(), ["https://api.example/", "urn:a"]);
    assert!(Resources::parse([]).unwrap().is_empty());
}

#[test]
fn pkce_downgrade() {
    let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    let check = |challenge: Option<&str>, method: Option<&str>, required, expected| {
        let found = pkce::requested(challenge, method, required).map(|found| found.is_some());
        assert_eq!(found, expected, "{challenge:?} {method:?}");
    };
    for required in [true, false] {
        check(Some(challenge), Some("S256"), required, Ok(true));
        for method in [None, Some("plain"), Some("s256"), Some(""), Some("S512")] {
            check(Some(challenge), method, required, Err(InvalidPkce::Method));
        }
        check(None, Some("S256"), required, Err(InvalidPkce::MethodAlone));
        for bad in ["", &challenge[1..], &challenge.replace('M', "N"), &format!("{challenge}=")] {
            let found = pkce::requested(Some(bad), Some("S256"), required);
            assert!(matches!(found, Err(InvalidPkce::Challenge(_))), "{bad}");
        }
    }
    check(None, None, true, Err(InvalidPkce::Missing));
    check(None, None, false, Ok(false));
}
