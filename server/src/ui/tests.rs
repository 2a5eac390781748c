//! Every page, in both languages, as a reader, an attacker and a browser would look at it.

use std::{net::IpAddr, time::Duration};

use symbolon_core::{id::SessionId, password, secret::SecretText, session::Assurance, time::Time};

use super::*;
use crate::config::sections::ScopeWords;

const NOW: Time = Time::from_secs(1_793_000_000);

/// A text for every place that takes one: an ordinary word, or what breaks out of badly made HTML.
#[derive(Clone, Copy)]
struct Texts {
    user: &'static str,
    device: &'static str,
    client: &'static str,
    token: &'static str,
    next: &'static str,
}

const PLAIN: Texts = Texts {
    user: "user@example.com",
    device: "Firefox · Linux",
    client: "Shop",
    token: "csrf",
    next: "/orders?page=2",
};

const HOSTILE: &str = r#"<script>alert("1")</script>'&"#;
const EVIL: Texts =
    Texts { user: HOSTILE, device: HOSTILE, client: HOSTILE, token: HOSTILE, next: HOSTILE };

fn session<'a>(n: u8, device: &'a str, client: &'a str) -> Session<'a> {
    Session {
        sid: SessionId::from_bytes([n; 16]),
        device,
        client,
        address: IpAddr::from([203, 0, 113, n]),
        logged_in_at: NOW - Duration::from_secs(u64::from(n) * 50_000),
        seen_at: NOW - Duration::from_secs(u64::from(n) * u64::from(n) * 150),
        assurance: Assurance::Aal1,
        remembered: false,
        outlives: false,
        is_this: false,
        cookie: None,
        families: vec![],
        children: vec![],
    }
}

fn trees(texts: Texts) -> Vec<Session<'static>> {
    let Texts { user, device, client, .. } = texts;
    let family = |generation| TokenFamily { client, generation };
    let here = Session {
        is_this: true,
        cookie: Some(3),
        seen_at: NOW,
        families: vec![family(12)],
        children: vec![
            Session { families: vec![family(7)], ..session(2, device, user) },
            Session {
                cookie: Some(1),
                children: vec![session(4, device, client)],
                ..session(3, user, client)
            },
            Session { outlives: true, families: vec![family(2)], ..session(6, device, user) },
        ],
        ..session(1, device, client)
    };
    let remembered = Session {
        cookie: Some(1),
        remembered: true,
        assurance: Assurance::Aal2,
        ..session(5, device, client)
    };
    let phone = Session {
        families: vec![family(141), family(2)],
        address: "2001:db8::8a2e:370:7334".parse().unwrap(),
        ..session(20, device, client)
    };
    let kept = Session { outlives: true, families: vec![family(3)], ..session(7, device, user) };
    vec![here, remembered, phone, kept]
}

/// Every page in every state that looks different, with its name. The one that leaves for a client's address, and with a
/// script, is `server/tests/it/authorize.rs::an_answer_by_form`.
fn pages(site: &Site, locale: Locale, texts: Texts) -> Vec<(&'static str, String)> {
    let Texts { user, next, .. } = texts;
    let csrf_token = &SecretText::new(texts.token.to_owned());
    let code = &SecretText::new(texts.user.to_owned());
    let out = &Page::new(site, locale, "/login?next=%2Forders", None);
    let within = &Page::new(site, locale, "/account", Some(user));
    let login = |username, reason: Option<_>, problems: &[Problem]| {
        let (remember, registration_open) = (reason.is_none(), !matches!(problems, [_]));
        let login = Login {
            page: out,
            csrf_token,
            next,
            username,
            remember,
            again: matches!(reason, Some(LoginReason::Again)),
            registration_open,
            reason,
            problems,
        };
        login.render().unwrap()
    };
    let register = |username, invitation, problems| {
        let password_length_min = 15;
        let page = out;
        Register { page, csrf_token, next, username, invitation, password_length_min, problems }
            .render()
            .unwrap()
    };
    let password = |problems| {
        let password_length_min = 15;
        ChangePassword { page: within, csrf_token, password_length_min, problems }.render().unwrap()
    };
    let account = |done| {
        let sessions = &trees(texts);
        Account { page: within, csrf_token, now: NOW, sessions, done }.render().unwrap()
    };
    let logged_out = |everywhere, over, back, frames: &[String]| {
        LoggedOut { page: out, everywhere, over, back, frames }.render().unwrap()
    };
    let back = "https://shop.example/goodbye?a=b&state=c";
    let asked = |client, title| {
        LogoutAsked { page: within, csrf_token, client, title, back, state: user }.render().unwrap()
    };
    let frames = &[format!("{back}&iss=here"), "https://shop.example/out?sid=1".to_owned()];
    let home = |page| Home { page, registration_open: true }.render().unwrap();
    let refused = |refusal| Refused { page: out, refusal, request_id: user }.render().unwrap();
    let words = ScopeWords { description: user.to_owned(), description_ko: None };
    let wanted = |name, described| Wanted { name, described };
    let wanted = [wanted("openid", None), wanted("cart", Some(&words)), wanted(user, None)];
    let consent = |wanted| {
        let (client, request, host) = (user, next, Some("https://shop.example".to_owned()));
        Consent { page: within, csrf_token, client, host, request, wanted }.render().unwrap()
    };
    let connect = |user_code, problems: &[Problem]| {
        ConnectDevice { page: within, csrf_token, user_code, problems }.render().unwrap()
    };
    let device = |wanted| {
        let (client, user_code) = (texts.client, csrf_token);
        DeviceConsent { page: within, csrf_token, client, user_code, wanted }.render().unwrap()
    };
    let connected = |allowed| DeviceDone { page: within, allowed }.render().unwrap();
    let id = &"shop".parse().unwrap();
    let app = App { id, name: user, may: wanted.to_vec(), since: NOW };
    let apps = |apps: &[_]| {
        let forbidden = apps.is_empty().then_some(Over::After { ms: 3 });
        Apps { page: within, csrf_token, apps, forbidden }.render().unwrap()
    };
    let wait = Problem::TooManyAttempts(Duration::from_secs(30));
    let typed = &[
        Problem::InvalidUsername,
        Problem::NewPassword(password::Refused::TooShort { min: 15 }),
        Problem::WrongInvitation,
    ];
    vec![
        ("login", login("", None, &[])),
        ("login_needed", login("", Some(LoginReason::LoginNeeded), &[])),
        ("login_ended", login(user, Some(LoginReason::SessionEnded), &[])),
        ("login_again", login(user, Some(LoginReason::Again), &[])),
        ("login_wrong", login(user, None, &[Problem::WrongCredentials])),
        ("login_limited", login(user, None, &[wait, Problem::FormExpired])),
        ("register", register("", None, &[])),
        ("register_invited", register(user, Some(code), typed)),
        ("registered", Registered { page: out, next }.render().unwrap()),
        ("logout", Logout { page: within, csrf_token, next }.render().unwrap()),
        ("logout_asked", asked("shop", Some(texts.client))),
        ("logged_out", logged_out(false, None, None, &[])),
        ("logged_out_everywhere", logged_out(true, Some(Over::After { ms: 3 }), None, &[])),
        ("logged_out_frames", logged_out(false, None, Some(back), frames)),
        ("account", account(None)),
        ("account_ended", account(Some(Done::Ended(Over::After { ms: 3 })))),
        ("password", password(&[])),
        (
            "password_wrong",
            password(&[
                Problem::WrongCurrentPassword,
                Problem::NewPassword(password::Refused::Common),
            ]),
        ),
        ("consent", consent(&wanted)),
        ("choose", consent(&[])),
        ("device", connect("", &[])),
        ("device_wrong", connect(user, &[Problem::WrongUserCode])),
        ("device_consent", device(&wanted)),
        ("device_allowed", connected(true)),
        ("device_denied", connected(false)),
        ("apps", apps(&[app])),
        ("apps_empty", apps(&[])),
        ("home", home(out)),
        ("home_logged_in", home(within)),
        (
            "continue",
            Continue { page: within, action: "/session/refresh", csrf_token, next }
                .render()
                .unwrap(),
        ),
        ("refused", refused(Refusal::Internal)),
        ("not_found", refused(Refusal::NotFound)),
    ]
}

fn branded(name: &str, logo: bool) -> Brand {
    let link = Link { label: name.to_owned(), url: format!("https://shop.example/{name}") };
    let svg = logo.then(|| "<svg xmlns='http://www.w3.org/2000/svg'/>".to_owned());
    Brand::new(name, svg, "#b3005e".parse().unwrap(), vec![link]).unwrap()
}

/// Both languages × at the root and below a path × our mark and somebody's own, with hostile texts everywhere.
fn hostile_pages() -> Vec<(String, &'static str, String)> {
    let mut all = Vec::new();
    for base in ["", "/auth"] {
        for logo in [false, true] {
            let site = Site::new(base, branded(HOSTILE, logo));
            for locale in Locale::ALL {
                for (name, html) in pages(&site, locale, EVIL) {
                    all.push((format!("{name} {locale:?} {base} {logo}"), base, html));
                }
            }
        }
    }
    all
}

/// The values of an attribute, as they stand in the HTML.
fn attribute<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
    let lead = format!(" {name}=\"");
    html.split(&lead).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn pages_say_what_they_said() {
    let site = Site::new("/auth", Brand::default());
    for locale in Locale::ALL {
        for (name, mut html) in pages(&site, locale, PLAIN) {
            for asset in site.assets() {
                let stable = asset.path.split_once('-').unwrap().0;
                html = html.replace(&asset.path, stable);
            }
            insta::assert_snapshot!(format!("{name}_{}", locale.tag()), html);
        }
    }
}

#[test]
fn nothing_breaks_out_of_its_place() {
    for (name, _, html) in hostile_pages() {
        let lower = html.to_lowercase();
        assert!(!lower.contains("<script"), "{name}: a script");
        assert!(!lower.contains("<style"), "{name}: an inline style sheet");
        assert!(!lower.contains("javascript:"), "{name}: a script's address");
        assert!(attribute(&html, "style").is_empty(), "{name}: an inline style");
        // Every tag is one of ours, so every attribute is one that a template spells out.
        for tag in html.split('<').skip(1) {
            let inside = tag.split('>').next().unwrap();
            assert_eq!(inside.matches('"').count() % 2, 0, "{name}: <{inside}");
            for piece in inside.split('"').step_by(2) {
                assert!(!piece.contains([';', '\'', '&', '(']), "{name}: <{inside}");
                assert!(!piece.contains(" on"), "{name}: a handler in <{inside}");
            }
        }
        let shown = html.contains("&#60;script&#62;alert(&#34;1&#34;)&#60;/script&#62;&#39;&#38;");
        assert!(shown, "{name}: the brand's name is missing");
    }
}

#[test]
fn every_address_is_ours_and_below_the_base_path() {
    for (name, base, html) in hostile_pages() {
        let below = format!("{base}/");
        for attr in ["href", "action", "src"] {
            for url in attribute(&html, attr) {
                let local = url.starts_with(&below) && !url.starts_with("//");
                let brand_link = attr != "action" && url.starts_with("https://shop.example/");
                assert!(local || brand_link || url.starts_with('#'), "{name}: {attr}={url}");
            }
        }
        assert_eq!(attribute(&html, "method").len(), attribute(&html, "action").len());
        assert!(attribute(&html, "method").iter().all(|&method| method == "post"), "{name}");
        let assets: Vec<_> = attribute(&html, "href")
            .into_iter()
            .filter(|url| url.starts_with(&format!("{base}/assets/")))
            .collect();
        let site = Site::new(base, branded(HOSTILE, html.contains("<img")));
        let served: Vec<_> =
            site.assets().iter().map(|asset| format!("{base}{}", asset.path)).collect();
        assert!(assets.iter().all(|url| served.iter().any(|path| path == url)), "{name}");
        assert_eq!(assets.len(), 3, "{name}");
    }
}

#[test]
fn pages_can_be_read_out() {
    for (name, _, html) in hostile_pages() {
        let ids = attribute(&html, "id");
        let mut unique = ids.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), ids.len(), "{name}: an id twice in {ids:?}");
        for attr in ["for", "aria-describedby", "aria-labelledby"] {
            for id in attribute(&html, attr).iter().flat_map(|list| list.split(' ')) {
                assert!(ids.contains(&id), "{name}: {attr}={id}");
            }
        }
        for input in html.split("<input ").skip(1).map(|rest| rest.split('>').next().unwrap()) {
            let input = format!(" {input}");
            let quiet = input.contains(" type=\"hidden\"") || input.ends_with(" hidden");
            let labelled = || {
                let id = attribute(&input, "id")[0];
                html.contains(&format!("<label for=\"{id}\""))
            };
            assert!(quiet || labelled(), "{name}: <input{input}");
        }
        let levels: Vec<u32> =
            html.split("<h").skip(1).filter_map(|rest| rest.chars().next()?.to_digit(10)).collect();
        assert_eq!(levels.iter().filter(|&&level| level == 1).count(), 1, "{name}");
        assert_eq!(levels[0], 1, "{name}: the first heading");
        assert!(levels.windows(2).all(|pair| pair[1] <= pair[0] + 1), "{name}: {levels:?}");
        assert!(html.matches(" autofocus").count() <= 1, "{name}: two ask for the focus");
        let languages = ["<html lang=\"en\">", "<html lang=\"ko\">"];
        assert!(languages.iter().any(|tag| html.contains(tag)), "{name}");
    }
}

#[test]
fn no_template_trusts_text() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/templates");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let template = std::fs::read_to_string(&path).unwrap();
        // The one script that there is: a file of ours.
        let template = template.replace("<script src=\"{{ page.send() }}\"></script>", "");
        for banned in ["|safe", "| safe", "{% autoescape", "style=", "<script", "http:", "https:"] {
            assert!(!template.contains(banned), "{}: {banned}", path.display());
        }
    }
}

/// With `SYMBOLON_PAGES_DIR` set, the pages are also written there with their files, to be looked at in a browser.
#[test]
fn pages_can_be_looked_at() {
    let Some(folder) = std::env::var_os("SYMBOLON_PAGES_DIR") else { return };
    let site = Site::new("", Brand::default());
    let folder = std::path::Path::new(&folder);
    std::fs::create_dir_all(folder.join("assets")).unwrap();
    for asset in site.assets() {
        std::fs::write(folder.join(&asset.path[1..]), &asset.bytes).unwrap();
    }
    for locale in Locale::ALL {
        for (name, html) in pages(&site, locale, PLAIN) {
            std::fs::write(folder.join(format!("{name}_{}.html", locale.tag())), html).unwrap();
        }
    }
}
