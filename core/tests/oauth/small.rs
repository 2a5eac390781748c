//! Scopes, resources and PKCE: the small texts of a request.

use symbolon_core::{
    oauth::{
        pkce::{self, InvalidPkce},
        resource::{InvalidResource, RESOURCES_MAX, Resources},
        uri::InvalidUri,
    },
    scope::Scope,
};

/// Every character that RFC 6749, appendix A.4, allows, and each that it does not.
#[test]
fn scopes() {
    for character in '\0'..='\u{ff}' {
        let allowed = matches!(character, '\x21' | '\x23'..='\x5b' | '\x5d'..='\x7e');
        let text = format!("a{character}b");
        assert_eq!(text.parse::<Scope>().is_ok(), allowed, "{text:?}");
    }
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
