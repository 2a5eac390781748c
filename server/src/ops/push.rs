//! Pushed authorization requests (RFC 9126): taken from the client, found again when the browser comes.

use symbolon_core::{
    client::ClientId,
    oauth::pushed::{self, Pushed, PushedDigest},
    time::Time,
};

use super::Unavailable;
use crate::{
    app::{App, Os},
    store::Outcome,
};

/// Why a request was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Too many of this client wait for their browsers.
    #[error("too many pushed requests of this client wait")]
    TooMany,
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Takes a request of a client that has authenticated. Returns its `request_uri`.
///
/// # Errors
/// [`Refused`].
pub async fn push(
    app: &App,
    client: &ClientId,
    form: String,
    now: Time,
) -> Result<String, Refused> {
    let (change, uri) = pushed::push(client, form, now, &mut Os);
    match app.store.commit(change).await.map_err(Unavailable::from)? {
        Outcome::Applied(_) => Ok(uri),
        Outcome::Gone | Outcome::Conflict => Err(Refused::TooMany),
    }
}

/// The request of this digest, if it still counts.
///
/// # Errors
/// [`Unavailable`].
pub async fn load(
    app: &App,
    digest: PushedDigest,
    now: Time,
) -> Result<Option<Pushed>, Unavailable> {
    Ok(app.store.pushed(digest).await?.filter(|pushed| now < pushed.expires_at))
}
