//! URIs and redirect URIs: what is read, what is refused, and where a browser may be sent.

use symbolon_core::oauth::uri::{ApplicationType, InvalidUri, RedirectUri, URI_BYTES_MAX, Uri};

use ApplicationType::{Native, Web};

fn check(text: &str, application: ApplicationType, expected: Result<(), InvalidUri>) {
    assert_eq!(RedirectUri::parse(text, application).map(drop), expected, "{text} {application:?}");
}

#[test]
fn what_may_be_registered() {
    for (text, web, native) in [
        ("https://shop.example/in", true, true),
        ("https://shop.example", true, true),
        ("https://shop.example:8443/in?a=b&c=%C3%A9", true, true),
        ("https://xn--bcher-kva.example/", true, true),
        ("https://[2001:db8::1]/in", true, true),
        ("http://127.0.0.1:3000/in", true, true),
        ("http://[::1]/in", true, true),
        ("http://localhost/in", true, true),
        ("com.example.app:/in", false, true),
        ("com.example.app://in/there", false, true),
        // To other machines, or to names that only look like this one.
        ("http://shop.example/in", false, false),
        ("http://localhost.evil.example/", false, false),
        ("http://127.0.0.1.evil.example/", false, false),
        ("http://127.0.0.2/", false, false),
        ("http://2130706433/", false, false),
        ("http://[::ffff:127.0.0.1]/", false, false),
        ("HTTP://localhost/", false, false),
        ("HTTPS://shop.example/", false, false),
        // Schemes that run code, or that nobody owns.
        ("javascript:alert(1)", false, false),
        ("JavaScript://shop.example/%0Aalert(1)", false, false),
        ("data:text/html,x", false, false),
        ("vbscript:x", false, false),
        ("file:///etc/passwd", false, false),
        ("blob:https://shop.example/x", false, false),
        ("about:blank", false, false),
        ("myapp:/in", false, false),
    ] {
        check(text, Web, if web { Ok(()) } else { Err(InvalidUri::Scheme) });
        check(text, Native, if native { Ok(()) } else { Err(InvalidUri::Scheme) });
    }
}

#[test]
fn tricks() {
    for application in [Web, Native] {
        for text in [
            "https://shop.example@evil.example/",
            "https://shop.example:pass@evil.example/",
            "https://@shop.example/",
            "https:///in",
            "https:in",
            "https://shop.example:/in",
            "https://shop.example:0/in",
            "https://shop.example:080/in",
            "https://shop.example:65536/in",
            "https://shop.example:+1/in",
            "https://[::1/in",
            "https://[::1]evil.example/in",
            "https://[fe80::1%25eth0]/in",
            "https://*.shop.example/in",
            "https://shop%2eexample/in",
        ] {
            check(text, application, Err(InvalidUri::Authority));
        }
        for text in [
            "",
            "shop.example/in",
            "/in",
            "//shop.example/in",
            "://shop.example",
            "1https://shop.example",
            " https://shop.example",
            "https://shop.example\\@evil.example/",
            "https:\\\\shop.example/",
            "https://shop.example/in\n",
            "https://shop.example/\tin",
            "https://shop.example/a b",
            "https://bücher.example/",
            "https://shop。example/",
            "https://shop.example/%",
            "https://shop.example/%zz",
            "https://shop.example/<script>",
            "https://shop.example/\"",
            "https://shop.example/[",
            "https://shop.example/?a=[1]",
        ] {
            check(text, application, Err(InvalidUri::Malformed));
        }
        check("https://shop.example/in#", application, Err(InvalidUri::Fragment));
        check("https://shop.example/in#part", application, Err(InvalidUri::Fragment));
        let long = |bytes: usize| format!("https://shop.example/{}", "a".repeat(bytes - 21));
        check(&long(URI_BYTES_MAX), application, Ok(()));
        check(&long(URI_BYTES_MAX + 1), application, Err(InvalidUri::TooLong));
    }
}

#[test]
fn open_redirect() {
    let uri = RedirectUri::parse("https://shop.example/in", Web).unwrap();
    assert!(uri.admits("https://shop.example/in"));
    for presented in [
        "",
        "https://shop.example/in/",
        "https://shop.example/in?x=1",
        "https://shop.example/in#x",
        "https://shop.example/",
        "https://shop.example/in/../out",
        "https://shop.example/%69n",
        "https://shop.example:443/in",
        "HTTPS://shop.example/in",
        "https://SHOP.example/in",
        "http://shop.example/in",
        "https://shop.example.evil.example/in",
        "https://evil.example/https://shop.example/in",
        "https://user@shop.example/in",
        "https://shop.example/in ",
    ] {
        assert!(!uri.admits(presented), "{presented}");
    }
}

#[test]
fn only_the_port_of_a_native_apps_own_machine_is_free() {
    let cases: [(&str, ApplicationType, &str, bool); 23] = [
        ("http://127.0.0.1/in", Native, "http://127.0.0.1:1/in", true),
        ("http://127.0.0.1/in", Native, "http://127.0.0.1:65535/in", true),
        ("http://127.0.0.1:80/in", Native, "http://127.0.0.1/in", true),
        ("http://127.0.0.1:80/in", Native, "http://127.0.0.1:81/in", true),
        ("http://[::1]/in?a=b", Native, "http://[::1]:5/in?a=b", true),
        ("http://localhost", Native, "http://localhost:5", true),
        ("http://localhost?a", Native, "http://localhost:5?a", true),
        ("http://127.0.0.1/in", Native, "http://127.0.0.1:65536/in", false),
        ("http://127.0.0.1/in", Native, "http://127.0.0.1:0/in", false),
        ("http://127.0.0.1/in", Native, "http://127.0.0.1:01/in", false),
        ("http://127.0.0.1/in", Native, "http://127.0.0.1:/in", false),
        ("http://127.0.0.1/in", Native, "http://127.0.0.1:5/other", false),
        ("http://127.0.0.1/in", Native, "http://127.0.0.1:5/x/in", false),
        ("http://127.0.0.1/in", Native, "http://127.0.0.1:5@evil.example/in", false),
        ("http://127.0.0.1/in", Native, "http://127.0.0.1.evil.example/in", false),
        ("http://127.0.0.1/in", Native, "http://127.0.0.15/in", false),
        ("http://127.0.0.1/in", Native, "http://localhost:5/in", false),
        ("http://127.0.0.1/in", Native, "http://[::1]:5/in", false),
        ("http://127.0.0.1/in", Native, "https://127.0.0.1:5/in", false),
        ("http://127.0.0.1/in", Native, "http://127.0.0.1:5/in#x", false),
        // Overlapping ends: the text is shorter than both together.
        ("http://127.0.0.1:80/", Native, "http://127.0.0.1", false),
        ("http://127.0.0.1:80/in", Web, "http://127.0.0.1:81/in", false),
        ("https://127.0.0.1/in", Native, "https://127.0.0.1:5/in", false),
    ];
    for (registered, application, presented, admitted) in cases {
        let uri = RedirectUri::parse(registered, application).unwrap();
        assert_eq!(uri.as_str(), registered);
        assert_eq!(uri.admits(presented), admitted, "{registered} {presented}");
    }
}

#[test]
fn normal_forms() {
    for (text, normal) in [
        ("HTTPS://Shop.Example:443", "https://shop.example/"),
        ("http://shop.example:80/?q#f", "http://shop.example/"),
        ("http://shop.example:443/", "http://shop.example:443/"),
        ("https://shop.example/a/./b/../c/", "https://shop.example/a/c/"),
        ("https://shop.example/../../a/..", "https://shop.example/"),
        ("https://shop.example/%7ea%2Fb%2f%c3%a9", "https://shop.example/~a%2Fb%2F%C3%A9"),
        ("https://shop.example/%2e%2E/a", "https://shop.example/a"),
        ("https://shop.example//a", "https://shop.example//a"),
        ("https://[2001:DB8::1]/", "https://[2001:db8::1]/"),
    ] {
        let uri = Uri::parse(text).unwrap();
        assert_eq!(uri.normal_target().as_deref(), Some(normal), "{text}");
        assert_eq!(Uri::parse(normal).unwrap().normal_target().as_deref(), Some(normal));
    }
    assert_eq!(Uri::parse("urn:example:a").unwrap().normal_target(), None);
}
