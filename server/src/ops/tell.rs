//! Clients that were told of a session hear of its end (OpenID Connect Back-Channel Logout 1.0).

use std::sync::Arc;

use http::StatusCode;
use symbolon_core::{
    change::{Change, Write},
    client::{Client, ClientId},
    id::SessionId,
    logout_uri::LogoutUri,
    notice::{Heard, Notice},
    session::Session,
    time::Time,
};

use super::{Unavailable, issue};
use crate::app::{App, now};

/// Notes that a client is told of a session, if it wants to hear of the end of it. What ends the session makes it due.
///
/// # Errors
/// [`Unavailable`]: then the client must not be told.
pub async fn note(
    app: &App,
    session: SessionId,
    client: &Client,
    subject: &str,
    now: Time,
) -> Result<(), Unavailable> {
    if client.backchannel_logout_uri.is_none() || app.store.is_told(session, &client.id).await? {
        return Ok(());
    }
    let (client, subject) = (client.id.clone(), subject.into());
    let mut change = Change::at(now);
    change.write(Write::Tell { session, client, subject });
    app.store.commit(change).await?;
    Ok(())
}

/// Frames on one page.
const FRAMES_MAX: usize = 16;

/// What a browser loads so that an application in it hears of the logout.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Where.
    pub uri: LogoutUri,
    /// The application's session.
    pub session: SessionId,
}

/// The applications that a browser session let in and that want to hear of its end in the browser (OpenID Connect
/// Front-Channel Logout 1.0). To be asked before it ends.
///
/// # Errors
/// [`Unavailable`].
pub async fn frames(app: &App, parent: SessionId) -> Result<Vec<Frame>, Unavailable> {
    let children = app.store.children(parent, 4 * FRAMES_MAX as u32).await?;
    let frame = |child: &Session| {
        let uri = app.client(&child.client)?.frontchannel_logout_uri.clone()?;
        Some(Frame { uri, session: child.id })
    };
    Ok(children.iter().filter_map(frame).take(FRAMES_MAX).collect())
}

/// Tells a client once that a session is over, and writes down what became of it. A process that dies in between tells
/// it once more.
///
/// # Errors
/// [`Unavailable`]: it stays due.
pub async fn deliver(app: &App, notice: &Notice) -> Result<(), Unavailable> {
    let heard = match receiver(app, &notice.client) {
        None => Heard::Nobody,
        Some((client, uri)) => tell(app, notice, &client, &uri).await?,
    };
    app.store.commit(notice.after(heard, now())).await?;
    Ok(())
}

fn receiver(app: &App, id: &ClientId) -> Option<(Arc<Client>, String)> {
    let client = app.client(id).filter(|_| !app.store.is_ended(&[id.entry()]))?;
    let uri = client.backchannel_logout_uri.as_ref()?.as_str().to_owned();
    Some((client, uri))
}

async fn tell(
    app: &App,
    notice: &Notice,
    client: &Client,
    uri: &str,
) -> Result<Heard, Unavailable> {
    let token = issue::logout_token(app, notice, client, now()).await?;
    // Base64url and dots: nothing in it needs to be encoded.
    let form = format!("logout_token={}", token.expose());
    let (client, session) = (&client.id, notice.session);
    let heard = match app.reach.post_form(uri, form).await {
        Ok(status) => {
            let heard = judge(status);
            if heard != Heard::Yes {
                tracing::warn!(%client, %session, %status, "a client did not accept a logout token");
            }
            heard
        }
        Err(error) => {
            tracing::warn!(%client, %session, %error, "a client could not be told of a logout");
            Heard::Away
        }
    };
    let outcome = match heard {
        Heard::Yes => "delivered",
        Heard::Refused => "refused",
        Heard::Away | Heard::Nobody => "away",
    };
    metrics::counter!("logout_tokens_total", "outcome" => outcome).increment(1);
    Ok(heard)
}

/// Section 2.8: 200, or 204 where a framework writes that; 400 where the request was wrong or the logout failed. What
/// says "not now" or comes from a proxy in front of a dead server is not the client's own word.
fn judge(status: StatusCode) -> Heard {
    match status.as_u16() {
        200..300 => Heard::Yes,
        429 | 500 | 502..600 => Heard::Away,
        _ => Heard::Refused,
    }
}
