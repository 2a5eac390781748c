//! The live sessions of a user, as a tree.

use symbolon_core::{
    id::{SessionId, UserId},
    session::{Reason, Session},
    time::Time,
    user::User,
};

use super::Unavailable;
use crate::{app::App, store::Found};

/// A session and those under it.
#[derive(Debug, Clone)]
pub struct Tree {
    /// The session.
    pub session: Session,
    /// Those that it authorised.
    pub children: Vec<Session>,
}

/// The sessions of a user that count now, newest first.
///
/// # Errors
/// [`Unavailable`].
pub async fn tree(app: &App, user: UserId, now: Time) -> Result<Vec<Tree>, Unavailable> {
    let row = app.store.user(user).await?;
    let mut sessions = app.store.sessions_of(user).await?;
    for session in &mut sessions {
        if let Some(seen_at) = app.live.last_seen(session.id) {
            session.see(seen_at);
        }
    }
    sessions.retain(|session| session.standing(session.seen_at, row.as_ref(), now).is_ok());
    let (children, roots): (Vec<_>, Vec<_>) =
        sessions.into_iter().partition(|session| session.parent.is_some());
    let mut tree: Vec<Tree> =
        roots.into_iter().map(|session| Tree { session, children: Vec::new() }).collect();
    for child in children {
        if let Some(parent) = tree.iter_mut().find(|node| Some(node.session.id) == child.parent) {
            parent.children.push(child);
        }
    }
    Ok(tree)
}

/// The session of this id and its user, or why it ended.
///
/// # Errors
/// [`Unavailable`].
pub async fn one(
    app: &App,
    id: SessionId,
) -> Result<Option<Result<(Session, Option<User>), Reason>>, Unavailable> {
    Ok(app.store.session(id).await?.map(|found| match found {
        Found::Live(session, user) => Ok((*session, user.map(|user| *user))),
        Found::Ended(reason, _) => Err(reason),
    }))
}

/// Whether a session is the browser's own, or that of an application under it. One that has ended still is: an
/// application may revoke its tokens before it sends the browser to log out.
///
/// # Errors
/// [`Unavailable`].
pub async fn is_of(app: &App, browser: SessionId, id: SessionId) -> Result<bool, Unavailable> {
    Ok(id == browser || app.store.is_child(id, browser).await?)
}
