//! Every route of the table × {nobody, another user, the user, the user's ended session}. A route that is not listed
//! here fails.

use serde_json::json;
use symbolon::http::routes::ROUTES;

use crate::world::{Answer, Ask, PASSWORD, World, ask};

/// What each of the four gets: nobody, another user, the user, the user's ended session. `{sid}` is a session of the
/// user. All come from a page of ours; forms carry no token, so those that need one are refused.
#[rustfmt::skip]
const EXPECTED: &[(&str, &str, [u16; 4])] = &[
    ("get",    "/healthz",                                  [200, 200, 200, 200]),
    ("get",    "/readyz",                                   [200, 200, 200, 200]),
    ("get",    "/metrics",                                  [404, 404, 404, 404]),
    ("get",    "/",                                         [200, 200, 200, 200]),
    ("get",    "/assets/{file}",                            [404, 404, 404, 404]),
    ("get",    "/login",                                    [200, 303, 303, 200]),
    ("post",   "/login",                                    [403, 403, 403, 403]),
    ("get",    "/register",                                 [200, 200, 200, 200]),
    ("post",   "/register",                                 [403, 403, 403, 403]),
    ("get",    "/logout",                                   [200, 200, 200, 200]),
    ("post",   "/logout",                                   [200, 403, 403, 200]),
    ("get",    "/account",                                  [303, 200, 200, 303]),
    ("get",    "/account/password",                         [303, 200, 200, 303]),
    ("post",   "/account/password",                         [401, 403, 403, 401]),
    ("get",    "/account/apps",                             [303, 200, 200, 303]),
    ("post",   "/account/apps/{client}/forbid",             [401, 403, 403, 401]),
    ("post",   "/account/sessions/end-others",              [401, 403, 403, 401]),
    ("post",   "/account/sessions/end-all",                 [401, 403, 403, 401]),
    ("post",   "/account/sessions/{sid}/end",               [401, 403, 403, 401]),
    ("post",   "/api/v1/login",                             [200, 200, 200, 200]),
    ("post",   "/api/v1/logout",                            [204, 204, 204, 204]),
    ("get",    "/api/v1/session",                           [401, 200, 200, 401]),
    ("get",    "/api/v1/sessions",                          [401, 200, 200, 401]),
    ("post",   "/api/v1/sessions",                          [401, 401, 401, 401]),
    ("delete", "/api/v1/sessions",                          [401, 200, 200, 401]),
    ("delete", "/api/v1/sessions/{sid}",                    [401, 404, 204, 401]),
    ("get",    "/api/v1/sessions/{sid}/data",               [401, 404, 200, 401]),
    ("patch",  "/api/v1/sessions/{sid}/data",               [401, 404, 403, 401]),
    ("post",   "/api/v1/refresh",                           [400, 400, 400, 400]),
    ("delete", "/api/v1/refresh",                           [204, 204, 204, 204]),
    ("get",    "/api/v1/refresh/continue",                  [303, 303, 303, 303]),
    ("post",   "/api/v1/refresh/continue",                  [403, 403, 403, 403]),
    ("post",   "/api/v1/handover",                          [401, 200, 200, 401]),
    ("post",   "/api/v1/code",                              [401, 401, 401, 401]),
    ("post",   "/api/v1/register",                          [202, 202, 202, 202]),
    ("post",   "/api/v1/password",                          [401, 401, 401, 401]),
    ("get",    "/api/v1/openapi.json",                      [200, 200, 200, 200]),
    ("post",   "/follow",                                   [401, 401, 401, 401]),
    ("get",    "/oauth2/authorize",                         [400, 400, 400, 400]),
    ("post",   "/oauth2/authorize",                         [303, 303, 303, 303]),
    ("post",   "/oauth2/consent",                           [401, 400, 400, 401]),
    ("get",    "/device",                                   [303, 200, 200, 303]),
    ("post",   "/device",                                   [401, 403, 403, 401]),
    ("post",   "/oauth2/device_authorization",              [401, 401, 401, 401]),
    ("post",   "/oauth2/par",                               [401, 401, 401, 401]),
    ("post",   "/oauth2/register",                          [404, 404, 404, 404]),
    ("get",    "/oauth2/register/{client_id}",              [404, 404, 404, 404]),
    ("put",    "/oauth2/register/{client_id}",              [404, 404, 404, 404]),
    ("delete", "/oauth2/register/{client_id}",              [404, 404, 404, 404]),
    ("get",    "/oauth2/logout",                            [200, 200, 200, 200]),
    ("post",   "/oauth2/logout",                            [303, 303, 303, 303]),
    ("post",   "/oauth2/logout/confirm",                    [200, 403, 403, 200]),
    ("post",   "/oauth2/token",                             [401, 401, 401, 401]),
    ("get",    "/oauth2/userinfo",                          [401, 401, 401, 401]),
    ("post",   "/oauth2/userinfo",                          [401, 401, 401, 401]),
    ("post",   "/oauth2/introspect",                        [401, 401, 401, 401]),
    ("post",   "/oauth2/revoke",                            [200, 200, 200, 200]),
    ("get",    "/.well-known/jwks.json",                    [200, 200, 200, 200]),
    ("get",    "/.well-known/openid-configuration",         [200, 200, 200, 200]),
    ("get",    "/.well-known/oauth-authorization-server",   [200, 200, 200, 200]),
];

/// A request that the route would take.
fn sample(method: &str, path: &str, sid: &str) -> Ask {
    let to = path.replace("{sid}", sid).replace("{file}", "none.css");
    let ask = ask(&method.to_uppercase(), &to).by_our_page();
    match (method, path) {
        ("get" | "delete", _) | (_, "/api/v1/logout" | "/api/v1/refresh") => ask,
        (_, "/api/v1/login") => ask.json(&json!({ "username": "user", "password": PASSWORD })),
        (_, "/api/v1/register") => ask.json(&json!({ "username": "fresh", "password": PASSWORD })),
        (_, "/api/v1/password") => {
            let wrong = "not this password at all";
            ask.json(
                &json!({ "current_password": wrong, "new_password": "a quite different long one" }),
            )
        }
        (_, "/api/v1/handover") => ask.json(&json!({ "to": "token" })),
        (_, "/api/v1/sessions/{sid}/data") => ask.json(&json!({ "cart": 1 })),
        (_, "/api/v1/sessions") => ask.json(&json!({})),
        _ => ask.form(&[("token", "none")]),
    }
}

async fn walk(method: &str, path: &str) -> [Answer; 4] {
    let world = World::new().await;
    let (user, other, ended) =
        (world.cookie("user").await, world.cookie("other").await, world.cookie("user").await);
    let logout = ask("POST", "/api/v1/logout").cookie(&ended).by_our_page();
    world.send(logout).await.expect(204);
    let session = world.send(ask("GET", "/api/v1/session").cookie(&user)).await.expect(200);
    let sid = session.text_of("sid");
    [
        world.send(sample(method, path, &sid)).await,
        world.send(sample(method, path, &sid).cookie(&other)).await,
        world.send(sample(method, path, &sid).cookie(&user)).await,
        world.send(sample(method, path, &sid).cookie(&ended)).await,
    ]
}

#[tokio::test]
async fn every_route_lets_in_who_may() {
    let mut wrong = vec![];
    for route in ROUTES {
        let listed = EXPECTED
            .iter()
            .find(|(method, path, _)| (*method, *path) == (route.method, route.path));
        let Some((_, _, expected)) = listed else { panic!("{route:?} is not listed here") };
        let got = walk(route.method, route.path).await.map(|answer| answer.status.as_u16());
        if got != *expected {
            wrong.push(format!("{} {}: {got:?}, not {expected:?}", route.method, route.path));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(EXPECTED.len(), ROUTES.len(), "a line here has no route");
}

#[tokio::test]
async fn every_api_route_is_documented() {
    let world = World::new().await;
    let document = world.send(ask("GET", "/api/v1/openapi.json")).await.expect(200).json();
    assert_eq!(document["openapi"].as_str().map(|version| &version[..3]), Some("3.1"));
    for route in ROUTES
        .iter()
        .filter(|route| route.path.starts_with("/api/v1/") && !route.path.ends_with(".json"))
    {
        let operation = &document["paths"][route.path][route.method];
        assert!(operation.is_object(), "{} {} is not in the document", route.method, route.path);
    }
}

#[tokio::test]
async fn what_is_not_in_the_table_does_not_exist() {
    let world = World::new().await;
    assert_eq!(world.send(ask("GET", "/admin")).await.expect(404).code(), "not_found");
    assert_eq!(
        world.send(ask("PUT", "/api/v1/login")).await.expect(405).code(),
        "method_not_allowed"
    );
}
