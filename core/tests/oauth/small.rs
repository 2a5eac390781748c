//! Scopes, resources and PKCE: the small texts of a request.

use symbolon_core::{
    oauth::{
        pkce::{self, InvalidPkce},
        resource::{RESOURCES_MAX, Resources, TooMany},
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
    let named = |names: &[&str]| Resources::named(names.iter().copied()).unwrap();
    assert_eq!(Resources::named(vec!["urn:a"; RESOURCES_MAX + 1]), Err(TooMany));
    assert_eq!(named(&["urn:a"; RESOURCES_MAX]), named(&["urn:a"]));

    // Byte by byte: whoever checks `aud` compares nothing else.
    let granted = named(&["https://api.example/", "urn:a"]);
    for (asked, narrower) in [
        (&["https://api.example/"][..], true),
        (&["urn:a", "https://api.example/"], true),
        (&["https://api.example"], false),
        (&["HTTPS://api.example/"], false),
        (&["urn:a", "urn:b"], false),
    ] {
        let asked = named(asked);
        assert_eq!(granted.narrowed(&asked), narrower.then_some(&asked), "{asked:?}");
        assert_eq!(named(&[]).narrowed(&asked), Some(&asked));
    }
    assert_eq!(granted.iter().collect::<Vec<_>>(), ["https://api.example/", "urn:a"]);
    assert_eq!((granted.only(), named(&["urn:a"]).only()), (Err(TooMany), Ok(Some("urn:a"))));
    assert_eq!(named(&[]).only(), Ok(None));
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
