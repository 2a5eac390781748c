//! symbolon-guard's.

use axum::{Router, routing::get};
use symbolon_guard::{
    Rules,
    session::{Key, Keys, Login, Session, SessionError, Sessions, Settings},
    store::{memory::Memory, redis, sql::Sql},
};

use crate::{COOKIE, IDLE_SECS, KEY, NOTHING, OK, Result, next, weight};

const NUMBER: Key<u64> = Key::new(KEY);
type Answer = std::result::Result<&'static str, SessionError>;

pub async fn router(which: &str, store: &str) -> Result<Router> {
    let mut settings = Settings::new(Rules::new("http://localhost:8080")?, Keys::random());
    settings.name = COOKIE.to_owned();
    let idle = std::time::Duration::from_secs(IDLE_SECS.into());
    (settings.lifetimes.visitor, settings.lifetimes.idle) = (idle, idle);
    let sessions = match which {
        "ours-memory" => Sessions::new(settings, Memory::new(10_000_000))?,
        "ours-redis" => {
            Sessions::new(settings, redis::Redis::open(redis::Settings::new(store)?).await?)?
        }
        "ours-postgres" => Sessions::new(settings, Sql::connect(store).await?)?,
        _ => return Err(format!("there is no {which}").into()),
    };
    Ok(Router::new()
        .route("/none", get(async |_: Session| OK))
        .route("/read", get(read))
        .route("/write", get(write))
        .route("/new", get(write))
        .route("/login", get(login))
        .layer(sessions)
        .route("/weight", get(async || weight())))
}

async fn read(session: Session) -> Answer {
    Ok(if session.get(&NUMBER).await?.is_some() { OK } else { NOTHING })
}

async fn write(session: Session) -> Answer {
    session.set(&NUMBER, &next())?;
    Ok(OK)
}

async fn login(session: Session) -> Answer {
    let number = next();
    session.set(&NUMBER, &number)?;
    session.login(Login::new(format!("user-{number}"))).await?;
    Ok(OK)
}
