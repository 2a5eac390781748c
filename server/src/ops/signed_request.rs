//! Authorization requests that their client signed (RFC 9101).

use symbolon_core::{
    client::Client,
    oauth::{
        jws::InvalidJws,
        request_object::{InvalidRequestObject, RequestObject, Rules},
    },
    time::Time,
};

use crate::{app::App, key_sets::NoKeys, os::tick};

/// Why a request object says nothing.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It does not count.
    #[error(transparent)]
    Object(#[from] InvalidRequestObject),
    /// There are no keys to hold it against.
    #[error(transparent)]
    Keys(#[from] NoKeys),
}

/// What a client asks for in an object of this text, which was seen first at `seen_at`.
///
/// # Errors
/// [`Refused`].
pub async fn read(
    app: &App,
    client: &Client,
    text: &str,
    seen_at: Time,
) -> Result<RequestObject, Refused> {
    let rules = Rules {
        algorithm: client.request_object_signing_alg,
        ..Rules::new(app.config.public_url.issuer())
    };
    let verify = |keys: &_| RequestObject::verify(text, &client.id, keys, &rules, seen_at);
    let keys = app.key_sets.get(client, None, &app.reach, tick()).await?;
    match verify(&keys) {
        // The client may have a new key by now.
        Err(InvalidRequestObject::Jws(InvalidJws::UnknownKey)) if client.jwks_uri.is_some() => {
            Ok(verify(&*app.key_sets.get(client, Some(&keys), &app.reach, tick()).await?)?)
        }
        verified => Ok(verified?),
    }
}
