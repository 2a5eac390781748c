//! Step-up (RFC 9470), over real connections: an API refuses a login that is too old or too weak and says what it must
//! be, the application sends the browser there, and what it gets then is let in.

use std::time::Duration;

use axum::{
    Extension, Router,
    http::{HeaderMap, Method, header},
    routing::get,
};
use serde_json::json;
use symbolon::{listen::Peer, store::Found};
use symbolon_core::{
    change::{Change, Write},
    secret::SecretText,
    session::Assurance,
};
use symbolon_guard::{
    Guard, Identity, Require, Rules,
    follow::{Following, Settings},
};
use tokio::net::TcpListener;

use crate::{
    authorize::{Fields, Provider, said},
    process::Http,
    world::{World, ask},
};

async fn serve(router: Router) -> String {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let peer = Peer { address: [127, 0, 0, 1].into(), secure: false };
    tokio::spawn(async move { axum::serve(socket, router.layer(Extension(peer))).await });
    url
}

/// An API elsewhere, which decides by itself.
async fn api(world: &World) -> Http {
    let (id, secret) = world.add_client("api", "resource", json!({})).await;
    let server = serve(world.router.clone()).await;
    let settings = Settings::new(server, id.parse().unwrap(), SecretText::new(secret));
    let settings = Settings { issuer: Some(crate::world::ORIGIN.to_owned()), ..settings };
    let (following, task) = Following::new(settings.audience("https://api.example")).unwrap();
    tokio::spawn(task);
    following.ready().await;
    let who = async |me: Identity| axum::Json(json!({ "at": me.auth_time.unwrap().secs() }));
    let router = Router::new()
        .route("/read", get(who))
        .route("/pay", get(who).layer(Require::max_age(Duration::from_mins(10))))
        .route("/sign", get(who).layer(Require::assurance(Assurance::Aal2)))
        .layer(Guard::required(Rules::new("https://api.example").unwrap(), following));
    Http::new(&serve(router).await)
}

/// The login of this browser was an hour ago.
async fn let_an_hour_pass(world: &World, browser: &str) {
    let sid = world.send(ask("GET", "/api/v1/session").cookie(browser)).await.text_of("sid");
    let id = sid.parse().unwrap();
    let Some(Found::Live(mut session, _)) = world.app.store.session(id).await.unwrap() else {
        panic!("no session {sid}");
    };
    let login = session.login.as_mut().unwrap();
    login.at = login.at - Duration::from_hours(1);
    let mut change = Change::at(symbolon::app::now());
    change.write(Write::SaveSession(session));
    world.app.store.commit(change).await.unwrap();
    world.app.live.forget(id);
}

/// The parameter of every challenge, which must agree.
fn challenged(headers: &HeaderMap, name: &str) -> String {
    let values = headers.get_all(header::WWW_AUTHENTICATE).iter();
    let told: Vec<&str> = values.map(|value| value.to_str().unwrap()).collect();
    let [bearer, dpop] = told[..] else { panic!("{told:?}") };
    assert!(bearer.starts_with("Bearer ") && dpop.starts_with("DPoP "), "{told:?}");
    let of = |challenge: &str| {
        assert!(challenge.contains("error=\"insufficient_user_authentication\""), "{challenge}");
        let (_, rest) = challenge.split_once(&format!("{name}=\"")).unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    assert_eq!(of(bearer), of(dpop));
    of(bearer)
}

async fn tokens(provider: &Provider, browser: &str, wishes: Fields<'_>) -> (String, String) {
    let answer = provider.authorize(browser, wishes).await.expect(303);
    let code = said(&answer, "code").unwrap_or_else(|| panic!("{answer:?}"));
    let answer = provider.redeem(&provider.ours, &code).await.expect(200);
    (answer.text_of("access_token"), answer.text_of("refresh_token"))
}

async fn get_with(api: &Http, path: &str, token: &str) -> crate::process::Answer {
    let bearer = format!("Bearer {token}");
    api.send(Method::GET, path, &[("authorization", &bearer)], None).await.unwrap()
}

#[tokio::test]
async fn an_old_login_steps_up_and_gets_in() {
    let provider = Provider::new().await;
    let world = &provider.world;
    let api = api(world).await;
    let browser = world.cookie("user").await;
    let_an_hour_pass(world, &browser).await;
    let (old, refresh) = tokens(&provider, &browser, &[]).await;
    let read = get_with(&api, "/read", &old).await;
    assert_eq!(read.status, 200);
    let refused = get_with(&api, "/pay", &old).await;
    assert_eq!((refused.status.as_u16(), &refused.json["status"]), (401, &json!(401)));
    let max_age = challenged(&refused.headers, "max_age");
    assert_eq!(max_age, "600");

    // To ask without a login helps nobody, and neither does a refresh.
    let silent = [("max_age", max_age.as_str()), ("prompt", "none")];
    let answer = provider.authorize(&browser, &silent).await.expect(303);
    assert_eq!(said(&answer, "error").as_deref(), Some("login_required"));
    let again = [("grant_type", "refresh_token"), ("refresh_token", &*refresh)];
    let again = world.send(ask("POST", "/oauth2/token").basic(&provider.ours).form(&again)).await;
    let again = again.expect(200).text_of("access_token");
    assert_eq!(get_with(&api, "/pay", &again).await.status, 401);

    let to_login = provider.authorize(&browser, &[("max_age", &max_age)]).await.expect(303);
    let (fresh, next) = provider.log_in_again(&browser, &to_login).await;
    let answer = world.send(ask("GET", &next).cookie(&fresh)).await.expect(303);
    let code = said(&answer, "code").unwrap_or_else(|| panic!("{answer:?}"));
    let answer = provider.redeem(&provider.ours, &code).await.expect(200);
    let accepted = get_with(&api, "/pay", &answer.text_of("access_token")).await;
    assert_eq!(accepted.status, 200);
    assert!(accepted.json["at"].as_i64() >= read.json["at"].as_i64().map(|at| at + 3600));
    // What was given before is as old as it was.
    assert_eq!(get_with(&api, "/pay", &old).await.status, 401);
}

#[tokio::test]
async fn a_stronger_login_than_there_is() {
    let provider = Provider::new().await;
    let world = &provider.world;
    let api = api(world).await;
    let browser = world.cookie("user").await;
    let (access, _) = tokens(&provider, &browser, &[]).await;
    let refused = get_with(&api, "/sign", &access).await;
    assert_eq!(refused.status, 401);
    let acr_values = challenged(&refused.headers, "acr_values");
    assert_eq!(acr_values, "aal2");
    // The application hears so, instead of a token that the API refuses once more (section 5).
    let answer = provider.authorize(&browser, &[("acr_values", &acr_values)]).await.expect(303);
    assert_eq!(said(&answer, "error").as_deref(), Some("unmet_authentication_requirements"));
    let metadata = world.send(ask("GET", "/.well-known/openid-configuration")).await.json();
    assert_eq!(metadata["acr_values_supported"], json!(["aal1"]));
}
