//! axum alone, and tower-sessions on it.

use axum::{Router, routing::get};
use tower_sessions::{
    Expiry, MemoryStore, Session, SessionManagerLayer, SessionStore, cookie::time::Duration,
};
use tower_sessions_redis_store::{
    RedisStore,
    fred::prelude::{ClientLike, Config, Pool},
};

use crate::{COOKIE, IDLE_SECS, KEY, NOTHING, OK, Result, USER, next, weight};

type Answer = std::result::Result<&'static str, tower_sessions::session::Error>;

pub fn bare() -> Router {
    ["/none", "/read", "/write", "/new", "/login"]
        .into_iter()
        .fold(Router::new(), |router, path| router.route(path, get(async || OK)))
        .route("/weight", get(async || weight()))
}

pub async fn router(which: &str, store: &str) -> Result<Router> {
    if which == "tower-memory" {
        return Ok(with(MemoryStore::default(), false));
    }
    // As its README does it.
    let pool = Pool::new(Config::from_url(store)?, None, None, None, 6)?;
    pool.connect();
    pool.wait_for_connect().await?;
    Ok(with(RedisStore::new(pool), which == "tower-redis-idle"))
}

/// It moves the idle limit only when it saves. `saves` has it save at every request.
fn with(store: impl SessionStore + Clone, saves: bool) -> Router {
    let layer = SessionManagerLayer::new(store)
        .with_name(COOKIE)
        .with_secure(false)
        .with_always_save(saves)
        .with_expiry(Expiry::OnInactivity(Duration::seconds(IDLE_SECS.into())));
    Router::new()
        .route("/none", get(async |_: Session| OK))
        .route("/read", get(read))
        .route("/write", get(write))
        .route("/new", get(write))
        .route("/login", get(login))
        .layer(layer)
        .route("/weight", get(async || weight()))
}

async fn read(session: Session) -> axum::response::Result<&'static str, String> {
    let number = session.get::<u64>(KEY).await.map_err(|error| error.to_string())?;
    Ok(if number.is_some() { OK } else { NOTHING })
}

async fn write(session: Session) -> axum::response::Result<&'static str, String> {
    session.insert(KEY, next()).await.map_err(|error| error.to_string())?;
    Ok(OK)
}

async fn login(session: Session) -> axum::response::Result<&'static str, String> {
    let number = next();
    let put = async {
        session.cycle_id().await?;
        session.insert(USER, format!("user-{number}")).await?;
        session.insert(KEY, number).await?;
        Answer::Ok(OK)
    };
    put.await.map_err(|error| error.to_string())
}
