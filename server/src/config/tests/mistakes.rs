//! What is wrong is told so that it can be mended.

use super::*;

#[test]
fn each_mistake_names_its_key_and_how_to_mend_it() {
    let long = "a".repeat(70);
    for (toml, code, key, said) in [
        ("x = ", "config_syntax", "", "the file is no TOML"),
        ("publik_url = 'a'", "config_unknown_key", "publik_url", "Did you mean `public_url`?"),
        (
            "access_token = '5m'",
            "config_unknown_key",
            "access_token",
            "Did you mean `lifetimes.access_token`?",
        ),
        (
            "[lifetime]\naccess_token = '5m'",
            "config_unknown_key",
            "lifetime.access_token",
            "Did you mean `lifetimes.access_token`?",
        ),
        (
            "[client.a]\nkind='public'\norigin=[]",
            "config_unknown_key",
            "client.a.origin",
            "Did you mean `client.a.origins`?",
        ),
        (
            "[entirely.different]\nthing = 1",
            "config_unknown_key",
            "entirely.different.thing",
            "config reference",
        ),
        ("listen = 5", "config_unknown_key", "listen", "this is a table"),
        (
            "[client.a]\nkind='public'\nsecret='hunter2hunter2'",
            "config_unknown_key",
            "client.a.secret",
            "secret_file",
        ),
        (
            "default_locale = 1",
            "config_invalid_value",
            "default_locale",
            "expected one of `en` `ko`, found an integer",
        ),
        ("default_locale = 'fr'", "config_invalid_value", "default_locale", "one of `en` `ko`"),
        (
            "public_url = 'http://shop.example'",
            "config_invalid_value",
            "public_url",
            "plain http is for localhost only",
        ),
        ("public_url = 'https://shop.example/?a'", "config_invalid_value", "public_url", "path"),
        (
            "public_url = 'shop.example'",
            "config_invalid_value",
            "public_url",
            "such as https://auth.example",
        ),
        (
            "[listen]\naddress = 'localhost'",
            "config_invalid_value",
            "listen.address",
            "127.0.0.1:8080",
        ),
        (
            "[listen]\naddress = '0.0.0.0:80'",
            "config_missing",
            "public_url",
            "browsers need to know",
        ),
        (
            "[listen]\naddress = '127.0.0.1:0'",
            "config_missing",
            "public_url",
            "browsers need to know",
        ),
        (
            "[listen]\ntls_key_file = '/k'",
            "config_invalid_value",
            "listen.tls_certificate_file",
            "Give both",
        ),
        (
            "[listen]\ntrusted_proxies = ['10.0.0.1/8']",
            "config_invalid_value",
            "listen.trusted_proxies",
            "value 1: the address has bits set",
        ),
        (
            "[listen]\ntrusted_proxies = '10.0.0.1'",
            "config_invalid_value",
            "listen.trusted_proxies",
            "found a string",
        ),
        (
            "[lifetimes]\naccess_token = 300",
            "config_invalid_value",
            "lifetimes.access_token",
            "with its unit, found an integer",
        ),
        (
            "[lifetimes]\naccess_token = '300'",
            "config_invalid_value",
            "lifetimes.access_token",
            "the unit is missing",
        ),
        (
            "[lifetimes]\naccess_token = '5 min'",
            "config_invalid_value",
            "lifetimes.access_token",
            "none of ms, s, m, h and d",
        ),
        (
            "[lifetimes]\naccess_token = '2h'",
            "config_invalid_value",
            "lifetimes.access_token",
            "Choose 10s to 1h.",
        ),
        (
            "[lifetimes]\naccess_token = '99999999999999999999d'",
            "config_invalid_value",
            "lifetimes.access_token",
            "whole number",
        ),
        (
            "[lifetimes]\nsession_idle = '48h'",
            "config_invalid_value",
            "lifetimes.session_idle",
            "longer than session_absolute",
        ),
        (
            "[password]\nlength_min = 7",
            "config_invalid_value",
            "password.length_min",
            "Choose 8 to 64.",
        ),
        (
            "[password]\nmemory_kib = 8\nparallelism = 2",
            "config_invalid_value",
            "password.memory_kib",
            "8 KiB",
        ),
        (
            "[password]\nmemory_kib = -1",
            "config_invalid_value",
            "password.memory_kib",
            "out of range",
        ),
        (
            "[password]\nhashes_in_flight_max = 0",
            "config_invalid_value",
            "password.hashes_in_flight_max",
            "too small",
        ),
        (
            "[limits]\nlogin_per_account = '5'",
            "config_invalid_value",
            "limits.login_per_account",
            "100, then 1 per 36s",
        ),
        (
            "[limits]\nlogin_per_account = '5, then 1 per 2h'",
            "config_invalid_value",
            "limits.login_per_account",
            "1ms to 1h",
        ),
        (
            "[registration]\nmode = 'opne'",
            "config_invalid_value",
            "registration.mode",
            "one of `closed` `invitation` `open`",
        ),
        ("[brand]\naccent = 'red'", "config_invalid_value", "brand.accent", "#rrggbb"),
        (
            "[brand]\nlogo_file = '/none'",
            "config_invalid_value",
            "brand.logo_file",
            "cannot be read",
        ),
        ("[brand]\nlogo_file = '/page.html'", "config_invalid_value", "brand", "SVG"),
        (
            "[brand]\nlinks = [{ label = 'x' }]",
            "config_invalid_value",
            "brand.links",
            "missing field `url`",
        ),
        (
            "[lifetimes]\nsession_absolute = '4h'",
            "config_invalid_value",
            "lifetimes.session_absolute",
            "shorter than session_idle",
        ),
        ("[client.a]", "config_missing", "client.a.kind", "such as public"),
        (
            "[client.symbolon]\nkind = 'public'",
            "config_invalid_value",
            "client.symbolon",
            "first_party = true",
        ),
        (
            "default_client = 'a'\n[client.a]\nkind = 'resource'\nfirst_party = true\nsecret_file = '/secret'",
            "config_invalid_value",
            "client.a",
            "nobody could log in",
        ),
        (
            "[client.a]\nkind = 'public'\nbackchannel_logout_uri = 'https://user@shop.example/'",
            "config_invalid_value",
            "client.a.backchannel_logout_uri",
            "without user and fragment",
        ),
        (
            "[client.a]\nkind = 'public'\nredirect_uris = ['https://shop.example/in']\n\
             frontchannel_logout_uri = 'https://shop.example.evil.example/out'",
            "config_invalid_value",
            "client.a.frontchannel_logout_uri",
            "of one of the redirect_uris",
        ),
        (
            "[client.a]\nkind = 'public'\npost_logout_redirect_uris = ['javascript:alert(1)']",
            "config_invalid_value",
            "client.a.post_logout_redirect_uris",
            "a scheme with a dot in it",
        ),
        ("[client.a]\nkind = 'machine'", "config_invalid_value", "client.a.kind", "`resource`"),
        ("[client.A]\nkind = 'public'", "config_invalid_value", "client.A", "a client id is"),
        (
            &format!("[client.{long}]\nkind = 'public'"),
            "config_invalid_value",
            &format!("client.{long}"),
            "a client id is",
        ),
        (
            "[client.a]\nkind = 'confidential'",
            "config_missing",
            "client.a.secret_sha256",
            "needs a secret",
        ),
        (
            "[client.a]\nkind = 'public'\nsecret_file = '/secret'",
            "config_invalid_value",
            "client.a.secret_file",
            "keeps no secret",
        ),
        (
            "[client.a]\nkind = 'resource'\nsecret_file = '/short'",
            "config_invalid_value",
            "client.a.secret_file",
            "fewer than 32",
        ),
        (
            "[client.a]\nkind = 'resource'\nsecret_file = '/none'",
            "config_invalid_value",
            "client.a.secret_file",
            "cannot be read",
        ),
        (
            "[client.a]\nkind = 'resource'\nsecret_sha256 = 'abc'",
            "config_invalid_value",
            "client.a.secret_sha256",
            "64 hexadecimal",
        ),
        (
            "[client.a]\nkind = 'public'\norigins = ['https://a.example/']",
            "config_invalid_value",
            "client.a.origins",
            "without a path",
        ),
        (
            "[client.a]\nkind = 'public'\nredirect_uris = ['javascript:alert(1)']",
            "config_invalid_value",
            "client.a.redirect_uris",
            "a native app's own scheme",
        ),
        (
            "[client.a]\nkind = 'public'\nredirect_uris = ['http://shop.example/cb']",
            "config_invalid_value",
            "client.a.redirect_uris",
            "http to a loopback address",
        ),
        (
            "[client.a]\nkind = 'public'\nredirect_uris = ['https://a.example/#x']",
            "config_invalid_value",
            "client.a.redirect_uris",
            "fragment",
        ),
        (
            "[client.a]\nkind = 'public'\nredirect_uris = ['https://*.example/']",
            "config_invalid_value",
            "client.a.redirect_uris",
            "host, port or user",
        ),
        (
            "[client.a]\nkind = 'public'\nredirect_uris = ['https:']",
            "config_invalid_value",
            "client.a.redirect_uris",
            "host, port or user",
        ),
        (
            "[client.a]\nkind = 'public'\nredirect_uris = ['https:x']",
            "config_invalid_value",
            "client.a.redirect_uris",
            "host, port or user",
        ),
        (
            "[client.a]\nkind = 'public'\nredirect_uris = ['com.example.app:/cb']",
            "config_invalid_value",
            "client.a.redirect_uris",
            "value 1: a redirect URI is https",
        ),
        (
            "[client.a]\nkind = 'public'\ntoken_endpoint_auth_method = 'private_key_jwt'",
            "config_invalid_value",
            "client.a.token_endpoint_auth_method",
            "cannot prove itself",
        ),
        (
            "[client.a]\nkind = 'public'\nabout.policy_uri = 'http://a.example/'",
            "config_invalid_value",
            "client.a.about.policy_uri",
            "no https URL",
        ),
        (
            "[client_registration]\nmode = 'on'",
            "config_invalid_value",
            "client_registration.mode",
            "`token`",
        ),
        (
            "[client.a]\nkind = 'public'\nbrowser.cart = 'all'",
            "config_invalid_value",
            "client.a.browser",
            "`read`",
        ),
        (
            "[log]\nlevel = 'verbose'",
            "config_invalid_value",
            "log.level",
            "error, warn, info, debug and trace",
        ),
    ] {
        let errors = load(toml).err().unwrap_or_default();
        let [error] = &errors[..] else { panic!("{toml}: {errors:?}") };
        assert_eq!((error.code, error.key.as_deref().unwrap_or_default()), (code, key), "{toml}");
        let text = format!("{error} {}", error.fix);
        assert!(text.contains(said), "{toml}: {text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}

/// What the configuration adds to tokens changes nothing of what they are, and what cannot be is said at once.
#[test]
fn claims_and_subjects_that_cannot_be() {
    let check = |toml: &str, key: &str, said: &str| {
        let errors = load(toml).err().unwrap_or_default();
        let [error] = &errors[..] else { panic!("{toml}: {errors:?}") };
        assert_eq!(
            (error.code, error.key.as_deref()),
            ("config_invalid_value", Some(key)),
            "{toml}"
        );
        assert!(format!("{error} {}", error.fix).contains(said), "{toml}: {error}");
    };
    for name in
        ["iss", "sub", "aud", "exp", "iat", "sid", "scope", "cnf", "acr", "nonce", "username"]
    {
        check(&format!("[claim.{name}]\nvalue = 'x'"), &format!("claim.{name}"), "the protocol");
    }
    let places = "places = ['access_token']";
    for (toml, key, said) in [
        ("[claim.email]\nvalue = 'x'", "claim.email", "standard claim"),
        ("[claim.email]\nfrom = 'nickname'", "claim.email", "standard claim"),
        ("[claim.mail]\nfrom = 'password'", "claim.mail.from", "neither"),
        ("[claim.mail]\nplaces = ['id_token']", "claim.mail", "either"),
        ("[claim.mail]\nfrom = 'email'\nvalue = 'x'", "claim.mail", "either"),
        (
            &format!("[claim.roles]\nfrom = 'roles'\n{places}"),
            "claim.roles.places",
            "by themselves",
        ),
        ("[claim.'a b']\nvalue = 'x'", "claim.\"a b\"", "visible"),
        ("[claim.x]\nvalue = 'x'\nplaces = ['logout_token']", "claim.x.places", "`userinfo`"),
        (&format!("[claim.x]\nvalue = '{}'", "x".repeat(2000)), "claim.x.value", "1024"),
        (
            "[client.a]\nkind = 'public'\nsubject_type = 'pairwise'",
            "client.a.subject_type",
            "one host",
        ),
        (
            "[client.a]\nkind = 'public'\nsubject_type = 'pairwise'\n\
             redirect_uris = ['https://a.example', 'https://b.example']",
            "client.a.subject_type",
            "sector_identifier_uri",
        ),
        (
            "[client.a]\nkind = 'public'\nsubject_type = 'pairwise'\n\
             redirect_uris = ['https://a.example']\naudiences = ['http://localhost:8080']",
            "client.a.subject_type",
            "own id",
        ),
    ] {
        check(toml, key, said);
    }
    let many: String = (0..33).map(|n| format!("[claim.x{n}]\nvalue = 'x'\n")).collect();
    check(&many, "claim", "33");
}

#[test]
fn all_mistakes_are_told_at_once() {
    let errors = load(
        "x = 1\n[lifetimes]\naccess_token = '2h'\n[listen]\naddress = 1\n[client.a]\nkind = 1",
    )
    .unwrap_err();
    let keys: Vec<_> = errors.iter().filter_map(|error| error.key.as_deref()).collect();
    assert_eq!(keys, ["x", "listen.address", "lifetimes.access_token", "client.a.kind"]);
}

#[test]
fn a_line_that_is_no_toml_is_not_repeated() {
    let errors = load("a = 1\n[client.shop]\nsecret_sha256 = hunter2").unwrap_err();
    assert!(!format!("{errors:?}").contains("hunter2"), "{errors:?}");
    assert_eq!(errors[0].origin, Some(Origin::File { path: "s.toml".into(), line: 3 }));
}

#[test]
fn mistakes_of_a_table_name_its_line() {
    for (toml, key, line) in [
        ("\n[client.A]\norigins = []\nkind = 'public'", "client.A", 3),
        ("\n[client.a]\nfirst_party = true", "client.a.kind", 3),
        ("\n[client.a]\nkind = 'resource'", "client.a.secret_sha256", 3),
        ("\n[brand]\nlogo_file = '/page.html'", "brand", 3),
        ("\n[listen]\ntls_key_file = '/k'", "listen.tls_certificate_file", 3),
        ("\n[lifetimes]\nsession_absolute = '4h'", "lifetimes.session_absolute", 3),
    ] {
        let errors = load(toml).err().unwrap_or_default();
        let [error] = &errors[..] else { panic!("{toml}: {errors:?}") };
        assert_eq!(error.key.as_deref(), Some(key));
        assert_eq!(error.origin, Some(Origin::File { path: "s.toml".into(), line }), "{toml}");
    }
}
