//! A small shop with sessions of its own: a cart that survives the login, devices, a message that is shown once.

use std::error::Error;

use axum::{
    Form, Router,
    response::{Html, Redirect},
    routing::{get, post},
};
use symbolon_guard::{
    Rules,
    session::{Csrf, Key, Keys, Login, Session, SessionError, Sessions, Settings},
    store::memory::Memory,
};

const CART: Key<Vec<Tea>> = Key::new("cart");
const MESSAGE: Key<String> = Key::new("message");

/// What the shop sells.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
enum Tea {
    Green,
    Oolong,
    Black,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt::init();
    let sessions = sessions("http://localhost:3000")?;
    // Whoever wants to know what happens to sessions: an audit trail, open WebSockets.
    let events = sessions.clone();
    tokio::spawn(async move {
        events
            .tell(|event| async move {
                tracing::info!(session = %event.session, what = ?event.what, "a session");
                Ok::<_, std::convert::Infallible>(())
            })
            .await;
    });
    let socket = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    tracing::info!("http://localhost:3000, users admin and user, password demo");
    axum::serve(socket, routes(sessions)).await?;
    Ok(())
}

/// With keys and a store of this process alone, everybody is logged out when it ends.
fn sessions(public_url: &str) -> Result<Sessions, Box<dyn Error>> {
    let settings = Settings::new(Rules::new(public_url)?, Keys::random());
    // Only browsers come here: let no other site log anybody in.
    let settings = Settings { csrf: Csrf::Every, ..settings };
    Ok(Sessions::new(settings, Memory::with_events(100_000, 10_000))?)
}

fn routes(sessions: Sessions) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/cart", post(add))
        .route("/login", post(login))
        .route("/logout", post(logout))
        .route("/others", post(others))
        .layer(sessions)
}

async fn page(session: Session) -> Result<Html<String>, SessionError> {
    let message = session.take(&MESSAGE).await?.unwrap_or_default();
    let cart = session.get(&CART).await?.unwrap_or_default();
    let about = match session.user().await? {
        None => LOGIN.to_owned(),
        // Only names that this program knows get here, so nothing has to be escaped.
        Some(user) => format!("<p>{user}, on {} devices</p>{LOGOUT}", session.list().await?.len()),
    };
    Ok(Html(format!(
        "<!doctype html><title>Tea</title><p><b>{message}</b><p>In the cart: {cart:?}{ADD}{about}"
    )))
}

const ADD: &str = "<form method=post action=/cart><select name=tea><option>Green<option>Oolong\
    <option>Black</select><button>Add</button></form>";
const LOGIN: &str = "<form method=post action=/login><input name=user placeholder=user>\
    <input name=password type=password placeholder=demo><button>Log in</button></form>";
const LOGOUT: &str = "<form method=post action=/logout><button>Log out</button></form>\
    <form method=post action=/others><button>Log out other devices</button></form>";

#[derive(serde::Deserialize)]
struct Add {
    tea: Tea,
}

async fn add(session: Session, Form(Add { tea }): Form<Add>) -> Result<Redirect, SessionError> {
    // Two tabs may add at the same time.
    session
        .update(&CART, |cart| cart.unwrap_or_default().into_iter().chain([tea]).collect())
        .await?;
    Ok(Redirect::to("/"))
}

#[derive(serde::Deserialize)]
struct Password {
    user: String,
    password: String,
}

async fn login(
    session: Session,
    Form(Password { user, password }): Form<Password>,
) -> Result<Redirect, SessionError> {
    // A real application compares a slow hash here, and limits attempts.
    if matches!(&*user, "admin" | "user") && password == "demo" {
        session.login(Login::new(user)).await?;
        session.set(&MESSAGE, &"Welcome.".to_owned())?;
    } else {
        session.set(&MESSAGE, &"That is not right.".to_owned())?;
    }
    Ok(Redirect::to("/"))
}

async fn logout(session: Session) -> Result<Redirect, SessionError> {
    session.logout().await?;
    session.set(&MESSAGE, &"Goodbye.".to_owned())?;
    Ok(Redirect::to("/"))
}

async fn others(session: Session) -> Result<Redirect, SessionError> {
    let ended = session.logout_others().await?;
    session.set(&MESSAGE, &format!("{ended} other devices are logged out."))?;
    Ok(Redirect::to("/"))
}

#[cfg(test)]
mod tests {
    use axum::{
        body::{Body, to_bytes},
        http::{Request, header},
    };
    use tower::ServiceExt;

    use super::*;

    /// Sends a form, or looks at the page, and gives the cookie and the text.
    async fn send(app: &Router, path: &str, form: Option<&str>, cookie: &str) -> (String, String) {
        let request = Request::builder().uri(path).header(header::COOKIE, cookie);
        let request = match form {
            None => request.body(Body::empty()),
            Some(form) => request
                .method("POST")
                .header(header::ORIGIN, "http://localhost:3000")
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(Body::from(form.to_owned())),
        };
        let answer = app.clone().oneshot(request.unwrap()).await.unwrap();
        let set = answer.headers().get_all(header::SET_COOKIE).iter().next_back();
        let set = set.map(|set| set.to_str().unwrap().split(';').next().unwrap().to_owned());
        let text = to_bytes(answer.into_body(), 10_000).await.unwrap();
        (set.unwrap_or(cookie.to_owned()), String::from_utf8(text.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn the_walk_through_the_shop() {
        let app = routes(sessions("http://localhost:3000").unwrap());
        let (cookie, _) = send(&app, "/cart", Some("tea=Green"), "").await;
        let (cookie, _) = send(&app, "/cart", Some("tea=Black"), &cookie).await;
        let (user, _) = send(&app, "/login", Some("user=user&password=demo"), &cookie).await;
        assert_ne!(user, cookie);
        let (_, text) = send(&app, "/", None, &user).await;
        assert!(text.contains("Welcome.") && text.contains("[Green, Black]"), "{text}");
        let (_, text) = send(&app, "/", None, &user).await;
        assert!(!text.contains("Welcome.") && text.contains("on 1 devices"), "{text}");

        let (other, _) = send(&app, "/login", Some("user=user&password=demo"), "").await;
        send(&app, "/others", Some(""), &other).await;
        let (_, text) = send(&app, "/", None, &other).await;
        assert!(text.contains("1 other devices are logged out."), "{text}");
        let (_, text) = send(&app, "/", None, &user).await;
        assert!(text.contains("Log in") && text.contains("[]"), "{text}");
        let (goodbye, _) = send(&app, "/logout", Some(""), &other).await;
        let (_, text) = send(&app, "/", None, &goodbye).await;
        assert!(text.contains("Goodbye."), "{text}");
    }
}
