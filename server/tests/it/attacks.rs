//! Hostile input at the door: a clear 4xx, and nothing has changed.

use std::time::Duration;

use serde_json::json;
use symbolon_core::{limit::Quota, secret::SecretText};

use crate::world::{ORIGIN, PASSWORD, World, ask};

#[tokio::test]
async fn bodies_that_nobody_should_read() {
    let world = World::new().await;
    let limit = world.app.config.limits.body_bytes_max;
    let login = |body: Vec<u8>| {
        ask("POST", "/api/v1/login").header("content-type", "application/json").raw(body)
    };
    let nested = "[".repeat(10_000);
    for (what, body, status) in [
        ("over the limit", vec![b' '; limit + 1], 413),
        ("no JSON", b"{".to_vec(), 400),
        ("invalid UTF-8", b"{\"username\":\"\xff\",\"password\":\"x\"}".to_vec(), 400),
        (
            "a member twice",
            br#"{"username":"user","username":"user","password":"x"}"#.to_vec(),
            400,
        ),
        ("a member too many", br#"{"username":"user","password":"x","admin":true}"#.to_vec(), 400),
        ("a member missing", br#"{"username":"user"}"#.to_vec(), 400),
        ("another type", br#"{"username":["user"],"password":"x"}"#.to_vec(), 400),
        ("deep nesting", format!("{{\"username\":{nested}").into_bytes(), 400),
        ("no name", br#"{"username":"","password":"x"}"#.to_vec(), 401),
        ("a control character", b"{\"username\":\"us\\u0000er\",\"password\":\"x\"}".to_vec(), 401),
        (
            "a name without end",
            format!(r#"{{"username":"{}","password":"x"}}"#, "a".repeat(100_000)).into_bytes(),
            401,
        ),
        (
            "a password without end",
            format!(r#"{{"username":"user","password":"{}"}}"#, "a".repeat(100_000)).into_bytes(),
            401,
        ),
    ] {
        let answer = world.send(login(body)).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text);
        assert!(
            answer.json()["code"].is_string() && answer.headers.get("set-cookie").is_none(),
            "{what}"
        );
    }
    for content_type in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
    {
        let body = json!({ "username": "user", "password": PASSWORD }).to_string();
        let simple = ask("POST", "/api/v1/login").header("content-type", content_type).raw(body);
        assert_eq!(world.send(simple).await.expect(415).code(), "not_json", "{content_type}");
    }
}

#[tokio::test]
async fn cookies_that_nobody_set() {
    let world = World::new().await;
    let cookie = world.cookie("user").await;
    let with = |value: &str| ask("GET", "/api/v1/session").header("cookie", value);
    let twice = format!("symbolon={cookie}; symbolon={cookie}");
    let flood = format!("symbolon={cookie}; {}", "a=b; ".repeat(200));
    let huge = format!("symbolon={cookie}; a={}", "x".repeat(20_000));
    for (value, status) in [(twice.as_str(), 400), (&flood, 431), (&huge, 431)] {
        world.send(with(value)).await.expect(status);
    }
    let split = ask("GET", "/api/v1/session").cookie(&cookie).cookie(&cookie);
    world.send(split).await.expect(400);
    assert!(world.cookie_counts(&cookie).await);
}

#[tokio::test]
async fn halves_that_were_touched() {
    let world = World::new().await;
    let (cookie, tokens) = (world.cookie("user").await, world.tokens("user").await);
    let flip = |text: &str, at: usize| {
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    for at in (5..cookie.len()).step_by(3) {
        assert!(!world.cookie_counts(&flip(&cookie, at)).await, "{at}");
        assert!(!world.cookie_counts(&cookie[..at]).await, "{at}");
        world.refresh(&flip(&tokens.refresh, at)).await.expect(400);
        world.refresh(&tokens.refresh[..at]).await.expect(400);
    }
    for at in (0..tokens.access.len()).step_by(7) {
        assert!(!world.access_counts(&flip(&tokens.access, at)).await, "{at}");
        assert!(!world.access_counts(&tokens.access[..at]).await, "{at}");
    }
    // Another server's halves, made for the same names.
    let other = World::new().await;
    let (foreign, foreign_tokens) = (other.cookie("user").await, other.tokens("user").await);
    assert!(
        !world.cookie_counts(&foreign).await && !world.access_counts(&foreign_tokens.access).await
    );
    world.refresh(&foreign_tokens.refresh).await.expect(400);
    // None of it had an effect.
    assert!(world.cookie_counts(&cookie).await && world.access_counts(&tokens.access).await);
    world.refresh(&tokens.refresh).await.expect(200);
}

#[tokio::test]
async fn forms_of_other_sites() {
    let world = World::new().await;
    let cookie = world.cookie("user").await;
    let evil = |method: &str, path: &str| {
        ask(method, path)
            .cookie(&cookie)
            .header("origin", "https://evil.example")
            .header("sec-fetch-site", "cross-site")
    };
    for (method, path) in [
        ("POST", "/logout"),
        ("POST", "/account/sessions/end-all"),
        ("POST", "/account/password"),
        ("POST", "/api/v1/logout"),
        ("POST", "/api/v1/password"),
        ("POST", "/api/v1/handover"),
        ("DELETE", "/api/v1/sessions"),
        ("POST", "/api/v1/refresh"),
        ("POST", "/api/v1/refresh/continue"),
    ] {
        let answer = world.send(evil(method, path).form(&[("csrf_token", "none")])).await;
        assert_eq!(answer.status, 403, "{method} {path}: {}", answer.text);
    }
    // Logging a visitor in as somebody else is an attack, too.
    let login = json!({ "username": "other", "password": PASSWORD });
    world.send(evil("POST", "/api/v1/login").json(&login)).await.expect(403);
    let form = evil("POST", "/login").form(&[("username", "other"), ("password", PASSWORD)]);
    assert!(world.send(form).await.expect(403).cookie("symbolon").is_none());
    assert!(world.cookie_counts(&cookie).await);
}

#[tokio::test]
async fn a_login_form_needs_its_token_and_leads_nowhere_else() {
    let world = World::new().await;
    let page = world.send(ask("GET", "/login")).await.expect(200);
    let held = page.cookie("symbolon-form").unwrap();
    let token = page
        .text
        .split("name=\"csrf_token\" value=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned();
    let post = |held: &str, token: &str, next: &str| {
        ask("POST", "/login").by_our_page().header("cookie", &format!("symbolon-form={held}")).form(
            &[("csrf_token", token), ("next", next), ("username", "user"), ("password", PASSWORD)],
        )
    };
    world.send(post("AAAAAAAAAAAAAAAAAAAAAA", &token, "")).await.expect(403);
    world.send(post(&held, "AAAAAAAAAAAAAAAAAAAAAA", "")).await.expect(403);
    for (next, leads) in [
        ("/account/password", "/account/password"),
        ("//evil.example/", "/account"),
        ("/\\evil.example/", "/account"),
        ("https://evil.example/", "/account"),
        ("http://localhost:8080.evil.example/", "/account"),
        ("http://localhost:8080@evil.example/", "/account"),
        ("javascript:alert(1)", "/account"),
        ("/\r\nlocation: https://evil.example", "/account"),
    ] {
        let answer = world.send(post(&held, &token, next)).await.expect(303);
        assert_eq!(answer.location(), leads, "{next:?}");
        assert!(answer.cookie("symbolon").is_some());
    }
}

/// RFC 9700, section 4.11.2: a client of others makes a link to this server that leads to its own site by an error.
#[tokio::test]
async fn open_redirect_by_an_error() {
    let world = World::new().await;
    for (id, first_party) in [("theirs", false), ("ours", true)] {
        let more =
            json!({ "first_party": first_party, "redirect_uris": ["https://there.example/in"] });
        world.add_client(id, "confidential", more).await;
    }
    let browser = world.cookie("user").await;
    let visit = async |client: &str, more: &str, cookie: &str| {
        let link = format!(
            "/oauth2/authorize?client_id={client}&redirect_uri=https://there.example/in{more}"
        );
        world.send(ask("GET", &link).cookie(cookie)).await.expect(303).location().to_owned()
    };
    let there = "https://there.example/in?error=";
    for wrong in ["", "&response_type=token", "&response_type=code&scope=%22", "&request=x"] {
        let first = visit("theirs", wrong, "").await;
        assert!(first.starts_with("/login?next="), "{wrong}: {first}");
        // Whoever logs in hears of it, and so do clients that ask without a page, and ours.
        let after: Vec<(String, String)> = serde_urlencoded::from_str(&first[7..]).unwrap();
        let after = world.send(ask("GET", &after[0].1).cookie(&browser)).await.expect(303);
        assert!(after.location().starts_with(there), "{after:?}");
        for (client, more, cookie) in [
            ("theirs", wrong.to_owned(), &*browser),
            ("theirs", format!("{wrong}&prompt=none"), ""),
            ("ours", wrong.to_owned(), ""),
        ] {
            let to = visit(client, &more, cookie).await;
            assert!(to.starts_with(there), "{client} {more}: {to}");
        }
    }
}

/// Whatever a browser brings to an application, in whichever way, says which server it is from (RFC 9207): an application
/// of several servers sends no code of one to another.
#[tokio::test]
async fn mix_up() {
    let world = World::new().await;
    let more = json!({ "first_party": true, "redirect_uris": ["https://there.example/in"] });
    world.add_client("there", "public", more).await;
    let browser = world.cookie("user").await;
    let right = format!("&response_type=code&scope=openid{CHALLENGE}");
    for (request, cookie, said) in [
        (right.clone(), &*browser, "code="),
        (format!("{right}&prompt=none"), "", "error=login_required"),
        ("&response_type=token".to_owned(), &*browser, "error=unsupported_response_type"),
    ] {
        let link = format!("{THERE}{request}");
        let to = world.send(ask("GET", &link).cookie(cookie)).await.expect(303);
        let iss = serde_urlencoded::to_string([("iss", ORIGIN)]).unwrap();
        assert!(to.location().contains(said) && to.location().contains(&iss), "{to:?}");
        assert_eq!(to.location().matches("iss=").count(), 1);
        let by_form = format!("{link}&response_mode=form_post");
        let page = world.send(ask("GET", &by_form).cookie(cookie)).await.expect(200);
        assert!(page.text.contains(&format!("name=\"iss\" value=\"{ORIGIN}\"")), "{page:?}");
    }
    let metadata = world.send(ask("GET", "/.well-known/openid-configuration")).await.json();
    assert_eq!(metadata["authorization_response_iss_parameter_supported"], true);
}

const THERE: &str = "/oauth2/authorize?client_id=there&redirect_uri=https://there.example/in";
const CHALLENGE: &str = "&code_challenge_method=S256\
                         &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// No page can be laid under another site's, by new browsers and by old ones.
#[tokio::test]
async fn clickjacking() {
    let world = World::new().await;
    let more = json!({ "redirect_uris": ["https://there.example/in"] });
    world.add_client("there", "confidential", more).await;
    let browser = world.cookie("user").await;
    let consent = format!("{THERE}&response_type=code&scope=openid{CHALLENGE}");
    let by_form = format!("{consent}&response_mode=form_post&prompt=none");
    for path in [
        "/",
        "/login?again=1",
        "/register",
        "/logout",
        "/account",
        "/account/password",
        "/account/apps",
        "/device",
        "/oauth2/logout",
        "/oauth2/authorize",
        "/nowhere",
        &consent,
        &by_form,
    ] {
        let get = ask("GET", path).cookie(&browser).header("accept", "text/html");
        let answer = world.send(get).await;
        assert!(answer.text.contains("<html"), "{path}: {answer:?}");
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert_eq!(answer.headers["x-frame-options"], "DENY", "{path}");
    }
}

/// A request by reference is none that the server fetches, wherever it points.
#[tokio::test]
async fn ssrf_through_request_uri() {
    let networks = vec!["127.0.0.0/8".parse().unwrap()];
    let world = World::with(|config| config.outbound.allowed_networks = networks).await;
    let more = json!({ "first_party": true, "redirect_uris": ["https://there.example/in"] });
    let there = world.add_client("there", "confidential", more).await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    for uri in [
        format!("http://{address}/request.jwt"),
        format!("https://{address}/request.jwt"),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "file:///etc/passwd".to_owned(),
    ] {
        let fields = [
            ("client_id", "there"),
            ("redirect_uri", "https://there.example/in"),
            ("response_type", "code"),
            ("request_uri", &*uri),
        ];
        let query = serde_urlencoded::to_string(fields).unwrap();
        let to = world.send(ask("GET", &format!("/oauth2/authorize?{query}"))).await.expect(303);
        assert!(to.location().contains("error=request_uri_not_supported"), "{to:?}");
        let pushed = ask("POST", "/oauth2/par").basic(&there).form(&fields);
        assert_eq!(world.send(pushed).await.expect(400).text_of("error"), "invalid_request");
    }
    let nobody = listener.accept().unwrap_err();
    assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn origins_are_exact() {
    let world = World::new().await;
    let listed = "https://app.example";
    world.add_client("app", "public", json!({ "first_party": true, "origins": [listed] })).await;
    let preflight = |origin: &str| {
        ask("OPTIONS", "/api/v1/login")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
    };
    let allowed = world.send(preflight(listed)).await.expect(204);
    assert_eq!(allowed.headers["access-control-allow-origin"], listed);
    for other in
        ["https://app.example.evil.example", "https://evil.example", "http://app.example", "null"]
    {
        let refused = world.send(preflight(other)).await.expect(403);
        assert!(!refused.headers.contains_key("access-control-allow-origin"), "{other}");
        let read = ask("GET", "/api/v1/session").header("origin", other);
        assert!(
            !world.send(read).await.headers.contains_key("access-control-allow-origin"),
            "{other}"
        );
    }
    // An OAuth client in the browser asks these, without the user's cookie.
    for (method, path) in [
        ("GET", "/.well-known/openid-configuration"),
        ("GET", "/.well-known/jwks.json"),
        ("POST", "/oauth2/token"),
        ("POST", "/oauth2/revoke"),
    ] {
        for (origin, may) in [(listed, true), ("https://evil.example", false)] {
            let headers = world.send(ask(method, path).header("origin", origin)).await.headers;
            assert_eq!(headers.contains_key("access-control-allow-origin"), may, "{path}");
            assert!(!headers.contains_key("access-control-allow-credentials"), "{path}");
        }
    }
    // Pages are nobody's API.
    for path in ["/account", "/oauth2/authorize"] {
        let page = ask("OPTIONS", path)
            .header("origin", listed)
            .header("access-control-request-method", "POST");
        assert!(!world.send(page).await.headers.contains_key("access-control-allow-origin"));
    }
}

#[tokio::test]
async fn a_stranger_hands_nothing_over() {
    let world = World::new().await;
    let (cookie, tokens) = (world.cookie("user").await, world.tokens("user").await);
    world
        .add_client(
            "app",
            "public",
            json!({ "first_party": true, "origins": ["https://app.example"] }),
        )
        .await;
    world.add_client("third", "public", json!({ "origins": ["https://third.example"] })).await;
    let to_token = |client: &str| {
        let body = json!({ "to": "token", "client_id": client });
        ask("POST", "/api/v1/handover")
            .cookie(&cookie)
            .header("sec-fetch-site", "same-origin")
            .json(&body)
    };
    // A client that is not ours gets nothing, from wherever it asks.
    world.send(to_token("third").header("origin", ORIGIN)).await.expect(403);
    world.send(to_token("third").header("origin", "https://third.example")).await.expect(403);
    let given = world.send(to_token("app").header("origin", ORIGIN)).await.expect(200);
    assert!(given.json().get("refresh_token").is_none(), "an access token alone");
    // Tokens → cookie: nobody plants the cookie of his own login in another browser.
    for origin in ["https://evil.example", "https://third.example"] {
        let body = json!({ "to": "session" });
        let plant = ask("POST", "/api/v1/handover")
            .bearer(&tokens.access)
            .header("origin", origin)
            .json(&body);
        assert!(world.send(plant).await.expect(403).cookie("symbolon").is_none());
    }
}

/// Every other test sets Argon2 to its least cost: this one uses the defaults.
#[tokio::test]
async fn the_default_cost_of_a_password() {
    let world =
        World::with(|config| config.password.cost = symbolon::password::Cost::DEFAULT).await;
    let before = world.app.passwords.stats();
    world.login("user", "session").await;
    let after = world.app.passwords.stats();
    assert_eq!((after.runs - before.runs, after.blocks - before.blocks), (1, 2 * 19 * 1024));
}

#[tokio::test]
async fn people_get_pages_and_programs_get_problems() {
    let world = World::new().await;
    let ended = world.cookie("user").await;
    world.send(ask("POST", "/api/v1/logout").cookie(&ended).by_our_page()).await.expect(204);
    let cookie = world.cookie("user").await;
    let person =
        |method: &str, path: &str| ask(method, path).header("accept", "text/html,*/*;q=0.8");
    let button = [("csrf_token", "none")];
    let page = world.send(person("GET", "/nowhere")).await.expect(404);
    assert!(page.text.contains("<html"), "{}", page.text);
    let dead =
        person("POST", "/account/sessions/end-all").cookie(&ended).by_our_page().form(&button);
    assert_eq!(world.send(dead).await.expect(303).location(), "/login");
    let foreign = person("POST", "/logout")
        .cookie(&cookie)
        .header("origin", "https://evil.example")
        .form(&button);
    assert!(world.send(foreign).await.expect(403).text.contains("<html"));
    let twice = person("GET", "/account").cookie(&cookie).cookie(&cookie);
    assert!(world.send(twice).await.expect(400).text.contains("<html"));
    assert_eq!(world.send(ask("GET", "/nowhere")).await.expect(404).code(), "not_found");
    let api = person("GET", "/api/v1/session").cookie(&ended);
    assert_eq!(world.send(api).await.expect(401).code(), "invalid_token");
}

/// Who has no invitation learns nothing; who has one is told of a taken name, and cannot go through a list of names.
#[tokio::test]
async fn an_invitation_is_no_list_of_users() {
    let world = World::with(|config| {
        config.registration = symbolon::config::Registration::Invitation;
    })
    .await;
    let now = symbolon::app::now();
    let invitation = symbolon::ops::register::invite(&world.app, now).await.unwrap();
    let register = |name: &str, code: &str, last: u8| {
        let body = json!({
            "username": name, "password": "another long enough password", "invitation": code,
        });
        let address = [192, 0, 2, last].into();
        world.send(ask("POST", "/api/v1/register").json(&body).at_address(address))
    };
    let bogus = format!("symi_{}", "A".repeat(43));
    let (free, taken) = (register("fresh", &bogus, 1).await, register("user", &bogus, 1).await);
    assert_eq!((free.status, free.text), (taken.status, taken.text), "without an invitation");

    let code = invitation.expose();
    assert_eq!(register("user", code, 1).await.expect(409).code(), "taken");
    register("fresh", code, 1).await.expect(202);
    assert_eq!(register("more", code, 1).await.expect(403).code(), "invalid_invitation");

    // From wherever its holder asks.
    let invitation = symbolon::ops::register::invite(&world.app, now).await.unwrap();
    let mut tries = 0;
    for last in 2..=60 {
        let answer = register("user", invitation.expose(), last).await;
        if answer.status == 429 {
            break;
        }
        answer.expect(409);
        tries += 1;
    }
    assert!(tries <= 20, "{tries} names with one invitation");
}

/// Other sites cannot log anybody out, neither by a cookie that comes along nor by an answer that removes it: a form
/// post to us from elsewhere carries no cookie of ours, and its answer could still remove it.
#[tokio::test]
async fn other_sites_remove_no_cookies() {
    let world = World::new().await;
    let forms = || {
        [("/logout", None), ("/api/v1/logout", Some("theme=dark"))].map(|(path, cookie)| {
            let post = ask("POST", path).form(&[("csrf_token", ""), ("next", "")]);
            match cookie {
                Some(cookie) => post.header("cookie", cookie),
                None => post,
            }
        })
    };
    for [origin, site] in
        [["https://evil.example", "cross-site"], ["http://sister.localhost:8080", "same-site"]]
    {
        for post in forms() {
            let answer =
                world.send(post.header("origin", origin).header("sec-fetch-site", site)).await;
            assert!(!answer.headers.contains_key("set-cookie"), "{origin}: {answer:?}");
        }
    }
    for post in forms() {
        let answer = world.send(post.by_our_page()).await;
        assert!(answer.headers.contains_key("set-cookie") || answer.status == 400, "{answer:?}");
    }
}

/// A client that is not ours calls the API with its token. What the user's cookie opens is not for its pages to read.
#[tokio::test]
async fn pages_of_others_read_nothing_through_the_cookie() {
    let world = World::new().await;
    let (ours, third) = ("https://app.example", "https://third.example");
    world.add_client("app", "public", json!({ "first_party": true, "origins": [ours] })).await;
    world.add_client("third", "public", json!({ "origins": [third] })).await;
    for (origin, with_cookies) in [(ours, true), (third, false)] {
        let preflight = ask("OPTIONS", "/api/v1/session")
            .header("origin", origin)
            .header("access-control-request-method", "GET");
        let read = ask("GET", "/api/v1/session").header("origin", origin);
        for request in [preflight, read] {
            let headers = world.send(request).await.headers;
            assert_eq!(headers["access-control-allow-origin"], origin);
            let allowed = headers.contains_key("access-control-allow-credentials");
            assert_eq!(allowed, with_cookies, "{origin}");
        }
    }
}

#[tokio::test]
async fn patches_that_mean_two_things() {
    let world = World::new().await;
    let shop = world.add_client("shop", "confidential", json!({})).await;
    let visitor =
        world.send(ask("POST", "/api/v1/sessions").basic(&shop).json(&json!({}))).await.expect(201);
    let data = format!("/api/v1/sessions/{}/data", visitor.text_of("sid"));
    let patch = |body: &str| {
        ask("PATCH", &data)
            .basic(&shop)
            .header("content-type", "application/json")
            .raw(body.to_owned())
    };
    let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
    for body in [
        r#"{"a":1,"a":2}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"{"a":1e999}"#,
        r#"{"\ud800":1}"#,
        "[]",
        "null",
        &deep,
    ] {
        assert_eq!(world.send(patch(body)).await.expect(400).code(), "malformed_request", "{body}");
    }
    let long = format!(r#"{{"{}":1}}"#, "a".repeat(129));
    for body in [r#"{"":1}"#, &long] {
        assert_eq!(world.send(patch(body)).await.expect(400).code(), "invalid_key");
    }
    for versions in [&["*"][..], &["W/\"0\""], &["\"0\", \"1\""], &["\"0\"", "\"1\""], &["0"]] {
        let conditional = patch(r#"{"a":1}"#);
        let conditional =
            versions.iter().fold(conditional, |ask, version| ask.header("if-match", version));
        world.send(conditional).await.expect(400);
    }
    let read = world.send(ask("GET", &data).basic(&shop)).await.expect(200);
    assert_eq!(read.json(), json!({}), "nothing has changed");
}

#[tokio::test]
async fn accounts_and_visitors_are_made_no_faster_than_configured() {
    let quota = Quota { burst: 2, every: Duration::from_hours(1) };
    let world = World::with(|config| {
        config.limits.registration_per_address = quota;
        config.limits.visitors_per_address = quota;
    })
    .await;
    let shop = world.add_client("shop", "confidential", json!({})).await;
    let (register, visit) = ("/api/v1/register", "/api/v1/sessions");
    for (path, address, status) in [
        (register, [192, 0, 2, 1], 202),
        (register, [192, 0, 2, 1], 202),
        (register, [192, 0, 2, 1], 429),
        (register, [192, 0, 2, 2], 202),
        (visit, [192, 0, 2, 1], 201),
        (visit, [192, 0, 2, 1], 201),
        (visit, [192, 0, 2, 1], 429),
        (visit, [192, 0, 2, 2], 201),
    ] {
        let request = ask("POST", path).at_address(address.into());
        let request = if path == visit {
            request.basic(&shop).json(&json!({}))
        } else {
            request.json(&json!({ "username": "fresh", "password": PASSWORD }))
        };
        let answer = world.send(request).await;
        assert_eq!(answer.status, status, "{path} {address:?}: {}", answer.text);
        let wait = answer.headers.get("retry-after").map(|value| value.to_str().unwrap());
        assert_eq!(wait.is_some(), status == 429, "{path} {address:?}: {wait:?}");
    }
}

/// A follower says which sessions it saw. One that was silent too long stays over, whoever claims to have seen it.
#[tokio::test]
async fn a_follower_wakes_nobody() {
    use symbolon::{jobs, ops::check};
    let world = World::new().await;
    let cookie = SecretText::new(world.cookie("user").await);
    let live = check::cookie(&world.app, &cookie, symbolon::app::now()).await.unwrap();
    let (id, idle) = (live.session(), live.limits.idle);
    let later = symbolon::app::now() + idle * 2;
    assert!(later < live.limits.ends_at);
    for written in [false, true] {
        assert!(check::cookie(&world.app, &cookie, later).await.is_err());
        world.app.live.saw_elsewhere(&[id], later);
        if written {
            jobs::write_seen(&world.app).await;
        }
        assert!(check::cookie(&world.app, &cookie, later).await.is_err(), "written: {written}");
    }
}

/// RFC 6749, section 2.3.1 has clients form-encode their secret before HTTP Basic; many do not.
#[tokio::test]
async fn secrets_of_all_characters_authenticate_encoded_or_not() {
    let secret = "p+a/s=s %&w";
    let world = World::with(|config| {
        let digest = symbolon_core::client::SecretDigest::of(&SecretText::new(secret.to_owned()));
        let client = json!({ "id": "shop", "kind": "confidential", "audiences": [ORIGIN] });
        let client: symbolon_core::client::Client = serde_json::from_value(client).unwrap();
        config.clients.push(symbolon_core::client::Client { secret: Some(digest), ..client });
    })
    .await;
    for (sent, status) in [
        (secret, 200),
        ("p%2Ba%2Fs%3Ds+%25%26w", 200),
        ("p%2ba%2fs%3ds%20%25%26w", 200),
        ("p a/s=s %&w", 401),
        ("p%2Ba", 401),
        ("", 401),
        ("%", 401),
    ] {
        let client = ("shop".to_owned(), sent.to_owned());
        let question = ask("POST", "/oauth2/introspect").basic(&client).form(&[("token", "none")]);
        assert_eq!(world.send(question).await.status, status, "{sent}");
    }
}
