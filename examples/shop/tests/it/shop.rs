//! The shop at its door.

use std::sync::Arc;

use axum::http::{Method, Request, Response, StatusCode, request::Builder};
use http_body_util::BodyExt;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::{Value, json};
use symbolon_guard::SecretText;
use symbolon_shop::{Settings, serve};
use tokio::net::TcpListener;

use crate::fake::{self, Shared, sid};

/// A shop, its Symbolon, and a browser that sends what it is told to.
struct World {
    fake: Shared,
    origin: String,
    address: String,
}

impl World {
    async fn start() -> Self {
        let fake = Shared::default();
        let routes = fake::routes(fake.clone());
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let symbolon_url = format!("http://{}/auth", socket.local_addr().unwrap());
        tokio::spawn(async { axum::serve(socket, routes).await });

        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let origin = format!("http://localhost:{}", address.port());
        let settings = Settings {
            public_url: origin.clone(),
            symbolon_url,
            client_id: "shop".to_owned(),
            client_secret: SecretText::new("symc_secret".to_owned()),
        };
        assert!(!format!("{settings:?}").contains("symc_secret"));
        tokio::spawn(serve(socket, settings, std::future::pending()));
        Self { fake, origin, address: format!("http://{address}") }
    }

    async fn ask(&self, request: Builder, body: &str) -> Response<String> {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let (head, body) =
            client.request(request.body(body.to_owned()).unwrap()).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Response::from_parts(head, String::from_utf8(body.to_vec()).unwrap())
    }

    fn request(&self, method: Method, path: &str, cookie: &str) -> Builder {
        let request = Request::builder().method(method).uri(format!("{}{path}", self.address));
        if cookie.is_empty() {
            request
        } else {
            request.header("cookie", format!("symbolon={cookie}"))
        }
    }

    async fn get(&self, path: &str, cookie: &str) -> Response<String> {
        self.ask(self.request(Method::GET, path, cookie), "").await
    }

    /// Sends a form as a page of the shop does, with the token of that page.
    async fn post(&self, path: &str, cookie: &str, form: &str) -> Response<String> {
        let page = self.get("/", cookie).await;
        let form = format!("csrf_token={}&{form}", csrf_token(page.body()));
        self.post_from(Some(&self.origin), path, cookie, &form).await
    }

    async fn post_from(
        &self,
        origin: Option<&str>,
        path: &str,
        cookie: &str,
        form: &str,
    ) -> Response<String> {
        let mut request = self
            .request(Method::POST, path, cookie)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("user-agent", "Example/1");
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        self.ask(request, form).await
    }

    /// A stranger puts a bowl into the cart and gets a cookie.
    async fn visitor(&self) -> String {
        let answer = self.post("/cart", "", "add=tea-bowl").await;
        assert_eq!(answer.status(), 303);
        let set = answer.headers()["set-cookie"].to_str().unwrap();
        let (pair, attributes) = set.split_once("; ").unwrap();
        assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax");
        pair.strip_prefix("symbolon=").unwrap().to_owned()
    }

    async fn cart(&self, cookie: &str) -> Value {
        let answer = self.get("/api/cart", cookie).await;
        assert_eq!(answer.status(), 200, "{}", answer.body());
        serde_json::from_str::<Value>(answer.body()).unwrap()["cart"].take()
    }
}

fn csrf_token(html: &str) -> &str {
    let (_, rest) = html.split_once(r#"name="csrf_token" value=""#).unwrap();
    rest.split_once('"').unwrap().0
}

fn location(answer: &Response<String>) -> &str {
    answer.headers()["location"].to_str().unwrap()
}

#[tokio::test]
async fn a_cart_survives_the_login_and_ends_with_the_order() {
    let world = World::start().await;
    assert!(world.get("/", "").await.body().contains(r#"id="login-link""#));
    let visitor = world.visitor().await;
    let told = json!({ "address": "127.0.0.1", "user_agent": "Example/1" });
    assert_eq!(world.fake.lock().unwrap().visitors, [told]);

    let answer = world.get("/checkout", &visitor).await;
    assert_eq!(answer.status(), 303);
    assert!(
        location(&answer).contains("/auth/login?ui_locales=en&next=http://"),
        "{}",
        location(&answer)
    );

    let user = world.fake.lock().unwrap().login(&visitor);
    let page = world.get("/cart", &user).await;
    for part in [
        r#"id="line-tea-bowl""#,
        r#"id="cart-count">1<"#,
        r#"id="account-link""#,
        r#"id="checkout""#,
    ] {
        assert!(page.body().contains(part), "{part}: {}", page.body());
    }
    // The cookie from before the login is nobody's: the page is a stranger's.
    assert!(world.get("/cart", &visitor).await.body().contains(r#"id="cart-empty""#));

    assert!(world.get("/checkout", &user).await.body().contains(r#"id="place-order""#));
    let answer = world.post("/checkout", &user, "").await;
    assert_eq!((answer.status(), location(&answer)), (StatusCode::SEE_OTHER, "/thanks"));
    assert_eq!(world.cart(&user).await, json!({}));
}

#[tokio::test]
async fn other_sites_change_nothing() {
    let world = World::start().await;
    let visitor = world.visitor().await;
    let page = world.get("/", &visitor).await;
    let good = format!("csrf_token={}&add=wind-bell", csrf_token(page.body()));
    let own = Some(world.origin.as_str());
    let elsewhere = Some("http://localhost:1");
    for (case, origin, cookie, form) in [
        ("another port with the token", elsewhere, &*visitor, &*good),
        ("no origin", None, &*visitor, &*good),
        ("no token", own, &*visitor, "add=wind-bell"),
        ("an empty token", own, &*visitor, "csrf_token=&add=wind-bell"),
        ("another token", own, &*visitor, "csrf_token=AAAA&add=wind-bell"),
        ("a stranger, another port", elsewhere, "", "add=wind-bell"),
        ("a stranger, no origin", None, "", "add=wind-bell"),
        ("an ended cookie, another port", elsewhere, "syms_ended", "add=wind-bell"),
        ("an ended cookie, no origin", None, "syms_ended", "add=wind-bell"),
    ] {
        let answer = world.post_from(origin, "/cart", cookie, form).await;
        assert_eq!(answer.status(), 403, "{case}");
        assert!(answer.body().contains("out of date"), "{case}: a page, not a problem document");
        assert!(!answer.headers().contains_key("set-cookie"), "{case}");
    }
    assert_eq!(world.cart(&visitor).await, json!({ "tea-bowl": 1 }));
    assert_eq!(world.fake.lock().unwrap().visitors.len(), 1);

    let user = world.fake.lock().unwrap().login(&visitor);
    let answer = world.post_from(own, "/checkout", &user, &good).await;
    assert_eq!(answer.status(), 403, "the token of the cookie before the login");
    assert_eq!(world.cart(&user).await, json!({ "tea-bowl": 1 }));
}

#[tokio::test]
async fn parallel_changes_lose_nothing() {
    let world = Arc::new(World::start().await);
    let visitor = world.visitor().await;
    let adds: Vec<_> = (0..12)
        .map(|_| {
            let (world, visitor) = (world.clone(), visitor.clone());
            tokio::spawn(
                async move { world.post("/cart", &visitor, "add=moon-lamp").await.status() },
            )
        })
        .collect();
    for add in adds {
        assert_eq!(add.await.unwrap(), 303);
    }
    assert_eq!(world.cart(&visitor).await, json!({ "tea-bowl": 1, "moon-lamp": 12 }));

    world.fake.lock().unwrap().rivals = 3;
    assert_eq!(world.post("/cart", &visitor, "remove=tea-bowl").await.status(), 303);
    assert_eq!(world.cart(&visitor).await, json!({ "moon-lamp": 12, "wind-bell": 3 }));

    world.fake.lock().unwrap().rivals = usize::MAX;
    let answer = world.post("/cart", &visitor, "add=tea-bowl").await;
    assert_eq!(answer.status(), 503, "trying ends");
    assert_eq!(world.cart(&visitor).await["tea-bowl"], json!(null));
}

#[tokio::test]
async fn what_is_not_sold_is_not_kept() {
    let world = World::start().await;
    let visitor = world.visitor().await;
    for form in ["add=gold", "add=", "remove=wind-bell", "", "add=%3Cscript%3E"] {
        assert_eq!(world.post("/cart", &visitor, form).await.status(), 303, "{form}");
    }
    let large = format!("add={}", "a".repeat(5000));
    assert_eq!(world.post("/cart", &visitor, &large).await.status(), 413);
    for _ in 0..100 {
        world.post("/cart", &visitor, "add=tea-bowl").await;
    }
    assert_eq!(world.cart(&visitor).await, json!({ "tea-bowl": 99 }));
}

#[tokio::test]
async fn without_symbolon_the_shop_says_so() {
    let world = World::start().await;
    let visitor = world.visitor().await;
    world.fake.lock().unwrap().down = true;
    for answer in [
        world.get("/", &visitor).await,
        world.get("/cart?ui_locales=en", &visitor).await,
        world.post("/cart", "", "add=tea-bowl").await,
    ] {
        assert_eq!(answer.status(), 503);
        assert!(answer.headers().contains_key("retry-after"));
        assert!(answer.body().contains("Nothing is lost"), "{}", answer.body());
    }
    assert_eq!(world.get("/", "").await.status(), 200, "strangers can look");
    assert_eq!(world.get("/api/cart", &visitor).await.status(), 503);
}

#[tokio::test]
async fn programs_use_the_tokens_of_the_same_login() {
    let world = World::start().await;
    let visitor = world.visitor().await;
    let user = world.fake.lock().unwrap().login(&visitor);
    let says = |audience: &str| {
        let session = world.fake.lock().unwrap().known[&user]["sid"].clone();
        json!({ "active": true, "token_type": "Bearer", "client_id": "shop-app", "sid": session,
                "sub": sid(0), "aud": [audience] })
    };
    let (ours, theirs) = (says(&world.origin), says("http://localhost:1"));
    world.fake.lock().unwrap().known.extend([("a.b.c".into(), ours), ("d.e.f".into(), theirs)]);
    let by = async |value: &str| {
        let request = world.request(Method::GET, "/api/cart", &user);
        world.ask(request.header("authorization", value), "").await
    };
    let answer = by("Bearer a.b.c").await;
    let body: Value = serde_json::from_str(answer.body()).unwrap();
    assert_eq!((&body["carried_by"], &body["cart"]), (&json!("token"), &json!({ "tea-bowl": 1 })));
    for refused in ["Bearer d.e.f", "Bearer g.h.i", "Bearer syms_2", "Basic a.b.c"] {
        assert_eq!(by(refused).await.status(), 401, "{refused}, a good cookie beside it");
    }
    world.fake.lock().unwrap().known.remove("a.b.c");
    assert_eq!(by("Bearer a.b.c").await.status(), 401);
    assert_eq!(world.get("/api/cart", "").await.status(), 401);
}

#[tokio::test]
async fn pages_are_in_the_language_of_their_reader() {
    let world = World::start().await;
    for (path, accepted, tag) in [
        ("/", "", "en"),
        ("/", "ko-KR,ko;q=0.9,en;q=0.8", "ko"),
        ("/", "fr,en;q=0.9,ko;q=0.8", "en"),
        ("/", "é,,한", "en"),
        ("/?ui_locales=ko", "en", "ko"),
        ("/?ui_locales=fr%20en", "ko", "en"),
        ("/?ui_locales=fr", "ko", "ko"),
        ("/?ui_locales=%ff", "ko", "ko"),
    ] {
        let request = world.request(Method::GET, path, "").header("accept-language", accepted);
        let page = world.ask(request, "").await;
        let start = format!("<!doctype html>\n<html lang=\"{tag}\">");
        assert!(page.body().starts_with(&start), "{path} {accepted}");
        assert_eq!(
            page.body().contains(&format!("/cart?ui_locales={tag}")),
            path.len() > 1 && !path.ends_with("=fr") && !path.ends_with("ff"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn every_answer_is_hardened() {
    let world = World::start().await;
    for (path, status) in [
        ("/", 200),
        ("/cart", 200),
        ("/thanks", 200),
        ("/checkout", 303),
        ("/nowhere", 404),
        ("/assets/shop.css", 200),
        ("/assets/tea-bowl.svg", 200),
        ("/assets/../it.rs", 404),
        ("/assets/gold.svg", 404),
        ("/api/cart", 401),
    ] {
        let answer = world.get(path, "").await;
        assert_eq!(answer.status(), status, "{path}");
        let policy = answer.headers()["content-security-policy"].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'; style-src 'self'; img-src 'self'; "),
            "{path}"
        );
        for (name, value) in
            [("x-content-type-options", "nosniff"), ("referrer-policy", "same-origin")]
        {
            assert_eq!(answer.headers()[name], value, "{path}");
        }
        assert!(!answer.body().contains("<script") && !answer.body().contains("style="), "{path}");
    }
}

#[tokio::test]
async fn settings_are_checked() {
    for (public_url, symbolon_url, client_id) in [
        ("http://shop.example", "http://localhost:1", "shop"),
        ("http://localhost:2", "https://localhost:1", "shop"),
        ("http://localhost:2", "http://auth.example", "shop"),
        ("http://localhost:2", "http://localhost:1", "A Shop"),
    ] {
        let settings = Settings {
            public_url: public_url.to_owned(),
            symbolon_url: symbolon_url.to_owned(),
            client_id: client_id.to_owned(),
            client_secret: SecretText::new("symc_secret".to_owned()),
        };
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let error = serve(socket, settings, async {}).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }
}
