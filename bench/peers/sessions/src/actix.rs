//! actix-web alone, and actix-session on it.

use actix_session::{
    Session, SessionMiddleware,
    config::{PersistentSession, TtlExtensionPolicy},
    storage::{CookieSessionStore, RedisSessionStore, SessionStore},
};
use actix_web::{
    App, Error, HttpServer,
    cookie::{Key, time::Duration},
    web,
};

use crate::{COOKIE, IDLE_SECS, KEY, NOTHING, OK, Result, USER, next, ready, version, weight};

/// A macro, because the types of its parts cannot be named.
macro_rules! listen {
    ($server:expr, $package:expr) => {{
        let server = $server.workers(1).bind("127.0.0.1:0")?;
        let port = server.addrs().first().ok_or("no address")?.port();
        ready(&version($package), port)?;
        Ok(server.run().await?)
    }};
}
pub fn serve(which: &str, store: &str) -> Result<()> {
    let key = Key::generate();
    actix_web::rt::System::new().block_on(async {
        match which {
            "actix" => listen!(HttpServer::new(|| App::new().configure(bare)), "actix-web"),
            "actix-cookie" => {
                let app = move || {
                    let layer = layer(CookieSessionStore::default(), key.clone());
                    App::new().service(web::scope("").wrap(layer).configure(routes))
                };
                listen!(HttpServer::new(app), "actix-session")
            }
            "actix-redis" => {
                let store =
                    RedisSessionStore::new(store).await.map_err(|error| error.to_string())?;
                let app = move || {
                    let layer = layer(store.clone(), key.clone());
                    App::new().service(web::scope("").wrap(layer).configure(routes))
                };
                listen!(HttpServer::new(app), "actix-session")
            }
            _ => Err(format!("there is no {which}").into()),
        }
    })
}

/// With idle limits that work: moved by every request.
fn layer<S: SessionStore>(store: S, key: Key) -> SessionMiddleware<S> {
    let life = PersistentSession::default()
        .session_ttl(Duration::seconds(IDLE_SECS.into()))
        .session_ttl_extension_policy(TtlExtensionPolicy::OnEveryRequest);
    SessionMiddleware::builder(store, key)
        .cookie_name(COOKIE.to_owned())
        .cookie_secure(false)
        .session_lifecycle(life)
        .build()
}

fn bare(config: &mut web::ServiceConfig) {
    for path in ["/none", "/read", "/write", "/new", "/login"] {
        config.route(path, web::get().to(async || OK));
    }
    config.route("/weight", web::get().to(async || weight()));
}

fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/none", web::get().to(async |_: Session| OK))
        .route("/read", web::get().to(read))
        .route("/write", web::get().to(write))
        .route("/new", web::get().to(write))
        .route("/login", web::get().to(login))
        .route("/weight", web::get().to(async || weight()));
}

async fn read(session: Session) -> std::result::Result<&'static str, Error> {
    Ok(if session.get::<u64>(KEY)?.is_some() { OK } else { NOTHING })
}

async fn write(session: Session) -> std::result::Result<&'static str, Error> {
    session.insert(KEY, next())?;
    Ok(OK)
}

async fn login(session: Session) -> std::result::Result<&'static str, Error> {
    let number = next();
    session.renew();
    session.insert(USER, format!("user-{number}"))?;
    session.insert(KEY, number)?;
    Ok(OK)
}
