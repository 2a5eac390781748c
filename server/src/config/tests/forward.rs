//! The settings of `symbolon forward-auth`.

use super::{
    super::forward::{Access, ForwardConfig, RulePath},
    *,
};

const LEAST: &str = "origins = ['https://shop.example']\n[server]\nurl = 'https://auth.example'\n\
                     client_id = 'shop'\nclient_secret_file = '/secret'\n";

fn load(more: &str) -> Result<ForwardConfig, Vec<ConfigError>> {
    ForwardConfig::load(&sources(&format!("{LEAST}{more}")), &files)
}

#[test]
fn rules_keep_the_order_of_the_file() {
    let config = load(
        "[[rule]]\n[[rule]]\npath = '/a'\nmethods = ['GET', 'HEAD']\naccess = 'public'\n\
         [[rule]]\npath_exact = '/b%c3%a9/'\nrole = 'admin'\nassurance = 'aal2'\ndial = 'strict'",
    )
    .unwrap();
    let [all, public, admin] = &config.rules[..] else { panic!("{:?}", config.rules) };
    assert_eq!((all.access, &all.path), (Access::Login, &None), "a rule with nothing in it is one");
    assert_eq!((public.access, public.methods.len()), (Access::Public, 2));
    assert_eq!(admin.path_exact, Some(RulePath("/b%C3%A9/".to_owned())));
    assert_eq!(admin.dial, Some(symbolon_guard::follow::Dial::Strict));
    let many: String = (0..12).map(|n| format!("[[rule]]\npath = '/{n}'\n")).collect();
    let paths = load(&many).unwrap().rules.into_iter().map(|rule| rule.path.unwrap().0);
    assert!(paths.eq((0..12).map(|n| format!("/{n}"))));
    let role = config.shown().iter().find(|shown| shown.key == "rule.3.role").unwrap();
    assert_eq!(role.origin, Origin::File { path: "s.toml".into(), line: 13 });
}

#[test]
fn variables_reach_rules_too() {
    let environment = pairs(&[
        ("SYMBOLON_RULE__2__ROLE", "owner"),
        ("SYMBOLON_SERVER__AUDIENCE", "https://shop.example"),
    ]);
    let file = Some(("s.toml".into(), format!("{LEAST}[[rule]]\n[[rule]]\nrole = 'admin'")));
    let sources = Sources { file, environment, ..Sources::default() };
    let config = ForwardConfig::load(&sources, &files).unwrap();
    assert_eq!(config.rules[1].role.as_deref(), Some("owner"));
    assert_eq!(config.server.audience.as_deref(), Some("https://shop.example"));
}

#[test]
fn what_cannot_be_is_refused_with_its_place() {
    for (more, key, cause) in [
        ("[[rule]]\npaht = '/a'", "rule.1.paht", "there is no such setting"),
        ("[[rules]]\npath = '/a'", "rules", "there is no such setting"),
        ("[rule.a]\npath = '/a'", "rule.a.path", "there is no such setting"),
        ("[[rule]]\npath = '/a/../b'", "rule.1.path", "the path has a segment . or .."),
        ("[[rule]]\npath = '/a?b'", "rule.1.path", "a path begins with / and is of bounded length"),
        ("[[rule]]\npath = 'a'", "rule.1.path", "a path begins with / and is of bounded length"),
        (
            "[[rule]]\npath = '/'\npath_exact = '/'",
            "rule.1.path_exact",
            "the rule has a path already",
        ),
        (
            "[[rule]]\nmethods = ['get']",
            "rule.1.methods",
            "value 1: a method is written in capital letters",
        ),
        ("[[rule]]\nhost = 'evil.example'", "rule.1.host", "no origin has this host"),
        (
            "[[rule]]\naccess = 'public'\nrole = 'a'",
            "rule.1.access",
            "everybody gets in, and yet something is asked of them",
        ),
        (
            "[[rule]]\ndial = 'lax'",
            "rule.1.dial",
            "it is not one of `lease` `strict` `until-expiry`",
        ),
        ("[internal_token]\nlifetime = '6s'", "internal_token.lifetime", "the value is too large"),
        ("[listen]\ntls_key_file = '/k'", "listen.tls_key_file", "there is no such setting"),
    ] {
        let errors = load(more).unwrap_err();
        assert_eq!(
            (errors[0].key.as_deref(), &*errors[0].cause),
            (Some(key), cause),
            "{more}: {errors:?}"
        );
    }
    for (from, to, key) in [
        ("origins = ['https://shop.example']", "", "origins"),
        ("'https://shop.example'", "", "origins"),
        ("'https://shop.example'", "'http://shop.example'", "origins"),
        ("'https://shop.example'", "'https://a.example', 'http://a.example'", "origins"),
        ("'https://auth.example'", "'http://auth.internal'", "server.url"),
        ("'/secret'", "'/missing'", "server.client_secret_file"),
        ("client_id = 'shop'", "", "server.client_id"),
    ] {
        let text = LEAST.replace(from, to);
        let errors = ForwardConfig::load(&sources(&text), &files).unwrap_err();
        assert_eq!(errors[0].key.as_deref(), Some(key), "{text}: {errors:?}");
    }
}

#[test]
fn the_reference_is_as_reviewed() {
    insta::assert_snapshot!(reference(crate::config::forward::SECTIONS));
}
