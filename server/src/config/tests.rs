mod forward;
mod mistakes;

use std::{io, path::Path, time::Duration};

use proptest::prelude::*;
use symbolon_core::{
    client::{ClientKind, SecretDigest},
    keys::Algorithm,
    secret::SecretText,
};

use super::{sections::SECTIONS, *};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const DIGEST: &str = "5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9";

fn files(path: &Path) -> io::Result<String> {
    match path.to_str() {
        Some("/secret") => Ok(format!("{SECRET}\n")),
        Some("/short") => Ok("short".to_owned()),
        Some("/logo.svg") => Ok("<svg xmlns='http://www.w3.org/2000/svg'/>".to_owned()),
        Some("/page.html") => Ok("<html>".to_owned()),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    }
}

fn sources(toml: &str) -> Sources {
    Sources { file: Some(("s.toml".into(), toml.to_owned())), ..Sources::default() }
}

fn load(toml: &str) -> Result<Config, Vec<ConfigError>> {
    Config::load(&sources(toml), &files)
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn everything_has_a_default() {
    let config = Config::load(&Sources::default(), &files).unwrap();
    assert_eq!(config.public_url.issuer(), "http://localhost:8080");
    assert_eq!(config.master_key_file, Path::new("./symbolon-data/master.key"));
    assert_eq!(config.registration, Registration::Closed);
    assert_eq!(config.password.cost, crate::password::Cost::DEFAULT);
    assert_eq!(config.limits.quotas().login, LoginQuotas::default());
    let [client] = &config.clients[..] else { panic!("{:?}", config.clients) };
    assert_eq!((client.id.as_str(), client.first_party), ("symbolon", true));
    assert!(config.shown().iter().all(|shown| shown.origin == Origin::Default));
}

#[test]
fn every_setting_is_read_and_shown() {
    let config = load(
        "[client.shop]\nkind = 'public'\nbrand.name = 'Shop'\n[scope.shop]\ndescription = 'Buy'\n[claim.shop]\nvalue = 'x'",
    )
    .unwrap();
    let shown: Vec<&str> = config.shown().iter().map(|shown| shown.key.as_str()).collect();
    for section in SECTIONS {
        for setting in section.settings {
            let mut key: Vec<&str> = section.at.to_vec();
            key.push(setting.name);
            let key = key.join(".").replace('*', "shop");
            assert!(shown.contains(&key.as_str()), "{key} is in no `config show`");
        }
    }
}

/// With a token for the server itself an application does what its user can do here.
#[test]
fn an_application_of_others_gets_no_token_for_the_server_by_default() {
    for (settings, gets) in [
        ("first_party = true", true),
        ("grant_types = ['client_credentials']", true),
        ("redirect_uris = ['https://theirs.example/in']", false),
        ("grant_types = ['urn:ietf:params:oauth:grant-type:device_code']", false),
        (
            "first_party = true\nsubject_type = 'pairwise'\nredirect_uris = ['https://a.example/in']",
            false,
        ),
    ] {
        let text = format!(
            "public_url = 'https://auth.example'\n[client.theirs]\nkind = 'confidential'\nsecret_sha256 = '{DIGEST}'\n{settings}"
        );
        let audiences = &load(&text).unwrap().clients[0].audiences;
        assert_eq!(audiences.contains(&"https://auth.example".to_owned()), gets, "{settings}");
    }
}

#[test]
fn a_whole_file() {
    let config = load(&format!(
        r##"
        public_url = "https://shop.example/auth/"
        data_dir = "/var/lib/symbolon"
        default_locale = "ko"
        [listen]
        address = "[::]:443"
        tls_certificate_file = "/c.pem"
        tls_key_file = "/k.pem"
        [lifetimes]
        access_token = "90s"
        [registration]
        mode = "invitation"
        [brand]
        name = "Shop"
        accent = "#f80"
        links = [{{ label = "Privacy", url = "https://shop.example/privacy" }}]
        [client."shop.web"]
        kind = "confidential"
        application_type = "native"
        secret_file = "/secret"
        audiences = ["https://api.example"]
        origins = ["https://shop.example"]
        redirect_uris = ["https://shop.example/cb?x=1", "com.example.shop:/cb", "http://127.0.0.1:9/cb"]
        algorithm = "EdDSA"
        browser.cart = "write"
        brand.logo_file = "/logo.svg"
        [client.api]
        kind = "resource"
        secret_sha256 = "{DIGEST}"
        [log]
        format = "json"
        level = "warn,symbolon=debug"
        [keys]
        master_key_file = "/run/keys/master"
        "##
    ))
    .unwrap();
    assert_eq!(config.public_url.issuer(), "https://shop.example/auth");
    assert_eq!(config.lifetimes.access_token, Duration::from_secs(90));
    assert_eq!(config.master_key_file, Path::new("/run/keys/master"));
    let [api, shop, _] = &config.clients[..] else { panic!("{:?}", config.clients) };
    assert_eq!((shop.id.as_str(), shop.kind), ("shop.web", ClientKind::Confidential));
    assert_eq!(shop.secret, Some(SecretDigest::of(&SecretText::new(SECRET.to_owned()))));
    assert_eq!(shop.algorithm, Algorithm::Ed25519);
    assert!(shop.declared && !shop.first_party);
    assert_eq!(api.audiences, ["https://shop.example/auth"], "by default the server itself");
    // A client's brand is as the server's in what it leaves out.
    assert_eq!(config.client_brands[&shop.id].name(), "Shop");
    assert_eq!(config.client_brands.len(), 1);
    let shown = |key: &str| config.shown().iter().find(|shown| shown.key == key).unwrap().clone();
    let line = |line| Origin::File { path: "s.toml".into(), line };
    assert_eq!(shown("lifetimes.access_token").origin, line(10));
    assert_eq!(shown("client.api.secret_sha256").value.as_deref(), Some("(not shown)"));
    assert_eq!(shown("client.\"shop.web\".browser").value.as_deref(), Some("{ cart = \"write\" }"));
    assert!(!format!("{:?}", config.shown()).contains(&DIGEST[..8]));
}

#[test]
fn variables_are_read_by_the_type_of_their_setting() {
    let environment = pairs(&[
        ("SYMBOLON_LISTEN__TRUSTED_PROXIES", "10.0.0.0/8, ::1"),
        ("SYMBOLON_PASSWORD__LENGTH_MIN", "20"),
        ("SYMBOLON_CLIENT__SHOP__KIND", "public"),
        ("SYMBOLON_CLIENT__SHOP__FIRST_PARTY", "true"),
        // Not ours.
        ("SYMBOLON_CONFIG", "/etc/symbolon.toml"),
        ("SYMBOLON_SERVICE_HOST", "10.0.0.1"),
        ("SYMBOLON_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("HOME", "/root"),
    ]);
    let config = Config::load(&Sources { environment, ..Sources::default() }, &files).unwrap();
    assert_eq!(config.listen.trusted_proxies.len(), 2);
    assert_eq!(config.password.length_min, 20);
    assert!(config.clients[0].first_party);
    for (name, value, code) in [
        ("SYMBOLON_PASWORD__LENGTH_MIN", "20", "config_unknown_key"),
        ("SYMBOLON_PASSWORD__LENGTH_MIN", "many", "config_invalid_value"),
        ("SYMBOLON_CLIENT__SHOP__FIRST_PARTY", "yes", "config_invalid_value"),
    ] {
        let environment = pairs(&[("SYMBOLON_CLIENT__SHOP__KIND", "public"), (name, value)]);
        let sources = Sources { environment, ..Sources::default() };
        let errors = Config::load(&sources, &files).unwrap_err();
        assert_eq!(errors[0].code, code, "{name}");
        assert_eq!(errors[0].origin, Some(Origin::Variable(name.to_owned())));
    }
}

#[test]
fn no_declared_client_is_left_out() {
    let declare = |count: usize| {
        let table = |n| format!("[client.c{n}]\nkind = 'public'\nfirst_party = true\n");
        (0..count).map(table).collect::<String>()
    };
    // More settings than clients may be.
    assert_eq!(load(&declare(5001)).unwrap().clients.len(), 5002);
    let errors = load(&declare(10_001)).unwrap_err();
    let [error] = &errors[..] else { panic!("{} errors", errors.len()) };
    assert_eq!(error.to_string(), "client: 10001 clients are more than 10000");
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_no_text_is_refused() {
    use std::os::unix::ffi::OsStringExt;
    let no_text = || OsString::from_vec(b"/data/\xff".to_vec());
    let variables =
        |names: &[&str]| names.iter().map(|name| (name.into(), no_text())).collect::<Vec<_>>();
    let errors = texts(variables(&["SYMBOLON_DATA_DIR"]).into_iter()).unwrap_err();
    assert_eq!(errors[0].cause, "the value of SYMBOLON_DATA_DIR is no UTF-8 text");
    let others = variables(&["PATH", "SYMBOLON_CONFIG"]);
    assert_eq!(texts(others.into_iter()), Ok(Vec::new()));
}

proptest! {
    /// Whatever layers speak, the strongest of them wins, and says that it was it.
    #[test]
    fn the_strongest_layer_wins(layers in proptest::array::uniform4(proptest::option::of(10..=3600_u64))) {
        let [command, file, variable, flag] = layers;
        let span = |secs: u64| format!("{secs}s");
        let key = "lifetimes.access_token";
        let one = |name: &str, value: Option<u64>| {
            value.map(|value| (name.to_owned(), span(value))).into_iter().collect::<Vec<_>>()
        };
        let sources = Sources {
            defaults: one(key, command),
            file: file.map(|file| ("s.toml".into(), format!("{key} = '{}'", span(file)))),
            environment: one("SYMBOLON_LIFETIMES__ACCESS_TOKEN", variable),
            flags: one(key, flag),
        };
        let config = Config::load(&sources, &files).unwrap();
        let strongest = flag.or(variable).or(file).or(command).unwrap_or(300);
        prop_assert_eq!(config.lifetimes.access_token, Duration::from_secs(strongest));
        let origin = match (flag, variable, file, command) {
            (Some(_), ..) => Origin::Flag,
            (_, Some(_), ..) => Origin::Variable("SYMBOLON_LIFETIMES__ACCESS_TOKEN".to_owned()),
            (_, _, Some(_), _) => Origin::File { path: "s.toml".into(), line: 1 },
            (.., Some(_)) => Origin::Command,
            _ => Origin::Default,
        };
        let shown = config.shown().iter().find(|shown| shown.key == key).unwrap();
        prop_assert_eq!(&shown.origin, &origin);
    }

    /// A file may hold anything: it is taken or refused, and never stops the process.
    #[test]
    fn no_file_breaks_the_reader(toml in "([a-z._\\[\\]]{1,12} ?=? ?['\"\\[{0-9a-z]{0,9}['\"\\]}]?\n){0,6}") {
        let _ = load(&toml);
    }
}

#[test]
fn serve_refuses_what_is_unsafe() {
    const SAFE: &str = "public_url = 'https://auth.example'\n";
    let tls = "tls_certificate_file = '/c'\ntls_key_file = '/k'";
    for (toml, refused) in [
        ("", vec!["unsafe_public_url"]),
        ("public_url = 'http://localhost:8080'", vec![]),
        (SAFE, vec!["unsafe_plain_http"]),
        (&format!("{SAFE}[listen]\n{tls}"), vec![]),
        (&format!("{SAFE}[listen]\ntrusted_proxies = ['127.0.0.1']"), vec![]),
        (
            &format!("{SAFE}[listen]\naddress = '0.0.0.0:80'\ntrusted_proxies = ['10.0.0.0/8']"),
            vec![],
        ),
        (&format!("{SAFE}[listen]\ntrusted_proxies = ['::/0']"), vec!["unsafe_trusted_proxies"]),
        (
            "public_url = 'http://localhost'\n[listen]\naddress = '0.0.0.0:80'",
            vec!["unsafe_plain_http"],
        ),
        (&format!("public_url = 'http://localhost'\n[listen]\n{tls}"), vec!["unsafe_scheme"]),
        (
            &format!("{SAFE}[listen]\n{tls}\n[password]\nmemory_kib = 1024"),
            vec!["unsafe_password_hash"],
        ),
        // As much work as OWASP asks, in too little memory.
        (
            &format!("{SAFE}[listen]\n{tls}\n[password]\nmemory_kib = 1024\niterations = 64"),
            vec!["unsafe_password_hash"],
        ),
        (&format!("{SAFE}[listen]\n{tls}\n[password]\nmemory_kib = 7168\niterations = 5"), vec![]),
        ("public_url = 'http://localhost'\n[password]\nmemory_kib = 1024", vec![]),
    ] {
        let errors = load(toml).unwrap().refuse_unsafe();
        let codes: Vec<_> = errors.iter().map(|error| error.code).collect();
        assert_eq!(codes, refused, "{toml}");
        assert!(errors.iter().all(|error| !error.fix.is_empty() && error.key.is_some()));
    }
}

#[test]
fn operators_are_warned() {
    let codes = |toml: &str| {
        let warnings = load(toml).unwrap().warnings();
        warnings.iter().map(|warning| warning.code).collect::<Vec<_>>()
    };
    assert_eq!(codes("public_url = 'https://a.example'"), Vec::<&str>::new());
    let many = "[registration]\nmode = 'open'\n[password]\nlength_min = 8";
    assert_eq!(codes(many), ["open_registration", "local_public_url", "short_passwords"]);
}

#[test]
fn defaults_and_bounds_can_be_read() {
    for setting in SECTIONS.iter().flat_map(|section| section.settings) {
        let bounds = setting.bounds.into_iter().flat_map(|(least, most)| [least, most]);
        for text in setting.default.into_iter().chain(bounds) {
            assert!(reader::toml_value(text).is_some(), "{}: {text}", setting.name);
        }
        assert!(setting.what.trim().ends_with('.'), "{}: {}", setting.name, setting.what);
    }
}

#[test]
fn the_reference_is_as_reviewed() {
    insta::assert_snapshot!(reference(SECTIONS));
}
